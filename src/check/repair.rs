//! Repairing a data directory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::closed_directory::ClosedDirectory;
use super::repair_partition::PartitionRepair;
use super::repair_topic::rebuild_topic_file;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;
use crate::sys::{Disk, RealDisk, SyncPoint};
use crate::topic::{CLEAN_SHUTDOWN, parse_partition_dir, topic_of_file};
use crate::types::{Offset, TopicPartition};

/// What [`repair`] may do. By default only what loses no record: damaged checkpoints are written again, and wrong index
/// files are removed.
///
/// ```
/// let options = thalweg::RepairOptions::new().dry_run(true).cut_damage(true);
/// ```
#[derive(Clone, Debug, Default)]
pub struct RepairOptions {
    pub(super) dry_run: bool,
    pub(super) cut_damage: bool,
    pub(super) accept_loss: bool,
    pub(super) rebuild_topics: bool,
    pub(super) truncate_to: Vec<(TopicPartition, Offset)>,
}

impl RepairOptions {
    /// What loses no record.
    pub fn new() -> Self {
        RepairOptions::default()
    }

    /// Whether to change nothing and only say what would be done.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Whether to end a log at the first batch that does not hold, where opening refuses to. Everything from there on
    /// goes to `.corrupt` files beside the log, whole batches behind the damage included, since the offsets of a log
    /// have no hole; a copy of what can still be read has to be made before. The leader epoch is raised, so that a
    /// client can see that records were replaced (log.md 16).
    pub fn cut_damage(mut self, cut_damage: bool) -> Self {
        self.cut_damage = cut_damage;
        self
    }

    /// Whether to go on without files that are gone. A log whose beginning is gone starts with the first segment that is
    /// there. One that ends below its recovery point ends there, with a new leader epoch. One that ends below its start
    /// begins again at its start, without a record, and one of which nothing is left at 0.
    pub fn accept_loss(mut self, accept_loss: bool) -> Self {
        self.accept_loss = accept_loss;
        self
    }

    /// Whether to write damaged topic files anew: with the id and number of partitions that the directories tell, and the
    /// default settings, but for `retention.ms`, which has no limit.
    pub fn rebuild_topics(mut self, rebuild_topics: bool) -> Self {
        self.rebuild_topics = rebuild_topics;
        self
    }

    /// Ends the log of `partition` at `offset`, or before, at the beginning of the batch that holds it. What is cut off
    /// goes to `.corrupt` files, damage behind it included. No effect behind the log's end. Rule: log.md 11.1.
    pub fn truncate_to(mut self, partition: TopicPartition, offset: Offset) -> Self {
        self.truncate_to.push((partition, offset));
        self
    }
}

/// One thing that a repair did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairStep {
    /// The partition it concerns, if it concerns one.
    pub partition: Option<TopicPartition>,
    /// The file it concerns.
    pub file: PathBuf,
    /// What is done, or what is wrong and which option would repair it.
    pub what: String,
}

/// What [`repair`] did. `Display` gives a few lines for a person.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// What was done, in this order, or would be.
    pub steps: Vec<RepairStep>,
    /// What is wrong and stays so, because the options do not allow to repair it or because it cannot be repaired.
    pub left: Vec<RepairStep>,
}

impl fmt::Display for RepairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = if self.dry_run { "would be done" } else { "done" };
        write!(f, "{} steps {done}, {} problems left", self.steps.len(), self.left.len())?;
        for (label, steps) in [("", &self.steps), ("left: ", &self.left)] {
            for step in steps {
                write!(f, "\n  {label}{}: {}", step.file.display(), step.what)?;
            }
        }
        Ok(())
    }
}

/// Makes a data directory that nobody has open fit to be opened, as far as `options` allow. Nothing is thrown away: what is
/// taken out of a log stays beside it.
///
/// Each step is durable before the next, in an order that leaves a directory that can be repaired again if the process ends
/// in between. A `.log` file is never cut in place but replaced, so that backups that share it stay whole. After the first
/// step the directory counts as not closed in order: the next open looks at the ends of all logs, and sets committed
/// offsets back that lie behind them.
///
/// ```
/// # fn main() -> thalweg::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let dir = dir.path();
/// thalweg::Broker::open(dir)?.close()?;
/// let report = thalweg::repair(dir, &thalweg::RepairOptions::new())?;
/// assert!(report.steps.is_empty() && report.left.is_empty(), "{report}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`DirectoryLocked`](crate::ErrorKind::DirectoryLocked) while a broker has it open,
/// [`NotADataDirectory`](crate::ErrorKind::NotADataDirectory),
/// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a partition that is to be truncated and is
/// not there, and what the disk refuses: what was done until then stays done.
pub fn repair(directory: impl AsRef<Path>, options: &RepairOptions) -> Result<RepairReport> {
    repair_on(directory.as_ref(), Arc::new(RealDisk::default()), options)
}

fn repair_on(path: &Path, disk: Arc<dyn Disk>, options: &RepairOptions) -> Result<RepairReport> {
    let directory = ClosedDirectory::lock(path, disk)?;
    let mut partitions: Vec<_> = directory
        .entries
        .iter()
        .filter(|entry| entry.is_dir)
        .filter_map(|entry| parse_partition_dir(&entry.name))
        .map(|(topic, number)| TopicPartition::new(topic, number))
        .collect();
    partitions.sort();
    check_options(&partitions, options)?;
    let report = RepairReport { dry_run: options.dry_run, ..RepairReport::default() };
    let mut repairing = Repairing { directory: &directory, options, report, begun: false };
    for entry in directory.entries.iter().filter(|entry| !entry.is_dir) {
        if let Some(topic) = topic_of_file(&entry.name) {
            rebuild_topic_file(&mut repairing, topic, &partitions)?;
        }
    }
    for name in partitions {
        PartitionRepair::new(&mut repairing, name).run()?;
    }
    Ok(repairing.report)
}

fn check_options(partitions: &[TopicPartition], options: &RepairOptions) -> Result<()> {
    for (name, offset) in &options.truncate_to {
        if *offset < 0 {
            return Err(Error::illegal_argument(format!("a log cannot be cut at offset {offset}")).in_partition(name));
        }
        if !partitions.contains(name) {
            let (topic, partition) = (name.topic().to_owned(), Some(name.partition()));
            return Err(Error::new(ErrorKind::UnknownTopicOrPartition { topic, partition }));
        }
    }
    Ok(())
}

/// A repair under way.
pub(super) struct Repairing<'a> {
    pub(super) directory: &'a ClosedDirectory,
    pub(super) options: &'a RepairOptions,
    report: RepairReport,
    /// Whether something was changed.
    begun: bool,
}

impl Repairing<'_> {
    /// Notes a step. Returns whether to take it. Before the first one the mark of a close in order goes.
    pub(super) fn step(
        &mut self,
        partition: Option<&TopicPartition>,
        file: &Path,
        what: impl Into<String>,
    ) -> Result<bool> {
        if !self.options.dry_run && !self.begun {
            self.remove_clean_mark()?;
            self.begun = true;
        }
        let step = RepairStep { partition: partition.cloned(), file: file.to_owned(), what: what.into() };
        self.report.steps.push(step);
        Ok(!self.options.dry_run)
    }

    /// Notes something that stays as it is.
    pub(super) fn leave(&mut self, partition: Option<&TopicPartition>, file: &Path, what: impl Into<String>) {
        let step = RepairStep { partition: partition.cloned(), file: file.to_owned(), what: what.into() };
        self.report.left.push(step);
    }

    fn remove_clean_mark(&self) -> Result<()> {
        let ClosedDirectory { path, disk, .. } = self.directory;
        let mark = path.join(CLEAN_SHUTDOWN);
        match disk.remove_file(&mark) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| disk.sync_dir(path, SyncPoint::CleanMarkRemoved))
                .map_err(|error| Error::io("remove", &mark, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::broker::Broker;
    use crate::client::ProducerRecord;
    use crate::config::{ProducerConfig, TopicConfig};
    use crate::log::Checkpoint;
    use crate::segment::SegmentFile;
    use crate::sys::FaultyDisk;
    use crate::types::Durability;

    /// A directory whose log `t-0` has 30 records in several segments, and damage in the third.
    fn damaged() -> (tempfile::TempDir, Offset) {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        let config = TopicConfig::new().durability(Durability::Os).internal_segment_bytes(500);
        broker.create_topic("t", 1, config).unwrap();
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        for _ in 0..30 {
            producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
        }
        drop(producer);
        broker.close().unwrap();
        let names = RealDisk::default().list(&dir.path().join("t-0")).unwrap();
        let base = names.iter().filter_map(|entry| entry.name.strip_suffix(".log")).nth(2).unwrap();
        let log = dir.path().join("t-0").join(format!("{base}.log"));
        let mut content = fs::read(&log).unwrap();
        content[69 + 65] ^= 1; // in the second batch
        fs::write(&log, content).unwrap();
        (dir, base.parse::<Offset>().unwrap() + 1)
    }

    fn open_log_end(path: &Path) -> Result<Offset> {
        let broker = Broker::open(path).unwrap();
        let recovery = &broker.recovery().partitions;
        if let Some(damage) = recovery.iter().find_map(|partition| partition.damage.clone()) {
            return Err(damage);
        }
        broker.partition(&TopicPartition::new("t", 0)).unwrap().log_end()
    }

    #[test]
    fn a_repair_that_was_cut_short_anywhere_goes_on() {
        let options = RepairOptions::new().cut_damage(true);
        for with_checkpoint in [true, false] {
            for syncs in 0.. {
                let (dir, expected) = damaged();
                if !with_checkpoint {
                    fs::remove_file(dir.path().join("t-0/thalweg-checkpoint")).unwrap();
                }
                let disk = FaultyDisk::default();
                let faults = disk.faults();
                *faults.dir_syncs_left.lock() = Some(syncs);
                let repaired = repair_on(dir.path(), Arc::new(disk), &options);
                let failed = faults.dir_syncs_left.lock().is_none();
                assert_eq!(repaired.is_err(), failed);
                if failed {
                    let opened = open_log_end(dir.path());
                    // All of it, as damage in a sealed segment is found by reading; or nothing; or the end asked for.
                    assert!(opened.is_err() || opened.is_ok_and(|end| [30, expected].contains(&end)), "{syncs}");
                    let report = repair(dir.path(), &options).unwrap();
                    assert!(report.left.is_empty(), "{syncs}: {report}");
                }
                assert_eq!(open_log_end(dir.path()).unwrap(), expected, "{syncs}");
                let found = crate::verify(dir.path()).unwrap();
                assert!(found.worst() < Some(crate::Severity::Error), "{syncs}: {found}");
                if !failed {
                    assert!(syncs > 5);
                    break;
                }
            }
        }
    }

    /// Takes back what is damaged in [`damaged`].
    fn heal(dir: &Path, end: Offset) {
        let log = dir.join(format!("t-0/{:020}.log", end - 1));
        let mut content = fs::read(&log).unwrap();
        content[69 + 65] ^= 1;
        fs::write(log, content).unwrap();
    }

    /// Ends a repair after each number of changes, opens what it left, and repairs again. `prepare` gets the directory of
    /// [`damaged`] and the offset of its damage.
    fn check_going_on(prepare: impl Fn(&Path, Offset), options: &RepairOptions, expected: &[Offset]) {
        for changes in 0.. {
            let (dir, damage) = damaged();
            prepare(dir.path(), damage);
            let disk = FaultyDisk::default();
            let faults = disk.faults();
            faults.breaks.store(true, crate::sync::Ordering::SeqCst);
            faults.pretends.store(true, crate::sync::Ordering::SeqCst);
            *faults.changes_left.lock() = Some(changes);
            let _ = repair_on(dir.path(), Arc::new(disk), options);
            let is_enough = faults.are_changes_left();
            if !is_enough {
                drop(Broker::open(dir.path()).unwrap());
                let disk = FaultyDisk::default();
                disk.faults().pretends.store(true, crate::sync::Ordering::SeqCst);
                let report = repair_on(dir.path(), Arc::new(disk), options).unwrap();
                assert!(report.left.is_empty(), "{changes}: {report}");
            }
            let end = open_log_end(dir.path()).unwrap();
            assert!(expected.contains(&end), "{changes}: {end}");
            if is_enough {
                assert!(changes > 5);
                break;
            }
        }
    }

    #[test]
    fn a_cut_that_was_asked_for_goes_on() {
        for offset in [3, 8, 0] {
            let options = RepairOptions::new().truncate_to(TopicPartition::new("t", 0), offset);
            check_going_on(heal, &options, &[offset]);
            check_going_on(|_, _| {}, &options, &[offset]); // in front of damage
        }
    }

    #[test]
    fn a_log_that_begins_anew_goes_on_beginning() {
        let below_the_start = |dir: &Path, _| {
            let dir = dir.join("t-0");
            let old = Checkpoint::load(&RealDisk::default(), &dir).unwrap().unwrap();
            Checkpoint { log_start: 29, ..old }.store(&RealDisk::default(), &dir).unwrap();
        };
        check_going_on(below_the_start, &RepairOptions::new().cut_damage(true), &[29]);
        let without_beginning = |dir: &Path, damage| {
            heal(dir, damage);
            for entry in RealDisk::default().list(&dir.join("t-0")).unwrap() {
                if SegmentFile::Log.base_of(&entry.name).is_some_and(|base| base < damage - 1) {
                    fs::remove_file(dir.join("t-0").join(entry.name)).unwrap();
                }
            }
        };
        let options = RepairOptions::new().truncate_to(TopicPartition::new("t", 0), 3);
        check_going_on(without_beginning, &options, &[3]);
    }

    #[test]
    fn what_was_lost_is_not_taken_for_a_cut_that_was_asked_for() {
        let (dir, damage) = damaged();
        heal(dir.path(), damage);
        for entry in RealDisk::default().list(&dir.path().join("t-0")).unwrap() {
            if SegmentFile::Log.base_of(&entry.name).is_some_and(|base| damage <= base) {
                fs::remove_file(dir.path().join("t-0").join(entry.name)).unwrap();
            }
        }
        let options = RepairOptions::new().truncate_to(TopicPartition::new("t", 0), 29);
        let report = repair(dir.path(), &options).unwrap();
        assert_eq!((report.steps.len(), report.left.len()), (0, 1), "{report}");
    }
}

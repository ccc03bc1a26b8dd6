//! Checking a data directory.

use std::collections::BTreeMap;
use std::path::Path;

use super::closed_directory::ClosedDirectory;
use super::finding::{Finding, Severity};
use super::verification::Verification;
use super::verify_partition::{PartitionPlace, verify_partition};
use crate::config::TopicConfig;
use crate::error::Result;
use crate::sync::Arc;
use crate::sys::{Disk, DiskEntry, RESERVE_FILE, RealDisk};
use crate::topic::{
    CLEAN_SHUTDOWN, LOCK, META_PROPERTIES, PRODUCER_IDS, PRODUCER_IDS_BESIDE, TEMPORARY, TopicFile, TopicState,
    is_leftover, parse_partition_dir, read_text, topic_of_file,
};
use crate::types::TopicPartition;

/// Names that a Kafka broker leaves in its directory, and one of file systems.
const FOREIGN: [&str; 6] = [
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    "replication-offset-checkpoint",
    "cleaner-offset-checkpoint",
    "bootstrap.checkpoint",
    "lost+found",
];

/// Reads everything in a data directory that nobody has open, and compares what can be compared: every batch with its
/// checksum and its records, the offsets with each other, the indexes, checkpoints and small files with the log.
///
/// Nothing is changed, but for the lock file of a directory that has none. One damaged file never hides what is wrong with
/// the others. What is found is in the result, and that a device cannot be read as well.
///
/// ```
/// # fn main() -> thalweg::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let dir = dir.path();
/// thalweg::Broker::open(dir)?.close()?;
/// let found = thalweg::verify(dir)?;
/// assert!(found.clean && found.findings.is_empty(), "{found}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`DirectoryLocked`](crate::ErrorKind::DirectoryLocked) while a broker has it open,
/// [`NotADataDirectory`](crate::ErrorKind::NotADataDirectory), and [`Io`](crate::ErrorKind::Io) if the directory itself
/// cannot be listed or locked.
pub fn verify(directory: impl AsRef<Path>) -> Result<Verification> {
    verify_on(directory.as_ref(), Arc::new(RealDisk::default()))
}

fn verify_on(path: &Path, disk: Arc<dyn Disk>) -> Result<Verification> {
    let directory = ClosedDirectory::lock(path, disk)?;
    let verification = Verification { clean: directory.is_clean(), ..Verification::default() };
    let mut check = DirectoryCheck { directory: &directory, verification };
    check.check_names();
    check.check_meta_properties();
    check.check_topics();
    check.verification.sort();
    Ok(check.verification)
}

struct DirectoryCheck<'a> {
    directory: &'a ClosedDirectory,
    verification: Verification,
}

impl DirectoryCheck<'_> {
    fn find(&mut self, severity: Severity, name: &str, what: impl Into<String>) {
        self.verification.push(Finding::new(severity, self.directory.path.join(name), what));
    }

    fn check_names(&mut self) {
        const KNOWN: [&str; 5] = [LOCK, META_PROPERTIES, PRODUCER_IDS, CLEAN_SHUTDOWN, RESERVE_FILE];
        for DiskEntry { name, is_dir, .. } in &self.directory.entries {
            if *is_dir && (KNOWN.contains(&name.as_str()) || topic_of_file(name).is_some()) {
                self.find(Severity::Error, name, "a directory, where a file should be");
                continue;
            }
            if *is_dir && parse_partition_dir(name).is_some() || !is_dir && topic_of_file(name).is_some() {
                continue;
            }
            let what = match name.as_str() {
                TEMPORARY | PRODUCER_IDS_BESIDE => "left by a write that was cut short",
                known if KNOWN.contains(&known) || FOREIGN.contains(&known) => continue,
                _ if ["-delete", "-future", "-stray"].iter().any(|ending| name.ends_with(ending)) => {
                    "a partition that is not in use"
                }
                _ if name.contains(".corrupt") => "a damaged file that was set aside",
                _ => "a name that is not known here",
            };
            self.find(Severity::Note, name, what);
        }
    }

    fn check_meta_properties(&mut self) {
        if !self.directory.has(META_PROPERTIES) {
            return self.find(Severity::Warning, META_PROPERTIES, "missing; the next open writes another");
        }
        let path = self.directory.path.join(META_PROPERTIES);
        match read_text(&*self.directory.disk, &path) {
            Ok(text) => {
                let is_known = |line: &str| ["version=1", "version=0"].contains(&line.trim_end());
                if !text.lines().any(is_known) {
                    self.find(Severity::Warning, META_PROPERTIES, "there is no known version in it");
                }
            }
            Err(error) => self.find(Severity::Error, META_PROPERTIES, format!("could not read: {error}")),
        }
    }

    fn check_topics(&mut self) {
        let directory = self.directory;
        let mut partitions: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for entry in directory.entries.iter().filter(|entry| entry.is_dir) {
            if let Some((topic, number)) = parse_partition_dir(&entry.name) {
                partitions.entry(topic).or_default().push(number);
            }
        }
        partitions.values_mut().for_each(|numbers| numbers.sort_unstable());
        for entry in directory.entries.iter().filter(|entry| !entry.is_dir) {
            let Some(topic) = topic_of_file(&entry.name) else { continue };
            let mut there = partitions.remove(topic).unwrap_or_default();
            let file = self.read_topic_file(&entry.name);
            let unfinished = match file.as_ref().map(|file| file.state) {
                Some(TopicState::Creating) => "its creation was cut short; the next open takes it back",
                Some(TopicState::Deleting) => "its deletion was cut short; the next open finishes it",
                Some(TopicState::Live) | None => {
                    if let Some(file) = &file {
                        self.check_numbers(topic, file, &mut there);
                    }
                    self.check_topic(topic, file.as_ref(), &there);
                    continue;
                }
            };
            self.find(Severity::Note, &entry.name, unfinished);
        }
        for (topic, there) in partitions {
            for number in (0..there.last().copied().unwrap_or(0)).take(there.len() + 100) {
                if there.binary_search(&number).is_err() {
                    let what = "missing below others of a topic without a file; the next open cannot use it";
                    self.find(Severity::Warning, &TopicPartition::new(topic, number).to_string(), what);
                }
            }
            for number in &there {
                let what = "a partition without the file of its topic; the next open adopts it if it holds records";
                self.find(Severity::Note, &TopicPartition::new(topic, *number).to_string(), what);
            }
            self.check_topic(topic, None, &there);
        }
    }

    fn read_topic_file(&mut self, name: &str) -> Option<TopicFile> {
        let text = match read_text(&*self.directory.disk, &self.directory.path.join(name)) {
            Ok(text) => text,
            Err(error) => {
                self.find(Severity::Error, name, format!("could not read: {error}"));
                return None;
            }
        };
        TopicFile::from_text(&text)
            .map_err(|what| self.find(Severity::Error, name, format!("{what}; the topic cannot be used")))
            .ok()
    }

    /// The numbers of the partitions against the topic's file. What an attempt to add partitions left is taken out of them.
    fn check_numbers(&mut self, topic: &str, file: &TopicFile, there: &mut Vec<i32>) {
        for number in 0..file.partitions {
            if there.binary_search(&number).is_err() {
                let what = "the directory of the partition is missing, and its records with it";
                self.find(Severity::Error, &TopicPartition::new(topic, number).to_string(), what);
            }
        }
        there.retain(|number| {
            let name = TopicPartition::new(topic, *number).to_string();
            if *number < file.partitions {
                return true;
            }
            let dir = self.directory.path.join(&name);
            let is_leftover = is_leftover(&*self.directory.disk, &dir, Some(file.id)).unwrap_or(false);
            if is_leftover {
                let what = "left by an attempt to add partitions that was cut short; the next open removes it";
                self.find(Severity::Note, &name, what);
            } else {
                let what = format!("the topic has {} partitions only; ignored", file.partitions);
                self.find(Severity::Warning, &name, what);
            }
            !is_leftover
        });
    }

    fn check_topic(&mut self, topic: &str, file: Option<&TopicFile>, there: &[i32]) {
        self.verification.topics += 1;
        self.verification.partitions += there.len();
        let inflated_max = file.map_or_else(|| TopicConfig::new().inflated_max(), |file| file.config.inflated_max());
        for number in there {
            let name = TopicPartition::new(topic, *number);
            let place = PartitionPlace {
                disk: &*self.directory.disk,
                dir: self.directory.path.join(name.to_string()),
                name,
                topic_id: file.map(|file| file.id),
                is_in_use: file.is_some_and(|file| *number < file.partitions),
                inflated_max,
                clean: self.directory.is_clean(),
            };
            verify_partition(&place, &mut self.verification);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::check::{RepairOptions, repair};
    use crate::clock::SystemClock;
    use crate::config::TopicConfig;
    use crate::sync::Ordering;
    use crate::sys::FaultyDisk;

    fn open(dir: &Path) -> (Broker, Arc<crate::sys::Faults>) {
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        faults.pretends.store(true, Ordering::SeqCst);
        (Broker::open_on(dir, Arc::new(disk), Arc::new(SystemClock)).unwrap(), faults)
    }

    type Change = fn(&Broker) -> Result<()>;

    #[test]
    fn a_change_of_topics_that_was_cut_short_anywhere_is_no_damage() {
        let create = |broker: &Broker| broker.create_topic("n", 2, TopicConfig::new()).map(drop);
        let alter = |broker: &Broker| broker.alter_topic("t", TopicConfig::new().max_message_bytes(54_321)).map(drop);
        let grow = |broker: &Broker| broker.create_partitions("t", 4).map(drop);
        let delete = |broker: &Broker| broker.delete_topic("t");
        for (name, change) in [("create", create as Change), ("alter", alter), ("grow", grow), ("delete", delete)] {
            for changes in 0.. {
                let dir = tempfile::tempdir().unwrap();
                let (broker, _) = open(dir.path());
                broker.create_topic("t", 2, TopicConfig::new()).unwrap();
                broker.close().unwrap();
                let (broker, faults) = open(dir.path());
                faults.breaks.store(true, Ordering::SeqCst);
                *faults.changes_left.lock() = Some(changes);
                let _ = change(&broker);
                let is_enough = faults.are_changes_left();
                drop(broker);
                let found = verify(dir.path()).unwrap();
                assert!(found.worst() < Some(Severity::Warning), "{name} {changes}: {found}");
                let report = repair(dir.path(), &RepairOptions::new().dry_run(true)).unwrap();
                assert!(report.steps.is_empty() && report.left.is_empty(), "{name} {changes}: {report}");
                if is_enough {
                    assert!(changes > 1);
                    break;
                }
            }
        }
    }
}

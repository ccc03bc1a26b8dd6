//! Everything that can be done with a directory, and what may come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use thalweg::{Broker, DumpOptions, ErrorKind, FetchOptions, Offset, OffsetSpec, Partition, PartitionRecovery};
use thalweg::{RecoveryReport, Severity, TopicPartition, dump, verify};

use crate::batches::compare_batches;
use crate::content::{Content, Row, Rows};
use crate::files::Files;

/// What a mutation led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Everything is there; a check found something all the same.
    Whole,
    /// The log ends earlier, or begins later.
    Cut,
    /// A partition can be read but for the damage, and takes nothing.
    Damaged,
    /// A partition, a topic or the directory does not open.
    Refused,
    /// Opening saw nothing, reading did.
    FoundByReading,
    /// Nobody noticed, and nothing is missing.
    Harmless,
}

pub(crate) const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Whole, "whole"),
    (Outcome::Cut, "cut"),
    (Outcome::Damaged, "damaged"),
    (Outcome::Refused, "refused"),
    (Outcome::FoundByReading, "when read"),
    (Outcome::Harmless, "harmless"),
];

/// One directory with one mutation.
pub(crate) struct Case<'a> {
    dir: &'a Path,
    /// What is there, appended records included.
    pub(crate) rows: BTreeMap<TopicPartition, Rows>,
    pub(crate) committed: BTreeMap<TopicPartition, Vec<Offset>>,
    /// Offsets that opening said were lost.
    pub(crate) excused: BTreeMap<TopicPartition, BTreeSet<Offset>>,
    /// Offsets that have been read once, and must not go any more.
    read: BTreeMap<TopicPartition, BTreeSet<Offset>>,
    pub(crate) worst: Outcome,
    /// Whether nothing in the directory vouches for what was taken from it.
    pub(crate) unvouched: bool,
    /// Whether a base offset of a log that may have gaps is another one: such a record is at an offset that nothing
    /// contradicts, if nothing comes behind it.
    pub(crate) moved: bool,
    pub(crate) failures: Vec<String>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(dir: &'a Path, content: &'a Content, (unvouched, moved): (bool, bool)) -> Self {
        Case {
            dir,
            rows: content.rows.clone(),
            committed: content.committed.clone(),
            excused: BTreeMap::new(),
            read: BTreeMap::new(),
            worst: Outcome::Harmless,
            unvouched,
            moved,
            failures: Vec::new(),
        }
    }

    /// Checks, prints, opens, uses, closes, opens again.
    pub(crate) fn run(&mut self) -> Outcome {
        let verified = verify(self.dir);
        self.dump_everything();
        let before = Files::read(self.dir);
        self.session(&before);
        if let Err(error) = verify(self.dir) {
            self.place("verify", &error);
        }
        let outcome = self.worst;
        self.session(&Files::read(self.dir));
        let seen = verified.as_ref().map_or(Some(Severity::Error), |found| found.worst()) >= Some(Severity::Warning);
        match outcome {
            Outcome::Harmless if seen => Outcome::Whole,
            Outcome::Harmless => Outcome::Harmless,
            outcome => {
                self.check(seen || self.unvouched, || "verify found nothing".to_owned());
                outcome
            }
        }
    }

    pub(crate) fn check(&mut self, holds: bool, failure: impl FnOnce() -> String) {
        if !holds && self.failures.len() < 5 {
            self.failures.push(failure());
        }
    }

    /// An error names what it is about.
    pub(crate) fn place(&mut self, what: &str, error: &thalweg::Error) {
        let has_pos = !matches!(error.kind(), ErrorKind::CorruptRecord { .. }) || error.file_pos().is_some();
        let has_file = error.file().is_some() || matches!(error.kind(), ErrorKind::NotADataDirectory { .. });
        self.check(has_file && has_pos, || format!("{what}: the error names no place: {error}"));
        self.check(!error.to_string().contains("panic"), || format!("{what}: {error}"));
    }

    fn dump_everything(&mut self) {
        let mut paths = vec![self.dir.to_owned()];
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            let mut text = Vec::new();
            if let Err(error) = dump(&path, &DumpOptions::new().records(true), &mut text) {
                self.check(error.file().is_some(), || format!("dump: {error}"));
            }
            self.check(text.is_ascii(), || format!("dump of {} is no text", path.display()));
        }
    }

    fn session(&mut self, before: &Files) {
        let broker = match Broker::open(self.dir) {
            Ok(broker) => broker,
            Err(error) => {
                self.place("open", &error);
                self.note(Outcome::Refused);
                return;
            }
        };
        let report = broker.recovery().clone();
        self.note_report(&report);
        let partitions: Vec<_> = self.rows.keys().cloned().collect();
        let mut whole = BTreeSet::new();
        for name in &partitions {
            if self.look_at(&broker, name, &report) {
                whole.insert(name.clone());
            }
        }
        self.consume(&broker, &whole, &report);
        for name in &partitions {
            self.append(&broker, name, &report);
        }
        self.commit(&broker, &report);
        if let Err(error) = broker.close() {
            self.place("close", &error);
        }
        self.check_unchanged(before, &report);
    }

    pub(crate) fn note(&mut self, outcome: Outcome) {
        let rank = |outcome: Outcome| match outcome {
            Outcome::Harmless | Outcome::Whole => 0,
            Outcome::FoundByReading => 1,
            Outcome::Cut => 2,
            Outcome::Damaged => 3,
            Outcome::Refused => 4,
        };
        if rank(self.worst) < rank(outcome) {
            self.worst = outcome;
        }
    }

    fn note_report(&mut self, report: &RecoveryReport) {
        for error in &report.failed {
            self.place("not opened", error);
            self.note(Outcome::Refused);
        }
        for PartitionRecovery { partition, cut, moved_start, damage, .. } in &report.partitions {
            if let Some(error) = damage {
                self.place("damage", error);
                self.note(Outcome::Damaged);
            }
            if cut.is_some() || moved_start.is_some() {
                self.note(Outcome::Cut);
            }
            let excused = self.excused.entry(partition.clone()).or_default();
            let offsets = self.rows.get(partition).into_iter().flat_map(|rows| rows.keys().copied());
            let is_lost = |offset: &Offset| {
                cut.as_ref().is_some_and(|cut| cut.log_end <= *offset)
                    || moved_start.is_some_and(|(_, to)| *offset < to)
            };
            excused.extend(offsets.filter(is_lost));
        }
    }

    /// Reads a partition in every way. Whether all of it is there.
    fn look_at(&mut self, broker: &Broker, name: &TopicPartition, report: &RecoveryReport) -> bool {
        let partition = match broker.partition(name).and_then(|partition| partition.log_end().map(|_| partition)) {
            Ok(partition) => partition,
            Err(error) => {
                let told = !report.failed.is_empty() || !report.ignored.is_empty();
                self.check(told, || format!("{name} is gone, and opening said nothing: {error}"));
                self.note(Outcome::Refused);
                return false;
            }
        };
        let (found, errors) = self.fetch_everything(name, &partition);
        let excused = self.excused.get(name).cloned().unwrap_or_default();
        let expected: BTreeSet<_> = self.rows[name].keys().copied().collect();
        let lost: Vec<_> = expected.iter().filter(|offset| !found.contains(offset)).collect();
        let silent: Vec<_> = lost.iter().filter(|at| !errors.contains(at) && !excused.contains(at)).collect();
        self.check(self.unvouched || self.moved || silent.is_empty(), || {
            format!("{name}: {silent:?} are missing without a word")
        });
        let before = self.read.entry(name.clone()).or_default();
        let gone: Vec<_> = before.iter().filter(|offset| !found.contains(offset)).copied().collect();
        before.extend(&found);
        self.check(gone.is_empty(), || {
            format!("{name}: {gone:?} were there at the first open and are not at the second")
        });
        self.list_by_time(name, &partition, &found, errors.is_empty());
        lost.is_empty()
    }

    /// Reads from every offset on. Offsets of the records that came, and those from which on nothing did.
    fn fetch_everything(
        &mut self,
        name: &TopicPartition,
        partition: &Partition,
    ) -> (BTreeSet<Offset>, BTreeSet<Offset>) {
        let (start, end) = (partition.log_start().unwrap(), partition.high_watermark().unwrap());
        let (mut found, mut errors) = (BTreeSet::new(), BTreeSet::new());
        self.check(start <= end, || format!("{name} goes from {start} to {end}"));
        let offsets: BTreeSet<_> = self.rows[name].keys().copied().collect();
        for offset in offsets.into_iter().filter(|offset| (start..end).contains(offset)) {
            for max_bytes in [1, 250, 1 << 20] {
                let fetched = partition.fetch(offset, &FetchOptions::new().max_bytes(max_bytes));
                if let Ok(fetched) = &fetched {
                    compare_batches(fetched);
                }
                match fetched.and_then(|fetched| fetched.decode(true)) {
                    Ok(records) => {
                        let next = records.next_offset();
                        self.check(offset < next, || format!("{name}: a fetch at {offset} stands still"));
                        let rows: Rows = records.iter().map(|record| (record.offset(), Row::of(&record))).collect();
                        let expected = self.rows[name].range(offset..next.max(offset));
                        let expected =
                            expected.filter(|(at, _)| !self.unvouched || self.moved || rows.contains_key(at));
                        let expected: Rows = expected.map(|(at, row)| (*at, row.clone())).collect();
                        let moved = self.moved && rows.values().all(|row| self.rows[name].values().any(|at| at == row));
                        self.check(rows == expected || moved, || {
                            format!("{name}: a fetch of {max_bytes} at {offset} gives {rows:?}, not {expected:?}")
                        });
                        found.extend(rows.keys());
                    }
                    Err(error) => {
                        self.place("fetch", &error);
                        self.note(Outcome::FoundByReading);
                        errors.insert(offset);
                    }
                }
            }
        }
        (found, errors)
    }

    /// Looks times up: the answer is the first record that can be read and has the time, or, where some cannot, an error.
    fn list_by_time(&mut self, name: &TopicPartition, partition: &Partition, found: &BTreeSet<Offset>, whole: bool) {
        let rows: Vec<_> = self.rows[name].iter().filter(|(offset, _)| found.contains(offset)).collect();
        let rows: Vec<_> = rows.into_iter().map(|(offset, row)| (*offset, row.timestamp)).collect();
        let times: BTreeSet<_> = rows.iter().flat_map(|(_, time)| [time - 1, *time, time + 1]).collect();
        for time in times {
            let expected = rows.iter().find(|(_, other)| time <= *other).map(|(offset, _)| *offset);
            self.check_listed(name, partition, OffsetSpec::Timestamp(time), expected, whole);
        }
        let largest = rows.iter().map(|(_, time)| *time).max();
        let expected = rows.iter().find(|(_, time)| Some(*time) == largest).map(|(offset, _)| *offset);
        self.check_listed(name, partition, OffsetSpec::MaxTimestamp, expected, whole);
    }

    fn check_listed(
        &mut self,
        name: &TopicPartition,
        partition: &Partition,
        spec: OffsetSpec,
        expected: Option<Offset>,
        whole: bool,
    ) {
        match partition.list_offset(spec) {
            Ok(listed) => {
                let listed = listed.map(|listed| listed.offset);
                // Behind a batch whose size is damaged, a time finds what a fetch does not.
                let is_all = self.best(name, spec) == listed;
                let holds = listed == expected || is_all || self.moved || self.unvouched;
                self.check(holds, || format!("{name}: {spec:?} is at {listed:?}, not {expected:?}"));
            }
            Err(error) => {
                self.check(!whole, || format!("{name}: {spec:?}: {error}"));
                self.place("list offset", &error);
            }
        }
    }

    /// The answer if everything can be read.
    fn best(&self, name: &TopicPartition, spec: OffsetSpec) -> Option<Offset> {
        let rows = &self.rows[name];
        let time = match spec {
            OffsetSpec::Timestamp(time) => time,
            _ => rows.values().map(|row| row.timestamp).max()?,
        };
        rows.iter().find(|(_, row)| time <= row.timestamp).map(|(offset, _)| *offset)
    }

    /// A partition that is damaged or did not open has the files that it had.
    fn check_unchanged(&mut self, before: &Files, report: &RecoveryReport) {
        let damaged = report.partitions.iter().filter(|recovery| recovery.damage.is_some());
        let damaged = damaged.map(|recovery| recovery.partition.clone());
        let failed = report.failed.iter().filter_map(|error| error.partition().cloned());
        let names: BTreeSet<_> = damaged.chain(failed).collect();
        let after = Files::read(self.dir);
        for name in names {
            let dir = name.to_string();
            let (before, after) = (before.below(Path::new(&dir)), after.below(Path::new(&dir)));
            let changed: Vec<_> = before.0.keys().chain(after.0.keys()).collect();
            let changed: BTreeSet<_> = changed.into_iter().filter(|at| before.0.get(*at) != after.0.get(*at)).collect();
            self.check(changed.is_empty(), || format!("{name} is damaged, and {changed:?} changed"));
        }
    }
}

/// All records of a partition.
pub(crate) fn read_through(partition: &Partition) -> thalweg::Result<Rows> {
    let (mut offset, end) = (partition.log_start()?, partition.high_watermark()?);
    let mut rows = Rows::new();
    while offset < end {
        let records = partition.fetch(offset, &FetchOptions::new())?.decode(true)?;
        rows.extend(records.iter().map(|record| (record.offset(), Row::of(&record))));
        offset = records.next_offset();
    }
    Ok(rows)
}

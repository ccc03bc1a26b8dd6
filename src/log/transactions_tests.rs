//! Committed records against a naive model: what became of every record is known to whoever wrote it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{FetchBudget, Fetched, LeftBy, Log, LogPlace, Records};
use crate::config::{IsolationLevel, TopicConfig};
use crate::error::ErrorKind;
use crate::record::{BatchBuilder, BatchFields, Compression, ControlType};
use crate::sync::Arc;
use crate::sys::{OpenFiles, RealDisk};
use crate::types::{Durability, Offset, TopicPartition};

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its transaction goes on.
    Open,
    /// In no transaction, or in one that was committed.
    Committed,
    Aborted,
}

/// A log that is written with transactions, and what became of each of its records.
struct Script {
    dir: tempfile::TempDir,
    log: Log,
    fates: Vec<(Offset, Fate)>,
    /// Which of `fates` belong to the open transaction of a producer.
    open: HashMap<i64, Vec<usize>>,
    /// The sequence number that follows, of each producer.
    next: RefCell<HashMap<i64, i32>>,
}

impl Script {
    fn new(segment_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Script {
            log: open(dir.path(), segment_bytes),
            dir,
            fates: Vec::new(),
            open: HashMap::new(),
            next: RefCell::default(),
        }
    }

    fn append(&self, mut fields: BatchFields, compression: Compression, records: &[(&[u8], &[u8])]) -> Offset {
        if 0 <= fields.producer_id && !fields.control {
            let (mut next, count) = (self.next.borrow_mut(), records.len() as i32);
            let next = next.entry(fields.producer_id).or_default();
            fields.base_sequence = *next;
            *next += fields.last_offset_delta.map_or(count, |delta| delta + 1);
        }
        let mut builder = BatchBuilder::new();
        builder.begin(fields);
        records.iter().for_each(|(key, value)| {
            builder.push(1000, Some(key), Some(value), std::iter::empty());
        });
        self.log.append(builder.finish(compression, None).unwrap(), 1000).unwrap().base_offset
    }

    /// Records in no transaction, by a producer with an id or none (-1).
    fn plain(&mut self, producer_id: i64, count: usize) {
        let producer_id = if self.open.contains_key(&producer_id) { -1 } else { producer_id }; // it would be refused
        let fields = BatchFields { producer_id, producer_epoch: 0, base_sequence: 0, ..BatchFields::default() };
        let first = self.append(fields, Compression::None, &vec![(&b"k"[..], &b"plain"[..]); count]);
        self.fates.extend((first..).take(count).map(|offset| (offset, Fate::Committed)));
    }

    fn send(&mut self, producer_id: i64, compression: Compression, count: usize) {
        let first = self.append(transactional(producer_id), compression, &vec![(&b"k"[..], &[7; 40][..]); count]);
        let at = self.fates.len();
        self.fates.extend((first..).take(count).map(|offset| (offset, Fate::Open)));
        self.open.entry(producer_id).or_default().extend(at..at + count);
    }

    /// The marker; there need not be a transaction, as when its records went to other partitions.
    fn end(&mut self, producer_id: i64, how: ControlType) {
        let fields = BatchFields { control: true, base_sequence: -1, ..transactional(producer_id) };
        self.append(fields, Compression::None, &[(&how.to_key(), &[0; 6])]);
        let fate = if how == ControlType::Commit { Fate::Committed } else { Fate::Aborted };
        for at in self.open.remove(&producer_id).unwrap_or_default() {
            self.fates[at].1 = fate;
        }
    }

    /// Opens the log as one that others wrote: without a checkpoint.
    fn import(&mut self) {
        self.reopen(|dir| std::fs::remove_file(dir.join("thalweg-checkpoint")).unwrap());
    }

    fn reopen(&mut self, change: impl Fn(&Path)) {
        self.log.close().unwrap();
        change(self.dir.path());
        self.log = open(self.dir.path(), self.log.config().get_segment_bytes());
    }

    fn committed(&self) -> Vec<Offset> {
        self.fates.iter().filter(|(_, fate)| *fate == Fate::Committed).map(|(offset, _)| *offset).collect()
    }

    fn fetch(&self, offset: Offset, bytes_max: usize) -> Fetched {
        self.log.fetch_isolated(IsolationLevel::ReadCommitted, offset, FetchBudget::new(bytes_max)).unwrap()
    }

    /// Every fetch from every offset shows exactly the committed records of what it fetched, however it is split.
    fn check(&self, bytes_max: usize) {
        let committed = self.committed();
        for offset in self.log.log_start()..self.log.log_end() {
            let fetched = self.fetch(offset, bytes_max);
            let records = fetched.decode(true).unwrap();
            assert_eq!(records.next_offset(), fetched.next_offset());
            let expected: Vec<_> =
                committed.iter().copied().filter(|at| (offset..fetched.next_offset()).contains(at)).collect();
            assert_eq!(offsets(&records), expected, "from {offset} in {bytes_max} bytes");
            for count in [1, expected.len() / 2, expected.len()] {
                let count = count.clamp(1, expected.len().max(1));
                let mut rest = records.clone();
                let first = rest.split_to(count);
                assert_eq!(
                    (offsets(&first), offsets(&rest)),
                    (
                        expected[..count.min(expected.len())].to_vec(),
                        expected.get(count..).unwrap_or_default().to_vec()
                    )
                );
                assert_eq!(rest.next_offset(), fetched.next_offset());
                let behind = if count < expected.len() { expected[count - 1] + 1 } else { fetched.next_offset() };
                assert_eq!(first.next_offset(), behind);
            }
        }
    }
}

fn open(dir: &Path, segment_bytes: u64) -> Log {
    let place = LogPlace {
        partition: TopicPartition::new("t", 0),
        dir: dir.into(),
        disk: Arc::new(RealDisk::default()),
        open_files: OpenFiles::new(4, 4),
        usage: Arc::default(),
        reserve: Arc::default(),
        uses_reserve: false,
        config: TopicConfig::new().durability(Durability::Os).internal_segment_bytes(segment_bytes),
        gaps_below: Offset::MAX,
    };
    Log::open(place, LeftBy::Crash).unwrap().0
}

fn transactional(producer_id: i64) -> BatchFields {
    BatchFields { transactional: true, producer_id, producer_epoch: 0, base_sequence: 0, ..BatchFields::default() }
}

fn offsets(records: &Records) -> Vec<Offset> {
    assert_eq!(records.iter().count(), records.len());
    records.iter().map(|record| record.offset()).collect()
}

/// Bases of the segments.
fn bases(log: &Log) -> Vec<Offset> {
    log.view.load().segments().iter().map(|segment| segment.base()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn exactly_what_was_committed_is_shown(
        steps in vec((0..4i64, 0..9u8, 1..4usize), 1..70),
        later in vec((-1..3i64, 1..3usize), 0..5),
        segment_bytes in 400..3000u64,
        budget in 1..1500usize,
        delete in 0..100u64,
    ) {
        let mut script = Script::new(segment_bytes);
        let codec = if Compression::Lz4.is_supported() { Compression::Lz4 } else { Compression::None };
        for (producer, action, count) in steps {
            match (producer, action) {
                (3, _) => script.plain(-1 + i64::from(action) % 2 * 10, count),
                (_, 0 | 1) => script.end(producer, ControlType::Commit),
                (_, 2) => script.end(producer, ControlType::Abort),
                (_, 3) => script.send(producer, codec, count),
                _ => script.send(producer, Compression::None, count),
            }
        }
        script.import();
        let early = script.fetch(0, 1 << 20);
        let end = script.log.log_end();
        let before = Offset::try_from(delete).unwrap() * end / 100;
        script.log.delete_records(before, 0).unwrap();
        script.check(budget);
        script.check(1 << 20);
        for (producer, count) in later {
            script.plain(producer, count); // of a producer whose transaction is open, too: those belong to none
        }
        script.check(budget);
        // Fetched before the deletion, and shown after it.
        let mut committed = script.committed();
        committed.retain(|offset| *offset < end);
        prop_assert_eq!(offsets(&early.decode(true).unwrap()), committed);
        script.reopen(|_| {}); // the checkpoint knows by now what others wrote
        script.check(1 << 20);
    }
}

#[test]
fn the_list_is_made_when_a_transaction_is_met_and_only_then() {
    let mut script = Script::new(400);
    (0..20).for_each(|_| script.plain(5, 2));
    script.send(5, Compression::None, 1);
    script.end(5, ControlType::Abort);
    script.import();
    let is_made = |script: &Script| script.log.transactions.made.get().is_some();
    assert_eq!(script.fetch(0, 300).decode(true).unwrap().len(), 6);
    let all = script.log.fetch(0, FetchBudget::new(1 << 20)).unwrap().decode(true).unwrap();
    assert_eq!((all.len(), is_made(&script)), (41, false));
    assert_eq!(script.fetch(0, 1 << 20).decode(true).unwrap().len(), 40);
    assert!(is_made(&script));
}

#[test]
fn a_log_of_its_own_is_never_walked() {
    let mut script = Script::new(400);
    script.import();
    script.send(5, Compression::None, 1); // which nothing but this test does
    assert_eq!(script.fetch(0, 1 << 20).decode(true).unwrap().len(), 1);
    assert!(script.log.transactions.made.get().is_none());
}

/// A reader of the segments as they were, while others have the list without the first of them.
#[test]
fn a_list_that_does_not_reach_back_is_not_used() {
    let mut script = Script::new(400);
    script.send(1, Compression::None, 5);
    script.end(1, ControlType::Abort);
    script.plain(-1, 5);
    script.end(1, ControlType::Commit);
    script.import();
    let (before, early) = (script.log.view.load_full(), script.log.fetch(0, FetchBudget::new(1 << 20)).unwrap());
    let base = bases(&script.log)[1];
    script.log.delete_records(base, 0).unwrap();
    script.send(2, Compression::None, 1);
    assert!(script.log.transactions(&script.log.view.load()).unwrap().reaches_back_to(base));
    assert!(script.log.isolate(early, &before).unwrap().is_none(), "has to be fetched again");
    let again = script.log.fetch_isolated(IsolationLevel::ReadCommitted, 0, FetchBudget::new(1 << 20)).unwrap_err();
    assert!(matches!(again.kind(), ErrorKind::OffsetOutOfRange { .. }), "{again}");
}

#[test]
fn other_control_records_and_markers_without_their_record_end_nothing_that_counts() {
    let mut script = Script::new(1 << 20);
    script.send(1, Compression::None, 1); // 0
    let control = BatchFields { control: true, base_sequence: -1, ..transactional(1) };
    script.append(control, Compression::None, &[(&ControlType::Other(9).to_key(), &[])]); // 1
    script.send(1, Compression::None, 1); // 2
    script.end(1, ControlType::Abort); // 3
    // What compaction leaves of a transaction: batches without records. Then comes another one.
    script.append(BatchFields { last_offset_delta: Some(2), ..transactional(1) }, Compression::None, &[]); // 4 to 6
    script.append(BatchFields { last_offset_delta: Some(0), ..control }, Compression::None, &[]); // 7
    script.send(1, Compression::None, 1); // 8
    script.end(1, ControlType::Commit);
    assert_eq!(script.committed(), [8]);
    script.import();
    script.check(1 << 20);
}

/// Four segments: a committed transaction and the beginning of another; its end and an aborted one;
/// another aborted one; a plain record.
fn four_segments() -> Script {
    let mut script = Script::new(420);
    script.send(1, Compression::None, 1); // 0
    script.end(1, ControlType::Commit); // 1
    script.send(2, Compression::None, 1); // 2
    script.plain(-1, 1); // 3
    script.end(2, ControlType::Commit); // 4
    script.plain(-1, 1); // 5
    script.send(4, Compression::None, 1); // 6
    script.end(4, ControlType::Abort); // 7
    script.send(3, Compression::None, 5); // 8 to 12
    script.end(3, ControlType::Abort); // 13
    script.plain(-1, 1); // 14
    script.import();
    script
}

fn damage(script: &Script, base: Offset, at: u64) {
    let path = script.dir.path().join(format!("{base:020}.log"));
    let file = std::fs::OpenOptions::new().write(true).read(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

#[test]
fn a_transaction_whose_end_cannot_be_read_is_neither_shown_nor_hidden() {
    let whole = four_segments();
    whole.check(1 << 20);
    assert_eq!((bases(&whole.log), whole.committed()), (vec![0, 4, 8, 14], vec![0, 2, 3, 5, 14]));
    // The marker's size field, the type in its record, and the size field of the batch behind it.
    for (at, unread) in [(8, 4), (69, 4), (78 + 8, 5)] {
        let script = four_segments();
        damage(&script, 4, at);
        if unread == 4 {
            assert_eq!(offsets(&script.fetch(0, 1 << 20).decode(true).unwrap()), [0]);
            assert_unknown(&script, 2);
            assert_eq!(
                script.log.fetch(2, FetchBudget::new(100)).unwrap().decode(true).unwrap().len(),
                1,
                "uncommitted"
            );
        } else {
            assert_eq!(offsets(&script.fetch(0, 1 << 20).decode(true).unwrap()), [0, 2, 3]);
        }
        if at == 69 {
            assert_unknown(&script, 6); // its own marker is whole, but the walk does not go on in this segment
        }
        // In the next segment outcomes are known again, and records in no transaction are never in doubt.
        assert_eq!(offsets(&script.fetch(3, 80).decode(true).unwrap()), [3]);
        assert_eq!(offsets(&script.fetch(8, 1 << 20).decode(true).unwrap()), [14]);
    }
}

/// The same where the damage was found when the log was opened: it can be read, but for that.
#[test]
fn damage_that_recovery_left_leaves_outcomes_unknown_too() {
    for (at, last) in [(8, 2), (69, 2), (78 + 8, 0)] {
        let mut script = four_segments();
        script.log.close().unwrap();
        damage(&script, 4, at);
        std::fs::remove_file(script.dir.path().join("thalweg-checkpoint")).unwrap();
        script.log = open(script.dir.path(), script.log.config().get_segment_bytes());
        assert!(!script.log.damaged.is_empty());
        if last == 2 {
            assert_unknown(&script, 2);
        } else {
            assert_eq!(offsets(&script.fetch(2, 100).decode(true).unwrap()), [2]);
        }
        assert_eq!(offsets(&script.fetch(3, 80).decode(true).unwrap()), [3]);
        assert_eq!(offsets(&script.fetch(8, 1 << 20).decode(true).unwrap()), [14]);
    }
}

fn assert_unknown(script: &Script, at: Offset) {
    let error = script.fetch(at, 1 << 20).decode(true).unwrap_err();
    let ErrorKind::CorruptRecord { offset, reason } = error.kind() else { panic!("{error}") };
    assert!(*offset == at && reason.contains("transaction"), "{error}");
}

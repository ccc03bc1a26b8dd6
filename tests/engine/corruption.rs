//! What opening does about damage, cell by cell of the table in the log's recovery: the states are made of real files.

use std::fs;
use std::path::{Path, PathBuf};

use thalweg::{Broker, ErrorKind, Offset, OnCorruption, ProducerRecord, TopicConfig};

use crate::open::segments;
use crate::support::{Store, all_values, fast, producer, send_each, tp};

const COUNT: Offset = 50;
const FAIL: OnCorruption = OnCorruption::Fail;
const TRUNCATE: OnCorruption = OnCorruption::Truncate;
const QUARANTINE: OnCorruption = OnCorruption::Quarantine;

/// What is wrong with the files.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// The last batch of a segment ends early.
    Torn,
    /// A bit of a batch in the middle of a segment is flipped.
    Damaged,
    /// A segment is missing.
    Gap,
    /// The last segment ends a batch early.
    Short,
    /// The first segment is missing.
    StartMissing,
}

/// Where, and what vouches for it.
#[derive(Clone, Copy, Debug)]
enum Where {
    /// The last segment (for a gap: any), with the first checkpoint of the log, as after a crash.
    Behind,
    /// The last segment, closed in order.
    Below,
    /// The last segment, without checkpoint.
    ImportedEnd,
    /// The second segment, without checkpoint.
    ImportedMiddle,
    /// The last segment, with a log start behind it.
    BelowStart,
}

/// What opening did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// The log ends earlier and goes on, with as many side files.
    Cut(usize),
    /// The log begins later and goes on.
    MovedStart,
    /// It can be read but for the damage, and takes no records.
    ReadOnly,
}

fn value(offset: Offset) -> Vec<u8> {
    vec![offset as u8; 40]
}

/// A log of several segments that is damaged, and the first offset that cannot be there any more.
fn damaged(found: Found, place: Where, on_corruption: OnCorruption) -> (Store, Offset) {
    let store = Store::new();
    let config = fast().internal_segment_bytes(1000).on_corruption(on_corruption);
    let broker = store.open_with_topic(1, config);
    let checkpoint = store.file("thalweg-checkpoint");
    let first_checkpoint = fs::read(&checkpoint).unwrap();
    send_each(&broker, (0..COUNT).map(value));
    if matches!(place, Where::BelowStart) {
        broker.partition(&tp(0)).unwrap().delete_records(COUNT).unwrap();
    }
    broker.close().unwrap();
    match place {
        Where::Behind => {
            fs::write(&checkpoint, first_checkpoint).unwrap();
            fs::remove_file(store.dir.path().join(".kafka_cleanshutdown")).unwrap();
        }
        Where::ImportedEnd | Where::ImportedMiddle => fs::remove_file(&checkpoint).unwrap(),
        Where::Below | Where::BelowStart => {}
    }
    let logs = segments(&store);
    let log = match (found, place) {
        (Found::StartMissing, _) => &logs[0],
        (Found::Gap, _) | (_, Where::ImportedMiddle) => &logs[1],
        _ => logs.last().unwrap(),
    };
    let content = fs::read(log).unwrap();
    let batch = content.len() / batches(log);
    let from = match found {
        Found::Torn => {
            fs::write(log, &content[..content.len() - 7]).unwrap();
            base(log) + batches_in(&content) - 1
        }
        Found::Short => {
            fs::write(log, &content[..content.len() - batch]).unwrap();
            base(log) + batches_in(&content) - 1
        }
        Found::Damaged => {
            let mut content = content.clone();
            // After a close in order only the last batch is looked at.
            let at = if matches!(place, Where::Below) { batches(log) - 1 } else { 1 };
            content[at * batch + 80] ^= 1;
            fs::write(log, content).unwrap();
            base(log) + at as Offset
        }
        Found::Gap | Found::StartMissing => {
            fs::remove_file(log).unwrap();
            base(log)
        }
    };
    (store, from)
}

fn base(log: &Path) -> Offset {
    log.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

fn batches(log: &Path) -> usize {
    batches_in(&fs::read(log).unwrap()) as usize
}

fn batches_in(mut content: &[u8]) -> Offset {
    let mut count = 0;
    while let Some(len) = content.get(8..12) {
        content = &content[12 + u32::from_be_bytes(len.try_into().unwrap()) as usize..];
        count += 1;
    }
    count
}

fn side_files(store: &Store) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains(".corrupt")).collect()
}

fn epoch_of(store: &Store) -> String {
    let text = fs::read_to_string(store.file("leader-epoch-checkpoint")).unwrap();
    text.lines().last().unwrap().to_owned()
}

fn check_cell(found: Found, place: Where, on_corruption: OnCorruption, expected: Done) {
    let cell = format!("{found:?} {place:?} {on_corruption:?}");
    let (store, from) = damaged(found, place, on_corruption);
    let before: Vec<_> = segments(&store).iter().map(|log| (log.clone(), fs::read(log).unwrap())).collect();
    let broker = store.open();
    let recovery = &broker.recovery().partitions[0];
    let partition = broker.partition(&tp(0)).unwrap();
    let sent = producer(&broker).send(ProducerRecord::new("t", "new").partition(0)).unwrap().wait();
    match expected {
        Done::Cut(kept) => {
            assert!(recovery.damage.is_none() && recovery.cut.is_some(), "{cell}: {}", broker.recovery());
            assert_eq!(side_files(&store).len(), kept, "{cell}");
            assert_eq!(sent.unwrap().offset, from, "{cell}");
            let kept = (0..from).map(value).chain([b"new".to_vec()]);
            assert!(all_values(&broker).into_iter().eq(kept), "{cell}");
            assert!(
                epoch_of(&store).starts_with("1 "),
                "{cell}: mode os may have acknowledged it: {}",
                epoch_of(&store)
            );
            broker.close().unwrap();
            let again = store.open();
            assert!(again.recovery().is_whole() && again.recovery().cut_bytes() == 0, "{cell}");
        }
        Done::MovedStart => {
            let start = base(&before[0].0);
            assert_eq!(recovery.moved_start, Some((0, start)), "{cell}");
            assert_eq!(partition.log_start().unwrap(), start);
            assert_eq!(sent.unwrap().offset, COUNT, "{cell}");
            assert_eq!(all_values(&broker).len() as Offset, COUNT - start + 1);
        }
        Done::ReadOnly => {
            let damage = recovery.damage.as_ref().unwrap_or_else(|| panic!("{cell}: {}", broker.recovery()));
            assert!(recovery.cut.is_none() && damage.file().is_some() && damage.file_pos().is_some(), "{cell}");
            assert!(damage.to_string().contains("on.corruption"), "the way out: {damage}");
            let refused = sent.unwrap_err();
            assert!(matches!(refused.kind(), ErrorKind::CorruptRecord { .. }), "{cell}: {refused}");
            if !matches!(place, Where::BelowStart) {
                read_around(&broker, from, &before, &cell);
            }
            broker.close().unwrap();
            let after: Vec<_> = segments(&store).iter().map(|log| (log.clone(), fs::read(log).unwrap())).collect();
            assert!(after == before && side_files(&store).is_empty(), "{cell}: nothing is changed");
            assert!(!store.open().recovery().clean, "a damaged log is not left as a clean one");
        }
    }
}

/// Everything below the damage can be read, the damage is an error, and so is nothing behind it.
fn read_around(broker: &Broker, from: Offset, logs: &[(PathBuf, Vec<u8>)], cell: &str) {
    let partition = broker.partition(&tp(0)).unwrap();
    let to = logs.iter().map(|(log, _)| base(log)).find(|base| *base > from).unwrap_or(COUNT);
    for offset in partition.log_start().unwrap()..COUNT {
        let fetched = partition.fetch(offset, &Default::default()).and_then(|fetched| fetched.decode(true));
        if (from..to).contains(&offset) {
            let error = fetched.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::CorruptRecord { .. }), "{cell} at {offset}: {error}");
        } else {
            let records = fetched.unwrap_or_else(|error| panic!("{cell} at {offset}: {error}"));
            assert_eq!(records.iter().next().unwrap().value().unwrap(), value(offset), "{cell} at {offset}");
        }
    }
}

#[test]
fn every_cell_that_files_can_be_in() {
    use Done::{Cut, MovedStart, ReadOnly};
    let rows = [
        (Found::Torn, Where::Behind, [Cut(0), Cut(0), Cut(0)]),
        (Found::Torn, Where::Below, [ReadOnly, Cut(0), Cut(1)]),
        (Found::Torn, Where::ImportedEnd, [Cut(0), Cut(0), Cut(0)]),
        (Found::Damaged, Where::Behind, [Cut(1), Cut(1), Cut(1)]),
        (Found::Damaged, Where::Below, [ReadOnly, Cut(0), Cut(1)]),
        (Found::Damaged, Where::ImportedEnd, [Cut(1), Cut(1), Cut(1)]),
        (Found::Short, Where::Below, [ReadOnly, Cut(0), Cut(0)]),
        (Found::Short, Where::BelowStart, [ReadOnly, ReadOnly, ReadOnly]),
        (Found::Torn, Where::BelowStart, [ReadOnly, ReadOnly, ReadOnly]),
        (Found::StartMissing, Where::Below, [ReadOnly, MovedStart, MovedStart]),
    ];
    for (found, place, cells) in rows {
        for (on_corruption, expected) in [FAIL, TRUNCATE, QUARANTINE].into_iter().zip(cells) {
            check_cell(found, place, on_corruption, expected);
        }
    }
}

#[test]
fn cells_with_segments_behind() {
    // As many side files as segments behind the damage, and the end of its own segment where that is kept.
    let (store, _) = damaged(Found::Damaged, Where::ImportedMiddle, FAIL);
    let count = segments(&store).len();
    for (found, place, cells) in [
        (Found::Gap, Where::Behind, [Done::Cut(count - 2); 3]),
        (Found::Damaged, Where::ImportedMiddle, [Done::ReadOnly, Done::Cut(0), Done::Cut(count - 1)]),
        (Found::Torn, Where::ImportedMiddle, [Done::ReadOnly, Done::Cut(0), Done::Cut(count - 1)]),
    ] {
        for (on_corruption, expected) in [FAIL, TRUNCATE, QUARANTINE].into_iter().zip(cells) {
            check_cell(found, place, on_corruption, expected);
        }
    }
}

#[test]
fn a_torn_batch_that_was_never_promised_leaves_the_epoch() {
    let store = Store::new();
    let broker = store.open_with_topic(1, TopicConfig::new());
    send_each(&broker, ["a"]);
    broker.close().unwrap();
    fs::remove_file(store.dir.path().join(".kafka_cleanshutdown")).unwrap();
    let log = store.file("00000000000000000000.log");
    let mut content = fs::read(&log).unwrap();
    content.extend_from_within(..30);
    fs::write(&log, content).unwrap();
    let broker = store.open();
    assert_eq!(broker.recovery().cut_bytes(), 30);
    assert_eq!(epoch_of(&store), "0 0", "mode fsync acknowledges nothing that is not synced");
}

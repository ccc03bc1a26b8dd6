//! Backups of a directory in use.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use thalweg::{Broker, CheckpointReport, Durability, ErrorKind, FetchOptions, Offset, Severity, TopicConfig, verify};

use crate::support::{Store, all_values, consumer, fast, open, producer, send_each, tp};

fn value(offset: Offset) -> Vec<u8> {
    offset.to_be_bytes().repeat(4)
}

/// Opens the copy and compares it with what was sent; returns start and end of its partition `t-0`.
fn check_copy(copy: &Path) -> (Offset, Offset) {
    let found = verify(copy).unwrap();
    assert!(found.clean && found.worst() < Some(Severity::Warning), "{found}");
    let broker = open(copy).unwrap();
    assert!(broker.recovery().clean && broker.recovery().failed.is_empty(), "{}", broker.recovery());
    assert_eq!((broker.recovery().scanned_bytes(), broker.recovery().cut_bytes()), (0, 0));
    let partition = broker.partition(&tp(0)).unwrap();
    let (start, end) = (partition.log_start().unwrap(), partition.log_end().unwrap());
    let mut offset = start;
    while offset < end {
        for record in partition.fetch(offset, &FetchOptions::new()).unwrap().decode(true).unwrap().iter() {
            assert_eq!((record.offset(), record.value().unwrap()), (offset, &value(offset)[..]));
            offset += 1;
        }
    }
    broker.close().unwrap();
    (start, end)
}

fn copy_of(broker: &Broker) -> (tempfile::TempDir, std::path::PathBuf, CheckpointReport) {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("backup");
    let report = broker.checkpoint(&target).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside");
    (dir, target, report)
}

/// Defends D17.
#[test]
fn a_copy_has_what_was_there_and_goes_its_own_way() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast().internal_segment_bytes(700));
    send_each(&broker, (0..50).map(value));
    consumer(&broker, "g").commit_sync_offsets(&[(tp(0), 33.into())]).unwrap();
    let (_dir, copy, report) = copy_of(&broker);
    assert_eq!((report.topics, report.partitions), (2, 52));
    assert!(report.linked_segments > 3 && report.linked_bytes > 2000, "{report}");
    assert_eq!(report.copied_segments, 52, "the last segment of each partition: {report}");
    send_each(&broker, (50..60).map(value));
    assert_eq!(check_copy(&copy), (0, 50));

    let other = open(&copy).unwrap();
    assert_eq!(other.topic("t").unwrap().id(), broker.topic("t").unwrap().id());
    assert_eq!(consumer(&other, "g").committed(&[tp(0)]).unwrap()[0].1.as_ref().unwrap().offset(), 33);
    assert_eq!(send_each(&other, ["elsewhere"]), [50]);
    other.partition(&tp(0)).unwrap().delete_records(40).unwrap();
    other.close().unwrap();
    assert_eq!(all_values(&broker), (0..60).map(value).collect::<Vec<_>>());
    broker.close().unwrap();
    assert!(verify(store.dir.path()).unwrap().findings.is_empty());
}

#[test]
fn a_copy_outlives_what_its_original_deletes() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(700));
    send_each(&broker, (0..50).map(value));
    let (_dir, copy, _) = copy_of(&broker);
    broker.partition(&tp(0)).unwrap().delete_records(50).unwrap();
    broker.close().unwrap();
    fs::remove_dir_all(store.dir.path().join("t-0")).unwrap();
    assert_eq!(check_copy(&copy), (0, 50));
}

#[test]
fn an_empty_topic_and_one_that_begins_late_can_be_copied() {
    for deleted in [0, 23, 50] {
        let store = Store::new();
        let broker = store.open_with_topic(1, fast().internal_segment_bytes(700));
        if deleted > 0 {
            send_each(&broker, (0..50).map(value));
            broker.partition(&tp(0)).unwrap().delete_records(deleted).unwrap();
        }
        let (_dir, copy, _) = copy_of(&broker);
        assert_eq!(check_copy(&copy), (deleted, if deleted > 0 { 50 } else { 0 }));
    }
}

#[test]
fn a_target_that_is_in_use_is_refused() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let dir = tempfile::tempdir().unwrap();
    broker.checkpoint(dir.path()).unwrap(); // empty
    let refused = broker.checkpoint(dir.path()).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Io { .. }), "{refused}");
    let inside = broker.checkpoint(store.dir.path().join("backup")).unwrap_err();
    assert!(matches!(inside.kind(), ErrorKind::IllegalArgument { .. }), "{inside}");
    check_copy(dir.path());
}

#[test]
fn a_partition_that_did_not_open_is_not_left_out_silently() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast());
    broker.close().unwrap();
    fs::remove_dir_all(store.dir.path().join("t-1")).unwrap();
    let broker = store.open();
    let dir = tempfile::tempdir().unwrap();
    broker.checkpoint(dir.path().join("backup")).unwrap_err();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing that looks whole is left");
}

/// Ends the other threads, also when this one panics.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Defends D17.
#[test]
fn copies_under_load_are_prefixes_whose_commits_are_covered() {
    for durability in [Durability::Os, Durability::Fsync] {
        let store = Store::new();
        let config = TopicConfig::new().durability(durability).internal_segment_bytes(10_000).index_interval_bytes(200);
        let broker = store.open_with_topic(1, config.retention_bytes(Some(50_000)));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let appending = scope.spawn(|| {
                let producer = producer(&broker);
                let mut sent = 0;
                let partition = broker.partition(&tp(0)).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    if partition.size().unwrap() > 150_000 {
                        std::thread::yield_now(); // retention comes behind
                        continue;
                    }
                    let value = value(sent);
                    let record = thalweg::ProducerRecord::new("t", &value).partition(0);
                    assert_eq!(producer.send(record).unwrap().wait().unwrap().offset, sent);
                    sent += 1;
                }
                sent
            });
            scope.spawn(|| {
                let mut consumer = consumer(&broker, "g");
                let mut created = 0;
                while !stop.load(Ordering::Relaxed) {
                    let end = broker.partition(&tp(0)).unwrap().high_watermark().unwrap();
                    consumer.commit_sync_offsets(&[(tp(0), end.into())]).unwrap();
                    broker.enforce_retention().unwrap();
                    created += 1;
                    if [5, 50].contains(&created) {
                        broker.create_topic(&format!("new{created}"), 1, fast()).unwrap();
                    }
                }
                consumer.close().unwrap();
            });
            let _stop = StopAtTheEnd(&stop);
            let (mut before, mut copies) = (0, 0);
            while copies < 3 {
                let acknowledged = broker.partition(&tp(0)).unwrap().high_watermark().unwrap();
                if acknowledged < before + 60 {
                    std::thread::yield_now();
                    continue;
                }
                let (_dir, copy, _) = copy_of(&broker);
                let (_, end) = check_copy(&copy);
                assert!(acknowledged <= end, "what was acknowledged before the call is in the copy");
                let other = open(&copy).unwrap();
                let committed = consumer(&other, "g").committed(&[tp(0)]).unwrap()[0].1.clone();
                assert!(committed.is_none_or(|committed| committed.offset() <= end));
                (before, copies) = (end, copies + 1);
            }
            stop.store(true, Ordering::Relaxed);
            assert!(appending.join().unwrap() >= before);
        });
        broker.close().unwrap();
        let found = verify(store.dir.path()).unwrap();
        assert!(found.worst() < Some(Severity::Warning), "{found}");
    }
}

#[test]
fn a_log_that_ends_behind_a_gap_ends_there_in_the_copy() {
    let store = Store::new();
    let broker = store.open_with_topic(1, TopicConfig::new());
    send_each(&broker, (0..3).map(value));
    broker.close().unwrap();
    // A log that comes from elsewhere and was compacted: offsets 3 to 9 are gone, and nothing came since.
    fs::remove_file(store.file("thalweg-checkpoint")).unwrap();
    fs::write(store.file("00000000000000000010.log"), "").unwrap();
    let broker = store.open();
    assert_eq!(broker.partition(&tp(0)).unwrap().log_end().unwrap(), 10);
    let (_dir, copy, _) = copy_of(&broker);
    let copy = open(&copy).unwrap();
    assert!(copy.recovery().is_whole(), "{}", copy.recovery());
    assert_eq!(copy.partition(&tp(0)).unwrap().log_end().unwrap(), 10);
    assert_eq!(send_each(&copy, ["x"]), [10]);
}

#[test]
fn the_data_directory_is_found_by_whatever_path() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(store.dir.path(), elsewhere.path().join("link")).unwrap();
    let name = store.dir.path().file_name().unwrap();
    let before = store.names_of_topic();
    for target in [
        store.dir.path().join("backup"),
        elsewhere.path().join("link/backup"),
        elsewhere.path().join("link/t-0/a/b"),
        store.dir.path().join("..").join(name).join("backup"),
        elsewhere.path().join("none/../link/backup"),
    ] {
        let refused = broker.checkpoint(&target).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::IllegalArgument { .. }), "{}: {refused}", target.display());
    }
    assert_eq!(store.names_of_topic(), before);
    assert!(
        !fs::read_dir(store.dir.path()).unwrap().any(|entry| entry
            .unwrap()
            .path()
            .extension()
            .is_some_and(|e| e == "tmp"))
    );
    broker.checkpoint(elsewhere.path().join("backup")).unwrap();
}

/// What is done to a directory or to its backup, to let its log end within segments that both share.
type Change = fn(&Path, &[Offset]);

fn lose_from(directory: &Path, bases: &[Offset], lost: std::ops::Range<usize>) {
    for base in &bases[lost] {
        fs::remove_file(directory.join(format!("t-0/{base:020}.log"))).unwrap();
    }
}

/// Defends D17.
#[test]
fn a_directory_and_its_backup_do_not_change_each_other() {
    let changes: [Change; 4] = [
        |directory, bases| {
            lose_from(directory, bases, 2..3);
            thalweg::repair(directory, &thalweg::RepairOptions::new().cut_damage(true)).unwrap();
        },
        |directory, bases| {
            lose_from(directory, bases, 2..bases.len());
            thalweg::repair(directory, &thalweg::RepairOptions::new().accept_loss(true)).unwrap();
        },
        |directory, bases| lose_from(directory, bases, 2..bases.len()), // on.corruption=truncate
        |directory, bases| {
            // Damage in a log that nothing vouches for.
            fs::remove_file(directory.join("t-0/thalweg-checkpoint")).unwrap();
            let path = directory.join(format!("t-0/{:020}.log", bases[1]));
            let mut content = fs::read(&path).unwrap();
            let last = content.len() - 1;
            content[last] ^= 1;
            fs::remove_file(&path).unwrap(); // the other name keeps its bytes
            fs::write(&path, &content[..]).unwrap();
        },
    ];
    for change in changes {
        for swapped in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
            let broker = open(&data).unwrap();
            let config = fast().internal_segment_bytes(500).on_corruption(thalweg::OnCorruption::Truncate);
            broker.create_topic("t", 1, config.clone()).unwrap();
            send_each(&broker, (0..30).map(|_| "v"));
            broker.checkpoint(&backup).unwrap();
            broker.close().unwrap();
            let (changed, other) = if swapped { (&backup, &data) } else { (&data, &backup) };
            let mut bases: Vec<Offset> = fs::read_dir(changed.join("t-0"))
                .unwrap()
                .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".log")?.parse().ok())
                .collect();
            bases.sort();
            change(changed, &bases);
            let broker = open(changed).unwrap();
            broker.alter_topic("t", config.internal_segment_bytes(100_000)).unwrap(); // room in the last segment
            assert!(send_each(&broker, ["X"])[0] < 30);
            broker.close().unwrap();
            let found = verify(other).unwrap();
            assert!(found.worst() < Some(Severity::Warning), "{found}");
            let broker = open(other).unwrap();
            assert!(all_values(&broker).iter().all(|value| value == b"v") && all_values(&broker).len() == 30);
        }
    }
}

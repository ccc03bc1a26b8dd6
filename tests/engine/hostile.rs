//! What the campaign over damaged files found: the smallest case of each.

use std::fs;
use std::time::Duration;

use thalweg::{ErrorKind, OffsetSpec, OnCorruption, ProducerConfig, ProducerRecord, Severity, verify};

use crate::open::segments;
use crate::support::{Store, consumer, fast, open, send_each, tp};

const LOG: &str = "00000000000000000000.log";

/// A closed log of 30 records, one a batch, in several segments.
fn store(on_corruption: OnCorruption) -> Store {
    let store = Store::new();
    let config = fast().retention(None).internal_segment_bytes(1000).index_interval_bytes(100);
    let broker = store.open_with_topic(1, config.on_corruption(on_corruption));
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    for number in 0..30 {
        let record = ProducerRecord::new("t", "twenty bytes of text").partition(0).timestamp(1000 + number * 10);
        producer.send(record).unwrap().wait().unwrap();
    }
    drop(producer);
    broker.close().unwrap();
    store
}

fn change(path: &std::path::Path, at: usize, change: impl FnOnce(&mut u8)) {
    let mut content = fs::read(path).unwrap();
    change(&mut content[at]);
    fs::write(path, content).unwrap();
}

#[test]
fn index_files_beside_damage_stay_as_they_are() {
    let store = store(OnCorruption::Fail);
    fs::remove_file(store.file("thalweg-checkpoint")).unwrap();
    fs::remove_file(store.file("00000000000000000000.timeindex")).unwrap();
    let damaged = &segments(&store)[1];
    change(damaged, 80, |byte| *byte ^= 1);
    let files = || -> Vec<_> {
        let entries = fs::read_dir(store.dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    };
    let before = files();
    let broker = store.open();
    assert!(!broker.recovery().is_whole());
    broker.close().unwrap();
    assert!(before == files(), "on.corruption=fail changes nothing");
}

#[test]
fn a_fetch_does_not_pass_over_damage_in_a_log_that_may_have_gaps() {
    let store = store(OnCorruption::Fail);
    fs::remove_file(store.file("thalweg-checkpoint")).unwrap();
    let logs = segments(&store);
    change(&logs[1], 80, |byte| *byte ^= 1); // its first batch
    let broker = store.open();
    let partition = broker.partition(&tp(0)).unwrap();
    let first = partition.fetch(0, &Default::default()).unwrap();
    let damaged = first.next_offset();
    assert!(0 < damaged && damaged < 30, "{damaged}");
    assert_eq!(first.decode(true).unwrap().len() as i64, damaged);
    let error = partition.fetch(damaged, &Default::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::CorruptRecord { .. }) && error.file_pos() == Some(0), "{error}");
}

#[test]
fn a_time_index_entry_with_another_time_hides_no_record() {
    for from_end in [12, 24] {
        let store = store(OnCorruption::Fail);
        let index = store.file("00000000000000000000.timeindex");
        let at = fs::read(&index).unwrap().len() - from_end + 7;
        change(&index, at, |byte| *byte = byte.wrapping_sub(15)); // below the time of the batch before, above the entry's
        let broker = store.open();
        let partition = broker.partition(&tp(0)).unwrap();
        for time in 1000..1290 {
            let listed = partition.list_offset(OffsetSpec::Timestamp(time)).unwrap().unwrap();
            assert_eq!(listed.offset, (time - 1000 + 9) / 10, "time {time}, entry {from_end} bytes before the end");
        }
    }
}

#[test]
fn a_time_is_not_found_at_an_offset_that_moved() {
    let store = store(OnCorruption::Fail);
    let content = fs::read(store.file(LOG)).unwrap();
    let size = 12 + u32::from_be_bytes(content[8..12].try_into().unwrap()) as usize;
    for batch in 0..content.len() / size {
        change(&store.file(LOG), batch * size + 6, |byte| *byte ^= 1);
        let broker = store.open();
        let partition = broker.partition(&tp(0)).unwrap();
        for time in [1000, 1010, 1020, 1030, 1040] {
            if let Ok(listed) = partition.list_offset(OffsetSpec::Timestamp(time)) {
                assert_eq!(listed.unwrap().offset, (time - 1000) / 10, "batch {batch}");
            }
        }
        drop(broker);
        fs::write(store.file(LOG), &content).unwrap();
    }
}

#[test]
fn a_batch_that_claims_fewer_records_hides_none_behind_it() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(400));
    let producer = broker.producer(ProducerConfig::new().linger(Duration::from_secs(3600))).unwrap();
    for number in 0..40 {
        let _ack = producer.send(ProducerRecord::new("t", "twenty bytes of text").partition(0)).unwrap();
        if number % 2 == 1 {
            producer.flush().unwrap(); // a batch of two
        }
    }
    drop(producer);
    broker.close().unwrap();
    let log = fs::read(store.file(LOG)).unwrap();
    let size = 12 + u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    let last = (log.len() / size * 2) as i64 - 1;
    assert!(2 < last, "two batches at least");
    change(&store.file(LOG), 26, |byte| *byte ^= 1); // the last offset delta of the first batch
    let broker = store.open();
    let partition = broker.partition(&tp(0)).unwrap();
    for offset in 0..=last {
        match partition.fetch(offset, &Default::default()).and_then(|fetched| fetched.decode(true)) {
            Ok(records) => assert_eq!(records.iter().next().unwrap().offset(), offset),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::CorruptRecord { .. }), "{error}"),
        }
    }
}

/// Defends D7.
#[test]
fn a_committed_offset_is_set_back_where_a_durable_end_was_cut() {
    let store = store(OnCorruption::Truncate);
    let broker = store.open();
    consumer(&broker, "g").commit_sync_offsets(&[(tp(0), 30.into())]).unwrap();
    broker.close().unwrap();
    let last = segments(&store).pop().unwrap();
    let content = fs::read(&last).unwrap();
    fs::write(&last, &content[..content.len() - 7]).unwrap();
    let broker = store.open();
    assert!(broker.recovery().clean && broker.recovery().cut_bytes() > 0);
    assert_eq!(broker.recovery().clamped_offsets, 1);
    send_each(&broker, ["new", "newer"]);
    let committed = consumer(&broker, "g").committed(&[tp(0)]).unwrap()[0].1.as_ref().unwrap().offset();
    assert_eq!(committed, 29, "what is appended now is not passed over");
}

#[test]
fn damage_that_was_refused_is_refused_again() {
    let store = store(OnCorruption::Fail);
    let last = segments(&store).pop().unwrap();
    let len = fs::read(&last).unwrap().len();
    change(&last, len - 3, |byte| *byte ^= 1);
    for open in ["after the close in order", "after the close with damage"] {
        let broker = store.open();
        assert!(!broker.recovery().is_whole(), "{open}");
        broker.close().unwrap();
    }
}

#[test]
fn a_directory_in_place_of_a_file_is_found_by_both() {
    for name in [".kafka_cleanshutdown", "meta.properties", "t.topic", "t-0/thalweg-checkpoint"] {
        let store = store(OnCorruption::Fail);
        let path = store.dir.path().join(name);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(verify(store.dir.path()).unwrap().worst(), Some(Severity::Error), "{name}");
        match open(store.dir.path()) {
            Ok(broker) => broker.recovery().failed.iter().for_each(|error| assert!(error.file().is_some(), "{error}")),
            Err(error) => assert_eq!(error.file(), Some(path.as_path()), "{error}"),
        }
    }
}

#[test]
fn a_directory_in_place_of_a_segment_that_nothing_vouches_for_is_seen() {
    let store = store(OnCorruption::Fail);
    let last = segments(&store).pop().unwrap();
    fs::remove_file(store.file("thalweg-checkpoint")).unwrap();
    fs::remove_file(&last).unwrap();
    fs::create_dir(&last).unwrap();
    let found = verify(store.dir.path()).unwrap();
    assert!(found.findings.iter().any(|found| found.file == last && found.severity == Severity::Error), "{found}");
}

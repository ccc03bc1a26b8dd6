//! Flipped bits: what is read is what was sent, or an error that says where.

use std::fs;
use std::time::Duration;

use thalweg::{AutoOffsetReset, Broker, ConsumerConfig, ErrorKind, FetchOptions, Partition, Result};

use crate::support::{Store, consumer, fast, poll_values, producer, send_each, tp};

const LOG: &str = "00000000000000000000.log";

/// The value of the record at an offset.
fn value(offset: i64) -> Vec<u8> {
    vec![offset as u8; 20 + offset as usize % 7]
}

/// Reads from every offset on, in several sizes: a record that comes is the one that was sent, and each answer moves on.
/// Returns how many reads ended in an error.
fn read_everything(partition: &Partition, end: i64) -> Result<usize> {
    let mut errors = 0;
    for start in partition.log_start()?..end {
        for max_bytes in [1, 500, 1 << 20] {
            let mut offset = start;
            while offset < partition.high_watermark()? {
                let fetched = partition.fetch(offset, &FetchOptions::new().max_bytes(max_bytes));
                match fetched.and_then(|fetched| fetched.decode(true)) {
                    Ok(records) => {
                        assert!(records.next_offset() > offset, "a fetch at {offset} neither moves on nor fails");
                        assert!(
                            records.iter().map(|record| record.offset()).eq(offset..records.next_offset()),
                            "a hole"
                        );
                        records.iter().for_each(|record| assert_eq!(record.value().unwrap(), value(record.offset())));
                        offset = records.next_offset();
                    }
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::CorruptRecord { .. }), "{error}");
                        assert!(error.file().is_some() && error.file_pos().is_some());
                        errors += 1;
                        break;
                    }
                }
            }
        }
    }
    Ok(errors)
}

/// Defends D6.
#[test]
fn no_flipped_bit_gives_a_wrong_record() {
    const COUNT: i64 = 20;
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(600).index_interval_bytes(200));
    send_each(&broker, (0..COUNT).map(value));
    broker.close().unwrap();
    let entries = fs::read_dir(store.dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    logs.sort();
    assert!(logs.len() > 2);
    let checkpoint = fs::read(store.file("thalweg-checkpoint")).unwrap();
    let (mut refused, mut found, mut harmless) = (0, 0, 0);
    for log in &logs {
        let good = fs::read(log).unwrap();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1 << (byte % 8);
            fs::write(log, &bad).unwrap();
            let broker = store.open();
            let seen_by_opening = !broker.recovery().is_whole();
            match read_everything(&broker.partition(&tp(0)).unwrap(), COUNT) {
                Ok(0) => harmless += 1,
                Ok(_) if seen_by_opening => refused += 1,
                Ok(_) => found += 1,
                Err(error) => panic!("{error}"),
            }
            drop(broker);
            fs::write(log, &good).unwrap();
            fs::write(store.file("thalweg-checkpoint"), &checkpoint).unwrap();
            fs::write(store.dir.path().join(".kafka_cleanshutdown"), "").unwrap();
        }
    }
    assert!(found > 500 && refused > 50, "{found} found by reading, {refused} by opening");
    assert!(
        harmless <= 4 * COUNT,
        "only the leader epoch, of 4 bytes a batch, says nothing about the records: {harmless}"
    );
    println!("{found} flips found by reading, {refused} by opening, {harmless} harmless");
}

#[test]
fn a_base_offset_that_moved_is_found_without_the_index_files() {
    for sealed in [false, true] {
        for bit in 0..6 {
            let store = Store::new();
            let broker = store.open_with_topic(1, fast().internal_segment_bytes(3000).index_interval_bytes(1));
            send_each(&broker, (0..60).map(value));
            broker.close().unwrap();
            let entries = || fs::read_dir(store.dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
            let with_ending = |ending: &str| -> Vec<_> {
                let mut paths: Vec<_> =
                    entries().filter(|path| path.extension().is_some_and(|ext| ext == ending)).collect();
                paths.sort();
                paths
            };
            let log = if sealed { store.file(LOG) } else { with_ending("log").pop().unwrap() };
            let mut content = fs::read(&log).unwrap();
            let size = |at: usize| 12 + u32::from_be_bytes(content[at + 8..at + 12].try_into().unwrap()) as usize;
            let fourth = (0..3).fold(0, |at, _| at + size(at));
            content[fourth + 7] ^= 1 << bit;
            fs::write(&log, &content).unwrap();
            for index in [with_ending("index"), with_ending("timeindex")].concat() {
                fs::remove_file(index).unwrap();
            }
            let broker = store.open();
            let found = read_everything(&broker.partition(&tp(0)).unwrap(), 60);
            assert!(!matches!(found, Ok(0)), "sealed {sealed}, bit {bit}");
        }
    }
}

#[test]
fn a_size_that_grew_ends_in_an_error_and_not_in_a_loop() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, (0..300).map(|_| [7; 1000]));
    broker.close().unwrap();
    let good = fs::read(store.file(LOG)).unwrap();
    for bit in 0..31 {
        let mut bad = good.clone();
        bad[8 + bit / 8] ^= 0x80 >> (bit % 8);
        fs::write(store.file(LOG), &bad).unwrap();
        let broker = store.open();
        let mut consumer = broker.consumer(ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest)).unwrap();
        consumer.assign(&[tp(0)]).unwrap();
        let error = consumer.poll(Duration::from_secs(60)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::CorruptRecord { offset: 0, .. }), "bit {bit}: {error}");
        drop(broker);
        fs::write(store.dir.path().join(".kafka_cleanshutdown"), "").unwrap();
    }
}

#[test]
fn damage_hides_no_record_before_it_whatever_the_limit() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().index_interval_bytes(500));
    send_each(&broker, (0..50).map(|_| [7; 40]));
    broker.close().unwrap();
    let mut content = fs::read(store.file(LOG)).unwrap();
    let batch = content.len() / 50;
    for damaged in [20 * batch + 9, 20 * batch + 3, 20 * batch + 16, 20 * batch + 80] {
        content[damaged] ^= 0x10;
        fs::write(store.file(LOG), &content).unwrap();
        let broker = store.open();
        let partition = broker.partition(&tp(0)).unwrap();
        for limit in (batch..30 * batch).step_by(batch / 2) {
            let mut offset = 0;
            while offset < 20 {
                let fetched = partition.fetch(offset, &FetchOptions::new().max_bytes(limit)).unwrap();
                offset = fetched.decode(true).unwrap().next_offset();
            }
            assert_eq!(offset, 20);
            let error =
                partition.fetch(20, &FetchOptions::new().max_bytes(limit)).and_then(|fetched| fetched.decode(true));
            let error = error.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::CorruptRecord { offset: 20, .. }), "{error}");
            assert_eq!(error.file_pos(), Some(20 * batch as u64));
        }
        drop(broker);
        content[damaged] ^= 0x10;
        fs::write(store.dir.path().join(".kafka_cleanshutdown"), "").unwrap();
    }
}

#[test]
fn a_commit_that_moved_is_not_believed() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut committing = consumer(&broker, "my-group"); // partition 12 of 50
    for offset in [10, 20, 30] {
        committing.commit_sync_offsets(&[(tp(0), offset.into())]).unwrap();
    }
    drop(committing);
    broker.close().unwrap();
    let log = store.dir.path().join("__consumer_offsets-12").join(LOG);
    let mut content = fs::read(&log).unwrap();
    content[3] ^= 1; // the base offset of the first commit
    fs::write(&log, content).unwrap();
    let broker = store.open();
    let error = consumer(&broker, "my-group").committed(&[tp(0)]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::CorruptRecord { .. }), "{error}");
    assert_eq!(consumer(&broker, "another").committed(&[tp(0)]).unwrap()[0].1, None, "other partitions are served");
}

#[test]
fn segments_that_are_gone_from_the_beginning_are_missed() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(500));
    send_each(&broker, (0..30).map(value));
    broker.close().unwrap();
    fs::remove_file(store.file(LOG)).unwrap();
    for open in [Store::open, Store::open_after_kill] {
        let broker: Broker = open(&store);
        let partition = broker.partition(&tp(0)).unwrap();
        assert_eq!((partition.log_start().unwrap(), partition.log_end().unwrap()), (0, 30));
        let error = partition.fetch(0, &Default::default()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::CorruptRecord { offset: 0, .. }), "{error}");
        assert!(!partition.fetch(29, &Default::default()).unwrap().is_empty(), "the rest can be read");
        broker.close().unwrap();
    }
}

#[test]
fn a_committed_offset_behind_the_end_stays_after_a_clean_close() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    consumer(&broker, "g").commit_sync_offsets(&[(tp(0), 1000.into())]).unwrap();
    broker.close().unwrap();
    let broker = store.open();
    assert_eq!(consumer(&broker, "g").committed(&[tp(0)]).unwrap()[0].1.as_ref().unwrap().offset(), 1000);
}

#[test]
fn consumers_and_producers_of_a_closed_broker_touch_nothing() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut old = consumer(&broker, "g");
    old.subscribe(&["t"]).unwrap();
    let old_producer = producer(&broker);
    broker.close().unwrap();
    let broker = store.open();
    send_each(&broker, ["a"]);
    let mut new = consumer(&broker, "g");
    new.subscribe(&["t"]).unwrap();
    poll_values(&mut new, 1);
    new.commit_sync().unwrap();
    assert_eq!(old.poll(Duration::ZERO).unwrap_err().kind(), &ErrorKind::Closed);
    assert_eq!(old.commit_sync().unwrap_err().kind(), &ErrorKind::Closed);
    assert!(old_producer.send(thalweg::ProducerRecord::new("t", "late")).is_err());
    drop((new, old, old_producer));
    broker.close().unwrap();
    let broker = store.open();
    assert_eq!(consumer(&broker, "g").committed(&[tp(0)]).unwrap()[0].1.as_ref().unwrap().offset(), 1);
}

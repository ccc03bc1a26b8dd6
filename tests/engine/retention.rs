//! What goes: by request, by age, by size.

use std::fs;
use std::time::Duration;

use thalweg::{AutoOffsetReset, Broker, CleanupPolicy, ConsumerConfig, ErrorKind, ProducerRecord, TopicConfig};

use crate::support::{Store, all_values, fast, poll_values, producer, send_each, tp};

fn small() -> TopicConfig {
    fast().internal_segment_bytes(1000).retention(None)
}

/// The `.log` files of partition `t-0`.
fn segments(store: &Store) -> usize {
    let entries = fs::read_dir(store.dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "log")).count()
}

/// A topic with 50 records of 40 bytes in partition 0, the n-th with timestamp n seconds.
fn with_records(store: &Store, config: TopicConfig) -> Broker {
    let broker = store.open_with_topic(1, config);
    let producer = producer(&broker);
    for number in 0..50u8 {
        let value = [number; 40];
        let record = ProducerRecord::new("t", &value).timestamp(i64::from(number) * 1000);
        producer.send(record).unwrap().wait().unwrap();
    }
    broker
}

/// Defends D9.
#[test]
fn deleted_records_are_gone_and_stay_gone() {
    let store = Store::new();
    let broker = with_records(&store, small());
    let before = segments(&store);
    let partition = broker.partition(&tp(0)).unwrap();
    assert_eq!(partition.delete_records(27).unwrap(), 27);
    assert_eq!(partition.delete_records(5).unwrap(), 27, "a smaller offset changes nothing");
    assert_eq!(partition.log_start().unwrap(), 27);
    assert!(segments(&store) < before);
    let error = partition.fetch(26, &Default::default()).unwrap_err();
    assert_eq!(
        error.kind(),
        &ErrorKind::OffsetOutOfRange { requested: 26, log_start: 27, high_watermark: 50, log_end: 50 }
    );
    let records = partition.fetch(27, &Default::default()).unwrap().decode(true).unwrap();
    assert_eq!(records.iter().next().unwrap().value().unwrap(), [27; 40], "the start may lie within a segment");
    drop(partition);
    // As a kill would leave it: nothing is written after the call returned.
    let checkpoint = fs::read(store.file("thalweg-checkpoint")).unwrap();
    broker.close().unwrap();
    fs::write(store.file("thalweg-checkpoint"), checkpoint).unwrap();
    for open in [Store::open_after_kill, Store::open] {
        let broker = open(&store);
        assert_eq!(broker.recovery().failed.len(), 0, "{}", broker.recovery());
        assert_eq!(all_values(&broker).len(), 23);
        assert_eq!(broker.partition(&tp(0)).unwrap().log_start().unwrap(), 27);
        broker.close().unwrap();
    }
}

#[test]
fn everything_can_be_deleted_and_offsets_go_on() {
    let store = Store::new();
    let broker = with_records(&store, small());
    let partition = broker.partition(&tp(0)).unwrap();
    assert_eq!(partition.delete_records(50).unwrap(), 50);
    assert!(all_values(&broker).is_empty());
    assert_eq!(send_each(&broker, ["next"]), [50]);
    broker.close().unwrap();
    let broker = store.open_after_kill();
    assert_eq!(all_values(&broker), [b"next"]);
}

#[test]
fn what_cannot_be_deleted() {
    let store = Store::new();
    let broker = with_records(&store, small());
    for requested in [-1, 51, i64::MAX, i64::MIN] {
        let error = broker.partition(&tp(0)).unwrap().delete_records(requested).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OffsetOutOfRange { .. }), "{requested}: {error}");
    }
    broker.create_topic("compacted", 1, fast().cleanup_policy(CleanupPolicy::Compact)).unwrap();
    let compacted = broker.partition(&thalweg::TopicPartition::new("compacted", 0)).unwrap();
    let error = compacted.delete_records(0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::PolicyViolation { .. }), "{error}");
}

#[test]
fn a_reader_keeps_what_it_has_fetched() {
    let store = Store::new();
    let broker = with_records(&store, small());
    let partition = broker.partition(&tp(0)).unwrap();
    let records = partition.fetch(0, &Default::default()).unwrap().decode(true).unwrap();
    partition.delete_records(50).unwrap();
    assert_eq!(segments(&store), 1);
    assert!(records.iter().map(|record| record.value().unwrap()[0]).eq(0..50));
    broker.close().unwrap();
    assert_eq!(records.iter().count(), 50);
}

#[test]
fn by_size_a_partition_stays_at_least_as_large_as_its_limit() {
    let store = Store::new();
    let broker = with_records(&store, small().retention_bytes(Some(2500)));
    let size = || broker.partition(&tp(0)).unwrap().size().unwrap();
    let before = size();
    let removed = broker.enforce_retention().unwrap();
    assert_eq!(size(), before - removed);
    assert!((2500..3500).contains(&size()), "{}", size());
    assert_eq!(broker.enforce_retention().unwrap(), 0);
    assert_eq!(all_values(&broker).last().unwrap(), &[49; 40]);
}

#[test]
fn by_age_whole_segments_go_and_the_active_one_with_them() {
    let store = Store::new();
    let broker = with_records(&store, small().retention(Some(Duration::from_secs(3600))));
    assert!(broker.enforce_retention().unwrap() > 0);
    assert!(all_values(&broker).is_empty(), "all records are of 1970");
    assert_eq!(segments(&store), 1);
    assert_eq!(send_each(&broker, ["now"]), [50]);
    assert_eq!(broker.enforce_retention().unwrap(), 0, "a new record stays");
    broker.close().unwrap();
    assert_eq!(all_values(&store.open_after_kill()), [b"now"]);
}

#[test]
fn a_record_of_the_future_keeps_its_segment_and_those_behind() {
    let store = Store::new();
    let limits = small().retention(Some(Duration::from_secs(3600))).message_timestamp_after_max(Duration::MAX);
    let broker = store.open_with_topic(1, limits);
    let producer = producer(&broker);
    for timestamp in [1, i64::MAX / 2, 2, 3] {
        let record = ProducerRecord::new("t", &[7; 800]).timestamp(timestamp);
        producer.send(record).unwrap().wait().unwrap();
    }
    broker.enforce_retention().unwrap();
    assert_eq!(broker.partition(&tp(0)).unwrap().log_start().unwrap(), 1);
}

#[test]
fn without_a_limit_or_with_another_policy_nothing_goes() {
    for config in [
        small(),
        small().cleanup_policy(CleanupPolicy::Compact).retention(Some(Duration::ZERO)).retention_bytes(Some(0)),
    ] {
        let store = Store::new();
        let broker = store.open_with_topic(1, config);
        let producer = producer(&broker);
        for _ in 0..50 {
            producer.send(ProducerRecord::new("t", &[7; 40]).key("k").timestamp(1)).unwrap().wait().unwrap();
        }
        assert_eq!(broker.enforce_retention().unwrap(), 0);
        assert_eq!(all_values(&broker).len(), 50);
    }
}

#[test]
fn a_consumer_goes_on_at_the_new_start() {
    let store = Store::new();
    let broker = with_records(&store, small());
    let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest).max_poll_records(5);
    let mut consumer = broker.consumer(config.max_partition_fetch_bytes(1)).unwrap();
    consumer.assign(&[tp(0)]).unwrap();
    assert_eq!(poll_values(&mut consumer, 1)[0].1, 0);
    broker.partition(&tp(0)).unwrap().delete_records(30).unwrap();
    assert_eq!(poll_values(&mut consumer, 1)[0].1, 30);
}

#[test]
fn retention_under_appends_and_reads() {
    let store = Store::new();
    let broker = store.open_with_topic(1, small().retention_bytes(Some(3000)));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest);
            let mut consumer = broker.consumer(config).unwrap();
            consumer.assign(&[tp(0)]).unwrap();
            let mut last = -1;
            while last < 1999 {
                for record in consumer.poll(Duration::from_secs(10)).unwrap().iter() {
                    assert!(record.offset() > last);
                    last = record.offset();
                    assert_eq!(record.value().unwrap(), last.to_be_bytes());
                }
            }
        });
        let producer = producer(&broker);
        for number in 0..2000i64 {
            let ack = producer.send(ProducerRecord::new("t", &number.to_be_bytes())).unwrap();
            if number % 10 == 0 {
                ack.wait().unwrap();
                broker.enforce_retention().unwrap();
            }
        }
        producer.close().unwrap();
        reader.join().unwrap();
    });
    broker.enforce_retention().unwrap();
    assert!(broker.partition(&tp(0)).unwrap().size().unwrap() < 4000);
    broker.close().unwrap();
    assert!(store.open_after_kill().recovery().failed.is_empty());
}

#[test]
fn after_the_close_nothing_is_deleted() {
    let store = Store::new();
    let broker = with_records(&store, small());
    let partition = broker.partition(&tp(0)).unwrap();
    broker.close().unwrap();
    let (before, checkpoint) = (segments(&store), fs::read(store.file("thalweg-checkpoint")).unwrap());
    assert_eq!(partition.delete_records(30).unwrap_err().kind(), &ErrorKind::Closed);
    assert_eq!((segments(&store), fs::read(store.file("thalweg-checkpoint")).unwrap()), (before, checkpoint));
}

#[test]
fn imported_logs_keep_everything_however_old() {
    let store = Store::new();
    with_records(&store, fast().internal_segment_bytes(1000)).close().unwrap(); // of 1970
    fs::remove_file(store.dir.path().join("t.topic")).unwrap();
    let broker = store.open();
    assert_eq!(broker.recovery().adopted, ["t"]);
    assert_eq!(broker.enforce_retention().unwrap(), 0);
    assert_eq!(all_values(&broker).len(), 50);
}

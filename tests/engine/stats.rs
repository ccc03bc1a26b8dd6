//! The broker in numbers, and the disk space of what is deleted and still held.

use std::fs;
use std::time::Duration;

use thalweg::{Broker, BrokerConfig, ErrorKind, TopicConfig};

use crate::support::{Store, all_values, fast, needs_maps, send_each, tp};

fn small() -> TopicConfig {
    fast().internal_segment_bytes(1000).retention(None)
}

/// Whether this process maps a file of the store that has no name any more, or has it open.
fn holds_deleted_files(store: &Store) -> bool {
    let dir = store.dir.path().to_str().unwrap();
    let is_deleted = |line: &str| line.contains(dir) && line.contains(".log") && line.ends_with("(deleted)");
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let is_mapped = maps.lines().any(is_deleted);
    let handles = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    is_mapped || handles.into_iter().any(|path| is_deleted(path.to_str().unwrap_or_default()))
}

#[test]
fn numbers_follow_what_happens() {
    let store = Store::new();
    let broker = store.open_with(BrokerConfig::new().store_max_bytes(Some(1 << 30)));
    let empty = broker.stats();
    assert_eq!((empty.topics, empty.partitions, empty.segments, empty.bytes), (0, 0, 0, 0));
    assert_eq!((empty.open_files, empty.bytes_max, empty.oldest_pin), (0, Some(1 << 30), None));
    broker.create_topic("t", 3, small()).unwrap();
    send_each(&broker, (0..50).map(|_| [7; 40]));
    let stats = broker.stats();
    let files = fs::read_dir(store.dir.path().join("t-0")).unwrap();
    let segments = files.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "log")).count();
    assert_eq!((stats.topics, stats.partitions, stats.segments), (1, 3, segments + 2));
    assert_eq!((stats.bytes, stats.read_only_partitions), (broker.partition(&tp(0)).unwrap().size().unwrap(), 0));
    assert!(stats.open_files >= 1 && stats.mapped_segments >= 1, "{stats}");
    broker.close().unwrap();
    let stats = store.open().stats();
    assert_eq!((stats.segments, stats.open_files, stats.bytes_max), (segments + 2, 0, None));
}

#[test]
fn space_comes_back_when_the_last_reader_lets_go() {
    if needs_maps() {
        return;
    }
    let store = Store::new();
    let broker = store.open_with_topic(1, small());
    send_each(&broker, (0..50).map(|_| [7; 40]));
    let before = broker.stats().bytes;
    let partition = broker.partition(&tp(0)).unwrap();
    let first = partition.fetch(0, &Default::default()).unwrap();
    let second = first.clone();
    partition.delete_records(50).unwrap();
    let stats = broker.stats();
    assert!(stats.bytes < before && stats.oldest_pin.is_some_and(|age| age < Duration::from_secs(600)), "{stats}");
    assert_eq!(stats.pinned_bytes, before - stats.bytes);
    assert!(holds_deleted_files(&store));
    drop(first);
    assert_eq!(broker.stats().pinned_bytes, stats.pinned_bytes);
    let record = second.decode(true).unwrap();
    let value = record.share(record.iter().next().unwrap().value().unwrap()).unwrap();
    drop((second, record));
    let held = broker.stats().pinned_bytes;
    assert!(0 < held && held < stats.pinned_bytes, "the segment of one value");
    assert_eq!(&value[..], [7; 40]);
    drop(value);
    assert_eq!((broker.stats().pinned_bytes, broker.stats().oldest_pin), (0, None));
    assert!(!holds_deleted_files(&store));
}

#[test]
fn a_map_that_was_given_up_under_a_slice_pins_as_well() {
    if needs_maps() {
        return;
    }
    let store = Store::new();
    let broker = store.open_with_topic(1, small());
    send_each(&broker, (0..50).map(|_| [7; 40]));
    broker.close().unwrap();
    let broker = store.open_with(BrokerConfig::new().max_mapped_segments(1));
    let partition = broker.partition(&tp(0)).unwrap();
    let held = partition.fetch(0, &thalweg::FetchOptions::new().max_bytes(1)).unwrap();
    for _ in 0..3 {
        assert_eq!(all_values(&broker).len(), 50); // through all the others
    }
    assert!(broker.stats().mapped_segments <= 2, "{}", broker.stats());
    partition.delete_records(50).unwrap();
    let stats = broker.stats();
    assert!(0 < stats.pinned_bytes && stats.pinned_bytes <= 1000, "one segment: {stats}");
    assert!(holds_deleted_files(&store));
    assert_eq!(held.decode(true).unwrap().iter().next().unwrap().value().unwrap(), [7; 40]);
    drop(held);
    assert_eq!(broker.stats().pinned_bytes, 0);
    assert!(!holds_deleted_files(&store));
}

#[test]
fn records_of_a_deleted_topic_pin_until_they_are_dropped() {
    if needs_maps() {
        return;
    }
    let store = Store::new();
    let broker = store.open_with_topic(1, small());
    send_each(&broker, (0..50).map(|_| [7; 40]));
    let fetched = broker.partition(&tp(0)).unwrap().fetch(0, &Default::default()).unwrap();
    let bytes = broker.stats().bytes;
    broker.delete_topic("t").unwrap();
    assert_eq!((broker.stats().bytes, broker.stats().pinned_bytes), (0, bytes));
    drop(fetched);
    assert_eq!(broker.stats().pinned_bytes, 0);
}

#[test]
fn settings_of_the_broker_are_checked_before_anything_is_done() {
    let store = Store::new();
    let path = store.dir.path().join("data");
    let error = Broker::open_with(&path, BrokerConfig::new().max_mapped_segments(0)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidConfig { key, .. } if key == "max.mapped.segments"), "{error}");
    assert!(!path.exists());
}

#[test]
fn retention_is_enforced_as_often_as_the_broker_is_told() {
    let store = Store::new();
    let broker = store.open_with(BrokerConfig::new().log_retention_check_interval(Duration::from_millis(1)));
    broker.create_topic("t", 1, small()).unwrap();
    send_each(&broker, (0..50).map(|_| [7; 40]));
    broker.alter_topic("t", small().retention_bytes(Some(0))).unwrap();
    while broker.stats().bytes > 0 {
        std::thread::yield_now();
    }
}

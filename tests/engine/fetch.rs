//! Fetching by offset.

use std::sync::Arc;
use std::time::Duration;

use thalweg::{ErrorKind, FetchOptions, Offset, Partition, ProducerConfig, ProducerRecord, TopicConfig};

use crate::support::{Store, all_values, fast, send_each, tp};

/// A value of which one batch takes 100 bytes.
const VALUE: [u8; 32] = [7; 32];

fn partition_with_batches(store: &Store, count: usize, config: TopicConfig) -> (thalweg::Broker, Arc<Partition>) {
    let broker = store.open_with_topic(1, config);
    send_each(&broker, (0..count).map(|_| VALUE));
    let partition = broker.partition(&tp(0)).unwrap();
    (broker, partition)
}

fn fetch(partition: &Partition, offset: i64, max_bytes: usize) -> (usize, i64) {
    let fetched = partition.fetch(offset, &FetchOptions::new().max_bytes(max_bytes)).unwrap();
    (fetched.len(), fetched.next_offset())
}

#[test]
fn whole_batches_within_the_limit_and_the_first_in_any_case() {
    let store = Store::new();
    let (_broker, partition) = partition_with_batches(&store, 10, fast());
    let size = fetch(&partition, 0, 0).0;
    for (limit, batches) in [(0, 1), (1, 1), (size - 1, 1), (size, 1), (2 * size - 1, 1), (2 * size, 2), (10_000, 10)] {
        assert_eq!(fetch(&partition, 0, limit), (batches * size, batches as i64), "limit {limit}");
    }
    assert_eq!(fetch(&partition, 7, usize::MAX), (3 * size, 10));
    assert_eq!(fetch(&partition, 10, usize::MAX), (0, 10));
}

#[test]
fn an_answer_goes_on_across_segments() {
    let store = Store::new();
    for max_bytes in [1, 150, 1000, 5000, 1 << 20] {
        let store = if max_bytes == 1 { &store } else { &Store::new() };
        let (broker, partition) = partition_with_batches(store, 50, fast().internal_segment_bytes(1000));
        let segments = std::fs::read_dir(store.dir.path().join("t-0")).unwrap();
        let segments =
            segments.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ext| ext == "log"));
        assert!(segments.count() > 4);
        let mut offset = 0;
        while offset < 50 {
            let (len, next) = fetch(&partition, offset, max_bytes);
            assert!(len > 0 && (len <= max_bytes || next == offset + 1));
            offset = next;
        }
        assert_eq!(all_values(&broker).len(), 50);
        let raw: usize = partition.fetch(0, &FetchOptions::new()).unwrap().slices().map(|slice| slice.len()).sum();
        assert_eq!(raw as u64, partition.size().unwrap());
    }
}

#[test]
fn outside_the_log_the_error_tells_the_range() {
    let store = Store::new();
    let (_broker, partition) = partition_with_batches(&store, 3, fast());
    for requested in [4, i64::MAX, -1, i64::MIN] {
        let error = partition.fetch(requested, &FetchOptions::new()).unwrap_err();
        let expected = ErrorKind::OffsetOutOfRange { requested, log_start: 0, high_watermark: 3, log_end: 3 };
        assert_eq!(error.kind(), &expected);
        assert_eq!(error.partition(), Some(&tp(0)));
    }
}

#[test]
fn a_fetch_inside_a_batch_skips_what_lies_below() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = crate::support::producer(&broker);
    for number in 0..10u8 {
        producer.send(ProducerRecord::new("t", &[number])).unwrap().detach();
    }
    producer.flush().unwrap(); // one batch
    let partition = broker.partition(&tp(0)).unwrap();
    for offset in 0..10 {
        let records = partition.fetch(offset, &FetchOptions::new()).unwrap().decode(true).unwrap();
        assert_eq!(records.len() as i64, 10 - offset);
        assert!(records.iter().map(|record| record.offset()).eq(offset..10));
        assert!(records.iter().all(|record| record.value() == Some(&[record.offset() as u8])));
        assert_eq!(records.next_offset(), 10);
    }
}

#[test]
fn records_outlive_the_broker() {
    let store = Store::new();
    let (broker, partition) = partition_with_batches(&store, 3, fast());
    let fetched = partition.fetch(0, &FetchOptions::new()).unwrap();
    let records = fetched.decode(true).unwrap();
    let kept = records.share(records.iter().nth(1).unwrap().value().unwrap()).unwrap();
    broker.close().unwrap();
    drop((fetched, partition));
    assert_eq!(records.iter().count(), 3);
    drop(records);
    std::fs::remove_dir_all(store.dir.path().join("t-0")).unwrap();
    assert_eq!(&kept[..], &VALUE);
}

#[test]
fn only_bytes_of_the_records_are_shared() {
    let store = Store::new();
    let (_broker, partition) = partition_with_batches(&store, 1, fast());
    let records = partition.fetch(0, &FetchOptions::new()).unwrap().decode(true).unwrap();
    assert_eq!(records.share(&VALUE), None);
}

/// Larger and smaller than the distance of the index entries, which decides how a batch is looked up.
#[test]
fn one_batch_is_found_whatever_the_sizes_of_those_around_it() {
    let sizes = |number: usize| [10_000, 10, 10, 5000, 3000, 20_000, 10, 9000][number * number / 3 % 8];
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(256 << 10));
    let producer = broker.producer(ProducerConfig::new().linger(Duration::from_secs(60))).unwrap();
    let mut bases = Vec::new();
    for number in 0..200 {
        let base = bases.len() as Offset;
        for _ in 0..1 + number % 4 {
            bases.push(base);
            producer.send(ProducerRecord::new("t", &vec![7; sizes(number) / 4])).unwrap().detach();
        }
        producer.flush().unwrap();
    }
    let check = |partition: &Partition| {
        for (offset, base) in (0..).zip(&bases) {
            let fetched = partition.fetch(offset, &FetchOptions::new().max_bytes(0)).unwrap();
            let slices: Vec<_> = fetched.slices().collect();
            assert_eq!(slices.len(), 1);
            assert_eq!(slices[0][..8], base.to_be_bytes(), "the batch of {offset}");
            let end = bases.iter().rposition(|other| other == base).unwrap() as Offset + 1;
            assert_eq!(fetched.next_offset(), end, "nothing behind the batch of {offset}");
        }
    };
    let name = tp(0);
    check(&broker.partition(&name).unwrap());
    drop(producer);
    broker.close().unwrap();
    check(&store.open().partition(&name).unwrap()); // by the index files
}

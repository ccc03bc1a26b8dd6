//! Slices that are held while the log under them goes: fetch.md 11.5 and 14.5.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg::{Broker, FetchOptions, Fetched, Partition, Records, TopicConfig};

use crate::support::{Store, fast, send_batch, tp};

/// Segments of two batches each.
fn small() -> TopicConfig {
    fast().internal_segment_bytes(2000).retention(None)
}

/// What a reader can hold, each beside a copy of its bytes.
struct Held {
    fetched: Fetched,
    records: Records,
    slices: Vec<Bytes>,
    value: Bytes,
    copies: Vec<Vec<u8>>,
}

impl Held {
    fn new(partition: &Arc<Partition>) -> Self {
        let fetched = partition.fetch(0, &FetchOptions::new()).unwrap();
        let records = fetched.decode(true).unwrap();
        let slices: Vec<_> = fetched.slices().collect();
        assert!(slices.len() > 2);
        let value = records.share(records.iter().nth(13).unwrap().value().unwrap()).unwrap();
        let copies = slices.iter().map(|slice| slice.to_vec()).collect();
        Held { fetched, records, slices, value, copies }
    }

    fn check(&self) {
        assert_eq!(self.slices, self.copies);
        assert!(self.fetched.slices().eq(self.copies.iter().map(|copy| Bytes::copy_from_slice(copy))));
        assert_eq!(self.fetched.decode(true).unwrap().len(), 100); // the checksums hold
        assert!(self.records.iter().map(|record| record.offset()).eq(0..100));
        assert!(self.records.iter().all(|record| record.value().unwrap().iter().all(|byte| *byte == 7)));
        assert!(self.value.iter().all(|byte| *byte == 7));
    }

    /// Lets go of one after the other; with the last one the space has come back.
    fn release(self, store: &Store, broker: Option<&Broker>) {
        let pinned = || broker.map_or(1, |broker| broker.stats().pinned_bytes);
        self.check();
        drop(self.fetched);
        drop(self.slices);
        assert!(!holds_segments() || maps_deleted(store) && 0 < pinned());
        assert!(self.records.iter().count() == 100);
        drop(self.records);
        assert!(!holds_segments() || maps_deleted(store) && 0 < pinned(), "the segment of one value");
        assert_eq!(self.value[0], 7);
        drop(self.value);
        assert!(!maps_deleted(store), "unmapped");
        assert!(broker.is_none_or(|broker| broker.stats().pinned_bytes == 0));
    }
}

/// Whether this process maps a file of the store that has no name any more.
fn maps_deleted(store: &Store) -> bool {
    let dir = store.dir.path().to_str().unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| line.contains(dir) && line.contains(".log") && line.ends_with("(deleted)"))
}

fn logs(store: &Store) -> usize {
    let Ok(files) = fs::read_dir(store.dir.path().join("t-0")) else { return 0 };
    files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "log")).count()
}

/// Ten batches in five segments, held.
fn held(store: &Store) -> (Broker, Arc<Partition>, Held) {
    let broker = store.open_with_topic(1, small());
    (0..10).for_each(|_| send_batch(&broker, 0, 1000));
    let partition = broker.partition(&tp(0)).unwrap();
    assert_eq!(logs(store), 5);
    let held = Held::new(&partition);
    (broker, partition, held)
}

/// The negative control of the others: what is not deleted is not unmapped, and what nobody holds is.
#[test]
fn without_a_reader_nothing_stays() {
    let store = Store::new();
    let (_broker, partition, held) = held(&store);
    drop(held);
    assert!(!maps_deleted(&store));
    partition.delete_records(100).unwrap();
    assert!(!maps_deleted(&store));
}

/// fetch.md 14.5.
#[test]
fn slices_outlive_a_roll() {
    let store = Store::new();
    let (broker, _, held) = held(&store);
    (0..20).for_each(|_| send_batch(&broker, 0, 1000));
    assert_eq!(logs(&store), 15);
    held.check();
}

/// fetch.md 14.5.
#[test]
fn slices_outlive_retention() {
    let store = Store::new();
    let (broker, _, held) = held(&store);
    broker.alter_topic("t", small().retention_bytes(Some(0))).unwrap();
    (0..2).for_each(|_| send_batch(&broker, 0, 1000));
    broker.enforce_retention().unwrap();
    assert!(logs(&store) <= 1);
    held.release(&store, Some(&broker));
}

/// fetch.md 14.5.
#[test]
fn slices_outlive_deleted_records() {
    let store = Store::new();
    let (broker, partition, held) = held(&store);
    partition.delete_records(100).unwrap();
    assert_eq!(logs(&store), 1);
    held.release(&store, Some(&broker));
}

/// fetch.md 14.5; a new topic of the same name has other files.
#[test]
fn slices_outlive_the_topic_and_another_one_of_its_name() {
    let store = Store::new();
    let (broker, partition, held) = held(&store);
    broker.delete_topic("t").unwrap();
    drop(partition);
    assert_eq!(logs(&store), 0);
    broker.create_topic("t", 1, small()).unwrap();
    (0..4).for_each(|_| send_batch(&broker, 0, 1200));
    held.release(&store, Some(&broker));
    assert_eq!(broker.partition(&tp(0)).unwrap().fetch(0, &FetchOptions::new()).unwrap().len(), 4800);
}

/// fetch.md 14.5: nobody unmaps or cuts what is held, and another broker may take its place.
#[test]
fn slices_outlive_the_broker_and_the_next_one() {
    let store = Store::new();
    let (broker, partition, held) = held(&store);
    broker.close().unwrap();
    held.check();
    drop(partition);
    let broker = store.open();
    send_batch(&broker, 0, 1000);
    broker.partition(&tp(0)).unwrap().delete_records(110).unwrap();
    held.check();
    assert!(!holds_segments() || maps_deleted(&store));
    held.release(&store, None);
}

/// fetch.md 14.4 and 14.5: what a waiting fetch found at first is not held while it waits.
#[test]
fn a_fetch_that_waits_holds_no_segment() {
    let store = Store::new();
    let (broker, partition, held) = held(&store);
    drop(held);
    let options = FetchOptions::new().min_bytes(1 << 20).max_bytes(1 << 30).max_partition_bytes(1 << 30);
    let (future, _) = crate::support::parked(&partition, 0, options);
    partition.delete_records(100).unwrap();
    assert!(!maps_deleted(&store));
    assert_eq!(broker.stats().pinned_bytes, 0);
    drop(future);
}

/// Whether what is fetched is a part of a map: a copy holds no segment.
fn holds_segments() -> bool {
    crate::READ_MODE == thalweg::ReadMode::Mmap
}

/// What is held is told by its age, too.
#[test]
fn the_age_of_what_is_held_is_told() {
    let simulated = crate::support::Simulated::with_topic(1, small());
    (0..4).for_each(|_| send_batch(&simulated.broker, 0, 1000));
    let partition = simulated.broker.partition(&tp(0)).unwrap();
    let fetched = partition.fetch(0, &FetchOptions::new()).unwrap();
    partition.delete_records(20).unwrap();
    simulated.pass(Duration::from_secs(60));
    let stats = simulated.broker.stats();
    if !holds_segments() {
        assert_eq!((stats.pinned_bytes, stats.oldest_pin), (0, None));
        return;
    }
    assert_eq!(stats.pinned_bytes, 2000);
    assert!(stats.oldest_pin.is_some_and(|age| (60..61).contains(&age.as_secs())), "{stats}");
    drop(fetched);
    assert_eq!(simulated.broker.stats().oldest_pin, None);
}

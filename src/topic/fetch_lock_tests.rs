//! Fetches that find enough wait for nobody.

use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::fetch_options::FetchOptions;
use super::partition::Partition;
use crate::broker::Broker;
use crate::clock::SystemClock;
use crate::config::TopicConfig;
use crate::record::BatchBuilder;
use crate::sync::{Arc, Ordering};
use crate::sys::{Faults, FaultyDisk};
use crate::types::{Compression, Durability, TopicPartition};

/// A partition with a record that can be seen, on a disk that can be held up.
struct Store {
    _dir: tempfile::TempDir,
    _broker: Broker,
    partition: Arc<Partition>,
    faults: Arc<Faults>,
}

impl Store {
    fn new(durability: Durability) -> Self {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let faults = disk.faults();
        let broker = Broker::open_on(&dir.path().join("data"), Arc::new(disk), Arc::new(SystemClock)).unwrap();
        broker.create_topic("t", 1, TopicConfig::new().durability(durability)).unwrap();
        let partition = broker.engine().topics.partition(&TopicPartition::new("t", 0)).unwrap();
        append(&partition);
        partition.sync_to(1).unwrap();
        Store { _dir: dir, _broker: broker, partition, faults }
    }

    /// A fetch of what is there has to end.
    fn assert_fetches(&self) {
        let (ended, has_ended) = mpsc::channel();
        let partition = Arc::clone(&self.partition);
        thread::spawn(move || {
            let options = FetchOptions::new().max_wait(Duration::from_secs(3600));
            for _ in 0..100 {
                assert_eq!(partition.fetch(0, &options).unwrap().next_offset(), 1);
                let future = &mut partition.fetch_async(0, &options);
                let polled = std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(polled, Poll::Ready(Ok(fetched)) if fetched.next_offset() == 1));
            }
            ended.send(()).unwrap();
        });
        has_ended.recv_timeout(Duration::from_secs(20)).expect("a fetch that finds enough waits for nobody");
    }
}

fn append(partition: &Arc<Partition>) {
    let mut builder = BatchBuilder::new();
    builder.push(1000, None, Some(b"v"), std::iter::empty());
    partition.append(builder.finish(Compression::None, None).unwrap(), Durability::Os, true).unwrap();
}

fn until(holds: impl Fn() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

#[test]
fn a_fetch_does_not_wait_for_a_write_that_hangs() {
    let store = Store::new(Durability::Os);
    let begun = store.faults.writes.load(Ordering::SeqCst);
    store.faults.hold_writes();
    let partition = Arc::clone(&store.partition);
    let appends = thread::spawn(move || append(&partition)); // holds the writer's lock for as long as it writes
    until(|| store.faults.writes.load(Ordering::SeqCst) > begun);
    store.assert_fetches();
    assert!(!appends.is_finished());
    store.faults.release();
    appends.join().unwrap();
}

#[test]
fn a_fetch_does_not_wait_for_a_sync_that_hangs() {
    let store = Store::new(Durability::Fsync);
    let begun = store.faults.syncs.load(Ordering::SeqCst);
    store.faults.hold_syncs();
    append(&store.partition);
    let partition = Arc::clone(&store.partition);
    let syncs = thread::spawn(move || partition.sync_to(2).unwrap());
    until(|| store.faults.syncs.load(Ordering::SeqCst) > begun);
    store.assert_fetches();
    assert!(!syncs.is_finished());
    store.faults.release();
    syncs.join().unwrap();
}

#[test]
fn a_fetch_does_not_wait_for_those_who_wait() {
    let store = Store::new(Durability::Os);
    let _held = (store.partition.waiters().hold(), store.partition.fetches().hold());
    store.assert_fetches();
}

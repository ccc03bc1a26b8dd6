//! Who waits is in the lists for as long as the wait, and misses nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::fetch::{Look, Parked};
use super::fetch_options::FetchOptions;
use super::fetcher::Fetcher;
use super::partition::Partition;
use super::waiters::Waiter;
use crate::broker::Broker;
use crate::config::TopicConfig;
use crate::record::BatchBuilder;
use crate::types::{Compression, Durability, TopicPartition};

fn with_partitions(count: i32) -> (tempfile::TempDir, Broker, Vec<Arc<Partition>>) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path().join("data")).unwrap();
    broker.create_topic("t", count, TopicConfig::new().durability(Durability::Os)).unwrap();
    let partition = |number| broker.partition(&TopicPartition::new("t", number)).unwrap();
    let partitions = (0..count).map(partition).collect();
    (dir, broker, partitions)
}

fn append(partition: &Arc<Partition>) {
    let mut builder = BatchBuilder::new();
    builder.push(1000, None, Some(b"v"), std::iter::empty());
    partition.append(builder.finish(Compression::None, None).unwrap(), Durability::Os, false).unwrap();
    partition.wake_waiters();
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn waiting() -> FetchOptions {
    FetchOptions::new().max_wait(Duration::MAX)
}

fn counts(partitions: &[Arc<Partition>]) -> Vec<usize> {
    partitions.iter().map(|partition| partition.fetches().count()).collect()
}

/// fetch.md 14.4: however a wait ends, nobody has it in a list afterwards.
#[test]
fn a_fetch_that_is_over_is_in_no_list() {
    let (_dir, broker, partitions) = with_partitions(1);
    let partition = &partitions[0];
    let mut dropped = partition.fetch_async(0, &waiting());
    assert_eq!(counts(&partitions), [0], "not polled yet");
    assert!(poll(&mut dropped).is_pending());
    assert!(poll(&mut dropped).is_pending());
    assert_eq!(counts(&partitions), [1]);
    drop(dropped);
    assert_eq!(counts(&partitions), [0]);
    assert!(partition.fetch(0, &waiting().max_wait(Duration::from_millis(1))).unwrap().is_empty());
    assert_eq!(counts(&partitions), [0], "after the deadline");
    let mut woken = partition.fetch_async(0, &waiting());
    assert!(poll(&mut woken).is_pending());
    append(partition);
    assert!(poll(&mut woken).is_ready());
    assert_eq!(counts(&partitions), [0]);
    let mut ended = partition.fetch_async(1, &waiting());
    assert!(poll(&mut ended).is_pending());
    broker.close().unwrap();
    assert!(poll(&mut ended).is_ready());
    assert_eq!(counts(&partitions), [0]);
}

/// fetch.md 5.3: with enough at entry it does not touch the registry: it could not, while somebody else holds it.
#[test]
fn a_fetch_with_enough_at_once_is_never_in_a_list() {
    let (_dir, _broker, partitions) = with_partitions(2);
    partitions.iter().for_each(append);
    let options = waiting().min_bytes(1);
    assert!(!partitions[0].fetch(0, &options).unwrap().is_empty());
    let mut future = partitions[0].fetch_async(0, &options);
    assert!(poll(&mut future).is_ready());
    let mut fetcher = Fetcher::new(options);
    partitions.iter().for_each(|partition| fetcher.add(Arc::clone(partition), 0).unwrap());
    assert_eq!(fetcher.fetch().len(), 2);
    let mut all = fetcher.fetch_async();
    assert!(poll(&mut all).is_ready());
    assert_eq!(counts(&partitions), [0, 0], "while the futures are still there");
}

/// fetch.md 14.4, of several partitions.
#[test]
fn a_fetch_of_several_partitions_is_in_the_lists_of_all_until_it_is_over() {
    let (_dir, _broker, partitions) = with_partitions(3);
    let mut fetcher = Fetcher::new(waiting());
    partitions.iter().for_each(|partition| fetcher.add(Arc::clone(partition), 0).unwrap());
    for is_woken in [false, true] {
        let mut future = fetcher.fetch_async();
        assert!(poll(&mut future).is_pending());
        assert_eq!(counts(&partitions), [1, 1, 1]);
        if is_woken {
            append(&partitions[1]);
            assert!(poll(&mut future).is_ready());
            assert_eq!(counts(&partitions), [0, 0, 0]);
        }
        drop(future);
        assert_eq!(counts(&partitions), [0, 0, 0]);
    }
    fetcher.waker().wake();
    fetcher.fetch();
    assert_eq!(counts(&partitions), [0, 0, 0]);
}

/// Something that happens to a partition.
type Way = fn(&Arc<Partition>);

/// What comes between the look and the place in the list is seen by the second check (fetch.md 5.3).
#[test]
fn what_comes_before_the_place_in_the_list_wakes_at_once() {
    let (_dir, _broker, partitions) = with_partitions(2);
    let limits = partitions[0].fetch_limits();
    let now = Some(partitions[0].clock().instant());
    let look =
        |partition: &Arc<Partition>, offset| Look::new(&waiting(), limits).read(partition, offset, &waiting()).unwrap();
    let ways: [(Way, bool); 3] = [(|_| {}, false), (append, true), (|partition| partition.close().unwrap(), true)];
    for (way, is_woken) in ways {
        let found: Vec<_> = partitions.iter().map(|partition| look(partition, partition.log_end().unwrap())).collect();
        let waiter = Arc::new(Waiter::default());
        way(&partitions[1]);
        let parked = Parked::new(&waiter, partitions.iter().zip(found.iter().map(Some)).map(|(p, f)| (&**p, f)), 1);
        assert_eq!(waiter.wait_until(now), is_woken);
        drop(parked);
    }
}

/// A device that fails once while a fetch begins to wait: the fetch fails, or it waits for what is missing and no more.
#[test]
fn a_read_that_fails_while_a_fetch_begins_to_wait_makes_it_wait_for_no_more_than_it_needs() {
    use crate::broker::Background;
    use crate::clock::SystemClock;
    use crate::config::BrokerConfig;
    use crate::sys::FaultyDisk;
    use crate::types::ReadMode;
    let mut wrong = Vec::new();
    for reads in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let config = TopicConfig::new().durability(Durability::Os).internal_segment_bytes(300);
        {
            let broker = Broker::open(&path).unwrap();
            broker.create_topic("t", 1, config).unwrap();
            let partition = broker.partition(&TopicPartition::new("t", 0)).unwrap();
            (0..12).for_each(|_| append(&partition));
            broker.close().unwrap();
        }
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        let config = BrokerConfig::new().read_mode(ReadMode::Pread);
        let broker =
            Broker::open_configured(&path, Arc::new(disk), Arc::new(SystemClock), config, Background::Threads).unwrap();
        let partition = broker.partition(&TopicPartition::new("t", 0)).unwrap();
        let there = 12 * 69;
        let len = partition.fetch(0, &FetchOptions::new()).unwrap().len();
        let mut future = partition.fetch_async(0, &waiting().min_bytes(len + 1));
        *faults.reads_left.lock() = Some(reads);
        let first = poll(&mut future);
        let was_hit = faults.reads_left.lock().take().is_none();
        if first.is_ready() {
            continue;
        }
        append(&partition); // one byte was missing
        let left = counts(std::slice::from_ref(&partition))[0];
        if left != 0 {
            wrong.push(format!("read {reads} (hit: {was_hit}, {len} of {there} bytes): nobody was woken"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

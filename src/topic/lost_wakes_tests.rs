//! What happens to a partition while something fails: those who wait there have to be told of it all the same.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::fetch_future::FetchFuture;
use super::fetch_options::FetchOptions;
use super::partition::Partition;
use crate::broker::Broker;
use crate::clock::SystemClock;
use crate::config::TopicConfig;
use crate::error::ErrorKind;
use crate::record::BatchBuilder;
use crate::sync::Arc;
use crate::sys::{Faults, FaultyDisk};
use crate::types::{Compression, Durability, TopicPartition};

/// A partition of three segments of one batch, if they are as small as that, and a task that waits there for more than
/// there is.
fn parked(segment_bytes: u64) -> (tempfile::TempDir, Broker, Arc<Faults>, Arc<Partition>, FetchFuture) {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let faults = disk.faults();
    let broker = Broker::open_on(&dir.path().join("data"), Arc::new(disk), Arc::new(SystemClock)).unwrap();
    let config = TopicConfig::new().durability(Durability::Os).retention_bytes(Some(0));
    let config = config.internal_segment_bytes(segment_bytes);
    broker.create_topic("t", 1, config).unwrap();
    let partition = broker.engine().topics.partition(&TopicPartition::new("t", 0)).unwrap();
    (0..3).for_each(|_| append(&partition, 100));
    partition.sync_to(3).unwrap();
    while partition.log().unwrap().has_unsealed() {
        std::thread::yield_now(); // the background is at it
    }
    let options = FetchOptions::new().min_bytes(usize::MAX).max_partition_bytes(usize::MAX).max_wait(Duration::MAX);
    let mut future = partition.fetch_async(0, &options);
    assert!(poll(&mut future).is_pending());
    (dir, broker, faults, partition, future)
}

fn append(partition: &Arc<Partition>, len: usize) {
    let mut builder = BatchBuilder::new();
    builder.push(1000, None, Some(&vec![7; len]), std::iter::empty());
    partition.append(builder.finish(Compression::None, None).unwrap(), Durability::Os, true).unwrap();
}

fn poll(future: &mut FetchFuture) -> Poll<crate::error::Result<crate::log::Fetched>> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The log start has moved, durably, and the segments are out of the view, when their files cannot be removed.
#[test]
fn who_waits_below_a_log_start_that_moved_is_told_although_a_file_stays() {
    let (_dir, _broker, faults, partition, mut future) = parked(256);
    *faults.next_remove.lock() = Some(io::ErrorKind::Other);
    partition.enforce_retention().unwrap_err();
    assert_eq!(partition.log_start().unwrap(), 3);
    let Poll::Ready(outcome) = poll(&mut future) else { panic!("nobody told who waits at offset 0") };
    assert!(matches!(outcome.unwrap_err().kind(), ErrorKind::OffsetOutOfRange { .. }));
}

/// A checkpoint that cannot be written fails the log: nothing more will come.
#[test]
fn who_waits_is_told_of_a_log_that_failed_over_retention() {
    let (_dir, _broker, faults, partition, mut future) = parked(256);
    *faults.next_rename.lock() = Some(io::ErrorKind::Other);
    partition.enforce_retention().unwrap_err();
    partition.log().unwrap().check_failure().unwrap_err();
    assert!(poll(&mut future).is_ready(), "nobody told who waits that the log has failed");
}

/// The same, by the background's look at the partition.
#[test]
fn who_waits_is_told_of_a_log_that_failed_over_a_checkpoint() {
    let (_dir, broker, faults, partition, mut future) = parked(1 << 30);
    (0..40).for_each(|_| append(&partition, 1_000_000));
    *faults.next_rename.lock() = Some(io::ErrorKind::Other);
    broker.engine().topics.tick();
    partition.log().unwrap().check_failure().unwrap_err();
    assert!(poll(&mut future).is_ready(), "nobody told who waits that the log has failed");
}

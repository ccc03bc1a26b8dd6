//! Fetches that nobody should ask for: every one has a defined result, and none panics.

use std::sync::Arc;
use std::time::Duration;

use thalweg::simulation::SimulatedDisk;
use thalweg::{BrokerConfig, ErrorKind, FetchOptions, Fetcher, IsolationLevel, Offset};

use crate::support::{Simulated, Store, Wakes, fast, ready, send_batch, tp};

const SIZES: [usize; 6] = [0, 1, 1000, i32::MAX as usize, i64::MAX as usize, usize::MAX];

/// Absurd sizes and waits, with offsets in the log, at its ends and far away.
#[test]
fn every_budget_and_wait_has_a_result() {
    let simulated = Simulated::with_topic(1, fast());
    (0..3).for_each(|_| send_batch(&simulated.broker, 0, 1000));
    let partition = simulated.broker.partition(&tp(0)).unwrap();
    partition.delete_records(5).unwrap();
    let broker_max = 57_671_680;
    for (min_bytes, max_bytes, of_partition) in SIZES
        .into_iter()
        .flat_map(|min| SIZES.map(|max| (min, max)))
        .flat_map(|(min, max)| SIZES.map(|of_partition| (min, max, of_partition)))
    {
        for wait in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::MAX] {
            for offset in [Offset::MIN, -1, 0, 4, 5, 9, 10, 29, 30, 31, Offset::MAX] {
                let options = FetchOptions::new().min_bytes(min_bytes).max_bytes(max_bytes).max_wait(wait);
                let options = options.max_partition_bytes(of_partition);
                let poll = Wakes::new().poll(&mut partition.fetch_async(offset, &options));
                let what = format!("{options:?} at {offset}");
                if !(5..=30).contains(&offset) {
                    let (log_start, high_watermark, log_end) = (5, 30, 30);
                    let kind = ErrorKind::OffsetOutOfRange { requested: offset, log_start, high_watermark, log_end };
                    assert_eq!(ready(poll).unwrap_err().kind(), &kind, "{what}");
                    continue;
                }
                let there = 3000 - 1000 * (offset as usize / 10);
                let limit = max_bytes.min(of_partition).min(broker_max);
                let found = if there == 0 { 0 } else { (limit / 1000 * 1000).clamp(1000, there) };
                let counts = if found < there { found.max(limit) } else { found };
                let is_enough = min_bytes.min(max_bytes).min(broker_max) <= counts;
                if poll.is_pending() {
                    assert!(!is_enough && !wait.is_zero(), "{what} waits");
                } else {
                    assert!(is_enough || wait <= Duration::from_nanos(1), "{what} does not wait");
                    assert_eq!(ready(poll).unwrap().len(), found, "{what}");
                }
            }
        }
    }
}

/// A time that is nearly nothing is over at the second look.
#[test]
fn a_wait_of_nearly_nothing_ends() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let partition = broker.partition(&tp(0)).unwrap();
    let options = FetchOptions::new().max_wait(Duration::from_nanos(1));
    assert!(partition.fetch(0, &options).unwrap().is_empty());
    assert!(crate::support::block_on(partition.fetch_async(0, &options)).unwrap().is_empty());
    let mut fetcher = Fetcher::new(options);
    fetcher.add(partition, 0).unwrap();
    assert!(fetcher.fetch()[0].as_ref().unwrap().is_empty());
}

/// A partition of a deleted topic stays what it is, also when there is another topic of its name.
#[test]
fn a_partition_held_across_deletion_and_re_creation_is_unknown() {
    let simulated = Simulated::with_topic(1, fast());
    send_batch(&simulated.broker, 0, 1000);
    let old = simulated.broker.partition(&tp(0)).unwrap();
    let waiting = FetchOptions::new().max_wait(Duration::MAX);
    let unknown = ErrorKind::UnknownTopicOrPartition { topic: "t".to_owned(), partition: Some(0) };
    simulated.broker.delete_topic("t").unwrap();
    for _ in 0..2 {
        for offset in [-1, 0, 5, 10, 11] {
            assert_eq!(old.fetch(offset, &waiting).unwrap_err().kind(), &unknown);
            let poll = Wakes::new().poll(&mut old.fetch_async(offset, &waiting));
            assert_eq!(ready(poll).unwrap_err().kind(), &unknown);
        }
        let _ = simulated.broker.create_topic("t", 1, fast());
    }
    assert!(simulated.broker.partition(&tp(0)).unwrap().fetch(0, &FetchOptions::new()).unwrap().is_empty());
}

/// An offset that was in the log when the reader chose it.
#[test]
fn a_reader_held_across_deleted_records_is_out_of_range() {
    let simulated = Simulated::with_topic(1, fast());
    (0..2).for_each(|_| send_batch(&simulated.broker, 0, 1000));
    let partition = simulated.broker.partition(&tp(0)).unwrap();
    let mut fetcher = Fetcher::new(FetchOptions::new().max_wait(Duration::MAX));
    fetcher.add(Arc::clone(&partition), 3).unwrap();
    partition.delete_records(20).unwrap();
    for _ in 0..2 {
        let error = fetcher.fetch().remove(0).unwrap_err();
        let ErrorKind::OffsetOutOfRange { requested: 3, log_start, log_end: 20, .. } = *error.kind() else {
            panic!("{error}")
        };
        assert_eq!(log_start, 20, "where to go on");
    }
    fetcher.seek(&tp(0), 20).unwrap();
    assert!(Wakes::new().poll(&mut fetcher.fetch_async()).is_pending());
    fetcher.seek(&tp(0), -5).unwrap(); // shows when it is fetched
    assert!(fetcher.fetch()[0].is_err());
}

/// A broker that is dropped instead of closed ends its waits, too.
#[test]
fn a_dropped_broker_ends_waits() {
    let disk = SimulatedDisk::new();
    let store = Store::new();
    let broker = disk.open_broker(store.dir.path(), BrokerConfig::new().read_mode(crate::READ_MODE)).unwrap();
    broker.create_topic("t", 1, fast()).unwrap();
    let partition = broker.partition(&tp(0)).unwrap();
    let (mut future, wakes) = crate::support::parked(&partition, 0, FetchOptions::new());
    drop(broker);
    assert_eq!(wakes.count(), 1);
    assert_eq!(ready(wakes.poll(&mut future)).unwrap_err().kind(), &ErrorKind::Closed);
}

/// A reader of another process's directory: who would have to wait as a task is told that it cannot.
#[test]
fn a_reader_beside_the_broker_waits_with_a_thread_only() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_batch(&broker, 0, 1000);
    let beside = crate::support::open_read_only(store.dir.path()).unwrap();
    let partition = beside.partition(&tp(0)).unwrap();
    let waiting = FetchOptions::new().isolation_level(IsolationLevel::ReadCommitted).max_wait(Duration::MAX);
    assert_eq!(ready(Wakes::new().poll(&mut partition.fetch_async(0, &waiting))).unwrap().len(), 1000);
    let error = ready(Wakes::new().poll(&mut partition.fetch_async(10, &waiting))).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IllegalState { .. }), "{error}");
    assert_eq!(error.partition(), Some(&tp(0)));
    let mut fetcher = Fetcher::new(waiting.clone());
    fetcher.add(Arc::clone(&partition), 10).unwrap();
    let error = ready(Wakes::new().poll(&mut fetcher.fetch_async())).remove(0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IllegalState { .. }), "{error}");
    // A thread finds what the other one appends.
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| partition.fetch(10, &waiting).unwrap().len());
        let many = scope.spawn(|| fetcher.fetch().remove(0).unwrap().len());
        send_batch(&broker, 0, 1000);
        assert_eq!((reader.join().unwrap(), many.join().unwrap()), (1000, 1000));
    });
}

/// A partition that another process writes, behind one that is written here: nobody would tell the task.
#[test]
fn a_task_does_not_wait_for_a_partition_beside_the_broker_behind_others() {
    let (here, elsewhere) = (Simulated::with_topic(1, fast()), Store::new());
    let broker = elsewhere.open();
    broker.create_topic("other", 1, fast()).unwrap();
    let beside = crate::support::open_read_only(elsewhere.dir.path()).unwrap();
    let mut fetcher = Fetcher::new(FetchOptions::new().max_wait(Duration::MAX));
    fetcher.add(here.broker.partition(&tp(0)).unwrap(), 0).unwrap();
    let other = thalweg::TopicPartition::new("other", 0);
    fetcher.add(beside.partition(&other).unwrap(), 0).unwrap();
    let answers = ready(Wakes::new().poll(&mut fetcher.fetch_async()));
    assert!(answers[0].as_ref().unwrap().is_empty());
    let error = answers[1].as_ref().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IllegalState { .. }), "{error}");
    assert_eq!(error.partition(), Some(&other));
}

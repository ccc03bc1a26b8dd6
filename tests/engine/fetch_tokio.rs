//! Fetches as tasks of a runtime that knows nothing of this crate: raced, given up, moved between threads.

use std::sync::Arc;
use std::time::Duration;

use thalweg::{Broker, FetchFuture, FetchOptions, FetchWaker, Fetcher, FetcherFuture, Offset, Partition};
use tokio::runtime::{Builder, Runtime};

use crate::support::{Store, fast, send_batch, tp};

/// On the thread of the test.
fn on_one_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn on_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

fn waiting() -> FetchOptions {
    FetchOptions::new().max_wait(Duration::MAX)
}

fn with_partition(store: &Store) -> (Arc<Broker>, Arc<Partition>) {
    let broker = store.open_with_topic(3, fast().internal_segment_bytes(50_000).retention(None));
    let partition = broker.partition(&tp(0)).unwrap();
    (Arc::new(broker), partition)
}

#[test]
fn futures_go_to_any_thread() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<FetchFuture>();
    is_send::<FetcherFuture<'_>>();
    is_send::<Fetcher>();
    is_send::<FetchWaker>();
    is_sync::<FetchWaker>();
}

/// fetch.md 14.4: a fetch that lost a race, or that a timeout gave up, took nothing and is in nobody's way.
#[test]
fn a_fetch_may_be_given_up_at_any_time() {
    let store = Store::new();
    let (broker, partition) = with_partition(&store);
    on_one_thread().block_on(async {
        for round in 0..100 {
            tokio::select! {
                biased;
                _ = partition.fetch_async(0, &waiting()) => panic!("there is nothing"),
                () = tokio::task::yield_now() => {}
            }
            if round % 50 == 0 {
                let fetch = partition.fetch_async(0, &waiting());
                tokio::time::timeout(Duration::from_millis(1), fetch).await.unwrap_err();
            }
        }
        send_batch(&broker, 0, 1000);
        assert_eq!(partition.fetch_async(0, &waiting()).await.unwrap().len(), 1000);
        // The timeout is longer than the wait.
        let options = FetchOptions::new().max_wait(Duration::from_millis(5));
        let fetch = partition.fetch_async(10, &options);
        assert!(tokio::time::timeout(Duration::from_secs(60), fetch).await.unwrap().unwrap().is_empty());
    });
}

/// The same fetcher goes on after its future was given up, with its offsets and its order.
#[test]
fn a_fetcher_goes_on_where_it_was_when_a_fetch_was_given_up() {
    let store = Store::new();
    let (broker, _) = with_partition(&store);
    let mut fetcher = Fetcher::new(waiting().min_bytes(1500));
    for number in 0..3 {
        fetcher.add(broker.partition(&tp(number)).unwrap(), 0).unwrap();
    }
    on_one_thread().block_on(async {
        for _ in 0..2 {
            tokio::select! {
                biased;
                _ = fetcher.fetch_async() => panic!("there is too little"),
                () = tokio::task::yield_now() => {}
            }
            send_batch(&broker, 1, 1000);
        }
        let answers = fetcher.fetch_async().await;
        assert_eq!(answers.iter().map(|answer| answer.as_ref().unwrap().len()).collect::<Vec<_>>(), [0, 2000, 0]);
    });
}

/// A wait is ended by the close of the broker, by the deletion of the topic, and by a wake-up from another task.
#[test]
fn tasks_that_wait_are_told_when_it_is_over() {
    let store = Store::new();
    let (broker, partition) = with_partition(&store);
    broker.create_topic("other", 1, fast()).unwrap();
    let other = broker.partition(&thalweg::TopicPartition::new("other", 0)).unwrap();
    let mut fetcher = Fetcher::new(waiting());
    fetcher.add(Arc::clone(&partition), 0).unwrap();
    let waker = fetcher.waker();
    on_threads().block_on(async {
        let (deleted, closed) = (other.fetch_async(0, &waiting()), partition.fetch_async(0, &waiting()));
        let (deleted, closed) = (tokio::spawn(deleted), tokio::spawn(closed));
        let woken = tokio::spawn(async move { fetcher.fetch_async().await });
        waker.wake();
        assert!(woken.await.unwrap()[0].as_ref().unwrap().is_empty());
        broker.delete_topic("other").unwrap();
        let error = deleted.await.unwrap().unwrap_err();
        assert!(matches!(error.kind(), thalweg::ErrorKind::UnknownTopicOrPartition { .. }), "{error}");
        Arc::into_inner(broker).unwrap().close().unwrap();
        assert_eq!(closed.await.unwrap().unwrap_err().kind(), &thalweg::ErrorKind::Closed);
    });
}

/// Many tasks, one partition: each gets all of it, in order, while fetches are given up all the time.
#[test]
fn every_task_reads_everything() {
    const BATCHES: usize = 200;
    let store = Store::new();
    let (broker, partition) = with_partition(&store);
    on_threads().block_on(async {
        let read = |min_bytes: usize, gives_up: bool| {
            let partition = Arc::clone(&partition);
            async move {
                let (mut offset, end): (Offset, _) = (0, 10 * BATCHES as Offset);
                while offset < end {
                    let left = 1000 * BATCHES - 100 * offset as usize;
                    let fetch = partition.fetch_async(offset, &waiting().min_bytes(min_bytes.min(left)));
                    let fetched = tokio::select! {
                        fetched = fetch => fetched.unwrap(),
                        () = tokio::task::yield_now(), if gives_up => continue,
                    };
                    assert!(min_bytes.min(left) <= fetched.len());
                    let records = fetched.decode(true).unwrap();
                    assert!(records.iter().map(|record| record.offset()).eq(offset..fetched.next_offset()));
                    offset = fetched.next_offset();
                }
            }
        };
        let readers: Vec<_> = [(1, false), (1, true), (2500, false), (2500, true), (20_000, false)]
            .map(|(min_bytes, gives_up)| tokio::spawn(read(min_bytes, gives_up)))
            .into();
        let writer = tokio::task::spawn_blocking({
            let broker = Arc::clone(&broker);
            move || (0..BATCHES).for_each(|_| send_batch(&broker, 0, 1000))
        });
        writer.await.unwrap();
        for reader in readers {
            tokio::time::timeout(Duration::from_secs(60), reader).await.expect("a wake-up was lost").unwrap();
        }
    });
}

//! Fetches of several partitions: fetch.md 4, 5 and 8.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use thalweg::simulation::{Fault, OperationKind};
use thalweg::{
    AutoOffsetReset, Broker, BrokerConfig, ConsumerConfig, ErrorKind, FetchOptions, Fetcher, Offset, TopicConfig,
};

use crate::support::{Simulated, Store, Wakes, block_on, fast, ready, send_batch, tp};

fn fetcher(broker: &Broker, options: FetchOptions, places: &[(i32, Offset)]) -> Fetcher {
    let mut fetcher = Fetcher::new(options);
    for (partition, offset) in places {
        fetcher.add(broker.partition(&tp(*partition)).unwrap(), *offset).unwrap();
    }
    fetcher
}

fn waiting(min_bytes: usize) -> FetchOptions {
    FetchOptions::new().min_bytes(min_bytes).max_wait(Duration::MAX)
}

type Answers = Vec<thalweg::Result<thalweg::Fetched>>;

/// The lengths of the answers; an error is `None`.
fn lens(answers: &Answers) -> Vec<Option<usize>> {
    answers.iter().map(|answer| answer.as_ref().ok().map(|fetched| fetched.len())).collect()
}

fn numbers(fetcher: &Fetcher) -> Vec<i32> {
    fetcher.positions().map(|(partition, _)| partition.partition()).collect()
}

/// Moves on behind what was fetched.
fn go_on(fetcher: &mut Fetcher, answers: &Answers) {
    for fetched in answers.iter().flatten() {
        fetcher.seek(fetched.partition(), fetched.next_offset()).unwrap();
    }
}

/// fetch.md 4: the guarantee of one batch belongs to the first partition that has data, and only to it.
#[test]
fn the_first_partition_with_data_gets_a_batch_whatever_the_limits() {
    let simulated = Simulated::with_topic(4, fast());
    [1, 2, 2].into_iter().for_each(|partition| send_batch(&simulated.broker, partition, 1000));
    // 0 has nothing, 1 and 2 do, and 3 is asked for what it does not have: neither uses the guarantee up.
    for (order, expected) in [
        ([(0, 0), (1, 0), (2, 0)], [Some(0), Some(1000), Some(0)]),
        ([(2, 0), (1, 0), (0, 0)], [Some(1000), Some(0), Some(0)]),
        ([(3, 99), (2, 0), (1, 0)], [None, Some(1000), Some(0)]),
        ([(1, 10), (3, 99), (2, 5)], [Some(0), None, Some(1000)]),
        ([(2, 10), (3, -1), (1, 0)], [Some(1000), None, Some(0)]),
    ] {
        for options in [
            FetchOptions::new().max_bytes(0),
            FetchOptions::new().max_bytes(999),
            FetchOptions::new().max_partition_bytes(0),
            FetchOptions::new().max_partition_bytes(999),
        ] {
            let answers = fetcher(&simulated.broker, options.clone(), &order).fetch();
            assert_eq!(lens(&answers), expected, "{order:?} with {options:?}");
        }
    }
}

/// fetch.md 4: `remaining` is what is left of the fetch, `partition max bytes` bounds each; what does not fit is empty and
/// no error; partitions for which nothing is left still tell their ends.
#[test]
fn later_partitions_get_what_is_left() {
    let simulated = Simulated::with_topic(3, fast());
    for partition in [0, 0, 0, 1, 1, 1, 2, 2] {
        send_batch(&simulated.broker, partition, 1000);
    }
    simulated.broker.partition(&tp(2)).unwrap().delete_records(3).unwrap();
    let order = [(0, 0), (1, 0), (2, 3)];
    for (max_bytes, of_partition, expected) in [
        (8000, 8000, [3000, 3000, 2000]),
        (5999, 8000, [3000, 2000, 0]),
        (5000, 8000, [3000, 2000, 0]),
        (3000, 8000, [3000, 0, 0]),
        (2999, 8000, [2000, 0, 0]), // less than a batch is left for everybody else
        (8000, 2000, [2000, 2000, 2000]),
        (5500, 2000, [2000, 2000, 1000]),
        (8000, 999, [1000, 0, 0]),
        (0, 0, [1000, 0, 0]),
        (usize::MAX, usize::MAX, [3000, 3000, 2000]),
    ] {
        let options = FetchOptions::new().max_bytes(max_bytes).max_partition_bytes(of_partition);
        let answers = fetcher(&simulated.broker, options, &order).fetch();
        assert_eq!(lens(&answers), expected.map(Some), "{max_bytes}, {of_partition} of each");
        let ends = answers.iter().map(|answer| answer.as_ref().unwrap());
        let ends: Vec<_> = ends.map(|fetched| (fetched.log_start(), fetched.high_watermark())).collect();
        assert_eq!(ends, [(0, 30), (0, 30), (3, 20)]);
    }
}

/// fetch.md 8: in order, and who gave records or an error goes to the end, in the same order.
#[test]
fn who_was_served_goes_to_the_end() {
    let simulated = Simulated::with_topic(5, fast());
    [1, 3, 4].into_iter().for_each(|partition| send_batch(&simulated.broker, partition, 1000));
    let places = [(0, 0), (1, 0), (2, 99), (3, 0), (4, 0)];
    let mut all = fetcher(&simulated.broker, FetchOptions::new().max_bytes(2000), &places);
    let answers = all.fetch();
    assert_eq!(lens(&answers), [Some(0), Some(1000), None, Some(1000), Some(0)]);
    let of = |answer: &thalweg::Result<thalweg::Fetched>| match answer {
        Ok(fetched) => fetched.partition().partition(),
        Err(error) => error.partition().unwrap().partition(),
    };
    assert_eq!(answers.iter().map(of).collect::<Vec<_>>(), [0, 1, 2, 3, 4], "as they were served");
    assert_eq!(numbers(&all), [0, 4, 1, 2, 3]);
    // Nothing was taken: it comes again, to whom it is now.
    assert_eq!(lens(&all.fetch()), [Some(0), Some(1000), Some(1000), None, Some(0)]);
    assert_eq!(numbers(&all), [0, 3, 4, 1, 2]);
}

/// fetch.md 8: one partition that alone fills the budget, and N-1 with a record now and then.
#[test]
fn every_trickling_partition_is_served_within_as_many_fetches_as_there_are_partitions() {
    const PARTITIONS: i32 = 6;
    for (hot, first) in (0..PARTITIONS).flat_map(|hot| [(hot, 0), (hot, 3)]) {
        let simulated = Simulated::with_topic(PARTITIONS, fast());
        let trickling: Vec<_> = (0..PARTITIONS).filter(|partition| *partition != hot).collect();
        let order: Vec<_> = (0..PARTITIONS).map(|number| ((number + first) % PARTITIONS, 0)).collect();
        let mut fetcher = fetcher(&simulated.broker, FetchOptions::new().max_bytes(1000), &order);
        (0..200).for_each(|_| send_batch(&simulated.broker, hot, 1000));
        let mut hot_bytes = 0;
        for round in 0..8 {
            // Now all of them at once, now one of them.
            let sent: Vec<_> = if round % 2 == 0 { trickling.clone() } else { vec![trickling[round / 2]] };
            sent.iter().for_each(|partition| send_batch(&simulated.broker, *partition, 1000));
            let mut served = Vec::new();
            for _ in 0..PARTITIONS {
                let answers = fetcher.fetch();
                served.extend(answers.iter().flatten().filter(|f| !f.is_empty()).map(|f| f.partition().partition()));
                go_on(&mut fetcher, &answers);
            }
            assert!(sent.iter().all(|partition| served.contains(partition)), "{sent:?}, but {served:?}");
            hot_bytes += served.iter().filter(|partition| **partition == hot).count();
        }
        assert!(hot_bytes >= 8, "and the hot one has its turns, too: {hot_bytes}");
    }
}

/// fetch.md 8: the same of a consumer.
#[test]
fn a_consumer_serves_every_trickling_partition_within_as_many_fetches_as_there_are_partitions() {
    const PARTITIONS: i32 = 5;
    for hot in 0..PARTITIONS {
        let simulated = Simulated::with_topic(PARTITIONS, fast());
        let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest).fetch_max_bytes(1000);
        let mut consumer = simulated.broker.consumer(config).unwrap();
        consumer.assign(&(0..PARTITIONS).map(tp).collect::<Vec<_>>()).unwrap();
        (0..100).for_each(|_| send_batch(&simulated.broker, hot, 1000));
        for round in 0..5 {
            let sent: Vec<_> =
                (0..PARTITIONS).filter(|partition| *partition != hot && (round + partition) % 2 == 0).collect();
            sent.iter().for_each(|partition| send_batch(&simulated.broker, *partition, 1000));
            let mut served = Vec::new();
            for _ in 0..PARTITIONS {
                served.extend(consumer.poll(Duration::ZERO).unwrap().iter().map(|record| record.partition()));
            }
            assert!(sent.iter().all(|partition| served.contains(partition)), "{sent:?}, but {served:?}");
            assert!(served.contains(&hot));
        }
    }
}

/// fetch.md 5.1: an error ends the wait, whatever the others have; the list may be empty.
#[test]
fn an_error_of_one_partition_answers_at_once_and_takes_nothing_from_the_others() {
    let simulated = Simulated::with_topic(3, fast());
    send_batch(&simulated.broker, 1, 1000);
    for (third, is_ready) in [(99, true), (-1, true), (0, false)] {
        let mut fetcher = fetcher(&simulated.broker, waiting(5000), &[(0, 0), (1, 0), (2, third)]);
        let mut future = fetcher.fetch_async();
        let poll = Wakes::new().poll(&mut future);
        assert_eq!(poll.is_ready(), is_ready);
        if is_ready {
            let answers = ready(poll);
            assert_eq!(lens(&answers), [Some(0), Some(1000), None]);
            assert_eq!(answers[2].as_ref().unwrap_err().partition(), Some(&tp(2)));
        }
    }
    let mut nothing = Fetcher::new(waiting(1));
    assert!(nothing.fetch().is_empty());
    assert!(ready(Wakes::new().poll(&mut nothing.fetch_async())).is_empty());
}

/// fetch.md 5.2: bytes of all partitions count together, and the wait ends once.
#[test]
fn bytes_of_all_partitions_count_together() {
    for (min_bytes, batches) in [(1, 1), (1000, 1), (1001, 2), (3000, 3), (3500, 4), (10_000, 10)] {
        let simulated = Simulated::with_topic(3, fast().internal_segment_bytes(1500));
        send_batch(&simulated.broker, 1, 1000);
        let mut fetcher = fetcher(&simulated.broker, waiting(min_bytes), &[(0, 0), (1, 10), (2, 0)]);
        let (mut future, wakes) = (fetcher.fetch_async(), Wakes::new());
        assert!(wakes.poll(&mut future).is_pending());
        for number in 0..batches {
            assert_eq!(wakes.count(), 0, "{number} batches, {min_bytes} bytes");
            send_batch(&simulated.broker, number % 3, 1000);
        }
        assert_eq!(wakes.count(), 1, "{min_bytes} bytes");
        send_batch(&simulated.broker, 0, 1000);
        assert_eq!(wakes.count(), 1);
        let answers = ready(wakes.poll(&mut future));
        assert_eq!(answers.iter().flatten().map(|fetched| fetched.len() as i32).sum::<i32>(), 1000 * (batches + 1));
    }
}

/// fetch.md 5.2: what a partition cannot give any more for its limit is not waited for from it, but from the others.
#[test]
fn a_partition_at_its_limit_counts_with_that() {
    let simulated = Simulated::with_topic(2, fast());
    (0..3).for_each(|_| send_batch(&simulated.broker, 0, 1000));
    let mut fetcher = fetcher(&simulated.broker, waiting(3500).max_partition_bytes(2000), &[(0, 0), (1, 0)]);
    let (mut future, wakes) = (fetcher.fetch_async(), Wakes::new());
    assert!(wakes.poll(&mut future).is_pending());
    (0..5).for_each(|_| send_batch(&simulated.broker, 0, 1000));
    assert_eq!(wakes.count(), 0, "more of the same does not help");
    send_batch(&simulated.broker, 1, 1000);
    assert_eq!(wakes.count(), 0);
    send_batch(&simulated.broker, 1, 1000);
    assert_eq!(wakes.count(), 1);
    assert_eq!(lens(&ready(wakes.poll(&mut future))), [Some(2000), Some(2000)]);
}

/// fetch.md 5.2: a partition that goes, fails or is closed ends the wait, with that error in its place.
#[test]
fn the_end_of_one_partition_ends_the_wait_and_is_told_in_its_place() {
    let ways: [fn(&Simulated); 4] = [
        |simulated| simulated.broker.delete_topic("t").unwrap(),
        |simulated| assert!(simulated.broker.partition(&tp(1)).unwrap().delete_records(10).is_ok()),
        |simulated| {
            send_batch(&simulated.broker, 1, 1000);
            simulated.disk.fail(Fault::of(OperationKind::Sync).for_ever());
            simulated.show();
        },
        |_| {},
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let simulated = Simulated::with_topic(2, TopicConfig::new());
        simulated.broker.create_topic("other", 1, fast()).unwrap();
        [0, 1].into_iter().for_each(|partition| send_batch(&simulated.broker, partition, 1000));
        simulated.show();
        let mut fetcher = fetcher(&simulated.broker, waiting(5000), &[(0, 0), (1, if number == 2 { 10 } else { 5 })]);
        let other = thalweg::TopicPartition::new("other", 0);
        fetcher.add(simulated.broker.partition(&other).unwrap(), 0).unwrap();
        let (mut future, wakes) = (fetcher.fetch_async(), Wakes::new());
        assert!(wakes.poll(&mut future).is_pending());
        way(&simulated);
        if number == 3 {
            let Simulated { broker, .. } = simulated;
            broker.close().unwrap();
        }
        assert!(wakes.count() >= 1);
        let answers = ready(wakes.poll(&mut future));
        let kinds = answers.iter().map(|answer| answer.as_ref().map(|fetched| fetched.len()).map_err(|e| e.kind()));
        match (number, &kinds.collect::<Vec<_>>()[..]) {
            (
                0,
                [Err(ErrorKind::UnknownTopicOrPartition { .. }), Err(ErrorKind::UnknownTopicOrPartition { .. }), Ok(0)],
            )
            | (1, [Ok(1000), Err(ErrorKind::OffsetOutOfRange { requested: 5, log_start: 10, .. }), Ok(0)])
            | (2, [Ok(1000), Err(ErrorKind::Storage { .. }), Ok(0)])
            | (3, [Ok(1000), Ok(1000), Err(ErrorKind::Closed)]) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// fetch.md 14.3: the deadline of a fetch of several partitions.
#[test]
fn the_deadline_ends_the_wait_for_several_partitions() {
    let simulated = Simulated::with_topic(2, fast());
    let options = FetchOptions::new().min_bytes(5000).max_wait(Duration::from_millis(500));
    let mut fetcher = fetcher(&simulated.broker, options, &[(0, 0), (1, 0)]);
    let (mut future, wakes) = (fetcher.fetch_async(), Wakes::new());
    assert!(wakes.poll(&mut future).is_pending());
    send_batch(&simulated.broker, 1, 1000);
    simulated.pass(Duration::from_millis(480));
    assert!(wakes.poll(&mut future).is_pending());
    assert_eq!(wakes.count(), 0);
    simulated.pass(Duration::from_millis(20));
    assert_eq!(wakes.count(), 1);
    assert_eq!(lens(&ready(wakes.poll(&mut future))), [Some(0), Some(1000)]);
}

/// fetch.md 14.4: dropped, it is in no list, and the fetcher is what it was.
#[test]
fn a_dropped_fetch_of_several_partitions_changes_nothing() {
    let simulated = Simulated::with_topic(2, fast());
    let mut fetcher = fetcher(&simulated.broker, waiting(1), &[(0, 0), (1, 0)]);
    let (mut future, wakes) = (fetcher.fetch_async(), Wakes::new());
    assert!(wakes.poll(&mut future).is_pending());
    drop(future);
    assert_eq!(Arc::strong_count(&wakes), 1, "the task is kept by nobody");
    send_batch(&simulated.broker, 1, 1000);
    assert_eq!(wakes.count(), 0);
    assert_eq!(numbers(&fetcher), [0, 1]);
    assert_eq!(lens(&fetcher.fetch()), [Some(0), Some(1000)]);
    assert_eq!(numbers(&fetcher), [0, 1]);
}

/// [`thalweg::FetchWaker::wake`] ends the wait that is under way, as a future and as a blocking call.
#[test]
fn a_wake_up_ends_the_wait_that_is_under_way() {
    let simulated = Simulated::with_topic(2, fast());
    send_batch(&simulated.broker, 0, 1000);
    let mut fetcher = fetcher(&simulated.broker, waiting(5000), &[(0, 0), (1, 0)]);
    let waker = fetcher.waker();
    let (mut future, wakes) = (fetcher.fetch_async(), Wakes::new());
    assert!(wakes.poll(&mut future).is_pending());
    waker.wake();
    assert_eq!(wakes.count(), 1);
    assert_eq!(lens(&ready(wakes.poll(&mut future))), [Some(1000), Some(0)]);
    drop(future);
    // Once: the next one waits again.
    let mut future = fetcher.fetch_async();
    assert!(wakes.poll(&mut future).is_pending());
    drop(future);

    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut fetcher = self::fetcher(&broker, waiting(1), &[(0, 0)]);
    for _ in 0..100 {
        // Whether the other thread waits already makes no difference.
        let waker = fetcher.waker();
        thread::scope(|scope| {
            scope.spawn(move || waker.wake());
            assert_eq!(lens(&fetcher.fetch()), [Some(0)]);
        });
        let waker = fetcher.waker();
        thread::scope(|scope| {
            scope.spawn(move || waker.wake());
            assert_eq!(lens(&block_on(fetcher.fetch_async())), [Some(0)]);
        });
    }
}

/// [`thalweg::FetchWaker::wake`]: when nobody waits, "the next one that would wait", and only that one.
#[test]
fn a_wake_up_that_nobody_waits_for_is_for_the_next_fetch_that_would_wait() {
    let simulated = Simulated::with_topic(1, fast());
    let mut fetcher = fetcher(&simulated.broker, waiting(1), &[(0, 0)]);
    send_batch(&simulated.broker, 0, 1000);
    let waker = fetcher.waker();
    waker.wake();
    waker.wake();
    assert_eq!(lens(&fetcher.fetch()), [Some(1000)]); // does not wait
    fetcher.seek(&tp(0), 10).unwrap();
    assert_eq!(lens(&fetcher.fetch()), [Some(0)]);
    assert!(Wakes::new().poll(&mut fetcher.fetch_async()).is_pending());
    waker.wake();
    assert_eq!(lens(&ready(Wakes::new().poll(&mut fetcher.fetch_async()))), [Some(0)]);
    assert!(Wakes::new().poll(&mut fetcher.fetch_async()).is_pending());
}

/// A wake-up that comes together with the records has ended its wait: the next fetch waits again.
#[test]
fn a_wake_up_beside_enough_records_is_used_up() {
    let simulated = Simulated::with_topic(1, fast());
    let mut fetcher = fetcher(&simulated.broker, waiting(1), &[(0, 0)]);
    let waker = fetcher.waker();
    let (mut future, wakes) = (fetcher.fetch_async(), Wakes::new());
    assert!(wakes.poll(&mut future).is_pending());
    waker.wake();
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!(lens(&ready(wakes.poll(&mut future))), [Some(1000)]);
    drop(future);
    fetcher.seek(&tp(0), 10).unwrap();
    assert!(wakes.poll(&mut fetcher.fetch_async()).is_pending());
}

/// A partition is there once; one that was not added cannot be moved or removed.
#[test]
fn a_partition_twice_and_one_that_is_not_there() {
    let simulated = Simulated::with_topic(2, fast());
    let mut fetcher = fetcher(&simulated.broker, FetchOptions::new(), &[(0, 7)]);
    let again = simulated.broker.partition(&tp(0)).unwrap();
    let error = fetcher.add(Arc::clone(&again), 0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IllegalArgument { .. }), "{error}");
    assert_eq!(error.partition(), Some(&tp(0)));
    assert_eq!(fetcher.positions().collect::<Vec<_>>(), [(&tp(0), 7)], "as it was");
    let error = fetcher.seek(&tp(1), 0).unwrap_err();
    let kind = ErrorKind::UnknownTopicOrPartition { topic: "t".to_owned(), partition: Some(1) };
    assert_eq!(error.kind(), &kind);
    assert!(!fetcher.remove(&tp(1)));
    assert!(fetcher.remove(&tp(0)));
    fetcher.add(again, 0).unwrap();
    // A topic of the same name is another one: its partition takes the place when the old one is removed.
    simulated.broker.delete_topic("t").unwrap();
    simulated.broker.create_topic("t", 1, fast()).unwrap();
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!(lens(&fetcher.fetch()), [None]);
    let anew = simulated.broker.partition(&tp(0)).unwrap();
    fetcher.add(Arc::clone(&anew), 0).unwrap_err();
    assert!(fetcher.remove(&tp(0)));
    fetcher.add(anew, 0).unwrap();
    assert_eq!(lens(&fetcher.fetch()), [Some(1000)]);
}

/// Fetches of several partitions against several writers: everybody gets everything, in the order of the offsets.
#[test]
fn everything_is_read_once_and_in_order_under_load() {
    const PARTITIONS: i32 = 3;
    const BATCHES: i64 = 150;
    let store = Store::new();
    let broker = store.open_with(BrokerConfig::new());
    broker.create_topic("t", PARTITIONS, fast().internal_segment_bytes(20_000).retention(None)).unwrap();
    thread::scope(|scope| {
        for is_async in [false, true] {
            let broker = &broker;
            scope.spawn(move || {
                let places: Vec<_> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
                let options = FetchOptions::new().min_bytes(1000).max_bytes(3000).max_wait(Duration::from_secs(60));
                let mut fetcher = fetcher(broker, options, &places);
                let mut next = [0; PARTITIONS as usize];
                while next.iter().sum::<i64>() < 10 * BATCHES * i64::from(PARTITIONS) {
                    let answers = if is_async { block_on(fetcher.fetch_async()) } else { fetcher.fetch() };
                    assert!(answers.iter().flatten().any(|fetched| !fetched.is_empty()), "a minute is over");
                    for fetched in answers.iter().flatten() {
                        let records = fetched.decode(true).unwrap();
                        let next = &mut next[fetched.partition().partition() as usize];
                        assert!(records.iter().map(|record| record.offset()).eq(*next..fetched.next_offset()));
                        *next = fetched.next_offset();
                    }
                    go_on(&mut fetcher, &answers);
                }
            });
        }
        for partition in 0..PARTITIONS {
            let broker = &broker;
            scope.spawn(move || (0..BATCHES).for_each(|_| send_batch(broker, partition, 1000)));
        }
    });
}

/// A task that wakes the fetcher when it goes: an application's code, which runs where its last waker is dropped.
struct WakesWhenDropped(thalweg::FetchWaker);

impl Wake for WakesWhenDropped {
    fn wake(self: Arc<Self>) {}
}

impl Drop for WakesWhenDropped {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// No lock is held while a waker is dropped, as none is while one is called: it may come back.
#[test]
fn a_task_that_goes_when_its_waker_is_replaced_may_come_back() {
    let (ended, has_ended) = std::sync::mpsc::channel();
    // Its own thread, so that a deadlock is a failure.
    thread::spawn(move || {
        let simulated = Simulated::with_topic(1, fast());
        let mut fetcher = fetcher(&simulated.broker, waiting(1), &[(0, 0)]);
        let waker = fetcher.waker();
        let mut future = fetcher.fetch_async();
        let first = Waker::from(Arc::new(WakesWhenDropped(waker)));
        assert!(Pin::new(&mut future).poll(&mut Context::from_waker(&first)).is_pending());
        drop(first); // the fetch has the last one now
        let second = Wakes::new();
        let mut is_pending = second.poll(&mut future).is_pending();
        if is_pending {
            is_pending = second.poll(&mut future).is_pending();
        }
        assert!(!is_pending, "the first task woke the fetcher when it went");
        ended.send(()).unwrap();
    });
    has_ended.recv_timeout(Duration::from_secs(20)).expect("no deadlock");
}

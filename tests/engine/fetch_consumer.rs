//! `fetch.min.bytes` and `fetch.max.wait.ms` of a consumer: fetch.md 1 and 5.

use std::thread;
use std::time::Duration;

use thalweg::{AutoOffsetReset, Broker, Consumer, ConsumerConfig};

use crate::support::{Simulated, Store, fast, send_batch, tp};

const MAX_WAIT: Duration = Duration::from_millis(500);

fn assigned(broker: &Broker, partitions: i32, min_bytes: usize, max_wait: Duration) -> Consumer {
    let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = broker.consumer(config.fetch_min_bytes(min_bytes).fetch_max_wait(max_wait)).unwrap();
    consumer.assign(&(0..partitions).map(tp).collect::<Vec<_>>()).unwrap();
    consumer
}

fn poll(consumer: &mut Consumer) -> usize {
    consumer.poll(Duration::ZERO).unwrap().len()
}

/// Too little is held back until there is enough, in all partitions together.
#[test]
fn records_are_held_back_until_there_are_enough_bytes() {
    let simulated = Simulated::with_topic(2, fast());
    let mut consumer = assigned(&simulated.broker, 2, 3000, Duration::from_secs(3600));
    for partition in [0, 1] {
        send_batch(&simulated.broker, partition, 1000);
        assert_eq!(poll(&mut consumer), 0);
    }
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!(poll(&mut consumer), 30);
    // And again, from the new positions.
    send_batch(&simulated.broker, 1, 1000);
    assert_eq!(poll(&mut consumer), 0);
    send_batch(&simulated.broker, 1, 5000);
    assert_eq!(poll(&mut consumer), 20);
}

/// "counted from the first time that it finds too few, over several polls if need be": polls that do not wait count, too.
#[test]
fn polls_without_time_get_what_was_held_back_long_enough() {
    let simulated = Simulated::with_topic(1, fast());
    let mut consumer = assigned(&simulated.broker, 1, 3000, MAX_WAIT);
    send_batch(&simulated.broker, 0, 1000);
    for _ in 0..4 {
        assert_eq!(poll(&mut consumer), 0);
        simulated.pass(MAX_WAIT / 5);
    }
    simulated.pass(MAX_WAIT / 4);
    assert_eq!(poll(&mut consumer), 10);
    // The next wait begins anew.
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!(poll(&mut consumer), 0);
    simulated.pass(MAX_WAIT / 2);
    assert_eq!(poll(&mut consumer), 0);
    simulated.pass(MAX_WAIT);
    assert_eq!(poll(&mut consumer), 10);
}

/// The same with polls that wait for a part of the time each: on this clock every look takes time.
#[test]
fn the_time_goes_on_over_several_polls() {
    let simulated = Simulated::with_topic(1, fast());
    let mut consumer = assigned(&simulated.broker, 1, 3000, MAX_WAIT);
    send_batch(&simulated.broker, 0, 1000);
    let polls = (1..20).find(|_| !consumer.poll(MAX_WAIT / 5).unwrap().is_empty());
    assert!(polls.is_some_and(|polls| (4..=6).contains(&polls)), "{polls:?}");
}

/// One poll that has the time comes back with what there is when the wait is over, and not later.
#[test]
fn a_long_poll_ends_with_the_wait() {
    let simulated = Simulated::with_topic(1, fast());
    let mut consumer = assigned(&simulated.broker, 1, 3000, MAX_WAIT);
    send_batch(&simulated.broker, 0, 1000);
    let before = simulated.disk.clock().timestamp();
    assert_eq!(consumer.poll(Duration::from_secs(3600)).unwrap().len(), 10);
    let took = simulated.disk.clock().timestamp() - before;
    assert!((490..520).contains(&took), "{took} ms");
}

/// What was fetched goes out at once, in as many polls as it takes: the minimum is of the fetch.
#[test]
fn what_was_fetched_is_not_held_back() {
    let simulated = Simulated::with_topic(1, fast());
    let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest).max_poll_records(4);
    let config = config.fetch_min_bytes(1000).fetch_max_wait(Duration::from_secs(3600));
    let mut consumer = simulated.broker.consumer(config).unwrap();
    consumer.assign(&[tp(0)]).unwrap();
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!((0..5).map(|_| poll(&mut consumer)).collect::<Vec<_>>(), [4, 4, 2, 0, 0]);
}

/// fetch.md 5.1: 0 never waits for bytes; `poll` still waits for a record.
#[test]
fn records_end_a_poll_whatever_the_minimum() {
    for (min_bytes, max_wait) in [(0, MAX_WAIT), (1, MAX_WAIT), (2000, MAX_WAIT * 1000), (1000, Duration::ZERO)] {
        let store = Store::new();
        let broker = store.open_with_topic(1, fast());
        let mut consumer = assigned(&broker, 1, min_bytes, max_wait);
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let poll = |consumer: &mut Consumer| consumer.poll(Duration::from_secs(60)).unwrap().len();
                let mut sum = 0;
                while sum < 20 {
                    sum += poll(&mut consumer);
                }
                sum
            });
            send_batch(&broker, 0, 1000);
            send_batch(&broker, 0, 1000);
            assert_eq!(reader.join().unwrap(), 20);
        });
    }
}

/// The time that this thread was on a processor, in hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A poll that finds nothing, or too little, sleeps.
fn assert_idle(min_bytes: usize, max_wait: Duration, batches: usize) {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut consumer = assigned(&broker, 1, min_bytes, max_wait);
    (0..batches).for_each(|_| send_batch(&broker, 0, 1000));
    let before = ticks();
    assert!(consumer.poll(Duration::from_millis(500)).unwrap().is_empty());
    let took = ticks() - before;
    assert!(took <= 5, "{min_bytes} bytes, {max_wait:?}: {took} of 50 ticks");
}

#[test]
fn an_idle_poll_does_not_spin_with_a_minimum() {
    assert_idle(5000, Duration::from_secs(10), 0);
    assert_idle(5000, Duration::from_secs(10), 1);
    assert_idle(5000, Duration::from_millis(100), 0);
}

#[test]
fn an_idle_poll_does_not_spin_with_a_minimum_of_nothing() {
    assert_idle(0, MAX_WAIT, 0);
}

#[test]
fn an_idle_poll_does_not_spin_where_nothing_is_held_back() {
    assert_idle(5000, Duration::ZERO, 0);
}

/// More than the most that a fetch takes counts as that: nothing.
#[test]
fn an_idle_poll_does_not_spin_where_a_fetch_takes_one_batch() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest).fetch_max_bytes(0);
    let mut consumer = broker.consumer(config).unwrap();
    consumer.assign(&[tp(0)]).unwrap();
    let before = ticks();
    assert!(consumer.poll(Duration::from_millis(500)).unwrap().is_empty());
    assert!(ticks() - before <= 5);
}

/// After an idle time longer than the wait, what comes is not held back for longer than that.
#[test]
fn what_comes_after_an_idle_time_is_held_back_no_longer_than_the_wait() {
    let simulated = Simulated::with_topic(1, fast());
    let mut consumer = assigned(&simulated.broker, 1, 3000, MAX_WAIT);
    assert!(consumer.poll(MAX_WAIT * 10).unwrap().is_empty());
    send_batch(&simulated.broker, 0, 1000);
    let polls = (1..20).find(|_| !consumer.poll(MAX_WAIT / 5).unwrap().is_empty());
    assert!(polls.is_some_and(|polls| polls <= 6), "{polls:?}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let simulated = Simulated::with_topic(1, fast());
    let refused = [
        ConsumerConfig::new().fetch_min_bytes(1 << 31),
        ConsumerConfig::new().fetch_min_bytes(usize::MAX),
        ConsumerConfig::new().fetch_max_wait(Duration::MAX),
        ConsumerConfig::new().fetch_max_wait(Duration::from_millis(1 << 31)),
    ];
    for config in refused {
        let error = simulated.broker.consumer(config).unwrap_err();
        assert!(matches!(error.kind(), thalweg::ErrorKind::InvalidConfig { .. }), "{error}");
    }
    let largest = Duration::from_millis((1 << 31) - 1);
    let mut consumer = assigned(&simulated.broker, 1, (1 << 31) - 1, largest);
    assert_eq!(poll(&mut consumer), 0);
}

//! Fetches of one partition that wait: fetch.md 5, polled by hand on a disk and a clock that do what they are told.

use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use thalweg::simulation::{Background, Fault, OperationKind};
use thalweg::{BrokerConfig, Error, ErrorKind, FetchOptions, Fetched, Partition, TopicConfig};

use crate::support::{Simulated, Store, Wakes, block_on, fast, parked, ready, send_batch, tp};

const FOR_EVER: Duration = Duration::MAX;

/// A topic whose records are seen at once, in segments of one batch of 1000 bytes each or in a single one.
fn with_segments(many: bool) -> (Simulated, Arc<Partition>) {
    with(fast().internal_segment_bytes(if many { 1500 } else { 1 << 20 }))
}

fn with(topic: TopicConfig) -> (Simulated, Arc<Partition>) {
    let simulated = Simulated::with_topic(1, topic);
    let partition = simulated.broker.partition(&tp(0)).unwrap();
    (simulated, partition)
}

fn at_least(bytes: usize) -> FetchOptions {
    FetchOptions::new().min_bytes(bytes)
}

/// `Ok` with this many bytes.
#[track_caller]
fn assert_bytes(poll: Poll<thalweg::Result<Fetched>>, bytes: usize) {
    assert_eq!(ready(poll).unwrap().len(), bytes);
}

fn unknown() -> ErrorKind {
    ErrorKind::UnknownTopicOrPartition { topic: "t".to_owned(), partition: Some(0) }
}

/// fetch.md 5.1: answered at once with a max wait of 0, a min bytes of 0, enough bytes, or an error; else not.
#[test]
fn the_first_attempt_answers_where_there_is_no_reason_to_wait() {
    let (simulated, partition) = with_segments(false);
    let poll = |offset, options: FetchOptions| Wakes::new().poll(&mut partition.fetch_async(offset, &options));
    let waiting = || FetchOptions::new().max_wait(FOR_EVER);
    assert_bytes(poll(0, FetchOptions::new()), 0);
    assert_bytes(poll(0, at_least(usize::MAX)), 0);
    assert_bytes(poll(0, waiting().min_bytes(0)), 0);
    assert_bytes(poll(0, waiting().max_bytes(0)), 0); // min bytes counts as that
    assert!(poll(0, waiting()).is_pending());
    for offset in [1, -1, i64::MAX] {
        let kind = ErrorKind::OffsetOutOfRange { requested: offset, log_start: 0, high_watermark: 0, log_end: 0 };
        assert_eq!(ready(poll(offset, waiting())).unwrap_err().kind(), &kind);
    }
    send_batch(&simulated.broker, 0, 1000);
    assert_bytes(poll(0, waiting()), 1000);
    assert_bytes(poll(0, waiting().min_bytes(1000)), 1000);
    assert!(poll(0, waiting().min_bytes(1001)).is_pending());
    // The blocking call does the same.
    assert_eq!(partition.fetch(0, &waiting().min_bytes(1000)).unwrap().len(), 1000);
    assert_eq!(partition.fetch(10, &waiting().min_bytes(0)).unwrap().len(), 0);
    assert_eq!(partition.fetch(10, &at_least(1)).unwrap().len(), 0);
}

/// fetch.md 5.2, "partition gone".
#[test]
fn a_fetch_that_waits_ends_when_the_topic_is_deleted() {
    for found in [0, 1] {
        let (simulated, partition) = with_segments(false);
        (0..found).for_each(|_| send_batch(&simulated.broker, 0, 1000));
        let (mut future, wakes) = parked(&partition, 0, at_least(5000));
        simulated.broker.delete_topic("t").unwrap();
        assert_eq!(wakes.count(), 1);
        assert_eq!(ready(wakes.poll(&mut future)).unwrap_err().kind(), &unknown(), "{found} batches there");
    }
}

/// fetch.md 5.2, "offline"; 14.4: what there is, if there is something, and why there will not be more, if not.
#[test]
fn a_fetch_that_waits_ends_when_the_broker_is_closed() {
    for found in [0, 1] {
        let (simulated, partition) = with_segments(false);
        (0..found).for_each(|_| send_batch(&simulated.broker, 0, 1000));
        let (mut future, wakes) = parked(&partition, 0, at_least(5000));
        simulated.broker.close().unwrap();
        assert_eq!(wakes.count(), 1);
        let outcome = ready(wakes.poll(&mut future));
        match found {
            0 => assert_eq!(outcome.unwrap_err().kind(), &ErrorKind::Closed),
            _ => assert_eq!(outcome.unwrap().len(), 1000),
        }
        // And nobody begins to wait any more.
        let outcome = partition.fetch(10 * found, &at_least(1).max_wait(FOR_EVER));
        assert_eq!(outcome.unwrap_err().kind(), &ErrorKind::Closed);
        // Who does not wait reads as ever.
        assert_eq!(partition.fetch(0, &at_least(5000)).unwrap().len() as i64, 1000 * found);
    }
}

/// fetch.md 5.2, "offline".
#[test]
fn a_fetch_that_waits_ends_when_the_log_fails() {
    for found in [0, 1] {
        let (simulated, partition) = with(TopicConfig::new());
        (0..found).for_each(|_| send_batch(&simulated.broker, 0, 1000));
        simulated.show();
        let (mut future, wakes) = parked(&partition, 0, at_least(5000));
        send_batch(&simulated.broker, 0, 1000);
        assert_eq!(wakes.count(), 0);
        simulated.disk.fail(Fault::of(OperationKind::Sync).for_ever());
        simulated.show();
        assert_eq!(wakes.count(), 1);
        let outcome = ready(wakes.poll(&mut future));
        let is_failure = |error: &Error| matches!(error.kind(), ErrorKind::Storage { .. });
        match found {
            0 => assert!(is_failure(outcome.as_ref().unwrap_err()), "{outcome:?}"),
            _ => assert_eq!(outcome.unwrap().len(), 1000),
        }
        let error = partition.fetch(10 * found, &at_least(1).max_wait(FOR_EVER)).unwrap_err();
        assert!(is_failure(&error), "{error}");
        assert_eq!(partition.fetch(0, &at_least(5000)).unwrap().len() as i64, 1000 * found);
    }
}

/// fetch.md 2.2 and 5.2 [T]: a reader between high watermark and log end waits for its own records.
#[test]
fn a_reader_above_the_high_watermark_waits_until_it_has_passed() {
    for segment_bytes in [1 << 20, 1500] {
        let (simulated, partition) = with(TopicConfig::new().internal_segment_bytes(segment_bytes));
        send_batch(&simulated.broker, 0, 1000);
        simulated.show();
        send_batch(&simulated.broker, 0, 1000);
        assert_eq!((partition.high_watermark().unwrap(), partition.log_end().unwrap()), (10, 20));
        let mut readers: Vec<_> = (10..=20).map(|offset| parked(&partition, offset, at_least(1))).collect();
        simulated.show();
        let (mut at_the_end, wakes_at_the_end) = readers.pop().unwrap();
        for ((mut future, wakes), offset) in readers.into_iter().zip(10..) {
            assert_eq!(wakes.count(), 1, "{offset}");
            let records = ready(wakes.poll(&mut future)).unwrap().decode(true).unwrap();
            assert!(records.iter().map(|record| record.offset()).eq(offset..20));
        }
        assert_eq!(wakes_at_the_end.count(), 0, "the high watermark came to its offset, nothing more");
        assert!(wakes_at_the_end.poll(&mut at_the_end).is_pending());
        send_batch(&simulated.broker, 0, 1000);
        assert_eq!(wakes_at_the_end.count(), 0, "not durable yet");
        simulated.show();
        assert_eq!(wakes_at_the_end.count(), 1);
        assert_bytes(wakes_at_the_end.poll(&mut at_the_end), 1000);
    }
}

/// fetch.md 5.2 [T], 14.3: bytes are counted, in the same segment and over later ones alike; nobody is woken before there
/// are enough, and then once.
#[test]
fn who_waits_is_woken_once_and_not_before_there_is_enough() {
    for (many_segments, offset, min_bytes) in [false, true]
        .into_iter()
        .flat_map(|many| [0, 5, 10, 13].map(|offset| (many, offset)))
        .flat_map(|(many, offset)| [1, 999, 1000, 1001, 2000, 2500, 3000, 4001].map(|bytes| (many, offset, bytes)))
    {
        let (simulated, partition) = with_segments(many_segments);
        send_batch(&simulated.broker, 0, 1000);
        send_batch(&simulated.broker, 0, 1000);
        let first = offset / 10 * 1000; // the whole first batch counts, also where the offset lies inside it
        let from_offset = |count: usize| count * 1000 - first;
        let options = at_least(min_bytes).max_wait(FOR_EVER);
        let (mut future, wakes) = (partition.fetch_async(offset as i64, &options), Wakes::new());
        let mut count = 2;
        let is_enough_at_once = min_bytes <= from_offset(2);
        if !is_enough_at_once {
            assert!(wakes.poll(&mut future).is_pending());
            while from_offset(count) < min_bytes {
                assert_eq!(wakes.count(), 0, "{min_bytes} from {offset}, {count} batches");
                send_batch(&simulated.broker, 0, 1000);
                count += 1;
            }
            assert_eq!(wakes.count(), 1, "{min_bytes} from {offset}, {count} batches");
            send_batch(&simulated.broker, 0, 1000);
            count += 1;
            assert_eq!(wakes.count(), 1);
        }
        assert_bytes(wakes.poll(&mut future), from_offset(count));
    }
}

/// fetch.md 5.2: a task that polls in between, for other reasons, is told that there is not enough, and still woken later.
#[test]
fn polls_in_between_change_nothing() {
    let (simulated, partition) = with_segments(true);
    let (mut future, wakes) = parked(&partition, 0, at_least(3000));
    for _ in 0..2 {
        send_batch(&simulated.broker, 0, 1000);
        assert!(wakes.poll(&mut future).is_pending());
        assert_eq!(wakes.count(), 0);
    }
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!(wakes.count(), 1);
    assert_bytes(wakes.poll(&mut future), 3000);
}

/// fetch.md 5.2, "accumulate min(..., partition max bytes)": more than the limit of the partition does not count.
#[test]
fn what_the_limit_of_the_partition_keeps_back_does_not_count() {
    let (simulated, partition) = with_segments(false);
    let options = at_least(3000).max_partition_bytes(1500).max_wait(Duration::from_millis(500));
    let (mut future, wakes) = (partition.fetch_async(0, &options), Wakes::new());
    for _ in 0..5 {
        assert!(wakes.poll(&mut future).is_pending());
        send_batch(&simulated.broker, 0, 1000);
    }
    let before = wakes.count();
    (0..20).for_each(|_| send_batch(&simulated.broker, 0, 1000));
    assert_eq!(wakes.count(), before, "nobody is woken for what does not help");
    simulated.pass(Duration::from_secs(1));
    assert_eq!(wakes.count(), before + 1);
    assert_bytes(wakes.poll(&mut future), 1000);
}

/// What does not fit within a limit was not missing: waiting would not make the answer larger.
#[test]
fn a_batch_that_does_not_fit_ends_the_wait() {
    let (simulated, partition) = with_segments(false);
    let (mut future, wakes) = parked(&partition, 0, at_least(1400).max_bytes(1500));
    send_batch(&simulated.broker, 0, 1000);
    assert!(wakes.poll(&mut future).is_pending());
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!(wakes.count(), 1);
    assert_bytes(wakes.poll(&mut future), 1000);
}

/// fetch.md 5.2, "offset == end": after a roll, the high watermark still lies in the old segment (KAFKA-3159).
#[test]
fn a_roll_alone_wakes_nobody() {
    let age = Duration::from_secs(60);
    let (simulated, partition) = with(fast().segment_roll_timer(true).segment_age(age));
    send_batch(&simulated.broker, 0, 1000);
    let (mut future, wakes) = parked(&partition, 10, at_least(1));
    simulated.disk.clock().advance(10 * age);
    let before = simulated.broker.stats().segments;
    Background::of(&simulated.broker).tick();
    simulated.show();
    assert_eq!(simulated.broker.stats().segments, before + 1, "it rolled");
    assert_eq!(wakes.count(), 0);
    assert!(wakes.poll(&mut future).is_pending());
    let (mut begun_behind, wakes_behind) = parked(&partition, 10, at_least(1500));
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!((wakes.count(), wakes_behind.count()), (1, 0));
    assert_bytes(wakes.poll(&mut future), 1000);
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!(wakes_behind.count(), 1);
    assert_bytes(wakes_behind.poll(&mut begun_behind), 2000);
}

/// fetch.md 5.2 [T], 14.4: the log start moves above the offset: the fetch ends now, and says so.
#[test]
fn deleting_the_records_that_a_fetch_waits_behind_ends_it() {
    for many_segments in [false, true] {
        let (simulated, partition) = with_segments(many_segments);
        (0..3).for_each(|_| send_batch(&simulated.broker, 0, 1000));
        let (mut below, wakes_below) = parked(&partition, 19, at_least(5000));
        let (mut inside, wakes_inside) = parked(&partition, 25, at_least(2000));
        let (mut at_the_end, wakes_at_the_end) = parked(&partition, 30, at_least(2000));
        partition.delete_records(25).unwrap();
        assert_eq!(wakes_below.count(), 1);
        let kind = ErrorKind::OffsetOutOfRange { requested: 19, log_start: 25, high_watermark: 30, log_end: 30 };
        assert_eq!(ready(wakes_below.poll(&mut below)).unwrap_err().kind(), &kind);
        // The others look again, and go on waiting for as much as before.
        assert!(wakes_inside.poll(&mut inside).is_pending());
        assert!(wakes_at_the_end.poll(&mut at_the_end).is_pending());
        partition.delete_records(30).unwrap(); // the log is empty now
        let kind = ErrorKind::OffsetOutOfRange { requested: 25, log_start: 30, high_watermark: 30, log_end: 30 };
        assert_eq!(ready(wakes_inside.poll(&mut inside)).unwrap_err().kind(), &kind);
        assert!(wakes_at_the_end.poll(&mut at_the_end).is_pending());
        let before = wakes_at_the_end.count();
        send_batch(&simulated.broker, 0, 1000);
        assert_eq!(wakes_at_the_end.count(), before);
        send_batch(&simulated.broker, 0, 1000);
        assert_eq!(wakes_at_the_end.count(), before + 1);
        assert_bytes(wakes_at_the_end.poll(&mut at_the_end), 2000);
    }
}

/// fetch.md 5.2 [T]: the same by retention.
#[test]
fn retention_that_takes_what_a_fetch_waits_behind_ends_it() {
    let (simulated, partition) = with_segments(true);
    (0..5).for_each(|_| send_batch(&simulated.broker, 0, 1000));
    let (mut future, wakes) = parked(&partition, 0, at_least(50_000));
    let topic = fast().internal_segment_bytes(1500).retention(None).retention_bytes(Some(2000));
    simulated.broker.alter_topic("t", topic).unwrap();
    assert!(wakes.poll(&mut future).is_pending());
    assert!(simulated.broker.enforce_retention().unwrap() > 0);
    let error = ready(wakes.poll(&mut future)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OffsetOutOfRange { requested: 0, .. }), "{error}");
}

/// fetch.md 14.3: not before the deadline, and then with what there is.
#[test]
fn the_deadline_ends_the_wait_with_what_there_is() {
    for (batches, bytes) in [(0, 0), (2, 2000)] {
        let (simulated, partition) = with_segments(true);
        let options = at_least(5000).max_wait(Duration::from_millis(500));
        let (mut future, wakes) = (partition.fetch_async(0, &options), Wakes::new());
        simulated.pass(Duration::from_secs(60)); // the time begins with the first poll
        assert!(wakes.poll(&mut future).is_pending());
        (0..batches).for_each(|_| send_batch(&simulated.broker, 0, 1000));
        simulated.pass(Duration::from_millis(480));
        assert_eq!(wakes.count(), 0);
        assert!(wakes.poll(&mut future).is_pending());
        simulated.pass(Duration::from_millis(20));
        assert_eq!(wakes.count(), 1);
        assert_bytes(wakes.poll(&mut future), bytes);
    }
}

/// fetch.md 14.3: looking again does not begin the time anew.
#[test]
fn the_deadline_stays_what_it_was_when_the_fetch_looks_again() {
    let (simulated, partition) = with_segments(true);
    let options = at_least(5000).max_wait(Duration::from_millis(500));
    let (mut future, wakes) = (partition.fetch_async(0, &options), Wakes::new());
    assert!(wakes.poll(&mut future).is_pending());
    for round in 1..=4 {
        send_batch(&simulated.broker, 0, 1000);
        simulated.pass(Duration::from_millis(110));
        partition.delete_records(0).unwrap(); // has everybody look again
        assert_eq!(wakes.count(), round);
        assert!(wakes.poll(&mut future).is_pending());
    }
    simulated.pass(Duration::from_millis(70)); // half a second in all
    assert_eq!(wakes.count(), 5);
    assert_bytes(wakes.poll(&mut future), 4000);
}

/// fetch.md 14.4: who does not want to wait any more is in nobody's list.
#[test]
fn a_dropped_fetch_is_woken_by_nothing_and_holds_nothing() {
    let (simulated, partition) = with_segments(true);
    let handles = Arc::strong_count(&partition);
    for _ in 0..100 {
        let (future, wakes) = parked(&partition, 0, at_least(1));
        assert!(Arc::strong_count(&wakes) > 1 && Arc::strong_count(&partition) > handles);
        drop(future);
        assert_eq!((Arc::strong_count(&wakes), Arc::strong_count(&partition)), (1, handles));
    }
    let (dropped, wakes_dropped) = parked(&partition, 0, at_least(1));
    let (mut kept, wakes_kept) = parked(&partition, 0, at_least(1));
    drop(dropped);
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!((wakes_dropped.count(), wakes_kept.count()), (0, 1));
    assert_bytes(wakes_kept.poll(&mut kept), 1000);
    // One that was never polled does not begin anything.
    drop(partition.fetch_async(20, &at_least(1).max_wait(FOR_EVER)));
    drop(kept);
    assert_eq!(Arc::strong_count(&partition), handles);
}

/// A future may be polled by another task than before: that one is woken.
#[test]
fn the_task_that_polled_last_is_woken() {
    let (simulated, partition) = with_segments(false);
    let (mut future, first) = parked(&partition, 0, at_least(1));
    let second = Wakes::new();
    assert!(second.poll(&mut future).is_pending());
    assert_eq!(Arc::strong_count(&first), 1, "the first one is forgotten");
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!((first.count(), second.count()), (0, 1));
    // And another one yet may take the answer.
    assert_bytes(first.poll(&mut future), 1000);
}

/// fetch.md 5.3: the append comes between two polls of one that was not parked yet, or before it looks: nothing is lost.
#[test]
fn what_comes_before_the_first_poll_is_found() {
    let (simulated, partition) = with_segments(false);
    let mut future = partition.fetch_async(0, &at_least(1).max_wait(FOR_EVER));
    send_batch(&simulated.broker, 0, 1000);
    let wakes = Wakes::new();
    assert_bytes(wakes.poll(&mut future), 1000);
    assert_eq!(wakes.count(), 0);
}

/// fetch.md 14.3: many readers of either kind, against many writers: every reader gets every byte, and waits for at least
/// so many at a time.
#[test]
fn no_wake_up_is_lost_under_load() {
    const WRITERS: usize = 3;
    const BATCHES: usize = 400;
    let store = Store::new();
    let broker = store.open_with(BrokerConfig::new());
    broker.create_topic("t", 1, fast().internal_segment_bytes(20_000).retention(None)).unwrap();
    let partition = broker.partition(&tp(0)).unwrap();
    let total = WRITERS * BATCHES * 200;
    let read_all = |min_bytes: usize, fetch: &dyn Fn(i64, &FetchOptions) -> thalweg::Result<Fetched>| {
        let (mut offset, mut sum) = (0, 0);
        while sum < total {
            let options = at_least(min_bytes.min(total - sum)).max_wait(Duration::from_secs(60));
            let fetched = fetch(offset, &options).unwrap();
            assert!(fetched.len() >= min_bytes.min(total - sum), "before there was enough, or after the deadline");
            sum += fetched.len();
            offset = fetched.next_offset();
        }
        assert_eq!(sum, total);
    };
    thread::scope(|scope| {
        for min_bytes in [1, 200, 1000, 7000] {
            let (partition, read_all) = (&partition, &read_all);
            scope.spawn(move || read_all(min_bytes, &|offset, options| partition.fetch(offset, options)));
            scope.spawn(move || {
                read_all(min_bytes, &|offset, options| block_on(partition.fetch_async(offset, options)))
            });
        }
        for _ in 0..WRITERS {
            scope.spawn(|| {
                for _ in 0..BATCHES {
                    send_small(&broker);
                }
            });
        }
    });
}

/// One batch of 200 bytes.
fn send_small(broker: &thalweg::Broker) {
    let record = thalweg::ProducerRecord::new("t", &[7; 130]).partition(0).timestamp(1000);
    crate::support::producer(broker).send(record).unwrap().wait().unwrap();
}

/// A blocking call is ended by what ends a future.
#[test]
fn a_blocking_fetch_is_ended_by_records_deletion_and_close() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let partition = broker.partition(&tp(0)).unwrap();
    let in_thread = |offset, min_bytes| {
        let partition = Arc::clone(&partition);
        thread::spawn(move || partition.fetch(offset, &at_least(min_bytes).max_wait(FOR_EVER)))
    };
    // Whether the thread waits already makes no difference to what it returns.
    let records = in_thread(0, 400);
    send_small(&broker);
    send_small(&broker);
    assert_eq!(records.join().unwrap().unwrap().len(), 400);
    let behind = in_thread(1, 400);
    partition.delete_records(2).unwrap();
    assert!(matches!(behind.join().unwrap().unwrap_err().kind(), ErrorKind::OffsetOutOfRange { .. }));
    broker.create_topic("other", 1, fast()).unwrap();
    let other = broker.partition(&thalweg::TopicPartition::new("other", 0)).unwrap();
    let closed = thread::spawn(move || other.fetch(0, &at_least(1).max_wait(FOR_EVER)));
    let deleted = in_thread(2, 1);
    broker.delete_topic("t").unwrap();
    assert_eq!(deleted.join().unwrap().unwrap_err().kind(), &unknown());
    broker.close().unwrap();
    assert_eq!(closed.join().unwrap().unwrap_err().kind(), &ErrorKind::Closed);
}

/// fetch.md 14.3: a thousand fetches, each for as many bytes as it wants: every append wakes exactly those who have enough.
#[test]
fn every_append_wakes_those_who_have_enough_now_and_nobody_else() {
    const BATCHES: usize = 20;
    let (simulated, partition) = with_segments(true);
    let mut waiting: Vec<_> = (1..=50 * BATCHES)
        .map(|number| {
            let min_bytes = 20 * number; // fifty of them become enough with each batch
            let (future, wakes) = parked(&partition, 0, at_least(min_bytes));
            (min_bytes, future, wakes)
        })
        .collect();
    for batches in 1..=BATCHES {
        send_batch(&simulated.broker, 0, 1000);
        for (min_bytes, _, wakes) in &waiting {
            assert_eq!(wakes.count(), usize::from(*min_bytes <= 1000 * batches), "{min_bytes} of {batches} batches");
        }
    }
    for (_, future, wakes) in &mut waiting {
        assert_bytes(wakes.poll(future), 1000 * BATCHES);
    }
}

/// Records that a change of the topic's durability shows are records that came.
#[test]
fn a_change_of_the_topic_that_shows_records_wakes_who_waits_for_them() {
    let (simulated, partition) = with(TopicConfig::new());
    let (mut future, wakes) = parked(&partition, 0, at_least(1000));
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!((wakes.count(), partition.high_watermark().unwrap()), (0, 0));
    simulated.broker.alter_topic("t", fast()).unwrap();
    assert_eq!(partition.high_watermark().unwrap(), 10);
    assert_eq!(wakes.count(), 1);
    assert_bytes(wakes.poll(&mut future), 1000);
}

/// fetch.md 5.2, "the one-segment read limit": what the next segment has is not waited for.
#[test]
fn one_segment_at_a_time_the_end_of_a_segment_is_enough() {
    let simulated = Simulated::new(BrokerConfig::new().fetch_cross_segments(false));
    simulated.broker.create_topic("t", 1, fast().internal_segment_bytes(2500)).unwrap();
    let partition = simulated.broker.partition(&tp(0)).unwrap();
    (0..3).for_each(|_| send_batch(&simulated.broker, 0, 1000));
    let options = at_least(3000).max_wait(FOR_EVER);
    assert_bytes(Wakes::new().poll(&mut partition.fetch_async(0, &options)), 2000);
    // In the last one there is more to come, and it comes into that segment or behind it.
    let (mut future, wakes) = parked(&partition, 20, at_least(2000));
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!(wakes.count(), 1);
    assert_bytes(wakes.poll(&mut future), 2000);
    let (mut future, wakes) = parked(&partition, 40, at_least(1000));
    send_batch(&simulated.broker, 0, 1000);
    assert_eq!(wakes.count(), 1);
    assert_bytes(wakes.poll(&mut future), 1000);
}

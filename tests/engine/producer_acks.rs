//! Acknowledgements: what each `acks` waits for, every way to wait, and whose failure it is. Rules: producer.md 5.2, 5.3.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use thalweg::simulation::{Background, Fault, OperationKind};
use thalweg::{Acks, Broker, Durability, Error, ErrorKind, Producer, ProducerConfig, ProducerRecord, TopicConfig};

use crate::support::{
    HOUR, Simulated, Store, Wakes, all_values, assert_memory_is_back, block_on, eventually, fast, is_unknown, ready,
    stall, tp,
};

const MODES: [Durability; 3] = [Durability::Os, Durability::Interval, Durability::Fsync];

fn with(broker: &Broker, acks: Acks) -> Producer {
    broker.producer(ProducerConfig::new().acks(acks).linger(HOUR).max_block(Duration::ZERO)).unwrap()
}

fn in_mode(mode: Durability) -> TopicConfig {
    TopicConfig::new().durability(mode)
}

/// End of the log, and where consumers may read to.
fn ends(broker: &Broker) -> (i64, i64) {
    let partition = broker.partition(&tp(0)).unwrap();
    (partition.log_end().unwrap(), partition.high_watermark().unwrap())
}

#[test]
fn acks_0_resolves_before_anything_is_written_and_knows_no_offset() {
    for mode in MODES {
        let simulated = Simulated::with_topic(1, in_mode(mode));
        let producer = with(&simulated.broker, Acks::None);
        let send = || producer.send(ProducerRecord::new("t", "v").key("key").timestamp(7)).unwrap();
        let seen = send().try_wait().unwrap().unwrap();
        assert_eq!((seen.offset, seen.timestamp, seen.partition), (-1, 7, tp(0)));
        assert_eq!((seen.key_size, seen.value_size), (Some(3), Some(1)));
        assert_eq!(send().wait().unwrap().offset, -1);
        assert_eq!(send().wait_timeout(Duration::ZERO).unwrap().offset, -1);
        assert_eq!(block_on(send()).unwrap().offset, -1);
        assert_eq!(ends(&simulated.broker), (0, 0), "{mode:?}: it lingers, whoever waits");
        producer.flush().unwrap();
        assert_eq!(ends(&simulated.broker).0, 4);
    }
}

#[test]
fn acks_0_counts_what_is_lost_and_tells_nobody() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = with(&simulated.broker, Acks::None);
    let acks: Vec<_> = (0..3).map(|_| producer.send(ProducerRecord::new("t", "v")).unwrap()).collect();
    simulated.disk.fail(Fault::of(OperationKind::Write));
    producer.flush().unwrap();
    assert!(acks.into_iter().all(|ack| ack.wait().is_ok()));
    let stats = producer.stats();
    assert_eq!((stats.record_send_total, stats.record_error_total), (0, 3));
    // What is known when it is sent, it is told all the same.
    assert!(is_unknown(&producer.send(ProducerRecord::new("none", "v")).unwrap().wait().unwrap_err()));
}

#[test]
fn acks_1_resolves_when_the_record_is_in_the_log() {
    for mode in MODES {
        let simulated = Simulated::with_topic(1, in_mode(mode));
        let producer = with(&simulated.broker, Acks::Leader);
        for offset in 0..2 {
            let sent = producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
            assert_eq!((sent.offset, sent.durable_offset), (offset, 0), "{mode:?}");
            assert!(sent.durability < Durability::Fsync, "{mode:?}: {:?}", sent.durability);
        }
        let shown = if mode == Durability::Fsync { 0 } else { 2 };
        assert_eq!(ends(&simulated.broker), (2, shown), "{mode:?}: no sync was waited for");
    }
}

#[test]
fn acks_1_does_not_wait_for_a_sync_that_is_stuck() {
    let simulated = Simulated::with_topic(1, in_mode(Durability::Fsync));
    let (all, leader) = (with(&simulated.broker, Acks::All), with(&simulated.broker, Acks::Leader));
    all.send(ProducerRecord::new("t", "the id of a producer is synced, too")).unwrap().wait().unwrap();
    let held = simulated.disk.hold_syncs();
    thread::scope(|scope| {
        let synced = scope.spawn(|| all.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap());
        held.wait_for(1);
        let sent = leader.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
        assert_eq!((sent.offset, ends(&simulated.broker)), (2, (3, 1)));
        assert!(!synced.is_finished(), "acks=all waits for it");
        drop(held);
        let synced = synced.join().unwrap();
        assert_eq!((synced.offset, synced.durability), (1, Durability::Fsync));
    });
}

#[test]
fn acks_all_resolves_when_the_promise_of_the_topic_holds() {
    for mode in MODES {
        let simulated = Simulated::with_topic(1, in_mode(mode));
        let producer = with(&simulated.broker, Acks::All);
        let sent = producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
        assert_eq!((sent.offset, ends(&simulated.broker)), (0, (1, 1)), "{mode:?}");
        assert_eq!(sent.durable_offset, i64::from(mode == Durability::Fsync), "{mode:?}");
        assert!(mode <= sent.durability, "{mode:?}");
    }
}

/// Of a future and of `wait_timeout` it is the background that syncs.
#[test]
fn a_wait_that_timed_out_can_be_repeated() {
    let simulated = Simulated::with_topic(1, in_mode(Durability::Fsync));
    let producer = with(&simulated.broker, Acks::All);
    let ack = producer.send(ProducerRecord::new("t", "v")).unwrap();
    for _ in 0..2 {
        let error = ack.wait_timeout(Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Timeout { .. }) && !is_unknown(&error), "{error}");
        assert!(std::error::Error::source(&error).is_none(), "nothing failed");
    }
    assert_eq!(ends(&simulated.broker), (1, 0), "it was written");
    assert!(ack.try_wait().is_none());
    simulated.show();
    for _ in 0..2 {
        assert_eq!(ack.wait_timeout(Duration::ZERO).unwrap().offset, 0);
        assert_eq!(ack.try_wait().unwrap().unwrap().offset, 0);
    }
    assert_eq!(ack.wait().unwrap().offset, 0);
}

#[test]
fn a_wait_with_a_limit_is_woken() {
    let store = Store::new();
    let broker = store.open_with_topic(1, in_mode(Durability::Fsync));
    for limit in [HOUR, Duration::MAX] {
        let ack = with(&broker, Acks::All).send(ProducerRecord::new("t", "v")).unwrap();
        assert!(ack.wait_timeout(limit).is_ok());
    }
}

#[test]
fn a_look_has_nothing_written() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = with(&simulated.broker, Acks::All);
    let ack = producer.send(ProducerRecord::new("t", "v")).unwrap();
    assert!(ack.try_wait().is_none());
    assert!(ack.try_wait().is_none());
    assert_eq!(ends(&simulated.broker), (0, 0));
    simulated.pass(HOUR);
    assert_eq!(ack.try_wait().unwrap().unwrap().offset, 0, "it has lingered long enough");
}

#[test]
fn an_awaited_record_does_not_linger_and_waits_for_the_background() {
    let simulated = Simulated::with_topic(1, in_mode(Durability::Fsync));
    let producer = with(&simulated.broker, Acks::All);
    let (mut ack, wakes) = (producer.send(ProducerRecord::new("t", "v")).unwrap(), Wakes::new());
    assert!(wakes.poll(&mut ack).is_pending());
    assert_eq!((ends(&simulated.broker), wakes.count()), ((1, 0), 0));
    simulated.show();
    assert_eq!(wakes.count(), 1);
    assert_eq!(ready(wakes.poll(&mut ack)).unwrap().offset, 0);
}

#[test]
fn tasks_of_a_runtime_await_many() {
    let store = Store::new();
    let broker = store.open_with_topic(3, in_mode(Durability::Fsync));
    let producer = std::sync::Arc::new(broker.producer(ProducerConfig::new()).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..20)
            .map(|number: i32| {
                let producer = std::sync::Arc::clone(&producer);
                tokio::spawn(async move {
                    for _ in 0..5 {
                        let value = number.to_string();
                        let record = ProducerRecord::new("t", &value).partition(number % 3);
                        producer.send_async(record).await.unwrap().await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let written = (0..3).map(|number| broker.partition(&tp(number)).unwrap().high_watermark().unwrap()).sum::<i64>();
    assert_eq!(written, 100);
}

/// A task waits for a batch that another thread's sync has written, and the producer goes before its timer has told it.
#[test]
fn a_task_is_woken_whoever_wrote_its_batch_and_whatever_becomes_of_the_producer() {
    for drops in [false, true] {
        let simulated = Simulated::with_topic(1, in_mode(Durability::Fsync));
        let producer = with(&simulated.broker, Acks::All);
        let send = || producer.send(ProducerRecord::new("t", "v")).unwrap();
        let (waits, mut awaits, wakes) = (send(), send(), Wakes::new());
        let held = simulated.disk.hold_writes();
        thread::scope(|scope| {
            let syncs = scope.spawn(|| waits.wait().unwrap().offset);
            held.wait_for(1);
            assert!(wakes.poll(&mut awaits).is_pending());
            drop(held);
            assert_eq!(syncs.join().unwrap(), 0);
        });
        if drops {
            drop(producer);
        } else {
            Background::of(&simulated.broker).run_timers();
        }
        assert!(wakes.count() > 0, "drops: {drops}");
        assert_eq!(ready(wakes.poll(&mut awaits)).unwrap().offset, 1);
    }
}

#[test]
fn who_lets_go_of_an_acknowledgement_sends_all_the_same() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = with(&broker, Acks::All);
    producer.send(ProducerRecord::new("t", "detached")).unwrap().detach();
    drop(producer.send(ProducerRecord::new("t", "dropped")).unwrap());
    let polled = producer.send(ProducerRecord::new("t", "polled and dropped")).unwrap();
    let mut polled = Box::pin(polled);
    drop(Wakes::new().poll(&mut polled));
    drop(polled);
    producer.flush().unwrap();
    assert_eq!(all_values(&broker).len(), 3);
}

fn records(middle: ProducerRecord<'_>) -> [ProducerRecord<'_>; 3] {
    [ProducerRecord::new("t", "first"), middle, ProducerRecord::new("t", "last")]
}

#[test]
fn of_many_records_a_bad_one_fails_alone() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().max_message_bytes(1000));
    let producer = with(&broker, Acks::All);
    let large = vec![0; 2000];
    let send = || producer.send_all(records(ProducerRecord::new("t", &large))).unwrap();
    let is_bad = |error: &Error| matches!(error.kind(), ErrorKind::RecordTooLarge { limit: 1000, .. });
    let sent = send();
    assert_eq!((sent.len(), sent.is_empty()), (3, false));
    assert!(is_bad(&sent.wait().unwrap_err()));
    for (base, each) in [(2, send().wait_each()), (4, block_on(send()))] {
        assert_eq!(each[0].as_ref().unwrap().offset, base);
        assert!(is_bad(each[1].as_ref().unwrap_err()));
        assert_eq!(each[2].as_ref().unwrap().offset, base + 1);
        assert_eq!(each.len(), 3);
    }
    send().detach();
    let missing = producer.send_all(records(ProducerRecord::new("none", "v"))).unwrap().wait_each();
    assert!(is_unknown(missing[1].as_ref().unwrap_err()) && missing[2].is_ok());
    assert_eq!(all_values(&broker).len(), 10);
    let none = producer.send_all([]).unwrap();
    assert!(none.is_empty() && none.wait().unwrap().is_empty());
    assert_memory_is_back(&producer);
}

#[test]
fn a_record_that_send_does_not_take_harms_no_other_of_many() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = with(&broker, Acks::All);
    let sent = producer.send_all(records(ProducerRecord::new("t", "v").partition(-1))).unwrap();
    let outcomes = sent.wait_each();
    let is_refused = |error: &Error| matches!(error.kind(), ErrorKind::IllegalArgument { .. });
    assert_eq!(
        outcomes.iter().map(|outcome| outcome.as_ref().err().is_some_and(is_refused)).collect::<Vec<_>>(),
        [false, true, false]
    );
    assert_eq!(all_values(&broker).len(), 2);
    producer.close().unwrap();
    let error = producer.send_all([ProducerRecord::new("t", "v")]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Closed), "{error}");
}

#[test]
fn a_failed_batch_fails_exactly_its_own_records() {
    for acks in [Acks::Leader, Acks::All] {
        let simulated = Simulated::with_topic(2, fast());
        let producer = with(&simulated.broker, acks);
        let send = |number| producer.send(ProducerRecord::new("t", "v").partition(number)).unwrap();
        let before = [send(0), send(1)];
        producer.flush().unwrap();
        let failing: Vec<_> = (0..3).map(|_| send(0)).collect();
        let other: Vec<_> = (0..3).map(|_| send(1)).collect();
        simulated.disk.fail(Fault::of(OperationKind::Write).errno(5).written(0));
        for ack in failing {
            let error = ack.wait().unwrap_err();
            assert_eq!(error.partition(), Some(&tp(0)), "{error}");
            assert!(error.is_storage(), "{error}");
        }
        for (offset, ack) in (1..).zip(other) {
            assert_eq!(ack.wait().unwrap().offset, offset);
        }
        before.into_iter().for_each(|ack| assert_eq!(ack.wait().unwrap().offset, 0));
        let stats = producer.stats();
        assert_eq!((stats.record_send_total, stats.record_error_total), (5, 3));
        assert_memory_is_back(&producer);
    }
}

/// Who waits for a batch that hangs in the disk learns that its producer is closed.
#[test]
fn a_close_ends_the_wait_for_a_batch_in_a_stuck_write() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = with(&simulated.broker, Acks::All);
    let send = || producer.send(ProducerRecord::new("t", "v")).unwrap();
    let (writes, waits) = (send(), send());
    let held = simulated.disk.hold_writes();
    thread::scope(|scope| {
        scope.spawn(|| drop(writes.wait()));
        held.wait_for(1);
        let (mut awaits, wakes) = (send(), Wakes::new());
        assert!(wakes.poll(&mut awaits).is_pending());
        let mut waits = waits;
        let also = Wakes::new();
        assert!(also.poll(&mut waits).is_pending());
        producer.close_timeout(Duration::ZERO).unwrap_err();
        assert_eq!(ready(wakes.poll(&mut awaits)).unwrap_err().kind(), &ErrorKind::Closed, "it was in the line");
        assert!(wakes.count() > 0);
        match also.poll(&mut waits) {
            std::task::Poll::Pending => assert_eq!(also.count(), 0, "the write goes on"),
            std::task::Poll::Ready(outcome) => {
                assert_eq!(outcome.unwrap_err().kind(), &ErrorKind::Closed);
                assert!(also.count() > 0, "who waits is told what a look shows");
            }
        }
        drop(held);
    });
    eventually("the memory", || producer.stats().buffer_available_bytes == producer.stats().buffer_total_bytes);
}

/// More batches than one call writes for others.
#[test]
fn a_drop_writes_a_long_line() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = simulated.broker.producer(ProducerConfig::new().batch_size(0)).unwrap();
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, b"first".to_vec());
        for _ in 0..200 {
            producer.send(ProducerRecord::new("t", "v").partition(0)).unwrap().detach();
        }
        drop(held);
        writer.join().unwrap().unwrap();
    });
    drop(producer);
    assert_eq!(all_values(&simulated.broker).len(), 201);
}

/// As the timer's thread does, at any moment. By the clock of the simulation a drop waits for nobody, so it may give up what
/// another thread keeps it from writing, and says so.
#[test]
fn a_drop_while_another_thread_writes_loses_nothing_silently() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = with(&simulated.broker, Acks::All);
    let is_dropping = AtomicBool::new(false);
    let send = |producer: &Producer| producer.send(ProducerRecord::new("t", "v")).unwrap();
    let writes = send(&producer);
    let held = simulated.disk.hold_writes();
    thread::scope(|scope| {
        let writer = scope.spawn(|| writes.wait());
        held.wait_for(1);
        let line = [send(&producer), send(&producer)];
        let is_dropping = &is_dropping;
        let dropper = scope.spawn(move || {
            is_dropping.store(true, Ordering::SeqCst);
            drop(producer);
        });
        eventually("the drop", || is_dropping.load(Ordering::SeqCst));
        (0..1000).for_each(|_| thread::yield_now());
        drop(held);
        dropper.join().unwrap();
        assert_eq!(writer.join().unwrap().unwrap().offset, 0);
        for (offset, ack) in (1..).zip(line) {
            match ack.wait() {
                Ok(sent) => assert_eq!(sent.offset, offset),
                Err(error) => assert!(matches!(error.kind(), ErrorKind::Closed), "{error}"),
            }
        }
    });
}

//! Batches that are refused for a passing reason. Rules: producer.md 5.1 and 5.3.

use std::error::Error as _;
use std::thread;
use std::time::Duration;

use thalweg::simulation::{Background, Fault, OperationKind};
use thalweg::{Ack, Acks, Broker, Error, ErrorKind, Producer, ProducerConfig, ProducerRecord};

use crate::support::{HOUR, Simulated, all_values, assert_memory_is_back, fast, taken};

const ENOSPC: i32 = 28;
const EMFILE: i32 = 24;

/// A topic whose segment is open already, and a disk on which every write fails.
fn refusing(errno: i32) -> Simulated {
    let simulated = Simulated::with_topic(1, fast());
    crate::support::send_each(&simulated.broker, ["first"]);
    simulated.disk.fail(Fault::of(OperationKind::Write).errno(errno).written(0).for_ever());
    simulated
}

fn config() -> ProducerConfig {
    ProducerConfig::new().linger(Duration::ZERO).request_timeout(Duration::ZERO)
}

fn send(producer: &Producer, value: &str) -> Ack {
    producer.send(ProducerRecord::new("t", value)).unwrap()
}

fn values(broker: &Broker) -> Vec<String> {
    all_values(broker).into_iter().map(|value| String::from_utf8(value).unwrap()).collect()
}

#[track_caller]
fn assert_timeout_caused_by_full(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    let cause = error.source().and_then(|cause| cause.downcast_ref::<Error>()).unwrap();
    assert_eq!(cause.kind(), &ErrorKind::StorageFull, "{error}");
}

#[test]
fn a_passing_error_is_tried_again_until_there_is_room_and_the_order_is_kept() {
    for errno in [ENOSPC, EMFILE] {
        for idempotence in [true, false] {
            let simulated = refusing(errno);
            let producer = simulated.broker.producer(config().enable_idempotence(idempotence)).unwrap();
            let acks: Vec<_> = (0..10).map(|number| send(&producer, &number.to_string())).collect();
            for _ in 0..5 {
                simulated.pass(Duration::from_secs(2));
            }
            assert!(acks.iter().all(|ack| ack.try_wait().is_none()));
            assert_eq!(values(&simulated.broker), ["first"]);
            let retries = producer.stats().record_retry_total;
            assert!((5..=7).contains(&retries), "the first of the line, once in a while: {retries}");
            simulated.disk.heal();
            assert_eq!(values(&simulated.broker), ["first"], "nobody is in a hurry");
            simulated.pass(Duration::from_secs(2));
            for (offset, ack) in (1..).zip(acks) {
                assert_eq!(ack.try_wait().unwrap().unwrap().offset, offset, "{errno}");
            }
            assert!(
                values(&simulated.broker)[1..]
                    .iter()
                    .eq((0..10).map(|number| number.to_string()).collect::<Vec<_>>().iter())
            );
            assert_memory_is_back(&producer);
            let stats = producer.stats();
            assert_eq!((stats.record_error_total, stats.record_send_total), (0, 10));
        }
    }
}

/// Between one attempt and the next lies the backoff, however often somebody asks.
#[test]
fn attempts_are_apart_and_grow_further_apart() {
    let simulated = refusing(ENOSPC);
    let producer = simulated.broker.producer(config()).unwrap();
    let ack = send(&producer, "v");
    let mut attempts = Vec::new();
    let mut seen = 0;
    for step in 0..1000 {
        let _ = ack.wait_timeout(Duration::ZERO);
        simulated.pass(Duration::from_millis(10));
        let retries = producer.stats().record_retry_total;
        if retries > seen {
            (seen, _) = (retries, attempts.push(step * 10));
        }
    }
    let gaps: Vec<_> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((50..=140).contains(&gaps[0]), "retry.backoff.ms is 100: {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= 1250), "retry.backoff.max.ms is 1000: {gaps:?}");
    assert!(gaps.last().unwrap() > &600 && gaps.len() < 25, "{gaps:?}");
    simulated.disk.heal();
    simulated.pass(Duration::from_secs(2));
    assert_eq!(ack.wait().unwrap().offset, 1);
}

#[test]
fn without_retries_the_error_comes_at_once() {
    for acks in [Acks::Leader, Acks::All] {
        let simulated = refusing(ENOSPC);
        let producer = simulated.broker.producer(config().retries(0).acks(acks)).unwrap();
        let error = send(&producer, "v").try_wait().unwrap().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::StorageFull);
        assert_eq!(producer.stats().record_retry_total, 0);
        assert_memory_is_back(&producer);
    }
}

#[test]
fn so_many_retries_and_no_more() {
    let simulated = refusing(ENOSPC);
    let producer = simulated.broker.producer(config().retries(3)).unwrap();
    let ack = send(&producer, "v");
    for _ in 0..3 {
        assert!(ack.try_wait().is_none());
        simulated.pass(Duration::from_secs(2));
    }
    assert_eq!(ack.try_wait().unwrap().unwrap_err().kind(), &ErrorKind::StorageFull);
    assert_eq!(producer.stats().record_retry_total, 3);
    assert_memory_is_back(&producer);
}

#[test]
fn an_error_that_does_not_pass_is_not_tried_again() {
    let simulated = refusing(5);
    let producer = simulated.broker.producer(config()).unwrap();
    let error = send(&producer, "v").try_wait().unwrap().unwrap_err();
    assert!(error.is_storage() && !error.is_retriable(), "{error}");
    assert_eq!(producer.stats().record_retry_total, 0);
    assert_memory_is_back(&producer);
}

#[test]
fn the_delivery_timeout_ends_the_retries_of_a_batch_with_their_cause() {
    let simulated = refusing(ENOSPC);
    let producer = simulated.broker.producer(config().delivery_timeout(Duration::from_secs(10))).unwrap();
    let first = send(&producer, "early");
    simulated.pass(Duration::from_secs(6));
    let second = send(&producer, "late");
    assert!(first.try_wait().is_none());
    simulated.pass(Duration::from_millis(4500));
    assert_timeout_caused_by_full(&first.try_wait().unwrap().unwrap_err());
    assert!(second.try_wait().is_none(), "its own time is not over");
    simulated.disk.heal();
    simulated.pass(Duration::from_secs(2));
    assert_eq!(second.try_wait().unwrap().unwrap().offset, 1);
    assert_eq!(values(&simulated.broker), ["first", "late"]);
    assert_memory_is_back(&producer);
    let stats = producer.stats();
    assert_eq!((stats.record_error_total, stats.record_send_total), (1, 1));
}

/// A disk that takes nothing and refuses nothing.
#[test]
fn the_delivery_timeout_ends_the_wait_for_a_stuck_write() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = simulated.broker.producer(config().delivery_timeout(Duration::from_secs(10))).unwrap();
    thread::scope(|scope| {
        let (held, writer) = crate::support::stall(scope, &simulated.disk, &producer, b"stuck".to_vec());
        let behind = send(&producer, "behind it");
        simulated.pass(Duration::from_secs(9));
        assert!(behind.try_wait().is_none());
        simulated.pass(Duration::from_secs(3));
        let error = behind.try_wait().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
        drop(held);
        let _ = writer.join().unwrap();
    });
    producer.flush().unwrap();
    assert_eq!(values(&simulated.broker), ["stuck"], "what was given up in the line is not written later");
    assert_memory_is_back(&producer);
    assert_eq!(producer.stats().record_error_total, 2, "the application was told of both");
}

#[test]
fn the_end_of_the_producer_fails_a_batch_that_waits_for_its_retry() {
    type End = fn(&mut Option<Producer>, &mut Option<Simulated>);
    let ends: [(&str, End); 3] = [
        ("close", |producer, _| drop(producer.as_ref().unwrap().close_timeout(Duration::ZERO))),
        ("drop", |producer, _| drop(producer.take())),
        ("close of the broker", |_, simulated| drop(simulated.take().unwrap().broker.close())),
    ];
    for (name, end) in ends {
        let mut simulated = Some(refusing(ENOSPC));
        let mut producer = Some(simulated.as_ref().unwrap().broker.producer(config()).unwrap());
        let acks = [(); 3].map(|()| send(producer.as_ref().unwrap(), "v"));
        assert!(taken(producer.as_ref().unwrap()) > 0);
        end(&mut producer, &mut simulated);
        for ack in acks {
            let error = ack.try_wait().unwrap_or_else(|| panic!("{name}: not settled")).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Closed | ErrorKind::StorageFull), "{name}: {error}");
        }
        if let Some(producer) = &producer {
            assert_memory_is_back(producer);
            assert_eq!(producer.stats().record_error_total, 3, "{name}");
        }
    }
}

#[test]
fn flush_and_close_wait_for_a_retry() {
    for closes in [false, true] {
        let simulated = refusing(ENOSPC);
        let producer = simulated.broker.producer(config().delivery_timeout(500 * HOUR)).unwrap();
        let ack = send(&producer, "v");
        let flushed = thread::scope(|scope| {
            let flushed = scope.spawn(|| if closes { producer.close() } else { producer.flush() });
            for _ in 0..100 {
                simulated.pass(Duration::from_millis(1));
                thread::yield_now();
            }
            assert!(!flushed.is_finished());
            simulated.disk.heal();
            while !flushed.is_finished() {
                simulated.pass(Duration::from_millis(100));
                thread::yield_now();
            }
            flushed.join().unwrap()
        });
        flushed.unwrap();
        assert_eq!(ack.try_wait().unwrap().unwrap().offset, 1);
        assert_memory_is_back(&producer);
    }
}

/// Threads that send on while the disk fails now and then: each one's records are there in its order, once.
#[test]
fn order_is_kept_by_threads_on_a_disk_that_fails() {
    const THREADS: u8 = 8;
    const RECORDS: u16 = 200;
    for idempotence in [true, false] {
        let simulated = Simulated::with_topic(1, fast());
        let producer = simulated
            .broker
            .producer(
                config().batch_size(200).linger(HOUR).delivery_timeout(500 * HOUR).enable_idempotence(idempotence),
            )
            .unwrap();
        for round in 0..200 {
            simulated.disk.fail(Fault::of(OperationKind::Write).errno(ENOSPC).after(round * 3));
        }
        thread::scope(|scope| {
            let senders: Vec<_> = (0..THREADS)
                .map(|sender| {
                    let producer = &producer;
                    scope.spawn(move || {
                        for number in 0..RECORDS {
                            let value = [&[sender][..], &number.to_be_bytes()].concat();
                            producer.send(ProducerRecord::new("t", &value)).unwrap().detach();
                        }
                    })
                })
                .collect();
            while senders.iter().any(|sender| !sender.is_finished()) {
                simulated.disk.clock().advance(Duration::from_millis(20));
                Background::of(&simulated.broker).run_timers();
            }
            let flushed = scope.spawn(|| producer.flush());
            while !flushed.is_finished() {
                simulated.pass(Duration::from_millis(100));
                thread::yield_now();
            }
            flushed.join().unwrap().unwrap();
        });
        let stats = producer.stats();
        assert_eq!((stats.record_send_total, stats.record_error_total), (1600, 0));
        assert!(stats.record_retry_total > 20, "{}", stats.record_retry_total);
        let values = all_values(&simulated.broker);
        assert_eq!(values.len(), 1600);
        for sender in 0..THREADS {
            let own = values.iter().filter(|value| value[0] == sender);
            assert!(own.map(|value| u16::from_be_bytes([value[1], value[2]])).eq(0..RECORDS), "{idempotence}");
        }
        assert_memory_is_back(&producer);
    }
}

#[test]
fn the_deletion_of_the_topic_ends_the_retries() {
    let simulated = refusing(ENOSPC);
    let producer = simulated.broker.producer(config()).unwrap();
    let acks = [(); 3].map(|()| send(&producer, "v"));
    simulated.disk.heal();
    simulated.broker.delete_topic("t").unwrap();
    simulated.pass(Duration::ZERO);
    for ack in acks {
        let error = ack.try_wait().unwrap().unwrap_err();
        assert!(crate::support::is_unknown(&error), "{error}");
    }
    assert_memory_is_back(&producer);
    simulated.broker.create_topic("t", 1, fast()).unwrap();
    assert_eq!(send(&producer, "of the new topic").wait().unwrap().offset, 0);
    assert_eq!(values(&simulated.broker), ["of the new topic"]);
}

/// The pieces of a batch that is split are subject to the same rule as a batch: none of them goes before its turn.
#[test]
fn a_split_that_meets_a_full_disk_keeps_the_order() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = simulated.broker.producer(config().linger(HOUR).batch_size(10_000).retries(0)).unwrap();
    let values: Vec<_> = (0..8_u8).map(|number| vec![number; 500]).collect();
    let acks: Vec<_> = values.iter().map(|value| producer.send(ProducerRecord::new("t", value)).unwrap()).collect();
    simulated.broker.alter_topic("t", fast().max_message_bytes(1200)).unwrap();
    simulated.disk.fail(Fault::of(OperationKind::Write).errno(ENOSPC).written(0).after(1));
    producer.flush().unwrap();
    let outcomes: Vec<_> =
        acks.into_iter().map(|ack| ack.try_wait().unwrap().map_err(|error| error.kind().clone())).collect();
    let written = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    assert!((1..8).contains(&written), "{outcomes:?}");
    assert!(outcomes[written..].iter().all(|outcome| *outcome == Err(ErrorKind::StorageFull)), "{outcomes:?}");
    assert_eq!(all_values(&simulated.broker), values[..written]);
    let stats = producer.stats();
    assert_eq!((stats.record_send_total, stats.record_error_total), (written as u64, 8 - written as u64));
    assert_memory_is_back(&producer);
}

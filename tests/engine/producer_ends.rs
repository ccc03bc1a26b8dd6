//! What becomes of records when their producer, its topic or the broker goes. Rules: producer.md 5.5.

use std::thread;
use std::time::Duration;

use thalweg::simulation::{Background, Fault, OperationKind};
use thalweg::{Acks, Durability, ErrorKind, Producer, ProducerConfig, ProducerRecord, TopicConfig};

use crate::support::{FOR_EVER, HOUR, Simulated, Store, all_values, eventually, fast, stall, value_of};

/// A batch for each record, and more of them than who sends writes for others.
const MANY: usize = 100;

fn each_alone() -> ProducerConfig {
    ProducerConfig::new().batch_size(0).linger(Duration::ZERO)
}

/// Sends many records while another thread is stuck in the write of the first one, which then goes on.
fn send_behind_a_stall(simulated: &Simulated, producer: &Producer) {
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, producer, value_of(100));
        for _ in 0..MANY {
            producer.send(ProducerRecord::new("t", "v").partition(0)).unwrap().detach();
        }
        drop(held);
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn a_dropped_producer_writes_all_that_is_in_the_line() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = simulated.broker.producer(each_alone()).unwrap();
    send_behind_a_stall(&simulated, &producer);
    assert!(all_values(&simulated.broker).len() < 1 + MANY, "who sends does not write all of it");
    drop(producer);
    assert_eq!(all_values(&simulated.broker).len(), 1 + MANY);
}

#[test]
fn a_closed_broker_has_all_that_was_in_the_line() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = simulated.broker.producer(each_alone()).unwrap();
    send_behind_a_stall(&simulated, &producer);
    let Simulated { broker, store, .. } = simulated;
    broker.close().unwrap();
    assert_eq!(all_values(&store.open()).len(), 1 + MANY);
}

/// No other thread is there that could write what one turn leaves.
#[test]
fn a_flush_writes_all_that_is_in_the_line() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = simulated.broker.producer(each_alone()).unwrap();
    send_behind_a_stall(&simulated, &producer);
    thread::scope(|scope| {
        let flush = scope.spawn(|| producer.flush());
        let flushed = (0..1_000_000).any(|_| {
            thread::yield_now();
            flush.is_finished() || all_values(&simulated.broker).len() == 1 + MANY
        });
        Background::of(&simulated.broker).run_timers(); // so that a flush that waits for it comes to an end
        assert!(flushed, "{} of them are written", all_values(&simulated.broker).len());
        while !flush.is_finished() {
            Background::of(&simulated.broker).run_timers();
        }
        flush.join().unwrap().unwrap();
    });
}

/// Of a topic that was deleted nothing has to be made durable.
#[test]
fn a_deleted_topic_fails_neither_flush_nor_close() {
    let store = Store::new();
    let broker = store.open();
    for durability in [Durability::Os, Durability::Fsync] {
        for name in ["gone", "stays"] {
            broker.create_topic(name, 1, TopicConfig::new().durability(durability)).unwrap();
        }
        let [flushed, closed] = [(); 2].map(|()| broker.producer(ProducerConfig::new().linger(HOUR)).unwrap());
        for producer in [&flushed, &closed] {
            for name in ["gone", "stays"] {
                producer.send(ProducerRecord::new(name, "v")).unwrap().wait().unwrap();
            }
        }
        broker.delete_topic("gone").unwrap();
        flushed.flush().unwrap();
        closed.close().unwrap();
        broker.delete_topic("stays").unwrap();
    }
}

/// The batch is tried again later, and nobody is there for that any more.
#[test]
fn a_broker_that_is_closed_ends_the_close_of_a_producer_with_a_refused_batch() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = simulated.broker.producer(ProducerConfig::new().linger(HOUR).retry_backoff(HOUR)).unwrap();
    let ack = producer.send(ProducerRecord::new("t", "v")).unwrap();
    simulated.disk.fail(Fault::of(OperationKind::Write).errno(28).written(0).for_ever());
    let Simulated { broker, disk, store: _store } = simulated;
    thread::scope(|scope| {
        let close = scope.spawn(|| producer.close());
        eventually("the first attempt", || producer.stats().record_retry_total == 1);
        disk.heal();
        broker.close().unwrap();
        eventually("the close", || close.is_finished());
        close.join().unwrap().unwrap();
    });
    assert_eq!(ack.wait().unwrap().offset, 0);
}

/// Nobody gives back memory while the disk hangs.
#[test]
fn a_close_ends_the_wait_for_memory_that_does_not_come() {
    let simulated = Simulated::with_topic(2, fast());
    let config = ProducerConfig::new().batch_size(1000).buffer_memory(1000).linger(Duration::ZERO);
    let producer = simulated.broker.producer(config.max_block(FOR_EVER)).unwrap();
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(900));
        let waits = scope.spawn(|| producer.send(ProducerRecord::new("t", "v").partition(1)));
        eventually("one who waits", || producer.stats().buffer_available_bytes == 0 && !waits.is_finished());
        producer.close_timeout(Duration::ZERO).unwrap_err();
        eventually("the end of the wait", || waits.is_finished());
        assert_eq!(waits.join().unwrap().unwrap_err().kind(), &ErrorKind::Closed);
        drop(held);
        drop(writer.join().unwrap());
    });
}

/// Records of a batch that was given up in the line count as failed, once.
#[test]
fn what_is_given_up_is_counted() {
    let simulated = Simulated::with_topic(1, fast());
    let config =
        each_alone().acks(Acks::Leader).request_timeout(Duration::ZERO).delivery_timeout(Duration::from_secs(10));
    let producer = simulated.broker.producer(config).unwrap();
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(100));
        let ack = producer.send(ProducerRecord::new("t", "v").partition(0)).unwrap();
        simulated.pass(HOUR);
        assert!(matches!(ack.wait().unwrap_err().kind(), ErrorKind::Timeout { .. }));
        drop(held);
        drop(writer.join().unwrap());
    });
    producer.flush().unwrap();
    assert_eq!(producer.stats().record_error_total, 2);
}

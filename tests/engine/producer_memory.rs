//! `buffer.memory`: what batches may take, who waits for it, and that it comes back. Rules: producer.md 3.7 and 5.1.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use thalweg::simulation::{Background, Fault, OperationKind};
use thalweg::{Ack, Acks, Broker, Error, ErrorKind, Producer, ProducerConfig, ProducerRecord};

use crate::support::{
    FOR_EVER, HOUR, Simulated, Store, Wakes, all_values, assert_memory_is_back, block_on, fast, ready, stall, taken,
    tp, value_of,
};

/// A producer whose batches take 1000 bytes and whose memory is enough for three.
fn three_batches(broker: &Broker, max_block: Duration) -> Producer {
    let config = ProducerConfig::new().buffer_memory(3000).batch_size(1000).linger(HOUR).max_block(max_block);
    broker.producer(config).unwrap()
}

fn detach(ack: thalweg::Result<Ack>) {
    ack.unwrap().detach();
}

#[track_caller]
fn assert_exhausted(error: &Error, requested: u64, limit: u64) {
    assert_eq!(error.kind(), &ErrorKind::BufferExhausted { requested, limit }, "{error}");
    assert!(error.is_retriable());
}

fn lens(broker: &Broker) -> Vec<usize> {
    all_values(broker).iter().map(Vec::len).collect()
}

#[test]
fn a_stalled_disk_takes_no_more_than_buffer_memory() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = three_batches(&simulated.broker, Duration::ZERO);
    let full = value_of(1000);
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, full.clone());
        assert_eq!(taken(&producer), 1000, "a batch has its memory until it is written");
        let record = || ProducerRecord::new("t", &full).key("k").header("h", Some("1")).partition(0).timestamp(5);
        let small = ProducerRecord::new("t", "small").partition(0);
        detach(producer.send(small.clone()));
        detach(producer.send(small.clone()));
        assert_eq!(taken(&producer), 2000, "two records in one batch");
        detach(producer.send(ProducerRecord::new("t", &value_of(990)).partition(0)));
        assert_eq!(taken(&producer), 3000);
        for _ in 0..3 {
            let refused = producer.try_send(record()).unwrap_err();
            assert!(matches!(refused.error.kind(), ErrorKind::BufferExhausted { limit: 3000, .. }), "{refused}");
            assert_eq!(format!("{:?}", refused.record), format!("{:?}", record()), "it comes back as it was");
            let refused = producer.send(record()).unwrap().wait().unwrap_err();
            assert!(matches!(refused.kind(), ErrorKind::BufferExhausted { limit: 3000, .. }), "{refused}");
        }
        assert_eq!((taken(&producer), held.waiting()), (3000, 1));
        drop(held);
        writer.join().unwrap().unwrap();
    });
    producer.flush().unwrap();
    assert_eq!(lens(&simulated.broker), [930, 5, 5, 920], "what was refused was not sent");
    assert_memory_is_back(&producer);
    assert!(producer.stats().record_error_total >= 3);
}

/// The clock of the simulation lets no time pass: a wait with an end is over at once.
#[test]
fn send_gives_up_after_max_block() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = three_batches(&simulated.broker, Duration::from_secs(5));
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(3000));
        assert_eq!(taken(&producer), 3000);
        let error = producer.send(ProducerRecord::new("t", "late").partition(0)).unwrap().wait().unwrap_err();
        assert_exhausted(&error, 1000, 3000);
        drop(held);
        writer.join().unwrap().unwrap();
    });
    assert_eq!(producer.send(ProducerRecord::new("t", "next").partition(0)).unwrap().wait().unwrap().offset, 1);
    assert_memory_is_back(&producer);
    assert!(producer.stats().bufferpool_wait_time > Duration::ZERO);
}

#[test]
fn send_waits_for_memory_and_goes_on() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = three_batches(&simulated.broker, FOR_EVER);
    let is_sent = AtomicBool::new(false);
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(3000));
        let sender = scope.spawn(|| {
            let ack = producer.send(ProducerRecord::new("t", "waits").partition(0)).unwrap();
            is_sent.store(true, Ordering::SeqCst);
            ack.wait().unwrap().offset
        });
        for _ in 0..1000 {
            thread::yield_now();
        }
        assert!(!is_sent.load(Ordering::SeqCst), "there is no memory for it");
        drop(held);
        assert_eq!(writer.join().unwrap().unwrap().offset, 0);
        assert_eq!(sender.join().unwrap(), 1);
    });
    assert_memory_is_back(&producer);
}

/// Whoever waits does so until the end of the producer, not longer.
#[test]
fn a_closed_producer_ends_the_wait_for_memory() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = three_batches(&simulated.broker, FOR_EVER);
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(2000));
        detach(producer.send(ProducerRecord::new("t", "in the line").partition(0)));
        let wakes = Wakes::new();
        let mut future = producer.send_async(ProducerRecord::new("t", "waits").partition(0));
        let mut large = producer.send_async(ProducerRecord::new("t", &[7; 2000]).partition(0));
        assert!(ready(wakes.poll(&mut future)).is_ok(), "it fits into the batch that is there");
        assert!(wakes.poll(&mut large).is_pending());
        let error = producer.close_timeout(Duration::ZERO).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
        let error = ready(wakes.poll(&mut large)).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Closed);
        drop((future, large));
        drop(held);
        drop(writer.join().unwrap());
    });
    assert_memory_is_back(&producer);
}

#[test]
fn a_future_waits_for_memory_and_is_woken() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = three_batches(&simulated.broker, FOR_EVER);
    let wakes = Wakes::new();
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(3000));
        let mut future = producer.send_async(ProducerRecord::new("t", "waits").partition(0));
        assert!(wakes.poll(&mut future).is_pending());
        assert!(wakes.poll(&mut future).is_pending());
        assert_eq!(wakes.count(), 0);
        drop(held);
        writer.join().unwrap().unwrap();
        assert_eq!(wakes.count(), 1);
        assert_eq!(taken(&producer), 1000, "it was granted");
        assert_eq!(ready(wakes.poll(&mut future)).unwrap().wait().unwrap().offset, 1);
    });
    assert_memory_is_back(&producer);
}

#[test]
fn those_who_wait_are_served_in_their_order() {
    let simulated = Simulated::with_topic(2, fast());
    let producer = three_batches(&simulated.broker, FOR_EVER);
    let (large, full) = (value_of(2500), value_of(1000));
    let record = |value| ProducerRecord::new("t", value).partition(1);
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, full.clone());
        for _ in 0..2 {
            detach(producer.send(ProducerRecord::new("t", &full).partition(0)));
        }
        let wakes: Vec<_> = (0..3).map(|_| Wakes::new()).collect();
        let (mut first, mut second, mut third) = (
            producer.send_async(record(&large)),
            producer.send_async(record(&full)),
            producer.send_async(record(&full)),
        );
        assert!(wakes[0].poll(&mut first).is_pending());
        assert!(wakes[1].poll(&mut second).is_pending());
        assert!(wakes[2].poll(&mut third).is_pending());
        drop(held);
        writer.join().unwrap().unwrap();
        // All 3000 bytes came back, in thirds: the small ones did not take any from the large one.
        let counts = || wakes.iter().map(|wakes| wakes.count()).collect::<Vec<_>>();
        assert_eq!(counts(), [1, 0, 0]);
        assert!(wakes[1].poll(&mut second).is_pending());
        assert_exhausted(&producer.try_send(record(&full)).unwrap_err().error, 1000, 3000);
        let first = ready(wakes[0].poll(&mut first)).unwrap().wait().unwrap();
        assert_eq!(counts(), [1, 1, 1], "a batch that is full is written by who filled it");
        let second = ready(wakes[1].poll(&mut second)).unwrap().wait().unwrap();
        let third = ready(wakes[2].poll(&mut third)).unwrap().wait().unwrap();
        assert_eq!([first.offset, second.offset, third.offset], [0, 1, 2]);
    });
    assert_memory_is_back(&producer);
}

#[test]
fn a_dropped_future_gives_back_its_place_and_what_it_was_granted() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = three_batches(&simulated.broker, FOR_EVER);
    let (all, full) = (value_of(3000), value_of(1000));
    let record = |value| ProducerRecord::new("t", value).partition(0);
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(2000));
        let (first, second) = (Wakes::new(), Wakes::new());
        let mut large = producer.send_async(record(&all));
        let mut small = producer.send_async(record(&full));
        assert!(first.poll(&mut large).is_pending());
        assert!(second.poll(&mut small).is_pending());
        assert_eq!(taken(&producer), 2000);
        drop(large);
        assert_eq!((first.count(), second.count()), (0, 1), "its place in the queue went to the next");
        assert_eq!(taken(&producer), 3000);
        drop(small);
        assert_eq!(taken(&producer), 2000, "granted, and never used");

        let mut never_polled_again = producer.send_async(record(&all));
        assert!(first.poll(&mut never_polled_again).is_pending());
        drop(held);
        writer.join().unwrap().unwrap();
        assert_eq!((first.count(), taken(&producer)), (1, 3000));
        drop(never_polled_again);
    });
    assert_memory_is_back(&producer);
    assert_eq!(lens(&simulated.broker), [1930], "nothing of them was sent");
}

#[test]
fn a_future_that_timed_out_stands_in_nobodys_way() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = three_batches(&simulated.broker, Duration::from_secs(60));
    let large = value_of(3000);
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(1000));
        let wakes = Wakes::new();
        let mut waits = producer.send_async(ProducerRecord::new("t", &large).partition(0));
        assert!(wakes.poll(&mut waits).is_pending());
        assert_exhausted(
            &producer.try_send(ProducerRecord::new("t", "behind it").partition(0)).unwrap_err().error,
            1000,
            3000,
        );
        simulated.disk.clock().advance(Duration::from_secs(60));
        let error = ready(wakes.poll(&mut waits)).unwrap().wait().unwrap_err();
        assert_exhausted(&error, 3000, 3000);
        // It is still there, as in a set of futures of which others go on.
        let sent = producer
            .try_send(ProducerRecord::new("t", "not behind it any more").partition(0))
            .map_err(|refused| refused.error);
        drop(held);
        writer.join().unwrap().unwrap();
        assert_eq!(sent.unwrap().wait().unwrap().offset, 1);
        drop(waits);
    });
    assert_memory_is_back(&producer);
}

#[test]
fn the_end_of_max_block_wakes_the_future() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(ProducerConfig::new().max_block(Duration::from_millis(20))).unwrap();
    let ack = block_on(producer.send_async(ProducerRecord::new("none", "v"))).unwrap();
    assert!(matches!(ack.wait().unwrap_err().kind(), ErrorKind::Timeout { .. }));
}

#[test]
fn nothing_is_sent_by_a_future_that_was_never_polled() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = three_batches(&broker, FOR_EVER);
    drop(producer.send_async(ProducerRecord::new("t", "v")));
    assert_memory_is_back(&producer);
    producer.close().unwrap();
    assert_eq!(producer.stats().record_send_total, 0);
}

#[test]
fn short_memory_has_lingering_batches_of_other_partitions_written() {
    type Send = fn(&Producer, ProducerRecord<'_>) -> thalweg::Result<Ack>;
    let ways: [Send; 2] = [Producer::send, |producer, record| block_on(producer.send_async(record))];
    for send in ways {
        let store = Store::new();
        let broker = store.open_with_topic(4, fast());
        let producer = three_batches(&broker, HOUR);
        for partition in 0..3 {
            detach(producer.send(ProducerRecord::new("t", "lingers").partition(partition)));
        }
        assert_eq!(taken(&producer), 3000);
        let ends = || (0..3).map(|number| broker.partition(&tp(number)).unwrap().log_end().unwrap()).sum::<i64>();
        assert_eq!(ends(), 0);
        detach(send(&producer, ProducerRecord::new("t", "needs memory").partition(3)));
        assert!(ends() >= 1, "somebody's memory came back");
        producer.flush().unwrap();
        assert_eq!(ends(), 3);
        assert_memory_is_back(&producer);
    }
}

#[test]
fn a_refused_try_send_has_lingering_batches_written() {
    let simulated = Simulated::with_topic(4, fast());
    let producer = three_batches(&simulated.broker, HOUR);
    for partition in 0..3 {
        detach(producer.send(ProducerRecord::new("t", "lingers").partition(partition)));
    }
    let record = ProducerRecord::new("t", "needs memory").partition(3);
    let refused = producer.try_send(record).unwrap_err();
    assert_eq!(taken(&producer), 3000, "it does not wait for a write");
    simulated.pass(Duration::ZERO);
    assert_memory_is_back(&producer);
    assert_eq!(producer.try_send(refused.record).unwrap().wait().unwrap().offset, 0);
}

#[test]
fn a_record_larger_than_a_batch_takes_what_it_needs() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = three_batches(&broker, Duration::ZERO);
    detach(producer.send(ProducerRecord::new("t", "before")));
    let ack = producer.send(ProducerRecord::new("t", &value_of(2000))).unwrap();
    assert_eq!(ack.try_wait().unwrap().unwrap().offset, 1, "it is a batch, complete, and written");
    assert_memory_is_back(&producer);
    let stats = producer.stats();
    assert_eq!((stats.record_send_total, stats.records_per_request_avg), (2, 1.0));
}

#[test]
fn a_batch_size_above_buffer_memory_is_bounded_by_it() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let config = ProducerConfig::new().buffer_memory(3000).batch_size(1 << 20).linger(HOUR).max_block(Duration::ZERO);
    let producer = broker.producer(config).unwrap();
    for _ in 0..100 {
        detach(producer.send(ProducerRecord::new("t", &[7; 100])));
        assert!(taken(&producer) <= 3000);
    }
    producer.send(ProducerRecord::new("t", &value_of(3000))).unwrap().wait().unwrap();
    let error = producer.send(ProducerRecord::new("t", &value_of(3001))).unwrap().wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RecordTooLarge { size: 3001, limit: 3000 }), "{error}");
    producer.flush().unwrap();
    assert_memory_is_back(&producer);
    assert_eq!(all_values(&broker).len(), 101);
}

#[test]
fn a_batch_size_of_zero_is_a_batch_for_each_record() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let config = ProducerConfig::new().buffer_memory(1000).batch_size(0).linger(HOUR);
    let producer = broker.producer(config).unwrap();
    for _ in 0..10 {
        detach(producer.send(ProducerRecord::new("t", "")));
        detach(producer.send(ProducerRecord::new("t", &value_of(1000))));
    }
    assert_memory_is_back(&producer);
    let stats = producer.stats();
    assert_eq!((stats.record_send_total, stats.records_per_request_avg), (20, 1.0));
}

#[test]
fn no_memory_at_all_takes_no_record() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(ProducerConfig::new().buffer_memory(0)).unwrap();
    let error = producer.send(ProducerRecord::new("t", "")).unwrap().wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RecordTooLarge { limit: 0, .. }), "{error}");
}

#[test]
fn memory_comes_back_after_a_batch_that_failed() {
    let simulated = Simulated::with_topic(1, fast());
    let config = ProducerConfig::new().buffer_memory(3000).batch_size(1000).linger(HOUR).retries(0);
    for acks in [Acks::All, Acks::Leader, Acks::None] {
        let producer = simulated.broker.producer(config.clone().acks(acks)).unwrap();
        let acks: Vec<_> = (0..3).map(|_| producer.send(ProducerRecord::new("t", "v")).unwrap()).collect();
        simulated.disk.fail(Fault::of(OperationKind::Write).errno(28).written(0));
        producer.flush().unwrap();
        simulated.disk.heal();
        assert_memory_is_back(&producer);
        assert_eq!(producer.stats().record_error_total, 3);
        acks.into_iter().for_each(Ack::detach);
    }
    assert!(all_values(&simulated.broker).is_empty());
}

#[test]
fn memory_comes_back_when_the_topic_is_deleted() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast());
    broker.create_topic("other", 1, fast()).unwrap();
    let producer = three_batches(&broker, HOUR);
    let acks = [0, 1].map(|number| producer.send(ProducerRecord::new("t", "v").partition(number)).unwrap());
    assert_eq!(taken(&producer), 2000);
    broker.delete_topic("t").unwrap();
    producer.send(ProducerRecord::new("other", "v")).unwrap().wait().unwrap();
    for ack in acks {
        let error = ack.wait().unwrap_err();
        assert!(crate::support::is_unknown(&error), "{error}");
    }
    assert_memory_is_back(&producer);
}

#[test]
fn memory_comes_back_when_the_producer_or_the_broker_is_closed() {
    for closes_broker in [false, true] {
        let store = Store::new();
        let broker = store.open_with_topic(2, fast());
        let producer = three_batches(&broker, HOUR);
        let acks = [0, 1].map(|number| producer.send(ProducerRecord::new("t", "v").partition(number)).unwrap());
        if closes_broker {
            broker.close().unwrap();
        } else {
            producer.close().unwrap();
        }
        acks.into_iter().for_each(|ack| assert_eq!(ack.wait().unwrap().offset, 0));
        assert_memory_is_back(&producer);
    }
}

#[test]
fn memory_comes_back_when_the_disk_stalls_beyond_the_close() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = three_batches(&simulated.broker, FOR_EVER);
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(1000));
        let waits = producer.send(ProducerRecord::new("t", "in the line").partition(0)).unwrap();
        producer.close_timeout(Duration::ZERO).unwrap_err();
        assert_eq!(waits.wait().unwrap_err().kind(), &ErrorKind::Closed);
        assert_eq!(taken(&producer), 1000, "what is being written");
        drop(held);
        drop(writer.join().unwrap());
    });
    assert_memory_is_back(&producer);
    assert_eq!(lens(&simulated.broker), [930]);
}

/// Threads that send faster than the disk writes: all of it arrives, in order, and never more than there may be at a time.
#[test]
fn many_threads_share_little_memory() {
    const THREADS: u8 = 4;
    const RECORDS: u16 = 300;
    let simulated = Simulated::with_topic(1, fast());
    let producer = three_batches(&simulated.broker, FOR_EVER);
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(1000));
        for sender in 0..THREADS {
            let producer = &producer;
            scope.spawn(move || {
                for number in 0..RECORDS {
                    let mut value = [sender; 300];
                    value[1..3].copy_from_slice(&number.to_be_bytes());
                    if number % 2 == 0 {
                        detach(producer.send(ProducerRecord::new("t", &value).partition(0)));
                    } else {
                        detach(block_on(producer.send_async(ProducerRecord::new("t", &value).partition(0))));
                    }
                    assert!(taken(producer) <= 3000);
                }
            });
        }
        // The timer of this broker is run by hand: it writes what nobody else does.
        let timer = scope.spawn(|| {
            while producer.stats().record_send_total < u64::from(THREADS) * u64::from(RECORDS) - 20 {
                Background::of(&simulated.broker).run_timers();
                thread::yield_now();
            }
        });
        drop(held);
        writer.join().unwrap().unwrap();
        timer.join().unwrap();
    });
    producer.flush().unwrap();
    assert_memory_is_back(&producer);
    let values = all_values(&simulated.broker);
    assert_eq!(values.len(), 1 + usize::from(THREADS) * usize::from(RECORDS));
    for sender in 0..THREADS {
        let own = values.iter().filter(|value| value.len() == 300 && value[0] == sender);
        assert!(own.map(|value| u16::from_be_bytes([value[1], value[2]])).eq(0..RECORDS));
    }
}

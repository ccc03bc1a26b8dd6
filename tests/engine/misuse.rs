//! Producers that are used as they should not be, or are closed under those who use them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use thalweg::simulation::{Fault, OperationKind};
use thalweg::{
    Ack, Broker, ErrorKind, OwnedRecord, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord, RecordMetadata,
    Result, TopicConfig,
};

use crate::support::{Simulated, Store, Wakes, all_values, fast, ready};

/// The default size of a batch, so that there is one.
const MEMORY: u64 = 16_384;

const HOUR: Duration = Duration::from_hours(1);

/// Those who wait for memory when `close` is called, as a future and as a thread.
fn waiters_at(close: impl FnOnce(Broker, &Producer) -> Option<Broker>) {
    let store = Store::new();
    let broker = store.open_with_topic(4, fast());
    let config = ProducerConfig::new().buffer_memory(MEMORY).linger(HOUR).max_block(HOUR);
    let producer = Arc::new(broker.producer(config).unwrap());
    // The memory is granted to a future that is polled no more.
    let ack = producer.send(ProducerRecord::new("t", "v").partition(0)).unwrap();
    let (mut sleeping, woken) = (producer.send_async(ProducerRecord::new("t", "v").partition(1)), Wakes::new());
    assert!(woken.poll(&mut sleeping).is_pending());
    ack.wait().unwrap();
    let (mut waiting, wakes) = (producer.send_async(ProducerRecord::new("t", "v").partition(2)), Wakes::new());
    assert!(wakes.poll(&mut waiting).is_pending());
    let send = Arc::clone(&producer);
    let thread = thread::spawn(move || {
        send.send(ProducerRecord::new("t", "v").partition(3)).map(Ack::detach).map_err(|error| error.kind().clone())
    });
    assert_eq!(wakes.count(), 0);
    let _still_open = close(broker, &producer);
    assert!(wakes.count() > 0, "nobody told it");
    assert_eq!(*ready(wakes.poll(&mut waiting)).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(thread.join().unwrap(), Err(ErrorKind::Closed));
}

#[test]
fn who_waits_for_memory_is_told_that_the_producer_is_closed() {
    waiters_at(|broker, producer| {
        producer.close().unwrap();
        Some(broker)
    });
}

#[test]
fn who_waits_for_memory_is_told_that_the_broker_is_closed() {
    waiters_at(|broker, _| {
        broker.close().unwrap();
        None
    });
}

type Seen = Arc<Mutex<Vec<&'static str>>>;

#[derive(Debug)]
struct Told(Seen);

impl ProducerInterceptor for Told {
    fn on_send(&self, record: OwnedRecord) -> OwnedRecord {
        record
    }

    fn on_acknowledgement(&self, _: &Result<RecordMetadata>, _: &[(String, Option<Vec<u8>>)]) {
        self.0.lock().unwrap().push("interceptor");
    }
}

#[test]
fn interceptors_are_told_before_the_application_however_often_nothing_was_known_yet() {
    let (store, seen) = (Store::new(), Seen::default());
    let broker = store.open_with_topic(1, fast());
    let config = ProducerConfig::new().linger(HOUR).interceptor(Told(Arc::clone(&seen)));
    let producer = broker.producer(config).unwrap();
    for _ in 0..4 {
        let seen = Arc::clone(&seen);
        let ack = producer.send(ProducerRecord::new("t", "v")).unwrap();
        ack.on_complete(move |_| seen.lock().unwrap().push("application"));
    }
    producer.flush().unwrap();
    assert_eq!(*seen.lock().unwrap(), ["interceptor", "application"].repeat(4));
}

/// Sends a record whose callback sends the next, `left` times.
fn send_on(producer: &Arc<Producer>, topic: &'static str, (left, partitions): (i32, i32), calls: &Arc<AtomicUsize>) {
    let (next, calls) = (Arc::clone(producer), Arc::clone(calls));
    let ack = producer.send(ProducerRecord::new(topic, "v").partition(left % partitions)).unwrap();
    ack.on_complete(move |_| {
        calls.fetch_add(1, Ordering::SeqCst);
        if left > 1 {
            send_on(&next, topic, (left - 1, partitions), &calls);
        }
    });
}

/// Callbacks of `count` records, each sent by the one before, on a thread with little stack.
fn calls(topic: &'static str, count: i32, partitions: i32) -> usize {
    let store = Store::new();
    let broker = store.open_with_topic(partitions, fast());
    let config = ProducerConfig::new().max_block(Duration::ZERO).linger(Duration::ZERO);
    let (producer, calls) = (Arc::new(broker.producer(config).unwrap()), Arc::new(AtomicUsize::new(0)));
    let sending = Arc::clone(&calls);
    let send = move || send_on(&producer, topic, (count, partitions), &sending);
    thread::Builder::new().stack_size(1 << 18).spawn(send).unwrap().join().unwrap();
    broker.close().unwrap();
    calls.load(Ordering::SeqCst)
}

#[test]
fn callbacks_that_send_what_is_refused_do_not_use_up_the_stack() {
    assert_eq!(calls("no topic of that name", 10_000, 1), 10_000);
}

#[test]
fn callbacks_that_send_from_partition_to_partition_do_not_use_up_the_stack() {
    assert_eq!(calls("t", 1000, 150), 1000);
}

#[test]
fn a_future_that_is_polled_when_it_is_over_sends_nothing_more() {
    let store = Store::new();
    let broker = store.open_with_topic(1, TopicConfig::new());
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    let (mut future, wakes) = (producer.send_async(ProducerRecord::new("t", "v")), Wakes::new());
    ready(wakes.poll(&mut future)).unwrap().wait().unwrap();
    let again = ready(wakes.poll(&mut future)).unwrap_err();
    assert!(matches!(again.kind(), ErrorKind::IllegalState { .. }), "{again}");
    producer.close().unwrap();
    assert_eq!(all_values(&broker).len(), 1);
}

#[test]
fn a_full_disk_that_passes_fails_no_record_of_a_batch_that_is_split() {
    for writes in 0..25 {
        let simulated = Simulated::with_topic(1, fast());
        let config = ProducerConfig::new().linger(Duration::from_secs(5)).batch_size(1 << 20).enable_idempotence(false);
        let producer = simulated.broker.producer(config).unwrap();
        let send = |number: u8| producer.send(ProducerRecord::new("t", &[number; 1000])).unwrap();
        let acks: Vec<_> = (0..50).map(send).collect();
        simulated.broker.alter_topic("t", fast().max_message_bytes(5000)).unwrap();
        simulated.disk.fail(Fault::of(OperationKind::Write).errno(28).after(writes));
        simulated.pass(Duration::from_secs(6));
        simulated.pass(Duration::from_secs(6));
        let offsets = acks.iter().map(|ack| ack.try_wait().unwrap().unwrap().offset);
        assert!(offsets.eq(0..50), "after {writes} writes");
        assert!(all_values(&simulated.broker).into_iter().eq((0..50).map(|number| vec![number; 1000])));
        let stats = producer.stats();
        assert_eq!((stats.record_send_total, stats.record_error_total), (50, 0));
        assert!(stats.batch_size_avg < 60_000.0, "what was tried in vain does not count: {}", stats.batch_size_avg);
    }
}

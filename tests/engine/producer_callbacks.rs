//! Callbacks and interceptors: once each, in order, and what they may do. Rules: producer.md 5.5 and 10.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use thalweg::simulation::{Background, Fault, OperationKind};
use thalweg::{
    Acks, Durability, ErrorKind, OwnedRecord, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord,
    RecordMetadata, Result, TopicConfig,
};

use crate::support::{HOUR, Simulated, Store, all_values, assert_memory_is_back, eventually, fast, producer, tp};

/// What callbacks were told: the offset, or -1 of a failure.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<(usize, i64)>>>);

impl Told {
    /// A callback that notes its number.
    fn of(&self, number: usize) -> impl FnOnce(Result<RecordMetadata>) + Send + 'static {
        let told = self.clone();
        move |outcome| told.note(number, &outcome)
    }

    fn note(&self, number: usize, outcome: &Result<RecordMetadata>) {
        self.0.lock().unwrap().push((number, outcome.as_ref().map_or(-1, |sent| sent.offset)));
    }

    fn all(&self) -> Vec<(usize, i64)> {
        self.0.lock().unwrap().clone()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn patient() -> ProducerConfig {
    ProducerConfig::new().linger(HOUR).max_block(Duration::ZERO)
}

#[test]
fn each_is_called_once_in_the_order_of_its_partition() {
    const THREADS: usize = 4;
    const RECORDS: usize = 200;
    for mode in [Durability::Os, Durability::Fsync] {
        let store = Store::new();
        let broker = store.open_with_topic(2, TopicConfig::new().durability(mode));
        let producer = broker.producer(ProducerConfig::new().batch_size(300)).unwrap();
        let told = [Told::default(), Told::default()];
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (producer, told) = (&producer, &told);
                scope.spawn(move || {
                    for number in 0..RECORDS {
                        let record = ProducerRecord::new("t", "v").partition(number as i32 % 2);
                        let call = told[number % 2].of(thread * RECORDS + number);
                        producer.send(record).unwrap().on_complete(call);
                    }
                });
            }
        });
        producer.flush().unwrap();
        for told in told {
            eventually("all callbacks", || told.len() == THREADS * RECORDS / 2);
            let told = told.all();
            for thread in 0..THREADS {
                // Of other threads a record may be in the log before its callback is there, which is called late then.
                let own = || told.iter().filter(|(number, _)| number / RECORDS == thread);
                assert!(own().map(|(number, _)| number).is_sorted(), "{mode:?}: in the order of send");
                assert!(own().map(|(_, offset)| offset).is_sorted(), "{mode:?}: {told:?}");
                assert_eq!(own().count(), RECORDS / 2);
            }
            let mut offsets: Vec<_> = told.iter().map(|(_, offset)| *offset).collect();
            offsets.sort_unstable();
            assert!(offsets.into_iter().eq(0..told.len() as i64), "{mode:?}: once each");
        }
    }
}

#[test]
fn a_callback_needs_nobody_who_waits() {
    for acks in [Acks::None, Acks::Leader, Acks::All] {
        let store = Store::new();
        let broker = store.open_with_topic(1, TopicConfig::new().durability(Durability::Fsync));
        let producer = broker.producer(ProducerConfig::new().acks(acks)).unwrap();
        let told = Told::default();
        (0..3).for_each(|number| producer.send(ProducerRecord::new("t", "v")).unwrap().on_complete(told.of(number)));
        eventually("the timer and the background", || told.len() == 3);
        let offset = |number| if acks == Acks::None { -1 } else { number };
        assert_eq!(told.all(), [(0, offset(0)), (1, offset(1)), (2, offset(2))], "{acks:?}");
    }
}

#[test]
fn a_callback_waits_for_the_sync_and_not_for_more() {
    let simulated = Simulated::with_topic(1, TopicConfig::new().durability(Durability::Fsync));
    let producer = simulated.broker.producer(patient()).unwrap();
    let told = Told::default();
    producer.send(ProducerRecord::new("t", "v")).unwrap().on_complete(told.of(0));
    assert_eq!(told.len(), 0);
    simulated.pass(HOUR);
    assert_eq!((told.len(), all_values(&simulated.broker).len()), (0, 0), "written, and not synced");
    simulated.show();
    assert_eq!(told.all(), [(0, 0)]);
    // In the thread of somebody who syncs for himself, or later, it is told all the same.
    producer.send(ProducerRecord::new("t", "v")).unwrap().on_complete(told.of(1));
    producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
    Background::of(&simulated.broker).run_timers();
    assert_eq!(told.all(), [(0, 0), (1, 1)]);
}

#[test]
fn one_that_comes_late_is_called_at_once() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(patient()).unwrap();
    let told = Told::default();
    let ack = producer.send(ProducerRecord::new("t", "v")).unwrap();
    producer.flush().unwrap();
    ack.on_complete(told.of(0));
    assert_eq!(told.all(), [(0, 0)]);
    producer.send(ProducerRecord::new("none", "v")).unwrap().on_complete(told.of(1));
    assert_eq!(told.all()[1], (1, -1), "refused, and known at once");
    let ack = producer.send(ProducerRecord::new("t", "v")).unwrap();
    drop(producer);
    ack.on_complete(told.of(2));
    assert_eq!(told.all()[2], (2, 1), "also without the producer");
}

/// In the order of the records, not of their callbacks.
#[test]
fn callbacks_added_in_another_order_are_called_in_that_of_the_records() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(patient().batch_size(100)).unwrap();
    let told = Told::default();
    let (mut records, held) = (Vec::new(), broker.producer(patient()).unwrap());
    for _ in 0..3 {
        records.push(held.send(ProducerRecord::new("t", "v")).unwrap());
    }
    for (number, ack) in records.into_iter().enumerate().rev() {
        ack.on_complete(told.of(number));
    }
    held.flush().unwrap();
    assert_eq!(told.all(), [(0, 0), (1, 1), (2, 2)]);
    producer.close().unwrap();
}

#[test]
fn failures_are_told_once_and_in_order() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = simulated.broker.producer(patient().retries(0)).unwrap();
    let told = Told::default();
    let send = |number| producer.send(ProducerRecord::new("t", "v")).unwrap().on_complete(told.of(number));
    (0..2).for_each(send);
    simulated.disk.fail(Fault::of(OperationKind::Write).errno(28).written(0));
    producer.flush().unwrap();
    (2..4).for_each(send);
    producer.flush().unwrap();
    assert_eq!(told.all(), [(0, -1), (1, -1), (2, 0), (3, 1)]);
}

#[test]
fn a_callback_may_send_many_levels_deep() {
    fn chain(producer: Arc<Producer>, told: Told, left: usize) {
        let ack = producer.send(ProducerRecord::new("t", "v").partition(left as i32 % 2)).unwrap();
        let weak = Arc::downgrade(&producer);
        ack.on_complete(move |outcome| {
            told.note(left, &outcome);
            if let Some(producer) = weak.upgrade().filter(|_| left > 0) {
                chain(producer, told, left - 1);
            }
        });
    }
    const LEVELS: usize = 5000;
    for config in [
        ProducerConfig::new().linger(Duration::ZERO),
        ProducerConfig::new().linger(Duration::from_millis(1)),
        ProducerConfig::new().batch_size(0),
    ] {
        let levels = if config.to_properties().contains(&("linger.ms", "1".to_owned())) { 20 } else { LEVELS };
        let store = Store::new();
        let broker = store.open_with_topic(2, fast());
        let (producer, told) = (Arc::new(broker.producer(config).unwrap()), Told::default());
        chain(Arc::clone(&producer), told.clone(), levels);
        eventually("the last of the chain", || told.len() == levels + 1);
        assert!(told.all().iter().map(|(left, _)| *left).eq((0..=levels).rev()));
        assert_memory_is_back(&producer);
    }
}

#[test]
fn a_callback_may_neither_flush_nor_wait() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = Arc::new(broker.producer(patient()).unwrap());
    let (errors, inner) = (Arc::new(Mutex::new(Vec::new())), Arc::downgrade(&producer));
    let noted = Arc::clone(&errors);
    producer.send(ProducerRecord::new("t", "v")).unwrap().on_complete(move |_| {
        let producer = inner.upgrade().unwrap();
        let send = || producer.send(ProducerRecord::new("t", "inner")).unwrap();
        let all = producer.send_all([ProducerRecord::new("t", "inner")]).unwrap();
        let refused = [producer.flush().unwrap_err(), send().wait().unwrap_err(), all.wait().unwrap_err()];
        noted.lock().unwrap().extend(refused);
    });
    producer.flush().unwrap();
    let errors = std::mem::take(&mut *errors.lock().unwrap());
    assert_eq!(errors.len(), 3);
    for error in errors {
        assert!(matches!(error.kind(), ErrorKind::IllegalState { .. }), "{error}");
    }
    producer.flush().unwrap();
    assert_eq!(all_values(&broker).len(), 3, "they are sent all the same");
}

#[test]
fn a_callback_may_wait_for_what_is_known() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(patient()).unwrap();
    let known = producer.send(ProducerRecord::new("t", "known")).unwrap();
    producer.flush().unwrap();
    let refused = producer.send(ProducerRecord::new("none", "v")).unwrap();
    let seen = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&seen);
    producer.send(ProducerRecord::new("t", "v")).unwrap().on_complete(move |_| {
        let limited = known.wait_timeout(HOUR).unwrap().offset;
        *noted.lock().unwrap() = Some((limited, known.wait().unwrap().offset, refused.wait().is_err()));
    });
    producer.flush().unwrap();
    assert_eq!(*seen.lock().unwrap(), Some((0, 0, true)));
}

#[test]
fn a_callback_may_close_its_producer() {
    let simulated = Simulated::with_topic(2, fast());
    let producer = Arc::new(simulated.broker.producer(patient()).unwrap());
    let (told, inner) = (Told::default(), Arc::downgrade(&producer));
    let other = producer.send(ProducerRecord::new("t", "not written yet").partition(1)).unwrap();
    let first = producer.send(ProducerRecord::new("t", "v").partition(0)).unwrap();
    let after = told.clone();
    first.on_complete(move |outcome| {
        let producer = inner.upgrade().unwrap();
        producer.close().unwrap();
        producer.close().unwrap();
        assert_eq!(producer.send(ProducerRecord::new("t", "v")).unwrap_err().kind(), &ErrorKind::Closed);
        after.note(0, &outcome);
    });
    other.on_complete(told.of(1));
    producer.send(ProducerRecord::new("t", "v").partition(0)).unwrap().on_complete(told.of(2));
    let last = producer.send(ProducerRecord::new("t", "v").partition(0)).unwrap();
    assert_eq!(last.wait().unwrap().offset, 2);
    let mut all = told.all();
    all.sort_unstable();
    assert_eq!(all, [(0, 0), (1, -1), (2, 1)]);
    assert_memory_is_back(&producer);
}

#[test]
fn a_callback_that_panics_harms_nobody() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(patient()).unwrap();
    let told = Told::default();
    let send = || producer.send(ProducerRecord::new("t", "v")).unwrap();
    send().on_complete(told.of(0));
    send().on_complete(|_| std::panic::resume_unwind(Box::new("on purpose")));
    send().on_complete(told.of(2));
    producer.flush().unwrap();
    assert_eq!(told.all(), [(0, 0), (2, 2)]);
    producer
        .send(ProducerRecord::new("none", "v"))
        .unwrap()
        .on_complete(|_| std::panic::resume_unwind(Box::new("on purpose")));
    let ack = send();
    ack.on_complete(told.of(3));
    producer.flush().unwrap();
    producer.flush().unwrap();
    assert_eq!(told.all()[2], (3, 3), "and this thread may flush and wait as before");
}

/// Those whose records are written are told when that is durable, those of others that they failed.
#[test]
fn the_end_of_the_producer_or_the_broker_calls_all_that_are_left() {
    for mode in [Durability::Os, Durability::Fsync] {
        for ends_broker in [false, true] {
            let store = Store::new();
            let broker = store.open_with_topic(2, TopicConfig::new().durability(mode));
            let producer = broker.producer(patient()).unwrap();
            let told = Told::default();
            for number in 0..6 {
                let record = ProducerRecord::new("t", "v").partition(number as i32 % 2);
                producer.send(record).unwrap().on_complete(told.of(number));
            }
            if ends_broker {
                broker.close().unwrap();
                assert_eq!(told.len(), 6, "{mode:?}: a closed broker has told all of them");
            } else {
                drop(producer);
                eventually("all callbacks", || told.len() == 6);
            }
            let mut all = told.all();
            all.sort_unstable();
            assert_eq!(all, [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)], "{mode:?}, broker: {ends_broker}");
        }
    }
}

#[test]
fn a_drop_with_a_stuck_or_refused_batch_calls_each_once() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = simulated.broker.producer(patient()).unwrap();
    let told = Told::default();
    simulated.disk.fail(Fault::of(OperationKind::Write).errno(28).written(0).for_ever());
    for number in 0..3 {
        producer.send(ProducerRecord::new("t", "v")).unwrap().on_complete(told.of(number));
    }
    drop(producer);
    assert_eq!(told.all(), [(0, -1), (1, -1), (2, -1)]);
    simulated.disk.heal();
    simulated.pass(HOUR);
    assert_eq!((told.len(), all_values(&simulated.broker).len()), (3, 0));
}

/// Notes what it is told, and sends to where it was told.
#[derive(Debug)]
struct Redirect {
    told: Told,
    headers: Arc<Mutex<Vec<String>>>,
    topic: &'static str,
    partition: Option<i32>,
}

impl ProducerInterceptor for Redirect {
    fn on_send(&self, mut record: OwnedRecord) -> OwnedRecord {
        record.topic = self.topic.to_owned();
        record.partition = self.partition;
        record.headers.push(("by".to_owned(), None));
        record
    }

    fn on_acknowledgement(&self, outcome: &Result<RecordMetadata>, headers: &[(String, Option<Vec<u8>>)]) {
        self.told.note(100, outcome);
        self.headers.lock().unwrap().extend(headers.iter().map(|(name, _)| name.clone()));
    }
}

fn redirecting(told: &Told, topic: &'static str, partition: Option<i32>) -> (ProducerConfig, Arc<Mutex<Vec<String>>>) {
    let headers = Arc::default();
    let redirect = Redirect { told: told.clone(), headers: Arc::clone(&headers), topic, partition };
    (patient().interceptor(redirect), headers)
}

#[test]
fn interceptors_are_told_before_the_callback_with_the_headers_that_were_sent() {
    let store = Store::new();
    let broker = store.open_with_topic(3, fast());
    let told = Told::default();
    let (config, headers) = redirecting(&told, "t", Some(2));
    let producer = broker.producer(config).unwrap();
    let record = || ProducerRecord::new("elsewhere", "v").partition(0).header("own", Some("1"));
    let ack = producer.send(record()).unwrap();
    ack.on_complete(told.of(0));
    producer.try_send(record()).unwrap().on_complete(told.of(1));
    crate::support::block_on(producer.send_async(record())).unwrap().on_complete(told.of(2));
    producer.flush().unwrap();
    assert_eq!(told.all(), [(100, 0), (0, 0), (100, 1), (1, 1), (100, 2), (2, 2)]);
    assert_eq!(*headers.lock().unwrap(), ["own", "by"].repeat(3));
    assert_eq!(broker.partition(&tp(2)).unwrap().log_end().unwrap(), 3, "topic and partition are theirs to say");
    // A record whose acknowledgement nobody keeps, too.
    producer.send(record()).unwrap().detach();
    producer.close().unwrap();
    assert_eq!(told.all().last(), Some(&(100, 3)));
}

#[test]
fn interceptors_are_told_of_refusals() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let told = Told::default();
    let (config, headers) = redirecting(&told, "none", None);
    let producer = broker.producer(config).unwrap();
    let ack = producer.send(ProducerRecord::new("t", "v").header("own", None::<&str>)).unwrap();
    assert_eq!(told.all(), [(100, -1)]);
    ack.on_complete(told.of(0));
    assert_eq!(told.all(), [(100, -1), (0, -1)]);
    assert_eq!(*headers.lock().unwrap(), ["own", "by"]);

    let (config, _) = redirecting(&told, "t", Some(-5));
    let producer = broker.producer(config).unwrap();
    let error = producer.send(ProducerRecord::new("t", "v")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IllegalArgument { .. }), "{error}");
    assert_eq!(told.all()[2..], [(100, -1)], "also of what send returns");
    producer.close().unwrap();
    producer.send(ProducerRecord::new("t", "v")).unwrap_err();
    assert_eq!(told.len(), 3, "a closed producer asks nobody");
}

/// Interceptors and callbacks of one record never run at the same time as those of the next.
#[test]
fn callbacks_of_a_partition_come_one_after_the_other() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = producer(&broker);
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
                    let ack = producer.send(ProducerRecord::new("t", "v")).unwrap();
                    ack.on_complete(move |_| {
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    });
                    producer.flush().unwrap();
                }
            });
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_failed_sync_is_told_to_all_that_it_covers() {
    let simulated = Simulated::with_topic(1, TopicConfig::new().durability(Durability::Fsync));
    let producer = simulated.broker.producer(patient()).unwrap();
    let told = Told::default();
    producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
    (0..3).for_each(|number| producer.send(ProducerRecord::new("t", "v")).unwrap().on_complete(told.of(number)));
    simulated.pass(HOUR);
    assert_eq!(told.len(), 0);
    simulated.disk.fail(Fault::of(OperationKind::Sync));
    simulated.show();
    simulated.pass(HOUR);
    assert_eq!(told.all(), [(0, -1), (1, -1), (2, -1)]);
    producer.send(ProducerRecord::new("t", "v")).unwrap().on_complete(told.of(3));
    assert!(producer.flush().is_err());
    simulated.pass(HOUR);
    assert_eq!(told.all()[3..], [(3, -1)]);
    assert_memory_is_back(&producer);
}

#[test]
fn the_deletion_of_a_topic_calls_all_that_are_left() {
    let simulated = Simulated::with_topic(1, TopicConfig::new().durability(Durability::Fsync));
    let producer = simulated.broker.producer(patient()).unwrap();
    let told = Told::default();
    let send = |number| producer.send(ProducerRecord::new("t", "v")).unwrap().on_complete(told.of(number));
    send(0);
    simulated.pass(HOUR);
    send(1);
    assert_eq!(told.len(), 0, "the first is written and not synced, the second lingers");
    simulated.broker.delete_topic("t").unwrap();
    simulated.pass(HOUR);
    let all = told.all();
    assert_eq!((all.len(), all.last()), (2, Some(&(1, -1))), "{all:?}");
    assert_memory_is_back(&producer);
}

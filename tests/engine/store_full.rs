//! A store that has as many bytes as it may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thalweg::{Ack, Broker, BrokerConfig, CleanupPolicy, Durability, ErrorKind, Producer, ProducerConfig};
use thalweg::{ProducerRecord, Result, StoreFullPolicy, TopicConfig, TopicPartition};

use crate::support::{Store, all_values, consumer, fast, poll_values, tp};

const LIMIT: u64 = 20_000;

fn limited(policy: StoreFullPolicy) -> BrokerConfig {
    BrokerConfig::new().store_max_bytes(Some(LIMIT)).store_full_policy(policy)
}

fn small() -> TopicConfig {
    fast().internal_segment_bytes(1000).retention(None)
}

/// A producer that writes each record at once.
fn eager(broker: &Broker, max_block: Duration) -> Producer {
    broker.producer(ProducerConfig::new().batch_size(0).max_block(max_block)).unwrap()
}

fn send(producer: &Producer, topic: &str, timestamp: i64) -> Result<Ack> {
    producer.send(ProducerRecord::new(topic, &[7; 100]).key("k").partition(0).timestamp(timestamp))
}

/// Sends to `topic` until a record is refused.
fn fill(producer: &Producer, topic: &str) -> thalweg::Error {
    for timestamp in 1..1000 {
        if let Err(error) = send(producer, topic, timestamp).unwrap().wait() {
            return error;
        }
    }
    panic!("nothing was refused");
}

fn assert_full(error: &thalweg::Error, broker: &Broker) {
    let ErrorKind::StoreFull { used, limit } = error.kind() else { panic!("{error}") };
    assert_eq!((*used, *limit), (broker.stats().bytes, LIMIT));
    assert!(error.is_retriable() && error.to_string().contains("store.max.bytes"), "{error}");
}

/// Defends D12.
#[test]
fn a_record_without_room_is_refused_until_records_are_deleted() {
    let store = Store::new();
    let broker = store.open_with(limited(StoreFullPolicy::Refuse));
    broker.create_topic("t", 1, small()).unwrap();
    let producer = eager(&broker, Duration::ZERO);
    assert_full(&fill(&producer, "t"), &broker);
    let full = broker.stats().bytes;
    assert!(full <= LIMIT && LIMIT - full < 200, "{full}");
    let partition = broker.partition(&tp(0)).unwrap();
    let end = partition.log_end().unwrap();
    // One that is small enough for the rest is taken, and one that never fits is told so.
    producer.send(ProducerRecord::new("t", "")).unwrap().wait().map(drop).unwrap_or_else(|error| {
        assert!(LIMIT - full < 80, "{error}");
    });
    let before = broker.stats().bytes;
    let error = producer.send(ProducerRecord::new("t", &[7; LIMIT as usize])).unwrap().wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RecordTooLarge { .. }) && !error.is_retriable(), "{error}");
    // Whoever consumes can say so.
    let mut consumer = consumer(&broker, "g");
    consumer.subscribe(&["t"]).unwrap();
    assert_eq!(poll_values(&mut consumer, end as usize)[0].1, 0);
    consumer.commit_sync().unwrap();
    assert!(broker.stats().bytes > before);
    partition.delete_records(end / 2).unwrap();
    send(&producer, "t", 1).unwrap().wait().unwrap();
    assert_full(&fill(&producer, "t"), &broker);
    broker.delete_topic("t").unwrap();
    broker.create_topic("t", 1, small()).unwrap();
    fill(&producer, "t");
    broker.close().unwrap();
    // The next open knows how full it is.
    let broker = store.open_with(limited(StoreFullPolicy::Refuse));
    assert_full(&send(&eager(&broker, Duration::ZERO), "t", 1).unwrap().wait().unwrap_err(), &broker);
}

#[test]
fn a_limit_of_one_record_that_is_larger_than_the_whole_store() {
    let store = Store::new();
    let broker = store.open_with(limited(StoreFullPolicy::DropOldest));
    broker.create_topic("t", 1, fast()).unwrap();
    let producer = eager(&broker, Duration::ZERO);
    send(&producer, "t", 1).unwrap().wait().unwrap();
    let error = producer.send(ProducerRecord::new("t", &[7; LIMIT as usize])).unwrap().wait().unwrap_err();
    let limit = LIMIT as usize;
    assert!(matches!(error.kind(), ErrorKind::RecordTooLarge { limit: found, .. } if *found == limit), "{error}");
    assert_eq!(all_values(&broker).len(), 1, "nothing was dropped for it");
}

#[test]
fn who_waits_for_room_gets_it_from_a_deletion() {
    let store = Store::new();
    let broker = store.open_with(limited(StoreFullPolicy::Block));
    broker.create_topic("t", 1, small()).unwrap();
    let producer = eager(&broker, Duration::ZERO);
    assert_full(&fill(&producer, "t"), &broker);
    let (patient, waits) = (eager(&broker, Duration::from_secs(600)), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let sent: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    waits.store(true, Ordering::SeqCst);
                    send(&patient, "t", 5).unwrap().wait().map(|sent| sent.offset)
                })
            })
            .collect();
        while !waits.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // The background goes on meanwhile, as do other producers that need no room.
        let partition = broker.partition(&tp(0)).unwrap();
        let before = partition.log_end().unwrap();
        assert_eq!(partition.delete_records(before).unwrap(), before);
        let mut offsets: Vec<_> = sent.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect();
        offsets.sort_unstable();
        assert_eq!(offsets, [before, before + 1, before + 2, before + 3]);
    });
}

#[test]
fn who_waits_for_room_is_told_of_the_end() {
    let store = Store::new();
    let broker = store.open_with(limited(StoreFullPolicy::Block));
    broker.create_topic("t", 1, small()).unwrap();
    let impatient = eager(&broker, Duration::from_millis(1));
    assert_full(&fill(&impatient, "t"), &broker);
    let (patient, waits) = (eager(&broker, Duration::from_secs(600)), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| {
            waits.store(true, Ordering::SeqCst);
            send(&patient, "t", 5).and_then(Ack::wait).unwrap_err()
        });
        while !waits.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        broker.close().unwrap();
        assert_eq!(sent.join().unwrap().kind(), &ErrorKind::Closed);
    });
}

fn log_start(broker: &Broker, topic: &str) -> i64 {
    broker.partition(&TopicPartition::new(topic, 0)).unwrap().log_start().unwrap()
}

#[test]
fn the_oldest_records_of_the_store_go() {
    let store = Store::new();
    let broker = store.open_with(limited(StoreFullPolicy::DropOldest));
    let topics = ["old", "new", "compacted"];
    for topic in topics {
        let policy = if topic == "compacted" { CleanupPolicy::Compact } else { CleanupPolicy::Delete };
        broker.create_topic(topic, 1, small().cleanup_policy(policy)).unwrap();
    }
    let producer = eager(&broker, Duration::ZERO);
    for number in 0..30 {
        send(&producer, "compacted", number).unwrap().wait().unwrap();
        send(&producer, "old", 1000 + number).unwrap().wait().unwrap();
        send(&producer, "new", 100_000 + number).unwrap().wait().unwrap();
    }
    let held = broker.partition(&TopicPartition::new("old", 0)).unwrap().fetch(0, &Default::default()).unwrap();
    let (mut largest, mut drops, mut last) = (0, 0, 0);
    for number in 0..42 {
        send(&producer, "new", 200_000 + number).unwrap().wait().unwrap();
        let bytes = broker.stats().bytes;
        if bytes < last {
            drops += 1;
            assert!(bytes <= LIMIT - LIMIT / 20 + 200, "with some to spare: {bytes}");
        }
        (largest, last) = (largest.max(bytes), bytes);
    }
    assert!(largest <= LIMIT && largest > LIMIT - 200 && drops > 1, "{largest} {drops}");
    assert!(log_start(&broker, "old") > 0);
    assert_eq!((log_start(&broker, "new"), log_start(&broker, "compacted")), (0, 0));
    assert_eq!(held.decode(true).unwrap().len(), 30, "readers keep what they have");
    // On and on: the active segment of the old topic stays as long as sealed ones of others can go.
    for number in 0..300 {
        send(&producer, "new", 300_000 + number).unwrap().wait().unwrap();
        assert!(broker.stats().bytes <= LIMIT);
    }
    let old = broker.partition(&TopicPartition::new("old", 0)).unwrap();
    assert!(log_start(&broker, "new") > 0 && old.log_start().unwrap() < old.log_end().unwrap());
    assert_eq!(log_start(&broker, "compacted"), 0);
    let starts = topics.map(|topic| log_start(&broker, topic));
    broker.close().unwrap();
    let broker = store.open_after_kill();
    assert_eq!(topics.map(|topic| log_start(&broker, topic)), starts);
}

#[test]
fn an_active_segment_goes_when_nothing_else_is_left() {
    let store = Store::new();
    let broker = store.open_with(limited(StoreFullPolicy::DropOldest));
    for topic in ["a", "b"] {
        broker.create_topic(topic, 1, fast().retention(None)).unwrap(); // of one segment each
    }
    let producer = eager(&broker, Duration::ZERO);
    send(&producer, "a", 1).unwrap().wait().unwrap();
    let mut count = 0;
    while log_start(&broker, "a") == 0 {
        send(&producer, "b", 1000 + count).unwrap().wait().unwrap();
        count += 1;
    }
    assert_eq!((log_start(&broker, "a"), log_start(&broker, "b")), (1, count - 1), "one is not enough to spare some");
    send(&producer, "a", 1).unwrap().wait().unwrap();
    assert_eq!(broker.partition(&TopicPartition::new("a", 0)).unwrap().log_end().unwrap(), 2);
}

#[test]
fn what_may_not_go_is_not_dropped() {
    let store = Store::new();
    let broker = store.open_with(limited(StoreFullPolicy::DropOldest));
    broker.create_topic("t", 1, small().cleanup_policy(CleanupPolicy::Compact)).unwrap();
    broker.create_topic("u", 1, small()).unwrap();
    let producer = eager(&broker, Duration::ZERO);
    consumer(&broker, "g").commit_sync_offsets(&[(tp(0), 0.into())]).unwrap();
    assert_full(&fill(&producer, "t"), &broker);
    assert_eq!(log_start(&broker, "t"), 0);
    // What goes elsewhere does not help.
    assert_full(&send(&producer, "u", 1).unwrap().wait().unwrap_err(), &broker);
    assert_eq!(consumer(&broker, "g").committed(&[tp(0)]).unwrap()[0].1.as_ref().unwrap().offset(), 0);
}

#[test]
fn who_sends_faster_than_the_disk_syncs_is_not_refused() {
    let store = Store::new();
    let broker = store.open_with(limited(StoreFullPolicy::DropOldest));
    broker.create_topic("t", 1, small().durability(Durability::Fsync)).unwrap();
    let producer = eager(&broker, Duration::ZERO);
    let sent: Vec<_> = (0..400).map(|number| send(&producer, "t", number).unwrap()).collect();
    for (number, ack) in sent.into_iter().enumerate() {
        assert_eq!(ack.wait().unwrap().offset, number as i64);
    }
    let partition = broker.partition(&tp(0)).unwrap();
    assert_eq!((partition.log_end().unwrap(), partition.high_watermark().unwrap()), (400, 400));
    assert!(partition.log_start().unwrap() > 200 && broker.stats().bytes <= LIMIT);
}

/// A task that sends when it is woken, inside the call that wakes it.
struct SendsWhenWoken {
    producer: Producer,
    woken: AtomicBool,
}

impl std::task::Wake for SendsWhenWoken {
    fn wake(self: Arc<Self>) {
        for number in 0..8 {
            send(&self.producer, "t", number).unwrap().detach();
        }
        self.woken.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_task_that_sends_when_records_are_dropped_does_not_wait_for_itself() {
    let store = Store::new();
    let broker = store.open_with(limited(StoreFullPolicy::DropOldest));
    broker.create_topic("t", 1, small().durability(Durability::Fsync)).unwrap();
    let producer = eager(&broker, Duration::ZERO);
    let task = Arc::new(SendsWhenWoken { producer: eager(&broker, Duration::ZERO), woken: AtomicBool::new(false) });
    let waker = task.clone().into();
    let mut context = std::task::Context::from_waker(&waker);
    for number in 0..150 {
        let mut ack = Box::pin(send(&producer, "t", number).unwrap());
        let _ = Future::poll(ack.as_mut(), &mut context);
        std::mem::forget(ack); // goes on waiting
    }
    while !task.woken.load(Ordering::SeqCst) {
        send(&producer, "t", 1000).unwrap().wait().unwrap();
    }
}

#[test]
fn many_who_send_into_a_full_store_at_the_same_time() {
    let store = Store::new();
    let broker = store.open_with(limited(StoreFullPolicy::DropOldest));
    broker.create_topic("t", 1, small()).unwrap();
    broker.create_topic("u", 1, small()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4i64 {
            let broker = &broker;
            scope.spawn(move || {
                let producer = eager(broker, Duration::ZERO);
                for number in 0..150 {
                    let topic = if (number + thread) % 2 == 0 { "t" } else { "u" };
                    send(&producer, topic, number).unwrap().wait().unwrap();
                }
            });
        }
    });
    // Each of them may have looked before the others wrote.
    assert!(broker.stats().bytes <= LIMIT + 3 * 200);
    let ends = ["t", "u"].map(|topic| broker.partition(&TopicPartition::new(topic, 0)).unwrap().log_end().unwrap());
    assert_eq!(ends, [300, 300]);
    broker.close().unwrap();
    assert!(store.open_after_kill().recovery().failed.is_empty());
}

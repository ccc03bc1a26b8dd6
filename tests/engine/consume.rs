//! The consumer: assigning, polling, seeking.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use thalweg::{AutoOffsetReset, Broker, Consumer, ConsumerConfig, ErrorKind, ProducerConfig, ProducerRecord};

use crate::support::{Store, consumer, fast, poll_values, producer, send_each, tp};

fn assigned(broker: &Broker, config: ConsumerConfig) -> Consumer {
    let mut consumer = broker.consumer(config).unwrap();
    consumer.assign(&[tp(0)]).unwrap();
    consumer
}

#[test]
fn records_come_in_order_and_max_poll_records_cuts_batches() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(4000));
    let producer = broker.producer(ProducerConfig::new().batch_size(700)).unwrap();
    for number in 0..1000u32 {
        producer.send(ProducerRecord::new("t", &number.to_be_bytes())).unwrap().detach();
    }
    producer.close().unwrap();
    for (count, bytes) in [(1, 1 << 20), (7, 1 << 20), (7, 0), (100, 900), (5000, 1 << 20)] {
        let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest);
        let mut consumer = assigned(&broker, config.max_poll_records(count).max_partition_fetch_bytes(bytes));
        let mut next = 0;
        while next < 1000 {
            let records = consumer.poll(Duration::from_secs(10)).unwrap();
            assert!((1..=count).contains(&records.len()));
            for record in records.iter() {
                assert_eq!(record.offset(), next);
                assert_eq!(record.value(), Some(&(next as u32).to_be_bytes()[..]));
                next += 1;
            }
            assert_eq!(consumer.position(&tp(0)).unwrap(), next);
        }
        assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
    }
}

#[test]
fn the_reset_policy_decides_where_to_begin() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, ["a", "b", "c"]);
    let position = |policy| assigned(&broker, ConsumerConfig::new().auto_offset_reset(policy)).position(&tp(0));
    assert_eq!(position(AutoOffsetReset::Earliest).unwrap(), 0);
    assert_eq!(position(AutoOffsetReset::Latest).unwrap(), 3);
    let error = position(AutoOffsetReset::None).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NoOffsetForPartition { partitions: vec![tp(0)] });
}

#[test]
fn a_position_outside_the_log_is_reset_or_an_error() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, ["a", "b"]);
    let at = |policy| {
        let mut consumer = assigned(&broker, ConsumerConfig::new().auto_offset_reset(policy));
        consumer.seek(&tp(0), 99).unwrap();
        consumer
    };
    assert_eq!(poll_values(&mut at(AutoOffsetReset::Earliest), 2).len(), 2);
    let mut latest = at(AutoOffsetReset::Latest);
    assert!(latest.poll(Duration::ZERO).unwrap().is_empty());
    assert_eq!(latest.position(&tp(0)).unwrap(), 2);
    let error = at(AutoOffsetReset::None).poll(Duration::ZERO).unwrap_err();
    assert_eq!(
        error.kind(),
        &ErrorKind::OffsetOutOfRange { requested: 99, log_start: 0, high_watermark: 2, log_end: 2 }
    );
    assert_eq!(broker.stats().positions_above_log_end, 2, "those that were reset");
}

#[test]
fn seek_moves_the_position_and_drops_what_was_buffered() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, (0..20u8).map(|value| [value]));
    let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest).max_poll_records(3);
    let mut consumer = assigned(&broker, config);
    let offsets = |consumer: &mut Consumer| -> Vec<_> {
        consumer.poll(Duration::ZERO).unwrap().iter().map(|record| record.offset()).collect()
    };
    assert_eq!(offsets(&mut consumer), [0, 1, 2]);
    consumer.seek(&tp(0), 10).unwrap();
    assert_eq!(offsets(&mut consumer), [10, 11, 12]);
    consumer.seek(&tp(0), 1).unwrap();
    assert_eq!(offsets(&mut consumer), [1, 2, 3]);
    assert!(matches!(consumer.seek(&tp(0), -1).unwrap_err().kind(), ErrorKind::IllegalArgument { .. }));
    assert!(matches!(consumer.seek(&tp(1), 0).unwrap_err().kind(), ErrorKind::IllegalState { .. }));
}

#[test]
fn the_ways_to_get_partitions_exclude_each_other() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut consumer = consumer(&broker, "g");
    let illegal = |error: thalweg::Error| assert!(matches!(error.kind(), ErrorKind::IllegalState { .. }), "{error}");
    illegal(consumer.poll(Duration::ZERO).unwrap_err());
    consumer.subscribe(&["t"]).unwrap();
    illegal(consumer.assign(&[tp(0)]).unwrap_err());
    consumer.unsubscribe();
    consumer.assign(&[tp(0)]).unwrap();
    illegal(consumer.subscribe(&["t"]).unwrap_err());
    consumer.assign(&[]).unwrap();
    illegal(consumer.poll(Duration::ZERO).unwrap_err());
    consumer.subscribe(&["t"]).unwrap();
    consumer.subscribe::<&str>(&[]).unwrap();
    illegal(consumer.poll(Duration::ZERO).unwrap_err());
    assert!(matches!(consumer.subscribe(&[" "]).unwrap_err().kind(), ErrorKind::IllegalArgument { .. }));
    let error = consumer.assign(&[tp(1)]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. }));
}

#[test]
fn poll_waits_for_a_record_and_is_woken_by_it() {
    let store = Store::new();
    let broker = store.open_with_topic(3, thalweg::TopicConfig::new());
    let mut consumer = consumer(&broker, "g");
    consumer.subscribe(&["t"]).unwrap();
    assert!(consumer.poll(Duration::from_millis(1)).unwrap().is_empty());
    let is_waiting = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_waiting.load(Ordering::Acquire) {
                thread::yield_now();
            }
            let producer = producer(&broker);
            producer.send(ProducerRecord::new("t", "v").partition(2)).unwrap().wait().unwrap();
        });
        is_waiting.store(true, Ordering::Release);
        assert_eq!(poll_values(&mut consumer, 1), [(2, 0, b"v".to_vec())]);
    });
}

#[test]
fn closing_the_broker_ends_a_poll() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut consumer = consumer(&broker, "g");
    consumer.subscribe(&["t"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    thread::scope(|scope| {
        let poll = scope.spawn(move || consumer.poll(Duration::from_secs(3600)));
        broker.close().unwrap();
        assert_eq!(poll.join().unwrap().unwrap_err().kind(), &ErrorKind::Closed);
    });
}

#[test]
fn a_busy_partition_does_not_starve_the_others() {
    let store = Store::new();
    let broker = store.open_with_topic(4, fast());
    let producer = broker.producer(ProducerConfig::new().batch_size(0)).unwrap();
    for _ in 0..1000 {
        producer.send(ProducerRecord::new("t", &[0; 100]).partition(0)).unwrap().detach();
    }
    for partition in 1..4 {
        producer.send(ProducerRecord::new("t", "rare").partition(partition)).unwrap().detach();
    }
    producer.close().unwrap();
    let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest).fetch_max_bytes(1);
    let mut consumer = broker.consumer(config).unwrap();
    consumer.assign(&[tp(0), tp(1), tp(2), tp(3)]).unwrap();
    let mut seen: Vec<_> = (0..4).map(|_| poll_values(&mut consumer, 1)[0].0).collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3], "each is served within as many fetches as there are partitions");
}

#[test]
fn damage_comes_after_the_records_before_it_and_again_until_it_is_passed() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(1000));
    send_each(&broker, (0..30u8).map(|value| [value; 40]));
    let batch = broker.partition(&tp(0)).unwrap().fetch(0, &thalweg::FetchOptions::new().max_bytes(0)).unwrap().len();
    broker.close().unwrap();
    let path = store.file("00000000000000000000.log");
    let mut content = std::fs::read(&path).unwrap();
    content[2 * batch + 70] ^= 1; // in the batch of offset 2, in a sealed segment
    std::fs::write(&path, content).unwrap();
    let broker = store.open();
    let mut consumer = assigned(&broker, ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest));
    assert_eq!(poll_values(&mut consumer, 2).len(), 2);
    for _ in 0..3 {
        let error = consumer.poll(Duration::ZERO).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::CorruptRecord { offset: 2, .. }), "{error}");
        assert_eq!((error.partition(), error.file_pos()), (Some(&tp(0)), Some(2 * batch as u64)));
    }
    consumer.seek(&tp(0), 3).unwrap();
    assert_eq!(poll_values(&mut consumer, 27)[0], (0, 3, vec![3; 40]));
}

/// A store with topic `t` of three partitions, the first of which cannot be opened, and 20 records in each other one.
fn with_damaged_partition(store: &Store) -> Broker {
    let broker = store.open_with_topic(3, fast());
    let producer = producer(&broker);
    for partition in 0..3 {
        for number in 0..20u8 {
            producer.send(ProducerRecord::new("t", &[number]).partition(partition)).unwrap().detach();
        }
    }
    producer.close().unwrap();
    broker.close().unwrap();
    std::fs::remove_file(store.file("00000000000000000000.log")).unwrap();
    store.open()
}

#[test]
fn a_damaged_partition_does_not_stop_its_consumer_and_its_error_is_told() {
    let store = Store::new();
    let broker = with_damaged_partition(&store);
    let mut consumer = consumer(&broker, "g");
    consumer.subscribe(&["t"]).unwrap();
    let (mut values, mut errors) = (0, 0);
    while values < 40 || errors < 3 {
        match consumer.poll(Duration::ZERO) {
            Ok(records) => values += records.len(),
            Err(error) => {
                assert_eq!(error.partition(), Some(&tp(0)), "{error}");
                errors += 1;
            }
        }
    }
    consumer.commit_sync().unwrap();
    assert_eq!(consumer.committed(&[tp(0), tp(1)]).unwrap()[1].1.as_ref().unwrap().offset(), 20);
}

#[test]
fn an_error_is_told_beside_busy_partitions() {
    let store = Store::new();
    let broker = with_damaged_partition(&store);
    let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest).max_poll_records(1);
    let mut consumer = broker.consumer(config).unwrap();
    consumer.assign(&[tp(0), tp(1)]).unwrap();
    let errors = (0..15).filter(|_| consumer.poll(Duration::ZERO).is_err()).count();
    assert!((1..15).contains(&errors), "{errors}");
}

#[test]
fn flush_ignores_partitions_that_were_not_sent_to() {
    let store = Store::new();
    let broker = with_damaged_partition(&store);
    let producer = producer(&broker);
    let ack = producer.send(ProducerRecord::new("t", "v").partition(1)).unwrap();
    producer.flush().unwrap();
    assert_eq!(ack.wait().unwrap().offset, 20);
    producer.send(ProducerRecord::new("t", "v").partition(0)).unwrap().wait().unwrap_err();
    producer.close().unwrap();
}

#[test]
fn an_idle_poll_waits_and_does_not_spin() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut consumer = consumer(&broker, "g");
    consumer.subscribe(&["t"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    let ticks = || {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    assert!(consumer.poll(Duration::from_millis(500)).unwrap().is_empty());
    assert!(ticks() - before <= 5, "half a second is 50 ticks");
}

//! What is refused, when, and that it harms no other record. Rules: producer.md 3, 5.3 and 11.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thalweg::{
    Ack, Broker, CleanupPolicy, Compression, Error, ErrorKind, Producer, ProducerConfig, ProducerRecord, TimestampType,
    TopicConfig,
};

use crate::support::{
    FOR_EVER, HOUR, Simulated, Store, Wakes, all_values, assert_memory_is_back, block_on, fast, is_unknown, ready, tp,
    value_of,
};

fn config() -> ProducerConfig {
    ProducerConfig::new().linger(HOUR).max_block(Duration::ZERO)
}

/// The error of a record that `send` takes and that is refused at once, whichever way it is sent.
#[track_caller]
fn refused(producer: &Producer, record: &ProducerRecord<'_>) -> Error {
    let ways: [Ack; 3] = [
        producer.send(record.clone()).unwrap(),
        producer.try_send(record.clone()).unwrap(),
        block_on(producer.send_async(record.clone())).unwrap(),
    ];
    let [first, second, third] = ways.map(|ack| ack.try_wait().expect("it is known at once").unwrap_err());
    assert_eq!(std::mem::discriminant(first.kind()), std::mem::discriminant(second.kind()), "{first}, {second}");
    assert_eq!(std::mem::discriminant(first.kind()), std::mem::discriminant(third.kind()), "{first}, {third}");
    first
}

/// The error of a record that no way of sending takes.
#[track_caller]
fn not_taken(producer: &Producer, record: &ProducerRecord<'_>) -> Error {
    let second = producer.try_send(record.clone()).unwrap_err().error;
    let third = block_on(producer.send_async(record.clone())).unwrap_err();
    let first = producer.send(record.clone()).unwrap_err();
    assert_eq!((first.kind(), first.kind()), (second.kind(), third.kind()));
    first
}

#[test]
fn what_is_refused_is_known_at_once_and_harms_no_other() {
    const DAY: i64 = 86_400_000;
    let simulated = Simulated::new(Default::default());
    let broker = &simulated.broker;
    let now = simulated.disk.clock().timestamp();
    let bounded = fast().message_timestamp_before_max(HOUR).message_timestamp_after_max(HOUR).max_message_bytes(2000);
    broker.create_topic("t", 1, bounded).unwrap();
    broker.create_topic("compacted", 1, fast().cleanup_policy(CleanupPolicy::Compact)).unwrap();
    let producer = broker.producer(config()).unwrap();
    let good = |value| producer.send(ProducerRecord::new("t", value)).unwrap();
    let mut sent = vec![good("first")];
    let (long, large) = ("n".repeat(250), value_of(2001));
    type Expected = fn(&ErrorKind) -> bool;
    let rows: [(ProducerRecord<'_>, Expected); 12] = [
        (ProducerRecord::new("t", &large), |kind| {
            matches!(kind, ErrorKind::RecordTooLarge { size: 2001, limit: 2000 })
        }),
        (ProducerRecord::new("", "v"), |kind| matches!(kind, ErrorKind::InvalidTopic { .. })),
        (ProducerRecord::new(".", "v"), |kind| matches!(kind, ErrorKind::InvalidTopic { .. })),
        (ProducerRecord::new("..", "v"), |kind| matches!(kind, ErrorKind::InvalidTopic { .. })),
        (ProducerRecord::new("a/b", "v"), |kind| matches!(kind, ErrorKind::InvalidTopic { .. })),
        (ProducerRecord::new(&long, "v"), |kind| matches!(kind, ErrorKind::InvalidTopic { .. })),
        (ProducerRecord::new("__consumer_offsets", "v"), |kind| matches!(kind, ErrorKind::InvalidTopic { .. })),
        (ProducerRecord::new("compacted", "v"), |kind| matches!(kind, ErrorKind::InvalidRecord { .. })),
        (ProducerRecord::new("t", "v").timestamp(now - DAY), |kind| matches!(kind, ErrorKind::InvalidTimestamp { .. })),
        (ProducerRecord::new("t", "v").timestamp(now + DAY), |kind| matches!(kind, ErrorKind::InvalidTimestamp { .. })),
        (ProducerRecord::new("t", "v").timestamp(0), |kind| matches!(kind, ErrorKind::InvalidTimestamp { .. })),
        (ProducerRecord::new("t", "v").timestamp(i64::MAX), |kind| matches!(kind, ErrorKind::InvalidTimestamp { .. })),
    ];
    for (record, is_expected) in &rows {
        let before = producer.stats().record_error_total;
        let error = refused(&producer, record);
        assert!(is_expected(error.kind()), "{record:?}: {error}");
        assert!(!error.is_retriable(), "{error}");
        assert_eq!(producer.stats().record_error_total, before + 3);
        sent.push(good("between"));
    }
    for record in [ProducerRecord::new("t", "v").partition(-1), ProducerRecord::new("t", "v").timestamp(-1)] {
        let error = not_taken(&producer, &record);
        assert!(matches!(error.kind(), ErrorKind::IllegalArgument { .. }), "{error}");
        sent.push(good("between"));
    }
    producer.send(ProducerRecord::new("compacted", "v").key("")).unwrap().wait().unwrap();
    producer.send(ProducerRecord::tombstone("compacted", "k")).unwrap().wait().unwrap();
    producer.flush().unwrap();
    for (offset, ack) in (0..).zip(sent) {
        assert_eq!(ack.try_wait().unwrap().unwrap().offset, offset);
    }
    let stats = producer.stats();
    assert_eq!(
        (stats.record_send_total, stats.records_per_request_avg),
        (17, 17.0 / 3.0),
        "one batch in each log, or two"
    );
    producer.close().unwrap();
    assert_eq!(not_taken(&producer, &ProducerRecord::new("t", "v")).kind(), &ErrorKind::Closed);
    assert_eq!(producer.partitions_for("t").unwrap_err().kind(), &ErrorKind::Closed);
    assert_memory_is_back(&producer);
}

#[test]
fn the_topics_own_time_takes_any_timestamp() {
    let store = Store::new();
    let stamped = fast().message_timestamp_before_max(HOUR).message_timestamp_type(TimestampType::LogAppendTime);
    let broker = store.open_with_topic(1, stamped);
    let producer = broker.producer(config()).unwrap();
    for timestamp in [0, i64::MAX] {
        producer.send(ProducerRecord::new("t", "v").timestamp(timestamp)).unwrap().wait().unwrap();
    }
}

#[test]
fn the_smallest_of_the_limits_counts_for_a_single_record() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().max_message_bytes(3000));
    let limits: [(ProducerConfig, usize); 4] = [
        (config().max_request_size(1000), 1000),
        (config().buffer_memory(1500), 1500),
        (config(), 3000),
        (config().max_request_size(1 << 20).batch_size(500), 3000),
    ];
    for (config, limit) in limits {
        let producer = broker.producer(config).unwrap();
        let error = refused(&producer, &ProducerRecord::new("t", &value_of(limit + 1)));
        assert_eq!(error.kind(), &ErrorKind::RecordTooLarge { size: limit + 1, limit });
        producer.send(ProducerRecord::new("t", &value_of(limit))).unwrap().wait().unwrap();
        assert_memory_is_back(&producer);
    }
}

#[test]
fn headers_may_repeat_and_have_no_values() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(config()).unwrap();
    let record = ProducerRecord::new("t", "v").header("a", None::<&str>).header("a", Some("")).header("", Some("x"));
    let record = (0..1000).fold(record, |record, _| record.header("many", None::<&str>));
    producer.send(record).unwrap().wait().unwrap();
    let records = broker.partition(&tp(0)).unwrap().fetch(0, &Default::default()).unwrap().decode(true).unwrap();
    let record = records.iter().next().unwrap();
    let headers: Vec<_> = record.headers().map(|header| (header.key_bytes(), header.value())).collect();
    assert_eq!(headers[..3], [(&b"a"[..], None), (b"a", Some(&b""[..])), (b"", Some(b"x"))]);
    assert_eq!(headers.len(), 1003);
}

/// The batch was filled under other rules.
#[test]
fn a_batch_that_became_too_large_is_split_and_each_record_has_its_own_outcome() {
    for (compression, idempotence) in [(Compression::None, true), (Compression::None, false), (Compression::Gzip, true)]
    {
        if !compression.is_supported() {
            continue;
        }
        let simulated = Simulated::with_topic(1, fast());
        let broker = &simulated.broker;
        let config = config().batch_size(100_000).compression_type(compression).enable_idempotence(idempotence);
        let producer = broker.producer(config).unwrap();
        let mut seed = 1_u32;
        let mut noise = |len: usize| -> Vec<u8> {
            let mut next = || {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            };
            (0..len).map(|_| next()).collect()
        };
        let lens = [100, 200, 5000, 100, 300, 300, 6000, 50, 900];
        let values = lens.map(&mut noise);
        let acks: Vec<_> =
            values.iter().map(|value| producer.send(ProducerRecord::new("t", value).timestamp(7)).unwrap()).collect();
        broker.alter_topic("t", fast().max_message_bytes(1100)).unwrap();
        producer.flush().unwrap();
        let mut offset = 0;
        for (ack, value) in acks.into_iter().zip(&values) {
            let outcome = ack.wait();
            if value.len() > 2000 {
                let error = outcome.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::RecordTooLarge { limit: 1100, .. }), "{error}");
                assert_eq!(error.partition(), Some(&tp(0)));
            } else {
                let sent = outcome.unwrap();
                assert_eq!((sent.offset, sent.timestamp, sent.value_size), (offset, 7, Some(value.len())));
                offset += 1;
            }
        }
        let small: Vec<_> = values.iter().filter(|value| value.len() <= 2000).cloned().collect();
        assert_eq!(all_values(broker), small, "{compression}");
        let stats = producer.stats();
        assert_eq!(stats.batch_split_total, 1);
        assert_eq!((stats.record_error_total, stats.record_send_total), (2, 7), "{compression}");
        assert_memory_is_back(&producer);
        // The sequence goes on, and batches are no larger than the topic takes now.
        for _ in 0..10 {
            producer.send(ProducerRecord::new("t", &values[8])).unwrap().detach();
        }
        producer.flush().unwrap();
        assert_eq!(producer.stats().record_error_total, 2);
        assert_memory_is_back(&producer);
    }
}

/// Zeros made it hope for more.
#[test]
fn a_batch_whose_compression_was_overestimated_is_split() {
    if !Compression::Gzip.is_supported() {
        return;
    }
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().max_message_bytes(2000));
    let producer = broker.producer(config().batch_size(2000).compression_type(Compression::Gzip)).unwrap();
    for _ in 0..2000 {
        producer.send(ProducerRecord::new("t", &[0; 500])).unwrap().detach();
    }
    producer.flush().unwrap();
    assert_eq!((producer.stats().batch_split_total, producer.stats().record_error_total), (0, 0));
    let mut seed = 1_u64;
    let mut acks = Vec::new();
    for _ in 0..100 {
        let value: Vec<u8> = (0..500)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 56) as u8
            })
            .collect();
        acks.push(producer.send(ProducerRecord::new("t", &value)).unwrap());
    }
    producer.flush().unwrap();
    for (offset, ack) in (2000..).zip(acks) {
        assert_eq!(ack.wait().unwrap().offset, offset);
    }
    let stats = producer.stats();
    assert!(stats.batch_split_total >= 1);
    assert_eq!((stats.record_send_total, stats.record_error_total), (2100, 0));
    assert_memory_is_back(&producer);
}

#[track_caller]
fn assert_never_came(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }) && is_unknown(error), "{error}");
    assert!(error.is_retriable());
}

/// By the simulated clock `max.block.ms` is over at once.
#[test]
fn what_is_not_there_is_waited_for_until_max_block() {
    let simulated = Simulated::with_topic(1, fast());
    let producer = simulated.broker.producer(config().max_block(Duration::from_secs(5))).unwrap();
    for record in [ProducerRecord::new("none", "v"), ProducerRecord::new("t", "v").partition(1)] {
        let outcome = producer.send(record.clone()).unwrap().wait().unwrap_err();
        assert_never_came(&outcome);
        let error = producer.try_send(record.clone()).unwrap().wait().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. }), "it does not wait: {error}");
        let (mut future, wakes) = (producer.send_async(record), Wakes::new());
        assert!(wakes.poll(&mut future).is_pending());
        simulated.disk.clock().advance(Duration::from_secs(5));
        assert_never_came(&ready(wakes.poll(&mut future)).unwrap().wait().unwrap_err());
    }
    assert_never_came(&producer.partitions_for("none").unwrap_err());
    assert_eq!(producer.partitions_for("t").unwrap(), [tp(0)]);
    let error = producer.partitions_for("a/b").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidTopic { .. }), "{error}");
    assert_memory_is_back(&producer);
}

#[test]
fn who_waits_for_a_topic_or_a_partition_goes_on_when_it_comes() {
    let simulated = Simulated::with_topic(1, fast());
    let broker = &simulated.broker;
    let producer = broker.producer(ProducerConfig::new().max_block(FOR_EVER)).unwrap();
    type Create<'a> = Box<dyn Fn() + 'a>;
    let creations: [(&str, Create<'_>); 2] = [
        ("new", Box::new(|| drop(broker.create_topic("new", 2, fast()).unwrap()))),
        ("t", Box::new(|| drop(broker.create_partitions("t", 2).unwrap()))),
    ];
    for (topic, create) in creations {
        let record = || ProducerRecord::new(topic, "v").partition(1);
        let wakes = Wakes::new();
        let mut future = producer.send_async(record());
        assert!(wakes.poll(&mut future).is_pending());
        thread::scope(|scope| {
            let sender = scope.spawn(|| producer.send(record()).unwrap().wait().unwrap().partition);
            let looker = (topic == "new").then(|| scope.spawn(|| producer.partitions_for(topic).unwrap().len()));
            broker.create_topic(&format!("not-{topic}"), 1, fast()).unwrap();
            assert!(wakes.poll(&mut future).is_pending(), "that was another one");
            (0..1000).for_each(|_| thread::yield_now());
            assert!(!sender.is_finished());
            let before = wakes.count();
            create();
            assert!(wakes.count() > before);
            assert_eq!(sender.join().unwrap().topic(), topic);
            assert_eq!(looker.map_or(2, |looker| looker.join().unwrap()), 2);
        });
        assert_eq!(ready(wakes.poll(&mut future)).unwrap().wait().unwrap().partition.partition(), 1);
    }
}

#[test]
fn the_end_of_the_producer_or_the_broker_ends_the_wait_for_a_topic() {
    for ends_broker in [false, true] {
        let simulated = Simulated::new(Default::default());
        let producer = Arc::new(simulated.broker.producer(ProducerConfig::new().max_block(FOR_EVER)).unwrap());
        let wakes = Wakes::new();
        let mut future = producer.send_async(ProducerRecord::new("none", "v"));
        assert!(wakes.poll(&mut future).is_pending());
        let sender = {
            let producer = Arc::clone(&producer);
            thread::spawn(move || producer.send(ProducerRecord::new("none", "v")).map(drop))
        };
        (0..1000).for_each(|_| thread::yield_now());
        if ends_broker {
            Broker::close(simulated.broker).unwrap();
        } else {
            producer.close().unwrap();
        }
        assert_eq!(sender.join().unwrap().unwrap_err().kind(), &ErrorKind::Closed);
        assert!(wakes.count() > 0, "broker: {ends_broker}");
        assert_eq!(ready(wakes.poll(&mut future)).unwrap_err().kind(), &ErrorKind::Closed);
    }
}

#[test]
fn times_that_contradict_each_other_are_refused() {
    let store = Store::new();
    let broker = store.open_with_topic(1, TopicConfig::new());
    let linger = ProducerConfig::new().linger(Duration::from_secs(200)).request_timeout(Duration::from_secs(30));
    assert!(broker.producer(linger.clone()).is_ok(), "the default gives way");
    for (config, is_fine) in [
        (linger.clone().delivery_timeout(Duration::from_secs(230)), true),
        (linger.clone().delivery_timeout(Duration::from_millis(229_999)), false),
        (linger.delivery_timeout(Duration::ZERO), false),
    ] {
        let made = broker.producer(config);
        assert_eq!(made.is_ok(), is_fine);
        if let Err(error) = made {
            assert!(
                matches!(error.kind(), ErrorKind::InvalidConfig { key, .. } if key == "delivery.timeout.ms"),
                "{error}"
            );
            assert!(error.to_string().contains("linger.ms"), "{error}");
        }
    }
}

/// Kafka's producer looks at a record before it is compressed only for its own limits; the log looks at the batch.
#[test]
fn a_record_that_compresses_below_the_topics_limit_is_taken() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().max_message_bytes(2000));
    let codec = Compression::Lz4;
    if !codec.is_supported() {
        return;
    }
    let producer = broker.producer(ProducerConfig::new().compression_type(codec)).unwrap();
    let small = producer.send(ProducerRecord::new("t", &vec![7; 50_000])).unwrap();
    assert_eq!(small.wait().unwrap().offset, 0);
    let noise: Vec<u8> = (0..50_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let large = producer.send(ProducerRecord::new("t", &noise)).unwrap();
    assert!(matches!(large.wait().unwrap_err().kind(), ErrorKind::RecordTooLarge { .. }));
    assert_eq!(producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap().offset, 1);
}

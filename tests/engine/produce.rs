//! Sending: partitions, acknowledgements, what is refused.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use thalweg::{
    Broker, CleanupPolicy, Durability, ErrorKind, ProducerConfig, ProducerRecord, TimestampType, TopicConfig,
};

use crate::support::{Store, all_values, fast, is_unknown, producer, tp};

#[test]
fn an_acknowledgement_tells_partition_offset_timestamp_and_durability() {
    let store = Store::new();
    let broker = store.open_with_topic(10, TopicConfig::new());
    let producer = producer(&broker);
    let record = || ProducerRecord::new("t", "value").key("user-1").timestamp(1_700_000_000_000);
    for offset in 0..3 {
        let sent = producer.send(record()).unwrap().wait().unwrap();
        assert_eq!(sent.partition, tp(8), "murmur2 of user-1 modulo 10");
        assert_eq!((sent.offset, sent.timestamp), (offset, 1_700_000_000_000));
        assert_eq!(sent.durability, Durability::Fsync);
    }
}

/// Defends D5.
#[test]
fn each_durability_mode_is_reported_as_what_was_reached() {
    for mode in [Durability::Os, Durability::Interval, Durability::Fsync] {
        let store = Store::new();
        let broker = store.open_with_topic(1, TopicConfig::new().durability(mode));
        let sent = producer(&broker).send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
        assert!(sent.durability >= mode);
        assert_eq!(all_values(&broker), [b"v"]);
    }
}

#[test]
fn everything_in_a_record_comes_back() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = producer(&broker);
    let full = ProducerRecord::new("t", "value").key("key").timestamp(7);
    let full = full.header("a", Some("1")).header("a", Some("")).header("", None::<&str>);
    producer.send(full).unwrap().detach();
    producer.send(ProducerRecord::new("t", "").timestamp(8)).unwrap().detach();
    producer.send(ProducerRecord::tombstone("t", "").timestamp(9)).unwrap().wait().unwrap();

    let fetched = broker.partition(&tp(0)).unwrap().fetch(0, &Default::default()).unwrap();
    let records = fetched.decode(true).unwrap();
    let records: Vec<_> = records.iter().collect();
    assert_eq!(records.len(), 3);
    assert_eq!((records[0].key(), records[0].value()), (Some(&b"key"[..]), Some(&b"value"[..])));
    let headers: Vec<_> = records[0].headers().map(|header| (header.key_bytes(), header.value())).collect();
    assert_eq!(headers, [(&b"a"[..], Some(&b"1"[..])), (b"a", Some(b"")), (b"", None)]);
    assert_eq!((records[1].key(), records[1].value()), (None, Some(&b""[..])), "null and empty are different");
    assert_eq!((records[2].key(), records[2].value()), (Some(&b""[..]), None));
    assert!(records.iter().map(|record| (record.offset(), record.timestamp())).eq([(0, 7), (1, 8), (2, 9)]));
}

#[test]
fn a_batch_is_written_when_it_is_full_when_it_has_lingered_or_on_flush() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let partition = broker.partition(&tp(0)).unwrap();
    let patient = ProducerConfig::new().linger(Duration::from_secs(3600));

    let small = broker.producer(patient.clone().batch_size(1000)).unwrap();
    for _ in 0..20 {
        small.send(ProducerRecord::new("t", &[0; 100])).unwrap().detach();
    }
    let written = partition.log_end().unwrap();
    assert!((1..20).contains(&written), "full batches are in the log, the last one is open: {written}");
    small.flush().unwrap();
    assert_eq!(partition.log_end().unwrap(), 20);

    let quick = broker.producer(ProducerConfig::new().linger(Duration::from_millis(1))).unwrap();
    quick.send(ProducerRecord::new("t", "lingers")).unwrap().detach();
    let mut consumer = crate::support::consumer(&broker, "g");
    consumer.assign(&[tp(0)]).unwrap();
    consumer.seek(&tp(0), 20).unwrap();
    assert_eq!(crate::support::poll_values(&mut consumer, 1)[0].1, 20, "the timer wrote it");

    let waited = broker.producer(patient).unwrap();
    assert_eq!(waited.send(ProducerRecord::new("t", "waited for")).unwrap().wait().unwrap().offset, 21);
}

#[test]
fn order_is_kept_per_partition_and_thread() {
    let store = Store::new();
    let broker = store.open_with_topic(1, TopicConfig::new());
    let producer = broker.producer(ProducerConfig::new().batch_size(500)).unwrap();
    thread::scope(|scope| {
        for sender in 0..4u8 {
            let producer = &producer;
            scope.spawn(move || {
                for number in 0..500u16 {
                    let value = [&[sender][..], &number.to_be_bytes()].concat();
                    producer.send(ProducerRecord::new("t", &value)).unwrap().detach();
                }
            });
        }
    });
    producer.close().unwrap();
    let values = all_values(&broker);
    assert_eq!(values.len(), 2000);
    for sender in 0..4u8 {
        let of_sender =
            values.iter().filter(|value| value[0] == sender).map(|value| u16::from_be_bytes([value[1], value[2]]));
        assert!(of_sender.eq(0..500));
    }
}

/// Defends D12.
#[test]
fn what_a_topic_refuses_comes_with_the_acknowledgement_and_harms_no_other_record() {
    let store = Store::new();
    let broker = store.open();
    let bounded = fast().message_timestamp_before_max(Duration::from_secs(60)).max_message_bytes(2000);
    broker.create_topic("t", 2, bounded).unwrap();
    broker.create_topic("compacted", 1, fast().cleanup_policy(CleanupPolicy::Compact)).unwrap();
    let producer = producer(&broker);
    let error = |record: ProducerRecord<'_>| producer.send(record).unwrap().wait().unwrap_err();
    let refused = |record: ProducerRecord<'_>| error(record).kind().clone();

    let good = producer.send(ProducerRecord::new("t", "good").partition(0)).unwrap();
    assert!(matches!(refused(ProducerRecord::new("t", &[0; 1990])), ErrorKind::RecordTooLarge { limit: 2000, .. }));
    assert!(matches!(refused(ProducerRecord::new("t", "old").timestamp(1)), ErrorKind::InvalidTimestamp { .. }));
    let future = ProducerRecord::new("t", "future").timestamp(i64::MAX);
    assert!(matches!(refused(future), ErrorKind::InvalidTimestamp { .. }));
    for missing in [ProducerRecord::new("t", "v").partition(2), ProducerRecord::new("none", "v")] {
        let missing = error(missing);
        assert!(matches!(missing.kind(), ErrorKind::Timeout { .. }) && is_unknown(&missing), "{missing}");
    }
    assert!(matches!(refused(ProducerRecord::new("", "v")), ErrorKind::InvalidTopic { .. }));
    assert!(matches!(refused(ProducerRecord::new("compacted", "no key")), ErrorKind::InvalidRecord { .. }));
    assert!(matches!(refused(ProducerRecord::new("__consumer_offsets", "v")), ErrorKind::InvalidTopic { .. }));
    assert_eq!(good.wait().unwrap().offset, 0);
    assert_eq!(all_values(&broker), [b"good"]);

    for bad in [ProducerRecord::new("t", "v").partition(-1), ProducerRecord::new("t", "v").timestamp(-1)] {
        assert!(matches!(producer.send(bad).unwrap_err().kind(), ErrorKind::IllegalArgument { .. }));
    }
}

#[test]
fn the_largest_record_fits_and_one_byte_more_does_not() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().max_message_bytes(2000));
    let producer = producer(&broker);
    let largest = (1900..2000)
        .rev()
        .find(|len| producer.send(ProducerRecord::new("t", &vec![1; *len])).unwrap().wait().is_ok())
        .unwrap();
    assert_eq!(all_values(&broker), [vec![1; largest]]);
    let size = std::fs::metadata(store.file("00000000000000000000.log")).unwrap().len();
    assert_eq!(size, 2000, "the limit is that of the whole batch");
}

#[test]
fn a_batch_is_never_larger_than_a_segment() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(2000));
    let producer = broker.producer(ProducerConfig::new().batch_size(100_000)).unwrap();
    let acks: Vec<_> = (0..50).map(|_| producer.send(ProducerRecord::new("t", &[7; 500])).unwrap()).collect();
    acks.into_iter().for_each(|ack| drop(ack.wait().unwrap()));
    assert_eq!(all_values(&broker).len(), 50);
}

#[test]
fn log_append_time_replaces_the_records_time() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().message_timestamp_type(TimestampType::LogAppendTime));
    let sent = producer(&broker).send(ProducerRecord::new("t", "v").timestamp(5)).unwrap().wait().unwrap();
    assert!(sent.timestamp > 1_700_000_000_000);
    let records = broker.partition(&tp(0)).unwrap().fetch(0, &Default::default()).unwrap().decode(true).unwrap();
    assert_eq!(records.iter().next().unwrap().timestamp(), sent.timestamp);
}

#[test]
fn records_without_a_key_use_several_partitions_and_fill_batches() {
    let store = Store::new();
    let broker = store.open_with_topic(4, fast());
    let producer = broker.producer(ProducerConfig::new().batch_size(1000)).unwrap();
    for _ in 0..2000 {
        producer.send(ProducerRecord::new("t", &[0; 100])).unwrap().detach();
    }
    producer.close().unwrap();
    let counts: Vec<_> = (0..4).map(|number| broker.partition(&tp(number)).unwrap().log_end().unwrap()).collect();
    assert_eq!(counts.iter().sum::<i64>(), 2000);
    assert!(counts.iter().all(|count| *count > 200), "{counts:?}");
}

#[test]
fn an_acknowledgement_is_a_future() {
    let store = Store::new();
    let broker = store.open_with_topic(1, TopicConfig::new());
    let producer = producer(&broker);
    let acks: Vec<_> = (0..100u8).map(|value| producer.send(ProducerRecord::new("t", &[value])).unwrap()).collect();
    for (offset, ack) in acks.into_iter().enumerate() {
        assert_eq!(block_on(ack).unwrap().offset, offset as i64);
    }
    let unknown = producer.send(ProducerRecord::new("none", "v")).unwrap();
    assert!(is_unknown(&block_on(unknown).unwrap_err()));
}

#[test]
fn after_close_nothing_is_taken() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let (first, second) = (producer(&broker), producer(&broker));
    let held = first.send(ProducerRecord::new("t", "held back")).unwrap();
    first.close().unwrap();
    assert_eq!(held.wait().unwrap().offset, 0);

    let held = second.send(ProducerRecord::new("t", "held by the broker's close")).unwrap();
    Broker::close(broker).unwrap();
    assert_eq!(held.wait().unwrap().offset, 1);
    let error = second.send(ProducerRecord::new("t", "late")).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Closed);
    assert_eq!(all_values(&store.open()).len(), 2);
}

#[test]
fn a_producer_that_is_dropped_by_a_panic_hands_over_and_harms_nobody() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    thread::scope(|scope| {
        let patient = broker.producer(ProducerConfig::new().linger(Duration::from_secs(3600))).unwrap();
        let thread = scope.spawn(move || {
            patient.send(ProducerRecord::new("t", "held")).unwrap().detach();
            std::panic::resume_unwind(Box::new("the application failed"));
        });
        thread.join().unwrap_err();
    });
    assert_eq!(crate::support::send_each(&broker, ["next"]), [1]);
    assert_eq!(all_values(&broker), [&b"held"[..], b"next"]);
}

#[test]
fn bad_settings_are_refused() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let error = broker.producer(ProducerConfig::new().max_request_size(1 << 31)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidConfig { key, .. } if key == "max.request.size"));
    let error = broker.producer(ProducerConfig::new().transactional_id("x")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnsupportedVersion { .. }));
    // The least that Kafka allows takes no record.
    let nothing = broker.producer(ProducerConfig::new().max_request_size(0)).unwrap();
    let error = nothing.send(ProducerRecord::tombstone("t", "")).unwrap().wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RecordTooLarge { limit: 0, .. }));
}

/// The smallest executor.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn compressed_batches_are_smaller_and_read_the_same() {
    let store = Store::new();
    let broker = store.open();
    let value = "the same words again and again, ".repeat(40);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"].map(|name| thalweg::Compression::from_name(name).unwrap()) {
        if !codec.is_supported() {
            let error = broker.producer(ProducerConfig::new().compression_type(codec)).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidConfig { .. }), "{error}");
            continue;
        }
        let topic = codec.name();
        broker.create_topic(topic, 1, fast()).unwrap();
        let producer = broker.producer(ProducerConfig::new().batch_size(8000).compression_type(codec)).unwrap();
        for number in 0..100 {
            let value = format!("{number} {value}");
            producer.send(ProducerRecord::new(topic, &value).key(topic)).unwrap().detach();
        }
        producer.close().unwrap();
        let partition = broker.partition(&thalweg::TopicPartition::new(topic, 0)).unwrap();
        assert_eq!(partition.size().unwrap() < 50_000, codec != thalweg::Compression::None, "{codec}");
        let records = partition.fetch(0, &Default::default()).unwrap().decode(true).unwrap();
        assert_eq!(records.len(), 100);
        for (number, record) in records.iter().enumerate() {
            assert_eq!(record.key(), Some(topic.as_bytes()));
            assert_eq!(record.value().unwrap(), format!("{number} {value}").as_bytes());
        }
    }
}

//! Batches that somebody else has finished.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use thalweg::{
    Acks, BrokerConfig, CleanupPolicy, Compression, Error, ErrorKind, ProducerConfig, ProducerRecord, TimestampType,
    TopicConfig, TopicPartition,
};

use crate::support::{Simulated, Store, all_values, fast, open_read_only, parked, producer, ready, send_each, tp};

const SEGMENT: &str = "00000000000000000000.log";
const TIME: i64 = 1_700_000_000_000;

/// A batch of records with these keys, and values of 50 bytes, as a producer sends it.
fn finished(codec: Compression, keys: &[Option<&str>]) -> Vec<u8> {
    finished_at(codec, keys, TIME)
}

fn finished_at(codec: Compression, keys: &[Option<&str>], time: i64) -> Vec<u8> {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().message_timestamp_after_max(Duration::MAX));
    let config = ProducerConfig::new().compression_type(codec).linger(Duration::from_hours(1)).batch_size(1 << 20);
    let config = config.enable_idempotence(false); // it is appended again and again
    let producer = broker.producer(config).unwrap();
    for key in keys {
        let mut record = ProducerRecord::new("t", &[b'v'; 50]).partition(0).timestamp(time);
        if let Some(key) = key {
            record = record.key(key);
        }
        producer.send(record).unwrap().detach();
    }
    producer.close().unwrap();
    broker.close().unwrap();
    fs::read(store.file(SEGMENT)).unwrap() // its base offset is 0
}

fn codecs() -> impl Iterator<Item = Compression> {
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    codecs.into_iter().filter(|codec| codec.is_supported())
}

/// What a topic with this configuration answers.
fn refusal(config: TopicConfig, batch: &[u8]) -> Error {
    let store = Store::new();
    let broker = store.open_with_topic(1, config);
    let partition = broker.partition(&tp(0)).unwrap();
    let error = partition.append_batch(batch, Acks::All).unwrap_err();
    assert_eq!((partition.log_end().unwrap(), partition.size().unwrap()), (0, 0), "nothing of it is in the log");
    assert_eq!(error.partition(), Some(&tp(0)));
    partition.append_batch(&finished(Compression::None, &[Some("k")]), Acks::All).unwrap();
    error
}

#[test]
fn it_gets_its_place_between_those_of_producers() {
    let store = Store::new();
    let broker = store.open_with_topic(1, TopicConfig::new());
    let partition = broker.partition(&tp(0)).unwrap();
    send_each(&broker, ["first"]);
    let mut end = 1;
    for codec in codecs() {
        let appended = partition.append_batch(&finished(codec, &[None, Some("k"), None]), Acks::All).unwrap();
        assert_eq!((appended.base_offset, appended.last_offset), (end, end + 2), "{codec}");
        assert_eq!((appended.log_append_time, appended.is_duplicate), (None, false));
        end += 3;
        assert_eq!(partition.high_watermark().unwrap(), end);
    }
    assert_eq!(send_each(&broker, ["last"]), [end]);
    broker.close().unwrap();
    let values = all_values(&store.open());
    assert_eq!(values.len(), end as usize + 1);
    assert!(values[1..values.len() - 1].iter().all(|value| *value == [b'v'; 50]));
}

#[test]
fn it_is_stored_as_it_came_unless_the_topic_has_a_codec() {
    let codec_of_log = |source: Compression, config: TopicConfig| {
        let store = Store::new();
        let broker = store.open_with_topic(1, config);
        let batch = finished(source, &[None; 20]);
        broker.partition(&tp(0)).unwrap().append_batch(&batch, Acks::Leader).unwrap();
        assert_eq!(all_values(&broker), [[b'v'; 50]; 20]);
        broker.close().unwrap();
        let stored = fs::read(store.file(SEGMENT)).unwrap();
        (stored[22] & 7, stored[16..] == batch[16..])
    };
    for (id, source) in codecs().map(|codec| (codec_id(codec), codec)) {
        assert_eq!(codec_of_log(source, fast()), (id, true), "{source}");
        for target in codecs() {
            let expected = (codec_id(target), target == source);
            assert_eq!(codec_of_log(source, fast().compression_type(target)), expected, "{source} to {target}");
        }
    }
}

fn codec_id(codec: Compression) -> u8 {
    match codec {
        Compression::Gzip => 1,
        Compression::Snappy => 2,
        Compression::Lz4 => 3,
        Compression::Zstd => 4,
        _ => 0,
    }
}

#[test]
fn what_is_wrong_with_it_is_told_in_kafkas_terms() {
    let one = finished(Compression::None, &[Some("k")]);
    let mut damaged = one.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let error = refusal(fast(), &damaged);
    assert!(matches!(error.kind(), ErrorKind::CorruptMessage { .. }) && !error.is_storage(), "{error}");
    assert_eq!(error.kafka_code(), 2);

    let error = refusal(fast(), &[&one[..], &one].concat());
    assert!(matches!(error.kind(), ErrorKind::InvalidRecord { .. }), "{error}");
    assert_eq!((error.kafka_code(), error.record_errors()), (87, &[][..]));

    let compacted = fast().cleanup_policy(CleanupPolicy::Compact);
    let error = refusal(compacted, &finished(Compression::None, &[None, Some("k"), None]));
    assert!(matches!(error.kind(), ErrorKind::InvalidRecord { .. }), "{error}");
    assert_eq!(error.record_errors().iter().map(|error| error.index).collect::<Vec<_>>(), [0, 2]);

    let late = finished_at(Compression::None, &[Some("k"); 2], i64::MAX / 2);
    let error = refusal(fast(), &late);
    assert!(matches!(error.kind(), ErrorKind::InvalidTimestamp { timestamp, .. } if *timestamp == i64::MAX / 2));
    assert_eq!((error.kafka_code(), error.record_errors().len()), (32, 2));

    let error = refusal(fast().max_message_bytes(200), &finished(Compression::None, &[None; 9]));
    assert!(matches!(error.kind(), ErrorKind::RecordTooLarge { limit: 200, .. }), "{error}");
    let error = refusal(fast().internal_segment_bytes(300), &finished(Compression::None, &[None; 9]));
    assert!(matches!(error.kind(), ErrorKind::RecordTooLarge { limit: 300, .. }), "{error}");

    let mut old = one;
    old[16] = 1;
    assert!(matches!(refusal(fast(), &old).kind(), ErrorKind::UnsupportedVersion { .. }));
}

#[test]
fn nobody_writes_to_an_internal_topic() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut consumer = crate::support::consumer(&broker, "group");
    consumer.commit_sync_offsets(&[(tp(0), thalweg::OffsetAndMetadata::new(0))]).unwrap();
    let partition = broker.partition(&TopicPartition::new("__consumer_offsets", 0)).unwrap();
    let error = partition.append_batch(&finished(Compression::None, &[Some("k")]), Acks::All).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidTopic { .. }), "{error}");
}

#[test]
fn a_store_without_room_takes_none() {
    let store = Store::new();
    let broker = store.open_with(BrokerConfig::new().store_max_bytes(Some(1000)));
    broker.create_topic("t", 1, fast().compression_type(Compression::None)).unwrap();
    let partition = broker.partition(&tp(0)).unwrap();
    let batch = finished(Compression::None, &[None; 10]);
    partition.append_batch(&batch, Acks::All).unwrap();
    let error = partition.append_batch(&batch, Acks::All).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::StoreFull { limit: 1000, .. }) && error.is_retriable(), "{error}");
    for codec in codecs().filter(|codec| *codec != Compression::None) {
        // What counts is what it takes in the log.
        let small = finished(codec, &[None; 6]);
        assert!(small.len() < 300);
        let error = partition.append_batch(&small, Acks::All).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::StoreFull { .. }), "{codec}: {error}");
    }
}

#[test]
fn nothing_is_taken_after_the_end() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let batch = finished(Compression::None, &[None]);
    broker.create_topic("gone", 1, fast()).unwrap();
    let gone = broker.partition(&TopicPartition::new("gone", 0)).unwrap();
    broker.delete_topic("gone").unwrap();
    let error = gone.append_batch(&batch, Acks::All).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. }), "{error}");

    let partition = broker.partition(&tp(0)).unwrap();
    let reader = open_read_only(store.dir.path()).unwrap();
    let error = reader.partition(&tp(0)).unwrap().append_batch(&batch, Acks::All).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IllegalState { .. }), "{error}");

    broker.close().unwrap();
    let error = partition.append_batch(&batch, Acks::All).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Closed), "{error}");
}

/// Defends D5.
#[test]
fn acks_say_what_is_waited_for() {
    let simulated = Simulated::with_topic(1, TopicConfig::new());
    let partition = simulated.broker.partition(&tp(0)).unwrap();
    let batch = finished(Compression::None, &[None; 2]);
    for (acks, ends) in [(Acks::Leader, (2, 0)), (Acks::All, (4, 4)), (Acks::None, (6, 4))] {
        partition.append_batch(&batch, acks).unwrap();
        assert_eq!((partition.log_end().unwrap(), partition.high_watermark().unwrap()), ends, "{acks:?}");
    }
    simulated.show();
    assert_eq!(partition.high_watermark().unwrap(), 6, "a sync was asked for");
}

#[test]
fn those_who_wait_for_records_are_woken() {
    let simulated = Simulated::with_topic(1, fast());
    let partition = simulated.broker.partition(&tp(0)).unwrap();
    let (mut future, wakes) = parked(&partition, 0, Default::default());
    partition.append_batch(&finished(Compression::None, &[None; 3]), Acks::Leader).unwrap();
    assert_eq!(wakes.count(), 1);
    let fetched = ready(wakes.poll(&mut future)).unwrap();
    assert_eq!(fetched.decode(true).unwrap().iter().count(), 3);
}

#[test]
fn a_topic_that_stamps_its_records_says_when() {
    let store = Store::new();
    let config = TopicConfig::new().message_timestamp_type(TimestampType::LogAppendTime);
    let broker = store.open_with_topic(1, config);
    let partition = broker.partition(&tp(0)).unwrap();
    let appended = partition.append_batch(&finished(Compression::None, &[None; 2]), Acks::All).unwrap();
    let time = appended.log_append_time.unwrap();
    assert!(TIME < time);
    let records = partition.fetch(0, &Default::default()).unwrap().decode(true).unwrap();
    assert!(records.iter().all(|record| record.timestamp() == time));
}

#[test]
fn threads_that_append_at_the_same_time_get_offsets_of_their_own() {
    let store = Store::new();
    let broker = store.open_with_topic(1, TopicConfig::new());
    let partition = broker.partition(&tp(0)).unwrap();
    let batch = finished(Compression::None, &[None; 3]);
    let append = || {
        let appends = (0..20).map(|_| partition.append_batch(&batch, Acks::All).unwrap());
        appends.map(|appended| (appended.base_offset, appended.last_offset)).collect::<Vec<_>>()
    };
    let places: BTreeSet<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(append)).collect();
        producer(&broker).close().unwrap();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(places.iter().copied().eq((0..80).map(|number| (3 * number, 3 * number + 2))));
    assert_eq!(partition.high_watermark().unwrap(), 240);
}

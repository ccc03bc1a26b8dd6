//! Changing and deleting topics while they are in use.

use std::fs;
use std::time::Duration;

use thalweg::{
    AutoOffsetReset, ConsumerConfig, Durability, Error, ErrorKind, OffsetAndMetadata, ProducerConfig, ProducerRecord,
    Result, TimestampType, TopicConfig, TopicPartition,
};

use crate::support::{Store, all_values, consumer, fast, is_unknown, needs_maps, poll_values, producer, send_each, tp};

const INTERNAL: &str = "__consumer_offsets";

/// A time that no test reaches.
const LONG: Duration = Duration::from_secs(60);

fn assert_unknown<T: std::fmt::Debug>(outcome: Result<T>) {
    assert!(outcome.as_ref().is_err_and(is_unknown), "{outcome:?}");
}

#[test]
fn new_settings_hold_at_once_and_after_a_restart() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast());
    let producer = producer(&broker);
    let send = |len: usize| {
        let value = vec![7; len];
        producer.send(ProducerRecord::new("t", &value).partition(0).timestamp(1000)).unwrap().wait()
    };
    let large = |error: Error| assert!(matches!(error.kind(), ErrorKind::RecordTooLarge { .. }), "{error}");
    assert_eq!(send(5000).unwrap().timestamp, 1000);
    let id = broker.topic("t").unwrap().id();

    let small = fast().max_message_bytes(1000).message_timestamp_type(TimestampType::LogAppendTime);
    let altered = broker.alter_topic("t", small.clone()).unwrap();
    assert_eq!((altered.config(), altered.id(), altered.partitions()), (&small, id, 2));
    large(send(5000).unwrap_err());
    assert!(send(500).unwrap().timestamp > 1000);
    broker.alter_topic("t", small.clone().max_message_bytes(10_000)).unwrap();
    send(5000).unwrap();
    broker.alter_topic("t", small.clone()).unwrap();

    broker.close().unwrap();
    let broker = store.open_after_kill();
    assert_eq!((broker.topic("t").unwrap().config(), broker.topic("t").unwrap().id()), (&small, id));
    assert_eq!(all_values(&broker).len(), 3);
}

#[test]
fn retention_goes_by_the_new_settings() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(500));
    send_each(&broker, (0..50u8).map(|value| [value; 40]));
    assert_eq!(broker.enforce_retention().unwrap(), 0);
    broker.alter_topic("t", fast().internal_segment_bytes(500).retention_bytes(Some(1000))).unwrap();
    assert!(broker.enforce_retention().unwrap() > 1000);
    broker.alter_topic("t", fast().cleanup_policy(thalweg::CleanupPolicy::Compact)).unwrap();
    let refused = producer(&broker).send(ProducerRecord::new("t", "no key")).unwrap().wait().unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::InvalidRecord { .. }), "{refused}");
}

/// Defends D5.
#[test]
fn an_acknowledgement_keeps_the_promise_of_the_time_when_it_comes() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = producer(&broker);
    let send = || producer.send(ProducerRecord::new("t", "v")).unwrap();
    let before = send();
    broker.alter_topic("t", fast().durability(Durability::Fsync)).unwrap();
    assert_eq!(before.wait().unwrap().durability, Durability::Fsync);
    assert_eq!(send().wait().unwrap().durability, Durability::Fsync);
    broker.alter_topic("t", fast()).unwrap();
    send().wait().unwrap();
    assert_eq!(all_values(&broker).len(), 3);
}

#[test]
fn changes_that_are_refused_change_nothing() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast());
    consumer(&broker, "g").commit_sync_offsets(&[(tp(0), 0.into())]).unwrap(); // makes the internal topic
    let invalid = |outcome: Result<thalweg::TopicDescription>| {
        let error = outcome.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidTopic { .. }), "{error}");
    };
    invalid(broker.alter_topic(INTERNAL, fast()));
    invalid(broker.create_partitions(INTERNAL, 60));
    assert!(matches!(broker.delete_topic(INTERNAL).unwrap_err().kind(), ErrorKind::InvalidTopic { .. }));
    assert_unknown(broker.alter_topic("x", fast()));
    assert_unknown(broker.create_partitions("x", 3));
    assert_unknown(broker.delete_topic("x"));
    let error = broker.alter_topic("t", fast().segment_bytes(1)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidConfig { .. }), "{error}");
    for requested in [i32::MIN, 0, 1, 2, thalweg::MAX_PARTITIONS + 1] {
        let error = broker.create_partitions("t", requested).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidPartitions { requested });
    }
    let topic = broker.topic("t").unwrap();
    assert_eq!((topic.partitions(), topic.config()), (2, &fast()));
    assert_eq!(store.names_of_topic(), ["t-0", "t-1", "t.topic"]);
}

#[test]
fn added_partitions_are_used_by_running_producers_and_consumers() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(ProducerConfig::new().linger(LONG).max_block(Duration::ZERO)).unwrap();
    let mut consumer = consumer(&broker, "g");
    consumer.subscribe(&["t"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    let open = producer.send(ProducerRecord::new("t", "open")).unwrap();
    assert_unknown(producer.send(ProducerRecord::new("t", "v").partition(2)).unwrap().wait());

    let topic = broker.create_partitions("t", 3).unwrap();
    assert_eq!((topic.partitions(), topic.id()), (3, broker.topic("t").unwrap().id()));
    for number in 0..3 {
        let sent = producer.send(ProducerRecord::new("t", "v").partition(number)).unwrap().wait().unwrap();
        // The batch that was open was not lost.
        assert_eq!((sent.partition.partition(), sent.offset), (number, i64::from(number == 0)));
    }
    assert_eq!(open.wait().unwrap().offset, 0);
    assert_eq!(poll_values(&mut consumer, 4).len(), 4);
    assert_eq!(consumer.assignment(), [tp(0), tp(1), tp(2)]);
    consumer.commit_sync().unwrap();
    drop((producer, consumer));
    broker.close().unwrap();
    assert_eq!(store.open_after_kill().topic("t").unwrap().partitions(), 3);
}

#[test]
fn what_an_attempt_to_add_partitions_left_is_not_adopted() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    broker.close().unwrap();
    let before = fs::read(store.dir.path().join("t.topic")).unwrap();
    let broker = store.open();
    broker.create_partitions("t", 3).unwrap();
    broker.close().unwrap();
    fs::write(store.dir.path().join("t.topic"), before).unwrap(); // what makes them exist, written last
    fs::create_dir(store.dir.path().join("t-7")).unwrap();
    fs::write(store.dir.path().join("t-7/mine.txt"), "mine").unwrap();
    let broker = store.open();
    assert_eq!(broker.recovery().removed, ["t-1", "t-2"]);
    assert_eq!(broker.recovery().ignored, ["t-7"]);
    assert_eq!(broker.topic("t").unwrap().partitions(), 1);
    broker.create_partitions("t", 7).unwrap();
    assert!(broker.create_partitions("t", 8).is_err(), "something is in the way");
    assert_eq!(fs::read(store.dir.path().join("t-7/mine.txt")).unwrap(), b"mine");
    assert_eq!(broker.topic("t").unwrap().partitions(), 7);
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_is_free() {
    let store = Store::new();
    let broker = store.open_with_topic(3, fast().internal_segment_bytes(500));
    let id = broker.topic("t").unwrap().id();
    send_each(&broker, (0..50u8).map(|value| [value; 40]));
    let mut group = consumer(&broker, "g");
    group.commit_sync_offsets(&[(tp(0), 30.into()), (tp(2), 0.into())]).unwrap();
    let partition = broker.partition(&tp(0)).unwrap();
    let fetched = partition.fetch(0, &Default::default()).unwrap();

    broker.delete_topic("t").unwrap();
    assert!(store.names_of_topic().is_empty());
    assert_unknown(broker.topic("t"));
    assert_unknown(broker.delete_topic("t"));
    assert_unknown(broker.partition(&tp(0)));
    let assert_old_handle_fails = || {
        assert_unknown(partition.fetch(0, &Default::default()));
        assert_unknown(partition.log_end());
        assert_unknown(partition.delete_records(1));
    };
    assert_old_handle_fails();
    assert_eq!(fetched.decode(true).unwrap().len(), 50, "what was fetched can be read");

    let topic = broker.create_topic("t", 2, fast()).unwrap();
    assert_ne!(topic.id(), id);
    assert_old_handle_fails();
    assert!(group.committed(&[tp(0), tp(1), tp(2)]).unwrap().iter().all(|(_, committed)| committed.is_none()));
    assert_eq!(send_each(&broker, ["new"]), [0]);
    group.subscribe(&["t"]).unwrap();
    assert_eq!(poll_values(&mut group, 1), [(0, 0, b"new".to_vec())]);
    drop(group);
    drop(broker);
    let broker = store.open_after_kill();
    assert_eq!((broker.topic("t").unwrap().id(), all_values(&broker)), (topic.id(), vec![b"new".to_vec()]));
    assert_eq!(consumer(&broker, "g").committed(&[tp(0)]).unwrap()[0].1, None);
}

#[test]
fn an_open_batch_does_not_go_into_the_new_topic() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(ProducerConfig::new().linger(LONG).max_block(Duration::ZERO)).unwrap();
    let send = || producer.send(ProducerRecord::new("t", "v")).unwrap();
    let (first, second) = (send(), send());
    broker.delete_topic("t").unwrap();
    assert_unknown(first.wait());
    assert_unknown(send().wait());
    broker.create_topic("t", 1, fast()).unwrap();
    assert_unknown(second.wait());
    assert_eq!(send().wait().unwrap().offset, 0);
    producer.flush().unwrap();
    producer.close().unwrap();
    assert_eq!(all_values(&broker), [b"v"]);
}

#[test]
fn a_producer_that_sends_no_more_lets_go_of_a_deleted_topic() {
    if needs_maps() {
        return;
    }
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(ProducerConfig::new().linger(LONG)).unwrap();
    producer.send(ProducerRecord::new("t", "v")).unwrap().detach();
    let files = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        maps.lines().filter(|line| line.contains(store.dir.path().to_str().unwrap())).count()
    };
    assert_eq!(files(), 1);
    broker.delete_topic("t").unwrap();
    assert_eq!(files(), 0);
    drop(producer);
}

#[test]
fn positions_in_a_deleted_topic_are_not_those_of_a_new_one() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    broker.create_topic("other", 1, fast()).unwrap();
    send_each(&broker, (0..50u8).map(|value| [value; 40]));
    let config = ConsumerConfig::new().group_id("g").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut group = broker.consumer(config).unwrap();
    group.subscribe(&["t", "other"]).unwrap();
    assert_eq!(poll_values(&mut group, 50).len(), 50);
    broker.delete_topic("t").unwrap();
    broker.create_topic("t", 1, fast()).unwrap();
    assert_unknown(group.commit_sync());
    assert_eq!(send_each(&broker, ["new"]), [0]);
    assert_eq!(poll_values(&mut group, 1), [(0, 0, b"new".to_vec())]);
    group.commit_sync().unwrap();
    assert_eq!(group.committed(&[tp(0)]).unwrap()[0].1.as_ref().map(OffsetAndMetadata::offset), Some(1));

    // Beside a topic that stays, one that goes is told once; without one, at every poll until it comes back.
    broker.delete_topic("t").unwrap();
    assert_unknown(group.poll(Duration::ZERO));
    producer(&broker).send(ProducerRecord::new("other", "v")).unwrap().wait().unwrap();
    assert_eq!(poll_values(&mut group, 1).len(), 1);
    assert_eq!(group.assignment(), [TopicPartition::new("other", 0)]);
    broker.delete_topic("other").unwrap();
    assert_unknown(group.poll(LONG));
    assert_unknown(group.poll(LONG));
    broker.create_topic("t", 1, fast()).unwrap();
    send_each(&broker, ["newest"]);
    assert_eq!(group.poll(LONG).map(|records| records.len()).ok(), None, "the other one is still missing, told once");
    assert_eq!(poll_values(&mut group, 1), [(0, 0, b"newest".to_vec())]);
}

#[test]
fn those_who_wait_for_a_topic_hear_of_its_deletion() {
    for subscribed in [true, false] {
        let store = Store::new();
        let broker = store.open_with_topic(1, fast());
        let mut consumer = consumer(&broker, "g");
        if subscribed {
            consumer.subscribe(&["t"]).unwrap();
        } else {
            consumer.assign(&[tp(0)]).unwrap();
        }
        consumer.poll(Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || consumer.poll(LONG).map(|records| records.len()));
            broker.delete_topic("t").unwrap();
            assert_unknown(waiting.join().unwrap());
        });
    }
}

#[test]
fn appends_that_race_with_deletions_land_in_one_topic_or_none() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast().internal_segment_bytes(2000));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let producer = producer(&broker);
                    let mut sent = 0;
                    while !done.load(std::sync::atomic::Ordering::SeqCst) {
                        match producer.send(ProducerRecord::new("t", &[7; 100])).unwrap().wait() {
                            Ok(_) => sent += 1,
                            Err(error) => assert!(is_unknown(&error), "{error}"),
                        }
                        let _ = broker.enforce_retention().unwrap();
                    }
                    sent
                })
            })
            .collect();
        for round in 0..20 {
            broker.delete_topic("t").unwrap();
            let config = if round % 2 == 0 { TopicConfig::new() } else { fast() };
            broker.create_topic("t", 2, config.internal_segment_bytes(2000)).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        let sent: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        println!("{sent} records were sent");
    });
    let ends = [0, 1].map(|number| broker.partition(&tp(number)).unwrap().high_watermark().unwrap());
    broker.close().unwrap();
    let broker = store.open_after_kill();
    assert!(broker.recovery().failed.is_empty() && broker.recovery().cut_bytes() == 0, "{}", broker.recovery());
    assert_eq!([0, 1].map(|number| broker.partition(&tp(number)).unwrap().high_watermark().unwrap()), ends);
}

#[test]
fn a_deletion_that_was_cut_short_is_finished_by_the_next_open() {
    let store = Store::new();
    let broker = store.open_with_topic(3, fast());
    send_each(&broker, ["a", "b"]);
    consumer(&broker, "g").commit_sync_offsets(&[(tp(0), 2.into())]).unwrap();
    broker.close().unwrap();
    store.set_state("deleting");
    let aside = "t-1.0123456789abcdef0123456789abcdef-delete";
    fs::rename(store.dir.path().join("t-1"), store.dir.path().join(aside)).unwrap();
    let broker = store.open();
    assert_eq!(broker.recovery().removed, [aside, "t-0", "t-2"]);
    assert!(broker.recovery().failed.is_empty());
    assert!(store.names_of_topic().is_empty());
    assert_unknown(broker.topic("t"));
    broker.create_topic("t", 1, fast()).unwrap();
    assert_eq!(consumer(&broker, "g").committed(&[tp(0)]).unwrap()[0].1, None);
}

#[test]
fn the_longest_name_can_be_deleted() {
    let store = Store::new();
    let name = "x".repeat(249);
    let broker = store.open();
    broker.create_topic(&name, 11, fast()).unwrap();
    broker.delete_topic(&name).unwrap();
    broker.create_topic(&name, 1, fast()).unwrap();
}

#[test]
fn directories_that_kafka_set_aside() {
    let store = Store::new();
    store.open_with_topic(1, fast()).close().unwrap();
    let unique = "0123456789abcdef0123456789abcdef";
    for suffix in ["-delete", "-future", "-stray"] {
        let dir = store.dir.path().join(format!("t-0.{unique}{suffix}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("00000000000000000000.log"), "x").unwrap();
    }
    let broker = store.open();
    assert_eq!(broker.recovery().removed, [format!("t-0.{unique}-delete")]);
    assert_eq!(broker.recovery().ignored, [format!("t-0.{unique}-future"), format!("t-0.{unique}-stray")]);
    assert_eq!(broker.topics().len(), 1);
}

#[test]
fn an_empty_topic_that_kafka_made_is_adopted() {
    let store = Store::new();
    store.open().close().unwrap();
    for number in 0..2 {
        let dir = store.dir.path().join(format!("k-{number}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("partition.metadata"), "version: 0\ntopic_id: ABEiM0RVZneImaq7zN3u_w").unwrap();
        fs::write(dir.join("leader-epoch-checkpoint"), "0\n0\n").unwrap();
        fs::write(dir.join("00000000000000000000.log"), "").unwrap();
        fs::write(dir.join("00000000000000000000.index"), [0; 1000]).unwrap();
        fs::write(dir.join("00000000000000000000.timeindex"), [0; 1200]).unwrap();
    }
    let broker = store.open();
    assert_eq!((&broker.recovery().adopted[..], broker.recovery().removed.len()), (&["k".to_owned()][..], 0));
    let topic = broker.topic("k").unwrap();
    assert_eq!((topic.partitions(), topic.id()[1]), (2, 0x11));
    let sent = producer(&broker).send(ProducerRecord::new("k", "v")).unwrap().wait().unwrap();
    assert_eq!(sent.offset, 0);
}

#[test]
fn what_was_taken_under_larger_settings_stays_readable() {
    let codec = thalweg::Compression::Gzip;
    if !codec.is_supported() {
        return;
    }
    let store = Store::new();
    let large = 4 << 20;
    let broker = store.open_with_topic(1, fast().max_message_bytes(large));
    let config = ProducerConfig::new().compression_type(codec).batch_size(large).max_request_size(large);
    let producer = broker.producer(config).unwrap();
    let value = vec![0; 3 << 20]; // a few thousand bytes on the disk
    producer.send(ProducerRecord::new("t", &value)).unwrap().wait().unwrap();
    producer.close().unwrap();
    broker.alter_topic("t", fast().max_message_bytes(10_000)).unwrap();
    let partition = broker.partition(&tp(0)).unwrap();
    assert_eq!(partition.fetch(0, &Default::default()).unwrap().decode(true).unwrap().len(), 1);
    drop(partition);
    broker.close().unwrap();
    let verification = thalweg::verify(store.dir.path()).unwrap();
    assert!(verification.findings.is_empty(), "{verification}");
}

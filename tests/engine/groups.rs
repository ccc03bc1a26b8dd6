//! Groups: subscribing, committing, going on after a restart.

use std::fs;
use std::time::Duration;

use thalweg::{AutoOffsetReset, Broker, ConsumerConfig, ErrorKind, Offset, OffsetAndMetadata, ProducerRecord};

use crate::support::{Store, consumer, fast, poll_values, producer, send_each, tp};

fn committed(broker: &Broker, group: &str) -> Option<Offset> {
    let committed = consumer(broker, group).committed(&[tp(0)]).unwrap();
    committed[0].1.as_ref().map(OffsetAndMetadata::offset)
}

#[test]
fn a_group_goes_on_where_it_committed_across_restarts() {
    let store = Store::new();
    let broker = store.open_with_topic(4, fast());
    let send = |broker: &Broker, from: u32, to: u32| {
        let producer = producer(broker);
        for number in from..to {
            let number = number.to_string();
            producer.send(ProducerRecord::new("t", &number).key(&number)).unwrap().detach();
        }
        producer.close().unwrap();
    };
    let consume = |broker: &Broker, from: u32, to: u32| {
        let mut consumer = consumer(broker, "g");
        consumer.subscribe(&["t"]).unwrap();
        let mut values: Vec<u32> = poll_values(&mut consumer, (to - from) as usize)
            .into_iter()
            .map(|(_, _, value)| String::from_utf8(value).unwrap().parse().unwrap())
            .collect();
        values.sort_unstable();
        assert!(values.into_iter().eq(from..to));
        assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
        consumer.commit_sync().unwrap();
        consumer.close().unwrap();
    };
    send(&broker, 0, 500);
    consume(&broker, 0, 500);
    send(&broker, 500, 700);
    broker.close().unwrap();
    let broker = store.open();
    consume(&broker, 500, 700);
    send(&broker, 700, 710);
    broker.close().unwrap();
    consume(&store.open_after_kill(), 700, 710);
}

#[test]
fn commits_are_explicit_or_what_was_returned_and_carry_metadata() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast());
    send_each(&broker, ["a", "b", "c"]);
    let mut consumer = consumer(&broker, "g");
    consumer.subscribe(&["t"]).unwrap();
    assert_eq!(consumer.committed(&[tp(0), tp(1)]).unwrap(), [(tp(0), None), (tp(1), None)]);
    poll_values(&mut consumer, 3);
    consumer.commit_sync().unwrap();
    let offset_of =
        |consumer: &thalweg::Consumer, partition| consumer.committed(&[tp(partition)]).unwrap()[0].1.clone();
    assert_eq!(offset_of(&consumer, 0).unwrap().offset(), 3);
    assert_eq!(offset_of(&consumer, 1).unwrap().offset(), 0);
    let offset = OffsetAndMetadata::new(1).with_metadata("file 7").with_leader_epoch(0);
    consumer.commit_sync_offsets(&[(tp(0), offset.clone())]).unwrap();
    assert_eq!(offset_of(&consumer, 0), Some(offset.clone()), "a commit may go back");
    drop(consumer);
    broker.close().unwrap();
    let broker = store.open_after_kill();
    assert_eq!(offset_of(&self::consumer(&broker, "g"), 0), Some(offset));
}

#[test]
fn offsets_are_in_kafkas_partition_in_kafkas_bytes() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut consumer = consumer(&broker, "my-group"); // partition 12 of 50
    consumer.commit_sync_offsets(&[(tp(0), 42.into())]).unwrap();
    let partition = broker.partition(&thalweg::TopicPartition::new("__consumer_offsets", 12)).unwrap();
    let records = partition.fetch(0, &Default::default()).unwrap().decode(true).unwrap();
    let record = records.iter().next().unwrap();
    assert_eq!(record.key().unwrap(), b"\0\x01\0\x08my-group\0\x01t\0\0\0\0");
    assert_eq!(record.value().unwrap()[..10], [0, 4, 0, 0, 0, 0, 0, 0, 0, 42]);
    assert!(broker.topic("__consumer_offsets").unwrap().is_internal());
}

#[test]
fn a_group_has_one_member_and_leaving_frees_the_place() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut first = consumer(&broker, "g");
    let mut second = consumer(&broker, "g");
    first.subscribe(&["t"]).unwrap();
    second.subscribe(&["t"]).unwrap();
    first.poll(Duration::ZERO).unwrap();
    let error = second.poll(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::GroupMaxSizeReached { group: "g".to_owned(), limit: 1 });
    let mut other = consumer(&broker, "other");
    other.subscribe(&["t"]).unwrap();
    other.poll(Duration::ZERO).unwrap();
    first.close().unwrap();
    second.poll(Duration::ZERO).unwrap();
    drop(second);
    let mut third = consumer(&broker, "g");
    third.subscribe(&["t"]).unwrap();
    third.poll(Duration::ZERO).unwrap();
    third.unsubscribe();
    let mut fourth = consumer(&broker, "g");
    fourth.subscribe(&["t"]).unwrap();
    fourth.poll(Duration::ZERO).unwrap();
}

#[test]
fn a_consumer_whose_thread_panics_leaves_and_commits_nothing() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, ["a"]);
    std::thread::scope(|scope| {
        let config = ConsumerConfig::new().group_id("g").auto_offset_reset(AutoOffsetReset::Earliest);
        let mut consumer = broker.consumer(config).unwrap();
        let thread = scope.spawn(move || {
            consumer.subscribe(&["t"]).unwrap();
            poll_values(&mut consumer, 1);
            std::panic::resume_unwind(Box::new("processing failed"));
        });
        thread.join().unwrap_err();
    });
    assert_eq!(committed(&broker, "g"), None);
    let mut next = consumer(&broker, "g");
    next.subscribe(&["t"]).unwrap();
    assert_eq!(poll_values(&mut next, 1).len(), 1);
}

#[test]
fn a_commit_without_membership_is_refused_while_there_is_a_member() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut member = consumer(&broker, "g");
    member.subscribe(&["t"]).unwrap();
    member.poll(Duration::ZERO).unwrap();
    let mut outsider = consumer(&broker, "g");
    outsider.assign(&[tp(0)]).unwrap();
    let error = outsider.commit_sync_offsets(&[(tp(0), 0.into())]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::CommitFailed { .. }), "{error}");
    member.close().unwrap();
    outsider.commit_sync_offsets(&[(tp(0), 0.into())]).unwrap();
}

#[test]
fn bad_commits_are_refused_and_change_nothing() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let mut consumer = consumer(&broker, "g");
    consumer.commit_sync_offsets(&[(tp(0), 7.into())]).unwrap();
    let long = OffsetAndMetadata::new(1).with_metadata("x".repeat(5000));
    consumer.commit_sync_offsets(&[(tp(0), 8.into()), (tp(0), (-1).into())]).unwrap_err();
    consumer.commit_sync_offsets(&[(tp(0), 8.into()), (tp(0), long)]).unwrap_err();
    consumer.commit_sync_offsets(&[(tp(0), 8.into()), (tp(9), 1.into())]).unwrap_err();
    consumer.commit_sync_offsets(&[]).unwrap();
    assert_eq!(committed(&broker, "g"), Some(7));
    let mut without = broker.consumer(ConsumerConfig::new()).unwrap();
    for error in [without.commit_sync().unwrap_err(), without.subscribe(&["t"]).unwrap_err()] {
        assert_eq!(error.kind(), &ErrorKind::InvalidGroupId);
    }
}

#[test]
fn automatic_commits_are_of_what_earlier_polls_returned() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, ["a", "b", "c"]);
    let config = ConsumerConfig::new().group_id("g").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut eager = broker.consumer(config.clone().auto_commit_interval(Duration::ZERO).max_poll_records(1)).unwrap();
    eager.subscribe(&["t"]).unwrap();
    eager.poll(Duration::ZERO).unwrap();
    assert_eq!(committed(&broker, "g"), None, "before anything was returned");
    eager.poll(Duration::ZERO).unwrap();
    assert_eq!(committed(&broker, "g"), Some(1), "the second poll commits what the first returned");
    eager.close().unwrap();
    assert_eq!(committed(&broker, "g"), Some(2), "close commits everything");

    let mut slow = broker.consumer(config).unwrap();
    slow.subscribe(&["t"]).unwrap();
    assert_eq!(poll_values(&mut slow, 1)[0].1, 2);
    slow.unsubscribe();
    drop(slow);
    assert_eq!(committed(&broker, "g"), Some(2), "unsubscribe commits nothing");
}

/// Defends D7.
#[test]
fn a_committed_offset_behind_a_lost_tail_is_set_back_to_the_end() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, ["a", "b", "c"]);
    let mut consumer = consumer(&broker, "g");
    consumer.commit_sync_offsets(&[(tp(0), 3.into())]).unwrap();
    drop(consumer);
    broker.close().unwrap();
    // What a power cut can leave of a topic in mode os: the tail never reached the disk, nor did the checkpoint.
    let log = store.file("00000000000000000000.log");
    let content = fs::read(&log).unwrap();
    fs::write(&log, &content[..content.len() / 3]).unwrap();
    fs::remove_file(store.file("thalweg-checkpoint")).unwrap();
    let broker = store.open_after_kill();
    assert_eq!(broker.recovery().clamped_offsets, 1);
    assert_eq!(committed(&broker, "g"), Some(1));
    send_each(&broker, ["x", "y", "z"]);
    broker.close().unwrap();
    let broker = store.open();
    assert_eq!(broker.recovery().clamped_offsets, 0);
    let mut consumer = self::consumer(&broker, "g");
    consumer.subscribe(&["t"]).unwrap();
    let values: Vec<_> = poll_values(&mut consumer, 3).into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(values, [b"x", b"y", b"z"], "nothing is passed over");
}

#[test]
fn topics_are_subscribed_to_together_and_unknown_ones_are_an_error() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast());
    broker.create_topic("u", 1, fast()).unwrap();
    let mut consumer = consumer(&broker, "g");
    consumer.subscribe(&["t", "u", "t"]).unwrap();
    assert!(consumer.assignment().is_empty(), "it takes effect at the next poll");
    consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(consumer.assignment().iter().map(ToString::to_string).collect::<Vec<_>>(), ["t-0", "t-1", "u-0"]);
    consumer.subscribe(&["u"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(consumer.assignment().len(), 1, "a subscription replaces the former one");
    consumer.subscribe(&["none"]).unwrap();
    let error = consumer.poll(Duration::ZERO).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. }));
}

#[test]
fn automatic_commits_come_before_a_change_of_the_assignment() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    broker.create_topic("u", 1, fast()).unwrap();
    send_each(&broker, ["a", "b"]);
    let config = ConsumerConfig::new().group_id("g").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = broker.consumer(config).unwrap();
    consumer.subscribe(&["t"]).unwrap();
    poll_values(&mut consumer, 2);
    consumer.subscribe(&["u"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(committed(&broker, "g"), Some(2));
}

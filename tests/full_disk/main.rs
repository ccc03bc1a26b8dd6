//! A file system that is full to the last byte: what is refused, what goes on all the same, and how room is made.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

mod small;

use std::path::Path;
use std::time::Duration;

use small::{FileSystem, Small};
use thalweg::{
    AutoOffsetReset, Broker, Consumer, ConsumerConfig, Durability, Error, ErrorKind, Offset, OffsetAndMetadata,
    ProducerConfig, ProducerRecord, TopicConfig, TopicPartition,
};

/// Room for the records of a test.
const ROOM: u64 = 2 << 20;

/// Defends D11.
#[test]
fn tmpfs() {
    everything_on(FileSystem::Tmpfs);
}

/// Defends D11.
#[test]
fn ext4() {
    everything_on(FileSystem::Ext4);
}

/// Defends D11.
#[test]
fn xfs() {
    everything_on(FileSystem::Xfs);
}

#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn everything_on(kind: FileSystem) {
    if let Err(complaint) = Small::mount(kind) {
        println!("skipped: {kind:?} cannot be mounted here: {complaint}");
        return;
    }
    for durability in [Durability::Os, Durability::Fsync] {
        for preallocate in [false, true] {
            deleting_records_makes_room(kind, config().durability(durability).preallocate(preallocate));
        }
    }
    retention_by_size_makes_room(kind);
    retention_by_age_makes_room_even_where_everything_goes(kind);
}

fn deleting_records_makes_room(kind: FileSystem, config: TopicConfig) {
    on_a_full_disk(kind, config, |broker| {
        let (start, end) = (partition(broker).log_start().unwrap(), partition(broker).high_watermark().unwrap());
        partition(broker).delete_records(start + (end - start) / 2).unwrap();
    });
}

fn retention_by_size_makes_room(kind: FileSystem) {
    on_a_full_disk(kind, config(), |broker| {
        // The settings are a file, for which there is no room: they were changed before, or are changed when there is.
        let limit = config().retention_bytes(Some(300_000));
        if broker.alter_topic("t", limit.clone()).is_err() {
            partition(broker).delete_records(partition(broker).log_start().unwrap() + 400).unwrap();
            broker.alter_topic("t", limit).unwrap();
        }
        broker.enforce_retention().unwrap();
    });
}

fn retention_by_age_makes_room_even_where_everything_goes(kind: FileSystem) {
    let disk = Small::mount(kind).unwrap();
    let broker = Broker::open(disk.data()).unwrap();
    broker.create_topic("t", 1, config().retention(Some(Duration::from_secs(3600)))).unwrap(); // records are of 1970
    disk.leave(ROOM);
    fill(&broker, 1000);
    disk.take_the_rest();
    let end = partition(&broker).log_end().unwrap();
    assert!(broker.enforce_retention().unwrap() > 1 << 20);
    while partition(&broker).log_start().unwrap() < end {
        assert!(broker.enforce_retention().unwrap() > 0);
    }
    assert_eq!(fill(&broker, 1000).kind(), &ErrorKind::StorageFull);
    assert!(count_records(&broker) > 300);
    broker.close().unwrap_or_else(|error| assert!(error.is_retriable(), "{error}"));
    drop(Broker::open(disk.data()).unwrap());
}

/// Fills a disk, `free`s some of it, fills it again, and looks at what is there in between and in the end.
fn on_a_full_disk(kind: FileSystem, config: TopicConfig, free: impl Fn(&Broker)) {
    let disk = Small::mount(kind).unwrap();
    let broker = Broker::open(disk.data()).unwrap();
    broker.create_topic("t", 1, config).unwrap();
    let mut consumer = consumer(&broker);
    consumer.commit_sync_offsets(&[(name(), 0.into())]).unwrap(); // what groups need is made by the first commit
    consumer.subscribe(&["t"]).unwrap();
    disk.leave(ROOM);
    for len in [3000, 100, 4] {
        let error = fill(&broker, len);
        assert_eq!(error.kind(), &ErrorKind::StorageFull, "{error}");
    }
    disk.take_the_rest();
    let mut committed = 0;
    for round in 0..3 {
        assert_eq!(fill(&broker, 4).kind(), &ErrorKind::StorageFull);
        let before = count_records(&broker);
        assert!(before > 300);
        consume_and_commit(&mut consumer);
        free(&broker);
        let after = count_records(&broker);
        assert!(after < before, "{after} of {before}");
        let producer = broker.producer(ProducerConfig::new().retries(0)).unwrap();
        producer.send(ProducerRecord::new("t", "there is room again").timestamp(1)).unwrap().wait().unwrap();
        assert_eq!(count_records(&broker), after + 1);
        committed = consume_and_commit(&mut consumer);
        let error = fill(&broker, 1000);
        assert_eq!(error.kind(), &ErrorKind::StorageFull, "round {round}: {error}");
    }
    let (start, end) = (partition(&broker).log_start().unwrap(), partition(&broker).log_end().unwrap());
    free(&broker);
    drop(consumer);
    broker.close().unwrap();
    reopen(&disk.data(), start, end, committed);
}

/// Reads what is new and commits it some times, for which there is room kept back. Returns what is committed.
fn consume_and_commit(consumer: &mut Consumer) -> Offset {
    while !consumer.poll(Duration::ZERO).unwrap().is_empty() {}
    let position = consumer.position(&name()).unwrap();
    // Each of these needs a block of its own: the end of one that is there has room for many that are smaller.
    for _ in 0..4 {
        let large = OffsetAndMetadata::new(position).with_metadata("m".repeat(4000));
        consumer.commit_sync_offsets(&[(name(), large)]).unwrap();
    }
    consumer.commit_sync().unwrap();
    assert_eq!(committed(consumer), position);
    position
}

fn reopen(path: &Path, start: Offset, end: Offset, committed: Offset) {
    for _ in 0..2 {
        let broker = Broker::open(path).unwrap();
        assert!(broker.recovery().is_whole() && broker.recovery().clamped_offsets == 0, "{}", broker.recovery());
        let partition = partition(&broker);
        assert!(partition.log_start().unwrap() >= start);
        assert_eq!(partition.log_end().unwrap(), end);
        count_records(&broker);
        assert_eq!(self::committed(&consumer(&broker)), committed);
        drop(broker);
        let _ = std::fs::remove_file(path.join(".kafka_cleanshutdown"));
    }
}

fn config() -> TopicConfig {
    TopicConfig::new().internal_segment_bytes(100_000).retention(None)
}

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn partition(broker: &Broker) -> std::sync::Arc<thalweg::Partition> {
    broker.partition(&name()).unwrap()
}

fn consumer(broker: &Broker) -> Consumer {
    let config = ConsumerConfig::new().group_id("group").auto_offset_reset(AutoOffsetReset::Earliest);
    broker.consumer(config.enable_auto_commit(false)).unwrap()
}

fn committed(consumer: &Consumer) -> Offset {
    let committed = consumer.committed(&[name()]).unwrap();
    committed[0].1.as_ref().map(OffsetAndMetadata::offset).unwrap()
}

/// Sends records of `len` bytes, a few at a time and each in a batch of its own, until one is not taken.
fn fill(broker: &Broker, len: usize) -> Error {
    let producer = broker.producer(ProducerConfig::new().retries(0).batch_size(0)).unwrap();
    for number in 0..100_000u32 {
        let mut value = vec![7; len];
        value[..4].copy_from_slice(&number.to_be_bytes());
        let send = |_| producer.send(ProducerRecord::new("t", &value).timestamp(1)).unwrap();
        let acks: Vec<_> = (0..8).map(send).collect();
        let outcomes: Vec<_> = acks.into_iter().map(thalweg::Ack::wait).collect();
        if let Some(error) = outcomes.into_iter().find_map(Result::err) {
            return error;
        }
    }
    panic!("the disk is never full");
}

/// Everything from log start to log end can be read.
fn count_records(broker: &Broker) -> i64 {
    let partition = partition(broker);
    let (start, end) = (partition.log_start().unwrap(), partition.log_end().unwrap());
    let mut offset = start;
    while offset < end {
        let records = partition.fetch(offset, &Default::default()).unwrap().decode(true).unwrap();
        assert!(records.iter().all(|record| record.value().unwrap().len() >= 4));
        offset = records.next_offset();
    }
    end - start
}

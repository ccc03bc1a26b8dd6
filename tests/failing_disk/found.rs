//! The smallest ways to what these tests have found, each as it should be. Who mends one takes `should_panic` away here, and
//! its line in [`known`](crate::known).

use std::path::Path;

use thalweg::simulation::{Background, Cut, Fault, OperationKind, SimulatedDisk, Survival};
use thalweg::{
    Broker, ConsumerConfig, Durability, Offset, Producer, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition,
};

use crate::case::{EINTR, EMFILE, ENOSPC};
use crate::model::{GROUP, committed};
use crate::session::broker_config;

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn send(producer: &Producer, count: usize) -> thalweg::Result<()> {
    (0..count).try_for_each(|_| producer.send(ProducerRecord::new("t", "value").partition(0))?.wait().map(drop))
}

/// A broker with a topic of one partition that has ten records in a few segments.
fn begin(dir: &Path, durability: Durability) -> (SimulatedDisk, Broker, Producer) {
    let disk = SimulatedDisk::new();
    let broker = open(&disk, dir);
    Background::of(&broker).create_offsets_topic(1).unwrap();
    broker.create_topic("t", 1, TopicConfig::new().durability(durability).internal_segment_bytes(256)).unwrap();
    let producer = broker.producer(ProducerConfig::new().retries(0)).unwrap();
    send(&producer, 10).unwrap();
    (disk, broker, producer)
}

fn open(disk: &SimulatedDisk, dir: &Path) -> Broker {
    disk.open_broker(dir, broker_config()).unwrap()
}

fn delete_records(broker: &Broker, before: Offset) -> thalweg::Result<Offset> {
    broker.partition(&name()).unwrap().delete_records(before)
}

fn log_start(broker: &Broker) -> Offset {
    broker.partition(&name()).unwrap().log_start().unwrap()
}

/// A handle is missing once while a directory is opened whose committed offset has to be set back to the end of a partition
/// that lost its tail. Either the broker does not open, or the group passes over nothing.
#[test]
fn a_group_passes_over_nothing_after_a_replay_that_failed() {
    let dir = crate::directory();
    let data = dir.path().join("data");
    let (disk, broker, producer) = begin(&data, Durability::Os);
    let config = ConsumerConfig::new().group_id(GROUP).enable_auto_commit(false);
    broker.consumer(config).unwrap().commit_sync_offsets(&[(name(), 10.into())]).unwrap();
    let cut = Cut { at: disk.operations(), survival: Survival::Nothing, seed: 0 };
    drop((broker, producer));
    let mut refused = 0;
    for after in 0..100 {
        let after_cut = dir.path().join(after.to_string());
        disk.cut(&cut).write(&data, &after_cut).unwrap();
        let disk = SimulatedDisk::new();
        disk.fail(Fault::of(OperationKind::Open).after(after).errno(EMFILE));
        let opened = disk.open_broker(&after_cut, broker_config());
        disk.heal();
        refused += usize::from(opened.is_err());
        let whole = opened.ok().filter(|broker| broker.recovery().is_whole());
        let broker = whole.unwrap_or_else(|| open(&disk, &after_cut));
        send(&broker.producer(ProducerConfig::new().retries(0)).unwrap(), 3).unwrap();
        let (end, committed) = (3, committed(&broker, &name()).unwrap().unwrap());
        assert!(committed <= end, "the group passes over records: it is at {committed}, and the log ends at {end}");
        broker.close().unwrap();
    }
    assert!(refused > 1, "the replay never failed");
}

/// There is no room to sync the directory of a checkpoint that has been renamed into its place. It is then written there
/// once more and synced, and taken for durable; but its name is not.
#[test]
fn a_checkpoint_is_durable_when_its_directory_could_not_be_synced_for_want_of_room() {
    let dir = crate::directory();
    let (data, after) = (dir.path().join("data"), dir.path().join("after"));
    let (disk, broker, producer) = begin(&data, Durability::Fsync);
    disk.fail(Fault::of(OperationKind::SyncDir).errno(ENOSPC));
    let deleted = delete_records(&broker, 1); // no segment goes, whose removal would sync the directory
    let cut = Cut { at: disk.operations(), survival: Survival::Nothing, seed: 0 };
    disk.heal();
    drop((broker, producer));
    disk.cut(&cut).write(&data, &after).unwrap();
    let start = log_start(&open(&SimulatedDisk::new(), &after));
    assert!(deleted.is_err() || start == 1, "deleted records are there again: the log starts at {start}");
}

/// On a full disk a checkpoint is written over the one before. If that fails, too, the one before is gone.
#[test]
#[should_panic(expected = "deleted records are there again")]
fn a_checkpoint_stays_when_the_next_one_cannot_be_written_on_a_full_disk() {
    let dir = crate::directory();
    let data = dir.path().join("data");
    let (disk, broker, producer) = begin(&data, Durability::Fsync);
    delete_records(&broker, 5).unwrap();
    for kind in [OperationKind::Create, OperationKind::Write] {
        disk.fail(Fault::of(kind).errno(ENOSPC).for_ever());
    }
    delete_records(&broker, 6).unwrap_err();
    disk.kill();
    disk.heal();
    drop((broker, producer));
    disk.restart();
    let start = log_start(&open(&disk, &data));
    assert!((5..=6).contains(&start), "deleted records are there again: the log starts at {start}");
}

/// The first write of an empty segment fails: nothing was written, and no other error would be an end. The partition takes
/// no more records until the broker is opened again, and does not say so.
#[test]
fn a_partition_that_fails_for_good_says_what_to_do() {
    let dir = crate::directory();
    let disk = SimulatedDisk::new();
    let broker = open(&disk, &dir.path().join("data"));
    broker.create_topic("t", 1, TopicConfig::new()).unwrap();
    let producer = broker.producer(ProducerConfig::new().retries(0)).unwrap();
    disk.fail(Fault::of(OperationKind::Write).errno(EINTR));
    send(&producer, 1).unwrap_err();
    let Err(error) = send(&producer, 1) else { return };
    assert!(error.to_string().contains("open the broker again"), "it does not say what to do: {error}");
}

/// The same call works as soon as there is a handle again.
#[test]
fn an_error_for_want_of_a_file_handle_is_retriable() {
    let dir = crate::directory();
    let (disk, broker, _producer) = begin(&dir.path().join("data"), Durability::Fsync);
    disk.fail(Fault::of(OperationKind::Create).errno(EMFILE));
    let create = || broker.create_topic("new", 1, TopicConfig::new());
    let error = create().unwrap_err();
    create().unwrap();
    assert!(error.is_retriable(), "it is not retriable: {error}");
}

//! Many partitions with few file handles and few maps. A process of its own, because the limits are the process's.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thalweg::{
    Broker, BrokerConfig, Durability, Fetched, ProducerConfig, ProducerRecord, ReadMode, TopicConfig, TopicPartition,
};

const PARTITIONS: i32 = 300;
const FEW: usize = 8;

/// One test at a time: they count what the process has.
static PROCESS: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory in memory, where there is one: what is counted here does not depend on the disk, and its syncs take long.
fn memory_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn few() -> BrokerConfig {
    BrokerConfig::new().max_open_files(Some(FEW)).max_mapped_segments(FEW)
}

fn is_log(path: &str, dir: &Path) -> bool {
    path.contains(dir.to_str().unwrap()) && path.ends_with(".log")
}

/// Handles of `.log` files that this process has open.
fn handles(dir: &Path) -> usize {
    let targets = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| is_log(target.to_str().unwrap_or_default(), dir)).count()
}

/// Maps of `.log` files that this process has.
fn maps(dir: &Path) -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| is_log(line, dir)).count()
}

fn value(partition: i32, round: usize) -> [u8; 50] {
    let mut value = [round as u8; 50];
    value[..4].copy_from_slice(&partition.to_be_bytes());
    value
}

/// Sends one record to every partition.
fn append_to_all(broker: &Broker, round: usize) {
    let producer = broker.producer(ProducerConfig::new().batch_size(0)).unwrap();
    let send = |partition| {
        producer.send(ProducerRecord::new("t", &value(partition, round)).partition(partition).timestamp(1)).unwrap()
    };
    let sent: Vec<_> = (0..PARTITIONS).map(send).collect();
    sent.into_iter().for_each(|ack| drop(ack.wait().unwrap()));
}

fn fetch(broker: &Broker, partition: i32) -> Fetched {
    broker.partition(&TopicPartition::new("t", partition)).unwrap().fetch(0, &Default::default()).unwrap()
}

fn assert_values(fetched: &Fetched, partition: i32, rounds: usize) {
    let records = fetched.decode(true).unwrap();
    assert_eq!(records.len(), rounds, "partition {partition}");
    for (round, record) in records.iter().enumerate() {
        assert_eq!(record.value().unwrap(), value(partition, round), "partition {partition}, round {round}");
    }
}

fn read_all(broker: &Broker, rounds: usize) {
    (0..PARTITIONS).for_each(|partition| assert_values(&fetch(broker, partition), partition, rounds));
}

fn config_of_topic() -> TopicConfig {
    // A few rounds fill a segment, so that there are sealed ones, too.
    TopicConfig::new().durability(Durability::Os).internal_segment_bytes(300)
}

#[test]
fn few_handles_and_maps_are_enough_for_many_partitions() {
    let _alone = alone();
    let dir = memory_dir();
    let broker = Broker::open_with(dir.path(), few()).unwrap();
    broker.create_topic("t", PARTITIONS, config_of_topic()).unwrap();
    for round in 0..5 {
        append_to_all(&broker, round);
        read_all(&broker, round + 1);
        assert!(handles(dir.path()) <= 2 * FEW, "{} handles", handles(dir.path()));
        assert!(broker.stats().open_files <= 2 * FEW, "{}", broker.stats());
    }
    let segments = broker.stats().segments;
    assert!(segments >= 2 * PARTITIONS as usize, "{segments}");
    broker.close().unwrap();
    assert_eq!(handles(dir.path()), 0);

    let broker = Broker::open_with(dir.path(), few()).unwrap();
    for _ in 0..3 {
        read_all(&broker, 5);
        assert!(maps(dir.path()) <= 2 * FEW, "{} maps", maps(dir.path()));
        assert!(broker.stats().mapped_segments <= 2 * FEW, "{}", broker.stats());
    }
    assert_eq!(handles(dir.path()), 0, "reading needs a handle for a moment");
    // What is appended to stays mapped.
    append_to_all(&broker, 5);
    read_all(&broker, 6);
    assert!((PARTITIONS as usize..PARTITIONS as usize + 2 * FEW).contains(&broker.stats().mapped_segments));
    assert!(maps(dir.path()) <= PARTITIONS as usize + 2 * FEW, "{} maps", maps(dir.path()));
    assert!(handles(dir.path()) <= 2 * FEW, "{} handles", handles(dir.path()));
    broker.close().unwrap();
}

#[test]
fn slices_outlive_the_maps_that_are_given_up() {
    let _alone = alone();
    let dir = memory_dir();
    let broker = Broker::open_with(dir.path(), few()).unwrap();
    broker.create_topic("t", PARTITIONS, config_of_topic()).unwrap();
    (0..3).for_each(|round| append_to_all(&broker, round));
    broker.close().unwrap();

    let broker = Broker::open_with(dir.path(), few()).unwrap();
    let held: Vec<_> = (0..PARTITIONS).map(|partition| fetch(&broker, partition)).collect();
    let bytes: Vec<Vec<u8>> = held.iter().map(|fetched| fetched.slices().flatten().collect()).collect();
    read_all(&broker, 3);
    assert!(maps(dir.path()) >= PARTITIONS as usize, "what is held stays mapped");
    assert!(broker.stats().mapped_segments <= 2 * FEW, "for others it is given up");
    append_to_all(&broker, 3);
    read_all(&broker, 4);
    broker.delete_topic("t").unwrap();
    broker.close().unwrap();
    for ((partition, fetched), bytes) in (0..).zip(&held).zip(&bytes) {
        assert_eq!(&fetched.slices().flatten().collect::<Vec<u8>>(), bytes);
        assert_values(fetched, partition, 3);
    }
    drop(held);
    assert_eq!(maps(dir.path()), 0);
}

/// Where nothing is mapped, what is read takes handles as well: as many as what is written to, at most.
#[test]
fn few_handles_are_enough_where_nothing_is_mapped() {
    let _alone = alone();
    let dir = memory_dir();
    let config = || few().max_mapped_segments(1024).read_mode(ReadMode::Pread);
    let broker = Broker::open_with(dir.path(), config()).unwrap();
    broker.create_topic("t", PARTITIONS, config_of_topic()).unwrap();
    for round in 0..3 {
        append_to_all(&broker, round);
        read_all(&broker, round + 1);
        assert!(handles(dir.path()) <= 3 * FEW, "{} handles", handles(dir.path()));
        assert_eq!(maps(dir.path()), 0);
    }
    broker.close().unwrap();
    assert_eq!(handles(dir.path()), 0);

    let broker = Broker::open_with(dir.path(), config()).unwrap();
    let held: Vec<_> = (0..PARTITIONS).map(|partition| fetch(&broker, partition)).collect();
    assert!((1..=2 * FEW).contains(&handles(dir.path())), "what is held holds no handle: {}", handles(dir.path()));
    read_all(&broker, 3);
    append_to_all(&broker, 3);
    read_all(&broker, 4);
    assert!(handles(dir.path()) <= 3 * FEW, "{} handles", handles(dir.path()));
    assert_eq!(maps(dir.path()), 0);
    broker.delete_topic("t").unwrap();
    assert_eq!(handles(dir.path()), 0);
    (0..).zip(&held).for_each(|(partition, fetched)| assert_values(fetched, partition, 3));
    broker.close().unwrap();
}

/// Sets the limit of file handles while it is there.
struct Limited(Rlimit);

impl Limited {
    fn to(handles: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        let limited = Rlimit { current: Some(handles), maximum: before.maximum };
        setrlimit(Resource::Nofile, limited).unwrap();
        Limited(before)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: self.0.current, maximum: self.0.maximum });
    }
}

#[test]
fn a_process_with_few_handles_can_have_many_partitions() {
    many_partitions(ReadMode::Mmap);
}

#[test]
fn and_so_can_one_that_maps_nothing() {
    many_partitions(ReadMode::Pread);
}

fn many_partitions(mode: ReadMode) {
    let _alone = alone();
    let _limited = Limited::to(64);
    let dir = memory_dir();
    let broker = Broker::open_with(dir.path(), BrokerConfig::new().read_mode(mode)).unwrap(); // takes a quarter, at least 16
    broker.create_topic("t", PARTITIONS, config_of_topic().durability(Durability::Interval)).unwrap();
    for round in 0..3 {
        append_to_all(&broker, round);
        read_all(&broker, round + 1);
        assert!(handles(dir.path()) <= 3 * 16, "{} handles", handles(dir.path()));
    }
    broker.close().unwrap();
    let broker = Broker::open_with(dir.path(), BrokerConfig::new().read_mode(mode)).unwrap();
    assert!(broker.recovery().is_whole(), "{}", broker.recovery());
    read_all(&broker, 3);
    append_to_all(&broker, 3);
    broker.close().unwrap();
    fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
    let broker = Broker::open_with(dir.path(), BrokerConfig::new().read_mode(mode)).unwrap();
    assert!(broker.recovery().is_whole(), "{}", broker.recovery());
    read_all(&broker, 4);
}

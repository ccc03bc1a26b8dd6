//! A file system that is full to the last byte. A small one is mounted for it, which only root can do.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use thalweg::{Broker, Durability, Error, ErrorKind, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

/// A small file system, while it is there.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    /// `None`, and a line that says so, where it cannot be mounted.
    #[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
    fn mount(bytes: usize) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={bytes}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).stderr(Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Small { dir });
        }
        println!("skipped: no file system can be mounted here");
        None
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Takes what is left, and returns the file that has it.
    fn take_the_rest(&self) -> PathBuf {
        let path = self.dir.path().join("rest");
        let mut file = std::fs::File::options().create(true).append(true).open(&path).unwrap();
        while file.write_all(&[1; 512]).is_ok() {}
        while file.write_all(&[1]).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

fn config() -> TopicConfig {
    TopicConfig::new().internal_segment_bytes(100_000).retention(None)
}

fn partition(broker: &Broker) -> std::sync::Arc<thalweg::Partition> {
    broker.partition(&TopicPartition::new("t", 0)).unwrap()
}

/// Sends records of `len` bytes, each durable, until one is not taken.
fn fill(broker: &Broker, len: usize) -> Error {
    let producer = broker.producer(ProducerConfig::new().batch_size(0)).unwrap();
    for number in 0..1_000_000u32 {
        let mut value = vec![7; len];
        value[..4].copy_from_slice(&number.to_be_bytes());
        if let Err(error) = producer.send(ProducerRecord::new("t", &value).timestamp(1)).unwrap().wait() {
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

fn on_a_full_disk(durability: Durability, free: impl Fn(&Broker)) {
    let Some(disk) = Small::mount(2 << 20) else { return };
    let broker = Broker::open(disk.data()).unwrap();
    broker.create_topic("t", 1, config().durability(durability)).unwrap();
    for len in [3000, 100, 4] {
        let error = fill(&broker, len);
        assert_eq!(error.kind(), &ErrorKind::StorageFull, "{error}");
    }
    disk.take_the_rest();
    for _ in 0..3 {
        assert_eq!(fill(&broker, 4).kind(), &ErrorKind::StorageFull);
        let before = count_records(&broker);
        assert!(before > 300);
        free(&broker);
        let after = count_records(&broker);
        assert!(after < before, "{after} of {before}");
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        producer.send(ProducerRecord::new("t", "there is room again").timestamp(1)).unwrap().wait().unwrap();
        assert_eq!(count_records(&broker), after + 1);
        fill(&broker, 1000);
    }
    let (start, end) = (partition(&broker).log_start().unwrap(), partition(&broker).log_end().unwrap());
    free(&broker);
    broker.close().unwrap();
    reopen(&disk.data(), start, end);
}

fn reopen(path: &Path, start: i64, end: i64) {
    for _ in 0..2 {
        let broker = Broker::open(path).unwrap();
        assert!(broker.recovery().is_whole(), "{}", broker.recovery());
        let partition = partition(&broker);
        assert!(partition.log_start().unwrap() >= start);
        assert_eq!(partition.log_end().unwrap(), end);
        count_records(&broker);
        drop(broker);
        let _ = std::fs::remove_file(path.join(".kafka_cleanshutdown"));
    }
}

#[test]
fn deleting_records_makes_room() {
    for durability in [Durability::Os, Durability::Fsync] {
        on_a_full_disk(durability, |broker| {
            let (start, end) = (partition(broker).log_start().unwrap(), partition(broker).high_watermark().unwrap());
            partition(broker).delete_records(start + (end - start) / 2).unwrap();
        });
    }
}

#[test]
fn retention_by_size_makes_room() {
    on_a_full_disk(Durability::Fsync, |broker| {
        // The settings are a file, for which there is no room: they were changed before, or are changed when there is.
        let limit = config().retention_bytes(Some(300_000));
        if broker.alter_topic("t", limit.clone()).is_err() {
            partition(broker).delete_records(partition(broker).log_start().unwrap() + 400).unwrap();
            broker.alter_topic("t", limit).unwrap();
        }
        broker.enforce_retention().unwrap();
    });
}

#[test]
fn retention_by_age_makes_room_even_where_everything_goes() {
    let Some(disk) = Small::mount(2 << 20) else { return };
    let broker = Broker::open(disk.data()).unwrap();
    broker.create_topic("t", 1, config().retention(Some(Duration::from_secs(3600)))).unwrap(); // records are of 1970
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

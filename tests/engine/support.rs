//! What the tests share.

use std::path::Path;
use std::time::Duration;

use thalweg::{
    AutoOffsetReset, Broker, BrokerConfig, Consumer, ConsumerConfig, Durability, Offset, Producer, ProducerConfig,
};
use thalweg::{ProducerRecord, ReadMode, ReadOnlyBroker, Result, TopicConfig, TopicPartition};

use crate::READ_MODE;

/// A data directory that is removed at the end, and brokers that open it.
pub(crate) struct Store {
    pub(crate) dir: tempfile::TempDir,
}

impl Store {
    pub(crate) fn new() -> Self {
        Store { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn open(&self) -> Broker {
        open(self.dir.path()).unwrap()
    }

    pub(crate) fn open_with(&self, config: BrokerConfig) -> Broker {
        Broker::open_with(self.dir.path(), config.read_mode(READ_MODE)).unwrap()
    }

    /// Opens the store and creates topic `t`.
    pub(crate) fn open_with_topic(&self, partitions: i32, config: TopicConfig) -> Broker {
        let broker = self.open();
        broker.create_topic("t", partitions, config).unwrap();
        broker
    }

    /// Makes the file of topic `t` say that the topic is being created or deleted.
    pub(crate) fn set_state(&self, state: &str) {
        let path = self.dir.path().join("t.topic");
        let text = std::fs::read_to_string(&path).unwrap();
        let (body, _) = text.rsplit_once("crc32=").unwrap();
        let body = body.replacen("version=1\n", &format!("version=1\nstate={state}\n"), 1);
        std::fs::write(path, format!("{body}crc32={:08x}\n", crc32fast::hash(body.as_bytes()))).unwrap();
    }

    /// The names in the directory that belong to topic `t`, sorted.
    pub(crate) fn names_of_topic(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("t-") || name.starts_with("t.")).collect();
        names.sort();
        names
    }

    /// The path of a file of partition `t-0`.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("t-0").join(name)
    }
}

/// Opens a directory that reads as these tests do.
pub(crate) fn open(path: impl AsRef<Path>) -> Result<Broker> {
    Broker::open_with(path, BrokerConfig::new().read_mode(READ_MODE))
}

/// As [`open`], for reading only.
pub(crate) fn open_read_only(path: impl AsRef<Path>) -> Result<ReadOnlyBroker> {
    ReadOnlyBroker::open_with(path, BrokerConfig::new().read_mode(READ_MODE))
}

/// Whether the test is about maps, and these brokers have none.
#[expect(clippy::print_stdout, reason = "it is how a test says that it was skipped")]
pub(crate) fn needs_maps() -> bool {
    if READ_MODE != ReadMode::Mmap {
        println!("skipped: nothing is mapped");
    }
    READ_MODE != ReadMode::Mmap
}

/// A topic whose appends wait for no disk.
pub(crate) fn fast() -> TopicConfig {
    TopicConfig::new().durability(Durability::Os)
}

pub(crate) fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

pub(crate) fn producer(broker: &Broker) -> Producer {
    broker.producer(ProducerConfig::new()).unwrap()
}

/// Sends values to partition `t-0` one batch each, and returns their offsets.
pub(crate) fn send_each<V: AsRef<[u8]>>(broker: &Broker, values: impl IntoIterator<Item = V>) -> Vec<Offset> {
    let producer = producer(broker);
    let send = |value: V| producer.send(ProducerRecord::new("t", &value).partition(0)).unwrap().wait().unwrap().offset;
    values.into_iter().map(send).collect()
}

/// A consumer of a group that begins at the earliest record and commits nothing by itself.
pub(crate) fn consumer(broker: &Broker, group: &str) -> Consumer {
    let config = ConsumerConfig::new().group_id(group).auto_offset_reset(AutoOffsetReset::Earliest);
    broker.consumer(config.enable_auto_commit(false)).unwrap()
}

/// Polls until `count` records have come, and returns partition, offset and value of each.
pub(crate) fn poll_values(consumer: &mut Consumer, count: usize) -> Vec<(i32, Offset, Vec<u8>)> {
    let mut values = Vec::new();
    while values.len() < count {
        let records = consumer.poll(Duration::from_secs(10)).unwrap();
        assert!(!records.is_empty(), "{} of {count} records came", values.len());
        values.extend(
            records
                .iter()
                .map(|record| (record.partition(), record.offset(), record.value().unwrap_or_default().to_vec())),
        );
    }
    values
}

/// Every value of partition `t-0` that can be read, by fetching.
pub(crate) fn all_values(broker: &Broker) -> Vec<Vec<u8>> {
    let partition = broker.partition(&tp(0)).unwrap();
    let (mut offset, end) = (partition.log_start().unwrap(), partition.high_watermark().unwrap());
    let mut values = Vec::new();
    while offset < end {
        let records = partition.fetch(offset, &Default::default()).unwrap().decode(true).unwrap();
        values.extend(records.iter().map(|record| record.value().unwrap_or_default().to_vec()));
        offset = records.next_offset();
    }
    values
}

//! What is in the directories before anything happens to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use thalweg::{AutoOffsetReset, Broker, Consumer, ConsumerConfig, Durability, Offset, OnCorruption};
use thalweg::{ProducerConfig, ProducerRecord, Record, TopicConfig, TopicPartition};

use crate::files::Files;

pub(crate) const GROUP: &str = "g";
const CLEAN_MARK: &str = ".kafka_cleanshutdown";
const CHECKPOINT: &str = "thalweg-checkpoint";

/// Everything that a record holds but its offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) timestamp: i64,
}

impl Row {
    pub(crate) fn of(record: &Record<'_>) -> Self {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers().map(|header| (header.key_bytes().to_vec(), owned(header.value())));
        Row {
            key: owned(record.key()),
            value: owned(record.value()),
            headers: headers.collect(),
            timestamp: record.timestamp(),
        }
    }
}

/// The records of a partition, by offset.
pub(crate) type Rows = BTreeMap<Offset, Row>;

/// A directory, and what is to be found in it.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) name: &'static str,
    pub(crate) on_corruption: OnCorruption,
    /// Whether nothing says how far the logs went: they came from elsewhere, or only the first checkpoint is there.
    pub(crate) vouches_for_nothing: bool,
    pub(crate) files: Files,
    pub(crate) rows: BTreeMap<TopicPartition, Rows>,
    /// What the group committed for each partition, the last commit last.
    pub(crate) committed: BTreeMap<TopicPartition, Vec<Offset>>,
}

pub(crate) fn consumer(broker: &Broker) -> thalweg::Result<Consumer> {
    let config = ConsumerConfig::new().group_id(GROUP).auto_offset_reset(AutoOffsetReset::Earliest);
    broker.consumer(config.enable_auto_commit(false))
}

/// The row at an offset: headers, nulls, empty bytes, and times that are not in order.
fn row(topic: &str, offset: Offset) -> Row {
    let number = offset as u8;
    let bytes = |len: usize, byte: u8| vec![byte; len];
    Row {
        key: (offset % 3 != 0).then(|| format!("{topic}{offset}").into_bytes()),
        value: (offset % 5 != 1).then(|| bytes(offset as usize * 7 % 40, number)),
        headers: (0..offset % 3).map(|at| (vec![b'h', number], (at == 0).then(|| vec![number]))).collect(),
        timestamp: 1_000_000 + offset * 100 - if offset % 4 == 3 { 250 } else { 0 },
    }
}

fn send(broker: &Broker, topic: &str, batches: &[usize]) -> Rows {
    let producer = broker.producer(ProducerConfig::new().linger(Duration::from_secs(3600))).unwrap();
    let mut rows = Rows::new();
    for count in batches {
        for _ in 0..*count {
            let offset = rows.len() as Offset;
            let row = row(topic, offset);
            let mut record = match &row.value {
                Some(value) => ProducerRecord::new(topic, value),
                None => ProducerRecord::tombstone(topic, row.key.as_deref().unwrap_or_default()),
            };
            if let Some(key) = &row.key {
                record = record.key(key);
            }
            for (name, value) in &row.headers {
                record = record.header(std::str::from_utf8(name).unwrap(), value.as_ref());
            }
            let _ack = producer.send(record.partition(0).timestamp(row.timestamp)).unwrap();
            let key = if row.value.is_none() { Some(row.key.unwrap_or_default()) } else { row.key };
            rows.insert(offset, Row { key, ..row });
        }
        producer.flush().unwrap();
    }
    producer.close().unwrap();
    rows
}

/// Keeps one of the partitions of the offsets topic: the others are the same fifty times.
fn shrink_offsets_topic(dir: &Path) {
    let file = dir.join("__consumer_offsets.topic");
    let text = fs::read_to_string(&file).unwrap();
    let (body, _) = text.rsplit_once("crc32=").unwrap();
    let body = body.replacen("partitions=50\n", "partitions=1\n", 1);
    fs::write(file, format!("{body}crc32={:08x}\n", crc32fast::hash(body.as_bytes()))).unwrap();
    for number in 1..50 {
        fs::remove_dir_all(dir.join(format!("__consumer_offsets-{number}"))).unwrap();
    }
}

/// A directory with two topics and a group, as a close in order leaves it, and its first checkpoints.
fn closed(dir: &Path, on_corruption: OnCorruption) -> (Content, Files) {
    let open = || Broker::open(dir).unwrap();
    let broker = open();
    let config = || TopicConfig::new().durability(Durability::Os).retention(None).on_corruption(on_corruption);
    broker.create_topic("a", 1, config().internal_segment_bytes(500).index_interval_bytes(100)).unwrap();
    broker.create_topic("b", 1, config().index_interval_bytes(150)).unwrap();
    consumer(&broker).unwrap().commit_sync_offsets(&[]).unwrap();
    broker.close().unwrap();
    shrink_offsets_topic(dir);
    let first = Files::read(dir);
    let broker = open();
    let (a, b) = (TopicPartition::new("a", 0), TopicPartition::new("b", 0));
    let rows = BTreeMap::from([
        (a.clone(), send(&broker, "a", &[1, 2, 1, 3, 1, 1, 2, 1, 3, 1, 2, 2])),
        (b.clone(), send(&broker, "b", &[2, 1, 3, 1, 1])),
    ]);
    let mut committed = BTreeMap::<_, Vec<_>>::new();
    let mut committing = consumer(&broker).unwrap();
    for (partition, offset) in [(&a, 3), (&b, 2), (&a, 17), (&b, 7)] {
        committing.commit_sync_offsets(&[(partition.clone(), offset.into())]).unwrap();
        committed.entry(partition.clone()).or_default().push(offset);
    }
    drop(committing);
    broker.close().unwrap();
    let files = Files::read(dir);
    (Content { name: "closed", on_corruption, vouches_for_nothing: false, files, rows, committed }, first)
}

/// The directories of each way in which a user can leave them, for each answer to corruption.
pub(crate) fn own() -> Vec<Content> {
    let mut all = Vec::new();
    for on_corruption in [OnCorruption::Fail, OnCorruption::Truncate, OnCorruption::Quarantine] {
        let dir = tempfile::tempdir().unwrap();
        let (closed, first) = closed(dir.path(), on_corruption);
        let mut killed = Content { name: "killed", ..closed.clone() };
        killed.files.0.remove(Path::new(CLEAN_MARK)).unwrap();
        let mut with_first = Content { name: "first checkpoint", vouches_for_nothing: true, ..killed.clone() };
        for (path, content) in with_first.files.0.iter_mut().filter(|(path, _)| path.ends_with(CHECKPOINT)) {
            content.clone_from(&first.0[path]);
        }
        let mut without = Content { name: "no checkpoint", vouches_for_nothing: true, ..killed.clone() };
        without.files.0.retain(|path, _| !path.ends_with(CHECKPOINT));
        all.extend([closed, killed, with_first, without]);
    }
    all
}

/// Partitions that Kafka wrote. What is in them is what is read before anything happens to them; that this is right,
/// other tests say.
pub(crate) fn kafkas() -> Content {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.2.1");
    let mut files = Files::default();
    files.0.insert("meta.properties".into(), b"version=1\nnode.id=1\n".to_vec());
    for partition in ["txns-0", "shapes-0", "rolled-0", "orders-gzip-0"] {
        for (path, content) in Files::read(&fixture.join(partition)).0 {
            files.0.insert(Path::new(partition).join(path), content);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    files.lay_out(dir.path());
    let broker = Broker::open(dir.path()).unwrap();
    let mut rows = BTreeMap::new();
    for topic in broker.topics() {
        for number in 0..topic.partitions() {
            let partition = TopicPartition::new(topic.name(), number);
            if let Ok(log) = broker.partition(&partition).and_then(|log| log.log_end().map(|_| log)) {
                rows.insert(partition, crate::look::read_through(&log).unwrap());
            }
        }
    }
    let on_corruption = OnCorruption::Fail;
    Content { name: "Kafka's", on_corruption, vouches_for_nothing: true, files, rows, committed: BTreeMap::new() }
}

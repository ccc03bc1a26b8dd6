//! A small data directory, some of whose files are not what they were.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use thalweg::{
    AutoOffsetReset, Broker, Consumer, ConsumerConfig, DumpOptions, Durability, OffsetAndMetadata, ProducerConfig,
    ProducerRecord, Result, TopicConfig, TopicPartition,
};

use crate::place::{self, Files, Log, Place};
use crate::runner::input::Input;

const TOPICS: [(&str, i32); 2] = [("left", 2), ("right", 1)];
const GROUP: &str = "readers";
const COMMITTED: i64 = 3;

/// Names that may appear although the directory does not have them.
const STRANGERS: [&str; 10] = [
    ".kafka_cleanshutdown",
    "left-0/00000000000000000001.log",
    "left-0/00000000000000000000.log.0.corrupt",
    "left-1/00000000000009999999.log",
    "left-1/notes/todo.txt",
    "left-7/00000000000000000000.log",
    "notes.txt",
    "right.topic.tmp",
    "stray-1/00000000000000000000.log",
    "thalweg.tmp",
];

/// The bytes choose files and what happens to them. Opening does not panic, and fails only over files that belong to no
/// topic; topics whose files are as they were are served in full, now and after another open.
pub fn files(bytes: &[u8]) {
    let template = &*TEMPLATE;
    let (files, touched) = template.damage(&mut Input::new(bytes));
    template.place.write(&files);
    for _ in 0..2 {
        let broker = match Broker::open(template.place.dir()) {
            Ok(broker) => broker,
            Err(error) => {
                assert!(touched.contains(&None), "{error}");
                return;
            }
        };
        let _ = broker.recovery().to_string();
        template.assert_intact(&broker, &touched);
        // Whatever these return, they return.
        let _ = use_everything(&broker, &touched);
        let _ = broker.close();
        let _ = thalweg::verify(template.place.dir()).map(|verification| verification.to_string());
        for path in &template.paths {
            let options = DumpOptions::new().records(true);
            let _ = thalweg::dump(template.place.dir().join(path), &options, &mut std::io::sink());
        }
    }
}

/// Reads all topics, and writes to those that have been touched already.
fn use_everything(broker: &Broker, touched: &BTreeSet<Option<String>>) -> Result<()> {
    let producer = broker.producer(ProducerConfig::new())?;
    for topic in broker.topics() {
        let name = topic.name();
        for number in 0..topic.partitions() {
            let _ = place::read_partition(broker, &TopicPartition::new(name, number));
            if touched.contains(&Some(name.to_owned())) {
                let record = ProducerRecord::new(name, b"one more").partition(number);
                let _ = producer.send(record).and_then(|ack| ack.wait());
            }
        }
    }
    let mut consumer = group(broker)?;
    consumer.subscribe(&TOPICS.map(|(name, _)| name))?;
    let _ = consumer.poll(Duration::ZERO)?.iter().count();
    Ok(())
}

fn group(broker: &Broker) -> Result<Consumer> {
    broker.consumer(
        ConsumerConfig::new().group_id(GROUP).auto_offset_reset(AutoOffsetReset::Earliest).enable_auto_commit(false),
    )
}

struct Template {
    place: Place,
    /// What can be damaged: the directory's files, and names that may appear.
    paths: Vec<PathBuf>,
    /// What the topics hold.
    logs: Vec<Vec<Log>>,
}

static TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
    let mut logs = Vec::new();
    let place = Place::new(|broker| {
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        for (name, partitions) in TOPICS {
            let config = TopicConfig::new().internal_segment_bytes(600).index_interval_bytes(64).retention(None);
            broker.create_topic(name, partitions, config.durability(Durability::Os)).unwrap();
            for at in 0..16 {
                let record = ProducerRecord::new(name, b"some value of forty bytes, more or less.");
                let record = record.key(b"key").partition(at % partitions).timestamp(1_700_000_000_000 + i64::from(at));
                producer.send(record).unwrap().wait().unwrap();
            }
            logs.push(place::read_topic(broker, name).unwrap());
        }
        let mut consumer = group(broker).unwrap();
        for partition in partitions() {
            consumer.commit_sync_offsets(&[(partition, OffsetAndMetadata::new(COMMITTED))]).unwrap();
        }
    });
    let mut paths: Vec<_> = place.files.keys().cloned().chain(STRANGERS.map(PathBuf::from)).collect();
    paths.sort();
    paths.dedup();
    Template { place, paths, logs }
});

impl Template {
    /// Files after some edits, and the topics they belong to; `None` stands for files of no topic.
    fn damage(&self, input: &mut Input<'_>) -> (Files, BTreeSet<Option<String>>) {
        let (mut files, mut touched) = (self.place.files.clone(), BTreeSet::new());
        for _ in 0..EDITS_MAX {
            if input.is_empty() {
                break;
            }
            let path = &self.paths[input.below(self.paths.len())];
            let content = edit(files.get(path), input, |input| {
                self.place.files.get(&self.paths[input.below(self.paths.len())]).cloned()
            });
            touched.insert(topic_of(path));
            match content {
                Some(content) => files.insert(path.clone(), content),
                None => files.remove(path),
            };
        }
        (files, touched)
    }

    fn assert_intact(&self, broker: &Broker, touched: &BTreeSet<Option<String>>) {
        let is_touched = |topic: &str| touched.contains(&Some(topic.to_owned()));
        for ((topic, _), logs) in TOPICS.iter().zip(&self.logs).filter(|((topic, _), _)| !is_touched(topic)) {
            assert_eq!(&place::read_topic(broker, topic).unwrap(), logs, "{topic}");
            if !is_touched("__consumer_offsets") {
                let partitions: Vec<_> = partitions().filter(|partition| partition.topic() == *topic).collect();
                for (_, committed) in group(broker).unwrap().committed(&partitions).unwrap() {
                    assert_eq!(committed.unwrap().offset(), COMMITTED, "{topic}");
                }
            }
        }
    }
}

const EDITS_MAX: usize = 8;

/// What a file holds after an edit; `None` for a file that is not there.
fn edit(
    content: Option<&Vec<u8>>,
    input: &mut Input<'_>,
    other: impl FnOnce(&mut Input<'_>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut content = content.cloned().unwrap_or_default();
    match input.below(7) {
        0 if !content.is_empty() => {
            let at = input.below(content.len());
            content[at] ^= input.byte().max(1);
        }
        0 | 1 => content.truncate(input.below(content.len() + 1)),
        2 => {
            let count = input.byte();
            content.extend_from_slice(input.take(count.into()));
        }
        3 => {
            let (at, count) = (input.below(content.len() + 1), input.byte());
            let bytes = input.take(count.into());
            let end = content.len().min(at + bytes.len());
            content.splice(at..end, bytes.iter().copied());
        }
        4 => {
            let count = input.u16();
            content = input.take(count.into()).to_vec();
        }
        5 => return None,
        _ => return other(input),
    }
    Some(content)
}

fn partitions() -> impl Iterator<Item = TopicPartition> {
    TOPICS.iter().flat_map(|(name, count)| (0..*count).map(|number| TopicPartition::new(*name, number)))
}

fn topic_of(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?;
    let topic = first.strip_suffix(".topic").or_else(|| Some(first.rsplit_once('-')?.0))?;
    Some(topic.to_owned())
}

//! What Apache Kafka's producer wrote in every codec and at several levels, and where it put keys:
//! `tests/fixtures/kafka-*-codecs/HOW.md` says how it was made. And the same records, written by thalweg at every level.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

#[path = "kafka/codecs.rs"]
mod codecs;
#[expect(dead_code, reason = "what others compare with it")]
#[path = "kafka/compare.rs"]
mod compare;

use std::fs;
use std::path::{Path, PathBuf};

use codecs::{PER_BATCH, RECORDS, levels, read_all, write_levels, written};
use compare::is_codec_left_out;
use thalweg::{Broker, Durability, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.2.1-codecs")
}

/// The partitions of the fixture.
fn partitions() -> Vec<String> {
    let names = fs::read_dir(fixture()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with("-0")).collect();
    names.sort();
    names
}

fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("meta.properties"), "version=1\nnode.id=1\n").unwrap();
    for name in partitions() {
        fs::create_dir(dir.path().join(&name)).unwrap();
        for file in fs::read_dir(fixture().join(&name)).unwrap().map(|file| file.unwrap()) {
            fs::copy(file.path(), dir.path().join(&name).join(file.file_name())).unwrap();
        }
    }
    dir
}

/// The codec of each batch of a log, as a number.
fn codecs_of(log: &Path) -> Vec<u8> {
    let (bytes, mut codecs) = (fs::read(log).unwrap(), Vec::new());
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        codecs.push(rest[22] & 7);
        rest = &rest[12 + u32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize..];
    }
    codecs
}

fn id(topic: &str) -> u8 {
    let codec = topic.split(['.', '-']).next().unwrap();
    ["none", "gzip", "snappy", "lz4", "zstd"].iter().position(|name| *name == codec).unwrap() as u8
}

#[test]
fn every_codec_and_level_of_kafka_is_read() {
    let dir = copy();
    let mut topics: Vec<_> = partitions().into_iter().map(|name| name.trim_end_matches("-0").to_owned()).collect();
    topics.retain(|topic| topic != "idempotent");
    assert_eq!(topics.len(), 12, "{topics:?}");
    for open in ["copied", "closed in order"] {
        let broker = Broker::open(dir.path()).unwrap();
        assert!(broker.recovery().failed.is_empty(), "{open}: {}", broker.recovery());
        for topic in &topics {
            let log = fixture().join(format!("{topic}-0/00000000000000000000.log"));
            assert_eq!(codecs_of(&log), [id(topic); (RECORDS / PER_BATCH) as usize], "{topic}");
            match read_all(&broker, topic) {
                Ok(read) => assert_eq!(read, (0..RECORDS).map(written).collect::<Vec<_>>(), "{topic}"),
                Err(error) => assert!(is_codec_left_out(&error), "{topic}: {error}"),
            }
        }
        broker.close().unwrap();
    }
}

#[test]
fn every_level_of_a_topic_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    write_levels(&broker, dir.path());
    for (topic, _) in levels() {
        assert_eq!(read_all(&broker, &topic).unwrap(), (0..RECORDS).map(written).collect::<Vec<_>>(), "{topic}");
        let log = dir.path().join(format!("{topic}-0/00000000000000000000.log"));
        assert_eq!(codecs_of(&log), [id(&topic); (RECORDS / PER_BATCH) as usize], "{topic}");
    }
}

#[test]
fn keys_go_where_kafkas_producer_put_them() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    broker.create_topic("keys", 12, TopicConfig::new().durability(Durability::Os)).unwrap();
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    let places = fs::read_to_string(fixture().join("places.tsv")).unwrap();
    let places = places.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('\t').unwrap());
    let mut seen = [0; 12];
    for (partition, key) in places {
        let key = key.replace("\\xc3\\xbc", "ü");
        let partition: i32 = partition.parse().unwrap();
        let sent = producer.send(ProducerRecord::new("keys", "v").key(&key)).unwrap().wait().unwrap();
        assert_eq!(sent.partition, TopicPartition::new("keys", partition), "{key}");
        seen[partition as usize] += 1;
    }
    assert!(seen.iter().sum::<i32>() == 401 && seen.iter().all(|count| 10 < *count), "{seen:?}");
}

//! Apache Kafka's own dump tool over a directory that thalweg wrote. Skips where Kafka is not installed; see
//! `tests/kafka/README.md`.

#![expect(clippy::print_stdout, reason = "a skip is said")]
#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

use std::path::Path;
use std::process::{Command, Output};

use thalweg::{Broker, ConsumerConfig, Durability, OffsetAndMetadata, ProducerConfig, ProducerRecord, TopicConfig};
use thalweg::{TimestampType, TopicPartition};

/// Exit code of the scripts where Kafka or Java is missing.
const SKIPPED: i32 = 77;

fn check(directory: &Path) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/check.sh");
    let output = Command::new("bash").arg(script).arg(directory).output().unwrap();
    if output.status.code() == Some(SKIPPED) {
        println!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    Some(output)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Small segments, several records a batch, headers, nulls, times that go back, commits.
fn write(directory: &Path) {
    let broker = Broker::open(directory).unwrap();
    let rolled = TopicConfig::new().durability(Durability::Os).internal_segment_bytes(20_000);
    broker.create_topic("rolled", 2, rolled.clone().index_interval_bytes(500)).unwrap();
    broker.create_topic("dense", 1, rolled.clone().index_interval_bytes(0)).unwrap();
    broker.create_topic("stamped", 1, rolled.message_timestamp_type(TimestampType::LogAppendTime)).unwrap();
    broker.create_topic("empty", 1, TopicConfig::new()).unwrap();
    for (topic, batch_size) in [("rolled", 2000), ("dense", 0), ("stamped", 300)] {
        let producer = broker.producer(ProducerConfig::new().batch_size(batch_size)).unwrap();
        for number in 0..1000i64 {
            let value = format!("value {number}").repeat(number as usize % 7);
            let key = number.to_string();
            let record = match number % 4 {
                0 => ProducerRecord::tombstone(topic, &key),
                1 => ProducerRecord::new(topic, &value),
                2 => ProducerRecord::new(topic, &value).key("").header("h", Some("v")).header("h", None::<&str>),
                _ => ProducerRecord::new(topic, &value).key(&key),
            };
            let time = 1_700_000_000_000 + number * 10 - (number % 13) * 1000;
            producer.send(record.timestamp(time)).unwrap().detach();
        }
        producer.close().unwrap();
    }
    for group in ["group", "my-group", "컨슈머"] {
        let mut consumer = broker.consumer(ConsumerConfig::new().group_id(group)).unwrap();
        for offset in 0..5 {
            let offset = OffsetAndMetadata::new(offset).with_metadata("größe");
            let partitions = [("rolled", 0), ("rolled", 1), ("dense", 0)];
            let offsets = partitions.map(|(topic, number)| (TopicPartition::new(topic, number), offset.clone()));
            consumer.commit_sync_offsets(&offsets).unwrap();
        }
    }
    broker.close().unwrap();
}

#[test]
fn kafkas_dump_tool_has_no_complaint() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let Some(output) = check(dir.path()) else { return };
    assert!(output.status.success(), "{}", text(&output));
    println!("{}", text(&output));
}

#[test]
fn kafkas_dump_tool_would_complain() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let path = dir.path().join("dense-0/00000000000000000000.index");
    let mut index = std::fs::read(&path).unwrap();
    index[3] += 1; // an offset that is not the last one of its batch
    std::fs::write(&path, index).unwrap();
    let Some(output) = check(dir.path()) else { return };
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

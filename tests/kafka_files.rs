//! Logs that Apache Kafka wrote, read by thalweg: `tests/fixtures/kafka-*/HOW.md` says how they were made.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use thalweg::{Broker, Compression, ConsumerConfig, ErrorKind, Record, TopicPartition};

/// Partitions of a broker's `__consumer_offsets`; the fixture has those with records.
const OFFSETS_PARTITIONS: i32 = 50;

/// Offset, key, value, timestamp, headers, as the list of what was sent has them.
type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>, i64, String);

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.2.1")
}

/// A copy of the broker's directory.
fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("meta.properties"), "version=1\nnode.id=1\n").unwrap();
    for entry in fs::read_dir(fixture()).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            let to = dir.path().join(entry.file_name());
            fs::create_dir(&to).unwrap();
            for file in fs::read_dir(entry.path()).unwrap().map(|file| file.unwrap()) {
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    }
    for number in 0..OFFSETS_PARTITIONS {
        fs::create_dir_all(dir.path().join(format!("__consumer_offsets-{number}"))).unwrap();
    }
    dir
}

/// The rows of a list, split at tabs, without its headline.
fn rows(file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(fixture().join(file)).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// Undoes the list's escapes: `\N` is null, `\xHH` a byte.
fn unescape(text: &str) -> Option<Vec<u8>> {
    if text == "\\N" {
        return None;
    }
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'\\', [b'x', high, low, after @ ..]) => {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&[*high, *low]).unwrap(), 16).unwrap());
                rest = after;
            }
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    Some(bytes)
}

fn escape(bytes: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b' '..=b'~' if !b"\\,=".contains(byte) => char::from(*byte).to_string(),
        b'\\' => "\\\\".to_owned(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(escape).collect()
}

fn expected() -> BTreeMap<TopicPartition, Vec<Row>> {
    let mut expected: BTreeMap<_, Vec<Row>> = BTreeMap::new();
    for row in rows("records.tsv") {
        let [topic, partition, offset, key, value, timestamp, headers, _] = &row[..] else { panic!("{row:?}") };
        let partition = TopicPartition::new(topic.as_str(), partition.parse().unwrap());
        expected.entry(partition).or_default().push((
            offset.parse().unwrap(),
            unescape(key),
            unescape(value),
            timestamp.parse().unwrap(),
            headers.clone(),
        ));
    }
    expected
}

fn row_of(record: Record<'_>) -> Row {
    let value = |value: Option<&[u8]>| value.map_or("\\N".to_owned(), escape);
    let headers: Vec<_> =
        record.headers().map(|header| format!("{}={}", escape(header.key_bytes()), value(header.value()))).collect();
    let headers = if headers.is_empty() { "-".to_owned() } else { headers.join(",") };
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    (record.offset(), owned(record.key()), owned(record.value()), record.timestamp(), headers)
}

#[test]
fn every_record_comes_back_and_control_records_do_not() {
    let dir = copy();
    for open in ["copied", "closed in order"] {
        let broker = Broker::open(dir.path()).unwrap();
        assert!(broker.recovery().failed.is_empty(), "{open}: {}", broker.recovery());
        assert_eq!(broker.recovery().cut_bytes(), 0);
        let mut compared = 0;
        for (name, expected) in expected() {
            let partition = broker.partition(&name).unwrap();
            let mut read = Vec::new();
            let mut offset = partition.log_start().unwrap();
            while offset < partition.high_watermark().unwrap() {
                let records = match partition.fetch(offset, &Default::default()).unwrap().decode(true) {
                    Ok(records) => records,
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::UnsupportedCompression { .. }), "{error}");
                        assert!(name.topic().contains("zstd") && !Compression::Zstd.is_supported(), "{error}");
                        read.clone_from(&expected);
                        break;
                    }
                };
                read.extend(records.iter().map(row_of));
                offset = records.next_offset();
            }
            assert_eq!(read, expected, "{open}: {name}");
            compared += read.len();
        }
        assert!(compared > 350);
        broker.close().unwrap();
    }
}

#[test]
fn groups_go_on_where_kafka_had_them() {
    let dir = copy();
    let broker = Broker::open(dir.path()).unwrap();
    let rows = rows("committed.tsv");
    assert_eq!(rows.len(), 8);
    for row in rows {
        let [group, topic, partition, offset, epoch, metadata] = &row[..] else { panic!("{row:?}") };
        let consumer = broker.consumer(ConsumerConfig::new().group_id(group.as_str())).unwrap();
        let partition = TopicPartition::new(topic.as_str(), partition.parse().unwrap());
        let committed = consumer.committed(&[partition]).unwrap()[0].1.clone().unwrap();
        assert_eq!(committed.offset().to_string(), *offset, "{row:?}");
        assert_eq!(committed.leader_epoch().unwrap_or(-1).to_string(), *epoch);
        let expected = if metadata == "-" { Vec::new() } else { unescape(metadata).unwrap() };
        assert_eq!(committed.metadata().as_bytes(), expected);
    }
}

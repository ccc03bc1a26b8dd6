//! Logs with transactions that Apache Kafka wrote, compared with what its own consumer read in them:
//! `tests/fixtures/kafka-*-transactions/HOW.md` says how they were made.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

#[path = "kafka/compare.rs"]
mod compare;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use compare::{Row, compare, is_codec_left_out, listed, read};
use thalweg::{
    AutoOffsetReset, Broker, ConsumerConfig, FetchOptions, IsolationLevel, RepairOptions, TopicPartition, repair,
};

const LEVELS: [IsolationLevel; 2] = [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted];

/// Partitions of a broker's `__consumer_offsets`; the fixture has the one with records.
const OFFSETS_PARTITIONS: i32 = 50;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.2.1-transactions")
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

#[test]
fn the_fixture_has_what_it_is_for() {
    let listed = listed(&fixture());
    let count = |topic: &str, outcome: &str| {
        let partition = &listed[&TopicPartition::new(topic, 0)];
        let rows = partition.uncommitted.iter();
        rows.filter(|(_, row)| row.contains(&format!("outcome={outcome}"))).count()
    };
    for topic in ["mixed", "trimmed", "zstd", "compacted"] {
        assert!(count(topic, "aborted") > 3 && count(topic, "committed") > 3, "{topic}");
    }
    assert!(count("mixed", "open") > 0);
    let mixed = &listed[&TopicPartition::new("mixed", 0)];
    assert!(mixed.committed.len() < mixed.expected(IsolationLevel::ReadCommitted).len());
    // Kafka's answers are those that whoever wrote the records expected.
    for partition in listed.values() {
        let counts = |(_, row): &&Row| row.contains("outcome=committed") || row.contains("outcome=plain");
        let expected: Vec<_> = partition.uncommitted.iter().filter(counts).cloned().collect();
        assert_eq!(partition.expected(IsolationLevel::ReadCommitted), expected);
    }
}

#[test]
fn both_levels_read_what_kafkas_consumer_does() {
    let dir = copy();
    for open in ["copied", "closed in order"] {
        let broker = Broker::open(dir.path()).unwrap();
        assert!(broker.recovery().failed.is_empty(), "{open}: {}", broker.recovery());
        assert_eq!(broker.recovery().cut_bytes(), 0);
        for max_bytes in [1, 300, 1000, 1 << 20] {
            assert!(compare(&broker, &fixture(), max_bytes) > 250);
        }
        broker.close().unwrap();
    }
}

#[test]
fn reading_may_begin_anywhere() {
    let dir = copy();
    let listed: Vec<_> = listed(&fixture()).into_iter().collect();
    // Opened anew, since the first read makes the list of transactions: it may be one at the beginning or at the end.
    for first in [0, 1, 40, 80] {
        let broker = Broker::open(dir.path()).unwrap();
        for (name, listed) in &listed {
            for (offset, level) in
                (listed.log_start + first..listed.high_watermark).flat_map(|at| LEVELS.map(|level| (at, level)))
            {
                let mut expected = listed.expected(level);
                expected.retain(|row| offset <= row.0);
                match read(&broker, name, level, offset, 500) {
                    Ok(rows) => assert_eq!(rows, expected, "{name} from {offset}"),
                    Err(error) => assert!(is_codec_left_out(&error), "{error}"),
                }
            }
        }
        broker.close().unwrap();
    }
}

#[test]
fn a_consumer_passes_over_what_is_not_committed_and_its_position_moves_on() {
    let dir = copy();
    let broker = Broker::open(dir.path()).unwrap();
    for (name, listed) in listed(&fixture()) {
        let readable = read(&broker, &name, IsolationLevel::ReadUncommitted, listed.log_start, 1 << 20);
        if readable.is_err_and(|error| is_codec_left_out(&error)) {
            continue;
        }
        for (level, max_poll_records, fetch_bytes) in
            LEVELS.into_iter().flat_map(|level| [(level, 1, 1), (level, 3, 1 << 20), (level, 500, 700)])
        {
            let config = ConsumerConfig::new().isolation_level(level).auto_offset_reset(AutoOffsetReset::None);
            let config = config.max_poll_records(max_poll_records).max_partition_fetch_bytes(fetch_bytes);
            let mut consumer = broker.consumer(config).unwrap();
            consumer.assign(std::slice::from_ref(&name)).unwrap();
            consumer.seek(&name, listed.log_start).unwrap();
            let mut offsets = Vec::new();
            while consumer.position(&name).unwrap() < listed.high_watermark {
                let records = consumer.poll(Duration::ZERO).unwrap();
                assert!(records.len() <= max_poll_records);
                offsets.extend(records.iter().map(|record| record.offset()));
            }
            assert!(listed.expected(level).iter().map(|row| row.0).eq(offsets), "{name}, {level:?}");
        }
    }
}

#[test]
fn offsets_of_aborted_transactions_are_not_committed() {
    let dir = copy();
    let broker = Broker::open(dir.path()).unwrap();
    let consumer = broker.consumer(ConsumerConfig::new().group_id("transactional")).unwrap();
    let committed = consumer.committed(&[TopicPartition::new("mixed", 0)]).unwrap();
    let (_, committed) = &committed[0];
    assert_eq!(committed.as_ref().unwrap().offset(), 3);
}

#[test]
fn transactions_stay_what_they_are_when_a_checkpoint_is_written_anew() {
    let dir = copy();
    let committed = || {
        let broker = Broker::open(dir.path()).unwrap();
        let partition = broker.partition(&TopicPartition::new("mixed", 0)).unwrap();
        let (mut offset, mut count) = (partition.log_start().unwrap(), 0);
        let options = FetchOptions::new().isolation_level(IsolationLevel::ReadCommitted);
        while offset < partition.high_watermark().unwrap() {
            let records = partition.fetch(offset, &options).unwrap().decode(true).unwrap();
            count += records.len();
            offset = records.next_offset();
        }
        broker.close().unwrap();
        count
    };
    let before = committed();
    fs::write(dir.path().join("mixed-0/thalweg-checkpoint"), "damaged").unwrap();
    let report = repair(dir.path(), &RepairOptions::new()).unwrap();
    assert_eq!((report.steps.len(), report.left.len()), (1, 0), "{report}");
    assert_eq!(committed(), before);
}

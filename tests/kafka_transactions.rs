//! Logs with transactions that Apache Kafka wrote, compared with what its own consumer read in them:
//! `tests/fixtures/kafka-*-transactions/HOW.md` says how they were made.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

#[path = "kafka/compare.rs"]
mod compare;

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use compare::{Listed, Row, compare, is_codec_left_out, listed, read};
use thalweg::{
    AutoOffsetReset, Broker, BrokerConfig, ConsumerConfig, FetchOptions, Fetcher, IsolationLevel, Offset, Partition,
    ProducerConfig, ProducerRecord, Records, RepairOptions, TopicPartition, repair,
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

/// The partitions of the fixture that this build can read, with what Kafka read in them.
fn readable(broker: &Broker) -> Vec<(TopicPartition, Listed, Arc<Partition>)> {
    let mut readable = Vec::new();
    for (name, listed) in listed(&fixture()) {
        let read = read(broker, &name, IsolationLevel::ReadUncommitted, listed.log_start, 1 << 20);
        if !read.is_err_and(|error| is_codec_left_out(&error)) {
            let partition = broker.partition(&name).unwrap();
            readable.push((name, listed, partition));
        }
    }
    assert!(!readable.is_empty());
    readable
}

fn offsets(records: &Records) -> Vec<Offset> {
    records.iter().map(|record| record.offset()).collect()
}

/// The offsets from `from` on that a reader gets.
fn expected(listed: &Listed, level: IsolationLevel, from: Offset) -> Vec<Offset> {
    listed.expected(level).into_iter().map(|(offset, _)| offset).filter(|offset| from <= *offset).collect()
}

/// fetch.md 14.7: segment by segment, as Kafka reads them; transactions span them.
#[test]
fn both_levels_read_what_kafkas_consumer_does_one_segment_at_a_time() {
    let dir = copy();
    let broker = Broker::open_with(dir.path(), BrokerConfig::new().fetch_cross_segments(false)).unwrap();
    for max_bytes in [1, 300, 1 << 20] {
        assert!(compare(&broker, &fixture(), max_bytes) > 250);
    }
    // From the beginning of every segment, and from both sides of it.
    for (name, listed, partition) in readable(&broker) {
        let bases = fs::read_dir(dir.path().join(format!("{}-0", name.topic()))).unwrap();
        let bases = bases.filter_map(|file| file.unwrap().file_name().to_str()?.strip_suffix(".log")?.parse().ok());
        let bases: Vec<Offset> = bases.collect();
        assert!(bases.len() > 1, "{name}");
        for (base, level) in bases.iter().flat_map(|base| LEVELS.map(|level| (*base, level))) {
            for from in [base - 1, base, base + 1].into_iter().filter(|from| listed.log_start <= *from) {
                let options = FetchOptions::new().isolation_level(level);
                let fetched = partition.fetch(from, &options).unwrap();
                assert_eq!(fetched.slices().count(), 1, "{name} from {from}");
                let mut rows = expected(&listed, level, from);
                rows.retain(|offset| *offset < fetched.next_offset());
                assert_eq!(offsets(&fetched.decode(true).unwrap()), rows, "{name} from {from}");
            }
        }
    }
}

/// fetch.md 6 and 14.7: all partitions at once, within limits that cut them anywhere.
#[test]
fn a_fetcher_reads_what_kafkas_consumer_does() {
    let dir = copy();
    let broker = Broker::open(dir.path()).unwrap();
    let partitions = readable(&broker);
    for (level, max_bytes) in LEVELS.into_iter().flat_map(|level| [1, 400, 3000, 1 << 20].map(|bytes| (level, bytes))) {
        let mut fetcher = Fetcher::new(FetchOptions::new().isolation_level(level).max_bytes(max_bytes));
        for (_, listed, partition) in &partitions {
            fetcher.add(Arc::clone(partition), listed.log_start).unwrap();
        }
        let mut read: Vec<(TopicPartition, Offset)> = Vec::new();
        loop {
            let answers: Vec<_> = fetcher.fetch().into_iter().map(|answer| answer.unwrap()).collect();
            if answers.iter().all(|fetched| fetched.is_empty()) {
                break;
            }
            for fetched in answers {
                let records = fetched.decode(true).unwrap();
                read.extend(offsets(&records).into_iter().map(|offset| (records.partition().clone(), offset)));
                fetcher.seek(records.partition(), records.next_offset()).unwrap();
            }
        }
        for (name, listed, _) in &partitions {
            let of_one = read.iter().filter(|(partition, _)| partition == name).map(|(_, offset)| *offset);
            assert!(of_one.eq(expected(listed, level, 0)), "{name}, {level:?}, {max_bytes} bytes");
        }
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn block_on<F: Future + Unpin>(future: &mut F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match Pin::new(&mut *future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// fetch.md 6, "must survive the parked path too" (KAFKA-5355, KAFKA-5376); 14.8: also from inside gaps.
#[test]
fn the_isolation_level_survives_the_wait() {
    for is_fetcher in [false, true] {
        let dir = copy();
        let broker = Broker::open(dir.path()).unwrap();
        for (name, listed, partition) in readable(&broker) {
            let mut waiting = Vec::new();
            for (level, from) in
                (listed.log_start..=listed.high_watermark).flat_map(|from| LEVELS.map(|level| (level, from)))
            {
                let there = partition.fetch(from, &FetchOptions::new()).unwrap().len();
                let options = FetchOptions::new().isolation_level(level).min_bytes(there + 1).max_wait(Duration::MAX);
                if is_fetcher {
                    let mut fetcher = Fetcher::new(options);
                    fetcher.add(Arc::clone(&partition), from).unwrap();
                    // It borrows the fetcher, so it is owned by what is polled.
                    let mut future: Pin<Box<dyn Future<Output = _>>> =
                        Box::pin(async move { fetcher.fetch_async().await.remove(0) });
                    assert!(poll(&mut future).is_pending());
                    waiting.push((level, from, future));
                } else {
                    let mut future: Pin<Box<dyn Future<Output = _>>> = Box::pin(partition.fetch_async(from, &options));
                    assert!(poll(&mut future).is_pending());
                    waiting.push((level, from, future));
                }
            }
            let producer = broker.producer(ProducerConfig::new()).unwrap();
            let record = ProducerRecord::new(name.topic(), "plain").partition(0);
            let sent = producer.send(record).unwrap().wait().unwrap().offset;
            assert_eq!(sent, listed.high_watermark);
            for (level, from, mut future) in waiting {
                let fetched = block_on(&mut future); // who is woken may be so a moment after the sender
                let mut rows = expected(&listed, level, from);
                rows.push(sent);
                assert_eq!(offsets(&fetched.unwrap().decode(true).unwrap()), rows, "{name} from {from}, {level:?}");
            }
        }
    }
}

/// fetch.md 14.7: a consumer that holds records back.
#[test]
fn a_consumer_with_a_minimum_passes_over_what_is_not_committed() {
    let dir = copy();
    let broker = Broker::open(dir.path()).unwrap();
    for (name, listed, _) in readable(&broker) {
        for (level, min_bytes) in LEVELS.into_iter().flat_map(|level| [0, 500, 1 << 20].map(|bytes| (level, bytes))) {
            let config = ConsumerConfig::new().isolation_level(level).auto_offset_reset(AutoOffsetReset::Earliest);
            let config = config.fetch_min_bytes(min_bytes).fetch_max_wait(Duration::from_millis(1));
            let mut consumer = broker.consumer(config.max_partition_fetch_bytes(400)).unwrap();
            consumer.assign(std::slice::from_ref(&name)).unwrap();
            consumer.seek(&name, listed.log_start).unwrap();
            let mut offsets = Vec::new();
            while consumer.position(&name).unwrap() < listed.high_watermark {
                let records = consumer.poll(Duration::from_millis(20)).unwrap();
                offsets.extend(records.iter().map(|record| record.offset()));
            }
            assert_eq!(offsets, expected(&listed, level, 0), "{name}, {level:?}, {min_bytes} bytes");
        }
    }
}

/// fetch.md 14.8: in a gap, at the last offset of a batch that compaction took out of it, and behind it.
#[test]
fn a_fetch_in_a_gap_goes_on_behind_it() {
    let dir = copy();
    let broker = Broker::open(dir.path()).unwrap();
    let partition = broker.partition(&TopicPartition::new("compacted", 0)).unwrap();
    let base = |offset: Offset| {
        let slice = partition.fetch(offset, &FetchOptions::new().max_bytes(0)).unwrap().slices().next().unwrap();
        Offset::from_be_bytes(slice[..8].try_into().unwrap())
    };
    // Batches 51-54 and 60-63; between segments 38 and 41; 86-89.
    for (offset, expected) in [(54, 51), (55, 60), (59, 60), (60, 60), (38, 38), (39, 41), (40, 41), (86, 90), (78, 79)]
    {
        assert_eq!(base(offset), expected, "{offset}");
    }
    // A batch without records is passed over, and so is what was taken from the end of one.
    let first = partition.fetch(0, &FetchOptions::new().max_bytes(0)).unwrap();
    assert_eq!((first.len(), first.next_offset(), first.decode(true).unwrap().len()), (61, 1, 0));
    for (_, listed, partition) in readable(&broker).into_iter().filter(|(name, ..)| name.topic() == "compacted") {
        for offset in 0..listed.high_watermark {
            let fetched = partition.fetch(offset, &FetchOptions::new().max_bytes(0)).unwrap();
            assert!(offset < fetched.next_offset());
            // The one knows where the next segment begins, the other only what it has read.
            let next = fetched.decode(true).unwrap().next_offset();
            assert!(offset < next && next <= fetched.next_offset());
        }
    }
}

/// fetch.md 14.8: the last batches of a log have no records any more; compaction keeps them for their offsets.
#[test]
fn a_log_may_end_in_batches_without_records() {
    let dir = copy();
    let topic = dir.path().join("compacted-0");
    for file in fs::read_dir(&topic).unwrap().map(|file| file.unwrap()) {
        if file.file_name() != "00000000000000000000.log" {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let path = topic.join("00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let mut empty = bytes[..61].to_vec(); // the first batch has no records; its offset is not in the checksum
    for base in [45_i64, 49] {
        empty[..8].copy_from_slice(&base.to_be_bytes());
        bytes.extend(&empty);
    }
    fs::write(&path, bytes).unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    let partition = broker.partition(&TopicPartition::new("compacted", 0)).unwrap();
    assert_eq!((partition.log_end().unwrap(), partition.high_watermark().unwrap()), (50, 50));
    for offset in 39..=49 {
        let fetched = partition.fetch(offset, &FetchOptions::new()).unwrap();
        let batches = if offset <= 45 { 2 } else { 1 };
        assert_eq!((fetched.len(), fetched.next_offset()), (61 * batches, 50), "{offset}");
        let records = fetched.decode(true).unwrap();
        assert_eq!((records.len(), records.next_offset()), (0, 50));
    }
    // At the end there is nothing, and it is waited for.
    let at_the_end = partition.fetch(50, &FetchOptions::new()).unwrap();
    assert_eq!((at_the_end.len(), at_the_end.next_offset()), (0, 50));
    let options = FetchOptions::new().max_wait(Duration::MAX);
    let mut future = partition.fetch_async(50, &options);
    assert!(poll(&mut future).is_pending());
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    producer.send(ProducerRecord::new("compacted", "v").key("k").partition(0)).unwrap().wait().unwrap();
    assert_eq!(offsets(&block_on(&mut future).unwrap().decode(true).unwrap()), [50]);
    assert!(partition.fetch(52, &options).is_err());
}

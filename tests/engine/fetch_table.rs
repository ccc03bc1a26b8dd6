//! What a fetch of one partition returns: the table of fetch.md 4, and all there is beside it.

use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use thalweg::{BrokerConfig, ErrorKind, FetchOptions, Fetched, Fetcher, Offset, Partition, TopicConfig};

use crate::support::{Simulated, Wakes, parked, ready, send_batch, tp};

/// End offset and size of the batches of the table: 0-9, 10-19, 20-29.
const BATCHES: [(Offset, usize); 3] = [(10, 1000), (20, 1000), (30, 5000)];

/// Where a batch ends, in bytes.
fn byte_end(batch: usize) -> usize {
    BATCHES[..=batch].iter().map(|(_, size)| size).sum()
}

/// The log of the table in partition `t-0`, and another batch in `t-1`.
struct Table {
    simulated: Simulated,
    partition: Arc<Partition>,
    /// All bytes of the log, as they were written.
    bytes: Vec<u8>,
    high_watermark: Offset,
}

impl Table {
    fn new(segments: usize, broker: BrokerConfig, high_watermark: Offset, log_start: Offset) -> Self {
        let simulated = Simulated::new(broker);
        // The third batch does not fit behind the two others, or everything fits.
        let topic = TopicConfig::new().internal_segment_bytes(if segments == 2 { 5000 } else { 1 << 20 });
        simulated.broker.create_topic("t", 2, topic).unwrap();
        send_batch(&simulated.broker, 1, 1000);
        simulated.show();
        for (end, size) in BATCHES {
            send_batch(&simulated.broker, 0, size);
            if end == high_watermark {
                simulated.show();
            }
        }
        let partition = simulated.broker.partition(&tp(0)).unwrap();
        // Behind its batches a file may have room.
        let files: &[_] = if segments == 2 { &[(0, 2000), (20, 5000)] } else { &[(0, 7000)] };
        let batches = |(base, size): &(Offset, usize)| {
            fs::read(simulated.store.file(&format!("{base:020}.log"))).unwrap().into_iter().take(*size)
        };
        let bytes = files.iter().flat_map(batches);
        let table = Table { bytes: bytes.collect(), simulated, partition, high_watermark };
        assert_eq!(table.bytes.len(), 7000);
        assert_eq!(table.simulated.broker.stats().segments, segments + 1);
        assert_eq!(table.partition.log_end().unwrap(), 30);
        assert_eq!(table.partition.high_watermark().unwrap(), high_watermark);
        assert_eq!(table.partition.delete_records(log_start).unwrap(), log_start);
        table
    }

    /// Fetches behind another partition that has taken the guarantee of one batch.
    fn fetch_as_second(&self, offset: Offset, cap: usize) -> thalweg::Result<Fetched> {
        let mut fetcher = Fetcher::new(FetchOptions::new().max_partition_bytes(cap));
        fetcher.add(self.simulated.broker.partition(&tp(1)).unwrap(), 0).unwrap();
        fetcher.add(Arc::clone(&self.partition), offset).unwrap();
        let mut answers = fetcher.fetch();
        assert!(!answers[0].as_ref().unwrap().is_empty());
        answers.remove(1)
    }

    fn fetch(&self, offset: Offset, cap: usize, is_first: bool) -> thalweg::Result<Fetched> {
        let options = FetchOptions::new().max_partition_bytes(cap);
        if is_first { self.partition.fetch(offset, &options) } else { self.fetch_as_second(offset, cap) }
    }

    /// Compares everything that an answer says.
    fn check(&self, row: &str, (offset, cap, is_first): (Offset, usize, bool), expected: &Expected) {
        let answer = self.fetch(offset, cap, is_first);
        let log_start = self.partition.log_start().unwrap();
        match (answer, expected) {
            (Ok(fetched), Bytes(range)) => {
                let bytes: Vec<u8> = fetched.slices().flatten().collect();
                assert!(bytes == self.bytes[range.clone()], "{row}: {} bytes, not {range:?}", bytes.len());
                assert_eq!((fetched.len(), fetched.is_empty()), (range.len(), range.is_empty()), "{row}");
                let behind = BATCHES.iter().enumerate().find(|(batch, _)| byte_end(*batch) == range.end);
                let next = if range.is_empty() { offset } else { behind.unwrap().1.0 };
                assert_eq!((fetched.offset(), fetched.next_offset()), (offset, next), "{row}");
                assert_eq!((fetched.high_watermark(), fetched.log_start()), (self.high_watermark, log_start), "{row}");
                // The reader skips what lies below, and gets all the rest.
                let records = fetched.decode(true).unwrap();
                assert!(records.iter().map(|record| record.offset()).eq(offset..next), "{row}");
            }
            (Err(error), OutOfRange) => {
                let (high_watermark, log_end) = (self.high_watermark, 30);
                let kind = ErrorKind::OffsetOutOfRange { requested: offset, log_start, high_watermark, log_end };
                assert_eq!((error.kind(), error.partition()), (&kind, Some(&tp(0))), "{row}");
            }
            (answer, _) => panic!("{row}: {answer:?} instead of {expected:?}"),
        }
    }
}

#[derive(Debug)]
enum Expected {
    /// Of the whole log.
    Bytes(Range<usize>),
    OutOfRange,
}

use Expected::{Bytes, OutOfRange};

const NOTHING: Expected = Bytes(0..0);

/// Any cap.
const ANY: &[usize] = &[0, 1, 999, 1000, 4999, 5000, 1 << 20, usize::MAX];

struct Row {
    offsets: &'static [Offset],
    caps: &'static [usize],
    is_first: bool,
    high_watermark: Offset,
    log_start: Offset,
    expected: Expected,
    /// Whether a fetch with time waits.
    waits: bool,
}

/// fetch.md 4, the table: the columns as they are there.
fn rows() -> Vec<Row> {
    let row = |offsets, caps, is_first, high_watermark, log_start, expected| Row {
        offsets,
        caps,
        is_first,
        high_watermark,
        log_start,
        expected,
        waits: false,
    };
    let waits = |row| Row { waits: true, ..row };
    vec![
        row(&[0], &[1500], true, 30, 0, Bytes(0..1000)),
        row(&[5], &[2000], true, 30, 0, Bytes(0..2000)),
        row(&[20], &[1500], true, 30, 0, Bytes(2000..7000)),
        row(&[20], &[1500], false, 30, 0, NOTHING),
        row(&[0], &[10_000], true, 20, 0, Bytes(0..2000)),
        waits(row(&[20, 25], ANY, true, 20, 0, NOTHING)),
        waits(row(&[30], ANY, true, 30, 0, NOTHING)),
        row(&[31], ANY, true, 30, 0, OutOfRange),
        row(&[15], &[0, 1, 1000, 1500], true, 30, 15, Bytes(1000..2000)),
        row(&[15], &[1 << 20], true, 30, 15, Bytes(1000..7000)),
        row(&[14], ANY, true, 30, 15, OutOfRange),
        row(&[0], &[0], true, 30, 0, Bytes(0..1000)),
    ]
}

/// fetch.md 4, 14.1.
#[test]
fn every_row_of_the_table_in_one_segment_and_in_two() {
    for (segments, row) in [1, 2].into_iter().flat_map(|segments| rows().into_iter().map(move |row| (segments, row))) {
        let table = Table::new(segments, BrokerConfig::new(), row.high_watermark, row.log_start);
        for (offset, cap) in row.offsets.iter().flat_map(|offset| row.caps.iter().map(move |cap| (*offset, *cap))) {
            let name = format!("{segments} segments, {offset} with {cap}, to {}", row.high_watermark);
            table.check(&name, (offset, cap, row.is_first), &row.expected);
            if row.waits {
                let _ = parked(&table.partition, offset, FetchOptions::new().max_partition_bytes(cap));
            }
        }
    }
}

/// What fetch.md 2 and 4 say, in the words of the batches.
fn model(
    table: &Table,
    log_start: Offset,
    (offset, cap, is_first): (Offset, usize, bool),
    one_segment: bool,
) -> Expected {
    if offset < log_start || 30 < offset {
        return OutOfRange;
    }
    let visible = BATCHES.iter().filter(|(end, _)| *end <= table.high_watermark).count();
    let Some(first) = (0..visible).find(|batch| offset < BATCHES[*batch].0) else { return NOTHING };
    let from = byte_end(first) - BATCHES[first].1;
    let mut to = from;
    for batch in first..visible {
        let is_guaranteed = is_first && batch == first;
        let is_elsewhere = one_segment && batch == 2 && first < 2;
        if is_elsewhere || !is_guaranteed && cap < byte_end(batch) - from {
            break;
        }
        to = byte_end(batch);
    }
    if from == to { NOTHING } else { Bytes(from..to) }
}

/// Every offset with every cap that matters, under every high watermark and log start.
fn check_all(segments: usize, crosses_segments: bool) {
    for high_watermark in [0, 10, 20, 30] {
        for log_start in [0, 1, 10, 15, 20, 29, 30].into_iter().filter(|start| *start <= high_watermark) {
            if segments == 2 && log_start >= 20 {
                continue; // the first segment is gone: the same as one
            }
            let config = BrokerConfig::new().fetch_cross_segments(crosses_segments);
            let table = Table::new(segments, config, high_watermark, log_start);
            for offset in -1..=31 {
                for cap in [0, 1, 999, 1000, 1001, 1999, 2000, 4999, 5000, 6000, 6999, 7000, usize::MAX] {
                    for is_first in [true, false] {
                        let one_segment = segments == 2 && !crosses_segments;
                        let expected = model(&table, log_start, (offset, cap, is_first), one_segment);
                        let name = format!("{segments} segments, {log_start}..{high_watermark}, {offset} with {cap}");
                        table.check(&name, (offset, cap, is_first), &expected);
                    }
                }
            }
        }
    }
}

/// fetch.md 2, 14.1.
#[test]
fn every_offset_cap_and_high_watermark_in_one_segment() {
    check_all(1, true);
}

/// fetch.md 2, 14.1: the answer goes on in the next segment.
#[test]
fn every_offset_cap_and_high_watermark_in_two_segments() {
    check_all(2, true);
}

/// fetch.md 2, "one fetch reads at most one segment": what Kafka does.
#[test]
fn every_offset_cap_and_high_watermark_one_segment_at_a_time() {
    check_all(2, false);
    let table = Table::new(2, BrokerConfig::new().fetch_cross_segments(false), 30, 0);
    table.check("to the end of the segment", (0, usize::MAX, true), &Bytes(0..2000));
    table.check("then the next one", (20, usize::MAX, true), &Bytes(2000..7000));
}

/// fetch.md 1: the effective cap is the smaller one of the broker's and the fetch's.
#[test]
fn the_brokers_limit_is_the_limit_of_all_fetches() {
    for (limit, expected) in [(1024, 1000), (2047, 2000), (6999, 2000), (7000, 7000)] {
        let table = Table::new(1, BrokerConfig::new().fetch_max_bytes(limit), 30, 0);
        assert_eq!(table.partition.fetch(0, &FetchOptions::new()).unwrap().len(), expected, "limit {limit}");
        // The first batch comes in any case.
        assert_eq!(table.partition.fetch(20, &FetchOptions::new()).unwrap().len(), 5000, "limit {limit}");
        // And min bytes counts as that: the fetch does not wait for what it would never get.
        let options = FetchOptions::new().min_bytes(usize::MAX).max_wait(Duration::MAX);
        let mut future = table.partition.fetch_async(0, &options);
        ready(Wakes::new().poll(&mut future)).unwrap();
    }
    let table = Table::new(1, BrokerConfig::new(), 30, 0);
    let _ = parked(&table.partition, 0, FetchOptions::new().min_bytes(usize::MAX));
}

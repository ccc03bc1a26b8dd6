//! What it costs to get at one record by its offset, against a search in a sorted list and a slice of the same map.
//!
//! 1 GiB of values of 1 KiB, batches of 16 KiB, cached; in segments of 128 MiB, and in one. Offsets are random, so each
//! look-up touches memory that the last ones did not. Every look-up is timed by itself, and `clock` is what the timing
//! takes of it. A table is measured if its name contains one of the arguments, or if there are none: `random`, `tail`.
//! `--test` or the absence of `--bench` makes it a small log and one tiny round.
//!
//! - `bare`: the batch is looked up in a list of offsets and positions, and its first bytes are read.
//! - `fetch`: a fetch of the one batch that holds the offset.
//! - `record`: as that, with the checksum, the check of the records, and a walk to the one that was wanted.
//! - `bare, record`: as `bare`, with the checksum of the batch.
//! - `tail`: the last batch of a log, of one record of 100 bytes, again and again.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so")]
#![expect(clippy::print_stdout, reason = "the result of the benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[allow(dead_code, reason = "each benchmark takes what it needs")]
#[path = "durability/table.rs"]
mod table;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use thalweg::{Broker, BrokerConfig, Durability, FetchOptions, Offset, Partition, ProducerConfig, ProducerRecord};
use thalweg::{TopicConfig, TopicPartition};

use table::{Contestants, Limit, Table, Target};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let is_tiny = has("--test") || !has("--bench");
    let (rounds, lookups, records) = if is_tiny { (1, 100, 4 << 10) } else { (21, 10_000, 1 << 20) };

    let dir = tempfile::tempdir_in(std::env::var("THALWEG_BENCH_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
    let config = BrokerConfig::new().fetch_max_bytes(i32::MAX as usize);
    let broker = Broker::open_with(dir.path(), config).unwrap();
    let offsets = Offsets { records: records as u64, lookups };
    let mut targets = Vec::new();
    if is_wanted("random") {
        targets.extend(random(&broker, &offsets, rounds));
    }
    if is_wanted("tail") {
        tail(&broker, &offsets, rounds);
    }
    println!("\ntargets");
    targets.iter().for_each(|target| println!("  {target}"));
}

fn random(broker: &Broker, offsets: &Offsets, rounds: usize) -> Vec<Target> {
    let segments = Filled::new(broker, "segments", 128 << 20, offsets.records as usize);
    let one = Filled::new(broker, "one", (2 << 30) - 1, offsets.records as usize);
    let options = &FetchOptions::new().max_bytes(0);
    let contestants: Contestants<'_, 3> = vec![
        ("clock", Box::new(|| offsets.time(|_| 0))),
        ("bare", Box::new(|| offsets.time(|offset| one.bare(offset)))),
        ("fetch, 128 MiB segments", Box::new(|| offsets.time(|offset| segments.fetch(offset, options)))),
        ("fetch, one segment", Box::new(|| offsets.time(|offset| one.fetch(offset, options)))),
        ("bare, record", Box::new(|| offsets.time(|offset| one.bare_record(offset)))),
        ("record, 128 MiB segments", Box::new(|| offsets.time(|offset| segments.record(offset, options)))),
        ("record, one segment", Box::new(|| offsets.time(|offset| one.record(offset, options)))),
    ];
    let table = Table::measure(rounds, contestants);
    table.print("random: 1 KiB", ["p50 ns", "p99 ns", "mean ns"], "bare");
    let clock = table.median("clock", 0);
    let target = |name: &str| {
        let ratio = (table.median(name, 0) - clock) / 1000.0;
        Target { what: format!("random: {name}: p50, to 1 us"), ratio, limit: Limit::AtMost(1.0) }
    };
    ["fetch, 128 MiB segments", "fetch, one segment"].map(target).into()
}

fn tail(broker: &Broker, offsets: &Offsets, rounds: usize) {
    let tail = small_batches(broker);
    let (last, options) = (tail.end - 1, &FetchOptions::new().max_bytes(0));
    let waits = &options.clone().max_wait(Duration::from_secs(1));
    let contestants: Contestants<'_, 3> = vec![
        ("clock", Box::new(|| offsets.time(|_| 0))),
        ("bare", Box::new(|| offsets.time(|_| tail.bare(last)))),
        ("fetch", Box::new(|| offsets.time(|_| tail.fetch(last, options)))),
        ("fetch, may wait", Box::new(|| offsets.time(|_| tail.fetch(last, waits)))),
        ("record", Box::new(|| offsets.time(|_| tail.record(last, options)))),
    ];
    let table = Table::measure(rounds, contestants);
    table.print("tail: 100 bytes", ["p50 ns", "p99 ns", "mean ns"], "bare");
}

/// Which offsets are looked up.
struct Offsets {
    records: u64,
    lookups: usize,
}

impl Offsets {
    /// p50, p99 and mean of the looks-up in ns.
    fn time(&self, lookup: impl Fn(Offset) -> u64) -> [f64; 3] {
        let mut state = Instant::now().elapsed().as_nanos() as u64 | 0x9e37_79b9_7f4a_7c15;
        let mut times: Vec<f64> = Vec::with_capacity(self.lookups);
        for _ in 0..self.lookups {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let offset = (state >> 11) % self.records;
            let began = Instant::now();
            black_box(lookup(offset as Offset));
            times.push(began.elapsed().as_nanos() as f64);
        }
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| times[times.len() * percent / 100];
        [at(50), at(99), times.iter().sum::<f64>() / times.len() as f64]
    }
}

/// A partition that is read, and what a bare reader needs of it.
struct Filled {
    partition: Arc<Partition>,
    end: Offset,
    slices: Vec<Bytes>,
    /// First offset, slice, position and size of each batch.
    batches: Vec<(Offset, usize, usize, usize)>,
}

impl Filled {
    fn new(broker: &Broker, topic: &str, segment_bytes: u64, records: usize) -> Self {
        let config = TopicConfig::new().durability(Durability::Os).segment_bytes(segment_bytes);
        broker.create_topic(topic, 1, config).unwrap();
        let producer = broker.producer(ProducerConfig::new().batch_size(16 << 10)).unwrap();
        for number in 0..records {
            producer.send(ProducerRecord::new(topic, &[number as u8; 1024])).unwrap().detach();
        }
        producer.close().unwrap();
        Filled::read(broker, topic)
    }

    fn read(broker: &Broker, topic: &str) -> Self {
        let partition = broker.partition(&TopicPartition::new(topic, 0)).unwrap();
        let all = FetchOptions::new().max_bytes(usize::MAX).max_partition_bytes(usize::MAX);
        let slices: Vec<_> = partition.fetch(0, &all).unwrap().slices().collect();
        let mut batches = Vec::new();
        for (number, slice) in slices.iter().enumerate() {
            let mut pos = 0;
            while pos < slice.len() {
                let size = 12 + u32::from_be_bytes(slice[pos + 8..pos + 12].try_into().unwrap()) as usize;
                batches.push((base_offset(&slice[pos..]), number, pos, size));
                black_box(slice[pos..pos + size].iter().map(|byte| u64::from(*byte)).sum::<u64>());
                pos += size;
            }
        }
        Filled { end: partition.high_watermark().unwrap(), partition, slices, batches }
    }

    fn batch(&self, offset: Offset) -> &[u8] {
        let at = self.batches.partition_point(|batch| batch.0 <= offset) - 1;
        let (_, slice, pos, size) = self.batches[at];
        &self.slices[slice][pos..pos + size]
    }

    fn bare(&self, offset: Offset) -> u64 {
        base_offset(self.batch(offset)) as u64
    }

    fn bare_record(&self, offset: Offset) -> u64 {
        crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, self.batch(offset))
    }

    fn fetch(&self, offset: Offset, options: &FetchOptions) -> u64 {
        self.partition.fetch(offset, options).unwrap().len() as u64
    }

    fn record(&self, offset: Offset, options: &FetchOptions) -> u64 {
        let records = self.partition.fetch(offset, options).unwrap().decode(true).unwrap();
        let record = records.iter().next().unwrap();
        assert_eq!(record.offset(), offset);
        u64::from(record.value().unwrap()[0])
    }
}

fn base_offset(batch: &[u8]) -> Offset {
    i64::from_be_bytes(batch[..8].try_into().unwrap())
}

/// A log of a thousand small batches.
fn small_batches(broker: &Broker) -> Filled {
    broker.create_topic("tail", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
    let producer = broker.producer(ProducerConfig::new().linger(Duration::ZERO)).unwrap();
    (0..1000).for_each(|_| producer.send(ProducerRecord::new("tail", &[7; 100])).unwrap().detach());
    Filled::read(broker, "tail")
}

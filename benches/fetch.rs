//! How fast records come out of the log, against walking the same bytes without an engine.
//!
//! 64 MiB of values in batches of 16 KiB, cached. `sum` touches every value byte; the baseline computes the same
//! checksum and sum over the raw bytes that a fetch returns, in pieces of the size of a batch.
//!
//! At the end the contestants take turns, and a table says how their medians relate. `cargo bench --bench fetch -- table`
//! prints nothing else.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so")]
#![expect(clippy::print_stdout, reason = "it prints a table")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group};
use thalweg::{AutoOffsetReset, Broker, Compression, Consumer, ConsumerConfig, Durability, FetchOptions, Offset};
use thalweg::{Partition, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

const VALUE_BYTES: usize = 64 << 20;
/// The default, and what stays in a core's own cache between decoding and iterating.
const FETCH_BYTES: [usize; 2] = [1 << 20, 128 << 10];
const BATCH_BYTES: usize = 16 << 10;
const ROUNDS: usize = 15;

/// The sum of all little-endian words and of the bytes behind the last.
#[inline]
fn sum(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let words = words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    tail.iter().fold(words, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

fn options(fetch_bytes: usize) -> FetchOptions {
    FetchOptions::new().max_bytes(fetch_bytes).max_partition_bytes(fetch_bytes)
}

/// A topic full of values of one size.
struct Topic {
    broker: Broker,
    name: TopicPartition,
    partition: Arc<Partition>,
    end: Offset,
    slices: Vec<Bytes>,
    _dir: tempfile::TempDir,
}

impl Topic {
    fn new(size: usize, compression: Compression) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
        let producer = broker.producer(ProducerConfig::new().compression_type(compression)).unwrap();
        let mut state = 1_u32;
        let mut value = vec![0; size];
        for number in 0..VALUE_BYTES / size {
            value.fill(number as u8);
            if compression != Compression::None {
                // Half of the bits are noise.
                value.iter_mut().for_each(|byte| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *byte = b'a' + (state >> 28) as u8;
                });
            }
            producer.send(ProducerRecord::new("t", &value)).unwrap().detach();
        }
        producer.close().unwrap();
        let name = TopicPartition::new("t", 0);
        let partition = broker.partition(&name).unwrap();
        let end = partition.high_watermark().unwrap();
        let (mut slices, mut offset) = (Vec::new(), 0);
        while offset < end {
            let fetched = partition.fetch(offset, &options(32 << 20)).unwrap();
            slices.extend(fetched.slices());
            offset = fetched.next_offset();
        }
        Topic { broker, name, partition, end, slices, _dir: dir }
    }

    #[inline]
    fn scan(&self, end: Offset, fetch_bytes: usize, touch: impl Fn(&[u8]) -> u64) -> u64 {
        let options = options(fetch_bytes);
        let (mut offset, mut total) = (0, 0_u64);
        while offset < end {
            let records = self.partition.fetch(offset, &options).unwrap().decode(true).unwrap();
            for record in &records {
                total = total.wrapping_add(touch(record.value().unwrap_or_default()));
            }
            offset = records.next_offset();
        }
        total
    }

    /// As [`scan`](Topic::scan), batch by batch.
    #[inline]
    fn scan_batches(&self, touch: impl Fn(&[u8]) -> u64) -> u64 {
        let options = options(FETCH_BYTES[0]);
        let (mut offset, mut total) = (0, 0_u64);
        while offset < self.end {
            let fetched = self.partition.fetch(offset, &options).unwrap();
            let mut batches = fetched.batches(true);
            while let Some(records) = batches.next_batch().unwrap() {
                for record in records {
                    total = total.wrapping_add(touch(record.value().unwrap_or_default()));
                }
            }
            offset = batches.next_offset();
        }
        total
    }

    fn batches(&self) -> u64 {
        self.scan_batches(|value| black_box(value).len() as u64)
    }

    fn batches_sum(&self) -> u64 {
        self.scan_batches(sum)
    }

    fn decode(&self, fetch_bytes: usize) -> u64 {
        self.scan(self.end, fetch_bytes, |value| black_box(value).len() as u64)
    }

    fn decode_sum(&self, fetch_bytes: usize) -> u64 {
        self.scan(self.end, fetch_bytes, sum)
    }

    /// The first fetch again and again, until as many records have come: its bytes stay in the core's cache.
    fn decode_again(&self, fetch_bytes: usize) -> u64 {
        let first = self.partition.fetch(0, &options(fetch_bytes)).unwrap().next_offset();
        let decode = |_| self.scan(first, fetch_bytes, |value| black_box(value).len() as u64);
        (0..self.end / first).map(decode).sum()
    }

    fn consumer(&self) -> Consumer {
        let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest);
        let mut consumer = self.broker.consumer(config).unwrap();
        consumer.assign(std::slice::from_ref(&self.name)).unwrap();
        consumer
    }

    fn poll(&self, consumer: &mut Consumer) -> u64 {
        consumer.seek(&self.name, 0).unwrap();
        let mut seen = 0;
        while seen < self.end as u64 {
            let records = consumer.poll(Duration::ZERO).unwrap();
            for record in records.iter() {
                black_box(record.value());
                seen += 1;
            }
        }
        seen
    }

    fn baseline(&self) -> u64 {
        let crc_and_sum = |piece: &[u8]| {
            black_box(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, piece));
            sum(piece)
        };
        let pieces = self.slices.iter().flat_map(|slice| slice.chunks(BATCH_BYTES));
        pieces.fold(0, |total, piece| total.wrapping_add(crc_and_sum(piece)))
    }
}

fn fetches(criterion: &mut Criterion) {
    for size in [100, 1024] {
        let topic = Topic::new(size, Compression::None);
        let mut group = criterion.benchmark_group(format!("fetch_{size}_bytes_64_MiB_cached"));
        group.throughput(Throughput::Elements(topic.end as u64));
        group.bench_function("thalweg_decode", |bencher| bencher.iter(|| topic.decode(FETCH_BYTES[0])));
        group.bench_function("thalweg_decode_sum", |bencher| bencher.iter(|| topic.decode_sum(FETCH_BYTES[0])));
        let mut consumer = topic.consumer();
        group.bench_function("thalweg_poll", |bencher| bencher.iter(|| topic.poll(&mut consumer)));
        group.bench_function("baseline_crc_sum", |bencher| bencher.iter(|| topic.baseline()));
        group.finish();
    }
    for compression in [Compression::Lz4, Compression::Zstd].into_iter().filter(is_built_in) {
        let topic = Topic::new(100, compression);
        let mut group = criterion.benchmark_group(format!("fetch_100_bytes_64_MiB_{compression}_cached"));
        group.throughput(Throughput::Elements(topic.end as u64));
        group.bench_function("thalweg_decode_sum", |bencher| bencher.iter(|| topic.decode_sum(FETCH_BYTES[0])));
        group.finish();
    }
}

fn is_built_in(compression: &Compression) -> bool {
    let built_in = [(Compression::Lz4, cfg!(feature = "lz4")), (Compression::Zstd, cfg!(feature = "zstd"))];
    built_in.contains(&(*compression, true))
}

/// How long the rounds of a contestant took, in seconds.
#[derive(Clone, Copy)]
struct Seconds {
    median: f64,
    /// The round that was disturbed least.
    best: f64,
}

/// The seconds of each contestant, which take turns.
fn take_turns<const N: usize>(mut contestants: [&mut dyn FnMut() -> u64; N]) -> [Seconds; N] {
    let mut seconds = [const { Vec::new() }; N];
    for round in 0..=ROUNDS {
        for (contestant, seconds) in contestants.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            black_box(contestant());
            // The first round warms up.
            if 0 < round {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        Seconds { median: seconds[seconds.len() / 2], best: seconds[0] }
    })
}

fn row(name: &str, records: f64, seconds: Seconds, verdict: &str) {
    let (millions, best) = (records / seconds.median / 1e6, records / seconds.best / 1e6);
    let giga = VALUE_BYTES as f64 / seconds.median / 1e9;
    println!("{name:<28} {millions:>7.1} M records/s (best {best:>6.1}) {giga:>6.2} GB/s of values  {verdict}");
}

/// `is` of the medians and of the best rounds against `target`, which the medians have to reach.
fn verdict((median, best): (f64, f64), target: f64) -> String {
    let outcome = if target <= median { "reached" } else { "missed" };
    format!("{median:.2} (best rounds {best:.2}), target {target}: {outcome}")
}

fn table() {
    println!("\nmedians of {ROUNDS} rounds in turns, checksums checked");
    let [large, small] = FETCH_BYTES;
    for size in [100, 1024] {
        let topic = Topic::new(size, Compression::None);
        let records = topic.end as f64;
        let mut consumer = topic.consumer();
        let [batches, batches_sum, decode, decode_small, again, sum, sum_small, poll, baseline] = take_turns([
            &mut || topic.batches(),
            &mut || topic.batches_sum(),
            &mut || topic.decode(large),
            &mut || topic.decode(small),
            &mut || topic.decode_again(small),
            &mut || topic.decode_sum(large),
            &mut || topic.decode_sum(small),
            &mut || topic.poll(&mut consumer),
            &mut || topic.baseline(),
        ]);
        let against = |is: Seconds, target| match size {
            100 => verdict((records / is.median / 1e6, records / is.best / 1e6), target),
            _ => String::new(),
        };
        let against_baseline = |is: Seconds| match size {
            100 => against(is, 40.0),
            _ => format!("of the baseline {}", verdict((baseline.median / is.median, baseline.best / is.best), 0.8)),
        };
        let row = |name: &str, is, verdict: &str| row(&format!("{size} B {name}"), records, is, verdict);
        row("batches", batches, &against(batches, 60.0));
        row("batches_sum", batches_sum, &against_baseline(batches_sum));
        row("decode, 1 MiB", decode, &against(decode, 60.0));
        row("decode, 128 KiB", decode_small, &against(decode_small, 60.0));
        row("decode, in cache", again, "");
        row("decode_sum, 1 MiB", sum, &against_baseline(sum));
        row("decode_sum, 128 KiB", sum_small, &against_baseline(sum_small));
        row("poll", poll, "");
        row("baseline crc + sum", baseline, "");
    }
    for compression in [Compression::Lz4, Compression::Zstd].into_iter().filter(is_built_in) {
        let topic = Topic::new(100, compression);
        let [decode_sum] = take_turns([&mut || topic.decode_sum(large)]);
        row(&format!("100 B {compression} decode_sum"), topic.end as f64, decode_sum, "");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = fetches
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // Where the benchmarks are only run once, or listed, nobody wants to wait for the table.
    if !std::env::args().any(|argument| ["--test", "--list", "--profile-time"].contains(&argument.as_str())) {
        table();
    }
}

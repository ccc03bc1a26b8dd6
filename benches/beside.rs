//! How much a reader slows a writer, against the same reading without an engine.
//!
//! One thread appends records of 64 KiB, each a batch, durability `os`. A table is measured if its name contains one of
//! the arguments, or if there are none: `cached`, `cold`. As with criterion, `--test` or the absence of `--bench` makes
//! it one tiny round. Two free cores are needed.
//!
//! - `cached`: the writer's GB/s while another thread reads older segments of the partition, which are in memory, as fast
//!   as it can: fetches, checksums, sums all bytes. `bare` does the same with slices of the map that it was given before.
//! - `cold`: what an append takes, one every 100 us, while another thread reads older segments from the disk. `bare`
//!   reads the files with `pread`, 1 MiB at a time.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so")]
#![expect(clippy::print_stdout, reason = "the result of the benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[allow(dead_code, reason = "each benchmark takes what it needs")]
#[path = "durability/table.rs"]
mod table;

use std::fs::File;
use std::hint::{black_box, spin_loop};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{Advice, fadvise, syncfs};
use thalweg::{Broker, BrokerConfig, Durability, FetchOptions, Offset, Partition, Producer, ProducerConfig};
use thalweg::{ProducerRecord, TopicConfig, TopicPartition};

use table::{Contestants, Limit, Table, Target, percentiles};

const RECORD: usize = 64 << 10;
const SEGMENT: u64 = 64 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let scale = if has("--test") || !has("--bench") { TINY } else { FULL };

    let dir = tempfile::tempdir_in(std::env::var("THALWEG_BENCH_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
    let mut targets = Vec::new();
    let mut run = |name: &str, measure: &dyn Fn(&Path) -> Target| {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
            targets.push(measure(&dir.path().join(name)));
        }
    };
    run("cached", &|dir| cached(dir, &scale));
    run("cold", &|dir| cold(dir, &scale));
    println!("\ntargets");
    targets.iter().for_each(|target| println!("  {target}"));
}

/// How much is measured.
struct Scale {
    rounds: usize,
    cold_rounds: usize,
    /// Records that are there before. A turn of `cached` appends half as many.
    records: usize,
    /// Appends in a turn of `cold`.
    appends: usize,
}

/// A turn of `cold` takes 150 ms.
const FULL: Scale = Scale { rounds: 15, cold_rounds: 9, records: 4 << 10, appends: 1500 };
const TINY: Scale = Scale { rounds: 1, cold_rounds: 1, records: 1 << 8, appends: 10 };

fn cached(dir: &Path, scale: &Scale) -> Target {
    let store = Store::open(dir);
    store.fill(scale.records);
    let written = scale.records / 2;
    let turn = |reader: Option<Reader>| {
        let partition = store.partition();
        syncfs(File::open(dir).unwrap()).unwrap(); // what the turns before left in the cache
        let range = partition.log_start().unwrap()..partition.high_watermark().unwrap();
        scan(&partition, range.clone(), &AtomicBool::new(false), false); // who is first to look at a map pays for it
        let read = |ended: &AtomicBool| match reader {
            Some(Reader::Engine) => scan(&partition, range.clone(), ended, true),
            Some(Reader::Bare) => walk(&slices(&partition, range.clone()), ended),
            None => 0.0,
        };
        let (rate, read_rate) = beside(read, || {
            let began = Instant::now();
            store.fill(written);
            (written * RECORD) as f64 / 1e9 / began.elapsed().as_secs_f64()
        });
        // The memory of what goes is written to next: memory that was not used for long may take its time.
        partition.delete_records(range.start + written as Offset).unwrap();
        [rate, read_rate]
    };
    let contestants: Contestants<'_, 2> = vec![
        ("nobody reads", Box::new(|| turn(None))),
        ("a fetching reader", Box::new(|| turn(Some(Reader::Engine)))),
        ("bare", Box::new(|| turn(Some(Reader::Bare)))),
    ];
    let table = Table::measure(scale.rounds, contestants);
    table.print("cached: 64 KiB", ["write GB/s", "read GB/s"], "bare");
    let what = "cached: GB/s of the writer, to that beside a bare reader".to_owned();
    Target { what, ratio: table.ratio("a fetching reader", "bare"), limit: Limit::AtLeast(0.97) }
}

fn cold(dir: &Path, scale: &Scale) -> Target {
    Store::open(dir).fill(scale.records);
    let turn = |reader: Option<Reader>| {
        evict(dir);
        let store = Store::open(dir);
        let end = scale.records as Offset;
        let old_files = ((scale.records * RECORD) as u64 / SEGMENT).max(1) as usize;
        let files: Vec<_> = log_files(dir).into_iter().take(old_files).collect();
        let read = |ended: &AtomicBool| match reader {
            Some(Reader::Engine) => scan(&store.partition(), 0..end, ended, false),
            Some(Reader::Bare) => read_files(&files, ended),
            None => 0.0,
        };
        let (latencies, read_rate) = beside(read, || {
            let mut due = Instant::now();
            let append = |_| {
                while Instant::now() < due {
                    spin_loop();
                }
                due += Duration::from_micros(100);
                let began = Instant::now();
                store.fill(1);
                began.elapsed()
            };
            percentiles((0..scale.appends).map(append).collect())
        });
        [latencies[1], latencies[0], read_rate]
    };
    let contestants: Contestants<'_, 3> = vec![
        ("nobody reads", Box::new(|| turn(None))),
        ("a fetching reader", Box::new(|| turn(Some(Reader::Engine)))),
        ("bare", Box::new(|| turn(Some(Reader::Bare)))),
    ];
    let table = Table::measure(scale.cold_rounds, contestants);
    table.print("cold: append of 64 KiB", ["p99 us", "p50 us", "read GB/s"], "bare");
    let what = "cold: p99 of an append, to that beside a bare reader".to_owned();
    Target { what, ratio: table.ratio("a fetching reader", "bare"), limit: Limit::AtMost(1.1) }
}

#[derive(Clone, Copy)]
enum Reader {
    Engine,
    Bare,
}

/// Runs `write` while another thread reads until that has ended. What they returned.
fn beside<T>(read: impl FnOnce(&AtomicBool) -> f64 + Send, write: impl FnOnce() -> T) -> (T, f64) {
    let ended = &AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(move || read(ended));
        let written = write();
        ended.store(true, Ordering::Relaxed);
        (written, reader.join().unwrap())
    })
}

/// Reads a range of offsets, again and again if it `repeats`. GB/s.
fn scan(partition: &Partition, range: std::ops::Range<Offset>, ended: &AtomicBool, repeats: bool) -> f64 {
    let options = FetchOptions::new();
    let (began, mut bytes, mut offset) = (Instant::now(), 0, range.start);
    while !ended.load(Ordering::Relaxed) && (repeats || offset < range.end) {
        let fetched = partition.fetch(offset, &options).unwrap();
        let records = fetched.decode(true).unwrap();
        black_box(records.iter().map(|record| sum(record.value().unwrap())).sum::<u64>());
        bytes += fetched.len();
        offset = if records.next_offset() < range.end { records.next_offset() } else { range.start };
        if offset == range.start && !repeats {
            break;
        }
    }
    bytes as f64 / 1e9 / began.elapsed().as_secs_f64()
}

fn slices(partition: &Partition, range: std::ops::Range<Offset>) -> Vec<Bytes> {
    let all = FetchOptions::new().max_bytes(usize::MAX).max_partition_bytes(usize::MAX);
    let (mut slices, mut offset) = (Vec::new(), range.start);
    while offset < range.end {
        let fetched = partition.fetch(offset, &all).unwrap();
        slices.extend(fetched.slices());
        offset = fetched.next_offset();
    }
    slices
}

/// The checksum and the sum of all bytes, in pieces as large as batches. GB/s.
fn walk(slices: &[Bytes], ended: &AtomicBool) -> f64 {
    let (began, mut bytes) = (Instant::now(), 0);
    for piece in slices.iter().flat_map(|slice| slice.chunks(RECORD)).cycle() {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        crc_and_sum(piece);
        bytes += piece.len();
    }
    bytes as f64 / 1e9 / began.elapsed().as_secs_f64()
}

fn read_files(files: &[PathBuf], ended: &AtomicBool) -> f64 {
    let (began, mut bytes, mut buffer) = (Instant::now(), 0, vec![0; 1 << 20]);
    for file in files {
        let (file, mut pos) = (File::open(file).unwrap(), 0);
        while !ended.load(Ordering::Relaxed) {
            let len = file.read_at(&mut buffer, pos).unwrap();
            if len == 0 {
                break;
            }
            buffer[..len].chunks(RECORD).for_each(crc_and_sum);
            bytes += len;
            pos += len as u64;
        }
    }
    bytes as f64 / 1e9 / began.elapsed().as_secs_f64()
}

fn crc_and_sum(piece: &[u8]) {
    black_box(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, piece));
    black_box(sum(piece));
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

/// A broker with one topic and what writes to it.
struct Store {
    broker: Broker,
    producer: Producer,
    value: Vec<u8>,
}

impl Store {
    fn open(dir: &Path) -> Self {
        let broker = Broker::open_with(dir, BrokerConfig::new().fetch_max_bytes(i32::MAX as usize)).unwrap();
        let config = TopicConfig::new().durability(Durability::Os).segment_bytes(SEGMENT);
        let _ = broker.create_topic("t", 1, config); // it may be there
        let producer = broker.producer(ProducerConfig::new().linger(Duration::ZERO)).unwrap();
        Store { broker, producer, value: vec![7; RECORD - 100] }
    }

    fn partition(&self) -> std::sync::Arc<Partition> {
        self.broker.partition(&TopicPartition::new("t", 0)).unwrap()
    }

    fn fill(&self, records: usize) {
        (0..records).for_each(|_| self.producer.send(ProducerRecord::new("t", &self.value)).unwrap().detach());
    }
}

/// Sorted by offset.
fn log_files(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir.join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    files.sort();
    files
}

/// Takes the files out of the cache. Nobody has them mapped.
fn evict(dir: &Path) {
    for path in log_files(dir) {
        let file = File::open(path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}

//! How soon a fetch that waits has its records, against a bare wait for the same bytes in the same run.
//!
//! A table is measured if its name contains one of the arguments, or if there are none: `lone`, `busy`, `idle`,
//! `append`. As with criterion, `--test` or the absence of `--bench` makes it one tiny round. Two free cores are needed.
//!
//! - `lone`: a thread waits for the next record; another one appends it, and sleeps until the first has it and waits
//!   again. The time is that from before the append until the record's place is known in the first thread.
//! - `busy`: the same, but the thread that appends goes on computing.
//! - `idle`: as `lone`, with a pause before each append, so that both cores have gone to sleep.
//! - `append`: what an append costs while nobody waits, and while many wait for more.
//!
//! Bare is: the same `pwrite` of as many bytes, the new end stored under a lock, and a wake-up through the condition
//! variable (`bare`) or the thread's token (`bare, future`) which who waits is parked at; at the former with a deadline, as
//! every fetch has one: to set a timer and take it back costs a part of a wake-up.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so")]
#![expect(clippy::print_stdout, reason = "the result of the benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[allow(dead_code, reason = "each benchmark takes what it needs")]
#[path = "durability/table.rs"]
mod table;
#[path = "waiting/wake_ups.rs"]
mod wake_ups;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use thalweg::{Broker, BrokerConfig, Durability, FetchFuture, FetchOptions, Partition, Producer, ProducerConfig};
use thalweg::{Offset, ProducerRecord, TopicConfig, TopicPartition};

use table::{Contestants, Limit, Table, Target};
use wake_ups::{Appender, block_on, wake_ups};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let scale = if has("--test") || !has("--bench") { TINY } else { FULL };

    let dir = tempfile::tempdir_in(std::env::var("THALWEG_BENCH_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
    let mut targets = Vec::new();
    let mut run = |name: &str, measure: &dyn Fn(&Path) -> Vec<Target>| {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
            targets.extend(measure(&dir.path().join(name)));
        }
    };
    run("lone", &|dir| woken(dir, "lone", &scale, Appender::Sleeps));
    run("busy", &|dir| woken(dir, "busy", &scale, Appender::Works));
    run("idle", &|dir| woken(dir, "idle", &scale.slow(), Appender::Idles));
    run("append", &|dir| append(dir, &scale));
    println!("\ntargets");
    targets.iter().for_each(|target| println!("  {target}"));
}

/// How much is measured.
struct Scale {
    rounds: usize,
    /// Wake-ups in a turn.
    wake_ups: usize,
    /// Appends in a turn of `append`.
    appends: usize,
}

impl Scale {
    /// Less of it, where each round takes longer.
    fn slow(&self) -> Self {
        Scale { rounds: self.rounds.div_ceil(3), wake_ups: self.wake_ups.div_ceil(4), ..*self }
    }
}

const FULL: Scale = Scale { rounds: 31, wake_ups: 400, appends: 2000 };
const TINY: Scale = Scale { rounds: 1, wake_ups: 10, appends: 20 };

/// Longer than anybody waits.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Those who wait for more than what comes.
const CROWD: usize = 1000;

fn woken(dir: &Path, name: &str, scale: &Scale, appender: Appender) -> Vec<Target> {
    let broker = open(dir);
    let [alone, future, crowded] = ["alone", "future", "crowded"].map(|topic| Log::new(&broker, topic));
    let _crowd = crowded.crowd(CROWD);
    let bare = Bare::new(&dir.join("bare"), alone.batch_len());
    let bare_future = BareFuture::new(&dir.join("bare future"), alone.batch_len());

    let options = &FetchOptions::new().max_wait(MAX_WAIT);
    let fetched = |log: &Log| {
        let begin = log.end();
        let fetch = |round: usize| drop(log.partition.fetch(begin + round as Offset, options).unwrap());
        wake_ups(scale.wake_ups, appender, &mut || log.append(), &fetch)
    };
    let awaited = |log: &Log| {
        let begin = log.end();
        let fetch = |round: usize| drop(block_on(log.partition.fetch_async(begin + round as Offset, options)).unwrap());
        wake_ups(scale.wake_ups, appender, &mut || log.append(), &fetch)
    };
    let contestants: Contestants<'_, 3> = vec![
        ("bare", Box::new(|| wake_ups(scale.wake_ups, appender, &mut || bare.append(), &bare.waits()))),
        ("fetch", Box::new(|| fetched(&alone))),
        ("fetch, 1000 wait for more", Box::new(|| fetched(&crowded))),
        (
            "bare, future",
            Box::new(|| wake_ups(scale.wake_ups, appender, &mut || bare_future.append(), &bare_future.waits())),
        ),
        ("fetch_async", Box::new(|| awaited(&future))),
    ];
    let table = Table::measure(scale.rounds, contestants);
    table.print(&format!("{name}: append to answer, 1 KiB"), ["p50 us", "p99 us", "append us"], "bare");
    let pairs = [("fetch", "bare"), ("fetch, 1000 wait for more", "bare"), ("fetch_async", "bare, future")];
    let target = |what: &str, to: &str, column: usize| {
        let percentile = ["p50", "p99"][column];
        let ratio = table.ratio_of(column, what, to);
        Target { what: format!("{name}: {what}: {percentile}, to {to}"), ratio, limit: Limit::AtMost(1.3) }
    };
    pairs.iter().flat_map(|(what, to)| [target(what, to, 0), target(what, to, 1)]).collect()
}

fn append(dir: &Path, scale: &Scale) -> Vec<Target> {
    let broker = open(dir);
    let [nobody, one, crowded] = ["nobody", "one", "crowded"].map(|topic| Log::new(&broker, topic));
    let _crowds = (one.crowd(1), crowded.crowd(CROWD));
    let bare = Bare::new(&dir.join("bare"), nobody.batch_len());
    let nanos = |append: &dyn Fn()| {
        let began = Instant::now();
        (0..scale.appends).for_each(|_| append());
        [began.elapsed().as_nanos() as f64 / scale.appends as f64]
    };
    let contestants: Contestants<'_, 1> = vec![
        ("bare pwrite", Box::new(|| nanos(&|| bare.append()))),
        ("nobody waits", Box::new(|| nanos(&|| nobody.append()))),
        ("one waits for more", Box::new(|| nanos(&|| one.append()))),
        ("1000 wait for more", Box::new(|| nanos(&|| crowded.append()))),
    ];
    let table = Table::measure(scale.rounds, contestants);
    table.print("append: 1 KiB, durability os", ["ns"], "nobody waits");
    let ratio = table.ratio("1000 wait for more", "nobody waits");
    vec![Target { what: "append: 1000 wait for more, to nobody".to_owned(), ratio, limit: Limit::AtMost(1.05) }]
}

fn open(dir: &Path) -> Broker {
    Broker::open_with(dir, BrokerConfig::new().fetch_max_bytes(i32::MAX as usize)).unwrap()
}

/// A partition and a producer that writes each record at once.
struct Log {
    topic: &'static str,
    partition: Arc<Partition>,
    producer: Producer,
}

impl Log {
    fn new(broker: &Broker, topic: &'static str) -> Self {
        broker.create_topic(topic, 1, TopicConfig::new().durability(Durability::Os)).unwrap();
        let producer = broker.producer(ProducerConfig::new().linger(Duration::ZERO)).unwrap();
        let log = Log { topic, partition: broker.partition(&TopicPartition::new(topic, 0)).unwrap(), producer };
        log.append();
        log
    }

    fn append(&self) {
        self.producer.send(ProducerRecord::new(self.topic, &[7; 1024])).unwrap().detach();
    }

    fn end(&self) -> Offset {
        self.partition.high_watermark().unwrap()
    }

    fn batch_len(&self) -> usize {
        self.partition.fetch(0, &FetchOptions::new().max_bytes(0)).unwrap().len()
    }

    /// Fetches that wait for far more than what comes.
    fn crowd(&self, count: usize) -> Vec<Pin<Box<FetchFuture>>> {
        let far = i32::MAX as usize;
        let options = FetchOptions::new().min_bytes(far).max_bytes(far).max_partition_bytes(far);
        let options = options.max_wait(Duration::from_secs(3600));
        let park = |_| {
            let mut future = Box::pin(self.partition.fetch_async(self.end(), &options));
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            future
        };
        (0..count).map(park).collect()
    }
}

/// A file of batches, and one thread that waits for its end.
struct Bare {
    file: File,
    batch: Vec<u8>,
    pos: AtomicU64,
    end: Mutex<u64>,
    moved: Condvar,
}

impl Bare {
    fn new(path: &Path, len: usize) -> Self {
        let (pos, end, moved) = (AtomicU64::new(0), Mutex::new(0), Condvar::new());
        Bare { file: File::create(path).unwrap(), batch: vec![7; len], pos, end, moved }
    }

    fn append(&self) {
        let pos = self.pos.load(Ordering::Relaxed);
        self.file.write_all_at(&self.batch, pos).unwrap();
        self.pos.store(pos + self.batch.len() as u64, Ordering::Relaxed);
        *self.end.lock() = pos + self.batch.len() as u64;
        self.moved.notify_all();
    }

    fn waits(&self) -> impl Fn(usize) + Sync {
        let begin = *self.end.lock();
        move |round| {
            let deadline = Instant::now() + MAX_WAIT;
            let reached = begin + (round * self.batch.len()) as u64;
            let mut end = self.end.lock();
            while *end <= reached {
                assert!(!self.moved.wait_until(&mut end, deadline).timed_out());
            }
        }
    }
}

/// The same with a thread that is unparked.
struct BareFuture {
    file: File,
    batch: Vec<u8>,
    /// The end, and who waits.
    end: Mutex<(u64, Option<Thread>)>,
}

impl BareFuture {
    fn new(path: &Path, len: usize) -> Self {
        BareFuture { file: File::create(path).unwrap(), batch: vec![7; len], end: Mutex::default() }
    }

    fn append(&self) {
        let pos = self.end.lock().0;
        self.file.write_all_at(&self.batch, pos).unwrap();
        let waits = {
            let mut end = self.end.lock();
            end.0 = pos + self.batch.len() as u64;
            end.1.take()
        };
        if let Some(waits) = waits {
            waits.unpark();
        }
    }

    fn waits(&self) -> impl Fn(usize) + Sync {
        let begin = self.end.lock().0;
        move |round| {
            let reached = begin + (round * self.batch.len()) as u64;
            loop {
                {
                    let mut end = self.end.lock();
                    if reached < end.0 {
                        return;
                    }
                    end.1 = Some(std::thread::current());
                }
                std::thread::park();
            }
        }
    }
}

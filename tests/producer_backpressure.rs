//! Eight threads send in all ways through producers with little memory, while topics come, go and change, and producers are
//! flushed and closed: everything comes to its end, each acknowledgement and callback once, and all memory comes back.
//!
//! | variable | default | |
//! |---|---|---|
//! | `THALWEG_STRESS_ROUNDS` | 20 | rounds |

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once and say where")]

use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use thalweg::{Broker, Compression, ErrorKind, Producer, ProducerConfig, ProducerRecord, TopicConfig};

const ROUNDS: &str = "THALWEG_STRESS_ROUNDS";
const THREADS: u64 = 8;
const RECORDS: u64 = 150;

/// A round takes some tenths of a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[derive(Default)]
struct Counts {
    /// Callbacks that were asked for, and that were called.
    asked: AtomicU64,
    called: AtomicU64,
    /// Records that were taken, by their acknowledgement, and not.
    stored: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

#[test]
fn all_comes_to_its_end_and_all_memory_comes_back() {
    let rounds: u64 = std::env::var(ROUNDS).map_or(20, |rounds| rounds.parse().unwrap());
    let counts = Arc::new(Counts::default());
    for seed in 0..rounds {
        let (ended, has_ended) = channel::<()>();
        let watching = Arc::clone(&counts);
        let watcher = thread::spawn(move || {
            if has_ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = writeln!(std::io::stderr(), "hangs: seed {seed}; {}", watching.text());
                std::process::abort();
            }
        });
        round(seed, &counts);
        drop(ended);
        watcher.join().unwrap();
    }
    let _ = writeln!(std::io::stdout(), "{}", counts.text());
    assert!(counts.stored.load(Ordering::Relaxed) > 0 && counts.failed.load(Ordering::Relaxed) > 0);
}

fn topic(random: &mut Random) -> TopicConfig {
    let config = TopicConfig::new().max_message_bytes([300, 2000, 1 << 20][random.below(3) as usize]);
    if random.below(3) == 0 { config.compression_type(Compression::Lz4) } else { config }
}

fn round(seed: u64, counts: &Arc<Counts>) {
    let memory = std::path::Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    let mut random = Random(seed);
    broker.create_topic("stays", 2, topic(&mut random)).unwrap();
    let config = ProducerConfig::new()
        .buffer_memory([1500, 4000, 20_000][random.below(3) as usize])
        .batch_size([0, 500, 16_384][random.below(3) as usize])
        .linger(Duration::from_millis([0, 5][random.below(2) as usize]))
        .max_block(Duration::from_millis(300));
    let producer = broker.producer(config).unwrap();
    let is_over = AtomicBool::new(false);
    let closes_early = random.below(3) == 0;
    thread::scope(|scope| {
        let senders: Vec<_> = (0..THREADS)
            .map(|thread| {
                let producer = &producer;
                scope.spawn(move || send(producer, Random(seed << 8 | thread), counts))
            })
            .collect();
        scope.spawn(|| change(&broker, &is_over, Random(!seed)));
        scope.spawn(|| {
            let mut random = Random(seed ^ 0xf1);
            for _ in 0..random.below(20) {
                let _ = producer.flush(); // a topic may go meanwhile
            }
            if closes_early {
                let timeout = Duration::from_millis(random.below(20));
                let _ = producer.close_timeout(timeout);
            }
        });
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        is_over.store(true, Ordering::Release);
    });
    let _ = producer.close();
    let stats = producer.stats();
    assert_eq!(stats.buffer_available_bytes, stats.buffer_total_bytes, "seed {seed}: memory is missing");
    let (asked, called) = (counts.asked.load(Ordering::Acquire), counts.called.load(Ordering::Acquire));
    assert_eq!(asked, called, "seed {seed}: callbacks that were asked for, and called");
}

/// Topics come, go and change.
fn change(broker: &Broker, is_over: &AtomicBool, mut random: Random) {
    let mut partitions = 2;
    while !is_over.load(Ordering::Acquire) {
        let config = topic(&mut random);
        match random.below(5) {
            0 => _ = broker.create_topic("comes", 1 + random.below(3) as i32, config),
            1 => _ = broker.delete_topic("comes"),
            2 if partitions < 6 => {
                partitions += 1;
                broker.create_partitions("stays", partitions).unwrap();
            }
            _ => _ = broker.alter_topic("stays", config).unwrap(),
        }
        thread::yield_now();
    }
}

fn send(producer: &Producer, mut random: Random, counts: &Arc<Counts>) {
    let value = vec![b'v'; 1200];
    let mut acks = Vec::new();
    for _ in 0..RECORDS {
        let topic = if random.below(4) == 0 { "comes" } else { "stays" };
        let record = ProducerRecord::new(topic, &value[..random.below(1200) as usize]).key("k");
        let sent = match random.below(5) {
            0 => producer.try_send(record).map_err(|refused| refused.error),
            1 => block_on(producer.send_async(record)),
            2 => {
                let records = [record.clone(), record.clone(), record];
                match producer.send_all(records) {
                    Ok(all) => {
                        all.wait_each().into_iter().for_each(|outcome| counts.note(outcome.map(drop)));
                        continue;
                    }
                    Err(error) => Err(error),
                }
            }
            _ => producer.send(record),
        };
        match sent {
            Ok(ack) if random.below(3) == 0 => {
                counts.asked.fetch_add(1, Ordering::AcqRel);
                let counts = Arc::clone(counts);
                ack.on_complete(move |outcome| {
                    counts.called.fetch_add(1, Ordering::AcqRel);
                    counts.note(outcome.map(drop));
                });
            }
            Ok(ack) => acks.push(ack),
            Err(error) => {
                let is_known = matches!(error.kind(), ErrorKind::Closed | ErrorKind::BufferExhausted { .. });
                assert!(is_known, "{error}");
                counts.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        if random.below(20) == 0 {
            acks.drain(..).for_each(|ack| counts.note(block_on(ack).map(drop)));
        }
    }
    acks.into_iter().for_each(|ack| counts.note(ack.wait().map(drop)));
}

impl Counts {
    fn note(&self, outcome: thalweg::Result<()>) {
        let count = if outcome.is_ok() { &self.stored } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn text(&self) -> String {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{} stored, {} failed, {} refused, {} of {} callbacks",
            load(&self.stored),
            load(&self.failed),
            load(&self.refused),
            load(&self.called),
            load(&self.asked)
        )
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

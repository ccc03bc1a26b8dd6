//! How long opening takes, by the size of the data: after a close in order, and after a kill.
//!
//! One partition with segments of the default size, filled in mode `os`. Each size is opened several times after a close,
//! and after a child process was killed with SIGKILL while it appended. Sizes in MB follow as arguments; without any it is
//! `100 20000`, which needs 20 GB of disk. The last column is the ratio to the first size.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so")]
#![expect(clippy::print_stdout, reason = "the result of the benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use thalweg::{Broker, Durability, Producer, ProducerConfig, ProducerRecord, TopicConfig};

/// What a child gets that is going to be killed: the directory.
const CHILD: &str = "THALWEG_BENCH_OPEN_CHILD";
const ROUNDS: usize = 15;
const VALUE: usize = 64 << 10;
/// What a child has appended, in MB, when it says so and waits for its end.
const CHILD_MB: usize = 32;

fn main() {
    if let Some(directory) = std::env::var_os(CHILD) {
        append_until_killed(Path::new(&directory));
    }
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100, 20_000] } else { sizes };
    println!(
        "{:>9} {:>9} | {:>15} {:>6} | {:>15} {:>13} {:>6}",
        "MB", "segments", "closed, ms", "ratio", "killed, ms", "bytes scanned", "ratio"
    );
    let mut first: Option<(f64, f64)> = None;
    for size in sizes {
        let dir = tempfile::tempdir_in(std::env::var("THALWEG_BENCH_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
        fill(dir.path(), size);
        let (closed, segments, _) = median((0..ROUNDS).map(|_| open(dir.path())));
        let (killed, _, scanned) = median((0..ROUNDS).map(|_| {
            kill_a_child(dir.path());
            open(dir.path())
        }));
        let (closed_first, killed_first) = *first.get_or_insert((closed, killed));
        println!(
            "{size:>9} {segments:>9} | {closed:>15.2} {:>6.2} | {killed:>15.2} {scanned:>13} {:>6.2}",
            closed / closed_first,
            killed / killed_first
        );
    }
}

fn producer(broker: &Broker) -> Producer {
    broker.producer(ProducerConfig::new().batch_size(1 << 20)).unwrap()
}

fn append(producer: &Producer, megabytes: usize) {
    let value = vec![7; VALUE];
    for _ in 0..megabytes * 1_000_000 / VALUE {
        producer.send(ProducerRecord::new("t", &value)).unwrap().detach();
    }
    producer.flush().unwrap();
}

fn fill(directory: &Path, megabytes: usize) {
    let broker = Broker::open(directory).unwrap();
    broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
    append(&producer(&broker), megabytes);
    broker.close().unwrap();
}

/// Milliseconds, segments, and bytes that recovery read.
fn open(directory: &Path) -> (f64, usize, u64) {
    let began = Instant::now();
    let broker = Broker::open(directory).unwrap();
    let elapsed = began.elapsed();
    let (segments, scanned) = (broker.recovery().partitions[0].segments, broker.recovery().scanned_bytes());
    broker.close().unwrap();
    (elapsed.as_secs_f64() * 1e3, segments, scanned)
}

fn median(measured: impl Iterator<Item = (f64, usize, u64)>) -> (f64, usize, u64) {
    let mut measured: Vec<_> = measured.collect();
    measured.sort_by(|a, b| a.0.total_cmp(&b.0));
    measured[measured.len() / 2]
}

fn kill_a_child(directory: &Path) {
    let mut child =
        Command::new(std::env::current_exe().unwrap()).env(CHILD, directory).stdout(Stdio::piped()).spawn().unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next();
    assert!(line.is_some_and(|line| line.unwrap() == "appended"));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn append_until_killed(directory: &Path) -> ! {
    let broker = Broker::open(directory).unwrap();
    let producer = producer(&broker);
    append(&producer, CHILD_MB);
    println!("appended");
    loop {
        append(&producer, 1);
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

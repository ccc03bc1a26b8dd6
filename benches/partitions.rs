//! What many partitions cost: time to create, append to, close and open them, memory, file handles and maps.
//!
//! Argument: the number of partitions; without it 10,000. The limits of the process are left as they are. What comes after
//! the close happens in a process of its own, whose memory has seen nothing else.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so")]
#![expect(clippy::print_stdout, reason = "the result of the benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use thalweg::{Broker, Durability, FetchOptions, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

/// What the second process gets: the directory.
const SECOND: &str = "THALWEG_BENCH_PARTITIONS_SECOND";

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    match std::env::var_os(SECOND) {
        Some(directory) => open_again(Path::new(&directory), count),
        None => fill(count),
    }
}

fn fill(count: i32) {
    let dir = tempfile::tempdir_in(std::env::var("THALWEG_BENCH_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    println!("{}", limits.lines().find(|line| line.starts_with("Max open files")).unwrap());
    println!("vm.max_map_count {}", fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim());

    let before = resident();
    let broker = Broker::open(dir.path()).unwrap();
    let config = TopicConfig::new().durability(Durability::Os);
    timed("create", || broker.create_topic("t", count, config).unwrap());
    report("created", count, before);

    let producer = broker.producer(ProducerConfig::new()).unwrap();
    for round in 0..2 {
        timed("append one record to each", || {
            for partition in 0..count {
                producer.send(ProducerRecord::new("t", &[7; 100]).partition(partition)).unwrap().detach();
            }
            producer.flush().unwrap();
        });
        if round == 0 {
            report("appended to", count, before);
        }
    }
    drop(producer);
    timed("close", || broker.close().unwrap());
    let second = Command::new(std::env::current_exe().unwrap()).arg(count.to_string()).env(SECOND, dir.path()).status();
    assert!(second.unwrap().success());
}

fn open_again(directory: &Path, count: i32) {
    let before = resident();
    let broker = timed("open after a close", || Broker::open(directory).unwrap());
    report("open and idle", count, before);
    timed("read each", || {
        for number in 0..count {
            let partition = broker.partition(&TopicPartition::new("t", number)).unwrap();
            let records = partition.fetch(0, &FetchOptions::new()).unwrap().decode(true).unwrap();
            assert_eq!(records.len(), 2);
        }
    });
    report("read", count, before);
    timed("close", || broker.close().unwrap());
    fs::remove_file(directory.join(".kafka_cleanshutdown")).unwrap();
    let broker = timed("open after a kill", || Broker::open(directory).unwrap());
    println!("{}", broker.recovery().to_string().lines().next().unwrap());
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = run();
    println!("{what}: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    value
}

fn report(state: &str, count: i32, before: u64) {
    let handles = fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let maps = maps.lines().filter(|line| line.ends_with(".log")).count();
    let bytes = resident().saturating_sub(before) / u64::from(count.unsigned_abs());
    println!("  {state}: {bytes} bytes of memory a partition, {handles} file handles, {maps} maps of segments");
}

/// Bytes of memory that only this process has, without mapped files.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

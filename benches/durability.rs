//! What durable appends cost, against the same bytes with bare system calls in the same run.
//!
//! Tables of medians over rounds; in each round every contestant has its turn, so that all see the same machine. A
//! `ratio` is the median of the rounds' ratios to the contestant whose ratio is 1.00. At the end stand the targets. A
//! table is measured if its name contains one of the arguments, or if there are none: `lone`, `group_1`, `group_8`,
//! `group_64`, `dirty_8`, `dirty_64`, `stream_64K`, `stream_1M`. As with criterion, `--test` or the absence of `--bench`
//! makes it one tiny round.
//!
//! - `lone`: one thread appends 1 KiB, waits for the acknowledgement, and goes on.
//! - `group_N`: N threads do that with one partition.
//! - `dirty_N`: N partitions get one record of 4 KiB each, and one `flush` waits for all. Both sides write and sync.
//! - `stream_B`: one thread sends 128 MiB in records of 1 KiB and batches of B, and ends with a `flush`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so")]
#![expect(clippy::print_stdout, reason = "the result of the benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "durability/bare.rs"]
mod bare;
#[path = "durability/table.rs"]
mod table;

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::syncfs;
use thalweg::{Broker, Durability, Producer, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

use bare::{Committer, GROUP_FILE_LEN, GroupCommit, ParkingLot, Room, Std, prepare};
use table::{Contestants, Limit, Table, Target, percentiles};

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
    run("lone", &|dir| lone(dir, &scale));
    run("group_1", &|dir| group(dir, &scale, 1, Limit::AtLeast(1.0)));
    run("group_8", &|dir| group(dir, &scale, 8, Limit::AtLeast(1.0)));
    run("group_64", &|dir| group(dir, &scale, 64, Limit::AtLeast(1.3)));
    run("dirty_8", &|dir| dirty(dir, &scale, 8));
    run("dirty_64", &|dir| dirty(dir, &scale, 64));
    run("stream_64K", &|dir| stream(dir, &scale, 64 << 10));
    run("stream_1M", &|dir| stream(dir, &scale, 1 << 20));
    println!("\ntargets");
    targets.iter().for_each(|target| println!("  {target}"));
}

/// How much is measured.
struct Scale {
    /// Rounds of all but `stream`. Many short ones: where others use the disk, too, their bursts fall out of the medians.
    rounds: usize,
    /// Rounds of `stream`.
    stream_rounds: usize,
    /// Appends in a turn of `lone`.
    appends: usize,
    /// Time of a turn of `group`.
    time: Duration,
    /// Records in a turn of `stream`.
    streamed: usize,
}

const FULL: Scale =
    Scale { rounds: 41, stream_rounds: 13, appends: 100, time: Duration::from_millis(40), streamed: 128 << 10 };
const TINY: Scale =
    Scale { rounds: 1, stream_rounds: 1, appends: 10, time: Duration::from_millis(5), streamed: 4 << 10 };

fn lone(dir: &Path, scale: &Scale) -> Target {
    let (broker, value) = (Broker::open(dir).unwrap(), vec![7; 1024]);
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    for (topic, preallocate) in [("t", false), ("preallocated", true)] {
        broker.create_topic(topic, 1, TopicConfig::new().preallocate(preallocate)).unwrap();
        append(&producer, topic, &value);
    }
    let batch = vec![7; size(&broker, "t")];

    let appends = |append: &mut dyn FnMut()| {
        let timed = |_| {
            let began = Instant::now();
            append();
            began.elapsed()
        };
        percentiles((0..scale.appends).map(timed).collect())
    };
    let bare = |room: Room| {
        let file = prepare(&dir.join(format!("{room:?}")), room, (1 + scale.rounds) * scale.appends * batch.len());
        let (batch, mut pos) = (&batch, 0);
        move || {
            appends(&mut || {
                file.write_all_at(batch, pos).unwrap();
                file.sync_data().unwrap();
                pos += batch.len() as u64;
            })
        }
    };
    let contestants: Contestants<'_, 2> = vec![
        ("thalweg", Box::new(|| appends(&mut || append(&producer, "t", &value)))),
        ("thalweg, preallocate", Box::new(|| appends(&mut || append(&producer, "preallocated", &value)))),
        ("bare, zeros", Box::new(bare(Room::Zeros))),
        ("bare, fallocated", Box::new(bare(Room::Fallocated))),
        ("bare, growing", Box::new(bare(Room::Growing))),
    ];
    let table = Table::measure(scale.rounds, contestants);
    table.print("lone: 1 KiB", ["p50 us", "p99 us"], "bare, zeros");
    let what = "lone: p50, to pwrite and fdatasync of a file of zeros".to_owned();
    Target { what, ratio: table.ratio("thalweg", "bare, zeros"), limit: Limit::AtMost(1.3) }
}

fn group(dir: &Path, scale: &Scale, threads: usize, limit: Limit) -> Target {
    let (broker, value) = (Broker::open(dir).unwrap(), vec![7; 1024]);
    let producers: Vec<_> = (0..threads).map(|_| broker.producer(ProducerConfig::new()).unwrap()).collect();
    for topic in ["shared", "own"] {
        broker.create_topic(topic, 1, TopicConfig::new()).unwrap();
        append(&producers[0], topic, &value);
    }
    let batch = vec![7; size(&broker, "own")];

    let storm = |append: &(dyn Fn(usize) + Sync)| storm(threads, scale.time, append);
    let file = |name: &str| prepare(&dir.join(name), Room::Zeros, GROUP_FILE_LEN);
    let std_leader = GroupCommit::<Std>::new(file("std leader"), false);
    let leader = GroupCommit::<ParkingLot>::new(file("leader"), false);
    let std_committer = Committer::new(GroupCommit::<Std>::new(file("std committer"), true));
    let committer = Committer::new(GroupCommit::<ParkingLot>::new(file("committer"), true));
    let contestants: Contestants<'_, 3> = vec![
        ("thalweg, shared producer", Box::new(|| storm(&|_| append(&producers[0], "shared", &value)))),
        ("thalweg, a producer each", Box::new(|| storm(&|thread| append(&producers[thread], "own", &value)))),
        ("bare, leader, std", Box::new(|| storm(&|_| std_leader.append(&batch)))),
        ("bare, leader, parking_lot", Box::new(|| storm(&|_| leader.append(&batch)))),
        ("bare, committer, std", Box::new(|| storm(&|_| std_committer.group_commit.append(&batch)))),
        ("bare, committer, parking_lot", Box::new(|| storm(&|_| committer.group_commit.append(&batch)))),
    ];
    let table = Table::measure(scale.rounds, contestants);
    let best = table.largest("bare");
    table.print(&format!("group_{threads}: 1 KiB"), ["records/s", "p50 us", "p99 us"], best);
    let what = format!("group_{threads}: records/s, to {best}");
    Target { what, ratio: table.ratio("thalweg, shared producer", best), limit }
}

fn dirty(dir: &Path, scale: &Scale, count: usize) -> Target {
    let (broker, value) = (Broker::open(dir).unwrap(), vec![7; 4096]);
    broker.create_topic("t", count as i32, TopicConfig::new()).unwrap();
    let producer = broker.producer(ProducerConfig::new().linger(Duration::from_secs(60))).unwrap();
    let flush = || {
        for partition in 0..count as i32 {
            producer.send(ProducerRecord::new("t", &value).partition(partition)).unwrap().detach();
        }
        producer.flush().unwrap();
    };
    flush();
    let batch = &vec![7; size(&broker, "t")];

    let bare = |name: &str, sync: fn(&[File])| {
        let file =
            |number| prepare(&dir.join(format!("{name} {number}")), Room::Zeros, (1 + scale.rounds) * batch.len());
        let (files, mut pos): (Vec<_>, u64) = ((0..count).map(file).collect(), 0);
        move || {
            millis(|| {
                files.iter().for_each(|file| file.write_all_at(batch, pos).unwrap());
                sync(&files);
                pos += batch.len() as u64;
            })
        }
    };
    let each: fn(&[File]) = |files| files.iter().for_each(|file| file.sync_data().unwrap());
    let by_threads: fn(&[File]) = |files| {
        let sync = |files: &[File]| files.iter().for_each(|file| file.sync_data().unwrap());
        thread::scope(|scope| {
            files.chunks(files.len() / 8).for_each(|files| _ = scope.spawn(move || sync(files)));
        });
    };
    let contestants: Contestants<'_, 1> = vec![
        ("thalweg", Box::new(|| millis(flush))),
        ("bare, one by one", Box::new(bare("one by one", each))),
        ("bare, 8 threads", Box::new(bare("threads", by_threads))),
        ("bare, syncfs", Box::new(bare("syncfs", |files| syncfs(&files[0]).unwrap()))),
    ];
    let table = Table::measure(scale.rounds, contestants);
    table.print(&format!("dirty_{count}: 4 KiB, one flush"), ["ms"], "bare, one by one");
    let what = format!("dirty_{count}: time, to fdatasync one by one");
    Target { what, ratio: table.ratio("thalweg", "bare, one by one"), limit: Limit::AtMost(0.5) }
}

fn stream(dir: &Path, scale: &Scale, batch_size: usize) -> Target {
    let (broker, value) = (Broker::open(dir).unwrap(), vec![7; 1024]);
    let producer = broker.producer(ProducerConfig::new().batch_size(batch_size)).unwrap();
    let (broker, producer, value) = (&broker, &producer, &value);
    let bytes = scale.streamed * value.len();
    // What the others left in the page cache is written before each turn, and the records of each turn are deleted.
    let settle = || syncfs(File::open(dir).unwrap()).unwrap();
    let streamed = |topic: &'static str, durability, outstanding: Option<usize>| {
        broker.create_topic(topic, 1, TopicConfig::new().durability(durability)).unwrap();
        let partition = broker.partition(&TopicPartition::new(topic, 0)).unwrap();
        move || {
            settle();
            let began = Instant::now();
            let mut acks = VecDeque::new();
            for _ in 0..scale.streamed {
                let ack = producer.send(ProducerRecord::new(topic, value)).unwrap();
                match outstanding {
                    None => ack.detach(),
                    Some(_) => acks.push_back(ack),
                }
                if outstanding.is_some_and(|outstanding| acks.len() > outstanding) {
                    acks.pop_front().unwrap().wait().unwrap();
                }
            }
            producer.flush().unwrap();
            let elapsed = began.elapsed();
            acks.into_iter().for_each(|ack| _ = ack.wait().unwrap());
            partition.delete_records(partition.high_watermark().unwrap()).unwrap();
            [bytes as f64 / 1e9 / elapsed.as_secs_f64()]
        }
    };
    let piece = vec![7; 1 << 20];
    let bare = |name: &str, sync_each: bool| {
        let (file, piece) = (prepare(&dir.join(name), Room::Zeros, bytes), &piece);
        move || {
            settle();
            let began = Instant::now();
            for pos in (0..bytes).step_by(piece.len()) {
                file.write_all_at(piece, pos as u64).unwrap();
                if sync_each {
                    file.sync_data().unwrap();
                }
            }
            file.sync_data().unwrap();
            [bytes as f64 / 1e9 / began.elapsed().as_secs_f64()]
        }
    };
    let contestants: Contestants<'_, 1> = vec![
        ("thalweg, os", Box::new(streamed("os", Durability::Os, None))),
        ("thalweg, interval", Box::new(streamed("interval", Durability::Interval, None))),
        ("thalweg, fsync", Box::new(streamed("fsync", Durability::Fsync, Some(16384)))),
        ("thalweg, fsync, detached", Box::new(streamed("detached", Durability::Fsync, None))),
        ("device, one sync", Box::new(bare("one", false))),
        ("device, a sync each MiB", Box::new(bare("each", true))),
    ];
    let table = Table::measure(scale.stream_rounds, contestants);
    let device = table.largest("device");
    let name = format!("stream_{}", if batch_size == 1 << 20 { "1M" } else { "64K" });
    table.print(&format!("{name}: 1 KiB"), ["GB/s"], device);
    let slower = if table.ratio("thalweg, os", device) < 1.0 { "thalweg, os" } else { device };
    let what = format!("{name}: GB/s of fsync, to {slower}");
    Target { what, ratio: table.ratio("thalweg, fsync", slower), limit: Limit::AtLeast(0.7) }
}

fn append(producer: &Producer, topic: &str, value: &[u8]) {
    producer.send(ProducerRecord::new(topic, value)).unwrap().wait().unwrap();
}

/// Bytes of the one batch in partition 0.
fn size(broker: &Broker, topic: &str) -> usize {
    broker.partition(&TopicPartition::new(topic, 0)).unwrap().size().unwrap() as usize
}

fn millis(run: impl FnOnce()) -> [f64; 1] {
    let began = Instant::now();
    run();
    [began.elapsed().as_secs_f64() * 1e3]
}

/// Has `threads` threads append one record after the other: records a second, p50 and p99 in µs.
fn storm(threads: usize, time: Duration, append: &(dyn Fn(usize) + Sync)) -> [f64; 3] {
    let barrier = &Barrier::new(threads);
    let appends = |thread| {
        barrier.wait();
        let began = Instant::now();
        let (mut latencies, mut before) = (Vec::with_capacity(1 << 12), began);
        while before - began < time {
            append(thread);
            let after = Instant::now();
            latencies.push(after - before);
            before = after;
        }
        (began, before, latencies)
    };
    let threads = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || appends(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let began = threads.iter().map(|thread| thread.0).min().unwrap();
    let ended = threads.iter().map(|thread| thread.1).max().unwrap();
    let latencies: Vec<_> = threads.into_iter().flat_map(|thread| thread.2).collect();
    let rate = latencies.len() as f64 / (ended - began).as_secs_f64();
    let [p50, p99] = percentiles(latencies);
    [rate, p50, p99]
}

//! What sending costs, against a bare loop that encodes the same records, computes the same checksums and writes the same
//! bytes with `pwrite`, in the same run and to files of the same kind.
//!
//! Tables of medians over rounds; in each round every contestant has its turn, so that all see the same machine. A
//! `ratio` is the median of the rounds' ratios to the contestant whose ratio is 1.00. `cpu ns` is the processor's time for
//! one record on the sending thread and `user ns` what of it is not the kernel's: where others use the machine, too, these
//! tell more than the rate. At the end stand the targets. A table is measured if its name contains one of the arguments, or
//! if there are none. As with criterion, `--test` or the absence of `--bench` makes it one tiny round.
//!
//! Mode `os`, linger 5 ms, `segment.bytes` 128 MiB; B is the batch size: `16K`, `64K`, `256K`, `1M`. Each turn has a new
//! topic, or new files, of which the first is there before the time runs.
//!
//! - `small_B`, `keyed_B`: one thread sends values of 100 bytes, without and with a key of 10 bytes, and ends with a `flush`.
//! - `large_B`: the same with values of 1 KiB, against `pwrite` of as many bytes in pieces of 1 MiB.
//! - `threads`: values of 100 bytes by one thread and by 8 that share the producer, on one partition and on one each.
//! - `lone_N`: one thread sends N bytes, waits for the acknowledgement, and goes on.
//! - `gzip_B`, `snappy_B`, `lz4_B`, `zstd_B`: lines of a log, compressed, against the codec's library alone. It has no
//!   target, and neither has
//! - `modes`: values of 100 bytes with the default settings, in all modes.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so")]
#![expect(clippy::print_stdout, reason = "the result of the benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "producer/bare.rs"]
mod bare;
#[path = "producer/codec.rs"]
mod codec;
#[path = "producer/cpu.rs"]
mod cpu;
#[allow(dead_code, reason = "each benchmark takes what it needs")]
#[path = "durability/table.rs"]
mod table;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::syncfs;
use thalweg::{Broker, Compression, Durability, Producer, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

use bare::{Batch, Encoder, Files};
use codec::Compress;
use cpu::{Meter, Whose};
use table::{Contestants, Limit, Table, Target, percentiles};

const SEGMENT: usize = 128 << 20;
const BATCH_SIZES: [(&str, usize); 4] = [("16K", 16 << 10), ("64K", 64 << 10), ("256K", 256 << 10), ("1M", 1 << 20)];
const KEY: &[u8] = b"0123456789";
const COLUMNS: [&str; 3] = ["M send/s", "cpu ns", "user ns"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let scale = if has("--test") || !has("--bench") { TINY } else { FULL };

    let dir = tempfile::tempdir_in(std::env::var("THALWEG_BENCH_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
    let mut targets = Vec::new();
    let mut run = |name: String, measure: &dyn Fn(Place<'_>) -> Vec<Target>| {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
            targets.extend(measure(Place { name: &name, dir: &dir.path().join(&name) }));
        }
    };
    for (name, batch_size) in BATCH_SIZES {
        run(format!("small_{name}"), &|place| small(place, &scale, batch_size, None));
        run(format!("keyed_{name}"), &|place| small(place, &scale, batch_size, Some(KEY)));
        run(format!("large_{name}"), &|place| large(place, &scale, batch_size));
    }
    run("threads".to_owned(), &|place| threads(place, &scale));
    for size in [100, 1024] {
        run(format!("lone_{size}"), &|place| lone(place, &scale, size));
    }
    for (codec, bare) in codec::built_in() {
        for (name, batch_size) in [BATCH_SIZES[0], BATCH_SIZES[2]] {
            run(format!("{}_{name}", codec.name()), &|place| compressed(place, &scale, batch_size, codec, bare()));
        }
    }
    run("modes".to_owned(), &|place| modes(place, &scale));
    println!("\ntargets");
    targets.iter().for_each(|target| println!("  {target}"));
}

/// How much is measured.
struct Scale {
    rounds: usize,
    /// Sends in a turn with values of 100 bytes: more than a segment.
    small: usize,
    /// Sends in a turn with values of 1 KiB.
    large: usize,
    /// Rounds of `lone`: many short ones, so that the bursts of others fall out of the medians.
    lone_rounds: usize,
    /// Sends in a turn of `lone`.
    lone: usize,
    /// Bytes of values that are compressed in a turn.
    compressed: usize,
}

const FULL: Scale =
    Scale { rounds: 11, small: 1_400_000, large: 192 << 10, lone_rounds: 41, lone: 2000, compressed: 16 << 20 };
const TINY: Scale = Scale { rounds: 1, small: 20_000, large: 4 << 10, lone_rounds: 1, lone: 50, compressed: 1 << 20 };

/// Where a table is measured, and its name.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a str,
    dir: &'a Path,
}

impl Place<'_> {
    fn files(&self, name: &str, preallocate: bool) -> Files {
        Files::new(&self.dir.join(name), SEGMENT, preallocate)
    }

    /// Writes what the turns before left in the page cache.
    fn settle(&self) {
        syncfs(File::open(self.dir).unwrap()).unwrap();
    }

    /// A turn of sending to a topic of its own, whose partitions have been sent to before. `send` returns when nothing is
    /// left to be written.
    fn send<T>(&self, broker: &Broker, config: ProducerConfig, topic: Topic, send: impl FnOnce(&Producer) -> T) -> T {
        let Topic { partitions, durability, preallocate } = topic;
        let config_of_topic =
            TopicConfig::new().durability(durability).preallocate(preallocate).internal_segment_bytes(SEGMENT as u64);
        broker.create_topic("t", partitions, config_of_topic).unwrap();
        let producer = broker.producer(config).unwrap();
        for partition in 0..partitions {
            producer.send(ProducerRecord::new("t", "first").partition(partition)).unwrap().detach();
        }
        producer.flush().unwrap();
        self.settle();
        let result = send(&producer);
        producer.close().unwrap();
        broker.delete_topic("t").unwrap();
        result
    }
}

/// What is sent to.
#[derive(Clone, Copy)]
struct Topic {
    partitions: i32,
    durability: Durability,
    preallocate: bool,
}

const OS: Topic = Topic { partitions: 1, durability: Durability::Os, preallocate: false };

fn config(batch_size: usize) -> ProducerConfig {
    ProducerConfig::new().batch_size(batch_size).linger(Duration::from_millis(5))
}

fn record<'a>(key: Option<&'a [u8]>, value: &'a [u8]) -> ProducerRecord<'a> {
    let record = ProducerRecord::new("t", value);
    match key {
        Some(key) => record.key(key),
        None => record,
    }
}

fn at_least(what: String, ratio: f64, limit: f64) -> Target {
    Target { what, ratio, limit: Limit::AtLeast(limit) }
}

fn small(place: Place<'_>, scale: &Scale, batch_size: usize, key: Option<&[u8]>) -> Vec<Target> {
    let (broker, value, count) = (&Broker::open(place.dir).unwrap(), &[7; 100], scale.small);
    let thalweg = |preallocate| {
        move || {
            place.send(broker, config(batch_size), Topic { preallocate, ..OS }, |producer| {
                let meter = Meter::start(Whose::Thread);
                for _ in 0..count {
                    producer.send(record(key, value)).unwrap().detach();
                }
                producer.flush().unwrap();
                meter.stop(count)
            })
        }
    };
    let bare = |files: Option<bool>| {
        move || {
            let mut encoder = Encoder::new(batch_size, files.map(|preallocate| place.files("bare", preallocate)));
            place.settle();
            let meter = Meter::start(Whose::Thread);
            for _ in 0..count {
                encoder.put(key, value);
            }
            encoder.flush();
            meter.stop(count)
        }
    };
    let contestants: Contestants<'_, 3> = vec![
        ("thalweg", Box::new(thalweg(false))),
        ("thalweg, preallocate", Box::new(thalweg(true))),
        ("bare", Box::new(bare(Some(false)))),
        ("bare, preallocate", Box::new(bare(Some(true)))),
        ("bare, encodes only", Box::new(bare(None))),
    ];
    let table = Table::measure(scale.rounds, contestants);
    let name = place.name;
    table.print(&format!("{name}: 100 B"), COLUMNS, "bare");
    vec![
        at_least(format!("{name}: million send/s"), table.median("thalweg", 0), 15.0),
        at_least(format!("{name}: send/s, to bare"), table.ratio("thalweg", "bare"), 0.5),
        at_least(
            format!("{name}: send/s, to bare, both preallocated"),
            table.ratio("thalweg, preallocate", "bare, preallocate"),
            0.5,
        ),
        at_least(format!("{name}: processor's time of bare, to ours"), 1.0 / table.ratio_of(1, "thalweg", "bare"), 0.5),
    ]
}

fn large(place: Place<'_>, scale: &Scale, batch_size: usize) -> Vec<Target> {
    let (broker, value, count) = (&Broker::open(place.dir).unwrap(), &[7; 1024], scale.large);
    // A ratio of sends is one of bytes: GB of values a second.
    let giga = |[millions, cpu, user]: [f64; 3]| [millions * 1024.0 / 1e3, cpu, user];
    let thalweg = |preallocate| {
        move || {
            place.send(broker, config(batch_size), Topic { preallocate, ..OS }, |producer| {
                let meter = Meter::start(Whose::Thread);
                for _ in 0..count {
                    producer.send(record(None, value)).unwrap().detach();
                }
                producer.flush().unwrap();
                giga(meter.stop(count))
            })
        }
    };
    let piece = &vec![7; 1 << 20];
    let pwrite = |preallocate| {
        move || {
            let mut files = place.files("pieces", preallocate);
            place.settle();
            let meter = Meter::start(Whose::Thread);
            (0..count * 1024 / piece.len()).for_each(|_| files.write(piece));
            giga(meter.stop(count))
        }
    };
    let encode = || {
        let mut encoder = Encoder::new(batch_size, Some(place.files("bare", false)));
        place.settle();
        let meter = Meter::start(Whose::Thread);
        (0..count).for_each(|_| encoder.put(None, value));
        encoder.flush();
        giga(meter.stop(count))
    };
    let contestants: Contestants<'_, 3> = vec![
        ("thalweg", Box::new(thalweg(false))),
        ("thalweg, preallocate", Box::new(thalweg(true))),
        ("pwrite of 1 MiB", Box::new(pwrite(false))),
        ("pwrite of 1 MiB, preallocate", Box::new(pwrite(true))),
        ("bare, with encoding", Box::new(encode)),
    ];
    let table = Table::measure(scale.rounds, contestants);
    let name = place.name;
    table.print(&format!("{name}: 1 KiB"), ["GB/s", "cpu ns", "user ns"], "pwrite of 1 MiB");
    vec![
        at_least(format!("{name}: GB/s, to pwrite of 1 MiB"), table.ratio("thalweg", "pwrite of 1 MiB"), 0.7),
        at_least(
            format!("{name}: GB/s, to pwrite of 1 MiB, both preallocated"),
            table.ratio("thalweg, preallocate", "pwrite of 1 MiB, preallocate"),
            0.7,
        ),
    ]
}

fn threads(place: Place<'_>, scale: &Scale) -> Vec<Target> {
    const THREADS: usize = 8;
    const BATCH_SIZE: usize = 64 << 10;
    let (broker, value) = (&Broker::open(place.dir).unwrap(), &[7; 100]);
    let count = scale.small / THREADS * THREADS;
    let thalweg = |threads: usize, partitions: i32| {
        move || {
            place.send(broker, config(BATCH_SIZE), Topic { partitions, ..OS }, |producer| {
                let meter = Meter::start(Whose::Process);
                let send = |thread| {
                    let partition = thread as i32 % partitions;
                    for _ in 0..count / threads {
                        producer.send(record(None, value).partition(partition)).unwrap().detach();
                    }
                };
                thread::scope(|scope| (0..threads).for_each(|thread| _ = scope.spawn(move || send(thread))));
                producer.flush().unwrap();
                meter.stop(count)
            })
        }
    };
    let bare = |threads: usize| {
        move || {
            let encoder = |thread| Encoder::new(BATCH_SIZE, Some(place.files(&format!("bare {thread}"), false)));
            let mut encoders: Vec<_> = (0..threads).map(encoder).collect();
            place.settle();
            let meter = Meter::start(Whose::Process);
            let encode = |encoder: &mut Encoder| {
                (0..count / threads).for_each(|_| encoder.put(None, value));
                encoder.flush();
            };
            thread::scope(|scope| encoders.iter_mut().for_each(|encoder| _ = scope.spawn(move || encode(encoder))));
            meter.stop(count)
        }
    };
    let contestants: Contestants<'_, 3> = vec![
        ("1 thread", Box::new(thalweg(1, 1))),
        ("8 threads, 1 partition", Box::new(thalweg(THREADS, 1))),
        ("8 threads, 8 partitions", Box::new(thalweg(THREADS, 8))),
        ("bare, 1 thread", Box::new(bare(1))),
        ("bare, 8 threads, 8 files", Box::new(bare(THREADS))),
    ];
    let table = Table::measure(scale.rounds, contestants);
    table.print("threads: 100 B, batches of 64K", COLUMNS, "1 thread");
    let cores = thread::available_parallelism().unwrap().get();
    let scaled = table.ratio("8 threads, 8 partitions", "1 thread");
    let bare = table.ratio("bare, 8 threads, 8 files", "bare, 1 thread");
    println!("  {cores} cores; the bare loop on 8 files gains {bare:.2}");
    vec![
        at_least(
            "threads: 8 on 1 partition, to 1 thread".to_owned(),
            table.ratio("8 threads, 1 partition", "1 thread"),
            1.0,
        ),
        at_least("threads: 8 on 8 partitions, to 1 thread".to_owned(), scaled, 0.8 * cores.min(THREADS) as f64),
    ]
}

fn lone(place: Place<'_>, scale: &Scale, size: usize) -> Vec<Target> {
    let (broker, value) = (&Broker::open(place.dir).unwrap(), &vec![7; size]);
    let appends = |append: &mut dyn FnMut()| {
        let timed = |_| {
            let began = Instant::now();
            append();
            began.elapsed()
        };
        percentiles((0..scale.lone).map(timed).collect())
    };
    let appends = &appends;
    let thalweg = |preallocate| {
        move || {
            place.send(broker, config(16 << 10), Topic { preallocate, ..OS }, |producer| {
                appends(&mut || _ = producer.send(record(None, value)).unwrap().wait().unwrap())
            })
        }
    };
    let bare = |preallocate| {
        move || {
            let mut encoder = Encoder::new(16 << 10, Some(place.files("bare", preallocate)));
            place.settle();
            appends(&mut || {
                encoder.put(None, value);
                encoder.flush();
            })
        }
    };
    let contestants: Contestants<'_, 2> = vec![
        ("thalweg", Box::new(thalweg(false))),
        ("thalweg, preallocate", Box::new(thalweg(true))),
        ("bare", Box::new(bare(false))),
        ("bare, preallocate", Box::new(bare(true))),
    ];
    let table = Table::measure(scale.lone_rounds, contestants);
    let name = place.name;
    table.print(&format!("{name}: one at a time"), ["p50 us", "p99 us"], "bare");
    let (what, ratio) = (format!("{name}: p50 us"), table.median("thalweg", 0));
    vec![Target { what, ratio, limit: Limit::AtMost(2.0) }]
}

fn compressed(
    place: Place<'_>,
    scale: &Scale,
    batch_size: usize,
    codec: Compression,
    mut compress: Compress,
) -> Vec<Target> {
    let broker = &Broker::open(place.dir).unwrap();
    let lines = &codec::log_lines(scale.compressed / 125);
    let bytes: usize = lines.iter().map(String::len).sum();
    // What the engine is going to compress, encoded before.
    let (mut batches, mut batch) = (Vec::new(), Batch::new(batch_size));
    for line in lines {
        let (mut body, size) = batch.sizes(None, line.as_bytes());
        if batch.has_no_room(size) {
            batches.push(batch.records().to_vec());
            batch.clear();
            body = batch.sizes(None, line.as_bytes()).0;
        }
        batch.push(None, line.as_bytes(), body);
    }
    batches.push(batch.records().to_vec());

    let mega = |[millions, ..]: [f64; 3]| millions * bytes as f64 / lines.len() as f64;
    let cpu = |[_, cpu, _]: [f64; 3]| cpu * lines.len() as f64 / bytes as f64;
    let partition = TopicPartition::new("t", 0);
    let thalweg = || {
        place.send(broker, config(batch_size).compression_type(codec), OS, |producer| {
            let meter = Meter::start(Whose::Thread);
            for line in lines {
                producer.send(ProducerRecord::new("t", line)).unwrap().detach();
            }
            producer.flush().unwrap();
            let measured = meter.stop(lines.len());
            let stored = broker.partition(&partition).unwrap().size().unwrap();
            [mega(measured), cpu(measured), bytes as f64 / stored as f64]
        })
    };
    let bare = || {
        place.settle();
        let meter = Meter::start(Whose::Thread);
        let stored: usize = batches.iter().map(|batch| compress(batch)).sum();
        let measured = meter.stop(lines.len());
        [mega(measured), cpu(measured), bytes as f64 / stored as f64]
    };
    let contestants: Contestants<'_, 3> = vec![("thalweg", Box::new(thalweg)), ("library", Box::new(bare))];
    let table = Table::measure(scale.rounds, contestants);
    table.print(&format!("{}: lines of a log", place.name), ["MB/s", "cpu ns/B", "smaller by"], "library");
    Vec::new()
}

fn modes(place: Place<'_>, scale: &Scale) -> Vec<Target> {
    let (broker, value, count) = (&Broker::open(place.dir).unwrap(), &[7; 100], scale.small / 4);
    let failed = &Cell::new(0_usize);
    let thalweg = |durability, outstanding: Option<usize>| {
        move || {
            place.send(broker, ProducerConfig::new(), Topic { durability, ..OS }, |producer| {
                let meter = Meter::start(Whose::Process);
                let mut acks = VecDeque::new();
                for _ in 0..count {
                    let ack = producer.send(record(None, value)).unwrap();
                    match outstanding {
                        None => ack.detach(),
                        Some(_) => acks.push_back(ack),
                    }
                    if outstanding.is_some_and(|outstanding| outstanding < acks.len()) {
                        failed.set(failed.get() + usize::from(acks.pop_front().unwrap().wait().is_err()));
                    }
                }
                producer.flush().unwrap();
                acks.into_iter().for_each(|ack| failed.set(failed.get() + usize::from(ack.wait().is_err())));
                meter.stop(count)
            })
        }
    };
    let contestants: Contestants<'_, 3> = vec![
        ("os", Box::new(thalweg(Durability::Os, None))),
        ("os, 16384 outstanding", Box::new(thalweg(Durability::Os, Some(16384)))),
        ("interval", Box::new(thalweg(Durability::Interval, None))),
        ("fsync", Box::new(thalweg(Durability::Fsync, None))),
        ("fsync, 16384 outstanding", Box::new(thalweg(Durability::Fsync, Some(16384)))),
    ];
    let table = Table::measure(scale.rounds, contestants);
    table.print("modes: 100 B, default settings", COLUMNS, "os");
    assert_eq!(failed.get(), 0, "records were not acknowledged");
    Vec::new()
}

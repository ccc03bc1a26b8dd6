//! Kills a process in the middle of its work, again and again, and looks at what it left.
//!
//! The child sends records, consumes them as a group and commits; it prints every acknowledgement and every commit
//! after it got it. The parent reads these lines, kills the child with SIGKILL at a random moment, opens the directory
//! and compares. This defends the promises of the README for the end of a process, in all three durability modes.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use thalweg::{
    AutoOffsetReset, Broker, Consumer, ConsumerConfig, Durability, Offset, OffsetAndMetadata, ProducerConfig,
};
use thalweg::{ProducerRecord, TopicConfig, TopicPartition};

/// How often a child is killed.
const TRIES: u64 = 200;

/// Tries that use one directory one after the other, so that what a kill leaves is met by the next child.
const TRIES_PER_DIRECTORY: u64 = 20;

const PARTITIONS: i32 = 3;
const CHILD: &str = "THALWEG_TEST_CHILD_DIRECTORY";
const SEED: &str = "THALWEG_TEST_SEED";

/// What the child has been told: last acknowledged offset and last committed offset, by partition.
#[derive(Debug, Default)]
struct Promised {
    sent: HashMap<i32, Offset>,
    committed: HashMap<i32, Offset>,
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    if let Some(directory) = std::env::var_os(CHILD) {
        child(Path::new(&directory));
    }
    let seed = std::env::var(SEED).map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("{SEED}={seed} repeats the moments of the kills, as far as a scheduler can");
    let mut random = Random(seed | 1);
    let (mut kills_with_work, mut cuts, mut latest) = (0, 0, 40_000);
    for directory in 0..TRIES / TRIES_PER_DIRECTORY {
        let dir = tempfile::tempdir().unwrap();
        let durability = [Durability::Fsync, Durability::Os, Durability::Interval][directory as usize % 3];
        create(dir.path(), durability, directory % 2 == 1);
        let mut promised = Promised::default();
        for _ in 0..TRIES_PER_DIRECTORY {
            let before = promised.sent.values().sum::<Offset>();
            run_and_kill(dir.path(), Duration::from_micros(random.below(latest)), &mut promised);
            let had_work = promised.sent.values().sum::<Offset>() > before;
            kills_with_work += u32::from(had_work);
            latest = if had_work { latest } else { (latest * 2).min(2_000_000) }; // a slow machine gets more time
            cuts += check(dir.path(), &promised);
        }
    }
    println!("{TRIES} kills, {kills_with_work} of them after acknowledgements; {cuts} torn ends were cut");
    assert!(kills_with_work > TRIES as u32 / 2, "the kills come too early to mean anything");
}

fn create(directory: &Path, durability: Durability, preallocate: bool) {
    let broker = Broker::open(directory).unwrap();
    let config = TopicConfig::new().durability(durability).internal_segment_bytes(20_000).preallocate(preallocate);
    broker.create_topic("t", PARTITIONS, config).unwrap();
    consumer(&broker).commit_sync_offsets(&[]).unwrap(); // makes the offsets topic
    broker.close().unwrap();
}

/// Starts a child, kills it `after` its first line, and collects what it was promised.
fn run_and_kill(directory: &Path, after: Duration, promised: &mut Promised) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_acknowledged_is_lost_by_a_kill", "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let started = lines.by_ref().map_while(Result::ok).any(|line| line.contains("started"));
    if !started {
        let output = child.wait_with_output().unwrap();
        panic!("the child did not start: {}", String::from_utf8_lossy(&output.stderr));
    }
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    std::thread::park_timeout(after); // nobody unparks: the moment of the kill is the point
    child.kill().unwrap();
    child.wait().unwrap();
    for line in reader.join().unwrap() {
        // A line that the kill cut has no end mark.
        let Some(line) = line.strip_suffix(';') else { continue };
        let [what, partition, offset] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        let (partition, offset) = (partition.parse().unwrap(), offset.parse().unwrap());
        match what {
            "sent" => promised.sent.insert(partition, offset),
            "committed" => promised.committed.insert(partition, offset),
            _ => panic!("{line}"),
        };
    }
}

/// Opens what the child left: every record as it was sent, nothing missing, the group where it was. Returns the number
/// of torn ends.
fn check(directory: &Path, promised: &Promised) -> usize {
    let broker = Broker::open(directory).unwrap();
    let report = broker.recovery();
    assert!(report.failed.is_empty() && report.clamped_offsets == 0, "{report}");
    let cuts = report.partitions.iter().filter(|partition| partition.cut.is_some()).count();
    let mut consumer = consumer(&broker);
    let mut ends = HashMap::new();
    for number in 0..PARTITIONS {
        let partition = TopicPartition::new("t", number);
        let log = broker.partition(&partition).unwrap();
        let (mut offset, end) = (log.log_start().unwrap(), log.high_watermark().unwrap());
        while offset < end {
            let records = log.fetch(offset, &Default::default()).unwrap().decode(true).unwrap();
            for record in &records {
                assert_eq!(record.offset(), offset, "a gap in {partition}");
                assert_eq!(record.value().unwrap(), value(number, offset), "garbled at {partition} {offset}");
                offset += 1;
            }
        }
        let sent = promised.sent.get(&number).copied().unwrap_or(-1);
        assert!(sent < end, "{partition}: offset {sent} was acknowledged, the log ends at {end}");
        let committed = consumer.committed(std::slice::from_ref(&partition)).unwrap();
        let committed = committed[0].1.as_ref().map_or(0, OffsetAndMetadata::offset);
        let expected = promised.committed.get(&number).copied().unwrap_or(0);
        assert!((expected..=end).contains(&committed), "{partition}: {expected} was committed, {committed} is there");
        ends.insert(number, (committed, end));
    }
    consumer.subscribe(&["t"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    for (number, (committed, _)) in &ends {
        consumer.seek(&TopicPartition::new("t", *number), *committed).unwrap();
    }
    let left: Offset = ends.values().map(|(committed, end)| end - committed).sum();
    let mut consumed = 0;
    while consumed < left {
        let records = consumer.poll(Duration::from_secs(10)).unwrap();
        assert!(!records.is_empty(), "the group resumed, but {consumed} of {left} records came");
        consumed += records.len() as Offset;
    }
    drop(consumer);
    broker.close().unwrap();
    cuts
}

fn consumer(broker: &Broker) -> Consumer {
    let config = ConsumerConfig::new().group_id("group").auto_offset_reset(AutoOffsetReset::Earliest);
    broker.consumer(config.enable_auto_commit(false)).unwrap()
}

/// The value of the record at an offset: its length and bytes tell where it belongs.
fn value(partition: i32, offset: Offset) -> Vec<u8> {
    let mut random = Random(((partition as u64 + 1) << 40) + offset as u64 * 2 + 1);
    let len = random.below(300) as usize;
    (0..len).map(|_| random.below(256) as u8).collect()
}

/// The child: sends in rounds, waits for some acknowledgements, consumes, commits, and never ends by itself.
fn child(directory: &Path) -> ! {
    let broker = Broker::open(directory).unwrap();
    let producer = broker.producer(ProducerConfig::new().batch_size(2000)).unwrap();
    let mut consumer = consumer(&broker);
    consumer.subscribe(&["t"]).unwrap();
    let mut next: Vec<_> = (0..PARTITIONS)
        .map(|number| broker.partition(&TopicPartition::new("t", number)).unwrap().log_end().unwrap())
        .collect();
    say("started");
    for round in 0u64.. {
        let mut acks = Vec::new();
        for _ in 0..1 + round % 40 {
            for (number, next) in next.iter_mut().enumerate() {
                let value = value(number as i32, *next);
                let record = ProducerRecord::new("t", &value).partition(number as i32);
                acks.push(producer.send(record).unwrap());
                *next += 1;
            }
        }
        for ack in acks {
            let sent = ack.wait().unwrap();
            say(&format!("sent {} {};", sent.partition.partition(), sent.offset));
        }
        let records = consumer.poll(Duration::from_millis(1)).unwrap();
        if !records.is_empty() {
            let ends = records.partitions().map(|(partition, records)| (partition.clone(), records.next_offset()));
            let ends: Vec<_> = ends.collect();
            consumer.commit_sync().unwrap();
            for (partition, offset) in ends {
                say(&format!("committed {} {offset};", partition.partition()));
            }
        }
    }
    unreachable!("the parent kills this process")
}

/// A line that is out before the next thing is done.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1); // the parent is gone
    }
}

/// Xorshift: enough for moments and bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

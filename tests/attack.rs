//! Attacks on the promises: hangs, lies about durability, and damage where there is none.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]
#![expect(clippy::print_stdout, reason = "what a random run did")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use thalweg::simulation::{Background, Cut, Fault, OperationKind, SimulatedDisk, Survival};
use thalweg::{
    Ack, Broker, BrokerConfig, Durability, FetchOptions, Partition, Producer, ProducerConfig, ProducerRecord,
    ReadOnlyBroker, RecordMetadata, RepairOptions, Result, Severity, TopicConfig, TopicPartition, repair, verify,
};

/// Ends the process with a message if it is not dropped in time: a test that hangs says nothing.
struct Watchdog {
    _end: Sender<()>,
}

impl Watchdog {
    fn new(what: &'static str) -> Self {
        let (end, ended) = channel::<()>();
        std::thread::spawn(move || {
            if ended.recv_timeout(Duration::from_secs(30)) == Err(RecvTimeoutError::Timeout) {
                println!("HANG: {what}");
                std::process::abort();
            }
        });
        Watchdog { _end: end }
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(ready) => return ready,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Runs something once, on the thread that wakes.
struct Run(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Run {
    fn wake(self: Arc<Self>) {
        let run = self.0.lock().unwrap().take();
        if let Some(run) = run {
            run();
        }
    }
}

fn name(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// What a partition has, by offset.
fn content(partition: &Partition) -> BTreeMap<i64, String> {
    let (mut next, end) = (partition.log_start().unwrap(), partition.high_watermark().unwrap());
    let mut found = BTreeMap::new();
    while next < end {
        let fetched = partition.fetch(next, &FetchOptions::new()).unwrap();
        let records = fetched.decode(true).unwrap();
        assert!(!records.is_empty(), "nothing at {next} of {end}");
        for record in records.iter() {
            found.insert(record.offset(), String::from_utf8_lossy(record.value().unwrap()).into_owned());
            next = record.offset() + 1;
        }
    }
    found
}

/// A handle is evicted whose file holds bytes that are promised to survive a power cut, though its topic was in mode `os`
/// when the segment was made. Another process is told that they could not be written back.
fn survives_eviction(made: Durability, altered: Option<Durability>, asked: Durability) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let (data, after) = (dir.path().join("data"), dir.path().join("after"));
    let disk = SimulatedDisk::new();
    let broker = disk.open_broker(&data, BrokerConfig::new().max_open_files(Some(1))).unwrap();
    broker.create_topic("t", 4, TopicConfig::new().durability(made)).unwrap();
    let producer = broker.producer(ProducerConfig::new().retries(0)).unwrap();
    let send = |partition, durability| {
        producer.send(ProducerRecord::new("t", "v").partition(partition).durability(durability)).unwrap()
    };
    send(0, Durability::Os).wait().unwrap(); // the segment is there
    if let Some(altered) = altered {
        broker.alter_topic("t", TopicConfig::new().durability(altered)).unwrap();
    }
    Background::of(&broker).flush();
    let ack = send(0, asked);
    disk.clock().advance(Duration::from_secs(1));
    Background::of(&broker).run_timers(); // it is written
    for partition in [1, 2, 3, 1, 2, 3] {
        send(partition, Durability::Fsync).wait().unwrap();
    }
    let file = data.join("t-0/00000000000000000000.log");
    disk.fail_writeback(&file).unwrap();
    let _ = disk.sync_elsewhere(&file);
    let Ok(sent) = ack.wait() else { return true };
    assert_eq!(sent.durability, Durability::Fsync);
    let cut = Cut { at: disk.operations(), survival: Survival::Nothing, seed: 0 };
    disk.cut(&cut).write(&data, &after).unwrap();
    let broker = SimulatedDisk::new().open_broker(&after, BrokerConfig::new()).unwrap();
    broker.partition(&name(0)).unwrap().log_end().unwrap() > sent.offset
}

#[test]
fn a_record_that_asked_for_a_sync_survives_the_eviction_of_its_handle() {
    assert!(survives_eviction(Durability::Fsync, None, Durability::Fsync), "control");
    assert!(survives_eviction(Durability::Interval, None, Durability::Fsync), "interval");
    assert!(survives_eviction(Durability::Os, None, Durability::Fsync), "os");
}

#[test]
fn a_topic_that_was_altered_to_fsync_syncs_before_it_closes_a_handle() {
    assert!(survives_eviction(Durability::Os, Some(Durability::Fsync), Durability::Os));
}

/// A task that is run by its waker waits for another partition of the same group commit.
#[test]
fn a_waker_can_wait_for_another_partition() {
    let _watchdog = Watchdog::new("Ack::wait inside a waker, of another partition that is synced together");
    let dir = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::new();
    let broker = disk.open_broker(dir.path().join("data"), BrokerConfig::new()).unwrap();
    broker.create_topic("t", 2, TopicConfig::new()).unwrap();
    let producer = Arc::new(broker.producer(ProducerConfig::new().retries(0)).unwrap());
    let done = Arc::new(AtomicUsize::new(0));
    let mut acks: Vec<Ack> =
        (0..2).map(|number| producer.send(ProducerRecord::new("t", "v").partition(number)).unwrap()).collect();
    for (number, ack) in acks.iter_mut().enumerate() {
        let (producer, done) = (Arc::clone(&producer), Arc::clone(&done));
        let run = move || {
            let other = 1 - number as i32;
            producer.send(ProducerRecord::new("t", "w").partition(other)).unwrap().wait().unwrap();
            done.fetch_add(1, Ordering::Relaxed);
        };
        let waker = Waker::from(Arc::new(Run(Mutex::new(Some(Box::new(run))))));
        assert!(Pin::new(ack).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    Background::of(&broker).flush();
    assert_eq!(done.load(Ordering::Relaxed), 2);
}

/// One of several syncs that are done together fails.
#[test]
fn only_the_partition_fails_whose_sync_failed() {
    const COUNT: i32 = 6;
    for kind in [OperationKind::Sync, OperationKind::SyncDir] {
        for failing in 0..COUNT as usize + 1 {
            for by_flush in [true, false] {
                let dir = tempfile::tempdir().unwrap();
                let (data, after) = (dir.path().join("data"), dir.path().join("after"));
                let disk = SimulatedDisk::new();
                let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
                let rolls = if kind == OperationKind::Sync { 100_000 } else { 256 };
                broker.create_topic("t", COUNT, TopicConfig::new().internal_segment_bytes(rolls)).unwrap();
                let linger = ProducerConfig::new().retries(0).linger(Duration::ZERO);
                let producer = broker.producer(linger).unwrap();
                let send = |number: i32, value: &str| {
                    producer.send(ProducerRecord::new("t", value).partition(number)).unwrap()
                };
                let before = if kind == OperationKind::Sync { 1 } else { 3 }; // three fill a segment
                (0..COUNT * before).for_each(|number| _ = send(number % COUNT, "a").wait().unwrap());
                let acks: Vec<_> = (0..COUNT).map(|number| send(number, "b")).collect();
                disk.fail(Fault::of(kind).after(failing));
                if by_flush {
                    let _ = producer.flush();
                } else {
                    Background::of(&broker).flush();
                }
                let was = disk.operations();
                let results: Vec<_> = acks.into_iter().map(Ack::wait).collect();
                disk.heal();
                let failed = results.iter().filter(|result| result.is_err()).count();
                let is_one = if kind == OperationKind::Sync { failing < COUNT as usize } else { failed == 1 };
                assert_eq!(failed, usize::from(is_one), "{kind:?} {failing} {by_flush}: {results:?}");
                let cut = Cut { at: was, survival: Survival::Nothing, seed: 0 };
                disk.cut(&cut).write(&data, &after).unwrap();
                let found = SimulatedDisk::new().open_broker(&after, BrokerConfig::new()).unwrap();
                for (number, result) in results.iter().enumerate() {
                    let partition = broker.partition(&name(number as i32)).unwrap();
                    let visible = content(&partition).len() as i64;
                    match result {
                        Ok(sent) => {
                            assert!(visible > sent.offset);
                            let found = content(&found.partition(&name(number as i32)).unwrap());
                            assert_eq!(found.get(&sent.offset).map(String::as_str), Some("b"));
                            send(number as i32, "c").wait().unwrap();
                        }
                        Err(_) => {
                            assert_eq!(visible, i64::from(before));
                            assert!(send(number as i32, "c").wait().is_err());
                        }
                    }
                }
                let held = broker.partition(&name(0)).unwrap().fetch(0, &FetchOptions::new());
                let _ = broker.close();
                let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
                let producer = broker.producer(ProducerConfig::new().retries(0)).unwrap();
                for number in 0..COUNT {
                    let sent = producer.send(ProducerRecord::new("t", "d").partition(number)).unwrap();
                    sent.wait().unwrap();
                }
                drop(held);
            }
        }
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit.max(1)
    }
}

/// Mixed wishes, settings that change, room that comes and goes; then cuts, and what the tools say of them.
#[test]
fn no_acknowledgement_lies() {
    let _watchdog = Watchdog::new("no_acknowledgement_lies");
    let mut complaints: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 1..12u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let disk = SimulatedDisk::new();
        let mut broker = Some(disk.open_broker(&data, BrokerConfig::new().store_reserve_bytes(0)).unwrap());
        let modes = [Durability::Os, Durability::Interval, Durability::Fsync];
        let config = |random: &mut Random| {
            TopicConfig::new()
                .durability(modes[random.below(3)])
                .preallocate(random.below(2) == 0)
                .max_message_bytes(3000)
                .internal_segment_bytes([3000, 9000, 100_000][random.below(3)])
        };
        broker.as_ref().unwrap().create_topic("t", 2, config(&mut random)).unwrap();
        // Per partition: at which operation what was promised.
        let mut promised: Vec<Vec<(usize, i64)>> = vec![Vec::new(); 2];
        let mut sent: Vec<BTreeMap<i64, String>> = vec![BTreeMap::new(); 2];
        for round in 0..6 {
            let open = broker.as_ref().unwrap();
            let producer = open.producer(ProducerConfig::new().retries(0)).unwrap();
            let mut acks = Vec::new();
            for number in 0..10 {
                let partition = random.below(2);
                let wish = modes[random.below(3)];
                let len = [10, 500, 2900][random.below(3)];
                let value = format!("{seed} {round} {number} {}", "x".repeat(len));
                let record = ProducerRecord::new("t", &value).partition(partition as i32).durability(wish);
                acks.push((partition, wish, value.clone(), producer.send(record).unwrap()));
                match random.below(12) {
                    0 => _ = open.alter_topic("t", config(&mut random)).unwrap(),
                    1 => producer.flush().unwrap(),
                    2 => Background::of(open).flush(),
                    3 => Background::of(open).run().unwrap(),
                    _ => {}
                }
                if random.below(3) == 0 {
                    for (partition, wish, value, mut ack) in acks.drain(..) {
                        let result: Option<Result<RecordMetadata>> = if random.below(2) == 0 {
                            Some(ack.wait())
                        } else {
                            let mut context = Context::from_waker(Waker::noop());
                            match Pin::new(&mut ack).poll(&mut context) {
                                Poll::Ready(ready) => Some(ready),
                                Poll::Pending => {
                                    Background::of(open).flush();
                                    match Pin::new(&mut ack).poll(&mut context) {
                                        Poll::Ready(ready) => Some(ready),
                                        Poll::Pending => panic!("still pending after a flush"),
                                    }
                                }
                            }
                        };
                        let metadata = result.unwrap().unwrap();
                        assert!(metadata.durability >= wish || wish == Durability::Interval, "{metadata:?} {wish:?}");
                        let at = disk.operations();
                        promised[partition].push((at, metadata.durable_offset));
                        if metadata.durability == Durability::Fsync {
                            promised[partition].push((at, metadata.offset + 1));
                        }
                        sent[partition].insert(metadata.offset, value);
                    }
                }
            }
            for (partition, _, value, ack) in acks.drain(..) {
                let metadata = ack.wait().unwrap();
                promised[partition].push((disk.operations(), metadata.durable_offset));
                sent[partition].insert(metadata.offset, value);
            }
            drop(producer);
            match random.below(4) {
                0 => broker.take().unwrap().close().unwrap(),
                1 => disk.kill_broker(broker.take().unwrap()),
                _ => {}
            }
            if broker.is_none() {
                broker = Some(disk.open_broker(&data, BrokerConfig::new().store_reserve_bytes(0)).unwrap());
            }
        }
        let operations = disk.operations();
        for number in 0..6 {
            let picked = random.below(2);
            let at = match promised[picked].get(random.below(promised[picked].len())) {
                Some((at, _)) if number % 2 == 0 => *at,
                _ => 20 + random.below(operations - 20),
            };
            let survival = [Survival::Nothing, Survival::Some, Survival::Entries][random.below(3)];
            let cut = Cut { at, survival, seed: random.next() };
            let to = dir.path().join(format!("after-{number}"));
            if !disk.cut(&cut).write(&data, &to).unwrap() {
                continue;
            }
            let due: Vec<i64> = (0..2)
                .map(|partition| {
                    let due = promised[partition].iter().filter(|(promised_at, _)| *promised_at <= at);
                    due.map(|(_, end)| *end).max().unwrap_or(0)
                })
                .collect();
            if let Ok(found) = verify(&to) {
                for finding in &found.findings {
                    if finding.severity == Severity::Error {
                        *complaints.entry(format!("{finding}")).or_default() += 1;
                    }
                }
            }
            let mut out = Vec::new();
            for partition in 0..2 {
                let _ = thalweg::dump(to.join(format!("t-{partition}")), &Default::default(), &mut out);
            }
            let read_only = ReadOnlyBroker::open(&to).ok().and_then(|broker| broker.partition(&name(0)).ok());
            if let Some(partition) = read_only {
                let found = content(&partition);
                assert!(found.len() as i64 >= due[0], "seed {seed}, {cut}: read only {} of {}", found.len(), due[0]);
            }
            match number % 3 {
                0 => {
                    let report = repair(&to, &RepairOptions::new());
                    if let Err(error) = &report {
                        *complaints.entry(format!("repair: {error}")).or_default() += 1;
                    }
                }
                1 => {
                    for partition in 0..2 {
                        let _ = std::fs::remove_file(to.join(format!("t-{partition}/thalweg-checkpoint")));
                    }
                }
                _ => {}
            }
            let opened = Broker::open(&to).unwrap_or_else(|error| panic!("seed {seed}, {cut}: {error}"));
            for partition in 0..2 {
                if opened.topic("t").is_err() {
                    assert_eq!(due[partition], 0);
                    continue;
                }
                let found = opened.partition(&name(partition as i32)).unwrap();
                let found = content(&found);
                assert!(
                    found.len() as i64 >= due[partition],
                    "seed {seed}, {cut}, way {}: {} of {} in {partition}: {:?}",
                    number % 3,
                    found.len(),
                    due[partition],
                    opened.recovery()
                );
                for (offset, value) in found.iter().filter(|(offset, _)| **offset < due[partition]) {
                    assert_eq!(sent[partition].get(offset), Some(value), "seed {seed}, {cut}");
                }
            }
        }
    }
    println!("{} kinds of complaints", complaints.len());
    for (complaint, count) in complaints.iter().take(12) {
        println!("{count} {complaint}");
    }
}

/// Many threads wait while everything is taken away under them.
#[test]
fn those_who_wait_are_told() {
    let _watchdog = Watchdog::new("those_who_wait_are_told");
    for round in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open_with(dir.path(), BrokerConfig::new().max_open_files(Some(1))).unwrap();
        let small = || TopicConfig::new().internal_segment_bytes(2000);
        broker.create_topic("t", 8, small()).unwrap();
        let linger = if round % 2 == 0 { Duration::ZERO } else { Duration::from_millis(5) };
        let producer =
            Mutex::new(Some(Arc::new(broker.producer(ProducerConfig::new().retries(0).linger(linger)).unwrap())));
        let (acked, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let get = || producer.lock().unwrap().clone();
        std::thread::scope(|scope| {
            for thread in 0..64 {
                let (acked, stop) = (&acked, &stop);
                scope.spawn(move || {
                    let mut number = thread;
                    while !stop.load(Ordering::Relaxed) {
                        let Some(producer) = get() else { return };
                        number += 1;
                        let partition = if thread < 32 { 0 } else { number % 8 };
                        let wish = if number % 3 == 0 { Durability::Fsync } else { Durability::Os };
                        let record = ProducerRecord::new("t", "some value").partition(partition).durability(wish);
                        let Ok(ack) = producer.send(record) else { return };
                        let result = match number % 5 {
                            0 => block_on(ack),
                            1 => {
                                ack.detach();
                                producer.flush().ok();
                                continue;
                            }
                            _ => ack.wait(),
                        };
                        if result.is_ok() {
                            acked.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            let until = |count: usize| {
                let from = acked.load(Ordering::Relaxed);
                while acked.load(Ordering::Relaxed) < from + count {
                    std::thread::yield_now();
                }
            };
            until(200);
            match round / 2 {
                0 => {
                    for mode in [Durability::Os, Durability::Fsync, Durability::Interval, Durability::Fsync] {
                        broker.alter_topic("t", small().durability(mode)).unwrap();
                        until(100);
                    }
                }
                1 => {
                    broker.delete_topic("t").unwrap();
                    broker.create_topic("t", 8, small()).unwrap();
                    until(100);
                }
                2 => {
                    producer.lock().unwrap().take();
                }
                _ => broker.checkpoint(dir.path().join("backup")).map(drop).unwrap_or_default(),
            }
            if round % 2 == 0 {
                drop(broker);
            } else {
                broker.close().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        let leftover: Option<Arc<Producer>> = producer.into_inner().unwrap();
        drop(leftover);
        let broker = Broker::open(dir.path()).unwrap();
        assert!(broker.recovery().is_whole());
    }
}

/// The room behind the batches, as another reader sees it while it is written and given back.
#[test]
fn who_reads_along_never_sees_the_room() {
    let _watchdog = Watchdog::new("who_reads_along_never_sees_the_room");
    for preallocate in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        let config = TopicConfig::new().preallocate(preallocate).internal_segment_bytes(300_000);
        broker.create_topic("t", 1, config.max_message_bytes(250_000)).unwrap();
        let producer = broker.producer(ProducerConfig::new().retries(0).batch_size(250_000)).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let reader = ReadOnlyBroker::open(dir.path()).unwrap();
                let partition = reader.partition(&name(0)).unwrap();
                let mut next = 0;
                let mut last = false;
                loop {
                    let fetched = partition.fetch(next, &FetchOptions::new()).unwrap();
                    for record in fetched.decode(true).unwrap().iter() {
                        assert_eq!(record.offset(), next);
                        next += 1;
                    }
                    let end = partition.high_watermark().unwrap();
                    assert!(end >= next);
                    if last && end == next {
                        return next;
                    }
                    last = stop.load(Ordering::Relaxed);
                }
            });
            let mut random = Random(7);
            for _ in 0..150 {
                let value = vec![b'x'; [20, 3000, 100_000, 240_000][random.below(4)]];
                producer.send(ProducerRecord::new("t", &value)).unwrap().wait().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
            assert_eq!(reader.join().unwrap(), 150);
        });
        let backup = dir.path().with_extension("backup");
        broker.checkpoint(&backup).unwrap();
        assert!(verify(&backup).unwrap().worst() < Some(Severity::Warning), "{}", verify(&backup).unwrap());
        let copy = Broker::open(&backup).unwrap();
        assert_eq!(content(&copy.partition(&name(0)).unwrap()).len(), 150);
        drop(copy);
        std::fs::remove_dir_all(&backup).unwrap();
    }
}

/// The file that keeps space back was tampered with.
#[test]
fn a_strange_reserve_keeps_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let reserve = data.join("thalweg.reserve");
    let use_it = |bytes: u64| {
        let broker = Broker::open_with(&data, BrokerConfig::new().store_reserve_bytes(bytes)).unwrap();
        if broker.topic("t").is_err() {
            broker.create_topic("t", 1, TopicConfig::new()).unwrap();
        }
        let producer = broker.producer(ProducerConfig::new().retries(0)).unwrap();
        producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
        broker.partition(&name(0)).unwrap().delete_records(1).unwrap();
        broker.close().unwrap();
        let found = verify(&data).unwrap();
        assert!(found.worst() < Some(Severity::Warning), "{found}");
    };
    use_it(1 << 20);
    std::fs::remove_file(&reserve).unwrap();
    use_it(1 << 20);
    std::fs::remove_file(&reserve).unwrap();
    std::os::unix::fs::symlink("/dev/full", &reserve).unwrap();
    use_it(1 << 20);
    std::fs::remove_file(&reserve).unwrap();
    std::fs::write(&reserve, vec![1; 3 << 20]).unwrap();
    use_it(1 << 20);
    assert!(std::fs::metadata(&reserve).unwrap().len() <= 3 << 20);
    std::fs::remove_file(&reserve).unwrap();
    use_it(0);
    std::fs::create_dir(&reserve).unwrap();
    let broker = Broker::open(&data).unwrap();
    broker.close().unwrap();
    let broker = Broker::open_with(&data, BrokerConfig::new().store_reserve_bytes(0)).unwrap();
    broker.close().unwrap();
}

/// The last handle of a broker is dropped by a task that is run by its waker.
#[test]
fn a_waker_can_drop_the_broker() {
    let _watchdog =
        Watchdog::new("a broker that is dropped inside a waker, while another partition is synced together");
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        broker.create_topic("t", 8, TopicConfig::new()).unwrap();
        let producer =
            Arc::new(broker.producer(ProducerConfig::new().retries(0).linger(Duration::from_secs(1))).unwrap());
        let send = |number| producer.send(ProducerRecord::new("t", "v").partition(number)).unwrap();
        let mut acks: Vec<Ack> = (0..8).map(send).collect();
        let (ended, end) = channel();
        let holder = Arc::new(Mutex::new(Some(broker)));
        for ack in &mut acks[..2] {
            // The thread is busy with the first when the others come.
            let _ = Pin::new(ack).poll(&mut Context::from_waker(Waker::noop()));
        }
        for ack in &mut acks[2..] {
            let (holder, ended, producer) = (Arc::clone(&holder), ended.clone(), Arc::clone(&producer));
            let run = move || {
                (0..8).for_each(|number| {
                    producer.send(ProducerRecord::new("t", "w").partition(number)).map(Ack::detach).unwrap_or_default();
                });
                let last = holder.lock().unwrap().take();
                drop(last);
                ended.send(()).unwrap();
            };
            let waker = Waker::from(Arc::new(Run(Mutex::new(Some(Box::new(run))))));
            if Pin::new(ack).poll(&mut Context::from_waker(&waker)).is_ready() {
                ended_early(&waker);
            }
        }
        (2..8).for_each(|_| end.recv().unwrap());
    }
}

fn ended_early(waker: &Waker) {
    waker.wake_by_ref();
}

/// What a power cut does to index files, which are never synced, is no error: the next open builds them again.
#[test]
fn a_power_cut_is_no_error_to_verify() {
    let dir = tempfile::tempdir().unwrap();
    let (data, after) = (dir.path().join("data"), dir.path().join("after"));
    let disk = SimulatedDisk::new();
    let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
    broker.create_topic("t", 1, TopicConfig::new().internal_segment_bytes(256)).unwrap();
    let producer = broker.producer(ProducerConfig::new().retries(0)).unwrap();
    for _ in 0..10 {
        producer.send(ProducerRecord::new("t", "some value").timestamp(5)).unwrap().wait().unwrap();
        Background::of(&broker).run().unwrap();
    }
    for seed in 0..60 {
        let survival = [Survival::Nothing, Survival::Some, Survival::Entries][seed as usize % 3];
        let cut = Cut { at: disk.operations() - seed as usize / 3, survival, seed };
        disk.cut(&cut).write(&data, &after).unwrap();
        let found = verify(&after).unwrap();
        assert!(found.worst() < Some(Severity::Error), "{cut}: {found}");
        std::fs::remove_dir_all(&after).unwrap();
    }
}

/// A full disk with space kept back: filled, freed, closed, killed, opened again.
#[test]
fn a_full_disk_takes_nothing_back() {
    let _watchdog = Watchdog::new("a_full_disk_takes_nothing_back");
    for seed in 1..8u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let disk = SimulatedDisk::new();
        let config = || BrokerConfig::new().store_reserve_bytes(512 << 10);
        let open = || disk.open_broker(&data, config()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mut broker = open();
        Background::of(&broker).create_offsets_topic(1).unwrap();
        let topic = |random: &mut Random| {
            let durability = [Durability::Os, Durability::Fsync, Durability::Fsync][random.below(3)];
            let config = TopicConfig::new().durability(durability).preallocate(random.below(3) == 0);
            config.internal_segment_bytes([20_000, 300_000][random.below(2)])
        };
        broker.create_topic("t", 2, topic(&mut random)).unwrap();
        broker.create_topic("u", 1, topic(&mut random)).unwrap();
        disk.set_capacity(Some(2 << 20));
        let mut due = [0i64; 2];
        for round in 0..6 {
            let mut full = false;
            {
                let producer = broker.producer(ProducerConfig::new().retries(0).batch_size(0)).unwrap();
                for number in 0..2000 {
                    let value = vec![b'x'; [100, 4000, 15_000][random.below(3)]];
                    let partition = random.below(2);
                    let name = if number % 5 == 0 { "u" } else { "t" };
                    let partition = if name == "u" { 0 } else { partition };
                    let record = ProducerRecord::new(name, &value).partition(partition as i32);
                    match producer.send(record.durability(Durability::Fsync)).unwrap().wait() {
                        Ok(sent) if name == "t" => due[partition] = sent.offset + 1,
                        Ok(_) => {}
                        Err(error) => {
                            assert!(error.is_retriable(), "seed {seed}, round {round}: {error}");
                            full = true;
                            if random.below(4) == 0 {
                                break;
                            }
                        }
                    }
                }
            }
            assert!(full, "the disk is never full");
            let _ = Background::of(&broker).run();
            let commit = |offset: i64| {
                let consumer = thalweg::ConsumerConfig::new().group_id("g").enable_auto_commit(false);
                let mut consumer = broker.consumer(consumer).unwrap();
                consumer.commit_sync_offsets(&[(name(0), offset.into())])
            };
            commit(due[0]).unwrap_or_else(|error| panic!("seed {seed}, round {round}, commit: {error}"));
            match random.below(3) {
                0 => {
                    broker.close().unwrap_or_else(|error| panic!("seed {seed}, round {round}, close: {error}"));
                    disk.restart();
                    broker = open();
                }
                1 => {
                    disk.kill_broker(broker);
                    broker = open();
                }
                _ => {}
            }
            assert!(broker.recovery().is_whole());
            for number in 0..2 {
                let partition = broker.partition(&name(number)).unwrap();
                assert!(partition.log_end().unwrap() >= due[number as usize]);
                let end = partition.high_watermark().unwrap();
                partition.delete_records(end).unwrap_or_else(|error| {
                    panic!("seed {seed}, round {round}, delete {end}: {error}");
                });
            }
            let _ = Background::of(&broker).run();
            if random.below(3) == 0 {
                broker.delete_topic("u").unwrap_or_else(|error| panic!("seed {seed}, round {round}, drop: {error}"));
                let _ = Background::of(&broker).run();
                broker.create_topic("u", 1, topic(&mut random)).unwrap();
            }
            let producer = broker.producer(ProducerConfig::new().retries(0)).unwrap();
            for number in 0..2 {
                let sent = producer.send(ProducerRecord::new("t", "room again").partition(number)).unwrap().wait();
                let sent = sent.unwrap_or_else(|error| panic!("seed {seed}, round {round}, after: {error}"));
                due[number as usize] = sent.offset + 1;
            }
        }
    }
}

/// The same where sync follows sync, and a thread of the broker has the turn: it must not wait for itself.
#[test]
fn a_waker_can_wait_while_others_do() {
    let _watchdog = Watchdog::new("Ack::wait inside a waker, of a partition that others wait for");
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    broker.create_topic("t", 1, TopicConfig::new()).unwrap();
    let producer = Arc::new(broker.producer(ProducerConfig::new().retries(0).linger(Duration::ZERO)).unwrap());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (producer, stop) = (&producer, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
                }
            });
        }
        for _ in 0..100 {
            let (ended, end) = channel();
            let mut ack = producer.send(ProducerRecord::new("t", "v")).unwrap();
            let sender = Arc::clone(&producer);
            let run = move || {
                sender.send(ProducerRecord::new("t", "w")).unwrap().wait().unwrap();
                ended.send(()).unwrap();
            };
            let waker = Waker::from(Arc::new(Run(Mutex::new(Some(Box::new(run))))));
            if Pin::new(&mut ack).poll(&mut Context::from_waker(&waker)).is_pending() {
                end.recv().unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Power cuts of a disk that is full, with space kept back and without.
#[test]
fn a_full_disk_survives_power_cuts() {
    let _watchdog = Watchdog::new("a_full_disk_survives_power_cuts");
    for seed in 1..8u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let disk = SimulatedDisk::new();
        let has_reserve = seed % 3 == 0;
        let reserve = if has_reserve { 128 << 10 } else { 0 };
        let config = || BrokerConfig::new().store_reserve_bytes(reserve);
        let mut broker = disk.open_broker(&data, config()).unwrap();
        let topic = TopicConfig::new().preallocate(random.below(3) == 0);
        let topic = topic.internal_segment_bytes([2_000, 20_000][random.below(2)]);
        broker.create_topic("t", 2, topic).unwrap();
        disk.set_capacity(Some((100 << 10) + reserve));
        let mut sent: Vec<BTreeMap<i64, Vec<u8>>> = vec![BTreeMap::new(); 2];
        let (mut due, mut starts) = (vec![Vec::<(usize, i64)>::new(); 2], vec![Vec::<(usize, i64)>::new(); 2]);
        for round in 0..5 {
            {
                let producer = broker.producer(ProducerConfig::new().retries(0).batch_size(0)).unwrap();
                let mut refused = 0;
                for number in 0..220u32 {
                    let mut value = vec![b'x'; [100, 700, 1800][random.below(3)]];
                    value[..4].copy_from_slice(&number.to_be_bytes());
                    let partition = random.below(2);
                    let record = ProducerRecord::new("t", &value).partition(partition as i32);
                    match producer.send(record).unwrap().wait() {
                        Ok(metadata) => {
                            sent[partition].insert(metadata.offset, value);
                            due[partition].push((disk.operations(), metadata.durable_offset));
                        }
                        Err(error) => {
                            assert!(error.is_retriable(), "seed {seed}, round {round}: {error}");
                            refused += 1;
                        }
                    }
                    if random.below(50) == 0 || refused % 20 == 1 {
                        let _ = Background::of(&broker).run();
                    }
                    if refused > 60 {
                        break;
                    }
                }
            }
            if random.below(2) == 0 {
                if random.below(2) == 0 {
                    let _ = broker.close();
                    disk.restart();
                } else {
                    disk.kill_broker(broker);
                }
                broker = match disk.open_broker(&data, config()) {
                    Ok(broker) => broker,
                    Err(error) => {
                        assert!(error.is_retriable(), "seed {seed}, round {round}: {error}");
                        disk.set_capacity(Some((200 << 10) + reserve));
                        disk.open_broker(&data, config()).unwrap()
                    }
                };
                assert!(broker.recovery().is_whole(), "seed {seed}, round {round}: {:?}", broker.recovery());
            }
            for (number, starts) in starts.iter_mut().enumerate() {
                let partition = broker.partition(&name(number as i32)).unwrap();
                let (start, end) = (partition.log_start().unwrap(), partition.high_watermark().unwrap());
                match partition.delete_records(start + (end - start) * 3 / 4) {
                    Ok(start) => starts.push((disk.operations(), start)),
                    Err(error) => println!("seed {seed}, round {round}: {error}"),
                }
            }
            let _ = Background::of(&broker).run();
        }
        let operations = disk.operations();
        for number in 0..9 {
            let at = 60 + random.below(operations - 60);
            let survival = [Survival::Nothing, Survival::Some, Survival::Entries][random.below(3)];
            let cut = Cut { at, survival, seed: random.next() };
            let to = dir.path().join(format!("after-{number}"));
            if !disk.cut(&cut).write(&data, &to).unwrap() {
                continue;
            }
            let after = SimulatedDisk::new().open_broker(&to, BrokerConfig::new().store_reserve_bytes(0));
            let after = after.unwrap_or_else(|error| panic!("seed {seed}, {cut}: {error}"));
            assert!(after.recovery().is_whole(), "seed {seed}, {cut}: {:?}", after.recovery());
            for partition in 0..2usize {
                let last = |list: &[(usize, i64)]| {
                    list.iter().filter(|(then, _)| *then <= at).map(|(_, offset)| *offset).max().unwrap_or(0)
                };
                let Ok(found) = after.partition(&name(partition as i32)) else { continue };
                let (start, end) = (found.log_start().unwrap(), found.log_end().unwrap());
                assert!(end >= last(&due[partition]), "seed {seed}, {cut}: {end} < {}", last(&due[partition]));
                assert!(start >= last(&starts[partition]), "seed {seed}, {cut}: start {start}");
                for (offset, value) in content(&found) {
                    if offset < last(&due[partition]) {
                        let expected = sent[partition].get(&offset).map(|value| String::from_utf8_lossy(value));
                        assert_eq!(expected.as_deref(), Some(value.as_str()), "seed {seed}, {cut}");
                    }
                }
            }
        }
    }
}

/// A record that asked for a sync in a topic that promised one; then the topic promises less, before the sync.
#[test]
fn a_wish_outlives_the_promise_of_the_topic() {
    for by_flush in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let disk = SimulatedDisk::new();
        let broker = disk.open_broker(dir.path().join("data"), BrokerConfig::new()).unwrap();
        broker.create_topic("t", 1, TopicConfig::new()).unwrap();
        let producer = broker.producer(ProducerConfig::new().retries(0).linger(Duration::ZERO)).unwrap();
        let record = ProducerRecord::new("t", "v").durability(Durability::Fsync);
        let mut ack = producer.send(record).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut ack).poll(&mut context).is_pending());
        broker.alter_topic("t", TopicConfig::new().durability(Durability::Os)).unwrap();
        if by_flush {
            producer.flush().unwrap();
        } else {
            disk.clock().advance(Duration::from_secs(100));
            (0..3).for_each(|_| Background::of(&broker).run().unwrap());
        }
        let looked = Pin::new(&mut ack).poll(&mut context);
        assert!(looked.is_ready(), "nobody syncs for it any more; by_flush: {by_flush}");
    }
}

/// The same with the threads of a broker: who awaits it waits for ever.
#[test]
fn a_wish_in_a_topic_that_is_altered_does_not_hang() {
    let _watchdog = Watchdog::new("a record that asked for fsync is awaited while its topic goes from fsync to os");
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    broker.create_topic("t", 2, TopicConfig::new()).unwrap();
    let producer = broker.producer(ProducerConfig::new().retries(0).linger(Duration::ZERO)).unwrap();
    for _ in 0..50 {
        broker.alter_topic("t", TopicConfig::new()).unwrap();
        let large = vec![7; 500_000]; // the thread is busy with it when the other one comes
        producer.send(ProducerRecord::new("t", &large).partition(0)).unwrap().detach();
        let record = ProducerRecord::new("t", "v").partition(1).durability(Durability::Fsync);
        let ack = producer.send(record).unwrap();
        broker.alter_topic("t", TopicConfig::new().durability(Durability::Os)).unwrap();
        assert_eq!(block_on(ack).unwrap().durability, Durability::Fsync);
    }
}

/// A record that asked to be synced within the flush interval, in a topic that does not promise it.
#[test]
fn a_record_that_asked_for_the_interval_is_synced_within_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::new();
    let broker = disk.open_broker(dir.path().join("data"), BrokerConfig::new()).unwrap();
    let config = TopicConfig::new().durability(Durability::Os).flush_interval(Duration::from_secs(1));
    broker.create_topic("t", 1, config).unwrap();
    let producer = broker.producer(ProducerConfig::new().retries(0).linger(Duration::ZERO)).unwrap();
    let send =
        |durability| producer.send(ProducerRecord::new("t", "v").durability(durability)).unwrap().wait().unwrap();
    let promised = send(Durability::Interval).durability;
    disk.clock().advance(Duration::from_secs(10));
    Background::of(&broker).run().unwrap();
    let later = send(Durability::Os);
    assert!(promised >= Durability::Interval, "acknowledged with {promised}, which is less than was asked for");
    assert!(later.durable_offset >= 1, "nobody has synced it");
}

/// More is to be kept back than there is.
#[test]
fn a_reserve_larger_than_the_disk() {
    let _watchdog = Watchdog::new("a_reserve_larger_than_the_disk");
    struct Mounted(tempfile::TempDir);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(dir.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: a tmpfs cannot be mounted here");
        return;
    }
    let dir = Mounted(dir);
    let data = dir.0.path().join("data");
    let mut sizes = Vec::new();
    for bytes in [1 << 40, 1 << 40, u64::MAX, 20 << 20, 3 << 20, 3 << 20, 0, u64::MAX] {
        let broker = match Broker::open_with(&data, BrokerConfig::new().store_reserve_bytes(bytes)) {
            Ok(broker) => broker,
            Err(error) => {
                println!("{bytes}: {error}");
                continue;
            }
        };
        if broker.topic("t").is_err() {
            broker.create_topic("t", 1, TopicConfig::new().internal_segment_bytes(300_000)).unwrap();
        }
        let producer = broker.producer(ProducerConfig::new().retries(0).batch_size(0)).unwrap();
        let mut taken = 0;
        for _ in 0..600 {
            let value = vec![7; 20_000];
            match producer.send(ProducerRecord::new("t", &value)).unwrap().wait() {
                Ok(_) => taken += 1,
                Err(error) => {
                    assert!(error.is_retriable(), "{error}");
                    break;
                }
            }
        }
        assert!((1..600).contains(&taken), "{bytes}: {taken}");
        drop(producer);
        let end = broker.partition(&name(0)).unwrap().high_watermark().unwrap();
        if bytes != 0 {
            broker.partition(&name(0)).unwrap().delete_records(end).unwrap();
            let producer = broker.producer(ProducerConfig::new().retries(0)).unwrap();
            producer.send(ProducerRecord::new("t", "room again")).unwrap().wait().unwrap();
            broker.close().unwrap();
        } else {
            let _ = broker.close();
        }
        sizes.push((bytes, taken, std::fs::metadata(data.join("thalweg.reserve")).map_or(0, |found| found.len())));
    }
    println!("{sizes:?}");
}

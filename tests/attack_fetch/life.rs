//! Things that come and go while fetches wait and what was fetched is held.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use thalweg::{
    Broker, BrokerConfig, Compression, Durability, ErrorKind, FetchOptions, Fetcher, Offset, Partition, ProducerConfig,
    ProducerRecord, ReadMode, ReadOnlyBroker, TopicConfig, TopicPartition,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn dir() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn fast() -> TopicConfig {
    TopicConfig::new().durability(Durability::Os)
}

fn tp(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

fn send(broker: &Broker, partition: i32, count: usize) {
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    for _ in 0..count {
        producer.send(ProducerRecord::new("t", &[7; 500]).partition(partition)).unwrap().wait().unwrap();
    }
}

fn wait(millis: u64) -> FetchOptions {
    FetchOptions::new().max_wait(Duration::from_millis(millis))
}

struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Topics are deleted and made anew under threads that wait; nobody stands still, and nobody reads another topic's records
/// under an old handle.
#[test]
fn topics_come_and_go_under_those_who_wait() {
    for mode in [ReadMode::Mmap, ReadMode::Pread] {
        let dir = dir();
        let broker = Broker::open_with(dir.path(), BrokerConfig::new().read_mode(mode)).unwrap();
        broker.create_topic("t", 2, fast().internal_segment_bytes(2000)).unwrap();
        let (ended, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (done, is_done) = channel();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (broker, ended, reads, done) = (&broker, &ended, &reads, done.clone());
                scope.spawn(move || {
                    while !ended.load(Ordering::SeqCst) {
                        let Ok(partition) = broker.partition(&tp(thread % 2)) else { continue };
                        let mut fetcher = Fetcher::new(wait(3_600_000).min_bytes(1200));
                        fetcher.add(Arc::clone(&partition), 0).unwrap();
                        loop {
                            if thread < 4 {
                                let Ok(offset) = partition.log_start() else { break };
                                match partition.fetch(offset, &wait(3_600_000).min_bytes(1200)) {
                                    Ok(fetched) => _ = fetched.decode(true).unwrap(),
                                    Err(error) => match error.kind() {
                                        ErrorKind::UnknownTopicOrPartition { .. } | ErrorKind::Closed => break,
                                        ErrorKind::OffsetOutOfRange { .. } => {}
                                        _ => panic!("{error}"),
                                    },
                                }
                                reads.fetch_add(1, Ordering::SeqCst);
                            } else {
                                let answer = fetcher.fetch().pop().unwrap();
                                match answer {
                                    Ok(fetched) => {
                                        let records = fetched.decode(true).unwrap();
                                        fetcher.seek(records.partition(), records.next_offset()).unwrap();
                                    }
                                    Err(error) => match error.kind() {
                                        ErrorKind::UnknownTopicOrPartition { .. } | ErrorKind::Closed => break,
                                        ErrorKind::OffsetOutOfRange { log_start, .. } => {
                                            fetcher.seek(partition.name(), *log_start).unwrap();
                                        }
                                        _ => panic!("{error}"),
                                    },
                                }
                                reads.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                    }
                    done.send(()).unwrap();
                });
            }
            for round in 0..60 {
                send(&broker, round % 2, 4);
                if round % 3 == 0 {
                    let partition = broker.partition(&tp(0)).unwrap();
                    partition.delete_records(partition.high_watermark().unwrap()).unwrap();
                }
                if round % 4 == 0 {
                    broker.delete_topic("t").unwrap();
                    broker.create_topic("t", 2, fast().internal_segment_bytes(2000)).unwrap();
                }
            }
            ended.store(true, Ordering::SeqCst);
            broker.delete_topic("t").unwrap();
            for _ in 0..8 {
                if is_done.recv_timeout(PATIENCE).is_err() {
                    std::process::abort();
                }
            }
        });
    }
}

/// Everything that can be held, after everything else is gone.
#[test]
fn bytes_outlive_everything() {
    for mode in [ReadMode::Mmap, ReadMode::Pread] {
        for compression in [Compression::None, Compression::Lz4] {
            let dir = dir();
            let broker = Broker::open_with(dir.path(), BrokerConfig::new().read_mode(mode)).unwrap();
            broker.create_topic("t", 1, fast().internal_segment_bytes(2000)).unwrap();
            let producer = broker.producer(ProducerConfig::new().compression_type(compression)).unwrap();
            for number in 0..50 {
                let value = format!("value {number} {}", "x".repeat(100));
                producer.send(ProducerRecord::new("t", &value).partition(0)).unwrap().wait().unwrap();
            }
            drop(producer);
            let partition = broker.partition(&tp(0)).unwrap();
            let fetched = partition.fetch(0, &FetchOptions::new()).unwrap();
            let slices: Vec<_> = fetched.slices().collect();
            let copies: Vec<_> = slices.iter().map(|slice| slice.to_vec()).collect();
            let records = fetched.decode(true).unwrap();
            let shared: Vec<_> = records.iter().map(|record| records.share(record.value().unwrap()).unwrap()).collect();
            assert!(records.share(&[1, 2, 3]).is_none());
            let outside = vec![0_u8; 10];
            assert!(records.share(&outside).is_none());
            assert!(records.share(&[]).is_none_or(|bytes| bytes.is_empty()));
            drop((fetched, records, partition));
            broker.delete_topic("t").unwrap();
            broker.close().unwrap();
            let path = dir.path().to_owned();
            drop(dir);
            assert!(!path.exists());
            // Other decodes use the buffers of this one, if it has given them back too early.
            let other = self::dir();
            let broker = Broker::open(other.path()).unwrap();
            broker.create_topic("t", 1, fast()).unwrap();
            let producer = broker.producer(ProducerConfig::new().compression_type(Compression::Lz4)).unwrap();
            producer.send(ProducerRecord::new("t", &[9; 10_000]).partition(0)).unwrap().wait().unwrap();
            let partition = broker.partition(&tp(0)).unwrap();
            let many: Vec<_> =
                (0..20).map(|_| partition.fetch(0, &FetchOptions::new()).unwrap().decode(true).unwrap()).collect();
            assert_eq!(slices, copies);
            for (number, bytes) in shared.iter().enumerate() {
                assert_eq!(*bytes, format!("value {number} {}", "x".repeat(100)).as_bytes());
            }
            drop(many);
        }
    }
}

/// The table of the manual: "a wait in a ReadOnlyBroker looks again every 10 ms", whatever the owner does.
#[test]
fn a_read_only_broker_sees_what_the_owner_does() {
    for mode in [ReadMode::Mmap, ReadMode::Pread] {
        let dir = dir();
        let owner = Broker::open(dir.path()).unwrap();
        owner.create_topic("t", 1, fast().internal_segment_bytes(2000)).unwrap();
        send(&owner, 0, 1);
        let reader = ReadOnlyBroker::open_with(dir.path(), BrokerConfig::new().read_mode(mode)).unwrap();
        let partition = reader.partition(&tp(0)).unwrap();
        let mut offset = 0;
        let (told, is_told) = channel();
        let thread = std::thread::spawn(move || {
            loop {
                match partition.fetch(offset, &wait(3_600_000)) {
                    Ok(fetched) => {
                        let records = fetched.decode(true).unwrap();
                        let mut batches = fetched.batches(true);
                        let mut count = 0;
                        while let Some(batch) = batches.next_batch().unwrap() {
                            count += batch.count();
                        }
                        assert_eq!(count, records.len());
                        assert!(offset < records.next_offset());
                        offset = records.next_offset();
                        told.send(Ok(offset)).unwrap();
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::OffsetOutOfRange { log_start, .. } => offset = *log_start,
                        _ => {
                            told.send(Err(error)).unwrap();
                            return;
                        }
                    },
                }
            }
        });
        let reach = |target: Offset| loop {
            let offset = is_told.recv_timeout(PATIENCE).expect("nobody stands still").unwrap();
            if target <= offset {
                break;
            }
        };
        reach(1);
        for round in 1..20 {
            send(&owner, 0, 3); // over the end of a segment now and then
            reach(1 + 3 * round);
        }
        let there = owner.partition(&tp(0)).unwrap();
        there.delete_records(there.high_watermark().unwrap()).unwrap();
        send(&owner, 0, 2);
        reach(60);
        owner.delete_topic("t").unwrap();
        let error = is_told.recv_timeout(PATIENCE).expect("the topic is gone").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. }), "{error:?}");
        thread.join().unwrap();
    }
}

/// The same where the topic is there again at once, under the same name.
#[test]
fn a_read_only_broker_is_told_that_another_topic_has_the_name() {
    for mode in [ReadMode::Mmap, ReadMode::Pread] {
        let dir = dir();
        let owner = Broker::open(dir.path()).unwrap();
        owner.create_topic("t", 1, fast()).unwrap();
        send(&owner, 0, 3);
        let reader = ReadOnlyBroker::open_with(dir.path(), BrokerConfig::new().read_mode(mode)).unwrap();
        let partition = reader.partition(&tp(0)).unwrap();
        assert_eq!(partition.fetch(0, &wait(0)).unwrap().decode(true).unwrap().len(), 3);
        let (told, is_told) = channel();
        let thread = std::thread::spawn(move || {
            told.send(partition.fetch(3, &wait(3000)).map(|fetched| fetched.decode(true).unwrap().len())).unwrap();
        });
        std::thread::yield_now();
        owner.delete_topic("t").unwrap();
        owner.create_topic("t", 1, fast()).unwrap();
        send(&owner, 0, 5);
        let answer = is_told.recv_timeout(PATIENCE).unwrap();
        assert!(
            matches!(&answer, Err(error) if matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. })),
            "{mode}: {answer:?}"
        );
        thread.join().unwrap();
    }
}

/// Two thousand partitions with a task each, and one fetcher of all.
#[test]
fn thousands_of_partitions_wait() {
    let dir = dir();
    let broker = Broker::open(dir.path()).unwrap();
    const COUNT: i32 = 2_000;
    broker.create_topic("t", COUNT, fast()).unwrap();
    let partitions: Vec<Arc<Partition>> = (0..COUNT).map(|number| broker.partition(&tp(number)).unwrap()).collect();
    let counts = Arc::new(Counts(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&counts));
    let mut futures: Vec<_> = partitions.iter().map(|partition| partition.fetch_async(0, &wait(3_600_000))).collect();
    assert!(futures.iter_mut().all(|future| poll(future, &waker).is_pending()));
    let mut fetcher = Fetcher::new(wait(3_600_000));
    for partition in &partitions {
        fetcher.add(Arc::clone(partition), 0).unwrap();
    }
    let all = Arc::new(Counts(AtomicUsize::new(0)));
    let mut future = fetcher.fetch_async();
    assert!(poll(&mut future, &Waker::from(Arc::clone(&all))).is_pending());
    send(&broker, COUNT - 1, 1);
    assert_eq!((counts.0.load(Ordering::SeqCst), all.0.load(Ordering::SeqCst)), (1, 1));
    let Poll::Ready(answers) = poll(&mut future, &waker) else { panic!("there is something") };
    assert_eq!(answers.len(), COUNT as usize);
    drop(future);
    for partition in &partitions {
        fetcher.seek(partition.name(), 0).unwrap();
    }
    broker.close().unwrap();
    assert_eq!(counts.0.load(Ordering::SeqCst), COUNT as usize);
    let ready = |future: &mut _| matches!(poll(future, &waker), Poll::Ready(_));
    assert!(futures.iter_mut().all(ready));
}

/// Arguments that nobody should pass.
#[test]
fn what_is_cached_of_nothing() {
    for mode in [ReadMode::Mmap, ReadMode::Pread] {
        let dir = dir();
        let broker = Broker::open_with(dir.path(), BrokerConfig::new().read_mode(mode)).unwrap();
        broker.create_topic("t", 1, fast().internal_segment_bytes(2000)).unwrap();
        let partition = broker.partition(&tp(0)).unwrap();
        for round in 0..3 {
            let (start, end) = (partition.log_start().unwrap(), partition.log_end().unwrap());
            for offset in [Offset::MIN, -1, 0, 1, start - 1, start, end - 1, end, end + 1, Offset::MAX] {
                for bytes in [0, 1, 4095, 4096, 1 << 20, u32::MAX as usize, i64::MAX as usize, usize::MAX] {
                    let in_range = (start..=end).contains(&offset);
                    let cached = partition.is_cached(offset, bytes);
                    let warmed = partition.warm_up(offset, bytes);
                    assert_eq!((cached.is_ok(), warmed.is_ok()), (in_range, in_range), "{offset} {bytes}");
                    if in_range && mode == ReadMode::Mmap {
                        assert!(partition.is_cached(offset, bytes).unwrap(), "{round}: {offset} {bytes}");
                    }
                }
            }
            send(&broker, 0, 10);
            if round == 1 {
                partition.delete_records(7).unwrap();
            }
        }
        broker.delete_topic("t").unwrap();
        assert!(partition.is_cached(0, 1).is_err() && partition.warm_up(0, 1).is_err());
    }
}

/// Records go from under a fetch that waits in the middle of a batch, and one that waits behind it goes on.
#[test]
fn records_go_in_the_middle_of_a_batch() {
    let dir = dir();
    let broker = Broker::open(dir.path()).unwrap();
    broker.create_topic("t", 1, fast()).unwrap();
    let producer = broker.producer(ProducerConfig::new().linger(Duration::from_secs(3600))).unwrap();
    for _ in 0..10 {
        _ = producer.send(ProducerRecord::new("t", "value").partition(0)).unwrap();
    }
    producer.flush().unwrap();
    let partition = broker.partition(&tp(0)).unwrap();
    let len = partition.fetch(0, &wait(0)).unwrap().len();
    let counts = Arc::new(Counts(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&counts));
    let mut below = partition.fetch_async(4, &wait(3_600_000).min_bytes(len + 1));
    let mut at = partition.fetch_async(5, &wait(3_600_000).min_bytes(len + 1));
    let mut above = partition.fetch_async(6, &wait(3_600_000).min_bytes(len + 1));
    assert!(poll(&mut below, &waker).is_pending() && poll(&mut at, &waker).is_pending());
    assert!(poll(&mut above, &waker).is_pending());
    partition.delete_records(5).unwrap();
    assert!(matches!(poll(&mut below, &waker), Poll::Ready(Err(_))));
    assert!(poll(&mut at, &waker).is_pending() && poll(&mut above, &waker).is_pending());
    _ = producer.send(ProducerRecord::new("t", "value").partition(0)).unwrap();
    producer.flush().unwrap();
    for (offset, future) in [(5, &mut at), (6, &mut above)] {
        let Poll::Ready(Ok(fetched)) = poll(future, &waker) else { panic!("there is enough") };
        assert_eq!(fetched.decode(true).unwrap().iter().next().unwrap().offset(), offset);
        let mut batches = fetched.batches(true);
        assert_eq!(batches.next_batch().unwrap().unwrap().next().unwrap().offset(), offset);
    }
}

/// A process that ends while large maps are taken down, with and without a close.
#[test]
fn a_process_may_end_while_maps_are_taken_down() {
    if let Ok(path) = std::env::var("ATTACK_EXIT") {
        let broker = Broker::open(&path).unwrap();
        broker.create_topic("t", 1, fast().segment_bytes(32 << 20)).unwrap();
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        for _ in 0..200 {
            producer.send(ProducerRecord::new("t", &vec![7; 500_000]).partition(0)).unwrap().wait().unwrap();
        }
        let partition = broker.partition(&tp(0)).unwrap();
        let end = partition.high_watermark().unwrap();
        let held: Vec<_> =
            (0..end).step_by(30).map(|offset| partition.fetch(offset, &FetchOptions::new()).unwrap()).collect();
        broker.delete_topic("t").unwrap();
        static HELD: Mutex<Vec<thalweg::Fetched>> = Mutex::new(Vec::new());
        HELD.lock().unwrap().extend(held.iter().take(1).cloned()); // never dropped
        drop(held);
        if std::env::var("ATTACK_CLOSE").is_ok() {
            broker.close().unwrap();
        } else {
            std::mem::forget(broker);
        }
        std::process::exit(17);
    }
    for close in [false, true] {
        let dir = dir();
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["a_process_may_end", "--nocapture"]).env("ATTACK_EXIT", dir.path());
        if close {
            command.env("ATTACK_CLOSE", "1");
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(17), "{output:?}");
    }
}

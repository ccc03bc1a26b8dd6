//! What the tests share.

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use thalweg::simulation::{Background, Held, SimulatedDisk};
use thalweg::{
    AutoOffsetReset, Broker, BrokerConfig, Consumer, ConsumerConfig, Durability, Error, ErrorKind, Offset, Producer,
    ProducerConfig,
};
use thalweg::{
    Partition, ProducerRecord, ReadMode, ReadOnlyBroker, RecordMetadata, Result, TopicConfig, TopicPartition,
};

use crate::READ_MODE;

/// A data directory that is removed at the end, and brokers that open it.
pub(crate) struct Store {
    pub(crate) dir: tempfile::TempDir,
}

impl Store {
    pub(crate) fn new() -> Self {
        Store { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn open(&self) -> Broker {
        open(self.dir.path()).unwrap()
    }

    pub(crate) fn open_with(&self, config: BrokerConfig) -> Broker {
        Broker::open_with(self.dir.path(), config.read_mode(READ_MODE)).unwrap()
    }

    /// Opens the store and creates topic `t`.
    pub(crate) fn open_with_topic(&self, partitions: i32, config: TopicConfig) -> Broker {
        let broker = self.open();
        broker.create_topic("t", partitions, config).unwrap();
        broker
    }

    /// Makes the file of topic `t` say that the topic is being created or deleted.
    pub(crate) fn set_state(&self, state: &str) {
        let path = self.dir.path().join("t.topic");
        let text = std::fs::read_to_string(&path).unwrap();
        let (body, _) = text.rsplit_once("crc32=").unwrap();
        let body = body.replacen("version=1\n", &format!("version=1\nstate={state}\n"), 1);
        std::fs::write(path, format!("{body}crc32={:08x}\n", crc32fast::hash(body.as_bytes()))).unwrap();
    }

    /// The names in the directory that belong to topic `t`, sorted.
    pub(crate) fn names_of_topic(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("t-") || name.starts_with("t.")).collect();
        names.sort();
        names
    }

    /// The path of a file of partition `t-0`.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("t-0").join(name)
    }
}

/// Opens a directory that reads as these tests do.
pub(crate) fn open(path: impl AsRef<Path>) -> Result<Broker> {
    Broker::open_with(path, BrokerConfig::new().read_mode(READ_MODE))
}

/// As [`open`], for reading only.
pub(crate) fn open_read_only(path: impl AsRef<Path>) -> Result<ReadOnlyBroker> {
    ReadOnlyBroker::open_with(path, BrokerConfig::new().read_mode(READ_MODE))
}

/// Whether the test is about maps, and these brokers have none.
#[expect(clippy::print_stdout, reason = "it is how a test says that it was skipped")]
pub(crate) fn needs_maps() -> bool {
    if READ_MODE != ReadMode::Mmap {
        println!("skipped: nothing is mapped");
    }
    READ_MODE != ReadMode::Mmap
}

/// A topic whose appends wait for no disk.
pub(crate) fn fast() -> TopicConfig {
    TopicConfig::new().durability(Durability::Os)
}

pub(crate) fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// A producer that does not wait for topics that are not there.
pub(crate) fn producer(broker: &Broker) -> Producer {
    broker.producer(ProducerConfig::new().max_block(Duration::ZERO)).unwrap()
}

/// Whether a topic or partition was not there, or did not come in time.
pub(crate) fn is_unknown(error: &Error) -> bool {
    let never_came = matches!(error.kind(), ErrorKind::Timeout { .. });
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Error>());
    matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. }) || never_came && cause.is_some_and(is_unknown)
}

/// Sends values to partition `t-0` one batch each, and returns their offsets.
pub(crate) fn send_each<V: AsRef<[u8]>>(broker: &Broker, values: impl IntoIterator<Item = V>) -> Vec<Offset> {
    let producer = producer(broker);
    let send = |value: V| producer.send(ProducerRecord::new("t", &value).partition(0)).unwrap().wait().unwrap().offset;
    values.into_iter().map(send).collect()
}

/// A consumer of a group that begins at the earliest record and commits nothing by itself.
pub(crate) fn consumer(broker: &Broker, group: &str) -> Consumer {
    let config = ConsumerConfig::new().group_id(group).auto_offset_reset(AutoOffsetReset::Earliest);
    broker.consumer(config.enable_auto_commit(false)).unwrap()
}

/// Polls until `count` records have come, and returns partition, offset and value of each.
pub(crate) fn poll_values(consumer: &mut Consumer, count: usize) -> Vec<(i32, Offset, Vec<u8>)> {
    let mut values = Vec::new();
    while values.len() < count {
        let records = consumer.poll(Duration::from_secs(10)).unwrap();
        assert!(!records.is_empty(), "{} of {count} records came", values.len());
        values.extend(
            records
                .iter()
                .map(|record| (record.partition(), record.offset(), record.value().unwrap_or_default().to_vec())),
        );
    }
    values
}

/// Every value of partition `t-0` that can be read, by fetching.
pub(crate) fn all_values(broker: &Broker) -> Vec<Vec<u8>> {
    let partition = broker.partition(&tp(0)).unwrap();
    let (mut offset, end) = (partition.log_start().unwrap(), partition.high_watermark().unwrap());
    let mut values = Vec::new();
    while offset < end {
        let records = partition.fetch(offset, &Default::default()).unwrap().decode(true).unwrap();
        values.extend(records.iter().map(|record| record.value().unwrap_or_default().to_vec()));
        offset = records.next_offset();
    }
    values
}

/// A broker in which nothing happens by itself: topics of the default durability show what was sent after
/// [`show`](Simulated::show), and time passes when it is told to.
pub(crate) struct Simulated {
    pub(crate) broker: Broker,
    pub(crate) disk: SimulatedDisk,
    pub(crate) store: Store,
}

impl Simulated {
    pub(crate) fn new(config: BrokerConfig) -> Self {
        let (disk, store) = (SimulatedDisk::new(), Store::new());
        Simulated { broker: disk.open_broker(store.dir.path(), config.read_mode(READ_MODE)).unwrap(), disk, store }
    }

    /// With topic `t`.
    pub(crate) fn with_topic(partitions: i32, config: TopicConfig) -> Self {
        let simulated = Simulated::new(BrokerConfig::new());
        simulated.broker.create_topic("t", partitions, config).unwrap();
        simulated
    }

    /// Moves the high watermarks to the log ends.
    pub(crate) fn show(&self) {
        Background::of(&self.broker).flush();
    }

    /// Lets time pass, and does what is due then.
    pub(crate) fn pass(&self, time: Duration) {
        self.disk.clock().advance(time);
        Background::of(&self.broker).run_timers();
    }
}

/// Appends one batch of ten records that takes exactly `size` bytes, and does not wait for anything.
pub(crate) fn send_batch(broker: &Broker, partition: i32, size: usize) {
    const HEADER: usize = 61;
    /// What a record takes beside a value of 64 bytes or more: two lengths of two bytes, and five fields of one.
    const FRAME: usize = 9;
    let share = (size - HEADER) / 10;
    let last = size - HEADER - 9 * share;
    let producer = broker.producer(ProducerConfig::new().batch_size(size).linger(Duration::from_secs(3600))).unwrap();
    for len in std::iter::repeat_n(share, 9).chain([last]) {
        let value = vec![7; len - FRAME];
        producer.send(ProducerRecord::new("t", &value).partition(partition).timestamp(1000)).unwrap().detach();
    }
}

/// What a task does when it is woken: nothing but to count.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Polls `future` once, for this task.
    pub(crate) fn poll<F: Future + Unpin>(self: &Arc<Self>, future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What `poll` returned, which is to be ready.
#[track_caller]
pub(crate) fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A fetch of `partition` that waits for ever, parked: it was polled once by the task that is returned.
pub(crate) fn parked(
    partition: &Arc<Partition>,
    offset: Offset,
    options: thalweg::FetchOptions,
) -> (thalweg::FetchFuture, Arc<Wakes>) {
    let (mut future, wakes) = (partition.fetch_async(offset, &options.max_wait(Duration::MAX)), Wakes::new());
    assert!(wakes.poll(&mut future).is_pending(), "it is to wait");
    assert_eq!(wakes.count(), 0);
    (future, wakes)
}

/// Longer than any test takes, also by a simulated clock, which lies far in the past: who waits as long is woken or hangs.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(1000 * 365 * 86_400);

/// Longer than any test takes by the real clock.
pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// A value whose record, without key and headers, takes exactly `size` bytes as a batch of its own.
pub(crate) fn value_of(size: usize) -> Vec<u8> {
    const HEADER: usize = 61;
    const FRAME: usize = 9; // as in `send_batch`
    vec![7; size - HEADER - FRAME]
}

/// Waits for what another thread is about to do.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..50_000_000 {
        if is_so() {
            return;
        }
        thread::yield_now();
    }
    panic!("never came: {what}");
}

/// No batch has memory any more. Who has just been acknowledged may be a moment ahead of whoever wrote the batch.
#[track_caller]
pub(crate) fn assert_memory_is_back(producer: &Producer) {
    eventually("all of buffer.memory", || {
        let stats = producer.stats();
        stats.buffer_available_bytes == stats.buffer_total_bytes
    });
}

/// Bytes of `buffer.memory` that batches have.
pub(crate) fn taken(producer: &Producer) -> u64 {
    let stats = producer.stats();
    stats.buffer_total_bytes - stats.buffer_available_bytes
}

/// Has a record for `t-0` written by a thread of its own, on a disk that holds all writes until the hold is dropped: who
/// sends to this partition meanwhile leaves its batches to that thread.
pub(crate) fn stall<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    disk: &SimulatedDisk,
    producer: &'scope Producer,
    value: Vec<u8>,
) -> (Held, thread::ScopedJoinHandle<'scope, Result<RecordMetadata>>) {
    let held = disk.hold_writes();
    let writer = scope.spawn(move || producer.send(ProducerRecord::new("t", &value).partition(0))?.wait());
    held.wait_for(1);
    (held, writer)
}

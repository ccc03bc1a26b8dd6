//! The process that is killed: it does everything at once, and never ends by itself.

use std::collections::VecDeque;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::Duration;

use thalweg::{
    Ack, AutoOffsetReset, Broker, Consumer, ConsumerConfig, Durability, Error, Producer, ProducerConfig,
    ProducerRecord, RecordMetadata, TopicConfig, TopicPartition,
};

use crate::values::{LANES, Random, id, value};

/// What the group reads; who deletes a topic has another group commit for it.
pub(crate) const SUBSCRIBED: [&str; 2] = ["kept", "retained"];

/// The smallest limit that the topic `retained` ever has.
pub(crate) const RETENTION_BYTES_MIN: u64 = 50_000;

/// Lanes that the senders share; the others belong to the topic that comes and goes.
const SHARED_LANES: usize = 5;

/// Acknowledgements that are on the way to their collector.
const UNCOLLECTED_MAX: usize = 200;

/// Which group commits offsets of a topic.
pub(crate) fn group_of(topic: &str) -> &'static str {
    if SUBSCRIBED.contains(&topic) { "readers" } else { "administrators" }
}

pub(crate) fn consumer(broker: &Broker, group: &str) -> Consumer {
    let config = ConsumerConfig::new().group_id(group).auto_offset_reset(AutoOffsetReset::Earliest);
    broker.consumer(config.enable_auto_commit(false)).unwrap()
}

/// The settings with this number of the topic `retained`. What they do not name stays as it was in `config`.
pub(crate) fn retained_config(config: TopicConfig, number: u64) -> TopicConfig {
    let durability = [Durability::Fsync, Durability::Os, Durability::Interval][number as usize % 3];
    let config = if number == 0 { config } else { config.durability(durability).preallocate(number.is_multiple_of(2)) };
    config.index_interval_bytes(1000 + number).retention_bytes(Some(RETENTION_BYTES_MIN + 10_000 * (number % 3)))
}

/// The inverse of [`retained_config`].
pub(crate) fn settings_number(config: &TopicConfig) -> u64 {
    let properties = config.to_properties();
    let (_, bytes) = properties.iter().find(|(key, _)| *key == "index.interval.bytes").unwrap();
    bytes.parse::<u64>().unwrap() - 1000
}

/// Works until it is killed.
pub(crate) fn work(directory: &Path, run: u64) -> ! {
    let panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        panic(info);
        std::process::exit(1); // a thread that is missing would not be missed
    }));
    let broker = &Broker::open(directory).unwrap();
    let producer = &broker.producer(ProducerConfig::new().batch_size(2000)).unwrap();
    say("started;");
    std::thread::scope(|scope| {
        let (to_collector, collected) = mpsc::sync_channel(UNCOLLECTED_MAX);
        scope.spawn(move || send_in_rounds(Sender::new(producer, run, 0)));
        scope.spawn(move || send_in_a_window(Sender::new(producer, run, 1)));
        scope.spawn(move || send_and_hand_over(Sender::new(producer, run, 2), &to_collector));
        scope.spawn(move || collect(&collected));
        scope.spawn(move || consume(broker));
        administrate(broker, Sender::new(producer, run, 3));
    });
    unreachable!("the parent kills this process")
}

/// Two records in the first lane, and one that was deleted in the second.
pub(crate) fn work_a_little(directory: &Path) {
    let broker = Broker::open(directory).unwrap();
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    let mut sender = Sender::new(&producer, 1, 0);
    for lane in [0, 0, 1] {
        sender.send(lane).unwrap().1.wait().unwrap();
    }
    broker.partition(&TopicPartition::new("kept", 1)).unwrap().delete_records(1).unwrap();
    broker.close().unwrap();
}

/// One thread's way to the producer that all share.
struct Sender<'a> {
    producer: &'a Producer,
    run: u64,
    number: u64,
    /// Records that it has sent to each lane.
    sequences: [u64; LANES.len()],
    random: Random,
}

impl<'a> Sender<'a> {
    fn new(producer: &'a Producer, run: u64, number: u64) -> Self {
        Sender { producer, run, number, sequences: [0; LANES.len()], random: Random::new(run * 16 + number) }
    }

    /// Sends the next record of a lane.
    fn send(&mut self, lane: usize) -> Result<(u64, Ack), Error> {
        let id = id(self.run, self.number, lane, self.sequences[lane]);
        let (topic, partition) = LANES[lane];
        let ack = self.producer.send(ProducerRecord::new(topic, &value(id)).partition(partition))?;
        self.sequences[lane] += 1;
        Ok((id, ack))
    }

    fn send_anywhere(&mut self) -> (u64, Ack) {
        let lane = self.random.below(SHARED_LANES as u64) as usize;
        self.send(lane).unwrap()
    }
}

/// Sends some, waits for all of them, and so on.
fn send_in_rounds(mut sender: Sender<'_>) {
    loop {
        let count = 1 + sender.random.below(30);
        let acks: Vec<_> = (0..count).map(|_| sender.send_anywhere()).collect();
        acks.into_iter().for_each(|(id, ack)| acknowledged(id, &ack.wait().unwrap()));
    }
}

/// Waits for the oldest of those that are under way.
fn send_in_a_window(mut sender: Sender<'_>) {
    let mut under_way = VecDeque::new();
    loop {
        under_way.push_back(sender.send_anywhere());
        if under_way.len() > 60 {
            let (id, ack) = under_way.pop_front().unwrap();
            acknowledged(id, &ack.wait().unwrap());
        }
    }
}

/// Never waits itself, but for a collector that is far behind.
fn send_and_hand_over(mut sender: Sender<'_>, to_collector: &SyncSender<(u64, Ack)>) {
    loop {
        to_collector.send(sender.send_anywhere()).unwrap();
    }
}

/// Awaits acknowledgements: the syncing is done by others.
fn collect(acks: &Receiver<(u64, Ack)>) {
    for (id, ack) in acks {
        acknowledged(id, &block_on(ack).unwrap());
    }
}

fn acknowledged(id: u64, sent: &RecordMetadata) {
    say(&format!("sent {} {} {} {id};", sent.partition.topic(), sent.partition.partition(), sent.offset));
}

/// Consumes and commits.
fn consume(broker: &Broker) {
    let mut consumer = consumer(broker, group_of(SUBSCRIBED[0]));
    consumer.subscribe(&SUBSCRIBED).unwrap();
    loop {
        let records = consumer.poll(Duration::from_millis(5)).unwrap();
        let ends = records.partitions().map(|(partition, records)| (partition.clone(), records.next_offset()));
        let ends: Vec<_> = ends.collect();
        if !ends.is_empty() {
            consumer.commit_sync().unwrap();
        }
        for (partition, offset) in ends {
            say(&format!("committed {} {} {offset};", partition.topic(), partition.partition()));
        }
    }
}

/// Takes records and topics away, and changes settings. In between it sends, so that the senders are not crowded out.
fn administrate(broker: &Broker, mut sender: Sender<'_>) {
    let mut random = Random::new(sender.run);
    loop {
        match random.below(8) {
            0 => alter(broker),
            1 => create_or_delete(broker, &mut sender),
            2..5 => _ = broker.enforce_retention().unwrap(),
            number => delete_records(broker, number as i32 - 5, &mut random),
        }
        let (id, ack) = sender.send_anywhere();
        acknowledged(id, &ack.wait().unwrap());
    }
}

fn alter(broker: &Broker) {
    let config = broker.topic("retained").unwrap().config().clone();
    let number = settings_number(&config) + 1;
    say(&format!("altering {number};"));
    broker.alter_topic("retained", retained_config(config, number)).unwrap();
    say(&format!("altered {number};"));
}

fn delete_records(broker: &Broker, number: i32, random: &mut Random) {
    let partition = broker.partition(&TopicPartition::new("kept", number)).unwrap();
    let (start, end) = (partition.log_start().unwrap(), partition.high_watermark().unwrap());
    let before = end - random.below((end - start).min(500) as u64 + 1) as i64;
    say(&format!("asked kept {number} {before};"));
    let start = partition.delete_records(before).unwrap();
    say(&format!("deleted kept {number} {start};"));
}

/// Creates the topic with some records and a committed offset, or deletes it while others are under way to it.
fn create_or_delete(broker: &Broker, sender: &mut Sender<'_>) {
    if broker.topic("deletable").is_ok() {
        for lane in SHARED_LANES..LANES.len() {
            sender.send(lane).unwrap().1.detach();
        }
        say("deleting;");
        broker.delete_topic("deletable").unwrap();
        say("deleted;");
        return;
    }
    say("creating;");
    let config = TopicConfig::new().internal_segment_bytes(1000).durability(Durability::Os);
    broker.create_topic("deletable", 2, config).unwrap();
    say("created;");
    for lane in (0..6).map(|at| SHARED_LANES + at % 2) {
        let (id, ack) = sender.send(lane).unwrap();
        acknowledged(id, &ack.wait().unwrap());
    }
    let offset = (TopicPartition::new("deletable", 1), 2.into());
    consumer(broker, group_of("deletable")).commit_sync_offsets(&[offset]).unwrap();
    say("committed deletable 1 2;");
}

/// A line that is out before the next thing is done.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1); // the parent is gone
    }
}

/// Waits for a future, as an application's runtime does.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Arc::new(Unpark(std::thread::current())).into();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

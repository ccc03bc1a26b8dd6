//! Workloads: what an application does, by a seed, with a note of each promise.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thalweg::simulation::{Background, Fault, OperationKind, SimulatedDisk, SyncPoint};
use thalweg::{
    Ack, Broker, BrokerConfig, ConsumerConfig, Durability, Producer, ProducerConfig, ProducerRecord, TopicConfig,
    TopicPartition,
};

use crate::kind::{Kind, Step};
use crate::random::Random;
use crate::world::{Backup, Event, GROUP, Topic, World};

const MS: Duration = Duration::from_millis(1);

/// A broker at work.
pub(crate) struct Workload {
    kind: Kind,
    pub(crate) disk: SimulatedDisk,
    /// On this disk and on those after it.
    pub(crate) switched_off: Option<SyncPoint>,
    pub(crate) dir: PathBuf,
    pub(crate) world: World,
    random: Random,
    open: Option<(Broker, Producer)>,
    /// Sent and not waited for: topic, partition, acknowledgement.
    pending: Vec<(TopicPartition, Ack)>,
    count: usize,
}

/// A disk on which syncs of one point do nothing.
pub(crate) fn disk(switched_off: Option<SyncPoint>) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    if let Some(point) = switched_off {
        disk.switch_off(point);
    }
    disk
}

pub(crate) fn broker_config() -> BrokerConfig {
    BrokerConfig::new().max_open_files(Some(3))
}

fn producer(broker: &Broker) -> Producer {
    broker.producer(ProducerConfig::new().linger(5 * MS).batch_size(700)).unwrap()
}

impl Workload {
    /// A new broker in `dir`.
    pub(crate) fn begin(switched_off: Option<SyncPoint>, dir: &Path, seed: u64, kind: Kind) -> Self {
        let mut workload = Workload {
            kind,
            disk: disk(switched_off),
            switched_off,
            dir: dir.to_owned(),
            world: World::default(),
            random: Random(seed),
            open: None,
            pending: Vec::new(),
            count: 0,
        };
        workload.reopen();
        Background::of(workload.broker()).create_offsets_topic(1).unwrap();
        workload
    }

    /// Does `steps` things in `dir`.
    pub(crate) fn run(switched_off: Option<SyncPoint>, dir: &Path, seed: u64, (kind, steps): (Kind, usize)) -> Self {
        let mut workload = Workload::begin(switched_off, dir, seed, kind);
        for _ in 0..1 + workload.random.below(2) {
            workload.create_topic();
        }
        for _ in 0..steps {
            let step = kind.pick(&mut workload.random);
            workload.step(step);
        }
        if workload.random.percent(50) {
            workload.close();
        } else {
            workload.kill();
        }
        workload
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.open.as_ref().unwrap().0
    }

    fn producer(&self) -> &Producer {
        &self.open.as_ref().unwrap().1
    }

    fn now(&self) -> usize {
        self.disk.operations()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send => self.send(1, true),
            Step::SendMany => {
                let count = 2 + self.random.below(20);
                self.send(count, true);
            }
            Step::SendAsync => {
                let count = 1 + self.random.below(6);
                self.send(count, false);
            }
            Step::Settle => self.settle(),
            Step::Flush => self.flush(),
            Step::Timers => self.run_timers(),
            Step::Retain => self.retain(),
            Step::DeleteRecords => self.delete_records(),
            Step::Commit => self.commit(),
            Step::CreateTopic => self.create_topic(),
            Step::DeleteTopic => self.delete_topic(),
            Step::AlterTopic => self.alter_topic(),
            Step::CreatePartitions => self.create_partitions(),
            Step::BackUp => self.back_up(),
            Step::Reopen => {
                self.close();
                self.reopen();
            }
            Step::Kill => {
                self.kill();
                self.reopen();
            }
            Step::Tick => Background::of(self.broker()).tick(),
            Step::Starve => self.starve(),
            Step::Large => self.send_much(),
        }
        self.note_visible();
    }

    /// What can be seen of a topic that always promised syncs is durable.
    fn note_visible(&mut self) {
        let now = self.now();
        let Some((broker, _)) = &self.open else { return };
        for topic in self.world.live_mut() {
            let always = topic.configs.iter().all(|(_, config)| is_of(config, Durability::Fsync));
            if !always {
                continue;
            }
            for number in 0..topic.logs.len() {
                let end = broker.partition(&topic.partition(number)).unwrap().high_watermark().unwrap();
                topic.logs[number].promise(now, end);
            }
        }
    }

    fn pick_partition(&mut self) -> Option<TopicPartition> {
        let partitions: Vec<_> =
            self.world.live().flat_map(|topic| (0..topic.logs.len()).map(|number| topic.partition(number))).collect();
        if partitions.is_empty() { None } else { Some(partitions[self.random.below(partitions.len())].clone()) }
    }

    fn pick_topic(&mut self) -> Option<String> {
        let names: Vec<_> = self.world.live().map(|topic| topic.name.clone()).collect();
        if names.is_empty() { None } else { Some(names[self.random.below(names.len())].clone()) }
    }

    fn topic(&mut self, name: &str) -> &mut Topic {
        self.world.live_mut().find(|topic| topic.name == name).unwrap()
    }

    fn send(&mut self, count: usize, waits: bool) {
        let Some(name) = self.pick_partition() else { return };
        for _ in 0..count {
            let padding = if self.random.percent(10) { self.random.below(1500) } else { self.random.below(60) };
            self.send_to(&name, padding);
        }
        if waits {
            self.settle();
        }
    }

    /// A record with a value of `padding` bytes and some.
    pub(crate) fn send_to(&mut self, name: &TopicPartition, padding: usize) {
        self.count += 1;
        let value: Arc<str> = format!("{name} {} {}", self.count, "x".repeat(padding)).into();
        let began = self.now();
        let record = ProducerRecord::new(name.topic(), &*value).partition(name.partition());
        let ack = self.producer().send(record).unwrap();
        let number = name.partition() as usize;
        self.topic(name.topic()).logs[number].sent.push((began, value));
        self.pending.push((name.clone(), ack));
    }

    /// Waits for all that was sent.
    pub(crate) fn settle(&mut self) {
        for (name, ack) in std::mem::take(&mut self.pending) {
            let metadata = ack.wait().unwrap();
            let now = self.now();
            if metadata.durability == Durability::Fsync {
                self.topic(name.topic()).logs[name.partition() as usize].promise(now, metadata.offset + 1);
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        Background::of(self.broker()).flush();
        let now = self.now();
        let (broker, _) = self.open.as_ref().unwrap();
        for topic in self.world.live_mut().filter(|topic| !is_of(topic.config(), Durability::Os)) {
            for number in 0..topic.logs.len() {
                let end = broker.partition(&topic.partition(number)).unwrap().log_end().unwrap();
                topic.logs[number].promise(now, end);
            }
        }
    }

    pub(crate) fn run_timers(&mut self) {
        self.disk.clock().advance(20 * MS);
        Background::of(self.broker()).run_timers();
    }

    fn retain(&mut self) {
        let began = self.now();
        if self.random.percent(30) {
            self.disk.clock().advance(Duration::from_secs(40));
        }
        Background::of(self.broker()).enforce_retention().unwrap();
        self.note_starts(began);
    }

    fn note_starts(&mut self, began: usize) {
        let acked = self.now();
        let (broker, _) = self.open.as_ref().unwrap();
        for topic in self.world.live_mut() {
            for number in 0..topic.logs.len() {
                let start = broker.partition(&topic.partition(number)).unwrap().log_start().unwrap();
                let starts = &mut topic.logs[number].starts;
                if starts.last().map_or(0, |(_, last)| *last) < start {
                    starts.push((Event { began, acked }, start));
                }
            }
        }
    }

    fn delete_records(&mut self) {
        let Some(name) = self.pick_partition() else { return };
        let partition = self.broker().partition(&name).unwrap();
        let before = self.random.below(partition.high_watermark().unwrap() as usize + 1);
        let began = self.now();
        partition.delete_records(before as i64).unwrap();
        self.note_starts(began);
    }

    fn commit(&mut self) {
        let Some(name) = self.pick_partition() else { return };
        let end = self.broker().partition(&name).unwrap().high_watermark().unwrap();
        let offset = self.random.below(end as usize + 1) as i64;
        let config = ConsumerConfig::new().group_id(GROUP).enable_auto_commit(false);
        let mut consumer = self.broker().consumer(config).unwrap();
        let began = self.now();
        consumer.commit_sync_offsets(&[(name.clone(), offset.into())]).unwrap();
        let event = Event { began, acked: self.now() };
        self.topic(name.topic()).logs[name.partition() as usize].commits.push((event, offset));
    }

    fn config(&mut self) -> TopicConfig {
        let (kind, random) = (self.kind, &mut self.random);
        let durability = random.pick(&[Durability::Fsync, Durability::Fsync, Durability::Interval, Durability::Os]);
        let durability = if kind == Kind::Kills { Durability::Fsync } else { durability };
        let config = TopicConfig::new()
            .durability(durability)
            .preallocate(random.percent(40))
            .internal_segment_bytes(random.pick(if kind == Kind::Kills { &[2000] } else { &[2000, 4000, 20_000] }))
            .index_interval_bytes(random.pick(&[0, 500, 4096]));
        match random.below(3) {
            0 => config.retention_bytes(Some(6000)),
            1 => config.retention(Some(Duration::from_secs(60))),
            _ => config,
        }
    }

    fn create_topic(&mut self) {
        let free = ["a", "b", "c"].into_iter().find(|name| self.world.live().all(|topic| topic.name != *name));
        let Some(name) = free else { return };
        let (partitions, config) = (1 + self.random.below(2) as i32, self.config());
        self.create_topic_as(name, partitions, config);
    }

    pub(crate) fn create_topic_as(&mut self, name: &str, partitions: i32, config: TopicConfig) {
        let began = self.now();
        self.broker().create_topic(name, partitions, config.clone()).unwrap();
        let created = Event { began, acked: self.now() };
        self.world.topics.push(Topic::new(name, created, partitions, config));
    }

    fn delete_topic(&mut self) {
        let Some(name) = self.pick_topic() else { return };
        self.delete_topic_named(&name);
    }

    pub(crate) fn delete_topic_named(&mut self, name: &str) {
        self.settle();
        let began = self.now();
        self.broker().delete_topic(name).unwrap();
        let acked = self.now();
        self.topic(name).deleted = Some(Event { began, acked });
    }

    fn alter_topic(&mut self) {
        let Some(name) = self.pick_topic() else { return };
        self.settle();
        let config = self.config();
        let began = self.now();
        self.broker().alter_topic(&name, config.clone()).unwrap();
        let event = Event { began, acked: self.now() };
        self.topic(&name).configs.push((event, config));
    }

    fn create_partitions(&mut self) {
        let Some(name) = self.pick_topic() else { return };
        let count = self.topic(&name).logs.len() + 1;
        if count > 4 {
            return;
        }
        let began = self.now();
        self.broker().create_partitions(&name, count as i32).unwrap();
        let event = Event { began, acked: self.now() };
        let topic = self.topic(&name);
        topic.counts.push((event, count as i32));
        topic.logs.resize_with(count, Default::default);
    }

    pub(crate) fn back_up(&mut self) {
        let path = self.dir.with_file_name(format!("backup-{}", self.world.backups.len()));
        let mut world = World { topics: self.world.live().cloned().collect(), ..World::default() };
        let (broker, _) = self.open.as_ref().unwrap();
        for topic in &mut world.topics {
            for number in 0..topic.logs.len() {
                let end = broker.partition(&topic.partition(number)).unwrap().high_watermark().unwrap();
                topic.logs[number].promise(0, end);
            }
        }
        let began = self.now();
        self.broker().checkpoint(&path).unwrap();
        let made = Event { began, acked: self.now() };
        self.world.backups.push(Backup { path, made, world });
    }

    /// Everything is written, and then no file can be created.
    fn starve(&mut self) {
        const ENOSPC: i32 = 28;
        self.send(15, false);
        self.producer().flush().unwrap();
        self.send(15, false);
        self.run_timers();
        self.disk.fail(Fault::of(OperationKind::Create).errno(ENOSPC).for_ever());
        match self.random.below(3) {
            0 => self.settle(),
            1 => self.flush(),
            _ => {
                let Some(name) = self.pick_partition() else { return };
                let partition = self.broker().partition(&name).unwrap();
                let (before, began) = (partition.high_watermark().unwrap(), self.now());
                let outcome = partition.delete_records(before);
                let acked = if outcome.is_ok() { self.now() } else { usize::MAX };
                let number = name.partition() as usize;
                self.topic(name.topic()).logs[number].starts.push((Event { began, acked }, before));
            }
        }
        self.disk.heal();
    }

    /// More than recovery may have to read.
    fn send_much(&mut self) {
        const NAME: &str = "large";
        if self.world.live().all(|topic| topic.name != NAME) {
            let began = self.now();
            let config = TopicConfig::new().durability(Durability::Os);
            self.broker().create_topic(NAME, 1, config.clone()).unwrap();
            let created = Event { began, acked: self.now() };
            self.world.topics.push(Topic::new(NAME, created, 1, config));
        }
        for _ in 0..5 {
            let (began, value): (_, Arc<str>) = (self.now(), "y".repeat(900_000).into());
            self.topic(NAME).logs[0].sent.push((began, Arc::clone(&value)));
            self.producer().send(ProducerRecord::new(NAME, &*value)).unwrap().wait().unwrap();
        }
        Background::of(self.broker()).tick();
    }

    pub(crate) fn close(&mut self) {
        self.settle();
        let (broker, producer) = self.open.take().unwrap();
        drop(producer);
        let closing = self.now();
        self.world.in_use.iter_mut().for_each(|(_, until)| *until = closing.min(*until));
        broker.close().unwrap();
        let now = self.now();
        for log in self.world.live_mut().flat_map(|topic| &mut topic.logs) {
            log.promise(now, log.sent.len() as i64);
        }
        self.world.closed.push((now, usize::MAX));
    }

    /// The process ends as it is; what it has written stays in the cache.
    pub(crate) fn kill(&mut self) {
        let (broker, producer) = self.open.take().unwrap();
        self.disk.kill();
        self.pending.clear();
        drop(producer);
        drop(broker);
        self.disk.restart();
    }

    pub(crate) fn reopen(&mut self) {
        let now = self.now();
        if let Some((_, reopened)) = self.world.closed.last_mut() {
            *reopened = now.min(*reopened);
        }
        let broker = self.disk.open_broker(&self.dir, broker_config()).unwrap();
        assert!(broker.recovery().is_whole(), "{}", broker.recovery());
        self.world.in_use.push((self.now(), usize::MAX));
        for topic in self.world.live_mut() {
            for number in 0..topic.logs.len() {
                let end = broker.partition(&topic.partition(number)).unwrap().log_end().unwrap();
                topic.logs[number].sent.truncate(end as usize); // the rest was never written
            }
        }
        let producer = producer(&broker);
        self.open = Some((broker, producer));
        self.note_visible();
    }
}

/// Settings cannot be asked for one by one.
fn is_of(config: &TopicConfig, durability: Durability) -> bool {
    config.clone().durability(durability) == *config
}

impl crate::world::Log {
    pub(crate) fn promise(&mut self, now: usize, end: i64) {
        if self.durable.last().is_none_or(|(_, last)| *last < end) {
            self.durable.push((now, end));
        }
    }
}

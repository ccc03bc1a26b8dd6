//! The runner: the engine beside the model.

use std::path::PathBuf;
use std::sync::LazyLock;

use thalweg::{
    Ack, Broker, Consumer, ConsumerConfig, Durability, Offset, OffsetAndMetadata, Producer, Records, TopicConfig,
    TopicPartition,
};

use super::directory::{self, Directory, Files};
use super::log::Log;
use super::op::{Op, PARTITIONS, Sabotage, Setup};
use super::record::Record;

pub(super) const TOPIC: &str = "t";
pub(super) const GROUP: &str = "g";

/// Does the ops one after the other, in a directory of its own, and opens it twice more at the end.
///
/// # Panics
///
/// If the engine answers something else than the model. Then the script is printed.
pub fn run(setup: &Setup, ops: &[Op]) {
    run_sabotaged(setup, ops, Sabotage::Nothing);
}

/// As [`run`], with a model that makes a mistake.
pub fn run_sabotaged(setup: &Setup, ops: &[Op], sabotage: Sabotage) {
    let mut script = Script { setup, ops, done: 0 };
    let mut run = Run::new(setup, sabotage);
    for op in ops {
        run.step(op);
        script.done += 1;
    }
    run.step(&Op::Reopen);
    run.step(&Op::Reopen);
}

/// Shows what was run if it fails.
struct Script<'a> {
    setup: &'a Setup,
    ops: &'a [Op],
    done: usize,
}

impl Drop for Script<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Script { setup, ops, done } = self;
            eprintln!("after {done} of {} ops: {setup:?} {ops:?}", ops.len());
        }
    }
}

/// The engine, and what it should answer.
pub(super) struct Run {
    pub(super) setup: Setup,
    pub(super) sabotage: Sabotage,
    /// `None` only while it is being opened again.
    pub(super) broker: Option<Broker>,
    pub(super) producer: Option<Producer>,
    pub(super) consumer: Option<Consumer>,
    pub(super) directory: Directory,
    pub(super) logs: Vec<Log>,
    /// The partitions' files before the last op, if that removed records.
    pub(super) files_before: Files,
    /// What the group has committed.
    pub(super) committed: [Option<Offset>; PARTITIONS],
    /// Of the consumer, once it has polled.
    pub(super) positions: [Option<Offset>; PARTITIONS],
    /// What nobody has waited for, with what it should say.
    pub(super) acks: Vec<(Ack, usize, Offset)>,
    /// Number of records sent.
    pub(super) sent: u64,
}

impl Run {
    fn new(setup: &Setup, sabotage: Sabotage) -> Self {
        let directory = Directory::create();
        directory.write(&TEMPLATE);
        let broker = setup.open(directory.dir());
        broker.create_topic(TOPIC, PARTITIONS as i32, setup.topic_config()).unwrap();
        Run {
            setup: setup.clone(),
            sabotage,
            broker: Some(broker),
            producer: None,
            consumer: None,
            directory,
            files_before: Files::new(),
            logs: vec![Log::new(setup, sabotage); PARTITIONS],
            committed: Default::default(),
            positions: Default::default(),
            acks: Vec::new(),
            sent: 0,
        }
    }

    fn step(&mut self, op: &Op) {
        if !matches!(op, Op::Send { .. } | Op::Crash { .. }) {
            self.settle();
        }
        if !matches!(op, Op::Crash { .. }) {
            self.files_before.clear();
            self.logs.iter_mut().for_each(|log| log.removed.clear());
        }
        match op {
            Op::Send { records, wait } => self.send(records, *wait),
            Op::Flush => self.flush(),
            Op::Fetch { partition, offset, bytes_max } => self.fetch(*partition, *offset, *bytes_max),
            Op::FetchAll { partition, bytes_max } => self.fetch_all(*partition, *bytes_max),
            Op::Delete { partition, before } => self.delete(*partition, *before),
            Op::Retain => self.retain(),
            Op::Poll => self.poll(),
            Op::Commit => self.commit(),
            Op::CommitOffset { partition, offset, metadata_len } => {
                self.commit_offset(*partition, *offset, *metadata_len);
            }
            Op::Seek { partition, offset } => self.seek(*partition, *offset),
            Op::EndConsumer { close } => self.end_consumer(*close),
            Op::Reopen => self.reopen(),
            Op::Crash { loss } => self.crash(loss),
        }
        self.compare_bounds();
    }

    pub(super) fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    pub(super) fn partition(&self, number: usize) -> std::sync::Arc<thalweg::Partition> {
        self.broker().partition(&name(number)).unwrap()
    }

    /// Where logs begin and end, and in which files. A record that nobody has waited for may not be visible yet.
    fn compare_bounds(&self) {
        for (number, log) in self.logs.iter().enumerate() {
            let partition = self.partition(number);
            let bounds = (partition.log_start().unwrap(), partition.log_end().unwrap(), partition.size().unwrap());
            assert_eq!(bounds, (log.start, log.end(), log.size() as u64), "{number}: log start, log end, size");
            let high_watermark = partition.high_watermark().unwrap();
            if self.acks.is_empty() {
                assert_eq!(high_watermark, log.end(), "{number}: high watermark");
            }
            assert!((log.start..=log.end()).contains(&high_watermark), "{number}: high watermark {high_watermark}");
            self.compare_files(number, true);
        }
    }

    /// Which segments there are, and how long their files: those that were written to may have room.
    pub(super) fn compare_files(&self, number: usize, room: bool) {
        let mut files = self.segment_files(number);
        let expected: Vec<_> =
            self.logs[number].segments.iter().map(|segment| (segment.base, segment.size() as u64)).collect();
        let may_have_room = room && (self.setup.preallocate || self.setup.durability != Durability::Os);
        for ((_, len), (_, size)) in files.iter_mut().zip(&expected).filter(|_| may_have_room) {
            let is_room = *len <= (self.setup.segment_bytes as u64).max(*size);
            *len = if is_room { (*len).min(*size) } else { *len };
        }
        assert_eq!(files, expected, "{number}: segments and their lengths");
    }

    fn segment_files(&self, number: usize) -> Vec<(Offset, u64)> {
        let entries = std::fs::read_dir(self.directory.dir().join(partition_dir(number))).unwrap().map(Result::unwrap);
        let segment = |entry: std::fs::DirEntry| {
            let base = entry.file_name().to_str()?.strip_suffix(".log")?.parse().ok()?;
            Some((base, entry.metadata().unwrap().len()))
        };
        let mut files: Vec<_> = entries.filter_map(segment).collect();
        files.sort_unstable();
        files
    }

    /// The records are those of the model from `offset` on.
    pub(super) fn compare_records(&self, number: usize, offset: Offset, records: &Records) {
        let mut next = offset;
        for record in records {
            assert_eq!(record.offset(), next, "{number}");
            assert_eq!(Some(&Record::read(record)), self.logs[number].records.get(next as usize), "{number}: {next}");
            next += 1;
        }
        assert_eq!(records.next_offset(), next, "{number}");
    }
}

pub(super) fn name(number: usize) -> TopicPartition {
    TopicPartition::new(TOPIC, number as i32)
}

pub(super) fn partition_dir(number: usize) -> PathBuf {
    PathBuf::from(name(number).to_string())
}

/// A directory that has the topic of committed offsets already.
static TEMPLATE: LazyLock<Files> = LazyLock::new(|| {
    directory::filled(|broker| {
        broker.create_topic("other", 1, TopicConfig::new()).unwrap();
        let mut consumer = broker.consumer(ConsumerConfig::new().group_id(GROUP)).unwrap();
        consumer.commit_sync_offsets(&[(TopicPartition::new("other", 0), OffsetAndMetadata::new(0))]).unwrap();
    })
});

//! The runner: the engine beside the model.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use thalweg::simulation::{Background, SimulatedDisk};
use thalweg::{
    Broker, BrokerConfig, Durability, ErrorKind, Fetched, Fetcher, Offset, Partition, Producer, ProducerConfig,
    ProducerRecord, TopicConfig, TopicPartition,
};

use super::super::batches::compare_batches;
use super::super::directory::Directory;
use super::batch::{TIMESTAMP, encode, value};
use super::lay::lay;
use super::model::{Answer, Model};
use super::script::{Limits, Op, PARTITIONS, Place, Sabotage, Setup};
use super::wait::{Waiting, options};

/// Does the ops one after the other, in a directory of its own, and closes the broker on those who still wait.
///
/// # Panics
///
/// If the engine answers something else than the model. Then the script is printed.
pub fn run(setup: &Setup, ops: &[Op]) {
    run_sabotaged(setup, ops, Sabotage::Nothing);
}

/// As [`run`], with a model that breaks a rule.
pub fn run_sabotaged(setup: &Setup, ops: &[Op], sabotage: Sabotage) {
    let mut script = Script { setup, ops, done: 0 };
    let mut run = Run::new(setup, sabotage);
    for op in ops {
        run.step(op);
        script.done += 1;
    }
    (0..PARTITIONS).for_each(|number| run.drain(number, &EVERYTHING));
    run.step(&Op::Reopen);
    (0..PARTITIONS).for_each(|number| run.drain(number, &EVERYTHING));
}

const EVERYTHING: Limits = Limits { min: 1, max: 1 << 20, partition_max: 1 << 20, committed: false };

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

pub fn topic_config(setup: &Setup) -> TopicConfig {
    TopicConfig::new()
        .durability(if setup.fsync { Durability::Fsync } else { Durability::Os })
        .internal_segment_bytes(setup.segment_bytes as u64)
        .index_interval_bytes(setup.index_interval)
        .retention(None)
}

struct Run {
    model: Model,
    /// Dropped before the broker, as everybody who works with it.
    waiting: Vec<Waiting>,
    /// Writes each record as a batch, and those that are flushed as one.
    producers: Option<[Producer; 2]>,
    broker: Option<Broker>,
    disk: SimulatedDisk,
    directory: Directory,
    /// Number of records sent.
    sent: usize,
    /// Milliseconds that have passed.
    now: u64,
}

/// Bytes of a batch of several records.
const TOGETHER_MAX: usize = 4096;

impl Run {
    fn new(setup: &Setup, sabotage: Sabotage) -> Self {
        let directory = Directory::create();
        let mut model = Model::new(setup, sabotage);
        lay(directory.dir(), &mut model);
        let mut run = Run {
            model,
            waiting: Vec::new(),
            producers: None,
            broker: None,
            disk: SimulatedDisk::new(),
            directory,
            sent: 10_000,
            now: 0,
        };
        run.open();
        if setup.laid.is_empty() {
            run.broker().create_topic("t", PARTITIONS as i32, topic_config(setup)).unwrap();
        }
        run
    }

    fn open(&mut self) {
        let Setup { broker_max, cross_segments, .. } = self.model.setup;
        let config = BrokerConfig::new().store_reserve_bytes(0);
        let config = config.fetch_max_bytes(broker_max).fetch_cross_segments(cross_segments);
        let broker = self.disk.open_broker(self.directory.dir(), config).unwrap();
        let recovery = broker.recovery();
        assert!(recovery.failed.is_empty() && recovery.cut_bytes() == 0, "{recovery}");
        let producer = |linger| {
            broker
                .producer(ProducerConfig::new().enable_idempotence(false).linger(linger).batch_size(TOGETHER_MAX))
                .unwrap()
        };
        self.producers = Some([producer(Duration::ZERO), producer(Duration::from_secs(3600))]);
        self.broker = Some(broker);
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Append { partition, count, value, together } => self.append(*partition, *count, *value, *together),
            Op::Sync => {
                Background::of(self.broker()).flush();
                (0..PARTITIONS).for_each(|number| self.model.sync(number));
            }
            Op::Fetch { place, limits } => self.fetch(place, limits),
            Op::FetchMany { places, limits } => self.fetch_many(places, limits),
            Op::Drain { partition, limits } => self.drain(*partition, limits),
            Op::Delete { place } => self.delete(place),
            Op::Wait { places, limits, time } => self.wait(places, limits, *time),
            Op::Poll => self.waiting.iter_mut().for_each(|waiting| {
                // Nobody has a reason to be ready: those who had were polled after the op before.
                assert!(waiting.poll().is_pending(), "it is ready and was not woken");
            }),
            Op::Drop { index } => {
                if !self.waiting.is_empty() {
                    self.waiting.swap_remove(index % self.waiting.len());
                }
            }
            Op::Pass { ms } => {
                self.now += ms;
                self.disk.clock().advance(Duration::from_millis(*ms));
                Background::of(self.broker()).run_timers();
            }
            Op::Reopen => self.reopen(),
        }
        self.settle();
        self.compare_bounds();
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    fn partition(&self, number: usize) -> Arc<Partition> {
        self.broker().partition(&name(number)).unwrap()
    }

    fn places(&self, places: &[Place]) -> Vec<(usize, Offset)> {
        let offset = |place: &Place| {
            let log = &self.model.logs[place.partition];
            (place.partition, place.at.offset(log.start, log.end()))
        };
        places.iter().map(offset).collect()
    }

    fn append(&mut self, number: usize, count: usize, len: usize, together: bool) {
        let len = len.min(self.model.setup.segment_bytes - 100);
        let mut values: Vec<_> = (0..count).map(|at| value(self.sent + at, len)).collect();
        self.sent += count;
        let limit = TOGETHER_MAX.min(self.model.setup.segment_bytes);
        while together && limit < encode(0, values.len() as Offset, 0, &values).len() {
            values.pop();
        }
        let producers = self.producers.as_ref().unwrap();
        let producer = &producers[usize::from(together)];
        for value in &values {
            let record = ProducerRecord::new("t", value).partition(number as i32).timestamp(TIMESTAMP);
            producer.send(record).unwrap().detach();
        }
        if together {
            producer.flush().unwrap();
            self.model.append(number, values);
            self.model.sync(number);
        } else {
            values.into_iter().for_each(|value| self.model.append(number, vec![value]));
        }
    }

    fn fetch(&self, place: &Place, limits: &Limits) {
        let places = self.places(std::slice::from_ref(place));
        let (number, offset) = places[0];
        // With the budget, and with those next to what came.
        let len = self.fetch_at(number, offset, limits);
        for max in len.into_iter().flat_map(|len| [len, len.saturating_sub(1)]) {
            self.fetch_at(number, offset, &Limits { max, ..*limits });
            self.fetch_at(number, offset, &Limits { partition_max: max, ..*limits });
        }
    }

    /// Returns how much came.
    fn fetch_at(&self, number: usize, offset: Offset, limits: &Limits) -> Option<usize> {
        let mut look = self.model.look(&[(number, offset)], limits);
        let answer = look.answers.remove(0);
        let len = answer.as_ref().ok().map(|answer| answer.bytes.len());
        compare(self.partition(number).fetch(offset, &options(limits)), answer);
        len
    }

    fn fetch_many(&self, places: &[Place], limits: &Limits) {
        let mut places = self.places(places);
        let mut fetcher = Fetcher::new(options(limits));
        for (number, offset) in &places {
            fetcher.add(self.partition(*number), *offset).unwrap();
        }
        for _ in 0..3 {
            let look = self.model.look(&places, limits);
            let gave: Vec<_> = look
                .answers
                .iter()
                .map(|answer| !answer.as_ref().is_ok_and(|answer| answer.bytes.is_empty()))
                .collect();
            compare_all(fetcher.fetch(), look.answers);
            if self.model.sabotage != Sabotage::NoTurns {
                let (served, kept) = places.iter().zip(gave).partition::<Vec<_>, _>(|(_, gave)| *gave);
                places = kept.into_iter().chain(served).map(|(place, _)| *place).collect();
            }
            let expected: Vec<_> = places.iter().map(|(number, offset)| (name(*number), *offset)).collect();
            let positions: Vec<_> =
                fetcher.positions().map(|(partition, offset)| (partition.clone(), offset)).collect();
            assert_eq!(positions, expected, "the order of the next fetch");
        }
    }

    /// The answers, one behind the other, are the log.
    fn drain(&self, number: usize, limits: &Limits) {
        let log = &self.model.logs[number];
        let mut offset = log.start;
        let mut bytes = Vec::new();
        while offset < log.visible {
            let fetched = self.partition(number).fetch(offset, &options(limits)).unwrap();
            assert!(offset < fetched.next_offset(), "the first batch comes, whatever the limits");
            fetched.slices().for_each(|slice| bytes.extend_from_slice(&slice));
            compare(Ok(fetched.clone()), self.model.look(&[(number, offset)], limits).answers.remove(0));
            offset = fetched.next_offset();
        }
        let batches = log.batches.iter().filter(|batch| log.start < batch.end && batch.end <= log.visible);
        assert!(bytes.iter().eq(batches.flat_map(|batch| &batch.bytes)), "{number}: the bytes that were appended");
    }

    fn delete(&mut self, place: &Place) {
        let (number, before) = self.places(std::slice::from_ref(place))[0];
        let deleted = self.partition(number).delete_records(before);
        let expected = self.model.delete(number, before);
        assert_eq!(deleted.as_ref().map_err(|error| error.kind()), expected.as_ref());
    }

    fn wait(&mut self, places: &[Place], limits: &Limits, time: Option<u64>) {
        let places = self.places(places);
        let partitions = places.iter().map(|(number, _)| self.partition(*number)).collect();
        let until = time.map(|ms| self.now + ms);
        let mut waiting = Waiting::new(places, partitions, limits, (time, until));
        let look = self.model.look(&waiting.places, limits);
        match waiting.poll() {
            Poll::Ready(answers) => {
                assert!(look.is_enough || time == Some(0), "it does not wait");
                compare_all(answers, look.answers);
            }
            Poll::Pending => {
                assert!(!look.is_enough, "there is enough");
                self.waiting.push(waiting);
            }
        }
    }

    /// Those who have enough, or no time left, are ready; the others are not, though they may have been woken.
    fn settle(&mut self) {
        let (model, now) = (&self.model, self.now);
        self.waiting.retain_mut(|waiting| {
            let look = model.look(&waiting.places, &waiting.limits);
            let is_over = waiting.until.is_some_and(|until| until <= now) && model.sabotage != Sabotage::NoTime;
            if look.is_news || is_over || (look.is_enough && waiting.is_woken()) {
                assert!(waiting.is_woken(), "nobody has woken it: {:?} {:?}", waiting.places, waiting.limits);
                let Poll::Ready(answers) = waiting.poll() else { panic!("it still waits, with enough there") };
                compare_all(answers, look.answers);
                return false;
            }
            assert!(!waiting.is_woken() || waiting.poll().is_pending(), "it was ready too early");
            true
        });
    }

    /// Nobody waits any more when the broker is closed: there is what is there, or the news.
    fn reopen(&mut self) {
        // What is not synced is by the close.
        self.producers = None;
        self.broker.take().unwrap().close().unwrap();
        (0..PARTITIONS).for_each(|number| self.model.sync(number));
        for mut waiting in std::mem::take(&mut self.waiting) {
            assert!(waiting.is_woken(), "nobody has told it of the close");
            let Poll::Ready(answers) = waiting.poll() else { panic!("it waits for what will not come") };
            let look = self.model.look(&waiting.places, &waiting.limits);
            for (answer, expected) in answers.into_iter().zip(look.answers) {
                match answer {
                    Err(error) if error.kind() == &ErrorKind::Closed => {
                        let is_empty = expected.is_ok_and(|answer| answer.bytes.is_empty());
                        assert!(is_empty && !look.is_enough, "there is something to return");
                    }
                    answer => compare(answer, expected),
                }
            }
        }
        self.open();
    }

    fn compare_bounds(&self) {
        for (number, log) in self.model.logs.iter().enumerate() {
            let partition = self.partition(number);
            let bounds =
                (partition.log_start().unwrap(), partition.high_watermark().unwrap(), partition.log_end().unwrap());
            assert_eq!(bounds, (log.start, log.visible, log.end()), "{number}: log start, high watermark, log end");
        }
    }
}

fn name(number: usize) -> TopicPartition {
    TopicPartition::new("t", number as i32)
}

fn compare_all(answers: Vec<thalweg::Result<Fetched>>, expected: Vec<Result<Answer, ErrorKind>>) {
    assert_eq!(answers.len(), expected.len());
    answers.into_iter().zip(expected).for_each(|(answer, expected)| compare(answer, expected));
}

fn compare(fetched: thalweg::Result<Fetched>, expected: Result<Answer, ErrorKind>) {
    let (fetched, expected) = match (fetched, expected) {
        (Ok(fetched), Ok(expected)) => (fetched, expected),
        (Err(error), Err(expected)) => return assert_eq!(error.kind(), &expected),
        (fetched, expected) => panic!("{fetched:?}, and not {expected:?}"),
    };
    let bytes: Vec<u8> = fetched.slices().flat_map(|slice| slice.to_vec()).collect();
    assert_eq!((fetched.len(), fetched.is_empty()), (bytes.len(), bytes.is_empty()));
    assert_eq!(bytes.len(), expected.bytes.len());
    assert!(expected.next_offset.contains(&fetched.next_offset()), "{fetched:?}, and not {:?}", expected.next_offset);
    assert!(bytes == expected.bytes, "the bytes are others");
    assert_eq!((fetched.log_start(), fetched.high_watermark()), (expected.start, expected.visible));
    compare_batches(&fetched);
    let records = fetched.decode(true).unwrap();
    let found: Vec<_> =
        records.iter().map(|record| (record.offset(), record.value().unwrap_or_default().to_vec())).collect();
    assert_eq!(found, expected.records);
    assert!(expected.next_offset.contains(&records.next_offset()), "{records:?}, and not {:?}", expected.next_offset);
    assert!(records.iter().all(|record| record.timestamp() == TIMESTAMP && record.key().is_none()));
}

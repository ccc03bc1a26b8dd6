//! An application at work that goes on after errors, as far as it goes, with a note of each promise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thalweg::simulation::{Background, Fault, OperationKind, SimulatedDisk};
use thalweg::{Ack, Broker, BrokerConfig, Durability, Error, ErrorKind, Producer, ProducerConfig, TopicPartition};

use crate::case::Case;
use crate::model::{Log, Model, Presence, Topic};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A broker that is used on a disk that fails.
pub(crate) struct Session<'a> {
    pub(crate) disk: SimulatedDisk,
    pub(crate) dir: PathBuf,
    pub(crate) model: Model,
    pub(crate) case: &'a Case,
    pub(crate) open: Option<(Broker, Producer)>,
    /// What was promised after the step in which something failed first, and how many operations there were.
    pub(crate) snapshot: Option<(usize, Model)>,
    /// Backups that were made, and what is in them.
    pub(crate) backups: Vec<(PathBuf, Model)>,
    /// Steps since the fault was set up.
    pub(crate) steps: usize,
    /// All errors since then.
    pub(crate) errors: Vec<Error>,
    pub(crate) wrong: Vec<String>,
    /// Faults beside that of the case, for those who count.
    pub(crate) on_arm: Vec<Fault>,
    /// Sent and not waited for.
    pub(crate) pending: Vec<(TopicPartition, usize, Ack)>,
    is_armed: bool,
    pub(crate) offsets_failed: bool,
    pub(crate) count: usize,
}

pub(crate) fn broker_config() -> BrokerConfig {
    BrokerConfig::new().max_open_files(Some(3))
}

pub(crate) fn partition(topic: &str, number: i32) -> TopicPartition {
    TopicPartition::new(topic, number)
}

impl<'a> Session<'a> {
    pub(crate) fn new(disk: SimulatedDisk, dir: &Path, case: &'a Case) -> Self {
        Session {
            disk,
            dir: dir.to_owned(),
            model: Model::default(),
            case,
            open: None,
            snapshot: None,
            backups: Vec::new(),
            steps: 0,
            errors: Vec::new(),
            wrong: Vec::new(),
            on_arm: Vec::new(),
            pending: Vec::new(),
            is_armed: false,
            offsets_failed: false,
            count: 0,
        }
    }

    /// From here on the disk fails as the case says.
    pub(crate) fn arm(&mut self) {
        assert!(self.errors.is_empty(), "before any fault: {:?}", self.errors);
        self.case.arm(&self.disk);
        self.on_arm.drain(..).for_each(|fault| self.disk.fail(fault));
        (self.is_armed, self.steps) = (true, 0);
    }

    pub(crate) fn broker(&self) -> Option<&Broker> {
        self.open.as_ref().map(|(broker, _)| broker)
    }

    /// One thing that the application does.
    pub(crate) fn step(&mut self, run: impl FnOnce(&mut Self)) {
        if self.is_armed && self.case.full_at == Some(self.steps) {
            self.disk.set_capacity(Some(0));
        }
        self.steps += 1;
        run(self);
        self.note_visible();
        if !self.errors.is_empty() && self.snapshot.is_none() {
            self.snapshot = Some((self.disk.operations(), self.model.clone()));
        }
    }

    /// A call has failed.
    pub(crate) fn failed(&mut self, call: &str, error: Error) {
        if let Err(wrong) = self.case.is_sensible(&error, self.errors.is_empty()) {
            self.wrong.push(format!("{call}: {wrong}: {error:?}"));
        }
        self.errors.push(error);
    }

    /// Calls once more after an error. What failed once has to succeed then, unless a partition has failed: nothing of it is
    /// in the way. A backup whose last sync failed is there, and makes way for no other.
    pub(crate) fn twice<T>(&mut self, call: &str, mut run: impl FnMut(&Broker) -> thalweg::Result<T>) -> Option<T> {
        let error = match run(self.broker()?) {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        self.failed(call, error);
        match run(self.broker()?) {
            Ok(done) => Some(done),
            Err(error) => {
                let is_there = call == "back up" && error.to_string().ends_with("directory not empty");
                let is_read_only = self.broker()?.stats().read_only_partitions > 0;
                if self.case.is_over_after_one() && !is_there && !is_read_only {
                    self.wrong.push(format!("{call}, tried again: {error:?}"));
                }
                self.failed(call, error);
                None
            }
        }
    }

    /// What can be seen of a topic that always promised syncs is durable.
    fn note_visible(&mut self) {
        let Some((broker, _)) = &self.open else { return };
        for (name, topic) in self.model.topics.iter_mut().filter(|(_, topic)| topic.shows_durable_only) {
            for (number, log) in topic.logs.iter_mut().enumerate() {
                let end = broker.partition(&partition(name, number as i32)).and_then(|found| found.high_watermark());
                log.durable = log.durable.max(end.unwrap_or(0));
            }
        }
    }

    pub(crate) fn open(&mut self) {
        self.step(|session| {
            for is_again in [false, true] {
                match session.disk.open_broker(&session.dir, broker_config()) {
                    Ok(broker) if broker.recovery().is_whole() => {
                        let config = ProducerConfig::new().retries(0).linger(5 * MS).batch_size(700);
                        let producer = broker.producer(config).unwrap();
                        session.forget_lost(&broker);
                        session.open = Some((broker, producer));
                        return;
                    }
                    Ok(broker) => {
                        let report = broker.recovery().clone();
                        let damage = report.partitions.into_iter().filter_map(|partition| partition.damage);
                        let failed: Vec<_> = report.failed.into_iter().chain(damage).collect();
                        failed.into_iter().for_each(|error| session.failed("open", error));
                    }
                    Err(error) => session.failed("open", error),
                }
                let is_of_sync = session.case.is_of_syncs();
                session.logs().for_each(|log| log.has_lost_sync |= is_of_sync);
                if is_again && session.case.is_over_after_one() {
                    session.wrong.push(format!("opened again: {:?}", session.errors.last()));
                }
            }
        });
    }

    /// After a failed sync the broker has found out what the device has.
    fn forget_lost(&mut self, broker: &Broker) {
        for (name, topic) in &mut self.model.topics {
            for (number, log) in topic.logs.iter_mut().enumerate().filter(|(_, log)| log.has_lost_sync) {
                if let Ok(found) = broker.partition(&partition(name, number as i32)) {
                    let _ = log.acked.split_off(&found.log_end().unwrap());
                    log.has_lost_sync = false;
                }
            }
        }
    }

    pub(crate) fn topic(&mut self, name: &str) -> &mut Topic {
        self.model.topics.get_mut(name).unwrap()
    }

    /// Whether there is a broker and the topic is known to be there.
    pub(crate) fn has(&self, name: &str) -> bool {
        let is_there = |topic: &Topic| topic.presence == Presence::Yes;
        self.open.is_some() && self.model.topics.get(name).is_some_and(is_there)
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.disk.clock().advance(by);
    }

    pub(crate) fn flush(&mut self) {
        self.step(|session| {
            if let Some(broker) = session.broker() {
                Background::of(broker).flush();
            }
        });
    }

    pub(crate) fn run_timers(&mut self) {
        self.step(|session| {
            session.advance(20 * MS);
            if let Some(broker) = session.broker() {
                Background::of(broker).run_timers();
            }
        });
    }

    pub(crate) fn tick(&mut self) {
        self.step(|session| {
            if let Some(broker) = session.broker() {
                Background::of(broker).tick();
            }
        });
    }

    pub(crate) fn back_up(&mut self) {
        self.step(|session| {
            session.settle_now();
            let mut model = session.model.clone();
            let Some((broker, _)) = &session.open else { return };
            for (name, topic) in &mut model.topics {
                for (number, log) in topic.logs.iter_mut().enumerate() {
                    let end =
                        broker.partition(&partition(name, number as i32)).and_then(|found| found.high_watermark());
                    log.durable = end.unwrap_or(0);
                }
            }
            let path = session.dir.with_file_name(format!("backup-{}", session.backups.len()));
            if session.twice("back up", |broker| broker.checkpoint(&path)).is_some() {
                session.backups.push((path, model));
            }
        });
    }

    pub(crate) fn close(&mut self) {
        self.step(|session| {
            session.settle_now();
            let Some((broker, producer)) = session.open.take() else { return };
            drop(producer);
            match broker.close() {
                Ok(()) => {
                    session.logs().for_each(|log| log.durable = log.durable.max(log.acked_end()));
                }
                Err(error) => {
                    // Of several the first is told.
                    let is_of_sync = session.case.is_of_syncs();
                    session.logs().for_each(|log| log.has_lost_sync |= is_of_sync);
                    session.failed("close", error);
                }
            }
            session.has_ended();
        });
    }

    /// The process ends as it is.
    pub(crate) fn kill(&mut self) {
        self.disk.kill();
        self.pending.clear();
        self.open = None;
        self.disk.restart();
        self.has_ended();
    }

    fn has_ended(&mut self) {
        self.offsets_failed = false;
        self.logs().for_each(|log| log.failed = None);
    }

    fn logs(&mut self) -> impl Iterator<Item = &mut Log> {
        self.model.topics.values_mut().flat_map(|topic| &mut topic.logs)
    }

    /// The process is killed in the middle of an append, and the half of it that was written stays.
    pub(crate) fn kill_in_an_append(&mut self, to: (&str, i32), written: usize) {
        assert!(!self.is_armed);
        self.disk.fail(Fault::of(OperationKind::Write).written(written));
        self.disk.fail(Fault::of(OperationKind::SetLen));
        self.send_and_wait(to, (1, 100));
        assert_eq!(self.errors.len(), 1, "{:?}", self.errors);
        self.kill();
        self.forget_errors();
    }

    /// The process is killed while a topic is deleted.
    pub(crate) fn kill_in_a_deletion(&mut self, name: &str) {
        assert!(!self.is_armed);
        self.disk.fail(Fault::of(OperationKind::Remove).for_ever());
        self.delete(name);
        self.kill();
        self.forget_errors();
    }

    fn forget_errors(&mut self) {
        self.disk.heal();
        self.errors.clear();
        self.wrong.clear();
        self.snapshot = None;
    }

    /// After the workload, on a disk that works again: each partition has failed and says so, or takes a record. What was
    /// shown can be read.
    pub(crate) fn go_on(&mut self) -> Result<(), String> {
        self.settle_now();
        let (names, before) = (self.names(), self.errors.len());
        if let Some(broker) = self.broker() {
            let panics = broker.stats().background_panics;
            if panics > 0 {
                return Err(format!("{panics} panics in the background"));
            }
        }
        for name in &names {
            self.send_now(name, (1, 40), Durability::Os);
            self.settle_now();
        }
        if let Some(name) = names.first() {
            self.commit_now(name, 1);
        }
        if self.case.is_gentle() && self.errors.len() > before {
            return Err(format!("nothing is wrong any more, but: {:?}", &self.errors[before..]));
        }
        if let Some(error) = self.errors[before..].iter().find(|error| matches!(error.kind(), ErrorKind::Io { .. })) {
            self.wrong.push(format!("failed for good, and does not say what to do: {error:?}"));
        }
        let Some(broker) = self.broker() else { return Ok(()) };
        for name in &names {
            let found = broker.partition(name).map_err(|error| error.to_string())?;
            let range = || Ok((found.log_start()?, found.high_watermark()?));
            let range = range().map_err(|error: Error| error.to_string())?;
            let log = &self.model.topics[name.topic()].logs[name.partition() as usize];
            log.check_records(&found, range).map_err(|wrong| format!("still open, {name}: {wrong}"))?;
        }
        self.wrong.first().map_or(Ok(()), |wrong| Err(wrong.clone()))
    }

    /// All partitions that are there.
    pub(crate) fn names(&self) -> Vec<TopicPartition> {
        let Some(broker) = self.broker() else { return Vec::new() };
        let topics = broker.topics().into_iter().filter(|topic| self.has(topic.name()));
        topics.flat_map(|topic| (0..topic.partitions()).map(move |at| partition(topic.name(), at))).collect()
    }
}

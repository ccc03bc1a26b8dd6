//! What was asked for and what was acknowledged, each with its place among the operations of the disk; and what a directory
//! has to show for it after a power cut at some place.

use std::path::PathBuf;
use std::sync::Arc;

use thalweg::{
    Broker, ConsumerConfig, FetchOptions, Offset, OffsetAndMetadata, Partition, TopicConfig, TopicPartition,
};

pub(crate) const GROUP: &str = "g";

/// A call: how many operations there were when it began, and when it returned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) began: usize,
    pub(crate) acked: usize,
}

impl Event {
    /// Before the first operation.
    pub(crate) const ALWAYS: Event = Event { began: 0, acked: 0 };

    /// It must be there after a cut at `at`.
    fn is_done(self, at: usize) -> bool {
        self.acked <= at
    }

    /// It may be.
    fn has_begun(self, at: usize) -> bool {
        self.began < at || self.is_done(at)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) topics: Vec<Topic>,
    pub(crate) backups: Vec<Backup>,
    /// When it was closed in order, and opened again.
    pub(crate) closed: Vec<(usize, usize)>,
    /// When an open had returned, and when the close that followed began.
    pub(crate) in_use: Vec<(usize, usize)>,
}

/// A topic from its creation to its deletion; another one may have the name later.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) created: Event,
    pub(crate) deleted: Option<Event>,
    /// The last number of partitions that was asked for is the length of `logs`.
    pub(crate) counts: Vec<(Event, i32)>,
    pub(crate) configs: Vec<(Event, TopicConfig)>,
    pub(crate) logs: Vec<Log>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// By offset: when it was sent, and what.
    pub(crate) sent: Vec<(usize, Arc<str>)>,
    /// From which place on the records below which offset survive.
    pub(crate) durable: Vec<(usize, Offset)>,
    pub(crate) starts: Vec<(Event, Offset)>,
    pub(crate) commits: Vec<(Event, Offset)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Backup {
    pub(crate) path: PathBuf,
    pub(crate) made: Event,
    /// What is in it.
    pub(crate) world: World,
}

impl Topic {
    pub(crate) fn new(name: &str, created: Event, partitions: i32, config: TopicConfig) -> Self {
        Topic {
            name: name.to_owned(),
            created,
            deleted: None,
            counts: vec![(created, partitions)],
            configs: vec![(created, config)],
            logs: vec![Log::default(); partitions as usize],
        }
    }

    pub(crate) fn config(&self) -> &TopicConfig {
        &self.configs.last().unwrap().1
    }

    pub(crate) fn partition(&self, number: usize) -> TopicPartition {
        TopicPartition::new(self.name.as_str(), number as i32)
    }
}

/// What may be found after a cut at `at`: the last thing that was acknowledged, and what was begun since.
fn possible<T: Clone>(list: &[(Event, T)], at: usize) -> Vec<T> {
    let last = list.iter().rposition(|(event, _)| event.is_done(at)).unwrap_or(0);
    list.iter().skip(last).filter(|(event, _)| event.has_begun(at)).map(|(_, value)| value.clone()).collect()
}

impl World {
    /// Topics that are there now.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().filter(|topic| topic.deleted.is_none())
    }

    pub(crate) fn live_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.topics.iter_mut().filter(|topic| topic.deleted.is_none())
    }

    /// The places where something was acknowledged.
    pub(crate) fn promises(&self) -> Vec<usize> {
        let logs = || self.topics.iter().flat_map(|topic| &topic.logs);
        let durable = logs().flat_map(|log| log.durable.iter().map(|(at, _)| *at));
        let moved = logs().flat_map(|log| log.starts.iter().chain(&log.commits).map(|(event, _)| event.acked));
        let deleted = self.topics.iter().filter_map(|topic| topic.deleted).map(|event| event.acked);
        let altered = self.topics.iter().flat_map(|topic| topic.configs.iter().map(|(event, _)| event.acked));
        let grown = self.topics.iter().flat_map(|topic| topic.counts.iter().map(|(event, _)| event.acked));
        let all = durable.chain(moved).chain(deleted).chain(altered).chain(grown);
        let mut all: Vec<_> = all.filter(|at| *at != usize::MAX).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The log of the last topic of this name.
    pub(crate) fn log_of(&self, name: &TopicPartition) -> Option<&Log> {
        let topic = self.topics.iter().rev().find(|topic| topic.name == name.topic())?;
        topic.logs.get(name.partition() as usize)
    }

    /// Whether a directory that is not there at all breaks a promise.
    pub(crate) fn promises_nothing(&self, at: usize) -> bool {
        !self.topics.iter().any(|topic| topic.created.is_done(at))
    }

    /// Whether it was closed in order and not opened since.
    pub(crate) fn is_closed(&self, at: usize) -> bool {
        self.closed.iter().any(|(closed, opened)| *closed <= at && at <= *opened)
    }

    /// Whether it was open, or its process had been killed.
    pub(crate) fn is_in_use(&self, at: usize) -> bool {
        self.in_use.iter().any(|(opened, closing)| *opened <= at && at <= *closing)
    }

    /// What is wrong with what `broker` shows after a power cut at `at`.
    pub(crate) fn check(&self, at: usize, broker: &Broker) -> Result<(), String> {
        let recovery = broker.recovery();
        if !recovery.is_whole() || !recovery.adopted.is_empty() {
            return Err(format!("it is not whole: {recovery:?}"));
        }
        if let Some(moved) = recovery.partitions.iter().find(|partition| partition.moved_start.is_some()) {
            return Err(format!("segments are missing: {moved:?}"));
        }
        let found = broker.topics();
        for topic in found.iter().filter(|topic| !topic.is_internal()) {
            let known = self.topics.iter().any(|known| known.name == topic.name() && known.may_exist(at));
            if !known {
                return Err(format!("topic {} should not be there", topic.name()));
            }
        }
        for topic in self.topics.iter().filter(|topic| topic.may_exist(at)) {
            match found.iter().find(|found| found.name() == topic.name) {
                None if topic.must_exist(at) => return Err(format!("topic {} is not there", topic.name)),
                None => {}
                Some(found) => topic.check(at, found, broker)?,
            }
        }
        Ok(())
    }

    /// The same with what was found as all that was ever promised: what follows is counted on another disk, or from now on.
    pub(crate) fn found(&self, at: usize, broker: &Broker) -> World {
        let topics = broker.topics().into_iter().filter(|topic| !topic.is_internal()).map(|found| {
            let known = self.topics.iter().find(|known| known.name == found.name() && known.may_exist(at)).unwrap();
            let mut topic = Topic::new(&known.name, Event::ALWAYS, found.partitions(), found.config().clone());
            for (number, log) in topic.logs.iter_mut().enumerate() {
                let name = TopicPartition::new(found.name(), number as i32);
                let partition = broker.partition(&name).unwrap();
                let (start, end) = (partition.log_start().unwrap(), partition.log_end().unwrap());
                log.sent =
                    known.logs[number].sent.iter().take(end as usize).map(|(_, value)| (0, value.clone())).collect();
                log.durable = vec![(0, end)];
                log.starts = vec![(Event::ALWAYS, start)];
                log.commits = committed(broker, &name).into_iter().map(|offset| (Event::ALWAYS, offset)).collect();
            }
            topic
        });
        World { topics: topics.collect(), ..World::default() }
    }
}

impl Topic {
    fn may_exist(&self, at: usize) -> bool {
        self.created.has_begun(at) && !self.deleted.is_some_and(|deleted| deleted.is_done(at))
    }

    fn must_exist(&self, at: usize) -> bool {
        self.created.is_done(at) && !self.deleted.is_some_and(|deleted| deleted.has_begun(at))
    }

    fn check(&self, at: usize, found: &thalweg::TopicDescription, broker: &Broker) -> Result<(), String> {
        let counts = possible(&self.counts, at);
        if !counts.contains(&found.partitions()) {
            return Err(format!("topic {} has {} partitions, not {counts:?}", self.name, found.partitions()));
        }
        if !possible(&self.configs, at).contains(found.config()) {
            return Err(format!("topic {} has the wrong settings", self.name));
        }
        for (number, log) in self.logs.iter().enumerate().take(found.partitions() as usize) {
            let name = self.partition(number);
            let partition = broker.partition(&name).map_err(|error| error.to_string())?;
            log.check(at, &partition, committed(broker, &name)).map_err(|wrong| format!("{name}: {wrong}"))?;
        }
        Ok(())
    }
}

impl Log {
    fn check(&self, at: usize, partition: &Partition, committed: Option<Offset>) -> Result<(), String> {
        let text = |error: thalweg::Error| error.to_string();
        let (start, end) = (partition.log_start().map_err(text)?, partition.log_end().map_err(text)?);
        let high_watermark = partition.high_watermark().map_err(text)?;
        let promised = self.durable.iter().filter(|(from, _)| *from <= at).map(|(_, end)| *end).max().unwrap_or(0);
        let sent = self.sent.iter().filter(|(began, _)| *began < at || *began == 0).count() as Offset;
        if !(promised..=sent).contains(&end) {
            return Err(format!("the log ends at {end}; promised were {promised}, sent {sent}"));
        }
        if high_watermark != end {
            return Err(format!("after opening, the high watermark is {high_watermark} and not the log end {end}"));
        }
        let starts = possible(&self.starts, at);
        let (first, last) = (starts.iter().min().copied().unwrap_or(0), starts.iter().max().copied().unwrap_or(0));
        let first = if self.starts.iter().any(|(event, _)| event.is_done(at)) { first } else { 0 };
        if !(first..=last).contains(&start) || end < start {
            return Err(format!(
                "the log starts at {start} and ends at {end}; it should start within {first}..={last}"
            ));
        }
        self.check_records(partition, (start, end))?;
        let possible_commits = possible(&self.commits, at);
        let none_is_possible = !self.commits.iter().any(|(event, _)| event.is_done(at));
        match committed {
            None if none_is_possible => Ok(()),
            Some(offset) if possible_commits.iter().any(|commit| (*commit).min(end) == offset) => Ok(()),
            other => Err(format!("committed is {other:?}, not one of {possible_commits:?}; the log ends at {end}")),
        }
    }

    fn check_records(&self, partition: &Partition, (start, end): (Offset, Offset)) -> Result<(), String> {
        let mut next = start;
        while next < end {
            let fetched = partition.fetch(next, &FetchOptions::new()).map_err(|error| format!("at {next}: {error}"))?;
            let records = fetched.decode(true).map_err(|error| format!("at {next}: {error}"))?;
            if records.is_empty() {
                return Err(format!("nothing can be read at {next}, and the log ends at {end}"));
            }
            for record in records.iter() {
                let expected = self.sent.get(next as usize).map(|(_, value)| value.as_bytes());
                if record.offset() != next || record.value() != expected {
                    let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
                    return Err(format!("at {next} there is record {} with {value:.30}", record.offset()));
                }
                next += 1;
            }
        }
        Ok(())
    }
}

pub(crate) fn committed(broker: &Broker, name: &TopicPartition) -> Option<Offset> {
    let consumer = broker.consumer(ConsumerConfig::new().group_id(GROUP).enable_auto_commit(false)).unwrap();
    let committed = consumer.committed(std::slice::from_ref(name)).unwrap();
    committed[0].1.as_ref().map(OffsetAndMetadata::offset)
}

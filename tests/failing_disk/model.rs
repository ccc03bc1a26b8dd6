//! What was asked for and what was acknowledged, whether or not something failed in between; and what a broker that was
//! opened again has to show for it.

use std::collections::BTreeMap;

use thalweg::{
    Broker, ConsumerConfig, FetchOptions, Offset, OffsetAndMetadata, Partition, TopicConfig, TopicPartition,
};

pub(crate) const GROUP: &str = "g";

/// How the process ended, and so which promises hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was killed: all that was acknowledged is there.
    Kill,
    /// The power went: what was acknowledged as durable is there.
    PowerCut,
}

/// Whether something is there, or what a call that failed has left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Yes,
    No,
    Maybe,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) topics: BTreeMap<String, Topic>,
}

#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) presence: Presence,
    /// Numbers of partitions that are possible; the last is what was asked for last.
    pub(crate) counts: Vec<i32>,
    pub(crate) configs: Vec<TopicConfig>,
    /// Whether all that consumers see of it is durable.
    pub(crate) shows_durable_only: bool,
    pub(crate) logs: Vec<Log>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// In the order in which they were sent, whatever became of them.
    pub(crate) sent: Vec<String>,
    /// Offset, and which record of `sent`.
    pub(crate) acked: BTreeMap<Offset, usize>,
    /// Records below survive a power cut.
    pub(crate) durable: Offset,
    /// The log start that was acknowledged, and the last that was asked for or seen.
    pub(crate) start: (Offset, Offset),
    /// Committed offsets that are possible; whether the first of them was acknowledged.
    pub(crate) commits: (bool, Vec<Offset>),
    /// Where it ended for consumers when it said that nothing more is accepted.
    pub(crate) failed: Option<Offset>,
    /// Whether a sync of it has failed: what the system holds of it is no evidence any more, and the next open takes what
    /// the device has.
    pub(crate) has_lost_sync: bool,
}

impl Log {
    /// End of what was acknowledged.
    pub(crate) fn acked_end(&self) -> Offset {
        self.acked.last_key_value().map_or(0, |(offset, _)| offset + 1)
    }

    fn promised(&self, end: End) -> Offset {
        if end == End::Kill && !self.has_lost_sync { self.acked_end().max(self.durable) } else { self.durable }
    }
}

impl Model {
    pub(crate) fn log(&mut self, name: &TopicPartition) -> &mut Log {
        &mut self.topics.get_mut(name.topic()).unwrap().logs[name.partition() as usize]
    }

    /// Whether a directory that is not there at all breaks a promise.
    pub(crate) fn promises_nothing(&self) -> bool {
        self.topics.values().all(|topic| topic.presence != Presence::Yes)
    }

    /// What is wrong with what `broker` shows after `end`.
    pub(crate) fn check(&self, broker: &Broker, end: End) -> Result<(), String> {
        let recovery = broker.recovery();
        if !recovery.is_whole() || !recovery.adopted.is_empty() {
            return Err(format!("it is not whole: {recovery}"));
        }
        if let Some(moved) = recovery.partitions.iter().find(|partition| partition.moved_start.is_some()) {
            return Err(format!("segments are missing: {moved:?}"));
        }
        let found = broker.topics();
        for topic in found.iter().filter(|topic| !topic.is_internal()) {
            if self.topics.get(topic.name()).is_none_or(|known| known.presence == Presence::No) {
                return Err(format!("topic {} should not be there", topic.name()));
            }
        }
        for (name, topic) in &self.topics {
            let Some(found) = found.iter().find(|found| found.name() == name) else {
                if topic.presence == Presence::Yes {
                    return Err(format!("topic {name} is not there"));
                }
                continue;
            };
            if !topic.counts.contains(&found.partitions()) {
                return Err(format!("topic {name} has {} partitions, not {:?}", found.partitions(), topic.counts));
            }
            if !topic.configs.contains(found.config()) {
                return Err(format!("topic {name} has the wrong settings"));
            }
            for (number, log) in topic.logs.iter().enumerate().take(found.partitions() as usize) {
                let name = TopicPartition::new(name.as_str(), number as i32);
                let partition = broker.partition(&name).map_err(|error| error.to_string())?;
                log.check(&partition, end).map_err(|wrong| format!("{name}: {wrong}"))?;
                log.check_committed(committed(broker, &name)?, &partition)
                    .map_err(|wrong| format!("{name}: {wrong}"))?;
            }
        }
        Ok(())
    }
}

impl Log {
    fn check(&self, partition: &Partition, after: End) -> Result<(), String> {
        let text = |error: thalweg::Error| error.to_string();
        let (start, end) = (partition.log_start().map_err(text)?, partition.log_end().map_err(text)?);
        let high_watermark = partition.high_watermark().map_err(text)?;
        let (promised, sent) = (self.promised(after), self.sent.len() as Offset);
        if !(promised..=sent).contains(&end) {
            return Err(format!("the log ends at {end}; promised were {promised}, sent {sent}"));
        }
        if high_watermark != end {
            return Err(format!("after opening, the high watermark is {high_watermark} and not the log end {end}"));
        }
        if !(self.start.0..=self.start.1).contains(&start) || end < start {
            return Err(format!(
                "the log starts at {start} and ends at {end}; it should start within {:?}",
                self.start
            ));
        }
        self.check_records(partition, (start, end))
    }

    fn check_committed(&self, committed: Option<Offset>, partition: &Partition) -> Result<(), String> {
        let end = partition.log_end().map_err(|error| error.to_string())?;
        let (is_acked, possible) = &self.commits;
        match committed {
            None if !is_acked => Ok(()),
            Some(offset) if possible.iter().any(|commit| (*commit).min(end) == offset) => Ok(()),
            other => Err(format!("committed is {other:?}, not one of {possible:?}; the log ends at {end}")),
        }
    }

    /// All records can be read, are what was sent, in this order, and are where they were acknowledged.
    pub(crate) fn check_records(&self, partition: &Partition, (start, end): (Offset, Offset)) -> Result<(), String> {
        let (mut next, mut left) = (start, 0);
        while next < end {
            let fetched = partition.fetch(next, &FetchOptions::new()).map_err(|error| format!("at {next}: {error}"))?;
            let records = fetched.decode(true).map_err(|error| format!("at {next}: {error}"))?;
            if records.is_empty() {
                return Err(format!("nothing can be read at {next}, and the end is {end}"));
            }
            for record in records.iter() {
                let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
                let found = self.sent.iter().skip(left).position(|sent| *sent == value).map(|at| at + left);
                let acked = self.acked.get(&next).filter(|_| next < self.durable || !self.has_lost_sync);
                let is_acked = acked.is_none_or(|sent| Some(*sent) == found);
                let Some(found) = found.filter(|_| record.offset() == next && is_acked) else {
                    return Err(format!("at {next} there is record {} with {value:.30}", record.offset()));
                };
                (next, left) = (next + 1, found + 1);
            }
        }
        Ok(())
    }
}

pub(crate) fn committed(broker: &Broker, name: &TopicPartition) -> Result<Option<Offset>, String> {
    let look = || {
        let consumer = broker.consumer(ConsumerConfig::new().group_id(GROUP).enable_auto_commit(false))?;
        consumer.committed(std::slice::from_ref(name))
    };
    let committed = look().map_err(|error| format!("committed offsets cannot be read: {error}"))?;
    Ok(committed[0].1.as_ref().map(OffsetAndMetadata::offset))
}

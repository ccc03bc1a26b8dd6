//! What a kill left, and whether it is what was promised.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use thalweg::{Broker, Offset, OffsetAndMetadata, TopicPartition};

use crate::child;
use crate::promised::{LogPromise, Presence, Promised};
use crate::values::{id_of, lane_name, sender_and_sequence};

/// A directory as it opens.
pub(crate) struct Found {
    pub(crate) logs: BTreeMap<TopicPartition, FoundLog>,
    /// Number of the settings of the topic `retained`.
    pub(crate) settings: u64,
    pub(crate) torn_ends_cut: usize,
    /// What is wrong whatever was promised.
    wrong: Vec<String>,
}

/// One partition as it can be read.
pub(crate) struct FoundLog {
    pub(crate) start: Offset,
    /// Numbers of its records, without a gap from `start` on.
    pub(crate) ids: Vec<u64>,
    pub(crate) committed: Option<Offset>,
    /// Bytes of its batches.
    size: u64,
}

impl FoundLog {
    fn end(&self) -> Offset {
        self.start + self.ids.len() as Offset
    }
}

impl Found {
    /// Opens what the child left, reads all of it by offset and the rest as the group, and closes it in order.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let broker = Broker::open(directory).unwrap();
        let report = broker.recovery();
        let mut wrong = Vec::new();
        assert!(report.is_whole(), "{report}"); // more cannot be said about what cannot be read
        if report.clamped_offsets > 0 || !report.ignored.is_empty() {
            wrong.push(report.to_string());
        }
        let torn_ends_cut = report.partitions.iter().filter(|partition| partition.cut.is_some()).count();
        let mut logs = BTreeMap::new();
        for topic in broker.topics().iter().filter(|topic| !topic.name().starts_with("__")) {
            for number in 0..topic.partitions() {
                let name = TopicPartition::new(topic.name(), number);
                let log = read(&broker, &name, &mut wrong);
                logs.insert(name, log);
            }
        }
        let config = broker.topic("retained").unwrap().config().clone();
        let settings = child::settings_number(&config);
        if config != child::retained_config(config.clone(), settings) {
            wrong.push(format!("the topic's settings are a mixture: {config:?}"));
        }
        if let Err(complaint) = consume_the_rest(&broker, &logs) {
            wrong.push(complaint);
        }
        broker.close().unwrap();
        Found { logs, settings, torn_ends_cut, wrong }
    }

    pub(crate) fn has_deletable(&self) -> bool {
        self.logs.keys().any(|name| name.topic() == "deletable")
    }

    pub(crate) fn is_retained(&self) -> bool {
        self.logs.iter().any(|(name, log)| name.topic() == "retained" && log.start > 0)
    }

    /// What is not as it was promised.
    pub(crate) fn compare(&self, promised: &Promised) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        let (altered, asked) = promised.settings;
        if !(altered..=asked).contains(&self.settings) {
            wrong.push(format!("settings {altered} to {asked} were asked for, {} are there", self.settings));
        }
        match (promised.deletable, self.has_deletable()) {
            (Presence::There, false) => wrong.push("the topic was created, and is not there".to_owned()),
            (Presence::Gone, true) => wrong.push("the topic was deleted, and is there".to_owned()),
            _ => {}
        }
        for (name, promise) in &promised.logs {
            match self.logs.get(name) {
                Some(log) => compare_log(name, log, promise, &mut wrong),
                None if name.topic() == "deletable" && promised.deletable == Presence::Unknown => {}
                None => wrong.push(format!("{name} is missing")),
            }
        }
        for (name, log) in &self.logs {
            let asked = promised.logs.get(name).map_or(0, |promise| promise.deleted.1);
            if name.topic() == "retained" {
                if log.start > 0 && log.size < child::RETENTION_BYTES_MIN {
                    wrong.push(format!("{name}: retention left only {} bytes", log.size));
                }
            } else if asked < log.start {
                wrong.push(format!("{name} starts at {}, nobody asked for more than {asked}", log.start));
            }
        }
        wrong
    }
}

fn compare_log(name: &TopicPartition, log: &FoundLog, promise: &LogPromise, wrong: &mut Vec<String>) {
    let end = log.end();
    if let Some((last, _)) = promise.records.last_key_value().filter(|(last, _)| end <= **last) {
        wrong.push(format!("{name}: offset {last} was acknowledged, the log ends at {end}"));
    }
    let others =
        promise.records.range(log.start..end).find(|(offset, id)| log.ids[(**offset - log.start) as usize] != **id);
    if let Some((offset, id)) = others {
        let there = log.ids[(offset - log.start) as usize];
        wrong.push(format!("{name}: at offset {offset} is another record than was acknowledged, {there:x} for {id:x}"));
    }
    if log.start < promise.deleted.0 {
        wrong.push(format!("{name}: what is below {} was deleted, and it starts at {}", promise.deleted.0, log.start));
    }
    if log.committed < promise.committed || log.committed.is_some_and(|committed| end < committed) {
        let (was, is) = (promise.committed, log.committed);
        wrong.push(format!("{name}: {was:?} was committed, {is:?} is there, the log ends at {end}"));
    }
}

/// Reads a log by offset.
fn read(broker: &Broker, name: &TopicPartition, wrong: &mut Vec<String>) -> FoundLog {
    let log = broker.partition(name).unwrap();
    let (start, end) = (log.log_start().unwrap(), log.high_watermark().unwrap());
    let (mut ids, mut last_of_sender) = (Vec::new(), HashMap::new());
    let mut offset = start;
    while offset < end {
        let records = log.fetch(offset, &Default::default()).unwrap().decode(true).unwrap();
        for record in &records {
            if record.offset() != offset {
                wrong.push(format!("{name}: {} follows on {offset}", record.offset()));
            }
            let id = record.value().and_then(id_of).filter(|id| lane_name(*id).as_ref() == Some(name)).unwrap_or(0);
            let (sender, sequence) = sender_and_sequence(id);
            let last = last_of_sender.insert(sender, sequence);
            if id == 0 {
                wrong.push(format!("{name}: the record at {offset} was never sent to it"));
            } else if last.is_some_and(|last| last + 1 != sequence) {
                wrong.push(format!("{name}: at {offset} {sequence} of sender {sender:x} follows on its {last:?}"));
            }
            ids.push(id);
            offset = record.offset() + 1;
        }
    }
    let group = child::consumer(broker, child::group_of(name.topic()));
    let committed = group.committed(std::slice::from_ref(name)).unwrap();
    let committed = committed[0].1.as_ref().map(OffsetAndMetadata::offset);
    FoundLog { start, ids, committed, size: log.size().unwrap() }
}

/// The group goes on where it has committed, and gets everything behind.
fn consume_the_rest(broker: &Broker, logs: &BTreeMap<TopicPartition, FoundLog>) -> Result<(), String> {
    let subscribed = logs.iter().filter(|(name, _)| child::SUBSCRIBED.contains(&name.topic()));
    let mut next: BTreeMap<_, _> =
        subscribed.map(|(name, log)| (name.clone(), log.committed.unwrap_or(0).max(log.start))).collect();
    let mut consumer = child::consumer(broker, child::group_of(child::SUBSCRIBED[0]));
    consumer.subscribe(&child::SUBSCRIBED).unwrap();
    let mut patience = Duration::ZERO; // the first poll joins the group
    while next.iter().any(|(name, next)| *next < logs[name].end()) {
        let records = consumer.poll(patience).unwrap();
        if records.is_empty() && !patience.is_zero() {
            return Err(format!("the group resumed, but got nothing behind {next:?}"));
        }
        patience = Duration::from_secs(10);
        for (name, records) in records.partitions() {
            let next = next.get_mut(name).ok_or_else(|| format!("{name} was not subscribed to"))?;
            for record in records {
                if record.offset() != *next {
                    return Err(format!("{name}: the group got {} in place of {next}", record.offset()));
                }
                *next += 1;
            }
        }
    }
    consumer.close().unwrap();
    Ok(())
}

//! What the children of one directory have been told, and what they had asked for.

use std::collections::BTreeMap;

use thalweg::{Offset, TopicPartition};

use crate::found::Found;

/// Promises that hold when the child was killed. What was asked for and not answered may be done or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promised {
    pub(crate) logs: BTreeMap<TopicPartition, LogPromise>,
    /// The topic that comes and goes.
    pub(crate) deletable: Presence,
    /// Number of the settings of the topic `retained` that hold, and of those that were asked for last.
    pub(crate) settings: (u64, u64),
    pub(crate) acknowledged: usize,
    pub(crate) commits: usize,
    pub(crate) deletions_of_records: usize,
    pub(crate) topic_changes: usize,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    #[default]
    Gone,
    There,
    /// Its creation or deletion was asked for, and not answered.
    Unknown,
}

/// Promises about one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogPromise {
    /// Numbers of the records that were acknowledged, or have been seen after a kill.
    pub(crate) records: BTreeMap<Offset, u64>,
    pub(crate) committed: Option<Offset>,
    /// Largest offset below which records were deleted, and below which their deletion was asked for.
    pub(crate) deleted: (Offset, Offset),
}

impl Promised {
    /// Takes over a line of the child. One that the kill cut has no end mark.
    pub(crate) fn take(&mut self, line: &str) {
        let Some(line) = line.strip_suffix(';') else { return };
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["sent", topic, partition, offset, id] => {
                let log = self.log(topic, partition);
                let former = log.records.insert(offset.parse().unwrap(), id.parse().unwrap());
                assert_eq!(former, None, "an offset was given twice: {line}");
                self.acknowledged += 1;
            }
            ["committed", topic, partition, offset] => {
                self.log(topic, partition).committed = Some(offset.parse().unwrap());
                self.commits += 1;
            }
            ["asked", topic, partition, offset] => {
                let asked = &mut self.log(topic, partition).deleted.1;
                *asked = offset.parse::<Offset>().unwrap().max(*asked);
            }
            ["deleted", topic, partition, offset] => {
                self.log(topic, partition).deleted.0 = offset.parse().unwrap();
                self.deletions_of_records += 1;
            }
            ["altering", number] => self.settings.1 = number.parse().unwrap(),
            ["altered", number] => {
                self.settings = (number.parse().unwrap(), number.parse().unwrap());
                self.topic_changes += 1;
            }
            ["creating"] => {
                assert_ne!(self.deletable, Presence::There, "a child did not find the topic that was created");
                self.forget_deletable(); // a deletion that an earlier child had begun has come to its end
                self.deletable = Presence::Unknown;
            }
            ["deleting"] => {
                assert_ne!(self.deletable, Presence::Gone, "a child found the topic that was deleted");
                self.deletable = Presence::Unknown;
            }
            ["created"] => {
                self.deletable = Presence::There;
                self.topic_changes += 1;
            }
            ["deleted"] => {
                self.deletable = Presence::Gone;
                self.forget_deletable();
                self.topic_changes += 1;
            }
            _ => panic!("{line}"),
        }
    }

    fn forget_deletable(&mut self) {
        self.logs.retain(|partition, _| partition.topic() != "deletable");
    }

    fn log(&mut self, topic: &str, partition: &str) -> &mut LogPromise {
        self.logs.entry(TopicPartition::new(topic, partition.parse().unwrap())).or_default()
    }

    pub(crate) fn is_change_under_way(&self) -> bool {
        self.deletable == Presence::Unknown || self.settings.0 < self.settings.1
    }

    /// What was found and opened is as good as promised: no later kill may take it.
    pub(crate) fn goes_on_from(&mut self, found: &Found) {
        self.deletable = if found.has_deletable() { Presence::There } else { Presence::Gone };
        self.settings = (found.settings, found.settings);
        self.logs.clear();
        for (name, log) in &found.logs {
            let records = (log.start..).zip(log.ids.iter().copied()).collect();
            let promise = LogPromise { records, committed: log.committed, deleted: (log.start, log.start) };
            self.logs.insert(name.clone(), promise);
        }
    }
}

//! The state of all groups, and its rules.
//!
//! No clock, no log, no thread: a call either answers from the state, or says which records have to be written. Committed
//! offsets change only by [`apply`](GroupMachine::apply), so that a commit and a replay after a restart are one path.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::offsets::{CommittedOffset, CoordinatorRecord, OffsetAndMetadata};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Offset, Timestamp, TopicPartition};

/// Longest metadata of a committed offset, in bytes (groups.md 2, `offset.metadata.max.bytes`).
const METADATA_LEN_MAX: usize = 4096;

/// Members a group may have in this version.
const MEMBERS_MAX: usize = 1;

/// All groups of a data directory.
#[derive(Debug, Default)]
pub(crate) struct GroupMachine {
    groups: HashMap<String, Group>,
    /// Commits that failed after they were written: a replay may find them or not. By group and partition, with the
    /// offset of the latest record.
    uncertain: HashMap<(String, TopicPartition), Offset>,
}

#[derive(Debug, Default)]
struct Group {
    /// The members' ids.
    members: Vec<String>,
    offsets: HashMap<TopicPartition, Stored>,
}

/// A committed offset, and the offset of its record in `__consumer_offsets`: the later record wins, whatever the order
/// in which commits become durable and are applied.
#[derive(Debug)]
struct Stored {
    committed: CommittedOffset,
    record_offset: Offset,
}

impl GroupMachine {
    /// Lets `member` in.
    pub(super) fn join(&mut self, group: &str, member: &str) -> Result<()> {
        let state = self.groups.entry(group.to_owned()).or_default();
        if state.members.len() >= MEMBERS_MAX {
            return Err(Error::new(ErrorKind::GroupMaxSizeReached { group: group.to_owned(), limit: MEMBERS_MAX }));
        }
        state.members.push(member.to_owned());
        Ok(())
    }

    /// Lets `member` go. One that is not in is no error.
    pub(super) fn leave(&mut self, group: &str, member: &str) {
        if let Some(group) = self.groups.get_mut(group) {
            group.members.retain(|other| other != member);
        }
    }

    /// The records that make a commit, if it is valid. `member` is `None` for a consumer with assigned partitions.
    ///
    /// Rule: groups.md 9.1, `ClassicGroup.validateOffsetCommit`: a member commits while it is one; somebody without
    /// membership commits while the group has no members.
    pub(super) fn commit(
        &self,
        group: &str,
        member: Option<&str>,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
        now: Timestamp,
    ) -> Result<Vec<CoordinatorRecord>> {
        let members = self.groups.get(group).map_or(&[][..], |group| &group.members);
        let allowed = match member {
            Some(member) => members.iter().any(|other| other == member),
            None => members.is_empty(),
        };
        if !allowed {
            return Err(Error::new(ErrorKind::CommitFailed { group: group.to_owned() }));
        }
        offsets.iter().map(|(partition, offset)| commit_record(group, partition, offset, now)).collect()
    }

    /// The committed offset of a partition.
    pub(super) fn committed(&self, group: &str, partition: &TopicPartition) -> Option<OffsetAndMetadata> {
        let committed = &self.groups.get(group)?.offsets.get(partition)?.committed;
        let offset = OffsetAndMetadata::new(committed.offset).with_metadata(committed.metadata.as_str());
        Some(offset.with_leader_epoch(committed.leader_epoch.unwrap_or(-1)))
    }

    /// Takes note of a record that is in the log at `record_offset`.
    pub(crate) fn apply(&mut self, record: CoordinatorRecord, record_offset: Offset) {
        let CoordinatorRecord::OffsetCommit { group, topic, partition, committed } = record else { return };
        let partition = TopicPartition::new(topic, partition);
        let key = (group, partition);
        if self.uncertain.get(&key).is_some_and(|uncertain| *uncertain < record_offset) {
            self.uncertain.remove(&key); // whether it is there or not, this one comes behind
        }
        let (group, partition) = key;
        let group = self.groups.entry(group).or_default();
        let is_newer = group.offsets.get(&partition).is_none_or(|stored| stored.record_offset < record_offset);
        match committed {
            Some(committed) if is_newer => {
                group.offsets.insert(partition, Stored { committed, record_offset });
            }
            None if is_newer => {
                group.offsets.remove(&partition);
            }
            _ => {}
        }
    }

    /// Takes note of a record that may be in the log at `record_offset`, and of which nobody was told that it is.
    pub(super) fn note_uncertain(&mut self, record: CoordinatorRecord, record_offset: Offset) {
        let CoordinatorRecord::OffsetCommit { group, topic, partition, .. } = record else { return };
        let latest = self.uncertain.entry((group, TopicPartition::new(topic, partition))).or_insert(record_offset);
        *latest = record_offset.max(*latest);
    }

    /// The records that forget what was committed for partitions of `topic`, by group: also what failed to be committed
    /// and may be in the log all the same.
    pub(super) fn tombstones(&self, topic: &str) -> Vec<(String, Vec<CoordinatorRecord>)> {
        let stored = self.groups.iter().flat_map(|(name, group)| group.offsets.keys().map(move |key| (name, key)));
        let keys: BTreeSet<_> =
            stored.chain(self.uncertain.keys().map(|(group, partition)| (group, partition))).collect();
        let mut tombstones: BTreeMap<&String, Vec<_>> = BTreeMap::new();
        for (group, partition) in keys.into_iter().filter(|(_, partition)| partition.topic() == topic) {
            tombstones.entry(group).or_default().push(offset_record(group, partition, None));
        }
        tombstones.into_iter().map(|(group, records)| (group.clone(), records)).collect()
    }

    /// The records that set committed offsets back which lie behind the end of their partition, whose tail was lost:
    /// otherwise the group would pass over what is appended there next. `log_end` is `None` for partitions that are
    /// not there, whose offsets stay.
    pub(super) fn clamp(
        &self,
        log_end: impl Fn(&TopicPartition) -> Option<Offset>,
        now: Timestamp,
    ) -> Vec<(String, CoordinatorRecord)> {
        let offsets = self.groups.iter().flat_map(|(name, group)| {
            group.offsets.iter().map(move |(partition, stored)| (name, partition, &stored.committed))
        });
        offsets
            .filter_map(|(name, partition, committed)| {
                let end = log_end(partition).filter(|end| *end < committed.offset)?;
                let committed = CommittedOffset { offset: end, commit_timestamp: now, ..committed.clone() };
                Some((name.clone(), offset_record(name, partition, Some(committed))))
            })
            .collect()
    }
}

fn commit_record(
    group: &str,
    partition: &TopicPartition,
    offset: &OffsetAndMetadata,
    now: Timestamp,
) -> Result<CoordinatorRecord> {
    if offset.offset() < 0 {
        let reason = format!("a committed offset cannot be negative, as {} for {partition} is", offset.offset());
        return Err(Error::illegal_argument(reason));
    }
    let len = offset.metadata().len();
    if len > METADATA_LEN_MAX {
        let kind = ErrorKind::OffsetMetadataTooLarge { len, limit: METADATA_LEN_MAX };
        return Err(Error::new(kind).in_partition(partition));
    }
    let committed = CommittedOffset {
        offset: offset.offset(),
        leader_epoch: offset.leader_epoch(),
        metadata: offset.metadata().to_owned(),
        commit_timestamp: now,
        expire_timestamp: None,
        topic_id: None,
    };
    Ok(offset_record(group, partition, Some(committed)))
}

/// The record of a committed offset, or of its being forgotten.
fn offset_record(group: &str, partition: &TopicPartition, committed: Option<CommittedOffset>) -> CoordinatorRecord {
    CoordinatorRecord::OffsetCommit {
        group: group.to_owned(),
        topic: partition.topic().to_owned(),
        partition: partition.partition(),
        committed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn commit(machine: &mut GroupMachine, member: Option<&str>, offset: Offset, record_offset: Offset) -> Result<()> {
        let records = machine.commit("g", member, &[(partition(), offset.into())], 7)?;
        records.into_iter().for_each(|record| machine.apply(record, record_offset));
        Ok(())
    }

    fn committed(machine: &GroupMachine) -> Option<Offset> {
        machine.committed("g", &partition()).map(|committed| committed.offset())
    }

    #[test]
    fn the_later_record_wins_whatever_is_applied_first() {
        let mut machine = GroupMachine::default();
        commit(&mut machine, None, 3000, 11).unwrap();
        commit(&mut machine, None, 2000, 10).unwrap();
        assert_eq!(committed(&machine), Some(3000));
        commit(&mut machine, None, 1000, 12).unwrap();
        assert_eq!(committed(&machine), Some(1000), "offsets may go back");
    }

    #[test]
    fn a_second_member_is_refused_until_the_first_has_left() {
        let mut machine = GroupMachine::default();
        machine.join("g", "a").unwrap();
        let error = machine.join("g", "b").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::GroupMaxSizeReached { limit: 1, .. }));
        machine.join("other", "b").unwrap();
        machine.leave("g", "a");
        machine.join("g", "b").unwrap();
    }

    #[test]
    fn only_members_commit_while_there_are_any() {
        let mut machine = GroupMachine::default();
        machine.join("g", "a").unwrap();
        commit(&mut machine, Some("a"), 5, 1).unwrap();
        for member in [None, Some("b")] {
            let error = commit(&mut machine, member, 9, 2).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::CommitFailed { .. }), "{member:?}");
        }
        machine.leave("g", "a");
        assert!(commit(&mut machine, Some("a"), 9, 3).is_err(), "a zombie");
        commit(&mut machine, None, 6, 4).unwrap();
        assert_eq!(committed(&machine), Some(6));
    }

    #[test]
    fn bad_commits_are_refused_whole() {
        let machine = GroupMachine::default();
        let good = (partition(), OffsetAndMetadata::new(1));
        let negative = (partition(), OffsetAndMetadata::new(-1));
        let long = (partition(), OffsetAndMetadata::new(1).with_metadata("x".repeat(4097)));
        machine.commit("g", None, &[good.clone(), negative], 0).unwrap_err();
        machine.commit("g", None, &[good, long], 0).unwrap_err();
    }

    #[test]
    fn offsets_behind_the_end_are_clamped_and_others_stay() {
        let mut machine = GroupMachine::default();
        commit(&mut machine, None, 50, 1).unwrap();
        assert!(machine.clamp(|_| Some(50), 0).is_empty());
        assert!(machine.clamp(|_| None, 0).is_empty(), "the partition is not there");
        let records = machine.clamp(|_| Some(40), 0);
        assert_eq!(records.len(), 1);
        records.into_iter().for_each(|(_, record)| machine.apply(record, 2));
        assert_eq!(committed(&machine), Some(40));
    }

    #[test]
    fn what_may_be_in_the_log_is_forgotten_with_its_topic() {
        let mut machine = GroupMachine::default();
        let record = |offset: Offset| machine.commit("g", None, &[(partition(), offset.into())], 7).unwrap().remove(0);
        let (uncertain, later) = (record(5), record(6));
        machine.note_uncertain(uncertain, 10);
        assert_eq!(committed(&machine), None);
        assert!(machine.tombstones("other").is_empty());
        let tombstones = machine.tombstones("t");
        assert_eq!((tombstones.len(), tombstones[0].1.len()), (1, 1));
        machine.apply(later, 11);
        assert_eq!(machine.tombstones("t")[0].1.len(), 1, "once for a key");
        machine.apply(tombstones[0].1[0].clone(), 12);
        assert!(machine.tombstones("t").is_empty());
    }

    #[test]
    fn a_tombstone_forgets() {
        let mut machine = GroupMachine::default();
        commit(&mut machine, None, 50, 1).unwrap();
        let (group, topic) = ("g".to_owned(), "t".to_owned());
        machine.apply(CoordinatorRecord::OffsetCommit { group, topic, partition: 0, committed: None }, 2);
        assert_eq!(committed(&machine), None);
    }
}

//! Taking the partitions that the group gives, and finding where each begins.

use super::consumer::Consumer;
use super::fetcher::initial_position;
use super::subscription::{Mode, PartitionState};
use crate::config::AutoOffsetReset;
use crate::error::{Error, ErrorKind, Result};
use crate::group::OffsetAndMetadata;
use crate::types::TopicPartition;

impl Consumer {
    /// Becomes a member, if it is none yet, and takes the partitions of the topics subscribed to: once for each
    /// subscription, and again after topics have changed.
    pub(super) fn take_partitions(&mut self) -> Result<()> {
        let version = self.engine.topics.version();
        let (names, is_first) = match &self.subscription.mode {
            Mode::None => {
                return Err(Error::illegal_state(
                    "the consumer is neither subscribed to topics nor assigned partitions",
                ));
            }
            Mode::Assigned => return Ok(()),
            Mode::Topics { seen, .. } if *seen == Some(version) => return Ok(()),
            Mode::Topics { names, seen } => (names.clone(), seen.is_none()),
        };
        let (mut partitions, mut missing) = (Vec::new(), None);
        for name in &names {
            match self.engine.topics.get(name) {
                Ok(topic) => partitions.extend(topic.partitions().iter().cloned()),
                Err(error) if is_first => return Err(error),
                Err(error) => missing = missing.or(Some(error)),
            }
        }
        if self.membership.is_none() {
            self.membership = Some(self.engine.coordinator.join(self.group()?)?);
        }
        if is_first {
            // The last chance for partitions that go. A failure is not told: the offsets come again.
            let _ = self.auto_commit();
        }
        let is_empty = partitions.is_empty();
        self.subscription.set_partitions(partitions);
        match missing {
            Some(error) if is_empty => return Err(error),
            Some(error) => _ = self.failed.get_or_insert(error),
            None => {}
        }
        self.subscription.mode = Mode::Topics { names, seen: Some(version) };
        Ok(())
    }

    /// Gives every partition a position: what the group has committed, else what the reset policy says. A partition that
    /// has none after this keeps the others from nothing; why it has none is kept for a poll to return.
    pub(super) fn resolve_positions(&mut self) {
        let open = self.subscription.partitions.iter().filter(|state| state.position.is_none());
        let names: Vec<_> = open.map(|state| state.partition.name().clone()).collect();
        if names.is_empty() {
            return;
        }
        let committed = match self.committed_of(&names) {
            Ok(committed) => committed,
            Err(error) => {
                self.failed.get_or_insert(error);
                return;
            }
        };
        let policy = self.config.get_auto_offset_reset();
        let mut without = Vec::new();
        for (name, committed) in names.into_iter().zip(committed) {
            let resolved = self.subscription.get_mut(&name).and_then(|state| {
                resolve(state, committed, policy)?;
                Ok(state.position.is_some())
            });
            match resolved {
                Ok(true) => {}
                Ok(false) => without.push(name),
                Err(error) => {
                    self.failed.get_or_insert(error);
                }
            }
        }
        if !without.is_empty() {
            self.failed.get_or_insert_with(|| no_offset(without));
        }
    }

    pub(super) fn committed_of(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<OffsetAndMetadata>>> {
        match self.config.get_group_id() {
            Some(group) => self.engine.coordinator.committed(group, partitions),
            None => Ok(vec![None; partitions.len()]),
        }
    }
}

/// Where a partition begins: at what was committed, else where the policy says, which may be nowhere.
pub(super) fn resolve(
    state: &mut PartitionState,
    committed: Option<OffsetAndMetadata>,
    policy: AutoOffsetReset,
) -> Result<()> {
    state.position = match committed {
        Some(committed) => Some(committed.offset()),
        None => initial_position(state, policy)?,
    };
    Ok(())
}

pub(super) fn no_offset(partitions: Vec<TopicPartition>) -> Error {
    Error::new(ErrorKind::NoOffsetForPartition { partitions })
}

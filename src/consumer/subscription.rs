//! Which partitions a consumer reads, and how far it has come in each.

use std::collections::{HashSet, VecDeque};

use crate::error::{Error, Result};
use crate::log::{ReadAhead, Records};
use crate::sync::Arc;
use crate::topic::Partition;
use crate::types::{Offset, TopicPartition};

/// How partitions come to a consumer. Going from one way to another takes an `unsubscribe` in between.
#[derive(Debug, Default)]
pub(super) enum Mode {
    #[default]
    None,
    /// The group assigns partitions of these topics. `seen` is the version of the broker's topics that the present ones
    /// were taken from; `None` before the first.
    Topics { names: Vec<Arc<str>>, seen: Option<u64> },
    /// The application chose the partitions.
    Assigned,
}

/// The partitions that a consumer reads now.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    pub(super) mode: Mode,
    /// In fetch order: one that yielded records goes to the end, so that none starves.
    pub(super) partitions: VecDeque<PartitionState>,
}

/// A partition that a consumer reads.
#[derive(Debug)]
pub(super) struct PartitionState {
    pub(super) partition: Arc<Partition>,
    /// The offset of the next record that `poll` returns, at least. `None` until it is resolved.
    pub(super) position: Option<Offset>,
    /// Fetched and not returned yet; begins at `position`.
    pub(super) buffer: Option<Records>,
    pub(super) read_ahead: ReadAhead,
}

impl Subscription {
    /// Replaces the partitions. Those that stay keep position, buffer and place in the order; one of a new topic with
    /// an old name is another.
    pub(super) fn set_partitions(&mut self, partitions: Vec<Arc<Partition>>) {
        let wanted: HashSet<_> = partitions.iter().map(Arc::as_ptr).collect();
        self.partitions.retain(|state| wanted.contains(&Arc::as_ptr(&state.partition)));
        let kept: HashSet<_> = self.partitions.iter().map(|state| Arc::as_ptr(&state.partition)).collect();
        let new = partitions.into_iter().filter(|partition| !kept.contains(&Arc::as_ptr(partition)));
        self.partitions.extend(new.map(|partition| PartitionState {
            partition,
            position: None,
            buffer: None,
            read_ahead: ReadAhead::default(),
        }));
    }

    /// The state of an assigned partition.
    pub(super) fn get_mut(&mut self, partition: &TopicPartition) -> Result<&mut PartitionState> {
        self.partitions
            .iter_mut()
            .find(|state| state.partition.name() == partition)
            .ok_or_else(|| Error::illegal_state(format!("partition {partition} is not assigned to this consumer")))
    }

    /// The names of the assigned partitions, sorted.
    pub(super) fn names(&self) -> Vec<TopicPartition> {
        let mut names: Vec<_> = self.partitions.iter().map(|state| state.partition.name().clone()).collect();
        names.sort();
        names
    }

    /// The positions of all partitions that have one: what has been returned to the application.
    pub(super) fn positions(&self) -> Vec<(Arc<Partition>, Offset)> {
        let position = |state: &PartitionState| Some((Arc::clone(&state.partition), state.position?));
        self.partitions.iter().filter_map(position).collect()
    }
}

impl PartitionState {
    /// Goes to `offset`; what was fetched for another place is dropped.
    pub(super) fn seek(&mut self, offset: Offset) {
        self.position = Some(offset);
        self.buffer = None;
    }
}

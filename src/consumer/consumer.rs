//! The consumer.

use std::time::{Duration, Instant};

use super::fetcher::{self, initial_position};
use super::records::ConsumerRecords;
use super::subscription::{Mode, PartitionState, Subscription};
use crate::broker::{Broker, Engine};
use crate::config::{AutoOffsetReset, ConsumerConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Membership, OffsetAndMetadata};
use crate::sync::Arc;
use crate::topic::Waiter;
use crate::types::{Offset, TopicPartition};

/// Reads records, remembers how far it has come, and commits that for its group. Made by [`Broker::consumer`].
///
/// Three numbers per partition, never to be mixed up: the *position*, where the next poll goes on, moved by polls and
/// seeks and kept in memory; the *committed offset*, one more than that of the last record that was processed, which
/// survives; and the end of the partition. Delivery is at least once: what was returned and not committed comes again
/// after a restart.
///
/// One thread uses it at a time. Dropping it leaves the group; use [`close`](Consumer::close) to see errors.
#[derive(Debug)]
pub struct Consumer {
    engine: Arc<Engine>,
    config: ConsumerConfig,
    subscription: Subscription,
    /// There while the consumer is a member of its group.
    membership: Option<Membership>,
    waiter: Arc<Waiter>,
    /// An error that came beside records: the next poll returns it.
    failed: Option<Error>,
    /// When the next automatic commit is due.
    auto_commit_at: Instant,
    closed: bool,
}

impl Broker {
    /// Makes a consumer.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](ErrorKind::InvalidConfig), [`InvalidGroupId`](ErrorKind::InvalidGroupId),
    /// [`Closed`](ErrorKind::Closed).
    pub fn consumer(&self, config: ConsumerConfig) -> Result<Consumer> {
        config.check()?;
        self.engine().check_open()?;
        let engine = Arc::clone(self.engine());
        Ok(Consumer {
            auto_commit_at: engine.clock.instant() + config.get_auto_commit().unwrap_or_default(),
            engine,
            config,
            subscription: Subscription::default(),
            membership: None,
            waiter: Arc::default(),
            failed: None,
            closed: false,
        })
    }
}

impl Consumer {
    /// Reads these topics as a member of the group, instead of those subscribed to before. It takes effect at the next
    /// poll. In this version a group has one member, which gets all partitions. An empty list
    /// [unsubscribes](Consumer::unsubscribe).
    ///
    /// # Errors
    ///
    /// [`InvalidGroupId`](ErrorKind::InvalidGroupId) without a `group.id`, [`IllegalState`](ErrorKind::IllegalState)
    /// while partitions are assigned by hand, [`IllegalArgument`](ErrorKind::IllegalArgument) for an empty name.
    pub fn subscribe<S: AsRef<str>>(&mut self, topics: &[S]) -> Result<()> {
        self.group()?;
        if matches!(self.subscription.mode, Mode::Assigned) {
            return Err(exclusive_modes());
        }
        if topics.is_empty() {
            self.unsubscribe();
            return Ok(());
        }
        if topics.iter().any(|topic| topic.as_ref().trim().is_empty()) {
            return Err(Error::illegal_argument("a topic to subscribe to has an empty name"));
        }
        let mut names: Vec<Arc<str>> = topics.iter().map(|topic| topic.as_ref().into()).collect();
        names.sort();
        names.dedup();
        self.subscription.mode = Mode::Topics { names, joined: false };
        self.subscription.partitions.iter_mut().for_each(|state| state.buffer = None);
        Ok(())
    }

    /// Reads exactly these partitions, without being a member of a group, instead of those assigned before. Offsets can
    /// be committed all the same, if there is a `group.id`; two consumers that do so need different ones. An empty list
    /// [unsubscribes](Consumer::unsubscribe).
    ///
    /// # Errors
    ///
    /// [`IllegalState`](ErrorKind::IllegalState) while topics are subscribed to,
    /// [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition).
    pub fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        if matches!(self.subscription.mode, Mode::Topics { .. }) {
            return Err(exclusive_modes());
        }
        if partitions.is_empty() {
            self.unsubscribe();
            return Ok(());
        }
        let mut names = partitions.to_vec();
        names.sort();
        names.dedup();
        let found = names.iter().map(|name| self.engine.topics.partition(name)).collect::<Result<_>>()?;
        self.auto_commit_if_due();
        self.subscription.mode = Mode::Assigned;
        self.subscription.set_partitions(found);
        Ok(())
    }

    /// Leaves the group and forgets subscription, assignment and positions. Commits nothing.
    pub fn unsubscribe(&mut self) {
        self.membership = None;
        self.failed = None;
        self.subscription = Subscription::default();
    }

    /// The partitions that it reads now, sorted. After `subscribe` there are none until the first poll.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.subscription.names()
    }

    /// Returns records as soon as there are any, at most `max.poll.records`, or none after `timeout`. Zero looks once.
    ///
    /// Commits what earlier polls returned, if automatic commits are on and one is due.
    ///
    /// # Errors
    ///
    /// [`IllegalState`](ErrorKind::IllegalState) without subscription or assignment,
    /// [`GroupMaxSizeReached`](ErrorKind::GroupMaxSizeReached) if the group has another member,
    /// [`NoOffsetForPartition`](ErrorKind::NoOffsetForPartition) and
    /// [`OffsetOutOfRange`](ErrorKind::OffsetOutOfRange) if the reset policy is `None`,
    /// [`CorruptRecord`](ErrorKind::CorruptRecord) at a damaged place, again at each poll until the application seeks
    /// past it, [`Closed`](ErrorKind::Closed). Records before the error have been returned by then.
    pub fn poll(&mut self, timeout: Duration) -> Result<ConsumerRecords> {
        let deadline = self.engine.clock.instant().checked_add(timeout); // None: for ever
        self.engine.check_open()?;
        self.join_if_needed()?;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            self.engine.check_open()?;
            self.auto_commit_if_due();
            self.resolve_positions();
            let records = fetcher::take(&mut self.subscription, &self.config, &mut self.failed);
            if !records.is_empty() {
                return Ok(records);
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if deadline.is_some_and(|deadline| deadline <= self.engine.clock.instant()) {
                return Ok(records);
            }
            self.wait_for_records(deadline);
        }
    }

    /// Sets the position of an assigned partition. Whether there are records shows at the next poll.
    ///
    /// # Errors
    ///
    /// [`IllegalState`](ErrorKind::IllegalState) if the partition is not assigned,
    /// [`IllegalArgument`](ErrorKind::IllegalArgument) for a negative offset.
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        if offset < 0 {
            return Err(Error::illegal_argument(format!("cannot seek to offset {offset}: it is negative")));
        }
        self.subscription.get_mut(partition)?.seek(offset);
        self.failed.take_if(|error| error.partition() == Some(partition));
        Ok(())
    }

    /// The offset of the next record that `poll` returns, at least. Looks it up if it is not known yet.
    ///
    /// # Errors
    ///
    /// [`IllegalState`](ErrorKind::IllegalState) if the partition is not assigned,
    /// [`NoOffsetForPartition`](ErrorKind::NoOffsetForPartition).
    pub fn position(&mut self, partition: &TopicPartition) -> Result<Offset> {
        if let Some(position) = self.subscription.get_mut(partition)?.position {
            return Ok(position);
        }
        let committed = self.committed_of(std::slice::from_ref(partition))?;
        let policy = self.config.get_auto_offset_reset();
        let state = self.subscription.get_mut(partition)?;
        resolve(state, committed.into_iter().next().flatten(), policy)?;
        state.position.ok_or_else(|| no_offset(vec![partition.clone()]))
    }

    /// Commits the positions of all assigned partitions: everything that polls have returned. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`InvalidGroupId`](ErrorKind::InvalidGroupId), [`CommitFailed`](ErrorKind::CommitFailed) if the group has a
    /// member and this consumer is not it, and what the log of the group answers.
    pub fn commit_sync(&mut self) -> Result<()> {
        let positions = self.subscription.positions();
        let offsets: Vec<_> = positions.into_iter().map(|(partition, offset)| (partition, offset.into())).collect();
        self.commit_sync_offsets(&offsets)
    }

    /// Commits these offsets, each that of the next record to read. Durable when it returns.
    ///
    /// # Errors
    ///
    /// As [`commit_sync`](Consumer::commit_sync); [`IllegalArgument`](ErrorKind::IllegalArgument) for a negative offset,
    /// [`OffsetMetadataTooLarge`](ErrorKind::OffsetMetadataTooLarge),
    /// [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition). Then none of them is committed.
    pub fn commit_sync_offsets(&mut self, offsets: &[(TopicPartition, OffsetAndMetadata)]) -> Result<()> {
        self.engine.check_open()?;
        let group = self.group()?;
        match &self.membership {
            Some(membership) => membership.commit(offsets),
            None => self.engine.coordinator.commit(group, offsets),
        }
    }

    /// What the group has committed for these partitions, in their order; `None` where it has nothing. They need not be
    /// assigned.
    ///
    /// # Errors
    ///
    /// [`InvalidGroupId`](ErrorKind::InvalidGroupId), or why the group's records could not be read.
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Option<OffsetAndMetadata>)>> {
        let committed = self.engine.coordinator.committed(self.group()?, partitions)?;
        Ok(partitions.iter().cloned().zip(committed).collect())
    }

    /// Commits, if automatic commits are on, and leaves the group.
    ///
    /// # Errors
    ///
    /// Those of the commit. The group is left all the same.
    pub fn close(mut self) -> Result<()> {
        self.close_now()
    }

    fn close_now(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let committed = self.auto_commit();
        self.unsubscribe();
        committed
    }

    fn group(&self) -> Result<&str> {
        self.config.get_group_id().ok_or_else(|| Error::new(ErrorKind::InvalidGroupId))
    }

    /// Becomes a member and takes the partitions of the topics subscribed to, once for each subscription.
    fn join_if_needed(&mut self) -> Result<()> {
        let names = match &self.subscription.mode {
            Mode::None => {
                return Err(Error::illegal_state(
                    "the consumer is neither subscribed to topics nor assigned partitions",
                ));
            }
            Mode::Assigned | Mode::Topics { joined: true, .. } => return Ok(()),
            Mode::Topics { names, joined: false } => names.clone(),
        };
        let mut partitions = Vec::new();
        for name in &names {
            partitions.extend(self.engine.topics.get(name)?.partitions().iter().cloned());
        }
        if self.membership.is_none() {
            self.membership = Some(self.engine.coordinator.join(self.group()?)?);
        }
        // The last chance for partitions that go. A failure is not told: the offsets come again.
        let _ = self.auto_commit();
        self.subscription.set_partitions(partitions);
        self.subscription.mode = Mode::Topics { names, joined: true };
        Ok(())
    }

    /// Gives every partition a position: what the group has committed, else what the reset policy says. A partition that
    /// has none after this keeps the others from nothing; why it has none is kept for a poll to return.
    fn resolve_positions(&mut self) {
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

    fn committed_of(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<OffsetAndMetadata>>> {
        match self.config.get_group_id() {
            Some(group) => self.engine.coordinator.committed(group, partitions),
            None => Ok(vec![None; partitions.len()]),
        }
    }

    /// A failed automatic commit is tried again soon; what it did not commit comes again after a restart.
    fn auto_commit_if_due(&mut self) {
        let Some(interval) = self.config.get_auto_commit() else { return };
        let now = self.engine.clock.instant();
        if self.auto_commit_at <= now {
            self.auto_commit_at = now + if self.auto_commit().is_ok() { interval } else { interval.min(RETRY_BACKOFF) };
        }
    }

    /// Commits what polls have returned, if commits are automatic.
    fn auto_commit(&mut self) -> Result<()> {
        if self.config.get_auto_commit().is_none() || self.subscription.positions().is_empty() {
            return Ok(());
        }
        self.commit_sync()
    }

    /// Waits until a partition has something behind its position, or for `deadline`, the next automatic commit, or the
    /// close of the broker.
    fn wait_for_records(&self, deadline: Option<Instant>) {
        let auto_commit = self.config.get_auto_commit().map(|_| self.auto_commit_at);
        let until = deadline.into_iter().chain(auto_commit).min();
        for state in &self.subscription.partitions {
            let target = state.position.map_or(0, |position| position.saturating_add(1));
            state.partition.waiters().add(target, &self.waiter);
        }
        let is_readable = |state: &PartitionState| {
            state.partition.high_watermark().is_ok_and(|end| state.position.is_some_and(|position| position < end))
        };
        if self.engine.check_open().is_ok() && !self.subscription.partitions.iter().any(is_readable) {
            self.waiter.wait_until(until);
        }
        for state in &self.subscription.partitions {
            state.partition.waiters().remove(&self.waiter);
        }
    }
}

impl Drop for Consumer {
    /// As [`close`](Consumer::close); a panicking thread commits nothing, since it may not have processed what it got.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.unsubscribe();
        } else {
            let _ = self.close_now();
        }
    }
}

/// Where a partition begins: at what was committed, else where the policy says, which may be nowhere.
fn resolve(state: &mut PartitionState, committed: Option<OffsetAndMetadata>, policy: AutoOffsetReset) -> Result<()> {
    state.position = match committed {
        Some(committed) => Some(committed.offset()),
        None => initial_position(state, policy)?,
    };
    Ok(())
}

/// Time after which a failed automatic commit is tried again (consumer.md 2.1, `retry.backoff.ms`).
const RETRY_BACKOFF: Duration = Duration::from_millis(100);

fn exclusive_modes() -> Error {
    Error::illegal_state("subscribing to topics and assigning partitions exclude each other: unsubscribe first")
}

fn no_offset(partitions: Vec<TopicPartition>) -> Error {
    Error::new(ErrorKind::NoOffsetForPartition { partitions })
}

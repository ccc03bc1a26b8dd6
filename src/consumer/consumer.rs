//! The consumer.

use std::time::{Duration, Instant};

use super::assignment::{no_offset, resolve};
use super::fetcher::{self, Short, Taken};
use super::records::ConsumerRecords;
use super::subscription::{Mode, Subscription};
use crate::broker::{Broker, Engine};
use crate::config::ConsumerConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Membership, OffsetAndMetadata};
use crate::log::Fetched;
use crate::sync::Arc;
use crate::topic::{Parked, Partition, Waiter};
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
    pub(super) engine: Arc<Engine>,
    pub(super) config: ConsumerConfig,
    pub(super) subscription: Subscription,
    /// There while the consumer is a member of its group.
    pub(super) membership: Option<Membership>,
    waiter: Arc<Waiter>,
    /// When a fetch that has found too little returns what there is.
    fetch_until: Option<Instant>,
    /// An error that came beside records: the next poll returns it.
    pub(super) failed: Option<Error>,
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
            fetch_until: None,
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
        self.subscription.mode = Mode::Topics { names, seen: None };
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
    /// [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition) if a topic subscribed to is not there: at each poll
    /// before the first assignment and when no other topic is left, once for a topic that is deleted beside others;
    /// and at each poll for an assigned partition that was deleted,
    /// [`CorruptRecord`](ErrorKind::CorruptRecord) at a damaged place, again at each poll until the application seeks
    /// past it, [`Closed`](ErrorKind::Closed). Records before the error have been returned by then.
    pub fn poll(&mut self, timeout: Duration) -> Result<ConsumerRecords> {
        let deadline = self.engine.clock.instant().checked_add(timeout); // None: for ever
        self.engine.check_open()?;
        self.take_partitions()?;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            self.engine.check_open()?;
            self.take_partitions()?;
            self.auto_commit_if_due();
            self.resolve_positions();
            let clock = Arc::clone(&self.engine.clock);
            let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= clock.instant());
            let is_last = is_over(self.fetch_until);
            let short = match fetcher::take(&mut self.subscription, &self.config, &mut self.failed, is_last) {
                Taken::Records(records) => {
                    self.fetch_until = None;
                    if !records.is_empty() {
                        return Ok(records);
                    }
                    None
                }
                Taken::Short(short) => Some(short),
            };
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if short.is_some() {
                // Here and not where it waits: a poll that has no time to wait counts as well.
                self.time_the_fetch(is_last);
            }
            if is_over(deadline) {
                return Ok(ConsumerRecords::default());
            }
            if let Some(short) = short {
                self.wait_for_records(deadline, &short);
            }
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
    /// member and this consumer is not it, [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition) if one of them
    /// was deleted since the last poll, and what the log of the group answers.
    pub fn commit_sync(&mut self) -> Result<()> {
        self.commit_positions(self.subscription.positions())
    }

    fn commit_positions(&self, positions: Vec<(Arc<Partition>, Offset)>) -> Result<()> {
        let offset_of = |(partition, offset): &(Arc<Partition>, Offset)| (partition.name().clone(), (*offset).into());
        let offsets: Vec<_> = positions.iter().map(offset_of).collect();
        let read: Vec<_> = positions.into_iter().map(|(partition, _)| partition).collect();
        self.commit(&offsets, &read)
    }

    /// Commits these offsets, each that of the next record to read. Durable when it returns.
    ///
    /// # Errors
    ///
    /// As [`commit_sync`](Consumer::commit_sync); [`IllegalArgument`](ErrorKind::IllegalArgument) for a negative offset,
    /// [`OffsetMetadataTooLarge`](ErrorKind::OffsetMetadataTooLarge),
    /// [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition). Then none of them is committed.
    pub fn commit_sync_offsets(&mut self, offsets: &[(TopicPartition, OffsetAndMetadata)]) -> Result<()> {
        self.commit(offsets, &[])
    }

    fn commit(&self, offsets: &[(TopicPartition, OffsetAndMetadata)], read: &[Arc<Partition>]) -> Result<()> {
        self.engine.check_open()?;
        let group = self.group()?;
        match &self.membership {
            Some(membership) => membership.commit(offsets, read),
            None => self.engine.coordinator.commit(group, offsets, read),
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

    pub(super) fn group(&self) -> Result<&str> {
        self.config.get_group_id().ok_or_else(|| Error::new(ErrorKind::InvalidGroupId))
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
    pub(super) fn auto_commit(&mut self) -> Result<()> {
        if self.config.get_auto_commit().is_none() {
            return Ok(());
        }
        let mut positions = self.subscription.positions();
        positions.retain(|(partition, _)| partition.check_exists().is_ok());
        if positions.is_empty() { Ok(()) } else { self.commit_positions(positions) }
    }

    /// Begins the time for which records are held back, if it has not begun; with `is_over` there are none, and it begins
    /// with the next one.
    fn time_the_fetch(&mut self, is_over: bool) {
        if is_over {
            self.fetch_until = None;
        } else if self.fetch_until.is_none() && self.config.get_fetch_min_bytes() > 1 {
            self.fetch_until = self.engine.clock.instant().checked_add(self.config.get_fetch_max_wait());
        }
    }

    /// Waits until the missing bytes have come behind what was found, or for `deadline`, the end of `fetch.max.wait.ms`, the
    /// next automatic commit, a change of topics, or the close of the broker.
    fn wait_for_records(&mut self, deadline: Option<Instant>, Short { found, missing }: &Short) {
        let auto_commit = self.config.get_auto_commit().map(|_| self.auto_commit_at);
        let until = deadline.into_iter().chain(auto_commit).chain(self.fetch_until).min();
        // Where nothing will come any more there is nothing to wait for.
        let waits = found.iter().filter(|(partition, _)| partition.check_goes_on().is_ok());
        let waits = waits.map(|(partition, fetched)| (Arc::clone(partition), Some(fetched)));
        let parked = Parked::new(&self.waiter, waits, *missing);
        self.engine.topics.waiters().add_for_all(&self.waiter);
        let is_outdated = match self.subscription.mode {
            Mode::Topics { seen, .. } => seen != Some(self.engine.topics.version()),
            Mode::None | Mode::Assigned => false,
        };
        let is_gone = |(partition, _): &(Arc<Partition>, Fetched)| partition.check_exists().is_err();
        if self.engine.check_open().is_ok() && !is_outdated && !found.iter().any(is_gone) {
            self.waiter.wait_until(until);
        }
        drop(parked);
        self.engine.topics.waiters().remove(&self.waiter);
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

/// Time after which a failed automatic commit is tried again (consumer.md 2.1, `retry.backoff.ms`).
const RETRY_BACKOFF: Duration = Duration::from_millis(100);

fn exclusive_modes() -> Error {
    Error::illegal_state("subscribing to topics and assigning partitions exclude each other: unsubscribe first")
}

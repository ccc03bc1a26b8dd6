//! A partition: its log, and everybody who waits for it.

use std::time::Duration;

use super::fetch::FetchLimits;
use super::flusher::{Flush, Flusher};
use super::waiters::Waiters;
use crate::clock::Clock;
use crate::config::{IsolationLevel, TopicConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Appended, FetchBudget, Fetched, Log, LogCounts, OffsetSpec, OldestSegment, Removed, TimestampOffset};
use crate::sync::{Arc, AtomicBool, AtomicI64, Mutex, Ordering, Weak};
use crate::types::{Durability, Offset, TopicPartition};

/// A partition of a topic, for reading by offset without a consumer. Made by [`Broker::partition`].
///
/// Any number of threads may read at the same time; reading takes no lock and never waits for a writer.
///
/// [`Broker::partition`]: crate::Broker::partition
#[derive(Debug)]
pub struct Partition {
    name: TopicPartition,
    /// The log, or why it could not be opened: damage in one partition does not keep the others from working.
    log: std::result::Result<Log, Error>,
    /// Those who wait for the high watermark, as an offset.
    waiters: Waiters,
    /// Those who wait for records: for the high watermark as a place in bytes.
    fetches: Waiters,
    fetch_limits: Arc<FetchLimits>,
    flusher: Arc<Flusher>,
    clock: Arc<dyn Clock>,
    /// Whether a sync at once has been asked for that has not begun. Set by appends, cleared before the sync.
    flush_now: AtomicBool,
    /// The same for a sync at the end of the flush interval.
    flush_later: AtomicBool,
    /// Whether a segment was rolled over and not yet sealed.
    seal_requested: AtomicBool,
    /// What is to be written before the next sync begins: open batches whose records somebody waits for.
    queued: Mutex<Vec<Weak<dyn OpenBatches>>>,
    /// What was written before a sync and is to be told when whoever synced has let go of its turn.
    untold: Mutex<Vec<Arc<dyn OpenBatches>>>,
    /// Whether there is something in `untold`. Set under its lock; a stale value is as if the reader had come earlier.
    has_untold: AtomicBool,
    /// End of the records that were sent with the wish to be synced, whatever the topic promises. Raised by appends.
    sync_wanted: AtomicI64,
    /// Whether the topic was deleted. Set once, before the directory goes: what was read while it was not set was read
    /// from this partition's files, whatever has their names later.
    deleted: AtomicBool,
    /// Whether the broker was closed: nothing will come any more. Set once, before those who wait are woken.
    closed: AtomicBool,
}

/// Batches that are not written yet, of a producer for a partition.
pub(crate) trait OpenBatches: std::fmt::Debug + Send + Sync {
    /// Writes them. Whoever calls this sees to the sync and wakes those who wait. Returns whether somebody waits who is to be
    /// [told](OpenBatches::tell) that they were written: not now, while whoever syncs has its turn.
    fn write(&self) -> bool;

    /// Tells those who wait that they were written. The caller holds no lock: tasks may run inside this call.
    fn tell(&self);
}

impl Partition {
    pub(super) fn new(
        name: TopicPartition,
        log: std::result::Result<Log, Error>,
        (flusher, fetch_limits): (Arc<Flusher>, Arc<FetchLimits>),
        clock: Arc<dyn Clock>,
    ) -> Self {
        Partition {
            name,
            log,
            waiters: Waiters::default(),
            fetches: Waiters::default(),
            fetch_limits,
            flusher,
            clock,
            flush_now: AtomicBool::new(false),
            flush_later: AtomicBool::new(false),
            seal_requested: AtomicBool::new(false),
            queued: Mutex::default(),
            untold: Mutex::default(),
            has_untold: AtomicBool::new(false),
            sync_wanted: AtomicI64::new(0),
            deleted: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Topic and number.
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// The first offset that can be read.
    ///
    /// # Errors
    ///
    /// This and all other calls return the error with which the partition could not be opened, if it could not, and
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) once its topic was deleted, also when a new
    /// one has its name.
    pub fn log_start(&self) -> Result<Offset> {
        Ok(self.looked_at()?.log_start())
    }

    /// End (exclusive) of what can be read: records below it keep the promise of the topic's durability.
    ///
    /// # Errors
    ///
    /// As [`log_start`](Partition::log_start).
    pub fn high_watermark(&self) -> Result<Offset> {
        Ok(self.looked_at()?.high_watermark())
    }

    /// The offset that the next record will get.
    ///
    /// # Errors
    ///
    /// As [`log_start`](Partition::log_start).
    pub fn log_end(&self) -> Result<Offset> {
        Ok(self.looked_at()?.log_end())
    }

    /// Looks an offset up, by time or at the ends of the log, within what can be read now; `None` if there is no such
    /// record.
    ///
    /// # Errors
    ///
    /// [`CorruptRecord`](crate::ErrorKind::CorruptRecord) where batches do not hold that have to be looked at.
    pub fn list_offset(&self, spec: OffsetSpec) -> Result<Option<TimestampOffset>> {
        self.looked_at()?.list_offset(spec)
    }

    /// Bytes of record batches on the disk.
    ///
    /// # Errors
    ///
    /// As [`log_start`](Partition::log_start).
    pub fn size(&self) -> Result<u64> {
        Ok(self.looked_at()?.size())
    }

    /// Deletes the records below `before` and returns the new first offset, which is larger than `before` if the log
    /// started behind it already. Durable when it returns. Readers keep what they have fetched; the space of whole
    /// segments comes back when the last of them lets go, that of a part when the rest of its segment goes.
    ///
    /// # Errors
    ///
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) for an offset that is negative or behind the high
    /// watermark, [`PolicyViolation`](crate::ErrorKind::PolicyViolation) for a topic that is only compacted,
    /// [`Closed`](crate::ErrorKind::Closed) after the broker's close, and what the disk answers.
    pub fn delete_records(&self, before: Offset) -> Result<Offset> {
        let log_start = self.log()?.delete_records(before, self.clock.now());
        self.wake_all(); // who waits below the new start has to look again
        self.unless_deleted(log_start)
    }

    /// Does what is to be done every now and then whatever is appended: keeps short what the next open has to read after a
    /// crash, and rolls the segment of a topic whose segments roll by the clock.
    pub(crate) fn tick(self: &Arc<Self>) -> Result<()> {
        let log = self.log()?;
        let rolled = log.roll_by_clock(self.clock.now());
        if let Ok(true) = rolled {
            self.seal_requested.store(true, Ordering::Release);
            self.request_flush(Flush::Now, Duration::ZERO);
        }
        let outcome = rolled.and_then(|_| log.checkpoint());
        if outcome.is_err() {
            self.wake_all(); // it may have failed for good
        }
        outcome
    }

    /// Forgets idempotent producers that have been idle for `idle_max` or longer. Returns how many.
    pub(crate) fn expire_producers(&self, idle_max: Duration) -> Result<usize> {
        let limit = i64::try_from(idle_max.as_millis()).unwrap_or(i64::MAX);
        Ok(self.log()?.expire_producers(self.clock.now(), limit))
    }

    /// Removes what the topic's settings let go.
    pub(crate) fn enforce_retention(&self) -> Result<Removed> {
        let removed = self.log()?.enforce_retention(self.clock.now());
        // An error can come after the log start has moved, and can be that of a log that fails for good.
        if !matches!(removed, Ok(Removed { segments: 0, .. })) {
            self.wake_all();
        }
        self.unless_deleted(removed)
    }

    /// The first segment, if it may go. With `is_active` the one that is appended to, where there is no other.
    pub(super) fn oldest_segment(&self, is_active: bool) -> Option<OldestSegment> {
        self.log().ok()?.oldest_segment(is_active, self.clock.now())
    }

    /// Removes a segment that [`oldest_segment`](Partition::oldest_segment) returned. The caller wakes those who wait when
    /// it holds no lock any more.
    pub(super) fn remove_oldest(&self, oldest: OldestSegment) -> Result<Removed> {
        self.unless_deleted(self.log()?.remove_oldest(oldest, self.clock.now()))
    }

    /// The numbers of the log, if there is one.
    pub(crate) fn counts(&self) -> Option<LogCounts> {
        self.log().ok().map(Log::counts)
    }

    /// Reads what is there, within `budget`.
    #[inline]
    pub(super) fn fetch_now(&self, offset: Offset, level: IsolationLevel, budget: FetchBudget) -> Result<Fetched> {
        let log = self.log()?;
        self.unless_deleted(log.fetch_isolated(level, offset, budget))
    }

    /// Why nothing will be appended any more, if that is so.
    pub(crate) fn check_goes_on(&self) -> Result<()> {
        let log = self.log()?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed).in_partition(&self.name));
        }
        if log.is_followed() { Ok(()) } else { log.check_failure() }
    }

    pub(crate) fn fetch_limits(&self) -> &FetchLimits {
        &self.fetch_limits
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The log as it is now, where another process writes it.
    fn looked_at(&self) -> Result<&Log> {
        let log = self.log()?;
        log.refresh()?;
        Ok(log)
    }

    /// The log, or the error with which it could not be opened, or that it is not there any more.
    pub(crate) fn log(&self) -> Result<&Log> {
        self.check_exists()?;
        self.log.as_ref().map_err(Error::clone)
    }

    /// The log, if it could be opened, also of a topic that was deleted: those who wait there have to be told.
    pub(super) fn opened(&self) -> Option<&Log> {
        self.log.as_ref().ok()
    }

    /// Refuses a partition whose topic was deleted.
    pub(crate) fn check_exists(&self) -> Result<()> {
        if self.deleted.load(Ordering::Acquire) { Err(self.unknown()) } else { Ok(()) }
    }

    /// What came of a call, or that the partition went meanwhile: then an error is only a consequence, and what was read
    /// may be another's.
    fn unless_deleted<T>(&self, outcome: Result<T>) -> Result<T> {
        self.check_exists().and(outcome)
    }

    #[cold]
    fn unknown(&self) -> Error {
        let (topic, partition) = (self.name.topic().to_owned(), Some(self.name.partition()));
        Error::new(ErrorKind::UnknownTopicOrPartition { topic, partition })
    }

    /// Those who wait for the high watermark to reach an offset, or for the partition to fail or be closed.
    pub(crate) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Those who wait for the high watermark to reach a place in bytes, or for something else that a fetch has to know.
    pub(super) fn fetches(&self) -> &Waiters {
        &self.fetches
    }

    /// Has everybody who waits look again. Their tasks may run inside this call: no lock may be held.
    pub(crate) fn wake_all(&self) {
        self.tell_written();
        self.waiters.wake_all();
        self.fetches.wake_all();
    }

    /// Appends a finished batch and sees to it that it keeps its promise in time: that of the topic, or `wanted`, if that is
    /// more. `synced_by_caller` says that a sync follows at once. Those who wait are told by
    /// [`wake_waiters`](Partition::wake_waiters), which the caller calls when it holds no lock any more.
    pub(crate) fn append(
        self: &Arc<Self>,
        batch: &mut [u8],
        wanted: Durability,
        synced_by_caller: bool,
    ) -> Result<Appended> {
        let log = self.log()?;
        let appended = match log.append(batch, self.clock.now()) {
            Ok(appended) => appended,
            Err(error) => {
                if log.has_unsealed() {
                    // It rolled before it failed.
                    self.seal_requested.store(true, Ordering::Release);
                    self.request_flush(Flush::Now, RETRY_AFTER);
                }
                return self.unless_deleted(Err(error));
            }
        };
        if appended.rolled {
            self.seal_requested.store(true, Ordering::Release);
        }
        let config = log.config();
        if Durability::Os < wanted {
            log.promise();
            self.sync_wanted.fetch_max(appended.end, Ordering::AcqRel);
        }
        let flush_now = match config.get_durability().max(wanted) {
            Durability::Fsync => !synced_by_caller,
            Durability::Interval => log.is_flush_due(),
            Durability::Os => false,
        };
        if flush_now || appended.rolled {
            self.request_flush(Flush::Now, Duration::ZERO);
        } else if config.get_durability().max(wanted) == Durability::Interval {
            self.request_flush(Flush::Later, config.get_flush_interval());
        }
        Ok(appended)
    }

    /// Wakes those who wait for what is visible by now. Their tasks may run inside this call: no lock may be held.
    pub(crate) fn wake_waiters(&self) {
        let Ok(log) = &self.log else { return };
        self.tell_written();
        if self.is_idle() {
            return;
        }
        if log.check_failure().is_err() {
            return self.wake_all(); // nothing more will come
        }
        let end = log.visible_end();
        self.waiters.wake(end.offset);
        self.fetches.wake(end.position);
    }

    /// Whether nobody waits for the high watermark to move. Asked after it has moved.
    fn is_idle(&self) -> bool {
        Waiters::are_idle([&self.waiters, &self.fetches])
    }

    /// Has `batches` written, with those of others who wait, and waits for a sync that covers them. What came of it, they
    /// and the ends of the log tell. The caller holds no lock.
    ///
    /// While a sync is under way nobody's batches are written: those who wait for it find their records in one batch.
    pub(crate) fn sync_with(self: &Arc<Self>, batches: &Arc<dyn OpenBatches>) -> Result<()> {
        let log = self.log()?;
        {
            let mut queued = self.queued.lock();
            if !queued.last().is_some_and(|last| std::ptr::addr_eq(last.as_ptr(), Arc::as_ptr(batches))) {
                queued.push(Arc::downgrade(batches));
            }
        }
        self.after_sync(log.sync_after(None, || self.write_queued(), || self.flusher.committer.request(self)))
    }

    /// As [`after_sync`](Partition::after_sync), for a thread that must not be kept: another one wakes those who wait.
    pub(super) fn wake_in_background(self: &Arc<Self>, outcome: Result<()>) {
        if outcome.is_err() || !self.is_idle() || self.has_untold.load(Ordering::Acquire) {
            self.request_flush(Flush::Now, Duration::ZERO);
        }
    }

    /// Writes the batches that wait for a sync.
    pub(super) fn write_queued(&self) {
        let queued = std::mem::take(&mut *self.queued.lock());
        let mut written: Vec<_> = queued.iter().filter_map(Weak::upgrade).filter(|batches| batches.write()).collect();
        if !written.is_empty() {
            let mut untold = self.untold.lock();
            untold.append(&mut written);
            self.has_untold.store(true, Ordering::Release);
        }
    }

    /// Tells those who wait for batches that were written before a sync. No lock may be held.
    fn tell_written(&self) {
        if self.has_untold.load(Ordering::Acquire) {
            let untold = {
                let mut untold = self.untold.lock();
                self.has_untold.store(false, Ordering::Release);
                std::mem::take(&mut *untold)
            };
            untold.iter().for_each(|batches| batches.tell());
        }
    }

    /// Returns once every record below `target` is durable and visible. The caller holds no lock. What could not be synced
    /// and can be tried again, the background thread tries.
    pub(crate) fn sync_to(self: &Arc<Self>, target: Offset) -> Result<()> {
        let log = self.log()?;
        let target = target.min(log.log_end()); // nobody can make more durable than there is
        while log.durable() < target {
            let synced = log.sync_after(Some(target), || self.write_queued(), || self.flusher.committer.request(self));
            self.after_sync(synced)?;
        }
        Ok(())
    }

    /// What follows a sync, whatever came of it.
    pub(super) fn after_sync(self: &Arc<Self>, outcome: Result<()>) -> Result<()> {
        let log = self.log()?;
        match outcome {
            Ok(()) => self.wake_waiters(),
            Err(error) => {
                if log.check_failure().is_ok() {
                    self.request_flush(Flush::Now, RETRY_AFTER);
                }
                self.wake_all();
                return self.unless_deleted(Err(error));
            }
        }
        Ok(())
    }

    /// Whether what lies below `end` can be seen and is as durable as the topic promises, or as `wanted`. Records can be
    /// seen that are less durable, if they were appended before the promise was made.
    pub(crate) fn keeps_promise(&self, end: Offset, wanted: Durability) -> Result<bool> {
        let log = self.log()?;
        if end <= log.durable() {
            return Ok(end <= log.high_watermark());
        }
        Ok(match log.config().get_durability().max(wanted) {
            Durability::Fsync => false,
            // There will be no sync any more.
            Durability::Interval => log.check_failure().map(|()| end <= log.high_watermark())?,
            Durability::Os => end <= log.high_watermark(),
        })
    }

    /// Whether all that lies below `end` can be seen and is as durable as the topic, or who sent it, asked for.
    pub(crate) fn keeps_promises(&self, end: Offset) -> Result<bool> {
        let synced_end = self.sync_wanted.load(Ordering::Acquire).min(end);
        Ok(self.keeps_promise(end, Durability::Os)? && synced_end <= self.log()?.durable())
    }

    /// Whether a record is acknowledged after a sync only.
    pub(crate) fn promises_syncs(&self, wanted: Durability) -> Result<bool> {
        Ok(self.log()?.config().get_durability().max(wanted) == Durability::Fsync)
    }

    /// What a record below `offset`, for which `wanted` was asked, survives now.
    pub(crate) fn durability_reached(&self, offset: Offset, wanted: Durability) -> Result<Durability> {
        let log = self.log()?;
        if log.durable() >= offset {
            return Ok(Durability::Fsync);
        }
        // Without the sync, what promises one was agreed on after the append.
        Ok(match log.config().get_durability() {
            Durability::Interval => Durability::Interval,
            Durability::Os | Durability::Fsync => wanted.min(Durability::Interval),
        })
    }

    /// Goes on with other settings. What they promise of records that are there already, the background thread sees to.
    /// The caller wakes those who wait when it holds no lock any more.
    pub(super) fn alter(self: &Arc<Self>, config: &Arc<TopicConfig>) {
        let Ok(log) = &self.log else { return };
        log.alter(config);
        self.flush_later.store(false, Ordering::Release); // the next append asks for the new interval
        if config.get_durability() != Durability::Os && log.durable() < log.log_end() {
            self.request_flush(Flush::Now, Duration::ZERO);
        }
    }

    /// The topic was deleted: every call is refused from now on, and nothing is done any more in the directory. When it
    /// returns, what was under way there has ended. The caller wakes those who wait when it holds no lock any more.
    pub(super) fn delete(self: &Arc<Self>) {
        self.deleted.store(true, Ordering::Release);
        if let Ok(log) = &self.log {
            log.abandon(self.unknown(), self.clock.now());
        }
        self.flusher.forget(self);
    }

    fn request_flush(self: &Arc<Self>, flush: Flush, after: Duration) {
        if !self.requested(flush).swap(true, Ordering::AcqRel) {
            self.flusher.request(self, flush, self.clock.instant() + after);
        }
    }

    fn requested(&self, flush: Flush) -> &AtomicBool {
        match flush {
            Flush::Now => &self.flush_now,
            Flush::Later => &self.flush_later,
        }
    }

    /// The background thread's turn begins: what has been appended by now, and by those who find their request still
    /// standing, is to be durable below the offset that is returned.
    pub(super) fn begin_flush(&self, flush: Flush) -> Option<Offset> {
        // Swapped, not stored: who finds the flag still set has to be seen with the end that it raised before.
        self.requested(flush).swap(false, Ordering::AcqRel);
        let log = self.log.as_ref().ok()?;
        Some(match log.config().get_durability() {
            Durability::Os => self.sync_wanted.load(Ordering::Acquire),
            Durability::Interval | Durability::Fsync => log.log_end(),
        })
    }

    /// The background thread's turn ends: seals what was rolled over. An error is not lost: it is what the next append or
    /// acknowledgement of this partition gets. What can be tried again is.
    pub(super) fn end_flush(self: &Arc<Self>, synced: Result<()>) {
        let Ok(log) = &self.log else { return };
        let sealed = if self.seal_requested.swap(false, Ordering::AcqRel) { log.seal_rolled() } else { Ok(()) };
        if sealed.is_err() {
            self.seal_requested.store(true, Ordering::Release);
        }
        if sealed.is_err() && synced.is_ok() && log.check_failure().is_ok() {
            self.request_flush(Flush::Now, RETRY_AFTER);
        }
        if log.check_failure().is_ok() {
            self.wake_waiters();
        } else {
            self.wake_all();
        }
    }

    /// The background thread panicked over this partition.
    pub(crate) fn fail(&self, reason: &str) {
        if let Ok(log) = &self.log {
            log.fail(Error::storage(reason));
        }
        self.wake_all();
    }

    /// Makes everything durable and lets no append follow. Reading goes on.
    pub(crate) fn close(&self) -> Result<()> {
        let outcome = self.log.as_ref().map_or(Ok(()), Log::close);
        self.closed.store(true, Ordering::Release);
        self.wake_all();
        outcome
    }
}

/// Time until the background thread tries again what a full disk kept it from.
const RETRY_AFTER: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::record::BatchBuilder;
    use crate::topic::Waiter;
    use crate::types::Compression;

    /// Batches whose compression panics, say.
    #[derive(Debug)]
    struct Panicking;

    impl OpenBatches for Panicking {
        fn write(&self) -> bool {
            panic!("the panic of this test");
        }

        fn tell(&self) {}
    }

    /// Two durable partitions with a record each that is not synced yet, and somebody who waits for it.
    fn two(broker: &Broker) -> Waiting {
        let add = |topic: &str| {
            broker.create_topic(topic, 1, TopicConfig::new()).unwrap();
            let partition = broker.engine().topics.partition(&TopicPartition::new(topic, 0)).unwrap();
            let mut builder = BatchBuilder::new();
            builder.push(1000, None, Some(b"v"), std::iter::empty());
            let batch = builder.finish(Compression::None, None).unwrap();
            let end = partition.append(batch, Durability::Os, true).unwrap().end;
            let waiter = Arc::new(Waiter::default());
            partition.waiters().add(end, &waiter);
            (partition, waiter)
        };
        ["a", "b"].map(add).into()
    }

    type Waiting = Vec<(Arc<Partition>, Arc<Waiter>)>;

    fn flush_with_a_panic_in_the_first() -> (tempfile::TempDir, Broker, Waiting) {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(dir.path().join("data")).unwrap();
        let partitions = two(&broker);
        let panicking: Arc<dyn OpenBatches> = Arc::new(Panicking);
        partitions[0].0.queued.lock().push(Arc::downgrade(&panicking));
        let committer = &broker.engine().topics.flusher().committer;
        let targets: Vec<_> = partitions.iter().map(|(partition, _)| (Arc::clone(partition), 1)).collect();
        // What `Flusher::flush` does.
        let _ = committer.panics.catch("a sync", || committer.sync_to(&targets));
        (dir, broker, partitions)
    }

    #[test]
    fn a_panic_over_one_partition_harms_no_other() {
        let (_dir, _broker, partitions) = flush_with_a_panic_in_the_first();
        assert!(partitions[0].0.log().unwrap().check_failure().is_err());
        partitions[1].0.log().unwrap().check_failure().unwrap();
    }

    #[test]
    fn who_waits_for_a_partition_over_which_a_sync_panicked_is_told() {
        let (_dir, _broker, partitions) = flush_with_a_panic_in_the_first();
        let now = Some(partitions[0].0.clock.instant());
        for (partition, waiter) in &partitions {
            let is_failed = partition.log().unwrap().check_failure().is_err();
            assert!(!is_failed || waiter.wait_until(now), "{:?} failed and nobody was told", partition.name());
        }
    }

    /// A task that runs where it is woken, and waits for a record.
    struct Inline(Arc<Partition>);

    impl std::task::Wake for Inline {
        fn wake(self: Arc<Self>) {
            self.0.sync_to(2).unwrap();
        }
    }

    fn append(partition: &Arc<Partition>) {
        let mut builder = BatchBuilder::new();
        builder.push(1000, None, Some(b"v"), std::iter::empty());
        partition.append(builder.finish(Compression::None, None).unwrap(), Durability::Os, true).unwrap();
    }

    #[test]
    fn who_is_woken_by_the_thread_that_commits_may_wait_for_its_next_sync() {
        use crate::clock::SystemClock;
        use crate::sys::FaultyDisk;
        use std::thread;

        let (ended, has_ended) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let dir = tempfile::tempdir().unwrap();
            let disk = FaultyDisk::default();
            let faults = disk.faults();
            let broker = Broker::open_on(&dir.path().join("data"), Arc::new(disk), Arc::new(SystemClock)).unwrap();
            broker.create_topic("t", 1, TopicConfig::new()).unwrap();
            let partition = broker.engine().topics.partition(&TopicPartition::new("t", 0)).unwrap();
            let log = partition.log().unwrap();
            let until = |holds: &dyn Fn() -> bool| {
                while !holds() {
                    thread::yield_now();
                }
            };
            let sync_to = |target| {
                let partition = Arc::clone(&partition);
                thread::spawn(move || partition.sync_to(target).unwrap())
            };
            let first = log.try_turn().unwrap();
            append(&partition);
            let waiter = Arc::new(Waiter::default());
            assert!(!waiter.poll(&std::task::Waker::from(Arc::new(Inline(Arc::clone(&partition))))));
            partition.waiters().add(1, &waiter);
            let leader = sync_to(1);
            until(&|| log.has_forming_group());
            let begun = faults.syncs.load(Ordering::SeqCst);
            faults.hold_syncs();
            assert!(first.end(&Ok(()), || partition.flusher.committer.request(&partition)));
            until(&|| faults.syncs.load(Ordering::SeqCst) > begun);
            append(&partition);
            let next = sync_to(2);
            until(&|| log.has_forming_group());
            faults.release();
            leader.join().unwrap();
            next.join().unwrap();
            ended.send(()).unwrap();
        });
        has_ended.recv_timeout(Duration::from_secs(20)).expect("the thread that commits goes on");
    }
}

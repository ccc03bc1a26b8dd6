//! Fetches of one partition or several: what they may take, when it is enough, and how they wait.

use std::borrow::Borrow;
use std::time::Instant;

use super::deadlines::Deadlines;
use super::fetch_options::FetchOptions;
use super::partition::Partition;
use super::waiters::Waiter;
use crate::error::Result;
use crate::log::{FetchBudget, Fetched, Stop};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::types::Offset;

/// What the fetches of a broker have in common.
#[derive(Debug)]
pub(crate) struct FetchLimits {
    /// Most bytes that any fetch returns.
    pub(crate) bytes_max: usize,
    /// Whether an answer goes on in the next segment.
    pub(crate) crosses_segments: bool,
    /// Ends the wait of futures; `None` where there is no thread for it.
    pub(crate) deadlines: Option<Arc<Deadlines>>,
    /// Positions above a log end that were reset. Raised by consumers; for people who look at the numbers.
    pub(crate) positions_above_end: AtomicU64,
}

impl FetchLimits {
    /// A position that was above the log end is another one now.
    pub(crate) fn note_position_above_end(&self) {
        self.positions_above_end.fetch_add(1, Ordering::Relaxed);
    }
}

/// One look at the partitions of a fetch, in their order.
///
/// Rules: fetch.md 4 and 5.1, `ReplicaManager.readFromLog`.
#[derive(Debug)]
pub(crate) struct Look {
    /// Bytes that may still be returned.
    left: usize,
    /// Whether the next batch is returned however large it is.
    at_least_one: bool,
    /// Bytes that are still missing.
    missing: usize,
    /// Whether the answer is to be given now, however little it is.
    is_final: bool,
}

impl Look {
    pub(crate) fn new(options: &FetchOptions, limits: &FetchLimits) -> Self {
        let left = options.max_bytes.min(limits.bytes_max);
        Look { left, at_least_one: true, missing: options.min_bytes.min(left), is_final: false }
    }

    /// Reads one partition.
    #[inline]
    pub(crate) fn read(&mut self, partition: &Partition, offset: Offset, options: &FetchOptions) -> Result<Fetched> {
        let limit = options.max_partition_bytes.min(self.left);
        let crosses_segments = partition.fetch_limits().crosses_segments;
        let budget = FetchBudget { bytes_max: limit, at_least_one: self.at_least_one, crosses_segments };
        let fetched = partition.fetch_now(offset, options.isolation_level, budget);
        match &fetched {
            Ok(fetched) => {
                let len = fetched.len();
                self.at_least_one &= len == 0;
                self.left = self.left.saturating_sub(len);
                // What does not fit was not missing: waiting would not make the answer larger.
                let counts = if fetched.stop() == Stop::Budget { len.max(limit) } else { len };
                self.missing = self.missing.saturating_sub(counts);
                self.is_final |= fetched.stop() == Stop::Damage;
            }
            Err(_) => self.is_final = true,
        }
        fetched
    }

    /// Bytes to wait for; `None` if the answer is to be given now.
    #[inline]
    pub(crate) fn missing(&self) -> Option<usize> {
        (0 < self.missing && !self.is_final).then_some(self.missing)
    }
}

/// A fetch that waits: a waiter, and the partitions that have it in their lists. Dropping it takes it out again.
#[derive(Debug)]
pub(crate) struct Parked<P: Borrow<Partition>> {
    waiter: Arc<Waiter>,
    partitions: Vec<P>,
}

impl<P: Borrow<Partition>> Parked<P> {
    /// Has `waiter` woken when `missing` bytes have come behind what a look found, and when anything else happens to one
    /// of the partitions that makes another look worth while. It may have happened already: then the waiter is woken at
    /// once.
    ///
    /// Rule: fetch.md 5.3: the caller has checked, this registers and checks again.
    pub(crate) fn new<'a>(
        waiter: &Arc<Waiter>,
        found: impl IntoIterator<Item = (P, Option<&'a Fetched>)>,
        missing: usize,
    ) -> Self {
        let missing = i64::try_from(missing).unwrap_or(i64::MAX);
        let places: Vec<_> = found.into_iter().map(|(partition, found)| Place::new(partition, found)).collect();
        waiter.expect(missing);
        let is_alone = places.len() == 1;
        for place in &places {
            let waiters = place.partition.borrow().fetches();
            match place.from {
                Some(from) if is_alone => waiters.add(from.saturating_add(missing), waiter),
                Some(from) => waiters.add_part(from, waiter),
                None => waiters.add_for_all(waiter),
            }
        }
        // What came meanwhile is taken note of as if it came now, not only compared with what is missing: it has to count
        // with what comes later elsewhere.
        places.iter().for_each(Place::take_note);
        if places.iter().any(Place::has_news) {
            waiter.wake();
        }
        Parked { waiter: Arc::clone(waiter), partitions: places.into_iter().map(|place| place.partition).collect() }
    }

    pub(crate) fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }
}

impl<P: Borrow<Partition>> Drop for Parked<P> {
    fn drop(&mut self) {
        self.partitions.iter().for_each(|partition| partition.borrow().fetches().remove(&self.waiter));
    }
}

/// Where a fetch waits in one partition.
struct Place<P> {
    partition: P,
    offset: Offset,
    /// The end of what was found, in bytes: what comes behind it is waited for. `None` where more would not be returned.
    from: Option<i64>,
}

impl<P: Borrow<Partition>> Place<P> {
    fn new(partition: P, found: Option<&Fetched>) -> Self {
        let Some(found) = found else { return Place { partition, offset: Offset::MAX, from: None } };
        let from = Some(found.position()).filter(|_| found.stop() == Stop::End);
        Place { partition, offset: found.offset(), from }
    }

    /// Does what an append would do now.
    fn take_note(&self) {
        let partition = self.partition.borrow();
        if let Some(log) = partition.opened().filter(|_| self.from.is_some()) {
            partition.fetches().wake(log.visible_end().position);
        }
    }

    /// Whether something else happened than that bytes came.
    fn has_news(&self) -> bool {
        let partition = self.partition.borrow();
        let is_below_start = |log: &crate::log::Log| self.offset < log.log_start();
        partition.check_goes_on().is_err() || partition.opened().is_some_and(is_below_start)
    }
}

impl Partition {
    /// Reads whole batches from `offset` on: what is there up to the high watermark, within the limits of `options`.
    /// Nothing is copied. If that is less than [`min_bytes`](FetchOptions::min_bytes), it waits for more, at most for
    /// [`max_wait`](FetchOptions::max_wait).
    ///
    /// With enough there at once it takes no lock, makes no system call (but to open a segment that is not open) and
    /// allocates nothing (but for the pieces of a third segment and those behind). Pages that are not in memory are read
    /// from the disk, as the records are looked at: [`is_cached`](Partition::is_cached) tells,
    /// [`warm_up`](Partition::warm_up) sees to it.
    ///
    /// An offset at the log end, or between high watermark and log end, gives an empty answer after the wait.
    ///
    /// # Errors
    ///
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) outside `log_start..=log_end`, with these numbers, also if
    /// the log start moves above `offset` meanwhile; [`CorruptRecord`](crate::ErrorKind::CorruptRecord) where the batch
    /// headers do not hold; [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) when the topic is
    /// deleted. Where nothing is left to be read, instead of waiting for what will not come:
    /// [`Closed`](crate::ErrorKind::Closed) after the broker's close, and the error that keeps the log from being appended
    /// to.
    pub fn fetch(&self, offset: Offset, options: &FetchOptions) -> Result<Fetched> {
        let mut look = Look::new(options, self.fetch_limits());
        let fetched = look.read(self, offset, options)?;
        match look.missing() {
            Some(missing) if !options.max_wait.is_zero() => self.wait_for_more(fetched, missing, offset, options),
            _ => Ok(fetched),
        }
    }

    /// Whether a fetch of `bytes` from `offset` on is known to find everything in memory, the way there included: then
    /// neither the fetch nor a look at its records waits for a device. One system call or few; nothing of the log is
    /// touched.
    ///
    /// False where it is not known: for a segment that is not open, and where [nothing is
    /// mapped](crate::ReadMode::Pread). What is in memory now can be gone a moment later, if the system needs the memory.
    ///
    /// # Errors
    ///
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) as [`fetch`](Partition::fetch), and the errors of
    /// [`log_start`](Partition::log_start).
    pub fn is_cached(&self, offset: Offset, bytes: usize) -> Result<bool> {
        self.log()?.is_cached(offset, bytes)
    }

    /// Reads what a fetch of `bytes` from `offset` on looks at into memory, as far as it is there, and waits until it is: for
    /// a thread that may block, on behalf of one that may not.
    ///
    /// # Errors
    ///
    /// As [`is_cached`](Partition::is_cached), and [`Io`](crate::ErrorKind::Io) if the device does not give the bytes, which
    /// a look at them in a map would end the process for (SIGBUS).
    pub fn warm_up(&self, offset: Offset, bytes: usize) -> Result<()> {
        self.log()?.warm_up(offset, bytes)
    }

    #[cold]
    fn wait_for_more(
        &self,
        mut fetched: Fetched,
        mut missing: usize,
        offset: Offset,
        options: &FetchOptions,
    ) -> Result<Fetched> {
        let deadline = self.clock().instant().checked_add(options.max_wait);
        let waiter = Arc::new(Waiter::default());
        loop {
            if let Err(error) = self.check_goes_on() {
                return if fetched.is_empty() { Err(error) } else { Ok(fetched) };
            }
            let parked = Parked::new(&waiter, [(self, Some(&fetched))], missing);
            let until = self.next_look(deadline);
            waiter.wait_until(until);
            drop(parked);
            let is_over = deadline.is_some_and(|deadline| deadline <= self.clock().instant());
            let mut look = Look::new(options, self.fetch_limits());
            fetched = look.read(self, offset, options)?;
            match look.missing() {
                Some(still) if !is_over => missing = still,
                _ => return Ok(fetched),
            }
        }
    }

    /// When to look again if nobody says so before: where another process appends, nobody does.
    pub(crate) fn next_look(&self, deadline: Option<Instant>) -> Option<Instant> {
        match self.opened() {
            Some(log) if log.is_followed() => {
                let next = self.clock().instant() + LOOK_INTERVAL;
                Some(deadline.map_or(next, |deadline| deadline.min(next)))
            }
            _ => deadline,
        }
    }
}

/// Time between two looks at a log that another process writes.
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::config::TopicConfig;
    use crate::record::BatchBuilder;
    use crate::types::{Compression, Durability, TopicPartition};

    /// Bytes of one batch of [`append`].
    const BATCH: usize = 100;

    fn partitions() -> (tempfile::TempDir, Broker, [Arc<Partition>; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        broker.create_topic("t", 2, TopicConfig::new().durability(Durability::Os)).unwrap();
        let partitions = [0, 1].map(|number| broker.partition(&TopicPartition::new("t", number)).unwrap());
        (dir, broker, partitions)
    }

    fn append(partition: &Arc<Partition>) {
        let mut builder = BatchBuilder::new();
        builder.push(1000, None, Some(&[7; 32]), std::iter::empty());
        let batch = builder.finish(Compression::None, None).unwrap();
        assert_eq!(batch.len(), BATCH);
        partition.append(batch, Durability::Os, false).unwrap();
        partition.wake_waiters();
    }

    #[test]
    fn what_comes_between_the_look_and_the_registration_counts_with_what_comes_later() {
        let (_dir, _broker, partitions) = partitions();
        let look = partitions.each_ref().map(|partition| partition.fetch(0, &FetchOptions::new()).unwrap());
        append(&partitions[0]);
        let waiter = Arc::new(Waiter::default());
        let found = partitions.each_ref().into_iter().map(|partition| partition.as_ref()).zip(look.iter().map(Some));
        let parked = Parked::new(&waiter, found, 2 * BATCH);
        let is_woken = || waiter.wait_until(Some(partitions[0].clock().instant()));
        assert!(!is_woken(), "half of it is there");
        append(&partitions[1]);
        assert!(is_woken(), "all of it is there");
        append(&partitions[1]);
        assert!(!is_woken(), "once");
        drop(parked);
    }

    #[test]
    fn who_waits_for_no_bytes_of_a_partition_is_told_that_it_failed() {
        let (_dir, _broker, partitions) = partitions();
        let [full, empty] = &partitions;
        append(full);
        append(full);
        let options = FetchOptions::new().max_partition_bytes(BATCH);
        let look = partitions.each_ref().map(|partition| partition.fetch(0, &options).unwrap());
        assert_eq!(look[0].stop(), Stop::Budget);
        let waiter = Arc::new(Waiter::default());
        let parked = Parked::new(&waiter, [(&**full, Some(&look[0])), (&**empty, Some(&look[1]))], BATCH);
        full.log().unwrap().fail(crate::error::Error::storage("the disk of this test"));
        full.wake_waiters(); // as after an append that fails
        assert!(waiter.wait_until(Some(full.clock().instant())));
        drop(parked);
    }
}

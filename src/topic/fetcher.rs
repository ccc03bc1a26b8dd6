//! Fetching from several partitions.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::fetch::{FetchLimits, Look, Parked};
use super::fetch_future::Wait;
use super::fetch_options::FetchOptions;
use super::partition::Partition;
use super::waiters::Waiter;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Fetched, ReadAhead};
use crate::sync::Arc;
use crate::types::{Offset, TopicPartition};

/// Reads several partitions together, within common limits and with one wait.
///
/// Each partition has an offset, which moves by [`seek`](Fetcher::seek) only: what was fetched comes again until the caller
/// says that it is done with it. Partitions are served in an order, and the limits make the first of them win: the first
/// that has a batch gets it however large it is, later ones get what is left, which can be nothing. So a partition that
/// gave records or an error goes to the end of the order, and each gets its turn: with `n` partitions, one that has
/// records gives some within `n` fetches.
///
/// Rules: fetch.md 4 and 8, `ReplicaManager.readFromLog`, `FetchSession`.
///
/// ```
/// use std::time::Duration;
/// use thalweg::{Broker, FetchOptions, Fetcher, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};
///
/// # fn main() -> thalweg::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let broker = Broker::open(dir.path())?;
/// broker.create_topic("orders", 2, TopicConfig::new())?;
/// let mut fetcher = Fetcher::new(FetchOptions::new().max_wait(Duration::from_millis(500)));
/// for number in 0..2 {
///     fetcher.add(broker.partition(&TopicPartition::new("orders", number))?, 0)?;
/// }
/// broker.producer(ProducerConfig::new())?.send(ProducerRecord::new("orders", "two pears"))?.wait()?;
/// for fetched in fetcher.fetch() {
///     let records = fetched?.decode(true)?;
///     println!("{}: {} records", records.partition(), records.len());
///     fetcher.seek(records.partition(), records.next_offset())?;
/// }
/// # broker.close()
/// # }
/// ```
#[derive(Debug)]
pub struct Fetcher {
    options: FetchOptions,
    /// In the order of the next fetch.
    places: Vec<Place>,
    waiter: Arc<Waiter>,
}

/// A partition, and where to go on in it.
#[derive(Debug)]
struct Place {
    partition: Arc<Partition>,
    offset: Offset,
    read_ahead: ReadAhead,
}

/// Ends the wait of a [`Fetcher`] from another thread or task.
#[derive(Clone, Debug)]
pub struct FetchWaker {
    waiter: Arc<Waiter>,
}

impl FetchWaker {
    /// Has the fetch that waits return what there is, or the next one that would wait.
    pub fn wake(&self) {
        self.waiter.interrupt();
    }
}

impl Fetcher {
    /// No partitions yet.
    pub fn new(options: FetchOptions) -> Self {
        Fetcher { options, places: Vec::new(), waiter: Arc::default() }
    }

    /// Adds a partition, last in the order, to be read from `offset` on. Whether there is such an offset shows when it is
    /// fetched.
    ///
    /// # Errors
    ///
    /// [`IllegalArgument`](ErrorKind::IllegalArgument) for a partition that is there already.
    pub fn add(&mut self, partition: Arc<Partition>, offset: Offset) -> Result<()> {
        if self.find(partition.name()).is_some() {
            let reason = "the fetcher has this partition already";
            return Err(Error::illegal_argument(reason).in_partition(partition.name()));
        }
        self.places.push(Place { partition, offset, read_ahead: ReadAhead::default() });
        Ok(())
    }

    /// Removes a partition. Returns whether it was there.
    pub fn remove(&mut self, partition: &TopicPartition) -> bool {
        let found = self.find(partition);
        found.is_some_and(|index| self.places.remove(index).partition.name() == partition)
    }

    /// Has the next fetch read `partition` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition) for a partition that was not added.
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        let index = self.find(partition);
        let Some(place) = index.and_then(|index| self.places.get_mut(index)) else {
            let (topic, number) = (partition.topic().to_owned(), Some(partition.partition()));
            return Err(Error::new(ErrorKind::UnknownTopicOrPartition { topic, partition: number }));
        };
        place.offset = offset;
        Ok(())
    }

    /// The partitions and their offsets, in the order of the next fetch.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.places.iter().map(|place| (place.partition.name(), place.offset))
    }

    /// What ends a wait.
    pub fn waker(&self) -> FetchWaker {
        FetchWaker { waiter: Arc::clone(&self.waiter) }
    }

    /// Fetches from all partitions, and returns one answer for each, in the order in which they were served. Waits for
    /// [`min_bytes`](FetchOptions::min_bytes), at most for [`max_wait`](FetchOptions::max_wait); an error of any
    /// partition, or a [wake-up](FetchWaker::wake), ends the wait. Without partitions it returns at once.
    ///
    /// # Errors
    ///
    /// Each answer can be one of the errors of [`Partition::fetch`]; its [`partition`](Error::partition) tells whose it is.
    /// It takes nothing from the others.
    pub fn fetch(&mut self) -> Vec<Result<Fetched>> {
        let mut is_last = self.options.max_wait.is_zero();
        let mut deadline = None;
        loop {
            let (answers, missing) = self.look();
            let Some(missing) = missing.filter(|_| !is_last) else { return self.served(answers) };
            let Some(first) = self.places.first() else { return answers };
            let clock = first.partition.clock();
            let deadline = *deadline.get_or_insert_with(|| clock.instant().checked_add(self.options.max_wait));
            let until = self.places.iter().fold(deadline, |until, place| place.partition.next_look(until));
            let parked = self.park(&answers, missing);
            self.waiter.wait_until(until);
            drop(parked);
            let is_over = deadline.is_some_and(|deadline| deadline <= clock.instant());
            is_last = self.waiter.take_interruption() || is_over;
        }
    }

    /// As [`fetch`](Fetcher::fetch), for asynchronous code: the task is not blocked while it waits. Dropping the future ends
    /// the wait and changes nothing. What [`Partition::fetch_async`] says of cold data and read-only brokers holds here.
    pub fn fetch_async(&mut self) -> FetcherFuture<'_> {
        FetcherFuture { fetcher: self, wait: Wait::default() }
    }

    fn find(&self, partition: &TopicPartition) -> Option<usize> {
        self.places.iter().position(|place| place.partition.name() == partition)
    }

    /// Reads every partition, and says how many bytes to wait for.
    fn look(&self) -> (Vec<Result<Fetched>>, Option<usize>) {
        let Some(limits) = self.limits() else { return (Vec::new(), None) };
        let mut look = Look::new(&self.options, limits);
        let read = |place: &Place| look.read(&place.partition, place.offset, &self.options);
        let mut answers: Vec<_> = self.places.iter().map(read).collect();
        let mut missing = look.missing();
        if missing.is_some() && !self.options.max_wait.is_zero() {
            for (place, answer) in self.places.iter().zip(&mut answers) {
                if let Err(error) = place.partition.check_goes_on() {
                    missing = None; // nothing more will come from there, and it has to be told
                    if answer.as_ref().is_ok_and(Fetched::is_empty) {
                        *answer = Err(error);
                    }
                }
            }
        }
        (answers, missing)
    }

    fn limits(&self) -> Option<&FetchLimits> {
        self.places.first().map(|place| place.partition.fetch_limits())
    }

    fn park(&self, answers: &[Result<Fetched>], missing: usize) -> Parked<Arc<Partition>> {
        let found = self.places.iter().zip(answers);
        let found = found.map(|(place, answer)| (Arc::clone(&place.partition), answer.as_ref().ok()));
        Parked::new(&self.waiter, found, missing)
    }

    /// Those that gave something go to the end of the order, and what comes next in them is read ahead.
    fn served(&mut self, answers: Vec<Result<Fetched>>) -> Vec<Result<Fetched>> {
        for (place, answer) in self.places.iter_mut().zip(&answers) {
            if let Ok(fetched) = answer {
                place.read_ahead.note(fetched);
            }
        }
        let gave: Vec<_> = answers.iter().map(|answer| !answer.as_ref().is_ok_and(Fetched::is_empty)).collect();
        let mut gave = gave.into_iter();
        let served: Vec<_> = self.places.extract_if(.., |_| gave.next().unwrap_or(false)).collect();
        self.places.extend(served);
        answers
    }
}

/// A fetch of several partitions, to be awaited: made by [`Fetcher::fetch_async`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct FetcherFuture<'a> {
    fetcher: &'a mut Fetcher,
    wait: Wait,
}

impl Future for FetcherFuture<'_> {
    type Output = Vec<Result<Fetched>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let FetcherFuture { fetcher, wait } = &mut *self;
        let Some(first) = fetcher.places.first().map(|place| Arc::clone(&place.partition)) else {
            return Poll::Ready(Vec::new());
        };
        loop {
            let has_waited = wait.is_parked();
            if wait.goes_on(context, &first) {
                return Poll::Pending;
            }
            // A wake-up ends the wait that it met, whatever else ended it: it is not for the next one as well.
            let is_woken = has_waited && fetcher.waiter.take_interruption();
            let is_over = is_woken || wait.is_over(&first) || fetcher.options.max_wait.is_zero();
            let (mut answers, missing) = fetcher.look();
            let Some(missing) = missing.filter(|_| !is_over && !fetcher.waiter.take_interruption()) else {
                return Poll::Ready(fetcher.served(answers));
            };
            let parked = fetcher.park(&answers, missing);
            // Each partition has to tell when records come: one that cannot is enough.
            let silent = fetcher.places.iter().position(|place| place.partition.fetch_limits().deadlines.is_none());
            let silent = silent.unwrap_or(0);
            let partition = fetcher.places.get(silent).map_or(&first, |place| &place.partition);
            if let Err(error) = wait.park(partition, &fetcher.options, parked) {
                if let Some(answer) = answers.get_mut(silent) {
                    *answer = Err(error);
                }
                return Poll::Ready(fetcher.served(answers));
            }
        }
    }
}

impl Drop for FetcherFuture<'_> {
    /// The fetcher lives on, and is not to keep the task.
    fn drop(&mut self) {
        self.fetcher.waiter.forget_task();
    }
}

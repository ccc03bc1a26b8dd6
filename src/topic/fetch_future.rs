//! Fetches that an asynchronous task waits for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::deadlines::Ticket;
use super::fetch::{Look, Parked};
use super::fetch_options::FetchOptions;
use super::partition::Partition;
use crate::error::{Error, Result};
use crate::log::Fetched;
use crate::sync::Arc;
use crate::types::Offset;

/// A fetch of one partition, to be awaited: made by [`Partition::fetch_async`]. It needs no particular runtime. Dropping it
/// ends the wait.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct FetchFuture {
    partition: Arc<Partition>,
    offset: Offset,
    options: FetchOptions,
    wait: Wait,
}

/// The wait of a future.
#[derive(Debug, Default)]
pub(super) struct Wait {
    /// When it ends, once it has begun; `None` in it is never.
    deadline: Option<Option<Instant>>,
    /// While it waits.
    parked: Option<Parked<Arc<Partition>>>,
    /// What has it woken in time, while it waits.
    ticket: Option<Arc<Ticket>>,
}

impl Wait {
    /// Whether it waits, or was woken and has not looked again.
    pub(super) fn is_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// Whether there is no reason yet to look (again). The task of `context` is woken when there is.
    pub(super) fn goes_on(&mut self, context: &Context<'_>, partition: &Partition) -> bool {
        let Some(parked) = &self.parked else { return false };
        let is_woken = parked.waiter().poll(context.waker());
        if !is_woken && !self.is_over(partition) {
            return true;
        }
        (self.parked, self.ticket) = (None, None);
        false
    }

    /// Whether the time is up.
    pub(super) fn is_over(&self, partition: &Partition) -> bool {
        self.deadline.flatten().is_some_and(|deadline| deadline <= partition.clock().instant())
    }

    /// Waits, with what `parked` is woken for and until the time is up.
    ///
    /// # Errors
    ///
    /// `IllegalState` where nobody tells that records have come.
    pub(super) fn park(
        &mut self,
        partition: &Partition,
        options: &FetchOptions,
        parked: Parked<Arc<Partition>>,
    ) -> Result<()> {
        let Some(deadlines) = &partition.fetch_limits().deadlines else {
            let reason = "nobody here knows when records come: fetch without waiting, or on a thread that may block";
            return Err(Error::illegal_state(reason).in_partition(partition.name()));
        };
        let begin = || partition.clock().instant().checked_add(options.max_wait);
        let deadline = *self.deadline.get_or_insert_with(begin);
        self.ticket = deadline.map(|deadline| deadlines.add(deadline, parked.waiter()));
        self.parked = Some(parked);
        Ok(())
    }
}

impl Partition {
    /// As [`fetch`](Partition::fetch), for asynchronous code: the task is not blocked while it waits. The time to wait
    /// begins when the future is first polled and has not found enough.
    ///
    /// What is not in memory has to be read from the disk all the same, by the thread that polls or looks at the records:
    /// where that must not happen, ask [`is_cached`](Partition::is_cached) first, and let a thread that may block
    /// [`warm_up`](Partition::warm_up) what is not.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Partition::fetch); [`IllegalState`](crate::ErrorKind::IllegalState) for a partition of a
    /// [`ReadOnlyBroker`](crate::ReadOnlyBroker), if it would have to wait.
    pub fn fetch_async(self: &Arc<Self>, offset: Offset, options: &FetchOptions) -> FetchFuture {
        FetchFuture { partition: Arc::clone(self), offset, options: options.clone(), wait: Wait::default() }
    }
}

impl Future for FetchFuture {
    type Output = Result<Fetched>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let FetchFuture { partition, offset, options, wait } = &mut *self;
        loop {
            if wait.goes_on(context, partition) {
                return Poll::Pending;
            }
            let is_last = wait.is_over(partition) || options.max_wait.is_zero();
            let mut look = Look::new(options, partition.fetch_limits());
            let fetched = look.read(partition, *offset, options)?;
            let Some(missing) = look.missing().filter(|_| !is_last) else { return Poll::Ready(Ok(fetched)) };
            if let Err(error) = partition.check_goes_on() {
                return Poll::Ready(if fetched.is_empty() { Err(error) } else { Ok(fetched) });
            }
            let parked = Parked::new(&Arc::default(), [(Arc::clone(partition), Some(&fetched))], missing);
            wait.park(partition, options, parked)?;
        }
    }
}

//! Sending as a future.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::ack::Ack;
use super::memory::{MemoryWait, Share};
use super::sending::{Attempt, Need, Unsent};
use super::shared::Shared;
use crate::client::{OwnedRecord, ProducerRecord};
use crate::error::{Error, Result};
use crate::sync::Arc;
use crate::topic::{Ticket, Waiter};
use crate::types::Timestamp;

/// A record that is sent when this is polled, as soon as there is memory for it: see
/// [`send_async`](crate::Producer::send_async). What it was granted it keeps until it is polled or dropped.
#[derive(Debug)]
#[must_use = "nothing is sent before it is polled"]
pub struct SendFuture<'a> {
    shared: &'a Shared,
    record: ProducerRecord<'a>,
    /// What the interceptors made of it.
    owned: Option<OwnedRecord>,
    begun: Option<Begun>,
    wait: Option<Wait<'a>>,
    /// Whether it was ready.
    is_over: bool,
}

/// What the first poll finds out.
#[derive(Clone, Copy, Debug)]
struct Begun {
    timestamp: Timestamp,
    /// What the application's partitioner said.
    chosen: Option<i32>,
    /// When `max.block.ms` is over; `None` for never.
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct Wait<'a> {
    what: Awaited<'a>,
    waiter: Arc<Waiter>,
    /// Wakes the waiter at the deadline.
    _ticket: Option<Arc<Ticket>>,
}

#[derive(Debug)]
enum Awaited<'a> {
    Memory(MemoryWait<'a>, usize),
    /// Other topics than those of this version, for want of the one that the error names.
    Topics(u64, Error),
}

impl<'a> SendFuture<'a> {
    pub(super) fn new(shared: &'a Shared, record: ProducerRecord<'a>) -> Self {
        SendFuture { shared, record, owned: None, begun: None, wait: None, is_over: false }
    }

    /// What came of the record, if that is known by now.
    fn attempt(&mut self, context: &mut Context<'_>) -> Option<Result<Ack>> {
        let mut begun = match self.begun {
            Some(begun) => begun,
            None => match self.begin() {
                Ok(begun) => begun,
                Err(error) => return Some(Err(error)),
            },
        };
        let mut granted = None;
        loop {
            if let Some(wait) = &self.wait {
                match wait.poll(self.shared, begun.deadline, context) {
                    Poll::Pending => return None,
                    Poll::Ready(Ok(share)) => granted = share,
                    Poll::Ready(Err(error)) => return Some(Err(error)),
                }
                self.forget();
            }
            let version = self.shared.engine.topics.version();
            let placed = {
                let borrowed = self.owned.as_ref().map(OwnedRecord::as_record);
                let record = borrowed.as_ref().unwrap_or(&self.record);
                let Begun { timestamp, chosen, .. } = begun;
                let mut attempt = Attempt::new(record, timestamp);
                (attempt.chosen, attempt.granted) = (chosen, granted.take());
                let placed = self.shared.place(&mut attempt).map(|batch| attempt.ack(batch));
                self.shared.take_back(&mut attempt);
                begun.chosen = attempt.chosen;
                placed
            };
            self.begun = Some(begun);
            let unsent = match placed {
                Ok(ack) => return Some(Ok(ack)),
                Err(unsent) => *unsent,
            };
            let what = match unsent {
                Unsent::Refused(error) => return Some(Err(error)),
                Unsent::Waits(Need::Room(size)) => {
                    match self.shared.make_room(size, Some(self.shared.engine.clock.instant())) {
                        Ok(()) => continue,
                        Err(error) => return Some(Err(error)),
                    }
                }
                Unsent::Waits(Need::Memory(bytes)) => Awaited::Memory(self.shared.memory.wait(bytes), bytes),
                Unsent::Waits(Need::Topic(error)) => Awaited::Topics(version, error),
            };
            self.wait = Some(Wait::begin(self.shared, what, begun.deadline));
        }
    }

    fn begin(&mut self) -> Result<Begun> {
        if !self.shared.interceptors.is_empty() {
            self.shared.check_open()?;
            self.owned = Some(self.shared.interceptors.on_send(&self.record));
        }
        let borrowed = self.owned.as_ref().map(OwnedRecord::as_record);
        let timestamp = self.shared.begin(borrowed.as_ref().unwrap_or(&self.record))?;
        let begun = Begun { timestamp, chosen: None, deadline: self.shared.deadline() };
        self.begun = Some(begun);
        Ok(begun)
    }

    fn forget(&mut self) {
        if let Some(wait) = self.wait.take() {
            self.shared.engine.topics.waiters().remove(&wait.waiter);
        }
    }
}

impl<'a> Wait<'a> {
    fn begin(shared: &Shared, what: Awaited<'a>, deadline: Option<Instant>) -> Self {
        let waiter = match &what {
            Awaited::Memory(wait, _) => {
                shared.press();
                Arc::clone(wait.waiter())
            }
            Awaited::Topics(..) => {
                let waiter = Arc::<Waiter>::default();
                shared.engine.topics.waiters().add_for_all(&waiter);
                waiter
            }
        };
        let deadlines = shared.engine.topics.deadlines();
        let ticket = deadlines.zip(deadline).map(|(deadlines, at)| deadlines.add(at, &waiter));
        Wait { what, waiter, _ticket: ticket }
    }

    /// Whether it is over; with the memory that was waited for.
    fn poll(
        &self,
        shared: &Shared,
        deadline: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Share>>> {
        loop {
            shared.check_open()?;
            match &self.what {
                Awaited::Memory(wait, _) => {
                    if let Some(share) = wait.take() {
                        return Poll::Ready(Ok(Some(share)));
                    }
                }
                Awaited::Topics(version, _) if shared.engine.topics.version() != *version => {
                    return Poll::Ready(Ok(None));
                }
                Awaited::Topics(..) => {}
            }
            if deadline.is_some_and(|deadline| deadline <= shared.engine.clock.instant()) {
                return Poll::Ready(Err(match &self.what {
                    Awaited::Memory(_, bytes) => shared.memory.exhausted(*bytes),
                    Awaited::Topics(_, missing) => shared.never_came(missing.clone()),
                }));
            }
            if !self.waiter.poll(context.waker()) {
                return Poll::Pending;
            }
        }
    }
}

impl Future for SendFuture<'_> {
    type Output = Result<Ack>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.is_over {
            // Not to send the record once more.
            return Poll::Ready(Err(Error::illegal_state("the future was polled after it was ready")));
        }
        match this.attempt(context) {
            Some(outcome) => {
                this.forget(); // also if nobody drops this soon: others wait behind it
                this.is_over = true;
                let sent = this.shared.acknowledge(outcome);
                Poll::Ready(match this.owned.take() {
                    Some(owned) => this.shared.intercept(owned, sent),
                    None => sent,
                })
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for SendFuture<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

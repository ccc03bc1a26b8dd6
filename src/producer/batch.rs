//! A batch and what became of it, as the acknowledgements of its records see it.

use std::time::Instant;

use super::accumulator::PartitionQueue;
use crate::config::Acks;
use crate::error::{Error, Result};
use crate::log::Appended;
use crate::sync::{Arc, OnceLock};
use crate::topic::{Partition, Waiter, Waiters};

/// A batch and what became of it; shared by the acknowledgements of its records.
#[derive(Debug)]
pub(super) struct SentBatch {
    pub(super) queue: Arc<PartitionQueue>,
    pub(super) partition: Arc<Partition>,
    /// Its place among the batches of the queue.
    pub(super) number: u64,
    pub(super) acks: Acks,
    /// When its first record came.
    pub(super) opened: Instant,
    /// Set once: when the batch was written, could not be, or is not waited for any longer.
    outcome: OnceLock<Outcome>,
    /// Those who wait for it: [`SETTLED`] is reached then.
    settled: Waiters,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was written, or failed, as a whole.
    Whole(Result<Appended>),
    /// It was too large and was written in pieces: the offset delta of each one's first record, in order.
    Split(Vec<(i32, Result<Appended>)>),
}

impl Outcome {
    /// How many of the batch's `count` records failed.
    pub(super) fn errors(&self, count: i32) -> i32 {
        match self {
            Outcome::Whole(appended) => {
                if appended.is_ok() {
                    0
                } else {
                    count
                }
            }
            Outcome::Split(pieces) => {
                let ends = pieces.iter().skip(1).map(|(from, _)| *from).chain([count]);
                pieces
                    .iter()
                    .zip(ends)
                    .filter(|((_, appended), _)| appended.is_err())
                    .map(|((from, _), end)| end - from)
                    .sum()
            }
        }
    }
}

/// The number that those wait for who wait for an outcome.
const SETTLED: i64 = 1;

impl SentBatch {
    pub(super) fn new(
        queue: Arc<PartitionQueue>,
        partition: Arc<Partition>,
        (number, acks, opened): (u64, Acks, Instant),
    ) -> Self {
        let (outcome, settled) = (OnceLock::new(), Waiters::default());
        SentBatch { queue, partition, number, acks, opened, outcome, settled }
    }

    /// Sets the outcome, unless there is one. Those who wait are told by [`wake`](SentBatch::wake). Returns whether
    /// it was set.
    pub(super) fn settle(&self, outcome: Outcome) -> bool {
        self.outcome.set(outcome).is_ok()
    }

    /// Tells those who wait that there is an outcome. The caller holds no lock: their tasks may run inside this call.
    pub(super) fn wake(&self) {
        self.settled.wake(SETTLED);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// Where the record with this offset delta is in the log: its offset, and the append that it was a part of. `None`
    /// while the batch has no outcome.
    pub(super) fn appended(&self, delta: i32) -> Option<Result<(i64, Appended)>> {
        let at = |from: i32, appended: &Result<Appended>| {
            let appended = appended.as_ref().map_err(Error::clone)?;
            Ok((appended.base_offset + i64::from(delta - from), *appended))
        };
        Some(match self.outcome.get()? {
            Outcome::Whole(appended) => at(0, appended),
            Outcome::Split(pieces) => match pieces.iter().rev().find(|(from, _)| *from <= delta) {
                Some((from, appended)) => at(*from, appended),
                None => Err(Error::illegal_state("the record is in no piece of its batch")), // the first begins at 0
            },
        })
    }

    /// Why it failed, if it did.
    pub(super) fn error(&self) -> Option<&Error> {
        match self.outcome.get()? {
            Outcome::Whole(appended) => appended.as_ref().err(),
            Outcome::Split(pieces) => pieces.iter().find_map(|(_, appended)| appended.as_ref().err()),
        }
    }

    /// How many of its `count` records failed.
    pub(super) fn error_count(&self, count: i32) -> i32 {
        self.outcome.get().map_or(0, |outcome| outcome.errors(count))
    }

    /// The end of what was appended of the batch, if anything was.
    pub(super) fn end(&self) -> Option<i64> {
        match self.outcome.get()? {
            Outcome::Whole(appended) => appended.as_ref().ok().map(|appended| appended.end),
            Outcome::Split(pieces) => {
                pieces.iter().rev().find_map(|(_, appended)| appended.as_ref().ok()).map(|appended| appended.end)
            }
        }
    }

    /// Has `waiter` woken when there is an outcome. Look once more after this call.
    pub(super) fn add_waiter(&self, waiter: &Arc<Waiter>) {
        self.settled.add(SETTLED, waiter);
    }

    pub(super) fn remove_waiter(&self, waiter: &Arc<Waiter>) {
        self.settled.remove(waiter);
    }

    /// Whether somebody waits for the outcome. Asked after it was set.
    pub(super) fn is_waited_for(&self) -> bool {
        !Waiters::are_idle([&self.settled, &self.settled])
    }

    /// Waits for the outcome, until `deadline`. Returns whether there is one.
    pub(super) fn wait_settled(&self, deadline: Option<Instant>) -> bool {
        if self.is_settled() {
            return true;
        }
        let waiter = Arc::<Waiter>::default();
        self.add_waiter(&waiter);
        while !self.is_settled() {
            if !waiter.wait_until(deadline) {
                self.remove_waiter(&waiter);
                return self.is_settled();
            }
        }
        true
    }
}

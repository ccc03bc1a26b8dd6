//! What ends a batch's wait besides being complete: its time, or the end of its producer.

use std::time::Instant;

use super::writing::{Retrying, Turn, settle};
use super::{Filling, PartitionQueue};
use crate::error::{Error, ErrorKind};
use crate::producer::batch::Outcome;
use crate::producer::shared::Shared;
use crate::sync::{Arc, Ordering};
use crate::topic::OpenBatches;

impl PartitionQueue {
    /// Does what is due at `now`: writes what has lingered long enough or is to be tried again.
    pub(in crate::producer) fn run_due(self: &Arc<Self>, shared: &Shared, now: Instant) {
        {
            let mut open = self.open.lock();
            open.listed = open.listed.filter(|listed| now < *listed);
            let is_due = |filling: &Filling| filling.due <= now || shared.is_ending() || shared.memory.is_short();
            if open.filling.as_ref().is_some_and(is_due) {
                self.close(&mut open);
            }
        }
        if shared.is_ending() {
            // Nobody will be there later, so it waits for who writes now.
            while let Turn::Settled(batch, granted) = self.write_next(shared, Some(self.writer.lock()), false) {
                granted.wake();
                self.tell_of(&batch);
            }
        }
        self.write_line(shared);
        let mut open = self.open.lock();
        if let Some(at) = open.filling.as_ref().map(|filling| filling.due) {
            self.list(&mut open, shared, at);
        }
    }

    /// Gives up what has waited for `delivery.timeout.ms` at `now`. Returns whether there is anything left.
    pub(in crate::producer) fn expire(self: &Arc<Self>, shared: &Shared, now: Instant) -> bool {
        let timeout = shared.config.get_delivery_timeout();
        let (mut over, mut is_left) = (Vec::new(), false);
        // What is being tried again knows why it has taken so long.
        let refused = self.writer.try_lock().and_then(|writer| {
            let Retrying { filling, error, .. } = writer.retrying.as_ref()?;
            Some((Arc::clone(&filling.batch), error.clone()))
        });
        self.list_if_left(shared); // who found the lock taken relies on it
        {
            let mut open = self.open.lock();
            if open.filling.as_ref().is_some_and(|filling| filling.batch.opened + timeout <= now) {
                self.close(&mut open); // without lingering only a writer that is stuck keeps it open for so long
            }
            let complete = open.in_flight.iter().chain(open.line.iter().map(|filling| &filling.batch));
            for batch in complete.filter(|batch| !batch.is_settled()) {
                is_left = true;
                if batch.opened + timeout <= now {
                    over.push(Arc::clone(batch));
                }
            }
            is_left |= open.filling.is_some();
        }
        for batch in over {
            let error = match &refused {
                Some((refused, cause)) if Arc::ptr_eq(refused, &batch) => shared.never_written(cause),
                _ => Error::new(ErrorKind::Timeout { what: DELIVERY.to_owned() }),
            };
            let error = error.in_partition(&self.name);
            if batch.settle(Outcome::Whole(Err(error))) {
                self.tell_of(&batch);
            }
        }
        is_left
    }

    /// Takes nothing any more. What is not written fails with `error`, but for what a writer has in hand: that is written, or
    /// fails, for good.
    pub(in crate::producer) fn retire(self: &Arc<Self>, shared: &Shared, error: &Error) {
        let mut failed = Vec::new();
        let mut settled = Vec::new();
        {
            let mut writer = self.writer.try_lock();
            let retrying = writer.as_mut().and_then(|writer| writer.retrying.take()).map(|retrying| retrying.filling);
            let mut open = self.open.lock();
            self.close(&mut open);
            open.partition = None;
            if retrying.is_some() {
                open.in_flight = None;
            }
            failed.extend(retrying);
            failed.extend(std::mem::take(&mut open.line));
        }
        for Filling { share, batch, mut pieces, .. } in failed {
            let outcome = pieces.failed(error.clone().in_partition(&self.name));
            settle(shared, &batch, Some(outcome), share.builder.count());
            self.queued_bytes.fetch_sub(share.builder.len() as u64, Ordering::Relaxed);
            shared.memory.give_back(share);
            settled.push(batch);
        }
        // Nobody comes for those later: the timer knows the producer no more.
        self.tell();
        settled.iter().for_each(|batch| self.tell_of(batch));
        self.callbacks.run(self);
    }
}

/// What a batch waited for whose time is up.
const DELIVERY: &str =
    "the batch was not written within delivery.timeout.ms; if its write has begun it may be in the log";

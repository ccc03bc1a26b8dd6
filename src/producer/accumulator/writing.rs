//! The batch at the front of the line goes into the log, is tried again, or fails.

use std::time::Instant;

use super::{BatchLimits, Filling, PartitionQueue};
use crate::error::{Error, ErrorKind, Result};
use crate::log::Appended;
use crate::producer::batch::{Outcome, SentBatch};
use crate::producer::memory::{Granted, Share};
use crate::producer::shared::Shared;
use crate::producer::split::split;
use crate::record::{BatchBuilder, Malformed};
use crate::sync::{Arc, MutexGuard, Ordering};
use crate::types::Compression;

#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Producer id, epoch, and the sequence number of the next record, once a batch was written.
    identity: Option<Identity>,
    pub(super) retrying: Option<Retrying>,
}

#[derive(Clone, Copy, Debug)]
struct Identity {
    producer_id: i64,
    epoch: i16,
    sequence: i32,
}

/// A batch that was refused and is tried again.
#[derive(Debug)]
pub(super) struct Retrying {
    pub(super) filling: Filling,
    at: Instant,
    attempts: u32,
    /// Why it was refused.
    pub(super) error: Error,
}

/// What a turn at the writer came to.
pub(super) enum Turn {
    /// Somebody else writes, and will look again.
    Taken,
    /// There was nothing to write.
    Nothing,
    /// A batch is settled, and others have got its memory.
    Settled(Arc<SentBatch>, Granted),
    /// The batch at the front is tried again then.
    Blocked(Instant),
}

impl PartitionQueue {
    /// Writes the batch at the front of the line, if there is one and the lock could be had.
    pub(super) fn write_next(
        &self,
        shared: &Shared,
        writer: Option<MutexGuard<'_, Writer>>,
        synced_by_caller: bool,
    ) -> Turn {
        let Some(mut writer) = writer else { return Turn::Taken };
        let (filling, attempts) = match writer.retrying.take() {
            Some(retrying) if shared.engine.clock.instant() < retrying.at && !self.is_ending(shared) => {
                let at = retrying.at;
                writer.retrying = Some(retrying);
                return Turn::Blocked(at);
            }
            Some(Retrying { filling, attempts, .. }) => (filling, attempts),
            None => match self.take_next(shared) {
                Some(filling) => (filling, 0),
                None => return Turn::Nothing,
            },
        };
        let mut filling = filling;
        if filling.batch.is_settled() {
            return self.finish(shared, writer, filling, None); // its time was up
        }
        let attempted = self.append(shared, &mut writer, &mut filling, synced_by_caller);
        let outcome = match attempted {
            Ok(outcome) => outcome,
            Err(error) if self.is_ending(shared) => filling.pieces.failed(error),
            Err(error) => {
                let now = shared.engine.clock.instant();
                match shared.try_again_at(&error, attempts, (filling.batch.opened, now)) {
                    Some(Ok(at)) => {
                        shared.stats.note_retry(filling.share.builder.count());
                        writer.retrying = Some(Retrying { filling, at, attempts: attempts + 1, error });
                        return Turn::Blocked(at);
                    }
                    Some(Err(timeout)) => filling.pieces.failed(timeout),
                    None => filling.pieces.failed(error),
                }
            }
        };
        self.finish(shared, writer, filling, Some(outcome))
    }

    /// Whether what is tried again now is tried for the last time.
    pub(super) fn is_ending(&self, shared: &Shared) -> bool {
        shared.is_ending() || self.open.lock().partition.is_none()
    }

    /// A batch leaves the queue.
    fn finish(
        &self,
        shared: &Shared,
        writer: MutexGuard<'_, Writer>,
        filling: Filling,
        outcome: Option<Outcome>,
    ) -> Turn {
        let Filling { share, batch, .. } = filling;
        settle(shared, &batch, outcome, share.builder.count());
        self.queued_bytes.fetch_sub(share.builder.len() as u64, Ordering::Relaxed);
        if let Some(end) = batch.end() {
            self.written.fetch_max(end, Ordering::AcqRel);
        }
        self.open.lock().in_flight = None; // while this is the writer: the next one puts in its own
        MutexGuard::unlock_fair(writer); // whoever syncs waits for it, and many others for that
        Turn::Settled(batch, shared.memory.give_back_quietly(share))
    }

    fn take_next(&self, shared: &Shared) -> Option<Filling> {
        let mut open = self.open.lock();
        if open.line.is_empty() && open.has_next(shared) {
            self.close(&mut open);
        }
        let filling = open.line.pop_front()?;
        open.in_flight = Some(Arc::clone(&filling.batch));
        Some(filling)
    }

    /// Writes a batch. An error says that nothing of it but its `pieces` is in the log, or that this is unknown and no append
    /// may follow.
    fn append(
        &self,
        shared: &Shared,
        writer: &mut Writer,
        filling: &mut Filling,
        synced_by_caller: bool,
    ) -> Result<Outcome> {
        let limits = self.open.lock().limits;
        let Filling { share: Share { builder, .. }, batch, wanted, pieces, .. } = filling;
        let began = shared.engine.clock.instant();
        let mut append = |builder: &mut BatchBuilder| {
            let appended = self.append_builder(shared, writer, builder, &limits, |bytes| {
                batch.partition.append(bytes, *wanted, synced_by_caller)
            })?;
            Ok(appended)
        };
        let whole = if pieces.has_some() { None } else { Some(append(builder)) };
        let outcome = match whole {
            Some(Err(error)) if is_too_large(&error) && builder.count() > 1 => {
                shared.stats.note_split();
                self.ratio.reset_after_split(limits.compression, 1.0);
                None
            }
            Some(appended) => Some(Outcome::Whole(Ok(appended?))),
            None => None,
        };
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => {
                split(builder, pieces, &mut append)?;
                pieces.outcome()
            }
        };
        let ended = shared.engine.clock.instant();
        shared.stats.note_written((batch.opened, began, ended));
        Ok(outcome)
    }

    /// Finishes a batch under the producer's identity and has it appended.
    fn append_builder(
        &self,
        shared: &Shared,
        writer: &mut Writer,
        builder: &mut BatchBuilder,
        limits: &BatchLimits,
        append: impl FnOnce(&mut [u8]) -> Result<Appended>,
    ) -> Result<Appended> {
        let identity = match writer.identity {
            None if shared.config.get_enable_idempotence() => {
                let identity = Identity { producer_id: shared.producer_id()?, epoch: 0, sequence: 0 };
                Some(*writer.identity.insert(identity))
            }
            identity => identity,
        };
        if let Some(Identity { producer_id, epoch, sequence }) = identity {
            builder.set_producer(producer_id, epoch, sequence);
        }
        let count = builder.count();
        let is_packed = limits.compression != Compression::None;
        let mut packed = if is_packed { shared.memory.packed() } else { Vec::new() };
        builder.swap_packed(&mut packed);
        let plain_len = builder.len();
        let appended = match builder.finish(limits.compression, limits.level) {
            Ok(bytes) => {
                let len = bytes.len();
                self.ratio.note(limits.compression, len as f32 / plain_len as f32);
                append(bytes).inspect(|_| shared.stats.note_size(plain_len, len))
            }
            Err(Malformed::UnsupportedCompression(codec)) => {
                Err(Error::new(ErrorKind::UnsupportedCompression { codec }))
            }
            Err(malformed) => Err(Error::illegal_argument(format!("the batch cannot be written: {malformed}"))),
        };
        builder.swap_packed(&mut packed);
        if is_packed {
            shared.memory.give_back_packed(packed);
        }
        if let Some(identity) = &mut writer.identity {
            match &appended {
                Ok(_) => identity.sequence = next_sequence(identity.sequence, count),
                // The log knows of batches that this producer does not: a new epoch begins at 0 (producer.md 6).
                Err(error) if matches!(error.kind(), ErrorKind::OutOfOrderSequence { .. }) => {
                    writer.identity = match identity.epoch.checked_add(1) {
                        Some(epoch) => Some(Identity { epoch, sequence: 0, ..*identity }),
                        None => Some(Identity { producer_id: shared.new_producer_id()?, epoch: 0, sequence: 0 }),
                    };
                }
                Err(_) => {}
            }
        }
        appended
    }
}

/// The sequence number behind `count` records from `sequence` on. Rule: records.md 2.
fn next_sequence(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX)) as i32
}

/// Sets the outcome of a batch of `count` records, unless it has one, and counts what failed of it.
pub(super) fn settle(shared: &Shared, batch: &SentBatch, outcome: Option<Outcome>, count: i32) {
    if let Some(outcome) = outcome {
        batch.settle(outcome);
    }
    shared.stats.note_settled(|| shared.name(), batch, count);
}

fn is_too_large(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::RecordTooLarge { .. })
}

//! Sealing: what is finished becomes durable, gets its index files, and the checkpoint says so.

use std::io;

use super::checkpoint::Checkpoint;
use super::log::{Log, LogPlace};
use crate::error::{Error, Result};
use crate::segment::{End, Segment};
use crate::sync::Ordering;
use crate::sys::SyncPoint;
use crate::types::{FilePos, Offset};

/// How far to seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// The segments that were rolled over. The recovery point moves to the base of the active one.
    Rolled,
    /// These, and what is written to the active one by now becomes durable: the recovery point moves to its end.
    Synced,
    /// All of them, when nothing is appended any more.
    All,
}

/// A place in a segment up to which everything is durable, as the checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    /// Base of the segment.
    pub(super) base: Offset,
    pub(super) end: End,
}

/// Bytes that recovery may have to read: a new checkpoint is not worth its syncs for fewer.
const UNCHECKED_MAX: FilePos = 4 << 20;

impl Log {
    /// Makes segments that were rolled over durable, writes their index files, and moves the recovery point to the
    /// base of the active segment.
    ///
    /// # Errors
    ///
    /// One that stays if the disk failed; no append follows then. For want of room or of file handles the segments are
    /// durable and only the checkpoint could not be written, or the room behind one could not be given back: call it again
    /// later.
    pub(crate) fn seal_rolled(&self) -> Result<()> {
        self.seal(Seal::Rolled)
    }

    /// Whether segments were rolled over that [`seal_rolled`](Log::seal_rolled) has something to do for.
    pub(crate) fn has_unsealed(&self) -> bool {
        let active_base = self.view.load().active().base();
        self.failure.get().is_none() && self.recovery_point.load(Ordering::Acquire) < active_base
    }

    /// Keeps short what the next open has to read after a crash: if much was written since the last checkpoint, it becomes
    /// durable and the checkpoint says so, whatever the topic's durability. Called every now and then.
    ///
    /// # Errors
    ///
    /// As [`seal_rolled`](Log::seal_rolled).
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let active = self.view.load().active().clone();
        let unchecked = {
            let sealed = self.sealing.lock();
            let from = sealed.filter(|anchor| anchor.base == active.base()).map_or(0, |anchor| anchor.end.file_pos);
            active.written().file_pos.saturating_sub(from)
        };
        if unchecked < UNCHECKED_MAX || self.failure.get().is_some() || self.writer.lock().closed {
            return Ok(());
        }
        self.seal(Seal::Synced)
    }

    pub(super) fn seal(&self, which: Seal) -> Result<()> {
        self.seal_with_start(which, self.log_start())
    }

    /// As [`seal`](Log::seal), and moves the log start to `log_start`, if it is behind the present one: on the disk
    /// first, then for readers.
    pub(super) fn seal_with_start(&self, which: Seal, log_start: Offset) -> Result<()> {
        let mut sealed = self.sealing.lock();
        self.check_failure()?;
        let moves_start = self.log_start() < log_start;
        let view = self.view.load_full();
        let (active, segments) = (view.active(), view.segments());
        let known = self.recovery_point.load(Ordering::Acquire);
        if which == Seal::Rolled && known >= active.base() && !moves_start {
            return Ok(()); // somebody else has done it, or a close has done more
        }
        let is_known = *sealed == Some(Anchor { base: active.base(), end: active.written() });
        if which == Seal::All && !moves_start && is_known && active.is_sealed() {
            self.write_snapshot(which); // one that only says that the log has to be read, or none
            return Ok(()); // nothing was appended since the checkpoint was written
        }
        if which == Seal::All {
            self.writer.lock().writing = None; // the next append would open the segment again
        }
        let finished = if which == Seal::All { segments.len() } else { segments.len().saturating_sub(1) };
        for segment in segments.iter().take(finished) {
            self.trim(segment)?;
            segment.seal().map_err(|error| self.not_synced(segment, error))?;
        }
        let (end, recovery_point) = match which {
            Seal::Rolled => (active.written(), active.base().max(known)),
            Seal::Synced => {
                let end =
                    active.sync(SyncPoint::CheckpointedSegment).map_err(|error| self.not_synced(active, error))?;
                (end, end.offset.max(known))
            }
            Seal::All => (active.written(), active.written().offset),
        };
        self.write_snapshot(which); // its name becomes durable with the checkpoint's
        self.store_checkpoint(recovery_point, log_start, (active.base(), end))?;
        *sealed = (recovery_point == end.offset).then_some(Anchor { base: active.base(), end });
        self.recovery_point.store(recovery_point, Ordering::Release);
        self.log_start.fetch_max(log_start, Ordering::Release);
        Ok(())
    }

    /// Before the recovery point moves past a segment, its file ends where its batches end. One that cannot be cut now
    /// keeps the recovery point where it is, and nothing else: recovery takes zeros for what they are.
    fn trim(&self, segment: &Segment) -> Result<()> {
        segment
            .trim()
            .map_err(|error| Error::io("trim the segment", &segment.path(), error).in_partition(self.partition()))
    }

    fn store_checkpoint(
        &self,
        recovery_point: Offset,
        log_start: Offset,
        (active_base, end): (Offset, End),
    ) -> Result<()> {
        let checkpoint = Checkpoint {
            recovery_point,
            log_start: log_start.max(self.log_start()),
            cleaner_offset: self.place.gaps_below.min(end.offset),
            log_end: end.offset,
            active_base,
            active_size: end.file_pos,
        };
        let LogPlace { disk, dir, reserve, .. } = &self.place;
        let stored = match reserve.with_io(|| checkpoint.store(&**disk, dir)) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => checkpoint.store_in_place(&**disk, dir),
            stored => stored,
        };
        stored.map_err(|error| {
            let refused = Error::io("write the checkpoint", dir, error).in_partition(self.partition());
            if refused.is_retriable() {
                return refused;
            }
            let reason =
                "the checkpoint could not be written: nothing more is accepted; close the broker and open it again";
            self.fail(Error::storage(reason).at_file(dir).caused_by(refused))
        })
    }
}

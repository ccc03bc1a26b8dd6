//! Sealing: what is finished becomes durable, gets its index files, and the checkpoint says so.

use super::checkpoint::Checkpoint;
use super::log::Log;
use crate::error::{Error, Result};
use crate::sync::Ordering;
use crate::sys::is_out_of_handles;
use crate::types::Offset;

/// Which segments to seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// Those that were rolled over.
    Rolled,
    /// All of them, when nothing is appended any more.
    All,
}

impl Log {
    /// Makes segments that were rolled over durable, writes their index files, and moves the recovery point to the
    /// base of the active segment.
    ///
    /// # Errors
    ///
    /// One that stays if the disk failed; no append follows then. For want of room or of file handles the segments are
    /// durable and only the checkpoint could not be written: call it again later.
    pub(crate) fn seal_rolled(&self) -> Result<()> {
        self.seal(Seal::Rolled)
    }

    pub(super) fn seal(&self, which: Seal) -> Result<()> {
        self.seal_with_start(which, self.log_start())
    }

    /// As [`seal`](Log::seal), and moves the log start to `log_start`, if it is behind the present one: on the disk
    /// first, then for readers.
    pub(super) fn seal_with_start(&self, which: Seal, log_start: Offset) -> Result<()> {
        let _sealing = self.sealing.lock();
        self.check_failure()?;
        let moves_start = self.log_start() < log_start;
        let view = self.view.load_full();
        let (active, segments) = (view.active(), view.segments());
        let rolled = segments.split_last().map_or(segments, |(_, rolled)| rolled);
        let (to_seal, recovery_point) = match which {
            // Somebody else has done it, or a close has done more.
            Seal::Rolled if self.recovery_point.load(Ordering::Acquire) >= active.base() && !moves_start => {
                return Ok(());
            }
            Seal::Rolled => (rolled, active.base().max(self.recovery_point.load(Ordering::Acquire))),
            Seal::All => (segments, active.written().offset),
        };
        if which == Seal::All {
            self.writer.lock().writing = None; // the next append would open the segment again
        }
        for segment in to_seal {
            segment.seal().map_err(|error| self.not_synced(segment, error))?;
        }
        let end = active.written();
        let checkpoint = Checkpoint {
            recovery_point,
            log_start: log_start.max(self.log_start()),
            cleaner_offset: self.place.gaps_below.min(end.offset),
            log_end: end.offset,
            active_base: active.base(),
            active_size: end.file_pos,
        };
        checkpoint.store(&*self.place.disk, &self.place.dir).map_err(|error| {
            let is_passing = is_out_of_handles(&error);
            let error = Error::io("write the checkpoint", &self.place.dir, error).in_partition(self.partition());
            if is_passing || error.is_retriable() { error } else { self.fail(error) }
        })?;
        self.recovery_point.store(recovery_point, Ordering::Release);
        self.log_start.fetch_max(log_start, Ordering::Release);
        Ok(())
    }
}

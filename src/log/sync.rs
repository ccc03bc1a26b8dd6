//! Group commit: one caller syncs for all who wait.

use std::io;

use super::log::{Log, sync_failed};
use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::sync::Ordering;
use crate::sys::{SyncPoint, is_out_of_handles};
use crate::types::Offset;

impl Log {
    /// Returns once every record below `target` is durable and, in mode `fsync`, visible.
    ///
    /// Whoever comes first syncs everything that has been written by then; those who come meanwhile wait, and the
    /// first of them syncs for the rest. A lone caller pays for no hand-over.
    ///
    /// # Errors
    ///
    /// `Storage` if this sync or an earlier one failed. Nothing is retried: after a failure the system may have dropped
    /// the pages, and a second sync would report success for what is not there. `Io` if there were no file handles to
    /// try it with; the records are in the log and can become durable later.
    pub(crate) fn sync_to(&self, target: Offset) -> Result<()> {
        let mut syncing = self.syncing.lock();
        while self.durable() < target {
            self.check_failure()?;
            if *syncing {
                self.synced.wait(&mut syncing);
                continue;
            }
            *syncing = true;
            drop(syncing);
            let turn = Turn { log: self, ended: false };
            let outcome = self.sync_written();
            turn.end();
            outcome?;
            syncing = self.syncing.lock();
        }
        Ok(())
    }

    /// Syncs all that is written now, oldest segment first, and moves the ends. One caller at a time.
    ///
    /// Before anything in a new segment is called durable, those before it are sealed and the checkpoint says so. From
    /// that follows what recovery relies on: where a segment behind the recovery point is torn, nothing in the segments
    /// behind it was ever promised. Only where the checkpoint cannot be written, for want of room or of file
    /// handles, is there an exception: those before are durable then all the same, and recovery finds them whole.
    fn sync_written(&self) -> Result<()> {
        let view = self.view.load_full();
        if self.recovery_point.load(Ordering::Acquire) < view.active().base() {
            let _ = self.seal_rolled();
            self.check_failure()?;
        }
        for segment in view.segments_from(self.durable()) {
            let end = segment.sync(SyncPoint::Commit).map_err(|error| self.not_synced(segment, error))?;
            // Visible first: who finds them durable may look for them.
            segment.show(end);
            self.durable.fetch_max(end.offset, Ordering::Release);
        }
        Ok(())
    }

    /// What becomes of the log when a segment could not be synced.
    pub(super) fn not_synced(&self, segment: &Segment, error: io::Error) -> Error {
        if is_out_of_handles(&error) {
            return Error::io("open the directory of", &segment.path(), error).in_partition(self.partition());
        }
        self.fail(sync_failed(&segment.path(), error))
    }
}

/// The turn of the caller that syncs. If it panics, the log takes no more appends and those who wait are told.
struct Turn<'a> {
    log: &'a Log,
    ended: bool,
}

impl Turn<'_> {
    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.log.fail(Error::storage("a sync panicked: nothing more is accepted; open the broker again"));
        }
        *self.log.syncing.lock() = false;
        self.log.synced.notify_all();
    }
}

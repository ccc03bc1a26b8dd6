//! Group commit: one caller syncs for all who wait.
//!
//! Whoever wants a sync joins the group that is forming, or forms one and leads it. The leader waits until the sync that is
//! under way has ended, closes its group, and syncs for all in it; who comes later forms the next group meanwhile. So
//! a lone caller pays for no hand-over, and under load a sync is always under way.
//!
//! The members of a group are woken by one call to the system, whatever their number, and need no lock afterwards: they
//! look at the ends of the log. The leader of the next group is woken before them, so that the device does not wait for a
//! processor.

use std::io;

use super::log::{Log, sync_failed};
use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::sync::{Arc, OnceLock, Ordering};
use crate::sys::{SyncPoint, is_out_of_handles};
use crate::types::Offset;

/// The groups of one log.
#[derive(Debug, Default)]
pub(super) struct SyncGroups {
    /// The group that is forming.
    forming: Option<Arc<SyncGroup>>,
    /// The last one that was closed.
    closed: Option<Arc<SyncGroup>>,
}

/// Those for whom one sync is done.
#[derive(Debug, Default)]
struct SyncGroup {
    /// Set when the sync has ended, for the leader of the next group.
    next_may_begin: OnceLock<()>,
    /// Set after that, for the members.
    ended: OnceLock<()>,
}

impl Log {
    /// Returns once every record below `target` is durable and, in mode `fsync`, visible.
    ///
    /// # Errors
    ///
    /// `Storage` if this sync or an earlier one failed. Nothing is retried: after a failure the system may have dropped
    /// the pages, and a second sync would report success for what is not there. `Io` if there were no file handles to
    /// try it with; the records are in the log and can become durable later.
    pub(crate) fn sync_to(&self, target: Offset) -> Result<()> {
        let target = target.min(self.view.load().log_end()); // nobody can make more durable than there is
        while self.durable() < target {
            self.sync_after(|| {})?;
        }
        Ok(())
    }

    /// Has a sync done that begins after this call, here or by another caller, and waits until it has ended; the ends of
    /// the log tell what came of it. If it is done here, `write` is called before: what it appends is covered, too.
    ///
    /// # Errors
    ///
    /// As [`sync_to`](Log::sync_to), of a sync that was done here.
    pub(crate) fn sync_after(&self, write: impl FnOnce()) -> Result<()> {
        self.check_failure()?;
        let mut groups = self.sync_groups.lock();
        if let Some(group) = groups.forming.clone() {
            drop(groups);
            group.ended.wait();
            return Ok(());
        }
        let group = Arc::new(SyncGroup::default());
        groups.forming = Some(Arc::clone(&group));
        let former = groups.closed.clone();
        drop(groups);
        if let Some(former) = former {
            former.next_may_begin.wait();
        }
        let turn = self.close_group(group);
        write();
        let outcome = if self.is_all_durable() { Ok(()) } else { self.sync_written() };
        turn.end();
        outcome
    }

    /// Takes the turn to sync, if nobody has it or waits for it.
    pub(super) fn try_turn(&self) -> Option<Turn<'_>> {
        let mut groups = self.sync_groups.lock();
        let is_under_way = groups.closed.as_ref().is_some_and(|group| group.next_may_begin.get().is_none());
        if is_under_way || groups.forming.is_some() {
            return None;
        }
        let group = Arc::new(SyncGroup::default());
        groups.closed = Some(Arc::clone(&group));
        Some(Turn { log: self, group, ended: false })
    }

    /// From here on those who come form the next group.
    fn close_group(&self, group: Arc<SyncGroup>) -> Turn<'_> {
        let mut groups = self.sync_groups.lock();
        groups.forming = None;
        groups.closed = Some(Arc::clone(&group));
        Turn { log: self, group, ended: false }
    }

    /// Whether a sync would have nothing to do.
    fn is_all_durable(&self) -> bool {
        let end = self.view.load().log_end();
        end <= self.durable() && end <= self.high_watermark()
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
pub(super) struct Turn<'a> {
    log: &'a Log,
    group: Arc<SyncGroup>,
    ended: bool,
}

impl Turn<'_> {
    pub(super) fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.log.fail(Error::storage("a sync panicked: nothing more is accepted; open the broker again"));
        }
        let _ = self.group.next_may_begin.set(()); // nobody else sets them
        let _ = self.group.ended.set(());
    }
}

//! One sync for the logs of many partitions.

use super::log::Log;
use super::sync::Turn;
use crate::error::Result;
use crate::segment::Segment;
use crate::sync::{Arc, Ordering};
use crate::sys::SyncPoint;

impl Log {
    /// Makes durable what is written now in all logs whose turns these are: as [`Turn::sync`] does for each of them, at the
    /// same time. One result per turn, in their order.
    pub(crate) fn sync_together(turns: &[Turn<'_>]) -> Vec<Result<()>> {
        turns.iter().for_each(Turn::begin);
        let segments: Vec<_> = turns.iter().map(|turn| turn.log().only_unsynced()).collect();
        let together: Vec<_> = segments.iter().flatten().cloned().collect();
        let Some(first) = turns.first().filter(|_| together.len() > 1) else {
            return turns.iter().map(Turn::sync).collect();
        };
        let disk = &*first.log().place.disk;
        let mut synced = Segment::sync_together(disk, &together, SyncPoint::Commit).into_iter();
        let end = |(turn, segment): (&Turn<'_>, Option<Arc<Segment>>)| match segment {
            None => turn.sync(),
            Some(segment) => match synced.next().flatten() {
                Some(end) => turn.log().note_synced(&segment, end),
                None => turn.sync(), // somebody else was at it
            },
        };
        turns.iter().zip(segments).map(end).collect()
    }

    /// The active segment, if a sync has to do with no other, and has something to do.
    fn only_unsynced(&self) -> Option<Arc<Segment>> {
        let view = self.view.load();
        let active = view.active();
        let is_only = active.base() <= self.durable() && active.base() <= self.recovery_point.load(Ordering::Acquire);
        let is_needed = is_only && self.check_failure().is_ok() && !self.is_all_durable();
        is_needed.then(|| Arc::clone(active))
    }
}

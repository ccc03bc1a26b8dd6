//! The immutable list of a log's segments.

use crate::segment::{End, Segment};
use crate::sync::Arc;
use crate::types::Offset;

/// The segments of a log, sorted by base, at least one. Never changed: a roll or a removal makes a new view.
#[derive(Debug)]
pub(super) struct View {
    segments: Vec<Arc<Segment>>,
    /// The last of `segments`: the one that is appended to.
    active: Arc<Segment>,
}

impl View {
    /// A view of `sealed`, sorted by base, and `active`, whose base is larger than theirs.
    pub(super) fn new(sealed: Vec<Arc<Segment>>, active: Arc<Segment>) -> Self {
        let mut segments = sealed;
        segments.push(Arc::clone(&active));
        debug_assert!(segments.is_sorted_by(|a, b| a.base() < b.base()));
        View { segments, active }
    }

    /// The view after a roll to `active`.
    pub(super) fn rolled_to(&self, active: Arc<Segment>) -> Self {
        View::new(self.segments.clone(), active)
    }

    pub(super) fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    pub(super) fn active(&self) -> &Arc<Segment> {
        &self.active
    }

    /// The segments from the one that holds `offset` on: the last one with a base not above it, else the first.
    pub(super) fn segments_from(&self, offset: Offset) -> &[Arc<Segment>] {
        let behind = self.segments.partition_point(|segment| segment.base() <= offset);
        self.segments.get(behind.saturating_sub(1)..).unwrap_or_default()
    }

    /// The offset that the next record will get.
    pub(super) fn log_end(&self) -> Offset {
        self.active.written().offset
    }

    /// End of what readers may see, and the base of the segment in which it lies.
    ///
    /// A segment shows something only when all before it show everything, so the last one that does holds the end.
    pub(super) fn high_watermark(&self) -> (Offset, End) {
        let shown = |segment: &Arc<Segment>| (segment.base(), segment.visible());
        self.segments
            .iter()
            .rev()
            .map(shown)
            .find(|(_, end)| end.file_pos > 0)
            .unwrap_or_else(|| self.segments.first().map_or_else(|| shown(&self.active), shown))
    }
}

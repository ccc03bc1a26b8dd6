//! The immutable list of a log's segments.

use crate::segment::{End, Segment};
use crate::sync::Arc;
use crate::types::{FilePos, Offset};

/// The segments of a log, sorted by base, at least one. Never changed: a roll or a removal makes a new view.
#[derive(Debug)]
pub(super) struct View {
    segments: Vec<Arc<Segment>>,
    /// The last of `segments`: the one that is appended to.
    active: Arc<Segment>,
    /// The [position](View::position) of the active segment's first byte.
    active_position: i64,
}

impl View {
    /// A view of `sealed`, sorted by base, and `active`, whose base is larger than theirs.
    pub(super) fn new(sealed: Vec<Arc<Segment>>, active: Arc<Segment>) -> Self {
        let active_position = sealed.iter().map(|segment| i64::from(segment.written().file_pos)).sum();
        View::at(active_position, sealed, active)
    }

    fn at(active_position: i64, sealed: Vec<Arc<Segment>>, active: Arc<Segment>) -> Self {
        let mut segments = sealed;
        segments.push(Arc::clone(&active));
        debug_assert!(segments.is_sorted_by(|a, b| a.base() < b.base()));
        View { segments, active, active_position }
    }

    /// The view after a roll to `active`.
    pub(super) fn rolled_to(&self, active: Arc<Segment>) -> Self {
        let position = self.active_position + i64::from(self.active.written().file_pos);
        View::at(position, self.segments.clone(), active)
    }

    /// The view with other segments before `active`, which begins where the active one does.
    pub(super) fn with(&self, sealed: Vec<Arc<Segment>>, active: Arc<Segment>) -> Self {
        View::at(self.active_position, sealed, active)
    }

    /// A place in the log as a number of bytes: the difference between two of them is the bytes of batches in between, over
    /// any number of segments. Where it begins to count means nothing. As long as the log is open it stays what it is,
    /// whatever is rolled over or removed before it.
    pub(super) fn position(&self, base: Offset, file_pos: FilePos) -> i64 {
        let behind = self.segments.iter().rev().skip(1).take_while(|segment| base <= segment.base());
        let between: i64 = behind.map(|segment| i64::from(segment.written().file_pos)).sum();
        self.active_position - between + i64::from(file_pos)
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

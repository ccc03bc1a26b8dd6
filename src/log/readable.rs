//! How much can be read, for those who wait until it is enough.

use super::log::Log;
use super::view::View;
use crate::types::Offset;

/// End of what readers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VisibleEnd {
    /// The high watermark.
    pub(crate) offset: Offset,
    /// The same place in bytes: see [`View::position`].
    pub(crate) position: i64,
}

impl Log {
    /// End of what readers see now.
    pub(crate) fn visible_end(&self) -> VisibleEnd {
        let view = self.view.load();
        let (base, end) = view.high_watermark();
        VisibleEnd { offset: self.at_least_damaged(end.offset), position: view.position(base, end.file_pos) }
    }

    /// Where the batch begins that holds `offset`, which lies between high watermark and log end, in bytes: the bytes that a
    /// reader there will see are the difference to the [visible end](Log::visible_end), however many segments lie in between.
    /// The log end, where there is no such batch yet; `None` if it cannot be looked at, so that a reader wakes too early.
    pub(super) fn position_of(&self, view: &View, offset: Offset) -> Option<i64> {
        for segment in view.segments_from(offset) {
            if let Some((file_pos, _)) = segment.reader().ok()?.find(offset, segment.written()).ok()? {
                return Some(view.position(segment.base(), file_pos));
            }
        }
        let active = view.active();
        Some(view.position(active.base(), active.written().file_pos))
    }

    /// Whether another process appends: nobody here knows when.
    pub(crate) fn is_followed(&self) -> bool {
        self.following.is_some()
    }
}

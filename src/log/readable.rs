//! How much can be read, for those who wait until it is enough.

use super::log::Log;
use crate::types::Offset;

/// End of what readers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VisibleEnd {
    /// The high watermark.
    pub(crate) offset: Offset,
    /// The same place in bytes: see [`Log::position_of`].
    pub(crate) position: i64,
}

impl Log {
    /// End of what readers see now.
    pub(crate) fn visible_end(&self) -> VisibleEnd {
        let view = self.view.load();
        let (base, end) = view.high_watermark();
        VisibleEnd { offset: self.at_least_damaged(end.offset), position: view.position(base, end.file_pos) }
    }

    /// Where the batch begins that holds `offset` or what comes after it, in bytes: the bytes that a reader at `offset` can
    /// see are the difference to the [visible end](Log::visible_end), however many segments lie in between. Whether the
    /// batch can be seen already makes no difference. The log end, where there is no such batch yet.
    pub(crate) fn position_of(&self, offset: Offset) -> i64 {
        let view = self.view.load();
        // Most of those who wait have read everything.
        let (base, end) = view.high_watermark();
        if offset == end.offset {
            return view.position(base, end.file_pos);
        }
        for segment in view.segments_from(offset) {
            let written = segment.written();
            let Ok(reader) = segment.reader() else { continue };
            if let Ok(Some((file_pos, _))) = reader.find(offset, written) {
                return view.position(segment.base(), file_pos);
            }
        }
        let active = view.active();
        view.position(active.base(), active.written().file_pos)
    }

    /// Whether another process appends: nobody here knows when.
    pub(crate) fn is_followed(&self) -> bool {
        self.following.is_some()
    }
}

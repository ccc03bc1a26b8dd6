//! How far a segment goes, published without a lock.
//!
//! `tests/loom` runs this file in every interleaving.

use crate::sync::{AtomicU64, Ordering};
use crate::types::{FilePos, Offset};

/// A place between two batches: the offset that comes next, and the position where it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The offset after the last batch before this place.
    pub(crate) offset: Offset,
    /// Bytes before this place.
    pub(crate) file_pos: FilePos,
}

/// An [`End`] in one word, so that offset and position always belong together: the offset, minus the segment's base,
/// above the position. Both only grow, hence so does the word.
#[derive(Debug)]
pub(super) struct AtomicEnd(AtomicU64);

impl AtomicEnd {
    pub(super) fn new(base: Offset, end: End) -> Self {
        AtomicEnd(AtomicU64::new(pack(base, end)))
    }

    /// Release: whoever loads the new end sees the bytes and index entries before it.
    pub(super) fn raise(&self, base: Offset, end: End) {
        self.0.fetch_max(pack(base, end), Ordering::Release);
    }

    pub(super) fn load(&self, base: Offset) -> End {
        let word = self.0.load(Ordering::Acquire);
        End { offset: base + (word >> 32) as Offset, file_pos: word as FilePos }
    }
}

/// The next segment of a log that others wrote can begin further away than a word holds: what lies in between is a gap.
fn pack(base: Offset, end: End) -> u64 {
    let relative = (end.offset - base).clamp(0, Offset::from(u32::MAX)) as u64;
    (relative << 32) | u64::from(end.file_pos)
}

//! Whole batches of a segment, and a few such pieces in a row.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;

use crate::segment::{SegmentFile, SegmentPlace, SegmentReader};
use crate::sync::Arc;
use crate::types::FilePos;

/// Whole batches of one segment.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) segment: SliceOf,
    pub(super) range: Range<FilePos>,
}

/// What a slice is a part of.
#[derive(Clone, Debug)]
pub(super) enum SliceOf {
    /// A mapped segment.
    Mapped(Arc<SegmentReader>),
    /// What was read of a segment that is not mapped, and is not held open for it.
    Copied(Arc<Copied>),
}

/// A part of a segment.
#[derive(Debug)]
pub(super) struct Copied {
    place: Arc<SegmentPlace>,
    /// Where it begins in the file.
    from: FilePos,
    bytes: Vec<u8>,
}

impl SliceOf {
    /// The file, for an error.
    #[cold]
    pub(super) fn path(&self) -> PathBuf {
        match self {
            SliceOf::Mapped(segment) => segment.place().path(SegmentFile::Log),
            SliceOf::Copied(copied) => copied.place.path(SegmentFile::Log),
        }
    }
}

impl Slice {
    /// The bytes of `range`, which are whole batches: where they are mapped nothing is copied, else all of it at once.
    pub(super) fn of(segment: Arc<SegmentReader>, range: Range<FilePos>) -> io::Result<Self> {
        let segment = match segment.is_mapped() {
            true => SliceOf::Mapped(segment),
            false => {
                let bytes = segment.bytes(range.clone())?.into_owned();
                SliceOf::Copied(Arc::new(Copied { place: Arc::clone(segment.place()), from: range.start, bytes }))
            }
        };
        Ok(Slice { segment, range })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        let range = self.range.clone();
        let bytes = match &self.segment {
            SliceOf::Mapped(segment) => segment.mapped(range),
            SliceOf::Copied(copied) => {
                let [start, end] = [range.start, range.end].map(|at| at.saturating_sub(copied.from) as usize);
                copied.bytes.get(start..end)
            }
        };
        bytes.unwrap_or_default() // a fetch made it from published bytes
    }

    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    /// Bytes that keep the segment, or the copy, alive by themselves.
    pub(super) fn share(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

/// Pieces in offset order. Up to two, as many as an answer has that goes over the end of a segment, take no memory of
/// their own.
#[derive(Clone, Debug)]
pub(super) struct Pieces<T> {
    first: [Option<T>; 2],
    more: Vec<T>,
}

impl<T> Pieces<T> {
    pub(super) const fn new() -> Self {
        Pieces { first: [None, None], more: Vec::new() }
    }

    pub(super) fn push(&mut self, piece: T) {
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(piece),
            None => self.more.push(piece),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first[0].is_none()
    }

    pub(super) fn last(&self) -> Option<&T> {
        self.more.last().or(self.first[1].as_ref()).or(self.first[0].as_ref())
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        match self.first.get(index) {
            Some(place) => place.as_ref(),
            None => self.more.get(index - self.first.len()),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().flatten().chain(&self.more)
    }
}

impl<T> FromIterator<T> for Pieces<T> {
    fn from_iter<I: IntoIterator<Item = T>>(pieces: I) -> Self {
        let mut collected = Pieces::new();
        pieces.into_iter().for_each(|piece| collected.push(piece));
        collected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_stay_in_order() {
        let mut pieces = Pieces::new();
        assert!(pieces.is_empty());
        for count in 1..6 {
            pieces.push(count);
            assert!(pieces.iter().copied().eq(1..=count));
            assert!((0..=count).map_while(|index| pieces.get(index).copied()).eq(1..=count));
            assert!(pieces.iter().skip(1).copied().collect::<Pieces<_>>().iter().copied().eq(2..=count));
            assert!(!pieces.is_empty());
        }
    }
}

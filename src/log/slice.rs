//! Whole batches of a segment, and a few such pieces in a row.

use std::ops::Range;

use bytes::Bytes;

use crate::segment::SegmentReader;
use crate::sync::Arc;
use crate::types::FilePos;

/// Whole batches of one segment.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) segment: Arc<SegmentReader>,
    pub(super) range: Range<FilePos>,
}

impl Slice {
    pub(super) fn bytes(&self) -> &[u8] {
        self.segment.bytes(self.range.clone()).unwrap_or_default() // a fetch made it from published bytes
    }

    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    /// Bytes that keep the segment alive by themselves.
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

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().flatten().chain(&self.more)
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
            assert!(!pieces.is_empty());
        }
    }
}

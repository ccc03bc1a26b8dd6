//! Batches, as views into the bytes they lie in.

use std::fmt;
use std::ops::Deref;

use super::compress::Inflater;
use super::header::{BatchHeader, Compression, HEADER_LEN};
use super::malformed::Malformed;
use super::record::RawRecord;

/// A batch whose framing holds: it is all there, and its offsets are a range of possible ones.
///
/// The checksum and the records are as they are found until [`verify_crc`](Batch::verify_crc) and
/// [`check_records`](Batch::check_records) have looked at them.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    header: &'a BatchHeader,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at the beginning of `bytes`; `None` if they end before it does. Rule: records.md 10.
    ///
    /// A size or a format version that cannot be right is an error as soon as it can be seen, so a zero-filled tail is
    /// an error and not a torn batch. A size that is only too large cannot be told from a torn batch.
    #[inline]
    pub(crate) fn first(bytes: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let Some(header) = BatchHeader::first(bytes, bytes.len())? else { return Ok(None) };
        Ok(bytes.get(..header.size()).map(|bytes| Batch { header, bytes }))
    }

    /// Bytes that the batch takes, its header included.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The whole batch.
    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records as they are stored, compressed or not.
    #[inline]
    pub(crate) fn records_bytes(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// The records as [`check_records`](Batch::check_records) and `RecordIter` want them: where they lie if they are
    /// plain, else inflated, which replaces what was inflated before and takes no more than `limit` bytes.
    pub(crate) fn records_area<'b>(&self, inflater: &'b mut Inflater, limit: usize) -> Result<&'b [u8], Malformed>
    where
        'a: 'b,
    {
        match self.compression()? {
            Compression::None => Ok(self.records_bytes()),
            compression => {
                inflater.out.clear();
                inflater.inflate(compression, self.records_bytes(), limit)?;
                Ok(inflater.out.as_slice())
            }
        }
    }

    /// Compares the checksum in the header with that of the bytes.
    pub(crate) fn verify_crc(&self) -> Result<(), Malformed> {
        self.header.verify_crc(self.bytes)
    }

    /// Checks that `area`, the batch's records after inflating, is exactly as many well-formed records as the header
    /// says, with offsets that increase and stay within the batch. Rules: records.md 5 and 11.
    pub(crate) fn check_records(&self, area: &[u8]) -> Result<(), Malformed> {
        let count = self.record_count();
        let last_offset_delta = self.last_offset_delta();
        let (mut position, mut previous) = (0, -1);
        for index in 0..count {
            let (record, end) = match RawRecord::read_short(area, position) {
                Some(short) => short,
                None if area.len() <= position => return Err(Malformed::MissingRecords { found: index, count }),
                None => RawRecord::read_at(area, position, index)?,
            };
            record.check_headers(index)?;
            let delta = record.offset_delta;
            if delta <= previous || last_offset_delta < delta {
                return Err(Malformed::BadOffsetDelta { index, delta });
            }
            (position, previous) = (end, delta);
        }
        match area.len() - position {
            0 => Ok(()),
            left => Err(Malformed::TrailingBytes(left)),
        }
    }
}

/// What a batch says of itself.
impl Deref for Batch<'_> {
    type Target = BatchHeader;

    #[inline]
    fn deref(&self) -> &BatchHeader {
        self.header
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("offsets", &(self.base_offset()..=self.last_offset()))
            .field("record_count", &self.record_count())
            .field("attributes", &self.attributes())
            .field("size", &self.size())
            .finish()
    }
}

/// The batches in a range of bytes, each with its position in it.
///
/// It ends behind the last byte, at a batch that the bytes end before ([`torn`](Batches::torn)), or after an error,
/// whose position is that of the batch that is wrong. [`position`](Batches::position) is then the length of the part
/// that is whole.
#[derive(Clone)]
pub(crate) struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// Walks `bytes`, which begin with a batch.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Batches { bytes, position: 0, failed: false }
    }

    /// Position of the next batch, or of the first byte that is not part of a whole one.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Whether what is left is the beginning of a batch without its end.
    pub(crate) fn torn(&self) -> bool {
        self.position < self.bytes.len() && matches!(Batch::first(self.rest()), Ok(None))
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(usize, Batch<'a>), (usize, Malformed)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let position = self.position;
        match Batch::first(self.rest()) {
            Ok(Some(batch)) => {
                self.position += batch.size();
                Some(Ok((position, batch)))
            }
            Ok(None) => None,
            Err(malformed) => {
                self.failed = true;
                Some(Err((position, malformed)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::builder::{BatchBuilder, BatchFields};
    use super::super::golden;
    use super::super::header::add_to_sequence;
    use super::*;

    /// Golden example A with `value` written at `position`.
    fn patched<const N: usize>(position: usize, value: [u8; N]) -> Vec<u8> {
        let mut bytes = golden::a();
        bytes[position..position + N].copy_from_slice(&value);
        bytes
    }

    fn fault(bytes: &[u8]) -> Option<Malformed> {
        Batch::first(bytes).err()
    }

    #[test]
    fn a_size_below_a_header_is_an_error_as_soon_as_it_is_there() {
        for size in [i32::MIN, -1, 0, 14, 48] {
            let bytes = patched(8, size.to_be_bytes());
            assert_eq!(fault(&bytes), Some(Malformed::BadSize(size)));
            assert_eq!(fault(&bytes[..12]), Some(Malformed::BadSize(size)));
            assert_eq!(fault(&bytes[..11]), None);
        }
    }

    #[test]
    fn zeros_are_an_error_and_not_a_torn_batch() {
        for len in 0..100 {
            let expected = (12 <= len).then_some(Malformed::BadSize(0));
            assert_eq!(fault(&vec![0; len]), expected);
        }
    }

    #[test]
    fn a_size_beyond_the_end_looks_torn() {
        for size in [74, i32::MAX] {
            assert!(matches!(Batch::first(&patched(8, size.to_be_bytes())), Ok(None)));
        }
    }

    #[test]
    fn a_magic_other_than_2_is_an_error_as_soon_as_it_is_there() {
        for magic in [0, 1, 3, -1] {
            let bytes = patched(16, i8::to_be_bytes(magic));
            assert_eq!(fault(&bytes), Some(Malformed::BadMagic(magic)));
            assert_eq!(fault(&bytes[..17]), Some(Malformed::BadMagic(magic)));
            assert_eq!(fault(&bytes[..16]), None);
        }
    }

    #[test]
    fn offsets_must_be_a_range_with_an_offset_behind_it() {
        for base_offset in [-1, i64::MIN, i64::MAX, i64::MAX - 1] {
            let expected = Malformed::BadOffsets { base_offset, last_offset_delta: 1 };
            assert_eq!(fault(&patched(0, base_offset.to_be_bytes())), Some(expected));
        }
        let bytes = patched(0, (i64::MAX - 2).to_be_bytes());
        assert_eq!(Batch::first(&bytes).unwrap().unwrap().next_offset(), i64::MAX);
        let expected = Malformed::BadOffsets { base_offset: 42, last_offset_delta: -1 };
        assert_eq!(fault(&patched(23, (-1_i32).to_be_bytes())), Some(expected));
    }

    #[test]
    fn a_negative_record_count_is_an_error() {
        assert_eq!(fault(&patched(57, (-2_i32).to_be_bytes())), Some(Malformed::BadRecordCount(-2)));
    }

    fn check(bytes: &[u8]) -> Result<(), Malformed> {
        let batch = Batch::first(bytes).unwrap().unwrap();
        batch.check_records(batch.records_bytes())
    }

    #[test]
    fn exactly_as_many_records_as_the_header_says() {
        assert_eq!(check(&golden::a()), Ok(()));
        let more = patched(57, 3_i32.to_be_bytes());
        assert_eq!(check(&more), Err(Malformed::MissingRecords { found: 2, count: 3 }));
        assert_eq!(
            check(&patched(57, i32::MAX.to_be_bytes())),
            Err(Malformed::MissingRecords { found: 2, count: i32::MAX })
        );
        assert_eq!(check(&patched(57, 1_i32.to_be_bytes())), Err(Malformed::TrailingBytes(9)));
        assert_eq!(check(&patched(57, 0_i32.to_be_bytes())), Err(Malformed::TrailingBytes(24)));
    }

    #[test]
    fn offset_deltas_increase_within_the_batch() {
        // The second record's delta is byte 79.
        assert_eq!(check(&patched(79, [0x00])), Err(Malformed::BadOffsetDelta { index: 1, delta: 0 }));
        assert_eq!(check(&patched(79, [0x04])), Err(Malformed::BadOffsetDelta { index: 1, delta: 2 }));
        assert_eq!(check(&patched(64, [0x01])), Err(Malformed::BadOffsetDelta { index: 0, delta: -1 }));
    }

    #[test]
    fn a_record_is_exactly_as_long_as_it_says() {
        // The second record's length is byte 76, its value's 83, its number of headers byte 84.
        assert_eq!(check(&patched(76, [0x12])), Err(Malformed::BadRecord { index: 1 }));
        assert_eq!(check(&patched(76, [0x0f])), Err(Malformed::BadRecord { index: 1 }));
        assert_eq!(check(&patched(76, [0x00])), Err(Malformed::BadRecord { index: 1 }));
        assert_eq!(check(&patched(83, [0x04])), Err(Malformed::BadRecord { index: 1 }));
        assert_eq!(check(&patched(84, [0x02])), Err(Malformed::BadHeader { index: 1 }));
        assert_eq!(check(&patched(84, [0x01])), Err(Malformed::BadHeader { index: 1 }));
        // The first record's number of headers is byte 71, its header's key length byte 72.
        assert_eq!(check(&patched(71, [0x00])), Err(Malformed::BadRecord { index: 0 }));
        assert_eq!(check(&patched(72, [0x01])), Err(Malformed::BadHeader { index: 0 }), "a header key is never null");
    }

    #[test]
    fn any_negative_length_is_null() {
        // -2 instead of -1 as the second record's value length.
        let bytes = patched(83, [0x03]);
        assert_eq!(check(&bytes), Ok(()));
        let batch = Batch::first(&bytes).unwrap().unwrap();
        assert_eq!(super::super::RecordIter::new(batch, batch.records_bytes()).last().unwrap().value(), None);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(add_to_sequence(5, 3), 8);
        assert_eq!(add_to_sequence(i32::MAX, 0), i32::MAX);
        assert_eq!(add_to_sequence(i32::MAX, 1), 0);
        assert_eq!(add_to_sequence(i32::MAX, i32::MAX), i32::MAX - 1);
        let mut builder = BatchBuilder::new();
        builder.begin(BatchFields { base_sequence: i32::MAX - 1, last_offset_delta: Some(4), ..Default::default() });
        let bytes = builder.finish(Compression::None, None).unwrap();
        assert_eq!(Batch::first(bytes).unwrap().unwrap().last_sequence(), 2);
    }

    #[test]
    fn a_codec_that_does_not_exist_is_named() {
        let bytes = patched(22, [0x06]);
        let batch = Batch::first(&bytes).unwrap().unwrap();
        assert_eq!(batch.records_area(&mut Inflater::default(), 100), Err(Malformed::BadCodec(6)));
    }
}

//! A record without headers, ready to be appended: everything of it that is small is encoded.

use super::varint::{zigzag_32, zigzag_64};
use crate::types::Timestamp;

/// The small fields of a record, encoded, before it is known whether its batch has room for it.
///
/// The lengths of the fields are needed for the size of the record, and the size decides whether it goes into this
/// batch: encoding them first saves measuring them twice. It holds for the batch as it is now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    pub(super) timestamp: Timestamp,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    /// Bytes of the record.
    size: usize,
    /// Length, attributes and timestamp: at most 3, 1 and 2 bytes.
    head: Short,
    /// Offset and length of the key: at most 3 and 2 bytes.
    middle: Short,
    /// Length of the value: at most 3 bytes.
    value_len: Short,
}

impl Draft {
    /// Bytes of memory that writing takes behind the end of the record.
    pub(super) const ROOM: usize = Short::ROOM;

    /// `None` where a number takes more bytes than there are for it: with a key of 4 KiB or more, or a value of nearly
    /// 1 MiB.
    #[inline(always)]
    pub(super) fn new(
        (timestamp, timestamp_delta): (Timestamp, i64),
        offset_delta: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Option<Self> {
        let when = Short::two(u32::try_from(zigzag_64(timestamp_delta)).ok()?)?;
        let offset = Short::three(zigzag_32(offset_delta))?;
        let key_len = key.map_or(Some(Short::NULL), |key| Short::two(doubled(key)?))?;
        let value_len = value.map_or(Some(Short::NULL), |value| Short::three(doubled(value)?))?;
        let numbers = when.len() + offset.len() + key_len.len() + value_len.len();
        let body = 2 + numbers + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len); // 2: attributes, headers
        let len = Short::three(2 * u32::try_from(body).ok()?)?;
        let head = len.then(Short::ZERO).then(when);
        let middle = offset.then(key_len);
        Some(Draft { timestamp, timestamp_delta, offset_delta, size: body + len.len(), head, middle, value_len })
    }

    /// Bytes by which the batch becomes longer.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Appends the record whose key and value these are.
    #[inline(always)]
    pub(super) fn write(&self, key: Option<&[u8]>, value: Option<&[u8]>, out: &mut Vec<u8>) {
        out.reserve(self.size + Short::ROOM);
        self.head.write(out);
        match key {
            None => self.middle.then(self.value_len).write(out),
            Some(key) => {
                self.middle.write(out);
                out.extend_from_slice(key);
                self.value_len.write(out);
            }
        }
        out.extend_from_slice(value.unwrap_or_default());
        out.push(0); // no headers
    }
}

/// Twice the length, which is its zig-zag number.
#[inline(always)]
fn doubled(bytes: &[u8]) -> Option<u32> {
    u32::try_from(bytes.len()).ok()?.checked_mul(2)
}

/// Up to eight bytes that are appended with one store, whatever their number is.
#[derive(Clone, Copy, Debug)]
struct Short {
    /// The first byte is the least significant.
    word: u64,
    bits: u32,
}

impl Short {
    const ZERO: Short = Short { word: 0, bits: 8 };
    /// The length of what is not there: -1.
    const NULL: Short = Short { word: 1, bits: 8 };
    /// Bytes that a store takes behind the end.
    const ROOM: usize = 8;

    /// A number of one or two groups of seven bits.
    #[inline(always)]
    fn two(number: u32) -> Option<Self> {
        match number {
            0..0x80 => Some(Short { word: u64::from(number), bits: 8 }),
            0x80..0x4000 => Some(Short { word: u64::from(number & 0x7f | 0x80 | number << 1 & 0x7f00), bits: 16 }),
            _ => None,
        }
    }

    /// A number of one to three groups.
    #[inline(always)]
    fn three(number: u32) -> Option<Self> {
        match number {
            0x4000..0x20_0000 => {
                let groups = number & 0x7f | number << 1 & 0x7f00 | number << 2 & 0x7f_0000;
                Some(Short { word: u64::from(groups | 0x8080), bits: 24 })
            }
            _ => Short::two(number),
        }
    }

    /// Both, one behind the other. They have eight bytes together, at most.
    #[inline(always)]
    fn then(self, next: Short) -> Self {
        debug_assert!(self.bits + next.bits <= u64::BITS && self.bits < u64::BITS);
        Short { word: self.word | next.word << self.bits, bits: self.bits + next.bits }
    }

    #[inline(always)]
    fn len(self) -> usize {
        self.bits as usize / 8
    }

    #[inline(always)]
    fn write(self, out: &mut Vec<u8>) {
        let end = out.len() + self.len();
        out.extend_from_slice(&self.word.to_le_bytes());
        out.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::super::builder::BatchBuilder;

    /// Pushes the record both ways behind `count` others, and compares. Returns whether there was a draft.
    fn same(count: i32, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> bool {
        let (mut one, mut other) = (BatchBuilder::new(), BatchBuilder::new());
        for builder in [&mut one, &mut other] {
            if count > 0 {
                builder.push_at(count - 1, 1000, None, None, std::iter::empty());
            }
        }
        let Some(draft) = one.draft(timestamp, key, value) else { return false };
        let before = one.len();
        assert_eq!(draft.size(), other.record_size(timestamp, key, value, std::iter::empty()));
        let delta = one.push_draft(&draft, key, value);
        assert_eq!(one.len() - before, draft.size());
        assert_eq!(delta, other.push(timestamp, key, value, std::iter::empty()));
        let [one, other] = [&mut one, &mut other].map(|builder| builder.finish(Default::default(), None).unwrap());
        assert!(one == other, "{count} {timestamp} {:?} {:?}", key.map(<[u8]>::len), value.map(<[u8]>::len));
        true
    }

    #[test]
    fn a_draft_is_what_push_would_write() {
        let bytes = vec![7; 1 << 20];
        let of = |len: Option<usize>| len.map(|len| &bytes[..len]);
        let keys = [None, Some(0), Some(1), Some(63), Some(64), Some(100), Some(8191)];
        let values =
            [None, Some(0), Some(1), Some(50), Some(63), Some(64), Some(8100), Some(8191), Some(8192), Some(1 << 19)];
        for count in [0, 1, 63, 64, 65, 8191, 8192, 8193, 1_048_575] {
            for timestamp in [1000, 1001, 999, 1063, 1064, 936, 935, 9191, -7192] {
                for (key, value) in keys.iter().flat_map(|key| values.iter().map(move |value| (*key, *value))) {
                    assert!(same(count, timestamp, of(key), of(value)), "{count} {timestamp} {key:?} {value:?}");
                }
            }
        }
    }

    #[test]
    fn what_takes_more_bytes_has_no_draft() {
        let bytes = vec![7; 1 << 20];
        assert!(same(1, 9191, None, None) && !same(1, 9192, None, None) && !same(1, i64::MAX, None, None));
        assert!(same(1, -7192, None, None) && !same(1, -7193, None, None) && !same(1, i64::MIN, None, None));
        assert!(same(1_048_575, 1000, None, None) && !same(1_048_576, 1000, None, None));
        assert!(same(1, 1000, Some(&bytes[..8191]), None) && !same(1, 1000, Some(&bytes[..8192]), None));
        assert!(same(1, 1000, None, Some(&bytes[..1_048_567])) && !same(1, 1000, None, Some(&bytes[..1_048_568])));
        assert!(!same(1, 1000, None, Some(&bytes)));
    }
}

//! Kafka's primitive types as bytes, in both encodings. No record type is known here.
//!
//! | type | classic | flexible |
//! |---|---|---|
//! | i16, i32, i64 | fixed width, big-endian | same |
//! | uuid | 16 bytes | same |
//! | string | i16 length, UTF-8 | uvarint(length + 1), UTF-8 |
//! | bytes | i32 length | uvarint(length + 1) |
//! | array | i32 count | uvarint(count + 1) |
//! | null for the three above | length -1 | uvarint 0 |
//! | end of a struct | nothing | uvarint count, then for each tag uvarint tag, uvarint size, bytes |
//!
//! uvarint: 7 bits per byte, low ones first, at most 5 bytes. Tags ascend; a string has at most 32767 bytes in either
//! encoding, because Kafka's readers refuse longer ones.
//!
//! Reading borrows and never allocates, so that an announced length costs nothing before it has been compared with the
//! bytes that are there. Rule: wire.md 1.

use std::error::Error as StdError;
use std::fmt;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A value goes on beyond the last byte.
    UnexpectedEnd {
        /// Bytes that the value needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A length or count that the type cannot have: negative, too large, or null where null is not allowed.
    BadLength {
        /// The length; -1 for null.
        len: i64,
    },
    /// A string is not UTF-8.
    NotUtf8,
    /// A uvarint goes on after 5 bytes or does not fit into 32 bits.
    BadVarint,
    /// A tag is not larger than the one before it.
    TagOrder {
        /// The tag.
        tag: u32,
    },
    /// The value is complete, and there are bytes after it.
    TrailingBytes {
        /// Their number.
        left: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::UnexpectedEnd { needed, left } => write!(f, "{needed} bytes needed where {left} are left"),
            Malformed::BadLength { len } => write!(f, "a length or count of {len}"),
            Malformed::NotUtf8 => f.write_str("a string that is not UTF-8"),
            Malformed::BadVarint => f.write_str("a varint of more than 32 bits"),
            Malformed::TagOrder { tag } => write!(f, "tag {tag} out of order"),
            Malformed::TrailingBytes { left } => write!(f, "{left} bytes after the end"),
        }
    }
}

impl StdError for Malformed {}

/// A string or byte array is longer than its type allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    /// Its length in bytes, or its count of elements.
    pub(crate) len: usize,
    /// The largest possible one.
    pub(crate) limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a length of {} where {} is the limit", self.len, self.limit)
    }
}

impl StdError for TooLong {}

/// Which of the two encodings strings, bytes, arrays and structs have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Fixed-width lengths, no tags.
    Classic,
    /// Varint lengths, and tags at the end of each struct.
    Flexible,
}

/// Takes values off the front of a slice. After an error, what it yields next has no meaning.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
    encoding: Encoding,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their beginning, with the classic encoding.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { left: bytes, encoding: Encoding::Classic }
    }

    /// Switches the encoding of what follows: which one it is often depends on a version that has to be read first.
    pub(crate) fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    /// A string that cannot be null.
    pub(crate) fn string(&mut self) -> Result<&'a str, Malformed> {
        self.nullable_string()?.ok_or(NULL)
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<&'a str>, Malformed> {
        let len = match self.encoding {
            Encoding::Classic => i64::from(self.i16()?),
            Encoding::Flexible => self.compact_len()?,
        };
        match not_null(len)? {
            None => Ok(None),
            Some(len_too_long) if STRING_LEN_MAX < len_too_long => Err(Malformed::BadLength { len }),
            Some(len) => std::str::from_utf8(self.take(len)?).map(Some).map_err(|_| Malformed::NotUtf8),
        }
    }

    /// Bytes that cannot be null.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.long_len()?;
        self.take(not_null(len)?.ok_or(NULL)?)
    }

    /// The count of an array that cannot be null; its elements follow. Nobody vouches for the count: read elements
    /// until they are all there or one fails, and reserve nothing.
    pub(crate) fn array_count(&mut self) -> Result<usize, Malformed> {
        let count = self.long_len()?;
        not_null(count)?.ok_or(NULL)
    }

    /// The end of a struct: hands each tag with its bytes to `field`, which ignores the tags it does not know.
    pub(crate) fn end_of_struct(
        &mut self,
        mut field: impl FnMut(u32, &'a [u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if self.encoding == Encoding::Classic {
            return Ok(());
        }
        let mut lowest = 0;
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            if u64::from(tag) < lowest {
                return Err(Malformed::TagOrder { tag });
            }
            lowest = u64::from(tag) + 1;
            let size = self.uvarint()?;
            field(tag, self.take(size as usize)?)?;
        }
        Ok(())
    }

    /// Refuses bytes that are left.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(Malformed::TrailingBytes { left }),
        }
    }

    /// Length of bytes or count of an array; -1 for null.
    fn long_len(&mut self) -> Result<i64, Malformed> {
        match self.encoding {
            Encoding::Classic => self.i32().map(i64::from),
            Encoding::Flexible => self.compact_len(),
        }
    }

    fn compact_len(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from(self.uvarint()?) - 1)
    }

    fn uvarint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| Malformed::BadVarint);
            }
        }
        Err(Malformed::BadVarint)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, left) = self.left.split_first_chunk().ok_or(self.too_short(N))?;
        self.left = left;
        Ok(*array)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, left) = self.left.split_at_checked(len).ok_or(self.too_short(len))?;
        self.left = left;
        Ok(taken)
    }

    fn too_short(&self, needed: usize) -> Malformed {
        Malformed::UnexpectedEnd { needed, left: self.left.len() }
    }
}

/// The bytes of a tagged field of type uuid.
pub(crate) fn uuid_field(bytes: &[u8]) -> Result<[u8; 16], Malformed> {
    bytes.try_into().map_err(|_| Malformed::BadLength { len: bytes.len() as i64 })
}

/// -1 is null; no other negative length means anything.
fn not_null(len: i64) -> Result<Option<usize>, Malformed> {
    match len {
        -1 => Ok(None),
        _ => usize::try_from(len).map(Some).map_err(|_| Malformed::BadLength { len }),
    }
}

/// Null where null is not allowed.
const NULL: Malformed = Malformed::BadLength { len: -1 };

/// The longest string, in bytes: an i16 in the classic encoding, and Kafka's check in the flexible one.
const STRING_LEN_MAX: usize = i16::MAX as usize;

/// Puts values at the end of a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'v> {
    out: &'v mut Vec<u8>,
    encoding: Encoding,
}

impl<'v> Writer<'v> {
    /// Appends to `out`.
    pub(crate) fn new(out: &'v mut Vec<u8>, encoding: Encoding) -> Self {
        Writer { out, encoding }
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn string(&mut self, value: &str) -> Result<(), TooLong> {
        let len = within(value.len(), STRING_LEN_MAX)?;
        match self.encoding {
            // `within` has seen to it that the length fits.
            Encoding::Classic => self.i16(len as i16),
            Encoding::Flexible => self.uvarint(len + 1),
        }
        self.out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    pub(crate) fn nullable_string(&mut self, value: Option<&str>) -> Result<(), TooLong> {
        match (value, self.encoding) {
            (Some(value), _) => return self.string(value),
            (None, Encoding::Classic) => self.i16(-1),
            (None, Encoding::Flexible) => self.uvarint(0),
        }
        Ok(())
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> Result<(), TooLong> {
        self.array_count(value.len())?;
        self.out.extend_from_slice(value);
        Ok(())
    }

    /// The count of an array; its elements must follow.
    pub(crate) fn array_count(&mut self, count: usize) -> Result<(), TooLong> {
        let count = within(count, i32::MAX as usize)?;
        match self.encoding {
            Encoding::Classic => self.i32(count.cast_signed()),
            Encoding::Flexible => self.uvarint(count + 1),
        }
        Ok(())
    }

    /// The end of a struct, with its tagged fields in ascending order of their tags. The classic encoding has no room
    /// for tags and drops them.
    pub(crate) fn end_of_struct(&mut self, tags: &[(u32, &[u8])]) -> Result<(), TooLong> {
        if self.encoding == Encoding::Classic {
            return Ok(());
        }
        let count = within(tags.len(), i32::MAX as usize)?;
        self.uvarint(count);
        for (tag, bytes) in tags {
            let size = within(bytes.len(), i32::MAX as usize)?;
            self.uvarint(*tag);
            self.uvarint(size);
            self.out.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn uvarint(&mut self, mut value: u32) {
        while 0x80 <= value {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

/// `len` if it does not exceed `limit`, which is at most `i32::MAX`.
fn within(len: usize, limit: usize) -> Result<u32, TooLong> {
    match u32::try_from(len) {
        Ok(fitting) if len <= limit => Ok(fitting),
        _ => Err(TooLong { len, limit }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(encoding: Encoding, write: impl FnOnce(&mut Writer<'_>) -> Result<(), TooLong>) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut Writer::new(&mut bytes, encoding)).unwrap();
        bytes
    }

    fn flexible(bytes: &[u8]) -> Reader<'_> {
        let mut reader = Reader::new(bytes);
        reader.set_encoding(Encoding::Flexible);
        reader
    }

    #[test]
    fn uvarints_have_seven_bits_per_byte() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (300, &[0xac, 0x02]),
            (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            Writer::new(&mut out, Encoding::Flexible).uvarint(value);
            assert_eq!(out, bytes);
            assert_eq!(flexible(bytes).uvarint(), Ok(value));
        }
        assert_eq!(flexible(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint(), Err(Malformed::BadVarint));
        assert_eq!(flexible(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).uvarint(), Err(Malformed::BadVarint));
        assert_eq!(flexible(&[0x80]).uvarint(), Err(Malformed::UnexpectedEnd { needed: 1, left: 0 }));
    }

    #[test]
    fn null_and_empty_differ() {
        assert_eq!(written(Encoding::Classic, |w| w.nullable_string(None)), [0xff, 0xff]);
        assert_eq!(written(Encoding::Classic, |w| w.nullable_string(Some(""))), [0, 0]);
        assert_eq!(written(Encoding::Flexible, |w| w.nullable_string(None)), [0]);
        assert_eq!(written(Encoding::Flexible, |w| w.nullable_string(Some(""))), [1]);
        assert_eq!(Reader::new(&[0xff, 0xff]).string(), Err(NULL));
        assert_eq!(flexible(&[0]).string(), Err(NULL));
        assert_eq!(flexible(&[0]).bytes(), Err(NULL));
        assert_eq!(Reader::new(&[0xff; 4]).array_count(), Err(NULL));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        assert_eq!(Reader::new(&[0x80, 0]).string(), Err(Malformed::BadLength { len: -32768 }));
        assert_eq!(Reader::new(&[0x80, 0, 0, 0]).bytes(), Err(Malformed::BadLength { len: i64::from(i32::MIN) }));
        // 32768 bytes, one more than a string may have, although they are there.
        let mut long = vec![0x81, 0x80, 0x02];
        long.resize(3 + 32768, b'x');
        assert_eq!(flexible(&long).string(), Err(Malformed::BadLength { len: 32768 }));
        assert_eq!(Reader::new(&[0, 2, b'x']).string(), Err(Malformed::UnexpectedEnd { needed: 2, left: 1 }));
        assert_eq!(Reader::new(&[0, 1, 0xff]).string(), Err(Malformed::NotUtf8));
    }

    #[test]
    fn the_longest_string_can_be_written_and_no_longer_one() {
        let longest = "x".repeat(32767);
        for encoding in [Encoding::Classic, Encoding::Flexible] {
            let bytes = written(encoding, |w| w.string(&longest));
            let mut reader = Reader::new(&bytes);
            reader.set_encoding(encoding);
            assert_eq!(reader.string(), Ok(longest.as_str()));
            let mut out = Vec::new();
            let refused = Writer::new(&mut out, encoding).string(&format!("{longest}x"));
            assert_eq!(refused, Err(TooLong { len: 32768, limit: 32767 }));
        }
    }

    #[test]
    fn tags_ascend_and_unknown_ones_are_skipped() {
        let bytes = written(Encoding::Flexible, |w| w.end_of_struct(&[(0, b"ab"), (7, b""), (u32::MAX, b"c")]));
        let mut seen = Vec::new();
        let mut reader = flexible(&bytes);
        let collected = reader.end_of_struct(|tag, bytes| {
            seen.push((tag, bytes));
            Ok(())
        });
        assert_eq!(collected, Ok(()));
        reader.end().unwrap();
        assert_eq!(seen, [(0, &b"ab"[..]), (7, b""), (u32::MAX, b"c")]);
        let out_of_order = |bytes| flexible(bytes).end_of_struct(|_, _| Ok(()));
        assert_eq!(out_of_order(&[2, 1, 0, 0, 0]), Err(Malformed::TagOrder { tag: 0 }));
        assert_eq!(out_of_order(&[2, 1, 0, 1, 0]), Err(Malformed::TagOrder { tag: 1 }));
        assert!(written(Encoding::Classic, |w| w.end_of_struct(&[(0, b"ab")])).is_empty());
        Reader::new(&[]).end_of_struct(|_, _| Err(Malformed::NotUtf8)).unwrap();
    }

    #[test]
    fn bytes_that_are_left_are_refused() {
        assert_eq!(Reader::new(&[1, 2]).end(), Err(Malformed::TrailingBytes { left: 2 }));
    }

    #[test]
    fn errors_are_one_phrase() {
        assert_eq!(Malformed::UnexpectedEnd { needed: 4, left: 1 }.to_string(), "4 bytes needed where 1 are left");
        assert_eq!(TooLong { len: 9, limit: 8 }.to_string(), "a length of 9 where 8 is the limit");
    }

    proptest! {
        #[test]
        fn values_make_the_round_trip(
            text in ".{0,300}",
            nullable in proptest::option::of(".{0,9}"),
            blob in proptest::collection::vec(any::<u8>(), 0..300),
            (short, int, long) in any::<(i16, i32, i64)>(),
            count in 0..=i32::MAX as usize,
            is_flexible in any::<bool>(),
        ) {
            let encoding = if is_flexible { Encoding::Flexible } else { Encoding::Classic };
            let bytes = written(encoding, |w| {
                w.string(&text)?;
                w.nullable_string(nullable.as_deref())?;
                w.bytes(&blob)?;
                w.i16(short);
                w.i32(int);
                w.i64(long);
                w.array_count(count)?;
                w.end_of_struct(&[])
            });
            let mut reader = Reader::new(&bytes);
            reader.set_encoding(encoding);
            prop_assert_eq!(reader.string(), Ok(text.as_str()));
            prop_assert_eq!(reader.nullable_string(), Ok(nullable.as_deref()));
            prop_assert_eq!(reader.bytes(), Ok(&*blob));
            prop_assert_eq!((reader.i16(), reader.i32(), reader.i64()), (Ok(short), Ok(int), Ok(long)));
            prop_assert_eq!(reader.array_count(), Ok(count));
            prop_assert_eq!(reader.end_of_struct(|_, _| Ok(())), Ok(()));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}

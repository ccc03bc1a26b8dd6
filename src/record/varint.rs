//! Zig-zag integers of variable length (records.md 4, `ByteUtils`).
//!
//! A signed number is mapped to an unsigned one, small magnitudes first (0, -1, 1, -2, ...), and written in groups of
//! seven bits, least significant first; the high bit of each byte says that more follow. A `varint` (32 bits) takes 1
//! to 5 bytes, a `varlong` (64 bits) 1 to 10. Reading accepts encodings with needless zero groups; writing emits the
//! shortest, because the lengths stored in front of records are computed from the shortest.

use super::malformed::Malformed;

const VARINT_BYTES_MAX: u32 = 5;
const VARLONG_BYTES_MAX: u32 = 10;

/// Reads a 32-bit number and moves `input` behind it. After an error `input` is where it was.
#[inline(always)]
pub(crate) fn read_varint(input: &mut &[u8]) -> Result<i32, Malformed> {
    // One and two bytes are inline: they cover lengths up to 8191 and deltas up to 4096 * 2.
    match **input {
        [first, ref rest @ ..] if first < 0x80 => {
            *input = rest;
            Ok(unzigzag_32(u32::from(first)))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *input = rest;
            Ok(unzigzag_32(u32::from(first & 0x7f) | u32::from(second) << 7))
        }
        // Bits beyond the 32nd fall off, as they do in Kafka.
        _ => read_groups(input, VARINT_BYTES_MAX).map(|groups| unzigzag_32(groups as u32)),
    }
}

/// Reads a 64-bit number and moves `input` behind it. After an error `input` is where it was.
#[inline(always)]
pub(crate) fn read_varlong(input: &mut &[u8]) -> Result<i64, Malformed> {
    match **input {
        [first, ref rest @ ..] if first < 0x80 => {
            *input = rest;
            Ok(unzigzag_64(u64::from(first)))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *input = rest;
            Ok(unzigzag_64(u64::from(first & 0x7f) | u64::from(second) << 7))
        }
        _ => read_groups(input, VARLONG_BYTES_MAX).map(unzigzag_64),
    }
}

/// Numbers of one or two bytes, out of one word of eight bytes: whoever makes it takes no more out than the word has.
///
/// Both lengths are branches and no arithmetic on purpose: neighbouring records have numbers of the same lengths, so the
/// processor guesses where the next one begins instead of waiting for it.
pub(super) struct ShortReader {
    /// The bytes from `position` on, least significant first.
    word: u64,
    /// Where the next number begins.
    pub(super) position: usize,
}

impl ShortReader {
    /// Reads the word at `position`; `None` if it is not all there.
    #[inline(always)]
    pub(super) fn new(bytes: &[u8], position: usize) -> Option<Self> {
        let word = bytes.get(position..)?.first_chunk()?;
        Some(ShortReader { word: u64::from_le_bytes(*word), position })
    }

    /// The next number; `None` if it takes more than two bytes.
    #[inline(always)]
    pub(super) fn number(&mut self) -> Option<i32> {
        self.groups().map(unzigzag_32)
    }

    /// The next number, if it is not negative.
    #[inline(always)]
    pub(super) fn length(&mut self) -> Option<usize> {
        let groups = self.groups()?;
        (groups & 1 == 0).then_some(groups as usize >> 1)
    }

    #[inline(always)]
    pub(super) fn skip_byte(&mut self) {
        self.word >>= 8;
        self.position += 1;
    }

    #[inline(always)]
    fn groups(&mut self) -> Option<u32> {
        let low = self.word as u32;
        if low & 0x80 == 0 {
            self.word >>= 8;
            self.position += 1;
            Some(low & 0x7f)
        } else if low & 0x8000 == 0 {
            self.word >>= 16;
            self.position += 2;
            Some(low & 0x7f | low >> 1 & 0x3f80)
        } else {
            None
        }
    }
}

/// Appends a 32-bit number.
#[inline]
pub(crate) fn write_varint(value: i32, out: &mut Vec<u8>) {
    write_groups(u64::from(zigzag_32(value)), out);
}

/// Appends a 64-bit number.
#[inline]
pub(crate) fn write_varlong(value: i64, out: &mut Vec<u8>) {
    write_groups(zigzag_64(value), out);
}

/// Number of bytes, 1 to 5, that [`write_varint`] appends.
#[inline]
pub(crate) fn varint_size(value: i32) -> usize {
    groups(u64::from(zigzag_32(value)))
}

/// Number of bytes, 1 to 10, that [`write_varlong`] appends.
#[inline]
pub(crate) fn varlong_size(value: i64) -> usize {
    groups(zigzag_64(value))
}

/// Bits beyond the 64th fall off; more than `bytes_max` bytes are an error.
#[inline(never)]
fn read_groups(input: &mut &[u8], bytes_max: u32) -> Result<u64, Malformed> {
    let mut rest = *input;
    let mut value = 0;
    for group in 0..bytes_max {
        let (&byte, tail) = rest.split_first().ok_or(Malformed::BadVarint)?;
        rest = tail;
        value |= u64::from(byte & 0x7f) << (7 * group);
        if byte < 0x80 {
            *input = rest;
            return Ok(value);
        }
    }
    Err(Malformed::BadVarint)
}

#[inline]
fn write_groups(mut value: u64, out: &mut Vec<u8>) {
    while 0x80 <= value {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Number of 7-bit groups: bits / 7 rounded up, at least one.
#[inline]
fn groups(value: u64) -> usize {
    (value | 1).ilog2() as usize / 7 + 1
}

/// The unsigned number that stands for a signed one.
#[inline]
pub(super) fn zigzag_32(value: i32) -> u32 {
    (value << 1 ^ value >> 31) as u32
}

/// As [`zigzag_32`].
#[inline]
pub(super) fn zigzag_64(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

#[inline]
fn unzigzag_32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

#[inline]
fn unzigzag_64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VECTORS: [(i64, &[u8]); 12] = [
        (0, &[0x00]),
        (-1, &[0x01]),
        (1, &[0x02]),
        (-2, &[0x03]),
        (63, &[0x7e]),
        (-64, &[0x7f]),
        (64, &[0x80, 0x01]),
        (-65, &[0x81, 0x01]),
        (150, &[0xac, 0x02]),
        (300, &[0xd8, 0x04]),
        (i32::MAX as i64, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        (i32::MIN as i64, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];

    const LONG_VECTORS: [(i64, &[u8]); 3] = [
        (1_700_000_000_000, &[0x80, 0xa0, 0xab, 0xfe, 0xf9, 0x62]),
        (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
    ];

    #[test]
    fn vectors_of_the_specification() {
        for (value, bytes) in VECTORS {
            let short = i32::try_from(value).unwrap();
            let mut out = Vec::new();
            write_varint(short, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(varint_size(short), bytes.len());
            assert_eq!(read_varint(&mut &*out), Ok(short));
        }
        for (value, bytes) in VECTORS.into_iter().chain(LONG_VECTORS) {
            let mut out = Vec::new();
            write_varlong(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(varlong_size(value), bytes.len());
            assert_eq!(read_varlong(&mut &*out), Ok(value));
        }
    }

    #[test]
    fn over_long_is_malformed() {
        assert_eq!(read_varint(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..]), Err(Malformed::BadVarint));
        let mut eleven = [0x80; 11];
        eleven[10] = 0;
        assert_eq!(read_varlong(&mut &eleven[..]), Err(Malformed::BadVarint));
    }

    #[test]
    fn not_minimal_is_accepted() {
        for bytes in [&[0x82, 0x00][..], &[0x82, 0x80, 0x00], &[0x82, 0x80, 0x80, 0x80, 0x00]] {
            assert_eq!(read_varint(&mut &*bytes), Ok(1));
            assert_eq!(read_varlong(&mut &*bytes), Ok(1));
        }
        assert_eq!(read_varlong(&mut &[0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..]), Ok(1));
    }

    #[test]
    fn cut_short_is_malformed_and_moves_nothing() {
        for (_, bytes) in VECTORS.into_iter().chain(LONG_VECTORS) {
            for len in 0..bytes.len() {
                let mut input = &bytes[..len];
                assert_eq!(read_varlong(&mut input), Err(Malformed::BadVarint));
                assert_eq!(read_varint(&mut input), Err(Malformed::BadVarint));
                assert_eq!(input.len(), len);
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(value: i64, shift in 0u32..64, tail: [u8; 2]) {
            let long = value >> shift;
            let mut out = Vec::new();
            write_varlong(long, &mut out);
            prop_assert_eq!(varlong_size(long), out.len());
            out.extend(tail);
            let mut input = &*out;
            prop_assert_eq!(read_varlong(&mut input), Ok(long));
            prop_assert_eq!(input, &tail[..]);

            let short = long as i32;
            out.clear();
            write_varint(short, &mut out);
            prop_assert_eq!(varint_size(short), out.len());
            prop_assert_eq!(read_varint(&mut &*out), Ok(short));
        }
    }
}

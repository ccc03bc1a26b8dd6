//! Records, as views into the bytes of their batch.
//!
//! ```text
//! varint  length         bytes behind it
//! i8      attributes     0
//! varlong timestampDelta against the batch's base timestamp
//! varint  offsetDelta    against the batch's base offset
//! varint  keyLength      negative: null        then the key
//! varint  valueLength    negative: null        then the value
//! varint  headerCount    then, for each: varint length, key, varint length (negative: null), value
//! ```

use std::borrow::Cow;
use std::fmt;
use std::iter::FusedIterator;

use super::batch::Batch;
use super::malformed::Malformed;
use super::varint::{ShortReader, read_varint, read_varlong};
use crate::types::{Offset, Timestamp, TimestampType};

/// A record of a log, borrowed from the bytes that were read.
///
/// It is a view of a few words: copying it copies no key and no value, and asking for one costs nothing.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    offset: Offset,
    timestamp: Timestamp,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    /// Everything behind the value: the number of headers and the headers.
    headers: &'a [u8],
    size: usize,
}

impl<'a> Record<'a> {
    /// The record's number within its partition.
    #[inline]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Milliseconds since the Unix epoch: when the record was made or, in a topic with
    /// [`LogAppendTime`](TimestampType::LogAppendTime), when it was appended. -1 if its producer gave none.
    #[inline]
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The key. `None` is a record without a key; `Some` of no bytes is one with an empty key.
    #[inline]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value. `None` is a tombstone, which in a compacted topic deletes the key; `Some` of no bytes is an empty
    /// value, which does not.
    #[inline]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The headers, in the order in which they were written. Keys may repeat.
    #[inline]
    pub fn headers(&self) -> Headers<'a> {
        Headers::parse(self.headers).unwrap_or(Headers { rest: &[], left: 0 })
    }

    /// Bytes that the record takes in its batch before compression, its own length prefix included.
    #[inline]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether its headers are well formed.
    #[inline(always)]
    pub(crate) fn has_headers(&self) -> bool {
        self.headers == [0] || self.has_some_headers()
    }

    #[inline(never)]
    fn has_some_headers(&self) -> bool {
        let Some(mut headers) = Headers::parse(self.headers) else { return false };
        headers.by_ref().for_each(drop);
        headers.left == 0 && headers.rest.is_empty()
    }

    /// The number of headers and the headers, as they lie in the batch.
    pub(crate) fn headers_bytes(&self) -> &'a [u8] {
        self.headers
    }
}

/// Two records are equal if a reader cannot tell them apart.
impl PartialEq for Record<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.offset == other.offset
            && self.timestamp == other.timestamp
            && self.key == other.key
            && self.value == other.value
            && self.headers().eq(other.headers())
    }
}

impl Eq for Record<'_> {}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("key", &self.key.map(<[u8]>::escape_ascii).map(Quoted))
            .field("value", &self.value.map(<[u8]>::escape_ascii).map(Quoted))
            .field("headers", &self.headers())
            .finish()
    }
}

/// A header of a record: a name and a value that its producer attached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// The name. Bytes that are not UTF-8, which Kafka's clients do not write, come out as U+FFFD; only then is
    /// anything copied.
    #[inline]
    pub fn key(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }

    /// The name as it was written.
    #[inline]
    pub fn key_bytes(&self) -> &'a [u8] {
        self.key
    }

    /// The value. Null (`None`) and empty are different values.
    #[inline]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.map(<[u8]>::escape_ascii).map(Quoted);
        f.debug_struct("Header").field("key", &self.key()).field("value", &value).finish()
    }
}

/// The headers of a record: an iterator that reads one at a time and allocates nothing.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Headers<'a> {
    /// The first header with the name `key`, if there is one.
    pub fn get(mut self, key: &str) -> Option<Header<'a>> {
        self.find(|header| header.key_bytes() == key.as_bytes())
    }

    /// Reads the number of headers; `None` if it cannot be right.
    #[inline]
    fn parse(mut bytes: &'a [u8]) -> Option<Self> {
        let count = read_varint(&mut bytes).ok()?;
        let left = usize::try_from(count).ok()?;
        // A header takes two bytes or more, Kafka asks for one.
        (left <= bytes.len()).then_some(Headers { rest: bytes, left })
    }

    fn read(rest: &mut &'a [u8]) -> Option<Header<'a>> {
        let key = read_bytes(rest)??;
        let value = read_bytes(rest)?;
        Some(Header { key, value })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        let left = self.left.checked_sub(1)?;
        let header = Self::read(&mut self.rest)?;
        self.left = left;
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// Prints bytes as a string with escapes.
struct Quoted<'a>(std::slice::EscapeAscii<'a>);

impl fmt::Debug for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The records of a batch whose framing [`Batch::check_records`] has accepted.
///
/// It yields no `Result`, because there is nothing left that can fail; over bytes that were not checked, or changed
/// since, it ends early. It can be taken apart into [`position`](RecordIter::position) and
/// [`left`](RecordIter::left) and put together again, so that a reader may stop in the middle of a batch.
#[derive(Clone, Debug)]
pub(crate) struct RecordIter<'a> {
    area: &'a [u8],
    position: usize,
    left: usize,
    base_offset: Offset,
    base_timestamp: Timestamp,
    /// All ones with CreateTime; 0 with LogAppendTime, where the deltas do not count.
    delta_mask: i64,
}

impl<'a> RecordIter<'a> {
    /// All records of `batch`, whose records are at the beginning of `area`: inflated if the batch is compressed.
    pub(crate) fn new(batch: Batch<'_>, area: &'a [u8]) -> Self {
        Self::resume(batch, area, 0, usize::try_from(batch.record_count()).unwrap_or(0))
    }

    /// No records.
    pub(crate) fn empty() -> Self {
        RecordIter { area: &[], position: 0, left: 0, base_offset: 0, base_timestamp: 0, delta_mask: 0 }
    }

    /// As [`new`](Self::new), with the times that the records were made at, also where the batch says that the log has
    /// stamped them.
    pub(crate) fn with_create_time(batch: Batch<'_>, area: &'a [u8]) -> Self {
        RecordIter { base_timestamp: batch.base_timestamp(), delta_mask: -1, ..Self::new(batch, area) }
    }

    /// Goes on `position` bytes into `area`, with `left` records to come.
    pub(crate) fn resume(batch: Batch<'_>, area: &'a [u8], position: usize, left: usize) -> Self {
        let (base_timestamp, delta_mask) = match batch.timestamp_type() {
            TimestampType::CreateTime => (batch.base_timestamp(), -1),
            TimestampType::LogAppendTime => (batch.max_timestamp(), 0),
        };
        RecordIter { area, position, left, base_offset: batch.base_offset(), base_timestamp, delta_mask }
    }

    /// Bytes of the area that the records so far have taken.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Whether there is nothing behind the last record, and nothing missing.
    #[inline]
    pub(crate) fn is_at_end(&self) -> bool {
        self.left == 0 && self.position == self.area.len()
    }

    /// All bytes of the records.
    pub(crate) fn area(&self) -> &'a [u8] {
        self.area
    }

    /// Number of records still to come.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.left
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Record<'a>;

    // In the caller's loop a record stays in registers, and what nobody asks for is not computed: half the time.
    #[inline(always)]
    fn next(&mut self) -> Option<Record<'a>> {
        let left = self.left.checked_sub(1)?;
        let (raw, end) = match RawRecord::read_short(self.area, self.position) {
            Some(short) => short,
            None => RawRecord::read_at(self.area, self.position, 0).ok()?,
        };
        let size = end - self.position;
        self.position = end;
        self.left = left;
        Some(Record {
            offset: self.base_offset.wrapping_add(i64::from(raw.offset_delta)),
            timestamp: self.base_timestamp.wrapping_add(raw.timestamp_delta & self.delta_mask),
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
            size,
        })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl FusedIterator for RecordIter<'_> {}

/// A record's fields as they are stored.
pub(super) struct RawRecord<'a> {
    pub(super) offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// Reads all but the headers of the record at `position`, and returns where the next one begins. `index` is for the
    /// error.
    #[inline(never)]
    pub(super) fn read_at(area: &'a [u8], position: usize, index: i32) -> Result<(Self, usize), Malformed> {
        let misfit = Malformed::BadRecord { index };
        let mut rest = area.get(position..).unwrap_or_default();
        let length = read_varint(&mut rest)?;
        let length = usize::try_from(length).map_err(|_| misfit)?;
        let (mut body, tail) = rest.split_at_checked(length).ok_or(misfit)?;
        let (_attributes, fields) = body.split_first().ok_or(misfit)?;
        body = fields;
        let timestamp_delta = read_varlong(&mut body)?;
        let offset_delta = read_varint(&mut body)?;
        let key = read_bytes(&mut body).ok_or(misfit)?;
        let value = read_bytes(&mut body).ok_or(misfit)?;
        let end = area.len() - tail.len();
        Ok((RawRecord { offset_delta, timestamp_delta, key, value, headers: body }, end))
    }

    /// The same where all lengths and deltas take one or two bytes each and the record is not the last few bytes of
    /// `area`: nearly always. `None` says nothing but that [`read_at`](Self::read_at) has to look.
    ///
    /// Each group of numbers comes out of one word that was read with one look at the bounds. No sum can overflow: no
    /// summand but `position` is above 8191.
    #[inline(always)]
    pub(super) fn read_short(area: &'a [u8], position: usize) -> Option<(Self, usize)> {
        let mut at = ShortReader::new(area, position)?;
        let length = at.length()?;
        let end = at.position + length;
        at.skip_byte(); // the attributes
        let timestamp_delta = at.number()?;
        let offset_delta = at.number()?;
        // Seven bytes at most so far, of the first word.
        let mut at = ShortReader::new(area, at.position)?;
        let key = match at.number()? {
            length if length < 0 => None,
            length => {
                let start = at.position;
                at = ShortReader::new(area, start + length as usize)?;
                Some((start, at.position))
            }
        };
        let value = match at.number()? {
            length if length < 0 => None,
            length => Some((at.position, at.position + length as usize)),
        };
        let headers_from = value.map_or(at.position, |(_, end)| end);
        // Sums that grow from one to the next, so the last one holds for all.
        let headers = area.get(headers_from..end)?;
        let slice = |range: Option<(usize, usize)>| match range {
            Some((start, end)) => area.get(start..end).map(Some),
            None => Some(None),
        };
        let (key, value) = (slice(key)?, slice(value)?);
        Some((RawRecord { offset_delta, timestamp_delta: i64::from(timestamp_delta), key, value, headers }, end))
    }

    /// Checks that the headers take up exactly the rest of the body. `index` is for the error.
    #[inline(always)]
    pub(super) fn check_headers(&self, index: i32) -> Result<(), Malformed> {
        if self.headers == [0] { Ok(()) } else { self.check_some_headers(index) }
    }

    #[inline(never)]
    fn check_some_headers(&self, index: i32) -> Result<(), Malformed> {
        let mut headers = Headers::parse(self.headers).ok_or(Malformed::BadHeader { index })?;
        headers.by_ref().for_each(drop);
        match (headers.left, headers.rest) {
            (0, []) => Ok(()),
            (0, _) => Err(Malformed::BadRecord { index }),
            _ => Err(Malformed::BadHeader { index }),
        }
    }
}

/// Reads a length and as many bytes: `Some(None)` is null, `None` is malformed.
#[inline(always)]
#[expect(clippy::option_option, reason = "null and malformed are different things")]
fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = read_varint(rest).ok()?;
    let Ok(length) = usize::try_from(length) else { return Some(None) };
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, Compression};
    use super::*;

    /// Passes the one record that the arguments make to `look`.
    fn with_record(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
        look: impl FnOnce(Record<'_>),
    ) {
        let mut builder = BatchBuilder::new();
        builder.push(7, key, value, headers.iter().copied());
        let batch = Batch::first(builder.finish(Compression::None, None).unwrap()).unwrap().unwrap();
        assert_eq!(batch.check_records(batch.records_bytes()), Ok(()));
        look(RecordIter::new(batch, batch.records_bytes()).next().unwrap());
    }

    #[test]
    fn null_and_empty_are_different() {
        for key in [None, Some(&b""[..])] {
            for value in [None, Some(&b""[..])] {
                with_record(key, value, &[("h", key), ("", value)], |record| {
                    assert_eq!((record.key(), record.value()), (key, value));
                    let headers: Vec<_> = record.headers().map(|h| (h.key_bytes(), h.value())).collect();
                    assert_eq!(headers, [(&b"h"[..], key), (&b""[..], value)]);
                });
            }
        }
    }

    #[test]
    fn header_names_may_repeat_and_the_first_is_found() {
        let headers = [("a", None), ("b", Some(&b"1"[..])), ("b", Some(&b"2"[..]))];
        with_record(None, None, &headers, |record| {
            assert_eq!(record.headers().count(), 3);
            assert_eq!(record.headers().get("b").unwrap().value(), Some(&b"1"[..]));
            assert_eq!(record.headers().get("c"), None);
        });
    }

    #[test]
    fn a_header_name_is_copied_only_if_it_is_not_utf_8() {
        assert!(matches!(Header { key: "é".as_bytes(), value: None }.key(), Cow::Borrowed("é")));
        assert_eq!(Header { key: b"a\xff", value: None }.key(), "a\u{fffd}");
    }

    #[test]
    fn impossible_header_counts_yield_no_headers() {
        for bytes in [&[][..], &[0x01], &[0x02], &[0x80], &[0x06, 0x00, 0x00]] {
            let record = Record { offset: 0, timestamp: 0, key: None, value: None, headers: bytes, size: 0 };
            assert_eq!(record.headers().count(), 0);
        }
    }

    #[test]
    fn debug_shows_bytes_as_text() {
        with_record(Some(b"k\0"), None, &[("h", Some(b"v"))], |record| {
            assert_eq!(
                format!("{record:?}"),
                r#"Record { offset: 0, timestamp: 7, key: Some("k\x00"), value: None, headers: [Header { key: "h", value: Some("v") }] }"#
            );
        });
    }
}

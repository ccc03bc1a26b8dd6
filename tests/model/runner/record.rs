//! Records, and what they take in a batch.

use thalweg::{Offset, Timestamp};

use super::op::Sent;

/// A record as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub timestamp: Timestamp,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Bytes in front of a batch's records (records.md 2).
pub const HEADER_LEN: usize = 61;

impl Record {
    /// The `number`-th record of a script. Its value begins with the number, as far as there is room.
    pub fn new(sent: &Sent, number: u64) -> Self {
        let value = sent.value.checked_sub(1).map(|len| {
            let mut value = number.to_be_bytes().to_vec();
            value.resize(len, b'v');
            value
        });
        let key_len = if value.is_none() { Some(sent.key.saturating_sub(1)) } else { sent.key.checked_sub(1) };
        let header = |at: usize| ("h".repeat(at % 3), (at.is_multiple_of(2)).then(|| vec![b'1'; at]));
        Record {
            timestamp: sent.time.timestamp(),
            key: key_len.map(|len| vec![b'k'; len]),
            value,
            headers: (0..sent.headers).map(header).collect(),
        }
    }

    /// The record as the engine returns it.
    pub fn read(record: thalweg::Record<'_>) -> Self {
        let header = |header: thalweg::Header<'_>| (header.key().into_owned(), header.value().map(<[u8]>::to_vec));
        Record {
            timestamp: record.timestamp(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record.headers().map(header).collect(),
        }
    }

    /// Bytes that it takes as the `delta`-th of a batch whose first record has `base_timestamp` (records.md 3).
    pub fn size(&self, base_timestamp: Timestamp, delta: usize) -> usize {
        let field = |bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => varint_len(bytes.len() as i64) + bytes.len(),
            None => varint_len(-1),
        };
        let header = |(key, value): &(String, _)| varint_len(key.len() as i64) + key.len() + field(value);
        let body = 1
            + varint_len(self.timestamp - base_timestamp)
            + varint_len(delta as i64)
            + field(&self.key)
            + field(&self.value)
            + varint_len(self.headers.len() as i64)
            + self.headers.iter().map(header).sum::<usize>();
        varint_len(body as i64) + body
    }
}

/// Bytes of a zigzag varint.
fn varint_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (1..10).find(|len| zigzag >> (7 * len) == 0).unwrap_or(10)
}

/// A batch in a log.
#[derive(Clone, Debug)]
pub struct Batch {
    pub base: Offset,
    pub end: Offset,
    pub size: usize,
    pub max_timestamp: Timestamp,
}

/// A batch that takes more records.
#[derive(Clone, Debug)]
pub struct OpenBatch {
    pub records: Vec<Record>,
    pub size: usize,
}

impl OpenBatch {
    pub fn new() -> Self {
        OpenBatch { records: Vec::new(), size: HEADER_LEN }
    }

    /// Bytes that `record` would add.
    pub fn added_by(&self, record: &Record) -> usize {
        let base_timestamp = self.records.first().map_or(record.timestamp, |first| first.timestamp);
        record.size(base_timestamp, self.records.len())
    }

    pub fn push(&mut self, record: Record) {
        self.size += self.added_by(&record);
        self.records.push(record);
    }
}

//! A second decoder: slow, simple, and sharing no code with the first, which it has to agree with.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::builder::BatchFields;
use super::compress::{deflate, inflate};
use super::*;
use crate::types::TimestampType;

/// A record with everything owned.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Plain {
    fn of(record: Record<'_>) -> Self {
        Plain {
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record.headers().map(|h| (h.key_bytes().to_vec(), h.value().map(<[u8]>::to_vec))).collect(),
        }
    }
}

/// Takes bytes off the front of a vector; `None` once there are too few.
struct Cursor(Vec<u8>);

impl Cursor {
    fn take(&mut self, count: i128) -> Option<Vec<u8>> {
        let fits = 0 <= count && count <= self.0.len() as i128;
        fits.then(|| self.0.drain(..count as usize).collect())
    }

    fn fixed(&mut self, len: i128) -> Option<i128> {
        let bytes = self.take(len)?;
        let unsigned = bytes.iter().fold(0, |sum, byte| sum * 256 + i128::from(*byte));
        Some(if bytes[0] < 0x80 { unsigned } else { unsigned - (1 << (8 * len)) })
    }

    fn variable(&mut self, bits: u32) -> Option<i128> {
        let mut unsigned = 0_u128;
        for group in 0..bits.div_ceil(7) {
            let byte = u128::from(self.take(1)?[0]);
            unsigned += (byte % 128) << (7 * group);
            if byte < 128 {
                let unsigned = (unsigned % (1 << bits)) as i128;
                return Some(if unsigned % 2 == 0 { unsigned / 2 } else { -(unsigned + 1) / 2 });
            }
        }
        None
    }

    /// `None` inside is null.
    fn sized(&mut self) -> Option<Option<Vec<u8>>> {
        match self.variable(32)? {
            len if len < 0 => Some(None),
            len => self.take(len).map(Some),
        }
    }
}

/// The records of the uncompressed batch that `bytes` are; `None` if any rule but the checksum is broken.
fn decode(bytes: &[u8]) -> Option<Vec<Plain>> {
    let mut cursor = Cursor(bytes.to_vec());
    let base_offset = cursor.fixed(8)?;
    let size = cursor.fixed(4)?;
    let _leader_epoch = cursor.fixed(4)?;
    let magic = cursor.fixed(1)?;
    let _crc = cursor.fixed(4)?;
    let attributes = cursor.fixed(2)?;
    let last_delta = cursor.fixed(4)?;
    let base_timestamp = cursor.fixed(8)?;
    let max_timestamp = cursor.fixed(8)?;
    let _producer = cursor.take(8 + 2 + 4)?;
    let count = cursor.fixed(4)?;
    let in_range = 0 <= base_offset && 0 <= last_delta && base_offset + last_delta < i128::from(i64::MAX);
    if size + 12 != bytes.len() as i128 || magic != 2 || attributes & 7 != 0 || !in_range || count < 0 {
        return None;
    }
    let mut records = Vec::new();
    let mut next_delta = 0;
    for _ in 0..count {
        let length = cursor.variable(32)?;
        let mut body = Cursor(cursor.take(length)?);
        let _attributes = body.take(1)?;
        let timestamp = base_timestamp + body.variable(64)?;
        let delta = body.variable(32)?;
        let key = body.sized()?;
        let value = body.sized()?;
        let mut headers = Vec::new();
        let header_count = body.variable(32)?;
        if header_count < 0 || delta < next_delta || last_delta < delta {
            return None;
        }
        for _ in 0..header_count {
            headers.push((body.sized()??, body.sized()?));
        }
        if !body.0.is_empty() {
            return None;
        }
        next_delta = delta + 1;
        records.push(Plain {
            offset: (base_offset + delta) as i64,
            timestamp: if attributes & 8 == 0 { timestamp as i64 } else { max_timestamp as i64 },
            key,
            value,
            headers,
        });
    }
    cursor.0.is_empty().then_some(records)
}

/// The same by the real decoder.
fn decode_fast(bytes: &[u8]) -> Option<Vec<Plain>> {
    let batch = Batch::first(bytes).ok()??;
    if batch.size() != bytes.len() || batch.compression() != Ok(Compression::None) {
        return None;
    }
    batch.check_records(batch.records_bytes()).ok()?;
    let mut records = RecordIter::new(batch, batch.records_bytes());
    let decoded: Vec<_> = records.by_ref().map(Plain::of).collect();
    assert_eq!((records.left(), records.position()), (0, batch.records_bytes().len()));
    Some(decoded)
}

fn blob(len: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    option::weighted(0.8, vec(any::<u8>(), 0..len))
}

fn plain_record() -> impl Strategy<Value = Plain> {
    let timestamp = prop_oneof![0..4000_i64, Just(-1), any::<i64>()];
    let headers = vec((".{0,3}", blob(5)), 0..3);
    (1..3_i64, timestamp, blob(90), blob(200), headers).prop_map(|(offset, timestamp, key, value, headers)| {
        let headers = headers.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect();
        Plain { offset, timestamp, key, value, headers }
    })
}

/// Records whose offsets, from `base_offset` on, have gaps.
fn plain_batch() -> impl Strategy<Value = (BatchFields, Vec<Plain>)> {
    let fields = (0..i64::MAX - 1000, any::<bool>(), option::of(any::<i64>()), 0..3_i32);
    (fields, vec(plain_record(), 1..80)).prop_map(
        |((base_offset, append_time, delete_horizon, behind), mut records)| {
            let mut fields = BatchFields { base_offset, delete_horizon, ..BatchFields::default() };
            let mut next = base_offset - 1;
            for record in &mut records {
                next += record.offset;
                record.offset = next;
            }
            fields.last_offset_delta = Some((next - base_offset) as i32 + behind);
            if append_time {
                fields.timestamp_type = TimestampType::LogAppendTime;
                fields.max_timestamp = Some(77);
            }
            (fields, records)
        },
    )
}

fn encode<'a>(builder: &'a mut BatchBuilder, fields: BatchFields, records: &[Plain], with: Compression) -> &'a [u8] {
    builder.begin(fields);
    let mut last = -1;
    for record in records {
        let headers = record.headers.iter().map(|(k, v)| (std::str::from_utf8(k).unwrap(), v.as_deref()));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let delta = (record.offset - fields.base_offset) as i32;
        let before = builder.len();
        let expected = builder.record_size(record.timestamp, key, value, headers.clone());
        builder.push_at(delta, record.timestamp, key, value, headers);
        // `record_size` is about the next offset; behind a gap the delta can be longer.
        assert!(builder.len() == before + expected || last + 1 < delta);
        last = delta;
    }
    let batch = builder.finish(with, None).unwrap();
    let parsed = Batch::first(batch).unwrap().unwrap();
    assert_eq!(parsed.verify_crc(), Ok(()));
    batch
}

/// What a reader gets to see of `records`.
fn seen(fields: BatchFields, records: &[Plain]) -> Vec<Plain> {
    let mut seen = records.to_vec();
    if fields.timestamp_type == TimestampType::LogAppendTime {
        seen.iter_mut().for_each(|record| record.timestamp = 77);
    }
    seen
}

proptest! {
    #[test]
    fn both_decoders_return_what_was_encoded((fields, records) in plain_batch()) {
        let mut builder = BatchBuilder::new();
        let bytes = encode(&mut builder, fields, &records, Compression::None);
        let seen = seen(fields, &records);
        prop_assert_eq!(decode(bytes), Some(seen.clone()));
        prop_assert_eq!(decode_fast(bytes), Some(seen));
    }

    #[test]
    fn every_codec_returns_what_was_encoded((fields, records) in plain_batch()) {
        let mut builder = BatchBuilder::new();
        let mut buffer = Inflater::default();
        for with in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            if with.is_supported() {
                let batch = Batch::first(encode(&mut builder, fields, &records, with)).unwrap().unwrap();
                prop_assert_eq!(batch.compression(), Ok(with));
                let area = batch.records_area(&mut buffer, 1 << 20).unwrap();
                prop_assert_eq!(batch.check_records(area), Ok(()));
                let decoded: Vec<_> = RecordIter::new(batch, area).map(Plain::of).collect();
                prop_assert_eq!(decoded, seen(fields, &records));
            }
        }
    }

    #[test]
    fn resumed_anywhere_the_rest_is_the_same((fields, records) in plain_batch(), stop in 0..80_usize) {
        let mut builder = BatchBuilder::new();
        let batch = Batch::first(encode(&mut builder, fields, &records, Compression::None)).unwrap().unwrap();
        let mut whole = RecordIter::new(batch, batch.records_bytes());
        let taken: usize = whole.by_ref().take(stop).map(|record| record.size()).sum();
        prop_assert_eq!(whole.position(), taken);
        let resumed = RecordIter::resume(batch, batch.records_bytes(), whole.position(), whole.left());
        prop_assert!(resumed.eq(whole));
    }

    #[test]
    fn both_decoders_agree_on_damaged_batches(
        (fields, records) in plain_batch(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut builder = BatchBuilder::new();
        let mut bytes = encode(&mut builder, fields, &records, Compression::None).to_vec();
        for (index, value) in damage {
            // Mostly behind the header, where the rules are.
            let index = index.index(bytes.len() * 2) % bytes.len();
            bytes[index] = value;
        }
        prop_assert_eq!(decode_fast(&bytes), decode(&bytes));
    }

    #[test]
    fn unchecked_bytes_end_the_records_early(
        (fields, records) in plain_batch(),
        at: prop::sample::Index,
        garbage in vec(any::<u8>(), 0..300),
    ) {
        let mut builder = BatchBuilder::new();
        let batch = Batch::first(encode(&mut builder, fields, &records, Compression::None)).unwrap().unwrap();
        let mut area = batch.records_bytes().to_vec();
        let at = at.index(area.len());
        area.truncate(at);
        area.extend(garbage);
        let records = RecordIter::new(batch, &area);
        prop_assert!(records.map(Plain::of).count() <= batch.record_count() as usize);
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..300), plausible: bool) {
        if plausible && 17 <= bytes.len() {
            let size = bytes.len() as i32 - 12;
            bytes[8..12].copy_from_slice(&size.to_be_bytes());
            bytes[16] = 2;
        }
        let mut buffer = Inflater::default();
        let mut batches = Batches::new(&bytes);
        for (_, batch) in batches.by_ref().flatten() {
            let _ = batch.verify_crc();
            let _ = (batch.last_sequence(), batch.next_offset(), batch.delete_horizon());
            if let Ok(area) = batch.records_area(&mut buffer, 1 << 16) {
                let _ = batch.check_records(area);
                RecordIter::new(batch, area).for_each(|record| drop(Plain::of(record)));
            }
        }
        prop_assert!(batches.position() <= bytes.len());
    }

    #[test]
    fn damaged_streams_never_panic_and_meet_the_limit(
        text in vec(0_u8..4, 0..2000),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut: prop::sample::Index,
        limit in 0..3000_usize,
    ) {
        for with in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            if !with.is_supported() {
                continue;
            }
            let mut stream = Vec::new();
            deflate(with, None, &text, &mut stream).unwrap();
            for (index, value) in &damage {
                let index = index.index(stream.len());
                stream[index] = *value;
            }
            for len in [stream.len(), cut.index(stream.len() + 1)] {
                let mut out = b"before".to_vec();
                match inflate(with, &stream[..len], &mut out, limit) {
                    Ok(()) => prop_assert!(out.len() <= limit + 6),
                    Err(_) => prop_assert_eq!(&out[..], b"before"),
                }
            }
        }
    }
}

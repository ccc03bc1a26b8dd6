//! The worked examples of the format (records.md 16), each read and written, byte for byte.

use super::builder::BatchFields;
use super::control::{ControlType, EndTransaction};
use super::header::{ATTRIBUTES_OFFSET, LOG_OVERHEAD};
use super::*;
use crate::types::TimestampType;

/// 1700000000000, the time that the examples begin at.
const T: i64 = 1_700_000_000_000;

/// The 24 bytes of A's two records.
const A_RECORDS: &str = "1c 00 00 00 04 6b 31 04 76 31 02 02 68 02 01 10 00 0a 02 04 6b 32 01 00";

/// A plain batch.
pub(super) fn a() -> Vec<u8> {
    hex(concat!(
        "00 00 00 00 00 00 00 2a 00 00 00 49 00 00 00 00",
        "02 d2 c4 b2 43 00 00 00 00 00 01 00 00 01 8b cf",
        "e5 68 00 00 00 01 8b cf e5 68 05 ff ff ff ff ff",
        "ff ff ff ff ff ff ff ff ff 00 00 00 02 1c 00 00",
        "00 04 6b 31 04 76 31 02 02 68 02 01 10 00 0a 02",
        "04 6b 32 01 00",
    ))
}

/// A commit marker.
pub(super) fn b() -> Vec<u8> {
    hex(concat!(
        "00 00 00 00 00 00 00 2c 00 00 00 42 00 00 00 00",
        "02 91 ab f3 52 00 30 00 00 00 00 00 00 01 8b cf",
        "e5 68 09 00 00 01 8b cf e5 68 09 00 00 00 00 00",
        "00 03 e8 00 07 ff ff ff ff 00 00 00 01 20 00 00",
        "00 08 00 00 00 01 0c 00 00 00 00 00 03 00",
    ))
}

/// A after compaction.
pub(super) fn c() -> Vec<u8> {
    hex(concat!(
        "00 00 00 00 00 00 00 2a 00 00 00 3d 00 00 00 00",
        "02 5f bf 0f 8c 00 40 00 00 00 01 00 00 01 8b d5",
        "0b c4 00 00 00 01 8b cf e5 68 05 ff ff ff ff ff",
        "ff ff ff ff ff ff ff ff ff 00 00 00 01 16 00 f5",
        "ef b2 52 02 04 6b 32 01 00",
    ))
}

/// An empty batch that compaction keeps for its producer.
pub(super) fn d() -> Vec<u8> {
    hex(concat!(
        "00 00 00 00 00 00 00 2a 00 00 00 31 00 00 00 00",
        "02 45 83 0b 69 00 00 00 00 00 01 ff ff ff ff ff",
        "ff ff ff 00 00 01 8b cf e5 68 05 00 00 00 00 00",
        "00 03 e8 00 07 00 00 00 0a 00 00 00 00",
    ))
}

/// A with its records as lz4.
pub(super) fn e() -> Vec<u8> {
    packed_a(100, 3, "3b1b3c06", &format!("04 22 4d 18 60 40 82 18 00 00 80 {A_RECORDS} 00 00 00 00"))
}

/// A with its records as snappy.
pub(super) fn f() -> Vec<u8> {
    let payload = format!("82 53 4e 41 50 50 59 00 00 00 00 01 00 00 00 01 00 00 00 1a 18 5c {A_RECORDS}");
    packed_a(107, 2, "3cbecb97", &payload)
}

fn packed_a(size: usize, attributes: u8, crc: &str, payload: &str) -> Vec<u8> {
    let mut bytes = a();
    bytes.truncate(HEADER_LEN);
    bytes.extend(hex(payload));
    assert_eq!(bytes.len(), size);
    bytes[11] = (size - LOG_OVERHEAD) as u8;
    bytes[17..21].copy_from_slice(&hex(crc));
    bytes[22] = attributes;
    bytes
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn whole(bytes: &[u8]) -> Batch<'_> {
    let batch = Batch::first(bytes).unwrap().unwrap();
    assert_eq!(batch.size(), bytes.len());
    assert_eq!(batch.verify_crc(), Ok(()));
    batch
}

fn records_of(batch: Batch<'_>) -> Vec<Record<'_>> {
    batch.check_records(batch.records_bytes()).unwrap();
    RecordIter::new(batch, batch.records_bytes()).collect()
}

fn no_headers() -> std::iter::Empty<(&'static str, Option<&'static [u8]>)> {
    std::iter::empty()
}

fn push_records_of_a(builder: &mut BatchBuilder) {
    assert_eq!(builder.push(T, Some(b"k1"), Some(b"v1"), [("h", Some(&[1][..]))].into_iter()), 0);
    assert_eq!(builder.push(T + 5, Some(b"k2"), None, no_headers()), 1);
}

fn assert_is_a(batch: Batch<'_>, area: &[u8]) {
    assert_eq!((batch.base_offset(), batch.last_offset(), batch.next_offset()), (42, 43, 44));
    assert_eq!((batch.leader_epoch(), batch.record_count()), (0, 2));
    assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (T, T + 5));
    assert_eq!(batch.timestamp_type(), TimestampType::CreateTime);
    assert_eq!((batch.producer_id(), batch.producer_epoch()), (None, -1));
    assert_eq!((batch.base_sequence(), batch.last_sequence()), (-1, -1));
    assert!(!batch.is_control() && !batch.is_transactional());
    assert_eq!(batch.delete_horizon(), None);
    assert_eq!(area, hex(A_RECORDS));
    batch.check_records(area).unwrap();

    let mut records = RecordIter::new(batch, area);
    let first = records.next().unwrap();
    assert_eq!((first.offset(), first.timestamp(), first.size()), (42, T, 15));
    assert_eq!((first.key(), first.value()), (Some(&b"k1"[..]), Some(&b"v1"[..])));
    let headers: Vec<_> = first.headers().map(|header| (header.key(), header.value())).collect();
    assert_eq!(headers, [("h".into(), Some(&[1][..]))]);
    assert_eq!((records.position(), records.left()), (15, 1));
    let second = records.next().unwrap();
    assert_eq!((second.offset(), second.timestamp(), second.size()), (43, T + 5, 9));
    assert_eq!((second.key(), second.value(), second.headers().count()), (Some(&b"k2"[..]), None, 0));
    assert_eq!(records.next(), None);
    assert_eq!((records.position(), records.left()), (24, 0));
}

#[test]
fn a_is_read() {
    let bytes = a();
    let batch = whole(&bytes);
    assert_eq!(batch.compression(), Ok(Compression::None));
    assert_is_a(batch, batch.records_bytes());
}

#[test]
fn a_is_written() {
    let mut builder = BatchBuilder::new();
    push_records_of_a(&mut builder);
    let batch = builder.finish(Compression::None, None).unwrap();
    let mut producers_form = a();
    producers_form[..16].copy_from_slice(&hex("00 00 00 00 00 00 00 00  00 00 00 49  ff ff ff ff"));
    assert_eq!(batch, producers_form);
    assign(batch, 42, 0);
    assert_eq!(batch, a());
}

#[test]
fn b_is_read() {
    let bytes = b();
    let batch = whole(&bytes);
    assert_eq!((batch.base_offset(), batch.next_offset()), (44, 45));
    assert!(batch.is_control() && batch.is_transactional());
    assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (Some(1000), 7, -1));
    let [marker] = records_of(batch)[..] else { panic!("one marker") };
    assert_eq!((marker.offset(), marker.timestamp()), (44, T + 9));
    assert_eq!(ControlType::from_key(marker.key().unwrap()), Ok(ControlType::Commit));
    assert_eq!(EndTransaction::from_value(marker.value().unwrap()), Ok(EndTransaction { coordinator_epoch: 3 }));
}

#[test]
fn b_is_written() {
    let mut builder = BatchBuilder::new();
    builder.set_producer(1000, 7, -1);
    builder.set_transactional(true);
    builder.set_control(true);
    let value = EndTransaction { coordinator_epoch: 3 }.to_value();
    builder.push(T + 9, Some(&ControlType::Commit.to_key()), Some(&value), no_headers());
    let batch = builder.finish(Compression::Gzip, None).unwrap();
    assign(batch, 44, 0);
    assert_eq!(batch, b(), "control batches stay uncompressed");
}

#[test]
fn c_is_read() {
    let bytes = c();
    let batch = whole(&bytes);
    assert_eq!((batch.base_offset(), batch.last_offset(), batch.record_count()), (42, 43, 1));
    assert_eq!(batch.delete_horizon(), Some(T + 86_400_000));
    let [tombstone] = records_of(batch)[..] else { panic!("one tombstone") };
    assert_eq!((tombstone.offset(), tombstone.timestamp()), (43, T + 5));
    assert_eq!((tombstone.key(), tombstone.value()), (Some(&b"k2"[..]), None));
}

#[test]
fn c_is_written() {
    let before = a();
    let before = whole(&before);
    let mut builder = BatchBuilder::new();
    builder.begin(BatchFields { delete_horizon: Some(T + 86_400_000), ..BatchFields::kept_of(before) });
    let tombstone = records_of(before)[1];
    builder.push_record(1, &tombstone);
    assert_eq!(builder.finish(Compression::None, None).unwrap(), c());

    builder.begin(BatchFields { delete_horizon: Some(T + 86_400_000), ..BatchFields::kept_of(before) });
    assert_eq!(builder.record_size(T + 5, Some(b"k2"), None, no_headers()), 12);
    builder.push_at(1, T + 5, Some(b"k2"), None, no_headers());
    assert_eq!(builder.finish(Compression::None, None).unwrap(), c());
}

#[test]
fn d_is_read() {
    let bytes = d();
    let batch = whole(&bytes);
    assert_eq!((batch.base_offset(), batch.next_offset(), batch.record_count()), (42, 44, 0));
    assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (-1, T + 5));
    assert_eq!((batch.producer_id(), batch.producer_epoch()), (Some(1000), 7));
    assert_eq!((batch.base_sequence(), batch.last_sequence()), (10, 11));
    assert_eq!(records_of(batch), []);
}

#[test]
fn d_is_written() {
    let mut builder = BatchBuilder::new();
    builder.begin(BatchFields {
        base_offset: 42,
        leader_epoch: 0,
        last_offset_delta: Some(1),
        max_timestamp: Some(T + 5),
        delete_horizon: Some(T + 86_400_000),
        producer_id: 1000,
        producer_epoch: 7,
        base_sequence: 10,
        ..BatchFields::default()
    });
    let batch = builder.finish(Compression::Lz4, None).unwrap();
    assert_eq!(batch, d(), "no records: neither a codec nor a delete horizon");
}

#[test]
#[cfg(feature = "lz4")]
fn e_is_read_and_written() {
    assert_packed(&e(), Compression::Lz4);
}

#[test]
#[cfg(feature = "snappy")]
fn f_is_read_and_written() {
    assert_packed(&f(), Compression::Snappy);
}

fn assert_packed(bytes: &[u8], compression: Compression) {
    let batch = whole(bytes);
    assert_eq!(batch.compression(), Ok(compression));
    let mut buffer = Inflater::default();
    assert_is_a(batch, batch.records_area(&mut buffer, 24).unwrap());
    assert_eq!(batch.records_area(&mut buffer, 23), Err(Malformed::TooLarge { limit: 23 }));

    let mut builder = BatchBuilder::new();
    push_records_of_a(&mut builder);
    let written = builder.finish(compression, None).unwrap();
    assign(written, 42, 0);
    assert_eq!(written, bytes);
}

#[test]
fn every_flipped_bit_under_the_checksum_is_found() {
    let original = a();
    for bit in ATTRIBUTES_OFFSET * 8..original.len() * 8 {
        let mut bytes = original.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // Some of the header's fields have rules of their own and fail before the checksum is asked.
        if let Ok(batch) = Batch::first(&bytes) {
            assert!(matches!(batch.unwrap().verify_crc(), Err(Malformed::BadCrc { stored: 0xd2c4_b243, .. })));
        }
    }
}

#[test]
fn torn_at_every_length_is_none() {
    for bytes in [a(), b(), c(), d(), e(), f()] {
        for len in 0..bytes.len() {
            assert!(Batch::first(&bytes[..len]).unwrap().is_none());
        }
    }
}

#[test]
fn laid_end_to_end_they_are_walked_in_order() {
    let all = [a(), d(), e(), b(), f(), c()];
    let bytes = all.concat();
    let mut batches = Batches::new(&bytes);
    let mut position = 0;
    for expected in &all {
        let (at, batch) = batches.next().unwrap().unwrap();
        assert_eq!((at, batch.bytes()), (position, &expected[..]));
        position += expected.len();
        assert_eq!(batches.position(), position);
    }
    assert!(batches.next().is_none() && !batches.torn());
}

#[test]
fn walking_ends_at_a_torn_batch() {
    let bytes = [a(), b()].concat();
    for len in 86..bytes.len() {
        let mut batches = Batches::new(&bytes[..len]);
        assert!(batches.next().unwrap().is_ok());
        assert!(batches.next().is_none());
        assert_eq!((batches.position(), batches.torn()), (85, true));
    }
}

#[test]
fn walking_ends_with_an_error_at_a_zero_tail() {
    let mut bytes = a();
    bytes.resize(200, 0);
    let mut batches = Batches::new(&bytes);
    assert!(batches.next().unwrap().is_ok());
    assert_eq!(batches.next().unwrap().err(), Some((85, Malformed::BadSize(0))));
    assert!(batches.next().is_none() && !batches.torn());
    assert_eq!(batches.position(), 85);
}

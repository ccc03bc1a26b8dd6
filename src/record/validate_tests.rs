//! Every row of the table in records.md 11 that concerns a client's batch, and the steps of 12.

use proptest::prelude::*;

use super::builder::{BatchFields, assign};
use super::compress::deflate;
use super::header::ATTRIBUTES_OFFSET;
use super::validate::{BadRecord, RecordFault};
use super::*;
use crate::config::TopicCompression;
use crate::types::{Timestamp, TimestampType};

const NOW: Timestamp = 1_700_000_000_000;
const DAY: i64 = 86_400_000;

fn rules() -> Rules {
    Rules {
        max_message_bytes: 100_000,
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        before_max: DAY,
        after_max: 1000,
        now: NOW,
        compression: TopicCompression::Producer,
        level: None,
        inflated_max: 1 << 20,
    }
}

fn builder(count: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for number in 0..count {
        let key = number.to_string();
        let value = [b'v'; 50];
        let value = (number % 3 != 2).then_some(&value[..]);
        let headers = [("h", Some(&b"x"[..])), ("", None)];
        builder.push(NOW - number, Some(key.as_bytes()), value, headers.into_iter().take(number as usize % 3));
    }
    builder
}

fn batch(codec: Compression) -> Vec<u8> {
    builder(5).finish(codec, None).unwrap().to_vec()
}

/// Computes the checksum anew.
fn seal(bytes: &mut [u8]) {
    let crc = crc32c(&bytes[ATTRIBUTES_OFFSET..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A plain batch with `value` at `position` and the right checksum.
fn patched<const N: usize>(position: usize, value: [u8; N]) -> Vec<u8> {
    let mut bytes = batch(Compression::None);
    bytes[position..position + N].copy_from_slice(&value);
    seal(&mut bytes);
    bytes
}

fn run(bytes: &[u8], rules: &Rules) -> Result<Vec<u8>, Rejection> {
    let mut bytes = bytes.to_vec();
    let rebuilt = validate(&mut bytes, rules, &mut Inflater::default())?;
    Ok(rebuilt.unwrap_or(bytes))
}

fn rejection(bytes: &[u8]) -> Rejection {
    run(bytes, &rules()).unwrap_err()
}

fn is_refused(bytes: &[u8]) -> bool {
    matches!(rejection(bytes), Rejection::Refused(_))
}

fn supported() -> impl Iterator<Item = Compression> {
    Compression::ALL.into_iter().filter(|codec| codec.is_supported())
}

/// Offset, timestamp, key, value, headers.
type Row = (i64, Timestamp, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>);

/// The records of a batch that stands alone.
fn records(bytes: &[u8]) -> Vec<Row> {
    let batch = Batch::first(bytes).unwrap().unwrap();
    assert_eq!(batch.verify_crc(), Ok(()));
    let mut inflater = Inflater::default();
    let area = batch.records_area(&mut inflater, 1 << 20).unwrap();
    assert_eq!(batch.check_records(area), Ok(()));
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let row = |record: Record<'_>| {
        let (key, value) = (owned(record.key()), owned(record.value()));
        (record.offset(), record.timestamp(), key, value, record.headers_bytes().to_vec())
    };
    RecordIter::new(batch, area).map(row).collect()
}

#[test]
fn what_a_producer_sends_stays_as_it_is() {
    for codec in supported() {
        let bytes = batch(codec);
        assert_eq!(run(&bytes, &rules()), Ok(bytes), "{codec}");
    }
}

#[test]
fn damage_on_the_way() {
    let whole = batch(Compression::None);
    for at in ATTRIBUTES_OFFSET - 4..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        assert!(matches!(rejection(&bytes), Rejection::Corrupt(Malformed::BadCrc { .. })), "byte {at}");
    }
    for size in [i32::MIN, -1, 0, 13, 48] {
        assert_eq!(rejection(&patched(8, size.to_be_bytes())), Rejection::Corrupt(Malformed::BadSize(size)));
    }
    assert_eq!(rejection(&[0; 100]), Rejection::Corrupt(Malformed::BadSize(0)));
    for magic in [3, -1] {
        let expected = Rejection::Corrupt(Malformed::BadMagic(magic));
        assert_eq!(rejection(&patched(16, magic.to_be_bytes())), expected);
    }
}

#[test]
fn the_formats_before_version_2() {
    for magic in [0, 1] {
        assert!(matches!(rejection(&patched(16, i8::to_be_bytes(magic))), Rejection::Unsupported(_)));
    }
}

#[test]
fn exactly_one_whole_batch() {
    let one = batch(Compression::None);
    assert!(is_refused(b""));
    for len in [1, 11, 16, 17, 60, 61, one.len() - 1] {
        assert!(is_refused(&one[..len]), "{len} bytes");
    }
    assert!(is_refused(&[&one[..], &one].concat()));
    assert!(is_refused(&[&one[..], b"x"].concat()));
}

#[test]
fn larger_than_max_message_bytes() {
    for codec in supported() {
        let bytes = batch(codec);
        let mut rules = Rules { max_message_bytes: bytes.len(), ..rules() };
        assert!(run(&bytes, &rules).is_ok());
        rules.max_message_bytes -= 1;
        let expected = Rejection::TooLarge { size: bytes.len(), limit: bytes.len() - 1 };
        assert_eq!(run(&bytes, &rules), Err(expected), "{codec}");
    }
}

#[test]
fn larger_after_it_was_written_anew() {
    for codec in supported().filter(|codec| *codec != Compression::None) {
        let bytes = batch(codec);
        let plain = batch(Compression::None).len();
        assert!(bytes.len() < plain);
        let compression = TopicCompression::Codec(Compression::None);
        let rules = Rules { max_message_bytes: plain - 1, compression, ..rules() };
        assert_eq!(run(&bytes, &rules), Err(Rejection::TooLarge { size: plain, limit: plain - 1 }), "{codec}");
        // And the other way round: what does not compress becomes longer.
        let mut noise = BatchBuilder::new();
        noise.push(NOW, Some(b"k"), None, std::iter::empty());
        let noise = noise.finish(Compression::None, None).unwrap().to_vec();
        let rules = Rules { max_message_bytes: noise.len(), compression: codec.into(), ..rules };
        assert!(matches!(run(&noise, &rules), Err(Rejection::TooLarge { .. })), "{codec}");
    }
}

#[test]
fn a_base_offset_is_not_for_clients_to_choose() {
    let mut bytes = batch(Compression::None);
    assign(&mut bytes, 1, 0);
    assert!(is_refused(&bytes));
    assign(&mut bytes, -1, 0);
    assert!(is_refused(&bytes));
}

#[test]
fn a_leader_epoch_may_be_anything() {
    let mut bytes = batch(Compression::None);
    assign(&mut bytes, 0, 77);
    assert!(run(&bytes, &rules()).is_ok());
}

#[test]
fn as_many_records_as_offsets() {
    // The last offset delta is at 23, the number of records at 57.
    assert!(matches!(
        rejection(&patched(23, (-1_i32).to_be_bytes())),
        Rejection::Malformed(Malformed::BadOffsets { .. })
    ));
    assert!(is_refused(&patched(23, 5_i32.to_be_bytes())));
    assert!(is_refused(&patched(23, 3_i32.to_be_bytes())));
    assert!(is_refused(&patched(57, 0_i32.to_be_bytes())));
    assert!(is_refused(&patched(57, 4_i32.to_be_bytes())));
    assert_eq!(rejection(&patched(57, (-1_i32).to_be_bytes())), Rejection::Malformed(Malformed::BadRecordCount(-1)));
    let mut bytes = patched(23, i32::MAX.to_be_bytes());
    bytes[57..61].copy_from_slice(&i32::MIN.to_be_bytes());
    seal(&mut bytes);
    assert!(run(&bytes, &rules()).is_err());
    let empty = BatchBuilder::new().finish(Compression::None, None).unwrap().to_vec();
    assert!(is_refused(&empty));
}

#[test]
fn attribute_bits_that_are_not_a_clients() {
    for bit in 5..16 {
        assert!(is_refused(&patched(21, (1_u16 << bit).to_be_bytes())), "bit {bit}");
    }
    assert!(matches!(rejection(&patched(21, 0x10_u16.to_be_bytes())), Rejection::Unsupported("transactions")));
}

#[test]
fn codecs_that_do_not_exist_or_are_not_built_in() {
    for codec in 5..8 {
        let expected = Rejection::Malformed(Malformed::BadCodec(codec));
        assert_eq!(rejection(&patched(22, [codec])), expected);
    }
    for codec in Compression::ALL.into_iter().filter(|codec| !codec.is_supported()) {
        assert_eq!(rejection(&patched(22, [codec.id()])), Rejection::UnsupportedCompression(codec.id()));
        let rules = Rules { compression: codec.into(), ..rules() };
        let expected = Err(Rejection::UnsupportedCompression(codec.id()));
        assert_eq!(run(&batch(Compression::None), &rules), expected);
    }
}

#[test]
fn a_producer_id_needs_an_epoch_and_a_sequence() {
    for (id, epoch, sequence, accepted) in
        [(7, 0, 0, true), (7, 3, i32::MAX, true), (7, 0, -1, false), (7, -1, 0, false), (-1, -1, -1, true)]
    {
        let mut builder = builder(2);
        builder.set_producer(id, epoch, sequence);
        let bytes = builder.finish(Compression::None, None).unwrap().to_vec();
        assert_eq!(run(&bytes, &rules()).is_ok(), accepted, "{id} {epoch} {sequence}");
        assert!(accepted || is_refused(&bytes));
    }
}

/// A batch whose header belongs to five records, with `area` instead of them.
fn with_area(codec: Compression, area: &[u8]) -> Vec<u8> {
    let mut bytes = batch(Compression::None)[..HEADER_LEN].to_vec();
    deflate(codec, None, area, &mut bytes).unwrap();
    bytes[22] = codec.id();
    let size = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&size.to_be_bytes());
    seal(&mut bytes);
    bytes
}

#[test]
fn records_that_are_not_what_they_say() {
    let plain = batch(Compression::None);
    let area = &plain[HEADER_LEN..];
    for codec in supported() {
        assert_eq!(records(&run(&with_area(codec, area), &rules()).unwrap()), records(&plain));
        let is_malformed = |area: &[u8]| matches!(rejection(&with_area(codec, area)), Rejection::Malformed(_));
        assert!(is_malformed(&area[..area.len() - 1]), "fewer bytes, {codec}");
        assert!(is_malformed(&[area, b"\0"].concat()), "more bytes, {codec}");
        assert!(is_malformed(&area[..1]), "fewer records, {codec}");
        assert!(is_malformed(&[0xff; 30]), "a length that does not end, {codec}");
        for (at, byte, what) in [
            (0, area[0] + 2, "longer"),
            (0, area[0] - 2, "shorter"),
            (0, 0x01, "a negative length"),
            // attributes 1, time 2, offset 3, key 4 and 5, value 6 and 50 more, headers 57
            (57, 0x02, "a header that is not there"),
            (57, 0x01, "a negative number of headers"),
        ] {
            let mut area = area.to_vec();
            area[at] = byte;
            assert!(is_malformed(&area), "{what}, {codec}");
        }
        for delta in [0x01, 0x02, 0x7f] {
            let mut area = area.to_vec();
            area[3] = delta;
            assert!(is_malformed(&area), "offset delta {delta} of the first record, {codec}");
        }
    }
}

#[test]
fn a_stream_that_its_codec_did_not_write() {
    for codec in supported().filter(|codec| *codec != Compression::None) {
        let mut bytes = batch(codec);
        bytes.truncate(bytes.len() - 3);
        let size = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&size.to_be_bytes());
        seal(&mut bytes);
        assert_eq!(rejection(&bytes), Rejection::Corrupt(Malformed::BadCompression(codec)));
    }
}

#[test]
fn a_bomb_is_not_inflated() {
    for codec in supported().filter(|codec| *codec != Compression::None) {
        let bomb = with_area(codec, &vec![0; 2 << 20]);
        let rules = Rules { inflated_max: 10_000, max_message_bytes: 1 << 20, ..rules() };
        let mut inflater = Inflater::default();
        let result = validate(&mut bomb.clone(), &rules, &mut inflater);
        assert_eq!(result, Err(Rejection::Malformed(Malformed::TooLarge { limit: 10_000 })), "{codec}");
        assert!(inflater.out.capacity() < 1 << 20, "{codec}");
    }
}

/// Records with these keys and timestamps.
fn rows(rows: &[(Option<&str>, Timestamp)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for (key, timestamp) in rows {
        builder.push(*timestamp, key.map(str::as_bytes), Some(b"v"), std::iter::empty());
    }
    builder.finish(Compression::None, None).unwrap().to_vec()
}

fn bad(result: Result<Vec<u8>, Rejection>) -> Vec<(usize, RecordFault)> {
    match result {
        Ok(_) => Vec::new(),
        Err(Rejection::Records(bad)) => bad.into_iter().map(|BadRecord { index, fault, .. }| (index, fault)).collect(),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_compacted_topic_names_every_record_without_a_key() {
    let bytes = rows(&[(None, NOW), (Some("k"), NOW), (Some(""), NOW), (None, NOW)]);
    let compacted = Rules { compacted: true, ..rules() };
    assert_eq!(bad(run(&bytes, &compacted)), [(0, RecordFault::NoKey), (3, RecordFault::NoKey)]);
    assert_eq!(bad(run(&bytes, &rules())), []);
}

#[test]
fn timestamps_out_of_range_are_named() {
    let times = [NOW - DAY, NOW - DAY - 1, NOW + 1000, NOW + 1001, -1, -2, i64::MIN, i64::MAX, 0];
    let bytes = rows(&times.map(|time| (Some("k"), time)));
    let expected = [
        (1, RecordFault::TooOld),
        (3, RecordFault::TooFarAhead),
        (5, RecordFault::Negative),
        (6, RecordFault::Negative),
        (7, RecordFault::TooFarAhead),
        (8, RecordFault::TooOld),
    ];
    assert_eq!(bad(run(&bytes, &rules())), expected);
    let unbounded = Rules { before_max: i64::MAX, after_max: i64::MAX, ..rules() };
    let expected = [(5, RecordFault::Negative), (6, RecordFault::Negative)];
    assert_eq!(bad(run(&bytes, &unbounded)), expected);
    let stamped = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    assert_eq!(bad(run(&bytes, &stamped)), expected, "those that nobody will read may lie anywhere");
    let both = rows(&[(None, 5), (None, NOW)]);
    let compacted = Rules { compacted: true, ..rules() };
    assert_eq!(bad(run(&both, &compacted)).len(), 2, "a record is named once");
}

#[test]
fn only_the_log_stamps() {
    let mut bytes = rows(&[(Some("k"), NOW), (Some("k"), NOW - 5)]);
    stamp_log_append_time(&mut bytes, NOW - 7);
    let stamped = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    assert_eq!(bad(run(&bytes, &stamped)), [(0, RecordFault::Stamped), (1, RecordFault::Stamped)]);
    // A topic that does not stamp takes the records' own times, as Kafka does, and says so.
    let accepted = run(&bytes, &rules()).unwrap();
    let batch = Batch::first(&accepted).unwrap().unwrap();
    assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::CreateTime, NOW));
    assert_eq!(records(&accepted).iter().map(|row| row.1).collect::<Vec<_>>(), [NOW, NOW - 5]);
    for (stamp, fault) in [(-1, RecordFault::Stamped), (5, RecordFault::TooOld)] {
        stamp_log_append_time(&mut bytes, stamp);
        assert_eq!(bad(run(&bytes, &rules())), [(0, fault), (1, fault)]);
    }
}

#[test]
fn no_more_records_are_named_than_anybody_reads() {
    let bytes = rows(&vec![(None, NOW); 10_000]);
    let compacted = Rules { compacted: true, ..rules() };
    assert_eq!(bad(run(&bytes, &compacted)).len(), 100);
}

#[test]
fn a_producer_that_lies_about_the_largest_timestamp_is_corrected() {
    for codec in supported() {
        let mut bytes = batch(codec);
        let honest = bytes.clone();
        builder::set_max_timestamp(&mut bytes, TimestampType::CreateTime, NOW + 5_000_000);
        assert_ne!(bytes, honest);
        assert_eq!(run(&bytes, &rules()), Ok(honest), "{codec}");
    }
}

#[test]
fn a_topics_codec_replaces_the_producers() {
    for (source, target) in supported().flat_map(|source| supported().map(move |target| (source, target))) {
        let mut builder = builder(50);
        builder.begin(BatchFields { producer_id: 9, producer_epoch: 1, base_sequence: 4, ..BatchFields::default() });
        for number in 0..50 {
            builder.push(NOW - number % 7, Some(b"k"), Some(&[7; 100]), [("h", None)].into_iter());
        }
        let bytes = builder.finish(source, None).unwrap().to_vec();
        let rules = Rules { compression: target.into(), level: Some(1), ..rules() };
        let stored = run(&bytes, &rules).unwrap();
        let batch = Batch::first(&stored).unwrap().unwrap();
        assert_eq!(batch.compression(), Ok(target));
        assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (Some(9), 1, 4));
        assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (NOW, NOW));
        assert_eq!((batch.last_offset_delta(), batch.record_count()), (49, 50));
        assert_eq!(records(&stored), records(&bytes), "{source} to {target}");
    }
}

#[test]
fn the_rules_are_those_of_the_topic() {
    use crate::config::{CleanupPolicy, TopicConfig};
    use std::time::Duration;
    let config = TopicConfig::new()
        .max_message_bytes(777)
        .cleanup_policy(CleanupPolicy::Compact)
        .message_timestamp_before_max(Duration::from_millis(5))
        .message_timestamp_after_max(Duration::from_millis(6))
        .compression_type(Compression::Zstd)
        .compression_zstd_level(7);
    let rules = Rules::of(&config, 8);
    assert_eq!((rules.max_message_bytes, rules.compacted, rules.now), (777, true, 8));
    assert_eq!((rules.before_max, rules.after_max, rules.level), (5, 6, Some(7)));
    assert_eq!(Rules::of(&TopicConfig::new(), 0).before_max, i64::MAX);
}

proptest! {
    /// Whatever is accepted is a batch whose records can all be read, of the size and the codec that the topic wants.
    #[test]
    fn no_bytes_do_harm(
        codec in 0_u8..5,
        target in proptest::option::of(0_u8..5),
        count in 1_i64..20,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        sealed in any::<bool>(),
        compacted in any::<bool>(),
    ) {
        let codec = Compression::from_id(codec).filter(|codec| codec.is_supported()).unwrap_or(Compression::None);
        let mut bytes = builder(count).finish(codec, None).unwrap().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if sealed {
            seal(&mut bytes);
        }
        let target = target.and_then(Compression::from_id).filter(|codec| codec.is_supported());
        let compression = target.map_or(TopicCompression::Producer, TopicCompression::Codec);
        let rules = Rules { compression, compacted, ..rules() };
        if let Ok(stored) = run(&bytes, &rules) {
            let batch = Batch::first(&stored).unwrap().unwrap();
            prop_assert_eq!(batch.size(), stored.len());
            prop_assert!(target.is_none_or(|target| batch.compression() == Ok(target)));
            let records = records(&stored);
            prop_assert!(records.iter().map(|row| row.0).eq(0..i64::from(batch.record_count())));
            prop_assert_eq!(records.iter().map(|row| row.1).max(), Some(batch.max_timestamp()));
            prop_assert!(!compacted || records.iter().all(|row| row.2.is_some()));
        }
    }
}

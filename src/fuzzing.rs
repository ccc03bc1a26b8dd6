//! Doors for the fuzzer to parts that take bytes. Not part of a normal build.

use crate::config::{CleanupPolicy, TopicConfig};
use crate::group::decode_offsets_record;
use crate::record::{Batch, Batches, HEADER_LEN, Inflater, RecordIter, Rules, assign, seal, validate};
use crate::types::Compression;

/// Most bytes that a batch may be inflated to.
const INFLATED_MAX: usize = 1 << 20;

/// Reads `bytes` as record batches, and hands them in as one of a client's.
pub fn batch(bytes: &[u8]) {
    batches(bytes);
    for config in [
        TopicConfig::new(),
        TopicConfig::new().cleanup_policy(CleanupPolicy::Compact).compression_type(Compression::None),
        TopicConfig::new().compression_type(Compression::Lz4),
    ] {
        clients_batch(bytes, &config);
    }
}

/// What a topic accepts of a client must be one batch that can be read.
fn clients_batch(bytes: &[u8], config: &TopicConfig) {
    let mut bytes = bytes.to_vec();
    let rules = Rules { inflated_max: INFLATED_MAX, ..Rules::of(config, 1_700_000_000_000) };
    let mut inflater = Inflater::default();
    let _ = validate(&mut bytes.clone(), &rules, &mut inflater);
    if bytes.len() < HEADER_LEN {
        return;
    }
    // What no client can get wrong by chance is put right, so that there is something left to look at.
    assign(&mut bytes, 0, 0);
    let size = i32::try_from(bytes.len() - 12).unwrap_or(i32::MAX);
    if let Some(place) = bytes.get_mut(8..12) {
        place.copy_from_slice(&size.to_be_bytes());
    }
    seal(&mut bytes);
    let Ok(rebuilt) = validate(&mut bytes, &rules, &mut inflater) else { return };
    let stored = rebuilt.unwrap_or(bytes);
    assert!(stored.len() <= rules.max_message_bytes);
    let batch = Batch::first(&stored).ok().flatten().expect("it was accepted");
    assert_eq!((batch.size(), batch.verify_crc()), (stored.len(), Ok(())));
    let area = batch.records_area(&mut inflater, INFLATED_MAX).expect("it was accepted");
    assert_eq!(batch.check_records(area), Ok(()));
    assert!(RecordIter::new(batch, area).map(|record| record.offset()).eq(0..i64::from(batch.record_count())));
}

/// Reads `bytes` as record batches, down to the last header: whatever is accepted must be walked to its end.
fn batches(bytes: &[u8]) {
    let mut inflater = Inflater::default();
    for batch in Batches::new(bytes) {
        let Ok((position, batch)) = batch else { return };
        assert_eq!(bytes.get(position..position + batch.size()), Some(batch.bytes()));
        let _ = batch.verify_crc();
        let Ok(area) = batch.records_area(&mut inflater, INFLATED_MAX) else { continue };
        if batch.check_records(area).is_err() {
            continue;
        }
        let mut expected = batch.base_offset();
        let mut count = 0;
        for record in RecordIter::new(batch, area) {
            assert!(expected <= record.offset() && record.offset() <= batch.last_offset());
            expected = record.offset() + 1;
            count += 1;
            let _ = record
                .headers()
                .map(|header| header.key().len() + header.value().map_or(0, <[u8]>::len))
                .sum::<usize>();
        }
        assert_eq!(count, batch.record_count());
    }
}

/// Reads the first part of `bytes` as the key and the rest as the value of a record of `__consumer_offsets`. The first
/// byte is the length of the key; what is read must be written as something that reads as the same.
pub fn offsets(bytes: &[u8]) {
    let Some((key_len, rest)) = bytes.split_first() else { return };
    let (key, value) = rest.split_at_checked(usize::from(*key_len)).unwrap_or((rest, &[]));
    decode_offsets_record(key, None);
    decode_offsets_record(key, Some(value));
}

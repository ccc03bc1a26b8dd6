//! Doors for the fuzzer to parts that take bytes. Not part of a normal build.

use crate::group::decode_offsets_record;
use crate::record::{Batches, Inflater, RecordIter};

/// Most bytes that a batch may be inflated to.
const INFLATED_MAX: usize = 1 << 20;

/// Reads `bytes` as record batches, down to the last header: whatever is accepted must be walked to its end.
pub fn batch(bytes: &[u8]) {
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

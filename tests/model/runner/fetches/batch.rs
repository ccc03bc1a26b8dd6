//! Batches as bytes: records.md 2 and 3, as short as can be.

use thalweg::{Offset, Timestamp};

/// Of every record.
pub const TIMESTAMP: Timestamp = 1_700_000_000_000;

/// The value of a record: its number, as far as there is room.
pub fn value(number: usize, len: usize) -> Vec<u8> {
    let mut value = (number as u64).to_be_bytes().to_vec();
    value.resize(len, b'v');
    value
}

/// A batch whose offsets end at `end`, and whose records follow each other from `base` on.
pub fn encode(base: Offset, end: Offset, epoch: i32, values: &[Vec<u8>]) -> Vec<u8> {
    let mut records = Vec::new();
    for (delta, value) in values.iter().enumerate() {
        let mut record = vec![0]; // attributes
        varint(&mut record, 0); // timestamp delta
        varint(&mut record, delta as i64);
        varint(&mut record, -1); // no key
        varint(&mut record, value.len() as i64);
        record.extend_from_slice(value);
        varint(&mut record, 0); // no headers
        varint(&mut records, record.len() as i64);
        records.extend_from_slice(&record);
    }
    let mut checked = Vec::new();
    checked.extend_from_slice(&0_i16.to_be_bytes()); // attributes
    checked.extend_from_slice(&((end - base - 1) as i32).to_be_bytes());
    checked.extend_from_slice(&TIMESTAMP.to_be_bytes());
    checked.extend_from_slice(&TIMESTAMP.to_be_bytes());
    checked.extend_from_slice(&(-1_i64).to_be_bytes()); // no producer
    checked.extend_from_slice(&(-1_i16).to_be_bytes());
    checked.extend_from_slice(&(-1_i32).to_be_bytes());
    checked.extend_from_slice(&(values.len() as i32).to_be_bytes());
    checked.extend_from_slice(&records);
    let mut batch = base.to_be_bytes().to_vec();
    batch.extend_from_slice(&((checked.len() + 9) as i32).to_be_bytes());
    batch.extend_from_slice(&epoch.to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch
}

fn varint(to: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        to.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    to.push(zigzag as u8);
}

/// Bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

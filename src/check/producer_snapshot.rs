//! The state of idempotent producers as Kafka keeps it beside a log.

use crate::record::crc32c;
use crate::types::{Offset, Timestamp};

/// Bytes of a producer (log.md 7, `ProducerSnapshot.json`).
const ENTRY_LEN: usize = 46;

/// A producer in a `<offset>.snapshot`: its newest batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProducerEntry {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    pub(super) last_sequence: i32,
    pub(super) last_offset: Offset,
    pub(super) offset_delta: i32,
    pub(super) timestamp: Timestamp,
    pub(super) coordinator_epoch: i32,
    /// -1 for none.
    pub(super) current_txn_first_offset: Offset,
}

/// Reads a snapshot: `i16 version 1, u32 crc, i32 count`, and the producers. Or says what is wrong with it.
pub(super) fn parse_snapshot(bytes: &[u8]) -> Result<Vec<ProducerEntry>, String> {
    let short = || "it ends before its producers".to_owned();
    let (version, rest) = bytes.split_first_chunk().ok_or_else(short)?;
    if i16::from_be_bytes(*version) != 1 {
        return Err(format!("version {} is not known here", i16::from_be_bytes(*version)));
    }
    let (crc, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (stored, computed) = (u32::from_be_bytes(*crc), crc32c(rest));
    if stored != computed {
        return Err(format!("the checksum is {computed:08x} but the file says {stored:08x}"));
    }
    let (count, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (entries, behind) = rest.as_chunks::<ENTRY_LEN>();
    if usize::try_from(i32::from_be_bytes(*count)) != Ok(entries.len()) || !behind.is_empty() {
        return Err(format!("{} bytes are not {} producers", rest.len(), i32::from_be_bytes(*count)));
    }
    entries.iter().map(|entry| parse_entry(entry).ok_or_else(short)).collect()
}

fn parse_entry(bytes: &[u8]) -> Option<ProducerEntry> {
    let (producer_id, rest) = bytes.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (last_sequence, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (offset_delta, rest) = rest.split_first_chunk()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (coordinator_epoch, rest) = rest.split_first_chunk()?;
    let (current_txn_first_offset, _) = rest.split_first_chunk()?;
    Some(ProducerEntry {
        producer_id: i64::from_be_bytes(*producer_id),
        epoch: i16::from_be_bytes(*epoch),
        last_sequence: i32::from_be_bytes(*last_sequence),
        last_offset: i64::from_be_bytes(*last_offset),
        offset_delta: i32::from_be_bytes(*offset_delta),
        timestamp: i64::from_be_bytes(*timestamp),
        coordinator_epoch: i32::from_be_bytes(*coordinator_epoch),
        current_txn_first_offset: i64::from_be_bytes(*current_txn_first_offset),
    })
}

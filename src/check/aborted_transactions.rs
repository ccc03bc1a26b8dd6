//! The aborted transactions of a segment as Kafka keeps them beside it.

use crate::types::Offset;

/// Bytes of an entry (log.md 7, `AbortedTxn.json`).
const ENTRY_LEN: usize = 34;

/// A transaction in a `<base>.txnindex`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AbortedTransaction {
    pub(super) version: i16,
    pub(super) producer_id: i64,
    pub(super) first_offset: Offset,
    /// The offset of its marker.
    pub(super) last_offset: Offset,
    pub(super) last_stable_offset: Offset,
}

/// Reads the entries that can be read, and says what is wrong behind them, and where.
pub(super) fn parse_txn_index(bytes: &[u8], base: Offset) -> (Vec<AbortedTransaction>, Option<(u64, String)>) {
    let (chunks, behind) = bytes.as_chunks::<ENTRY_LEN>();
    let mut entries: Vec<AbortedTransaction> = Vec::new();
    for (at, chunk) in chunks.iter().enumerate() {
        let file_pos = (at * ENTRY_LEN) as u64;
        let Some(entry) = parse_entry(chunk) else { break };
        if entry.version != 0 {
            return (entries, Some((file_pos, format!("version {} is not known here", entry.version))));
        }
        if entry.last_offset < base || entries.last().is_some_and(|last| entry.last_offset <= last.last_offset) {
            let what = format!("the marker at offset {} is out of order or below the segment", entry.last_offset);
            return (entries, Some((file_pos, what)));
        }
        entries.push(entry);
    }
    let torn =
        (!behind.is_empty()).then(|| ((bytes.len() - behind.len()) as u64, "an entry without its end".to_owned()));
    (entries, torn)
}

fn parse_entry(bytes: &[u8]) -> Option<AbortedTransaction> {
    let (version, rest) = bytes.split_first_chunk()?;
    let (producer_id, rest) = rest.split_first_chunk()?;
    let (first_offset, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (last_stable_offset, _) = rest.split_first_chunk()?;
    Some(AbortedTransaction {
        version: i16::from_be_bytes(*version),
        producer_id: i64::from_be_bytes(*producer_id),
        first_offset: i64::from_be_bytes(*first_offset),
        last_offset: i64::from_be_bytes(*last_offset),
        last_stable_offset: i64::from_be_bytes(*last_stable_offset),
    })
}

//! Printing the files beside a segment.

use std::io::{self, Write};

use super::aborted_transactions::parse_txn_index;
use super::index_check::{offset_entries, time_entries};
use crate::log::{ProducerEntry, parse_snapshot};
use crate::types::Offset;

/// A text file, line by line, with what is not printable escaped.
pub(super) fn dump_text(bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    body.split(|byte| *byte == b'\n').filter(|_| !body.is_empty()).try_for_each(|line| {
        let escape = |byte: &u8| {
            if (b' '..=b'~').contains(byte) { char::from(*byte).to_string() } else { format!("\\x{byte:02x}") }
        };
        writeln!(out, "{}", line.iter().map(escape).collect::<String>())
    })
}

pub(super) fn dump_offset_index(bytes: &[u8], base: Offset, out: &mut dyn Write) -> io::Result<()> {
    for (position, offset) in offset_entries(bytes, base) {
        writeln!(out, "offset: {offset} position: {position}")?;
    }
    dump_rest(bytes.len() % 8, out)
}

pub(super) fn dump_time_index(bytes: &[u8], base: Offset, out: &mut dyn Write) -> io::Result<()> {
    for (timestamp, offset) in time_entries(bytes, base) {
        writeln!(out, "timestamp: {timestamp} offset: {offset}")?;
    }
    dump_rest(bytes.len() % 12, out)
}

fn dump_rest(bytes: usize, out: &mut dyn Write) -> io::Result<()> {
    if bytes > 0 { writeln!(out, "damage: {bytes} bytes are left behind the last entry") } else { Ok(()) }
}

pub(super) fn dump_txn_index(bytes: &[u8], base: Offset, out: &mut dyn Write) -> io::Result<()> {
    let (entries, damage) = parse_txn_index(bytes, base);
    for entry in entries {
        writeln!(
            out,
            "version: {} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            entry.version, entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable_offset
        )?;
    }
    damage.map_or(Ok(()), |(file_pos, what)| writeln!(out, "damage at position: {file_pos} {what}"))
}

pub(super) fn dump_snapshot(bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let entries = match parse_snapshot(bytes) {
        Ok(entries) => entries,
        Err(what) => return writeln!(out, "damage: {what}"),
    };
    entries.iter().try_for_each(|ProducerEntry { producer_id, state }| {
        write!(
            out,
            "producerId: {producer_id} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} lastTimestamp: {} \
             lastSeen: {}",
            state.epoch,
            state.coordinator_epoch,
            state.transaction_start.unwrap_or(-1),
            state.last_timestamp,
            state.seen
        )?;
        for batch in state.batches() {
            write!(
                out,
                " (sequences: {} to {} offsets: {} to {} timestamp: {})",
                batch.first_sequence(),
                batch.last_sequence,
                batch.base_offset(),
                batch.last_offset,
                batch.timestamp
            )?;
        }
        writeln!(out)
    })
}

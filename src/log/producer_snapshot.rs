//! Snapshots: what is known of producers, in a file beside the segments.
//!
//! `<offset>.snapshot` says what was known before `offset`. Its first part is Kafka's (log.md 7), which has the newest
//! batch of each producer; a Kafka broker that takes the directory over reads that, and passes over what lies behind. The
//! second part has what is needed to answer repeats of all five batches after a restart.
//!
//! | bytes | content |
//! |---|---|
//! | 2 | version, 1 |
//! | 4 | CRC-32C of everything behind this field, the second part included |
//! | 4 | number of producers |
//! | 46 each | producer id 8, epoch 2, last sequence 4, last offset 8, offset delta 4, timestamp 8, coordinator epoch 4, first offset of the open transaction 8; -1 for none |
//! | 8 | `thalweg` and the version of this part, 1 |
//! | for each producer, in the same order | when it was last seen 8, number of batches 1, and of each batch, the newest last: last sequence 4, offset delta 4, last offset 8, timestamp 8 |
//!
//! All numbers are big-endian. A file that a Kafka broker wrote ends after the first part: then the newest batch of each
//! producer is known. The checksum covers both parts, so a file that was torn or is of two minds is seen to be damaged.
//!
//! The alternatives were a file of its own, which can contradict Kafka's, and replaying from an earlier snapshot, which
//! reads up to a whole segment at each open and finds no batch that retention has removed.

use super::producer_state::{BATCHES_MAX, ProducerBatch, ProducerState, ProducerStates};
use crate::record::crc32c;
use crate::types::{NO_TIMESTAMP, Offset, Timestamp};

/// Ending of a snapshot's name.
const EXTENSION: &str = ".snapshot";

const VERSION: i16 = 1;

/// Bytes of a producer in Kafka's part (log.md 7, `ProducerSnapshot.json`).
const ENTRY_LEN: usize = 46;

/// The beginning of the second part, with its version at the end.
const MARK: [u8; 8] = *b"thalweg\x01";

/// Bytes in front of the first producer: version, checksum, number.
const HEADER_LEN: usize = 10;

/// Where the checksum lies, and what it covers begins.
const CRC_OFFSET: usize = 2;
const CRC_END: usize = 6;

/// A producer in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerEntry {
    pub(crate) producer_id: i64,
    pub(crate) state: ProducerState,
}

/// The name of the snapshot of what is known before `offset`.
pub(crate) fn snapshot_name(offset: Offset) -> String {
    format!("{offset:020}{EXTENSION}")
}

/// The offset that a snapshot is named after, if that is what the file is.
pub(crate) fn snapshot_offset(name: &str) -> Option<Offset> {
    let stem = name.strip_suffix(EXTENSION)?;
    let is_offset = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
    if is_offset { stem.parse().ok() } else { None }
}

/// The content of a snapshot.
pub(crate) fn encode_snapshot(states: &ProducerStates) -> Vec<u8> {
    let producers = states.sorted();
    let mut bytes = Vec::with_capacity(HEADER_LEN + MARK.len() + producers.len() * (ENTRY_LEN + 9 + BATCHES_MAX * 24));
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(i32::try_from(producers.len()).unwrap_or(i32::MAX).to_be_bytes());
    let producers = producers.get(..i32::MAX as usize).unwrap_or(&producers);
    producers.iter().for_each(|(id, state)| put_entry(&mut bytes, *id, state));
    bytes.extend(MARK);
    for (_, state) in producers {
        bytes.extend(state.seen.to_be_bytes());
        bytes.push(u8::try_from(state.batches().len()).unwrap_or(0)); // 5 at most
        for batch in state.batches() {
            bytes.extend(batch.last_sequence.to_be_bytes());
            bytes.extend(batch.offset_delta.to_be_bytes());
            bytes.extend(batch.last_offset.to_be_bytes());
            bytes.extend(batch.timestamp.to_be_bytes());
        }
    }
    let crc = crc32c(bytes.get(CRC_END..).unwrap_or_default());
    if let Some(field) = bytes.get_mut(CRC_OFFSET..CRC_END) {
        field.copy_from_slice(&crc.to_be_bytes());
    }
    bytes
}

fn put_entry(bytes: &mut Vec<u8>, producer_id: i64, state: &ProducerState) {
    let none = ProducerBatch { last_sequence: -1, offset_delta: 0, last_offset: -1, timestamp: NO_TIMESTAMP };
    let newest = state.batches().last().unwrap_or(&none);
    bytes.extend(producer_id.to_be_bytes());
    bytes.extend(state.epoch.to_be_bytes());
    bytes.extend(newest.last_sequence.to_be_bytes());
    bytes.extend(newest.last_offset.to_be_bytes());
    bytes.extend(newest.offset_delta.to_be_bytes());
    bytes.extend(state.last_timestamp.to_be_bytes());
    bytes.extend(state.coordinator_epoch.to_be_bytes());
    bytes.extend(state.transaction_start.unwrap_or(-1).to_be_bytes());
}

/// Reads a snapshot, ours or a Kafka broker's, or says what is wrong with it.
pub(crate) fn parse_snapshot(bytes: &[u8]) -> Result<Vec<ProducerEntry>, String> {
    let short = || "it ends before its producers".to_owned();
    let mut fields = Fields(bytes);
    let version = fields.i16().ok_or_else(short)?;
    if version != VERSION {
        return Err(format!("version {version} is not known here"));
    }
    let stored = fields.i32().ok_or_else(short)? as u32;
    let computed = crc32c(fields.0);
    if stored != computed {
        return Err(format!("the checksum is {computed:08x} but the file says {stored:08x}"));
    }
    let count = fields.i32().ok_or_else(short)?;
    let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(ENTRY_LEN));
    if len.is_none_or(|len| fields.0.len() < len) {
        return Err(format!("{} bytes are not {count} producers", fields.0.len()));
    }
    let mut entries = (0..count).map(|_| entry(&mut fields).ok_or_else(short)).collect::<Result<Vec<_>, _>>()?;
    if let Some(rest) = fields.0.strip_prefix(&MARK) {
        let mut fields = Fields(rest);
        let read = entries.iter_mut().all(|entry| put_batches(&mut fields, &mut entry.state).is_some());
        if !read || !fields.0.is_empty() {
            return Err("what lies behind the producers are not their batches".to_owned());
        }
    } else if !fields.0.is_empty() {
        return Err(format!("{} bytes are left behind {count} producers", fields.0.len()));
    }
    Ok(entries)
}

fn entry(fields: &mut Fields<'_>) -> Option<ProducerEntry> {
    let (producer_id, epoch, last_sequence) = (fields.i64()?, fields.i16()?, fields.i32()?);
    let (last_offset, offset_delta, timestamp) = (fields.i64()?, fields.i32()?, fields.i64()?);
    let (coordinator_epoch, transaction_start) = (fields.i32()?, fields.i64()?);
    let mut state = ProducerState::new(epoch, timestamp);
    state.last_timestamp = timestamp;
    state.coordinator_epoch = coordinator_epoch;
    state.transaction_start = Some(transaction_start).filter(|start| 0 <= *start);
    if 0 <= last_offset {
        state.push(ProducerBatch { last_sequence, offset_delta: offset_delta.max(0), last_offset, timestamp });
    }
    Some(ProducerEntry { producer_id, state })
}

/// Puts in what the second part says of a producer.
fn put_batches(fields: &mut Fields<'_>, state: &mut ProducerState) -> Option<()> {
    let seen: Timestamp = fields.i64()?;
    let count = fields.take::<1>().map(|[count]| usize::from(count)).filter(|count| *count <= BATCHES_MAX)?;
    let mut with_batches = ProducerState::new(state.epoch, seen);
    with_batches.last_timestamp = state.last_timestamp;
    with_batches.coordinator_epoch = state.coordinator_epoch;
    with_batches.transaction_start = state.transaction_start;
    for _ in 0..count {
        let (last_sequence, offset_delta) = (fields.i32()?, fields.i32()?.max(0));
        let (last_offset, timestamp) = (fields.i64()?, fields.i64()?);
        with_batches.push(ProducerBatch { last_sequence, offset_delta, last_offset, timestamp });
    }
    *state = with_batches;
    Some(())
}

/// The bytes that are left to be read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ProducerStates {
        let mut states = ProducerStates::default();
        for id in [9, 4711] {
            let mut state = ProducerState::new(3, 77);
            state.last_timestamp = 1000 + id;
            state.transaction_start = (id == 9).then_some(12);
            for at in 0..(id as i32 % 7) {
                let last_offset = 10 * Offset::from(at) + 9;
                state.push(ProducerBatch { last_sequence: at, offset_delta: 3, last_offset, timestamp: 5 });
            }
            states.restore(id, state);
        }
        states.restore(1, ProducerState::new(0, 5)); // after a marker of a new epoch
        states
    }

    #[test]
    fn round_trip() {
        for states in [ProducerStates::default(), sample()] {
            let mut again = ProducerStates::default();
            let bytes = encode_snapshot(&states);
            parse_snapshot(&bytes).unwrap().into_iter().for_each(|entry| again.restore(entry.producer_id, entry.state));
            assert_eq!(again.sorted(), states.sorted());
            assert_eq!(encode_snapshot(&again), bytes);
        }
    }

    #[test]
    fn the_first_part_alone_has_the_newest_batches() {
        let states = sample();
        let mut bytes = encode_snapshot(&states);
        bytes.truncate(HEADER_LEN + 3 * ENTRY_LEN);
        let crc = crc32c(&bytes[CRC_END..]);
        bytes[CRC_OFFSET..CRC_END].copy_from_slice(&crc.to_be_bytes());
        let newest: Vec<_> = states.sorted().iter().map(|(_, state)| state.batches().last().copied()).collect();
        let parsed = parse_snapshot(&bytes).unwrap();
        let (none, some) = (parsed[0].state, parsed[1].state);
        assert_eq!((none.batches(), newest[0]), (&[][..], None));
        assert_eq!(some.batches().len(), 1);
        assert_eq!(some.batches()[0].last_offset, newest[1].unwrap().last_offset);
        assert_eq!(some.transaction_start, Some(12));
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let bytes = encode_snapshot(&sample());
        for len in 0..bytes.len() {
            parse_snapshot(&bytes[..len]).unwrap_err();
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            parse_snapshot(&changed).unwrap_err();
        }
    }

    #[test]
    fn numbers_that_cannot_be_with_a_right_checksum_do_no_harm() {
        let bytes = encode_snapshot(&sample());
        for at in CRC_END..bytes.len() {
            for value in [0x00, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let crc = crc32c(&changed[CRC_END..]);
                changed[CRC_OFFSET..CRC_END].copy_from_slice(&crc.to_be_bytes());
                for entry in parse_snapshot(&changed).unwrap_or_default() {
                    for batch in entry.state.batches() {
                        let _ = (batch.first_sequence(), batch.base_offset(), batch.end());
                    }
                }
            }
        }
    }

    #[test]
    fn names_are_kafkas() {
        assert_eq!(snapshot_name(4711), "00000000000000004711.snapshot");
        assert_eq!(snapshot_offset("00000000000000004711.snapshot"), Some(4711));
        for other in ["4711.snapshot", "0000000000000000471x.snapshot", "00000000000000004711.log", ".snapshot"] {
            assert_eq!(snapshot_offset(other), None);
        }
    }
}

//! The one walk over the batches of a `.log` file, behind recovery and index rebuilding.

use std::io;
use std::ops::ControlFlow;

use super::reader::{bad_offsets, follows};
use crate::record::{Batch, HEADER_LEN, Malformed};
use crate::sys::DiskFile;
use crate::types::{FilePos, Offset};

/// Read in pieces of this size: large enough to stream, small enough to stay in the processor's cache.
const PIECE: usize = 256 * 1024;

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// End of the last batch that holds: everything before it was checked, CRC included.
    pub(crate) valid_end: FilePos,
    /// The offset after the last batch that holds.
    pub(crate) next_offset: Offset,
    /// Batches that hold.
    pub(crate) batches: u64,
    /// Why the scan stopped before the end of the file; `None` if it did not.
    pub(crate) damage: Option<Damage>,
    /// Behind it there is nothing but zeros, up to the end of the file. Batches can end in zeros of their own, so it is not
    /// before `valid_end`, but may lie before the end of one that does not hold.
    pub(crate) data_end: FilePos,
}

/// Which offsets the batches of a segment may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanOffsets {
    /// The segment's base offset.
    pub(crate) base: Offset,
    /// The offset of the first batch.
    pub(crate) from: Offset,
    /// Below it there may be gaps.
    pub(crate) gaps_below: Offset,
}

/// What stands where the next batch should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The file ends before the batch does, or has zeros from somewhere in the batch to its end, as a write leaves it
    /// that did not end and had room reserved.
    Torn,
    /// Nothing but zeros up to the end of the file: space that was reserved or grown but never written.
    Zeros,
    /// The bytes are not a batch, or not the one that was written.
    Malformed(Malformed),
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damage::Torn => f.write_str("the file ends within a batch"),
            Damage::Zeros => f.write_str("zeros"),
            Damage::Malformed(malformed) => malformed.fmt(f),
        }
    }
}

/// Walks the batches of `file` from byte `from` to byte `end`, checking size, checksum and order, and shows each to
/// `visit` with its position. Reads through the file, not through a map, so that a failing device is an error value.
///
/// Offsets must lie in `base ..= base + i32::MAX`, begin at `offsets.from`, and follow each other, but for gaps where
/// `offsets` allows them (records.md 10).
pub(crate) fn scan(
    file: &dyn DiskFile,
    (from, end): (FilePos, FilePos),
    offsets: ScanOffsets,
    visit: impl FnMut(FilePos, &Batch<'_>),
) -> io::Result<Scan> {
    let mut found = scan_whole(file, (from, end), offsets, visit)?;
    let Some(damage) = found.damage else { return Ok(found) };
    found.data_end = data_end(file, found.valid_end, end)?;
    if found.data_end == found.valid_end {
        found.damage = Some(Damage::Zeros);
    } else if matches!(damage, Damage::Malformed(_)) && ends_in_room(file, &found)? {
        found.damage = Some(Damage::Torn);
    }
    Ok(found)
}

/// As [`scan`], and does not look beyond the first batch that does not hold: `data_end` is the end of the file, and zeros
/// are not told from other bytes that are no batch.
pub(crate) fn scan_whole(
    file: &dyn DiskFile,
    (from, end): (FilePos, FilePos),
    offsets: ScanOffsets,
    mut visit: impl FnMut(FilePos, &Batch<'_>),
) -> io::Result<Scan> {
    let mut found = Scan { valid_end: from, next_offset: offsets.from, batches: 0, damage: None, data_end: end };
    let mut piece = Piece::default();
    while found.valid_end < end {
        let left = end - found.valid_end;
        piece.fill(file, found.valid_end, left.min(PIECE as FilePos))?;
        let mut bytes = piece.bytes.as_slice();
        if bytes.is_empty() {
            found.damage = Some(Damage::Torn); // the file is shorter than it was
            break;
        }
        if let Some(size) = announced_size(bytes).filter(|size| bytes.len() < *size && *size <= left as usize) {
            piece.fill(file, found.valid_end, size as FilePos)?;
            bytes = piece.bytes.as_slice();
        }
        let outcome = walk(bytes, offsets, &mut found, &mut visit);
        if let ControlFlow::Break(damage) = outcome {
            found.damage = Some(damage);
            break;
        }
    }
    Ok(found)
}

/// Walks the whole batches of one piece. Goes on when the next batch reaches beyond the piece, breaks when it cannot
/// be had from the file either.
fn walk(
    mut bytes: &[u8],
    offsets: ScanOffsets,
    found: &mut Scan,
    visit: &mut impl FnMut(FilePos, &Batch<'_>),
) -> ControlFlow<Damage> {
    let before = found.batches;
    while !bytes.is_empty() {
        let batch = match check(bytes, offsets, found.next_offset) {
            Ok(Some(batch)) => batch,
            Ok(None) if found.batches > before => return ControlFlow::Continue(()),
            Ok(None) => return ControlFlow::Break(Damage::Torn),
            Err(malformed) => return ControlFlow::Break(Damage::Malformed(malformed)),
        };
        visit(found.valid_end, &batch);
        found.valid_end += batch.size() as FilePos;
        found.next_offset = batch.next_offset();
        found.batches += 1;
        bytes = bytes.get(batch.size()..).unwrap_or_default();
    }
    ControlFlow::Continue(())
}

/// Whether a whole batch with the right checksum stands anywhere behind byte `from`: then the damage there is not just
/// a batch whose end is missing.
pub(crate) fn holds_batch_behind(
    file: &dyn DiskFile,
    range: (FilePos, FilePos),
    offsets: (Offset, Offset),
) -> io::Result<bool> {
    Ok(!matches!(search(file, range, offsets, CANDIDATE_BYTES_MAX)?, Search::Nothing))
}

/// Bytes that are read for what only looks like a batch. Whoever sends records chooses their content, and could make every
/// byte of a torn batch look like the beginning of one: then it counts as one that may hold others.
const CANDIDATE_BYTES_MAX: u64 = 64 << 20;

/// What a search came to.
enum Search {
    Found(FilePos),
    Nothing,
    GaveUp,
}

/// Where the first whole batch with the right checksum begins behind byte `from`, of a segment at `base` and with no
/// offset below `expected`.
///
/// Looks at every position for what can be a header, and at the checksum only there.
pub(crate) fn find_batch_behind(
    file: &dyn DiskFile,
    range: (FilePos, FilePos),
    offsets: (Offset, Offset),
) -> io::Result<Option<FilePos>> {
    match search(file, range, offsets, u64::MAX)? {
        Search::Found(file_pos) => Ok(Some(file_pos)),
        Search::Nothing | Search::GaveUp => Ok(None),
    }
}

fn search(
    file: &dyn DiskFile,
    (from, end): (FilePos, FilePos),
    (base, expected): (Offset, Offset),
    bytes_max: u64,
) -> io::Result<Search> {
    let (mut piece, mut candidate) = (Piece::default(), Piece::default());
    let (mut at, mut bytes_left) = (from + 1, bytes_max);
    while at < end {
        piece.fill(file, at, (end - at).min(PIECE as FilePos))?;
        for (ahead, header) in piece.bytes.windows(HEADER_LEN).enumerate() {
            let start = at + ahead as FilePos;
            let Some(size) = plausible_size(header, base, expected).filter(|size| *size <= end - start) else {
                continue;
            };
            let Some(left) = bytes_left.checked_sub(u64::from(size)) else { return Ok(Search::GaveUp) };
            bytes_left = left;
            candidate.fill(file, start, size)?;
            let offsets = ScanOffsets { base, from: base, gaps_below: Offset::MAX };
            if matches!(check(&candidate.bytes, offsets, expected), Ok(Some(_))) {
                return Ok(Search::Found(start));
            }
        }
        let Some(walked) = piece.bytes.len().checked_sub(HEADER_LEN - 1).filter(|walked| *walked > 0) else { break };
        at += walked as FilePos;
    }
    Ok(Search::Nothing)
}

/// The size that a header announces, if its fields can be those of a batch of this segment. Strict, because reading the
/// whole batch at each of millions of positions would take for ever.
fn plausible_size(header: &[u8], base: Offset, expected: Offset) -> Option<FilePos> {
    if header.get(16) != Some(&2) {
        return None;
    }
    let base_offset = i64::from_be_bytes(*header.first_chunk()?);
    if base_offset < expected || base.saturating_add(Offset::from(i32::MAX)) < base_offset {
        return None;
    }
    let field = |at: usize| Some(i32::from_be_bytes(*header.get(at..)?.first_chunk()?));
    let (last_offset_delta, record_count) = (field(23)?, field(57)?);
    if last_offset_delta < 0 || record_count < 0 || i64::from(last_offset_delta) + 1 < i64::from(record_count) {
        return None;
    }
    let size = announced_size(header).filter(|size| *size >= HEADER_LEN)?;
    FilePos::try_from(size).ok()
}

fn check(bytes: &[u8], offsets: ScanOffsets, expected: Offset) -> Result<Option<Batch<'_>>, Malformed> {
    let Some(batch) = Batch::first(bytes)? else { return Ok(None) };
    let highest = offsets.base.saturating_add(Offset::from(i32::MAX));
    if !follows(&batch, expected, offsets.gaps_below) || batch.last_offset() > highest {
        return Err(bad_offsets(&batch));
    }
    batch.verify_crc()?;
    Ok(Some(batch))
}

/// Total size that the batch at the beginning of `bytes` announces, right or wrong.
fn announced_size(bytes: &[u8]) -> Option<usize> {
    let length = i32::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
    usize::try_from(length).ok()?.checked_add(12)
}

/// Whether something may have been written at `at`: a batch begins with its offset and its size, not with zeros only.
pub(crate) fn announces_batch(file: &dyn DiskFile, at: FilePos) -> io::Result<bool> {
    let mut piece = Piece::default();
    piece.fill(file, at, HEADER_LEN as FilePos)?;
    Ok(piece.bytes.iter().any(|byte| *byte != 0))
}

/// The end of the last byte in `from..end` that is not zero; `from` if there is none. Reads from the end.
pub(crate) fn data_end(file: &dyn DiskFile, from: FilePos, end: FilePos) -> io::Result<FilePos> {
    let mut piece = Piece::default();
    let mut at = end;
    while from < at {
        let start = at.saturating_sub(PIECE as FilePos).max(from);
        piece.fill(file, start, at - start)?;
        if let Some(last) = piece.bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as FilePos + 1);
        }
        at = start;
    }
    Ok(from)
}

/// Whether the batch where a scan stopped reaches into zeros that go on to the end of the file, and at least the sector
/// that begins there is empty: devices and systems tear writes between sectors, not within. A batch that is there to its
/// end and is wrong elsewhere can end in zeros, too, but hardly in such.
fn ends_in_room(file: &dyn DiskFile, found: &Scan) -> io::Result<bool> {
    let mut header = Piece::default();
    header.fill(file, found.valid_end, HEADER_LEN as FilePos)?;
    let size = announced_size(&header.bytes).unwrap_or(0).max(HEADER_LEN) as u64;
    let written_end = u64::from(found.data_end).next_multiple_of(SECTOR);
    Ok(written_end + MISSING_MIN <= u64::from(found.valid_end) + size)
}

/// Bytes that arrive on a device together or not at all, on any device.
const SECTOR: u64 = 512;

/// Zeros that count as missing bytes: a record ends in one zero if it has no headers, and integers can end in seven.
const MISSING_MIN: u64 = 8;

/// A reused buffer over a part of the file.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
}

impl Piece {
    fn fill(&mut self, file: &dyn DiskFile, from: FilePos, len: FilePos) -> io::Result<()> {
        self.bytes.resize(len as usize, 0);
        let read = file.read_at(&mut self.bytes, u64::from(from))?;
        self.bytes.truncate(read);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, Compression};
    use crate::sys::{Disk, OpenMode, RealDisk};

    fn batch(base: Offset, value: &[u8]) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.push(1000, None, Some(value), std::iter::empty());
        let bytes = builder.finish(Compression::None, None).unwrap();
        crate::record::assign(bytes, base, 0);
        bytes.to_vec()
    }

    fn scan_bytes(bytes: &[u8]) -> Scan {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk::default().open(&dir.path().join("x"), OpenMode::Create).unwrap();
        file.write_at(bytes, 0).unwrap();
        let offsets = ScanOffsets { base: 0, from: 0, gaps_below: 2 };
        scan(&*file, (0, bytes.len() as FilePos), offsets, |_, _| {}).unwrap()
    }

    #[test]
    fn a_whole_file_holds() {
        let large = vec![7; 3 * PIECE]; // larger than a piece
        let bytes = [batch(1, b"gap before"), batch(2, &large), batch(3, b"c")].concat();
        let found = scan_bytes(&bytes);
        assert_eq!((found.valid_end, found.next_offset, found.batches), (bytes.len() as FilePos, 4, 3));
        assert_eq!(found.damage, None);
    }

    #[test]
    fn a_torn_last_batch_ends_the_valid_part_at_every_length() {
        let first = batch(0, b"first");
        let bytes = [first.clone(), batch(1, b"second")].concat();
        for len in first.len() + 1..bytes.len() {
            let found = scan_bytes(&bytes[..len]);
            assert_eq!(found.valid_end as usize, first.len());
            assert_eq!(found.next_offset, 1);
            assert!(found.damage.is_some());
        }
    }

    #[test]
    fn a_torn_batch_larger_than_a_piece_is_torn() {
        let bytes = batch(0, &vec![7; 3 * PIECE]);
        assert_eq!(scan_bytes(&bytes[..2 * PIECE]).damage, Some(Damage::Torn));
    }

    #[test]
    fn zeros_and_garbage_are_told_apart() {
        let first = batch(0, b"first");
        let zeros = [first.clone(), vec![0; 2 * PIECE]].concat();
        assert_eq!(scan_bytes(&zeros).damage, Some(Damage::Zeros));
        let mut garbage = zeros;
        *garbage.last_mut().unwrap() = 1;
        assert!(matches!(scan_bytes(&garbage).damage, Some(Damage::Malformed(_))));
    }

    #[test]
    fn a_batch_that_ends_in_room_is_torn() {
        let (first, second) = (batch(0, b"first"), batch(1, &[7; 3000]));
        let whole = [first.clone(), second.clone()].concat();
        for written in [first.len() + 12, 512, 1024, 2048, 3000] {
            let bytes = [&whole[..written], &[0; 10_000]].concat();
            let found = scan_bytes(&bytes);
            assert_eq!((found.valid_end as usize, found.next_offset), (first.len(), 1));
            assert_eq!(found.damage, Some(Damage::Torn), "{written} bytes were written");
            assert!(found.valid_end < found.data_end && found.data_end as usize <= written);
        }
        let mut flipped = [whole, vec![0; 10_000]].concat();
        assert_eq!(scan_bytes(&flipped).damage, Some(Damage::Zeros));
        flipped[first.len() + 100] ^= 1;
        let found = scan_bytes(&flipped);
        assert!(matches!(found.damage, Some(Damage::Malformed(_))), "all of it is there: {:?}", found.damage);
    }

    #[test]
    fn the_end_of_data_is_behind_the_last_byte_that_is_not_zero() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk::default().open(&dir.path().join("x"), OpenMode::Create).unwrap();
        let len = 3 * PIECE as FilePos;
        file.set_len(u64::from(len)).unwrap();
        assert_eq!(data_end(&*file, 10, len).unwrap(), 10);
        for at in [10, 11, PIECE as FilePos - 1, PIECE as FilePos, PIECE as FilePos + 10, len - 1] {
            file.write_at(b"x", u64::from(at)).unwrap();
            assert_eq!(data_end(&*file, 10, len).unwrap(), at + 1);
        }
        assert!(announces_batch(&*file, 0).unwrap() && !announces_batch(&*file, 12).unwrap());
    }

    #[test]
    fn a_batch_behind_damage_is_found_wherever_it_begins() {
        let holds = |bytes: &[u8]| {
            let dir = tempfile::tempdir().unwrap();
            let file = RealDisk::default().open(&dir.path().join("x"), OpenMode::Create).unwrap();
            file.write_at(bytes, 0).unwrap();
            holds_batch_behind(&*file, (0, bytes.len() as FilePos), (0, 3)).unwrap()
        };
        let good = batch(3, b"good");
        for len in [1, 60, 61, 62, PIECE - 70, PIECE - 61, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let garbage = vec![2; len]; // every byte can be the version
            assert!(holds(&[garbage.clone(), good.clone()].concat()), "{len}");
            assert!(!holds(&[&garbage[..], &good[..good.len() - 1]].concat()), "{len}");
        }
        assert!(!holds(&batch(3, b"the first byte does not count")));
        assert!(!holds(&[&[2; 100][..], &batch(2, b"an offset that was there before")].concat()));
    }

    #[test]
    fn a_search_among_headers_ends() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk::default().open(&dir.path().join("x"), OpenMode::Create).unwrap();
        let mut header = [0; HEADER_LEN];
        header[7] = 5; // base offset
        header[8..12].copy_from_slice(&50_000i32.to_be_bytes());
        header[16] = 2;
        header[60] = 1; // record count
        let bytes = header.repeat(2000);
        file.write_at(&bytes, 0).unwrap();
        let found = |bytes_max| search(&*file, (0, bytes.len() as FilePos), (0, 3), bytes_max).unwrap();
        assert!(matches!(found(1 << 20), Search::GaveUp), "a few of a thousand candidates");
        assert!(matches!(found(u64::MAX), Search::Nothing));
    }

    #[test]
    fn offsets_follow_each_other_but_for_gaps_where_they_may_be() {
        let end_of = |batches: &[Vec<u8>]| scan_bytes(&batches.concat()).next_offset;
        assert_eq!(end_of(&[batch(1, b"gap below 2"), batch(2, b"follows")]), 3);
        assert_eq!(end_of(&[batch(1, b"gap below 2"), batch(3, b"gap at 2")]), 2);
        assert_eq!(end_of(&[batch(0, b"first"), batch(0, b"back")]), 1);
        let found = scan_bytes(&[batch(0, b"first"), batch(0, b"back")].concat());
        let malformed = Malformed::BadOffsets { base_offset: 0, last_offset_delta: 0 };
        assert_eq!(found.damage, Some(Damage::Malformed(malformed)));
    }

    #[test]
    fn a_flipped_bit_in_the_body_is_found() {
        let good = batch(0, b"value");
        for at in 17..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            assert!(scan_bytes(&bytes).damage.is_some(), "byte {at}");
        }
    }
}

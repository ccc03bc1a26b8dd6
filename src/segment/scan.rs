//! The one walk over the batches of a `.log` file, behind recovery and index rebuilding.

use std::io;
use std::ops::ControlFlow;

use crate::record::{Batch, Malformed};
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
}

/// What stands where the next batch should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The file ends before the batch does.
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
/// `base` is the segment's base offset; offsets must lie in `base ..= base + i32::MAX` and begin at `expected` or above
/// (records.md 10).
pub(crate) fn scan(
    file: &dyn DiskFile,
    (from, end): (FilePos, FilePos),
    (base, expected): (Offset, Offset),
    mut visit: impl FnMut(FilePos, &Batch<'_>),
) -> io::Result<Scan> {
    let mut found = Scan { valid_end: from, next_offset: expected, batches: 0, damage: None };
    let mut piece = Piece::default();
    while found.valid_end < end {
        let left = end - found.valid_end;
        piece.fill(file, found.valid_end, left.min(PIECE as FilePos))?;
        let mut bytes = piece.bytes.as_slice();
        if let Some(size) = announced_size(bytes).filter(|size| bytes.len() < *size && *size <= left as usize) {
            piece.fill(file, found.valid_end, size as FilePos)?;
            bytes = piece.bytes.as_slice();
        }
        let outcome = walk(bytes, base, &mut found, &mut visit);
        if let ControlFlow::Break(damage) = outcome {
            found.damage = Some(match damage {
                Damage::Malformed(_) if only_zeros(file, found.valid_end, end)? => Damage::Zeros,
                other => other,
            });
            break;
        }
    }
    Ok(found)
}

/// Walks the whole batches of one piece. Goes on when the next batch reaches beyond the piece, breaks when it cannot
/// be had from the file either.
fn walk(
    mut bytes: &[u8],
    base: Offset,
    found: &mut Scan,
    visit: &mut impl FnMut(FilePos, &Batch<'_>),
) -> ControlFlow<Damage> {
    let before = found.batches;
    while !bytes.is_empty() {
        let batch = match check(bytes, base, found.next_offset) {
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

fn check(bytes: &[u8], base: Offset, expected: Offset) -> Result<Option<Batch<'_>>, Malformed> {
    let Some(batch) = Batch::first(bytes)? else { return Ok(None) };
    let highest = base.saturating_add(Offset::from(i32::MAX));
    if batch.base_offset() < expected || batch.last_offset() > highest {
        return Err(Malformed::BadOffsets {
            base_offset: batch.base_offset(),
            last_offset_delta: batch.last_offset_delta(),
        });
    }
    batch.verify_crc()?;
    Ok(Some(batch))
}

/// Total size that the batch at the beginning of `bytes` announces, right or wrong.
fn announced_size(bytes: &[u8]) -> Option<usize> {
    let length = i32::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
    usize::try_from(length).ok()?.checked_add(12)
}

fn only_zeros(file: &dyn DiskFile, from: FilePos, end: FilePos) -> io::Result<bool> {
    let mut piece = Piece::default();
    let mut at = from;
    while at < end {
        piece.fill(file, at, (end - at).min(PIECE as FilePos))?;
        if piece.bytes.is_empty() || piece.bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += piece.bytes.len() as FilePos;
    }
    Ok(true)
}

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
        let file = RealDisk.open(&dir.path().join("x"), OpenMode::Create).unwrap();
        file.write_at(bytes, 0).unwrap();
        scan(&*file, (0, bytes.len() as FilePos), (0, 0), |_, _| {}).unwrap()
    }

    #[test]
    fn a_whole_file_holds() {
        let large = vec![7; 3 * PIECE]; // larger than a piece
        let bytes = [batch(0, b"a"), batch(1, &large), batch(5, b"gap before")].concat();
        let found = scan_bytes(&bytes);
        assert_eq!((found.valid_end, found.next_offset, found.batches), (bytes.len() as FilePos, 6, 3));
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
    fn offsets_must_not_go_back() {
        let bytes = [batch(5, b"five"), batch(5, b"five again")].concat();
        let found = scan_bytes(&bytes);
        assert_eq!(
            (found.next_offset, found.damage),
            (6, Some(Damage::Malformed(Malformed::BadOffsets { base_offset: 5, last_offset_delta: 0 })))
        );
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

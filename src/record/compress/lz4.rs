//! Lz4's frame format, as far as Kafka reads it: format version 1, independent blocks, no dictionary. It reads one frame
//! and ignores what follows it, and so do we.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::{Compression, InflateBuffer, Malformed};

const BAD: Malformed = Malformed::BadCompression(Compression::Lz4);
const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Version 01, independent blocks, and nothing in the bits without a meaning or for a dictionary.
const FLAGS: u8 = 0b0110_0000;
const FLAGS_MASK: u8 = 0b1110_0011;
const HAS_BLOCK_CHECKSUMS: u8 = 0x10;
const HAS_CONTENT_SIZE: u8 = 0x08;
const HAS_CONTENT_CHECKSUM: u8 = 0x04;
const STORED: u32 = 1 << 31;
/// More than a block can grow: each byte of a length stands for 255.
const EXPANSION_MAX: usize = 255;

pub(super) fn inflate(input: &[u8], out: &mut InflateBuffer, limit: usize) -> Result<(), Malformed> {
    let start = out.len();
    let (flags, block_max, mut rest) = header(input).ok_or(BAD)?;
    loop {
        let word = u32::from_le_bytes(*take(&mut rest)?);
        if word == 0 {
            break;
        }
        let len = (word & !STORED) as usize;
        let (block, tail) = rest.split_at_checked(len).filter(|_| len <= block_max).ok_or(BAD)?;
        rest = tail;
        if flags & HAS_BLOCK_CHECKSUMS != 0 && *take(&mut rest)? != XxHash32::oneshot(0, block).to_le_bytes() {
            return Err(BAD);
        }
        inflate_block(block, word & STORED != 0, block_max, (out, start), limit)?;
    }
    if flags & HAS_CONTENT_CHECKSUM != 0 {
        let content = out.as_slice().get(start..).unwrap_or_default();
        if *take(&mut rest)? != XxHash32::oneshot(0, content).to_le_bytes() {
            return Err(BAD);
        }
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8; 4], Malformed> {
    let (word, tail) = rest.split_first_chunk().ok_or(BAD)?;
    *rest = tail;
    Ok(word)
}

/// The flags, the largest size of a block, and what follows the header.
fn header(input: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (&[flags, descriptor], _) = input.strip_prefix(&MAGIC)?.split_first_chunk()?;
    let block_max = match descriptor {
        0x40 => 64 << 10,
        0x50 => 256 << 10,
        0x60 => 1 << 20,
        0x70 => 4 << 20,
        _ => return None,
    };
    // Kafka does not believe the content's size either.
    let content_size_len = if flags & HAS_CONTENT_SIZE == 0 { 0 } else { 8 };
    let (header, rest) = input.split_at_checked(6 + content_size_len)?;
    let (checksum, rest) = rest.split_first()?;
    let computed = XxHash32::oneshot(0, header.get(MAGIC.len()..)?).to_le_bytes()[1];
    (flags & FLAGS_MASK == FLAGS && *checksum == computed).then_some((flags, block_max, rest))
}

/// `start` is where the batch begins in `out`.
fn inflate_block(
    block: &[u8],
    stored: bool,
    block_max: usize,
    (out, start): (&mut InflateBuffer, usize),
    limit: usize,
) -> Result<(), Malformed> {
    let most = limit - (out.len() - start); // never more than the limit is there
    if stored {
        if most < block.len() {
            return Err(Malformed::TooLarge { limit });
        }
        out.room(block.len()).copy_from_slice(block);
        out.advance(block.len());
        return Ok(());
    }
    let possible = block.len().saturating_mul(EXPANSION_MAX).min(block_max);
    match lz4_flex::block::decompress_into(block, out.room(possible.min(most))) {
        Ok(written) => {
            out.advance(written);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if most < possible => {
            Err(Malformed::TooLarge { limit })
        }
        Err(_) => Err(BAD),
    }
}

/// Writes frames, one after the other.
pub(super) type FrameWriter = FrameEncoder<Vec<u8>>;

/// A frame of nothing, as Kafka's clients write it. The encoder writes one only if it is its first.
const EMPTY: [u8; 11] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82, 0, 0, 0, 0];

pub(super) fn deflate(state: &mut Option<FrameWriter>, input: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    if input.is_empty() {
        out.extend_from_slice(&EMPTY);
        return Ok(());
    }
    let encoder = state.get_or_insert_with(|| {
        // Kafka cannot read linked blocks; the rest is what its own clients write.
        let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
        FrameEncoder::with_frame_info(info, Vec::new())
    });
    std::mem::swap(encoder.get_mut(), out);
    let written = encoder.write_all(input).is_ok() && encoder.try_finish().is_ok();
    std::mem::swap(encoder.get_mut(), out);
    if !written {
        *state = None; // in the middle of a frame
        return Err(BAD);
    }
    Ok(())
}

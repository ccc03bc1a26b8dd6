//! Snappy in the framing of the Java library: a header of 16 bytes, then blocks with their length in front. It is not
//! snappy's own framing format, and has no checksums.

use super::{Compression, InflateBuffer, Malformed};

/// Magic, version 1, lowest compatible version 1.
const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const MAGIC: &[u8] = b"\x82SNAPPY\0";
/// The first four bytes of the magic, where a block's length could be: the beginning of another stream.
const ANOTHER_HEADER: [u8; 4] = [0x82, b'S', b'N', b'A'];
/// Bytes of input in a block, as the Java library cuts them.
const BLOCK_LEN: usize = 32 * 1024;
const BLOCK_LEN_MAX: i32 = 512 * 1024 * 1024;
/// More than a raw block can grow: its densest element makes 64 bytes of 3.
const EXPANSION_MAX: usize = 22;

const BAD: Malformed = Malformed::BadCompression(Compression::Snappy);

pub(super) fn inflate(input: &[u8], out: &mut InflateBuffer, limit: usize) -> Result<(), Malformed> {
    let limit_len = out.len().saturating_add(limit);
    let mut rest = match input.split_at_checked(HEADER.len()) {
        Some((header, blocks)) if header.starts_with(MAGIC) => blocks,
        _ => return inflate_block(input, out, limit_len, limit),
    };
    while !rest.is_empty() {
        let (len, tail) = rest.split_first_chunk::<4>().ok_or(BAD)?;
        if *len == ANOTHER_HEADER {
            rest = tail.get(HEADER.len() - len.len()..).ok_or(BAD)?;
            continue;
        }
        let len = i32::from_be_bytes(*len);
        if !(0..=BLOCK_LEN_MAX).contains(&len) {
            return Err(BAD);
        }
        let (block, tail) = tail.split_at_checked(len as usize).ok_or(BAD)?;
        inflate_block(block, out, limit_len, limit)?;
        rest = tail;
    }
    Ok(())
}

fn inflate_block(block: &[u8], out: &mut InflateBuffer, limit_len: usize, limit: usize) -> Result<(), Malformed> {
    let len = snap::raw::decompress_len(block).map_err(|_| BAD)?;
    if block.len().saturating_mul(EXPANSION_MAX) < len {
        return Err(BAD);
    }
    if limit_len < out.len().saturating_add(len) {
        return Err(Malformed::TooLarge { limit });
    }
    match snap::raw::Decoder::new().decompress(block, out.room(len)) {
        Ok(written) if written == len => {
            out.advance(written);
            Ok(())
        }
        _ => Err(BAD),
    }
}

pub(super) fn deflate(encoder: &mut snap::raw::Encoder, input: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    out.extend_from_slice(&HEADER);
    for block in input.chunks(BLOCK_LEN) {
        let start = out.len() + 4;
        let mut len = [0; 4];
        out.extend_from_slice(&len);
        out.resize(start + snap::raw::max_compress_len(block.len()), 0);
        let written = encoder.compress(block, out.get_mut(start..).unwrap_or_default()).map_err(|_| BAD)?;
        out.truncate(start + written);
        // A block of 32 KiB takes less than 64 KiB, so the length fits.
        len = (written as u32).to_be_bytes();
        if let Some(place) = out.get_mut(start - 4..start) {
            place.copy_from_slice(&len);
        }
    }
    Ok(())
}

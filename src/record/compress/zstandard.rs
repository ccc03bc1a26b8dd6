//! Zstandard: frames (RFC 8878) in a row, each decoded at once to where it belongs. The streaming decoder would take
//! memory for the window that a frame announces, up to 128 MiB.

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound};

use super::{Compression, InflateBuffer, Malformed};

const BAD: Malformed = Malformed::BadCompression(Compression::Zstd);
const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE: u32 = 0x184d_2a50; // and the 15 above it
const BLOCK_MAX: usize = 128 << 10;
/// The highest levels take hundreds of megabytes for large batches. What takes more than this is not kept.
const KEPT_MAX: usize = 16 << 20;

pub(super) fn inflate(
    state: &mut Option<DCtx<'static>>,
    input: &[u8],
    out: &mut InflateBuffer,
    limit: usize,
) -> Result<(), Malformed> {
    let possible = bound(input).ok_or(BAD)?;
    let state = match state {
        Some(state) => state,
        None => state.insert(DCtx::try_create().ok_or(BAD)?),
    };
    // Frames need not say how much they hold, and if they do it need not be true.
    let mut wanted = input.len().saturating_mul(4);
    loop {
        let room = wanted.max(out.room_left()).min(possible).min(limit);
        match state.decompress(out.room(room), input) {
            Ok(written) => {
                out.advance(written);
                return Ok(());
            }
            Err(code) if code != too_small() || room == possible => return Err(BAD),
            Err(_) if room == limit => return Err(Malformed::TooLarge { limit }),
            Err(_) => wanted = room.saturating_mul(4),
        }
    }
}

/// The frame says nothing of its content's size, as those of Kafka's clients. That the codec knows it keeps the window,
/// and the memory that reading it takes, as small as the batch.
pub(super) fn deflate(
    state: &mut Option<CCtx<'static>>,
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let range = zstd::compression_level_range();
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL).clamp(*range.start(), *range.end());
    let context = match state {
        Some(context) => context,
        None => state.insert(CCtx::try_create().ok_or(BAD)?),
    };
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(|_| BAD)?;
    context.set_parameter(CParameter::ContentSizeFlag(false)).map_err(|_| BAD)?;
    let start = out.len();
    out.resize(start + compress_bound(input.len()), 0);
    let written = context.compress2(out.get_mut(start..).unwrap_or_default(), input);
    if KEPT_MAX < context.sizeof() || written.is_err() {
        *state = None;
    }
    out.truncate(start + written.map_err(|_| BAD)?);
    Ok(())
}

fn too_small() -> usize {
    (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg()
}

/// More bytes than `input` can hold, from its blocks. `None` if it is not frames, all of them there.
fn bound(mut input: &[u8]) -> Option<usize> {
    let mut bound = 0_usize;
    while !input.is_empty() {
        match take(&mut input, 4)? {
            MAGIC => bound = bound.saturating_add(frame_bound(&mut input)?),
            magic if magic & !0x0f == SKIPPABLE => {
                let len = take(&mut input, 4)?;
                skip(&mut input, len as usize)?;
            }
            _ => return None,
        }
    }
    Some(bound)
}

fn frame_bound(rest: &mut &[u8]) -> Option<usize> {
    let descriptor = take(rest, 1)?;
    let is_single_segment = descriptor & 0x20 != 0;
    let window_len = usize::from(!is_single_segment);
    let dictionary_id_len = (1_usize << (descriptor & 3)) >> 1;
    let content_size_len = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        power => 1 << power,
    };
    skip(rest, window_len + dictionary_id_len + content_size_len)?;
    let mut bound = 0_usize;
    loop {
        let block = take(rest, 3)?;
        let len = (block >> 3) as usize;
        let (stored, possible) = match block >> 1 & 3 {
            0 => (len, len),
            1 => (1, len), // one byte, over and over
            2 => (len, BLOCK_MAX),
            _ => return None,
        };
        skip(rest, stored)?;
        bound = bound.saturating_add(possible.min(BLOCK_MAX));
        if block & 1 != 0 {
            break;
        }
    }
    let has_checksum = descriptor & 0x04 != 0;
    skip(rest, if has_checksum { 4 } else { 0 })?;
    Some(bound)
}

fn skip(rest: &mut &[u8], len: usize) -> Option<()> {
    *rest = rest.get(len..)?;
    Some(())
}

/// A little-endian number of up to four bytes.
fn take(rest: &mut &[u8], len: usize) -> Option<u32> {
    let (bytes, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

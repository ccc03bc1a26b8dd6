//! Gzip: members (RFC 1952) in a row.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Compression, InflateBuffer, Malformed};

const BAD: Malformed = Malformed::BadCompression(Compression::Gzip);
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8]; // the last of them names deflate
const HEADER_LEN: usize = 10;
const HAS_HEADER_CRC: u8 = 0x02;
const HAS_EXTRA: u8 = 0x04;
const HAS_NAME: u8 = 0x08;
const HAS_COMMENT: u8 = 0x10;
const RESERVED: u8 = 0xe0;
/// The least that is made room for at a time.
const ROOM_MIN: usize = 4096;

pub(super) fn inflate(
    state: &mut Option<Box<Decompress>>,
    mut input: &[u8],
    out: &mut InflateBuffer,
    limit: usize,
) -> Result<(), Malformed> {
    let start = out.len();
    let state = state.get_or_insert_with(|| Box::new(Decompress::new(false)));
    while !input.is_empty() {
        let stream = behind_header(input).ok_or(BAD)?;
        let member = out.len();
        let taken = inflate_member(state, stream, (out, start), limit)?;
        let (trailer, rest) = stream.get(taken..).and_then(<[u8]>::split_first_chunk::<8>).ok_or(BAD)?;
        let inflated = out.as_slice().get(member..).unwrap_or_default();
        let computed = u64::from(crc32fast::hash(inflated)) | (inflated.len() as u64) << 32;
        if u64::from_le_bytes(*trailer) != computed {
            return Err(BAD);
        }
        input = rest;
    }
    Ok(())
}

/// Inflates one stream, and returns how many bytes of `input` it took. `start` is where the batch begins in `out`.
fn inflate_member(
    state: &mut Decompress,
    input: &[u8],
    (out, start): (&mut InflateBuffer, usize),
    limit: usize,
) -> Result<usize, Malformed> {
    state.reset(false);
    let mut wanted = input.len().saturating_mul(2).max(ROOM_MIN);
    loop {
        // One byte more than the limit tells a stream that ends there from one that goes on.
        let most = (start + 1).saturating_add(limit).saturating_sub(out.len());
        let (taken, written) = (state.total_in(), state.total_out());
        let rest = input.get(taken as usize..).unwrap_or_default();
        let room = out.room(wanted.max(out.room_left()).min(most));
        let status = state.decompress(rest, room, FlushDecompress::None).map_err(|_| BAD)?;
        let progress = (state.total_in() - taken, state.total_out() - written);
        out.advance(progress.1 as usize);
        if limit < out.len() - start {
            return Err(Malformed::TooLarge { limit });
        }
        match status {
            Status::StreamEnd => return Ok(state.total_in() as usize),
            _ if progress == (0, 0) => return Err(BAD), // it is cut short
            _ => wanted = wanted.saturating_mul(2),
        }
    }
}

fn behind_header(member: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = member.split_first_chunk::<HEADER_LEN>()?;
    let flags = header[3];
    if !header.starts_with(&MAGIC) || flags & RESERVED != 0 {
        return None;
    }
    if flags & HAS_EXTRA != 0 {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        rest = tail.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        if flags & text != 0 {
            rest = rest.get(rest.iter().position(|byte| *byte == 0)? + 1..)?;
        }
    }
    if flags & HAS_HEADER_CRC != 0 {
        let computed = crc32fast::hash(member.get(..member.len() - rest.len())?) as u16;
        let (stored, tail) = rest.split_first_chunk::<2>()?;
        if u16::from_le_bytes(*stored) != computed {
            return None;
        }
        rest = tail;
    }
    Some(rest)
}

/// A compressor, and the level it was made for.
pub(super) struct Deflate {
    level: u32,
    state: Box<Compress>,
}

/// Nothing but the method is said: no name, no time, an unknown system.
const HEADER: [u8; HEADER_LEN] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

pub(super) fn deflate(
    state: &mut Option<Deflate>,
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let level = match level {
        // Kafka's -1 is the library's default.
        None | Some(-1) => flate2::Compression::default(),
        Some(level) => flate2::Compression::new(level.clamp(1, 9) as u32),
    };
    if state.as_ref().is_some_and(|state| state.level != level.level()) {
        *state = None;
    }
    let new = || Deflate { level: level.level(), state: Box::new(Compress::new(level, false)) };
    let state = &mut state.get_or_insert_with(new).state;
    state.reset();
    out.extend_from_slice(&HEADER);
    let mut room = (input.len() / 2).max(ROOM_MIN);
    loop {
        out.reserve(room);
        let taken = state.total_in();
        let rest = input.get(taken as usize..).unwrap_or_default();
        let before = out.len();
        let status = state.compress_vec(rest, out, FlushCompress::Finish).map_err(|_| BAD)?;
        match status {
            Status::StreamEnd => break,
            _ if out.len() == before && state.total_in() == taken => return Err(BAD),
            _ => room = (room / 2).max(ROOM_MIN),
        }
    }
    out.extend_from_slice(&crc32fast::hash(input).to_le_bytes());
    out.extend_from_slice(&(input.len() as u32).to_le_bytes()); // modulo 2^32: RFC 1952
    Ok(())
}

//! The codecs, each behind the cargo feature of its name, in the framing that Kafka gives them (records.md 8).
//!
//! All records of a batch are one stream. Inflating is bounded: no length that the input announces is allocated before
//! it is known to fit the caller's limit and to be possible for an input of that size.

#[cfg(any(feature = "gzip", feature = "lz4", feature = "zstd"))]
use std::io::Read;
#[cfg(any(feature = "gzip", feature = "lz4", feature = "zstd"))]
use std::io::Write;

use super::header::Compression;
use super::malformed::Malformed;

/// Appends the inflated `input` to `out`: at most `limit` bytes. After an error `out` is what it was.
///
/// # Errors
///
/// `BadCompression` if the codec cannot read it, `TooLarge` if it holds more than `limit` bytes,
/// `UnsupportedCompression` if this build has no such codec.
pub(crate) fn inflate(
    compression: Compression,
    input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), Malformed> {
    let before = out.len();
    let result = match compression {
        Compression::None => copy(input, out, limit),
        // No codec writes a stream of no bytes, but some readers take one for an empty stream.
        _ if compression.is_supported() && input.is_empty() => Err(Malformed::BadCompression(compression)),
        #[cfg(feature = "gzip")]
        Compression::Gzip => drain(flate2::bufread::MultiGzDecoder::new(input), compression, input.len(), out, limit),
        #[cfg(feature = "snappy")]
        Compression::Snappy => xerial::inflate(input, out, limit),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => inflate_lz4(input, out, limit),
        #[cfg(feature = "zstd")]
        Compression::Zstd => inflate_zstd(input, out, limit),
        #[cfg(not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")))]
        other => Err(Malformed::UnsupportedCompression(other.id())),
    };
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Appends the compressed `input` to `out`. `level` is the codec's own scale, cut to its range; `None` is its default.
/// Snappy and lz4 have one level only.
///
/// # Errors
///
/// `UnsupportedCompression` if this build has no such codec; `BadCompression` if the codec fails, which it has no
/// reason to.
#[cfg_attr(
    not(any(feature = "gzip", feature = "zstd")),
    expect(unused_variables, reason = "the codecs of this build have no level")
)]
pub(crate) fn deflate(
    compression: Compression,
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match compression {
        Compression::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        #[cfg(feature = "gzip")]
        Compression::Gzip => deflate_gzip(level, input, out),
        #[cfg(feature = "snappy")]
        Compression::Snappy => xerial::deflate(input, out),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => deflate_lz4(input, out),
        #[cfg(feature = "zstd")]
        Compression::Zstd => deflate_zstd(level, input, out),
        #[cfg(not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")))]
        other => Err(Malformed::UnsupportedCompression(other.id())),
    }
}

fn copy(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Malformed> {
    if limit < input.len() {
        return Err(Malformed::TooLarge { limit });
    }
    out.extend_from_slice(input);
    Ok(())
}

/// Reads `reader` to its end, but not beyond `limit` bytes. The first guess at the space needed comes from the number
/// of bytes that are there, not from what they say.
#[cfg(any(feature = "gzip", feature = "lz4", feature = "zstd"))]
fn drain(
    reader: impl Read,
    compression: Compression,
    input_len: usize,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), Malformed> {
    let before = out.len();
    out.reserve(input_len.saturating_mul(2).min(limit));
    // One byte more than the limit tells a stream that ends there from one that goes on.
    let read_max = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(read_max).read_to_end(out).map_err(|_| Malformed::BadCompression(compression))?;
    if limit < out.len() - before { Err(Malformed::TooLarge { limit }) } else { Ok(()) }
}

#[cfg(feature = "gzip")]
fn deflate_gzip(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let level = match level {
        // Kafka's -1 is the library's default.
        None | Some(-1) => flate2::Compression::default(),
        Some(level) => flate2::Compression::new(level.clamp(1, 9) as u32),
    };
    let mut encoder = flate2::write::GzEncoder::new(out, level);
    encoder
        .write_all(input)
        .and_then(|()| encoder.try_finish())
        .map_err(|_| Malformed::BadCompression(Compression::Gzip))
}

/// Kafka reads one frame and ignores what follows it, and so do we.
#[cfg(feature = "lz4")]
fn inflate_lz4(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Malformed> {
    let frame = lz4_frame(input).ok_or(Malformed::BadCompression(Compression::Lz4))?;
    drain(lz4_flex::frame::FrameDecoder::new(frame), Compression::Lz4, frame.len(), out, limit)
}

/// The first frame of `input`, if it is of the kind that Kafka can read: format version 1, independent blocks, no
/// dictionary, and all of its blocks there. The library would read others as well, and a frame that is cut between
/// blocks without a word.
#[cfg(feature = "lz4")]
fn lz4_frame(input: &[u8]) -> Option<&[u8]> {
    const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
    let &[a, b, c, d, flags, descriptor, ..] = input else { return None };
    let version_and_independence = flags & 0b1110_0011;
    let block_max = descriptor >> 4;
    let readable = [a, b, c, d] == MAGIC
        && version_and_independence == 0b0110_0000
        && descriptor & 0x0f == 0
        && (4..=7).contains(&block_max);
    if !readable {
        return None;
    }
    let content_size_len = if flags & 0x08 == 0 { 0 } else { 8 };
    let block_checksum_len = if flags & 0x10 == 0 { 0 } else { 4 };
    let content_checksum_len = if flags & 0x04 == 0 { 0 } else { 4 };
    let mut position = 7 + content_size_len;
    loop {
        let block = u32::from_le_bytes(*input.get(position..)?.first_chunk()?);
        position += 4;
        if block == 0 {
            return input.get(..position + content_checksum_len);
        }
        let len = usize::try_from(block & 0x7fff_ffff).ok()?;
        position = position.checked_add(len)?.checked_add(block_checksum_len)?;
    }
}

#[cfg(feature = "lz4")]
fn deflate_lz4(input: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    // Kafka cannot read linked blocks; the rest is what its own clients write.
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    let failed = Malformed::BadCompression(Compression::Lz4);
    encoder.write_all(input).map_err(|_| failed)?;
    encoder.try_finish().map_err(|_| failed)
}

/// The decoder takes memory for the window that a frame announces, which the library holds to 128 MiB; it is touched
/// only as far as bytes come out, and those are held to `limit`.
#[cfg(feature = "zstd")]
fn inflate_zstd(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Malformed> {
    let decoder =
        zstd::stream::read::Decoder::with_buffer(input).map_err(|_| Malformed::BadCompression(Compression::Zstd))?;
    drain(decoder, Compression::Zstd, input.len(), out, limit)
}

#[cfg(feature = "zstd")]
fn deflate_zstd(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let range = zstd::compression_level_range();
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL).clamp(*range.start(), *range.end());
    let failed = |_| Malformed::BadCompression(Compression::Zstd);
    let mut encoder = zstd::stream::write::Encoder::new(out, level).map_err(failed)?;
    encoder.write_all(input).map_err(failed)?;
    encoder.finish().map(drop).map_err(failed)
}

/// Snappy in the framing of the Java library: a header of 16 bytes, then blocks with their length in front. It is not
/// snappy's own framing format, and has no checksums.
#[cfg(feature = "snappy")]
mod xerial {
    use super::{Compression, Malformed};

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

    pub(super) fn inflate(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Malformed> {
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

    fn inflate_block(block: &[u8], out: &mut Vec<u8>, limit_len: usize, limit: usize) -> Result<(), Malformed> {
        let len = snap::raw::decompress_len(block).map_err(|_| BAD)?;
        if block.len().saturating_mul(EXPANSION_MAX) < len {
            return Err(BAD);
        }
        let start = out.len();
        let end = start.saturating_add(len);
        if limit_len < end {
            return Err(Malformed::TooLarge { limit });
        }
        out.resize(end, 0);
        let target = out.get_mut(start..).unwrap_or_default();
        match snap::raw::Decoder::new().decompress(block, target) {
            Ok(written) if written == len => Ok(()),
            _ => Err(BAD),
        }
    }

    pub(super) fn deflate(input: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut encoder = snap::raw::Encoder::new();
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn packed(compression: Compression, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        deflate(compression, None, input, &mut out).unwrap();
        out
    }

    fn unpacked(compression: Compression, input: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        inflate(compression, input, &mut out, 1 << 20)?;
        Ok(out)
    }

    fn bad(compression: Compression) -> Result<Vec<u8>, Malformed> {
        Err(Malformed::BadCompression(compression))
    }

    /// Bytes that no codec makes much shorter.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn round_trip_around_the_block_sizes() {
        for compression in CODECS.into_iter().filter(|codec| codec.is_supported()) {
            for len in [0, 1, 100, 32_767, 32_768, 32_769, 65_536, 65_537, 200_000] {
                for text in [vec![b'a'; len], noise(len)] {
                    assert_eq!(unpacked(compression, &packed(compression, &text)), Ok(text));
                }
            }
        }
    }

    #[test]
    fn levels_out_of_range_are_cut_to_it() {
        for compression in CODECS.into_iter().filter(|codec| codec.is_supported()) {
            for level in [i32::MIN, -1, 0, 1, 9, 22, i32::MAX] {
                let mut out = Vec::new();
                deflate(compression, Some(level), b"text text text", &mut out).unwrap();
                assert_eq!(unpacked(compression, &out).unwrap(), b"text text text");
            }
        }
    }

    #[test]
    fn a_codec_that_is_not_built_in_is_named() {
        for compression in CODECS.into_iter().filter(|codec| !codec.is_supported()) {
            let expected = Err(Malformed::UnsupportedCompression(compression.id()));
            assert_eq!(inflate(compression, b"", &mut Vec::new(), 1), expected);
            assert_eq!(deflate(compression, None, b"x", &mut Vec::new()), expected);
        }
    }

    #[test]
    fn a_bomb_meets_the_limit() {
        for compression in CODECS.into_iter().filter(|codec| codec.is_supported()) {
            let bomb = packed(compression, &vec![0; 4 << 20]);
            let mut out = b"before".to_vec();
            let result = inflate(compression, &bomb, &mut out, 10_000);
            assert_eq!(result, Err(Malformed::TooLarge { limit: 10_000 }));
            assert_eq!(out, b"before");
            assert!(out.capacity() < 1 << 20, "{compression} took {} bytes", out.capacity());
            assert_eq!(inflate(compression, &bomb, &mut out, 4 << 20), Ok(()), "the limit itself is allowed");
        }
    }

    #[test]
    fn nothing_is_not_a_stream_and_neither_is_a_cut_one() {
        for compression in CODECS.into_iter().filter(|codec| codec.is_supported()) {
            assert_eq!(unpacked(compression, b""), bad(compression));
            let whole = packed(compression, b"some text, some text");
            for len in 0..whole.len() {
                // 16 bytes of xerial are a stream without blocks.
                if (compression, len) != (Compression::Snappy, 16) {
                    assert_eq!(unpacked(compression, &whole[..len]), bad(compression), "{len} bytes");
                }
            }
        }
    }

    #[test]
    fn gzip_and_zstd_may_have_several_streams_in_a_row() {
        for compression in [Compression::Gzip, Compression::Zstd].into_iter().filter(|codec| codec.is_supported()) {
            let both = [packed(compression, b"one "), packed(compression, b"two")].concat();
            assert_eq!(unpacked(compression, &both).unwrap(), b"one two");
        }
    }

    #[cfg(feature = "snappy")]
    mod snappy {
        use super::*;

        const HEADER: &[u8; 16] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

        fn raw(text: &[u8]) -> Vec<u8> {
            snap::raw::Encoder::new().compress_vec(text).unwrap()
        }

        #[test]
        fn blocks_hold_32_kib() {
            let stream = packed(Compression::Snappy, &noise(40_000));
            assert_eq!(stream[..16], HEADER[..]);
            let first = i32::from_be_bytes(*stream[16..].first_chunk().unwrap()) as usize;
            assert_eq!(snap::raw::decompress_len(&stream[20..20 + first]).unwrap(), 32_768);
            assert_eq!(snap::raw::decompress_len(&stream[24 + first..]).unwrap(), 40_000 - 32_768);
        }

        #[test]
        fn without_the_header_it_is_one_raw_block() {
            assert_eq!(unpacked(Compression::Snappy, &raw(b"abc")).unwrap(), b"abc");
            assert_eq!(unpacked(Compression::Snappy, &raw(&[b'x'; 5000])).unwrap(), [b'x'; 5000]);
            assert_eq!(unpacked(Compression::Snappy, &HEADER[..15]), bad(Compression::Snappy));
        }

        #[test]
        fn streams_may_follow_each_other() {
            let both = [packed(Compression::Snappy, b"one "), packed(Compression::Snappy, b"two")].concat();
            assert_eq!(unpacked(Compression::Snappy, &both).unwrap(), b"one two");
            let cut = &both[..both.len() - raw(b"two").len() - 4 - 1];
            assert_eq!(unpacked(Compression::Snappy, cut), bad(Compression::Snappy));
        }

        #[test]
        fn block_lengths_are_checked() {
            for len in [-1, i32::MIN, 512 * 1024 * 1024 + 1, 100] {
                let stream = [&HEADER[..], &i32::to_be_bytes(len), &raw(b"abc")].concat();
                assert_eq!(unpacked(Compression::Snappy, &stream), bad(Compression::Snappy), "{len}");
            }
        }

        #[test]
        fn an_announced_length_that_is_impossible_is_not_allocated() {
            // 2^32 - 1 bytes from a literal of one.
            let block = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, b'a'];
            let mut out = Vec::new();
            let result = inflate(Compression::Snappy, &block, &mut out, usize::MAX);
            assert_eq!((result, out.capacity()), (Err(Malformed::BadCompression(Compression::Snappy)), 0));
        }
    }

    #[cfg(feature = "lz4")]
    mod lz4 {
        use super::*;
        use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

        fn frame(info: FrameInfo, text: &[u8]) -> Vec<u8> {
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }

        #[test]
        fn the_header_is_that_of_kafkas_clients() {
            for text in [&b"x"[..], &noise(100_000)] {
                let stream = packed(Compression::Lz4, text);
                assert_eq!(stream[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
                assert_eq!(stream[stream.len() - 4..], [0; 4]);
            }
        }

        #[test]
        fn checksums_and_content_size_are_read() {
            let text = noise(300_000);
            let info = FrameInfo::new()
                .block_mode(BlockMode::Independent)
                .block_size(BlockSize::Max256KB)
                .block_checksums(true)
                .content_checksum(true)
                .content_size(Some(300_000));
            assert_eq!(unpacked(Compression::Lz4, &frame(info, &text)), Ok(text));
        }

        #[test]
        fn what_follows_the_frame_is_ignored() {
            let stream = [packed(Compression::Lz4, b"one"), packed(Compression::Lz4, b"two")].concat();
            assert_eq!(unpacked(Compression::Lz4, &stream).unwrap(), b"one");
        }

        #[test]
        fn linked_blocks_are_refused() {
            let info = FrameInfo::new().block_mode(BlockMode::Linked).block_size(BlockSize::Max64KB);
            assert_eq!(unpacked(Compression::Lz4, &frame(info, &noise(70_000))), bad(Compression::Lz4));
        }

        #[test]
        fn every_header_bit_counts() {
            let stream = packed(Compression::Lz4, b"some text");
            for bit in 0..7 * 8 {
                let mut damaged = stream.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(unpacked(Compression::Lz4, &damaged), bad(Compression::Lz4), "bit {bit}");
            }
        }
    }
}

//! The codecs, each behind the cargo feature of its name, in the framing that Kafka gives them (records.md 8).
//!
//! All records of a batch are one stream. Inflating is bounded: no length that the input announces is allocated before
//! it is known to fit the caller's limit and to be possible for an input of that size.

use super::header::Compression;
use super::malformed::Malformed;

mod deflater;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod xerial;
#[cfg(feature = "zstd")]
mod zstandard;

pub(super) use deflater::deflate;

/// Bytes that were inflated, in memory that can be used again.
#[derive(Default)]
pub(crate) struct InflateBuffer {
    /// What lies behind `len` is left over and will be overwritten. It is kept because clearing it for every batch
    /// would cost as much as some codecs do.
    bytes: Vec<u8>,
    len: usize,
}

impl InflateBuffer {
    /// What was inflated.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Number of bytes that were inflated.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory that it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets what was inflated, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Place for `wanted` bytes behind what is there.
    #[cfg(any(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd"))]
    fn room(&mut self, wanted: usize) -> &mut [u8] {
        let end = self.len.saturating_add(wanted);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.len..end).unwrap_or_default()
    }

    /// Place for bytes behind what is there that costs nothing, since the memory is there.
    #[cfg(any(feature = "gzip", feature = "zstd"))]
    fn room_left(&self) -> usize {
        self.bytes.len() - self.len
    }

    /// Takes over `written` bytes that were written into the room.
    #[cfg(any(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd"))]
    fn advance(&mut self, written: usize) {
        self.len = self.len.saturating_add(written).min(self.bytes.len());
    }
}

/// A place to inflate batches: memory, and the state of codecs that have one, used again from batch to batch.
#[derive(Default)]
pub(crate) struct Inflater {
    /// What was inflated.
    pub(crate) out: InflateBuffer,
    #[cfg(feature = "gzip")]
    gzip: Option<Box<flate2::Decompress>>,
    #[cfg(feature = "zstd")]
    zstd: Option<zstd::zstd_safe::DCtx<'static>>,
}

impl Inflater {
    /// Appends the inflated `input` to what is there: at most `limit` bytes. After an error there is what there was.
    ///
    /// # Errors
    ///
    /// `BadCompression` if the codec cannot read it, `TooLarge` if it holds more than `limit` bytes,
    /// `UnsupportedCompression` if this build has no such codec.
    #[cfg_attr(
        not(any(feature = "gzip", feature = "lz4", feature = "snappy", feature = "zstd")),
        expect(unused_variables, reason = "there is no codec")
    )]
    pub(crate) fn inflate(&mut self, compression: Compression, input: &[u8], limit: usize) -> Result<(), Malformed> {
        let before = self.out.len;
        let result = match compression {
            Compression::None => return Err(Malformed::BadCompression(compression)), // nothing to inflate
            // No codec writes a stream of no bytes, but some readers take one for an empty stream.
            _ if compression.is_supported() && input.is_empty() => Err(Malformed::BadCompression(compression)),
            #[cfg(feature = "gzip")]
            Compression::Gzip => gzip::inflate(&mut self.gzip, input, &mut self.out, limit),
            #[cfg(feature = "snappy")]
            Compression::Snappy => xerial::inflate(input, &mut self.out, limit),
            #[cfg(feature = "lz4")]
            Compression::Lz4 => lz4::inflate(input, &mut self.out, limit),
            #[cfg(feature = "zstd")]
            Compression::Zstd => zstandard::inflate(&mut self.zstd, input, &mut self.out, limit),
            #[cfg(not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")))]
            other => Err(Malformed::UnsupportedCompression(other.id())),
        };
        if result.is_err() {
            self.out.len = before;
        }
        result
    }
}

/// Appends the inflated `input` to `out`, with memory of its own.
#[cfg(test)]
pub(super) fn inflate(
    compression: Compression,
    input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), Malformed> {
    let mut inflater = Inflater::default();
    let result = inflater.inflate(compression, input, limit);
    if result.is_err() {
        assert_eq!(inflater.out.len(), 0, "an error leaves nothing behind");
    }
    out.extend_from_slice(inflater.out.as_slice());
    result
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
            let mut inflater = Inflater::default();
            inflater.inflate(compression, &packed(compression, b"before"), 6).unwrap();
            let result = inflater.inflate(compression, &bomb, 10_000);
            assert_eq!(result, Err(Malformed::TooLarge { limit: 10_000 }));
            assert_eq!(inflater.out.as_slice(), b"before");
            assert!(inflater.out.capacity() < 1 << 20, "{compression} took {} bytes", inflater.out.capacity());
            let result = inflater.inflate(compression, &bomb, (4 << 20) - 1);
            assert_eq!(result, Err(Malformed::TooLarge { limit: (4 << 20) - 1 }));
            assert_eq!(inflater.inflate(compression, &bomb, 4 << 20), Ok(()), "the limit itself is allowed");
            assert_eq!(inflater.out.len(), 6 + (4 << 20));
        }
    }

    #[test]
    fn what_was_inflated_before_shines_through_nowhere() {
        for compression in CODECS.into_iter().filter(|codec| codec.is_supported()) {
            let mut inflater = Inflater::default();
            for text in [noise(100_000), vec![b'a'; 50], noise(70_000), Vec::new(), vec![0; 90_000]] {
                inflater.out.clear();
                assert_eq!(inflater.inflate(compression, &packed(compression, &text), 1 << 20), Ok(()));
                assert_eq!(inflater.out.as_slice(), text);
                assert!(inflater.inflate(compression, b"not a stream of any of them", 1 << 20).is_err());
                assert_eq!(inflater.out.as_slice(), text);
            }
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
        use std::io::Write;

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

    #[cfg(feature = "gzip")]
    #[test]
    fn a_gzip_header_may_say_more() {
        let plain = packed(Compression::Gzip, b"text");
        let body = &plain[10..];
        // Flags for a checksum of the header, something extra, a name and a comment.
        let mut header = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x02\0xxname\0comment\0".to_vec();
        header.extend((crc32fast::hash(&header) as u16).to_le_bytes());
        let stream = [&header, body].concat();
        assert_eq!(unpacked(Compression::Gzip, &stream).unwrap(), b"text");
        for at in 0..header.len() {
            let mut damaged = stream.clone();
            damaged[at] ^= 0x80;
            assert_eq!(unpacked(Compression::Gzip, &damaged), bad(Compression::Gzip), "byte {at}");
        }
        for at in plain.len() - 8..plain.len() {
            let mut damaged = plain.clone();
            damaged[at] ^= 1;
            assert_eq!(unpacked(Compression::Gzip, &damaged), bad(Compression::Gzip), "byte {at} of the trailer");
        }
    }

    #[cfg(feature = "zstd")]
    mod zstandard {
        use super::*;

        const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

        /// The last block, which is stored and holds one byte.
        const BLOCK: [u8; 4] = [0x09, 0, 0, b'a'];

        fn inflated(stream: &[u8]) -> (Result<(), Malformed>, usize) {
            let mut inflater = Inflater::default();
            (inflater.inflate(Compression::Zstd, stream, usize::MAX), inflater.out.capacity())
        }

        #[test]
        fn an_announced_size_is_not_allocated() {
            for size in [2, 1 << 40, u64::MAX >> 1] {
                let stream = [&MAGIC[..], &[0xe0], &size.to_le_bytes(), &BLOCK].concat();
                let (result, capacity) = inflated(&stream);
                assert_eq!(result, Err(Malformed::BadCompression(Compression::Zstd)), "{size} bytes");
                assert!(capacity <= 64, "{capacity}");
            }
            assert_eq!(inflated(&[&MAGIC[..], &[0xe0], &1_u64.to_le_bytes(), &BLOCK].concat()).0, Ok(()));
        }

        #[test]
        fn an_announced_window_is_not_allocated() {
            for exponent in [0, 17, 21, 31] {
                let stream = [&MAGIC[..], &[0x00, exponent << 3], &BLOCK].concat();
                let (result, capacity) = inflated(&stream);
                let bad = Err(Malformed::BadCompression(Compression::Zstd));
                assert_eq!(result, if exponent == 31 { bad } else { Ok(()) }, "2^{} bytes", 10 + exponent);
                assert!(capacity <= 64, "{capacity}");
            }
        }

        #[test]
        fn frames_to_be_skipped_are_skipped() {
            let skipped = [&0x184d_2a53_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"xyz"].concat();
            let stream = [&skipped[..], &packed(Compression::Zstd, b"text"), &skipped].concat();
            assert_eq!(unpacked(Compression::Zstd, &stream).unwrap(), b"text");
        }
    }
}

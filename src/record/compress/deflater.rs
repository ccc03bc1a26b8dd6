//! Compressing, with the memory and the state of the codecs used again from batch to batch.

#[cfg(feature = "gzip")]
use super::gzip;
#[cfg(feature = "lz4")]
use super::lz4;
#[cfg(feature = "snappy")]
use super::xerial;
#[cfg(feature = "zstd")]
use super::zstandard;
use super::{Compression, Malformed};
use crate::sync::Mutex;

/// The state of codecs that compress, each made when it is first needed. Setting one up costs an allocation of up to a
/// megabyte, which is more than compressing a small batch does.
#[derive(Default)]
pub(super) struct Deflater {
    #[cfg(feature = "gzip")]
    gzip: Option<gzip::Deflate>,
    #[cfg(feature = "snappy")]
    snappy: Option<Box<snap::raw::Encoder>>,
    #[cfg(feature = "lz4")]
    lz4: Option<lz4::FrameWriter>,
    #[cfg(feature = "zstd")]
    zstd: Option<zstd::zstd_safe::CCtx<'static>>,
}

impl Deflater {
    /// Appends the compressed `input` to `out`. `level` is the codec's own scale, cut to its range; `None` is its
    /// default. Snappy has no levels, and of lz4's every one gives what its fast compressor does.
    ///
    /// # Errors
    ///
    /// `UnsupportedCompression` if this build has no such codec; `BadCompression` if the codec fails, which it has no
    /// reason to. What is in `out` then is of no use.
    #[cfg_attr(
        not(any(feature = "gzip", feature = "zstd")),
        expect(unused_variables, reason = "the codecs of this build have no level")
    )]
    pub(super) fn deflate(
        &mut self,
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
            Compression::Gzip => gzip::deflate(&mut self.gzip, level, input, out),
            #[cfg(feature = "snappy")]
            Compression::Snappy => {
                xerial::deflate(self.snappy.get_or_insert_with(|| Box::new(snap::raw::Encoder::new())), input, out)
            }
            #[cfg(feature = "lz4")]
            Compression::Lz4 => lz4::deflate(&mut self.lz4, input, out),
            #[cfg(feature = "zstd")]
            Compression::Zstd => zstandard::deflate(&mut self.zstd, level, input, out),
            #[cfg(not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")))]
            other => Err(Malformed::UnsupportedCompression(other.id())),
        }
    }
}

/// Deflaters that are kept: about as many as threads compress at the same time.
const KEPT: usize = 8;

static SPARE: Mutex<Vec<Deflater>> = Mutex::new(Vec::new());

/// As [`Deflater::deflate`], with a deflater that others have used before, and will after: once as many have been made
/// as threads compress at a time, nothing is allocated but room in `out`.
pub(in super::super) fn deflate(
    compression: Compression,
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    if compression == Compression::None {
        return Deflater::default().deflate(compression, level, input, out);
    }
    let spare = SPARE.lock().pop();
    let mut deflater = spare.unwrap_or_default();
    let result = deflater.deflate(compression, level, input, out);
    let mut spare = SPARE.lock();
    if spare.len() < KEPT {
        spare.push(deflater);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::super::inflate;
    use super::*;

    const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn supported() -> impl Iterator<Item = Compression> {
        CODECS.into_iter().filter(|codec| codec.is_supported())
    }

    /// Text that compresses, and differs from one `seed` to the next.
    fn text(seed: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| b"abcdefghijklmnop"[(at * seed / 7 + at / 100) % 16]).collect()
    }

    #[test]
    fn a_deflater_that_was_used_writes_what_a_new_one_does() {
        let mut used = Deflater::default();
        for (seed, len) in [(1, 100_000), (2, 10), (3, 0), (4, 70_000), (5, 0), (6, 65_536), (7, 1)] {
            for (compression, level) in
                supported().flat_map(|codec| [None, Some(1), Some(9)].map(|level| (codec, level)))
            {
                let input = text(seed, len);
                let (mut out, mut expected) = (b"before".to_vec(), b"before".to_vec());
                used.deflate(compression, level, &input, &mut out).unwrap();
                Deflater::default().deflate(compression, level, &input, &mut expected).unwrap();
                assert_eq!(out, expected, "{compression} {level:?} {len}");
                let mut back = Vec::new();
                inflate(compression, &out[6..], &mut back, len).unwrap();
                assert_eq!(back, input);
            }
        }
    }

    #[test]
    fn levels_make_a_difference() {
        // Words in an order that repeats far apart only.
        let mut state = 1_u32;
        let words: Vec<u8> = (0..20_000)
            .flat_map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                format!("word{} ", state >> 23).into_bytes()
            })
            .collect();
        for (compression, low, high) in [(Compression::Gzip, 1, 9), (Compression::Zstd, -50, 19)] {
            if !compression.is_supported() {
                continue;
            }
            let len = |level| {
                let mut out = Vec::new();
                deflate(compression, Some(level), &words, &mut out).unwrap();
                out.len()
            };
            assert!(len(high) < len(low), "{compression}: {} and {}", len(low), len(high));
        }
    }
}

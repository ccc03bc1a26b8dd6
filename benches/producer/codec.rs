//! The codecs' libraries by themselves, each used as fast as it can be: what can be used again is.

use std::fmt::Write;

use thalweg::Compression;

/// Compresses one batch and returns how many bytes that takes.
pub(crate) type Compress = Box<dyn FnMut(&[u8]) -> usize>;

/// The codecs that this build has.
pub(crate) fn built_in() -> Vec<(Compression, fn() -> Compress)> {
    vec![
        #[cfg(feature = "gzip")]
        (Compression::Gzip, gzip),
        #[cfg(feature = "snappy")]
        (Compression::Snappy, snappy),
        #[cfg(feature = "lz4")]
        (Compression::Lz4, lz4),
        #[cfg(feature = "zstd")]
        (Compression::Zstd, zstd),
    ]
}

#[cfg(feature = "gzip")]
fn gzip() -> Compress {
    let mut state = flate2::Compress::new(flate2::Compression::default(), false);
    let mut out = vec![0; 2 << 20];
    Box::new(move |records| {
        state.reset();
        state.compress(records, &mut out, flate2::FlushCompress::Finish).unwrap();
        18 + state.total_out() as usize
    })
}

#[cfg(feature = "snappy")]
fn snappy() -> Compress {
    let (mut encoder, mut out) = (snap::raw::Encoder::new(), vec![0; 64 << 10]);
    Box::new(move |records| {
        let blocks = records.chunks(32 << 10);
        16 + blocks.map(|block| 4 + encoder.compress(block, &mut out).unwrap()).sum::<usize>()
    })
}

#[cfg(feature = "lz4")]
fn lz4() -> Compress {
    let mut out = vec![0; 128 << 10];
    Box::new(move |records| {
        let blocks = records.chunks(64 << 10);
        11 + blocks.map(|block| 4 + lz4_flex::block::compress_into(block, &mut out).unwrap()).sum::<usize>()
    })
}

#[cfg(feature = "zstd")]
fn zstd() -> Compress {
    let (mut compressor, mut out) = (zstd::bulk::Compressor::new(3).unwrap(), vec![0; 2 << 20]);
    Box::new(move |records| compressor.compress_to_buffer(records, &mut out[..]).unwrap())
}

/// Lines as a web server logs them.
pub(crate) fn log_lines(count: usize) -> Vec<String> {
    const PATHS: [&str; 7] =
        ["/", "/login", "/api/v2/orders", "/api/v2/items/list", "/static/app.js", "/static/logo.svg", "/search"];
    const AGENTS: [&str; 3] = ["curl/8.5", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101", "okhttp/4.12.0"];
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let line = |number| {
        let (a, b, user) = (random(16), random(256), random(5000));
        let (path, agent) = (PATHS[random(7) as usize], AGENTS[random(3) as usize]);
        let (status, size, micros) =
            ([200, 200, 200, 304, 404, 500][random(6) as usize], random(40_000), random(90_000));
        let (minute, second, millis) = (number / 60_000 % 60, number / 1000 % 60, number % 1000);
        let mut line = String::new();
        write!(line, "2024-05-17T09:{minute:02}:{second:02}.{millis:03}Z INFO http 10.0.{a}.{b} user={user} ").unwrap();
        write!(line, "\"GET {path} HTTP/1.1\" {status} {size} {micros}us \"{agent}\"").unwrap();
        line
    };
    (0..count).map(line).collect()
}

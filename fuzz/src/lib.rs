//! What the fuzz targets do, as functions: the fuzzer calls them, and so does the test that replays the corpus.
//!
//! Everything here needs `--cfg fuzzing`, which `cargo fuzz` sets:
//!
//! ```text
//! cargo fuzz run recover
//! RUSTFLAGS='--cfg fuzzing' cargo test --manifest-path fuzz/Cargo.toml --no-default-features
//! ```
//!
//! An input that once failed stays in `corpus/<target>/`. `cargo run --example seeds` writes the seeds anew.

#[cfg(not(fuzzing))]
compile_error!("build this crate with RUSTFLAGS='--cfg fuzzing', or with cargo fuzz");

#[cfg(fuzzing)]
mod caches;
#[cfg(fuzzing)]
mod fetch;
#[cfg(fuzzing)]
mod files;
#[cfg(fuzzing)]
mod ops;
#[cfg(fuzzing)]
pub mod place;
#[cfg(fuzzing)]
mod recover;
/// Shared with the tests of the crate.
#[cfg(fuzzing)]
#[path = "../../tests/model/runner/mod.rs"]
pub mod runner;

#[cfg(fuzzing)]
pub use {
    caches::checkpoint, caches::index, fetch::fetch, files::files, ops::ops, recover::recover, thalweg::fuzzing::batch,
    thalweg::fuzzing::offsets,
};

/// What a target does with an input.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
#[cfg(fuzzing)]
pub const TARGETS: [(&str, Target); 8] = [
    ("batch", batch),
    ("checkpoint", checkpoint),
    ("fetch", fetch),
    ("files", files),
    ("index", index),
    ("offsets", offsets),
    ("ops", ops),
    ("recover", recover),
];

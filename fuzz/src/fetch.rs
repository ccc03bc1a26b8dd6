//! A script of fetches, at once and waiting, compared with a model made of vectors: see `tests/model/runner/fetches`.

use crate::runner::fetches::{run, script::decode};

const OPS_MAX: usize = 64;

/// The bytes choose the topic's settings and what is in it, and then the calls.
pub fn fetch(bytes: &[u8]) {
    let (setup, ops) = decode(bytes, OPS_MAX);
    run(&setup, &ops);
}

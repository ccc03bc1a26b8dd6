//! A script of calls, compared with a model made of vectors: see `tests/model`.

use crate::runner::{decode::decode, run};

const OPS_MAX: usize = 48;

/// The bytes choose the topic's settings and then the calls.
pub fn ops(bytes: &[u8]) {
    let (setup, ops) = decode(bytes, OPS_MAX);
    run(&setup, &ops);
}

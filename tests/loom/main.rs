//! The small parts that work without a lock, in every interleaving of a few threads: how far a segment can be read, and
//! those who wait for it.
//!
//! The files of the crate are included here as they are; `sync` stands in for the crate's and gives loom's atomics and
//! locks. Each scenario has controls: with a fence, an order or a second look left out, loom has to find what goes wrong.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once and say where")]

#[path = "../../src/segment/end.rs"]
mod end;
mod error;
mod hand_over;
#[expect(dead_code, reason = "what the producer uses and no scenario does")]
#[path = "../../src/producer/memory.rs"]
mod memory;
mod memory_waits;
mod parts;
mod published;
mod record;
mod sync;
mod topic;
mod types;
#[expect(dead_code, reason = "what the broker uses and no scenario does")]
#[path = "../../src/topic/waiters.rs"]
mod waiters;
mod waiting;

use sync::Flaw;

/// Runs `scenario` in every interleaving with at most three switches that no thread asked for.
fn explore(scenario: fn()) {
    explore_with(Flaw::Nothing, scenario);
}

/// As [`explore`], with primitives that do less than they say.
fn explore_with(flaw: Flaw, scenario: fn()) {
    sync::set_flaw(flaw);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(scenario);
}

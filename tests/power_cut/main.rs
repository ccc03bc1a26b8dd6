//! Power cuts: workloads on a disk that knows what it would have lost, cut at many places, opened and compared with what
//! was acknowledged before.
//!
//! | variable | default | |
//! |---|---|---|
//! | `THALWEG_POWER_CUTS` | 1500 | states that are opened |
//! | `THALWEG_POWER_CUTS_SEED` | 1 | the first workload; a failure names the one that failed |
//! | `THALWEG_POWER_CUTS_CONTROLS` | 400 | states in which a sync that is left out has to be missed |
//! | `THALWEG_POWER_CUTS_ONLY` | | the syncs that are left out, separated by commas, also those that nobody misses |
//!
//! A failure names its workload, which `THALWEG_POWER_CUTS_SEED` begins with, and its cuts: the same seed tries the same
//! states. What every state has to show is in [`world`]: at least what was promised, at most
//! what was sent, no gap, and a log that goes on.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

mod campaign;
mod controls;
mod evicted;
mod failing;
mod kind;
mod random;
mod removed;
mod scripts;
mod small_files;
mod state;
mod stories;
mod story;
mod workload;
mod world;

/// How many states are opened.
const CUTS: &str = "THALWEG_POWER_CUTS";

/// How many states are opened with a sync left out.
const CONTROLS: &str = "THALWEG_POWER_CUTS_CONTROLS";

/// Which syncs are left out.
const ONLY: &str = "THALWEG_POWER_CUTS_ONLY";

/// The first workload.
const SEED: &str = "THALWEG_POWER_CUTS_SEED";

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// A directory in memory, where there is one: nothing in it has to outlive the test.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

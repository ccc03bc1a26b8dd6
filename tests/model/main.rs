//! Scripts of calls, compared with a model made of vectors: what the runner finds, and that it can find something.
//!
//! | variable | default | |
//! |---|---|---|
//! | `PROPTEST_CASES` | 150, of fetches 300 | scripts that shrink when they fail |
//! | `THALWEG_SOAK_SECONDS` | 2 | how long longer scripts run |
//! | `THALWEG_SOAK_SEED` | | the one script that failed |
//!
//! A script that fails is printed. What the background threads do meanwhile is not in it: where they matter, it has to run
//! more than once.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that fails should fail at once and say where")]
#![expect(unreachable_pub, reason = "the fuzz crate includes the runner")]

mod fetches;
mod found;
mod properties;
mod runner;
mod sabotage;
mod soak;

//! A disk that fails: every operation of a workload fails once, in many ways, or all from one on do; and whatever was
//! acknowledged is there, before a kill and after it, and after a power cut.
//!
//! | variable | default | |
//! |---|---|---|
//! | `THALWEG_FAILING_DISK` | | `all`: every operation with every error and all power cuts, not one of each |
//! | `THALWEG_FAILING_DISK_ONLY` | | cases whose description has this in it |
//!
//! What holds for every case:
//!
//! - No panic and no hang. Every error says something sensible, and a call that failed once succeeds when it is tried again,
//!   but for appends to a partition that has failed.
//! - A partition that said so acknowledges nothing more until it is opened again, and what it has shown stays readable. With
//!   no more than a full disk, or no file handle, no partition fails.
//! - After a kill, all that was acknowledged is there; after a power cut, all that was durable.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]
#![expect(clippy::print_stdout, reason = "the numbers are the result")]

mod append;
mod campaign;
mod case;
mod found;
mod known;
mod model;
mod records;
mod scripts;
mod session;
mod topics;
mod watchdog;

/// How much is tried.
const CAMPAIGN: &str = "THALWEG_FAILING_DISK";

/// Which cases are tried.
const ONLY: &str = "THALWEG_FAILING_DISK_ONLY";

/// A directory in memory, where there is one: nothing in it has to outlive the test.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

//! Tools for data directories that nobody has open: looking for damage, showing what is there, repairing.
//!
//! - [`verify()`] reads everything, compares what can be compared, and changes nothing.
//! - [`dump()`] prints files so that a person can read them. It takes no lock.
//! - [`repair()`] makes a directory openable again, with what may be lost chosen by its caller.
//!
//! Everything is read through files and not through maps, so that a failing device is an error value and not a signal.
//! The first and the last take the lock of the directory: [`DirectoryLocked`](crate::ErrorKind::DirectoryLocked) says
//! that a broker has it.
//!
//! # How bad a finding is
//!
//! | severity | meaning |
//! |---|---|
//! | error | records are lost or cannot be read, or an answer may be wrong; opening does not heal it |
//! | warning | the next open cuts, rebuilds or ignores it; or another tool would object |
//! | note | worth knowing |
//!
//! # What this layer does not do
//!
//! It does not look into the records of the engine's own topics, and runs no recovery: what the next open will do to a torn
//! end is said but not done.

mod aborted_transactions;
mod classify;
mod closed_directory;
mod dump;
mod dump_log;
mod dump_side;
mod finding;
mod index_check;
mod repair;
mod repair_log;
mod repair_partition;
mod repair_topic;
mod segment_walk;
mod verification;
mod verify;
mod verify_partition;

pub use dump::{DumpOptions, dump};
pub use finding::{Finding, Severity};
pub use repair::{RepairOptions, RepairReport, RepairStep, repair};
pub use verification::Verification;
pub use verify::verify;

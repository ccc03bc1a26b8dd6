//! The log of one partition: segments in a row, of which the last one is appended to.
//!
//! # In the partition's directory
//!
//! | file | content |
//! |---|---|
//! | `<base>.log`, `.index`, `.timeindex` | the segments, see [`crate::segment`] |
//! | `<offset>.snapshot` | what is known of idempotent producers, see [`producers`] |
//! | `leader-epoch-checkpoint` | the leader epochs, see [`leader_epochs`] |
//! | `thalweg-checkpoint` | how far everything is known to be durable, see [`checkpoint`] |
//! | `<base>.log.<position>.corrupt`, `<base>.log.corrupt` | what recovery cut off and could not account for |
//!
//! # Invariants
//!
//! - log start <= high watermark <= log end; durable <= log end.
//! - A record is visible below the high watermark only, and the high watermark follows the promise of the topic's
//!   durability: the log end in modes `os` and `interval`, the durable end in mode `fsync`.
//! - The segment list is immutable and swapped as a whole; segments are sorted by base and do not overlap.
//! - After a failed sync, or a write that could not be undone, nothing more is appended; reading goes on.
//!
//! # Written and read
//!
//! [`Log::append`] takes the writer's lock, assigns offsets, writes with one `pwrite` and publishes. [`Log::sync_to`]
//! makes appends durable, one caller for all who wait. [`Log::fetch`] takes no lock.
//!
//! # After a crash
//!
//! [`Log::open`] walks what lies behind the checkpoint's recovery point, cuts a torn end off, and reports it.
//!
//! It neither spawns threads nor asks for the time, and knows nothing of topics and groups.

mod append;
mod backup;
mod batch_check;
mod checkpoint;
mod counts;
mod cut;
mod decision;
mod follow;
mod inflated;
#[cfg(test)]
mod interleaved_tests;
mod leader_epochs;
mod leftovers;
#[cfg(test)]
mod leftovers_tests;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod log;
mod lookup;
mod partition_recovery;
#[cfg(test)]
mod preallocate_tests;
mod producer_snapshot;
mod producer_state;
mod producers;
#[cfg(test)]
mod producers_tests;
mod read;
mod read_ahead;
#[cfg(test)]
mod read_failure_tests;
mod readable;
mod record_batches;
mod records;
mod recover;
mod residency;
mod retention;
mod roll;
mod room;
mod seal;
mod settings;
mod side_file;
mod slice;
mod sync;
mod sync_together;
#[cfg(test)]
mod tests;
mod transactions;
#[cfg(test)]
mod transactions_tests;
mod usage;
mod view;

pub(crate) use append::Appended;
pub(crate) use checkpoint::{CHECKPOINT_FILE, Checkpoint};
pub(crate) use counts::LogCounts;
pub(crate) use follow::PARTITION_METADATA;
pub(crate) use inflated::Inflating;
pub(crate) use leader_epochs::{LEADER_EPOCHS, LeaderEpochs};
pub(crate) use log::{Log, LogPlace};
pub use lookup::{OffsetSpec, TimestampOffset};
pub use partition_recovery::{Cut, PartitionRecovery};
pub(crate) use producer_snapshot::{ProducerEntry, parse_snapshot, snapshot_offset};
pub use read::Fetched;
pub(crate) use read::{FetchBudget, Stop};
pub(crate) use read_ahead::ReadAhead;
pub use record_batches::{BatchRecords, RecordBatches};
pub use records::{Records, RecordsIter};
pub(crate) use recover::LeftBy;
pub(crate) use retention::{OldestSegment, Removed};
pub(crate) use side_file::{CORRUPT, copy_file, keep_end, set_aside};
pub(crate) use sync::Turn;
pub use transactions::AbortedTransaction;
pub(crate) use usage::Usage;

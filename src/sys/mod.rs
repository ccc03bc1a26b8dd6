//! The operating system: files, directories, maps, locks. The only `unsafe` of the crate is in [`mapping`] and [`ring`].
//!
//! - [`Disk`] and [`DiskFile`] are the seam: everything the engine asks of a file system goes through them.
//! - [`AppendFile`] is a file that only grows, written by `pwrite` and read as [`FileBytes`], never beyond what has been
//!   written: through a read-only map, or by `pread` where mapping is not safe.
//! - [`SyncPoint`] names every sync of the engine, and says why it is needed.
//! - [`OpenFiles`] bounds how many files and maps are open.
//! - [`write_atomically`] replaces a small file so that a power cut leaves the old or the new content.
//! - [`Reserve`] is space that is kept back for the time when a disk is full.
//! - [`SyncMany`] makes many files durable at once.
//! - `SimulatedDisk` forgets at a power cut what was not synced, for tests.
//! - [`DirectoryLock`] keeps a second broker out of a data directory.
//!
//! Nothing in here knows what a record is.

mod append_file;
mod bounded;
mod disk;
#[cfg(test)]
mod faulty;
mod file_bytes;
mod followed_file;
mod garbage;
mod handle;
mod lock;
#[allow(unsafe_code, reason = "the one place, with the proof beside each block")]
mod mapping;
#[allow(unsafe_code, reason = "one instruction, with the proof beside it")]
mod prefetch;
mod reserve;
#[allow(unsafe_code, reason = "a submission names a file by its number, with the proof beside it")]
#[cfg_attr(
    not(all(
        target_os = "linux",
        any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "loongarch64",
            target_arch = "powerpc64"
        )
    )),
    path = "no_ring.rs"
)]
mod ring;
#[cfg(feature = "simulation")]
mod simulated;
mod sync_many;
mod sync_point;
mod sync_pool;
#[allow(unsafe_code, reason = "one instruction, with the proof beside it")]
mod ticks;

pub(crate) use append_file::{AppendFile, WriteFailure};
pub(crate) use bounded::{Evict, Eviction, OpenFiles};
pub(crate) use disk::{
    Disk, DiskEntry, DiskFile, OpenMode, RealDisk, TEMPORARY, is_out_of_handles, replace_with_copy, rewrite,
    write_atomically, write_by_way_of,
};
#[cfg(test)]
pub(crate) use faulty::{Faults, FaultyDisk};
pub(crate) use file_bytes::FileBytes;
pub(crate) use followed_file::FollowedFile;
pub(crate) use lock::{DirectoryLock, LockFailure};
pub(crate) use prefetch::{prefetch, prefetch_room};
pub(crate) use reserve::{RESERVE_FILE, Reserve, is_full};
#[cfg(feature = "simulation")]
pub use simulated::{Cut, Fault, Held, Operation, OperationKind, SimulatedClock, SimulatedDisk, Survival, Survived};
pub use sync_many::SyncMethod;
#[cfg(not(feature = "simulation"))]
pub(crate) use sync_point::SyncPoint;
#[cfg(feature = "simulation")]
pub use sync_point::SyncPoint;
pub(crate) use ticks::ticks;

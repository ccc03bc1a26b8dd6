//! One segment: a `.log` file of record batches with its offset index and its time index.
//!
//! # Layout
//!
//! | file | content |
//! |---|---|
//! | `<base>.log` | record batches end to end; while it is written to, the zeros of what is reserved may follow |
//! | `<base>.index` | 8 bytes an entry: `i32` last offset of a batch minus base, `i32` position of its first byte |
//! | `<base>.timeindex` | 12 bytes an entry: `i64` timestamp, `i32` offset minus base |
//!
//! `<base>` is the segment's base offset in 20 decimal digits. All numbers are big-endian.
//!
//! # Invariants
//!
//! - Offsets in a segment lie in `base ..= base + i32::MAX`; positions stay below 2^31.
//! - Nothing below the written end ever changes; the visible end never exceeds the written end.
//! - Index entries are a cache of the `.log` file, never evidence: what does not agree with it is built again.
//!
//! # Written and read
//!
//! One writer appends whole batches and then publishes the end. Readers load the end once, find a position through the
//! index, and take a slice; they need no lock. Index entries of a segment that is written to live in memory and reach
//! their files when it is sealed. A sealed segment is mapped when it is read, and unmapped when others are read more.
//! With `read.mode` `pread` it is opened and closed instead: nothing is mapped, headers are read through a small window, and
//! an error of the system is neither damage nor a signal.
//!
//! # After a crash
//!
//! The `.log` file may end in a torn batch, in zeros, or short, and zeros may follow each of them; [`scan()`] finds
//! the last batch that holds. Index files may be missing or short.

mod end;
mod entry_list;
mod follower;
mod headers;
mod indexes;
mod names;
mod offset_index;
mod reader;
mod scan;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod segment;
mod time_index;

pub(crate) use end::End;
pub(crate) use follower::SegmentFollower;
pub(crate) use headers::{DamageAt, ReadFailure};
pub(crate) use indexes::{Indexer, Indexes};
pub(crate) use names::{SegmentFile, segment_path};
pub(crate) use reader::{Readers, SegmentReader, bad_offsets, follows};
pub(crate) use scan::{
    Damage, Scan, ScanOffsets, announces_batch, data_end, find_batch_behind, holds_batch_behind, scan, scan_whole,
};
pub(crate) use segment::{Room, Segment, SegmentPlace, SegmentWriter};

//! Record batches: bytes to records and back. No I/O, no clock.
//!
//! A log file, what a producer sends and what a consumer fetches are the same thing: batches laid end to end, with
//! nothing before, between or behind them. The bytes are those of Kafka's format version 2, in both directions: Kafka
//! reads what is written here and the other way round.
//!
//! # Layout
//!
//! A batch is a header of 61 bytes and its records. All integers of the header are big-endian.
//!
//! | at | bytes | type | field | |
//! |---:|------:|------|-------|-|
//! | 0 | 8 | i64 | baseOffset | offset of delta 0; 0 until a log assigns it |
//! | 8 | 4 | i32 | batchLength | bytes behind this field, 49 or more |
//! | 12 | 4 | i32 | partitionLeaderEpoch | set by the log; -1 for unknown |
//! | 16 | 1 | i8 | magic | 2 |
//! | 17 | 4 | u32 | crc | CRC-32C of everything from byte 21 to the end |
//! | 21 | 2 | i16 | attributes | bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon |
//! | 23 | 4 | i32 | lastOffsetDelta | last offset - baseOffset |
//! | 27 | 8 | i64 | baseTimestamp | timestamp of delta 0, or the delete horizon |
//! | 35 | 8 | i64 | maxTimestamp | largest timestamp of a record, or the time of the append |
//! | 43 | 8 | i64 | producerId | -1 for none |
//! | 51 | 2 | i16 | producerEpoch | -1 for none |
//! | 53 | 4 | i32 | baseSequence | -1 for none |
//! | 57 | 4 | i32 | recordCount | records that are there |
//! | 61 | | | records | one behind the other, or the compressed stream of that ([`record`], [`compress`]) |
//!
//! # Invariants
//!
//! - Offsets, timestamps and sequence numbers of records are deltas against the header. A log assigns offsets by
//!   writing 8 bytes, without touching the records or the checksum: the first 16 bytes are not covered by it.
//! - Offset deltas increase strictly from one record to the next and lie in `0..=lastOffsetDelta`.
//! - Compaction keeps baseOffset, lastOffsetDelta and baseSequence of what it thins out: recordCount says how many
//!   records are left, and the offset behind a batch never follows from it. A batch may have no records at all.
//! - Null and empty keys and values are different, and both survive.
//!
//! # Reading
//!
//! [`Batches`] walks a range of bytes, [`Batch::first`] looks at one batch: both see no more than the header. Then, once
//! for each batch, [`Batch::verify_crc`] and, on its [records area](Batch::records_area),
//! [`check_records`](Batch::check_records); after that [`RecordIter`] yields the records without a `Result` and without
//! an allocation, as views into the bytes. No bytes whatsoever make any of it panic or read behind their end.
//!
//! # Writing
//!
//! [`BatchBuilder`] collects records behind the place for their header and fills that in last. [`assign`] and
//! [`stamp_log_append_time`] then change a finished batch in place.
//!
//! # A crash
//!
//! leaves a batch whose end is missing (`Ok(None)` of [`Batch::first`]), zeros in its place (`BadSize(0)`), or bytes
//! that were never written (`BadCrc`). What to do about it is the caller's decision.
//!
//! # What this layer does not do
//!
//! It does not know where bytes come from, whether a batch belongs behind the one before it, what a topic accepts, or
//! what a transaction is. Formats before version 2 are refused.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used))]
#![cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the layer covers the whole format, control batches and gaps included; its tests use it"
    )
)]

mod batch;
mod builder;
mod compress;
mod control;
mod crc;
mod draft;
mod header;
mod malformed;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod record;
mod validate;
#[cfg(test)]
mod validate_tests;
mod varint;

pub(crate) use batch::{Batch, Batches};
#[cfg(test)]
pub(crate) use builder::BatchFields;
#[cfg(fuzzing)]
pub(crate) use builder::seal;
pub(crate) use builder::{BatchBuilder, assign, stamp_log_append_time};
pub(crate) use compress::{InflateBuffer, Inflater};
pub(crate) use control::{ControlType, EndTransaction};
pub(crate) use crc::crc32c;
pub(crate) use header::{BatchHeader, Compression, HEADER_LEN};
pub(crate) use malformed::Malformed;
pub(crate) use record::RecordIter;
pub use record::{Header, Headers, Record};
pub(crate) use validate::{Rejection, Rules, validate};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod twin;

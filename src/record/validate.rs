//! Batches that somebody else has finished: what a topic asks of them before they become part of its log.
//!
//! Rules: records.md 3, 6, 11 and 12, `LogValidator`. Where Kafka does not look, this does: unknown attribute bits,
//! negative timestamps, and offset deltas of plain batches.

use super::batch::Batch;
use super::builder::{BatchBuilder, BatchFields, set_max_timestamp};
use super::compress::Inflater;
use super::header::{
    Attributes, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC, MAGIC_OFFSET, SIZE_FIELD_MIN,
};
use super::malformed::Malformed;
use super::record::RecordIter;
use crate::config::{TopicCompression, TopicConfig};
use crate::types::{NO_TIMESTAMP, Timestamp, TimestampType};

/// What a topic accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Largest batch in bytes, as it comes and as it is stored.
    pub(crate) max_message_bytes: usize,
    /// Whether every record needs a key.
    pub(crate) compacted: bool,
    /// Whose timestamps are stored.
    pub(crate) timestamp_type: TimestampType,
    /// How far behind `now` a timestamp may lie, in milliseconds.
    pub(crate) before_max: Timestamp,
    /// How far ahead of `now`.
    pub(crate) after_max: Timestamp,
    /// The time of the append, read once.
    pub(crate) now: Timestamp,
    /// How the batch is to be stored.
    pub(crate) compression: TopicCompression,
    /// The level of that codec, if it has levels.
    pub(crate) level: Option<i32>,
    /// Most bytes that its records may take when they are inflated.
    pub(crate) inflated_max: usize,
}

impl Rules {
    /// Those of `config`, at the time `now`.
    pub(crate) fn of(config: &TopicConfig, now: Timestamp) -> Self {
        let millis = |limit: std::time::Duration| Timestamp::try_from(limit.as_millis()).unwrap_or(Timestamp::MAX);
        let compression = config.get_compression_type();
        Rules {
            max_message_bytes: config.get_max_message_bytes(),
            compacted: config.get_cleanup_policy().compacts(),
            timestamp_type: config.get_message_timestamp_type(),
            before_max: millis(config.get_message_timestamp_before_max()),
            after_max: millis(config.get_message_timestamp_after_max()),
            now,
            compression,
            level: match compression {
                TopicCompression::Codec(codec) => config.get_compression_level(codec),
                TopicCompression::Producer => None,
            },
            inflated_max: config.inflated_max(),
        }
    }

    fn accepts_size(&self, size: usize) -> Result<(), Rejection> {
        let limit = self.max_message_bytes;
        if size <= limit { Ok(()) } else { Err(Rejection::TooLarge { size, limit }) }
    }

    fn timestamp_fault(&self, timestamp: Timestamp) -> Option<RecordFault> {
        match timestamp {
            NO_TIMESTAMP => None,
            ..NO_TIMESTAMP => Some(RecordFault::Negative),
            _ if self.timestamp_type == TimestampType::LogAppendTime => None, // it will not be read
            _ if self.before_max < self.now.saturating_sub(timestamp) => Some(RecordFault::TooOld),
            _ if self.after_max < timestamp.saturating_sub(self.now) => Some(RecordFault::TooFarAhead),
            _ => None,
        }
    }
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The bytes are not what was sent: sending them again can help. Kafka: `CORRUPT_MESSAGE`.
    Corrupt(Malformed),
    /// The bytes are what was sent, and not a batch that the format allows. Kafka: `INVALID_RECORD`.
    Malformed(Malformed),
    /// The format allows it, but not from clients. Kafka: `INVALID_RECORD`.
    Refused(&'static str),
    /// Something that this version does not have. Kafka: `UNSUPPORTED_FOR_MESSAGE_FORMAT` and others.
    Unsupported(&'static str),
    /// A codec that this build does not have. Kafka: `UNSUPPORTED_COMPRESSION_TYPE`.
    UnsupportedCompression(u8),
    /// It takes too many bytes, as it came or as it would be stored. Kafka: `MESSAGE_TOO_LARGE`.
    TooLarge {
        /// How many.
        size: usize,
        /// How many it may take.
        limit: usize,
    },
    /// Records that the topic refuses: at least one, and no more than [`FAULTS_MAX`]. Kafka: `INVALID_TIMESTAMP` if
    /// one of them is about its timestamp, else `INVALID_RECORD`.
    Records(Vec<BadRecord>),
}

/// A record that the topic refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Its place in the batch.
    pub(crate) index: usize,
    /// Why.
    pub(crate) fault: RecordFault,
    /// The timestamp that it was judged by.
    pub(crate) timestamp: Timestamp,
}

/// Why a topic refuses a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordFault {
    NoKey,
    Negative,
    TooOld,
    TooFarAhead,
    Stamped,
}

impl RecordFault {
    pub(crate) fn is_about_the_timestamp(self) -> bool {
        self != RecordFault::NoKey
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            RecordFault::NoKey => "a compacted topic needs a key",
            RecordFault::Negative => "it is negative, and not -1, which stands for none",
            RecordFault::TooOld => "it is older than message.timestamp.before.max.ms allows",
            RecordFault::TooFarAhead => "it is further in the future than message.timestamp.after.max.ms allows",
            RecordFault::Stamped => "only the log may say that it is the time of the append",
        }
    }
}

/// Records that are named in a rejection. A batch of a few bytes can be inflated to millions.
const FAULTS_MAX: usize = 100;

/// The smallest size field of the formats before version 2. Zeros are not one of theirs.
const OLD_SIZE_FIELD_MIN: i32 = 14;

/// Checks what somebody hands in as one batch, and makes it what the topic stores. With `Ok(None)` that is `bytes`, whose
/// timestamp type and max timestamp are now those of the records; a batch that must be stored with another codec is
/// written anew and returned. Offsets, leader epoch and the time of the append are left to the log.
///
/// No bytes make it panic, or take more memory than a few times the limits in `rules`.
pub(crate) fn validate(bytes: &mut [u8], rules: &Rules, inflater: &mut Inflater) -> Result<Option<Vec<u8>>, Rejection> {
    let batch = sole_batch(bytes, rules)?;
    let source = check_header(&batch)?;
    let area = batch.records_area(inflater, rules.inflated_max).map_err(area_rejection)?;
    // As many records as offsets, with deltas that increase and stay within: they are 0, 1, 2 and so on.
    batch.check_records(area).map_err(Rejection::Malformed)?;
    let max_timestamp = check_each(&batch, area, rules)?;
    let target = rules.compression.target(source);
    if target != source {
        return rebuild(&batch, area, target, rules).map(Some);
    }
    set_max_timestamp(bytes, TimestampType::CreateTime, max_timestamp);
    Ok(None)
}

/// The batch that `bytes` are, all of them, with the right checksum.
fn sole_batch<'a>(bytes: &'a [u8], rules: &Rules) -> Result<Batch<'a>, Rejection> {
    const NOT_ONE: Rejection = Rejection::Refused("it is not exactly one whole batch");
    let Some(size) = bytes.get(8..).and_then(|rest| rest.first_chunk()) else { return Err(NOT_ONE) };
    let size = i32::from_be_bytes(*size);
    let bad_size = Err(Rejection::Corrupt(Malformed::BadSize(size)));
    match bytes.get(MAGIC_OFFSET).map(|magic| *magic as i8) {
        _ if size < OLD_SIZE_FIELD_MIN => return bad_size,
        None => return Err(NOT_ONE),
        Some(0 | 1) => return Err(Rejection::Unsupported("batches in the formats before version 2")),
        Some(MAGIC) if size < SIZE_FIELD_MIN => return bad_size,
        Some(MAGIC) if bytes.len() != LOG_OVERHEAD + size as usize => return Err(NOT_ONE),
        Some(MAGIC) => {}
        Some(magic) => return Err(Rejection::Corrupt(Malformed::BadMagic(magic))),
    }
    rules.accepts_size(bytes.len())?;
    let Some(header) = BatchHeader::of_whole(bytes) else { return Err(NOT_ONE) };
    if header.base_offset.get() != 0 {
        return Err(Rejection::Refused("its base offset is not 0: offsets are given by the log"));
    }
    header.verify_crc(bytes).map_err(Rejection::Corrupt)?;
    // What is left that can be wrong was sent so.
    Batch::first(bytes).map_err(Rejection::Malformed)?.ok_or(NOT_ONE)
}

/// What clients may not say of a batch. Returns its codec.
fn check_header(batch: &Batch<'_>) -> Result<Compression, Rejection> {
    let attributes = batch.attributes();
    if attributes.bits() & !Attributes::OF_CLIENTS != 0 {
        let reason = if batch.is_control() {
            "control records are written by the log's owner only"
        } else {
            "it has attribute bits that no client may set"
        };
        return Err(Rejection::Refused(reason));
    }
    let codec = attributes.compression().map_err(Rejection::Malformed)?;
    if batch.record_count() == 0 || batch.record_count().checked_sub(1) != Some(batch.last_offset_delta()) {
        return Err(Rejection::Refused("it does not have a record for each of its offsets"));
    }
    if batch.producer_id().is_some() && (batch.base_sequence() < 0 || batch.producer_epoch() < 0) {
        return Err(Rejection::Refused("it has a producer id, and not the epoch and the sequence that belong to it"));
    }
    if batch.is_transactional() {
        return Err(Rejection::Unsupported("transactions"));
    }
    Ok(codec)
}

fn area_rejection(malformed: Malformed) -> Rejection {
    match malformed {
        Malformed::UnsupportedCompression(codec) => Rejection::UnsupportedCompression(codec),
        Malformed::BadCompression(_) => Rejection::Corrupt(malformed),
        other => Rejection::Malformed(other),
    }
}

/// Checks what the topic asks of each record, and returns the largest timestamp.
fn check_each(batch: &Batch<'_>, area: &[u8], rules: &Rules) -> Result<Timestamp, Rejection> {
    let mut bad = Vec::new();
    let mut max_timestamp = NO_TIMESTAMP;
    // Kafka judges records that say they are stamped by the time of the stamp.
    let stamp = (batch.timestamp_type() == TimestampType::LogAppendTime).then(|| batch.max_timestamp());
    for (index, record) in RecordIter::with_create_time(*batch, area).enumerate() {
        let stamp_fault = stamp.and_then(|stamp| match rules.timestamp_type {
            TimestampType::CreateTime if stamp != NO_TIMESTAMP => rules.timestamp_fault(stamp),
            _ => Some(RecordFault::Stamped),
        });
        let timestamp = record.timestamp();
        let no_key = (rules.compacted && record.key().is_none()).then_some(RecordFault::NoKey);
        if let Some(fault) = no_key.or(stamp_fault).or_else(|| rules.timestamp_fault(timestamp)) {
            bad.push(BadRecord { index, fault, timestamp });
            if bad.len() == FAULTS_MAX {
                break;
            }
        }
        max_timestamp = max_timestamp.max(timestamp);
    }
    if bad.is_empty() { Ok(max_timestamp) } else { Err(Rejection::Records(bad)) }
}

/// The same records with another codec.
fn rebuild(batch: &Batch<'_>, area: &[u8], target: Compression, rules: &Rules) -> Result<Vec<u8>, Rejection> {
    if target == Compression::None {
        rules.accepts_size(HEADER_LEN + area.len())?; // before it is copied
    }
    let mut builder = BatchBuilder::new();
    builder.begin(BatchFields {
        producer_id: batch.producer_id().unwrap_or(-1),
        producer_epoch: batch.producer_epoch(),
        base_sequence: batch.base_sequence(),
        ..BatchFields::default()
    });
    for (delta, record) in (0..).zip(RecordIter::with_create_time(*batch, area)) {
        builder.push_record(delta, &record);
    }
    let rebuilt = builder.finish(target, rules.level).map_err(|malformed| match malformed {
        Malformed::TooLarge { limit } => Rejection::TooLarge { size: HEADER_LEN + area.len(), limit },
        other => area_rejection(other),
    })?;
    rules.accepts_size(rebuilt.len())?;
    Ok(rebuilt.to_vec())
}

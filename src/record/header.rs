//! The 61 bytes in front of every batch, their attribute bits, and the codecs that these name.

use zerocopy::big_endian::{I16, I32, I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc::crc32c;
use super::malformed::Malformed;
pub(crate) use crate::types::Compression;
use crate::types::{Offset, Timestamp, TimestampType};

/// Length of a batch's header, in bytes (records.md 2).
pub(crate) const HEADER_LEN: usize = 61;

/// Bytes of a batch that its size field does not count: the base offset and the size field itself.
pub(crate) const LOG_OVERHEAD: usize = 12;

/// The smallest legal size field: a header and nothing behind it.
pub(crate) const SIZE_FIELD_MIN: i32 = (HEADER_LEN - LOG_OVERHEAD) as i32;

/// Position of the format version. The older formats have theirs in the same place.
pub(crate) const MAGIC_OFFSET: usize = 16;

/// Position of the attributes: the first byte that the checksum covers.
pub(crate) const ATTRIBUTES_OFFSET: usize = 21;

/// The format version of every batch.
pub(crate) const MAGIC: i8 = 2;

/// The leader epoch of a batch that no log has taken in yet.
pub(crate) const NO_LEADER_EPOCH: i32 = -1;

/// A batch's header as it lies on disk.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct BatchHeader {
    /// Offset that delta 0 stands for; 0 until a log assigns it. Not covered by the checksum.
    pub(crate) base_offset: I64,
    /// Number of bytes behind this field. Not covered by the checksum.
    pub(crate) size: I32,
    /// Set by the log, -1 before. Not covered by the checksum.
    pub(crate) leader_epoch: I32,
    /// Always 2. Not covered by the checksum.
    pub(crate) magic: i8,
    /// CRC-32C of everything behind this field.
    pub(crate) crc: U32,
    /// Codec, timestamp type and flags: see [`Attributes`].
    pub(crate) attributes: I16,
    /// Last offset minus base offset, kept when the last record is compacted away.
    pub(crate) last_offset_delta: I32,
    /// Timestamp that delta 0 stands for; the delete horizon if the attributes say so.
    pub(crate) base_timestamp: I64,
    /// Largest timestamp of a record, or the time of the append.
    pub(crate) max_timestamp: I64,
    /// -1 for none.
    pub(crate) producer_id: I64,
    /// -1 for none.
    pub(crate) producer_epoch: I16,
    /// -1 for none.
    pub(crate) base_sequence: I32,
    /// Number of records that are really there.
    pub(crate) record_count: I32,
}

const _: () = assert!(size_of::<BatchHeader>() == HEADER_LEN);

impl BatchHeader {
    /// The header of the batch at the beginning of `bytes`, which are the first ones of `available`; `None` if these end
    /// before the batch does. As many of `bytes` have to be there as a header takes, or as are available. Rule: records.md 10.
    ///
    /// A size or a format version that cannot be right is an error as soon as it can be seen.
    #[inline]
    pub(crate) fn first(bytes: &[u8], available: usize) -> Result<Option<&Self>, Malformed> {
        let Some(size_field) = bytes.get(8..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
        let size_field = i32::from_be_bytes(*size_field);
        if size_field < SIZE_FIELD_MIN {
            return Err(Malformed::BadSize(size_field));
        }
        let Some(&magic) = bytes.get(MAGIC_OFFSET) else { return Ok(None) };
        let magic = magic as i8;
        if magic != MAGIC {
            return Err(Malformed::BadMagic(magic));
        }
        // Positive as just checked, and below 2^31 + 12: no overflow even where a usize has 32 bits.
        if available < size_field as usize + LOG_OVERHEAD {
            return Ok(None);
        }
        let Ok((header, _)) = BatchHeader::ref_from_prefix(bytes) else { return Ok(None) };
        header.check()?;
        Ok(Some(header))
    }

    /// The header of the batch that `bytes` are. It is not looked at: see [`first`](BatchHeader::first).
    pub(crate) fn of_whole(bytes: &[u8]) -> Option<&Self> {
        BatchHeader::ref_from_prefix(bytes).ok().map(|(header, _)| header)
    }

    /// Compares the checksum in the header with that of `bytes`, the whole batch.
    pub(crate) fn verify_crc(&self, bytes: &[u8]) -> Result<(), Malformed> {
        let stored = self.crc();
        let computed = crc32c(bytes.get(ATTRIBUTES_OFFSET..).unwrap_or_default());
        if stored == computed { Ok(()) } else { Err(Malformed::BadCrc { stored, computed }) }
    }

    #[inline]
    fn check(&self) -> Result<(), Malformed> {
        let base_offset = self.base_offset();
        let last_offset_delta = self.last_offset_delta();
        // The next offset has to exist as well: a log goes on behind its last batch.
        let next_offset = base_offset.checked_add(i64::from(last_offset_delta)).and_then(|last| last.checked_add(1));
        if base_offset < 0 || last_offset_delta < 0 || next_offset.is_none() {
            return Err(Malformed::BadOffsets { base_offset, last_offset_delta });
        }
        match self.record_count() {
            count if count < 0 => Err(Malformed::BadRecordCount(count)),
            _ => Ok(()),
        }
    }

    /// The offset that delta 0 stands for, 0 or more. After compaction there need not be a record that has it.
    #[inline]
    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset.get()
    }

    /// The last offset of the batch as it was first appended.
    #[inline]
    pub(crate) fn last_offset(&self) -> Offset {
        self.base_offset() + i64::from(self.last_offset_delta())
    }

    /// The offset behind the batch.
    #[inline]
    pub(crate) fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// Last offset minus base offset, 0 or more.
    #[inline]
    pub(crate) fn last_offset_delta(&self) -> i32 {
        self.last_offset_delta.get()
    }

    /// Bytes that the batch takes, its header included. A size field that is checked is 49 or more.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        LOG_OVERHEAD + self.size.get().max(0) as usize
    }

    /// The leader epoch, -1 for unknown.
    #[inline]
    pub(crate) fn leader_epoch(&self) -> i32 {
        self.leader_epoch.get()
    }

    /// The attribute bits, those without a meaning included.
    #[inline]
    pub(crate) fn attributes(&self) -> Attributes {
        Attributes::from_bits(self.attributes.get())
    }

    /// How the records are compressed.
    #[inline]
    pub(crate) fn compression(&self) -> Result<Compression, Malformed> {
        self.attributes().compression()
    }

    /// Which clock the timestamps come from.
    #[inline]
    pub(crate) fn timestamp_type(&self) -> TimestampType {
        self.attributes().timestamp_type()
    }

    /// Whether the records are markers that only the log's owner may write and applications never see.
    #[inline]
    pub(crate) fn is_control(&self) -> bool {
        self.attributes().is_control()
    }

    /// Whether the records belong to a transaction.
    #[inline]
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes().is_transactional()
    }

    /// The time after which the batch's tombstones and markers may be compacted away, once a compaction has set it.
    #[inline]
    pub(crate) fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes().has_delete_horizon().then(|| self.base_timestamp())
    }

    /// The timestamp that delta 0 stands for.
    #[inline]
    pub(crate) fn base_timestamp(&self) -> Timestamp {
        self.base_timestamp.get()
    }

    /// The largest timestamp of a record, or the time of the append; -1 for none.
    #[inline]
    pub(crate) fn max_timestamp(&self) -> Timestamp {
        self.max_timestamp.get()
    }

    /// The idempotent producer, if there is one.
    #[inline]
    pub(crate) fn producer_id(&self) -> Option<i64> {
        Some(self.producer_id.get()).filter(|id| 0 <= *id)
    }

    /// The producer's epoch, -1 for none.
    #[inline]
    pub(crate) fn producer_epoch(&self) -> i16 {
        self.producer_epoch.get()
    }

    /// The sequence number of delta 0, -1 for none.
    #[inline]
    pub(crate) fn base_sequence(&self) -> i32 {
        self.base_sequence.get()
    }

    /// The sequence number of the last record as first appended, -1 for none.
    #[inline]
    pub(crate) fn last_sequence(&self) -> i32 {
        match self.base_sequence() {
            -1 => -1,
            base => add_to_sequence(base, self.last_offset_delta()),
        }
    }

    /// Number of records that are there, 0 or more: fewer than offsets after a compaction.
    #[inline]
    pub(crate) fn record_count(&self) -> i32 {
        self.record_count.get()
    }

    /// The checksum in the header, right or wrong.
    pub(crate) fn crc(&self) -> u32 {
        self.crc.get()
    }
}

/// `sequence` plus `increment`, both 0 or more: sequence numbers wrap from 2^31 - 1 to 0.
///
/// Rule: records.md 2, `DefaultRecordBatch.incrementSequence`.
#[inline]
pub(crate) fn add_to_sequence(sequence: i32, increment: i32) -> i32 {
    sequence.wrapping_add(increment) & i32::MAX
}

/// The attribute bits of a batch (records.md 3). Bits without a meaning are kept and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Attributes(i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The bits that a client's batch may have.
    pub(crate) const OF_CLIENTS: i16 = Self::CODEC | Self::LOG_APPEND_TIME | Self::TRANSACTIONAL;

    pub(crate) fn from_bits(bits: i16) -> Self {
        Attributes(bits)
    }

    pub(crate) fn bits(self) -> i16 {
        self.0
    }

    pub(crate) fn compression(self) -> Result<Compression, Malformed> {
        let id = (self.0 & Self::CODEC) as u8;
        Compression::from_id(id).ok_or(Malformed::BadCodec(id))
    }

    pub(crate) fn timestamp_type(self) -> TimestampType {
        if self.has(Self::LOG_APPEND_TIME) { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    pub(crate) fn is_transactional(self) -> bool {
        self.has(Self::TRANSACTIONAL)
    }

    pub(crate) fn is_control(self) -> bool {
        self.has(Self::CONTROL)
    }

    /// Whether the base timestamp is the delete horizon.
    pub(crate) fn has_delete_horizon(self) -> bool {
        self.has(Self::DELETE_HORIZON)
    }

    pub(crate) fn with_compression(self, compression: Compression) -> Self {
        Attributes(self.0 & !Self::CODEC | i16::from(compression.id()))
    }

    pub(crate) fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(Self::LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    pub(crate) fn with_transactional(self, transactional: bool) -> Self {
        self.with(Self::TRANSACTIONAL, transactional)
    }

    pub(crate) fn with_control(self, control: bool) -> Self {
        self.with(Self::CONTROL, control)
    }

    pub(crate) fn with_delete_horizon(self, delete_horizon: bool) -> Self {
        self.with(Self::DELETE_HORIZON, delete_horizon)
    }

    fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }

    fn with(self, bit: i16, set: bool) -> Self {
        Attributes(if set { self.0 | bit } else { self.0 & !bit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_have_kafkas_numbers() {
        for (id, compression) in Compression::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(compression.id()), id);
            assert_eq!(Compression::from_id(compression.id()), Some(compression));
            assert_eq!(Compression::from_name(compression.name()), Some(compression));
        }
        for id in 5..8 {
            assert_eq!(Attributes::from_bits(id).compression(), Err(Malformed::BadCodec(id as u8)));
        }
    }

    #[test]
    fn attribute_bits_are_independent() {
        let none = Attributes::default();
        let all = none
            .with_compression(Compression::Zstd)
            .with_timestamp_type(TimestampType::LogAppendTime)
            .with_transactional(true)
            .with_control(true)
            .with_delete_horizon(true);
        assert_eq!(all.bits(), 0x7c);
        assert_eq!(all.with_control(false).bits(), 0x5c);
        assert_eq!(all.with_compression(Compression::None).bits(), 0x78);
        assert!(!none.is_control() && !none.is_transactional() && !none.has_delete_horizon());
    }

    #[test]
    fn unknown_attribute_bits_are_ignored() {
        let attributes = Attributes::from_bits(0xff80_u16 as i16);
        assert_eq!(attributes.compression(), Ok(Compression::None));
        assert_eq!(attributes.timestamp_type(), TimestampType::CreateTime);
        assert!(!attributes.is_control());
    }

    #[test]
    fn names_are_kafkas() {
        assert_eq!(Compression::from_name("zstd"), Some(Compression::Zstd));
        assert_eq!(Compression::from_name("uncompressed"), None);
    }
}

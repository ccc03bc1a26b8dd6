//! The 61 bytes in front of every batch, their attribute bits, and the codecs that these name.

use zerocopy::big_endian::{I16, I32, I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::malformed::Malformed;
pub(crate) use crate::types::Compression;
use crate::types::TimestampType;

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

/// The attribute bits of a batch (records.md 3). Bits without a meaning are kept and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Attributes(i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

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

//! What can be wrong with bytes that should be record batches.

use std::error::Error;
use std::fmt;

use super::header::Compression;

/// The first rule of the format that some bytes break, with the numbers that break it.
///
/// It names no file and no offset: the layer that knows them turns it into the crate's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The size field holds less than a header needs. A zero-filled tail shows up as 0.
    BadSize(i32),
    /// The size field holds more than there is, where there is more than the end of a torn write.
    SizeBeyondEnd,
    /// The format version is not 2.
    BadMagic(i8),
    /// The checksum in the header is not that of the bytes.
    BadCrc {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// The offsets of the header are negative or run past the last possible one.
    BadOffsets {
        /// The base offset of the header.
        base_offset: i64,
        /// The last offset delta of the header.
        last_offset_delta: i32,
    },
    /// The number of records in the header is negative.
    BadRecordCount(i32),
    /// A variable-length integer is longer than its type allows, or ends with the bytes.
    BadVarint,
    /// A record is not exactly as long as its length says, or its length does not fit.
    BadRecord {
        /// The record, counted from 0 within its batch.
        index: i32,
    },
    /// A record's headers have a negative count or length, or more of either than there are bytes.
    BadHeader {
        /// The record, counted from 0 within its batch.
        index: i32,
    },
    /// A record's offset delta does not increase, or lies outside its batch.
    BadOffsetDelta {
        /// The record, counted from 0 within its batch.
        index: i32,
        /// Its offset delta.
        delta: i32,
    },
    /// There are fewer records than the header says.
    MissingRecords {
        /// How many there are.
        found: i32,
        /// How many the header says.
        count: i32,
    },
    /// There are bytes left behind the last record.
    TrailingBytes(usize),
    /// The key or the value of a control record is too short or has a negative version.
    BadControl,
    /// The compression codec is none of Kafka's.
    BadCodec(u8),
    /// The compressed bytes are not what their codec writes.
    BadCompression(Compression),
    /// The codec is not part of this build.
    UnsupportedCompression(u8),
    /// Something does not fit, such as the inflated records of a batch into what the reader is ready to hold.
    TooLarge {
        /// The largest size allowed, in bytes.
        limit: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Malformed::SizeBeyondEnd => f.write_str("the batch size field reaches beyond the batches that are there"),
            Malformed::BadSize(size) => write!(f, "the batch size field {size} is less than 49"),
            Malformed::BadMagic(magic) => write!(f, "the format version is {magic} instead of 2"),
            Malformed::BadCrc { stored, computed } => {
                write!(f, "the checksum is {computed:08x} but the batch says {stored:08x}")
            }
            Malformed::BadOffsets { base_offset, last_offset_delta } => {
                write!(f, "base offset {base_offset} with last offset delta {last_offset_delta} is not a range")
            }
            Malformed::BadRecordCount(count) => write!(f, "the batch says that it has {count} records"),
            Malformed::BadVarint => f.write_str("a variable-length integer does not end where it must"),
            Malformed::BadRecord { index } => write!(f, "record {index} of the batch is not as long as it says"),
            Malformed::BadHeader { index } => write!(f, "the headers of record {index} of the batch do not fit it"),
            Malformed::BadOffsetDelta { index, delta } => {
                write!(f, "record {index} of the batch has offset delta {delta}, which is out of order or range")
            }
            Malformed::MissingRecords { found, count } => {
                write!(f, "the batch has {found} records but says {count}")
            }
            Malformed::TrailingBytes(bytes) => write!(f, "{bytes} bytes are left behind the last record of the batch"),
            Malformed::BadControl => f.write_str("a control record is too short or has a negative version"),
            Malformed::BadCodec(codec) => write!(f, "there is no compression codec {codec}"),
            Malformed::BadCompression(codec) => write!(f, "the compressed records are not valid {codec}"),
            Malformed::UnsupportedCompression(codec) => {
                write!(f, "compression codec {codec} is not part of this build")
            }
            Malformed::TooLarge { limit } => write!(f, "the records take more than {limit} bytes"),
        }
    }
}

impl Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_a_phrase_with_the_numbers() {
        let crc = Malformed::BadCrc { stored: 1, computed: 0xd2c4_b243 };
        assert_eq!(crc.to_string(), "the checksum is d2c4b243 but the batch says 00000001");
        assert_eq!(Malformed::BadCompression(Compression::Lz4).to_string(), "the compressed records are not valid lz4");
    }

    #[test]
    fn small_enough_to_return_by_value() {
        assert!(size_of::<Malformed>() <= 16);
    }
}

//! Control records: the markers that the owner of a log writes between the records of applications (records.md 7).
//!
//! ```text
//! key    i16 version  i16 type
//! value  i16 version  i32 coordinatorEpoch      of the types ABORT and COMMIT
//! ```
//!
//! Later versions only append fields, so a version above the known one is read like the known one.

use super::malformed::Malformed;

/// The version that is written.
const VERSION: i16 = 0;

/// The types of control records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlType {
    /// The transaction is undone.
    Abort,
    /// The transaction is done.
    Commit,
    /// One that a reader steps over: those of Kafka's metadata log (2 to 6) and those not invented yet.
    Other(i16),
}

impl ControlType {
    /// Kafka's number of the type.
    pub(crate) fn id(self) -> i16 {
        match self {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
            ControlType::Other(id) => id,
        }
    }

    fn from_id(id: i16) -> Self {
        match id {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            other => ControlType::Other(other),
        }
    }

    /// Reads the key of a control record.
    pub(crate) fn from_key(key: &[u8]) -> Result<Self, Malformed> {
        let id = split_version(key)?.first_chunk().ok_or(Malformed::BadControl)?;
        Ok(Self::from_id(i16::from_be_bytes(*id)))
    }

    /// The key of a control record of this type.
    pub(crate) fn to_key(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (VERSION.to_be_bytes(), self.id().to_be_bytes());
        [a, b, c, d]
    }
}

/// The value of an ABORT or COMMIT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndTransaction {
    /// The epoch of the transaction coordinator that wrote it.
    pub(crate) coordinator_epoch: i32,
}

impl EndTransaction {
    /// Reads the value of an ABORT or COMMIT record.
    pub(crate) fn from_value(value: &[u8]) -> Result<Self, Malformed> {
        let epoch = split_version(value)?.first_chunk().ok_or(Malformed::BadControl)?;
        Ok(EndTransaction { coordinator_epoch: i32::from_be_bytes(*epoch) })
    }

    /// The value of the record.
    pub(crate) fn to_value(self) -> [u8; 6] {
        let ([a, b], [c, d, e, f]) = (VERSION.to_be_bytes(), self.coordinator_epoch.to_be_bytes());
        [a, b, c, d, e, f]
    }
}

/// What follows the version, which must not be negative.
fn split_version(bytes: &[u8]) -> Result<&[u8], Malformed> {
    match bytes.split_first_chunk() {
        Some((version, fields)) if 0 <= i16::from_be_bytes(*version) => Ok(fields),
        _ => Err(Malformed::BadControl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for kind in [ControlType::Abort, ControlType::Commit, ControlType::Other(4)] {
            assert_eq!(ControlType::from_key(&kind.to_key()), Ok(kind));
        }
        let end = EndTransaction { coordinator_epoch: 3 };
        assert_eq!(end.to_value(), [0, 0, 0, 0, 0, 3]);
        assert_eq!(EndTransaction::from_value(&end.to_value()), Ok(end));
    }

    #[test]
    fn later_versions_are_read_as_the_known_one() {
        assert_eq!(ControlType::from_key(&[0, 9, 0, 1, 77]), Ok(ControlType::Commit));
        assert_eq!(
            EndTransaction::from_value(&[0, 1, 0, 0, 1, 0, 5, 5, 5]),
            Ok(EndTransaction { coordinator_epoch: 256 })
        );
    }

    #[test]
    fn short_or_negative_is_malformed() {
        for len in 0..4 {
            assert_eq!(ControlType::from_key(&[0, 0, 0, 1][..len]), Err(Malformed::BadControl));
        }
        for len in 0..6 {
            assert_eq!(EndTransaction::from_value(&[0; 6][..len]), Err(Malformed::BadControl));
        }
        assert_eq!(ControlType::from_key(&[0xff, 0xff, 0, 1]), Err(Malformed::BadControl));
        assert_eq!(EndTransaction::from_value(&[0x80, 0, 0, 0, 0, 1]), Err(Malformed::BadControl));
    }
}

//! The records of the internal topic `__consumer_offsets`: committed offsets and group metadata, byte for byte as Kafka
//! writes them, and the partition in which a group has its records.
//!
//! A key is an i16 record type and a body, always in the classic encoding. A value is an i16 version and a body; from
//! version 4 on the body has the flexible encoding. A record without a value is a tombstone.
//!
//! | type | key | value |
//! |---|---|---|
//! | 0, 1 | group string, topic string, partition i32 | committed offset; 0 is the old form, read and not written |
//! | 2 | group string | metadata of a classic group |
//! | others | | skipped |
//!
//! | value of | fields | versions |
//! |---|---|---|
//! | 0, 1 | offset i64 | |
//! | | leader epoch i32, -1 for none | 3 and up |
//! | | metadata string, commit timestamp i64 | |
//! | | expire timestamp i64, -1 for none | 1 |
//! | | tag 0: topic id uuid | 4 |
//! | 2 | protocol type string, generation i32, protocol nullable string, leader nullable string | |
//! | | state timestamp i64, -1 for none | 2 and up |
//! | | array of members: member id string | |
//! | | ... instance id nullable string | 3 and up |
//! | | ... client id string, client host string | |
//! | | ... rebalance timeout i32, -1 for none | 1 and up |
//! | | ... session timeout i32, subscription bytes, assignment bytes | |
//!
//! Versions 0 to 4 are read. Committed offsets are written in version 4, those with an expire timestamp in version 1,
//! which holds neither leader epoch nor topic id; group metadata in version 3.
//!
//! What does not follow these rules to the last byte is an error value, never a panic, and no length or count that a
//! record announces is allocated before its bytes are there. Whether offsets and timestamps make sense is not looked
//! at. Rule: groups.md 10.

use std::error::Error as StdError;
use std::fmt;

use super::primitive::{Encoding, Malformed, Reader, TooLong, Writer, uuid_field};
use crate::types::{Offset, Timestamp};

/// A position to commit: the offset of the next record to read, and what the consumer wants to remember with it.
///
/// ```
/// use thalweg::OffsetAndMetadata;
///
/// let last_read = 41;
/// let position = OffsetAndMetadata::new(last_read + 1).with_metadata("file 7, line 3");
/// assert_eq!(position.offset(), 42);
/// assert_eq!(OffsetAndMetadata::from(42).metadata(), "");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OffsetAndMetadata {
    offset: Offset,
    leader_epoch: Option<i32>,
    metadata: String,
}

impl OffsetAndMetadata {
    /// `offset` is that of the next record to read, one more than that of the last record that was processed. A
    /// negative one is refused by the call that commits it.
    pub fn new(offset: Offset) -> Self {
        OffsetAndMetadata { offset, leader_epoch: None, metadata: String::new() }
    }

    /// Remembers the leader epoch of the last record that was processed. An embedded log has one leader for ever and
    /// does not look at it; it is kept for other readers of the same commit. A negative one means none.
    pub fn with_leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.leader_epoch = (0 <= leader_epoch).then_some(leader_epoch);
        self
    }

    /// Remembers a text with the offset, which comes back with it. The call that commits refuses one that is longer
    /// than `offset.metadata.max.bytes`, 4096 by default.
    pub fn with_metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// The offset of the next record to read.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The leader epoch of the last record that was processed, if it was given.
    pub fn leader_epoch(&self) -> Option<i32> {
        self.leader_epoch
    }

    /// The text that was remembered with the offset, empty if there was none.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }
}

impl From<Offset> for OffsetAndMetadata {
    fn from(offset: Offset) -> Self {
        OffsetAndMetadata::new(offset)
    }
}

/// One record of `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CoordinatorRecord {
    /// The offset that a group has committed for a partition.
    OffsetCommit {
        group: String,
        topic: String,
        partition: i32,
        /// `None`: the commit is forgotten.
        committed: Option<CommittedOffset>,
    },
    /// The state of a classic group.
    GroupMetadata {
        group: String,
        /// `None`: the group is forgotten.
        metadata: Option<GroupMetadata>,
    },
    /// A record of a type that this version does not use. It cannot be written.
    Skipped { record_type: i16 },
}

/// A committed offset as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The offset of the next record to read.
    pub(crate) offset: Offset,
    /// The leader epoch of the last record that was processed.
    pub(crate) leader_epoch: Option<i32>,
    /// The consumer's text.
    pub(crate) metadata: String,
    /// When the coordinator took the commit.
    pub(crate) commit_timestamp: Timestamp,
    /// When it may be forgotten, whatever the retention; only very old clients set it.
    pub(crate) expire_timestamp: Option<Timestamp>,
    /// The topic's id. All zeros means none, on disk too.
    pub(crate) topic_id: Option<[u8; 16]>,
}

/// The state of a classic group as it is stored after each rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupMetadata {
    /// `consumer` for consumers; empty for a group that never had members.
    pub(crate) protocol_type: String,
    /// Counts the rebalances.
    pub(crate) generation: i32,
    /// Name of the assignor that all members agreed on.
    pub(crate) protocol: Option<String>,
    /// Member id of the member that runs the assignor.
    pub(crate) leader: Option<String>,
    /// When the group came into its present state.
    pub(crate) state_timestamp: Option<Timestamp>,
    /// Empty in an empty group.
    pub(crate) members: Vec<MemberMetadata>,
}

/// A member of a classic group as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberMetadata {
    /// The id that the coordinator gave it.
    pub(crate) member_id: String,
    /// `group.instance.id` of a static member.
    pub(crate) instance_id: Option<String>,
    /// `client.id`.
    pub(crate) client_id: String,
    /// Where it runs.
    pub(crate) client_host: String,
    /// Milliseconds it may take to join again. `None` in old records: as the session timeout.
    pub(crate) rebalance_timeout_ms: Option<i32>,
    /// Milliseconds it may be silent.
    pub(crate) session_timeout_ms: i32,
    /// What it told the assignor, opaque to the coordinator.
    pub(crate) subscription: Vec<u8>,
    /// What the assignor gave it, opaque to the coordinator.
    pub(crate) assignment: Vec<u8>,
}

/// Why a record of `__consumer_offsets` cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MalformedOffsets {
    /// The key's bytes do not hold.
    Key(Malformed),
    /// The value's bytes do not hold.
    Value(Malformed),
    /// A value of a version that is newer than this code. Passing over it could bring an older commit back to life.
    UnknownVersion { record_type: i16, version: i16 },
}

impl fmt::Display for MalformedOffsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MalformedOffsets::Key(cause) => write!(f, "the key of an offsets record has {cause}"),
            MalformedOffsets::Value(cause) => write!(f, "the value of an offsets record has {cause}"),
            MalformedOffsets::UnknownVersion { record_type, version } => {
                write!(f, "an offsets record of type {record_type} has a value of unknown version {version}")
            }
        }
    }
}

impl StdError for MalformedOffsets {}

/// Why a record cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritable {
    /// A string, such as the group's id, is too long for the format.
    TooLong(TooLong),
    /// It is a [`CoordinatorRecord::Skipped`], whose content is not known.
    Skipped { record_type: i16 },
}

impl From<TooLong> for Unwritable {
    fn from(cause: TooLong) -> Self {
        Unwritable::TooLong(cause)
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unwritable::TooLong(cause) => write!(f, "an offsets record cannot hold {cause}"),
            Unwritable::Skipped { record_type } => write!(f, "offsets records of type {record_type} are not written"),
        }
    }
}

impl StdError for Unwritable {}

impl CoordinatorRecord {
    /// Reads a record from its key and value.
    ///
    /// # Errors
    ///
    /// Bytes that do not follow the format to their end, and values of unknown versions. A record of an unknown type is
    /// not an error but [`Skipped`](CoordinatorRecord::Skipped), whatever its bytes.
    pub(crate) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, MalformedOffsets> {
        let mut reader = Reader::new(key);
        let record_type = reader.i16().map_err(MalformedOffsets::Key)?;
        match record_type {
            OLD_OFFSET_COMMIT | OFFSET_COMMIT => {
                let (group, topic, partition) = offset_commit_key(reader).map_err(MalformedOffsets::Key)?;
                let committed = decode_value(record_type, value, CommittedOffset::decode)?;
                Ok(CoordinatorRecord::OffsetCommit { group, topic, partition, committed })
            }
            GROUP_METADATA => {
                let group = group_metadata_key(reader).map_err(MalformedOffsets::Key)?;
                let metadata = decode_value(record_type, value, GroupMetadata::decode)?;
                Ok(CoordinatorRecord::GroupMetadata { group, metadata })
            }
            _ => Ok(CoordinatorRecord::Skipped { record_type }),
        }
    }

    /// Appends the record's bytes to `key` and `value`. Whether there is a value: false for a tombstone, whose value is
    /// null and not empty.
    ///
    /// # Errors
    ///
    /// [`Unwritable`]; both buffers are then as they were.
    pub(crate) fn encode(&self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<bool, Unwritable> {
        let (key_len, value_len) = (key.len(), value.len());
        let encoded = self.encode_key(key).and_then(|()| self.encode_value(value));
        if encoded.is_err() {
            key.truncate(key_len);
            value.truncate(value_len);
        }
        encoded
    }

    fn encode_key(&self, key: &mut Vec<u8>) -> Result<(), Unwritable> {
        let mut writer = Writer::new(key, Encoding::Classic);
        match self {
            CoordinatorRecord::OffsetCommit { group, topic, partition, .. } => {
                writer.i16(OFFSET_COMMIT);
                writer.string(group)?;
                writer.string(topic)?;
                writer.i32(*partition);
            }
            CoordinatorRecord::GroupMetadata { group, .. } => {
                writer.i16(GROUP_METADATA);
                writer.string(group)?;
            }
            CoordinatorRecord::Skipped { record_type } => {
                return Err(Unwritable::Skipped { record_type: *record_type });
            }
        }
        Ok(())
    }

    fn encode_value(&self, value: &mut Vec<u8>) -> Result<bool, Unwritable> {
        match self {
            CoordinatorRecord::OffsetCommit { committed: Some(committed), .. } => committed.encode(value)?,
            CoordinatorRecord::GroupMetadata { metadata: Some(metadata), .. } => metadata.encode(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn offset_commit_key(mut reader: Reader<'_>) -> Result<(String, String, i32), Malformed> {
    let key = (reader.string()?.to_owned(), reader.string()?.to_owned(), reader.i32()?);
    reader.end()?;
    Ok(key)
}

fn group_metadata_key(mut reader: Reader<'_>) -> Result<String, Malformed> {
    let group = reader.string()?.to_owned();
    reader.end()?;
    Ok(group)
}

/// Reads the version, chooses the encoding, lets `body` read the rest and refuses what it leaves.
fn decode_value<T>(
    record_type: i16,
    value: Option<&[u8]>,
    body: fn(&mut Reader<'_>, i16) -> Result<T, Malformed>,
) -> Result<Option<T>, MalformedOffsets> {
    let Some(value) = value else { return Ok(None) };
    let mut reader = Reader::new(value);
    let version = reader.i16().map_err(MalformedOffsets::Value)?;
    if !(0..=VERSION_MAX).contains(&version) {
        return Err(MalformedOffsets::UnknownVersion { record_type, version });
    }
    if FLEXIBLE_SINCE <= version {
        reader.set_encoding(Encoding::Flexible);
    }
    let decoded = body(&mut reader, version).map_err(MalformedOffsets::Value)?;
    reader.end().map_err(MalformedOffsets::Value)?;
    Ok(Some(decoded))
}

impl CommittedOffset {
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, Malformed> {
        let mut committed = CommittedOffset {
            offset: reader.i64()?,
            leader_epoch: if 3 <= version { some_i32(reader.i32()?) } else { None },
            metadata: reader.string()?.to_owned(),
            commit_timestamp: reader.i64()?,
            expire_timestamp: if version == EXPIRING_VERSION { some_i64(reader.i64()?) } else { None },
            topic_id: None,
        };
        reader.end_of_struct(|tag, bytes| {
            if tag == TOPIC_ID_TAG {
                committed.topic_id = Some(uuid_field(bytes)?).filter(|id| *id != NO_TOPIC_ID);
            }
            Ok(())
        })?;
        Ok(committed)
    }

    fn encode(&self, value: &mut Vec<u8>) -> Result<(), TooLong> {
        match self.expire_timestamp {
            Some(expire_timestamp) => self.encode_expiring(expire_timestamp, value),
            None => self.encode_current(value),
        }
    }

    fn encode_current(&self, value: &mut Vec<u8>) -> Result<(), TooLong> {
        let mut writer = Writer::new(value, Encoding::Flexible);
        writer.i16(VERSION_MAX);
        writer.i64(self.offset);
        writer.i32(self.leader_epoch.unwrap_or(NONE));
        writer.string(&self.metadata)?;
        writer.i64(self.commit_timestamp);
        match &self.topic_id {
            // A tagged field with its default value is left out.
            None | Some(NO_TOPIC_ID) => writer.end_of_struct(&[]),
            Some(topic_id) => writer.end_of_struct(&[(TOPIC_ID_TAG, topic_id)]),
        }
    }

    fn encode_expiring(&self, expire_timestamp: Timestamp, value: &mut Vec<u8>) -> Result<(), TooLong> {
        let mut writer = Writer::new(value, Encoding::Classic);
        writer.i16(EXPIRING_VERSION);
        writer.i64(self.offset);
        writer.string(&self.metadata)?;
        writer.i64(self.commit_timestamp);
        writer.i64(expire_timestamp);
        Ok(())
    }
}

impl GroupMetadata {
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, Malformed> {
        let mut metadata = GroupMetadata {
            protocol_type: reader.string()?.to_owned(),
            generation: reader.i32()?,
            protocol: reader.nullable_string()?.map(str::to_owned),
            leader: reader.nullable_string()?.map(str::to_owned),
            state_timestamp: if 2 <= version { some_i64(reader.i64()?) } else { None },
            members: Vec::new(),
        };
        for _ in 0..reader.array_count()? {
            metadata.members.push(MemberMetadata::decode(reader, version)?);
        }
        reader.end_of_struct(|_, _| Ok(()))?;
        Ok(metadata)
    }

    fn encode(&self, value: &mut Vec<u8>) -> Result<(), TooLong> {
        let mut writer = Writer::new(value, Encoding::Classic);
        writer.i16(GROUP_METADATA_VERSION);
        writer.string(&self.protocol_type)?;
        writer.i32(self.generation);
        writer.nullable_string(self.protocol.as_deref())?;
        writer.nullable_string(self.leader.as_deref())?;
        writer.i64(self.state_timestamp.unwrap_or(i64::from(NONE)));
        writer.array_count(self.members.len())?;
        self.members.iter().try_for_each(|member| member.encode(&mut writer))
    }
}

impl MemberMetadata {
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, Malformed> {
        let member = MemberMetadata {
            member_id: reader.string()?.to_owned(),
            instance_id: if 3 <= version { reader.nullable_string()?.map(str::to_owned) } else { None },
            client_id: reader.string()?.to_owned(),
            client_host: reader.string()?.to_owned(),
            rebalance_timeout_ms: if 1 <= version { some_i32(reader.i32()?) } else { None },
            session_timeout_ms: reader.i32()?,
            subscription: reader.bytes()?.to_owned(),
            assignment: reader.bytes()?.to_owned(),
        };
        reader.end_of_struct(|_, _| Ok(()))?;
        Ok(member)
    }

    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), TooLong> {
        writer.string(&self.member_id)?;
        writer.nullable_string(self.instance_id.as_deref())?;
        writer.string(&self.client_id)?;
        writer.string(&self.client_host)?;
        writer.i32(self.rebalance_timeout_ms.unwrap_or(NONE));
        writer.i32(self.session_timeout_ms);
        writer.bytes(&self.subscription)?;
        writer.bytes(&self.assignment)
    }
}

/// The partition of `__consumer_offsets`, of `partitions` (1 or more), that has the records of `group`.
///
/// Rule: groups.md 10, Java's `String.hashCode` over UTF-16 code units, then `Utils.abs`, whose value for `i32::MIN`
/// is 0.
pub(crate) fn partition_for_group(group: &str, partitions: i32) -> i32 {
    java_hash(group).checked_abs().unwrap_or(0) % partitions.max(1)
}

fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Kafka's sentinel becomes an option; other negative numbers mean nothing, but are not ours to change.
fn some_i32(value: i32) -> Option<i32> {
    (value != NONE).then_some(value)
}

/// As [`some_i32`].
fn some_i64(value: i64) -> Option<i64> {
    (value != i64::from(NONE)).then_some(value)
}

/// Kafka's sentinel for "none".
const NONE: i32 = -1;

// Record types (groups.md 10, CoordinatorRecordType).
const OLD_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;

/// The newest version of both values (groups.md 10). Committed offsets are written in it.
const VERSION_MAX: i16 = 4;

/// The first version with the flexible encoding, of both values (groups.md 10).
const FLEXIBLE_SINCE: i16 = 4;

/// The only version of a committed offset with an expire timestamp (groups.md 10).
const EXPIRING_VERSION: i16 = 1;

/// Version 4 of group metadata says the same in other bytes, which older readers do not know.
const GROUP_METADATA_VERSION: i16 = 3;

/// The tag of the topic id in version 4 of a committed offset (groups.md 10).
const TOPIC_ID_TAG: u32 = 0;

/// Kafka's id of no topic, the default of the tagged field.
const NO_TOPIC_ID: [u8; 16] = [0; 16];

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    const COMMIT_KEY: &str = "00 01 00 02 67 31 00 01 74 00 00 00 03";
    const COMMIT_V0: &str = "00 00 00 00 00 00 00 00 00 2a 00 01 6d 00 00 01 8b cf e5 68 00";
    const COMMIT_V1: &str = "00 01 00 00 00 00 00 00 00 2a 00 01 6d 00 00 01 8b cf e5 68 00 00 00 01 8b cf ee 8f c0";
    const COMMIT_V3: &str = "00 03 00 00 00 00 00 00 00 2a 00 00 00 07 00 01 6d 00 00 01 8b cf e5 68 00";
    const COMMIT_V4: &str = "00 04 00 00 00 00 00 00 00 2a 00 00 00 07 02 6d 00 00 01 8b cf e5 68 00 00";
    const TOPIC_ID: &str = "01 00 10 00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff";
    const GROUP_KEY: &str = "00 02 00 02 67 31";
    const EMPTY_GROUP_V3: &str =
        "00 03 00 08 63 6f 6e 73 75 6d 65 72 00 00 00 02 ff ff ff ff 00 00 01 8b cf e5 68 00 00 00 00 00";
    const SUBSCRIPTION: &str = "00 01 00 00 00 01 00 01 74 ff ff ff ff 00 00 00 00";
    const ASSIGNMENT: &str = "00 01 00 00 00 01 00 01 74 00 00 00 02 00 00 00 00 00 00 00 01 ff ff ff ff";

    fn bytes(hex: &str) -> Vec<u8> {
        hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    /// What the vectors of groups.md 10 say, as far as version 0 can say it.
    fn committed() -> CommittedOffset {
        CommittedOffset {
            offset: 42,
            leader_epoch: None,
            metadata: "m".to_owned(),
            commit_timestamp: 1_700_000_000_000,
            expire_timestamp: None,
            topic_id: None,
        }
    }

    fn commit_of(committed: Option<CommittedOffset>) -> CoordinatorRecord {
        CoordinatorRecord::OffsetCommit { group: "g1".to_owned(), topic: "t".to_owned(), partition: 3, committed }
    }

    fn group_of(metadata: Option<GroupMetadata>) -> CoordinatorRecord {
        CoordinatorRecord::GroupMetadata { group: "g1".to_owned(), metadata }
    }

    fn empty_group() -> GroupMetadata {
        GroupMetadata {
            protocol_type: "consumer".to_owned(),
            generation: 2,
            protocol: None,
            leader: None,
            state_timestamp: Some(1_700_000_000_000),
            members: Vec::new(),
        }
    }

    fn stable_group() -> GroupMetadata {
        let member = MemberMetadata {
            member_id: "c-1".to_owned(),
            instance_id: None,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance_timeout_ms: Some(300_000),
            session_timeout_ms: 45_000,
            subscription: bytes(SUBSCRIPTION),
            assignment: bytes(ASSIGNMENT),
        };
        GroupMetadata {
            generation: 1,
            protocol: Some("range".to_owned()),
            leader: Some("c-1".to_owned()),
            members: vec![member],
            ..empty_group()
        }
    }

    fn encoded(record: &CoordinatorRecord) -> (Vec<u8>, Option<Vec<u8>>) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let has_value = record.encode(&mut key, &mut value).unwrap();
        assert!(has_value || value.is_empty());
        (key, has_value.then_some(value))
    }

    fn decoded(key: &str, value: &str) -> Result<CoordinatorRecord, MalformedOffsets> {
        CoordinatorRecord::decode(&bytes(key), Some(&bytes(value)))
    }

    #[test]
    fn committed_offsets_of_all_versions_are_read() {
        let v1 = CommittedOffset { expire_timestamp: Some(1_700_000_600_000), ..committed() };
        let v3 = CommittedOffset { leader_epoch: Some(7), ..committed() };
        let mut topic_id = [0; 16];
        topic_id.copy_from_slice(&bytes(TOPIC_ID)[3..]);
        let with_id = CommittedOffset { topic_id: Some(topic_id), ..v3.clone() };
        let v4_with_id = format!("{} {TOPIC_ID}", COMMIT_V4.strip_suffix(" 00").unwrap());
        let v2 = COMMIT_V0.replacen("00 00", "00 02", 1);
        for (value, expected) in [
            (COMMIT_V0, committed()),
            (COMMIT_V1, v1),
            (&v2, committed()),
            (COMMIT_V3, v3.clone()),
            (COMMIT_V4, v3),
            (&v4_with_id, with_id),
        ] {
            assert_eq!(decoded(COMMIT_KEY, value), Ok(commit_of(Some(expected.clone()))), "{value}");
            let old_key = COMMIT_KEY.replacen("00 01", "00 00", 1);
            assert_eq!(decoded(&old_key, value), Ok(commit_of(Some(expected))), "{value}");
        }
    }

    #[test]
    fn committed_offsets_are_written_in_version_4_and_expiring_ones_in_version_1() {
        let current = CommittedOffset { leader_epoch: Some(7), ..committed() };
        assert_eq!(encoded(&commit_of(Some(current.clone()))), (bytes(COMMIT_KEY), Some(bytes(COMMIT_V4))));
        let topic_id = std::array::from_fn(|i| i as u8 * 0x11);
        let with_id = CommittedOffset { topic_id: Some(topic_id), ..current.clone() };
        let v4_with_id = format!("{} {TOPIC_ID}", COMMIT_V4.strip_suffix(" 00").unwrap());
        assert_eq!(encoded(&commit_of(Some(with_id.clone()))).1, Some(bytes(&v4_with_id)));
        let zero_id = CommittedOffset { topic_id: Some(NO_TOPIC_ID), ..current };
        assert_eq!(encoded(&commit_of(Some(zero_id))).1, Some(bytes(COMMIT_V4)));
        let expiring = CommittedOffset { expire_timestamp: Some(1_700_000_600_000), ..with_id };
        assert_eq!(encoded(&commit_of(Some(expiring))).1, Some(bytes(COMMIT_V1)));
    }

    #[test]
    fn a_topic_id_has_sixteen_bytes_and_zeros_mean_none() {
        let stem = COMMIT_V4.strip_suffix(" 00").unwrap();
        let zeros = format!("{stem} 01 00 10{}", " 00".repeat(16));
        let v4 = CommittedOffset { leader_epoch: Some(7), ..committed() };
        assert_eq!(decoded(COMMIT_KEY, &zeros), Ok(commit_of(Some(v4.clone()))));
        let short = format!("{stem} 01 00 02 00 00");
        let malformed = MalformedOffsets::Value(Malformed::BadLength { len: 2 });
        assert_eq!(decoded(COMMIT_KEY, &short), Err(malformed));
        let unknown_tag = format!("{stem} 01 05 02 ab cd");
        assert_eq!(decoded(COMMIT_KEY, &unknown_tag), Ok(commit_of(Some(v4))));
    }

    #[test]
    fn group_metadata_is_written_and_read_in_version_3() {
        let empty = group_of(Some(empty_group()));
        assert_eq!(encoded(&empty), (bytes(GROUP_KEY), Some(bytes(EMPTY_GROUP_V3))));
        assert_eq!(decoded(GROUP_KEY, EMPTY_GROUP_V3), Ok(empty));
        let stable = group_of(Some(stable_group()));
        let (key, value) = encoded(&stable);
        assert_eq!(value.as_ref().unwrap().len(), 120);
        assert_eq!(CoordinatorRecord::decode(&key, value.as_deref()), Ok(stable));
    }

    /// The stable group in version `version`, by a writer of its own that goes by the table of the module page.
    fn stable_group_bytes(version: i16) -> Vec<u8> {
        let group = stable_group();
        let member = &group.members[0];
        let mut value = version.to_be_bytes().to_vec();
        let encoding = if version == 4 { Encoding::Flexible } else { Encoding::Classic };
        let mut writer = Writer::new(&mut value, encoding);
        writer.string("consumer").unwrap();
        writer.i32(1);
        writer.nullable_string(Some("range")).unwrap();
        writer.nullable_string(Some("c-1")).unwrap();
        if version >= 2 {
            writer.i64(1_700_000_000_000);
        }
        writer.array_count(1).unwrap();
        writer.string("c-1").unwrap();
        if version >= 3 {
            writer.nullable_string(None).unwrap();
        }
        writer.string("c").unwrap();
        writer.string("/127.0.0.1").unwrap();
        if version >= 1 {
            writer.i32(300_000);
        }
        writer.i32(45_000);
        writer.bytes(&member.subscription).unwrap();
        writer.bytes(&member.assignment).unwrap();
        writer.end_of_struct(&[(9, b"of a newer member")]).unwrap();
        writer.end_of_struct(&[(3, b"of a newer group")]).unwrap();
        value
    }

    #[test]
    fn group_metadata_of_all_versions_is_read() {
        for version in 0..=4 {
            let mut expected = stable_group();
            if version < 2 {
                expected.state_timestamp = None;
            }
            if version < 1 {
                expected.members[0].rebalance_timeout_ms = None;
            }
            let value = stable_group_bytes(version);
            let record = CoordinatorRecord::decode(&bytes(GROUP_KEY), Some(&value));
            assert_eq!(record, Ok(group_of(Some(expected))), "version {version}");
        }
        assert_eq!(encoded(&group_of(Some(stable_group()))).1, Some(stable_group_bytes(3)));
    }

    #[test]
    fn a_tombstone_has_no_value() {
        for (record, key) in [(commit_of(None), COMMIT_KEY), (group_of(None), GROUP_KEY)] {
            assert_eq!(encoded(&record), (bytes(key), None));
            assert_eq!(CoordinatorRecord::decode(&bytes(key), None), Ok(record));
        }
        let empty_value = CoordinatorRecord::decode(&bytes(GROUP_KEY), Some(&[]));
        let malformed = Malformed::UnexpectedEnd { needed: 2, left: 0 };
        assert_eq!(empty_value, Err(MalformedOffsets::Value(malformed)));
    }

    #[test]
    fn other_types_are_skipped_whatever_their_bytes() {
        for record_type in [-1, 3, 8, 16, 23, i16::MAX] {
            let mut key = record_type.to_be_bytes().to_vec();
            let skipped = CoordinatorRecord::Skipped { record_type };
            assert_eq!(CoordinatorRecord::decode(&key, None), Ok(skipped.clone()));
            key.extend([0xff; 5]);
            assert_eq!(CoordinatorRecord::decode(&key, Some(&[0xff; 5])), Ok(skipped.clone()));
            let (mut key, mut value) = (vec![1], vec![2]);
            assert_eq!(skipped.encode(&mut key, &mut value), Err(Unwritable::Skipped { record_type }));
            assert_eq!((key, value), (vec![1], vec![2]));
        }
    }

    #[test]
    fn known_types_of_unknown_versions_are_refused() {
        for (key, record_type) in [(COMMIT_KEY, 1), (GROUP_KEY, 2)] {
            for version in [-1, 5, i16::MIN, i16::MAX] {
                let mut value = version.to_be_bytes().to_vec();
                value.extend([0; 40]);
                let refused = CoordinatorRecord::decode(&bytes(key), Some(&value));
                assert_eq!(refused, Err(MalformedOffsets::UnknownVersion { record_type, version }));
            }
        }
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let trailing = Malformed::TrailingBytes { left: 1 };
        for (key, value) in [(COMMIT_KEY, COMMIT_V0), (COMMIT_KEY, COMMIT_V4), (GROUP_KEY, EMPTY_GROUP_V3)] {
            assert_eq!(decoded(&format!("{key} 00"), value), Err(MalformedOffsets::Key(trailing)));
            assert_eq!(decoded(key, &format!("{value} 00")), Err(MalformedOffsets::Value(trailing)));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let id = format!("{} {TOPIC_ID}", COMMIT_V4.strip_suffix(" 00").unwrap());
        let mut whole =
            [COMMIT_V0, COMMIT_V1, COMMIT_V3, COMMIT_V4, &id].map(|value| (bytes(COMMIT_KEY), bytes(value))).to_vec();
        whole.push((bytes(GROUP_KEY), bytes(EMPTY_GROUP_V3)));
        whole.extend((0..=4).map(|version| (bytes(GROUP_KEY), stable_group_bytes(version))));
        for (key, value) in whole {
            CoordinatorRecord::decode(&key, Some(&value)).unwrap();
            for len in 0..key.len() {
                let cut = CoordinatorRecord::decode(&key[..len], Some(&value));
                assert!(matches!(cut, Err(MalformedOffsets::Key(_))), "{len} of {key:?}");
            }
            for len in 0..value.len() {
                let cut = CoordinatorRecord::decode(&key, Some(&value[..len]));
                assert!(matches!(cut, Err(MalformedOffsets::Value(_))), "{len} of {value:?}");
            }
        }
    }

    #[test]
    fn an_announced_count_costs_nothing() {
        let huge = EMPTY_GROUP_V3.strip_suffix("00 00 00 00").unwrap().to_owned() + "7f ff ff ff";
        let malformed = Malformed::UnexpectedEnd { needed: 2, left: 0 };
        assert_eq!(decoded(GROUP_KEY, &huge), Err(MalformedOffsets::Value(malformed)));
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused() {
        let not_utf8 = Malformed::NotUtf8;
        assert_eq!(decoded("00 02 00 02 c3 28", EMPTY_GROUP_V3), Err(MalformedOffsets::Key(not_utf8)));
        assert_eq!(decoded(COMMIT_KEY, &COMMIT_V0.replace("6d", "80")), Err(MalformedOffsets::Value(not_utf8)));
    }

    #[test]
    fn a_name_too_long_for_the_format_is_not_written() {
        let record = CoordinatorRecord::OffsetCommit {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partition: 0,
            committed: Some(CommittedOffset { metadata: "x".repeat(40_000), ..committed() }),
        };
        let (mut key, mut value) = (vec![1], vec![2]);
        let error = record.encode(&mut key, &mut value).unwrap_err();
        assert_eq!(error.to_string(), "an offsets record cannot hold a length of 40000 where 32767 is the limit");
        assert_eq!((key, value), (vec![1], vec![2]));
    }

    #[test]
    fn errors_name_the_part_and_the_numbers() {
        let error = decoded("00 02 00 03 67 31", EMPTY_GROUP_V3).unwrap_err();
        assert_eq!(error.to_string(), "the key of an offsets record has 3 bytes needed where 2 are left");
        let error = decoded(COMMIT_KEY, "00 05").unwrap_err();
        assert_eq!(error.to_string(), "an offsets record of type 1 has a value of unknown version 5");
    }

    #[test]
    fn groups_live_where_kafka_puts_them() {
        // group, hash, partition of 50 (groups.md 10)
        for (group, hash, partition) in [
            ("group", 98629247, 47),
            ("payments", 1382682413, 13),
            ("my-group", -1906497762, 12),
            ("thalweg", -1353407142, 42),
            ("test", 3556498, 48),
            ("order-service", 562889526, 26),
            ("console-consumer-1", 35782224, 24),
            ("polygenelubricants", i32::MIN, 0),
            ("a", 97, 47),
            ("컨슈머", 52493720, 20),
        ] {
            assert_eq!(java_hash(group), hash, "{group}");
            assert_eq!(partition_for_group(group, 50), partition, "{group}");
        }
        // Two UTF-16 units: 31 * 0xd83d + 0xde00.
        assert_eq!(java_hash("😀"), 31 * 0xd83d + 0xde00);
        assert_eq!(["", "group", "my-group"].map(|group| partition_for_group(group, 0)), [0; 3]);
    }

    #[test]
    fn a_position_keeps_what_it_is_given() {
        let position = OffsetAndMetadata::new(7).with_leader_epoch(3).with_metadata("here");
        assert_eq!((position.offset(), position.leader_epoch(), position.metadata()), (7, Some(3), "here"));
        assert_eq!(OffsetAndMetadata::from(7).with_leader_epoch(-1), OffsetAndMetadata::new(7));
    }

    /// Any number but Kafka's sentinel, which has no `Some`.
    fn optional_i64() -> impl Strategy<Value = Option<i64>> {
        option::of(any::<i64>().prop_filter("the sentinel", |value| *value != -1))
    }

    fn optional_i32() -> impl Strategy<Value = Option<i32>> {
        option::of(any::<i32>().prop_filter("the sentinel", |value| *value != -1))
    }

    prop_compose! {
        /// Version 1 has no room for epoch and id, so that a commit has either those or an expire timestamp.
        fn any_committed()(
            (offset, commit_timestamp) in any::<(i64, i64)>(),
            metadata in ".{0,200}",
            expire_timestamp in optional_i64(),
            leader_epoch in optional_i32(),
            topic_id in option::of(any::<[u8; 16]>().prop_filter("none", |id| *id != NO_TOPIC_ID)),
        ) -> CommittedOffset {
            let current = expire_timestamp.is_none();
            CommittedOffset {
                offset,
                leader_epoch: leader_epoch.filter(|_| current),
                metadata,
                commit_timestamp,
                expire_timestamp,
                topic_id: topic_id.filter(|_| current),
            }
        }
    }

    prop_compose! {
        fn any_member()(
            (member_id, client_id, client_host) in (".{0,9}", ".{0,9}", ".{0,9}"),
            instance_id in option::of(".{0,9}"),
            rebalance_timeout_ms in optional_i32(),
            session_timeout_ms in any::<i32>(),
            subscription in proptest::collection::vec(any::<u8>(), 0..40),
            assignment in proptest::collection::vec(any::<u8>(), 0..40),
        ) -> MemberMetadata {
            MemberMetadata {
                member_id,
                instance_id,
                client_id,
                client_host,
                rebalance_timeout_ms,
                session_timeout_ms,
                subscription,
                assignment,
            }
        }
    }

    prop_compose! {
        fn any_metadata()(
            protocol_type in ".{0,9}",
            generation in any::<i32>(),
            (protocol, leader) in (option::of(".{0,9}"), option::of(".{0,9}")),
            state_timestamp in optional_i64(),
            members in proptest::collection::vec(any_member(), 0..4),
        ) -> GroupMetadata {
            GroupMetadata { protocol_type, generation, protocol, leader, state_timestamp, members }
        }
    }

    fn any_record() -> impl Strategy<Value = CoordinatorRecord> {
        let commit = (".{0,20}", ".{0,20}", any::<i32>(), option::of(any_committed())).prop_map(
            |(group, topic, partition, committed)| CoordinatorRecord::OffsetCommit {
                group,
                topic,
                partition,
                committed,
            },
        );
        let group = (".{0,20}", option::of(any_metadata()))
            .prop_map(|(group, metadata)| CoordinatorRecord::GroupMetadata { group, metadata });
        prop_oneof![commit, group]
    }

    proptest! {
        #[test]
        fn records_make_the_round_trip(record in any_record()) {
            let (key, value) = encoded(&record);
            prop_assert_eq!(CoordinatorRecord::decode(&key, value.as_deref()), Ok(record));
        }

        #[test]
        fn cut_records_are_refused(record in any_record(), cut in any::<prop::sample::Index>()) {
            let (key, value) = encoded(&record);
            prop_assert!(CoordinatorRecord::decode(&key[..cut.index(key.len())], value.as_deref()).is_err());
            if let Some(value) = value {
                prop_assert!(CoordinatorRecord::decode(&key, Some(&value[..cut.index(value.len())])).is_err());
            }
        }

        #[test]
        fn a_changed_byte_does_not_panic(
            record in any_record(),
            at in any::<prop::sample::Index>(),
            flip in 1..=u8::MAX,
        ) {
            let (mut key, value) = encoded(&record);
            if let Some(mut value) = value {
                let byte = at.index(value.len());
                value[byte] ^= flip;
                let _ = CoordinatorRecord::decode(&key, Some(&value));
            }
            let byte = at.index(key.len());
            key[byte] ^= flip;
            let _ = CoordinatorRecord::decode(&key, None);
        }

        #[test]
        fn random_bytes_do_not_panic(
            key in proptest::collection::vec(any::<u8>(), 0..40),
            known in 0..4_u8,
            version in 0..6_u8,
            mut value in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = CoordinatorRecord::decode(&key, Some(&value));
            // The same with headers that lead into the bodies.
            let key = [&[0, known][..], &key].concat();
            let _ = CoordinatorRecord::decode(&key, None);
            value.splice(0..0, [0, version]);
            for key in [COMMIT_KEY, GROUP_KEY] {
                let _ = CoordinatorRecord::decode(&bytes(key), Some(&value));
            }
        }
    }
}

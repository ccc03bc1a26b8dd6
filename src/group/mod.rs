//! Consumer groups: who is a member, and which offsets are committed.
//!
//! - [`machine`] is the state and its rules, without clock, log or thread.
//! - [`Coordinator`] runs it over the internal topic `__consumer_offsets`: what must survive is a record there first
//!   and memory second, and opening the topic replays it.
//! - [`offsets`] has the bytes of those records, which are Kafka's.
//!
//! In this version a group has one member at a time, and membership is not recorded: it ends with the process.

mod coordinator;
mod machine;
mod offsets;
mod primitive;

pub(crate) use coordinator::{Coordinator, Membership};
pub use offsets::OffsetAndMetadata;

/// Decodes a record and, if it can be written, checks that it reads as the same again. For the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn decode_offsets_record(key: &[u8], value: Option<&[u8]>) {
    use offsets::CoordinatorRecord;
    let Ok(record) = CoordinatorRecord::decode(key, value) else { return };
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let Ok(has_value) = record.encode(&mut key, &mut value) else { return };
    let again = CoordinatorRecord::decode(&key, has_value.then_some(&value)).expect("what was written can be read");
    let (mut second_key, mut second_value) = (Vec::new(), Vec::new());
    assert_eq!(again.encode(&mut second_key, &mut second_value), Ok(has_value));
    assert_eq!((second_key, second_value), (key, value));
}

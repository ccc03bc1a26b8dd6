//! Consumer groups: who is a member, and which offsets are committed.
//!
//! - [`machine`](GroupMachine) is the state and its rules, without clock, log or thread.
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

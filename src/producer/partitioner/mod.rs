//! Which partition a record goes to (producer.md 4).
//!
//! - Where the record says, or else where the application's [`Partitioner`](crate::Partitioner) says.
//! - A record with a key goes where its key's hash says ([`partition_for_key`]), as with Kafka's Java client: the same
//!   key to the same partition, for as long as the number of partitions stays. Adding partitions moves keys.
//! - Records without a key stick to one partition until it has got a batch's worth of bytes, then move on to a random
//!   one, more likely to one that is not behind ([`StickyPartitioner`]).

mod choice;
mod hash;
mod sticky;

pub(super) use choice::{Choice, choose};
use hash::partition_for_key;
pub(super) use sticky::StickyPartitioner;

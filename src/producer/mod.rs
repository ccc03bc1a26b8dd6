//! The producer: records go into one open batch per partition and from there, on the sender's own thread, into the log.
//!
//! - [`ProducerRecord`](crate::ProducerRecord) is what an application sends; its bytes are copied once, into the batch.
//! - [`sending`] is the way of a record into a batch: [`topic_queues`] finds the queues of its topic, [`partitioner`] chooses
//!   the partition as Kafka does.
//! - [`accumulator`] holds the batches of a partition and writes them when they are full, have lingered, or are waited for;
//!   [`memory`] bounds what they take.
//! - [`Ack`] tells what became of a record, [`callbacks`] tell it in order.

mod accumulator;
mod ack;
mod batch;
mod callbacks;
mod compression_ratio;
mod interceptors;
mod memory;
#[cfg(test)]
mod memory_tests;
mod partitioner;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod producer;
mod recent_time;
mod room;
mod send_all;
mod send_future;
mod sending;
mod shared;
mod split;
mod stats;
mod topic_queues;

pub use ack::Ack;
pub use producer::{Producer, TrySendError};
pub use send_all::SentAll;
pub use send_future::SendFuture;
pub use stats::ProducerStats;

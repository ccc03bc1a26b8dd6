//! The producer: records go into one open batch per partition and from there, on the sender's own thread, into the log.
//!
//! - [`ProducerRecord`] is what an application sends; its bytes are copied once, into the batch.
//! - [`accumulator`] holds the open batches and writes them when they are full, have lingered, or are waited for.
//! - [`Ack`] tells what became of a record.
//! - [`partitioner`] chooses partitions as Kafka does.

mod accumulator;
mod ack;
mod partitioner;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod producer;
mod record;
mod room;

pub use ack::{Ack, RecordMetadata};
pub use producer::Producer;
pub use record::ProducerRecord;

//! The consumer: reads the partitions that it was assigned or that its group gave it, and commits how far it has come.
//!
//! - [`Consumer`] is what an application polls.
//! - [`assignment`] takes the partitions that the group gives; [`subscription`] keeps them with their positions;
//!   [`fetcher`] fills and drains their buffers.
//! - [`ConsumerRecords`] is what a poll returns. It borrows nothing from the consumer.

mod assignment;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod consumer;
mod fetcher;
mod records;
mod subscription;

pub use consumer::Consumer;
pub use records::{ConsumerRecord, ConsumerRecords};

//! What an application hands to a producer and gets back: records, what is known of them afterwards, and the traits by
//! which it takes part in sending.
//!
//! It is below the settings, because these hold a [`Partitioner`] and [`ProducerInterceptor`]s, which speak of records.
//! Nothing here sends anything.

mod interceptor;
mod metadata;
mod owned_record;
mod partitioner;
mod record;
mod round_robin;

pub use interceptor::ProducerInterceptor;
pub use metadata::RecordMetadata;
pub use owned_record::OwnedRecord;
pub use partitioner::Partitioner;
pub use record::ProducerRecord;
pub use round_robin::RoundRobinPartitioner;

//! Configuration: one struct per thing that is configured, and the table of Kafka's keys that reads and writes them.
//!
//! Setters never fail. A struct is checked once, where the engine takes it, or right away when it comes from
//! properties.

mod acks;
mod broker;
mod cleanup_policy;
mod consumer;
mod keys;
mod producer;
mod producer_keys;
#[cfg(test)]
mod producer_tests;
mod topic;
mod topic_compression;
mod topic_setters;

pub use acks::Acks;
pub use broker::{BrokerConfig, StoreFullPolicy};
pub use cleanup_policy::CleanupPolicy;
pub use consumer::{AutoOffsetReset, ConsumerConfig, IsolationLevel};
pub use producer::ProducerConfig;
pub use producer_keys::UnknownKey;
pub use topic::TopicConfig;
pub use topic_compression::TopicCompression;

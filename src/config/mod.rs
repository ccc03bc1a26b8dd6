//! Configuration: one struct per thing that is configured, and the table of Kafka's keys that reads and writes them.
//!
//! Setters never fail. A struct is checked once, where the engine takes it, or right away when it comes from
//! properties.

mod broker;
mod consumer;
mod keys;
mod producer;
mod topic;

pub use broker::{BrokerConfig, StoreFullPolicy};
pub use consumer::{AutoOffsetReset, ConsumerConfig, IsolationLevel};
pub use producer::{Acks, ProducerConfig};
pub use topic::{CleanupPolicy, TopicConfig};

//! thalweg
mod broker;
mod clock;
mod config;
mod consumer;
mod error;
mod group;
mod log;
mod producer;
mod record;
mod segment;
mod sync;
mod sys;
mod topic;
mod types;

pub use broker::Broker;
pub use config::{AutoOffsetReset, CleanupPolicy, ConsumerConfig, ProducerConfig, TopicConfig};
pub use consumer::{Consumer, ConsumerRecord, ConsumerRecords};
pub use error::{Error, ErrorKind, Result};
pub use group::OffsetAndMetadata;
pub use log::{Cut, Fetched, PartitionRecovery, Records, RecordsIter};
pub use producer::{Ack, Producer, ProducerRecord, RecordMetadata};
pub use record::{Compression, Header, Headers, Record};
pub use topic::{FetchOptions, MAX_PARTITIONS, Partition, RecoveryReport, TopicDescription};
pub use types::{Durability, NO_TIMESTAMP, Offset, Timestamp, TimestampType, TopicPartition};

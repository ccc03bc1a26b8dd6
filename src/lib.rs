//! An embedded, durable log engine with Kafka's semantics: topics, partitions, consumer groups and committed offsets
//! inside an application's own process and directory, with Kafka's own bytes on the disk and no broker to run.
//!
//! ```
//! use std::time::Duration;
//! use thalweg::{AutoOffsetReset, Broker, ConsumerConfig, ProducerConfig, ProducerRecord, TopicConfig};
//!
//! # fn main() -> thalweg::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let dir = dir.path();
//! let broker = Broker::open(dir)?; // takes the lock and recovers
//! broker.create_topic("orders", 4, TopicConfig::new())?;
//!
//! let producer = broker.producer(ProducerConfig::new())?;
//! let ack = producer.send(ProducerRecord::new("orders", "two pears").key("alice"))?;
//! let sent = ack.wait()?; // on the disk: topics sync by default
//!
//! let earliest = AutoOffsetReset::Earliest;
//! let mut consumer = broker.consumer(ConsumerConfig::new().group_id("billing").auto_offset_reset(earliest))?;
//! consumer.subscribe(&["orders"])?;
//! for record in consumer.poll(Duration::from_secs(1))?.iter() {
//!     assert_eq!((record.offset(), record.value()), (sent.offset, Some(&b"two pears"[..])));
//! }
//! consumer.commit_sync()?; // the group goes on from here, also after a restart
//! consumer.close()?;
//! broker.close()
//! # }
//! ```
//!
//! # The parts
//!
//! - [`Broker`] opens a data directory, creates, changes and deletes topics, and makes the others.
//!   [`BrokerConfig`] says how much of the machine it may use, and [`Broker::stats`] how much it does.
//! - [`Producer`] sends [`ProducerRecord`]s; each gives an [`Ack`] that resolves when the promise of its topic's
//!   [`Durability`] holds. [`typed::Producer`] sends other types than bytes.
//! - [`Consumer`] polls [`ConsumerRecords`] as a member of a group or from partitions of its choice, and commits.
//! - [`Partition`] reads by offset, without group and position; [`Fetcher`] reads several at a time. Both wait for records if
//!   they are asked to, as a blocking call or as a future. Keys and values are slices of the mapped log.
//! - [`ReadOnlyBroker`] reads a directory that another process has open.
//! - [`Broker::checkpoint`] makes a backup while the directory is in use. [`verify`], [`dump()`] and [`repair`] are for one
//!   that nobody has open.
//!
//! # The promises
//!
//! What was acknowledged is there after what its topic's [`Durability`] names: the end of the process in every mode, a
//! power cut in mode `fsync`, which is the default. A consumer never sees a record before that promise holds for it.
//! What is read is what was sent: every batch has a checksum that is compared before its records are shown, unless that
//! is turned off. Damage in one partition keeps no other from opening, and [`RecoveryReport`] says what was found and
//! cut; damage that no crash explains is dealt with as [`OnCorruption`] says.
//!
//! [`manual::producer`] says what happens to a record between `send` and its acknowledgement.
//! [`manual::fetch`] says what a fetch returns, when its wait is over, and how to keep it from stalling anybody.
//! [`manual::durability`] numbers the promises, names the tests that defend them, and says what an application sees and has
//! to do when something fails.
//!
//! # What this version does not do
//!
//! A group has one member at a time. Nothing is compacted: the internal topic of committed offsets grows, if slowly.
//! There are no transactions, but those in logs that Kafka wrote are read at either [`IsolationLevel`]. It runs on Linux, on local file systems.
//!
//! # Features
//!
//! `gzip`, `lz4`, `snappy` (on) and `zstd` (off, needs a C compiler) compress and inflate batches. Without a codec
//! its batches are stored and served, but their records cannot be read.
//!
//! `serde` (off) writes values as JSON: `serializer::JsonSerializer`.
//!
//! `simulation` (off) is for tests: a disk that loses at a power cut what was not synced, and fails when it is told to.
//!
//! # For those who read the source
//!
//! Bytes at the bottom, promises at the top; arrows point down only, which a test checks. From below: errors, types and
//! settings; record batches, and the operating system; a segment; the log of a partition; topics; groups; the broker, and
//! the tools that check and repair; producers and consumers. Each folder's page says what it stores, what holds in it,
//! and what a crash leaves.

mod broker;
mod check;
mod client;
mod clock;
mod config;
mod consumer;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod group;
mod log;
pub mod manual;
mod producer;
mod record;
mod segment;
pub mod serializer;
#[cfg(feature = "simulation")]
pub mod simulation;
mod sync;
mod sys;
mod topic;
pub mod typed;
mod types;

pub use broker::{Broker, BrokerStats, ReadOnlyBroker};
pub use check::{
    DumpOptions, Finding, RepairOptions, RepairReport, RepairStep, Severity, Verification, dump, repair, verify,
};
pub use client::{
    OwnedRecord, Partitioner, ProducerInterceptor, ProducerRecord, RecordMetadata, RoundRobinPartitioner,
};
pub use config::{
    Acks, AutoOffsetReset, BrokerConfig, CleanupPolicy, ConsumerConfig, IsolationLevel, ProducerConfig,
    StoreFullPolicy, TopicCompression, TopicConfig, UnknownKey,
};
pub use consumer::{Consumer, ConsumerRecord, ConsumerRecords};
pub use error::{Error, ErrorKind, RecordError, Result};
pub use group::OffsetAndMetadata;
pub use log::{
    AbortedTransaction, BatchRecords, Cut, Fetched, OffsetSpec, PartitionRecovery, RecordBatches, Records, RecordsIter,
    TimestampOffset,
};
pub use producer::{Ack, Producer, ProducerStats, SendFuture, SentAll, TrySendError};
pub use record::{Header, Headers, Record};
pub use sys::SyncMethod;
pub use topic::{
    AppendedBatch, CheckpointReport, FetchFuture, FetchOptions, FetchWaker, Fetcher, FetcherFuture, MAX_PARTITIONS,
    Partition, RecoveryReport, TopicDescription,
};
pub use types::{
    Compression, Durability, NO_TIMESTAMP, Offset, OnCorruption, ReadMode, Timestamp, TimestampType, TopicPartition,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

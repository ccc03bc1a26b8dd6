//! Topics and their partitions: names, settings, identity on the disk, and those who wait for a partition to move.
//!
//! # In the data directory
//!
//! | name | content |
//! |---|---|
//! | `<topic>.topic` | the topic's id, number of partitions and settings, see [`topic_file`] |
//! | `<topic>-<partition>/` | the partition's log, see [`crate::log`] |
//! | `<topic>-<partition>/partition.metadata` | Kafka's file with the topic id |
//! | `<topic>-<partition>/leader-epoch-checkpoint` | Kafka's file with the leader epochs: one, 0 |
//!
//! | `<topic>-<partition>.<32 hex>-delete/` | a partition of a deleted topic, on its way out |
//!
//! A topic exists once its file says so: see [`administration`] for the order of things when it is created, changed or
//! deleted, and for what a crash in between leaves. Directories of logs without a file were put there by somebody and
//! become a topic with the default settings.

mod administration;
mod append_batch;
mod backup;
mod committer;
mod deadlines;
mod fetch;
mod fetch_future;
#[cfg(test)]
mod fetch_lock_tests;
mod fetch_options;
#[cfg(test)]
mod fetch_tests;
mod fetcher;
mod file_names;
mod flusher;
#[cfg(test)]
mod lost_wakes_tests;
mod opening;
mod panics;
mod partition;
mod read_only;
mod report;
mod room;
mod small_file;
mod timer;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod topic;
mod topic_file;
mod topic_name;
mod topic_place;
mod topics;
mod waiters;
#[cfg(test)]
mod waiters_tests;

pub use append_batch::AppendedBatch;
pub(crate) use deadlines::{Deadlines, Ticket};
pub(crate) use fetch::{FetchLimits, Look, Parked};
pub use fetch_future::FetchFuture;
pub use fetch_options::FetchOptions;
pub use fetcher::{FetchWaker, Fetcher, FetcherFuture};
pub(crate) use file_names::{
    CLEAN_SHUTDOWN, LEADER_EPOCHS, LOCK, META_PROPERTIES, PARTITION_METADATA, PRODUCER_IDS, PRODUCER_IDS_BESIDE,
    TEMPORARY, TOPIC_FILE_EXTENSION, marks_data_directory, topic_of_file,
};
pub(crate) use flusher::Flusher;
pub(crate) use partition::OpenBatches;
pub use partition::Partition;
pub use report::{CheckpointReport, RecoveryReport};
pub(crate) use small_file::read_text;
pub(crate) use timer::{Task, Timer};
pub(crate) use topic::Topic;
pub use topic::TopicDescription;
pub(crate) use topic_file::{TopicFile, TopicState, id_in_partition_metadata, id_text};
pub(crate) use topic_name::{OFFSETS_TOPIC, check_topic_name, is_internal, parse_partition_dir};
pub(crate) use topic_place::{TopicPlace, is_leftover};
pub use topics::MAX_PARTITIONS;
pub(crate) use topics::Topics;
pub(crate) use waiters::{Waiter, Waiters};

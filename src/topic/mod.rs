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
//! A topic exists once its file does. The directories are made before, so a crash in between leaves directories without
//! a file and without a record, which the next open removes. Directories without a file that hold records were put
//! there by somebody and become a topic with the default settings.

mod flusher;
mod partition;
mod report;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod topic;
mod topic_file;
mod topic_name;
mod topics;
mod waiters;

pub(crate) use flusher::Flusher;
pub use partition::{FetchOptions, Partition};
pub use report::RecoveryReport;
pub(crate) use topic::Topic;
pub use topic::TopicDescription;
pub(crate) use topic_file::id_text;
pub(crate) use topic_name::{OFFSETS_TOPIC, is_internal};
pub use topics::MAX_PARTITIONS;
pub(crate) use topics::{TopicPlace, Topics, topic_of_file};
pub(crate) use waiters::Waiter;

//! The broker: owner of the data directory, the topics, the groups and the background threads.
//!
//! # In the data directory
//!
//! | name | content |
//! |---|---|
//! | `.lock` | locked while a broker has the directory open; holds its process id |
//! | `meta.properties` | Kafka's file that marks a data directory and names it |
//! | `.kafka_cleanshutdown` | there between a close in order and the next open |
//! | topics and partitions | see [`crate::topic`] |

mod administration;
mod backup;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod broker;
#[cfg(feature = "simulation")]
mod by_hand;
mod directory;
mod engine;
mod producer_ids;
mod read_only;
mod stats;
mod tasks;

pub use broker::Broker;
pub(crate) use engine::Engine;
pub use read_only::ReadOnlyBroker;
pub use stats::BrokerStats;
#[cfg(feature = "simulation")]
pub(crate) use tasks::Background;

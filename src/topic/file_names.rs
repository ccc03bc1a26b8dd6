//! Names of files in a data directory and in the directories of its partitions.

use super::topic_name::check_topic_name;
pub(crate) use crate::log::{LEADER_EPOCHS, PARTITION_METADATA};
pub(crate) use crate::sys::TEMPORARY;

/// Locked while a broker has the directory open.
pub(crate) const LOCK: &str = ".lock";
/// Kafka's file that marks a data directory.
pub(crate) const META_PROPERTIES: &str = "meta.properties";
/// Says which ids of producers were given.
pub(crate) const PRODUCER_IDS: &str = "producer-ids";
/// What becomes that file. Not [`TEMPORARY`], which has one writer at a time, who changes topics.
pub(crate) const PRODUCER_IDS_BESIDE: &str = "producer-ids.tmp";
/// There between a close in order and the next open.
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Ending of the file that makes a topic exist.
pub(crate) const TOPIC_FILE_EXTENSION: &str = ".topic";

/// The topic that a file of this name makes exist.
pub(crate) fn topic_of_file(name: &str) -> Option<&str> {
    name.strip_suffix(TOPIC_FILE_EXTENSION).filter(|topic| check_topic_name(topic).is_ok())
}

/// Whether only a data directory has a file of this name, ours or a Kafka broker's.
pub(crate) fn marks_data_directory(name: &str) -> bool {
    [META_PROPERTIES, CLEAN_SHUTDOWN].contains(&name) || topic_of_file(name).is_some()
}

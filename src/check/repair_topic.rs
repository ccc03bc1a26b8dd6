//! Writing a damaged topic file anew.

use uuid::Uuid;

use super::closed_directory::{ClosedDirectory, read_whole};
use super::repair::Repairing;
use crate::config::{CleanupPolicy, TopicConfig};
use crate::error::{Error, Result};
use crate::sys::{SyncPoint, write_atomically};
use crate::topic::{
    MAX_PARTITIONS, PARTITION_METADATA, TOPIC_FILE_EXTENSION, TopicFile, TopicState, id_in_partition_metadata,
    is_internal, read_text,
};
use crate::types::TopicPartition;

/// Longest name of a file (`NAME_MAX`).
const NAME_LEN_MAX: usize = 255;

/// Looks at the file of `topic` and, where it is damaged and that was asked for, writes another: with the id that the
/// partitions carry, as many partitions as there are, and the settings of a topic that was found without any.
pub(super) fn rebuild_topic_file(
    repairing: &mut Repairing<'_>,
    topic: &str,
    partitions: &[TopicPartition],
) -> Result<()> {
    let ClosedDirectory { path, disk, .. } = repairing.directory;
    let path = path.join(format!("{topic}{TOPIC_FILE_EXTENSION}"));
    let content = read_whole(&**disk, &path).map_err(|error| Error::io("read the topic file", &path, error))?;
    let text = String::from_utf8_lossy(&content);
    let Err(damage) = TopicFile::from_text(&text) else { return Ok(()) };
    if let Some(version) = TopicFile::foreign_version(&text) {
        repairing.leave(None, &path, format!("it is whole, and of version {version}: open it with what wrote it"));
        return Ok(());
    }
    let own: Vec<_> = partitions.iter().filter(|partition| partition.topic() == topic).collect();
    let count = own.iter().map(|partition| partition.partition().saturating_add(1)).max();
    let Some(count) = count.filter(|count| *count <= MAX_PARTITIONS) else {
        repairing.leave(None, &path, format!("{damage}, and its partitions do not tell how many there were"));
        return Ok(());
    };
    if !repairing.options.rebuild_topics {
        repairing.leave(None, &path, format!("{damage}; the option to rebuild topics writes it anew"));
        return Ok(());
    }
    let what = format!("{damage}: written anew with {count} partitions and default settings, without retention");
    if !repairing.step(None, &path, what)? {
        return Ok(());
    }
    let file = TopicFile {
        state: TopicState::Live,
        id: find_id(repairing.directory, &own),
        partitions: count,
        config: settings(topic),
    };
    keep(repairing.directory, topic, &content)?;
    write_atomically(&**disk, &path, file.to_text().as_bytes(), [SyncPoint::Repair, SyncPoint::RepairName])
        .map_err(|error| Error::io("write the topic file", &path, error))
}

/// What the settings were is gone with the file: nothing is removed until somebody decides.
fn settings(topic: &str) -> TopicConfig {
    let policy = if is_internal(topic) { CleanupPolicy::Compact } else { CleanupPolicy::Delete };
    TopicConfig::new().cleanup_policy(policy).retention(None)
}

fn find_id(directory: &ClosedDirectory, partitions: &[&TopicPartition]) -> Uuid {
    let id_of = |partition: &&TopicPartition| {
        let path = directory.path.join(partition.to_string()).join(PARTITION_METADATA);
        id_in_partition_metadata(&read_text(&*directory.disk, &path).ok()?)
    };
    partitions.iter().find_map(id_of).unwrap_or_else(Uuid::new_v4)
}

/// Keeps the damaged file, whose settings a person may be able to read. The longest topic names leave no room for that.
fn keep(directory: &ClosedDirectory, topic: &str, content: &[u8]) -> Result<()> {
    let name = format!("{topic}{TOPIC_FILE_EXTENSION}.corrupt");
    if name.len() > NAME_LEN_MAX {
        return Ok(());
    }
    let path = directory.path.join(name);
    write_atomically(&*directory.disk, &path, content, [SyncPoint::Repair, SyncPoint::RepairName])
        .map_err(|error| Error::io("write", &path, error))
}

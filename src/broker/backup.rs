//! A copy of a data directory that is in use.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::directory::{DataDirectory, sync_parents};
use crate::error::{Error, Result};
use crate::log::copy_file;
use crate::sys::{Disk, OpenMode, SyncPoint};
use crate::topic::{CheckpointReport, META_PROPERTIES, Topics};

/// Copies what readers of `topics` see into `target`, which is a data directory then that was closed in order. It is built
/// beside and renamed at the end, so that a crash leaves no copy that only looks whole.
pub(super) fn copy_directory(directory: &DataDirectory, topics: &Topics, target: &Path) -> Result<CheckpointReport> {
    if target.as_os_str().is_empty() {
        return Err(Error::illegal_argument("the path of the checkpoint is empty"));
    }
    let target = std::path::absolute(target).map_err(|error| Error::io("find", target, error))?;
    let disk = &*directory.disk;
    check_free(directory, &target)?;
    let beside = beside(&target);
    let copied = build(directory, topics, &beside).and_then(|report| {
        disk.rename(&beside, &target).map_err(|error| Error::io("rename the checkpoint to", &target, error))?;
        sync_parents(disk, &target)?;
        Ok(report)
    });
    if copied.is_err() {
        let _ = disk.remove_dir(&beside); // a leftover that nobody takes for a checkpoint
    }
    copied
}

/// The target must be missing or empty, and not a part of what is copied.
fn check_free(directory: &DataDirectory, target: &Path) -> Result<()> {
    check_outside(directory, target)?;
    match directory.disk.list(target) {
        Ok(entries) if entries.is_empty() => Ok(()),
        Ok(_) => Err(Error::io("write the checkpoint to", target, io::ErrorKind::DirectoryNotEmpty.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("write the checkpoint to", target, error)),
    }
}

/// What lies in the data directory, by whatever path, would be a part of what is copied.
fn check_outside(directory: &DataDirectory, path: &Path) -> Result<()> {
    if real(path).starts_with(real(&directory.path)) {
        return Err(Error::illegal_argument("the checkpoint cannot lie in the data directory").at_file(path));
    }
    Ok(())
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let resolved = path.ancestors().find_map(|there| {
        let rest = path.strip_prefix(there).ok()?;
        Some(there.canonicalize().ok()?.join(rest))
    });
    resolved.unwrap_or_else(|| path.to_owned())
}

/// A name beside `target` that nobody else has: two calls at the same time do not get in each other's way.
fn beside(target: &Path) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(format!(".{}.tmp", Uuid::new_v4().simple()));
    PathBuf::from(name)
}

fn build(directory: &DataDirectory, topics: &Topics, beside: &Path) -> Result<CheckpointReport> {
    let disk = &*directory.disk;
    disk.create_dir(beside).map_err(|error| Error::io("create", beside, error))?;
    check_outside(directory, beside)?; // with its parents made, ".." may lead elsewhere
    let report = topics.copy_to(beside)?;
    let meta = beside.join(META_PROPERTIES);
    copy_file(disk, &directory.path.join(META_PROPERTIES), &meta)
        .and_then(|_| sync(disk, &meta))
        .map_err(|error| Error::io("copy", &meta, error))?;
    directory.mark_clean_at(beside)?; // syncs the directory
    Ok(report)
}

fn sync(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.open(path, OpenMode::Write)?.sync(SyncPoint::Backup)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::client::ProducerRecord;
    use crate::clock::SystemClock;
    use crate::config::{ConsumerConfig, ProducerConfig, TopicConfig};
    use crate::error::ErrorKind;
    use crate::group::OffsetAndMetadata;
    use crate::sync::{Arc, Ordering};
    use crate::sys::{Faults, FaultyDisk};
    use crate::topic::OFFSETS_TOPIC;
    use crate::types::{Offset, TopicPartition};

    fn open(dir: &Path) -> (Broker, Arc<Faults>) {
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        faults.pretends.store(true, Ordering::SeqCst);
        (Broker::open_on(dir, Arc::new(disk), Arc::new(SystemClock)).unwrap(), faults)
    }

    fn committed(broker: &Broker) -> Option<Offset> {
        let consumer = broker.consumer(ConsumerConfig::new().group_id("g")).unwrap();
        let committed = consumer.committed(&[TopicPartition::new("t", 0)]).unwrap();
        committed[0].1.as_ref().map(OffsetAndMetadata::offset)
    }

    /// Topic `t`, and one partition for what groups commit, instead of fifty.
    fn prepare(broker: &Broker) -> crate::Consumer {
        broker.engine().topics.create(OFFSETS_TOPIC, 1, TopicConfig::new()).unwrap();
        broker.create_topic("t", 1, TopicConfig::new()).unwrap();
        broker.consumer(ConsumerConfig::new().group_id("g")).unwrap()
    }

    fn seven() -> [(TopicPartition, OffsetAndMetadata); 1] {
        [(TopicPartition::new("t", 0), OffsetAndMetadata::new(7))]
    }

    #[test]
    fn a_commit_that_failed_after_it_was_written_does_not_come_back_for_a_new_topic() {
        let dir = tempfile::tempdir().unwrap();
        let (broker, faults) = open(dir.path());
        let mut consumer = prepare(&broker);
        *faults.next_sync.lock() = Some(io::ErrorKind::Other);
        consumer.commit_sync_offsets(&seven()).unwrap_err();
        assert_eq!(committed(&broker), None);
        // After a failed sync nothing can be written that forgets it, so the name is not free until that is read again.
        broker.delete_topic("t").unwrap_err();
        assert!(broker.topic("t").is_err());
        broker.create_topic("t", 1, TopicConfig::new()).unwrap_err();
        drop(consumer);
        let _ = broker.close();
        let (broker, _) = open(dir.path());
        assert!(broker.recovery().failed.is_empty(), "{}", broker.recovery());
        create_with_records(&broker);
        broker.close().unwrap();
        let (broker, _) = open(dir.path());
        assert_eq!(committed(&broker), None);
    }

    fn create_with_records(broker: &Broker) {
        broker.create_topic("t", 1, TopicConfig::new()).unwrap();
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        for _ in 0..10 {
            producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
        }
    }

    #[test]
    fn what_is_left_of_a_deleted_topic_keeps_a_copy_from_being_made() {
        let mut refused = 0;
        for changes in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let (broker, faults) = open(&dir.path().join("data"));
            prepare(&broker).commit_sync_offsets(&seven()).unwrap();
            *faults.changes_left.lock() = Some(changes);
            if broker.delete_topic("t").is_ok() || broker.topic("t").is_ok() {
                continue;
            }
            *faults.changes_left.lock() = None;
            let copy = dir.path().join("copy");
            let error = broker.checkpoint(&copy).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::IllegalState { .. }), "{error}");
            assert!(error.to_string().contains("deleted topic t"), "{error}");
            refused += 1;
            let finished = broker.delete_topic("t").is_ok();
            let broker = if finished {
                broker
            } else {
                drop(broker); // after a failed sync of what forgets the commits only that helps
                open(&dir.path().join("data")).0
            };
            broker.checkpoint(&copy).unwrap();
            let (copy, _) = open(&copy);
            copy.create_topic("t", 1, TopicConfig::new()).unwrap();
            assert_eq!(committed(&copy), None);
        }
        assert!(refused > 0);
    }
}

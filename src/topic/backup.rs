//! Copying all topics while they are in use.

use std::io;
use std::path::Path;

use super::file_names::{LEADER_EPOCHS, PARTITION_METADATA, TOPIC_FILE_EXTENSION};
use super::partition::Partition;
use super::report::CheckpointReport;
use super::topic::Topic;
use super::topic_file::{TopicFile, TopicState, partition_metadata};
use super::topic_name::OFFSETS_TOPIC;
use super::topics::Topics;
use crate::error::{Error, Result};
use crate::log::copy_file;
use crate::sys::{OpenMode, SyncPoint};

impl Topics {
    /// Copies every topic into `target`, an empty directory. Durable when it returns, but for the name of `target`.
    ///
    /// The committed offsets go first: each was committed for records that could be read by then, and what can be read
    /// only grows, so none lies behind the end of a partition that is copied later. No topic is created, changed or deleted
    /// meanwhile: whoever wants to waits. Otherwise the copy could have the commits of a topic that was deleted and
    /// created again, with the new one's records.
    ///
    /// # Errors
    ///
    /// What the disk answers, and why a topic or partition is not open: a copy without it would look whole. `IllegalState`
    /// while something is left of a deleted topic: its commits would be in the copy, and nothing that says that they mean
    /// nothing. `Closed`.
    pub(crate) fn copy_to(&self, target: &Path) -> Result<CheckpointReport> {
        let changing = self.begin_change()?;
        if let Some(name) = changing.deletions.keys().min() {
            let reason =
                format!("something is left of the deleted topic {name}: delete it again, or open the broker again");
            return Err(Error::illegal_state(reason));
        }
        if let Some(error) = self.unreadable.values().next() {
            return Err(error.clone());
        }
        let mut report = CheckpointReport::default();
        if let Ok(offsets) = self.get(OFFSETS_TOPIC) {
            self.copy_topic(&offsets, target, &mut report)?;
        }
        for topic in self.all().iter().filter(|topic| &**topic.name() != OFFSETS_TOPIC) {
            self.copy_topic(topic, target, &mut report)?;
        }
        Ok(report)
    }

    fn copy_topic(&self, topic: &Topic, target: &Path, report: &mut CheckpointReport) -> Result<()> {
        for partition in topic.partitions() {
            self.copy_partition(topic, partition, target, report)?;
        }
        let path = target.join(format!("{}{TOPIC_FILE_EXTENSION}", topic.name()));
        let file = TopicFile {
            state: TopicState::Live,
            id: topic.id,
            partitions: topic.partition_count(),
            config: topic.config().clone(),
        };
        self.write(&path, &file.to_text()).map_err(|error| Error::io("write the topic file", &path, error))?;
        report.topics += 1;
        Ok(())
    }

    fn copy_partition(
        &self,
        topic: &Topic,
        partition: &Partition,
        target: &Path,
        report: &mut CheckpointReport,
    ) -> Result<()> {
        let (log, disk) = (partition.log()?, &*self.place.disk);
        let dir = target.join(partition.name().to_string());
        let prepare = || -> io::Result<()> {
            disk.create_dir(&dir)?;
            self.write(&dir.join(PARTITION_METADATA), &partition_metadata(topic.id))?;
            let epochs = dir.join(LEADER_EPOCHS);
            if copy_file(disk, &self.place.partition_dir(partition.name()).join(LEADER_EPOCHS), &epochs)? {
                disk.open(&epochs, OpenMode::Write)?.sync(SyncPoint::Backup)?;
            }
            Ok(())
        };
        prepare().map_err(|error| Error::io("copy the partition", &dir, error).in_partition(partition.name()))?;
        let copied = log.copy_to(&dir)?; // syncs the directory
        report.partitions += 1;
        report.linked_segments += copied.linked;
        report.copied_segments += copied.copied;
        report.linked_bytes += copied.linked_bytes;
        report.copied_bytes += copied.copied_bytes;
        Ok(())
    }

    /// Writes a new file; durable with its directory.
    fn write(&self, path: &Path, content: &str) -> io::Result<()> {
        let file = self.place.disk.open(path, OpenMode::Create)?;
        file.write_at(content.as_bytes(), 0)?;
        file.sync(SyncPoint::Backup)
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::Broker;
    use crate::clock::SystemClock;
    use crate::config::TopicConfig;
    use crate::sync::{Arc, Ordering};
    use crate::sys::FaultyDisk;

    #[test]
    fn no_topic_changes_while_all_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        let broker = Broker::open_on(&dir.path().join("data"), Arc::new(disk), Arc::new(SystemClock)).unwrap();
        broker.create_topic("t", 1, TopicConfig::new()).unwrap();
        let topics = &broker.engine().topics;
        let begun = faults.syncs.load(Ordering::SeqCst);
        faults.hold_syncs();
        std::thread::scope(|scope| {
            let copying = scope.spawn(|| broker.checkpoint(dir.path().join("copy")).unwrap());
            while faults.syncs.load(Ordering::SeqCst) == begun {
                std::thread::yield_now();
            }
            let is_held = topics.changing.try_lock().is_none();
            faults.release();
            assert!(is_held, "a topic could be deleted in the middle");
            assert_eq!(copying.join().unwrap().topics, 1);
        });
        assert!(topics.changing.try_lock().is_some());
    }
}

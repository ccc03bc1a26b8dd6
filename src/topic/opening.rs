//! Opening a data directory: what is found in it becomes topics, and what was cut short is finished or taken back.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::file_names::{PARTITION_METADATA, topic_of_file};
use super::report::RecoveryReport;
use super::topic::Topic;
use super::topic_file::{TopicFile, TopicState, id_in_partition_metadata};
use super::topic_name::{is_deleted_dir, is_internal, is_kafkas_own_dir, parse_partition_dir};
use super::topic_place::TopicPlace;
use super::topics::{Deletion, MAX_PARTITIONS};
use crate::config::{CleanupPolicy, TopicConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Checkpoint, LeftBy, Log};
use crate::segment::{SegmentFile, segment_path};
use crate::sync::Arc;
use crate::sys::DiskEntry;
use crate::types::TopicPartition;

/// An open that is under way, and what it found.
pub(super) struct Opening<'a> {
    place: &'a TopicPlace,
    left_by: LeftBy,
    pub(super) topics: HashMap<Arc<str>, Arc<Topic>>,
    pub(super) unreadable: HashMap<String, Error>,
    pub(super) deletions: HashMap<String, Deletion>,
    pub(super) report: RecoveryReport,
}

/// Where a topic comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// We made it: each of its partitions has had a segment from the beginning.
    Ours,
    /// Somebody put its directories here, some of which may be empty.
    Elsewhere,
}

impl<'a> Opening<'a> {
    /// Opens everything in `place`.
    pub(super) fn run(place: &'a TopicPlace, left_by: LeftBy) -> Result<Self> {
        let mut opening = Opening {
            place,
            left_by,
            topics: HashMap::new(),
            unreadable: HashMap::new(),
            deletions: HashMap::new(),
            report: RecoveryReport::default(),
        };
        let entries = place.disk.list(&place.dir).map_err(|error| Error::io("list", &place.dir, error))?;
        opening.set_aside(&entries);
        let mut directories = partition_directories(&entries);
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let Some(name) = topic_of_file(&entry.name) else { continue };
            let there = directories.remove(name).unwrap_or_default();
            let opened = place.read_topic_file(name).and_then(|file| opening.open_with_file(name, file, &there));
            opening.note(name, opened);
        }
        for (name, there) in directories {
            let opened = opening.open_without_file(name, &there);
            opening.note(name, opened);
        }
        Ok(opening)
    }

    fn note(&mut self, name: &str, opened: Result<Option<Topic>>) {
        match opened {
            Ok(Some(topic)) => {
                self.topics.insert(Arc::clone(&topic.name), Arc::new(topic));
            }
            Ok(None) => {}
            Err(error) => {
                self.report.failed.push(error.clone());
                self.unreadable.insert(name.to_owned(), error);
            }
        }
    }

    /// Directories that are not partitions any more: what is left of deleted topics goes, what only a Kafka broker knows
    /// the meaning of stays.
    fn set_aside(&mut self, entries: &[DiskEntry]) {
        for DiskEntry { name, .. } in entries.iter().filter(|entry| entry.is_dir) {
            if is_deleted_dir(name) && self.place.disk.remove_dir(&self.place.dir.join(name)).is_ok() {
                self.report.removed.push(name.clone());
            } else if is_deleted_dir(name) || is_kafkas_own_dir(name) {
                self.report.ignored.push(name.clone());
            }
        }
    }

    fn open_with_file(&mut self, name: &str, file: TopicFile, there: &[i32]) -> Result<Option<Topic>> {
        match file.state {
            TopicState::Live => return Ok(Some(self.open_topic(name, &file, there, Origin::Ours))),
            TopicState::Deleting => {
                self.deletions.insert(name.to_owned(), Deletion { file, error: None });
            }
            TopicState::Creating => {
                let numbers = there.iter().filter(|number| **number < file.partitions);
                let names = numbers.map(|number| TopicPartition::new(name, *number).to_string());
                // What cannot be taken back does not keep another attempt from beginning with it.
                match self.place.take_back_creation(name, &file) {
                    Ok(()) => self.report.removed.extend(names),
                    Err(error) => self.report.failed.push(error),
                }
            }
        }
        Ok(None)
    }

    fn open_topic(&mut self, name: &str, file: &TopicFile, there: &[i32], origin: Origin) -> Topic {
        let name: Arc<str> = name.into();
        let partitions = (0..file.partitions)
            .map(|number| {
                let partition = TopicPartition::new(Arc::clone(&name), number);
                let log = self.open_log(&partition, &file.config, there.contains(&number), origin);
                self.place.partition(&partition, log)
            })
            .collect();
        for number in there.iter().filter(|number| file.partitions <= **number) {
            self.see_to_stray(&TopicPartition::new(Arc::clone(&name), *number), file.id);
        }
        Topic::new(name, file.id, file.config.clone(), partitions)
    }

    /// A directory of a partition that the topic does not have: an attempt to add partitions that was cut short, or
    /// something that somebody put there.
    fn see_to_stray(&mut self, partition: &TopicPartition, id: Uuid) {
        let dir = self.place.partition_dir(partition);
        let is_leftover = self.place.is_leftover(&dir, Some(id)).unwrap_or(false);
        if is_leftover && self.place.disk.remove_dir(&dir).is_ok() {
            self.report.removed.push(partition.to_string());
        } else {
            self.report.ignored.push(partition.to_string());
        }
    }

    fn open_log(
        &mut self,
        partition: &TopicPartition,
        config: &TopicConfig,
        is_there: bool,
        origin: Origin,
    ) -> Result<Log> {
        let place = self.place.log_place(partition, config);
        let missing = |reason: &str| Err(Error::storage(reason.to_owned()).at_file(&place.dir).in_partition(partition));
        let opened = if !is_there {
            missing("the directory of the partition is missing: restore it, or its records are lost")
        } else if origin == Origin::Ours && self.is_emptied(partition) {
            missing("all segments of the partition are missing: restore them, or their records are lost")
        } else {
            Log::open(place, self.left_by)
        };
        match opened {
            Ok((log, recovery)) => {
                self.report.partitions.push(recovery);
                Ok(log)
            }
            Err(error) => {
                self.report.failed.push(error.clone());
                Err(error)
            }
        }
    }

    /// Whether a log has lost its segments, and the checkpoint from which opening would see it. What cannot be looked at
    /// opening tells.
    fn is_emptied(&self, partition: &TopicPartition) -> bool {
        let has_checkpoint = || {
            let loaded = Checkpoint::load(&*self.place.disk, &self.place.partition_dir(partition));
            !matches!(loaded, Ok(None))
        };
        !self.has_segment(partition).unwrap_or(true) && !has_checkpoint()
    }

    /// Whether there is a segment in the directory of a partition, or what will be one. In most logs it is the first one.
    fn has_segment(&self, partition: &TopicPartition) -> Result<bool> {
        let (dir, disk) = (self.place.partition_dir(partition), &*self.place.disk);
        if disk.entry(&segment_path(&dir, 0, SegmentFile::Log)).is_ok() {
            return Ok(true);
        }
        let names = disk.names(&dir).map_err(|error| Error::io("list", &dir, error).in_partition(partition))?;
        let is_segment = |name: &String| {
            let name = name.strip_suffix(".swap").unwrap_or(name);
            SegmentFile::Log.base_of(name).is_some()
        };
        Ok(names.iter().any(is_segment))
    }

    /// Directories without a topic file: logs that somebody put here, with or without records, or something else. Ours are
    /// never without, from before the first is made until after the last is gone.
    fn open_without_file(&mut self, name: &str, there: &[i32]) -> Result<Option<Topic>> {
        let mut is_log = false;
        for number in there {
            let partition = TopicPartition::new(name, *number);
            let dir = self.place.partition_dir(&partition);
            let content = self.place.disk.list(&dir);
            let content = content.map_err(|error| Error::io("list", &dir, error).in_partition(&partition))?;
            is_log |= content.iter().any(|entry| !entry.is_dir && SegmentFile::Log.base_of(&entry.name).is_some());
        }
        if is_log {
            return self.adopt(name, there).map(Some);
        }
        let ignored = there.iter().map(|number| TopicPartition::new(name, *number).to_string());
        self.report.ignored.extend(ignored);
        Ok(None)
    }

    fn adopt(&mut self, name: &str, there: &[i32]) -> Result<Topic> {
        let count = there.iter().max().map_or(0, |highest| highest.saturating_add(1));
        if count > MAX_PARTITIONS {
            return Err(Error::new(ErrorKind::InvalidPartitions { requested: count }));
        }
        let id_of = |number: &i32| {
            let dir = self.place.partition_dir(&TopicPartition::new(name, *number));
            id_in_partition_metadata(&self.place.read_text(&dir.join(PARTITION_METADATA)).ok()?)
        };
        let id = there.iter().find_map(id_of).unwrap_or_else(Uuid::new_v4);
        let policy = if is_internal(name) { CleanupPolicy::Compact } else { CleanupPolicy::Delete };
        // What Kafka kept them for is not in the directories: nothing goes until somebody decides.
        let config = TopicConfig::new().cleanup_policy(policy).retention(None);
        let file = TopicFile { state: TopicState::Live, id, partitions: count, config };
        let topic = self.open_topic(name, &file, there, Origin::Elsewhere);
        for number in there {
            // With the file, it would be taken for one that lost its segments.
            let partition = TopicPartition::new(name, *number);
            if !self.has_segment(&partition)? {
                topic.partition(*number)?.log()?;
            }
        }
        self.place.write_topic_file(name, &file)?;
        self.report.adopted.push(name.to_owned());
        Ok(topic)
    }
}

/// Partition numbers that have a directory, by topic.
fn partition_directories(entries: &[DiskEntry]) -> BTreeMap<&str, Vec<i32>> {
    let mut directories: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, number) in
        entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| parse_partition_dir(&entry.name))
    {
        directories.entry(topic).or_default().push(number);
    }
    directories
}

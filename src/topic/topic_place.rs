//! Where topics live: the names and files of the data directory.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::fetch::FetchLimits;
use super::file_names::{LEADER_EPOCHS, PARTITION_METADATA, TEMPORARY, TOPIC_FILE_EXTENSION};
use super::flusher::Flusher;
use super::partition::Partition;
use super::small_file::read_text;
use super::topic_file::{TopicFile, id_in_partition_metadata, partition_metadata};
use super::topic_name::{deleted_dir_name, is_internal, parse_partition_dir};
use crate::clock::Clock;
use crate::config::TopicConfig;
use crate::error::{Error, Result};
use crate::log::{CHECKPOINT_FILE, LeftBy, Log, LogPlace, Usage};
use crate::segment::SegmentFile;
use crate::sync::Arc;
use crate::sys::{Disk, DiskEntry, OpenFiles, OpenMode, Reserve, SyncPoint, write_atomically};
use crate::types::{Offset, TopicPartition};

/// Where topics live, and what their partitions need.
#[derive(Clone, Debug)]
pub(crate) struct TopicPlace {
    pub(crate) dir: Arc<Path>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) open_files: Arc<OpenFiles>,
    pub(crate) usage: Arc<Usage>,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) fetch_limits: Arc<FetchLimits>,
}

impl TopicPlace {
    pub(super) fn partition_dir(&self, name: &TopicPartition) -> PathBuf {
        self.dir.join(name.to_string())
    }

    fn topic_file_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}{TOPIC_FILE_EXTENSION}"))
    }

    pub(super) fn read_topic_file(&self, name: &str) -> Result<TopicFile> {
        let path = self.topic_file_path(name);
        let text = self.read_text(&path).map_err(|error| Error::io("read the topic file", &path, error))?;
        TopicFile::from_text(&text).map_err(|reason| {
            Error::storage(format!("the settings of topic {name} cannot be read: {reason}")).at_file(&path)
        })
    }

    pub(super) fn read_text(&self, path: &Path) -> io::Result<String> {
        read_text(&*self.disk, path)
    }

    /// Writes the file of a topic, also over one that is there. Durable when it returns; after an error nobody knows which
    /// of the two is there.
    pub(super) fn write_topic_file(&self, name: &str, file: &TopicFile) -> Result<()> {
        let path = self.topic_file_path(name);
        let points = [SyncPoint::TopicFile, SyncPoint::TopicFileName];
        let text = file.to_text();
        self.reserve
            .with_io(|| write_atomically(&*self.disk, &path, text.as_bytes(), points))
            .map_err(|error| Error::io("write the topic file", &path, error))
    }

    /// Removes the file of a topic, if it is there. Durable when it returns.
    pub(super) fn remove_topic_file(&self, name: &str) -> Result<()> {
        let path = self.topic_file_path(name);
        match self.disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove the topic file", &path, error))
            }
            _ => self.sync(SyncPoint::TopicFileRemoved),
        }
    }

    /// Makes what was created, renamed and removed here durable.
    fn sync(&self, point: SyncPoint) -> Result<()> {
        self.disk.sync_dir(&self.dir, point).map_err(|error| Error::io("sync", &self.dir, error))
    }

    /// Makes the partitions `numbers` of a topic, whose directories are not there. Durable when it returns.
    pub(super) fn create_partitions(
        &self,
        name: &Arc<str>,
        file: &TopicFile,
        numbers: Range<i32>,
    ) -> Result<Vec<Arc<Partition>>> {
        let partitions = numbers
            .map(|number| self.create_partition(&TopicPartition::new(Arc::clone(name), number), file))
            .collect::<Result<Vec<_>>>()?;
        self.sync(SyncPoint::PartitionName)?;
        Ok(partitions)
    }

    fn create_partition(&self, name: &TopicPartition, file: &TopicFile) -> Result<Arc<Partition>> {
        let dir = self.partition_dir(name);
        let make = || -> io::Result<()> {
            self.disk.create_dir(&dir)?;
            let files = [(PARTITION_METADATA, partition_metadata(file.id)), (LEADER_EPOCHS, "0\n1\n0 0\n".to_owned())];
            for (name, content) in files {
                let file = self.disk.open(&dir.join(name), OpenMode::Create)?;
                file.write_at(content.as_bytes(), 0)?;
                file.sync(SyncPoint::PartitionFile)?;
            }
            Ok(())
        };
        make().map_err(|error| Error::io("create the partition", &dir, error).in_partition(name))?;
        let (log, _) = Log::open(self.log_place(name, &file.config), LeftBy::Close)?; // syncs the directory
        Ok(self.partition(name, Ok(log)))
    }

    /// The directories of partitions `numbers` of topic `name` that are there. They are what an attempt to create them
    /// left: with `id`, one to create them for the topic of this id. Anything else is an error, and nothing is changed.
    pub(super) fn leftovers(&self, name: &str, numbers: Range<i32>, id: Option<Uuid>) -> Result<Vec<PathBuf>> {
        let refused = |dir: &Path, error| Error::io("create the partition", dir, error);
        let mut leftovers = Vec::new();
        for entry in self.disk.list(&self.dir).map_err(|error| refused(&self.dir, error))? {
            let Some((topic, number)) = parse_partition_dir(&entry.name) else { continue };
            if topic != name || !numbers.contains(&number) {
                continue;
            }
            let dir = self.dir.join(&entry.name);
            if !entry.is_dir || !self.is_leftover(&dir, id).map_err(|error| refused(&dir, error))? {
                return Err(refused(&dir, io::ErrorKind::AlreadyExists.into()));
            }
            leftovers.push(dir);
        }
        Ok(leftovers)
    }

    /// Whether a directory holds nothing but what [`create_partition`](TopicPlace::create_partition) can leave when it is
    /// cut short, for the topic of this id, if it is given.
    pub(super) fn is_leftover(&self, dir: &Path, id: Option<Uuid>) -> io::Result<bool> {
        is_leftover(&*self.disk, dir, id)
    }

    /// Removes directories with all that is in them.
    pub(super) fn remove(&self, dirs: &[PathBuf]) -> Result<()> {
        dirs.iter().try_for_each(|dir| self.disk.remove_dir(dir).map_err(|error| Error::io("remove", dir, error)))
    }

    /// Takes back what a failed creation of a topic left. `file` says that it is being created.
    ///
    /// The file last: without it, directories count as a topic that somebody put there. If anything fails, the next
    /// attempt or the next open does the rest; or the topic is there as a whole, if that was all that could be written.
    pub(super) fn take_back_creation(&self, name: &str, file: &TopicFile) -> Result<()> {
        self.write_topic_file(name, file)?;
        self.remove(&self.leftovers(name, 0..file.partitions, None)?)?;
        self.sync(SyncPoint::CreationTakenBack)?;
        self.remove_topic_file(name)
    }

    /// Takes back what a failed attempt to add partitions left. `file` is that of the topic without them.
    pub(super) fn take_back_growth(&self, name: &str, file: &TopicFile, count: i32) -> Result<()> {
        self.write_topic_file(name, file)?; // no file may speak of partitions that are not there
        self.remove(&self.leftovers(name, file.partitions..count, Some(file.id))?)
    }

    /// Renames the directories of a topic that is being deleted, out of the way of a new one of its name. Durable when it
    /// returns. Returns the new paths, each with the former name. Those that have been renamed before are not among them.
    pub(super) fn rename_partitions(&self, name: &str, file: &TopicFile) -> Result<Vec<(String, PathBuf)>> {
        let mut renamed = Vec::new();
        for entry in self.disk.list(&self.dir).map_err(|error| Error::io("list", &self.dir, error))? {
            let Some((topic, number)) = parse_partition_dir(&entry.name).filter(|_| entry.is_dir) else { continue };
            let from = self.dir.join(&entry.name);
            // Behind the topic's own there may be what is left of an attempt to add partitions.
            let is_its = || number < file.partitions || self.is_leftover(&from, Some(file.id)).unwrap_or(false);
            if topic == name && is_its() {
                let to = self.dir.join(deleted_dir_name(&TopicPartition::new(topic, number), Uuid::new_v4()));
                self.disk.rename(&from, &to).map_err(|error| Error::io("rename the partition", &from, error))?;
                renamed.push((entry.name, to));
            }
        }
        self.sync(SyncPoint::PartitionRenamed)?;
        Ok(renamed)
    }

    /// The directories behind the partitions of a topic that hold a log, and are not what an attempt to add partitions
    /// left.
    pub(super) fn strays(&self, name: &str, file: &TopicFile) -> Result<Vec<String>> {
        let mut strays = Vec::new();
        for entry in self.disk.list(&self.dir).map_err(|error| Error::io("list", &self.dir, error))? {
            let Some((topic, number)) = parse_partition_dir(&entry.name).filter(|_| entry.is_dir) else { continue };
            if topic != name || number < file.partitions {
                continue;
            }
            let dir = self.dir.join(&entry.name);
            let refused = |error| Error::io("look for other logs in", &dir, error);
            let names = self.disk.names(&dir).map_err(refused)?;
            let is_log = names.iter().any(|name| SegmentFile::Log.base_of(name).is_some());
            if is_log && !self.is_leftover(&dir, Some(file.id)).map_err(refused)? {
                strays.push(entry.name);
            }
        }
        Ok(strays)
    }

    pub(super) fn log_place(&self, name: &TopicPartition, config: &TopicConfig) -> LogPlace {
        LogPlace {
            partition: name.clone(),
            dir: self.partition_dir(name).into(),
            disk: Arc::clone(&self.disk),
            open_files: Arc::clone(&self.open_files),
            usage: Arc::clone(&self.usage),
            reserve: Arc::clone(&self.reserve),
            uses_reserve: is_internal(name.topic()),
            config: config.clone(),
            gaps_below: Offset::MAX,
        }
    }

    pub(super) fn partition(&self, name: &TopicPartition, log: Result<Log>) -> Arc<Partition> {
        let shared = (Arc::clone(&self.flusher), Arc::clone(&self.fetch_limits));
        Arc::new(Partition::new(name.clone(), log, shared, Arc::clone(&self.clock)))
    }
}

/// Whether a directory holds nothing but what an attempt to create a partition can leave when it is cut short, for the
/// topic of this id, if it is given.
pub(crate) fn is_leftover(disk: &dyn Disk, dir: &Path, id: Option<Uuid>) -> io::Result<bool> {
    if !disk.list(dir)?.iter().all(is_part_of_a_creation) {
        return Ok(false);
    }
    let found = read_text(disk, &dir.join(PARTITION_METADATA)).ok();
    let found = found.and_then(|text| id_in_partition_metadata(&text));
    Ok(id.is_none() || found.is_none() || found == id)
}

/// What [`TopicPlace::create_partition`] can leave behind when it is cut short.
pub(super) fn is_part_of_a_creation(entry: &DiskEntry) -> bool {
    let is_own_name = [PARTITION_METADATA, LEADER_EPOCHS, CHECKPOINT_FILE, TEMPORARY].contains(&entry.name.as_str());
    let is_index = entry.name.ends_with(".index") || entry.name.ends_with(".timeindex");
    !entry.is_dir
        && (is_own_name || (is_index && entry.len == 0) || (entry.name == "00000000000000000000.log" && entry.len == 0))
}

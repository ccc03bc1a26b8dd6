//! All topics of a data directory.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::flusher::Flusher;
use super::partition::Partition;
use super::report::RecoveryReport;
use super::topic::Topic;
use super::topic_file::{TopicFile, id_in_partition_metadata, partition_metadata};
use super::topic_name::{check_topic_name, collide, is_internal, parse_partition_dir};
use crate::clock::Clock;
use crate::config::{CleanupPolicy, TopicConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{LeftBy, Log, LogPlace, Removed};
use crate::segment::SegmentFile;
use crate::sync::{Arc, Mutex, RwLock};
use crate::sys::{Disk, DiskEntry, OpenFiles, OpenMode, write_atomically};
use crate::types::{Offset, TopicPartition};

/// Most partitions of one topic.
pub const MAX_PARTITIONS: i32 = 10_000;

const TOPIC_FILE_EXTENSION: &str = ".topic";
const PARTITION_METADATA: &str = "partition.metadata";
const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";

/// Where topics live, and what their partitions need.
#[derive(Clone, Debug)]
pub(crate) struct TopicPlace {
    pub(crate) dir: Arc<Path>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) open_files: Arc<OpenFiles>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) flusher: Arc<Flusher>,
}

/// All topics of a data directory, by name.
#[derive(Debug)]
pub(crate) struct Topics {
    place: TopicPlace,
    by_name: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
    /// Topics whose file could not be read: not served, and not created a second time.
    unreadable: HashMap<String, Error>,
    /// Held while a topic is created; whether no more topics may be.
    creating: Mutex<bool>,
}

impl Topics {
    /// Opens every topic of the directory. What is wrong with one partition or topic is kept for those who ask for it
    /// and does not keep the others from opening. `clean` tells whether the directory was closed in order.
    pub(crate) fn open(place: TopicPlace, clean: bool) -> Result<(Self, RecoveryReport)> {
        let left_by = if clean { LeftBy::Close } else { LeftBy::Crash };
        let mut opening = Opening { place: &place, left_by, report: RecoveryReport::default() };
        let entries = place.disk.list(&place.dir).map_err(|error| Error::io("list", &place.dir, error))?;
        let mut directories = partition_directories(&entries);
        let mut topics = HashMap::new();
        let mut unreadable = HashMap::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let Some(name) = topic_of_file(&entry.name) else { continue };
            let there = directories.remove(name).unwrap_or_default();
            match place.read_topic_file(name) {
                Ok(file) => {
                    let topic = opening.open_topic(name, &file, &there);
                    topics.insert(Arc::clone(&topic.name), Arc::new(topic));
                }
                Err(error) => {
                    opening.report.failed.push(error.clone());
                    unreadable.insert(name.to_owned(), error);
                }
            }
        }
        for (name, there) in directories {
            match opening.open_without_file(name, &there) {
                Ok(Some(topic)) => {
                    topics.insert(Arc::clone(&topic.name), Arc::new(topic));
                }
                Ok(None) => {}
                Err(error) => {
                    opening.report.failed.push(error.clone());
                    unreadable.insert(name.to_owned(), error);
                }
            }
        }
        let report = opening.report;
        Ok((Topics { by_name: RwLock::new(topics), unreadable, creating: Mutex::new(false), place }, report))
    }

    /// The topic of this name.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Topic>> {
        if let Some(topic) = self.by_name.read().get(name) {
            return Ok(Arc::clone(topic));
        }
        Err(self.unreadable.get(name).cloned().unwrap_or_else(|| {
            Error::new(ErrorKind::UnknownTopicOrPartition { topic: name.to_owned(), partition: None })
        }))
    }

    /// One partition.
    pub(crate) fn partition(&self, name: &TopicPartition) -> Result<Arc<Partition>> {
        self.get(name.topic())?.partition(name.partition()).cloned()
    }

    /// All topics, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<_> = self.by_name.read().values().cloned().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    /// Creates a topic; durable when it returns.
    pub(crate) fn create(&self, name: &str, partitions: i32, config: TopicConfig) -> Result<Arc<Topic>> {
        check_topic_name(name)?;
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(Error::new(ErrorKind::InvalidPartitions { requested: partitions }));
        }
        config.check()?;
        let closed = self.creating.lock();
        if *closed {
            return Err(Error::new(ErrorKind::Closed));
        }
        self.check_free(name)?;
        self.place.clear_the_way(name, partitions)?;
        let file = TopicFile { id: Uuid::new_v4(), partitions, config };
        let topic = Arc::new(self.place.create(name, &file).inspect_err(|_| self.place.take_back(name, partitions))?);
        self.by_name.write().insert(Arc::clone(&topic.name), Arc::clone(&topic));
        Ok(topic)
    }

    fn check_free(&self, name: &str) -> Result<()> {
        let topics = self.by_name.read();
        if topics.contains_key(name) || self.unreadable.contains_key(name) {
            return Err(Error::new(ErrorKind::TopicAlreadyExists { topic: name.to_owned() }));
        }
        if topics.keys().any(|other| collide(other, name)) {
            let reason = "a topic is there whose name differs in \".\" and \"_\" only";
            return Err(Error::new(ErrorKind::InvalidTopic { topic: name.to_owned(), reason }));
        }
        Ok(())
    }

    /// Removes what the topics' settings let go, everywhere. A partition that fails does not keep the others from it; the
    /// first error is returned, with the segments and bytes that went.
    pub(crate) fn enforce_retention(&self) -> (Removed, Result<()>) {
        let (mut removed, mut outcome) = (Removed::default(), Ok(()));
        for partition in self.all().iter().flat_map(|topic| &topic.partitions) {
            match partition.enforce_retention() {
                Ok(some) => {
                    removed.segments += some.segments;
                    removed.bytes += some.bytes;
                }
                // What did not open has nothing to give, and its error is known.
                Err(_) if partition.log().is_err() => {}
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        (removed, outcome)
    }

    /// Does what is to be done every now and then in every partition. What fails is tried again the next time.
    pub(crate) fn tick(&self) {
        for partition in self.all().iter().flat_map(|topic| &topic.partitions) {
            let _ = partition.tick();
        }
    }

    /// Closes every partition and lets no topic be created. All are closed even if some fail; the first error is
    /// returned.
    pub(crate) fn close(&self) -> Result<()> {
        *self.creating.lock() = true;
        let topics = self.all();
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.close()).fold(Ok(()), Result::and)
    }
}

impl TopicPlace {
    fn partition_dir(&self, name: &TopicPartition) -> PathBuf {
        self.dir.join(name.to_string())
    }

    fn topic_file_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}{TOPIC_FILE_EXTENSION}"))
    }

    fn read_topic_file(&self, name: &str) -> Result<TopicFile> {
        let path = self.topic_file_path(name);
        let text = self.read_text(&path).map_err(|error| Error::io("read the topic file", &path, error))?;
        TopicFile::from_text(&text).map_err(|reason| {
            Error::storage(format!("the settings of topic {name} cannot be read: {reason}")).at_file(&path)
        })
    }

    /// A small file's content; what is not UTF-8 is replaced and does not pass the checks that follow.
    fn read_text(&self, path: &Path) -> std::io::Result<String> {
        const LEN_MAX: u64 = 1 << 20;
        let file = self.disk.open(path, OpenMode::Read)?;
        let mut content = vec![0; file.len()?.min(LEN_MAX) as usize];
        let read = file.read_at(&mut content, 0)?;
        content.truncate(read);
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// Makes the directories, then the file that makes the topic exist.
    fn create(&self, name: &str, file: &TopicFile) -> Result<Topic> {
        let name: Arc<str> = name.into();
        let partitions = (0..file.partitions)
            .map(|number| {
                let partition = TopicPartition::new(Arc::clone(&name), number);
                self.create_partition(&partition, file)
            })
            .collect::<Result<Vec<_>>>()?;
        // The partitions' names first: a topic file without them would speak of lost records.
        self.disk.sync_dir(&self.dir).map_err(|error| Error::io("sync", &self.dir, error))?;
        self.write_topic_file(&name, file)?;
        Ok(Topic { name, id: file.id, config: file.config.clone(), partitions })
    }

    fn write_topic_file(&self, name: &str, file: &TopicFile) -> Result<()> {
        let path = self.topic_file_path(name);
        write_atomically(&*self.disk, &path, file.to_text().as_bytes())
            .map_err(|error| Error::io("write the topic file", &path, error))
    }

    fn create_partition(&self, name: &TopicPartition, file: &TopicFile) -> Result<Arc<Partition>> {
        let dir = self.partition_dir(name);
        let make = || -> std::io::Result<()> {
            self.disk.create_dir(&dir)?;
            let files = [(PARTITION_METADATA, partition_metadata(file.id)), (LEADER_EPOCHS, "0\n1\n0 0\n".to_owned())];
            for (name, content) in files {
                let file = self.disk.open(&dir.join(name), OpenMode::Create)?;
                file.write_at(content.as_bytes(), 0)?;
                file.sync()?;
            }
            Ok(())
        };
        make().map_err(|error| Error::io("create the partition", &dir, error).in_partition(name))?;
        let (log, _) = Log::open(self.log_place(name, &file.config), LeftBy::Close)?; // syncs the directory
        Ok(self.partition(name, Ok(log)))
    }

    /// Sees to it that no partition directory of a topic that is to be created is there. What an earlier creation left
    /// is removed, anything else is an error.
    fn clear_the_way(&self, name: &str, partitions: i32) -> Result<()> {
        let refused = |dir: &Path, error| Error::io("create the partition", dir, error);
        let entries = self.disk.list(&self.dir).map_err(|error| refused(&self.dir, error))?;
        for entry in entries {
            let Some((topic, number)) = parse_partition_dir(&entry.name) else { continue };
            if topic != name || number >= partitions {
                continue;
            }
            let dir = self.dir.join(&entry.name);
            if !entry.is_dir
                || !self.disk.list(&dir).map_err(|error| refused(&dir, error))?.iter().all(is_part_of_a_creation)
            {
                return Err(refused(&dir, std::io::ErrorKind::AlreadyExists.into()));
            }
            self.disk.remove_dir(&dir).map_err(|error| refused(&dir, error))?;
        }
        Ok(())
    }

    /// Takes back what a failed creation left: files that were not there before. First the one that makes the topic exist:
    /// while that cannot be removed the partitions stay, and the topic is whole after the next open.
    fn take_back(&self, name: &str, partitions: i32) {
        let gone = match self.disk.remove_file(&self.topic_file_path(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_dir(&self.dir),
        };
        if gone.is_err() {
            return;
        }
        for number in 0..partitions {
            // What cannot be removed now is removed by the next attempt or the next open.
            let _ = self.disk.remove_dir(&self.partition_dir(&TopicPartition::new(name, number)));
        }
    }

    fn log_place(&self, name: &TopicPartition, config: &TopicConfig) -> LogPlace {
        LogPlace {
            partition: name.clone(),
            dir: self.partition_dir(name).into(),
            disk: Arc::clone(&self.disk),
            open_files: Arc::clone(&self.open_files),
            config: config.clone(),
            gaps_below: Offset::MAX,
        }
    }

    fn partition(&self, name: &TopicPartition, log: Result<Log>) -> Arc<Partition> {
        Arc::new(Partition::new(name.clone(), log, Arc::clone(&self.flusher), Arc::clone(&self.clock)))
    }
}

/// The topic that a file of this name makes exist.
pub(crate) fn topic_of_file(name: &str) -> Option<&str> {
    name.strip_suffix(TOPIC_FILE_EXTENSION).filter(|topic| check_topic_name(topic).is_ok())
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

struct Opening<'a> {
    place: &'a TopicPlace,
    left_by: LeftBy,
    report: RecoveryReport,
}

impl Opening<'_> {
    fn open_topic(&mut self, name: &str, file: &TopicFile, there: &[i32]) -> Topic {
        let name: Arc<str> = name.into();
        let partitions = (0..file.partitions)
            .map(|number| {
                let partition = TopicPartition::new(Arc::clone(&name), number);
                let log = self.open_log(&partition, &file.config, there.contains(&number));
                self.place.partition(&partition, log)
            })
            .collect();
        for number in there.iter().filter(|number| file.partitions <= **number) {
            self.report.ignored.push(TopicPartition::new(Arc::clone(&name), *number).to_string());
        }
        Topic { name, id: file.id, config: file.config.clone(), partitions }
    }

    fn open_log(&mut self, partition: &TopicPartition, config: &TopicConfig, is_there: bool) -> Result<Log> {
        let place = self.place.log_place(partition, config);
        let opened = if is_there {
            Log::open(place, self.left_by)
        } else {
            let reason = "the directory of the partition is missing: restore it, or its records are lost";
            Err(Error::storage(reason).at_file(&place.dir).in_partition(partition))
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

    /// Directories without a topic file: a creation that was cut short, or a log that somebody put here.
    fn open_without_file(&mut self, name: &str, there: &[i32]) -> Result<Option<Topic>> {
        let partitions: Vec<_> = there.iter().map(|number| TopicPartition::new(name, *number)).collect();
        let contents = partitions
            .iter()
            .map(|partition| {
                let dir = self.place.partition_dir(partition);
                self.place.disk.list(&dir).map_err(|error| Error::io("list", &dir, error).in_partition(partition))
            })
            .collect::<Result<Vec<_>>>()?;
        if contents.iter().flatten().any(|entry| SegmentFile::Log.base_of(&entry.name).is_some() && entry.len > 0) {
            return self.adopt(name, there).map(Some);
        }
        for (partition, content) in partitions.iter().zip(&contents) {
            let dir = self.place.partition_dir(partition);
            if !content.is_empty() && content.iter().all(is_part_of_a_creation) {
                self.place.disk.remove_dir(&dir).map_err(|error| Error::io("remove", &dir, error))?;
                self.report.removed.push(partition.to_string());
            } else {
                self.report.ignored.push(partition.to_string());
            }
        }
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
        let file = TopicFile { id, partitions: count, config };
        let topic = self.open_topic(name, &file, there);
        self.place.write_topic_file(name, &file)?;
        self.report.adopted.push(name.to_owned());
        Ok(topic)
    }
}

/// What [`TopicPlace::create_partition`] can leave behind when it is cut short.
fn is_part_of_a_creation(entry: &DiskEntry) -> bool {
    let is_own_name =
        [PARTITION_METADATA, LEADER_EPOCHS, "thalweg-checkpoint", "thalweg.tmp"].contains(&entry.name.as_str());
    let is_index = entry.name.ends_with(".index") || entry.name.ends_with(".timeindex");
    !entry.is_dir
        && (is_own_name || (is_index && entry.len == 0) || (entry.name == "00000000000000000000.log" && entry.len == 0))
}

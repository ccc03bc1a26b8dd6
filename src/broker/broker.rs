//! The broker: what an application opens.

use std::path::Path;

use super::backup::copy_directory;
use super::directory::DataDirectory;
use super::engine::Engine;
use super::producer_ids::ProducerIds;
use super::tasks::{Background, Schedule, Threads};
use crate::clock::{Clock, SystemClock};
use crate::config::BrokerConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::group::Coordinator;
use crate::log::Usage;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::sys::{Disk, OpenFiles, RealDisk, Reserve};
use crate::topic::{
    CheckpointReport, Deadlines, FetchLimits, Flusher, Partition, RecoveryReport, Timer, TopicDescription, TopicPlace,
    Topics,
};
use crate::types::TopicPartition;

/// A data directory that is open: topics, partitions, groups, and the threads that work for them.
///
/// There is one at a time for a directory, in all processes of the machine. Producers and consumers are made from it
/// and may outlive it, but they stop working when it is closed or dropped; records that were fetched stay readable.
///
/// ```
/// use thalweg::{Broker, ProducerConfig, ProducerRecord, TopicConfig};
///
/// # fn main() -> thalweg::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let dir = dir.path();
/// let broker = Broker::open(dir)?;
/// broker.create_topic("orders", 4, TopicConfig::new())?;
/// let producer = broker.producer(ProducerConfig::new())?;
/// let sent = producer.send(ProducerRecord::new("orders", "two pears").key("alice"))?.wait()?;
/// assert_eq!(sent.offset, 0);
/// broker.close()
/// # }
/// ```
#[derive(Debug)]
pub struct Broker {
    engine: Arc<Engine>,
    recovery: RecoveryReport,
    /// `None` once closed.
    open: Option<Open>,
}

/// What ends with the broker. Fields are dropped in this order: the lock goes last.
#[derive(Debug)]
struct Open {
    threads: Threads,
    reserve: Arc<Reserve>,
    directory: DataDirectory,
}

impl Broker {
    /// Opens a data directory, creating it if it is missing, and recovers what the last user left:
    /// [`recovery`](Broker::recovery) tells what was found. Damage in one partition does not keep the rest from opening.
    ///
    /// # Errors
    ///
    /// [`DirectoryLocked`](crate::ErrorKind::DirectoryLocked) if it is open already,
    /// [`NotADataDirectory`](crate::ErrorKind::NotADataDirectory) if it holds something else, and what the system
    /// refuses. Nothing is changed in the first two cases.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Broker::open_with(directory, BrokerConfig::new())
    }

    /// As [`open`](Broker::open), with settings. They hold until the broker is closed.
    ///
    /// ```
    /// use thalweg::{Broker, BrokerConfig, StoreFullPolicy};
    ///
    /// # fn main() -> thalweg::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let dir = dir.path();
    /// let config = BrokerConfig::new().store_max_bytes(Some(1 << 30)).store_full_policy(StoreFullPolicy::DropOldest);
    /// let broker = Broker::open_with(dir, config)?;
    /// println!("{}", broker.stats());
    /// # broker.close()
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Broker::open), and [`InvalidConfig`](crate::ErrorKind::InvalidConfig).
    pub fn open_with(directory: impl AsRef<Path>, config: BrokerConfig) -> Result<Self> {
        config.check()?;
        let path = directory.as_ref();
        if path.as_os_str().is_empty() {
            return Err(Error::illegal_argument("the path of the data directory is empty"));
        }
        // A process may change its working directory while the broker makes new files.
        let path = std::path::absolute(path).map_err(|error| Error::io("find the data directory", path, error))?;
        Broker::open_configured(
            &path,
            Arc::new(RealDisk::reading(config.get_read_mode())),
            Arc::new(SystemClock),
            config,
            Background::Threads,
        )
    }

    #[cfg(test)]
    pub(crate) fn open_on(path: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Self> {
        Broker::open_configured(path, disk, clock, BrokerConfig::new(), Background::Threads)
    }

    pub(crate) fn open_configured(
        path: &Path,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        config: BrokerConfig,
        background: Background,
    ) -> Result<Self> {
        let began = clock.instant();
        let directory = DataDirectory::open(path, Arc::clone(&disk))?;
        let (flusher, timer, lingering) = (Arc::<Flusher>::default(), Arc::<Timer>::default(), Arc::<Timer>::default());
        let handles_max = config.get_max_open_files().unwrap_or_else(OpenFiles::handles_max_default);
        let open_files = OpenFiles::with_mode(config.get_read_mode(), handles_max, config.get_max_mapped_segments());
        let mut threads = Threads::start(
            background,
            (Arc::clone(&flusher), [&timer, &lingering].map(Arc::clone)),
            Arc::clone(&clock),
            (Arc::clone(&disk), Arc::clone(&open_files)),
        )
        .map_err(|error| Error::io("start the background threads of", path, error))?;
        let usage = Arc::new(Usage::new(config.get_store_max_bytes()));
        let reserve = Arc::new(Reserve::open(&*disk, path, config.get_store_reserve_bytes()));
        let place = TopicPlace {
            dir: path.into(),
            disk,
            open_files,
            usage,
            reserve: Arc::clone(&reserve),
            clock: Arc::clone(&clock),
            flusher,
            fetch_limits: Arc::new(FetchLimits {
                bytes_max: config.get_fetch_max_bytes(),
                crosses_segments: config.get_fetch_cross_segments(),
                deadlines: Some(Deadlines::new(&timer)),
                positions_above_end: AtomicU64::new(0),
            }),
        };
        let (topics, mut recovery) = Topics::open(place, directory.clean)?;
        let topics = Arc::new(topics);
        // A cut can come after a close in order, too: the device may have lost what was durable.
        let is_cut = |name: &_| recovery.partitions.iter().any(|found| found.cut.is_some() && found.partition == *name);
        let may_have_lost = |partition: &_| !directory.clean || is_cut(partition);
        let (coordinator, clamped) = Coordinator::open(Arc::clone(&topics), Arc::clone(&clock), may_have_lost)?;
        threads
            .clean(Arc::clone(&topics), Arc::clone(&clock), Schedule::new(&config, began))
            .map_err(|error| Error::io("start the background threads of", path, error))?;
        topics.finish_deletions(|topic| coordinator.forget_topic(topic), &mut recovery);
        recovery.created = directory.created;
        recovery.clean = directory.clean;
        recovery.clamped_offsets = clamped;
        recovery.elapsed = clock.instant().duration_since(began);
        let closed = AtomicBool::new(false);
        let coordinator = Arc::new(coordinator);
        let producer_ids = ProducerIds::new(Arc::clone(&directory.disk), path, Arc::clone(&reserve));
        let engine = Arc::new(Engine { topics, coordinator, clock, timer, lingering, config, producer_ids, closed });
        Ok(Broker { engine, recovery, open: Some(Open { threads, reserve, directory }) })
    }

    /// What opening the directory found and did.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// Describes one topic.
    ///
    /// # Errors
    ///
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition), or why its settings cannot be read.
    pub fn topic(&self, name: &str) -> Result<TopicDescription> {
        Ok(self.engine.topics.get(name)?.describe())
    }

    /// Describes all topics, by name, internal ones included.
    pub fn topics(&self) -> Vec<TopicDescription> {
        self.engine.topics.all().iter().map(|topic| topic.describe()).collect()
    }

    /// A partition, for reading by offset.
    ///
    /// # Errors
    ///
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition).
    pub fn partition(&self, partition: &TopicPartition) -> Result<Arc<Partition>> {
        self.engine.topics.partition(partition)
    }

    /// Removes now what the topics' settings let go, which otherwise happens every `log.retention.check.interval.ms`,
    /// and returns the bytes of record batches that went.
    ///
    /// # Errors
    ///
    /// The first partition's whose records could not be removed. The others are seen to all the same.
    pub fn enforce_retention(&self) -> Result<u64> {
        self.engine.check_open()?;
        let (removed, outcome) = self.engine.topics.enforce_retention();
        outcome.map(|()| removed.bytes)
    }

    /// Copies the data directory to `target` while it is in use: a backup that opens like a directory that was closed in
    /// order. Every partition has what its readers saw at one moment of the call, and no committed offset lies behind the
    /// records that come with it. Durable when it returns; a call that is cut short leaves a directory beside, whose name
    /// is that of `target` with `.<number>.tmp` behind it and which can be removed.
    ///
    /// Topics are created, changed and deleted before or after; whoever wants to in the middle of it waits.
    ///
    /// Finished segments are hard-linked if `target` lies on the same file system, and take no space of their own until
    /// they are removed here. Nothing changes them afterwards; a device that damages such a file damages both.
    ///
    /// ```
    /// # fn main() -> thalweg::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
    /// let broker = thalweg::Broker::open(data)?;
    /// broker.checkpoint(&backup)?;
    /// assert!(thalweg::verify(&backup)?.findings.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io) if `target` is there and not empty, and for what else the system refuses; the error of
    /// a topic or partition that is not open or takes no appends, since a copy without it would not be whole;
    /// [`IllegalArgument`](crate::ErrorKind::IllegalArgument) if `target` lies in the data directory;
    /// [`IllegalState`](crate::ErrorKind::IllegalState) while something is left of a deleted topic, until it is deleted
    /// once more.
    pub fn checkpoint(&self, target: impl AsRef<Path>) -> Result<CheckpointReport> {
        self.engine.check_open()?;
        let open = self.open.as_ref().ok_or_else(|| Error::new(ErrorKind::Closed))?;
        copy_directory(&open.directory, &self.engine.topics, target.as_ref())
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Makes everything durable, whatever the topics' settings, marks the directory as closed in order, and lets others
    /// open it.
    ///
    /// # Errors
    ///
    /// The first thing that could not be made durable. The directory is unlocked all the same, and the next open
    /// recovers what there is.
    pub fn close(mut self) -> Result<()> {
        self.close_now()
    }

    fn close_now(&mut self) -> Result<()> {
        let Some(Open { threads, reserve, directory }) = self.open.take() else { return Ok(()) };
        self.engine.closed.store(true, Ordering::Release);
        self.engine.topics.usage().wake_all(); // those who wait for room
        self.engine.lingering.run_now(&*self.engine.clock); // producers hand over what they hold
        let closed = self.engine.topics.close();
        self.engine.topics.close_files();
        self.engine.producer_ids.close();
        drop(threads);
        closed?;
        // With a partition that did not open, or is damaged, the next open has to look at everything again.
        if !self.recovery.is_whole() {
            return Ok(());
        }
        reserve.with(|| directory.mark_clean(), |error| *error.kind() == ErrorKind::StorageFull)
    }
}

impl Drop for Broker {
    /// As [`close`](Broker::close). An error is logged, for want of a caller: close a broker whose last records matter.
    fn drop(&mut self) {
        if let Err(error) = self.close_now() {
            tracing::error!("the broker was dropped and could not be closed in order: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ProducerRecord;
    use crate::config::{AutoOffsetReset, ConsumerConfig, ProducerConfig, TopicConfig};
    use crate::consumer::Consumer;
    use crate::sys::FaultyDisk;
    use crate::types::Durability;

    fn send(broker: &Broker, count: usize) {
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        for _ in 0..count {
            producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap();
        }
    }

    fn consumer(broker: &Broker) -> Consumer {
        let config = ConsumerConfig::new().group_id("g").auto_offset_reset(AutoOffsetReset::Earliest);
        broker.consumer(config.enable_auto_commit(false)).unwrap()
    }

    /// Defends D7.
    #[test]
    fn an_offset_that_cannot_be_set_back_keeps_the_broker_from_opening() {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
        let checkpoint = dir.path().join("t-0/thalweg-checkpoint");
        let first_checkpoint = std::fs::read(&checkpoint).unwrap();
        send(&broker, 10);
        consumer(&broker).commit_sync_offsets(&[(TopicPartition::new("t", 0), 10.into())]).unwrap();
        broker.close().unwrap();
        // A power cut that took the last records.
        std::fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
        std::fs::write(checkpoint, first_checkpoint).unwrap();
        let log = dir.path().join("t-0/00000000000000000000.log");
        let log = std::fs::OpenOptions::new().write(true).open(log).unwrap();
        log.set_len(log.metadata().unwrap().len() * 6 / 10).unwrap();

        let disk = FaultyDisk::default();
        disk.faults().full.store(true, Ordering::SeqCst);
        let error = Broker::open_on(dir.path(), Arc::new(disk), Arc::new(SystemClock)).unwrap_err();
        assert!(error.is_retriable(), "{error}");
        let broker = Broker::open(dir.path()).unwrap();
        assert_eq!(broker.recovery().clamped_offsets, 1);
        send(&broker, 10);
        let mut consumer = consumer(&broker);
        consumer.subscribe(&["t"]).unwrap();
        let records = consumer.poll(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(records.iter().next().unwrap().offset(), 6, "nothing is passed over");
    }

    #[test]
    fn a_checkpoint_without_links_is_copied_and_one_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default(); // which cannot link
        let faults = disk.faults();
        let broker = Broker::open_on(&dir.path().join("data"), Arc::new(disk), Arc::new(SystemClock)).unwrap();
        broker.create_topic("t", 1, TopicConfig::new().internal_segment_bytes(500)).unwrap();
        send(&broker, 30);
        broker.checkpoint(dir.path().join("first")).unwrap(); // nothing is left to do for the background
        let target = dir.path().join("backup");
        for fault in [&faults.next_write, &faults.next_sync, &faults.next_create, &faults.next_rename] {
            *fault.lock() = Some(std::io::ErrorKind::StorageFull);
            assert!(broker.checkpoint(&target).unwrap_err().is_retriable());
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        }
        let report = broker.checkpoint(&target).unwrap();
        assert!(report.linked_segments == 0 && report.copied_segments > 2, "{report}");
        let copy = Broker::open(&target).unwrap();
        assert_eq!(copy.partition(&TopicPartition::new("t", 0)).unwrap().log_end().unwrap(), 30);
    }

    #[test]
    fn the_names_of_all_directories_that_a_checkpoint_makes_are_durable() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        let broker = Broker::open_on(&dir.path().join("data"), Arc::new(disk), Arc::new(SystemClock)).unwrap();
        let syncs = |target: &str| {
            *faults.dir_syncs_left.lock() = Some(1000);
            broker.checkpoint(dir.path().join(target)).unwrap();
            faults.dir_syncs_left.lock().take().unwrap()
        };
        assert_eq!(syncs("backup") - syncs("a/b/c/backup"), 3);
    }
}

//! All topics of a data directory.

use std::collections::HashMap;
use std::time::Duration;

use super::deadlines::Deadlines;
use super::flusher::Flusher;
use super::opening::Opening;
use super::partition::Partition;
use super::report::RecoveryReport;
use super::topic::Topic;
use super::topic_file::TopicFile;
use super::topic_place::TopicPlace;
use super::waiters::Waiters;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{LeftBy, Removed};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, RwLock};
use crate::sys::SyncMethod;
use crate::types::TopicPartition;

/// Most partitions of one topic.
pub const MAX_PARTITIONS: i32 = 10_000;

/// All topics of a data directory, by name.
#[derive(Debug)]
pub(crate) struct Topics {
    pub(super) place: TopicPlace,
    pub(super) by_name: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
    /// Topics whose file could not be read: not served, and not created a second time.
    pub(super) unreadable: HashMap<String, Error>,
    /// Held while a topic is created, changed or deleted, and while all are copied.
    pub(super) changing: Mutex<Changing>,
    /// Number of changes of `by_name`. Raised after each; a stale value is as if the reader had come earlier.
    version: AtomicU64,
    /// Those who wait for the next change.
    waiters: Waiters,
}

/// What whoever changes a topic has to know.
#[derive(Debug, Default)]
pub(super) struct Changing {
    /// Whether nothing may be changed any more.
    pub(super) closed: bool,
    /// Deleted topics of which something is left, by name, and why. Their names are not free yet.
    pub(super) deletions: HashMap<String, Deletion>,
}

/// A deletion that is decided and not finished.
#[derive(Clone, Debug)]
pub(super) struct Deletion {
    pub(super) file: TopicFile,
    /// What kept it from being finished; `None` if nobody has tried.
    pub(super) error: Option<Error>,
}

impl Topics {
    /// Opens every topic of the directory. What is wrong with one partition or topic is kept for those who ask for it
    /// and does not keep the others from opening. `clean` tells whether the directory was closed in order.
    ///
    /// Topics whose deletion was cut short are not there any more, but their names are not free until
    /// [`finish_deletions`](Topics::finish_deletions).
    pub(crate) fn open(place: TopicPlace, clean: bool) -> Result<(Self, RecoveryReport)> {
        let left_by = if clean { LeftBy::Close } else { LeftBy::Crash };
        let Opening { topics, unreadable, deletions, report, .. } = Opening::run(&place, left_by)?;
        let topics = Topics {
            place,
            by_name: RwLock::new(topics),
            unreadable,
            changing: Mutex::new(Changing { closed: false, deletions }),
            version: AtomicU64::new(0),
            waiters: Waiters::default(),
        };
        Ok((topics, report))
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

    /// A number that grows when a topic is created, changed or deleted.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Those who wait for [`version`](Topics::version) to grow, whatever their target.
    pub(crate) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Makes `topic` what the name stands for, or nothing.
    pub(super) fn publish(&self, name: &Arc<str>, topic: Option<&Arc<Topic>>) {
        let former = match topic {
            Some(topic) => self.by_name.write().insert(Arc::clone(name), Arc::clone(topic)),
            None => self.by_name.write().remove(name),
        };
        if let Some(former) = former {
            former.supersede();
        }
        self.version.fetch_add(1, Ordering::Release);
        self.waiters.wake_all();
    }

    /// Removes what the topics' settings let go, everywhere. A partition that fails does not keep the others from it; the
    /// first error is returned, with the segments and bytes that went.
    pub(crate) fn enforce_retention(&self) -> (Removed, Result<()>) {
        let (mut removed, mut outcome) = (Removed::default(), Ok(()));
        for partition in self.all().iter().flat_map(|topic| &topic.partitions) {
            match self.guarded(partition, || partition.enforce_retention()) {
                Ok(some) => {
                    removed.segments += some.segments;
                    removed.bytes += some.bytes;
                }
                // What did not open or was deleted has nothing to give, and its error is known.
                Err(_) if partition.log().is_err() => {}
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        (removed, outcome)
    }

    /// Positions above a log end that were reset.
    pub(crate) fn positions_above_end(&self) -> u64 {
        self.place.fetch_limits.positions_above_end.load(Ordering::Relaxed)
    }

    /// Wakes those who wait at their deadlines, where there is a timer.
    pub(crate) fn deadlines(&self) -> Option<&Arc<Deadlines>> {
        self.place.fetch_limits.deadlines.as_ref()
    }

    /// Lets no file be opened any more: the directory is going to be somebody else's.
    pub(crate) fn close_files(&self) {
        self.place.open_files.close();
    }

    /// What syncs in the background, and several partitions at once.
    pub(crate) fn flusher(&self) -> &Flusher {
        &self.place.flusher
    }

    /// How many files are synced together, and why it is not by io_uring.
    pub(crate) fn sync_method(&self) -> Option<(SyncMethod, Option<&std::io::Error>)> {
        self.place.disk.sync_method()
    }

    /// Handles of files that are written to and open now.
    pub(crate) fn open_handles(&self) -> usize {
        self.place.open_files.handles.len()
    }

    /// Does what is to be done every now and then in every partition. What fails is tried again the next time.
    pub(crate) fn tick(&self) {
        for partition in self.all().iter().flat_map(|topic| &topic.partitions) {
            let _ = self.guarded(partition, || partition.tick());
        }
    }

    /// Has every partition forget idempotent producers that have been idle for `idle_max` or longer.
    pub(crate) fn expire_producers(&self, idle_max: Duration) {
        for partition in self.all().iter().flat_map(|topic| &topic.partitions) {
            let _ = self.guarded(partition, || partition.expire_producers(idle_max));
        }
    }

    /// Closes every partition and lets no topic be created, changed or deleted. All are closed even if some fail; the
    /// first error is returned.
    pub(crate) fn close(&self) -> Result<()> {
        self.changing.lock().closed = true;
        let topics = self.all();
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        let ends = partitions.clone().filter_map(|partition| Some((Arc::clone(partition), partition.log_end().ok()?)));
        self.flusher().committer.sync_to(&ends.collect::<Vec<_>>()); // its errors are those of the closes, too
        let outcome = partitions.map(|partition| partition.close()).fold(Ok(()), Result::and);
        self.waiters.wake_all();
        outcome
    }

    /// Does something for a partition in the background. A panic harms that partition, which takes no more appends, and
    /// keeps nobody from seeing to the others.
    fn guarded<T>(&self, partition: &Partition, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.flusher().committer.panics.catch("the care of a partition", run).unwrap_or_else(|| {
            let reason = "the background work panicked: nothing more is accepted; open the broker again";
            partition.fail(reason);
            Err(Error::storage(reason).in_partition(partition.name()))
        })
    }
}

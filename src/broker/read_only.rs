//! Reading a data directory that another process may have open.

use std::path::Path;

use super::directory::check_is_data_directory;
use crate::clock::{Clock, SystemClock};
use crate::config::BrokerConfig;
use crate::error::{Error, Result};
use crate::sync::{Arc, AtomicU64};
use crate::sys::{Disk, OpenFiles, RealDisk};
use crate::topic::{FetchLimits, Flusher, Partition, TopicDescription, TopicPlace};
use crate::types::TopicPartition;

/// A data directory that is opened for reading, whoever has it open for writing, in this process or another one.
///
/// It takes no lock, writes nothing and is in nobody's way. Each call looks at the directory anew: it sees what the owner
/// has appended, rolled over, deleted or made by then. A record is seen when all of its batch is in the file; of a topic
/// with durability `fsync`, it is synced first, so that nothing is seen that a power cut could take.
///
/// What it does not do: it recovers nothing, so that after a crash of the owner it reads up to where the last batch is
/// whole; it has no groups; topics that have no topic file, as a Kafka broker leaves them, are not there before a
/// [`Broker`](crate::Broker) has opened them. While one is open, the directory must not be [repaired](crate::repair).
///
/// ```
/// use thalweg::{Broker, FetchOptions, ProducerConfig, ProducerRecord, ReadOnlyBroker, TopicConfig, TopicPartition};
///
/// # fn main() -> thalweg::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let dir = dir.path();
/// let broker = Broker::open(dir)?;
/// broker.create_topic("orders", 1, TopicConfig::new())?;
/// let producer = broker.producer(ProducerConfig::new())?;
///
/// let reader = ReadOnlyBroker::open(dir)?; // usually in another process
/// let orders = reader.partition(&TopicPartition::new("orders", 0))?;
/// assert_eq!(orders.high_watermark()?, 0);
/// producer.send(ProducerRecord::new("orders", "two pears"))?.wait()?;
/// let records = orders.fetch(0, &FetchOptions::new())?.decode(true)?;
/// assert_eq!(records.len(), 1);
/// # broker.close()
/// # }
/// ```
#[derive(Debug)]
pub struct ReadOnlyBroker {
    place: TopicPlace,
}

impl ReadOnlyBroker {
    /// Opens a data directory for reading.
    ///
    /// # Errors
    ///
    /// [`NotADataDirectory`](crate::ErrorKind::NotADataDirectory) if it holds something else, and what the system refuses,
    /// as for a directory that is not there.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        ReadOnlyBroker::open_with(directory, BrokerConfig::new())
    }

    /// As [`open`](ReadOnlyBroker::open), with a configuration, of which what is about reading counts:
    /// [`read_mode`](BrokerConfig::read_mode), [`fetch_max_bytes`](BrokerConfig::fetch_max_bytes),
    /// [`fetch_cross_segments`](BrokerConfig::fetch_cross_segments), [`max_mapped_segments`](BrokerConfig::max_mapped_segments) and
    /// [`max_open_files`](BrokerConfig::max_open_files). The owner has its own.
    ///
    /// # Errors
    ///
    /// Those of [`open`](ReadOnlyBroker::open), and [`InvalidConfig`](crate::ErrorKind::InvalidConfig).
    pub fn open_with(directory: impl AsRef<Path>, config: BrokerConfig) -> Result<Self> {
        config.check()?;
        let path = directory.as_ref();
        let path = std::path::absolute(path).map_err(|error| Error::io("find the data directory", path, error))?;
        let (disk, clock): (Arc<dyn Disk>, Arc<dyn Clock>) =
            (Arc::new(RealDisk::reading(config.get_read_mode())), Arc::new(SystemClock));
        check_is_data_directory(&path, &*disk)?;
        let handles_max = config.get_max_open_files().unwrap_or_else(OpenFiles::handles_max_default);
        let open_files = OpenFiles::with_mode(config.get_read_mode(), handles_max, config.get_max_mapped_segments());
        let place = TopicPlace {
            dir: path.into(),
            disk,
            open_files,
            usage: Arc::default(),
            reserve: Arc::default(),
            clock,
            flusher: Arc::new(Flusher::default()),
            fetch_limits: Arc::new(FetchLimits {
                bytes_max: config.get_fetch_max_bytes(),
                crosses_segments: config.get_fetch_cross_segments(),
                deadlines: None,
                positions_above_end: AtomicU64::new(0),
            }),
        };
        Ok(ReadOnlyBroker { place })
    }

    /// Describes all topics that are there now, by name, internal ones included.
    ///
    /// # Errors
    ///
    /// Why the settings of one of them cannot be read.
    pub fn topics(&self) -> Result<Vec<TopicDescription>> {
        self.place.describe_all()
    }

    /// Describes one topic.
    ///
    /// # Errors
    ///
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition), or why its settings cannot be read.
    pub fn topic(&self, name: &str) -> Result<TopicDescription> {
        self.place.describe(name)
    }

    /// A partition, for reading by offset. Keep it: each call opens the files again. It goes on with what the owner
    /// appends; when the topic is deleted its calls give `UnknownTopicOrPartition`, and what would change it is refused
    /// with
    /// [`IllegalState`](crate::ErrorKind::IllegalState).
    ///
    /// # Errors
    ///
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition), and what the system refuses.
    pub fn partition(&self, partition: &TopicPartition) -> Result<Arc<Partition>> {
        self.place.open_read_only(partition)
    }
}

//! What threads would do.

use crate::broker::Broker;
use crate::error::Result;

/// The work that threads do for any other broker, to be done at the moments that a test chooses. Nobody else does it: who
/// waits on the same thread for a batch that is to be tried again waits for ever, unless its producer has `retries(0)`.
///
/// ```
/// use thalweg::simulation::{Background, SimulatedDisk};
/// use thalweg::{BrokerConfig, Durability, ProducerConfig, ProducerRecord, TopicConfig};
///
/// # fn main() -> thalweg::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let disk = SimulatedDisk::new();
/// let broker = disk.open_broker(dir.path(), BrokerConfig::new())?;
/// broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Interval))?;
/// let producer = broker.producer(ProducerConfig::new())?;
/// producer.send(ProducerRecord::new("t", "v"))?.wait()?;
/// let before = disk.operations();
/// Background::of(&broker).flush();
/// assert!(disk.operations() > before); // it is durable now
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Background<'a>(&'a Broker);

impl<'a> Background<'a> {
    /// That of a broker.
    pub fn of(broker: &'a Broker) -> Self {
        Background(broker)
    }

    /// Makes durable what was appended to topics that promise it, and sees to segments that were filled. What goes wrong
    /// is what the next append or acknowledgement of the partition gets.
    pub fn flush(self) {
        self.0.flush_by_hand();
    }

    /// Writes the batches that have lingered long enough by the clock.
    pub fn run_timers(self) {
        self.0.run_timer_by_hand();
    }

    /// Does what is done every `log.flush.offset.checkpoint.interval.ms`.
    pub fn tick(self) {
        self.0.tick_by_hand();
    }

    /// Does what is done every `log.retention.check.interval.ms`.
    ///
    /// # Errors
    ///
    /// As [`Broker::enforce_retention`].
    pub fn enforce_retention(self) -> Result<u64> {
        self.0.enforce_retention()
    }

    /// All of it, in this order: timers, flush, tick, retention.
    ///
    /// # Errors
    ///
    /// As [`Broker::enforce_retention`].
    pub fn run(self) -> Result<()> {
        self.run_timers();
        self.flush();
        self.tick();
        self.enforce_retention().map(drop)
    }

    /// Creates the topic of committed offsets with fewer partitions than the 50 that the first commit would create it
    /// with: a test that lays out thousands of directories is faster then.
    ///
    /// # Errors
    ///
    /// As [`Broker::create_topic`].
    pub fn create_offsets_topic(self, partitions: i32) -> Result<()> {
        self.0.create_offsets_topic(partitions)
    }
}

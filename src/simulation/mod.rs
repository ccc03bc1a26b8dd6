//! For tests of applications: power cuts and failing disks, as often as one likes and always the same.
//!
//! A [`SimulatedDisk`] remembers what was written and what was synced. A broker that is opened on it works in a real
//! directory; a [`Cut`] says what a power cut at some moment would have left of that directory, and lays it out elsewhere.
//!
//! ```
//! use thalweg::simulation::{Cut, SimulatedDisk, Survival};
//! use thalweg::{Broker, BrokerConfig, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let (data, after) = (dir.path().join("data"), dir.path().join("after"));
//! let disk = SimulatedDisk::new();
//! let broker = disk.open_broker(&data, BrokerConfig::new())?;
//! broker.create_topic("orders", 1, TopicConfig::new())?;
//! let producer = broker.producer(ProducerConfig::new())?;
//! let sent = producer.send(ProducerRecord::new("orders", "two pears"))?.wait()?;
//!
//! // The power goes here. What was acknowledged is there again, whatever survives of the rest.
//! let cut = Cut { at: disk.operations(), survival: Survival::Nothing, seed: 0 };
//! disk.cut(&cut).write(&data, &after)?;
//! let broker = Broker::open(&after)?;
//! let partition = broker.partition(&TopicPartition::new("orders", 0))?;
//! let records = partition.fetch(sent.offset, &Default::default())?.decode(true)?;
//! assert_eq!(records.iter().next().map(|record| record.value()), Some(Some(&b"two pears"[..])));
//! # Ok(())
//! # }
//! ```
//!
//! No thread works in the background of such a broker, so that a test which is repeated does the same operations in the
//! same order: [`Background`] is what the test calls instead. The broker's clock is [`SimulatedDisk::clock`]; it moves when
//! it is told to.
//!
//! What the simulation leaves out: the kernel's own order of things, which makes most of what it tries unlikely, and
//! devices that lie about what they have stored.

mod background;

use std::path::Path;

pub use crate::sys::{
    Cut, Fault, Held, Operation, OperationKind, SimulatedClock, SimulatedDisk, Survival, Survived, SyncPoint,
};
pub use background::Background;

use crate::broker::{self, Broker};
use crate::config::BrokerConfig;
use crate::error::{Error, Result};
use crate::sync::Arc;

impl SimulatedDisk {
    /// Opens a data directory on this disk. Nothing is done in its background but what [`Background`] does.
    ///
    /// # Errors
    ///
    /// As [`Broker::open_with`].
    pub fn open_broker(&self, directory: impl AsRef<Path>, config: BrokerConfig) -> Result<Broker> {
        config.check()?;
        let path = directory.as_ref();
        let path = std::path::absolute(path).map_err(|error| Error::io("find the data directory", path, error))?;
        let (disk, clock) = (Arc::new(self.clone()), Arc::new(self.clock().clone()));
        Broker::open_configured(&path, disk, clock, config, broker::Background::ByHand)
    }

    /// Ends the process that has `broker` open, without a close: nothing that it has written is lost, and nothing is written
    /// any more. The next one can open the directory on the same disk, once what was made from the broker is dropped, too.
    pub fn kill_broker(&self, broker: Broker) {
        self.kill();
        drop(broker);
        self.restart();
    }
}

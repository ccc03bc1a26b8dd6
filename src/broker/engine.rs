//! What the clients of a broker share.

use super::producer_ids::ProducerIds;
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::group::Coordinator;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::topic::{Timer, Topics};

/// What producers and consumers use of their broker. They keep it alive; the broker's close ends their work.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) topics: Arc<Topics>,
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) clock: Arc<dyn Clock>,
    /// For what is quickly done.
    pub(crate) timer: Arc<Timer>,
    /// For batches that linger: writing them may take as long as the disk likes.
    pub(crate) lingering: Arc<Timer>,
    pub(crate) config: BrokerConfig,
    pub(crate) producer_ids: ProducerIds,
    /// Set once, by the broker's close, before anything is closed.
    pub(super) closed: AtomicBool,
}

impl Engine {
    /// Refuses work once the broker is being closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::new(ErrorKind::Closed)) } else { Ok(()) }
    }
}

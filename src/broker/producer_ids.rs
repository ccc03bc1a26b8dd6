//! The ids of idempotent producers.

use crate::error::Result;
use crate::sync::{AtomicI64, Ordering};

/// Gives every producer an id that none had before it, in this data directory.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    next: AtomicI64,
}

impl ProducerIds {
    /// An id that was never given before.
    pub(crate) fn next(&self) -> Result<i64> {
        Ok(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

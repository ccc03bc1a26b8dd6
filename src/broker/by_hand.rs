//! The work of the background threads, done by a caller, for a broker that has none.

use super::broker::Broker;
use crate::config::TopicConfig;
use crate::error::Result;
use crate::topic::OFFSETS_TOPIC;

impl Broker {
    /// What `thalweg-flush` does, without waiting for the end of a flush interval. An error is what the next append or
    /// acknowledgement of the partition gets.
    pub(crate) fn flush_by_hand(&self) {
        let flusher = self.engine().topics.flusher();
        flusher.flush(&flusher.take_all());
    }

    /// What `thalweg-timer` and `thalweg-linger` do: fetches that have waited long enough end, batches that have lingered
    /// long enough are written.
    pub(crate) fn run_timer_by_hand(&self) {
        let engine = self.engine();
        engine.timer.run_due(&*engine.clock);
        engine.lingering.run_due(&*engine.clock);
    }

    /// What `thalweg-clean` does every `log.flush.offset.checkpoint.interval.ms`.
    pub(crate) fn tick_by_hand(&self) {
        self.engine().topics.tick();
    }

    /// Creates the topic of committed offsets, with fewer partitions than the first commit would create it with.
    pub(crate) fn create_offsets_topic(&self, partitions: i32) -> Result<()> {
        self.engine().topics.create(OFFSETS_TOPIC, partitions, TopicConfig::new()).map(drop)
    }
}

//! What goes from the beginning of a log. Rule: log.md 15.

use thalweg::{ErrorKind, Offset};

use super::log::{Log, Segment};
use super::op::{FUTURE, Sabotage};

impl Log {
    /// Deletes the records below `before` and returns the log start.
    pub fn delete(&mut self, before: Offset) -> Result<Offset, ErrorKind> {
        self.check_offset(before, 0)?;
        self.start = self.start.max(before);
        if self.sabotage == Sabotage::ShiftStart {
            self.start = (self.start + 1).min(self.end());
        }
        self.remove_below_start();
        Ok(self.start)
    }

    /// Removes what the settings let go.
    pub fn retain(&mut self) {
        self.remove_below_start();
        // Age is looked at behind what goes for its size.
        let over_size = self.count_over_size();
        let count = over_size + self.count_expired(over_size);
        if 0 < count && count == self.segments.len() {
            self.segments.push(Segment { base: self.end(), batches: Vec::new() });
        }
        self.start = self.start.max(self.segments[count].base);
        self.remove_below_start();
    }

    /// Segments whose successor begins at or below the log start.
    fn remove_below_start(&mut self) {
        let count = self.segments.iter().skip(1).take_while(|next| next.base <= self.start).count();
        self.removed.extend(self.segments.drain(..count));
    }

    /// Segments that can go so that what stays has at least `retention.bytes`.
    fn count_over_size(&self) -> usize {
        let Some(limit) = self.setup.retention_bytes else { return 0 };
        let mut size = self.size() as u64;
        let goes = |segment: &&Segment| {
            size -= segment.size() as u64;
            limit <= size && !segment.batches.is_empty()
        };
        self.segments.iter().take_while(goes).count()
    }

    /// Segments from number `from` on whose records are all older than `retention.ms`.
    fn count_expired(&self, from: usize) -> usize {
        if !self.setup.day_of_retention || self.sabotage == Sabotage::NeverExpire {
            return 0;
        }
        let expired = |segment: &&Segment| segment.max_timestamp().is_some_and(|timestamp| timestamp < FUTURE);
        self.segments.iter().skip(from).take_while(expired).count()
    }
}

//! Rolling: when the active segment is left, and the next one begun.

use std::io;
use std::time::Duration;

use uuid::Uuid;

use super::log::{Log, Writer};
use crate::error::{Error, Result};
use crate::record::Batch;
use crate::segment::{Segment, SegmentFile, SegmentWriter};
use crate::sync::Arc;
use crate::types::{Offset, Timestamp};

impl Log {
    /// Whether `batch` has to go to a new segment.
    ///
    /// Rule: log.md 9.2, `LogSegment.shouldRoll`. There is no condition 3, since indexes grow in memory.
    pub(super) fn must_roll(&self, writer: &mut Writer, batch: &Batch<'_>, now: Timestamp) -> bool {
        let (base, end) = (writer.active.base(), writer.active.written());
        // A segment that was opened with more in it than is configured has a larger map, not a larger limit.
        let capacity = writer.writing.as_ref().map_or(0, SegmentWriter::capacity).min(self.segment_bytes());
        let full = u64::from(end.file_pos) + batch.size() as u64 > u64::from(capacity);
        let too_far = batch.last_offset() - base > Offset::from(i32::MAX);
        full || too_far || writer.must_roll || (end.file_pos > 0 && self.is_too_old(writer, batch, now))
    }

    /// Time rolling follows record time: that of the segment's first batch and that of the incoming one. Where the first
    /// batch has none, the wall clock counts.
    fn is_too_old(&self, writer: &mut Writer, batch: &Batch<'_>, now: Timestamp) -> bool {
        let age_max = self.age_max(writer);
        let age = match first_timestamp(writer) {
            Some(timestamp) => batch.max_timestamp().saturating_sub(timestamp),
            None => now.saturating_sub(writer.first_append.unwrap_or(now)),
        };
        age > age_max
    }

    /// Rolls the active segment if the topic has it roll by the clock and it is old enough at `now`. Returns whether
    /// it did:
    /// [`seal_rolled`](Log::seal_rolled) has something to do.
    ///
    /// # Errors
    ///
    /// What the system refuses; the active segment stays what it was.
    pub(crate) fn roll_by_clock(&self, now: Timestamp) -> Result<bool> {
        let mut writer = self.writer.lock();
        let is_empty = writer.active.written().file_pos == 0;
        if !self.config().get_segment_roll_timer() || is_empty || writer.closed || self.failure.get().is_some() {
            return Ok(false);
        }
        // What earlier processes appended is as old as its records say, if they are not from the future.
        let written = first_timestamp(&writer).filter(|timestamp| *timestamp <= now).unwrap_or(now);
        let began = *writer.first_append.get_or_insert(written);
        if now.saturating_sub(began) <= self.age_max(&mut writer) {
            return Ok(false);
        }
        self.roll(&mut writer).map(|()| true)
    }

    /// The age, in milliseconds, at which the active segment rolls: jitter is drawn once for each segment.
    fn age_max(&self, writer: &mut Writer) -> i64 {
        let (age, jitter) = (self.config().get_segment_age(), self.config().get_segment_jitter());
        let drawn = *writer.jitter.get_or_insert_with(|| draw_below(jitter.min(age)));
        i64::try_from((age - drawn.min(age)).as_millis()).unwrap_or(i64::MAX)
    }

    /// Makes a new active segment at the log end. What is left to do for the old one happens outside the lock, in
    /// [`seal_rolled`](Log::seal_rolled). An active segment without a record becomes wide enough instead.
    pub(super) fn roll(&self, writer: &mut Writer) -> Result<()> {
        if writer.active.written().file_pos == 0 {
            return self.widen_empty(writer);
        }
        let base = writer.active.written().offset;
        let place = self.new_segment_place(base);
        let path = place.path(SegmentFile::Log);
        let (active, writing) = Segment::create(place, self.room()).map_err(|error| {
            let left_behind = error.kind() == io::ErrorKind::Other;
            let error = Error::io("create the segment", &path, error).in_partition(self.partition());
            if left_behind {
                let reason = "a segment could be neither made nor removed: nothing more is accepted; close the broker and open \
                              it again";
                return self.fail(Error::storage(reason).at_file(&path).caused_by(error));
            }
            error
        })?;
        let active = Arc::new(active);
        if let Some(writing) = &writer.writing {
            writing.finish();
        }
        self.view.store(Arc::new(self.view.load().rolled_to(Arc::clone(&active))));
        writer.active = active;
        writer.writing = Some(writing);
        writer.first_append = None;
        writer.jitter = None;
        writer.must_roll = false;
        writer.producers.note_roll(base);
        Ok(())
    }
}

/// The largest timestamp of the active segment's first batch.
fn first_timestamp(writer: &Writer) -> Option<Timestamp> {
    let end = writer.active.written();
    let reader = match &writer.writing {
        Some(writing) => Arc::clone(writing.reader()),
        None => writer.active.reader().ok()?,
    };
    reader.first_timestamp(end)
}

/// A random time below `limit`.
fn draw_below(limit: Duration) -> Duration {
    let millis = limit.as_millis();
    Duration::from_millis(u64::try_from(Uuid::new_v4().as_u128() % millis.max(1)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_spread_below_its_limit() {
        assert_eq!(draw_below(Duration::ZERO), Duration::ZERO);
        let drawn: Vec<_> = (0..100).map(|_| draw_below(Duration::from_secs(1000))).collect();
        assert!(drawn.iter().all(|drawn| *drawn < Duration::from_secs(1000)));
        assert!(drawn.iter().any(|drawn| *drawn > Duration::from_secs(500)));
        assert!(drawn.iter().any(|drawn| *drawn < Duration::from_secs(500)));
    }
}

//! Retention: the beginning of a log goes, by request, by age and by size.
//!
//! The order that no crash can turn into lost or resurrected records: everything below the new log start is made
//! durable, the checkpoint says where the log starts, readers are told, the segments leave the view, and only then their
//! files are removed. What a crash leaves of the files goes with the next run.
//!
//! A reader that holds a slice of a removed segment keeps its bytes: the name goes at once, the space when the last
//! holder lets go.

use super::log::Log;
use super::seal::Seal;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::Segment;
use crate::sync::{Arc, Ordering};
use crate::types::{Offset, Timestamp};

/// The first segment of a log, if it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OldestSegment {
    pub(crate) base: Offset,
    /// End of the log when it was looked at.
    log_end: Offset,
    /// The largest of its records; where none has one, the time of the last change of its file.
    pub(crate) timestamp: Timestamp,
}

/// What a run of retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) segments: usize,
    pub(crate) bytes: u64,
}

impl Log {
    /// Makes `before` the log start, unless the log starts behind it already, and returns the log start. Durable when it
    /// returns. Segments that lie below it as a whole go at once.
    ///
    /// # Errors
    ///
    /// `OffsetOutOfRange` outside `0..=high watermark`, `PolicyViolation` for a topic that is only compacted,
    /// `Closed`.
    ///
    /// Rule: log.md 15, `Partition.deleteRecordsOnLeader`.
    pub(crate) fn delete_records(&self, before: Offset, now: Timestamp) -> Result<Offset> {
        let policy = self.config().get_cleanup_policy();
        if policy.compacts() && !policy.deletes() {
            let reason = "cleanup.policy is compact: records of such a topic go by their keys";
            return Err(Error::new(ErrorKind::PolicyViolation { reason }).in_partition(self.partition()));
        }
        self.check_failure()?;
        let _removing = self.begin_removing()?;
        let high_watermark = self.high_watermark();
        if before < 0 || high_watermark < before {
            let (log_start, log_end) = (self.log_start(), self.log_end());
            let kind = ErrorKind::OffsetOutOfRange { requested: before, log_start, high_watermark, log_end };
            return Err(Error::new(kind).in_partition(self.partition()));
        }
        self.move_start(before)?;
        self.remove_below_start(now)?;
        Ok(self.log_start())
    }

    /// Removes what the topic's settings let go at `now`.
    ///
    /// Rule: log.md 15, `UnifiedLog.deleteOldSegments`: by the log start, by size, by age, each from the oldest segment on
    /// until the first that does not qualify; never above the high watermark; the active segment goes like the others,
    /// after a roll.
    pub(crate) fn enforce_retention(&self, now: Timestamp) -> Result<Removed> {
        if !self.damaged.is_empty() {
            return Ok(Removed::default()); // nothing is changed
        }
        self.check_failure()?;
        let _removing = self.begin_removing()?;
        let mut removed = self.remove_below_start(now)?;
        let log_end = self.log_end(); // before the segments are looked at
        let more = self.remove_first(self.count_to_remove(now), log_end, now)?;
        removed.segments += more.segments;
        removed.bytes += more.bytes;
        Ok(removed)
    }

    /// The first segment, if the settings allow that it goes and all of it can be seen. With `is_active` the one that is
    /// appended to, where there is no other, and otherwise never that one.
    pub(crate) fn oldest_segment(&self, is_active: bool, now: Timestamp) -> Option<OldestSegment> {
        let view = self.view.load_full();
        let first = view.segments().first().filter(|_| (view.segments().len() == 1) == is_active)?;
        let may_go = may_go(self.high_watermark())(&first) && self.damaged.is_empty();
        if !may_go || !self.config().get_cleanup_policy().deletes() || self.failure.get().is_some() {
            return None;
        }
        let log_end = view.log_end();
        Some(OldestSegment { base: first.base(), log_end, timestamp: self.largest_timestamp(first, now) })
    }

    /// Removes a segment that [`oldest_segment`](Log::oldest_segment) returned, if nobody else has. The log start is
    /// behind it when it returns, and that is durable.
    pub(crate) fn remove_oldest(&self, oldest: OldestSegment, now: Timestamp) -> Result<Removed> {
        self.check_failure()?;
        let _removing = self.begin_removing()?;
        let is_first = self.view.load().segments().first().is_some_and(|first| first.base() == oldest.base);
        if is_first { self.remove_first(1, oldest.log_end, now) } else { Ok(Removed::default()) }
    }

    /// Removes the first `count` segments, which were looked at when the log ended at `log_end`; the active one after
    /// a roll, if it is among them.
    fn remove_first(&self, count: usize, log_end: Offset, now: Timestamp) -> Result<Removed> {
        if count == 0 {
            return Ok(Removed::default());
        }
        let count = match self.roll_if_all_go(count, log_end, now) {
            // On a full disk the others make room for the new segment, which comes with the next run.
            Err(error) if error.is_retriable() && count > 1 => count - 1,
            outcome => outcome?,
        };
        if count == 0 {
            return Ok(Removed::default());
        }
        let view = self.view.load_full();
        let Some(first_kept) = view.segments().get(count) else { return Ok(Removed::default()) };
        self.move_start(first_kept.base())?;
        self.remove_below_start(now)
    }

    /// One removal at a time, and none after the close.
    fn begin_removing(&self) -> Result<impl Drop + '_> {
        let closed = self.removing.lock();
        if *closed { Err(Error::new(ErrorKind::Closed).in_partition(self.partition())) } else { Ok(closed) }
    }

    /// Number of segments, from the oldest on, that the settings let go.
    fn count_to_remove(&self, now: Timestamp) -> usize {
        if !self.config().get_cleanup_policy().deletes() {
            return 0;
        }
        let view = self.view.load_full();
        let high_watermark = self.high_watermark();
        let candidates = || view.segments().iter().take_while(may_go(high_watermark));
        let by_size = self.config().get_retention_bytes().map_or(0, |limit| {
            let mut over = self.size().saturating_sub(limit);
            candidates()
                .take_while(|segment| {
                    let size = u64::from(segment.written().file_pos);
                    let fits = size <= over;
                    over = over.saturating_sub(size);
                    fits
                })
                .count()
        });
        let by_age = self.config().get_retention().map_or(0, |limit| {
            let limit = Timestamp::try_from(limit.as_millis()).unwrap_or(Timestamp::MAX);
            let behind = candidates().skip(by_size);
            behind.take_while(|segment| now.saturating_sub(self.largest_timestamp(segment, now)) > limit).count()
        });
        by_size + by_age
    }

    /// The largest timestamp of a segment's records; where none has one, the time of the last change of its file.
    fn largest_timestamp(&self, segment: &Arc<Segment>, now: Timestamp) -> Timestamp {
        match segment.largest_timestamp() {
            Ok(Some((timestamp, _))) => timestamp,
            Ok(None) => segment.modified().unwrap_or(now),
            Err(_) => now, // what cannot be looked at stays
        }
    }

    /// A log always has an active segment: if it is to go as well, another one takes its place first.
    /// Returns how many of the first `count` segments go: not the active one, if something was appended to it since the
    /// log ended at `log_end`.
    fn roll_if_all_go(&self, count: usize, log_end: Offset, now: Timestamp) -> Result<usize> {
        let mut writer = self.writer.lock();
        let view = self.view.load_full();
        if !writer.closed && count == view.segments().len() && writer.active.written().file_pos > 0 {
            if writer.active.written().offset != log_end {
                return Ok(count - 1);
            }
            writer.first_append.get_or_insert(now);
            self.roll(&mut writer)?;
        }
        Ok(count)
    }

    /// Makes `to` the log start, if it is behind the present one: durable first, then visible.
    fn move_start(&self, to: Offset) -> Result<()> {
        if to <= self.log_start() {
            return Ok(());
        }
        self.sync_to(to)?; // a log must not be found to end before its start
        self.seal_with_start(Seal::Rolled, to)
    }

    /// Takes segments out of the view that lie below the log start as a whole, and removes their files, the oldest first.
    fn remove_below_start(&self, now: Timestamp) -> Result<Removed> {
        let (gone, keeps_producers, first_base) = {
            let mut writer = self.writer.lock(); // who swaps the view
            let view = self.view.load_full();
            let log_start = self.log_start.load(Ordering::Acquire);
            let bases = view.segments().iter().skip(1).map(|segment| segment.base());
            let count = bases.take_while(|next_base| *next_base <= log_start).count();
            let (gone, kept) = view.segments().split_at(count);
            if gone.is_empty() {
                return Ok(Removed::default());
            }
            let first_base = kept.first().map_or(log_start, |first| first.base());
            let keeps_producers = self.keep_producers(&mut writer, first_base, now);
            let sealed = kept.split_last().map_or(&[][..], |(_, sealed)| sealed).to_vec();
            self.view.store(Arc::new(view.with(sealed, Arc::clone(view.active()))));
            self.place.usage.remove(gone.iter().map(|segment| u64::from(segment.written().file_pos)).sum());
            (gone.to_vec(), keeps_producers, first_base)
        };
        if keeps_producers {
            let _sealing = self.sealing.lock();
            self.write_snapshot(Seal::Rolled);
        }
        self.remove_snapshots_below(first_base);
        let mut removed = Removed::default();
        for segment in gone {
            self.place.usage.pin(segment.retire(), u64::from(segment.written().file_pos), now);
            segment.remove_files().map_err(|error| {
                Error::io("remove the segment", &segment.path(), error).in_partition(self.partition())
            })?;
            removed.segments += 1;
            removed.bytes += u64::from(segment.written().file_pos);
        }
        Ok(removed)
    }
}

/// Whether a segment is not empty and all of it can be seen.
fn may_go(high_watermark: Offset) -> impl Fn(&&Arc<Segment>) -> bool {
    move |segment| {
        let end = segment.written();
        end.offset <= high_watermark && end.file_pos > 0
    }
}

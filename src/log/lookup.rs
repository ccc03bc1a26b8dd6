//! Offsets by time: the targets of Kafka's ListOffsets.

use std::cell::Cell;

use super::log::Log;
use super::read::Unreadable;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Batch, BatchHeader, Inflater, Malformed, RecordIter};
use crate::segment::{DamageAt, End, ReadFailure, Segment, SegmentReader, bad_offsets, follows};
use crate::sync::Arc;
use crate::types::{FilePos, NO_TIMESTAMP, Offset, Timestamp};

/// Which offset of a partition is asked for: the targets of Kafka's ListOffsets, by the names of its `OffsetSpec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The log start (-2).
    Earliest,
    /// The first offset that is on this machine (-4): the log start, since there is no tiered storage.
    EarliestLocal,
    /// The end of what can be read (-1).
    Latest,
    /// The first record with the largest timestamp (-3).
    MaxTimestamp,
    /// The last offset in tiered storage (-5): there is none.
    LatestTiered,
    /// The first offset that waits for tiered storage (-6): there is none.
    EarliestPendingUpload,
    /// The first record, in offset order, with this timestamp (milliseconds) or a later one. Timestamps may be out of
    /// order: records behind it can have earlier ones.
    Timestamp(Timestamp),
}

/// An offset, and the time that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp, in milliseconds; [`NO_TIMESTAMP`] for the ends of the log.
    pub timestamp: Timestamp,
    /// The offset.
    pub offset: Offset,
}

impl Log {
    /// Answers one target of ListOffsets. `None` if there is no such record or place.
    pub(crate) fn list_offset(&self, spec: OffsetSpec) -> Result<Option<TimestampOffset>> {
        let place = |offset| Ok(Some(TimestampOffset { timestamp: NO_TIMESTAMP, offset }));
        match spec {
            OffsetSpec::Earliest | OffsetSpec::EarliestLocal => place(self.log_start()),
            OffsetSpec::Latest => place(self.high_watermark()),
            OffsetSpec::MaxTimestamp => self.max_timestamp(),
            OffsetSpec::LatestTiered | OffsetSpec::EarliestPendingUpload => Ok(None),
            OffsetSpec::Timestamp(timestamp) => self.offset_for_timestamp(timestamp),
        }
    }

    /// The first record, in offset order, with `timestamp` or a later one, between log start and high watermark.
    ///
    /// Rule: fetch.md 9, `UnifiedLog.fetchOffsetByTimestamp`; where the segment that can hold such a record has none any
    /// more, the next one is searched.
    fn offset_for_timestamp(&self, timestamp: Timestamp) -> Result<Option<TimestampOffset>> {
        let view = self.view.load();
        let (end_base, end) = view.high_watermark();
        let log_start = self.log_start();
        for segment in view.segments_from(log_start).iter().take_while(|segment| segment.base() <= end_base) {
            let largest = segment.largest_timestamp().map_err(|error| self.unread(segment, Unreadable::Io(error)))?;
            if largest.is_none_or(|(largest, _)| largest < timestamp) {
                continue;
            }
            let end = if segment.base() == end_base { end } else { segment.visible() };
            let found = self.find_in(segment, (timestamp, log_start), end)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first record that carries the largest timestamp from the log start on; `None` if no record has one, or if it
    /// cannot be read yet.
    ///
    /// Rule: fetch.md 9, target -3: of segments with the same largest timestamp the first one counts, and a result behind
    /// the high watermark is no answer.
    fn max_timestamp(&self) -> Result<Option<TimestampOffset>> {
        let view = self.view.load();
        let (log_start, high_watermark) = (self.log_start(), view.high_watermark().1.offset);
        let mut newest: Option<TimestampOffset> = None;
        for segment in view.segments_from(log_start) {
            let end = segment.written();
            let largest = segment.largest_timestamp().map_err(|error| self.unread(segment, Unreadable::Io(error)))?;
            let known = newest.map_or(Timestamp::MIN, |newest| newest.timestamp);
            let Some((largest, _)) = largest.filter(|(largest, _)| known < *largest) else { continue };
            // What carries it may lie below the log start, or be newer than `end`: then the others are looked at.
            let found = match self.find_in(segment, (largest, log_start), end)? {
                None => self.largest_in(segment, log_start, end)?,
                found => found,
            };
            newest = newest.into_iter().chain(found).reduce(|a, b| if a.timestamp < b.timestamp { b } else { a });
        }
        Ok(newest.filter(|newest| newest.offset < high_watermark))
    }

    /// The first record of a segment, from `log_start` on, with `timestamp` or a later one.
    fn find_in(
        &self,
        segment: &Arc<Segment>,
        (timestamp, log_start): (Timestamp, Offset),
        end: End,
    ) -> Result<Option<TimestampOffset>> {
        self.walk(
            segment,
            |reader| reader.before_timestamp(timestamp, log_start, end),
            end,
            |batch| timestamp <= batch.max_timestamp() && log_start <= batch.last_offset(),
            |batch, inflated| {
                let records = records_of(batch, inflated, self.inflated_max())?;
                let mut found = records.filter(|(offset, time)| log_start <= *offset && timestamp <= *time);
                Ok(found.next().map(|(offset, timestamp)| TimestampOffset { timestamp, offset }))
            },
        )
    }

    /// The first record of a segment, from `log_start` on, with the largest timestamp, by a walk over all of it.
    fn largest_in(&self, segment: &Arc<Segment>, log_start: Offset, end: End) -> Result<Option<TimestampOffset>> {
        let newest: Cell<Option<TimestampOffset>> = Cell::new(None);
        let known = || newest.get().map_or(-1, |newest| newest.timestamp);
        self.walk(
            segment,
            |_| Ok(0),
            end,
            |batch| known() < batch.max_timestamp() && log_start <= batch.last_offset(),
            |batch, inflated| -> std::result::Result<Option<TimestampOffset>, Malformed> {
                for (offset, timestamp) in records_of(batch, inflated, self.inflated_max())? {
                    if log_start <= offset && known() < timestamp {
                        newest.set(Some(TimestampOffset { timestamp, offset }));
                    }
                }
                Ok(None)
            },
        )?;
        Ok(newest.get())
    }

    /// Shows the data batches of a segment whose headers are `wanted` to `look` until it has found something.
    fn walk<T>(
        &self,
        segment: &Arc<Segment>,
        begin: impl FnOnce(&SegmentReader) -> std::result::Result<FilePos, ReadFailure>,
        end: End,
        wanted: impl Fn(&BatchHeader) -> bool,
        mut look: impl FnMut(&Batch<'_>, &mut Inflater) -> std::result::Result<Option<T>, Malformed>,
    ) -> Result<Option<T>> {
        let failed = |failure: ReadFailure| self.unread(segment, Unreadable::of(failure, segment.base()));
        let corrupt = |damage: DamageAt| failed(damage.into());
        let reader = segment.reader().map_err(|error| failed(error.into()))?;
        let mut inflated = Inflater::default();
        let mut at = begin(&reader).map_err(failed)?;
        let mut headers = reader.headers(end);
        // Where it begins in the middle, that batch has been looked at.
        let mut expected = (at == 0).then(|| segment.base());
        while let Some(header) = headers.at(at).map_err(failed)? {
            if expected.is_some_and(|expected| !follows(header, expected, self.place.gaps_below)) {
                return Err(corrupt(DamageAt { file_pos: at, malformed: bad_offsets(header) }));
            }
            expected = Some(header.next_offset());
            if !header.is_control() && wanted(header) {
                let bytes = reader.batch_bytes(at, header).map_err(|error| failed(error.into()))?;
                let batch = Batch::first(&bytes).map_err(|malformed| corrupt(DamageAt { file_pos: at, malformed }))?;
                let Some(batch) = batch else {
                    return Err(corrupt(DamageAt { file_pos: at, malformed: Malformed::SizeBeyondEnd }));
                };
                let found = look(&batch, &mut inflated).map_err(|malformed| match malformed {
                    Malformed::UnsupportedCompression(codec) => Error::new(ErrorKind::UnsupportedCompression { codec })
                        .in_partition(self.partition())
                        .at_file(&segment.path())
                        .at_file_pos(u64::from(at)),
                    malformed => corrupt(DamageAt { file_pos: at, malformed }),
                })?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            at += header.size() as FilePos;
        }
        Ok(None)
    }

    #[cold]
    fn unread(&self, segment: &Segment, unreadable: Unreadable) -> Error {
        self.unreadable(segment, 0, unreadable)
    }
}

/// Offset and timestamp of each record of a batch whose checksum holds.
fn records_of<'a>(
    batch: &Batch<'a>,
    inflated: &'a mut Inflater,
    inflated_max: usize,
) -> std::result::Result<impl Iterator<Item = (Offset, Timestamp)> + 'a, Malformed> {
    batch.verify_crc()?;
    let area = batch.records_area(inflated, inflated_max)?;
    batch.check_records(area)?;
    Ok(RecordIter::new(*batch, area).map(|record| (record.offset(), record.timestamp())))
}

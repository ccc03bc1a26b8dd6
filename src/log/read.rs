//! Fetching: whole batches, as slices of the mapped segments, or as copies where nothing is mapped.

use std::io;

use bytes::Bytes;

use super::log::Log;
use super::records::{Decode, Records};
use super::slice::{Pieces, Slice, SliceOf};
use super::transactions::Transactions;
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Batch, HEADER_LEN};
use crate::segment::{End, ReadFailure, Segment, SegmentReader};
use crate::sync::Arc;
use crate::types::{FilePos, Offset, TopicPartition};

/// What a fetch returned: slices of the log, each a row of whole batches. Nothing is decoded yet, and nothing copied,
/// unless the broker's [`read_mode`](crate::BrokerConfig::read_mode) is to copy.
///
/// It keeps the segments it shows alive, also after the records were deleted and after the broker was closed. Keeping
/// it for long keeps their disk space.
#[derive(Clone, Debug)]
pub struct Fetched {
    partition: TopicPartition,
    slices: Pieces<Slice>,
    offset: Offset,
    next_offset: Offset,
    high_watermark: Offset,
    log_start: Offset,
    inflated_max: usize,
    gaps_below: Offset,
    /// Why there is not more.
    stop: Stop,
    /// Where the batch or the segment behind the slices begins, if that was looked at.
    behind: Option<Offset>,
    /// Where what can be seen ends, or where the reader is if that is further on, in bytes: see [`View::position`].
    position: i64,
    /// What is to be passed over, if only committed records are to be shown and there may be others.
    pub(super) transactions: Option<Arc<Transactions>>,
}

/// How much a fetch may return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchBudget {
    /// Most bytes.
    pub(crate) bytes_max: usize,
    /// Whether the first batch is returned in any case.
    pub(crate) at_least_one: bool,
    /// Whether to go on in the next segment. Kafka does not.
    pub(crate) crosses_segments: bool,
}

#[cfg(test)]
impl FetchBudget {
    /// `bytes_max` bytes, but at least one batch, over as many segments as it takes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        FetchBudget { bytes_max, at_least_one: true, crosses_segments: true }
    }
}

/// Why a fetch ended where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// There is nothing more to see yet.
    End,
    /// The next batch was too much.
    Budget,
    /// What comes next cannot be read.
    Damage,
}

impl Fetched {
    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The slices, as reference-counted bytes that a server can send unchanged: batches end to end, in offset order.
    /// The first batch may begin below the offset that was asked for. Whatever the isolation level, everything is there.
    pub fn slices(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.slices.iter().map(Slice::share)
    }

    /// Bytes in all slices.
    pub fn len(&self) -> usize {
        self.slices.iter().map(Slice::len).sum()
    }

    /// Whether there was nothing to return.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Why there is not more.
    pub(crate) fn stop(&self) -> Stop {
        self.stop
    }

    /// Where a reader waits that has found no more, in bytes.
    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// The offset that was asked for.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The offset to fetch next. It lies behind everything in the slices.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// End (exclusive) of what readers could see at the time of the fetch.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// End (exclusive) of what readers of committed records could see at the time of the fetch. It is the
    /// [high watermark](Fetched::high_watermark), since nothing here writes transactions: one that has no end will never have
    /// one, and is passed over.
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    /// The first offset that could be read at the time of the fetch.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Checks the batches, inflates compressed ones, and gives access to the records from [`offset`](Fetched::offset)
    /// on; fetched at [`ReadCommitted`](crate::IsolationLevel::ReadCommitted), to the committed ones. With `check_crcs` the
    /// checksum of every batch is compared (Kafka's `check.crcs`); its framing always is.
    ///
    /// The records of compressed batches take memory, 4 MiB at most unless the first batch alone takes more: what goes
    /// beyond is left to a fetch at [`Records::next_offset`]. Plain batches take none.
    ///
    /// # Errors
    ///
    /// `CorruptRecord` with file and position, or `UnsupportedCompression`, if the first batch cannot be read. If a
    /// later one cannot, the records before it are returned and a fetch at their [`Records::next_offset`] gives the
    /// error.
    pub fn decode(&self, check_crcs: bool) -> Result<Records> {
        Decode::new(self, check_crcs).run()
    }

    /// The offset of the first batch, which can be below the one that was asked for, or above it where compaction removed
    /// what was between; `None` if there is no batch.
    pub fn base_offset(&self) -> Option<Offset> {
        let first = Batch::first(self.slices.iter().next()?.bytes()).ok()??;
        Some(first.base_offset())
    }

    /// The mapped segment of the last slice, and where the slice ends in it.
    pub(super) fn last_place(&self) -> Option<(&SegmentReader, FilePos)> {
        match self.slices.last() {
            Some(Slice { segment: SliceOf::Mapped(segment), range }) => Some((segment, range.end)),
            _ => None,
        }
    }

    fn stopped_by(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    pub(super) fn parts(&self) -> &Pieces<Slice> {
        &self.slices
    }

    /// Where what lies behind the slices begins, if that is known.
    pub(super) fn behind(&self) -> Option<Offset> {
        self.behind
    }

    /// Below it there may be gaps in the offsets.
    pub(super) fn gaps_below(&self) -> Offset {
        self.gaps_below
    }

    /// Bytes that one compressed batch may grow to.
    pub(super) fn inflated_max(&self) -> usize {
        self.inflated_max
    }
}

impl Log {
    /// Reads whole batches from `offset` on, within `budget`. Takes no lock, and makes no system call but for opening a segment
    /// that is not open, and for reading where nothing is mapped. An offset between high watermark and log end gives nothing.
    ///
    /// Rule: fetch.md 2; goes on across segments until the budget is used. Each bound is read once.
    ///
    /// # Errors
    ///
    /// `OffsetOutOfRange` outside `log_start..=log_end`; `CorruptRecord` where the batch headers do not hold.
    pub(crate) fn fetch(&self, offset: Offset, budget: FetchBudget) -> Result<Fetched> {
        self.fetch_by(|view| self.fetch_in(view, offset, budget).map(Some))
    }

    /// Calls `fetch` with the segments of the log, and again where others are needed.
    pub(super) fn fetch_by(&self, fetch: impl Fn(&View) -> Result<Option<Fetched>>) -> Result<Fetched> {
        self.refresh()?;
        loop {
            let view = self.view.load();
            match fetch(&view) {
                // Its files went between a look at the segments and the use of one that was not open.
                Err(error) if error.is_storage() && self.following.is_some() => {
                    self.refresh()?;
                    if self.is_current(&view) {
                        return Err(error);
                    }
                }
                Err(error) if error.is_storage() && !self.is_current(&view) => {}
                Err(error) => return Err(error),
                Ok(Some(fetched)) => return self.check_followed().map(|()| fetched),
                Ok(None) => {}
            }
        }
    }

    /// Bytes that one compressed batch may grow to.
    pub(super) fn inflated_max(&self) -> usize {
        self.config().inflated_max()
    }

    /// Whether no segment was added, removed or replaced since `view` was loaded.
    fn is_current(&self, view: &Arc<View>) -> bool {
        Arc::ptr_eq(&self.view.load(), view)
    }

    pub(super) fn fetch_in(&self, view: &View, offset: Offset, budget: FetchBudget) -> Result<Fetched> {
        let (end_base, end) = view.high_watermark();
        let end_offset = end.offset;
        let log_start = self.log_start();
        // The view is older than the start: what was rolled and removed in between is not in it.
        let log_end = self.at_least_damaged(view.log_end()).max(log_start);
        if offset < log_start || log_end < offset {
            let high_watermark = self.at_least_damaged(end_offset).max(log_start);
            let kind = ErrorKind::OffsetOutOfRange { requested: offset, log_start, high_watermark, log_end };
            return Err(Error::new(kind).in_partition(self.partition()));
        }
        if let Some(damaged) = self.damaged.iter().find(|damaged| (damaged.from..damaged.to).contains(&offset)) {
            return Err(damaged.error.clone());
        }
        let mut fetched = Fetched {
            partition: self.partition().clone(),
            slices: Pieces::new(),
            offset,
            next_offset: offset,
            high_watermark: self.at_least_damaged(end.offset).max(log_start),
            log_start,
            gaps_below: self.place.gaps_below,
            stop: Stop::End,
            behind: None,
            position: view.position(end_base, end.file_pos),
            transactions: None,
            inflated_max: self.inflated_max(),
        };
        if end_offset < offset {
            fetched.position = self.position_of(view, offset).unwrap_or(fetched.position);
        }
        if end_offset <= offset {
            return Ok(fetched); // there is nothing yet
        }
        let mut left = budget.bytes_max;
        let mut segments = view.segments_from(offset).iter().peekable();
        while let Some(segment) = segments.next().filter(|segment| segment.base() <= end_base) {
            let end = if segment.base() == end_base { end } else { segment.visible() };
            let at_least_one = budget.at_least_one && fetched.slices.is_empty();
            let taken = self.take(segment, &mut fetched, &mut left, at_least_one, end);
            if matches!(taken, Ok(Stop::End)) {
                fetched.behind = segments.peek().map(|next| next.base());
            }
            let whole = match taken {
                Ok(Stop::End) if fetched.next_offset < end_offset => match segments.peek().map(|next| next.base()) {
                    Some(next) => match self.damage_between(fetched.next_offset, next) {
                        Some(error) if fetched.slices.is_empty() => return Err(error.clone()),
                        Some(_) => return Ok(fetched.stopped_by(Stop::Damage)),
                        None if !budget.crosses_segments && !fetched.slices.is_empty() => {
                            return Ok(fetched.stopped_by(Stop::Budget));
                        }
                        None => self.check_gap(segment, next),
                    },
                    None => Ok(()),
                },
                Ok(stop) => return Ok(fetched.stopped_by(stop)),
                Err(unreadable) => Err(unreadable),
            };
            if let Err(unreadable) = whole {
                // What was found before is handed out; the next fetch meets this first.
                if fetched.slices.is_empty() {
                    return Err(self.unreadable(segment, fetched.offset, unreadable));
                }
                if let Unreadable::Corrupt(from, ..) = unreadable {
                    fetched.next_offset = fetched.next_offset.min(from);
                }
                return Ok(fetched.stopped_by(Stop::Damage));
            }
        }
        if fetched.slices.is_empty() {
            // Nothing is left from the offset to the end: it was compacted away. Or the offset lies behind the end.
            fetched.next_offset = offset.max(end.offset);
        }
        Ok(fetched)
    }

    /// The damage that opening found between two offsets. Where gaps are allowed nothing else tells it from one.
    fn damage_between(&self, from: Offset, to: Offset) -> Option<&Error> {
        self.damaged.iter().find(|damaged| from <= damaged.from && damaged.from < to).map(|damaged| &damaged.error)
    }

    /// Whether the batches of `segment` reach up to the next one. Records between them are missing, unless compaction may
    /// have taken them.
    fn check_gap(&self, segment: &Arc<Segment>, next_base: Offset) -> std::result::Result<(), Unreadable> {
        if next_base <= self.place.gaps_below {
            return Ok(());
        }
        let corrupt = |from, file_pos, reason| Err(Unreadable::Corrupt(from, file_pos, reason));
        match segment.reader().map_err(Unreadable::Io)?.last_batch(segment.visible()) {
            Ok(Some((_, batch))) if batch.next_offset() == next_base => Ok(()),
            Ok(Some((file_pos, batch))) => {
                let from = batch.next_offset();
                corrupt(
                    from,
                    file_pos,
                    format!("the records from {from} to the next segment at {next_base} are missing"),
                )
            }
            Ok(None) => corrupt(segment.base(), 0, "the segment is empty, with another one behind it".to_owned()),
            Err(failure) => Err(Unreadable::of(failure, next_base)),
        }
    }

    /// Takes what fits from one segment. Returns why that is all: with `End` the next segment is to be looked at.
    fn take(
        &self,
        segment: &Arc<Segment>,
        fetched: &mut Fetched,
        left: &mut usize,
        at_least_one: bool,
        end: End,
    ) -> std::result::Result<Stop, Unreadable> {
        let reader = segment.reader().map_err(Unreadable::Io)?;
        let offset = fetched.next_offset;
        let found = reader.find_vouched(offset, end).map_err(|failure| Unreadable::of(failure, offset))?;
        let Some((from, first, is_vouched)) = found else {
            return Ok(Stop::End); // everything from the offset on was compacted away here
        };
        if first.size() > *left && !at_least_one {
            return Ok(Stop::Budget);
        }
        let limit = (*left).max(first.size());
        let to = reader.boundary((from, &first), limit, end).map_err(Unreadable::Io)?;
        fetched.behind = None;
        let taken = (to.file_pos - from) as usize;
        let stop = if to.file_pos < end.file_pos && is_vouched && taken == first.size() && limit - taken < HEADER_LEN {
            Stop::Budget // whatever comes next, which need not be touched
        } else {
            match reader.headers(end).at(to.file_pos) {
                Ok(None) => Stop::End,
                Ok(Some(next)) => {
                    fetched.behind = Some(next.base_offset());
                    Stop::Budget
                }
                Err(_) => Stop::Damage,
            }
        };
        let slice = Slice::of(reader, from..to.file_pos).map_err(Unreadable::Io)?;
        *left = left.saturating_sub(taken);
        fetched.slices.push(slice);
        fetched.next_offset = to.offset;
        Ok(stop)
    }

    #[cold]
    pub(super) fn unreadable(&self, segment: &Segment, asked_for: Offset, unreadable: Unreadable) -> Error {
        let error = match unreadable {
            Unreadable::Io(_) if self.place.open_files.is_closed() => Error::new(ErrorKind::Closed),
            Unreadable::Io(error) => Error::io("read the segment", &segment.path(), error),
            Unreadable::Corrupt(offset, file_pos, reason) => {
                Error::new(ErrorKind::CorruptRecord { offset: offset.max(asked_for), reason })
                    .at_file(&segment.path())
                    .at_file_pos(u64::from(file_pos))
            }
        };
        error.in_partition(self.partition())
    }
}

/// Why a segment cannot be read.
pub(super) enum Unreadable {
    /// The system does not open it, or does not give its bytes.
    Io(io::Error),
    /// The first offset that cannot be read, where that is in the file, and what is wrong.
    Corrupt(Offset, FilePos, String),
}

impl Unreadable {
    /// Damage takes the records from `offset` on.
    #[cold]
    pub(super) fn of(failure: ReadFailure, offset: Offset) -> Self {
        match failure {
            ReadFailure::Io(error) => Unreadable::Io(error),
            ReadFailure::Damage(damage) => Unreadable::Corrupt(offset, damage.file_pos, damage.malformed.to_string()),
        }
    }
}

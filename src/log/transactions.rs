//! What is not committed: the list that reading at `read_committed` passes over.
//!
//! Records of aborted transactions are in the log like all others; only a marker behind them says that they do not count.
//! Kafka hands the list of aborted transactions to its readers with every fetch, out of `.txnindex` files. Here one walk
//! over the batch headers of the log makes the list, when a reader first meets a transactional batch: index files are no
//! evidence, and a log that has no transactions is never walked. A transaction can only be where others wrote, below the
//! offset from which on there are no gaps (`gaps_below` of [`LogPlace`](super::LogPlace)).
//!
//! # Invariants
//!
//! - The list never changes, since nothing here writes transactions: all that a log has were there when it was opened,
//!   and how they ended is in the log. What is appended later, here or by the process that is followed, belongs to none.
//! - A transaction without a marker can never be decided. It counts as not committed and is passed over, instead of
//!   stopping readers in front of it for ever: the last stable offset of a log is its high watermark.
//! - Where the walk meets damage, nothing is guessed: a batch whose marker may lie there has no known outcome.
//!
//! Retention may have taken the beginning of a transaction, or all of it but its marker: what is left has the same outcome.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use super::log::{DamagedRange, Log};
use super::read::{FetchBudget, Fetched, Unreadable};
use super::view::View;
use crate::config::IsolationLevel;
use crate::error::Result;
use crate::record::{Batch, BatchHeader, Batches, Compression, ControlType, Malformed, RecordIter};
use crate::segment::{End, ReadFailure, Segment, SegmentReader, follows};
use crate::sync::{Arc, Mutex, OnceLock};
use crate::types::{FilePos, Offset};

/// What is known of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It counts: its transaction was committed, or it is in none.
    Committed,
    /// It does not count: its transaction was aborted, or never ended.
    NotCommitted,
    /// The end of its transaction may lie in a part of the log that cannot be read.
    Unknown,
}

/// The transactions of a log that are not committed.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Base of the first segment that was walked; nothing is known of what lies before.
    from: Offset,
    /// Sorted by producer, then by offset. Those of one producer do not overlap.
    spans: Vec<Span>,
    /// Offsets that the walk could not see.
    unseen: Vec<Range<Offset>>,
}

/// The batches of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    producer_id: i64,
    /// Base offset of the first batch that is left.
    first: Offset,
    /// The marker, or the last offset at which the transaction was known to go on.
    last: Offset,
    outcome: Outcome,
}

impl Transactions {
    /// Walks the segments of `view` that others can have written. `damaged` is what cannot be read in them. The error
    /// names the segment that the system does not let be read.
    fn of(
        view: &View,
        gaps_below: Offset,
        damaged: &[DamagedRange],
    ) -> std::result::Result<Self, (Arc<Segment>, io::Error)> {
        let from = view.segments().first().map_or(0, |segment| segment.base());
        let mut walk = Walk { gaps_below, open: HashMap::new(), list: Transactions { from, ..Self::default() } };
        let mut segments = view.segments().iter().peekable();
        while let Some(segment) = segments.next().filter(|segment| segment.base() < gaps_below) {
            let next_base = segments.peek().map(|next| next.base());
            let to_next = segment.base()..next_base.unwrap_or(Offset::MAX);
            let reader = segment.reader().map_err(|error| (Arc::clone(segment), error))?;
            let walked = walk.segment(&reader, (segment.base(), segment.written()), next_base);
            if let Some(offset) = walked.map_err(|error| (Arc::clone(segment), error))? {
                walk.skip(offset..to_next.end);
            }
            // In the view a segment ends where its damage begins.
            let unread = damaged.iter().filter(|damaged| to_next.contains(&damaged.from));
            unread.for_each(|damaged| walk.skip(damaged.from..damaged.to));
        }
        Ok(walk.finish())
    }

    /// Whether the segment that holds `offset` was there when the list was made.
    pub(super) fn reaches_back_to(&self, offset: Offset) -> bool {
        self.from <= offset
    }

    /// What is known of `batch`, which is transactional and no marker.
    ///
    /// Rule: fetch.md 6.
    pub(super) fn outcome(&self, batch: &Batch<'_>) -> Outcome {
        let Some(producer_id) = batch.producer_id() else { return Outcome::Committed };
        let offset = batch.base_offset();
        if self.unseen.iter().any(|unseen| unseen.contains(&offset)) {
            return Outcome::Unknown;
        }
        let behind = self.spans.partition_point(|span| (span.producer_id, span.first) <= (producer_id, offset));
        match behind.checked_sub(1).and_then(|at| self.spans.get(at)) {
            Some(span) if span.producer_id == producer_id && offset <= span.last => span.outcome,
            _ => Outcome::Committed,
        }
    }
}

/// A transaction that was aborted, or never ended: what a reader of raw batches at `read_committed` has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer that wrote it.
    pub producer_id: i64,
    /// Offset of its first record that is left. It ends at the producer's next abort marker.
    pub first_offset: Offset,
}

impl Fetched {
    /// The transactions of which there may be records in the slices that do not count: the list that Kafka sends along with
    /// a fetch at `read_committed`. Their batches, from the first offset to the producer's next abort marker, are to be
    /// passed over, as [`decode`](Fetched::decode) does. There is none for a fetch at `read_uncommitted`.
    ///
    /// Rule: fetch.md 6, `LocalLog.addAbortedTransactions`.
    pub fn aborted_transactions(&self) -> impl Iterator<Item = AbortedTransaction> + '_ {
        let spans = self.transactions.iter().flat_map(|transactions| &transactions.spans);
        let is_seen = |span: &&Span| self.offset() <= span.last && span.first < self.next_offset();
        let aborted = spans.filter(is_seen).filter(|span| span.outcome == Outcome::NotCommitted);
        aborted.map(|span| AbortedTransaction { producer_id: span.producer_id, first_offset: span.first })
    }
}

/// One walk over a log.
struct Walk {
    /// Below it there may be gaps in the offsets.
    gaps_below: Offset,
    /// The first offset of each producer's transaction that goes on.
    open: HashMap<i64, Offset>,
    list: Transactions,
}

impl Walk {
    /// Walks one segment. Returns the offset from which on nothing is known up to the next segment, if there is one.
    fn segment(
        &mut self,
        segment: &SegmentReader,
        (base, end): (Offset, End),
        next_base: Option<Offset>,
    ) -> io::Result<Option<Offset>> {
        let (mut file_pos, mut expected, mut headers) = (0, base, segment.headers(end));
        loop {
            let batch = match headers.at(file_pos) {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(ReadFailure::Damage(_)) => return Ok(Some(expected)),
                Err(ReadFailure::Io(error)) => return Err(error),
            };
            if !follows(batch, expected, self.gaps_below) {
                return Ok(Some(expected));
            }
            if batch.is_transactional() && batch.is_control() {
                let bytes = segment.batch_bytes(file_pos, batch)?;
                let marker = Batch::first(&bytes).ok().flatten();
                if marker.is_none_or(|marker| self.note_marker(&marker).is_err()) {
                    return Ok(Some(expected));
                }
            } else if batch.is_transactional() {
                self.note(batch);
            }
            file_pos += batch.size() as FilePos;
            expected = batch.next_offset();
        }
        let ends_there = next_base.is_none_or(|base| expected == base || base <= self.gaps_below);
        Ok(Some(expected).filter(|_| !ends_there))
    }

    /// Rule: log.md 14. A producer has one transaction at a time, from its first batch to its marker.
    fn note(&mut self, batch: &BatchHeader) {
        if let Some(producer_id) = batch.producer_id() {
            self.open.entry(producer_id).or_insert(batch.base_offset());
        }
    }

    /// The end of a transaction.
    fn note_marker(&mut self, batch: &Batch<'_>) -> std::result::Result<(), Malformed> {
        let Some(producer_id) = batch.producer_id() else { return Ok(()) };
        let marker = read_marker(batch)?;
        if matches!(marker, Some(ControlType::Other(_))) {
            return Ok(());
        }
        // A marker without its record is left of a transaction that was compacted away.
        let first = self.open.remove(&producer_id);
        if let (Some(first), Some(ControlType::Abort)) = (first, marker) {
            let last = batch.last_offset();
            self.list.spans.push(Span { producer_id, first, last, outcome: Outcome::NotCommitted });
        }
        Ok(())
    }

    /// Goes on behind `unseen`: whatever goes on at its beginning may have ended in it.
    fn skip(&mut self, unseen: Range<Offset>) {
        self.end_open(unseen.start, Outcome::Unknown);
        self.list.unseen.push(unseen);
    }

    fn finish(mut self) -> Transactions {
        self.end_open(Offset::MAX, Outcome::NotCommitted);
        self.list.spans.sort_unstable_by_key(|span| (span.producer_id, span.first));
        self.list
    }

    fn end_open(&mut self, last: Offset, outcome: Outcome) {
        let open = self.open.drain().map(|(producer_id, first)| Span { producer_id, first, last, outcome });
        self.list.spans.extend(open);
    }
}

/// The type of a control batch's one record; `None` if compaction has taken it. A marker decides about records far away
/// from it, so it is believed only with its checksum.
pub(super) fn read_marker(batch: &Batch<'_>) -> std::result::Result<Option<ControlType>, Malformed> {
    batch.verify_crc()?;
    if batch.compression()? != Compression::None {
        return Err(Malformed::BadControl); // records.md 7: never compressed
    }
    batch.check_records(batch.records_bytes())?;
    let record = RecordIter::new(*batch, batch.records_bytes()).next();
    record.map(|record| ControlType::from_key(record.key().unwrap_or_default())).transpose()
}

/// Where a log keeps its list.
#[derive(Debug, Default)]
pub(super) struct TransactionList {
    /// Set once, by the walk; a reader that does not see it yet waits for the walk.
    pub(super) made: OnceLock<Arc<Transactions>>,
    /// Held by the one reader that walks.
    walking: Mutex<()>,
}

impl Log {
    /// As [`fetch`](Log::fetch); with `ReadCommitted` what was fetched decodes to committed records only. The first fetch
    /// that meets a transactional batch walks the whole log, and others that do wait for it.
    ///
    /// # Errors
    ///
    /// Those of [`fetch`](Log::fetch), and what the system refuses when it has to open the other segments.
    pub(crate) fn fetch_isolated(&self, level: IsolationLevel, offset: Offset, budget: FetchBudget) -> Result<Fetched> {
        if level == IsolationLevel::ReadUncommitted || self.place.gaps_below <= offset {
            return self.fetch(offset, budget);
        }
        self.fetch_by(|view| {
            let fetched = self.fetch_in(view, offset, budget)?;
            self.isolate(fetched, view) // None where segments went before the list was made
        })
    }

    /// Lets `fetched` know what is not committed, if it may need that. `None` if the list does not reach back to it.
    pub(super) fn isolate(&self, mut fetched: Fetched, view: &View) -> Result<Option<Fetched>> {
        let list = match self.transactions.made.get() {
            Some(list) => Arc::clone(list),
            None if has_transaction(&fetched) => self.transactions(view)?,
            None => return Ok(Some(fetched)),
        };
        if !list.reaches_back_to(fetched.offset()) {
            return Ok(None);
        }
        fetched.transactions = Some(list);
        Ok(Some(fetched))
    }

    /// The list, made from `view` unless somebody else has made it.
    pub(super) fn transactions(&self, view: &View) -> Result<Arc<Transactions>> {
        let _walking = self.transactions.walking.lock();
        if let Some(list) = self.transactions.made.get() {
            return Ok(Arc::clone(list));
        }
        let walked = Transactions::of(view, self.place.gaps_below, &self.damaged);
        let list = walked.map_err(|(segment, error)| self.unreadable(&segment, 0, Unreadable::Io(error)))?;
        Ok(Arc::clone(self.transactions.made.get_or_init(|| Arc::new(list))))
    }
}

/// Whether anything that was fetched belongs to a transaction.
fn has_transaction(fetched: &Fetched) -> bool {
    let is_transactional = |(_, batch): (usize, Batch<'_>)| batch.is_transactional() && !batch.is_control();
    fetched.parts().iter().any(|slice| Batches::new(slice.bytes()).any(|batch| batch.is_ok_and(is_transactional)))
}

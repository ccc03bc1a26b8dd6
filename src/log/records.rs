//! Records that were fetched, checked, and can be looked at.

use bytes::Bytes;

use super::batch_check::{BatchCheck, Shown, Unreadable, outcome};
use super::inflated::{INFLATED_PER_DECODE, Inflated, finish, take_inflater};
use super::read::Fetched;
use super::slice::{Pieces, Slice};
use super::transactions::{Outcome, Transactions};
use crate::error::Result;
use crate::record::{Batch, Batches, Compression, Inflater, Malformed, Record, RecordIter};
use crate::sync::Arc;
use crate::types::{Offset, TopicPartition};

/// Records of one partition, in offset order. Keys and values are slices of the mapped log; only the records of
/// compressed batches have been copied, by inflating them.
///
/// It owns what it shows: it borrows from nobody, can be sent to other threads, and stays what it is when records are
/// deleted or the broker is closed. Control records and holes that compaction left are passed over, and what is not
/// committed where only committed records were asked for.
#[derive(Clone, Debug)]
pub struct Records {
    partition: TopicPartition,
    /// What was fetched. From `start` on, `count` records of it were checked.
    slices: Pieces<Slice>,
    /// The records of the compressed batches among them that are shown, one batch behind the other.
    inflated: Option<Arc<Inflated>>,
    /// What is to be passed over.
    transactions: Option<Arc<Transactions>>,
    /// Where the first record is.
    start: Cursor,
    count: usize,
    next_offset: Offset,
}

/// A place before a record.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    slice: usize,
    /// Bytes of the slice before the batch.
    batch: usize,
    /// Inflated bytes before those of the batch.
    inflated: usize,
    /// Bytes of the batch's records, inflated, before the record, and records from it on; `None` at the beginning of a
    /// batch.
    record: Option<(usize, usize)>,
}

impl Records {
    /// No records.
    pub(crate) fn empty(partition: TopicPartition, next_offset: Offset) -> Self {
        let (slices, start) = (Pieces::new(), Cursor::default());
        Records { partition, slices, inflated: None, transactions: None, start, count: 0, next_offset }
    }

    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none. [`next_offset`](Records::next_offset) may have moved all the same.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The offset to go on with: behind the last record, and behind what was passed over after it.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The records, without an allocation and without a `Result`: everything was checked when they were decoded.
    #[inline]
    pub fn iter(&self) -> RecordsIter<'_> {
        RecordsIter { records: RecordIter::empty(), behind: self.count, of: self, at: self.start, entered: None }
    }

    /// Shares `part`, which must be (part of) a key, value or header of these records, as bytes that stay valid by
    /// themselves. `None` if it is not from here. Costs one allocation; [`iter`](Records::iter) costs none.
    ///
    /// A part of a compressed batch keeps alive what was inflated with it, which is a few MiB at most unless a single
    /// batch is larger; other parts keep the segment.
    pub fn share(&self, part: &[u8]) -> Option<Bytes> {
        let within = |whole: &[u8]| {
            let at = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
            let end = at.checked_add(part.len()).filter(|end| *end <= whole.len())?;
            Some(at..end)
        };
        if let Some(inflated) = &self.inflated
            && let Some(range) = within(inflated.bytes())
        {
            return Some(inflated.share().slice(range));
        }
        self.slices.iter().find_map(|slice| Some(slice.share().slice(within(slice.bytes())?)))
    }

    /// Takes the first `count` records out. The rest stays, and what was passed over behind them with it.
    pub(crate) fn split_to(&mut self, count: usize) -> Records {
        if count >= self.count {
            let rest = Records::empty(self.partition.clone(), self.next_offset);
            return std::mem::replace(self, rest);
        }
        let mut iter = self.iter();
        let last = iter.pass_over(count);
        let (next_offset, cursor) = (last.map_or(self.next_offset, |offset| offset + 1), iter.cursor());
        let first = Records {
            partition: self.partition.clone(),
            slices: self.slices.iter().take(cursor.slice + 1).cloned().collect(),
            inflated: self.inflated.clone(),
            transactions: self.transactions.clone(),
            start: self.start,
            count,
            next_offset,
        };
        self.start = Cursor { slice: 0, ..cursor };
        self.slices = self.slices.iter().skip(cursor.slice).cloned().collect();
        self.count -= count;
        first
    }

    /// Whether the records of `batch`, which was decoded, are among these.
    fn shows(&self, batch: &Batch<'_>) -> bool {
        !batch.is_control() && outcome(self.transactions.as_deref(), batch) == Outcome::Committed
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Record<'a>;
    type IntoIter = RecordsIter<'a>;

    #[inline]
    fn into_iter(self) -> RecordsIter<'a> {
        self.iter()
    }
}

/// Iterator over [`Records`].
#[derive(Clone, Debug)]
pub struct RecordsIter<'a> {
    /// What is left of the batch at hand.
    records: RecordIter<'a>,
    /// Records in the batches behind it.
    behind: usize,
    of: &'a Records,
    /// The batch at hand, or the next one.
    at: Cursor,
    /// Whether there is a batch at hand.
    entered: Option<Entered>,
}

/// What is to be known of a batch in order to leave it.
#[derive(Clone, Copy, Debug)]
struct Entered {
    size: usize,
    compressed: bool,
}

impl RecordsIter<'_> {
    /// Goes to the records of the next batch that has any to show. `None` behind the last record.
    #[inline(never)]
    fn next_batch(&mut self) -> Option<()> {
        if let Some(entered) = self.entered.take() {
            self.at.batch += entered.size;
            self.at.inflated += if entered.compressed { self.records.position() } else { 0 };
            self.records = RecordIter::empty();
        }
        while 0 < self.behind {
            let bytes = self.of.slices.get(self.at.slice)?.bytes();
            let Some(batch) = bytes.get(self.at.batch..).and_then(|rest| Batch::first(rest).ok().flatten()) else {
                self.at = Cursor { slice: self.at.slice + 1, batch: 0, ..self.at };
                continue;
            };
            if !self.of.shows(&batch) {
                self.at.batch += batch.size();
                continue;
            }
            let compressed = batch.compression() != Ok(Compression::None);
            let area = match &self.of.inflated {
                Some(inflated) if compressed => inflated.bytes().get(self.at.inflated..).unwrap_or_default(),
                _ => batch.records_bytes(),
            };
            let whole = (0, usize::try_from(batch.record_count()).unwrap_or(0));
            let (position, left) = self.at.record.take().unwrap_or(whole);
            let left = left.min(self.behind);
            self.behind -= left;
            self.records = RecordIter::resume(batch, area, position, left);
            self.entered = Some(Entered { size: batch.size(), compressed });
            return Some(());
        }
        None
    }

    /// Passes over `count` records, and returns the offset of the last of them. Plain batches before the one that it is
    /// in are not looked into.
    fn pass_over(&mut self, mut count: usize) -> Option<Offset> {
        while self.records.left() < count {
            count -= self.records.left();
            if self.entered.is_some_and(|entered| entered.compressed) {
                self.records.by_ref().for_each(drop); // the next batch's bytes begin where these end
            }
            self.next_batch()?;
        }
        self.records.by_ref().take(count).last().map(|record| record.offset())
    }

    fn cursor(&self) -> Cursor {
        let record = self.entered.map(|_| (self.records.position(), self.records.left()));
        Cursor { record: record.or(self.at.record), ..self.at }
    }
}

impl<'a> Iterator for RecordsIter<'a> {
    type Item = Record<'a>;

    #[inline(always)] // as that of one batch
    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            if let Some(record) = self.records.next() {
                return Some(record);
            }
            self.next_batch()?;
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.records.left() + self.behind;
        (left, Some(left))
    }
}

impl ExactSizeIterator for RecordsIter<'_> {}

/// Turns what was fetched into records, batch by batch.
pub(super) struct Decode<'a> {
    check: BatchCheck<'a>,
    records: Records,
    /// Taken when the first compressed batch is to be inflated.
    inflater: Option<Inflater>,
}

impl<'a> Decode<'a> {
    pub(super) fn new(fetched: &'a Fetched, check_crcs: bool) -> Self {
        let next_offset = if fetched.is_empty() { fetched.next_offset() } else { fetched.offset() };
        let mut records = Records::empty(fetched.partition().clone(), next_offset);
        records.transactions.clone_from(&fetched.transactions);
        Decode { check: BatchCheck::new(fetched, check_crcs), records, inflater: None }
    }

    pub(super) fn run(mut self) -> Result<Records> {
        for (number, slice) in self.check.fetched.parts().iter().enumerate() {
            if let Err((position, unreadable)) = self.decode_slice(slice, number + 1) {
                // What comes before is given out; fetched again from there on, the damage comes first.
                if self.check.is_first() {
                    return Err(self.check.error(slice, position, unreadable));
                }
                break;
            }
        }
        self.records.inflated = self.inflater.take().and_then(finish);
        self.skip_below(self.check.fetched.offset());
        Ok(self.records)
    }

    /// Decodes a slice, which is followed by the one of the number `next`.
    fn decode_slice(&mut self, slice: &Slice, next: usize) -> std::result::Result<(), (usize, Unreadable)> {
        let mut batches = Batches::new(slice.bytes());
        for (index, batch) in batches.by_ref().enumerate() {
            let (position, batch) = batch.map_err(|(position, malformed)| (position, malformed.into()))?;
            let rest = slice.bytes().get(position + batch.size()..).unwrap_or_default();
            let shown = self.check.check(&batch, (rest, next)).and_then(|shown| {
                if let Shown::Compressed(compression) = shown {
                    self.inflate(&batch, compression)?;
                }
                Ok(shown != Shown::Nothing)
            });
            let shown = shown.map_err(|unreadable| (position, unreadable))?;
            if index == 0 {
                self.records.slices.push(slice.clone());
            }
            if shown {
                self.records.count += usize::try_from(batch.record_count()).unwrap_or(0);
            }
            self.check.expect(batch.next_offset());
            self.records.next_offset = batch.next_offset();
        }
        if batches.torn() { Err((batches.position(), Malformed::SizeBeyondEnd.into())) } else { Ok(()) }
    }

    fn inflate(&mut self, batch: &Batch<'_>, compression: Compression) -> std::result::Result<(), Unreadable> {
        let batch_max = self.check.fetched.inflated_max();
        let inflater = self.inflater.get_or_insert_with(take_inflater);
        let before = inflater.out.len();
        // The first one is inflated whatever it takes, or nobody would ever get behind it.
        let left = if before == 0 { batch_max } else { INFLATED_PER_DECODE.saturating_sub(before).min(batch_max) };
        match inflater.inflate(compression, batch.records_bytes(), left) {
            Err(Malformed::TooLarge { .. }) if left < batch_max => return Err(Unreadable::Full),
            result => result?,
        }
        let area = inflater.out.as_slice().get(before..).unwrap_or_default();
        Ok(batch.check_records(area)?)
    }

    /// Leaves out records below `offset`: batches are fetched whole.
    fn skip_below(&mut self, offset: Offset) {
        let mut iter = self.records.iter();
        let before = iter.clone().take_while(|record| record.offset() < offset).count();
        if 0 < before {
            iter.pass_over(before);
            (self.records.start, self.records.count) = (iter.cursor(), iter.len());
        }
    }
}

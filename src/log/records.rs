//! Records that were fetched, checked, and can be looked at.

use bytes::Bytes;

use super::read::Fetched;
use super::slice::Slice;
use super::transactions::Outcome;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Batch, Batches, Compression, Malformed, Record, RecordIter};
use crate::segment::{bad_offsets, follows};
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
    chunks: Vec<Chunk>,
    /// Where the first record is.
    start: Cursor,
    count: usize,
    next_offset: Offset,
}

/// Whole batches in a row that need nothing else to be read, or one compressed batch with what it was inflated to.
#[derive(Clone, Debug)]
struct Chunk {
    slice: Slice,
    inflated: Option<Bytes>,
}

/// A place before a record.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    chunk: usize,
    /// Bytes of the chunk before the batch.
    batch: usize,
    /// Bytes of the batch's records, inflated, before the record; `None` at the beginning of a batch.
    record: Option<(usize, usize)>,
}

impl Records {
    /// No records.
    pub(crate) fn empty(partition: TopicPartition, next_offset: Offset) -> Self {
        Records { partition, chunks: Vec::new(), start: Cursor::default(), count: 0, next_offset }
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
    pub fn iter(&self) -> RecordsIter<'_> {
        RecordsIter::new(self)
    }

    /// Shares `part`, which must be (part of) a key, value or header of these records, as bytes that stay valid by
    /// themselves. `None` if it is not from here. Costs one allocation; [`iter`](Records::iter) costs none.
    pub fn share(&self, part: &[u8]) -> Option<Bytes> {
        self.chunks.iter().find_map(|chunk| {
            let whole = chunk.inflated.as_deref().unwrap_or_else(|| chunk.slice.bytes());
            let at = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
            let end = at.checked_add(part.len()).filter(|end| *end <= whole.len())?;
            Some(match &chunk.inflated {
                Some(inflated) => inflated.slice(at..end),
                None => chunk.slice.share().slice(at..end),
            })
        })
    }

    /// Takes the first `count` records out. The rest stays, and what was passed over behind them with it.
    pub(crate) fn split_to(&mut self, count: usize) -> Records {
        if count >= self.count {
            let rest = Records::empty(self.partition.clone(), self.next_offset);
            return std::mem::replace(self, rest);
        }
        let mut iter = self.iter();
        let last = iter.by_ref().take(count).last();
        let (next_offset, cursor) = (last.map_or(self.next_offset, |record| record.offset() + 1), iter.cursor());
        let first = Records {
            partition: self.partition.clone(),
            chunks: self.chunks.iter().take(cursor.chunk + 1).cloned().collect(),
            start: self.start,
            count,
            next_offset,
        };
        self.chunks.drain(..cursor.chunk);
        self.start = Cursor { chunk: 0, ..cursor };
        self.count -= count;
        first
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Record<'a>;
    type IntoIter = RecordsIter<'a>;

    fn into_iter(self) -> RecordsIter<'a> {
        self.iter()
    }
}

/// Iterator over [`Records`].
#[derive(Clone, Debug)]
pub struct RecordsIter<'a> {
    chunks: &'a [Chunk],
    /// The batch that `records` belongs to, or the next one while there is no `records`.
    at: Cursor,
    records: Option<(RecordIter<'a>, usize)>,
    left: usize,
}

impl<'a> RecordsIter<'a> {
    fn new(records: &'a Records) -> Self {
        RecordsIter { chunks: &records.chunks, at: records.start, records: None, left: records.count }
    }

    /// Goes to the records of the next batch that has any to show. `None` behind the last batch.
    #[inline(never)]
    fn next_batch(&mut self) -> Option<()> {
        if let Some((_, size)) = self.records.take() {
            self.at = Cursor { batch: self.at.batch + size, record: None, ..self.at };
        }
        loop {
            let chunk = self.chunks.get(self.at.chunk)?;
            let bytes = chunk.slice.bytes();
            let Some(batch) = bytes.get(self.at.batch..).and_then(|rest| Batch::first(rest).ok().flatten()) else {
                self.at = Cursor { chunk: self.at.chunk + 1, ..Cursor::default() };
                continue;
            };
            if batch.is_control() {
                self.at.batch += batch.size();
                continue;
            }
            let area = chunk.inflated.as_deref().unwrap_or_else(|| batch.records_bytes());
            let iter = match self.at.record.take() {
                Some((position, left)) => RecordIter::resume(batch, area, position, left),
                None => RecordIter::new(batch, area),
            };
            self.records = Some((iter, batch.size()));
            return Some(());
        }
    }

    fn cursor(&self) -> Cursor {
        let record = self.records.as_ref().map(|(records, _)| (records.position(), records.left()));
        Cursor { record: record.or(self.at.record), ..self.at }
    }
}

impl<'a> Iterator for RecordsIter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let left = self.left.checked_sub(1)?;
        loop {
            if let Some((records, _)) = &mut self.records
                && let Some(record) = records.next()
            {
                self.left = left;
                return Some(record);
            }
            self.next_batch()?;
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for RecordsIter<'_> {}

/// Turns what was fetched into records, batch by batch.
pub(super) struct Decode<'a> {
    fetched: &'a Fetched,
    check_crcs: bool,
    records: Records,
    /// Where the next batch has to begin; `None` before the first, which the fetch has looked at.
    expected: Option<Offset>,
}

/// What a batch that was checked adds.
enum Checked {
    /// Records that can be read where they lie.
    Plain,
    /// Records, inflated.
    Inflated(Bytes),
    /// None: its records are not committed.
    PassedOver,
}

/// Why a batch cannot be shown.
#[derive(Clone, Copy)]
enum Unreadable {
    Malformed(Malformed),
    /// Whether it is committed is not known.
    UnknownOutcome,
}

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Self {
        Unreadable::Malformed(malformed)
    }
}

impl<'a> Decode<'a> {
    pub(super) fn new(fetched: &'a Fetched, check_crcs: bool) -> Self {
        let next_offset = if fetched.is_empty() { fetched.next_offset() } else { fetched.offset() };
        let records = Records::empty(fetched.partition().clone(), next_offset);
        Decode { fetched, check_crcs, records, expected: None }
    }

    pub(super) fn run(mut self) -> Result<Records> {
        for slice in self.fetched.parts().iter() {
            if let Err((position, unreadable)) = self.decode_slice(slice) {
                // Records before the damage are given out; asked for again, the damage comes first.
                if self.records.chunks.is_empty() {
                    return Err(self.error(slice, position, unreadable));
                }
                break;
            }
        }
        self.skip_below(self.fetched.offset());
        Ok(self.records)
    }

    fn decode_slice(&mut self, slice: &Slice) -> std::result::Result<(), (usize, Unreadable)> {
        let mut plain_from = 0; // where the batches begin that are not in a chunk yet
        let mut batches = Batches::new(slice.bytes());
        for batch in batches.by_ref() {
            let outcome = batch.map_err(|(position, malformed)| (position, malformed.into()));
            let outcome = outcome.and_then(|(position, batch)| {
                let checked = self.check(&batch).map_err(|unreadable| (position, unreadable))?;
                Ok((position, batch, checked))
            });
            let (position, batch, checked) = match outcome {
                Ok(checked) => checked,
                Err((position, unreadable)) => {
                    self.push_chunk(slice, plain_from, position, None);
                    return Err((position, unreadable));
                }
            };
            let shown = !batch.is_control() && !matches!(checked, Checked::PassedOver);
            if !matches!(checked, Checked::Plain) {
                self.push_chunk(slice, plain_from, position, None);
                plain_from = position + batch.size();
            }
            if let Checked::Inflated(inflated) = checked {
                self.push_chunk(slice, position, plain_from, Some(inflated));
            }
            if shown {
                self.records.count += usize::try_from(batch.record_count()).unwrap_or(0);
            }
            self.expected = Some(batch.next_offset());
            self.records.next_offset = batch.next_offset();
        }
        self.push_chunk(slice, plain_from, batches.position(), None);
        if batches.torn() { Err((batches.position(), Malformed::SizeBeyondEnd.into())) } else { Ok(()) }
    }

    /// Checks one batch, and inflates it if it is compressed and to be shown.
    fn check(&self, batch: &Batch<'_>) -> std::result::Result<Checked, Unreadable> {
        let follows = self.expected.is_none_or(|expected| follows(batch, expected, self.fetched.gaps_below()));
        if !follows || batch.last_offset() < self.fetched.offset() {
            return Err(bad_offsets(batch).into());
        }
        if self.check_crcs {
            batch.verify_crc()?;
        }
        if batch.is_transactional()
            && !batch.is_control()
            && let Some(transactions) = &self.fetched.transactions
        {
            match transactions.outcome(batch) {
                Outcome::Committed => {}
                Outcome::NotCommitted => return Ok(Checked::PassedOver),
                Outcome::Unknown => return Err(Unreadable::UnknownOutcome),
            }
        }
        if batch.compression()? == Compression::None {
            batch.check_records(batch.records_bytes())?;
            return Ok(Checked::Plain);
        }
        let mut inflated = Vec::new();
        batch.check_records(batch.records_area(&mut inflated, self.fetched.inflated_max())?)?;
        Ok(Checked::Inflated(Bytes::from(inflated)))
    }

    fn push_chunk(&mut self, slice: &Slice, from: usize, to: usize, inflated: Option<Bytes>) {
        if from < to {
            let start = slice.range.start;
            let range = start + from as u32..start + to as u32; // parts of a range of file positions
            self.records.chunks.push(Chunk { slice: Slice { segment: slice.segment.clone(), range }, inflated });
        }
    }

    /// Leaves out records below `offset`: batches are fetched whole.
    fn skip_below(&mut self, offset: Offset) {
        let below = self.records.iter().take_while(|record| record.offset() < offset).count();
        if below > 0 {
            let next_offset = self.records.next_offset;
            self.records.split_to(below);
            self.records.next_offset = next_offset;
        }
    }

    #[cold]
    fn error(&self, slice: &Slice, position: usize, unreadable: Unreadable) -> Error {
        let corrupt = |reason: String| {
            let offset = self.expected.unwrap_or(0).max(self.fetched.offset());
            ErrorKind::CorruptRecord { offset, reason }
        };
        let kind = match unreadable {
            Unreadable::Malformed(Malformed::UnsupportedCompression(codec)) => {
                ErrorKind::UnsupportedCompression { codec }
            }
            Unreadable::Malformed(malformed) => corrupt(malformed.to_string()),
            Unreadable::UnknownOutcome => corrupt(
                "the log is damaged where this transaction may have ended, so that it is not known whether it was \
                 committed; read_uncommitted shows its records"
                    .to_owned(),
            ),
        };
        Error::new(kind)
            .in_partition(self.fetched.partition())
            .at_file(&slice.segment.path())
            .at_file_pos(u64::from(slice.range.start) + position as u64)
    }
}

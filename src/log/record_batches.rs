//! Records that were fetched, one batch at a time.

use std::cell::Cell;

use super::batch_check::{BatchCheck, Shown, Unreadable};
use super::inflated::{finish, take_inflater};
use super::read::Fetched;
use super::slice::Slice;
use crate::error::{Error, Result};
use crate::record::{Batch, Inflater, Malformed, Record, RecordIter};
use crate::sys::prefetch;
use crate::types::Offset;

/// The batches of what was fetched, each checked when it is [asked for](RecordBatches::next_batch): the fastest way to
/// look at records, since a batch is looked at while the processor has it at hand, and the next one is on its way.
///
/// It does what [`Fetched::decode`] does, and the same records come out. What differs: they are lent for as long as their
/// batch is the last one that was asked for, compressed ones out of a buffer that the next batch uses again. A batch whose
/// checksum does not hold is an error before any of its records is shown; one that holds and whose records are not well
/// formed, which only a faulty writer leaves, ends before the first bad one, and the error comes instead of the next batch.
///
/// ```
/// # use thalweg::{Broker, FetchOptions, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};
/// # fn main() -> thalweg::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let broker = Broker::open(dir.path())?;
/// # broker.create_topic("orders", 1, TopicConfig::new())?;
/// # broker.producer(ProducerConfig::new())?.send(ProducerRecord::new("orders", "two pears"))?.wait()?;
/// let orders = broker.partition(&TopicPartition::new("orders", 0))?;
/// let fetched = orders.fetch(0, &FetchOptions::new())?;
/// let (mut batches, mut bytes) = (fetched.batches(true), 0);
/// while let Some(records) = batches.next_batch()? {
///     bytes += records.map(|record| record.value().map_or(0, <[u8]>::len)).sum::<usize>();
/// }
/// assert_eq!((bytes, batches.next_offset()), (9, 1));
/// # Ok(())
/// # }
/// ```
pub struct RecordBatches<'a> {
    check: BatchCheck<'a>,
    /// The slice of the next batch, and where it begins there.
    slice: usize,
    position: usize,
    /// Taken when the first compressed batch is to be inflated.
    inflater: Option<Inflater>,
    next_offset: Offset,
    /// The batch that is being looked at: its size, and the offset behind it.
    lent: Option<(usize, Offset)>,
    /// What is wrong with its records, once that was seen.
    malformed: Cell<Option<Malformed>>,
}

/// The records of one batch.
#[derive(Clone, Debug)]
pub struct BatchRecords<'a> {
    records: RecordIter<'a>,
    /// Offset of the last record, or what comes before the first.
    previous: Offset,
    batch: Batch<'a>,
    /// What lies behind the batch: brought near, a record's worth for each record.
    behind: &'a [u8],
    malformed: &'a Cell<Option<Malformed>>,
}

impl<'a> RecordBatches<'a> {
    pub(super) fn new(fetched: &'a Fetched, check_crcs: bool) -> Self {
        let next_offset = if fetched.is_empty() { fetched.next_offset() } else { fetched.offset() };
        let check = BatchCheck::new(fetched, check_crcs);
        let malformed = Cell::new(None);
        RecordBatches { check, slice: 0, position: 0, inflater: None, next_offset, lent: None, malformed }
    }

    /// The records of the next batch that is to be shown; `None` behind the last. There can be none in it, where compaction
    /// has taken those that were asked for.
    ///
    /// # Errors
    ///
    /// [`CorruptRecord`](crate::ErrorKind::CorruptRecord) with file and position, and
    /// [`UnsupportedCompression`](crate::ErrorKind::UnsupportedCompression), for a batch that cannot be read; asked again, the
    /// same.
    pub fn next_batch(&mut self) -> Result<Option<BatchRecords<'_>>> {
        let (batch, is_compressed, behind) = loop {
            self.leave()?;
            match self.enter()? {
                None => return Ok(None),
                Some((_, Shown::Nothing, _)) => {}
                Some((batch, shown, behind)) => break (batch, shown != Shown::Plain, behind),
            }
        };
        let (area, behind) = match &self.inflater {
            Some(inflater) if is_compressed => (inflater.out.as_slice(), &[][..]),
            _ => (batch.records_bytes(), behind),
        };
        let mut records = BatchRecords {
            records: RecordIter::new(batch, area),
            previous: batch.base_offset() - 1,
            batch,
            behind,
            malformed: &self.malformed,
        };
        if self.check.is_first() {
            records.skip_below(self.check.fetched.offset());
        }
        Ok(Some(records))
    }

    /// Goes behind the batch that was lent.
    fn leave(&mut self) -> Result<()> {
        let Some((size, next_offset)) = self.lent else { return Ok(()) };
        if let (Some(malformed), Some(slice)) = (self.malformed.get(), self.check.fetched.parts().get(self.slice)) {
            return Err(self.error(slice, malformed.into()));
        }
        self.lent = None;
        self.check.expect(next_offset);
        self.position += size;
        self.next_offset = next_offset;
        Ok(())
    }

    /// Checks the next batch, but for its records, which are checked as they are looked at; inflates it if that is needed.
    /// Returns what lies behind it as well.
    fn enter(&mut self) -> Result<Option<(Batch<'a>, Shown, &'a [u8])>> {
        let fetched = self.check.fetched;
        while let Some(slice) = fetched.parts().get(self.slice) {
            let bytes = slice.bytes().get(self.position..).unwrap_or_default();
            let batch = match Batch::first(bytes) {
                Ok(Some(batch)) => batch,
                Ok(None) if bytes.is_empty() => {
                    (self.slice, self.position) = (self.slice + 1, 0);
                    continue;
                }
                Ok(None) => return Err(self.error(slice, Malformed::SizeBeyondEnd.into())),
                Err(malformed) => return Err(self.error(slice, malformed.into())),
            };
            let behind = bytes.get(batch.size()..).unwrap_or_default();
            let shown = self.check.check_header(&batch, (behind, self.slice + 1));
            let shown = shown.map_err(|unreadable| self.error(slice, unreadable))?;
            if let Shown::Compressed(compression) = shown {
                let inflater = self.inflater.get_or_insert_with(take_inflater);
                inflater.out.clear();
                let inflated = inflater.inflate(compression, batch.records_bytes(), fetched.inflated_max());
                inflated.map_err(|malformed| self.error(slice, malformed.into()))?;
            }
            self.lent = Some((batch.size(), batch.next_offset()));
            return Ok(Some((batch, shown, behind)));
        }
        Ok(None)
    }

    /// The offset to go on with: behind the batches before the last that was asked for, and behind what was passed over;
    /// behind all when [`next_batch`](RecordBatches::next_batch) has returned `None`.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    #[cold]
    fn error(&self, slice: &Slice, unreadable: Unreadable) -> Error {
        self.check.error(slice, self.position, unreadable)
    }
}

impl Drop for RecordBatches<'_> {
    fn drop(&mut self) {
        if let Some(inflater) = self.inflater.take() {
            finish(inflater);
        }
    }
}

impl std::fmt::Debug for RecordBatches<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordBatches").field("next_offset", &self.next_offset).finish_non_exhaustive()
    }
}

impl BatchRecords<'_> {
    /// Passes over records below `offset`: batches are fetched whole.
    #[cold]
    fn skip_below(&mut self, offset: Offset) {
        let mut ahead = self.clone();
        while ahead.next().is_some_and(|record| record.offset() < offset) {
            self.clone_from(&ahead);
        }
    }

    /// What comes next is not a record of this batch, or its records do not end where the batch does.
    #[cold]
    #[inline(never)]
    fn fail(&mut self) {
        let checked = self.batch.check_records(self.records.area());
        self.malformed.set(checked.err().or(Some(Malformed::BadRecord { index: 0 })));
        self.records = RecordIter::empty();
    }
}

/// Most bytes that are brought near for a record: a large one is looked at for as long as that takes.
const NEAR_MAX: usize = 4096;

impl<'a> Iterator for BatchRecords<'a> {
    type Item = Record<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Record<'a>> {
        let from = self.records.position();
        match self.records.next() {
            Some(record)
                if self.previous < record.offset()
                    && record.offset() <= self.batch.last_offset()
                    && record.has_headers() =>
            {
                self.previous = record.offset();
                let len = record.size().min(NEAR_MAX);
                prefetch(self.behind.get(from..from + len).unwrap_or_default());
                Some(record)
            }
            None if self.records.is_at_end() => None,
            _ => {
                self.fail();
                None
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.records.left()))
    }
}

impl Fetched {
    /// The records from [`offset`](Fetched::offset) on, batch by batch. With `check_crcs` the checksum of each is compared
    /// (Kafka's `check.crcs`); its framing always is.
    pub fn batches(&self, check_crcs: bool) -> RecordBatches<'_> {
        RecordBatches::new(self, check_crcs)
    }
}

#[cfg(test)]
#[path = "record_batches_tests.rs"]
mod record_batches_tests;

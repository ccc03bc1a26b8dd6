//! Whether a batch that was fetched is what was written, and whether its records are to be shown.

use super::read::Fetched;
use super::slice::Slice;
use super::transactions::{Outcome, Transactions};
use crate::error::{Error, ErrorKind};
use crate::record::{Batch, Compression, Malformed};
use crate::segment::{bad_offsets, follows};
use crate::types::Offset;

/// Checks batches of what was fetched, one after the other.
#[derive(Debug)]
pub(super) struct BatchCheck<'a> {
    pub(super) fetched: &'a Fetched,
    check_crcs: bool,
    /// Where the next batch has to begin; `None` before the first, which the fetch has looked at.
    expected: Option<Offset>,
}

/// What of a batch is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Its records have been checked where they lie.
    Plain,
    /// Its records have to be inflated and checked.
    Compressed(Compression),
    /// It has none for applications: it is a marker, or not committed.
    Nothing,
}

/// Why decoding stops before a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unreadable {
    Malformed(Malformed),
    /// Whether it is committed is not known.
    UnknownOutcome,
    /// Enough was inflated before it.
    Full,
}

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Self {
        Unreadable::Malformed(malformed)
    }
}

/// What is known of a batch; committed, where nobody asks.
pub(super) fn outcome(transactions: Option<&Transactions>, batch: &Batch<'_>) -> Outcome {
    match transactions {
        Some(transactions) if batch.is_transactional() && !batch.is_control() => transactions.outcome(batch),
        _ => Outcome::Committed,
    }
}

impl<'a> BatchCheck<'a> {
    pub(super) fn new(fetched: &'a Fetched, check_crcs: bool) -> Self {
        BatchCheck { fetched, check_crcs, expected: None }
    }

    /// Checks the next batch, which is followed by the rest of its slice and then by the slice of a number.
    pub(super) fn check(&self, batch: &Batch<'_>, behind: (&[u8], usize)) -> Result<Shown, Unreadable> {
        let shown = self.check_header(batch, behind)?;
        if shown == Shown::Plain {
            batch.check_records(batch.records_bytes())?;
        }
        Ok(shown)
    }

    /// As [`check`](BatchCheck::check), without a look at the records.
    pub(super) fn check_header(&self, batch: &Batch<'_>, behind: (&[u8], usize)) -> Result<Shown, Unreadable> {
        if self.reaches_too_far(batch, behind) {
            return Err(bad_offsets(batch).into());
        }
        let follows = self.expected.is_none_or(|expected| follows(batch, expected, self.fetched.gaps_below()));
        if !follows || batch.last_offset() < self.fetched.offset() {
            return Err(bad_offsets(batch).into());
        }
        if self.check_crcs {
            batch.verify_crc()?;
        }
        match outcome(self.fetched.transactions.as_deref(), batch) {
            Outcome::Committed => {}
            Outcome::NotCommitted => return Ok(Shown::Nothing),
            Outcome::Unknown => return Err(Unreadable::UnknownOutcome),
        }
        match batch.compression()? {
            _ if batch.is_control() => Ok(Shown::Nothing),
            Compression::None => Ok(Shown::Plain),
            compression => Ok(Shown::Compressed(compression)),
        }
    }

    /// Whether a batch says that it ends behind what can be seen; or, where there may be gaps, behind the beginning of what
    /// follows: no checksum covers its base offset, so it may lie where a gap seems to be, and who goes on where it says that
    /// it ends passes over records. Where there are no gaps the batch before tells its base.
    fn reaches_too_far(&self, batch: &Batch<'_>, (rest, next): (&[u8], usize)) -> bool {
        let end = batch.next_offset();
        if self.fetched.high_watermark() < end {
            return true;
        }
        let may_leave_gap = batch.base_offset() < self.fetched.gaps_below();
        may_leave_gap && self.begin_of(rest, next).is_some_and(|begin| begin < end)
    }

    #[cold]
    fn begin_of(&self, rest: &[u8], next: usize) -> Option<Offset> {
        let begin = |bytes| Batch::first(bytes).ok().flatten().map(|batch: Batch<'_>| batch.base_offset());
        if !rest.is_empty() {
            return begin(rest);
        }
        match self.fetched.parts().get(next) {
            Some(slice) => begin(slice.bytes()),
            None => self.fetched.behind(),
        }
    }

    /// The batch is done with: the next one begins at `next_offset`.
    pub(super) fn expect(&mut self, next_offset: Offset) {
        self.expected = Some(next_offset);
    }

    /// Whether no batch has been done with.
    pub(super) fn is_first(&self) -> bool {
        self.expected.is_none()
    }

    /// The error of a batch at `position` in `slice`.
    #[cold]
    pub(super) fn error(&self, slice: &Slice, position: usize, unreadable: Unreadable) -> Error {
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
            Unreadable::Full => corrupt("its records do not fit into memory".to_owned()), // never of the first batch
        };
        Error::new(kind)
            .in_partition(self.fetched.partition())
            .at_file(&slice.segment.path())
            .at_file_pos(u64::from(slice.range.start) + position as u64)
    }
}

//! Splitting a batch that is too large for its topic, as Kafka's `RecordAccumulator.splitAndReenqueue`.

use super::batch::Outcome;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Appended;
use crate::record::{Batch, BatchBuilder, Compression, Record, RecordIter};

/// What became of a batch that is written in pieces, as far as that is known.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// The offset delta of each one's first record, in order.
    done: Vec<(i32, Result<Appended>)>,
    /// The record that comes next.
    next: usize,
}

impl Pieces {
    /// Whether some of it is settled: then it is not tried as a whole any more.
    pub(super) fn has_some(&self) -> bool {
        !self.done.is_empty()
    }

    /// The outcome of the batch.
    pub(super) fn outcome(&mut self) -> Outcome {
        Outcome::Split(std::mem::take(&mut self.done))
    }

    /// The outcome of the batch, what is left of which fails.
    pub(super) fn failed(&mut self, error: Error) -> Outcome {
        if !self.has_some() {
            return Outcome::Whole(Err(error));
        }
        self.note(self.next, Err(error));
        self.outcome()
    }

    fn note(&mut self, from: usize, appended: Result<Appended>) {
        let delta = i32::try_from(from).unwrap_or(i32::MAX); // a batch has at most i32::MAX records
        self.done.push((delta, appended));
    }
}

/// Has the records of `builder` that are not in `pieces` yet appended as several batches, in order, each half of one that was
/// too large. A record that is too large alone fails alone.
///
/// # Errors
///
/// Any other one of `append`. Nothing is appended behind it, so that no record overtakes another; the next call goes on
/// there.
pub(super) fn split(
    builder: &mut BatchBuilder,
    pieces: &mut Pieces,
    append: &mut dyn FnMut(&mut BatchBuilder) -> Result<Appended>,
) -> Result<()> {
    let unreadable = || Error::illegal_state("a batch that was just made cannot be read");
    let bytes = builder.finish(Compression::None, None).map_err(|_| unreadable())?;
    let batch = Batch::first(bytes).ok().flatten().ok_or_else(unreadable)?;
    let records: Vec<Record<'_>> = RecordIter::new(batch, batch.records_bytes()).collect();
    let left = records.get(pieces.next..).unwrap_or_default();
    let mut piece = BatchBuilder::new();
    let (first, second) = left.split_at(left.len() / 2);
    let mut to_do = vec![(pieces.next + first.len(), second), (pieces.next, first)];
    while let Some((from, records)) = to_do.pop() {
        if records.is_empty() {
            continue;
        }
        piece.clear();
        for (delta, record) in (0..).zip(records) {
            piece.push_record(delta, record);
        }
        match append(&mut piece) {
            Err(error) if matches!(error.kind(), ErrorKind::RecordTooLarge { .. }) => {
                if records.len() > 1 {
                    let (first, second) = records.split_at(records.len() / 2);
                    to_do.extend([(from + first.len(), second), (from, first)]);
                    continue;
                }
                pieces.note(from, Err(error));
            }
            appended => pieces.note(from, Ok(appended?)),
        }
        pieces.next = from + records.len();
    }
    Ok(())
}

//! Splitting a batch that is too large for its topic, as Kafka's `RecordAccumulator.splitAndReenqueue`.

use crate::error::{Error, ErrorKind, Result};
use crate::log::Appended;
use crate::record::{Batch, BatchBuilder, Compression, Record, RecordIter};

/// Has the records of `builder` appended as several batches, in order, each half of one that was too large. Returns the
/// offset delta of each one's first record, and what became of it. A record that is too large alone fails alone; after
/// any other error nothing more is appended, so that no record overtakes another.
pub(super) fn split(
    builder: &mut BatchBuilder,
    append: &mut dyn FnMut(&mut BatchBuilder) -> Result<Appended>,
) -> Vec<(i32, Result<Appended>)> {
    let unreadable = || Error::illegal_state("a batch that was just made cannot be read");
    let Ok(bytes) = builder.finish(Compression::None, None) else { return vec![(0, Err(unreadable()))] };
    let Ok(Some(batch)) = Batch::first(bytes) else { return vec![(0, Err(unreadable()))] };
    let records: Vec<Record<'_>> = RecordIter::new(batch, batch.records_bytes()).collect();
    let mut pieces = Vec::new();
    let mut failed = None;
    let mut piece = BatchBuilder::new();
    let (first, second) = records.split_at(records.len() / 2);
    let mut to_do = vec![(first.len(), second), (0, first)];
    while let Some((from, records)) = to_do.pop() {
        if records.is_empty() {
            continue;
        }
        let delta = i32::try_from(from).unwrap_or(i32::MAX); // a batch has at most i32::MAX records
        if let Some(error) = &failed {
            pieces.push((delta, Err(Error::clone(error))));
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
                } else {
                    pieces.push((delta, Err(error)));
                }
            }
            appended => {
                failed = appended.as_ref().err().cloned();
                pieces.push((delta, appended));
            }
        }
    }
    pieces
}

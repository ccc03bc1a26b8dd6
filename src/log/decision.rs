//! What recovery does about what it finds: the table.

use crate::types::OnCorruption;

/// What is found where the row of whole batches ends, before the end of the log's files or of what was vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A batch whose end is missing, or zeros, and no whole batch behind: what a write leaves that did not end.
    Torn,
    /// Anything else that is not a batch, or a torn one with whole batches behind.
    Damaged,
    /// Whole batches, but the next segment does not begin where they end.
    Gap,
    /// Whole batches to the end of the file, but fewer than the checkpoint speaks of.
    Short,
    /// Whole batches, but the first segment begins behind the log start.
    StartMissing,
}

/// Where it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// At or behind the recovery point: nobody has vouched for it, unless it was the sync that was cut short.
    Behind,
    /// Below the recovery point: it was durable.
    Below,
    /// In the last segment of a log without a checkpoint.
    ImportedEnd,
    /// In a log without a checkpoint, with segments behind it.
    ImportedMiddle,
    /// Below the log start, all of it, where readers never come.
    BelowStart,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The log ends there; the rest is removed.
    Cut,
    /// The log ends there; the rest is kept in side files.
    CutAndKeep,
    /// The log begins later: what is missing is passed over.
    MoveStart,
    /// Nothing is changed: what is whole can be read, the rest is an error, and nothing is appended.
    Refuse,
}

/// The table. A combination that cannot be met refuses.
pub(super) fn decide(found: Found, place: Where, on_corruption: OnCorruption) -> Decision {
    match (found, place) {
        (Found::Torn, Where::Behind | Where::ImportedEnd) => Decision::Cut,
        (Found::Damaged, Where::Behind | Where::ImportedEnd) => Decision::CutAndKeep,
        // The segments behind a gap were never promised: see the order of syncs.
        (Found::Gap, Where::Behind) => Decision::CutAndKeep,
        (Found::StartMissing, _) if on_corruption != OnCorruption::Fail => Decision::MoveStart,
        (Found::Torn | Found::Damaged | Found::Gap | Found::Short, Where::Below | Where::ImportedMiddle) => {
            match on_corruption {
                OnCorruption::Fail => Decision::Refuse,
                OnCorruption::Truncate => Decision::Cut,
                OnCorruption::Quarantine => Decision::CutAndKeep,
            }
        }
        // To end a log below its start would be to begin it anew: only a repair does that (log.md 11, step 5).
        _ => Decision::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cell: what is found, and for each place what is done with `fail`, `truncate`, `quarantine`.
    #[test]
    fn every_cell() {
        use {Found::*, Where::*};
        const C: Decision = Decision::Cut;
        const K: Decision = Decision::CutAndKeep;
        const M: Decision = Decision::MoveStart;
        const R: Decision = Decision::Refuse;
        let places = [Behind, Below, ImportedEnd, ImportedMiddle, BelowStart];
        let policies = [OnCorruption::Fail, OnCorruption::Truncate, OnCorruption::Quarantine];
        #[rustfmt::skip]
        let table = [
            //              Behind     Below      ImportedEnd ImportedMiddle BelowStart
            (Torn,         [[C, C, C], [R, C, K], [C, C, C], [R, C, K], [R, R, R]]),
            (Damaged,      [[K, K, K], [R, C, K], [K, K, K], [R, C, K], [R, R, R]]),
            (Gap,          [[K, K, K], [R, C, K], [R, R, R], [R, C, K], [R, R, R]]),
            (Short,        [[R, R, R], [R, C, K], [R, R, R], [R, C, K], [R, R, R]]),
            (StartMissing, [[R, M, M], [R, M, M], [R, M, M], [R, M, M], [R, M, M]]),
        ];
        for (found, row) in table {
            for (place, cell) in places.into_iter().zip(row) {
                assert_eq!(policies.map(|policy| decide(found, place, policy)), cell, "{found:?} {place:?}");
            }
        }
    }
}

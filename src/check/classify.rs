//! What a file in the directory of a partition is, by its name.

use crate::log::{CHECKPOINT_FILE, CORRUPT, snapshot_offset};
use crate::segment::SegmentFile;
use crate::sys::DiskEntry;
use crate::topic::{LEADER_EPOCHS, PARTITION_METADATA, TEMPORARY};
use crate::types::Offset;

/// The kinds of files (log.md 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A file of the segment at this base.
    Segment(SegmentFile, Offset),
    /// The aborted transactions of the segment at this base.
    AbortedTransactions(Offset),
    /// The state of idempotent producers before this offset.
    ProducerSnapshot,
    /// The log's checkpoint.
    Checkpoint,
    /// The topic id.
    Metadata,
    /// The leader epochs.
    LeaderEpochs,
    /// Bytes that a recovery or a repair took out of the log. They were at this position of the segment at this base.
    SideFile(Offset, u64),
    /// A file that was being written, replaced or removed when its writer ended.
    Leftover,
    /// None of these.
    Unknown,
}

/// The kind of a file, by its name.
pub(super) fn classify(name: &str) -> FileKind {
    let segment_files = [SegmentFile::Log, SegmentFile::OffsetIndex, SegmentFile::TimeIndex];
    if let Some(found) = segment_files.into_iter().find_map(|file| Some((file, file.base_of(name)?))) {
        return FileKind::Segment(found.0, found.1);
    }
    match name {
        CHECKPOINT_FILE => return FileKind::Checkpoint,
        PARTITION_METADATA => return FileKind::Metadata,
        LEADER_EPOCHS => return FileKind::LeaderEpochs,
        TEMPORARY => return FileKind::Leftover,
        _ => {}
    }
    if let Some(base) = name.strip_suffix(".txnindex").and_then(stem) {
        return FileKind::AbortedTransactions(base);
    }
    if snapshot_offset(name).is_some() {
        return FileKind::ProducerSnapshot;
    }
    if let Some((base, file_pos)) = side_file(name) {
        return FileKind::SideFile(base, file_pos);
    }
    let is_leftover = [".cleaned", ".swap", ".deleted", ".tmp"].iter().any(|ending| name.ends_with(ending));
    if is_leftover { FileKind::Leftover } else { FileKind::Unknown }
}

/// Whether a file is part of a replacement of segments, or of a removal, which was cut short and which the next open
/// finishes. Rule: log.md 11.
pub(super) fn is_of_replacement(name: &str) -> bool {
    let former = [".cleaned", ".swap", ".deleted"].iter().find_map(|ending| name.strip_suffix(ending));
    former.is_some_and(|former| {
        let kind = classify(former);
        matches!(kind, FileKind::Segment(..) | FileKind::AbortedTransactions(_) | FileKind::ProducerSnapshot)
    })
}

/// Whether there is a replacement of segments that the next open finishes. What was finished behind one that was still
/// being written is taken back with it.
pub(super) fn is_replacing(entries: &[DiskEntry]) -> bool {
    let bases = |ending: &'static str| {
        let files = entries.iter().map(|entry| &*entry.name).filter(|name| is_of_replacement(name));
        let files = files.filter(move |name| name.ends_with(ending));
        files.filter_map(|name| name.split('.').next().and_then(stem))
    };
    let uncommitted_from = bases(".cleaned").min().unwrap_or(Offset::MAX);
    bases(".swap").any(|base| base < uncommitted_from)
}

/// Segments of a log, by base, with their lengths, and what only has the name of one: an empty file between others is what
/// a failed roll left.
pub(super) fn segments(entries: &[DiskEntry]) -> (Vec<(Offset, u64)>, Vec<Offset>) {
    let mut all: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| Some((SegmentFile::Log.base_of(&entry.name)?, entry.len)))
        .collect();
    all.sort_unstable();
    let ends = [all.first(), all.last()].map(|segment| segment.map(|(base, _)| *base));
    let strays = all.extract_if(.., |(base, len)| *len == 0 && !ends.contains(&Some(*base)));
    let strays = strays.map(|(base, _)| base).collect();
    (all, strays)
}

/// An offset in 20 digits.
fn stem(text: &str) -> Option<Offset> {
    SegmentFile::Log.base_of(&format!("{text}.log"))
}

/// Base and position of `<base>.log.<position>.corrupt` or `<base>.log.corrupt`, with or without a number behind.
fn side_file(name: &str) -> Option<(Offset, u64)> {
    let (front, number) = name.split_once(CORRUPT)?;
    let is_number = number.strip_prefix('.').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    if !number.is_empty() && !is_number {
        return None;
    }
    if let Some(base) = SegmentFile::Log.base_of(front) {
        return Some((base, 0));
    }
    let (log, file_pos) = front.rsplit_once('.')?;
    Some((SegmentFile::Log.base_of(log)?, file_pos.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        for (name, kind) in [
            ("00000000000000000007.log", FileKind::Segment(SegmentFile::Log, 7)),
            ("00000000000000000007.timeindex", FileKind::Segment(SegmentFile::TimeIndex, 7)),
            ("00000000000000000007.txnindex", FileKind::AbortedTransactions(7)),
            ("00000000000000000009.snapshot", FileKind::ProducerSnapshot),
            ("00000000000000000007.log.61.corrupt", FileKind::SideFile(7, 61)),
            ("00000000000000000007.log.corrupt", FileKind::SideFile(7, 0)),
            ("00000000000000000007.log.61.corrupt.2", FileKind::SideFile(7, 61)),
            ("00000000000000000007.log.swap", FileKind::Leftover),
            ("thalweg.tmp", FileKind::Leftover),
            ("7.log", FileKind::Unknown),
            ("00000000000000000007.log.x.corrupt", FileKind::Unknown),
            ("00000000000000000007.log.1.corrupt.x", FileKind::Unknown),
        ] {
            assert_eq!(classify(name), kind, "{name}");
        }
    }

    #[test]
    fn replacements_are_those_of_files_that_a_log_has() {
        for (name, expected) in [
            ("00000000000000000007.log.swap", true),
            ("00000000000000000007.txnindex.cleaned", true),
            ("00000000000000000007.snapshot.deleted", true),
            ("00000000000000000007.log.corrupt", false),
            ("7.log.swap", false),
            ("notes.deleted", false),
        ] {
            assert_eq!(is_of_replacement(name), expected, "{name}");
        }
    }
}

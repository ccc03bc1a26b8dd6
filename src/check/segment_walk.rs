//! The walk over one segment with every check that there is.

use std::io;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Severity};
use super::index_check::IndexCheck;
use crate::log::LeaderEpochs;
use crate::record::{Batch, Inflater, Malformed};
use crate::segment::{Scan, ScanOffsets, SegmentFile, scan, segment_path};
use crate::sys::{Disk, DiskFile};
use crate::types::{FilePos, Offset};

/// Most batches of a segment that are reported one by one.
const FINDINGS_MAX: usize = 100;

/// A segment and what its batches are compared with.
#[derive(Clone, Copy)]
pub(super) struct WalkPlace<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    pub(super) base: Offset,
    pub(super) len: FilePos,
    /// Below it there may be gaps in the offsets.
    pub(super) gaps_below: Offset,
    /// Bytes that a batch may be inflated to.
    pub(super) inflated_max: usize,
    pub(super) epochs: &'a LeaderEpochs,
    /// Whether the segment has been finished, so that its index files have to be there.
    pub(super) complete: bool,
}

/// What a walk found.
#[derive(Debug)]
pub(super) struct SegmentWalk {
    /// The part that holds, and why the walk ended.
    pub(super) found: Scan,
    /// Records in the part that holds, but for batches that could not be inflated.
    pub(super) records: u64,
    /// What is wrong with batches that hold as such.
    pub(super) batch_findings: Vec<Finding>,
    /// What is wrong with the index files.
    pub(super) index_findings: Vec<Finding>,
}

/// Walks the segment in `file` up to the first batch that does not hold.
pub(super) fn walk_segment(file: &dyn DiskFile, place: &WalkPlace<'_>) -> io::Result<SegmentWalk> {
    let mut indexes = IndexCheck::load(place.disk, place.dir, place.base, place.len);
    let path = segment_path(place.dir, place.base, SegmentFile::Log);
    let mut batches = BatchCheck::new(path, place);
    let offsets = ScanOffsets { base: place.base, from: place.base, gaps_below: place.gaps_below };
    let found = scan(file, (0, place.len), offsets, |file_pos, batch| {
        indexes.note(file_pos, batch);
        batches.note(file_pos, batch);
    })?;
    let index_findings = indexes.finish(found.damage.is_none(), place.complete);
    let records = batches.records;
    Ok(SegmentWalk { found, records, batch_findings: batches.finish(), index_findings })
}

/// Looks into batches whose checksum is right.
struct BatchCheck<'a> {
    place: &'a WalkPlace<'a>,
    path: PathBuf,
    inflater: Inflater,
    records: u64,
    findings: Vec<Finding>,
    /// Batches that this build cannot inflate, and why.
    not_inflated: (u64, String),
    /// Batches whose leader epoch is not that of their offset, and the first of them.
    wrong_epochs: (u64, Option<Finding>),
}

impl<'a> BatchCheck<'a> {
    fn new(path: PathBuf, place: &'a WalkPlace<'a>) -> Self {
        BatchCheck {
            place,
            path,
            inflater: Inflater::default(),
            records: 0,
            findings: Vec::new(),
            not_inflated: (0, String::new()),
            wrong_epochs: (0, None),
        }
    }

    fn note(&mut self, file_pos: FilePos, batch: &Batch<'_>) {
        self.note_epoch(file_pos, batch);
        let checked =
            batch.records_area(&mut self.inflater, self.place.inflated_max).and_then(|area| batch.check_records(area));
        match checked {
            Ok(()) => self.records += u64::try_from(batch.record_count()).unwrap_or(0),
            Err(why @ Malformed::UnsupportedCompression(_)) => {
                self.not_inflated = (self.not_inflated.0 + 1, why.to_string());
            }
            Err(why) if self.findings.len() < FINDINGS_MAX => {
                let at = (Some(u64::from(file_pos)), Some(batch.base_offset()));
                self.findings.push(Finding::new(Severity::Error, &self.path, why.to_string()).at(at.0, at.1));
            }
            Err(_) => {}
        }
    }

    /// The leader epoch lies outside the checksum; the file of epochs is what it can be compared with. A batch with an
    /// epoch that was over is only noted: a log whose epoch a repair has raised may get batches of its one writer.
    fn note_epoch(&mut self, file_pos: FilePos, batch: &Batch<'_>) {
        let Some(expected) = self.place.epochs.at(batch.base_offset()) else { return };
        let epoch = batch.leader_epoch();
        if epoch == expected {
            return;
        }
        self.wrong_epochs.0 += 1;
        let severity = if (0..expected).contains(&epoch) { Severity::Note } else { Severity::Warning };
        if self.wrong_epochs.1.as_ref().is_none_or(|first| first.severity < severity) {
            let what = format!("leader epoch {epoch}, where leader-epoch-checkpoint has {expected}");
            let at = (Some(u64::from(file_pos)), Some(batch.base_offset()));
            self.wrong_epochs.1 = Some(Finding::new(severity, &self.path, what).at(at.0, at.1));
        }
    }

    fn finish(mut self) -> Vec<Finding> {
        if let (count @ 1.., why) = self.not_inflated {
            let what = format!("the records of {count} batches were not looked at: {why}");
            self.findings.push(Finding::new(Severity::Note, &self.path, what));
        }
        if let (count, Some(mut first)) = self.wrong_epochs {
            first.what.push_str(&format!("; {count} batches in all"));
            self.findings.push(first);
        }
        self.findings
    }
}

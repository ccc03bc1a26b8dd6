//! Checking one partition.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::aborted_transactions::parse_txn_index;
use super::classify::{FileKind, classify, is_of_replacement, is_replacing, segments};
use super::closed_directory::read_whole;
use super::finding::{Finding, Severity};
use super::segment_walk::{SegmentWalk, WalkPlace, walk_segment};
use super::verification::Verification;
use crate::log::{CHECKPOINT_FILE, Checkpoint, LeaderEpochs, parse_snapshot};
use crate::segment::{Damage, Scan, ScanOffsets, SegmentFile, find_batch_behind, scan, segment_path};
use crate::sys::{Disk, DiskEntry, OpenMode};
use crate::topic::{LEADER_EPOCHS, PARTITION_METADATA, id_in_partition_metadata, read_text};
use crate::types::{FilePos, Offset, TopicPartition};

/// A partition that is to be checked.
pub(super) struct PartitionPlace<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: PathBuf,
    pub(super) name: TopicPartition,
    /// The topic's id, if its file could be read.
    pub(super) topic_id: Option<Uuid>,
    /// Whether the file of its topic counts it, so that it has been a log for as long as it is there.
    pub(super) is_in_use: bool,
    /// Bytes that a batch may be inflated to.
    pub(super) inflated_max: usize,
    /// Whether the data directory was closed in order.
    pub(super) clean: bool,
}

/// Checks everything in the partition's directory and adds what it finds.
pub(super) fn verify_partition(place: &PartitionPlace<'_>, verification: &mut Verification) {
    let (checkpoint, epochs) = (None, LeaderEpochs::default());
    let mut check = PartitionCheck { place, verification, checkpoint, epochs, is_replacing: false };
    match place.disk.list(&place.dir) {
        Ok(entries) => check.run(&entries),
        Err(error) => check.find(Finding::new(Severity::Error, &place.dir, format!("could not list: {error}"))),
    }
}

struct PartitionCheck<'a> {
    place: &'a PartitionPlace<'a>,
    verification: &'a mut Verification,
    checkpoint: Option<Checkpoint>,
    epochs: LeaderEpochs,
    /// Whether a replacement of segments waits for the next open to finish it: until then nobody can tell whether the
    /// segments follow each other.
    is_replacing: bool,
}

/// Where the log turned out to end.
struct LogEnd {
    offset: Offset,
    base: Offset,
    file_pos: FilePos,
    /// Whether each segment was whole and led to the next.
    whole: bool,
}

impl PartitionCheck<'_> {
    fn run(&mut self, entries: &[DiskEntry]) {
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        self.is_replacing = is_replacing(entries);
        let (segments, strays) = segments(entries);
        for base in strays {
            let path = segment_path(&self.place.dir, base, SegmentFile::Log);
            self.find(Finding::new(Severity::Note, path, "an empty segment between others; ignored"));
        }
        self.load_checkpoint(has(CHECKPOINT_FILE));
        self.check_epochs(has(LEADER_EPOCHS));
        self.check_metadata(has(PARTITION_METADATA));
        for entry in entries {
            self.check_other(entry, &segments);
        }
        let end = self.check_segments(&segments);
        match self.checkpoint {
            _ if self.is_replacing => {}
            Some(checkpoint) => self.check_ends(checkpoint, segments.first().map(|(base, _)| *base), end),
            None if segments.is_empty() && self.place.is_in_use => {
                let what = "all segments and the checkpoint are gone, and the records with them";
                self.find(Finding::new(Severity::Error, &self.place.dir, what));
            }
            None => {}
        }
    }

    fn find(&mut self, mut finding: Finding) {
        finding.partition = Some(self.place.name.clone());
        self.verification.push(finding);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.dir.join(name)
    }

    fn load_checkpoint(&mut self, is_there: bool) {
        let path = self.path(CHECKPOINT_FILE);
        match Checkpoint::load(self.place.disk, &self.place.dir) {
            Ok(Some(checkpoint)) => self.checkpoint = Some(checkpoint),
            Ok(None) if is_there => {
                let what = "damaged; the next open walks the whole log, and deleted records may come back";
                self.find(Finding::new(Severity::Warning, path, what));
            }
            Ok(None) => self.find(Finding::new(Severity::Note, path, "missing; the next open walks the whole log")),
            Err(error) => self.find(Finding::new(Severity::Error, path, format!("could not read: {error}"))),
        }
    }

    fn check_epochs(&mut self, is_there: bool) {
        let path = self.path(LEADER_EPOCHS);
        if !is_there {
            return self.find(Finding::new(Severity::Note, path, "missing"));
        }
        let text = self.text(&path);
        match text.and_then(|text| LeaderEpochs::from_text(&text)) {
            Ok(epochs) => self.epochs = epochs,
            Err(what) => self.find(Finding::new(Severity::Warning, path, what)),
        }
    }

    fn check_metadata(&mut self, is_there: bool) {
        let path = self.path(PARTITION_METADATA);
        if !is_there {
            return self.find(Finding::new(Severity::Note, path, "missing"));
        }
        match self.text(&path).map(|text| id_in_partition_metadata(&text)) {
            Ok(Some(id)) if self.place.topic_id.is_none_or(|topic_id| topic_id == id) => {}
            Ok(Some(_)) => {
                self.find(Finding::new(Severity::Warning, path, "the topic id is not the one of the topic's file"));
            }
            Ok(None) => self.find(Finding::new(Severity::Warning, path, "there is no topic id in it")),
            Err(what) => self.find(Finding::new(Severity::Error, path, what)),
        }
    }

    fn text(&self, path: &Path) -> Result<String, String> {
        read_text(self.place.disk, path).map_err(|error| format!("could not read: {error}"))
    }

    /// Files beside the segments and what belongs to each log.
    fn check_other(&mut self, entry: &DiskEntry, segments: &[(Offset, u64)]) {
        let path = self.path(&entry.name);
        if entry.is_dir {
            let (severity, what) = match classify(&entry.name) {
                FileKind::Unknown | FileKind::Leftover => (Severity::Note, "a directory that is not known here"),
                FileKind::Segment(SegmentFile::Log, _) => (Severity::Error, "a directory, where a segment should be"),
                _ => (Severity::Warning, "a directory, where a file should be"),
            };
            return self.find(Finding::new(severity, path, what));
        }
        let finding = match classify(&entry.name) {
            FileKind::Segment(SegmentFile::Log, _) | FileKind::Checkpoint => None,
            FileKind::Metadata | FileKind::LeaderEpochs => None,
            FileKind::Segment(_, base) | FileKind::AbortedTransactions(base)
                if !segments.iter().any(|(segment, _)| *segment == base) =>
            {
                Some((Severity::Note, None, "it belongs to no segment".to_owned()))
            }
            FileKind::Segment(..) => None, // looked at with its segment
            FileKind::AbortedTransactions(base) => self.bytes(&path).map_or_else(Some, |bytes| {
                parse_txn_index(&bytes, base).1.map(|(at, what)| (Severity::Warning, Some(at), what))
            }),
            FileKind::ProducerSnapshot => self
                .bytes(&path)
                .map_or_else(Some, |bytes| parse_snapshot(&bytes).err().map(|what| (Severity::Warning, None, what))),
            FileKind::SideFile(..) => {
                Some((Severity::Note, None, format!("{} bytes that were taken out of the log", entry.len)))
            }
            FileKind::Leftover if is_of_replacement(&entry.name) => {
                Some(self.judge_replacement(&entry.name, entry.len))
            }
            FileKind::Leftover => {
                Some((Severity::Note, None, "left by a write or removal that was cut short".to_owned()))
            }
            FileKind::Unknown => Some((Severity::Note, None, "a file that is not known here".to_owned())),
        };
        if let Some((severity, file_pos, what)) = finding {
            self.find(Finding::new(severity, path, what).at(file_pos, None));
        }
    }

    /// A file that the next open renames or removes. Opening reads a replacement through before it uses it.
    fn judge_replacement(&self, name: &str, len: u64) -> (Severity, Option<u64>, String) {
        let what = "part of a replacement or removal of segments that was cut short; the next open finishes it";
        let finished = (Severity::Warning, None, what.to_owned());
        let base = name.strip_suffix(".swap").and_then(|name| SegmentFile::Log.base_of(name));
        let Some(base) = base.filter(|_| self.is_replacing) else { return finished };
        let offsets = ScanOffsets { base, from: base, gaps_below: Offset::MAX };
        let range = (0, FilePos::try_from(len).unwrap_or(FilePos::MAX));
        let opened = self.place.disk.open(&self.path(name), OpenMode::Read);
        match opened.and_then(|file| scan(&*file, range, offsets, |_, _| {})) {
            Err(error) => (Severity::Error, None, format!("could not read: {error}")),
            Ok(Scan { damage: Some(damage), valid_end, .. }) => {
                let what =
                    format!("a replacement of segments is damaged: {damage}; the partition does not open with it");
                (Severity::Error, Some(u64::from(valid_end)), what)
            }
            Ok(_) => finished,
        }
    }

    fn bytes(&self, path: &Path) -> Result<Vec<u8>, (Severity, Option<u64>, String)> {
        read_whole(self.place.disk, path).map_err(|error| (Severity::Error, None, format!("could not read: {error}")))
    }

    /// Walks every segment, whatever is wrong with those before.
    fn check_segments(&mut self, segments: &[(Offset, u64)]) -> Option<LogEnd> {
        self.verification.segments += segments.len();
        let mut end = None;
        let (mut whole, mut taken_out) = (true, false);
        for (at, (base, len)) in segments.iter().enumerate() {
            self.verification.bytes += len;
            let next = segments.get(at + 1).map(|(next, _)| *next);
            let path = segment_path(&self.place.dir, *base, SegmentFile::Log);
            if taken_out {
                let what = "it lies behind the place where the next open cuts the log, which takes it out of it";
                self.find(Finding::new(Severity::Warning, &path, what).at(None, Some(*base)));
            }
            let walk = match self.walk(*base, *len, next.is_none()) {
                Ok(walk) => walk,
                Err(what) => {
                    self.find(Finding::new(Severity::Error, &path, what).at(None, Some(*base)));
                    whole = false;
                    end = None;
                    continue;
                }
            };
            let severity = self.severity_of_end(segments, at, walk.found.next_offset);
            let holds = self.check_end_of_segment(&path, (*base, *len), &walk, next, severity);
            whole &= holds;
            taken_out |= !holds && severity == Severity::Warning;
            let (offset, file_pos) = (walk.found.next_offset, walk.found.valid_end);
            end = Some(LogEnd { offset, base: *base, file_pos, whole });
        }
        end.map(|end| LogEnd { whole, ..end })
    }

    fn walk(&mut self, base: Offset, len: u64, is_last: bool) -> Result<SegmentWalk, String> {
        let len = FilePos::try_from(len).ok().filter(|len| *len <= i32::MAX as FilePos);
        let len = len.ok_or("a segment has less than 2^31 bytes")?;
        let walk_place = WalkPlace {
            disk: self.place.disk,
            dir: &self.place.dir,
            base,
            len,
            gaps_below: self.gaps_below(),
            inflated_max: self.place.inflated_max,
            epochs: &self.epochs,
            complete: self.place.clean || !is_last,
        };
        let path = segment_path(&self.place.dir, base, SegmentFile::Log);
        let walked = self.place.disk.open(&path, OpenMode::Read).and_then(|file| walk_segment(&*file, &walk_place));
        let mut walk = walked.map_err(|error: io::Error| format!("could not read: {error}"))?;
        self.verification.batches += walk.found.batches;
        self.verification.records += walk.records;
        walk.batch_findings.drain(..).for_each(|finding| self.find(finding));
        for mut finding in walk.index_findings.drain(..) {
            if !self.place.clean {
                finding.severity = finding.severity.min(Severity::Warning); // never synced, and looked at before it is used
            }
            self.find(finding);
        }
        Ok(walk)
    }

    fn gaps_below(&self) -> Offset {
        self.checkpoint.map_or(Offset::MAX, |checkpoint| checkpoint.cleaner_offset)
    }

    /// What damage behind `offset` in segment number `at` means: the next open cuts at or behind the recovery point, and
    /// refuses below. It does not look at segments before that of the recovery point. Without a checkpoint it cuts in
    /// the last segment only. Rule: log.md 11.
    fn severity_of_end(&self, segments: &[(Offset, u64)], at: usize, offset: Offset) -> Severity {
        let is_cut = match self.checkpoint {
            Some(checkpoint) => {
                let first = checkpoint.first_unfinished(segments.iter().map(|(base, _)| *base));
                first <= at && checkpoint.recovery_point <= offset
            }
            None => at + 1 == segments.len(),
        };
        if is_cut { Severity::Warning } else { Severity::Error }
    }

    /// Whether the segment is whole and leads to the next one.
    fn check_end_of_segment(
        &mut self,
        path: &Path,
        (base, len): (Offset, u64),
        walk: &SegmentWalk,
        next: Option<Offset>,
        severity: Severity,
    ) -> bool {
        let end = walk.found.next_offset;
        let at = (Some(u64::from(walk.found.valid_end)), Some(end));
        if walk.found.damage == Some(Damage::Zeros) && severity == Severity::Warning && self.are_room(end, next) {
            let room = len - u64::from(walk.found.valid_end);
            let what = format!("{room} bytes are reserved behind the last batch; the next open gives them back");
            self.find(Finding::new(Severity::Note, path, what).at(at.0, at.1));
            return true;
        }
        if let Some(damage) = walk.found.damage {
            let bytes = len - u64::from(walk.found.valid_end);
            let mut what = match severity {
                Severity::Warning => format!("{damage}; the next open cuts {bytes} bytes off"),
                _ => format!("{damage}; {bytes} bytes of the segment cannot be read from here on"),
            };
            if let Some(behind) = self.batch_behind(path, (base, len), walk).filter(|_| damage != Damage::Zeros) {
                what.push_str(&format!("; a whole batch follows at byte {behind}"));
            }
            self.find(Finding::new(severity, path, what).at(at.0, at.1));
            return false;
        }
        let Some(next) = next.filter(|next| !self.is_replacing && !self.leads_to(end, *next)) else { return true };
        let what = format!("the segment ends at offset {end}, the next one begins at {next}");
        self.find(Finding::new(severity, path, what).at(at.0, at.1));
        false
    }

    /// Whether the segment behind `end` may begin at `next`.
    fn leads_to(&self, end: Offset, next: Offset) -> bool {
        end == next || (end < next && end < self.gaps_below())
    }

    /// Whether zeros behind `end`, at or behind the recovery point, are taken for room.
    fn are_room(&self, end: Offset, next: Option<Offset>) -> bool {
        next.is_none_or(|next| self.leads_to(end, next))
    }

    fn batch_behind(&self, path: &Path, (base, len): (Offset, u64), walk: &SegmentWalk) -> Option<FilePos> {
        let file = self.place.disk.open(path, OpenMode::Read).ok()?;
        let range = (walk.found.valid_end, FilePos::try_from(len).ok()?);
        find_batch_behind(&*file, range, (base, walk.found.next_offset)).ok()?
    }

    /// The checkpoint against the segments.
    fn check_ends(&mut self, checkpoint: Checkpoint, first_base: Option<Offset>, end: Option<LogEnd>) {
        let path = self.path(CHECKPOINT_FILE);
        let (Some(first_base), Some(end)) = (first_base, end) else {
            if first_base.is_none() {
                let what = format!("all segments are gone, and the log went up to {} at least", checkpoint.log_end);
                self.find(Finding::new(Severity::Error, path, what));
            }
            return;
        };
        let Checkpoint { recovery_point, log_start, log_end, active_base, active_size, .. } = checkpoint;
        if log_start < first_base {
            let what = format!("the segments from the log's start, {log_start}, to {first_base} are gone");
            self.find(Finding::new(Severity::Error, &path, what).at(None, Some(log_start)));
        }
        if end.offset < recovery_point.max(log_start) {
            let what = format!(
                "the log ends at {}, below its recovery point or start, {}",
                end.offset,
                recovery_point.max(log_start)
            );
            self.find(Finding::new(Severity::Error, &path, what).at(None, Some(end.offset)));
        } else if self.place.clean
            && end.whole
            && (end.offset, end.base, end.file_pos) != (log_end, active_base, active_size)
        {
            let what = format!(
                "the log ends at offset {} in byte {} of segment {}, not at {log_end} in byte {active_size} of \
                 {active_base}, where it was closed; the next open walks its end",
                end.offset, end.file_pos, end.base
            );
            self.find(Finding::new(Severity::Warning, &path, what));
        }
    }
}

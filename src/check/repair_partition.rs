//! Repairing one partition: what is there, what is to be done about it, and doing it.

use std::io;
use std::path::{Path, PathBuf};

use super::classify::{is_of_replacement, segments};
use super::finding::Severity;
use super::repair::Repairing;
use super::repair_log::LogDir;
use super::segment_walk::{SegmentWalk, WalkPlace, walk_segment};
use crate::error::{Error, Result};
use crate::log::{CHECKPOINT_FILE, Checkpoint, LeaderEpochs};
use crate::segment::{Damage, End, ScanOffsets, SegmentFile, scan, segment_path};
use crate::sys::{Disk, OpenMode, SyncPoint};
use crate::topic::{TOPIC_FILE_EXTENSION, TopicFile, TopicState, read_text};
use crate::types::{FilePos, Offset, TopicPartition};

/// The repair of one partition.
pub(super) struct PartitionRepair<'r, 'a> {
    repairing: &'r mut Repairing<'a>,
    name: TopicPartition,
    dir: PathBuf,
    checkpoint: Option<Checkpoint>,
    /// Whether there is a checkpoint file, in whatever state.
    has_checkpoint_file: bool,
    /// Base and length of each segment, by base.
    segments: Vec<(Offset, u64)>,
}

/// A log as far as it holds.
struct Survey {
    /// Number of the segment in which it ends, counted from 0.
    last: usize,
    end: End,
    /// Why it ends there, if it does before its last byte.
    damage: Option<String>,
    /// Whether that is zeros, and the next segment begins there: room that was reserved and not given back.
    is_room: bool,
}

/// What is to become of a log.
enum Plan {
    Keep,
    Cut { segment: usize, end: End, why: String },
    Restart { offset: Offset, why: String },
}

impl<'r, 'a> PartitionRepair<'r, 'a> {
    pub(super) fn new(repairing: &'r mut Repairing<'a>, name: TopicPartition) -> Self {
        let dir = repairing.directory.path.join(name.to_string());
        let (segments, has_checkpoint_file) = (Vec::new(), false);
        PartitionRepair { repairing, name, dir, checkpoint: None, has_checkpoint_file, segments }
    }

    pub(super) fn run(mut self) -> Result<()> {
        let disk = self.disk();
        let entries = disk.list(&self.dir).map_err(|error| self.refused("list", &self.dir, error))?;
        if let Some(entry) = entries.iter().find(|entry| is_of_replacement(&entry.name)) {
            let what =
                "a replacement or removal of segments was cut short: open the directory first, which finishes it";
            self.leave(&self.dir.join(&entry.name), what);
            return Ok(());
        }
        self.segments = segments(&entries).0;
        self.has_checkpoint_file = entries.iter().any(|entry| entry.name == CHECKPOINT_FILE);
        self.checkpoint = Checkpoint::load(disk, &self.dir)
            .map_err(|error| self.refused("read the checkpoint of", &self.dir, error))?;
        if self.segments.is_empty() {
            return self.repair_empty();
        }
        let Some(survey) = self.survey()? else { return Ok(()) };
        if let Some(plan) = self.plan(&survey)? {
            self.carry_out(&survey, plan)?;
        }
        Ok(())
    }

    fn disk(&self) -> &'a dyn Disk {
        &*self.repairing.directory.disk
    }

    /// A log without a segment. Without a checkpoint it is none, and opening makes one, unless its topic counts it.
    fn repair_empty(&mut self) -> Result<()> {
        let (offset, why) = match self.checkpoint {
            Some(Checkpoint { log_start, log_end, .. }) => {
                (log_start, format!("all segments are gone, and the log went up to {log_end} at least"))
            }
            None if self.is_in_use() => (0, "all segments and the checkpoint are gone".to_owned()),
            None => return Ok(()),
        };
        let goes_on = self.checkpoint.map_or(Ok(false), |checkpoint| self.log_dir().is_restarting(checkpoint));
        let goes_on = goes_on.map_err(|error| self.refused("read the leader epochs of", &self.dir, error))?;
        if !self.repairing.options.accept_loss && !goes_on {
            self.leave(&self.dir.clone(), &format!("{why}; the option to accept the loss begins it anew at {offset}"));
            return Ok(());
        }
        self.restart(offset, &why)
    }

    /// Whether the file of the topic counts the partition.
    fn is_in_use(&self) -> bool {
        let path = self.repairing.directory.path.join(format!("{}{TOPIC_FILE_EXTENSION}", self.name.topic()));
        let file = read_text(self.disk(), &path).ok().and_then(|text| TopicFile::from_text(&text).ok());
        file.is_some_and(|file| file.state == TopicState::Live && self.name.partition() < file.partitions)
    }

    /// Walks the segments up to the first that is damaged or does not lead to the next, and removes index files that are
    /// wrong. `None` if one cannot be read, which is left as it is.
    fn survey(&mut self) -> Result<Option<Survey>> {
        let mut survey: Option<Survey> = None;
        for (at, (base, len)) in self.segments.clone().into_iter().enumerate() {
            let path = segment_path(&self.dir, base, SegmentFile::Log);
            let Some(short) = FilePos::try_from(len).ok().filter(|len| *len <= i32::MAX as FilePos) else {
                self.leave(&path, "a segment has less than 2^31 bytes: cut or remove it by hand");
                return Ok(None);
            };
            let walk = match self.walk(base, short) {
                Ok(walk) => walk,
                Err(error) => {
                    self.leave(&path, &format!("it cannot be read: {error}"));
                    return Ok(None);
                }
            };
            let next = self.segments.get(at + 1).map(|(next, _)| *next);
            let end = End { offset: walk.found.next_offset, file_pos: walk.found.valid_end };
            let damage = match (walk.found.damage, next) {
                (Some(damage), _) => Some(damage.to_string()),
                (None, Some(next)) if next < end.offset || (end.offset < next && self.gaps_below() <= end.offset) => {
                    Some(format!("the segment ends at offset {}, the next one begins at {next}", end.offset))
                }
                _ => None,
            };
            self.remove_wrong_indexes(base, &walk)?;
            let is_damaged = damage.is_some();
            let is_room = walk.found.damage == Some(Damage::Zeros) && next == Some(end.offset);
            survey = Some(Survey { last: at, end, damage, is_room });
            if is_damaged {
                break;
            }
        }
        Ok(survey)
    }

    /// Walks one segment as the device has it: a page that a failed sync left in the cache is no evidence (log.md 11).
    fn walk(&self, base: Offset, len: FilePos) -> io::Result<SegmentWalk> {
        let disk = self.disk();
        let path = segment_path(&self.dir, base, SegmentFile::Log);
        let file = disk.open(&path, OpenMode::Read)?;
        if !self.repairing.options.dry_run {
            file.sync(SyncPoint::Repair)?;
            file.drop_cache()?;
        }
        let place = WalkPlace {
            disk,
            dir: &self.dir,
            base,
            len,
            gaps_below: self.gaps_below(),
            inflated_max: 1, // records do not matter here
            epochs: &LeaderEpochs::default(),
            complete: false,
        };
        walk_segment(&*file, &place)
    }

    fn gaps_below(&self) -> Offset {
        self.checkpoint.map_or(Offset::MAX, |checkpoint| checkpoint.cleaner_offset)
    }

    fn remove_wrong_indexes(&mut self, base: Offset, walk: &SegmentWalk) -> Result<()> {
        let Some(finding) = walk.index_findings.iter().find(|finding| finding.severity > Severity::Note) else {
            return Ok(());
        };
        let what = format!("{}: removed with the other index of the segment, to be built again", finding.what);
        if self.step(&finding.file, what)? {
            self.log_dir().remove_indexes(base).map_err(|error| self.refused("remove", &finding.file, error))?;
        }
        Ok(())
    }

    /// What is to be done; `None` if nothing may be done. A cut that was asked for comes first: damage behind it goes with
    /// it.
    fn plan(&mut self, survey: &Survey) -> Result<Option<Plan>> {
        if let Some(cut) = self.plan_truncation(survey)? {
            return Ok(self.plan_start(survey, cut, true));
        }
        let truncated = self.has_truncated(survey)?;
        Ok(self.plan_end(survey).and_then(|plan| self.plan_start(survey, plan, truncated)))
    }

    fn plan_end(&mut self, survey: &Survey) -> Option<Plan> {
        let Some(damage) = &survey.damage else { return Some(Plan::Keep) };
        if self.is_cut_by_opening(survey) {
            return Some(Plan::Keep);
        }
        let why = format!("{damage}, at byte {} and offset {}", survey.end.file_pos, survey.end.offset);
        if self.repairing.options.cut_damage {
            return Some(Plan::Cut { segment: survey.last, end: survey.end, why });
        }
        let path = self.segment_path(survey.last);
        self.leave(&path, &format!("{why}; the option to cut at damage ends the log there"));
        None
    }

    /// Whether the log ends where a former run, which was cut short, was asked to cut it, as this one is.
    fn has_truncated(&self, survey: &Survey) -> Result<bool> {
        let end = survey.end.offset;
        if survey.damage.is_some() || self.asked_end().is_none_or(|offset| offset < end) {
            return Ok(false);
        }
        let cut = self.log_dir().has_cut_at(end);
        cut.map_err(|error| self.refused("read the leader epochs of", &self.dir, error))
    }

    /// The smallest offset at which the log is to be cut.
    fn asked_end(&self) -> Option<Offset> {
        let asked = self.repairing.options.truncate_to.iter().filter(|(name, _)| *name == self.name);
        asked.map(|(_, offset)| *offset).min()
    }

    /// Whether the next open cuts the log there anyhow, or gives room back: at or behind the recovery point, in what it
    /// walks.
    fn is_cut_by_opening(&self, survey: &Survey) -> bool {
        match self.checkpoint {
            Some(checkpoint) => {
                let first = checkpoint.first_unfinished(self.segments.iter().map(|(base, _)| *base));
                first <= survey.last && checkpoint.recovery_point <= survey.end.offset
            }
            None => survey.is_room || survey.last + 1 == self.segments.len(),
        }
    }

    /// The cut that was asked for by offset. Rule: log.md 11.1.
    fn plan_truncation(&self, survey: &Survey) -> Result<Option<Plan>> {
        let end = survey.end.offset;
        let is_before = |offset: &Offset| *offset < end || (*offset == end && survey.damage.is_some());
        let Some(offset) = self.asked_end().filter(is_before) else { return Ok(None) };
        let why = format!("to be cut at offset {offset}");
        let walked = self.segments.get(..=survey.last).unwrap_or_default();
        let Some(segment) = walked.partition_point(|(base, _)| *base <= offset).checked_sub(1) else {
            return Ok(Some(Plan::Restart { offset, why }));
        };
        let path = self.segment_path(segment);
        let end = self.end_before(segment, offset).map_err(|error| self.refused("read the segment", &path, error))?;
        Ok(Some(Plan::Cut { segment, end, why }))
    }

    /// Where the batch begins that holds `offset`, which lies in segment number `segment` and in a part that holds.
    fn end_before(&self, segment: usize, offset: Offset) -> io::Result<End> {
        let (base, len) = self.segments.get(segment).copied().unwrap_or_default();
        let file = self.disk().open(&segment_path(&self.dir, base, SegmentFile::Log), OpenMode::Read)?;
        let offsets = ScanOffsets { base, from: base, gaps_below: self.gaps_below() };
        let mut end = End { offset: base, file_pos: 0 };
        let range = (0, FilePos::try_from(len).unwrap_or(FilePos::MAX));
        scan(&*file, range, offsets, |file_pos, batch| {
            if batch.next_offset() <= offset {
                end = End { offset: batch.next_offset(), file_pos: file_pos + batch.size() as FilePos };
            }
        })?;
        Ok(end)
    }

    /// Compares where the log will end and where it begins with what its checkpoint says. `truncated` is whether it ends
    /// where it was asked to be cut.
    fn plan_start(&mut self, survey: &Survey, plan: Plan, truncated: bool) -> Option<Plan> {
        let Some(checkpoint) = self.checkpoint else { return Some(plan) };
        let first_base = self.segments.first().map_or(0, |(base, _)| *base);
        let accepts = self.repairing.options.accept_loss;
        let (end, may_end_early) = match &plan {
            Plan::Keep => (survey.end.offset, accepts || truncated || self.repairing.options.cut_damage),
            Plan::Cut { end, .. } => (end.offset, true),
            Plan::Restart { .. } => return Some(plan),
        };
        let file = self.dir.join(CHECKPOINT_FILE);
        if end < checkpoint.recovery_point.max(checkpoint.log_start) && !may_end_early {
            let what = format!(
                "the log ends at {end}, below its recovery point or start, {}; the option to accept the loss goes on \
                 without the rest",
                checkpoint.recovery_point.max(checkpoint.log_start)
            );
            self.leave(&file, &what);
            return None;
        }
        if checkpoint.log_start < first_base && !accepts {
            let what = format!(
                "the segments from the log's start, {}, to {first_base} are gone; the option to accept the loss makes \
                 {first_base} the start",
                checkpoint.log_start
            );
            self.leave(&file, &what);
            return None;
        }
        if end < checkpoint.log_start && !truncated {
            let why = format!("the log ends at {end}, below its start, {}", checkpoint.log_start);
            return Some(Plan::Restart { offset: checkpoint.log_start, why });
        }
        Some(plan)
    }

    fn carry_out(&mut self, survey: &Survey, plan: Plan) -> Result<()> {
        match plan {
            Plan::Keep => self.correct_checkpoint(survey),
            Plan::Restart { offset, why } => self.restart(offset, &why),
            Plan::Cut { segment, end, why } => {
                let path = self.segment_path(segment);
                let what = format!(
                    "{why}: the log ends at offset {} from now on, what was behind is kept in .corrupt files, and a new \
                     leader epoch begins",
                    end.offset
                );
                if !self.step(&path, what)? {
                    return Ok(());
                }
                let checkpoint = self.new_checkpoint(segment, end);
                let at = self.segments.get(segment).copied().unwrap_or_default();
                let behind = self.segments.get(segment + 1..).unwrap_or_default();
                self.log_dir().cut(at, end, behind, checkpoint).map_err(|error| self.refused("cut", &path, error))
            }
        }
    }

    /// The checkpoint of a log that ends in segment number `segment`.
    ///
    /// A log without one comes from elsewhere: gaps may be anywhere in it, and its transactions are not ours. Opening
    /// such a log puts the cleaner offset at its end, too.
    fn new_checkpoint(&self, segment: usize, end: End) -> Checkpoint {
        let first_base = self.segments.first().map_or(0, |(base, _)| *base);
        let log_start = self.checkpoint.map_or(first_base, |checkpoint| checkpoint.log_start.max(first_base));
        Checkpoint {
            recovery_point: end.offset,
            log_start: log_start.min(end.offset),
            cleaner_offset: self.gaps_below().min(end.offset),
            log_end: end.offset,
            active_base: self.segments.get(segment).map_or(0, |(base, _)| *base),
            active_size: end.file_pos,
        }
    }

    /// Writes the checkpoint where it is damaged, or says what the segments do not have.
    fn correct_checkpoint(&mut self, survey: &Survey) -> Result<()> {
        let path = self.dir.join(CHECKPOINT_FILE);
        let wanted = self.new_checkpoint(survey.last, survey.end);
        let end = wanted.log_end;
        let (what, lost_end) = match self.checkpoint {
            None if self.has_checkpoint_file => {
                let what = format!("damaged: written from the log, from {} to {end}", wanted.log_start);
                (what, false)
            }
            Some(old) if end < old.recovery_point.max(old.log_start) => {
                let what = format!(
                    "the log ends at {end}, below its recovery point or start, {}: it ends there from now on, and a new \
                     leader epoch begins",
                    old.recovery_point.max(old.log_start)
                );
                (what, true)
            }
            Some(old) if old.log_start < wanted.log_start => {
                (format!("the log starts at {} from now on, no longer at {}", wanted.log_start, old.log_start), false)
            }
            _ => return Ok(()),
        };
        if !self.step(&path, what)? {
            return Ok(());
        }
        let log_dir = self.log_dir();
        let raised = if lost_end { log_dir.raise_epoch(end) } else { Ok(()) };
        raised
            .and_then(|()| wanted.store(log_dir.disk, log_dir.dir))
            .map_err(|error| self.refused("write", &path, error))
    }

    fn restart(&mut self, offset: Offset, why: &str) -> Result<()> {
        let dir = self.dir.clone();
        let what = format!(
            "{why}: the log begins anew at offset {offset}, without a record; its segments are kept as .corrupt files"
        );
        if self.step(&dir, what)? {
            self.log_dir().restart(offset, &self.segments).map_err(|error| self.refused("begin anew", &dir, error))?;
        }
        Ok(())
    }

    fn segment_path(&self, segment: usize) -> PathBuf {
        let base = self.segments.get(segment).map_or(0, |(base, _)| *base);
        segment_path(&self.dir, base, SegmentFile::Log)
    }

    fn log_dir(&self) -> LogDir<'_> {
        LogDir { disk: self.disk(), dir: &self.dir }
    }

    fn step(&mut self, file: &Path, what: String) -> Result<bool> {
        self.repairing.step(Some(&self.name), file, what)
    }

    fn leave(&mut self, file: &Path, what: &str) {
        self.repairing.leave(Some(&self.name), file, what);
    }

    fn refused(&self, operation: &'static str, path: &Path, error: io::Error) -> Error {
        Error::io(operation, path, error).in_partition(&self.name)
    }
}

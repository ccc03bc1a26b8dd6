//! Opening a log: what is found on the disk becomes a log again.
//!
//! After a clean close the checkpoint says where the log ends, and only the last batch is looked at. Otherwise everything
//! from the recovery point on is synced, read back from the device, and walked with every check. What is found decides,
//! by the table in [`decision`](super::decision):
//!
//! | what is found | at or behind the recovery point | below it |
//! |---|---|---|
//! | zeros, which are room (see below) | given back | - |
//! | a batch whose end is missing, or zeros, and no whole batch behind | cut off | `on.corruption` |
//! | anything else that is not a batch | cut off, the bytes kept in a side file | `on.corruption` |
//! | a segment that does not begin where the one before ends | taken out of the log, its batches kept | `on.corruption` |
//! | the end of the log, without damage | the end of the log | `on.corruption` |
//! | the first segment, behind the log start | - | `on.corruption`: the log start moves |
//! | the end of the log, below the log start | - | left as it is, whatever `on.corruption` says |
//!
//! Zeros behind the batches of a segment are room, written or reserved ahead, and nothing is missing, if the next segment
//! begins where the batches end, or if it is the last one and has all that was vouched for. Room is given back before
//! anything is appended, and before the recovery point moves past the segment, so below the recovery point a file ends
//! where its batches end.
//!
//! `on.corruption=fail` changes nothing: the log is opened for reading, the offsets from the damage to the next segment
//! answer with the error, and so do appends. `truncate` ends the log there, `quarantine` does and keeps the bytes.
//! What lies below the recovery point is not walked, but for the segment that holds it where the checkpoint has no
//! position: damage there is found when it is read, and harms no other offset.
//!
//! That the segments behind a cut can go follows from the order of syncs: nothing in a new segment is called durable
//! before a checkpoint has the recovery point at its base (see [`sync`](super::sync)).
//!
//! A log without a checkpoint, or with one that is damaged, comes from elsewhere or has lost it: then the whole log is
//! walked, gaps may be anywhere, the last segment is treated like one behind the recovery point, and damage in another one
//! like damage below it. Where all segments are gone but the checkpoint is there, the log does not open.
//!
//! The sync before the walk is not for the writes of this process: a sync that failed before the crash can have left
//! pages in the cache that never reached the device, and what is read from such a page is no evidence (log.md 11).

use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;
use super::cut::Keep;
use super::decision::{Decision, Found, Where, decide};
use super::leader_epochs::LeaderEpochs;
use super::leftovers::finish_replacement;
use super::log::{DamagedRange, Log, LogPlace, Start};
use super::partition_recovery::PartitionRecovery;
use super::producers::{Producers, snapshots};
use super::room::ends_with_a_batch;
use super::seal::{Anchor, Seal};
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{
    Damage, End, Indexer, Indexes, ReadFailure, Room, Scan, ScanOffsets, Segment, SegmentFile, SegmentPlace,
    holds_batch_behind, scan,
};
use crate::sync::Arc;
use crate::sys::{DiskFile, OpenMode, SyncPoint, is_full, replace_with_copy, rewrite};
use crate::types::{Durability, FilePos, Offset};

/// How the last user left a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftBy {
    /// It was closed in order.
    Close,
    /// The process or the system ended, or nobody knows.
    Crash,
}

impl Log {
    /// Opens the log in `place`, or creates it in an empty directory.
    ///
    /// # Errors
    ///
    /// `Io` where the system refuses something, `CorruptRecord` where nothing is left that could be read.
    pub(crate) fn open(mut place: LogPlace, left_by: LeftBy) -> Result<(Self, PartitionRecovery)> {
        let refused = |what, error| Error::io(what, &place.dir, error).in_partition(&place.partition);
        let mut names = place.disk.names(&place.dir).map_err(|error| refused("list the directory", error))?;
        let leftovers = finish_replacement(&place, &names)?;
        if leftovers > 0 {
            names = place.disk.names(&place.dir).map_err(|error| refused("list the directory", error))?;
        }
        let checkpoint =
            Checkpoint::load(&*place.disk, &place.dir).map_err(|error| refused("read the checkpoint", error))?;
        let epochs =
            LeaderEpochs::load(&*place.disk, &place.dir).map_err(|error| refused("read the leader epochs", error))?;
        place.gaps_below = checkpoint.map_or(Offset::MAX, |checkpoint| checkpoint.cleaner_offset);
        let SegmentFiles { segments: found, strays } = list_segments(&place, &names)?;
        let mut recovery = PartitionRecovery::new(&place.partition, found.len().max(1));
        recovery.leftovers = leftovers;
        let Some((last, sealed)) = found.split_last() else {
            return create(place, checkpoint, &epochs).map(|log| (log, recovery));
        };
        let mut recovering = Recovering {
            place: &place,
            left_by,
            checkpoint,
            epochs,
            recovery,
            damaged: Vec::new(),
            made: Vec::new(),
            snapshots: snapshots(&names),
            is_closed: true,
            stale: checkpoint.is_none(),
        };
        let trusted = if left_by == LeftBy::Close { recovering.trust_checkpoint(last)? } else { None };
        let segments = match trusted {
            Some(active) => (recovering.open_unscanned(sealed, active.base()), active),
            None => recovering.scan(&found)?,
        };
        recovering.remove_snapshots(segments.1.written().offset)?;
        let start = recovering.start(&segments)?;
        let Recovering { recovery, stale, made, .. } = recovering;
        let is_damaged = !start.damaged.is_empty();
        if !is_damaged {
            made.iter().for_each(|(segment, indexes)| segment.write_indexes(indexes));
            for stray in strays {
                let _ = place.disk.remove_file(&stray); // ignored while it is there
            }
        }
        let log = Log::new(place.clone(), segments, start);
        if stale && !is_damaged {
            // From here on the log has a checkpoint, and a gap behind its present end is one that we would have made.
            log.seal(Seal::All)?;
            drop(log);
            return Log::open(place, LeftBy::Close).map(|(log, _)| (log, recovery));
        }
        log.place.usage.add(log.size());
        Ok((log, recovery))
    }
}

/// A new log. Its checkpoint is written last, so where there is one but no segment, segments were lost.
fn create(mut place: LogPlace, checkpoint: Option<Checkpoint>, epochs: &LeaderEpochs) -> Result<Log> {
    if let Some(checkpoint) = checkpoint {
        let end = End { offset: checkpoint.log_start, file_pos: 0 };
        let reason = format!("all segments are gone, and the log went up to {} at least", checkpoint.log_end);
        return Err(corrupt(&place, &place.dir, end, reason));
    }
    place.gaps_below = 0;
    // Room is reserved with the first append: a topic may have many partitions that are never used.
    let room = Room { capacity: place.segment_bytes(), preallocate: false, promises: true };
    let (segment, _) = Segment::create(place.segment(0), room)
        .map_err(|error| Error::io("create the log", &place.dir, error).in_partition(&place.partition))?;
    let (leader_epoch, producers) = (epochs.latest(), Producers::none());
    let start = Start { log_start: 0, recovery_point: 0, anchor: None, leader_epoch, damaged: Vec::new(), producers };
    let log = Log::new(place, (Vec::new(), Arc::new(segment)), start);
    log.seal(Seal::All)?; // syncs the name of the segment before it writes the checkpoint
    Ok(log)
}

/// The segment files of a directory.
struct SegmentFiles {
    /// Base and length of each, by base.
    segments: Vec<(Offset, FilePos)>,
    /// Those that are not part of the log: an empty one between others is what a failed roll left, and would hide the
    /// records that went elsewhere.
    strays: Vec<PathBuf>,
}

fn list_segments(place: &LogPlace, names: &[String]) -> Result<SegmentFiles> {
    let mut segments = Vec::new();
    for name in names {
        let Some(base) = SegmentFile::Log.base_of(name) else { continue };
        let path = place.dir.join(name);
        let entry = place.disk.entry(&path);
        let entry = entry.map_err(|error| Error::io("look at", &path, error).in_partition(&place.partition))?;
        if entry.is_dir {
            continue;
        }
        let len = FilePos::try_from(entry.len).ok().filter(|len| *len <= i32::MAX as FilePos).ok_or_else(|| {
            let end = End { offset: base, file_pos: i32::MAX as FilePos };
            corrupt(place, &path, end, "a segment has less than 2^31 bytes".to_owned())
        })?;
        segments.push((base, len));
    }
    segments.sort_unstable();
    // The first one may have lost all its bytes in a power cut: then the log ends there.
    let ends = [segments.first(), segments.last()].map(|segment| segment.map(|(base, _)| *base));
    let is_stray = |(base, len): &mut (Offset, FilePos)| *len == 0 && !ends.contains(&Some(*base));
    let strays = segments.extract_if(.., is_stray).map(|(base, _)| place.segment(base).path(SegmentFile::Log));
    let strays = strays.collect();
    Ok(SegmentFiles { segments, strays })
}

pub(super) struct Recovering<'a> {
    pub(super) place: &'a LogPlace,
    left_by: LeftBy,
    checkpoint: Option<Checkpoint>,
    epochs: LeaderEpochs,
    pub(super) recovery: PartitionRecovery,
    /// What cannot be read and was left as it is.
    damaged: Vec<DamagedRange>,
    /// Indexes of segments that were walked. Their files are written if nothing is left as it is.
    made: Vec<(SegmentPlace, Indexes)>,
    /// Offsets of the producer snapshots.
    snapshots: Vec<Offset>,
    /// Whether it was closed in order and is what the checkpoint says.
    is_closed: bool,
    /// Whether the checkpoint has to be written anew before anything is appended.
    stale: bool,
}

/// A file after its walk.
pub(super) struct Scanned {
    pub(super) place: SegmentPlace,
    pub(super) file: Arc<dyn DiskFile>,
    /// Bytes in the file.
    pub(super) file_len: FilePos,
    /// Bytes in the file without the room that was reserved for it.
    pub(super) len: FilePos,
    pub(super) found: Scan,
    /// Made by the walk, unless it began in the middle.
    indexes: Option<Indexes>,
}

impl Scanned {
    /// End of the batches that hold.
    pub(super) fn end(&self) -> End {
        End { offset: self.found.next_offset, file_pos: self.found.valid_end }
    }
}

impl Recovering<'_> {
    /// The active segment, if the log was closed in order and is what the checkpoint says: base, size, end, and a last
    /// batch with the right checksum.
    fn trust_checkpoint(&self, last: &(Offset, FilePos)) -> Result<Option<Arc<Segment>>> {
        let Some(checkpoint) = self.checkpoint else { return Ok(None) };
        let Some(end) = checkpoint.anchor() else { return Ok(None) };
        if (checkpoint.active_base, checkpoint.active_size) != *last || end.offset < checkpoint.active_base {
            return Ok(None);
        }
        let segment = Arc::new(Segment::open(self.place.segment(last.0), end));
        let holds = match end.file_pos {
            0 => end.offset == last.0,
            _ => {
                let looked = segment.reader().and_then(|reader| reader.ends_with_its_last_batch(end));
                looked.map_err(|error| self.refused("read the segment", &segment.path(), error))?
            }
        };
        Ok(holds.then_some(segment))
    }

    /// Opens segments that need no scan. Each ends where the next one, or `next_base`, begins.
    fn open_unscanned(&self, segments: &[(Offset, FilePos)], next_base: Offset) -> Vec<Arc<Segment>> {
        let next_bases = segments.iter().skip(1).map(|(base, _)| *base).chain([next_base]);
        let ends = next_bases.zip(segments).map(|(offset, (_, len))| End { offset, file_pos: *len });
        segments
            .iter()
            .zip(ends)
            .map(|((base, _), end)| Arc::new(Segment::open(self.place.segment(*base), end)))
            .collect()
    }

    /// Reads everything from the recovery point on, and cuts the log where it is torn.
    fn scan(&mut self, all: &[(Offset, FilePos)]) -> Result<(Vec<Arc<Segment>>, Arc<Segment>)> {
        let first =
            self.checkpoint.map_or(0, |checkpoint| checkpoint.first_unfinished(all.iter().map(|(base, _)| *base)));
        let (unscanned, to_scan) = all.split_at(first);
        let first_base = to_scan.first().map_or(0, |(base, _)| *base);
        let mut segments = self.open_unscanned(unscanned, first_base);
        for (at, (base, len)) in to_scan.iter().enumerate() {
            let behind = to_scan.get(at + 1..).unwrap_or_default();
            let scanned = self.scan_file(self.place.segment(*base), *len)?;
            let next_base = behind.first().map(|(base, _)| *base);
            let found = self.look_at(&scanned, next_base)?;
            let mut end = scanned.end();
            if found.is_none() && end.file_pos < scanned.file_len {
                self.shorten(&*scanned.file, &scanned.place.path(SegmentFile::Log), end)?;
            }
            if found.is_none() {
                // Behind compacted offsets the next segment may begin later than this one ends.
                end.offset = next_base.unwrap_or(end.offset);
            }
            segments.push(Arc::new(Segment::open(scanned.place.clone(), end)));
            if let Some(found) = found
                && !self.decide(found, &scanned, behind)?
            {
                segments.extend(self.open_behind_damage(behind)?);
            }
            self.made.extend(scanned.indexes.map(|indexes| (scanned.place, indexes)));
            if found.is_some() {
                break;
            }
        }
        self.is_closed = false;
        self.sync_dir(SyncPoint::RecoveredNames)?;
        let active = segments.pop().ok_or_else(|| Error::storage("no segment was found"))?; // `all` is not empty
        Ok((segments, active))
    }

    /// Removes the producer snapshots above the end of the log: what is appended there is not what they speak of.
    fn remove_snapshots(&mut self, end: Offset) -> Result<()> {
        if !self.damaged.is_empty() || self.snapshots.iter().all(|offset| *offset <= end) {
            return Ok(());
        }
        for offset in self.snapshots.extract_if(.., |offset| end < *offset).collect::<Vec<_>>() {
            let removed = self.place.remove_snapshot(offset);
            removed.map_err(|error| self.refused("remove a producer snapshot from", &self.place.dir, error))?;
        }
        self.is_closed = false;
        self.sync_dir(SyncPoint::RecoveredNames)
    }

    /// The producer snapshots that can be used; those of segments that are gone, and those that a crash tore, are removed.
    fn usable_snapshots(&mut self, first_base: Offset) -> Vec<Offset> {
        let mut found = std::mem::take(&mut self.snapshots);
        if self.damaged.is_empty() {
            let is_torn = |offset| self.left_by == LeftBy::Crash && self.place.is_snapshot_torn(offset);
            for offset in found.extract_if(.., |offset| *offset < first_base || is_torn(*offset)) {
                let _ = self.place.remove_snapshot(offset); // ignored while it is there
            }
        }
        found
    }

    /// Segments behind damage that is left as it is. Where they end matters for the last one only.
    fn open_behind_damage(&mut self, behind: &[(Offset, FilePos)]) -> Result<Vec<Arc<Segment>>> {
        let Some(((base, len), others)) = behind.split_last() else { return Ok(Vec::new()) };
        let mut segments = self.open_unscanned(others, *base);
        let last = self.scan_file(self.place.segment(*base), *len)?;
        segments.push(Arc::new(Segment::open(last.place.clone(), last.end())));
        Ok(segments)
    }

    /// What is wrong where the batches of a segment end, if anything is.
    fn look_at(&self, scanned: &Scanned, next_base: Option<Offset>) -> Result<Option<Found>> {
        let end = scanned.end();
        Ok(match scanned.found.damage {
            Some(Damage::Malformed(_)) => Some(Found::Damaged),
            Some(Damage::Zeros) if self.are_room(end, next_base) => None,
            Some(Damage::Zeros) => Some(Found::Torn),
            Some(Damage::Torn) if self.has_batch_behind(scanned)? => Some(Found::Damaged),
            Some(Damage::Torn) => Some(Found::Torn),
            None => match next_base {
                Some(next) if self.leads_to(end, next) => None,
                Some(_) => Some(Found::Gap),
                None if end.offset < self.vouched_for() => Some(Found::Short),
                None => None,
            },
        })
    }

    /// The offset up to which the checkpoint vouches for the log.
    pub(super) fn vouched_for(&self) -> Offset {
        self.checkpoint.map_or(0, |checkpoint| checkpoint.recovery_point.max(checkpoint.log_start))
    }

    /// Does what the table says about a segment and those `behind`. Returns whether the log ends there now.
    fn decide(&mut self, found: Found, scanned: &Scanned, behind: &[(Offset, FilePos)]) -> Result<bool> {
        let end = scanned.end();
        let place = match self.checkpoint {
            None if behind.is_empty() => Where::ImportedEnd,
            None => Where::ImportedMiddle,
            Some(checkpoint) if end.offset < checkpoint.log_start => Where::BelowStart,
            Some(checkpoint) if end.offset < checkpoint.recovery_point => Where::Below,
            Some(_) => Where::Behind,
        };
        let next_base = behind.first().map(|(base, _)| *base);
        let reason = match (scanned.found.damage, next_base) {
            (Some(damage), _) => damage.to_string(),
            (None, Some(next)) => format!("the next segment begins at offset {next}"),
            (None, None) => "the end of the log is missing".to_owned(),
        };
        let keep = match decide(found, place, self.place.config.get_on_corruption()) {
            Decision::Refuse | Decision::MoveStart => {
                let to = next_base.unwrap_or(self.vouched_for());
                self.refuse((end.offset, to), &scanned.place.path(SegmentFile::Log), end.file_pos, &reason);
                return Ok(false);
            }
            Decision::CutAndKeep => Keep::Everything,
            Decision::Cut if place == Where::Behind || place == Where::ImportedEnd => Keep::Segments,
            Decision::Cut => Keep::Nothing,
        };
        let never_promised =
            place == Where::Behind && found == Found::Torn && self.place.config.get_durability() == Durability::Fsync;
        if !never_promised {
            self.epochs = self.epochs.raised_at(end.offset);
            let LogPlace { disk, dir, .. } = self.place;
            // Before the cut: after it nothing would tell the next open that there was one.
            let store = || self.epochs.store(&**disk, dir);
            self.place
                .reserve
                .with_io(store)
                .map_err(|error| self.refused("write the leader epochs of", dir, error))?;
        }
        self.cut(scanned, behind, (reason, keep))?;
        self.stale |= end.offset < self.vouched_for();
        Ok(true)
    }

    /// Leaves damage as it is: the offsets answer with this error, and so do appends.
    fn refuse(&mut self, (from, to): (Offset, Offset), path: &Path, file_pos: FilePos, reason: &str) {
        let reason = format!(
            "{reason}; the records from {from} to {to} cannot be read, and nothing is appended until the file is restored, the \
             directory repaired, or on.corruption set to truncate or quarantine"
        );
        let error = corrupt(self.place, path, End { offset: from, file_pos }, reason);
        self.recovery.damage.get_or_insert_with(|| error.clone());
        self.damaged.push(DamagedRange { from, to, error });
    }

    /// Where the log starts, with what is found between its start and its first segment.
    fn start(&mut self, (sealed, active): &(Vec<Arc<Segment>>, Arc<Segment>)) -> Result<Start> {
        let first = sealed.first().unwrap_or(active);
        let mut log_start = self.checkpoint.map_or(first.base(), |checkpoint| checkpoint.log_start);
        if log_start < first.base() {
            match decide(Found::StartMissing, Where::Below, self.place.config.get_on_corruption()) {
                Decision::MoveStart => {
                    self.recovery.moved_start = Some((log_start, first.base()));
                    self.stale = true;
                    log_start = first.base();
                }
                _ => {
                    let reason = format!("the segments from the log start, {log_start}, to {} are gone", first.base());
                    self.refuse((log_start, first.base()), &first.path(), 0, &reason);
                }
            }
        }
        let recovery_point = self.checkpoint.map_or(first.base(), |checkpoint| checkpoint.recovery_point);
        Ok(Start {
            log_start,
            recovery_point: recovery_point.min(active.written().offset),
            anchor: if self.stale {
                None
            } else {
                self.anchor(active.base()).map(|end| Anchor { base: active.base(), end })
            },
            leader_epoch: self.leader_epoch(active)?,
            damaged: std::mem::take(&mut self.damaged),
            producers: Producers::unknown(self.usable_snapshots(first.base()), self.is_closed),
        })
    }

    /// Walks a file, as the device has it: from the recovery point on, if the checkpoint knows where in the file that is,
    /// else from the beginning, which also makes the indexes.
    fn scan_file(&mut self, place: SegmentPlace, len: FilePos) -> Result<Scanned> {
        let path = place.path(SegmentFile::Log);
        let file = self
            .open_as_stored(&place, &path, len)
            .map_err(|error| self.refused("make sure of what the device has of", &path, error))?;
        let beginning = End { offset: place.base, file_pos: 0 };
        let from = self.trusted_anchor(&place, len)?.unwrap_or(beginning);
        let mut walked = self.walk(&place, &*file, (from, len))?;
        let nothing_follows = from != beginning && walked.0.valid_end == from.file_pos;
        let ends_there =
            |end| ends_with_a_batch(&place, end).map_err(|error| self.refused("read the segment", &path, error));
        let is_room = walked.0.damage == Some(Damage::Zeros) && ends_there(from)?;
        if nothing_follows && walked.0.damage.is_some() && !is_room {
            // Not one batch follows: the place itself may be wrong, which a walk from the beginning shows.
            walked = self.walk(&place, &*file, (beginning, len))?;
        }
        let (found, indexes) = walked;
        let (file_len, len) = (len, self.without_room(&found, len));
        Ok(Scanned { place, file, file_len, len, found, indexes })
    }

    /// Opens a file of which the device has what is read from it. Where the system keeps what it did not write, because
    /// somebody has it mapped or a write failed, a copy takes the file's place: not the same bytes again in the same place,
    /// of which some file systems report success and read back zeros (log.md 11).
    fn open_as_stored(&self, place: &SegmentPlace, path: &Path, len: FilePos) -> io::Result<Arc<dyn DiskFile>> {
        let disk = &*place.disk;
        let file = disk.open(path, OpenMode::Write)?;
        // What could not be synced stays in the cache: with a little luck it is all there, for the copy.
        if file.sync(SyncPoint::RecoveredSegment).is_ok() && file.drop_cache()? {
            return Ok(file);
        }
        match replace_with_copy(disk, path, u64::from(len), SyncPoint::RecoveredCopy) {
            Err(error) if is_full(&error) => {
                // In the same place after all: that needs no room.
                rewrite(&*file, u64::from(len))?;
                file.sync(SyncPoint::RecoveredCopy)?;
                Ok(file)
            }
            copied => copied.and_then(|()| disk.open(path, OpenMode::Write)),
        }
    }

    /// The epoch of the batches to come. Where the file with the epochs is lost, the last batch knows the latest.
    fn leader_epoch(&self, active: &Arc<Segment>) -> Result<i32> {
        if self.epochs != LeaderEpochs::default() || active.written().file_pos == 0 {
            return Ok(self.epochs.latest());
        }
        let refused = |error| self.refused("read the segment", &active.path(), error);
        let last = match active.reader().map_err(refused)?.last_batch(active.written()) {
            Ok(last) => last.map_or(0, |(_, batch)| batch.leader_epoch()),
            Err(ReadFailure::Damage(_)) => 0,
            Err(ReadFailure::Io(error)) => return Err(refused(error)),
        };
        Ok(last.max(0))
    }

    /// Walks a file from a place between two batches on. From the beginning it makes the indexes.
    fn walk(
        &mut self,
        place: &SegmentPlace,
        file: &dyn DiskFile,
        (from, len): (End, FilePos),
    ) -> Result<(Scan, Option<Indexes>)> {
        let (indexes, mut indexer) = (Indexes::default(), Indexer::new(place.index_interval));
        let offsets = ScanOffsets { base: place.base, from: from.offset, gaps_below: place.gaps_below };
        let found = scan(file, (from.file_pos, len), offsets, |file_pos, batch| {
            indexer.note(place.base, file_pos, batch, &indexes);
        })
        .map_err(|error| self.refused("read the segment", &place.path(SegmentFile::Log), error))?;
        indexer.note_end(&indexes);
        self.recovery.scanned_bytes += u64::from(self.without_room(&found, len) - from.file_pos);
        Ok((found, (from.file_pos == 0).then_some(indexes)))
    }

    /// The recovery point's place in a segment, if the checkpoint says where it is and the file does not contradict.
    fn trusted_anchor(&self, place: &SegmentPlace, len: FilePos) -> Result<Option<End>> {
        // After a close in order it was the checkpoint that did not hold.
        let anchor = self.anchor(place.base).filter(|_| self.left_by == LeftBy::Crash);
        let Some(anchor) = anchor else { return Ok(None) };
        if anchor.file_pos == len && len > 0 {
            // Nothing follows that could show whether the place is right: the last batch has to.
            let holds = ends_with_a_batch(place, anchor)
                .map_err(|error| self.refused("read the segment", &place.path(SegmentFile::Log), error))?;
            return Ok(holds.then_some(anchor));
        }
        Ok((anchor.file_pos <= len).then_some(anchor))
    }

    /// Where in the segment at `base` the recovery point lies, if the checkpoint says so.
    fn anchor(&self, base: Offset) -> Option<End> {
        self.checkpoint.filter(|checkpoint| checkpoint.active_base == base)?.anchor()
    }

    /// Whether whole batches follow the place where the batches of the walk end.
    fn has_batch_behind(&self, Scanned { place, file, file_len, found, .. }: &Scanned) -> Result<bool> {
        holds_batch_behind(&**file, (found.valid_end, *file_len), (place.base, found.next_offset))
            .map_err(|error| self.refused("read the segment", &place.path(SegmentFile::Log), error))
    }

    pub(super) fn sync_dir(&self, point: SyncPoint) -> Result<()> {
        let LogPlace { disk, dir, .. } = self.place;
        disk.sync_dir(dir, point).map_err(|error| self.refused("sync the directory", dir, error))
    }

    pub(super) fn refused(&self, operation: &'static str, path: &Path, error: io::Error) -> Error {
        Error::io(operation, path, error).in_partition(&self.place.partition)
    }
}

pub(super) fn corrupt(place: &LogPlace, path: &Path, end: End, reason: String) -> Error {
    Error::new(ErrorKind::CorruptRecord { offset: end.offset, reason })
        .in_partition(&place.partition)
        .at_file(path)
        .at_file_pos(u64::from(end.file_pos))
}

//! Opening a log: what is found on the disk becomes a log again.
//!
//! After a clean close the checkpoint says where the log ends, and only the last batch is looked at. Otherwise every
//! segment from the one that holds the recovery point on is synced, read back from the device, and walked with every
//! check. What is found decides:
//!
//! | where | what is found | done |
//! |---|---|---|
//! | at or behind the recovery point | a batch whose end is missing, or zeros, and no whole batch behind | cut off |
//! | at or behind the recovery point | anything else that is not a batch | cut off, the bytes kept in a side file |
//! | a segment behind a cut, or behind a gap in the offsets | batches or nothing | taken out of the log, batches kept |
//! | below the recovery point | damage, or the end of the log | the partition does not open, nothing is changed |
//! | below the segment of the recovery point | not looked at | found when it is read |
//!
//! That the segments behind a cut can go follows from the order of syncs: nothing in a new segment is called durable
//! before a checkpoint has the recovery point at its base (see [`sync`](super::sync)).
//!
//! A log without a checkpoint, or with one that is damaged, comes from elsewhere or has lost it: then the whole log is
//! walked, gaps may be anywhere, the last segment is treated as above, and with damage in another one the partition
//! does not open.
//!
//! The sync before the walk is not for the writes of this process: a sync that failed before the crash can have left
//! pages in the cache that never reached the device, and what is read from such a page is no evidence (log.md 11).

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;
use super::log::{Log, LogPlace, Start, sync_failed};
use super::seal::Seal;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{
    Damage, End, Indexer, Indexes, Scan, ScanOffsets, Segment, SegmentFile, SegmentPlace, holds_batch_behind, scan,
};
use crate::sync::Arc;
use crate::sys::{DiskFile, OpenMode};
use crate::types::{FilePos, Offset, TopicPartition};

/// How the last user left a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftBy {
    /// It was closed in order.
    Close,
    /// The process or the system ended, or nobody knows.
    Crash,
}

/// What opening one partition found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionRecovery {
    /// The partition.
    pub partition: TopicPartition,
    /// Segments of the log, before anything was cut.
    pub segments: usize,
    /// Bytes that were read and checked; after a clean close only the last batch is, which does not count.
    pub scanned_bytes: u64,
    /// What was cut off, if anything was.
    pub cut: Option<Cut>,
}

/// The end of a log that was cut off because it is not a row of whole batches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// The segment file in which the log ends now.
    pub file: PathBuf,
    /// Bytes of the file that stayed.
    pub file_pos: u64,
    /// Bytes cut off, those of segments behind it included.
    pub bytes: u64,
    /// The offset that the next record gets.
    pub log_end: Offset,
    /// What was found in place of the next batch.
    pub reason: String,
    /// Where the bytes were kept, if they may be more than a batch whose end is missing.
    pub kept_in: Vec<PathBuf>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cut { file, file_pos, bytes, log_end, reason, kept_in } = self;
        write!(f, "cut {bytes} bytes from byte {file_pos} of {}: {reason}; log end {log_end}", file.display())?;
        kept_in.iter().try_for_each(|path| write!(f, "; kept in {}", path.display()))
    }
}

impl Log {
    /// Opens the log in `place`, or creates it in an empty directory.
    ///
    /// # Errors
    ///
    /// `Io` where the system refuses something, `CorruptRecord` where damage is found that no crash can have left.
    pub(crate) fn open(mut place: LogPlace, left_by: LeftBy) -> Result<(Self, PartitionRecovery)> {
        let checkpoint = Checkpoint::load(&*place.disk, &place.dir)
            .map_err(|error| Error::io("read the checkpoint", &place.dir, error).in_partition(&place.partition))?;
        place.gaps_below = checkpoint.map_or(Offset::MAX, |checkpoint| checkpoint.cleaner_offset);
        let SegmentFiles { segments: found, strays } = list_segments(&place)?;
        let recovery = PartitionRecovery {
            partition: place.partition.clone(),
            segments: found.len().max(1),
            scanned_bytes: 0,
            cut: None,
        };
        let Some((last, sealed)) = found.split_last() else {
            return create(place, checkpoint).map(|log| (log, recovery));
        };
        let mut recovering = Recovering { place: &place, checkpoint, recovery };
        let trusted = if left_by == LeftBy::Close { recovering.trust_checkpoint(last) } else { None };
        let segments = match trusted {
            Some(active) => (recovering.open_unscanned(sealed, active.base()), active),
            None => recovering.scan(&found)?,
        };
        let recovery = recovering.recovery;
        let end = segments.1.written();
        let first_base = segments.0.first().unwrap_or(&segments.1).base();
        let mut start = Start { log_start: first_base, recovery_point: first_base };
        if let Some(checkpoint) = checkpoint {
            start = Start { log_start: checkpoint.log_start, recovery_point: checkpoint.recovery_point };
        }
        let missing = if start.log_start < first_base {
            Some(format!("the segments from the log's start, {}, to {first_base} are gone", start.log_start))
        } else if end.offset < start.recovery_point.max(start.log_start) {
            let expected = start.recovery_point.max(start.log_start);
            Some(format!("the log ends below its recovery point or start, {expected}"))
        } else {
            None
        };
        if let Some(missing) = missing {
            return Err(corrupt(&place, &segments.1.path(), end, missing));
        }
        for stray in strays {
            let _ = place.disk.remove_file(&stray); // ignored while it is there
        }
        let log = Log::new(place.clone(), segments, start);
        if checkpoint.is_none() {
            // From here on the log has a checkpoint, and a gap behind its present end is one that we would have made.
            log.seal(Seal::All)?;
            drop(log);
            return Log::open(place, LeftBy::Close).map(|(log, _)| (log, recovery));
        }
        Ok((log, recovery))
    }
}

/// A new log. Its checkpoint is written last, so where there is one but no segment, segments were lost.
fn create(mut place: LogPlace, checkpoint: Option<Checkpoint>) -> Result<Log> {
    if let Some(checkpoint) = checkpoint {
        let end = End { offset: checkpoint.log_start, file_pos: 0 };
        let reason = format!("all segments are gone, and the log went up to {} at least", checkpoint.log_end);
        return Err(corrupt(&place, &place.dir, end, reason));
    }
    place.gaps_below = 0;
    let (segment, _) = Segment::create(place.segment(0), place.segment_bytes())
        .and_then(|segment| place.disk.sync_dir(&place.dir).map(|()| segment))
        .map_err(|error| Error::io("create the log", &place.dir, error).in_partition(&place.partition))?;
    let start = Start { log_start: 0, recovery_point: 0 };
    let log = Log::new(place, (Vec::new(), Arc::new(segment)), start);
    log.seal(Seal::All)?;
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

fn list_segments(place: &LogPlace) -> Result<SegmentFiles> {
    let refused = |error| Error::io("list the directory", &place.dir, error).in_partition(&place.partition);
    let mut segments = Vec::new();
    for entry in place.disk.list(&place.dir).map_err(refused)? {
        let Some(base) = SegmentFile::Log.base_of(&entry.name).filter(|_| !entry.is_dir) else { continue };
        let len = FilePos::try_from(entry.len).ok().filter(|len| *len <= i32::MAX as FilePos).ok_or_else(|| {
            let end = End { offset: base, file_pos: i32::MAX as FilePos };
            corrupt(place, &place.dir.join(&entry.name), end, "a segment has less than 2^31 bytes".to_owned())
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

struct Recovering<'a> {
    place: &'a LogPlace,
    checkpoint: Option<Checkpoint>,
    recovery: PartitionRecovery,
}

/// A file after its walk.
struct Scanned {
    place: SegmentPlace,
    file: Arc<dyn DiskFile>,
    len: FilePos,
    found: Scan,
    indexes: Indexes,
}

impl Recovering<'_> {
    /// The active segment, if the log was closed in order and is what the checkpoint says: base, size, end, and a last
    /// batch with the right checksum.
    fn trust_checkpoint(&self, last: &(Offset, FilePos)) -> Option<Arc<Segment>> {
        let checkpoint = self.checkpoint?;
        let end = End { offset: checkpoint.log_end, file_pos: checkpoint.active_size };
        if (checkpoint.active_base, checkpoint.active_size) != *last
            || checkpoint.recovery_point != checkpoint.log_end
            || end.offset < checkpoint.active_base
        {
            return None;
        }
        let segment = Arc::new(Segment::open(self.place.segment(last.0), end));
        let holds = end.file_pos == 0 || segment.reader().ok()?.ends_with_its_last_batch(end);
        holds.then_some(segment)
    }

    /// Opens segments that need no scan. Each ends where the next one, or `next_base`, begins.
    fn open_unscanned(&self, segments: &[(Offset, FilePos)], next_base: Offset) -> Vec<Arc<Segment>> {
        let next_bases = segments.iter().skip(1).map(|(base, _)| *base).chain([next_base]);
        let ends = next_bases.zip(segments).map(|(offset, (_, len))| End { offset, file_pos: *len });
        segments.iter().zip(ends).map(|((base, _), end)| Arc::new(Segment::open(self.place.segment(*base), end))).collect()
    }

    /// Reads everything from the recovery point on, and cuts the log where it is torn.
    fn scan(&mut self, all: &[(Offset, FilePos)]) -> Result<(Vec<Arc<Segment>>, Arc<Segment>)> {
        let recovery_point = self.checkpoint.map_or(0, |checkpoint| checkpoint.recovery_point);
        let first = all.partition_point(|(base, _)| *base <= recovery_point).saturating_sub(1);
        let (unscanned, to_scan) = all.split_at(first);
        let first_base = to_scan.first().map_or(0, |(base, _)| *base);
        let mut segments = self.open_unscanned(unscanned, first_base);
        for (at, (base, len)) in to_scan.iter().enumerate() {
            let behind = to_scan.get(at + 1..).unwrap_or_default();
            let scanned = self.scan_file(self.place.segment(*base), *len)?;
            let next_base = behind.first().map(|(base, _)| *base);
            let is_cut = scanned.found.damage.is_some() || next_base.is_some_and(|next| !self.joins(&scanned, next));
            if is_cut {
                self.cut(&scanned, behind)?;
            }
            let Scanned { place, found, indexes, .. } = scanned;
            // Behind compacted offsets the next segment may begin later than this one ends.
            let offset = next_base.filter(|_| !is_cut).unwrap_or(found.next_offset);
            place.write_indexes(&indexes);
            segments.push(Arc::new(Segment::open(place, End { offset, file_pos: found.valid_end })));
            if is_cut {
                break;
            }
        }
        self.sync_dir()?;
        let active = segments.pop().ok_or_else(|| Error::storage("no segment was found"))?; // `all` is not empty
        Ok((segments, active))
    }

    /// Whether the segment at `next` goes on where this one ends, or behind a gap that compaction left.
    fn joins(&self, scanned: &Scanned, next: Offset) -> bool {
        let end = scanned.found.next_offset;
        end == next || (end < next && end < self.place.gaps_below)
    }

    /// Walks a file from its beginning, as the device has it, and makes its indexes.
    fn scan_file(&mut self, place: SegmentPlace, len: FilePos) -> Result<Scanned> {
        let path = place.path(SegmentFile::Log);
        let file = place.disk.open(&path, OpenMode::Write).map_err(|error| self.refused("open", &path, error))?;
        file.sync().map_err(|error| sync_failed(&path, error).in_partition(&self.place.partition))?;
        file.drop_cache().map_err(|error| self.refused("drop the cache of", &path, error))?;
        let (indexes, mut indexer) = (Indexes::default(), Indexer::new(place.index_interval));
        let offsets = ScanOffsets { base: place.base, gaps_below: place.gaps_below };
        let found = scan(&*file, (0, len), offsets, |file_pos, batch| {
            indexer.note(place.base, file_pos, batch, &indexes);
        })
        .map_err(|error| self.refused("read the segment", &path, error))?;
        indexer.note_end(&indexes);
        self.recovery.scanned_bytes += u64::from(len);
        Ok(Scanned { place, file, len, found, indexes })
    }

    /// Ends the log at the end of the batches of `scanned`. The segments `behind` go first, so that a crash in between
    /// leaves the same to be found again.
    fn cut(&mut self, scanned: &Scanned, behind: &[(Offset, FilePos)]) -> Result<()> {
        let Scanned { place, file, len, found, .. } = scanned;
        let path = place.path(SegmentFile::Log);
        let end = End { offset: found.next_offset, file_pos: found.valid_end };
        let mut reason = match (found.damage, behind.first()) {
            (Some(damage), _) => damage.to_string(),
            (None, Some((next, _))) => format!("the next segment begins at offset {next}"),
            (None, None) => return Ok(()),
        };
        let refusal = match self.checkpoint {
            Some(Checkpoint { recovery_point, .. }) if end.offset < recovery_point => {
                Some(format!(", below the recovery point {recovery_point}"))
            }
            None if !behind.is_empty() => Some(", with segments behind it and no checkpoint".to_owned()),
            _ => None,
        };
        if let Some(refusal) = refusal {
            reason.push_str(&refusal);
            return Err(corrupt(self.place, &path, end, reason));
        }
        let mut kept_in = Vec::new();
        for (base, len) in behind.iter().rev() {
            kept_in.extend(self.set_aside(*base, *len)?);
        }
        if self.is_worth_keeping(scanned)? {
            kept_in.push(self.keep_end(&**file, &path, (end.file_pos, *len))?);
        }
        if end.file_pos < *len {
            // Synced before anything is appended: what is cut must not come back behind new batches.
            file.set_len(u64::from(end.file_pos)).map_err(|error| self.refused("cut the segment", &path, error))?;
            file.sync().map_err(|error| sync_failed(&path, error).in_partition(&self.place.partition))?;
        }
        self.recovery.cut = Some(Cut {
            file_pos: u64::from(end.file_pos),
            bytes: u64::from(len - end.file_pos) + behind.iter().map(|(_, len)| u64::from(*len)).sum::<u64>(),
            log_end: end.offset,
            file: path,
            reason,
            kept_in,
        });
        Ok(())
    }

    fn is_worth_keeping(&self, scanned: &Scanned) -> Result<bool> {
        let Scanned { place, file, len, found, .. } = scanned;
        match found.damage {
            None | Some(Damage::Zeros) => Ok(false),
            Some(Damage::Malformed(_)) => Ok(true),
            Some(Damage::Torn) => holds_batch_behind(&**file, (found.valid_end, *len), (place.base, found.next_offset))
                .map_err(|error| self.refused("read the segment", &place.path(SegmentFile::Log), error)),
        }
    }

    /// Copies the bytes of a range into a side file; durable before they are cut off.
    fn keep_end(&self, file: &dyn DiskFile, path: &Path, (from, end): (FilePos, FilePos)) -> Result<PathBuf> {
        let kept_in = self.free_name(path, &format!(".{from}.corrupt"));
        let copy = || -> io::Result<()> {
            let copy = self.place.disk.open(&kept_in, OpenMode::Create)?;
            let mut piece = vec![0; 256 * 1024];
            let mut at = u64::from(from);
            while at < u64::from(end) {
                let read = file.read_at(&mut piece, at)?;
                let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
                copy.write_at(bytes, at - u64::from(from))?;
                at += read as u64;
            }
            copy.sync()
        };
        copy().map_err(|error| self.refused("keep the end of the segment in", &kept_in, error))?;
        self.sync_dir()?;
        Ok(kept_in)
    }

    /// Takes a whole segment out of the log. Its batches stay, under a name that is not a segment's.
    fn set_aside(&self, base: Offset, len: FilePos) -> Result<Option<PathBuf>> {
        let (disk, place) = (&self.place.disk, self.place.segment(base));
        let path = place.path(SegmentFile::Log);
        let kept_in = (len > 0).then(|| self.free_name(&path, ".corrupt"));
        match &kept_in {
            Some(kept_in) => disk.rename(&path, kept_in),
            None => disk.remove_file(&path),
        }
        .map_err(|error| self.refused("take the segment out of the log", &path, error))?;
        for index in [SegmentFile::OffsetIndex, SegmentFile::TimeIndex] {
            let _ = disk.remove_file(&place.path(index)); // usually not there, and checked before it is used
        }
        self.sync_dir()?;
        Ok(kept_in)
    }

    /// A name for a side file that no earlier recovery has used.
    fn free_name(&self, path: &Path, suffix: &str) -> PathBuf {
        let named = |number: u32| {
            let mut name = OsString::from(path);
            name.push(if number == 0 { suffix.to_owned() } else { format!("{suffix}.{number}") });
            PathBuf::from(name)
        };
        let is_free = |path: &PathBuf| {
            let opened = self.place.disk.open(path, OpenMode::Read);
            opened.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        (0..1000).map(named).find(is_free).unwrap_or_else(|| named(1000))
    }

    fn sync_dir(&self) -> Result<()> {
        let LogPlace { disk, dir, .. } = self.place;
        disk.sync_dir(dir).map_err(|error| self.refused("sync the directory", dir, error))
    }

    fn refused(&self, operation: &'static str, path: &Path, error: io::Error) -> Error {
        Error::io(operation, path, error).in_partition(&self.place.partition)
    }
}

fn corrupt(place: &LogPlace, path: &Path, end: End, reason: String) -> Error {
    Error::new(ErrorKind::CorruptRecord { offset: end.offset, reason })
        .in_partition(&place.partition)
        .at_file(path)
        .at_file_pos(u64::from(end.file_pos))
}

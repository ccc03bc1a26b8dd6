//! Opening a log: what is found on the disk becomes a log again.
//!
//! After a clean close the checkpoint says where the log ends, and only the last batch is looked at. Otherwise every
//! segment from the one that holds the recovery point on is synced, read back from the device, and walked with every
//! check. What is there decides:
//!
//! | where | what is found | done |
//! |---|---|---|
//! | last segment, behind the recovery point | a batch whose end is missing, or zeros | cut off |
//! | last segment, behind the recovery point | anything else that is not a batch | cut off, kept in a side file |
//! | last segment, below the recovery point | damage | the partition does not open |
//! | a segment with others behind it | damage, or offsets of the next one | the partition does not open |
//! | below the segment of the recovery point | not looked at | found when it is read |
//!
//! The sync before the walk is not for the writes of this process: a sync that failed before the crash can have left
//! pages in the cache that never reached the device, and what is read from such a page is no evidence (log.md 11).

use std::fmt;
use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;
use super::log::{Log, LogPlace, sync_failed};
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{Damage, End, Indexer, Indexes, Scan, Segment, SegmentFile, SegmentPlace, scan};
use crate::sync::Arc;
use crate::sys::{DiskFile, OpenMode};
use crate::types::{FilePos, Offset, TopicPartition};

/// What opening one partition found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecovery {
    /// The partition.
    pub partition: TopicPartition,
    /// Segments of the log.
    pub segments: usize,
    /// Bytes that were read and checked; after a clean close only the last batch is, which does not count.
    pub scanned_bytes: u64,
    /// What was cut off, if anything was.
    pub cut: Option<Cut>,
}

/// The end of a log that was cut off because it is not a row of whole batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment file.
    pub file: PathBuf,
    /// Bytes of the file that stayed.
    pub file_pos: u64,
    /// Bytes cut off.
    pub bytes: u64,
    /// The offset that the next record gets.
    pub log_end: Offset,
    /// What was found in place of a batch.
    pub reason: String,
    /// Where the bytes were kept, if they may be more than a batch whose end is missing.
    pub kept_in: Option<PathBuf>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cut { file, file_pos, bytes, log_end, reason, .. } = self;
        write!(f, "cut {bytes} bytes from byte {file_pos} of {}: {reason}; log end {log_end}", file.display())?;
        match &self.kept_in {
            Some(kept_in) => write!(f, "; kept in {}", kept_in.display()),
            None => Ok(()),
        }
    }
}

impl Log {
    /// Opens the log in `place`, or creates it in an empty directory. `clean` tells whether the broker was closed in
    /// order when it last had the directory open.
    ///
    /// # Errors
    ///
    /// `Io` where the system refuses something, `CorruptRecord` where damage is found that is no torn end.
    pub(crate) fn open(place: LogPlace, clean: bool) -> Result<(Self, PartitionRecovery)> {
        let checkpoint = Checkpoint::load(&*place.disk, &place.dir);
        let found = Found::list(&place)?;
        let recovery = PartitionRecovery {
            partition: place.partition.clone(),
            segments: found.segments.len().max(1),
            scanned_bytes: 0,
            cut: None,
        };
        let Some((last, sealed)) = found.segments.split_last() else {
            return create(place, checkpoint).map(|log| (log, recovery));
        };
        let recovering = Recovering { place: &place, checkpoint, recovery };
        let trusted = if clean { recovering.trust_checkpoint(last) } else { None };
        let (sealed, active, recovery) = match trusted {
            Some(active) => (recovering.open_unscanned(sealed, active.base())?, active, recovering.recovery),
            None => recovering.scan(sealed, last)?,
        };
        let log_start = checkpoint.map_or(0, |checkpoint| checkpoint.log_start);
        let log_start = log_start.max(sealed.first().unwrap_or(&active).base());
        if active.written().offset < log_start {
            return Err(corrupt(
                &place,
                &active.path(),
                active.written(),
                format!("the log ends before its start, {log_start}"),
            ));
        }
        Ok((Log::new(place, sealed, active, log_start), recovery))
    }
}

/// A new log at the log start that the checkpoint has, else at 0.
fn create(place: LogPlace, checkpoint: Option<Checkpoint>) -> Result<Log> {
    let start = checkpoint.map_or(0, |checkpoint| checkpoint.log_start);
    let segment = Segment::create(place.segment(start, 0))
        .and_then(|segment| place.disk.sync_dir(&place.dir).map(|()| segment))
        .map_err(|error| Error::io("create the log", &place.dir, error).in_partition(&place.partition))?;
    Ok(Log::new(place, Vec::new(), Arc::new(segment), start))
}

/// The segment files of a directory, by base.
struct Found {
    segments: Vec<(Offset, FilePos)>,
}

impl Found {
    fn list(place: &LogPlace) -> Result<Self> {
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
        Ok(Found { segments })
    }
}

struct Recovering<'a> {
    place: &'a LogPlace,
    checkpoint: Option<Checkpoint>,
    recovery: PartitionRecovery,
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
        let segment = Segment::open(self.place.segment(last.0, last.1), end, None).ok()?;
        if segment.last_batch_ends_at(end) { Some(Arc::new(segment)) } else { None }
    }

    /// Opens segments that need no scan. Each ends where the next one, or `next_base`, begins.
    fn open_unscanned(&self, segments: &[(Offset, FilePos)], next_base: Offset) -> Result<Vec<Arc<Segment>>> {
        let next_bases = segments.iter().skip(1).map(|(base, _)| *base).chain([next_base]);
        segments
            .iter()
            .zip(next_bases)
            .map(|((base, len), next_base)| {
                let place = self.place.segment(*base, *len);
                let end = End { offset: next_base, file_pos: *len };
                self.open_segment(place, end, None)
            })
            .collect()
    }

    fn open_segment(&self, place: SegmentPlace, end: End, indexes: Option<Indexes>) -> Result<Arc<Segment>> {
        let path = place.path(SegmentFile::Log);
        Segment::open(place, end, indexes).map(Arc::new).map_err(|error| self.refused("open the segment", &path, error))
    }

    /// Reads everything from the recovery point on and cuts what is torn.
    fn scan(
        mut self,
        sealed: &[(Offset, FilePos)],
        last: &(Offset, FilePos),
    ) -> Result<(Vec<Arc<Segment>>, Arc<Segment>, PartitionRecovery)> {
        let recovery_point = self.checkpoint.map_or(0, |checkpoint| checkpoint.recovery_point);
        let unscanned = sealed.partition_point(|(base, _)| *base <= recovery_point).saturating_sub(1);
        let unscanned = if last.0 <= recovery_point { sealed.len() } else { unscanned };
        let (unscanned, scanned) = sealed.split_at(unscanned);
        let first_scanned = scanned.first().unwrap_or(last).0;
        let mut segments = self.open_unscanned(unscanned, first_scanned)?;

        let next_bases = scanned.iter().skip(1).chain([last]).map(|(base, _)| *base);
        for (segment, next_base) in scanned.iter().zip(next_bases) {
            segments.push(self.scan_sealed(*segment, next_base)?);
        }
        let active = self.scan_last(*last, recovery_point)?;
        self.place
            .disk
            .sync_dir(&self.place.dir)
            .map_err(|error| self.refused("sync the directory", &self.place.dir, error))?;
        Ok((segments, active, self.recovery))
    }

    fn scan_sealed(&mut self, (base, len): (Offset, FilePos), next_base: Offset) -> Result<Arc<Segment>> {
        let place = self.place.segment(base, len);
        let path = place.path(SegmentFile::Log);
        let (_, found, indexes) = self.scan_file(&place, len)?;
        let end = End { offset: next_base, file_pos: found.valid_end };
        if let Some(damage) = found.damage {
            let end = End { offset: found.next_offset, file_pos: found.valid_end };
            return Err(corrupt(self.place, &path, end, format!("{damage}, with more segments behind it")));
        }
        if found.next_offset > next_base {
            let reason =
                format!("it holds offsets up to {}, the next segment begins at {next_base}", found.next_offset);
            return Err(corrupt(self.place, &path, end, reason));
        }
        self.open_segment(place, end, Some(indexes))
    }

    fn scan_last(&mut self, (base, len): (Offset, FilePos), recovery_point: Offset) -> Result<Arc<Segment>> {
        let place = self.place.segment(base, len);
        let path = place.path(SegmentFile::Log);
        let (file, found, indexes) = self.scan_file(&place, len)?;
        let end = End { offset: found.next_offset, file_pos: found.valid_end };
        if let Some(damage) = found.damage {
            if found.next_offset < recovery_point {
                let reason = format!("{damage}, below the recovery point {recovery_point}");
                return Err(corrupt(self.place, &path, end, reason));
            }
            let kept_in = match damage {
                Damage::Torn | Damage::Zeros => None,
                Damage::Malformed(_) => Some(self.keep_end(&*file, &path, found.valid_end, len)?),
            };
            // Synced before anything is appended: what is cut must not come back behind new batches.
            file.set_len(u64::from(found.valid_end)).map_err(|error| self.refused("cut the segment", &path, error))?;
            file.sync().map_err(|error| sync_failed(&path, error).in_partition(&self.place.partition))?;
            self.recovery.cut = Some(Cut {
                file: path,
                file_pos: u64::from(found.valid_end),
                bytes: u64::from(len - found.valid_end),
                log_end: found.next_offset,
                reason: damage.to_string(),
                kept_in,
            });
        }
        self.open_segment(place, end, Some(indexes))
    }

    /// Walks a file from its beginning, as the device has it, and makes its indexes.
    fn scan_file(&mut self, place: &SegmentPlace, len: FilePos) -> Result<(Arc<dyn DiskFile>, Scan, Indexes)> {
        let path = place.path(SegmentFile::Log);
        let file = place.disk.open(&path, OpenMode::Write).map_err(|error| self.refused("open", &path, error))?;
        file.sync().map_err(|error| sync_failed(&path, error).in_partition(&self.place.partition))?;
        file.drop_cache().map_err(|error| self.refused("drop the cache of", &path, error))?;
        let (indexes, mut indexer) = (Indexes::default(), Indexer::new(place.index_interval));
        let found = scan(&*file, (0, len), (place.base, place.base), |file_pos, batch| {
            indexer.note(place.base, file_pos, batch, &indexes);
        })
        .map_err(|error| self.refused("read the segment", &path, error))?;
        indexer.note_end(&indexes);
        self.recovery.scanned_bytes += u64::from(len);
        Ok((file, found, indexes))
    }

    /// Copies the bytes behind `from` into a side file; durable before they are cut off.
    fn keep_end(&self, file: &dyn DiskFile, path: &Path, from: FilePos, len: FilePos) -> Result<PathBuf> {
        let mut kept_in = path.as_os_str().to_owned();
        kept_in.push(format!(".{from}.corrupt"));
        let kept_in = PathBuf::from(kept_in);
        let copy = || -> std::io::Result<()> {
            let copy = self.place.disk.open(&kept_in, OpenMode::Create)?;
            let mut piece = vec![0; 256 * 1024];
            let (mut at, end) = (u64::from(from), u64::from(len));
            while at < end {
                let read = file.read_at(&mut piece, at)?;
                let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
                copy.write_at(bytes, at - u64::from(from))?;
                at += read as u64;
            }
            copy.sync()?;
            self.place.disk.sync_dir(&self.place.dir)
        };
        copy().map_err(|error| self.refused("keep the end of the segment in", &kept_in, error))?;
        Ok(kept_in)
    }

    fn refused(&self, operation: &'static str, path: &Path, error: std::io::Error) -> Error {
        Error::io(operation, path, error).in_partition(&self.place.partition)
    }
}

fn corrupt(place: &LogPlace, path: &Path, end: End, reason: String) -> Error {
    Error::new(ErrorKind::CorruptRecord { offset: end.offset, reason })
        .in_partition(&place.partition)
        .at_file(path)
        .at_file_pos(u64::from(end.file_pos))
}

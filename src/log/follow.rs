//! Reading a log that another process writes.
//!
//! Nothing is locked and nothing is changed. What the owner has written is found by looking at the directory again: a
//! batch counts when all of it is there and its checksum holds. With durability `fsync` it is synced before it is shown,
//! here as there, so that no reader sees what a power cut can take. Segments that the owner removes stay readable for
//! those who hold slices of them.
//!
//! Where a file ends is not where its batches end while room is reserved behind them, and the owner gives that room back: a
//! byte in it must never be touched. So of segments that the checkpoint does not call finished the batches are counted.
//!
//! The settings are those that the topic had when the partition was opened here.

use std::io;

use super::checkpoint::Checkpoint;
use super::log::{Log, LogPlace, Start};
use super::producers::Producers;
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{End, ScanOffsets, Segment, SegmentFile, SegmentFollower, scan_whole};
use crate::sync::{Arc, Ordering};
use crate::sys::{OpenMode, SyncPoint};
use crate::types::{Durability, FilePos, Offset};

/// What a log that follows another process remembers.
#[derive(Debug)]
pub(super) struct Following {
    /// Follows the active segment.
    follower: SegmentFollower,
    /// Base and inode of the segments in the view.
    known: Vec<(Offset, u64)>,
    /// What tells the directory from another one that has its name later.
    identity: Vec<u8>,
}

/// A `.log` file in the directory.
#[derive(Clone, Copy)]
struct Found {
    base: Offset,
    len: FilePos,
    inode: u64,
}

impl Log {
    /// Opens the log in `place` for reading, whoever has it open for writing.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub(crate) fn open_read_only(mut place: LogPlace) -> Result<Self> {
        let checkpoint = checkpoint(&place);
        place.gaps_below = checkpoint.map_or(Offset::MAX, |checkpoint| checkpoint.cleaner_offset);
        let identity = identity(&place)?;
        let found = list(&place)?;
        let looking = Looking { place: &place, checkpoint };
        let (view, Some(follower)) = looking.look(&found, None)? else {
            return Err(Error::illegal_state("nobody follows the log").in_partition(&place.partition));
        };
        let known = known(&found);
        let sealed = view.segments().split_last().map_or(&[][..], |(_, sealed)| sealed).to_vec();
        let segments = (sealed, Arc::clone(view.active()));
        let start = Start {
            log_start: 0,
            recovery_point: 0,
            anchor: None,
            leader_epoch: 0,
            damaged: Vec::new(),
            producers: Producers::none(),
        };
        let mut log = Log::new(place, segments, start);
        log.following = Some(Following { follower, known, identity }.into());
        log.fail(Error::illegal_state("the directory was opened for reading only"));
        log.refresh()?;
        Ok(log)
    }

    /// Looks at what the owner did since the last look. Does nothing for a log that this process owns.
    ///
    /// # Errors
    ///
    /// What the system refuses. What was seen before can be read all the same.
    pub(crate) fn refresh(&self) -> Result<()> {
        let Some(following) = &self.following else { return Ok(()) };
        let following = &mut *following.lock();
        // Before the files are looked at: what it calls finished was finished then.
        let checkpoint = checkpoint(&self.place);
        let looking = Looking { place: &self.place, checkpoint };
        let found = list(&self.place)?;
        let view = self.view.load_full();
        if known(&found) == following.known && !following.is_outgrown(&found) {
            looking.catch_up(&mut following.follower)?;
        } else {
            let (view, follower) = looking.look(&found, Some((&view, following)))?;
            // All of it or nothing, and nothing of another log that has the directory's name by now.
            check_identity(&self.place, following)?;
            following.known = known(&found);
            match follower {
                Some(follower) => following.follower = follower,
                None => looking.catch_up(&mut following.follower)?,
            }
            self.view.store(Arc::new(view));
        }
        let first_base = self.view.load().segments().first().map_or(0, |first| first.base());
        let log_start = checkpoint.map_or(first_base, |checkpoint| checkpoint.log_start.max(first_base));
        self.log_start.fetch_max(log_start.min(self.high_watermark()), Ordering::AcqRel);
        Ok(())
    }

    /// Whether the directory is still that of the log that was opened, and not one of its name that was made after it was
    /// deleted: segments are opened by name when they are read.
    pub(super) fn check_followed(&self) -> Result<()> {
        self.following.as_ref().map_or(Ok(()), |following| check_identity(&self.place, &following.lock()))
    }
}

impl Following {
    /// The segment of the view that a file is, if it is one.
    fn segment(&self, found: &Found, view: &View) -> Option<Arc<Segment>> {
        let same = view.segments().iter().find(|segment| segment.base() == found.base);
        same.filter(|_| self.known.contains(&(found.base, found.inode))).map(Arc::clone)
    }

    /// Whether the last file has become larger than its map.
    fn is_outgrown(&self, found: &[Found]) -> bool {
        found.last().is_some_and(|last| self.follower.is_too_small_for(last.len))
    }
}

/// A look at the directory.
struct Looking<'a> {
    place: &'a LogPlace,
    /// From before the look: what it calls finished was finished then.
    checkpoint: Option<Checkpoint>,
}

impl Looking<'_> {
    /// The segments that are there now, and what follows the last one, if that is another one than before. What is known
    /// from `before` keeps what is open of it.
    fn look(&self, found: &[Found], before: Option<(&View, &Following)>) -> Result<(View, Option<SegmentFollower>)> {
        let Some((last, others)) = found.split_last() else {
            let reason = "the directory of the partition has no segment";
            return Err(Error::storage(reason).at_file(&self.place.dir).in_partition(&self.place.partition));
        };
        let next_bases = others.iter().skip(1).map(|found| found.base).chain([last.base]);
        let sealed = others.iter().zip(next_bases).map(|(found, next_base)| {
            let known = before.and_then(|(view, following)| {
                following.segment(found, view).filter(|segment| !Arc::ptr_eq(segment, view.active()))
            });
            known.map_or_else(|| self.open_sealed(found, next_base), Ok)
        });
        let sealed = sealed.collect::<Result<Vec<_>>>()?;
        let followed = before.and_then(|(view, following)| {
            let is_followed = |segment: &Arc<Segment>| Arc::ptr_eq(segment, following.follower.segment());
            following.segment(last, view).filter(is_followed).filter(|_| !following.is_outgrown(found))
        });
        if let Some(active) = followed {
            return Ok((View::new(sealed, active), None));
        }
        // A file that outgrew the owner's setting gets twice the room, so that this does not happen with each append.
        let capacity = self.place.segment_bytes().max(last.len.saturating_mul(2).min(i32::MAX as FilePos));
        let mut follower = SegmentFollower::new(self.place.segment(last.base), capacity)
            .map_err(|error| self.refused(last.base, error))?;
        self.catch_up(&mut follower)?;
        Ok((View::new(sealed, Arc::clone(follower.segment())), Some(follower)))
    }

    /// Shows what was appended by now. Of a topic with durability `fsync` it is made durable first.
    fn catch_up(&self, follower: &mut SegmentFollower) -> Result<()> {
        let base = follower.segment().base();
        follower.catch_up(self.shows_durable_only()).map_err(|error| self.refused(base, error))
    }

    /// A segment that another one follows: all of it was written before that was made.
    fn open_sealed(&self, found: &Found, next_base: Offset) -> Result<Arc<Segment>> {
        let place = self.place.segment(found.base);
        let (disk, path) = (&self.place.disk, place.path(SegmentFile::Log));
        let finished_below = self.checkpoint.map_or(0, |checkpoint| checkpoint.active_base);
        let measure = || -> io::Result<FilePos> {
            let len = FilePos::try_from(disk.entry(&path)?.len).unwrap_or(FilePos::MAX); // now, not as it was listed
            if found.base < finished_below {
                return Ok(len); // durable, and as long as its batches
            }
            let file = disk.open(&path, OpenMode::Read)?;
            let offsets = ScanOffsets { base: place.base, from: place.base, gaps_below: place.gaps_below };
            let batches = scan_whole(&*file, (0, len), offsets, |_, _| {})?;
            if self.shows_durable_only() {
                file.sync(SyncPoint::FollowedSegment)?;
                disk.sync_dir(&self.place.dir, SyncPoint::FollowedSegmentName)?;
            }
            Ok(batches.valid_end)
        };
        let file_pos = match measure() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => found.len, // removed meanwhile: it cannot be opened
            measured => measured.map_err(|error| self.refused(found.base, error))?,
        };
        // Where its batches end before the next segment begins, reading says that something is missing.
        Ok(Arc::new(Segment::open(place, End { offset: next_base, file_pos })))
    }

    fn shows_durable_only(&self) -> bool {
        self.place.config.get_durability() == Durability::Fsync
    }

    fn refused(&self, base: Offset, error: io::Error) -> Error {
        let path = self.place.segment(base).path(SegmentFile::Log);
        Error::io("read the segment", &path, error).in_partition(&self.place.partition)
    }
}

fn checkpoint(place: &LogPlace) -> Option<Checkpoint> {
    Checkpoint::load(&*place.disk, &place.dir).ok().flatten()
}

/// Kafka's file with the topic id, which a partition keeps for life.
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";

fn identity(place: &LogPlace) -> Result<Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        let file = place.disk.open(&place.dir.join(PARTITION_METADATA), OpenMode::Read)?;
        let mut content = vec![0; 256]; // longer than any such file
        let read = file.read_at(&mut content, 0)?;
        content.truncate(read);
        Ok(content)
    };
    match read() {
        // A partition that somebody put here may come without; one that was deleted has not even a directory.
        Err(error) if error.kind() == io::ErrorKind::NotFound => place.disk.list(&place.dir).map(|_| Vec::new()),
        content => content,
    }
    .map_err(|error| not_there(place, error))
}

fn check_identity(place: &LogPlace, following: &Following) -> Result<()> {
    if identity(place)? == following.identity {
        return Ok(());
    }
    Err(unknown(place))
}

/// What becomes of an error about the directory: one that is gone was deleted.
fn not_there(place: &LogPlace, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => unknown(place),
        _ => Error::io("read the directory of the partition", &place.dir, error).in_partition(&place.partition),
    }
}

fn unknown(place: &LogPlace) -> Error {
    let (topic, partition) = (place.partition.topic().to_owned(), place.partition.partition());
    Error::new(ErrorKind::UnknownTopicOrPartition { topic, partition: Some(partition) })
}

fn list(place: &LogPlace) -> Result<Vec<Found>> {
    let entries = place.disk.list(&place.dir).map_err(|error| not_there(place, error))?;
    let segments = entries.iter().filter(|entry| !entry.is_dir).filter_map(|entry| {
        let (base, len) = (SegmentFile::Log.base_of(&entry.name)?, FilePos::try_from(entry.len).ok()?);
        Some(Found { base, len, inode: entry.inode })
    });
    let mut found: Vec<_> = segments.collect();
    found.sort_unstable_by_key(|found| found.base);
    Ok(found)
}

fn known(found: &[Found]) -> Vec<(Offset, u64)> {
    found.iter().map(|found| (found.base, found.inode)).collect()
}

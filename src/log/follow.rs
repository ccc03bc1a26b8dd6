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
//! Gaps in the offsets are not held against the log: the owner may be compacting it.

use std::io;

use super::checkpoint::Checkpoint;
use super::log::{Log, LogPlace, Start};
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{End, ScanOffsets, Segment, SegmentFile, SegmentFollower, scan_whole};
use crate::sync::{Arc, Ordering};
use crate::sys::OpenMode;
use crate::types::{FilePos, Offset};

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
        place.gaps_below = Offset::MAX;
        let identity = identity(&place)?;
        let finished_below = finished_below(&place); // before the files are looked at
        let found = list(&place)?;
        let Some((last, sealed)) = found.split_last() else {
            let reason = "the directory of the partition has no segment";
            return Err(Error::storage(reason).at_file(&place.dir).in_partition(&place.partition));
        };
        let sealed = open_sealed(&place, sealed, last.base, finished_below)?;
        let (active, follower) = follow(&place, last)?;
        let start = Start { log_start: 0, recovery_point: 0, anchor: None, leader_epoch: 0, damaged: Vec::new() };
        let mut log = Log::new(place, (sealed, active), start);
        log.following = Some(Following { follower, known: known(&found), identity }.into());
        log.fail(Error::illegal_state("the directory was opened for reading only"));
        log.refresh()?;
        Ok(log)
    }

    /// Looks at what the owner did since the last look. Does nothing for a log that this process owns.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub(crate) fn refresh(&self) -> Result<()> {
        let Some(following) = &self.following else { return Ok(()) };
        let following = &mut *following.lock();
        let finished_below = finished_below(&self.place); // before the files are looked at
        let (found, view) = (list(&self.place)?, self.view.load_full());
        if let Some((last, others)) = found.split_last()
            && known(&found) != following.known
        {
            let view = self.changed_view(&view, following, (others, last), finished_below)?;
            // Before anything of it is shown: what was opened by now was opened in the directory that was meant.
            check_identity(&self.place, following)?;
            following.known = known(&found);
            self.view.store(Arc::new(view));
        }
        let view = self.view.load_full();
        self.catch_up(view.active(), &mut following.follower)?;
        let checkpoint = Checkpoint::load(&*self.place.disk, &self.place.dir).ok().flatten();
        let first_base = view.segments().first().map_or(0, |first| first.base());
        let log_start = checkpoint.map_or(first_base, |checkpoint| checkpoint.log_start.max(first_base));
        self.log_start.fetch_max(log_start.min(self.high_watermark()), Ordering::AcqRel);
        Ok(())
    }

    /// Whether the directory is still that of the log that was opened, and not one of its name that was made after it was
    /// deleted: segments are opened by name when they are read.
    pub(super) fn check_followed(&self) -> Result<()> {
        self.following.as_ref().map_or(Ok(()), |following| check_identity(&self.place, &following.lock()))
    }

    /// The view of the segments that are there now. Those that were there before keep what is open of them.
    fn changed_view(
        &self,
        view: &View,
        following: &mut Following,
        (others, last): (&[Found], &Found),
        finished_below: Offset,
    ) -> Result<View> {
        let is_known = |found: &Found| following.known.contains(&(found.base, found.inode));
        let known_segment = |found: &Found| {
            let same = view.segments().iter().find(|segment| segment.base() == found.base);
            same.filter(|_| is_known(found)).map(Arc::clone)
        };
        let active = known_segment(last);
        let mut sealed = Vec::new();
        let next_bases = others.iter().skip(1).map(|found| found.base).chain([last.base]);
        for (found, next_base) in others.iter().zip(next_bases) {
            match known_segment(found) {
                Some(segment) if Arc::ptr_eq(&segment, view.active()) => {
                    // Rolled over: all of it was written before the next one was made.
                    self.catch_up(&segment, &mut following.follower)?;
                    segment.end_following(next_base);
                    sealed.push(segment);
                }
                Some(segment) => sealed.push(segment),
                None => sealed.extend(open_sealed(&self.place, &[*found], next_base, finished_below)?),
            }
        }
        let active = match active.filter(|active| Arc::ptr_eq(active, view.active())) {
            Some(active) => active,
            None => {
                let (active, follower) = follow(&self.place, last)?;
                following.follower = follower;
                active
            }
        };
        Ok(View::new(sealed, active))
    }

    fn catch_up(&self, segment: &Segment, follower: &mut SegmentFollower) -> Result<()> {
        let refused = |error| Error::io("read the segment", &segment.path(), error).in_partition(self.partition());
        segment.catch_up(follower, self.shows_durable_only()).map_err(refused)
    }
}

/// Kafka's file with the topic id, which a partition keeps for life.
const IDENTITY: &str = "partition.metadata";

fn identity(place: &LogPlace) -> Result<Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        let file = place.disk.open(&place.dir.join(IDENTITY), OpenMode::Read)?;
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

/// Every segment with a smaller base is durable and as long as its batches, and stays so: the owner's checkpoint says it
/// after it was done. What is not known to be so may still have room behind its batches.
fn finished_below(place: &LogPlace) -> Offset {
    let checkpoint = Checkpoint::load(&*place.disk, &place.dir).ok().flatten();
    checkpoint.map_or(0, |checkpoint| checkpoint.active_base)
}

fn open_sealed(
    place: &LogPlace,
    found: &[Found],
    next_base: Offset,
    finished_below: Offset,
) -> Result<Vec<Arc<Segment>>> {
    let next_bases = found.iter().skip(1).map(|found| found.base).chain([next_base]);
    let open = |(found, offset): (&Found, Offset)| {
        let file_pos = if found.base < finished_below { found.len } else { end_of_batches(place, found)? };
        Ok(Arc::new(Segment::open(place.segment(found.base), End { offset, file_pos })))
    };
    found.iter().zip(next_bases).map(open).collect()
}

/// Where the whole batches of a segment end: the owner never cuts those off.
fn end_of_batches(place: &LogPlace, found: &Found) -> Result<FilePos> {
    let segment = place.segment(found.base);
    let path = segment.path(SegmentFile::Log);
    let offsets = ScanOffsets { base: found.base, from: found.base, gaps_below: Offset::MAX };
    let file = place.disk.open(&path, OpenMode::Read);
    if file.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(found.len); // removed meanwhile, and it will not be opened
    }
    let scanned = file.and_then(|file| scan_whole(&*file, (0, found.len), offsets, |_, _| {}));
    let scanned =
        scanned.map_err(|error| Error::io("read the segment", &path, error).in_partition(&place.partition))?;
    Ok(scanned.valid_end)
}

fn follow(place: &LogPlace, found: &Found) -> Result<(Arc<Segment>, SegmentFollower)> {
    let segment = place.segment(found.base);
    let path = segment.path(SegmentFile::Log);
    let (segment, follower) = Segment::follow(segment, place.segment_bytes().max(found.len))
        .map_err(|error| Error::io("open the segment", &path, error).in_partition(&place.partition))?;
    Ok((Arc::new(segment), follower))
}

//! The producers of a log on the disk: which snapshots there are, and how what is known comes back after a restart.
//!
//! # When what is read and written
//!
//! - Opening a log looks at the names of its snapshots and opens none. What is known of producers comes back with the first
//!   append that needs it: the newest snapshot between the first segment's base and the log end that holds, then the
//!   headers of the batches from there to the log end.
//! - A roll takes a copy of what is known, in memory; it is written when the segment that was left is sealed, in the
//!   background. A close writes one at the log end. A log that never had a producer with an id has none.
//! - Kept are the snapshots at the last two segment bases and the newest. Retention removes those below the first segment,
//!   and sees to it first that what they know is not lost.
//!
//! # Invariants
//!
//! - A snapshot is a hint. It is not synced: one that is torn has the wrong checksum, and then an older one and a longer
//!   replay take its place, in the end the whole log.
//! - None above the log end is left when a log is open: what came there later would not be what it speaks of. It is gone
//!   for good before anything is appended.
//! - After a close in order a log without a snapshot has no producers. Names are synced with the checkpoint that follows
//!   them, so where a power cut takes the content of the last one, its name is there. Where it was not a close, or
//!   nobody looked at the producers after one, a snapshot without a producer at the first base says that the log has to
//!   be read.
//! - A snapshot that cannot be written is reported to the log of the process, and fails neither an append nor a close.
//!
//! Differently from Kafka, a snapshot counts as long as it is not below the first segment, instead of above the log start:
//! producers outlive the retention of all their records (log.md 13).

use std::io;

use super::log::{Log, LogPlace, Writer};
use super::producer_snapshot::{encode_snapshot, parse_snapshot, snapshot_name, snapshot_offset};
use super::producer_state::{Check, ProducerBatch, ProducerStates};
use super::seal::Seal;
use super::transactions::read_marker;
use super::view::View;
use crate::error::{Error, Result};
use crate::record::{Batch, BatchHeader, ControlType, EndTransaction, RecordIter};
use crate::segment::{ReadFailure, Segment, SegmentReader};
use crate::sync::Arc;
use crate::sys::OpenMode;
use crate::types::{FilePos, Offset, Timestamp};

/// Largest snapshot that is read, in bytes: some ten million producers.
const SNAPSHOT_LEN_MAX: u64 = 1 << 31;

/// The producers of a log, as far as they are known. Changed under the writer's lock.
#[derive(Debug, Default)]
pub(super) struct Producers {
    /// `None` until somebody has to know.
    states: Option<ProducerStates>,
    /// Offsets of the snapshots in the directory, the smallest first.
    files: Vec<Offset>,
    /// Whether the log may have producers although there is no snapshot.
    may_be_lost: bool,
    /// What was known at the last roll, and where that was, until it is written.
    rolled: Option<(Offset, ProducerStates)>,
}

impl Producers {
    /// Those of a log without a record.
    pub(super) fn none() -> Self {
        Producers { states: Some(ProducerStates::default()), ..Producers::default() }
    }

    /// Those of a log with the snapshots `files`. `is_closed` is whether it was closed in order, and is what its checkpoint
    /// says.
    pub(super) fn unknown(mut files: Vec<Offset>, is_closed: bool) -> Self {
        files.sort_unstable();
        Producers { files, may_be_lost: !is_closed, ..Producers::default() }
    }

    /// Takes note of an append that succeeded.
    pub(super) fn note(&mut self, batch: &Batch<'_>, now: Timestamp) {
        match &mut self.states {
            Some(states) if batch.is_control() => note_marker(states, batch, now),
            Some(states) => states.note(batch, now),
            None => {}
        }
    }

    /// Takes a copy of what is known where a new segment begins.
    pub(super) fn note_roll(&mut self, base: Offset) {
        if let Some(states) = self.states.as_ref().filter(|states| !states.is_empty() || !self.files.is_empty()) {
            self.rolled = Some((base, states.clone()));
        }
    }

    /// The snapshot with which a log is closed that goes from `first_base` to `end`, unless it is there or not needed.
    fn at_close(&mut self, first_base: Offset, end: Offset) -> Option<(Offset, Vec<u8>)> {
        self.rolled = None;
        match &self.states {
            Some(states) if self.files.last() == Some(&end) || (states.is_empty() && self.files.is_empty()) => None,
            Some(states) => Some((end, encode_snapshot(states))),
            None if self.may_be_lost && self.files.is_empty() && first_base < end => {
                Some((first_base, encode_snapshot(&ProducerStates::default())))
            }
            None => None,
        }
    }
}

/// Offsets of the snapshots among the names of a partition's directory.
pub(super) fn snapshots(names: &[String]) -> Vec<Offset> {
    names.iter().filter_map(|name| snapshot_offset(name)).collect()
}

impl LogPlace {
    /// Removes a snapshot; it may be gone.
    pub(super) fn remove_snapshot(&self, offset: Offset) -> io::Result<()> {
        match self.disk.remove_file(&self.dir.join(snapshot_name(offset))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether a snapshot is there and was written in part only, as a power cut leaves it.
    pub(super) fn is_snapshot_torn(&self, offset: Offset) -> bool {
        self.snapshot_bytes(offset).is_ok_and(|bytes| parse_snapshot(&bytes).is_err())
    }

    fn snapshot_bytes(&self, offset: Offset) -> io::Result<Vec<u8>> {
        let file = self.disk.open(&self.dir.join(snapshot_name(offset)), OpenMode::Read)?;
        let len = file.len()?;
        let mut bytes = vec![0; usize::try_from(len.min(SNAPSHOT_LEN_MAX)).unwrap_or_default()];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// What a snapshot says, or why it does not count.
    ///
    /// # Errors
    ///
    /// `Io` for a want of something that comes back: nothing is known of the snapshot then.
    fn read_snapshot(&self, offset: Offset, now: Timestamp) -> Result<std::result::Result<ProducerStates, String>> {
        match self.snapshot_bytes(offset) {
            Ok(bytes) => Ok(parsed(&bytes, offset, now)),
            Err(error) => {
                let why = error.to_string();
                let path = self.dir.join(snapshot_name(offset));
                let error = Error::io("read the producer snapshot", &path, error).in_partition(&self.partition);
                if error.is_retriable() { Err(error) } else { Ok(Err(why)) }
            }
        }
    }
}

/// What the content of the snapshot at `offset` says, or why it does not count.
fn parsed(bytes: &[u8], offset: Offset, now: Timestamp) -> std::result::Result<ProducerStates, String> {
    let mut states = ProducerStates::default();
    for mut entry in parse_snapshot(bytes)? {
        if entry.state.batches().iter().any(|batch| offset < batch.end()) {
            return Err("it knows of batches behind its own offset".to_owned());
        }
        entry.state.seen = entry.state.seen.min(now); // a clock that went back must not keep it for ever
        states.restore(entry.producer_id, entry.state);
    }
    Ok(states)
}

impl Log {
    /// The batch that `batch` repeats, if it does: then it must not be written. The caller holds the writer's lock and
    /// appends the batch under it, or does not.
    ///
    /// # Errors
    ///
    /// Those of the table in producer.md 6, and what the system answers when the log has to be read.
    pub(super) fn find_duplicate(
        &self,
        writer: &mut Writer,
        batch: &BatchHeader,
        now: Timestamp,
    ) -> Result<Option<ProducerBatch>> {
        let has_id = batch.producer_id().is_some();
        if writer.producers.states.is_none() && (has_id || !writer.producers.files.is_empty()) {
            match self.load_producers(writer, now) {
                Err(error) if has_id => return Err(error),
                _ => {} // the next one that needs it will find out again
            }
        }
        let Some(states) = writer.producers.states.as_ref().filter(|_| has_id) else { return Ok(None) };
        match states.check(batch) {
            Check::Append => Ok(None),
            Check::Duplicate(original) => Ok(Some(original)),
            Check::Refuse(kind) => Err(Error::new(kind).in_partition(self.partition())),
        }
    }

    /// Finds out what the log knows of producers. The caller holds the writer's lock.
    #[cold]
    fn load_producers(&self, writer: &mut Writer, now: Timestamp) -> Result<()> {
        let view = self.view.load_full();
        let first_base = view.segments().first().map_or(0, |first| first.base());
        let producers = &mut writer.producers;
        let mut found = None;
        while let Some(offset) = producers.files.last().copied().filter(|_| found.is_none()) {
            if offset < first_base {
                break;
            }
            match self.place.read_snapshot(offset, now)? {
                Ok(states) => found = Some((offset, states)),
                Err(why) => {
                    tracing::warn!("{}: the producer snapshot at {offset} does not count: {why}", self.partition());
                    let _ = self.place.remove_snapshot(offset); // it is not read again, as long as this log is open
                    producers.files.pop();
                    producers.may_be_lost = true;
                }
            }
        }
        let (from, mut states) = match found {
            Some(found) => found,
            None if producers.may_be_lost => (first_base, ProducerStates::default()),
            None => (Offset::MAX, ProducerStates::default()),
        };
        self.replay_producers(&view, from, &mut states, now)?;
        producers.states = Some(states);
        Ok(())
    }

    /// Adds what the batches from `from` on say. Damage in between hides the rest of its segment, and nothing else.
    fn replay_producers(&self, view: &View, from: Offset, states: &mut ProducerStates, now: Timestamp) -> Result<()> {
        for segment in view.segments_from(from).iter().filter(|segment| from < segment.written().offset) {
            let refused = |error| Error::io("read the segment", &segment.path(), error).in_partition(self.partition());
            match replay_segment(segment, from, states, now) {
                Ok(()) => {}
                Err(ReadFailure::Io(error)) => return Err(refused(error)),
                Err(ReadFailure::Damage(damage)) => tracing::warn!(
                    "{}: producers may be unknown that wrote to {} behind byte {}",
                    self.partition(),
                    segment.path().display(),
                    damage.file_pos
                ),
            }
        }
        Ok(())
    }

    /// Before segments below `first_base` go: what only they and the snapshots below it know becomes known. Returns whether
    /// it has to be written down. The caller holds the writer's lock.
    pub(super) fn keep_producers(&self, writer: &mut Writer, first_base: Offset, now: Timestamp) -> bool {
        let goes = |producers: &Producers| producers.files.first().is_some_and(|offset| *offset < first_base);
        if writer.producers.states.is_none() && goes(&writer.producers) && self.load_producers(writer, now).is_err() {
            return false;
        }
        let end = writer.active.written().offset;
        let producers = &mut writer.producers;
        let stays = producers.rolled.is_some() || producers.files.last().is_some_and(|offset| first_base <= *offset);
        match &producers.states {
            Some(states) if !stays && (!states.is_empty() || !producers.files.is_empty()) => {
                producers.rolled = Some((end, states.clone()));
                true
            }
            _ => false,
        }
    }

    /// Removes the snapshots below the first segment.
    pub(super) fn remove_snapshots_below(&self, first_base: Offset) {
        let gone: Vec<_> = {
            let mut writer = self.writer.lock();
            writer.producers.files.extract_if(.., |offset| *offset < first_base).collect()
        };
        for offset in gone {
            let _ = self.place.remove_snapshot(offset); // does not count, and goes with the next open
        }
    }

    /// Writes down what is known of producers: what was known at the last roll, or all of it where the log is closed. The
    /// caller holds `sealing`. What fails is left undone.
    pub(super) fn write_snapshot(&self, which: Seal) {
        let view = self.view.load_full();
        let first_base = view.segments().first().map_or(0, |first| first.base());
        let snapshot = {
            let mut writer = self.writer.lock();
            match which {
                Seal::All => {
                    let end = writer.active.written().offset;
                    writer.producers.at_close(first_base, end)
                }
                _ => None,
            }
            .map_or_else(|| writer.producers.rolled.take().map(Err), |closing| Some(Ok(closing)))
        };
        let Some(snapshot) = snapshot else { return };
        let (offset, content) = snapshot.unwrap_or_else(|(offset, states)| (offset, encode_snapshot(&states)));
        let path = self.place.dir.join(snapshot_name(offset));
        let disk = &self.place.disk;
        let write = || disk.open(&path, OpenMode::Create)?.write_at(&content, 0);
        let written = if which == Seal::All { self.place.reserve.with_io(write) } else { write() };
        if let Err(error) = written {
            tracing::warn!("{}: the producer snapshot at {offset} was not written: {error}", self.partition());
            let _ = disk.remove_file(&path);
            return;
        }
        let bases = view.segments().iter().rev().take(2).map(|segment| segment.base());
        let kept: Vec<_> = bases.chain([offset]).collect();
        let gone: Vec<_> = {
            let files = &mut self.writer.lock().producers.files;
            if let Err(at) = files.binary_search(&offset) {
                files.insert(at, offset);
            }
            files.extract_if(.., |file| !kept.contains(file)).collect()
        };
        for offset in gone {
            let _ = self.place.remove_snapshot(offset); // one that stays does no harm
        }
    }

    /// Forgets producers that were idle for `limit` milliseconds or longer. Returns how many.
    ///
    /// Rule: log.md 13, `ProducerStateManager.removeExpiredProducers`. Differently from Kafka, what counts is when they were
    /// appended to, and not the time that their records claim to be from.
    pub(crate) fn expire_producers(&self, now: Timestamp, limit: i64) -> usize {
        self.writer.lock().producers.states.as_mut().map_or(0, |states| states.expire(now, limit))
    }

    /// What is known of producers, as a snapshot would have it.
    #[cfg(test)]
    pub(super) fn known_producers(&self) -> Vec<super::producer_snapshot::ProducerEntry> {
        let mut writer = self.writer.lock();
        if writer.producers.states.is_none() {
            self.load_producers(&mut writer, 0).unwrap();
        }
        let states = writer.producers.states.as_ref().unwrap();
        parse_snapshot(&encode_snapshot(states)).unwrap()
    }

    /// For a copy of the log that begins at `first_base` and ends at `end`: the newest snapshot that speaks of nothing else,
    /// and whether the copy needs one.
    pub(super) fn snapshot_of_copy(&self, first_base: Offset, end: Offset) -> (Option<Offset>, bool) {
        let writer = self.writer.lock();
        let Producers { states, files, may_be_lost, .. } = &writer.producers;
        let fits = files.iter().copied().filter(|offset| first_base <= *offset && *offset <= end);
        let has_some = states.as_ref().map_or(*may_be_lost, |states| !states.is_empty());
        (fits.max(), has_some || !files.is_empty())
    }
}

/// Adds what the batches of a segment from `from` on say.
fn replay_segment(
    segment: &Arc<Segment>,
    from: Offset,
    states: &mut ProducerStates,
    now: Timestamp,
) -> std::result::Result<(), ReadFailure> {
    let (reader, end) = (segment.reader()?, segment.written());
    let mut file_pos = 0;
    if segment.base() < from {
        match reader.find(from, end) {
            Ok(Some((found, _))) => file_pos = found,
            Ok(None) => return Ok(()),
            Err(ReadFailure::Damage(_)) => {} // from the beginning, as far as it goes
            Err(error) => return Err(error),
        }
    }
    let mut headers = reader.headers(end);
    while let Some(batch) = headers.at(file_pos)? {
        if from <= batch.base_offset() {
            replay_batch(&reader, (file_pos, batch), states, now)?;
        }
        file_pos += batch.size() as FilePos;
    }
    Ok(())
}

fn replay_batch(
    reader: &SegmentReader,
    (file_pos, batch): (FilePos, &BatchHeader),
    states: &mut ProducerStates,
    now: Timestamp,
) -> io::Result<()> {
    if batch.producer_id().is_none() {
        return Ok(());
    }
    if !batch.is_control() {
        states.note(batch, now);
        return Ok(());
    }
    let bytes = reader.batch_bytes(file_pos, batch)?;
    if let Ok(Some(marker)) = Batch::first(&bytes) {
        note_marker(states, &marker, now);
    }
    Ok(())
}

/// A marker without its record, or with another one than announced, ends nothing.
fn note_marker(states: &mut ProducerStates, marker: &Batch<'_>, now: Timestamp) {
    if let Some(coordinator_epoch) = coordinator_epoch(marker) {
        states.end_transaction(marker, coordinator_epoch, now);
    }
}

/// The epoch of the coordinator that ended a transaction, if that is what the marker does.
fn coordinator_epoch(marker: &Batch<'_>) -> Option<i32> {
    let kind = read_marker(marker).ok().flatten()?;
    if !matches!(kind, ControlType::Abort | ControlType::Commit) {
        return None;
    }
    let record = RecordIter::new(*marker, marker.records_bytes()).next()?;
    EndTransaction::from_value(record.value()?).ok().map(|value| value.coordinator_epoch)
}

//! A log's settings, which can change while it is in use.
//!
//! They are swapped under the writer's lock, so an append sees one state of them. What a segment was made with, its
//! capacity and the distance of its index entries, holds until the next one; a smaller `segment.bytes` holds at once.

use super::log::{Log, LogPlace, Writer};
use super::usage::Usage;
use crate::config::TopicConfig;
use crate::error::{Error, Result};
use crate::segment::{Room, Segment, SegmentPlace};
use crate::sync::{Arc, Guard};
use crate::types::{Durability, FilePos, Offset};

impl Log {
    /// The topic's settings. Takes no lock and allocates nothing; hold it for a moment only.
    pub(crate) fn config(&self) -> Guard<Arc<TopicConfig>> {
        self.config.load()
    }

    /// What all logs of the data directory hold together.
    pub(crate) fn usage(&self) -> &Usage {
        &self.place.usage
    }

    /// Goes on with other settings: appends that begin after this call, fetches and retention use them.
    ///
    /// What readers saw they go on seeing. Towards `fsync`, a record that is appended from now on is seen when it is
    /// durable; from `fsync` to another mode, records that wait for a sync are seen at once, unless that sync failed.
    pub(crate) fn alter(&self, config: &Arc<TopicConfig>) {
        // Under the lock, and all segments before the next append: one must not show anything before those in front of
        // it show everything.
        let _writer = self.writer.lock();
        self.config.store(Arc::clone(config));
        if config.get_durability() != Durability::Os {
            self.promise();
        }
        if !self.shows_durable_only() && self.check_failure().is_ok() {
            self.view.load().segments().iter().for_each(|segment| segment.show(segment.written()));
        }
    }

    /// A sync is promised of what is in the log and not durable.
    pub(crate) fn promise(&self) {
        self.view.load().segments_from(self.durable()).iter().for_each(|segment| segment.promise());
    }

    /// Whether readers see a record only after it is durable.
    pub(super) fn shows_durable_only(&self) -> bool {
        self.config().get_durability() == Durability::Fsync
    }

    /// Bytes that a segment may have, as the present settings want it.
    pub(super) fn segment_bytes(&self) -> FilePos {
        FilePos::try_from(self.config().get_segment_bytes()).unwrap_or(FilePos::MAX)
    }

    /// How far a segment may grow, as the present settings want it.
    pub(super) fn room(&self) -> Room {
        let config = self.config();
        Room {
            capacity: self.segment_bytes(),
            preallocate: config.get_preallocate(),
            promises: config.get_durability() != Durability::Os,
        }
    }

    /// The place of a new segment at `base`, as the present settings want it.
    pub(super) fn new_segment_place(&self, base: Offset) -> SegmentPlace {
        let config = TopicConfig::clone(&self.config());
        LogPlace { config, ..self.place.clone() }.segment(base)
    }

    /// Gives the active segment, which is empty, the room that the present settings ask for; it was opened under others.
    ///
    /// The file stays: were it made anew and that failed, the log would be without it.
    pub(super) fn widen_empty(&self, writer: &mut Writer) -> Result<()> {
        let active = Arc::new(Segment::open(self.new_segment_place(writer.active.base()), writer.active.written()));
        active.forget_entry(); // a segment that is opened counts as one whose name is durable
        let writing = active
            .writer(self.room())
            .map_err(|error| Error::io("open the segment", &active.path(), error).in_partition(self.partition()))?;
        let view = self.view.load_full();
        let sealed = view.segments().split_last().map_or(&[][..], |(_, sealed)| sealed).to_vec();
        self.view.store(Arc::new(view.with(sealed, Arc::clone(&active))));
        writer.active = active;
        writer.writing = Some(writing);
        writer.must_roll = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::log::{FetchBudget, LeftBy};
    use crate::record::{BatchBuilder, Compression};
    use crate::sys::{Faults, FaultyDisk, OpenFiles};
    use crate::types::TopicPartition;

    fn open(dir: &Path, config: TopicConfig) -> (Log, Arc<Faults>) {
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        let partition = TopicPartition::new("t", 0);
        let place = LogPlace {
            partition,
            dir: dir.into(),
            disk: Arc::new(disk),
            open_files: OpenFiles::new(4, 4),
            usage: Arc::default(),
            reserve: Arc::default(),
            uses_reserve: false,
            config,
            gaps_below: Offset::MAX,
        };
        (Log::open(place, LeftBy::Crash).unwrap().0, faults)
    }

    fn append(log: &Log, len: usize) -> Result<()> {
        let mut builder = BatchBuilder::new();
        builder.push(1000, None, Some(&vec![7; len]), std::iter::empty());
        log.append(builder.finish(Compression::None, None).unwrap(), 1000).map(drop)
    }

    fn with(durability: Durability) -> TopicConfig {
        TopicConfig::new().durability(durability).internal_segment_bytes(300)
    }

    fn visible(log: &Log) -> (Offset, usize) {
        let records = log.fetch(log.log_start(), FetchBudget::new(1 << 20)).unwrap().decode(true).unwrap();
        (log.high_watermark(), records.len())
    }

    #[test]
    fn what_waits_for_a_sync_is_seen_when_none_is_promised_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path(), with(Durability::Fsync));
        (0..20).for_each(|_| append(&log, 50).unwrap()); // over several segments
        assert_eq!(visible(&log), (0, 0));
        log.alter(&Arc::new(with(Durability::Os)));
        assert_eq!(visible(&log), (20, 20));
        append(&log, 50).unwrap();
        assert_eq!(visible(&log), (21, 21));
    }

    /// Defends D4.
    #[test]
    fn what_was_seen_stays_and_what_comes_waits_when_syncs_are_promised() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path(), with(Durability::Os));
        (0..20).for_each(|_| append(&log, 50).unwrap());
        log.alter(&Arc::new(with(Durability::Fsync)));
        assert_eq!(visible(&log), (20, 20));
        (0..10).for_each(|_| append(&log, 50).unwrap());
        assert_eq!((visible(&log), log.durable(), log.log_end()), ((20, 20), 0, 30));
        log.sync_to(30).unwrap();
        assert_eq!((visible(&log), log.durable()), ((30, 30), 30));
    }

    #[test]
    fn what_a_failed_sync_hides_stays_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let (log, faults) = open(dir.path(), with(Durability::Fsync));
        append(&log, 50).unwrap();
        *faults.next_sync.lock() = Some(io::ErrorKind::Other);
        log.sync_to(1).unwrap_err();
        log.alter(&Arc::new(with(Durability::Os)));
        assert_eq!(visible(&log), (0, 0));
    }

    #[test]
    fn an_empty_segment_becomes_as_large_as_its_batches_may_be() {
        for records in [0, 1] {
            let dir = tempfile::tempdir().unwrap();
            let (log, faults) = open(dir.path(), with(Durability::Fsync));
            *faults.next_write.lock() = Some(io::ErrorKind::StorageFull);
            append(&log, 50).unwrap_err(); // the segment is open and empty
            (0..records).for_each(|_| append(&log, 50).unwrap());
            append(&log, 5000).unwrap_err();
            log.alter(&Arc::new(with(Durability::Fsync).internal_segment_bytes(10_000)));
            let segments = log.view.load().segments().len();
            append(&log, 5000).unwrap();
            let more = log.view.load().segments().len() - segments;
            assert_eq!(more == 0, records == 0, "the empty segment is opened again");
            append(&log, 5000).unwrap();
            append(&log, 4000).unwrap();
            let end = records + 3;
            log.sync_to(end).unwrap();
            assert_eq!(visible(&log), (end, end as usize));
            drop(log);
            let (log, _) = open(dir.path(), with(Durability::Fsync));
            assert_eq!(visible(&log), (end, end as usize));
        }
    }

    #[test]
    fn a_smaller_segment_size_holds_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path(), with(Durability::Os).internal_segment_bytes(10_000));
        append(&log, 500).unwrap();
        log.alter(&Arc::new(with(Durability::Os)));
        append(&log, 500).unwrap_err();
        append(&log, 50).unwrap();
        assert_eq!(log.view.load().segments().len(), 2);
    }

    #[test]
    fn nothing_is_written_to_a_directory_that_was_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path(), with(Durability::Fsync));
        (0..20).for_each(|_| append(&log, 50).unwrap());
        log.abandon(Error::illegal_state("given up"), 0);
        std::fs::remove_dir_all(dir.path()).unwrap();
        std::fs::create_dir(dir.path()).unwrap();
        append(&log, 50).unwrap_err();
        log.sync_to(20).unwrap_err();
        log.seal_rolled().unwrap_err();
        log.delete_records(0, 0).unwrap_err();
        log.enforce_retention(1000).unwrap_err();
        log.close().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

//! The log of one partition in memory.

use std::path::Path;
use std::time::Duration;

use super::follow::Following;
use super::producers::Producers;
use super::seal::{Anchor, Seal};
use super::sync::SyncGroups;
use super::transactions::TransactionList;
use super::usage::Usage;
use super::view::View;
use crate::config::TopicConfig;
use crate::error::{Error, Result};
use crate::segment::{Segment, SegmentPlace, SegmentWriter};
use crate::sync::{Arc, ArcSwap, AtomicI64, Mutex, OnceLock, Ordering};
use crate::sys::{Disk, OpenFiles, Reserve};
use crate::types::{FilePos, Offset, Timestamp, TopicPartition};

/// The log of one partition: appended to by one caller at a time, read by any number without a lock.
#[derive(Debug)]
pub(crate) struct Log {
    pub(super) place: LogPlace,
    /// The topic's settings. Swapped under the writer's lock; a stale value is as if the reader had come earlier.
    pub(super) config: ArcSwap<TopicConfig>,
    /// The segments. Swapped under the writer's lock; a reader loads it once per fetch, and a stale one only hides the
    /// newest segment.
    pub(super) view: ArcSwap<View>,
    /// The first offset that clients may read. Raised under `sealing`, after the checkpoint says so; a stale value lets a
    /// reader see what is being removed.
    pub(super) log_start: AtomicI64,
    /// All records below are durable. Raised by the one caller that syncs, after its sync; a stale value only makes a
    /// reader wait for what is there.
    pub(super) durable: AtomicI64,
    pub(super) writer: Mutex<Writer>,
    /// Who syncs, and who waits for it.
    pub(super) sync_groups: Mutex<SyncGroups>,
    /// What the checkpoint file says: all records below are durable, and that is on the disk. Raised under `sealing`; a
    /// stale value costs one more sealing.
    pub(super) recovery_point: AtomicI64,
    /// Held while records are removed; whether the log was closed, after which the directory may be somebody else's.
    pub(super) removing: Mutex<bool>,
    /// Held while segments are sealed and the checkpoint is written, so that checkpoints never go back: what the checkpoint
    /// says, if it says where.
    pub(super) sealing: Mutex<Option<Anchor>>,
    /// The epoch that appended batches get.
    pub(super) leader_epoch: i32,
    /// What cannot be read. Found when the log was opened.
    pub(super) damaged: Vec<DamagedRange>,
    /// How the log follows the process that owns it, if this one does not.
    pub(super) following: Option<Mutex<Following>>,
    /// What is not committed, once a reader had to know.
    pub(super) transactions: TransactionList,
    /// Why nothing more is appended. Set once, by damage, a failed sync, a torn write or a panic.
    pub(super) failure: OnceLock<Error>,
}

/// Where a log lives, and its topic's settings at the time of its opening.
#[derive(Clone, Debug)]
pub(crate) struct LogPlace {
    pub(crate) partition: TopicPartition,
    pub(crate) dir: Arc<Path>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) open_files: Arc<OpenFiles>,
    /// What all logs hold together: this one's part is [`size`](Log::size), until it is abandoned.
    pub(crate) usage: Arc<Usage>,
    /// Space for what must not fail on a full disk.
    pub(crate) reserve: Arc<Reserve>,
    /// Whether appends are part of that.
    pub(crate) uses_reserve: bool,
    pub(crate) config: TopicConfig,
    /// The checkpoint's cleaner offset: below it there may be gaps in the offsets, from it on a gap is damage. Everything
    /// until the checkpoint has been read.
    pub(crate) gaps_below: Offset,
}

/// What belongs to whoever appends.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) active: Arc<Segment>,
    /// What appends to it, from the first append of this process on.
    pub(super) writing: Option<SegmentWriter>,
    /// When this process first appended to the active segment: its age where its records have no time.
    pub(super) first_append: Option<Timestamp>,
    /// How much earlier than configured the active segment rolls by age; drawn when it is first needed.
    pub(super) jitter: Option<Duration>,
    /// Whether a write to the active segment failed for another reason than a lack of space: the next one goes to a new
    /// file, because some file systems report success for the same place and read back zeros (log.md 11).
    pub(super) must_roll: bool,
    /// The idempotent producers.
    pub(super) producers: Producers,
    /// Whether the log was closed: no appends any more.
    pub(super) closed: bool,
}

/// What a log knows of itself when it is opened, beside its segments.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) log_start: Offset,
    pub(super) recovery_point: Offset,
    /// What the checkpoint vouches for, if it says where that is.
    pub(super) anchor: Option<Anchor>,
    /// The epoch of the batches to come.
    pub(super) leader_epoch: i32,
    pub(super) damaged: Vec<DamagedRange>,
    pub(super) producers: Producers,
}

/// Offsets that cannot be read, and were left as they are.
#[derive(Debug)]
pub(super) struct DamagedRange {
    pub(super) from: Offset,
    /// Exclusive: the base of the next segment, or the end that was vouched for.
    pub(super) to: Offset,
    pub(super) error: Error,
}

impl Log {
    /// A log over `segments`, which recovery found whole and durable, but for what `start` names.
    pub(super) fn new(place: LogPlace, (sealed, active): (Vec<Arc<Segment>>, Arc<Segment>), start: Start) -> Self {
        let end = active.written();
        let writer = Writer {
            active: Arc::clone(&active),
            writing: None,
            first_append: None,
            jitter: None,
            must_roll: false,
            producers: start.producers,
            closed: false,
        };
        Log {
            recovery_point: AtomicI64::new(start.recovery_point),
            log_start: AtomicI64::new(start.log_start),
            durable: AtomicI64::new(end.offset),
            writer: Mutex::new(writer),
            view: ArcSwap::from_pointee(View::new(sealed, active)),
            config: ArcSwap::from_pointee(place.config.clone()),
            sync_groups: Mutex::default(),
            removing: Mutex::new(false),
            sealing: Mutex::new(start.anchor),
            failure: start.damaged.first().map(|damaged| damaged.error.clone()).map(OnceLock::from).unwrap_or_default(),
            following: None,
            leader_epoch: start.leader_epoch,
            damaged: start.damaged,
            transactions: TransactionList::default(),
            place,
        }
    }

    /// The partition whose log it is.
    pub(crate) fn partition(&self) -> &TopicPartition {
        &self.place.partition
    }

    /// The first offset that clients may read.
    pub(crate) fn log_start(&self) -> Offset {
        self.log_start.load(Ordering::Acquire)
    }

    /// End (exclusive) of what readers see.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.at_least_damaged(self.view.load().high_watermark().1.offset)
    }

    /// The offset that the next record will get.
    pub(crate) fn log_end(&self) -> Offset {
        self.at_least_damaged(self.view.load().log_end())
    }

    /// What was durable and cannot be read any more has had its offsets: the ends of a log lie behind it.
    pub(super) fn at_least_damaged(&self, end: Offset) -> Offset {
        self.damaged.iter().map(|damaged| damaged.to).fold(end, Offset::max)
    }

    /// End (exclusive) of what is known to be durable.
    pub(crate) fn durable(&self) -> Offset {
        self.durable.load(Ordering::Acquire)
    }

    /// Bytes of record batches in all segments.
    pub(crate) fn size(&self) -> u64 {
        self.view.load().segments().iter().map(|segment| u64::from(segment.written().file_pos)).sum()
    }

    /// The error that keeps this log from being appended to, if there is one.
    pub(crate) fn check_failure(&self) -> Result<()> {
        self.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Lets no append succeed any more. The first reason stays.
    pub(crate) fn fail(&self, error: Error) -> Error {
        self.failure.get_or_init(|| error.in_partition(self.partition())).clone()
    }

    /// Makes everything durable, writes the index files and the checkpoint, and lets no append follow.
    pub(crate) fn close(&self) -> Result<()> {
        *self.removing.lock() = true; // waits for a removal that is under way
        if !self.damaged.is_empty() || self.following.is_some() {
            return Ok(()); // nothing was changed
        }
        {
            let mut writer = self.writer.lock();
            if writer.closed {
                return Ok(());
            }
            writer.closed = true;
            if let Some(writing) = &writer.writing {
                writing.finish();
            }
        }
        self.sync_to(self.log_end())?;
        self.seal(Seal::All)
    }

    /// Lets nothing follow that goes by the name of the directory or of a file in it, for `reason`: the directory is
    /// going to be removed, and its name may be another log's then. When it returns, what was under way has ended.
    /// Those who hold slices go on reading them. Called once.
    pub(crate) fn abandon(&self, reason: Error, now: Timestamp) {
        self.fail(reason);
        *self.removing.lock() = true;
        self.writer.lock().closed = true;
        drop(self.sealing.lock());
        for segment in self.view.load().segments() {
            self.place.usage.pin(segment.retire(), u64::from(segment.written().file_pos), now);
        }
        self.place.usage.remove(self.size());
    }
}

impl LogPlace {
    /// The place of the segment at `base`.
    pub(super) fn segment(&self, base: Offset) -> SegmentPlace {
        SegmentPlace {
            disk: Arc::clone(&self.disk),
            open_files: Arc::clone(&self.open_files),
            dir: Arc::clone(&self.dir),
            base,
            gaps_below: self.gaps_below,
            index_interval: u32::try_from(self.config.get_index_interval_bytes()).unwrap_or(u32::MAX),
        }
    }

    /// Bytes that a segment may have.
    pub(super) fn segment_bytes(&self) -> FilePos {
        FilePos::try_from(self.config.get_segment_bytes()).unwrap_or(FilePos::MAX)
    }
}

/// The error of a log whose file could not be synced: nothing is known about what the device holds of it.
pub(super) fn sync_failed(file: &Path, error: std::io::Error) -> Error {
    Error::storage(
        "a sync failed: what was not acknowledged may be lost and nothing more is accepted; close the broker and open \
         it again, which reads back what the device has",
    )
    .at_file(file)
    .caused_by(error)
}

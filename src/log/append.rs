//! Appending: offsets are assigned, the segment is rolled where it must be, one write, and the end is published.

use std::io;

use super::log::{Log, Writer};

use crate::error::{Error, ErrorKind, Result};
use crate::record::{self, Batch};
use crate::segment::Segment;
use crate::sync::Ordering;
use crate::sys::{WriteFailure, is_out_of_handles};
use crate::types::{Offset, Timestamp, TimestampType};

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of its first record.
    pub(crate) base_offset: Offset,
    /// The offset after its last record: durable and visible from there on once the log's ends have reached it.
    pub(crate) end: Offset,
    /// The time that all its records carry, if the topic stamps them.
    pub(crate) log_append_time: Option<Timestamp>,
    /// Whether a segment was filled: [`Log::seal_rolled`] has something to do.
    pub(crate) rolled: bool,
    /// Whether it repeats a batch of its producer that is in the log: nothing was written, and the offsets and the time are
    /// those of the first.
    pub(crate) is_duplicate: bool,
}

impl Log {
    /// Appends one finished batch, whose records the caller has checked against the topic's settings, and assigns its
    /// offsets. When it returns the batch is in the page cache; see [`sync_to`](Log::sync_to) for more.
    ///
    /// # Errors
    ///
    /// `RecordTooLarge` for a batch above `max.message.bytes` or `segment.bytes`, `StorageFull` and `Io` when the batch
    /// is not in the log and the next append may follow, `Storage` when no append may follow, `Closed`; for a batch of an
    /// idempotent producer also `OutOfOrderSequence`, `InvalidProducerEpoch`, `InvalidTxnState`.
    pub(crate) fn append(&self, batch: &mut [u8], now: Timestamp) -> Result<Appended> {
        let reserve = &self.place.reserve;
        if self.place.uses_reserve {
            return reserve.with(|| self.append_once(batch, now), |error| *error.kind() == ErrorKind::StorageFull);
        }
        if !reserve.is_whole() {
            // What there is belongs to others first.
            let error = io::ErrorKind::StorageFull.into();
            return Err(Error::io("write to the log", &self.place.dir, error).in_partition(self.partition()));
        }
        self.append_once(batch, now)
    }

    fn append_once(&self, batch: &mut [u8], now: Timestamp) -> Result<Appended> {
        let stamped = self.config().get_message_timestamp_type() == TimestampType::LogAppendTime;
        if stamped {
            record::stamp_log_append_time(batch, now);
        }

        let mut writer = self.writer.lock();
        self.check_failure()?;
        if writer.closed {
            return Err(Error::new(ErrorKind::Closed).in_partition(self.partition()));
        }
        self.check_size(batch.len())?; // under the lock, so that the settings stay what they are
        let base_offset = writer.active.written().offset;
        record::assign(batch, base_offset, self.leader_epoch);
        let batch = Batch::first(batch)
            .ok()
            .flatten()
            .ok_or_else(|| Error::new(ErrorKind::InvalidRecord { reason: "the batch is not complete" }))?;
        if let Some(original) = self.find_duplicate(&mut writer, &batch, now)? {
            return Ok(Appended {
                base_offset: original.base_offset(),
                end: original.end(),
                log_append_time: stamped.then_some(original.timestamp),
                rolled: false,
                is_duplicate: true,
            });
        }
        let guard = Appending { log: self, was_panicking: std::thread::panicking() };
        self.begin_writing(&mut writer)?;
        let rolled = self.must_roll(&mut writer, &batch, now);
        if rolled {
            self.roll(&mut writer)?;
        }
        let Writer { active, writing: Some(writing), must_roll, first_append, producers, .. } = &mut *writer else {
            return Err(Error::illegal_state("there is no segment to append to").in_partition(self.partition()));
        };
        writing.make_room().map_err(|error| self.not_opened(active, error))?;
        active.append(writing, &batch).map_err(|failure| self.write_failed(active, must_roll, failure))?;
        self.place.usage.add(batch.size() as u64);
        first_append.get_or_insert(now);
        producers.note(&batch, now);
        drop(guard);
        if !self.shows_durable_only() {
            active.show(active.written());
        }
        let (end, log_append_time) = (batch.next_offset(), stamped.then_some(now));
        Ok(Appended { base_offset, end, log_append_time, rolled, is_duplicate: false })
    }

    fn check_size(&self, size: usize) -> Result<()> {
        let segment = usize::try_from(self.config().get_segment_bytes()).unwrap_or(usize::MAX);
        let limit = self.config().get_max_message_bytes().min(segment);
        if size <= limit {
            return Ok(());
        }
        Err(Error::new(ErrorKind::RecordTooLarge { size, limit }).in_partition(self.partition()))
    }

    /// Opens the active segment for writing, with the first append of this process to it.
    fn begin_writing(&self, writer: &mut Writer) -> Result<()> {
        if writer.writing.is_none() {
            let active = &writer.active;
            let opened = active.writer(self.room()).map_err(|error| self.not_opened(active, error))?;
            writer.writing = Some(opened);
        }
        Ok(())
    }

    fn not_opened(&self, active: &Segment, error: io::Error) -> Error {
        Error::io("open the log", &active.path(), error).in_partition(self.partition())
    }

    fn write_failed(&self, active: &Segment, must_roll: &mut bool, failure: WriteFailure) -> Error {
        let file_pos = u64::from(active.written().file_pos);
        let torn = |error| {
            let reason = "a write failed and could not be undone: nothing more is accepted; close the broker and open it \
                          again";
            self.fail(Error::storage(reason).at_file(&active.path()).at_file_pos(file_pos).caused_by(error))
        };
        match failure {
            WriteFailure::Undone(error) if is_out_of_handles(&error) => self.not_opened(active, error),
            WriteFailure::Undone(error) => {
                let error = Error::io("write to the log", &active.path(), error).in_partition(self.partition());
                *must_roll = !error.is_retriable();
                if *must_roll && file_pos == 0 {
                    // There is no other file to go to when this one is empty: the next would have its name.
                    let reason = "the first write to a segment failed: nothing more is accepted; close the broker and open it \
                                  again";
                    return self.fail(Error::storage(reason).at_file(&active.path()).caused_by(error));
                }
                error
            }
            WriteFailure::Torn(error) => torn(error),
        }
    }

    /// Whether `flush.messages` asks for a sync now.
    pub(crate) fn is_flush_due(&self) -> bool {
        let unsynced = self.log_end().saturating_sub(self.durable.load(Ordering::Relaxed));
        u64::try_from(unsynced).unwrap_or(0) >= self.config().get_flush_messages()
    }
}

/// Held while a batch is being appended: a panic in between leaves it unknown what is in the file. An append by a thread
/// that unwinds already, such as that of a producer which is dropped, is one like any other.
struct Appending<'a> {
    log: &'a Log,
    was_panicking: bool,
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        if !self.was_panicking && std::thread::panicking() {
            self.log.fail(Error::storage("an append panicked: nothing more is accepted; open the broker again"));
        }
    }
}

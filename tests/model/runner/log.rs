//! The log of one partition as plain vectors.

use thalweg::{ErrorKind, Offset, Timestamp};

use super::op::{Sabotage, Setup};
use super::record::{Batch, OpenBatch, Record};

/// A partition, and what its producer holds back.
#[derive(Clone, Debug)]
pub struct Log {
    pub setup: Setup,
    pub sabotage: Sabotage,
    /// The first offset that can be read.
    pub start: Offset,
    /// At least one; the last one is appended to.
    pub segments: Vec<Segment>,
    /// Everything below has been synced by a close, or a checkpoint has said so rightly.
    pub synced: Offset,
    /// Taken out of `segments` by the op before.
    pub removed: Vec<Segment>,
    /// Every record that was ever written and not lost in a crash, by offset, those below the start too.
    pub records: Vec<Record>,
    /// Sent and not written.
    pub open: OpenBatch,
}

/// A file.
#[derive(Clone, Debug)]
pub struct Segment {
    pub base: Offset,
    pub batches: Vec<Batch>,
}

impl Segment {
    pub fn end(&self) -> Offset {
        self.batches.last().map_or(self.base, |batch| batch.end)
    }

    pub fn size(&self) -> usize {
        self.batches.iter().map(|batch| batch.size).sum()
    }

    /// The largest timestamp; `None` without records.
    pub fn max_timestamp(&self) -> Option<Timestamp> {
        self.batches.iter().map(|batch| batch.max_timestamp).max()
    }
}

/// What a fetch answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Bytes of all batches.
    pub len: usize,
    pub next_offset: Offset,
}

impl Log {
    pub fn new(setup: &Setup, sabotage: Sabotage) -> Self {
        Log {
            setup: setup.clone(),
            sabotage,
            start: 0,
            segments: vec![Segment { base: 0, batches: Vec::new() }],
            synced: 0,
            removed: Vec::new(),
            records: Vec::new(),
            open: OpenBatch::new(),
        }
    }

    /// The offset after the last record that was written.
    pub fn end(&self) -> Offset {
        self.segments.last().unwrap().end()
    }

    pub fn size(&self) -> usize {
        self.segments.iter().map(Segment::size).sum()
    }

    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.segments.iter().flat_map(|segment| &segment.batches)
    }

    /// Sends a record and returns its offset; batches that are full are written. Rule: producer.md 4.
    pub fn send(&mut self, record: Record) -> Offset {
        let limit = self.setup.batch_size.min(self.setup.segment_bytes);
        if self.open.size + self.open.added_by(&record) > limit {
            self.write();
        }
        let offset = self.end() + self.open.records.len() as Offset;
        self.open.push(record);
        if self.open.size >= limit {
            self.write();
        }
        offset
    }

    /// Writes what the producer holds back.
    pub fn write(&mut self) {
        let OpenBatch { records, size } = std::mem::replace(&mut self.open, OpenBatch::new());
        let Some(max_timestamp) = records.iter().map(|record| record.timestamp).max() else { return };
        let base = self.end();
        let batch = Batch { base, end: base + records.len() as Offset, size, max_timestamp };
        if self.rolls_before(&batch) {
            self.segments.push(Segment { base, batches: Vec::new() });
        }
        self.segments.last_mut().unwrap().batches.push(batch);
        self.records.extend(records);
        match self.sabotage {
            Sabotage::ForgetRecord => drop(self.records.pop()),
            Sabotage::ChangeRecord => self.records.last_mut().unwrap().value = Some(b"changed".to_vec()),
            _ => {}
        }
    }

    /// Rule: log.md 9.2, by size and by the time of the records.
    fn rolls_before(&self, batch: &Batch) -> bool {
        let active = self.segments.last().unwrap();
        let Some(first) = active.batches.first() else { return false };
        let full = active.size() + batch.size > self.setup.segment_bytes;
        let waited = batch.max_timestamp - first.max_timestamp;
        (full && self.sabotage != Sabotage::NeverRoll) || waited > self.setup.segment_ms as Timestamp
    }

    /// Whole batches from the one that holds `offset` on, within the budget but one in any case. Rule: fetch.md 2.
    pub fn fetch(&self, offset: Offset, bytes_max: usize) -> Result<Answer, ErrorKind> {
        self.check_offset(offset, self.start)?;
        let mut answer = Answer { len: 0, next_offset: offset };
        for batch in self.batches().filter(|batch| offset < batch.end) {
            if answer.len > 0 && answer.len + batch.size > bytes_max {
                break;
            }
            answer = Answer { len: answer.len + batch.size, next_offset: batch.end };
        }
        Ok(answer)
    }

    /// `OffsetOutOfRange` outside `from..=end`.
    pub fn check_offset(&self, offset: Offset, from: Offset) -> Result<(), ErrorKind> {
        if from <= offset && offset <= self.end() {
            return Ok(());
        }
        let (high_watermark, log_end) = (self.end(), self.end());
        Err(ErrorKind::OffsetOutOfRange { requested: offset, log_start: self.start, high_watermark, log_end })
    }
}

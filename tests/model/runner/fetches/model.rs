//! Partitions as vectors, and what fetches answer.

use std::ops::RangeInclusive;

use thalweg::{ErrorKind, Offset};

use super::batch::encode;
use super::script::{Limits, PARTITIONS, Sabotage, Setup};

/// All partitions.
#[derive(Debug)]
pub struct Model {
    pub setup: Setup,
    pub sabotage: Sabotage,
    pub logs: [Log; PARTITIONS],
}

/// A partition.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Every batch that there ever was.
    pub batches: Vec<Batch>,
    pub start: Offset,
    /// End of what can be seen.
    pub visible: Offset,
    /// Segments that were begun, with the number of bytes in the last one.
    pub segments: usize,
    pub segment_len: usize,
}

#[derive(Clone, Debug)]
pub struct Batch {
    pub base: Offset,
    pub end: Offset,
    pub values: Vec<Vec<u8>>,
    pub bytes: Vec<u8>,
    pub segment: usize,
}

/// What a fetch answers for one partition.
#[derive(Debug)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub records: Vec<(Offset, Vec<u8>)>,
    /// The offset to fetch next: behind the last batch, or behind the gap that follows if that was looked at.
    pub next_offset: RangeInclusive<Offset>,
    pub start: Offset,
    pub visible: Offset,
}

/// What a fetch answers for all, and whether that is enough.
pub struct Look {
    pub answers: Vec<Result<Answer, ErrorKind>>,
    pub is_enough: bool,
    /// Whether those who wait are to be told: rolls alone tell nobody, though a fetch that does not go on in the next
    /// segment has no reason to wait behind one.
    pub is_news: bool,
}

impl Log {
    pub fn end(&self) -> Offset {
        self.batches.last().map_or(0, |batch| batch.end)
    }
}

impl Model {
    pub fn new(setup: &Setup, sabotage: Sabotage) -> Self {
        Model { setup: setup.clone(), sabotage, logs: Default::default() }
    }

    /// A batch is there from `base` on; `end` is behind the last of its offsets.
    pub fn push(&mut self, partition: usize, (base, end): (Offset, Offset), values: Vec<Vec<u8>>, new_segment: bool) {
        let epoch = if self.sabotage == Sabotage::NoEpoch { -1 } else { 0 };
        let log = &mut self.logs[partition];
        let bytes = encode(base, end, epoch, &values);
        if new_segment {
            log.segments += 1;
            log.segment_len = 0;
        }
        log.segment_len += bytes.len();
        log.batches.push(Batch { base, end, values, bytes, segment: log.segments });
    }

    /// Appends a batch. Rule: log.md 9.2.
    pub fn append(&mut self, partition: usize, values: Vec<Vec<u8>>) {
        let log = &self.logs[partition];
        let (base, end) = (log.end(), log.end() + values.len() as Offset);
        let len = encode(base, end, 0, &values).len();
        let rolls = 0 < log.segment_len && self.setup.segment_bytes < log.segment_len + len;
        self.push(partition, (base, end), values, rolls);
        if !self.setup.fsync || self.sabotage == Sabotage::SeeAll {
            self.sync(partition);
        }
    }

    pub fn sync(&mut self, partition: usize) {
        self.logs[partition].visible = self.logs[partition].end();
    }

    /// Returns the log start. Rule: log.md 15.
    pub fn delete(&mut self, partition: usize, before: Offset) -> Result<Offset, ErrorKind> {
        let log = &mut self.logs[partition];
        if before < 0 || log.visible < before {
            let (log_start, high_watermark, log_end) = (log.start, log.visible, log.end());
            return Err(ErrorKind::OffsetOutOfRange { requested: before, log_start, high_watermark, log_end });
        }
        let start = log.start.max(before);
        if self.sabotage != Sabotage::KeepStart {
            log.start = start;
        }
        Ok(start)
    }

    /// One look at the places, in their order. Rules: fetch.md 2, 4, 5.1.
    pub fn look(&self, places: &[(usize, Offset)], limits: &Limits) -> Look {
        let broker_max = if self.sabotage == Sabotage::NoBrokerMax { usize::MAX } else { self.setup.broker_max };
        let max = limits.max.min(broker_max);
        let (mut left, mut at_least_one) = (if self.sabotage == Sabotage::NoMax { usize::MAX } else { max }, true);
        let (mut counts, mut has_error) = (Vec::new(), false);
        let mut answers = Vec::new();
        for (partition, offset) in places {
            let limit = if self.sabotage == Sabotage::NoPartitionMax { left } else { left.min(limits.partition_max) };
            let answer = self.read(*partition, *offset, limit, at_least_one).map(|(answer, fits)| {
                let len = answer.bytes.len();
                counts.push(if fits || self.sabotage == Sabotage::WaitForMax { len } else { len.max(limit) });
                at_least_one &= len == 0 || self.sabotage == Sabotage::GuaranteeForAll;
                left = left.saturating_sub(len);
                answer
            });
            has_error |= answer.is_err() && self.sabotage != Sabotage::ErrorsWait;
            answers.push(answer);
        }
        let min = match self.sabotage {
            Sabotage::OneLess => limits.min.saturating_sub(1).min(max),
            Sabotage::OneMore => limits.min.min(max) + usize::from(0 < limits.min),
            _ => limits.min.min(max),
        };
        let is_enough = match self.sabotage {
            Sabotage::EachAlone => counts.iter().any(|count| min <= *count) || min == 0,
            _ => min <= counts.iter().fold(0, |sum: usize, count| sum.saturating_add(*count)),
        };
        let is_enough = is_enough || has_error;
        let visible: usize = places.iter().map(|(partition, offset)| self.visible_bytes(*partition, *offset)).sum();
        Look { answers, is_enough, is_news: is_enough && (self.setup.cross_segments || has_error || min <= visible) }
    }

    fn visible_bytes(&self, partition: usize, offset: Offset) -> usize {
        let log = &self.logs[partition];
        let batches = log.batches.iter().filter(|batch| offset < batch.end && batch.end <= log.visible);
        batches.map(|batch| batch.bytes.len()).sum()
    }

    /// What comes of one partition, and whether that is all that can be seen.
    fn read(
        &self,
        partition: usize,
        offset: Offset,
        limit: usize,
        at_least_one: bool,
    ) -> Result<(Answer, bool), ErrorKind> {
        let log = &self.logs[partition];
        if offset < log.start || log.end() < offset {
            let (log_start, high_watermark, log_end) = (log.start, log.visible, log.end());
            return Err(ErrorKind::OffsetOutOfRange { requested: offset, log_start, high_watermark, log_end });
        }
        let mut answer = Answer {
            bytes: Vec::new(),
            records: Vec::new(),
            next_offset: offset..=offset,
            start: log.start,
            visible: log.visible,
        };
        let can_be_seen = |batch: &&Batch| offset < batch.end && batch.end <= log.visible && offset < log.visible;
        let batches: Vec<_> = log.batches.iter().filter(can_be_seen).collect();
        let crosses = self.setup.cross_segments != (self.sabotage == Sabotage::OtherSegments);
        let mut taken = 0;
        for batch in &batches {
            let is_first = taken == 0 && at_least_one && self.sabotage != Sabotage::GuaranteeForNone;
            let is_elsewhere = !crosses && batch.segment != batches[0].segment;
            if is_elsewhere || (limit < answer.bytes.len() + batch.bytes.len() && !is_first) {
                if self.sabotage == Sabotage::CutBatches && !is_elsewhere {
                    let fits = limit.saturating_sub(answer.bytes.len());
                    answer.bytes.extend_from_slice(&batch.bytes[..fits]);
                }
                break;
            }
            taken += 1;
            answer.bytes.extend_from_slice(&batch.bytes);
            let behind_gap = batches.get(taken).map_or(batch.end, |next| next.base);
            answer.next_offset = batch.end..=behind_gap;
            if self.sabotage == Sabotage::NoTail {
                let behind_records = batch.base + batch.values.len() as Offset;
                answer.next_offset = behind_records..=behind_records;
            }
            let records = batch.values.iter().enumerate();
            let records = records.map(|(delta, value)| (batch.base + delta as Offset, value.clone()));
            answer.records.extend(records.filter(|(record, _)| offset <= *record));
        }
        Ok((answer, taken == batches.len()))
    }
}

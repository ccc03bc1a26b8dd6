//! Consuming as the one member of a group.

use std::time::Duration;

use thalweg::{AutoOffsetReset, Consumer, ConsumerConfig, Offset, OffsetAndMetadata};

use super::op::{At, PARTITIONS};
use super::run::{GROUP, Run, TOPIC, name};

const POLL_RECORDS_MAX: usize = 5;

impl Run {
    fn consumer(&mut self) -> &mut Consumer {
        self.consumer.get_or_insert_with(|| {
            let config = ConsumerConfig::new()
                .group_id(GROUP)
                .auto_offset_reset(AutoOffsetReset::Earliest)
                .enable_auto_commit(false)
                .max_poll_records(POLL_RECORDS_MAX);
            let mut consumer = self.broker.as_ref().unwrap().consumer(config).unwrap();
            consumer.subscribe(&[TOPIC]).unwrap();
            consumer
        })
    }

    /// Where a poll goes on.
    fn next(&self, number: usize) -> Offset {
        self.positions[number].or(self.committed[number]).unwrap_or(self.logs[number].start)
    }

    /// A position below the log start is reset to it unless the records were fetched before they were deleted; one
    /// behind the end is reset as well. Either may take another poll, while there is something else to return.
    pub(super) fn poll(&mut self) {
        let polled = self.consumer().poll(Duration::ZERO).unwrap();
        assert!(polled.len() <= POLL_RECORDS_MAX);
        let before: Vec<_> = (0..PARTITIONS).map(|number| self.next(number)).collect();
        let bounds: Vec<_> = self.logs.iter().map(|log| log.start..log.end()).collect();
        let is_in = |number: usize| bounds[number].start <= before[number] && before[number] <= bounds[number].end;
        let is_behind = |number: usize| bounds[number].contains(&before[number]);
        if polled.is_empty() {
            assert!(!(0..PARTITIONS).any(is_behind), "there are records behind {before:?}");
        } else {
            assert!((0..PARTITIONS).any(|number| is_behind(number) || before[number] < bounds[number].start));
        }
        let mut after: Vec<_> = (0..PARTITIONS).map(|number| self.position(number)).collect();
        for (partition, records) in polled.partitions() {
            let number = partition.partition() as usize;
            let first = records.iter().next().unwrap().offset();
            assert!(first == before[number] || (!is_in(number) && first == bounds[number].start), "{first} {before:?}");
            self.compare_records(number, first, records);
            assert_eq!(after[number], records.next_offset());
            after[number] = before[number];
            self.positions[number] = Some(records.next_offset());
        }
        for (number, after) in after.into_iter().enumerate() {
            let has_records = polled.partitions().any(|(partition, _)| partition == &name(number));
            if !has_records {
                let is_reset = !is_in(number) && after == bounds[number].start;
                assert!(after == before[number] || is_reset, "{number}: {after} {before:?}");
                self.positions[number] = Some(after);
            }
        }
    }

    fn position(&mut self, number: usize) -> Offset {
        self.consumer().position(&name(number)).unwrap()
    }

    pub(super) fn commit(&mut self) {
        if self.consumer.is_some() {
            self.consumer().commit_sync().unwrap();
            for (committed, position) in self.committed.iter_mut().zip(self.positions) {
                *committed = position.or(*committed);
            }
            self.compare_committed();
        }
    }

    pub(super) fn commit_offset(&mut self, number: usize, at: At, metadata_len: usize) {
        let log = &self.logs[number];
        let offset = at.offset(log.start, log.end());
        let committed = OffsetAndMetadata::new(offset).with_metadata("m".repeat(metadata_len));
        let outcome = self.consumer().commit_sync_offsets(&[(name(number), committed)]);
        assert_eq!(outcome.is_ok(), 0 <= offset, "{offset}");
        if outcome.is_ok() {
            self.committed[number] = Some(offset);
        }
        self.compare_committed();
    }

    pub(super) fn compare_committed(&mut self) {
        let names: Vec<_> = (0..PARTITIONS).map(name).collect();
        let committed = self.consumer().committed(&names).unwrap();
        let offsets: Vec<_> =
            committed.into_iter().map(|(_, committed)| committed.map(|committed| committed.offset())).collect();
        assert_eq!(offsets, self.committed);
    }

    pub(super) fn seek(&mut self, number: usize, at: At) {
        let log = &self.logs[number];
        let offset = at.offset(log.start, log.end());
        let sought = self.consumer().seek(&name(number), offset);
        // Before the first poll nothing is assigned.
        assert_eq!(sought.is_ok(), 0 <= offset && self.positions[number].is_some());
        if sought.is_ok() {
            self.positions[number] = Some(offset);
        }
        for number in 0..PARTITIONS {
            if let Some(position) = self.positions[number] {
                assert_eq!(self.position(number), position, "{number}");
            }
        }
    }

    pub(super) fn end_consumer(&mut self, close: bool) {
        let Some(consumer) = self.consumer.take() else { return };
        if close {
            consumer.close().unwrap();
        } else {
            drop(consumer);
        }
        self.positions = Default::default();
    }
}

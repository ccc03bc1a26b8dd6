//! Offsets by time, compared with a walk over all records.

use proptest::collection::vec;
use proptest::prelude::*;
use thalweg::{
    NO_TIMESTAMP, Offset, OffsetSpec, Partition, ProducerConfig, ProducerRecord, Timestamp, TimestampOffset,
};

use crate::support::{Store, fast, tp};

const START: Timestamp = 1_700_000_000_000;

/// The naive twin: all records from the log start on.
struct Twin {
    log_start: Offset,
    timestamps: Vec<Timestamp>,
}

impl Twin {
    fn records(&self) -> impl Iterator<Item = TimestampOffset> + '_ {
        let records = self
            .timestamps
            .iter()
            .zip(0..)
            .map(|(timestamp, offset)| TimestampOffset { timestamp: *timestamp, offset });
        records.skip(self.log_start as usize)
    }

    fn first_from(&self, timestamp: Timestamp) -> Option<TimestampOffset> {
        self.records().find(|record| record.timestamp >= timestamp)
    }

    fn newest(&self) -> Option<TimestampOffset> {
        let largest = self.records().map(|record| record.timestamp).max()?;
        self.first_from(largest)
    }

    fn check(&self, partition: &Partition) {
        let end = self.timestamps.len() as Offset;
        let place = |offset| Some(TimestampOffset { timestamp: NO_TIMESTAMP, offset });
        let answers = [
            (OffsetSpec::Earliest, place(self.log_start)),
            (OffsetSpec::EarliestLocal, place(self.log_start)),
            (OffsetSpec::Latest, place(end)),
            (OffsetSpec::LatestTiered, None),
            (OffsetSpec::EarliestPendingUpload, None),
            (OffsetSpec::MaxTimestamp, self.newest()),
        ];
        for (spec, expected) in answers {
            assert_eq!(partition.list_offset(spec).unwrap(), expected, "{spec:?}");
        }
        for timestamp in self.timestamps.iter().flat_map(|timestamp| [timestamp - 1, *timestamp, timestamp + 1]) {
            let found = partition.list_offset(OffsetSpec::Timestamp(timestamp)).unwrap();
            assert_eq!(found, self.first_from(timestamp), "{timestamp}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_a_walk(
        steps in vec((0..40i64, 1..4usize), 1..60),
        batch_size in prop_oneof![Just(0), Just(400)],
        interval in prop_oneof![Just(0u64), Just(200), Just(4096)],
        delete in 0..100usize,
    ) {
        let store = Store::new();
        let broker = store.open_with_topic(1, fast().internal_segment_bytes(700).index_interval_bytes(interval).retention(None));
        let producer = broker.producer(ProducerConfig::new().batch_size(batch_size)).unwrap();
        let mut twin = Twin { log_start: 0, timestamps: Vec::new() };
        for (number, (time, count)) in steps.into_iter().enumerate() {
            for _ in 0..count {
                // Forward on the whole, back and forth in detail, some of them equal.
                let timestamp = START + number as i64 * 5 + time;
                producer.send(ProducerRecord::new("t", &[7; 30]).timestamp(timestamp)).unwrap().detach();
                twin.timestamps.push(timestamp);
            }
        }
        producer.close().unwrap();
        let partition = broker.partition(&tp(0)).unwrap();
        twin.check(&partition);
        twin.log_start = partition.delete_records((delete * twin.timestamps.len() / 100) as Offset).unwrap();
        twin.check(&partition);
        drop(partition);
        broker.close().unwrap();
        twin.check(&store.open().partition(&tp(0)).unwrap());
    }
}

#[test]
fn an_empty_log_has_no_record_at_any_time() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let partition = broker.partition(&tp(0)).unwrap();
    Twin { log_start: 0, timestamps: Vec::new() }.check(&partition);
    assert_eq!(partition.list_offset(OffsetSpec::Timestamp(0)).unwrap(), None);
}

#[test]
fn a_time_that_only_deleted_records_had_is_looked_for_in_later_segments() {
    let store = Store::new();
    let broker = store
        .open_with_topic(1, fast().internal_segment_bytes(1 << 20).segment_age(std::time::Duration::from_millis(50)));
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    // Two segments: the newest record of the first is below the log start, its segment is not.
    for timestamp in [START + 40, START, START + 100, START + 45] {
        producer.send(ProducerRecord::new("t", "v").timestamp(timestamp)).unwrap().wait().unwrap();
    }
    let partition = broker.partition(&tp(0)).unwrap();
    partition.delete_records(1).unwrap();
    assert_eq!(partition.log_start().unwrap(), 1);
    let found = partition.list_offset(OffsetSpec::Timestamp(START + 30)).unwrap();
    assert_eq!(found, Some(TimestampOffset { timestamp: START + 100, offset: 2 }));
}

//! Offsets by time, compared with a walk over all records.

use proptest::collection::vec;
use proptest::prelude::*;
use thalweg::{
    NO_TIMESTAMP, Offset, OffsetSpec, Partition, ProducerConfig, ProducerRecord, Timestamp, TimestampOffset,
    TopicConfig,
};

use crate::support::{Simulated, Store, fast, tp};

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

/// Sends one batch with a record for each timestamp to `t-0`.
fn send_at(broker: &thalweg::Broker, timestamps: &[Timestamp]) {
    let config = ProducerConfig::new().linger(std::time::Duration::from_secs(3600));
    let producer = broker.producer(config).unwrap();
    for timestamp in timestamps {
        producer.send(ProducerRecord::new("t", "value").partition(0).timestamp(*timestamp)).unwrap().detach();
    }
    producer.close().unwrap();
}

fn found(partition: &Partition, spec: OffsetSpec) -> Option<(Timestamp, Offset)> {
    partition.list_offset(spec).unwrap().map(|found| (found.timestamp, found.offset))
}

/// fetch.md 9, target -3 (KAFKA-16310): the first record that carries the largest time, and not the end of its batch.
#[test]
fn the_largest_time_is_that_of_the_first_record_with_it() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let partition = broker.partition(&tp(0)).unwrap();
    assert_eq!(found(&partition, OffsetSpec::MaxTimestamp), None);
    send_at(&broker, &[START, START + 7, START + 9, START + 9, START + 3]);
    assert_eq!(found(&partition, OffsetSpec::MaxTimestamp), Some((START + 9, 2)));
    send_at(&broker, &[START + 9, START + 1]);
    assert_eq!(found(&partition, OffsetSpec::MaxTimestamp), Some((START + 9, 2)), "of two batches the first one");
    send_at(&broker, &[START + 1, START + 10]);
    assert_eq!(found(&partition, OffsetSpec::MaxTimestamp), Some((START + 10, 8)));
    // The first one that is left.
    partition.delete_records(3).unwrap();
    send_at(&broker, &[START + 10]);
    assert_eq!(found(&partition, OffsetSpec::MaxTimestamp), Some((START + 10, 8)));
    partition.delete_records(9).unwrap();
    assert_eq!(found(&partition, OffsetSpec::MaxTimestamp), Some((START + 10, 9)));
    partition.delete_records(10).unwrap();
    assert_eq!(found(&partition, OffsetSpec::MaxTimestamp), None);
}

/// fetch.md 9, target t: the lowest offset that qualifies, though later ones have earlier times; its own time is told.
#[test]
fn times_may_be_out_of_order() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_at(&broker, &[START + 50, START + 10, START + 30]);
    send_at(&broker, &[START + 20, START + 60, START]);
    let partition = broker.partition(&tp(0)).unwrap();
    for (time, expected) in [
        (Timestamp::MIN, Some((START + 50, 0))),
        (-1, Some((START + 50, 0))),
        (0, Some((START + 50, 0))),
        (START + 30, Some((START + 50, 0))),
        (START + 51, Some((START + 60, 4))),
        (START + 60, Some((START + 60, 4))),
        (START + 61, None),
        (Timestamp::MAX, None),
    ] {
        assert_eq!(found(&partition, OffsetSpec::Timestamp(time)), expected, "{time}");
    }
    partition.delete_records(1).unwrap();
    assert_eq!(found(&partition, OffsetSpec::Timestamp(START)), Some((START + 10, 1)));
    assert_eq!(found(&partition, OffsetSpec::Timestamp(START + 31)), Some((START + 60, 4)));
}

/// fetch.md 9 and 14.6: a time that only records below the log start have, in the same batch or the same segment.
#[test]
fn a_time_below_the_log_start_is_none() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_at(&broker, &[START + 90, START + 20, START + 10]);
    send_at(&broker, &[START + 30]);
    let partition = broker.partition(&tp(0)).unwrap();
    partition.delete_records(1).unwrap();
    assert_eq!(found(&partition, OffsetSpec::Timestamp(START + 31)), None);
    assert_eq!(found(&partition, OffsetSpec::Timestamp(START + 15)), Some((START + 20, 1)));
    assert_eq!(found(&partition, OffsetSpec::MaxTimestamp), Some((START + 30, 3)));
    assert_eq!(found(&partition, OffsetSpec::Earliest), Some((NO_TIMESTAMP, 1)));
    assert_eq!(found(&partition, OffsetSpec::EarliestLocal), Some((NO_TIMESTAMP, 1)));
}

/// fetch.md 9: the bound of readers is the high watermark, at either isolation level, since a log here has no transaction
/// that is undecided; a result at or above it is no answer, and not the bound instead.
#[test]
fn what_cannot_be_read_yet_is_no_answer() {
    for segment_bytes in [1 << 20, 300] {
        let simulated = Simulated::with_topic(1, TopicConfig::new().internal_segment_bytes(segment_bytes));
        let producer = simulated.broker.producer(ProducerConfig::new().batch_size(0)).unwrap();
        let send = |time: Timestamp| {
            producer.send(ProducerRecord::new("t", &[7; 200]).partition(0).timestamp(START + time)).unwrap().detach();
        };
        send(5);
        send(7);
        simulated.show();
        send(6);
        send(9);
        let partition = simulated.broker.partition(&tp(0)).unwrap();
        assert_eq!((partition.high_watermark().unwrap(), partition.log_end().unwrap()), (2, 4));
        assert_eq!(found(&partition, OffsetSpec::Latest), Some((NO_TIMESTAMP, 2)));
        assert_eq!(found(&partition, OffsetSpec::MaxTimestamp), None);
        assert_eq!(found(&partition, OffsetSpec::Timestamp(START + 8)), None);
        assert_eq!(found(&partition, OffsetSpec::Timestamp(START + 6)), Some((START + 7, 1)));
        simulated.show();
        assert_eq!(found(&partition, OffsetSpec::Latest), Some((NO_TIMESTAMP, 4)));
        assert_eq!(found(&partition, OffsetSpec::MaxTimestamp), Some((START + 9, 3)));
        assert_eq!(found(&partition, OffsetSpec::Timestamp(START + 8)), Some((START + 9, 3)));
    }
}

/// fetch.md 9: without tiered storage there is nothing at these targets, whatever is in the log.
#[test]
fn nothing_is_tiered() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let partition = broker.partition(&tp(0)).unwrap();
    for _ in 0..2 {
        assert_eq!(found(&partition, OffsetSpec::LatestTiered), None);
        assert_eq!(found(&partition, OffsetSpec::EarliestPendingUpload), None);
        send_at(&broker, &[START]);
    }
}

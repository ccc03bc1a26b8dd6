//! The smallest scripts that once failed.

use std::time::Duration;

use thalweg::{Broker, Durability, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

use crate::runner::directory::Directory;
use crate::runner::op::{FUTURE, PAST};

/// Rule: log.md 15: by size first, then by age from the oldest segment that is left.
#[test]
fn age_is_looked_at_behind_what_goes_for_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    let config = TopicConfig::new().durability(Durability::Os).internal_segment_bytes(1000).retention_bytes(Some(2500));
    let config = config.message_timestamp_after_max(Duration::MAX);
    broker.create_topic("t", 1, config).unwrap();
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    for timestamp in [FUTURE, PAST, FUTURE, FUTURE] {
        let record = ProducerRecord::new("t", &[7; 800]).timestamp(timestamp);
        producer.send(record).unwrap().wait().unwrap();
    }
    broker.enforce_retention().unwrap();
    let partition = broker.partition(&TopicPartition::new("t", 0)).unwrap();
    assert_eq!(partition.log_start().unwrap(), 2, "the first goes for its size, the second for its age");
}

/// A sync makes records visible before anybody is told that they are durable.
#[test]
fn what_was_flushed_is_visible() {
    let directory = Directory::create();
    let broker = Broker::open(directory.dir()).unwrap();
    broker.create_topic("t", 1, TopicConfig::new()).unwrap();
    let producer = broker.producer(ProducerConfig::new().linger(Duration::from_secs(3600)).batch_size(100)).unwrap();
    let partition = broker.partition(&TopicPartition::new("t", 0)).unwrap();
    for end in 1..=20_000 {
        producer.send(ProducerRecord::new("t", &[7; 100])).unwrap().detach(); // full: the background thread syncs it
        (0..end % 3000).for_each(|_| std::hint::spin_loop()); // until it is at it
        producer.flush().unwrap();
        assert_eq!(partition.high_watermark().unwrap(), end);
    }
}

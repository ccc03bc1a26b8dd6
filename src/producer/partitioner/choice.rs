//! The rules in their order.

use super::{StickyPartitioner, partition_for_key};
use crate::client::ProducerRecord;
use crate::config::ProducerConfig;
use crate::error::{Error, ErrorKind, Result};

/// The partition of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Below the number of partitions.
    pub(crate) partition: i32,
    /// Whether the sticky partitioner chose it, and is to be told of the bytes.
    pub(crate) is_sticky: bool,
}

/// Chooses, of `partitions` (1 or more), the one for `record`: what the record says, what the application's partitioner
/// says, the hash of the key unless keys are ignored, and else where `sticky` is. The application's partitioner is called
/// once, by this thread, without any lock.
///
/// Rule: producer.md 3 and 4, KafkaProducer.partition.
///
/// # Errors
///
/// `IllegalArgument` for a negative number, which `send` returns; `UnknownTopicOrPartition` for one that the topic does not
/// have, which the acknowledgement returns, because the topic may grow.
pub(crate) fn choose(
    record: &ProducerRecord<'_>,
    config: &ProducerConfig,
    sticky: &StickyPartitioner,
    partitions: i32,
) -> Result<Choice> {
    if let Some(partition) = record.partition {
        if partition < 0 {
            return Err(Error::illegal_argument(format!("a partition cannot be negative, as {partition} is")));
        }
        return existing(record, partition, partitions);
    }
    if let Some(custom) = config.get_partitioner() {
        let partition = custom.partition(record, partitions);
        if partition < 0 {
            let reason = format!("the partitioner answered {partition}, and a partition cannot be negative");
            return Err(Error::illegal_argument(reason));
        }
        return existing(record, partition, partitions);
    }
    Ok(match record.key {
        Some(key) if !config.get_partitioner_ignore_keys() => {
            Choice { partition: partition_for_key(key, partitions), is_sticky: false }
        }
        _ => Choice { partition: sticky.current(partitions), is_sticky: true },
    })
}

fn existing(record: &ProducerRecord<'_>, partition: i32, partitions: i32) -> Result<Choice> {
    if partition < partitions {
        return Ok(Choice { partition, is_sticky: false });
    }
    let topic = record.topic.to_owned();
    Err(Error::new(ErrorKind::UnknownTopicOrPartition { topic, partition: Some(partition) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Partitioner;

    #[derive(Debug)]
    struct Always(i32);

    impl Partitioner for Always {
        fn partition(&self, _: &ProducerRecord<'_>, _: i32) -> i32 {
            self.0
        }
    }

    fn choice(config: ProducerConfig, record: &ProducerRecord<'_>) -> Result<Choice> {
        choose(record, &config, &StickyPartitioner::new(100), 12)
    }

    fn chosen(config: ProducerConfig, record: &ProducerRecord<'_>) -> (i32, bool) {
        let choice = choice(config, record).unwrap();
        (choice.partition, choice.is_sticky)
    }

    #[test]
    fn rules_come_in_their_order() {
        let (keyless, keyed) = (ProducerRecord::new("t", "v"), ProducerRecord::new("t", "v").key("user-1"));
        let explicit = keyed.clone().partition(11);
        let config = ProducerConfig::new;
        let custom = || config().partitioner(Always(5));
        assert_eq!(chosen(custom(), &explicit), (11, false));
        assert_eq!(chosen(config().partitioner_ignore_keys(true), &explicit), (11, false));
        assert_eq!(chosen(custom(), &keyed), (5, false));
        assert_eq!(chosen(custom(), &keyless), (5, false));
        assert_eq!(chosen(config(), &keyed), (8, false), "producer.md 4.1");
        assert_eq!(chosen(config(), &ProducerRecord::new("t", "v").key("")), (9, false), "an empty key is a key");
        assert!(chosen(config().partitioner_ignore_keys(true), &keyed).1);
        assert!(chosen(config(), &keyless).1);
    }

    #[test]
    fn numbers_that_are_no_partitions_are_refused() {
        let record = ProducerRecord::new("t", "v");
        let negative = [
            choice(ProducerConfig::new(), &record.clone().partition(-1)),
            choice(ProducerConfig::new().partitioner(Always(-7)), &record),
            choice(ProducerConfig::new().partitioner(Always(i32::MIN)), &record),
        ];
        for refused in negative {
            let error = refused.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::IllegalArgument { .. }), "{error}");
        }
        let missing = [
            (choice(ProducerConfig::new(), &record.clone().partition(12)), 12),
            (choice(ProducerConfig::new().partitioner(Always(12)), &record), 12),
            (choice(ProducerConfig::new().partitioner(Always(i32::MAX)), &record), i32::MAX),
        ];
        for (refused, number) in missing {
            let kind = ErrorKind::UnknownTopicOrPartition { topic: "t".to_owned(), partition: Some(number) };
            assert_eq!(refused.unwrap_err().kind(), &kind);
        }
    }

    #[test]
    fn a_partitioner_is_asked_once_and_sees_the_record() {
        use crate::sync::{Arc, AtomicU32, Ordering};

        #[derive(Debug)]
        struct Counting(Arc<AtomicU32>);
        impl Partitioner for Counting {
            fn partition(&self, record: &ProducerRecord<'_>, partitions: i32) -> i32 {
                assert_eq!((record.get_topic(), record.get_key()), ("t", Some(&b"k"[..])));
                assert_eq!((record.get_value(), record.get_headers().len()), (None, 1));
                self.0.fetch_add(1, Ordering::Relaxed);
                partitions - 1
            }
        }
        let count = Arc::new(AtomicU32::new(0));
        let config = ProducerConfig::new().partitioner(Counting(Arc::clone(&count)));
        let record = ProducerRecord::tombstone("t", "k").header("h", Some("x"));
        assert_eq!(chosen(config, &record), (11, false));
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}

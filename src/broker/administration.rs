//! Creating, changing and deleting topics.

use super::broker::Broker;
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::topic::{TopicDescription, is_internal};

impl Broker {
    /// Creates a topic with partitions `0..partitions`. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`](crate::ErrorKind::InvalidTopic) for a name that Kafka refuses,
    /// [`TopicAlreadyExists`](crate::ErrorKind::TopicAlreadyExists),
    /// [`InvalidPartitions`](crate::ErrorKind::InvalidPartitions) outside 1 to
    /// [`MAX_PARTITIONS`](crate::MAX_PARTITIONS), [`InvalidConfig`](crate::ErrorKind::InvalidConfig).
    pub fn create_topic(&self, name: &str, partitions: i32, config: TopicConfig) -> Result<TopicDescription> {
        self.check_change(name)?;
        Ok(self.engine().topics.create(name, partitions, config)?.describe())
    }

    /// Replaces all settings of a topic. Durable when it returns, and in use: by running producers and consumers, too, and
    /// for the records that are there already. To change one, begin with those that the topic has:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::{Broker, TopicConfig};
    /// # fn main() -> thalweg::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let broker = Broker::open(dir.path())?;
    /// # broker.create_topic("orders", 4, TopicConfig::new())?;
    /// let config = broker.topic("orders")?.config().clone();
    /// broker.alter_topic("orders", config.retention(Some(Duration::from_secs(3600))))?;
    /// # broker.close()
    /// # }
    /// ```
    ///
    /// `index.interval.bytes` and a larger `segment.bytes` take effect at the next segment. Towards `durability=fsync`,
    /// what is there is made durable in the background, and consumers see new records only after their sync; what they
    /// saw stays visible. With a smaller `max.message.bytes`, a producer's open batch that is larger is refused.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`](crate::ErrorKind::InvalidTopic) for a topic that belongs to the engine,
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition),
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig), and what the disk answers; then the old settings hold.
    pub fn alter_topic(&self, name: &str, config: TopicConfig) -> Result<TopicDescription> {
        self.check_change(name)?;
        Ok(self.engine().topics.alter(name, config)?.describe())
    }

    /// Adds partitions to a topic until it has `count` of them. Durable when it returns. Running producers use them from
    /// their next record on, subscribed consumers from their next poll on; where there is no committed offset, a consumer
    /// begins where its `auto.offset.reset` says.
    ///
    /// Records with a key go where the key's hash says, which depends on the number of partitions: from now on a key's
    /// records may come to another partition than before, and their order holds within each only.
    ///
    /// # Errors
    ///
    /// [`InvalidPartitions`](crate::ErrorKind::InvalidPartitions) unless `count` is larger than what the topic has and at
    /// most [`MAX_PARTITIONS`](crate::MAX_PARTITIONS), [`InvalidTopic`](crate::ErrorKind::InvalidTopic) for a topic that
    /// belongs to the engine, [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition), and what the disk
    /// answers; then none is added.
    pub fn create_partitions(&self, name: &str, count: i32) -> Result<TopicDescription> {
        self.check_change(name)?;
        Ok(self.engine().topics.create_partitions(name, count)?.describe())
    }

    /// Deletes a topic with all its records, and what groups have committed for it. When it returns, no crash brings the
    /// topic back, and its name is free.
    ///
    /// What producers have not written yet fails, as do calls of its [`Partition`](crate::Partition)s and of consumers
    /// that read it:
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition). Records that were fetched stay readable,
    /// and their disk space comes back when the last holder of them and of a [`Partition`](crate::Partition) of the
    /// topic lets go.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`](crate::ErrorKind::InvalidTopic) for a topic that belongs to the engine,
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition),
    /// [`IllegalState`](crate::ErrorKind::IllegalState) while there are directories of partitions that the topic does not
    /// have and that somebody put there, and what the disk answers. Then the topic is there as before; or it is gone
    /// and something is left of it, which keeps its name from being free: the same
    /// call goes on with it, or the next open.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        self.check_change(name)?;
        let outcome = self.engine().topics.delete(name, |topic| self.engine().coordinator.forget_topic(topic));
        self.engine().lingering.run_now(&*self.engine().clock); // producers let go of it
        outcome
    }

    /// Refuses changes of topics after the close, and of those that belong to the engine.
    fn check_change(&self, name: &str) -> Result<()> {
        self.engine().check_open()?;
        if is_internal(name) {
            let reason = "the engine alone creates, changes and uses it";
            return Err(Error::new(ErrorKind::InvalidTopic { topic: name.to_owned(), reason }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::pin::Pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;
    use crate::client::ProducerRecord;
    use crate::clock::SystemClock;
    use crate::config::{AutoOffsetReset, ConsumerConfig, ProducerConfig};
    use crate::group::OffsetAndMetadata;
    use crate::sync::{Arc, Ordering};
    use crate::sys::{Faults, FaultyDisk};
    use crate::topic::OFFSETS_TOPIC;
    use crate::types::{Durability, Offset, TopicPartition};

    /// How a disk fails, and what is done about it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Failing {
        /// Once.
        Once,
        /// Once, and the change is tried again.
        Retried,
        /// From then on, as if the process had ended.
        ForEver,
    }

    /// Fails the n-th operation of `change`, for every n. `check` gets what opens the directory afterwards, whether the
    /// change succeeded in the end, and whether nothing but the one operation failed.
    fn fail_everywhere(
        prepare: impl Fn(&Broker),
        change: impl Fn(&Broker) -> Result<()>,
        check: impl Fn(&Broker, bool, bool),
    ) {
        for failing in [Failing::Once, Failing::Retried, Failing::ForEver] {
            for changes in 0.. {
                let dir = tempfile::tempdir().unwrap();
                let (broker, _) = open(dir.path());
                prepare(&broker);
                broker.close().unwrap();
                let (broker, faults) = open(dir.path());
                faults.breaks.store(failing == Failing::ForEver, Ordering::SeqCst);
                *faults.changes_left.lock() = Some(changes);
                let mut outcome = change(&broker);
                let is_enough = faults.are_changes_left();
                assert!(outcome.is_ok() || !is_enough);
                if outcome.is_err() && failing == Failing::Retried {
                    outcome = change(&broker);
                    let is_storage = |error: &Error| matches!(error.kind(), ErrorKind::Storage { .. });
                    assert!(outcome.as_ref().err().is_none_or(is_storage), "{changes}: {outcome:?}");
                }
                if failing != Failing::ForEver {
                    *faults.changes_left.lock() = None;
                }
                drop(broker);
                let (broker, _) = open(dir.path());
                println!("{failing:?} at {changes}: {outcome:?}; {}", broker.recovery());
                assert!(broker.recovery().failed.is_empty() && broker.recovery().adopted.is_empty());
                check(&broker, outcome.is_ok(), failing == Failing::Once);
                broker.close().unwrap();
                assert_tidy(dir.path());
                if is_enough {
                    assert!(changes > 3);
                    break;
                }
            }
        }
    }

    fn open(dir: &Path) -> (Broker, Arc<Faults>) {
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        faults.pretends.store(true, Ordering::SeqCst);
        (Broker::open_on(dir, Arc::new(disk), Arc::new(SystemClock)).unwrap(), faults)
    }

    /// Nothing is left of what was cut short.
    fn assert_tidy(dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.ends_with("-delete"), "{name}");
            if let Some((topic, _)) = name.rsplit_once('-').filter(|(_, number)| number.parse::<i32>().is_ok()) {
                assert!(dir.join(format!("{topic}.topic")).exists(), "{name} without a topic file");
            }
            let text = std::fs::read_to_string(dir.join(&name)).unwrap_or_default();
            assert!(!text.contains("state="), "{name}");
        }
    }

    fn partition(broker: &Broker, number: i32) -> Result<Arc<crate::Partition>> {
        broker.partition(&TopicPartition::new("t", number))
    }

    /// Topic `t` with two partitions and ten records, of which group `g` has read seven.
    fn prepare(broker: &Broker) {
        // With fifty partitions most of the time would be spent on closing them.
        broker.engine().topics.create(OFFSETS_TOPIC, 1, TopicConfig::new()).unwrap();
        broker.create_topic("t", 2, TopicConfig::new()).unwrap();
        broker.create_topic("other", 1, TopicConfig::new()).unwrap();
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        for topic in ["t", "other"] {
            let send = || producer.send(ProducerRecord::new(topic, "v").partition(0)).unwrap();
            (0..10).map(|_| send()).collect::<Vec<_>>().into_iter().for_each(|ack| drop(ack.wait().unwrap()));
        }
        let mut consumer = broker.consumer(ConsumerConfig::new().group_id("g")).unwrap();
        let offsets = ["t", "other"].map(|topic| (TopicPartition::new(topic, 0), OffsetAndMetadata::new(7)));
        consumer.commit_sync_offsets(&offsets).unwrap();
    }

    fn committed(broker: &Broker, topic: &str) -> Option<Offset> {
        let consumer = broker.consumer(ConsumerConfig::new().group_id("g")).unwrap();
        let committed = consumer.committed(&[TopicPartition::new(topic, 0)]).unwrap();
        committed[0].1.as_ref().map(OffsetAndMetadata::offset)
    }

    /// Topic `t` is as [`prepare`] made it, as far as its records go.
    fn assert_prepared(broker: &Broker) {
        let ends = [0, 1].map(|number| partition(broker, number).unwrap().high_watermark().unwrap());
        assert_eq!(ends, [10, 0]);
        let records = partition(broker, 0).unwrap().fetch(0, &Default::default()).unwrap().decode(true).unwrap();
        assert_eq!(records.len(), 10);
        assert_eq!(committed(broker, "t"), Some(7));
    }

    /// Defends D8.
    #[test]
    fn a_creation_that_fails_anywhere_is_whole_or_never_was() {
        let create = |broker: &Broker| broker.create_topic("t", 2, TopicConfig::new()).map(drop);
        fail_everywhere(
            |_| {},
            create,
            |broker, succeeded, taken_back| {
                let is_there = broker.topic("t").is_ok();
                assert!(is_there || !succeeded);
                assert!(!is_there || succeeded || !taken_back);
                if !is_there {
                    create(broker).unwrap();
                }
                assert_eq!(broker.topic("t").unwrap().partitions(), 2);
                assert_eq!(partition(broker, 1).unwrap().log_end().unwrap(), 0);
            },
        );
    }

    /// Defends D8.
    #[test]
    fn settings_whose_change_fails_anywhere_are_the_old_or_the_new_ones() {
        let new = || TopicConfig::new().max_message_bytes(54_321).retention_bytes(Some(1 << 30));
        fail_everywhere(
            prepare,
            |broker| broker.alter_topic("t", new()).map(drop),
            |broker, succeeded, taken_back| {
                let topic = broker.topic("t").unwrap();
                let is_new = topic.config() == &new();
                assert!(is_new || topic.config() == &TopicConfig::new());
                assert!(is_new || !succeeded);
                assert!(!is_new || succeeded || !taken_back);
                assert_prepared(broker);
            },
        );
    }

    /// Defends D8.
    #[test]
    fn partitions_whose_creation_fails_anywhere_are_all_there_or_none() {
        fail_everywhere(
            prepare,
            |broker| broker.create_partitions("t", 4).map(drop),
            |broker, succeeded, taken_back| {
                let count = broker.topic("t").unwrap().partitions();
                assert!(count == 4 || (count == 2 && !succeeded));
                assert!(count == 2 || succeeded || !taken_back);
                assert_prepared(broker);
                broker.create_partitions("t", 5).unwrap();
                for number in 2..5 {
                    assert_eq!(partition(broker, number).unwrap().log_end().unwrap(), 0);
                }
            },
        );
    }

    /// Defends D8.
    #[test]
    fn a_topic_whose_deletion_fails_anywhere_is_there_or_gone() {
        fail_everywhere(
            prepare,
            |broker| broker.delete_topic("t"),
            |broker, succeeded, _| {
                assert_eq!(committed(broker, "other"), Some(7));
                if broker.topic("t").is_ok() {
                    assert!(!succeeded);
                    assert_prepared(broker);
                    broker.delete_topic("t").unwrap();
                }
                assert_eq!(committed(broker, "t"), None);
                broker.create_topic("t", 1, TopicConfig::new()).unwrap();
                assert_eq!(partition(broker, 0).unwrap().log_end().unwrap(), 0);
                assert!(partition(broker, 1).is_err());
            },
        );
    }

    #[test]
    fn who_is_at_work_in_a_deleted_partition_writes_nothing_into_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (broker, _) = open(dir.path());
        prepare(&broker);
        let partition = partition(&broker, 0).unwrap();
        let log = partition.log().unwrap();
        broker.delete_topic("t").unwrap();
        broker.create_topic("t", 1, TopicConfig::new()).unwrap();
        let content = || {
            let entries = std::fs::read_dir(dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
            let mut content: Vec<_> = entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
            content.sort();
            content
        };
        let before = content();
        assert!(log.seal_rolled().is_err());
        assert!(log.delete_records(5, 0).is_err());
        assert!(log.enforce_retention(0).is_err());
        log.close().unwrap();
        assert_eq!(content(), before);
    }

    #[test]
    fn records_that_were_not_promised_to_be_durable_are_acknowledged_when_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (broker, _) = open(dir.path());
        let with = |durability| TopicConfig::new().durability(durability);
        broker.create_topic("t", 1, with(Durability::Os)).unwrap();
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        let mut ack = producer.send(ProducerRecord::new("t", "v")).unwrap();
        producer.flush().unwrap();
        // The settings by themselves, without the background sync that the broker asks for.
        let partition = partition(&broker, 0).unwrap();
        partition.log().unwrap().alter(&Arc::new(with(Durability::Fsync)));
        assert_eq!(partition.high_watermark().unwrap(), 1);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut ack).poll(&mut context).is_pending());
        assert_eq!(ack.wait().unwrap().durability, Durability::Fsync);
    }

    #[test]
    fn a_consumer_that_waits_hears_of_new_partitions() {
        let dir = tempfile::tempdir().unwrap();
        let (broker, _) = open(dir.path());
        broker.create_topic("t", 1, TopicConfig::new()).unwrap();
        let earliest = ConsumerConfig::new().group_id("g").auto_offset_reset(AutoOffsetReset::Earliest);
        let mut consumer = broker.consumer(earliest.enable_auto_commit(false)).unwrap();
        consumer.subscribe(&["t"]).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || consumer.poll(Duration::from_secs(60)).unwrap().len());
            while broker.engine().topics.waiters().count() == 0 {
                assert!(!waiting.is_finished(), "it waits for no change");
                std::thread::yield_now();
            }
            broker.create_partitions("t", 2).unwrap();
            let producer = broker.producer(ProducerConfig::new()).unwrap();
            producer.send(ProducerRecord::new("t", "v").partition(1)).unwrap().wait().unwrap();
            assert_eq!(waiting.join().unwrap(), 1);
        });
    }
}

//! A record to be sent.

use crate::types::{Durability, Timestamp};

/// A record to be sent. It borrows what it is made of; `send` copies that once.
///
/// ```
/// use thalweg::ProducerRecord;
///
/// let record = ProducerRecord::new("orders", "two pears").key("alice").header("trace", Some("7f3a"));
/// let deleted = ProducerRecord::tombstone("orders", "alice");
/// ```
#[derive(Clone, Debug)]
pub struct ProducerRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<(&'a str, Option<&'a [u8]>)>,
    pub(crate) durability: Durability,
}

impl<'a> ProducerRecord<'a> {
    /// A record with a value and, so far, nothing else.
    pub fn new(topic: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        let value = Some(value.as_ref());
        ProducerRecord {
            topic,
            partition: None,
            timestamp: None,
            key: None,
            value,
            headers: Vec::new(),
            durability: Durability::Os,
        }
    }

    /// A record without a value, which deletes `key` from a compacted topic.
    pub fn tombstone(topic: &'a str, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        let key = Some(key.as_ref());
        ProducerRecord {
            topic,
            partition: None,
            timestamp: None,
            key,
            value: None,
            headers: Vec::new(),
            durability: Durability::Os,
        }
    }

    /// The key. Records of equal keys go to the same partition, as long as the number of partitions stays the same. An
    /// empty key is a key.
    pub fn key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// The partition, counted from 0. Without one the key decides, or without a key the producer.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The record's time, in milliseconds since the epoch, 0 or more. Without one it is the time of `send`; a topic with
    /// [`LogAppendTime`](crate::TimestampType::LogAppendTime) replaces it.
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// What the record is to survive, where its topic promises less: with `Fsync` it is acknowledged after a sync, with
    /// `Interval` the background syncs it within the topic's flush interval. It changes nothing about when consumers see
    /// it, and nothing where the topic promises as much.
    ///
    /// ```
    /// # fn main() -> thalweg::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use thalweg::{Broker, Durability, ProducerConfig, ProducerRecord, TopicConfig};
    ///
    /// let broker = Broker::open(dir.path())?;
    /// broker.create_topic("clicks", 1, TopicConfig::new().durability(Durability::Os))?;
    /// let producer = broker.producer(ProducerConfig::new())?;
    /// let order = ProducerRecord::new("clicks", "bought").durability(Durability::Fsync);
    /// assert_eq!(producer.send(order)?.wait()?.durability, Durability::Fsync);
    /// # broker.close()
    /// # }
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Adds a header behind those that are there. Names may repeat, and a header need not have a value.
    pub fn header(mut self, name: &'a str, value: Option<&'a (impl AsRef<[u8]> + ?Sized)>) -> Self {
        self.headers.push((name, value.map(|value| value.as_ref())));
        self
    }
}

/// What the record has. The setters own the plain names, hence `get_`, as in `std::process::Command`.
///
/// ```
/// use thalweg::ProducerRecord;
///
/// let record = ProducerRecord::new("orders", "two pears").key("alice").header("trace", Some("7f3a"));
/// assert_eq!((record.get_topic(), record.get_key()), ("orders", Some(&b"alice"[..])));
/// assert!(record.get_headers().eq([("trace", Some(&b"7f3a"[..]))]));
/// ```
impl<'a> ProducerRecord<'a> {
    /// The topic it is for.
    pub fn get_topic(&self) -> &'a str {
        self.topic
    }

    /// The key, if it has one.
    pub fn get_key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value; `None` for a tombstone.
    pub fn get_value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The headers, in their order.
    pub fn get_headers(&self) -> impl ExactSizeIterator<Item = (&'a str, Option<&'a [u8]>)> + '_ {
        self.headers.iter().copied()
    }

    /// The partition, if it names one.
    pub fn get_partition(&self) -> Option<i32> {
        self.partition
    }

    /// The time, if it names one.
    pub fn get_timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// What it is to survive, where that is more than its topic promises.
    pub fn get_durability(&self) -> Durability {
        self.durability
    }
}

//! A record of types.

use crate::types::{Durability, Timestamp};

/// A record to be sent, with a key of type `K` and a value of type `V`. It borrows what it is made of.
///
/// ```
/// use thalweg::typed::Record;
///
/// let record: Record<'_, str, i64> = Record::new("temperatures", &21).key("kitchen").timestamp(1_700_000_000_000);
/// ```
#[derive(Debug)]
pub struct Record<'a, K: ?Sized, V: ?Sized> {
    pub(super) topic: &'a str,
    pub(super) partition: Option<i32>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) key: Option<&'a K>,
    pub(super) value: Option<&'a V>,
    pub(super) headers: Vec<(&'a str, Option<&'a [u8]>)>,
    pub(super) durability: Durability,
}

impl<'a, K: ?Sized, V: ?Sized> Record<'a, K, V> {
    /// A record with a value and, so far, nothing else.
    pub fn new(topic: &'a str, value: &'a V) -> Self {
        Record::with(topic, None, Some(value))
    }

    /// A record without a value, which deletes `key` from a compacted topic. No serializer is asked for the value.
    pub fn tombstone(topic: &'a str, key: &'a K) -> Self {
        Record::with(topic, Some(key), None)
    }

    fn with(topic: &'a str, key: Option<&'a K>, value: Option<&'a V>) -> Self {
        let (partition, timestamp, headers, durability) = (None, None, Vec::new(), Durability::Os);
        Record { topic, partition, timestamp, key, value, headers, durability }
    }

    /// The key. Without one no serializer is asked for it.
    pub fn key(mut self, key: &'a K) -> Self {
        self.key = Some(key);
        self
    }

    /// As [`ProducerRecord::partition`](crate::ProducerRecord::partition).
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// As [`ProducerRecord::timestamp`](crate::ProducerRecord::timestamp).
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// As [`ProducerRecord::durability`](crate::ProducerRecord::durability).
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// As [`ProducerRecord::header`](crate::ProducerRecord::header). Those that serializers add come behind.
    pub fn header(mut self, name: &'a str, value: Option<&'a (impl AsRef<[u8]> + ?Sized)>) -> Self {
        self.headers.push((name, value.map(|value| value.as_ref())));
        self
    }
}

/// Also where keys and values cannot be cloned: they are borrowed.
impl<K: ?Sized, V: ?Sized> Clone for Record<'_, K, V> {
    fn clone(&self) -> Self {
        Record { headers: self.headers.clone(), ..*self }
    }
}

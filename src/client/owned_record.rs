//! A record that owns what it is made of.

use super::ProducerRecord;
use crate::types::{Durability, Timestamp};

/// A [`ProducerRecord`] that owns its parts, for interceptors to change and for applications to keep.
///
/// ```
/// use thalweg::{OwnedRecord, ProducerRecord};
///
/// let mut record = OwnedRecord::from(&ProducerRecord::new("orders", "two pears").key("alice"));
/// record.topic.push_str("-eu");
/// assert_eq!(record.as_record().get_topic(), "orders-eu");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// The topic it is for.
    pub topic: String,
    /// The partition, counted from 0, if it names one.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch; without it the time of `send`.
    pub timestamp: Option<Timestamp>,
    /// The key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values of the headers, in their order. Names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// What it is to survive, where that is more than its topic promises.
    pub durability: Durability,
}

impl OwnedRecord {
    /// The record, borrowed for `send`.
    pub fn as_record(&self) -> ProducerRecord<'_> {
        ProducerRecord {
            topic: &self.topic,
            partition: self.partition,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect(),
            durability: self.durability,
        }
    }
}

impl From<&ProducerRecord<'_>> for OwnedRecord {
    fn from(record: &ProducerRecord<'_>) -> Self {
        OwnedRecord {
            topic: record.topic.to_owned(),
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.get_headers().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect(),
            durability: record.durability,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_there_and_back() {
        let full = ProducerRecord::new("t", "v")
            .key("k")
            .partition(3)
            .timestamp(7)
            .durability(Durability::Fsync)
            .header("h", Some("1"))
            .header("h", None::<&str>);
        for record in [full, ProducerRecord::tombstone("t", ""), ProducerRecord::new("t", "")] {
            let owned = OwnedRecord::from(&record);
            let back = owned.as_record();
            assert_eq!(format!("{back:?}"), format!("{record:?}"));
            assert_eq!(OwnedRecord::from(&back), owned);
        }
    }
}

//! A producer of types.

use std::cell::Cell;
use std::fmt;

use super::Record;
use crate::client::ProducerRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::producer::{Ack, Producer as RawProducer};
use crate::serializer::{AddedHeaders, Serializer, SerializerError};
use crate::sync::Arc;

/// Sends records with keys of type `K` and values of type `V`, which may be unsized: `Producer<str, Order>`.
///
/// It adds the serializers and nothing else: everything that a [`Producer`](crate::Producer) says of batches,
/// acknowledgements and errors holds here, and producers of other types may share the one below. Interceptors and
/// partitioners see bytes. Keys and values are written into memory of the calling thread that is used again, so that no
/// record costs an allocation here.
pub struct Producer<K: ?Sized, V: ?Sized> {
    raw: Arc<RawProducer>,
    key: Box<dyn Serializer<K>>,
    value: Box<dyn Serializer<V>>,
}

impl<K: ?Sized, V: ?Sized> Producer<K, V> {
    /// Sends by way of `producer`, which is given away or shared in an `Arc`.
    pub fn new(
        producer: impl Into<Arc<RawProducer>>,
        key: impl Serializer<K> + 'static,
        value: impl Serializer<V> + 'static,
    ) -> Self {
        Producer { raw: producer.into(), key: Box::new(key), value: Box::new(value) }
    }

    /// Writes the key, then the value, as bytes and [sends](crate::Producer::send) them.
    ///
    /// # Errors
    ///
    /// [`Serialization`](ErrorKind::Serialization) if a serializer refuses: nothing is sent, and the error's source says why.
    /// Otherwise as [`send`](crate::Producer::send) of the producer below.
    pub fn send(&self, record: Record<'_, K, V>) -> Result<Ack> {
        self.serialized(record, |record| self.raw.send(record))
    }

    /// As [`flush`](crate::Producer::flush) of the producer below.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn flush(&self) -> Result<()> {
        self.raw.flush()
    }

    /// [Closes](crate::Producer::close) the producer below, or only flushes it if others have it still.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn close(self) -> Result<()> {
        match Arc::try_unwrap(self.raw) {
            Ok(raw) => raw.close(),
            Err(shared) => shared.flush(),
        }
    }

    /// The producer below.
    pub fn raw(&self) -> &Arc<RawProducer> {
        &self.raw
    }

    /// Hands `record` in bytes to `send`.
    fn serialized<R>(&self, record: Record<'_, K, V>, send: impl FnOnce(ProducerRecord<'_>) -> Result<R>) -> Result<R> {
        // Taken away while it is in use: a serializer may itself send.
        let mut scratch = SCRATCH.take();
        let outcome = self.write(&record, &mut scratch).and_then(|has| {
            let mut headers = record.headers;
            headers.extend(scratch.headers.iter());
            send(ProducerRecord {
                topic: record.topic,
                partition: record.partition,
                timestamp: record.timestamp,
                key: has.key.then_some(scratch.key.as_slice()),
                value: has.value.then_some(scratch.value.as_slice()),
                headers,
                durability: record.durability,
            })
        });
        scratch.give_back();
        outcome
    }

    fn write(&self, record: &Record<'_, K, V>, scratch: &mut Scratch) -> Result<Has> {
        let Scratch { key, value, headers } = scratch;
        Ok(Has {
            key: write_part("key", &*self.key, record.topic, headers, record.key, key)?,
            value: write_part("value", &*self.value, record.topic, headers, record.value, value)?,
        })
    }
}

/// Which parts of a record are not null.
struct Has {
    key: bool,
    value: bool,
}

/// Writes a key or a value, if there is one; false if there is none.
fn write_part<T: ?Sized>(
    origin: &'static str,
    serializer: &dyn Serializer<T>,
    topic: &str,
    headers: &mut AddedHeaders,
    part: Option<&T>,
    out: &mut Vec<u8>,
) -> Result<bool> {
    let Some(part) = part.filter(|part| !serializer.is_null(part)) else { return Ok(false) };
    match serializer.serialize(topic, headers, part, out) {
        Ok(()) => Ok(true),
        Err(source) => Err(refused(origin, topic, source)),
    }
}

#[cold]
fn refused(origin: &str, topic: &str, source: SerializerError) -> Error {
    let reason = format!("the {origin} of a record for topic {topic}");
    Error::new(ErrorKind::Serialization { reason }).caused_by_boxed(source)
}

/// What a record is written into, one per thread.
#[derive(Debug, Default)]
struct Scratch {
    key: Vec<u8>,
    value: Vec<u8>,
    headers: AddedHeaders,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Memory that a thread keeps for its next record: that of the largest one by default.
const SCRATCH_MAX: usize = 1 << 20;

impl Scratch {
    /// Leaves it, empty, to the thread's next record.
    fn give_back(mut self) {
        self.key.clear();
        self.value.clear();
        self.headers.clear();
        if self.key.capacity() + self.value.capacity() + self.headers.capacity() <= SCRATCH_MAX {
            SCRATCH.set(self);
        }
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Producer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("typed::Producer").field("raw", &self.raw).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity() -> usize {
        let scratch = SCRATCH.take();
        let capacity = scratch.value.capacity();
        SCRATCH.set(scratch);
        capacity
    }

    #[test]
    fn memory_is_used_again_unless_it_is_much() {
        let filled = |len| Scratch { value: vec![1; len], ..Scratch::default() };
        filled(5000).give_back();
        assert_eq!(capacity(), 5000);
        let scratch = SCRATCH.take();
        assert!(scratch.value.is_empty());
        filled(SCRATCH_MAX + 1).give_back();
        assert_eq!(capacity(), 0, "too much to keep");
    }

    #[test]
    fn it_can_be_shared_whatever_its_types() {
        fn shared<T: Send + Sync>() {}
        shared::<Producer<std::rc::Rc<u8>, Cell<u8>>>();
    }
}

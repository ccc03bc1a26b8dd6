//! Producers of types: a thin layer that turns keys and values into bytes with [serializers](crate::serializer).
//!
//! ```
//! # fn main() -> thalweg::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! use thalweg::serializer::{LongSerializer, StringSerializer};
//! use thalweg::{Broker, ProducerConfig, TopicConfig, typed};
//!
//! let broker = Broker::open(dir.path())?;
//! broker.create_topic("temperatures", 4, TopicConfig::new())?;
//! let producer = broker.producer(ProducerConfig::new())?;
//! let producer: typed::Producer<str, i64> = typed::Producer::new(producer, StringSerializer, LongSerializer);
//!
//! producer.send(typed::Record::new("temperatures", &21).key("kitchen"))?.wait()?;
//! producer.send(typed::Record::tombstone("temperatures", "attic"))?.wait()?;
//! producer.close()?;
//! # broker.close()
//! # }
//! ```
//!
//! With feature `serde`, values that are written as JSON, and a producer of bytes that several producers of types share:
//!
#![cfg_attr(feature = "serde", doc = "```")]
#![cfg_attr(not(feature = "serde"), doc = "```text")]
//! # fn main() -> thalweg::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! use std::sync::Arc;
//! use thalweg::serializer::{JsonSerializer, StringSerializer};
//! use thalweg::{Broker, ProducerConfig, TopicConfig, typed};
//!
//! #[derive(serde::Serialize)]
//! struct Order {
//!     fruit: String,
//!     count: u32,
//! }
//!
//! let broker = Broker::open(dir.path())?;
//! broker.create_topic("orders", 4, TopicConfig::new())?;
//! let shared = Arc::new(broker.producer(ProducerConfig::new())?);
//! let orders = typed::Producer::<str, Order>::new(Arc::clone(&shared), StringSerializer, JsonSerializer);
//! let notes = typed::Producer::<str, str>::new(shared, StringSerializer, StringSerializer);
//!
//! let order = Order { fruit: "pears".to_owned(), count: 2 };
//! orders.send(typed::Record::new("orders", &order).key("alice"))?.wait()?;
//! # notes.flush()?;
//! # broker.close()
//! # }
//! ```

mod producer;
mod record;

pub use producer::Producer;
pub use record::Record;

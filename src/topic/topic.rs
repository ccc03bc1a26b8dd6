//! A topic in memory.

use uuid::Uuid;

use super::partition::Partition;
use super::topic_name::is_internal;
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;

/// A topic: its settings and its partitions, numbered from 0.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) id: Uuid,
    pub(super) config: TopicConfig,
    pub(super) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// The name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The settings.
    pub(crate) fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// All partitions, by number.
    pub(crate) fn partitions(&self) -> &[Arc<Partition>] {
        &self.partitions
    }

    /// Number of partitions.
    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX) // bounded by MAX_PARTITIONS
    }

    /// One partition.
    pub(crate) fn partition(&self, number: i32) -> Result<&Arc<Partition>> {
        usize::try_from(number).ok().and_then(|number| self.partitions.get(number)).ok_or_else(|| {
            let topic = self.name.to_string();
            Error::new(ErrorKind::UnknownTopicOrPartition { topic, partition: Some(number) })
        })
    }

    /// What a user may know of it.
    pub(crate) fn describe(&self) -> TopicDescription {
        TopicDescription {
            name: Arc::clone(&self.name),
            id: self.id,
            partitions: self.partition_count(),
            config: self.config.clone(),
        }
    }
}

/// A topic's identity and settings, as they were when they were asked for.
#[derive(Clone, Debug)]
pub struct TopicDescription {
    name: Arc<str>,
    id: Uuid,
    partitions: i32,
    config: TopicConfig,
}

impl TopicDescription {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id, which tells a topic from an earlier one of the same name: 16 bytes, written by Kafka as base64.
    pub fn id(&self) -> [u8; 16] {
        *self.id.as_bytes()
    }

    /// Number of partitions.
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// The settings.
    pub fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// Whether it belongs to the engine, which alone writes to it.
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }
}

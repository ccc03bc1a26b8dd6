//! A topic in memory.

use uuid::Uuid;

use super::partition::Partition;
use super::topic_file::{TopicFile, TopicState};
use super::topic_name::is_internal;
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Arc, AtomicBool, Ordering};

/// A topic: its settings and its partitions, numbered from 0. A change makes a new one with the same partitions.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) id: Uuid,
    pub(super) config: Arc<TopicConfig>,
    pub(super) partitions: Vec<Arc<Partition>>,
    /// Whether the topic was changed or deleted. Set once, after the map of topics has the new state; a stale `false` is
    /// as if the reader had come earlier.
    superseded: AtomicBool,
}

impl Topic {
    pub(super) fn new(
        name: Arc<str>,
        id: Uuid,
        config: impl Into<Arc<TopicConfig>>,
        partitions: Vec<Arc<Partition>>,
    ) -> Self {
        Topic { name, id, config: config.into(), partitions, superseded: AtomicBool::new(false) }
    }

    /// The topic with other settings.
    pub(super) fn altered(&self, config: Arc<TopicConfig>) -> Self {
        Topic::new(Arc::clone(&self.name), self.id, config, self.partitions.clone())
    }

    /// The topic with these partitions behind its own.
    pub(super) fn grown(&self, added: Vec<Arc<Partition>>) -> Self {
        let partitions = self.partitions.iter().cloned().chain(added).collect();
        Topic::new(Arc::clone(&self.name), self.id, Arc::clone(&self.config), partitions)
    }

    /// What its file says.
    pub(super) fn file(&self) -> TopicFile {
        let config = TopicConfig::clone(&self.config);
        TopicFile { state: TopicState::Live, id: self.id, partitions: self.partition_count(), config }
    }

    /// The map of topics has another state of it, or none.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
    }

    /// Whether the topic was neither changed nor deleted.
    pub(crate) fn is_current(&self) -> bool {
        !self.superseded.load(Ordering::Acquire)
    }

    /// Whether the topic was deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.partitions.first().is_some_and(|partition| partition.check_exists().is_err())
    }

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
            config: TopicConfig::clone(&self.config),
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
    pub(super) fn new(name: Arc<str>, id: Uuid, partitions: i32, config: TopicConfig) -> Self {
        TopicDescription { name, id, partitions, config }
    }

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

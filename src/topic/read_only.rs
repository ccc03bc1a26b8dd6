//! Topics of a directory that another process has open.

use super::file_names::topic_of_file;
use super::partition::Partition;
use super::topic::TopicDescription;
use super::topic_file::{TopicFile, TopicState};
use super::topic_place::TopicPlace;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Log;
use crate::sync::Arc;
use crate::types::TopicPartition;

impl TopicPlace {
    /// Describes the topics whose files are there now, by name. What is being created or deleted is not there.
    pub(crate) fn describe_all(&self) -> Result<Vec<TopicDescription>> {
        let entries = self.disk.list(&self.dir).map_err(|error| Error::io("list", &self.dir, error))?;
        let names = entries.iter().filter(|entry| !entry.is_dir).filter_map(|entry| topic_of_file(&entry.name));
        let described = names.map(|name| match self.describe(name) {
            Err(error) if matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. }) => Ok(None),
            described => described.map(Some),
        });
        described.filter_map(Result::transpose).collect()
    }

    /// Describes a topic as its file has it now.
    pub(crate) fn describe(&self, name: &str) -> Result<TopicDescription> {
        let TopicFile { id, partitions, config, .. } = self.live_topic_file(name)?;
        Ok(TopicDescription::new(name.into(), id, partitions, config))
    }

    /// Opens a partition for reading.
    pub(crate) fn open_read_only(&self, name: &TopicPartition) -> Result<Arc<Partition>> {
        let file = self.live_topic_file(name.topic())?;
        if !(0..file.partitions).contains(&name.partition()) {
            let (topic, partition) = (name.topic().to_owned(), Some(name.partition()));
            return Err(Error::new(ErrorKind::UnknownTopicOrPartition { topic, partition }));
        }
        let log = Log::open_read_only(self.log_place(name, &file.config))?;
        Ok(self.partition(name, Ok(log)))
    }

    fn live_topic_file(&self, name: &str) -> Result<TopicFile> {
        let unknown = || Error::new(ErrorKind::UnknownTopicOrPartition { topic: name.to_owned(), partition: None });
        if topic_of_file(&format!("{name}.topic")) != Some(name) {
            return Err(unknown()); // not a name that could be part of a path
        }
        match self.read_topic_file(name) {
            Ok(file) if file.state == TopicState::Live => Ok(file),
            Ok(_) => Err(unknown()),
            Err(error) if error.is_not_found() => Err(unknown()),
            Err(error) => Err(error),
        }
    }
}

//! Creating, changing and deleting topics, so that a crash at any moment leaves the old state or the new one.
//!
//! The topic file decides. What it does not speak of yet is made before it is written, and what it does not speak of any
//! more goes after:
//!
//! | | before | decided by | after |
//! |---|---|---|---|
//! | create | a file that says `creating`, the directories | the file without that | |
//! | alter | | the file with the settings | logs and clients go on with them |
//! | add partitions | their directories | the file with their number | clients see them |
//! | delete | | the file that says `deleting` | directories are renamed, committed offsets forgotten, the file and then the directories removed |
//!
//! One change at a time. When a step before the decision fails, what was done is taken back; where that fails as well,
//! the next attempt or the next open does it. A step behind the decision that fails is tried again by the next open.

use uuid::Uuid;

use super::report::RecoveryReport;
use super::topic::Topic;
use super::topic_file::{TopicFile, TopicState};
use super::topic_name::{check_topic_name, collide};
use super::topics::{Changing, Deletion, MAX_PARTITIONS, Topics};
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;

impl Topics {
    /// Creates a topic; durable when it returns.
    pub(crate) fn create(&self, name: &str, partitions: i32, config: TopicConfig) -> Result<Arc<Topic>> {
        check_topic_name(name)?;
        check_partition_count(partitions, 1)?;
        config.check()?;
        config.check_codec()?;
        let changing = self.begin_change()?;
        self.check_free(name, &changing)?;
        let file = TopicFile { state: TopicState::Creating, id: Uuid::new_v4(), partitions, config };
        let leftovers = self.place.leftovers(name, 0..partitions, None)?;
        let create = || {
            self.place.write_topic_file(name, &file)?;
            self.place.remove(&leftovers)?;
            let name: Arc<str> = name.into();
            let partitions = self.place.create_partitions(&name, &file, 0..partitions)?;
            let topic = Topic::new(name, file.id, file.config.clone(), partitions);
            self.place.write_topic_file(&topic.name, &topic.file())?;
            Ok(Arc::new(topic))
        };
        let topic = create().inspect_err(|_: &Error| {
            let _ = self.place.take_back_creation(name, &file);
        })?;
        self.publish(&topic.name, Some(&topic));
        Ok(topic)
    }

    fn check_free(&self, name: &str, changing: &Changing) -> Result<()> {
        let topics = self.by_name.read();
        if topics.contains_key(name) || self.unreadable.contains_key(name) {
            return Err(Error::new(ErrorKind::TopicAlreadyExists { topic: name.to_owned() }));
        }
        if let Some(deletion) = changing.deletions.get(name) {
            let exists = || Error::new(ErrorKind::TopicAlreadyExists { topic: name.to_owned() });
            return Err(deletion.error.clone().unwrap_or_else(exists));
        }
        if topics.keys().any(|other| collide(other, name)) {
            let reason = "a topic is there whose name differs in \".\" and \"_\" only";
            return Err(Error::new(ErrorKind::InvalidTopic { topic: name.to_owned(), reason }));
        }
        Ok(())
    }

    /// Replaces the settings of a topic; durable when it returns, and in use.
    pub(crate) fn alter(&self, name: &str, config: TopicConfig) -> Result<Arc<Topic>> {
        config.check()?;
        config.check_codec()?;
        let changing = self.begin_change()?;
        let former = self.get(name)?;
        let topic = Arc::new(former.altered(Arc::new(config)));
        self.place.write_topic_file(name, &topic.file()).inspect_err(|_| {
            // If this fails as well, the next open finds the one or the other.
            let _ = self.place.write_topic_file(name, &former.file());
        })?;
        topic.partitions.iter().for_each(|partition| partition.alter(&topic.config));
        self.publish(&topic.name, Some(&topic));
        drop(changing);
        topic.partitions.iter().for_each(|partition| partition.wake_waiters());
        Ok(topic)
    }

    /// Adds partitions to a topic until it has `count`; durable when it returns.
    pub(crate) fn create_partitions(&self, name: &str, count: i32) -> Result<Arc<Topic>> {
        let _changing = self.begin_change()?;
        let former = self.get(name)?;
        let file = former.file();
        check_partition_count(count, file.partitions + 1)?;
        let added = file.partitions..count;
        let leftovers = self.place.leftovers(name, added.clone(), Some(file.id))?;
        let create = || {
            if !leftovers.is_empty() {
                self.place.write_topic_file(name, &file)?; // what failed may have left one that counts them
                self.place.remove(&leftovers)?;
            }
            let topic = former.grown(self.place.create_partitions(&former.name, &file, added)?);
            self.place.write_topic_file(name, &topic.file())?;
            Ok(Arc::new(topic))
        };
        let topic = create().inspect_err(|_: &Error| {
            let _ = self.place.take_back_growth(name, &file, count);
        })?;
        self.publish(&topic.name, Some(&topic));
        Ok(topic)
    }

    /// Deletes a topic. When it returns the deletion is durable, and the name is free. `forget` removes what others keep
    /// of the topic; it is done when it returns, and may be called again for the same topic.
    ///
    /// An error can leave the topic there as it was, or gone with something left of it: then its name is not free, and
    /// the next call for it goes on, or the next open.
    pub(crate) fn delete(&self, name: &str, forget: impl Fn(&str) -> Result<()>) -> Result<()> {
        let mut changing = self.begin_change()?;
        if changing.deletions.contains_key(name) {
            return self.finish_deletion(&mut changing, name, &forget).map(drop);
        }
        let topic = self.get(name)?;
        self.check_no_strays(&topic)?;
        self.mark_deleted(&topic)?;
        self.publish(&topic.name, None);
        topic.partitions.iter().for_each(|partition| partition.delete());
        let file = TopicFile { state: TopicState::Deleting, ..topic.file() };
        changing.deletions.insert(name.to_owned(), Deletion { file, error: None });
        let outcome = self.finish_deletion(&mut changing, name, &forget);
        drop(changing);
        topic.partitions.iter().for_each(|partition| partition.wake_all());
        outcome.map(drop)
    }

    /// Without the topic's file, the next open would make a topic of its name of what somebody put there.
    fn check_no_strays(&self, topic: &Topic) -> Result<()> {
        let strays = self.place.strays(&topic.name, &topic.file())?;
        if strays.is_empty() {
            return Ok(());
        }
        let names = strays.join(", ");
        let reason = format!(
            "topic {} has {} partitions, and there are others that are not its own: {names}; move them elsewhere first",
            topic.name,
            topic.partition_count()
        );
        Err(Error::illegal_state(reason))
    }

    /// Writes that the topic is deleted. From then on it is, whatever happens.
    fn mark_deleted(&self, topic: &Topic) -> Result<()> {
        let live = topic.file();
        let deleting = TopicFile { state: TopicState::Deleting, ..live.clone() };
        self.place.write_topic_file(&topic.name, &deleting).inspect_err(|_| {
            if self.place.write_topic_file(&topic.name, &live).is_err() {
                // The next open may find the one or the other, so nothing may be acknowledged any more.
                let reason = "it is not known whether the topic is deleted: delete it again, or open the broker again";
                topic.partitions.iter().for_each(|partition| partition.fail(reason));
            }
        })
    }

    /// Does what is left to do for a topic that was deleted, and frees its name. Returns the directories that went.
    fn finish_deletion(
        &self,
        changing: &mut Changing,
        name: &str,
        forget: &impl Fn(&str) -> Result<()>,
    ) -> Result<Vec<String>> {
        let Some(deletion) = changing.deletions.get_mut(name) else { return Ok(Vec::new()) };
        let finished = self.place.rename_partitions(name, &deletion.file).and_then(|renamed| {
            // Before the file goes: afterwards nobody would know that there was something to forget.
            forget(name)?;
            self.place.remove_topic_file(name)?;
            Ok(renamed)
        });
        let renamed = finished.inspect_err(|error| deletion.error = Some(error.clone()))?;
        changing.deletions.remove(name);
        for (_, dir) in &renamed {
            let _ = self.place.disk.remove_dir(dir); // what is left goes with the next open
        }
        Ok(renamed.into_iter().map(|(former, _)| former).collect())
    }

    /// Finishes the deletions that the last user of the directory could not finish, and reports them.
    pub(crate) fn finish_deletions(&self, forget: impl Fn(&str) -> Result<()>, report: &mut RecoveryReport) {
        let mut changing = self.changing.lock();
        let names: Vec<_> = changing.deletions.keys().cloned().collect();
        for name in names {
            match self.finish_deletion(&mut changing, &name, &forget) {
                Ok(removed) => report.removed.extend(removed),
                Err(error) => report.failed.push(error),
            }
        }
    }

    /// Waits for the change or the copy that is under way, and refuses another one after the close.
    pub(super) fn begin_change(&self) -> Result<impl std::ops::DerefMut<Target = Changing> + '_> {
        let changing = self.changing.lock();
        if changing.closed { Err(Error::new(ErrorKind::Closed)) } else { Ok(changing) }
    }
}

fn check_partition_count(count: i32, min: i32) -> Result<()> {
    let is_possible = (min..=MAX_PARTITIONS).contains(&count);
    if is_possible { Ok(()) } else { Err(Error::new(ErrorKind::InvalidPartitions { requested: count })) }
}

//! Making room in a store that is full: the oldest segments go.
//!
//! Rule: log.md 15, "a total-bytes cap that includes the active segment". What may go is what retention may remove, in the
//! order of age over all topics instead of within each.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::partition::Partition;
use super::topic::Topic;
use super::topic_name::is_internal;
use super::topics::Topics;
use crate::error::{Error, Result};
use crate::log::Usage;
use crate::sync::Arc;

impl Topics {
    /// What all logs hold together.
    pub(crate) fn usage(&self) -> &Usage {
        &self.place.usage
    }

    /// Removes the oldest segments until there is room for `size` bytes, with some to spare. One caller at a time; those
    /// who come meanwhile mostly find room. What cannot be removed is passed over. The caller holds no lock.
    ///
    /// # Errors
    ///
    /// `StoreFull` if there is no room for `size` bytes all the same, with what kept a segment from being removed.
    pub(crate) fn drop_oldest(&self, size: u64) -> Result<()> {
        let usage = self.usage();
        let (dropping, has_room) = {
            let _alone = usage.begin_dropping();
            if usage.has_room(size) {
                return Ok(());
            }
            let mut dropping = Dropping::new(usage, self.that_may_lose_records());
            dropping.run(size);
            let has_room = usage.has_room(size); // asked here: later, others have taken it again
            (dropping, has_room)
        };
        dropping.wake(); // tasks may run in there, which may send
        if has_room {
            return Ok(());
        }
        let full = usage.full();
        Err(match dropping.refused {
            Some(error) => full.caused_by(error),
            None => full,
        })
    }

    /// The partitions of the topics whose settings let old segments go.
    fn that_may_lose_records(&self) -> Vec<Arc<Partition>> {
        let topics = self.all();
        let may = |topic: &&Arc<Topic>| !is_internal(&topic.name) && topic.config.get_cleanup_policy().deletes();
        topics.iter().filter(may).flat_map(|topic| topic.partitions.iter().cloned()).collect()
    }
}

/// A removal of the oldest segments that is under way.
struct Dropping<'a> {
    usage: &'a Usage,
    partitions: Vec<Arc<Partition>>,
    /// Numbers of the partitions that moved, in `partitions`: somebody may wait for them.
    moved: BTreeSet<usize>,
    /// The first reason why something did not go.
    refused: Option<Error>,
}

impl<'a> Dropping<'a> {
    fn new(usage: &'a Usage, partitions: Vec<Arc<Partition>>) -> Self {
        Dropping { usage, partitions, moved: BTreeSet::new(), refused: None }
    }

    /// Segments that are finished first; then those which become visible by a sync; and those that are appended to only
    /// where there is no room otherwise.
    fn run(&mut self, size: u64) {
        let bytes_to_keep = self.usage.bytes_to_keep(size);
        self.drop_segments(false, bytes_to_keep);
        if !self.usage.has_room(size) {
            self.show_all();
            self.drop_segments(false, bytes_to_keep);
        }
        if !self.usage.has_room(size) {
            self.drop_segments(true, bytes_to_keep);
        }
    }

    /// Removes segments, the oldest first, until all logs together have `bytes_to_keep` or nothing more may go.
    fn drop_segments(&mut self, is_active: bool, bytes_to_keep: u64) {
        let Dropping { usage, partitions, moved, refused } = self;
        let look = |number: usize| {
            let oldest = partitions.get(number)?.oldest_segment(is_active)?;
            Some(Reverse((oldest.timestamp, number, oldest)))
        };
        let mut by_age: BinaryHeap<_> = (0..partitions.len()).filter_map(look).collect();
        while bytes_to_keep < usage.bytes() {
            let Some(Reverse((_, number, oldest))) = by_age.pop() else { return };
            let Some(partition) = partitions.get(number) else { return };
            moved.insert(number);
            match partition.remove_oldest(oldest) {
                // A segment that took the place of the active one is the newest of all.
                Ok(_) if is_active => {}
                Ok(_) => by_age.extend(look(number)),
                Err(error) => _ = refused.get_or_insert(error),
            }
        }
    }

    /// Makes durable, and with that visible, what waits for a sync: whoever sends faster than the background thread syncs
    /// would find nothing that may go.
    fn show_all(&mut self) {
        let Dropping { partitions, moved, refused, .. } = self;
        for (number, partition) in partitions.iter().enumerate() {
            let synced = partition.log().and_then(|log| {
                let end = log.log_end();
                if partition.keeps_promises(end)? {
                    return Ok(());
                }
                moved.insert(number);
                log.sync_to(end)
            });
            if let Err(error) = synced {
                refused.get_or_insert(error);
            }
        }
    }

    /// Has those look again who wait for what has moved.
    fn wake(&self) {
        self.moved.iter().filter_map(|number| self.partitions.get(*number)).for_each(|partition| {
            partition.wake_all();
        });
    }
}

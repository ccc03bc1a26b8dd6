//! Group commit: one caller syncs for all who wait.
//!
//! Whoever wants a sync joins the group that is forming, or forms one and leads it. The leader waits until the sync that is
//! under way has ended, closes its group, and syncs for all in it; who comes later forms the next group meanwhile. A lone
//! caller pays for no hand-over. Where groups follow each other without a pause, a thread that does nothing else can
//! [take over](Log::take_over): waking the next leader would cost the device a part of its time.
//!
//! The members of a group wake each other and need no lock afterwards: they look at the ends of the log.

use std::io;

use super::log::{Log, sync_failed};
use crate::error::{Error, Result};
use crate::segment::{End, Segment};
use crate::sync::{Arc, AtomicI64, AtomicUsize, OnceLock, Ordering};
use crate::sys::{SyncPoint, is_out_of_handles};
use crate::types::Offset;

/// The groups of one log.
#[derive(Debug, Default)]
pub(super) struct SyncGroups {
    /// The group that is forming.
    forming: Option<Arc<SyncGroup>>,
    /// The last one that was closed.
    closed: Option<Arc<SyncGroup>>,
}

/// Those for whom one sync is done.
#[derive(Debug, Default)]
struct SyncGroup {
    /// Number of members, without the leader.
    members: AtomicUsize,
    /// End of what the sync makes durable, once it has begun. A stale value costs one more sync.
    covers: AtomicI64,
    /// Where they wait for the end of the sync, a few each: see [`wait`](SyncGroup::wait).
    ended: [OnceLock<()>; PLACES],
    /// Why nothing was synced, if that can be tried again: what fails for good the log says.
    refusal: OnceLock<Error>,
    /// Set when the leader of the next group need not wait any longer: its turn has come, or somebody took it over and has
    /// done it.
    released: OnceLock<()>,
}

/// Places where members of a group wait.
const PLACES: usize = 15;

/// Members that wait in one place, but for the last, which takes the rest.
const MEMBERS_OF_PLACE: usize = 8;

impl SyncGroup {
    /// Waits until the sync has ended, as one more member.
    ///
    /// To wake a thread that sleeps on an idle processor takes longer than that thread has to do: one that wakes all the
    /// others would be all that runs. So the first members wake those behind them, in the order of a heap.
    fn wait(&self) -> Result<()> {
        let number = self.members.fetch_add(1, Ordering::Relaxed);
        let place = (number / MEMBERS_OF_PLACE).min(PLACES - 1);
        if let Some(ended) = self.ended.get(place) {
            ended.wait();
        }
        let next = match number % MEMBERS_OF_PLACE {
            0 => self.ended.get(2 * place + 1),
            1 => self.ended.get(2 * place + 2),
            _ => None,
        };
        next.map(|next| next.set(()));
        self.outcome()
    }

    /// What its members are told.
    fn outcome(&self) -> Result<()> {
        self.refusal.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Lets the members go on.
    fn end(&self) {
        self.ended.first().map(|first| first.set(()));
    }
}

impl Log {
    /// Returns once every record below `target` is durable and, in mode `fsync`, visible.
    ///
    /// # Errors
    ///
    /// `Storage` if this sync or an earlier one failed. Nothing is retried: after a failure the system may have dropped
    /// the pages, and a second sync would report success for what is not there. `Io` if there were no file handles to
    /// try it with; the records are in the log and can become durable later.
    pub(crate) fn sync_to(&self, target: Offset) -> Result<()> {
        let target = target.min(self.view.load().log_end()); // nobody can make more durable than there is
        while self.durable() < target {
            self.sync_after(Some(target), || {}, || false)?;
        }
        Ok(())
    }

    /// Has a sync done that begins after this call, here or by another caller, and waits until it has ended; the ends of
    /// the log tell what came of it. If it is done here, `write` is called before: what it appends is covered, too. And
    /// `hand_over` is called afterwards if the next group has formed: it returns whether somebody will take it over.
    ///
    /// With a `target`, the sync that is under way will do, if that covers it.
    ///
    /// # Errors
    ///
    /// As [`sync_to`](Log::sync_to), of a sync that was done here.
    pub(crate) fn sync_after(
        &self,
        target: Option<Offset>,
        write: impl FnOnce(),
        hand_over: impl FnOnce() -> bool,
    ) -> Result<()> {
        self.check_failure()?;
        let mut groups = self.sync_groups.lock();
        let covers = |group: &&Arc<SyncGroup>| {
            let is_under_way =
                group.released.get().is_none() && group.ended.first().is_some_and(|ended| ended.get().is_none());
            is_under_way && target.is_some_and(|target| target <= group.covers.load(Ordering::Relaxed))
        };
        if let Some(group) = groups.closed.as_ref().filter(covers).or(groups.forming.as_ref()).cloned() {
            drop(groups);
            return group.wait();
        }
        let group = Arc::new(SyncGroup::default());
        groups.forming = Some(Arc::clone(&group));
        let former = groups.closed.clone();
        drop(groups);
        if let Some(former) = former {
            former.released.wait();
        }
        let Some(turn) = self.close_group(|forming| Arc::ptr_eq(forming, &group)) else {
            group.end(); // it was taken over, and is over
            return group.outcome();
        };
        write();
        let outcome = turn.sync();
        turn.end(&outcome, hand_over);
        outcome
    }

    /// Takes the turn to sync if nobody has it or waits for it.
    pub(crate) fn try_turn(&self) -> Option<Turn<'_>> {
        let mut groups = self.sync_groups.lock();
        let is_under_way = groups.closed.as_ref().is_some_and(|group| group.released.get().is_none());
        if is_under_way || groups.forming.is_some() || self.failure.get().is_some() {
            return None;
        }
        let group = Arc::<SyncGroup>::default();
        let former = groups.closed.replace(Arc::clone(&group));
        Some(Turn { log: self, group, former, ended: false })
    }

    /// Takes the turn of a group that was handed over.
    pub(crate) fn take_over(&self) -> Option<Turn<'_>> {
        self.close_group(|_| true)
    }

    /// From here on those who come form the next group. The turn of those who came before is the caller's, if it `is_its`.
    fn close_group(&self, is_its: impl FnOnce(&Arc<SyncGroup>) -> bool) -> Option<Turn<'_>> {
        let mut groups = self.sync_groups.lock();
        let group = groups.forming.take_if(|forming| is_its(forming))?;
        let former = groups.closed.replace(Arc::clone(&group));
        Some(Turn { log: self, group, former, ended: false })
    }

    /// Whether a group waits for its turn.
    #[cfg(test)]
    pub(crate) fn has_forming_group(&self) -> bool {
        self.sync_groups.lock().forming.is_some()
    }

    /// Whether a sync would have nothing to do.
    pub(super) fn is_all_durable(&self) -> bool {
        let end = self.view.load().log_end();
        end <= self.durable() && end <= self.high_watermark()
    }

    /// Syncs all that is written now, oldest segment first, and moves the ends. One caller at a time.
    ///
    /// Before anything in a new segment is called durable, those before it are sealed and the checkpoint says so. From
    /// that follows what recovery relies on: where a segment behind the recovery point is torn, nothing in the segments
    /// behind it was ever promised. Only where the checkpoint cannot be written, for want of room or of file
    /// handles, is there an exception: those before are durable then all the same, and recovery finds them whole.
    fn sync_written(&self) -> Result<()> {
        let view = self.view.load_full();
        if self.recovery_point.load(Ordering::Acquire) < view.active().base() {
            let _ = self.seal_rolled();
            self.check_failure()?;
        }
        for segment in view.segments_from(self.durable()) {
            self.note_synced(segment, segment.sync(SyncPoint::Commit))?;
        }
        Ok(())
    }

    /// Moves the ends after a sync of the last segment that was not durable.
    pub(super) fn note_synced(&self, segment: &Segment, synced: io::Result<End>) -> Result<()> {
        let end = synced.map_err(|error| self.not_synced(segment, error))?;
        // Visible first: who finds them durable may look for them.
        segment.show(end);
        self.durable.fetch_max(end.offset, Ordering::Release);
        Ok(())
    }

    /// What becomes of the log when a segment could not be synced.
    pub(super) fn not_synced(&self, segment: &Segment, error: io::Error) -> Error {
        if is_out_of_handles(&error) {
            return Error::io("open the directory of", &segment.path(), error).in_partition(self.partition());
        }
        self.fail(sync_failed(&segment.path(), error))
    }
}

/// The turn of the caller that syncs. If it panics, the log takes no more appends and those who wait are told.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    log: &'a Log,
    group: Arc<SyncGroup>,
    /// The group before. If the turn was taken over, the leader still waits for it to be released.
    former: Option<Arc<SyncGroup>>,
    ended: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn log(&self) -> &'a Log {
        self.log
    }

    /// Makes durable what is written now.
    ///
    /// # Errors
    ///
    /// As [`Log::sync_to`].
    pub(crate) fn sync(&self) -> Result<()> {
        self.log.check_failure()?;
        self.begin();
        if self.log.is_all_durable() { Ok(()) } else { self.log.sync_written() }
    }

    /// The sync begins: what is written now will be durable.
    pub(super) fn begin(&self) {
        self.group.covers.store(self.log.view.load().log_end(), Ordering::Relaxed);
    }

    /// Wakes the members of the group. If the next one has formed, `hand_over` is asked whether somebody takes it over;
    /// otherwise its leader is woken. Returns whether it was handed over.
    pub(crate) fn end(mut self, outcome: &Result<()>, hand_over: impl FnOnce() -> bool) -> bool {
        if let Err(error) = outcome {
            let _ = self.group.refusal.set(error.clone()); // there is one turn for a group
        }
        let next_has_formed = {
            let groups = self.log.sync_groups.lock();
            if groups.forming.is_none() {
                let _ = self.group.released.set(()); // under the lock: who comes next does not wait
            }
            groups.forming.is_some()
        };
        let is_handed_over = next_has_formed && hand_over();
        if next_has_formed && !is_handed_over {
            let _ = self.group.released.set(());
        }
        self.ended = true;
        is_handed_over
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.log.fail(Error::storage("a sync panicked: nothing more is accepted; open the broker again"));
            let _ = self.group.released.set(());
        }
        let members = self.group.members.load(Ordering::Relaxed); // who joins now is woken by those before
        let released = self.former.as_ref().is_some_and(|former| former.released.set(()).is_ok());
        if !released || members <= MEMBERS_OF_PLACE {
            self.group.end();
        } // else the leader, who was never called, wakes the others: who synced for them is at the next group
    }
}

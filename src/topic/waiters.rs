//! Those who wait for a partition to move.
//!
//! The protocol that loses no wake-up: check, [`add`](Waiters::add), check again, wait; on the other side: move the end,
//! then [`wake`](Waiters::wake). A fence on each side puts the two stores before the two loads, so at least one side
//! sees the other. While nobody waits for what was reached, `wake` is one load.
//!
//! `tests/loom` runs this file in every interleaving.
//!
//! No lock is held while somebody is woken: a waker is the application's code, and may come back here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Instant;

use crate::sync::{Arc, AtomicI64, AtomicUsize, Condvar, Mutex, Ordering, fence};

/// Somebody who waits, for one partition or for several: a thread, or a task by its waker.
#[derive(Debug)]
pub(crate) struct Waiter {
    state: Mutex<State>,
    woken: Condvar,
    /// What is still to come, in all partitions together, of what is waited for. Taken from by those who
    /// [wake](Waiters::wake).
    missing: AtomicI64,
    /// Additions of it that stand in lists. Raised by whoever waits, taken from under the list's lock; a stale value is too
    /// large and costs a look at the list.
    listed: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    interrupted: bool,
    waker: Option<Waker>,
}

impl Default for Waiter {
    fn default() -> Self {
        Waiter {
            state: Mutex::new(State::default()),
            woken: Condvar::new(),
            missing: AtomicI64::new(0),
            listed: AtomicUsize::new(0),
        }
    }
}

impl Waiter {
    /// Ends the wait that is under way, or the next one.
    pub(crate) fn wake(&self) {
        self.wake_with(|_| {});
    }

    /// As [`wake`](Waiter::wake), and has [`take_interruption`](Waiter::take_interruption) say so: whoever waits is to
    /// stop waiting, whatever has come.
    pub(crate) fn interrupt(&self) {
        self.wake_with(|state| state.interrupted = true);
    }

    /// As [`wake`](Waiter::wake), for somebody who has others to wake as well: a waker is the application's code. If it
    /// panics, the others are woken all the same.
    pub(crate) fn wake_among_others(&self) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.wake()));
    }

    fn wake_with(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state.lock();
            state.woken = true;
            change(&mut state);
            state.waker.take()
        };
        self.woken.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether there was an interruption since this was asked last.
    pub(crate) fn take_interruption(&self) -> bool {
        std::mem::take(&mut self.state.lock().interrupted)
    }

    /// Blocks until [`wake`](Waiter::wake) or `deadline`, and takes the wake-up. Returns whether there was one.
    pub(crate) fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        while !state.woken {
            match deadline {
                None => self.woken.wait(&mut state),
                Some(deadline) if self.woken.wait_until(&mut state, deadline).timed_out() => break,
                Some(_) => {}
            }
        }
        std::mem::take(&mut state.woken)
    }

    /// Has `waker` called at the next wake-up, or returns `true` and takes the wake-up that came already.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        let is_known = |state: &State| state.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        let mut state = self.state.lock();
        let mut other = None;
        if !state.woken && !is_known(&state) {
            drop(state);
            other = Some(waker.clone()); // the application's code, which may come back here
            state = self.state.lock();
            if !state.woken {
                std::mem::swap(&mut state.waker, &mut other);
            }
        }
        let is_woken = std::mem::take(&mut state.woken);
        drop(state);
        drop(other); // the last of a task, it may be, which may come back here
        is_woken
    }

    /// Drops the waker that [`poll`](Waiter::poll) left.
    pub(crate) fn forget_task(&self) {
        let waker = self.state.lock().waker.take();
        drop(waker); // the application's code, which may come back here
    }

    /// Begins to wait for `count` of something, to come in several places: see [`Waiters::add_part`].
    pub(crate) fn expect(&self, count: i64) {
        self.missing.store(count, Ordering::Relaxed); // the additions that follow publish it
    }

    /// Takes note of `count` that came. Returns whether it was the last of what was missing, which is so once.
    fn note(&self, count: i64) -> bool {
        let missing = self.missing.fetch_sub(count, Ordering::AcqRel);
        0 < missing && missing <= count
    }
}

/// Those who wait for a number to grow: the end of a partition, as an offset or in bytes.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// The smallest target in `list`, so that moving an end that nobody waits for touches nothing else. Stored under the
    /// lock of `list`.
    nearest: AtomicI64,
    /// Sorted, the nearest target at the end, so that those who wait for more cost those who do not nothing.
    list: Mutex<Vec<Waiting>>,
}

/// One addition.
#[derive(Debug)]
struct Waiting {
    /// The number at which something is to be done.
    target: i64,
    /// Whether the waiter is woken then, or counts what came with others.
    is_part: bool,
    waiter: Arc<Waiter>,
}

/// The nearest target while there is none.
const NOBODY: i64 = i64::MAX;

/// The target of who waits for no number. Not [`NOBODY`]: lists with somebody in them [are not idle](Waiters::are_idle).
const NEVER: i64 = NOBODY - 1;

impl Default for Waiters {
    fn default() -> Self {
        Waiters { nearest: AtomicI64::new(NOBODY), list: Mutex::new(Vec::new()) }
    }
}

impl Waiters {
    /// Has `waiter` woken when the number reaches `target`. Check once more after this call, then wait.
    pub(crate) fn add(&self, target: i64, waiter: &Arc<Waiter>) {
        self.push(Waiting { target, is_part: false, waiter: Arc::clone(waiter) });
    }

    /// Has what comes from `from` on counted as a part of what `waiter` [expects](Waiter::expect), which is woken when all
    /// has come, here or elsewhere. [Wake](Waiters::wake) with the number as it is after this call, in each of the places, then
    /// wait: what came before the call nobody else would count.
    pub(crate) fn add_part(&self, from: i64, waiter: &Arc<Waiter>) {
        self.push(Waiting { target: from.saturating_add(1), is_part: true, waiter: Arc::clone(waiter) });
    }

    /// Has `waiter` woken by [`wake_all`](Waiters::wake_all) only.
    pub(crate) fn add_for_all(&self, waiter: &Arc<Waiter>) {
        self.add(NEVER, waiter);
    }

    fn push(&self, mut waiting: Waiting) {
        waiting.target = waiting.target.min(NEVER);
        let mut list = self.list.lock();
        waiting.waiter.listed.fetch_add(1, Ordering::Relaxed);
        insert(&mut list, waiting);
        self.note_nearest(&list);
        drop(list);
        fence(Ordering::SeqCst);
    }

    /// Undoes all of `waiter`'s additions.
    pub(crate) fn remove(&self, waiter: &Arc<Waiter>) {
        if waiter.listed.load(Ordering::Relaxed) == 0 {
            return; // as it is after a wake-up, mostly: the list is left to those who wake others
        }
        let mut list = self.list.lock();
        let before = list.len();
        list.retain(|waiting| !Arc::ptr_eq(&waiting.waiter, waiter));
        if list.len() < before {
            waiter.listed.fetch_sub(before - list.len(), Ordering::Relaxed);
            self.note_nearest(&list);
        }
    }

    /// Wakes those whose target `reached` has come to. Called after the number has moved, without any lock held.
    #[inline]
    pub(crate) fn wake(&self, reached: i64) {
        fence(Ordering::SeqCst);
        if self.nearest.load(Ordering::Relaxed) <= reached {
            self.wake_reached(reached);
        }
    }

    /// Whether nobody waits for any of these numbers to grow. Asked after they have moved, as [`wake`](Waiters::wake) is
    /// called.
    #[inline]
    pub(crate) fn are_idle(lists: [&Waiters; 2]) -> bool {
        fence(Ordering::SeqCst);
        lists.iter().all(|list| list.nearest.load(Ordering::Relaxed) == NOBODY)
    }

    /// Wakes everybody: there is something else to know than that the number has grown.
    pub(crate) fn wake_all(&self) {
        fence(Ordering::SeqCst);
        let all = {
            let mut list = self.list.lock();
            let all = std::mem::take(&mut *list);
            self.note_nearest(&list);
            all.into_iter().map(Waiting::take_out).collect()
        };
        wake_each(all);
    }

    #[cold]
    fn wake_reached(&self, reached: i64) {
        let mut woken = Vec::new();
        {
            let mut list = self.list.lock();
            let mut parts = Vec::new();
            while let Some(mut waiting) = list.pop_if(|waiting| waiting.target <= reached) {
                let came = reached - (waiting.target - 1);
                if waiting.is_part && !waiting.waiter.note(came) {
                    waiting.target = reached.saturating_add(1);
                    parts.push(waiting);
                } else {
                    woken.push(waiting.take_out());
                }
            }
            parts.into_iter().for_each(|part| insert(&mut list, part));
            self.note_nearest(&list);
        }
        wake_each(woken);
    }

    fn note_nearest(&self, list: &[Waiting]) {
        self.nearest.store(list.last().map_or(NOBODY, |waiting| waiting.target), Ordering::Relaxed);
    }

    /// Keeps everybody else out.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        self.list.lock()
    }

    /// Whether the list is in order, and its nearest target known.
    #[cfg(test)]
    pub(crate) fn is_in_order(&self) -> bool {
        let list = self.list.lock();
        let nearest = list.iter().map(|waiting| waiting.target).min().unwrap_or(NOBODY);
        list.is_sorted_by(|far, near| near.target <= far.target) && self.nearest.load(Ordering::Relaxed) == nearest
    }

    /// Number of additions that were not undone.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.list.lock().len()
    }
}

impl Waiting {
    /// Who waits, not in the list any more.
    fn take_out(self) -> Arc<Waiter> {
        self.waiter.listed.fetch_sub(1, Ordering::Relaxed); // before the wake-up, which publishes it
        self.waiter
    }
}

/// Puts `waiting` into its place: those with the same target that came before are woken before.
fn insert(list: &mut Vec<Waiting>, waiting: Waiting) {
    let at = list.partition_point(|other| waiting.target < other.target);
    list.insert(at, waiting);
}

fn wake_each(woken: Vec<Arc<Waiter>>) {
    woken.iter().for_each(|waiter| waiter.wake_among_others());
}

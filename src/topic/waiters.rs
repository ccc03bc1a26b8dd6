//! Those who wait for a partition to move.
//!
//! The protocol that loses no wake-up: check, [`add`](Waiters::add), check again, wait; on the other side: move the end,
//! then [`wake`](Waiters::wake). A fence on each side puts the two stores before the two loads, so at least one side
//! sees the other. While nobody waits for what was reached, `wake` is one load.
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
        let mut state = self.state.lock();
        let mut former = None;
        if !state.woken && !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            former = state.waker.replace(waker.clone());
        }
        let is_woken = std::mem::take(&mut state.woken);
        drop(state);
        drop(former); // the last of a task, it may be, which may come back here
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
    /// has come, here or elsewhere. Check once more after the last of these calls, then wait.
    pub(crate) fn add_part(&self, from: i64, waiter: &Arc<Waiter>) {
        self.push(Waiting { target: from.saturating_add(1), is_part: true, waiter: Arc::clone(waiter) });
    }

    /// Has `waiter` woken by [`wake_all`](Waiters::wake_all) only.
    pub(crate) fn add_for_all(&self, waiter: &Arc<Waiter>) {
        self.add(NOBODY, waiter);
    }

    fn push(&self, waiting: Waiting) {
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
    for waiter in woken {
        // A waker is the application's code. If it panics, the others are woken all the same.
        let _ = catch_unwind(AssertUnwindSafe(|| waiter.wake()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicI64;
    use std::time::Duration;

    #[test]
    fn only_those_are_woken_whose_target_is_reached() {
        let waiters = Waiters::default();
        let (near, far) = (Arc::new(Waiter::default()), Arc::new(Waiter::default()));
        waiters.add(5, &near);
        waiters.add(9, &far);
        waiters.wake(4);
        assert_eq!(waiters.count(), 2);
        waiters.wake(6);
        assert!(is_woken(&near));
        assert!(!is_woken(&far));
        waiters.wake_all();
        assert!(is_woken(&far));
        assert!(Waiters::are_idle([&waiters; 2]));
    }

    #[test]
    fn a_removed_waiter_is_not_woken() {
        let waiters = Waiters::default();
        let waiter = Arc::new(Waiter::default());
        waiters.add(1, &waiter);
        waiters.add(2, &waiter);
        waiters.remove(&waiter);
        waiters.wake_all();
        assert!(!is_woken(&waiter));
    }

    #[test]
    fn parts_are_counted_together_and_wake_once() {
        let (a, b) = (Waiters::default(), Waiters::default());
        let waiter = Arc::new(Waiter::default());
        waiter.expect(100);
        a.add_part(1000, &waiter);
        b.add_part(50, &waiter);
        a.wake(1000); // nothing came
        b.wake(40); // the reader stands before what can be seen
        a.wake(1060);
        a.wake(1060);
        b.wake(89);
        assert!(!is_woken(&waiter));
        b.wake(90);
        assert!(is_woken(&waiter));
        a.wake(2000);
        assert!(!is_woken(&waiter), "once");
        assert_eq!((a.count(), b.count()), (1, 0));
    }

    #[test]
    fn who_waits_for_everybody_is_woken_with_all_only() {
        let waiters = Waiters::default();
        let waiter = Arc::new(Waiter::default());
        waiters.add_for_all(&waiter);
        waiters.wake(i64::MAX - 1);
        assert!(!is_woken(&waiter));
        waiters.wake_all();
        assert!(is_woken(&waiter));
    }

    #[test]
    fn the_list_stays_sorted_whoever_comes_and_goes() {
        let waiters = Waiters::default();
        let added: Vec<_> = (0..200_i64).map(|number| (number * 77 % 100, Arc::new(Waiter::default()))).collect();
        let nobody_else = Arc::new(Waiter::default());
        for (target, waiter) in &added {
            waiters.add(*target, waiter);
            waiters.add_part(*target, &nobody_else);
        }
        nobody_else.expect(i64::MAX);
        for reached in 0..100 {
            added.iter().filter(|(target, _)| *target == reached + 3).for_each(|(_, waiter)| waiters.remove(waiter));
            waiters.wake(reached);
            assert!(waiters.list.lock().is_sorted_by(|far, near| near.target <= far.target));
            let nearest = waiters.list.lock().iter().map(|waiting| waiting.target).min();
            assert_eq!(waiters.nearest.load(Ordering::Relaxed), nearest.unwrap_or(NOBODY));
        }
        let (woken, removed): (Vec<_>, Vec<_>) = added.iter().partition(|(target, _)| *target < 3);
        assert!(woken.iter().all(|(_, waiter)| is_woken(waiter)));
        assert!(removed.iter().all(|(_, waiter)| !is_woken(waiter)));
        waiters.remove(&nobody_else);
        assert!(waiters.count() == 0 && Waiters::are_idle([&waiters; 2]));
    }

    #[test]
    fn those_with_one_target_are_woken_in_their_order() {
        struct Note(usize, Arc<Mutex<Vec<usize>>>);
        impl std::task::Wake for Note {
            fn wake(self: Arc<Self>) {
                self.1.lock().push(self.0);
            }
        }
        let (waiters, order) = (Waiters::default(), Arc::new(Mutex::new(Vec::new())));
        for (number, target) in [7, 5, 7, 5, 7].into_iter().enumerate() {
            let waiter = Arc::new(Waiter::default());
            assert!(!waiter.poll(&Waker::from(Arc::new(Note(number, Arc::clone(&order))))));
            waiters.add(target, &waiter);
        }
        waiters.wake(7);
        assert_eq!(*order.lock(), [1, 3, 0, 2, 4]);
    }

    #[test]
    fn an_interruption_is_told_once() {
        let waiter = Waiter::default();
        waiter.interrupt();
        assert!(is_woken(&waiter) && waiter.take_interruption() && !waiter.take_interruption());
        waiter.wake();
        assert!(is_woken(&waiter) && !waiter.take_interruption());
    }

    /// Two threads in a game of catch: each round ends only when the wake-up arrives.
    #[test]
    fn no_wake_up_is_lost() {
        const ROUNDS: i64 = 100_000;
        let (waiters, end) = (Waiters::default(), AtomicI64::new(0));
        let seen = AtomicI64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    while seen.load(Ordering::Acquire) < round {
                        std::hint::spin_loop();
                    }
                    end.store(round + 1, Ordering::Release);
                    waiters.wake(round + 1);
                }
            });
            let waiter = Arc::new(Waiter::default());
            for round in 0..ROUNDS {
                if end.load(Ordering::Acquire) <= round {
                    waiters.add(round + 1, &waiter);
                    if end.load(Ordering::Acquire) <= round {
                        assert!(waiter.wait_until(Some(deadline(Duration::from_secs(60)))), "lost in round {round}");
                    }
                    waiters.remove(&waiter);
                }
                seen.store(round + 1, Ordering::Release);
            }
        });
    }

    fn is_woken(waiter: &Waiter) -> bool {
        waiter.wait_until(Some(deadline(Duration::ZERO)))
    }

    #[expect(clippy::disallowed_methods, reason = "a bound for a test that would otherwise hang")]
    fn deadline(after: Duration) -> Instant {
        Instant::now() + after
    }
}

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

use crate::sync::{Arc, AtomicI64, Condvar, Mutex, Ordering, fence};

/// Somebody who waits, for one partition or for several: a thread, or a task by its waker.
#[derive(Debug)]
pub(crate) struct Waiter {
    state: Mutex<State>,
    woken: Condvar,
    /// What is still to come, in all partitions together, of what is waited for. Taken from by those who
    /// [wake](Waiters::wake).
    missing: AtomicI64,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    interrupted: bool,
    waker: Option<Waker>,
}

impl Default for Waiter {
    fn default() -> Self {
        Waiter { state: Mutex::new(State::default()), woken: Condvar::new(), missing: AtomicI64::new(0) }
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
        if !state.woken && !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        std::mem::take(&mut state.woken)
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
        if waiting.target < self.nearest.load(Ordering::Relaxed) {
            self.nearest.store(waiting.target, Ordering::Relaxed);
        }
        list.push(waiting);
        drop(list);
        fence(Ordering::SeqCst);
    }

    /// Undoes all of `waiter`'s additions.
    pub(crate) fn remove(&self, waiter: &Arc<Waiter>) {
        let mut list = self.list.lock();
        let before = list.len();
        list.retain(|waiting| !Arc::ptr_eq(&waiting.waiter, waiter));
        if list.len() < before {
            self.note_nearest(&list);
        }
    }

    /// Wakes those whose target `reached` has come to. Called after the number has moved, without any lock held.
    #[inline]
    pub(crate) fn wake(&self, reached: i64) {
        fence(Ordering::SeqCst);
        if self.nearest.load(Ordering::Relaxed) <= reached {
            self.wake_reached(|waiting| {
                let has_come = waiting.target <= reached;
                if has_come && waiting.is_part {
                    let came = reached - (waiting.target - 1);
                    waiting.target = reached.saturating_add(1);
                    return waiting.waiter.note(came);
                }
                has_come
            });
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
        self.wake_reached(|_| true);
    }

    fn wake_reached(&self, is_reached: impl FnMut(&mut Waiting) -> bool) {
        let reached: Vec<_> = {
            let mut list = self.list.lock();
            let reached = list.extract_if(.., is_reached).collect();
            self.note_nearest(&list);
            reached
        };
        for Waiting { waiter, .. } in reached {
            // A waker is the application's code. If it panics, the others are woken all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| waiter.wake()));
        }
    }

    fn note_nearest(&self, list: &[Waiting]) {
        let nearest = list.iter().map(|waiting| waiting.target).min().unwrap_or(NOBODY);
        self.nearest.store(nearest, Ordering::Relaxed);
    }

    /// Number of additions that were not undone.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.list.lock().len()
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

//! Those who wait for a partition to move.
//!
//! The protocol that loses no wake-up: check, [`add`](Waiters::add), check again, wait; on the other side: move the end,
//! then [`wake`](Waiters::wake). A fence on each side puts the two stores before the two loads, so at least one side
//! sees the other. When nobody waits, `wake` is one load.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Instant;

use crate::sync::{Arc, AtomicUsize, Condvar, Mutex, Ordering, fence};
use crate::types::Offset;

/// Somebody who waits, for one partition or for several: a thread, or a task by its waker.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    waker: Option<Waker>,
}

impl Waiter {
    /// Ends the wait that is under way, or the next one.
    pub(crate) fn wake(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.woken = true;
            state.waker.take()
        };
        self.woken.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
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
        if !state.woken {
            state.waker = Some(waker.clone());
        }
        std::mem::take(&mut state.woken)
    }
}

/// The waiters of one partition, each with the end it waits for.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// Length of `list`, so that moving an end that nobody waits for touches nothing else.
    count: AtomicUsize,
    list: Mutex<Vec<(Offset, Arc<Waiter>)>>,
}

impl Waiters {
    /// Has `waiter` woken when the end reaches `target`. Check once more after this call, then wait.
    pub(crate) fn add(&self, target: Offset, waiter: &Arc<Waiter>) {
        let mut list = self.list.lock();
        list.push((target, Arc::clone(waiter)));
        self.count.store(list.len(), Ordering::Relaxed);
        drop(list);
        fence(Ordering::SeqCst);
    }

    /// Undoes all of `waiter`'s additions.
    pub(crate) fn remove(&self, waiter: &Arc<Waiter>) {
        let mut list = self.list.lock();
        list.retain(|(_, other)| !Arc::ptr_eq(other, waiter));
        self.count.store(list.len(), Ordering::Relaxed);
    }

    /// Wakes those whose target `end` has reached. Called after the end has moved, without any lock held.
    pub(crate) fn wake(&self, end: Offset) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let reached = {
            let mut list = self.list.lock();
            let reached: Vec<_> = list.extract_if(.., |(target, _)| *target <= end).collect();
            self.count.store(list.len(), Ordering::Relaxed);
            reached
        };
        for (_, waiter) in reached {
            // A waker is the application's code. If it panics, the others are woken all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| waiter.wake()));
        }
    }

    /// Whether nobody waits. Asked after the end has moved, as [`wake`](Waiters::wake) is called.
    pub(crate) fn is_empty(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Number of additions that were not undone.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.list.lock().len()
    }

    /// Wakes everybody: the log failed or was closed.
    pub(crate) fn wake_all(&self) {
        self.wake(Offset::MAX);
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
        waiters.wake(6);
        let now = Duration::ZERO;
        assert!(near.wait_until(Some(deadline(now))));
        assert!(!far.wait_until(Some(deadline(now))));
        waiters.wake_all();
        assert!(far.wait_until(Some(deadline(now))));
        assert_eq!(waiters.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_removed_waiter_is_not_woken() {
        let waiters = Waiters::default();
        let waiter = Arc::new(Waiter::default());
        waiters.add(1, &waiter);
        waiters.add(2, &waiter);
        waiters.remove(&waiter);
        waiters.wake_all();
        assert!(!waiter.wait_until(Some(deadline(Duration::ZERO))));
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

    #[expect(clippy::disallowed_methods, reason = "a bound for a test that would otherwise hang")]
    fn deadline(after: Duration) -> Instant {
        Instant::now() + after
    }
}

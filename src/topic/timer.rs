//! Things that are due at a certain time.

use std::time::Instant;

use super::panics::Panics;
use crate::clock::Clock;
use crate::sync::{Arc, Condvar, Mutex, Weak};

/// Something that has to be done at a certain time.
pub(crate) trait Task: Send + Sync {
    /// Does what is due at `now` and returns when there is something to do next.
    fn run(&self, now: Instant) -> Option<Instant>;
}

/// Runs tasks when they are due.
#[derive(Default)]
pub(crate) struct Timer {
    state: Mutex<TimerState>,
    changed: Condvar,
    pub(crate) panics: Panics,
}

#[derive(Default)]
struct TimerState {
    tasks: Vec<Weak<dyn Task>>,
    /// When the next look at the tasks is due.
    next: Option<Instant>,
    stopped: bool,
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer").field("next", &self.state.lock().next).finish_non_exhaustive()
    }
}

impl Timer {
    /// Adds a task. It is forgotten when it is dropped.
    pub(crate) fn add(&self, task: Weak<dyn Task>) {
        let mut state = self.state.lock();
        state.tasks.retain(|task| task.strong_count() > 0);
        state.tasks.push(task);
    }

    /// Has the tasks run at `at` at the latest. Wakes the thread only if it would sleep longer, so under a steady load
    /// nobody pays for a wake-up.
    pub(crate) fn wake_at(&self, at: Instant) {
        let mut state = self.state.lock();
        if state.next.is_none_or(|next| at < next) {
            state.next = Some(at);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Runs every task now, on the calling thread.
    pub(crate) fn run_now(&self, clock: &dyn Clock) {
        let tasks = self.state.lock().tasks.clone();
        self.run_all(&tasks, clock.instant());
    }

    /// Runs tasks when they are due, until [`stop`](Timer::stop).
    pub(crate) fn run(&self, clock: &dyn Clock) {
        let mut state = self.state.lock();
        while !state.stopped {
            match state.next {
                None => self.changed.wait(&mut state),
                Some(next) if clock.instant() < next => {
                    self.changed.wait_until(&mut state, next);
                }
                Some(_) => {
                    drop(state);
                    self.run_due(clock);
                    state = self.state.lock();
                }
            }
        }
    }

    /// Runs the tasks if there is something due, on the calling thread.
    pub(crate) fn run_due(&self, clock: &dyn Clock) {
        let mut state = self.state.lock();
        if state.next.is_none_or(|next| clock.instant() < next) {
            return;
        }
        state.next = None;
        let tasks = state.tasks.clone();
        drop(state);
        let next = self.run_all(&tasks, clock.instant());
        let mut state = self.state.lock();
        state.next = state.next.into_iter().chain(next).min();
    }

    /// Runs every task that is still there; returns when the first of them has something to do next.
    fn run_all(&self, tasks: &[Weak<dyn Task>], now: Instant) -> Option<Instant> {
        let run = |task: Arc<dyn Task>| self.panics.catch("what was due", || task.run(now))?;
        tasks.iter().filter_map(Weak::upgrade).filter_map(run).min()
    }

    /// Ends [`run`](Timer::run).
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }
}

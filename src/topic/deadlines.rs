//! When those who wait as tasks have waited long enough.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::timer::{Task, Timer};
use super::waiters::Waiter;
use crate::sync::{Arc, Mutex, Weak};

/// Deadlines of waiters that no thread of their own keeps: the timer's thread wakes them.
#[derive(Debug)]
pub(crate) struct Deadlines {
    timer: Arc<Timer>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    heap: BinaryHeap<Reverse<Deadline>>,
    /// Number at which those are looked for that nobody waits for any more.
    prune_at: usize,
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    ticket: Weak<Ticket>,
}

/// A wait for a deadline: dropping it gives the deadline up. The waiter may wait again, for a later one.
#[derive(Debug)]
pub(crate) struct Ticket(Arc<Waiter>);

/// Least of `prune_at`.
const PRUNE_MIN: usize = 64;

impl Deadlines {
    pub(crate) fn new(timer: &Arc<Timer>) -> Arc<Self> {
        let deadlines = Arc::new(Deadlines {
            timer: Arc::clone(timer),
            state: Mutex::new(State { heap: BinaryHeap::new(), prune_at: PRUNE_MIN }),
        });
        let weak: Weak<Deadlines> = Arc::downgrade(&deadlines);
        timer.add(weak);
        deadlines
    }

    /// Has `waiter` woken at `at`, if the ticket is still there.
    #[must_use = "dropping the ticket ends the wait"]
    pub(crate) fn add(&self, at: Instant, waiter: &Arc<Waiter>) -> Arc<Ticket> {
        let ticket = Arc::new(Ticket(Arc::clone(waiter)));
        let mut state = self.state.lock();
        if state.heap.len() >= state.prune_at {
            state.heap.retain(|Reverse(deadline)| deadline.ticket.strong_count() > 0);
            state.prune_at = PRUNE_MIN.max(2 * state.heap.len());
        }
        let is_next = state.heap.peek().is_none_or(|Reverse(next)| at < next.at);
        state.heap.push(Reverse(Deadline { at, ticket: Arc::downgrade(&ticket) }));
        drop(state);
        if is_next {
            self.timer.wake_at(at);
        }
        ticket
    }
}

impl Task for Deadlines {
    fn run(&self, now: Instant) -> Option<Instant> {
        loop {
            let mut state = self.state.lock();
            match state.heap.peek() {
                Some(Reverse(next)) if next.at <= now => {}
                next => return next.map(|Reverse(next)| next.at),
            }
            let due = state.heap.pop();
            drop(state);
            if let Some(ticket) = due.and_then(|Reverse(due)| due.ticket.upgrade()) {
                ticket.0.wake_among_others();
            }
        }
    }
}

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Deadline {}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

#[cfg(test)]
#[path = "deadlines_tests.rs"]
mod deadlines_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use std::time::Duration;

    #[test]
    fn who_is_there_is_woken_when_it_is_time() {
        let start = SystemClock.instant();
        let deadlines = Deadlines::new(&Arc::default());
        let (first, second) = (Arc::new(Waiter::default()), Arc::new(Waiter::default()));
        let _second = deadlines.add(start + Duration::from_secs(20), &second);
        let _first = deadlines.add(start + Duration::from_secs(10), &first);
        drop(deadlines.add(start + Duration::from_secs(5), &second)); // given up at once
        let is_woken = |waiter: &Waiter| waiter.wait_until(Some(start));
        assert_eq!(deadlines.run(start + Duration::from_secs(9)), Some(start + Duration::from_secs(10)));
        assert!(!is_woken(&first) && !is_woken(&second));
        assert_eq!(deadlines.run(start + Duration::from_secs(10)), Some(start + Duration::from_secs(20)));
        assert!(is_woken(&first) && !is_woken(&second));
        assert_eq!(deadlines.run(start + Duration::from_hours(1)), None);
        assert!(is_woken(&second));
    }

    #[test]
    fn those_who_went_do_not_pile_up() {
        let (start, deadlines) = (SystemClock.instant(), Deadlines::new(&Arc::default()));
        let waiter = Arc::default();
        for _ in 0..100_000 {
            drop(deadlines.add(start + Duration::from_hours(1), &waiter)); // a fetcher that waits again and again
        }
        assert!(deadlines.state.lock().heap.len() < 1000);
    }
}

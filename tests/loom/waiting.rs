//! One who waits, and one who moves an end: no wake-up is lost. One that is lost is a deadlock, which loom finds.

use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};
use std::time::Instant;

use loom::thread;

use crate::sync::{Arc, AtomicI64, Flaw, Ordering};
use crate::waiters::{Waiter, Waiters};
use crate::{explore, explore_with};

/// A partition, as far as those who wait know it.
pub(crate) struct Partition {
    pub(crate) end: AtomicI64,
    pub(crate) closed: AtomicI64,
    pub(crate) waiters: Waiters,
}

impl Partition {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Partition { end: AtomicI64::new(0), closed: AtomicI64::new(0), waiters: Waiters::default() })
    }

    /// As `Partition::wake_waiters` after an append: the end is loaded again.
    pub(crate) fn move_to(&self, end: i64) {
        self.end.fetch_max(end, Ordering::Release);
        if !Waiters::are_idle([&self.waiters, &self.waiters]) {
            self.waiters.wake(self.end());
        }
    }

    pub(crate) fn end(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closed.store(1, Ordering::Release);
        self.waiters.wake_all();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) == 1
    }

    /// Check, register, check again, wait.
    fn wait_for(&self, target: i64, waiter: &Arc<Waiter>) {
        while self.end() < target {
            self.waiters.add(target, waiter);
            if self.end() < target {
                waiter.wait_until(None);
            }
            self.waiters.remove(waiter);
        }
    }
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Task {
    fn is_woken(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no time in a model, but a deadline has to be something")]
pub(crate) fn is_woken(waiter: &Waiter) -> bool {
    waiter.wait_until(Some(Instant::now()))
}

fn one_waits_one_moves() {
    let partition = Partition::new();
    let mover = Arc::clone(&partition);
    let mover = thread::spawn(move || mover.move_to(1));
    partition.wait_for(1, &Arc::new(Waiter::default()));
    mover.join().unwrap();
    assert!(Waiters::are_idle([&partition.waiters; 2]));
}

#[test]
fn no_wake_up_is_lost() {
    explore(one_waits_one_moves);
}

#[test]
#[should_panic(expected = "deadlock")]
fn control_without_fences_a_wake_up_is_lost() {
    explore_with(Flaw::NoFence, one_waits_one_moves);
}

#[test]
#[should_panic(expected = "deadlock")]
fn control_without_the_second_check_a_wake_up_is_lost() {
    explore(|| {
        let partition = Partition::new();
        let mover = Arc::clone(&partition);
        let mover = thread::spawn(move || mover.move_to(1));
        let waiter = Arc::new(Waiter::default());
        if partition.end() < 1 {
            partition.waiters.add(1, &waiter);
            waiter.wait_until(None);
        }
        mover.join().unwrap();
    });
}

/// The end moves in two steps; each of two who wait is woken at its own.
#[test]
fn each_is_woken_at_its_target() {
    explore(|| {
        let partition = Partition::new();
        let (mover, far) = (Arc::clone(&partition), Arc::clone(&partition));
        let mover = thread::spawn(move || (1..=2).for_each(|end| mover.move_to(end)));
        let far = thread::spawn(move || far.wait_for(2, &Arc::new(Waiter::default())));
        partition.wait_for(1, &Arc::new(Waiter::default()));
        mover.join().unwrap();
        far.join().unwrap();
    });
}

/// Two who move: the one that comes last with the smaller number takes nothing back.
#[test]
fn two_may_move_the_end() {
    explore(|| {
        let partition = Partition::new();
        let movers = [1, 2].map(|end| {
            let mover = Arc::clone(&partition);
            thread::spawn(move || mover.move_to(end))
        });
        partition.wait_for(2, &Arc::new(Waiter::default()));
        movers.into_iter().for_each(|mover| mover.join().unwrap());
    });
}

/// A task asks, is told to come back, and is woken, or was told already.
fn poll_once(check_again: bool) {
    let partition = Partition::new();
    let mover = Arc::clone(&partition);
    let mover = thread::spawn(move || mover.move_to(1));
    let (waiter, task) = (Arc::new(Waiter::default()), Arc::new(Task::default()));
    partition.waiters.add(1, &waiter);
    let is_ready = (check_again && 1 <= partition.end()) || waiter.poll(&Waker::from(Arc::clone(&task)));
    mover.join().unwrap();
    assert!(is_ready || task.is_woken(), "the task is never polled again");
}

#[test]
fn a_task_that_was_told_to_wait_is_woken() {
    explore(|| poll_once(true));
}

#[test]
#[should_panic(expected = "never polled again")]
fn control_a_task_that_does_not_check_again() {
    explore(|| poll_once(false));
}

#[test]
#[should_panic(expected = "never polled again")]
fn control_a_task_without_fences() {
    explore_with(Flaw::NoFence, || poll_once(true));
}

/// A task that comes with another waker is woken by that one.
#[test]
fn the_last_waker_is_woken() {
    explore(|| {
        let waiter = Arc::new(Waiter::default());
        let waking = Arc::clone(&waiter);
        let waking = thread::spawn(move || waking.wake());
        let tasks = [(); 2].map(|()| Arc::new(Task::default()));
        let is_ready = tasks.each_ref().map(|task| waiter.poll(&Waker::from(Arc::clone(task))));
        waking.join().unwrap();
        assert!(is_ready.contains(&true) || tasks[1].is_woken());
    });
}

/// Who gives up while the end moves is out of the list, and leaves the one who stays where it can be found.
#[test]
fn who_gives_up_takes_nobody_along() {
    explore(|| {
        let partition = Partition::new();
        let (mover, other) = (Arc::clone(&partition), Arc::clone(&partition));
        let mover = thread::spawn(move || mover.move_to(2));
        let other = thread::spawn(move || {
            let waiter = Arc::new(Waiter::default());
            other.waiters.add(1, &waiter);
            other.waiters.remove(&waiter);
        });
        partition.wait_for(2, &Arc::new(Waiter::default()));
        mover.join().unwrap();
        other.join().unwrap();
        assert!(Waiters::are_idle([&partition.waiters; 2]));
    });
}

/// A waiter that is used again may be woken once too often, by a wake-up that was under way, and never too little.
#[test]
fn a_waiter_that_is_used_again_misses_nothing() {
    explore(|| {
        let partition = Partition::new();
        let mover = Arc::clone(&partition);
        let mover = thread::spawn(move || (1..=2).for_each(|end| mover.move_to(end)));
        let waiter = Arc::new(Waiter::default());
        partition.waiters.add(1, &waiter);
        partition.waiters.remove(&waiter);
        partition.wait_for(2, &waiter);
        mover.join().unwrap();
    });
}

/// Registers for everything, looks whether the partition is closed before and, if asked to, after, and waits.
fn wait_for_close(check_again: bool) {
    let partition = Partition::new();
    let closer = Arc::clone(&partition);
    let closer = thread::spawn(move || closer.close());
    let waiter = Arc::new(Waiter::default());
    if !partition.is_closed() {
        partition.waiters.add_for_all(&waiter);
        if !(check_again && partition.is_closed()) {
            waiter.wait_until(None);
        }
    }
    closer.join().unwrap();
}

#[test]
fn who_waits_while_it_is_closed_is_told() {
    explore(|| wait_for_close(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn control_who_does_not_look_again_misses_the_close() {
    explore(|| wait_for_close(false));
}

/// An interruption ends the wait that is under way or the next, and is told once.
#[test]
fn an_interruption_is_not_lost() {
    explore(|| {
        let waiter = Arc::new(Waiter::default());
        let interrupting = Arc::clone(&waiter);
        let interrupting = thread::spawn(move || interrupting.interrupt());
        while !waiter.take_interruption() {
            waiter.wait_until(None);
        }
        interrupting.join().unwrap();
        assert!(!waiter.take_interruption());
    });
}

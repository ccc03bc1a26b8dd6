//! The line of a partition's complete batches: who completes one and finds the writer taken leaves it, and the holder looks
//! again. A model of `PartitionQueue`'s `write_line`, `write` and of the callbacks' `run`, lock by lock: with the second look left
//! out, something stays behind with nobody at it.

use loom::thread;

use crate::explore;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering};

struct Queue {
    open: Mutex<Vec<usize>>,
    /// What was written.
    writer: Mutex<Vec<usize>>,
    crossing: Crossing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SecondLook {
    Taken,
    LeftOut,
}

/// A place where loom may have another thread go on that comes to one, too. It does so before operations on something that
/// both change, and not between the releases of two locks, where a `try_lock` makes a difference.
struct Crossing(AtomicUsize);

impl Crossing {
    fn new() -> Self {
        Crossing(AtomicUsize::new(0))
    }

    fn pass(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Queue {
    fn new() -> Arc<Self> {
        let (open, writer) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        Arc::new(Queue { open, writer, crossing: Crossing::new() })
    }

    fn has_next(&self) -> bool {
        !self.open.lock().is_empty()
    }

    /// Takes a batch off the line with the writer's lock held, as `write_next`. Returns whether there was one.
    fn write_next(&self, written: &mut Vec<usize>) -> bool {
        let mut open = self.open.lock();
        let next = (!open.is_empty()).then(|| open.remove(0));
        drop(open);
        self.crossing.pass();
        written.extend(next);
        next.is_some()
    }

    /// As `push` of a record that completes a batch.
    fn push(&self, batch: usize, look: SecondLook) {
        self.open.lock().push(batch);
        self.crossing.pass();
        self.write_line(look);
    }

    fn write_line(&self, look: SecondLook) {
        loop {
            let Some(mut writer) = self.writer.try_lock() else { return };
            self.write_next(&mut writer);
            drop(writer);
            if look == SecondLook::LeftOut || !self.has_next() {
                return;
            }
        }
    }

    /// As `write` of the thread that syncs.
    fn write(&self, look: SecondLook) {
        loop {
            let mut writer = self.writer.lock();
            let has_written = self.write_next(&mut writer);
            drop(writer);
            if !has_written && (look == SecondLook::LeftOut || !self.has_next()) {
                return;
            }
        }
    }

    fn check(&self, batches: usize) {
        assert!(!self.has_next(), "a batch stays in the line");
        let written = self.writer.lock();
        assert_eq!(written.len(), batches);
        // Those of one thread in its order: the second of a thread is its first and 10.
        let at = |batch| written.iter().position(|written| *written == batch);
        assert!((1..3).all(|first| at(first + 10).is_none_or(|second| at(first) < Some(second))), "out of order");
    }
}

fn two_push(look: SecondLook) {
    let queue = Queue::new();
    let other = Arc::clone(&queue);
    let other = thread::spawn(move || [1, 11].into_iter().for_each(|batch| other.push(batch, look)));
    [2, 12].into_iter().for_each(|batch| queue.push(batch, look));
    other.join().unwrap();
    queue.check(4);
}

#[test]
fn no_batch_stays_in_the_line_of_two_who_push() {
    explore(|| two_push(SecondLook::Taken));
}

#[test]
#[should_panic(expected = "a batch stays in the line")]
fn control_without_the_second_look_one_stays() {
    explore(|| two_push(SecondLook::LeftOut));
}

fn one_pushes_one_syncs(look: SecondLook) {
    let queue = Queue::new();
    let syncing = Arc::clone(&queue);
    let syncing = thread::spawn(move || syncing.write(look));
    [1, 11].into_iter().for_each(|batch| queue.push(batch, SecondLook::Taken));
    syncing.join().unwrap();
    queue.check(2);
}

#[test]
fn no_batch_stays_in_the_line_behind_a_sync() {
    explore(|| one_pushes_one_syncs(SecondLook::Taken));
}

#[test]
#[should_panic(expected = "a batch stays in the line")]
fn control_without_the_second_look_of_the_sync_one_stays() {
    explore(|| one_pushes_one_syncs(SecondLook::LeftOut));
}

struct Callbacks {
    ready: Mutex<Vec<usize>>,
    running: Mutex<Vec<usize>>,
    again: AtomicBool,
    crossing: Crossing,
}

impl Callbacks {
    /// Settles what a callback waits for, and runs those that are ready.
    fn settle_and_run(&self, callback: usize, look: SecondLook) {
        self.ready.lock().push(callback);
        self.again.store(true, Ordering::SeqCst);
        self.crossing.pass();
        while self.again.load(Ordering::SeqCst) {
            let Some(mut running) = self.running.try_lock() else { return };
            self.again.store(false, Ordering::SeqCst);
            running.append(&mut self.ready.lock());
            self.crossing.pass();
            drop(running);
            if look == SecondLook::LeftOut {
                return;
            }
        }
    }
}

fn two_settle(look: SecondLook) {
    let (ready, running) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let callbacks = Arc::new(Callbacks { ready, running, again: AtomicBool::new(false), crossing: Crossing::new() });
    let other = Arc::clone(&callbacks);
    let other = thread::spawn(move || other.settle_and_run(1, look));
    callbacks.settle_and_run(2, look);
    other.join().unwrap();
    assert_eq!(callbacks.running.lock().len(), 2, "a callback is not run");
}

#[test]
fn no_callback_is_left_behind() {
    explore(|| two_settle(SecondLook::Taken));
}

#[test]
#[should_panic(expected = "a callback is not run")]
fn control_without_another_look_a_callback_is_left_behind() {
    explore(|| two_settle(SecondLook::LeftOut));
}

//! Wakers that misbehave, in the hands of those who end waits.

#![allow(unsafe_code, reason = "a waker whose clone does something has no other way to be made")]

use std::panic::panic_any;
use std::sync::mpsc;
use std::task::{RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;
use std::time::Duration;

use super::*;
use crate::clock::{Clock, SystemClock};

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic_any("the panic of this test");
    }
}

/// As many tasks as are due at the same time, of which the first panics when it is woken: the others have to be woken, too.
#[test]
fn a_waker_that_panics_keeps_nobody_elses_deadline_from_being_noticed() {
    let (timer, clock) = (Arc::new(Timer::default()), SystemClock);
    let deadlines = Deadlines::new(&timer);
    let now = clock.instant();
    let (first, second) = (Arc::new(Waiter::default()), Arc::new(Waiter::default()));
    assert!(!first.poll(&Waker::from(Arc::new(Panics))));
    let _tickets = [deadlines.add(now, &first), deadlines.add(now, &second)];
    timer.run_due(&clock);
    timer.run_due(&clock); // whatever it thinks is due next
    assert!(second.wait_until(Some(now)), "the second one is due as well");
}

/// One that comes later has to be noticed, too: the timer has to know that there is one.
#[test]
fn deadlines_behind_a_waker_that_panicked_are_kept() {
    let (timer, clock) = (Arc::new(Timer::default()), SystemClock);
    let deadlines = Deadlines::new(&timer);
    let now = clock.instant();
    let (first, second, third) = (Arc::default(), Arc::default(), Arc::default());
    assert!(!Waiter::poll(&first, &Waker::from(Arc::new(Panics))));
    let later = now + Duration::from_millis(1);
    let _tickets = [deadlines.add(now, &first), deadlines.add(later, &second)];
    timer.run_due(&clock);
    let _ticket = deadlines.add(later + Duration::from_millis(1), &third);
    while clock.instant() < later + Duration::from_millis(1) {
        thread::yield_now();
    }
    timer.run_due(&clock);
    assert!(second.wait_until(Some(now)) && third.wait_until(Some(now)));
}

static REENTERED: Mutex<Option<Arc<Waiter>>> = Mutex::new(None);

const VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        let waiter = REENTERED.lock().clone();
        waiter.inspect(|waiter| waiter.wake());
        RawWaker::new(data, &VTABLE)
    },
    |_| {},
    |_| {},
    |_| {},
);

/// Cloning a waker is the application's code as well.
#[test]
fn no_lock_is_held_while_a_waker_is_cloned() {
    let (ended, has_ended) = mpsc::channel();
    thread::spawn(move || {
        let waiter = Arc::new(Waiter::default());
        *REENTERED.lock() = Some(Arc::clone(&waiter));
        // SAFETY: the functions of the table touch no data.
        let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) };
        let _ = waiter.poll(&waker);
        ended.send(()).unwrap();
    });
    has_ended.recv_timeout(Duration::from_secs(20)).expect("a clone that wakes the waiter waits for nobody");
}

//! Those who wait, one after the other and as a game of catch.

use std::task::Waker;
use std::time::{Duration, Instant};

use super::waiters::{Waiter, Waiters};
use crate::sync::{Arc, AtomicI64, Mutex, Ordering};

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
    waiters.wake(i64::MAX - 2);
    assert!(
        !is_woken(&waiter) && !Waiters::are_idle([&waiters; 2]),
        "somebody is there, and has to be told of a failure"
    );
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
        assert!(waiters.is_in_order());
    }
    let (woken, removed): (Vec<_>, Vec<_>) = added.iter().partition(|(target, _)| *target < 3);
    assert!(woken.iter().all(|(_, waiter)| is_woken(waiter)));
    assert!(removed.iter().all(|(_, waiter)| !is_woken(waiter)));
    waiters.remove(&nobody_else);
    assert!(waiters.count() == 0 && Waiters::are_idle([&waiters; 2]));
}

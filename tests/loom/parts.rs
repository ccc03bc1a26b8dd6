//! One who waits for what comes in two partitions together.

use loom::thread;

use crate::sync::{Arc, Flaw};
use crate::waiters::Waiter;
use crate::waiting::{Partition, is_woken};
use crate::{explore, explore_with};

/// How the check after the registration is done.
#[derive(Clone, Copy)]
enum SecondCheck {
    /// As fetches do it: what came meanwhile is counted as if it came now.
    Counted,
    /// What came meanwhile is only compared with what is missing.
    Compared,
    LeftOut,
}

/// Waits until both ends together have come to `missing`, both being 0 in the first look.
fn wait_for_parts(partitions: &[Arc<Partition>; 2], missing: i64, check: SecondCheck, waiter: &Arc<Waiter>) {
    waiter.expect(missing);
    partitions.iter().for_each(|partition| partition.waiters.add_part(0, waiter));
    match check {
        SecondCheck::Counted => partitions.iter().for_each(|partition| partition.waiters.wake(partition.end())),
        SecondCheck::Compared if missing <= partitions.iter().map(|partition| partition.end()).sum() => waiter.wake(),
        SecondCheck::Compared | SecondCheck::LeftOut => {}
    }
    waiter.wait_until(None);
    assert!(missing <= partitions.iter().map(|partition| partition.end()).sum(), "woken too early");
}

fn one_moves_each(check: SecondCheck) {
    let partitions = [Partition::new(), Partition::new()];
    let movers = partitions.each_ref().map(|partition| {
        let partition = Arc::clone(partition);
        thread::spawn(move || partition.move_to(1))
    });
    let waiter = Arc::new(Waiter::default());
    wait_for_parts(&partitions, 2, check, &waiter);
    movers.into_iter().for_each(|mover| mover.join().unwrap());
    if matches!(check, SecondCheck::Counted) {
        assert!(!is_woken(&waiter), "woken twice");
    }
    partitions.iter().for_each(|partition| partition.waiters.remove(&waiter));
    assert!(partitions.iter().all(|partition| crate::waiters::Waiters::are_idle([&partition.waiters; 2])));
}

#[test]
fn what_comes_in_two_places_is_counted_together_and_wakes_once() {
    explore(|| one_moves_each(SecondCheck::Counted));
}

/// What came before the registration is counted by nobody.
#[test]
#[should_panic(expected = "deadlock")]
fn control_what_came_before_has_to_be_counted() {
    explore(|| one_moves_each(SecondCheck::Compared));
}

#[test]
#[should_panic(expected = "deadlock")]
fn control_the_second_check_is_needed() {
    explore(|| one_moves_each(SecondCheck::LeftOut));
}

#[test]
#[should_panic]
fn control_the_fences_are_needed() {
    explore_with(Flaw::NoFence, || one_moves_each(SecondCheck::Counted));
}

/// One partition moves in steps, and over the mark.
#[test]
fn steps_of_one_partition_are_counted_once_each() {
    explore(|| {
        let partitions = [Partition::new(), Partition::new()];
        let mover = Arc::clone(&partitions[0]);
        let mover = thread::spawn(move || [1, 3].map(|end| mover.move_to(end)));
        let waiter = Arc::new(Waiter::default());
        wait_for_parts(&partitions, 3, SecondCheck::Counted, &waiter);
        mover.join().unwrap();
    });
}

/// Who gives up is not counted for: what comes afterwards has nobody to wake, and the next wait begins anew.
#[test]
fn who_gives_up_and_waits_again_is_woken_for_the_second_wait() {
    explore(|| {
        let partitions = [Partition::new(), Partition::new()];
        let mover = Arc::clone(&partitions[0]);
        let mover = thread::spawn(move || [1, 2].map(|end| mover.move_to(end)));
        let waiter = Arc::new(Waiter::default());
        waiter.expect(1);
        partitions.iter().for_each(|partition| partition.waiters.add_part(0, &waiter));
        partitions.iter().for_each(|partition| partition.waiters.remove(&waiter));
        let was_woken = is_woken(&waiter); // the first wait's, which may be under way still
        waiter.expect(2);
        partitions.iter().for_each(|partition| partition.waiters.add_part(0, &waiter));
        partitions.iter().for_each(|partition| partition.waiters.wake(partition.end()));
        while partitions[0].end() < 2 {
            waiter.wait_until(None);
        }
        let _ = was_woken;
        mover.join().unwrap();
    });
}

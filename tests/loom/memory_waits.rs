//! Those who wait for the memory of a producer: nobody waits for ever, no byte is lost, and who came first is served first.

use loom::thread;

use crate::explore;
use crate::memory::{Memory, Share};
use crate::sync::Arc;

/// As `send` does it: takes what there is, or waits.
fn take(memory: &Memory, bytes: usize) -> Share {
    memory.try_take(bytes).unwrap_or_else(|| memory.wait(bytes).block(None, || false).unwrap())
}

fn is_whole(memory: &Memory) {
    assert_eq!(memory.available(), memory.limit(), "bytes are lost");
    assert!(!memory.is_short(), "somebody is said to wait");
}

#[test]
fn what_is_given_back_is_had_by_those_who_wait() {
    explore(|| {
        let memory = Arc::new(Memory::new(2));
        let others = [1, 2].map(|bytes| {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.give_back(take(&memory, bytes)))
        });
        memory.give_back(take(&memory, 2));
        others.into_iter().for_each(|other| other.join().unwrap());
        is_whole(&memory);
    });
}

/// A share that is dropped and not given back is missing for ever: a close did that to who was served meanwhile.
#[test]
#[should_panic(expected = "bytes are lost")]
fn control_a_share_that_is_dropped_is_missed() {
    explore(|| {
        let memory = Arc::new(Memory::new(2));
        let other = Arc::clone(&memory);
        let other = thread::spawn(move || _ = take(&other, 1));
        memory.give_back(take(&memory, 1));
        other.join().unwrap();
        is_whole(&memory);
    });
}

/// Who gives up, whether served at that moment or not, leaves its bytes, and its place, to those behind. These are looked
/// at and not waited for: a deadlock is no panic of a test whose destructors lock.
fn one_gives_up(forget: bool) {
    let memory = Arc::new(Memory::new(2));
    let held = memory.try_take(1).unwrap();
    let (first, behind) = (memory.wait(2), memory.wait(1));
    let giver = Arc::clone(&memory);
    let giver = thread::spawn(move || giver.give_back(held));
    if forget {
        std::mem::forget(first)
    } else {
        drop(first)
    }
    giver.join().unwrap();
    let served = behind.take();
    drop(behind);
    assert!(served.is_some(), "nobody serves who is behind");
    memory.give_back(served.unwrap());
    is_whole(&memory);
}

#[test]
fn who_gives_up_leaves_its_place_and_its_bytes() {
    explore(|| one_gives_up(false));
}

#[test]
#[should_panic(expected = "nobody serves who is behind")]
fn control_who_does_not_give_up_its_place_keeps_the_others_waiting() {
    explore(|| one_gives_up(true));
}

/// A large request is not passed over by a small one that comes later.
#[test]
fn who_came_first_is_served_first() {
    explore(|| {
        let memory = Arc::new(Memory::new(2));
        let held = [memory.try_take(1).unwrap(), memory.try_take(1).unwrap()];
        let (large, small) = (memory.wait(2), memory.wait(1));
        let givers = held.map(|held| {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.give_back(held))
        });
        assert!(memory.try_take(1).is_none(), "those who wait are passed over");
        givers.into_iter().for_each(|giver| giver.join().unwrap());
        assert!(small.take().is_none(), "the small one is served before the large one");
        memory.give_back(large.take().unwrap());
        memory.give_back(small.take().unwrap());
        is_whole(&memory);
    });
}

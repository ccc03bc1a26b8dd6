//! Tests of the memory that look at what it keeps.

use super::memory::{Memory, Share};

#[test]
fn a_small_batch_never_holds_the_memory_of_a_large_one() {
    let memory = Memory::new(1_000_000);
    let take = |bytes: usize| std::iter::from_fn(|| memory.try_take(bytes)).collect::<Vec<_>>();
    let held = |shares: &[Share]| shares.iter().map(|share| share.builder.capacity()).sum::<usize>();
    let large = take(100_000);
    assert_eq!(large.len(), 10);
    large.into_iter().for_each(|share| memory.give_back(share));
    let small = take(1000);
    assert_eq!(small.len(), 1000);
    assert!(held(&small) <= 1_000_000 + small.len() * 64, "{}", held(&small));
    small.into_iter().for_each(|share| memory.give_back(share));
    assert_eq!(memory.available(), 1_000_000);
    assert!(memory.spare_bytes() <= 1_000_000);
}

#[test]
fn memory_that_comes_back_is_used_again() {
    let memory = Memory::new(10_000);
    let share = memory.try_take(1000).unwrap();
    let begin = |share: &mut Share| share.builder.room(1).as_ptr();
    let mut share = share;
    let first = begin(&mut share);
    memory.give_back(share);
    assert_eq!(begin(&mut memory.try_take(1000).unwrap()), first);
}

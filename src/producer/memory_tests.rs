//! Tests of the memory that look at what it keeps.

use super::memory::{Memory, Share};
use crate::sync::Arc;

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

/// A task that runs where it is woken, and looks at the memory.
struct Looks(Arc<Memory>);

impl std::task::Wake for Looks {
    fn wake(self: Arc<Self>) {
        let _ = self.0.available();
    }
}

#[test]
fn who_is_woken_may_look_at_the_memory() {
    let (ended, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let memory = Arc::new(Memory::new(1000));
        let share = memory.try_take(1000).unwrap();
        let wait = memory.wait(1000);
        let waker = std::task::Waker::from(Arc::new(Looks(Arc::clone(&memory))));
        let listen = || while wait.waiter().poll(&waker) {};
        listen();
        memory.wake_all();
        listen();
        memory.give_back(share);
        assert!(wait.take().is_some());
        ended.send(()).unwrap();
    });
    has_ended.recv_timeout(std::time::Duration::from_secs(20)).expect("no lock is held while somebody is woken");
}

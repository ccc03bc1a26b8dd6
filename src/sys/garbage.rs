//! What takes long to be dropped.

use std::any::Any;
use std::fmt;

use crate::sync::{Arc, Condvar, Mutex};

/// Drops things on a thread that has the time: unmapping a gigabyte takes 13 ms, and the last one who holds a segment may
/// be a reader that wants to go on.
#[derive(Default)]
pub(crate) struct Garbage {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What is to be dropped.
    heap: Vec<Arc<dyn Any + Send + Sync>>,
    /// Whether somebody collects it.
    is_collected: bool,
}

impl Garbage {
    /// Drops `last`, here if nobody collects.
    pub(crate) fn throw<T: Any + Send + Sync>(&self, last: Arc<T>) {
        let mut state = self.state.lock();
        if state.is_collected {
            state.heap.push(last);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// From here on [`collect`](Garbage::collect) is going to run.
    pub(crate) fn start(&self) {
        self.state.lock().is_collected = true;
    }

    /// Drops what is thrown away, until [`stop`](Garbage::stop).
    pub(crate) fn collect(&self) {
        let mut state = self.state.lock();
        loop {
            let heap = std::mem::take(&mut state.heap);
            if heap.is_empty() {
                if !state.is_collected {
                    return;
                }
                self.changed.wait(&mut state);
                continue;
            }
            drop(state);
            drop(heap);
            state = self.state.lock();
        }
    }

    /// Ends [`collect`](Garbage::collect), when nothing is left.
    pub(crate) fn stop(&self) {
        self.state.lock().is_collected = false;
        self.changed.notify_all();
    }
}

impl fmt::Debug for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Garbage").field("heap", &self.state.lock().heap.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::thread::{self, ThreadId};

    struct Dropped(Sender<ThreadId>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    #[test]
    fn who_collects_drops_and_otherwise_who_throws() {
        let (sender, receiver) = channel();
        let garbage = Garbage::default();
        let throw = || garbage.throw(Arc::new(Dropped(sender.clone())));
        throw();
        assert_eq!(receiver.recv().unwrap(), thread::current().id());
        garbage.start();
        throw();
        thread::scope(|scope| {
            let collector = scope.spawn(|| garbage.collect());
            throw();
            for _ in 0..2 {
                assert_eq!(receiver.recv().unwrap(), collector.thread().id());
            }
            garbage.stop();
        });
        throw();
        assert_eq!(receiver.recv().unwrap(), thread::current().id());
    }
}

//! A disk that does not answer for a while.

use crate::sync::{Arc, Condvar, Mutex};

/// Operations of one kind wait as long as this is there: see [`SimulatedDisk::hold_writes`](super::SimulatedDisk::hold_writes).
#[derive(Debug)]
#[must_use = "what it holds goes on when it is dropped"]
pub struct Held(Arc<Gate>);

/// What operations of one kind go through.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    /// How many keep it shut.
    holds: usize,
    waiting: usize,
}

impl Gate {
    /// Shuts it.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        self.state.lock().holds += 1;
        Held(Arc::clone(self))
    }

    /// Waits while it is shut. Called without any other lock of the disk, which goes on otherwise.
    pub(super) fn pass(&self) {
        let mut state = self.state.lock();
        if state.holds == 0 {
            return;
        }
        state.waiting += 1;
        self.changed.notify_all();
        while state.holds > 0 {
            self.changed.wait(&mut state);
        }
        state.waiting -= 1;
    }
}

impl Held {
    /// Blocks until `count` operations wait.
    pub fn wait_for(&self, count: usize) {
        let mut state = self.0.state.lock();
        while state.waiting < count {
            self.0.changed.wait(&mut state);
        }
    }

    /// How many operations wait now.
    pub fn waiting(&self) -> usize {
        self.0.state.lock().waiting
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state.lock().holds -= 1;
        self.0.changed.notify_all();
    }
}

//! The names of the crate's `sync`, made of loom's primitives, and flaws to build into them.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

// Not what is looked at here; and the drops of loom's panic while a deadlock is reported.
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::Ordering;

/// What the primitives leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Nothing,
    /// Fences do nothing.
    NoFence,
    /// Every order is relaxed.
    Relaxed,
}

thread_local! {
    /// Loom runs all threads of a scenario on the one that asked for it.
    static FLAW: Cell<Flaw> = const { Cell::new(Flaw::Nothing) };
}

pub(crate) fn set_flaw(flaw: Flaw) {
    FLAW.set(flaw);
}

fn flawed(order: Ordering) -> Ordering {
    if FLAW.get() == Flaw::Relaxed { Ordering::Relaxed } else { order }
}

pub(crate) fn fence(order: Ordering) {
    if FLAW.get() != Flaw::NoFence {
        loom::sync::atomic::fence(order);
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        #[derive(Debug)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                $name(loom::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.0.load(flawed(order))
            }

            #[allow(dead_code, reason = "not every type needs every method")]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, flawed(order));
            }

            #[allow(dead_code, reason = "as above")]
            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_add(value, flawed(order))
            }

            #[allow(dead_code, reason = "as above")]
            pub(crate) fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_max(value, flawed(order))
            }

            #[allow(dead_code, reason = "as above")]
            pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_sub(value, flawed(order))
            }
        }
    };
}

atomic!(AtomicI64, i64);
atomic!(AtomicU64, u64);
atomic!(AtomicUsize, usize);

#[derive(Debug)]
pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> Self {
        AtomicBool(loom::sync::atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> bool {
        self.0.load(flawed(order))
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.0.store(value, flawed(order));
    }

    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value, flawed(order))
    }
}

#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

/// Without the guard only while a [`Condvar`] has it.
pub(crate) struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap()))
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap()
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap()
    }
}

#[derive(Debug)]
pub(crate) struct Condvar(loom::sync::Condvar);

/// What a wait with a deadline says.
pub(crate) struct WaitTimeoutResult;

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        true
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Condvar(loom::sync::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        guard.0 = guard.0.take().map(|held| self.0.wait(held).unwrap());
    }

    /// There is no time here: every deadline has passed.
    pub(crate) fn wait_until<T>(&self, _: &mut MutexGuard<'_, T>, _: Instant) -> WaitTimeoutResult {
        WaitTimeoutResult
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

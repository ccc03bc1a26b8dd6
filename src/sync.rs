//! Every atomic and lock of the crate comes from here, so that a model checker can put its own in their place.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::sync::{Arc, OnceLock, Weak};

pub(crate) use arc_swap::{ArcSwap, ArcSwapOption, Guard};
pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

//! What the included files take from the crate's topics.

pub(crate) use crate::waiters::Waiter;

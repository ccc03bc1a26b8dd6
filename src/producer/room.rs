//! Room for a record in a store that is full.

use std::time::Instant;

use crate::broker::Engine;
use crate::config::StoreFullPolicy;
use crate::error::Result;

/// Does what `store.full.policy` says about a record of `size` bytes for which there is no room, and returns if there is
/// room by then; with `block`, by `deadline`, where `None` is never. Called without any lock.
///
/// # Errors
///
/// `StoreFull` if there is none, `Closed` if the broker was closed meanwhile.
#[cold]
pub(super) fn make_room(engine: &Engine, deadline: Option<Instant>, size: u64) -> Result<()> {
    let usage = engine.topics.usage();
    match engine.config.get_store_full_policy() {
        StoreFullPolicy::Refuse => Err(usage.full()),
        StoreFullPolicy::DropOldest => engine.topics.drop_oldest(size),
        StoreFullPolicy::Block => {
            if usage.wait_for_room(size, deadline, || engine.check_open().is_err()) {
                return Ok(());
            }
            engine.check_open()?;
            Err(usage.full())
        }
    }
}

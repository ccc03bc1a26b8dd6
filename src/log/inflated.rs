//! Memory that batches are inflated into, and its way back.
//!
//! Memory that is new costs more to touch than inflating into it, so buffers are not given back to the allocator: whoever
//! drops the last records that lie in one puts it back here, for the next decode of any log. What is kept is bounded in
//! number and in bytes; what was needed beyond that is freed.

use bytes::Bytes;

use crate::record::{InflateBuffer, Inflater};
use crate::sync::{Arc, Mutex};

/// Bytes that one decode inflates, unless its first batch alone takes more. It bounds what a fetch of compressed batches
/// turns into, and it is about what a core's cache can hold.
pub(super) const INFLATED_PER_DECODE: usize = 4 << 20;

/// Buffers that are kept, and codecs.
const KEPT: usize = 4;

/// Capacity up to which a buffer is kept: growing by doubling can take twice what is needed.
const KEPT_CAPACITY: usize = 2 * INFLATED_PER_DECODE;

static SPARE: Mutex<Spare> = Mutex::new(Spare { inflaters: Vec::new(), buffers: Vec::new() });

struct Spare {
    inflaters: Vec<Inflater>,
    buffers: Vec<InflateBuffer>,
}

/// An inflater with as much memory as is there.
pub(super) fn take_inflater() -> Inflater {
    let mut spare = SPARE.lock();
    let mut inflater = spare.inflaters.pop().unwrap_or_default();
    inflater.out = spare.buffers.pop().unwrap_or_default();
    inflater
}

/// Puts the inflater back, and returns what it has inflated, if anything.
pub(super) fn finish(mut inflater: Inflater) -> Option<Arc<Inflated>> {
    let buffer = std::mem::take(&mut inflater.out);
    let mut spare = SPARE.lock();
    if spare.inflaters.len() < KEPT {
        spare.inflaters.push(inflater);
    }
    drop(spare);
    let inflated = Inflated(buffer); // puts itself back if it is empty
    (inflated.0.len() > 0).then(|| Arc::new(inflated))
}

/// An inflater for a look at records that nobody keeps. Dropping it gives it and its memory to the next one.
pub(crate) struct Inflating(Inflater);

impl Inflating {
    /// With as much memory as is there.
    pub(crate) fn begin() -> Self {
        Inflating(take_inflater())
    }
}

impl std::ops::Deref for Inflating {
    type Target = Inflater;

    fn deref(&self) -> &Inflater {
        &self.0
    }
}

impl std::ops::DerefMut for Inflating {
    fn deref_mut(&mut self) -> &mut Inflater {
        &mut self.0
    }
}

impl Drop for Inflating {
    fn drop(&mut self) {
        drop(finish(std::mem::take(&mut self.0)));
    }
}

/// Inflated records. Dropping it gives its memory to the next decode.
pub(super) struct Inflated(InflateBuffer);

impl Inflated {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Bytes that keep it alive by themselves.
    pub(super) fn share(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Shared(Arc::clone(self)))
    }
}

impl std::fmt::Debug for Inflated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Inflated").field(&self.0.len()).finish()
    }
}

impl Drop for Inflated {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if (1..=KEPT_CAPACITY).contains(&buffer.capacity()) {
            buffer.clear();
            let mut spare = SPARE.lock();
            if spare.buffers.len() < KEPT {
                spare.buffers.push(buffer);
            }
        }
    }
}

struct Shared(Arc<Inflated>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let held: Vec<_> = (0..3 * KEPT).map(|_| take_inflater()).collect();
        held.into_iter().for_each(|inflater| assert!(finish(inflater).is_none(), "nothing was inflated"));
        let spare = SPARE.lock();
        assert!(spare.inflaters.len() <= KEPT && spare.buffers.len() <= KEPT);
        assert!(spare.buffers.iter().all(|buffer| buffer.capacity() <= KEPT_CAPACITY));
    }
}

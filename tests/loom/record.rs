//! What the included files take from the crate's records.

/// A builder that has as much memory as it was told to have.
#[derive(Debug)]
pub(crate) struct BatchBuilder(usize);

impl BatchBuilder {
    pub(crate) fn new() -> Self {
        BatchBuilder(0)
    }

    pub(crate) fn reserved(bytes: usize) -> usize {
        bytes
    }

    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.0 = self.0.max(bytes);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.0
    }

    pub(crate) fn clear(&mut self) {}
}

//! What the included files take from the crate's errors.

#[derive(Debug)]
pub(crate) struct Error;

pub(crate) enum ErrorKind {
    BufferExhausted { requested: u64, limit: u64 },
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        let ErrorKind::BufferExhausted { requested, limit } = kind;
        assert!(requested <= limit);
        Error
    }
}

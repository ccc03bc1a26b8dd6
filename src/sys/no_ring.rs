//! Where there is no io_uring, or no binding for it.

use std::fs::File;
use std::io;

/// Cannot be had.
#[derive(Debug)]
pub(super) enum Ring {}

impl Ring {
    pub(super) const ENTRIES: usize = 64;

    pub(super) fn open() -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "no io_uring on this system"))
    }

    pub(super) fn sync(&mut self, _files: &[&File]) -> Vec<Option<io::Result<()>>> {
        match *self {}
    }
}

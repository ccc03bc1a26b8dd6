//! What was done to the disk, in order.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::sync::Arc;
use crate::sys::SyncPoint;

/// A file or directory, whatever its names.
pub(super) type Inode = usize;

/// One name of a file or directory, through all its renames.
pub(super) type Link = usize;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) dir: Inode,
    pub(super) name: String,
}

/// The names change: `link` leaves `from` and comes to `to`.
#[derive(Clone, Debug)]
pub(super) struct EntryChange {
    pub(super) link: Link,
    pub(super) inode: Inode,
    pub(super) from: Option<Place>,
    pub(super) to: Option<Place>,
}

/// Something that matters for what the device has.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Was there before: durable. `None`: a directory.
    Found {
        link: Link,
        inode: Inode,
        place: Option<Place>,
        content: Option<Arc<[u8]>>,
    },
    /// A new file or directory, without a name so far.
    New {
        inode: Inode,
        is_dir: bool,
    },
    Entry(EntryChange),
    SyncDir {
        dir: Inode,
    },
    Write {
        inode: Inode,
        pos: u64,
        bytes: Arc<[u8]>,
    },
    SetLen {
        inode: Inode,
        len: u64,
    },
    Sync {
        inode: Inode,
    },
    /// The pages that were not written are clean all the same.
    WriteBackFailed {
        inode: Inode,
    },
    DropCache {
        inode: Inode,
    },
}

/// One operation of a disk that changed something or made it durable, for those who compare or read what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// What was done.
    pub kind: &'static str,
    /// To which file or directory.
    pub path: PathBuf,
    /// Where it went, for a change of names.
    pub to: Option<PathBuf>,
    /// Where in the file, or its new length.
    pub pos: u64,
    /// Number of bytes.
    pub len: u64,
    /// Which sync it was.
    pub point: Option<SyncPoint>,
}

impl Operation {
    pub(super) fn new(kind: &'static str, path: &Path) -> Self {
        Operation { kind, path: path.to_owned(), to: None, pos: 0, len: 0, point: None }
    }

    pub(super) fn to(self, path: &Path) -> Self {
        Operation { to: Some(path.to_owned()), ..self }
    }

    pub(super) fn at(self, pos: u64, len: u64) -> Self {
        Operation { pos, len, ..self }
    }

    pub(super) fn point(self, point: SyncPoint) -> Self {
        Operation { point: Some(point), ..self }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path.display())?;
        if let Some(to) = &self.to {
            write!(f, " -> {}", to.display())?;
        }
        if self.len > 0 || self.pos > 0 {
            write!(f, " at {}, {} bytes", self.pos, self.len)?;
        }
        self.point.map_or(Ok(()), |point| write!(f, " ({point})"))
    }
}

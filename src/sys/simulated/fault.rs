//! Operations that fail.

use std::io;

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OperationKind {
    /// A write; one that fails may be done in part.
    Write,
    /// A sync of a file. After one that fails the cache holds clean pages that the device does not have.
    Sync,
    /// A sync of a directory.
    SyncDir,
    /// A file is created.
    Create,
    /// A file is opened that is there.
    Open,
    /// A file or directory is renamed.
    Rename,
    /// A file or directory is removed.
    Remove,
    /// A file gets a second name.
    HardLink,
    /// The length of a file is set.
    SetLen,
    /// Room is reserved for a file; half of it is given if that fails.
    Reserve,
    /// A directory is created.
    CreateDir,
    /// Names are listed, or one is looked at.
    List,
    /// A file is read, or its length.
    Read,
    /// The cache of a file is dropped.
    DropCache,
}

impl OperationKind {
    fn changes(self) -> bool {
        !matches!(self, OperationKind::Open | OperationKind::List | OperationKind::Read | OperationKind::DropCache)
    }
}

/// An operation that fails: which one, how, and how often.
///
/// ```
/// use thalweg::simulation::{Fault, OperationKind, SimulatedDisk};
///
/// const EIO: i32 = 5;
/// let disk = SimulatedDisk::new();
/// disk.fail(Fault::of(OperationKind::Sync).after(3).errno(EIO)); // the fourth from now on
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    kind: Option<OperationKind>,
    after: usize,
    errno: i32,
    for_ever: bool,
    written: Option<usize>,
}

const EIO: i32 = 5;

impl Fault {
    /// The next operation that changes something, or makes it durable, fails once with `EIO`.
    pub fn any() -> Self {
        Fault { kind: None, after: 0, errno: EIO, for_ever: false, written: None }
    }

    /// The next operation of this kind fails once with `EIO`.
    pub fn of(kind: OperationKind) -> Self {
        Fault { kind: Some(kind), ..Fault::any() }
    }

    /// Not the next one: `count` of them succeed before.
    pub fn after(mut self, count: usize) -> Self {
        self.after = count;
        self
    }

    /// The system's number of the error.
    pub fn errno(mut self, errno: i32) -> Self {
        self.errno = errno;
        self
    }

    /// All that follow fail, too, until [`heal`](super::SimulatedDisk::heal).
    pub fn for_ever(mut self) -> Self {
        self.for_ever = true;
        self
    }

    /// How many bytes a write has written before it fails: half of them if this is not said.
    pub fn written(mut self, bytes: usize) -> Self {
        self.written = Some(bytes);
        self
    }
}

/// An operation has failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: io::Error,
    written: Option<usize>,
    /// The process that asked for it is over: nothing at all has happened.
    pub(super) is_over: bool,
}

impl Failed {
    pub(super) fn over() -> Self {
        Failed { error: io::Error::from_raw_os_error(EIO), written: Some(0), is_over: true }
    }

    /// Of `len` bytes, those that were written all the same.
    pub(super) fn written(&self, len: usize) -> usize {
        self.written.unwrap_or(len / 2).min(len)
    }
}

/// What is to fail.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An operation is asked for.
    pub(super) fn meet(&mut self, kind: OperationKind) -> Result<(), Failed> {
        let mut met = None;
        self.0.retain_mut(|fault| {
            if fault.kind.map_or(!kind.changes(), |of| of != kind) {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            met = Some(*fault);
            fault.for_ever
        });
        let failed = |fault: Fault| Failed {
            error: io::Error::from_raw_os_error(fault.errno),
            written: fault.written,
            is_over: false,
        };
        met.map_or(Ok(()), |fault| Err(failed(fault)))
    }
}

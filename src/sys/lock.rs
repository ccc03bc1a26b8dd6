//! The lock that keeps a second broker out of a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// The data directory's `.lock` file, locked for as long as the value lives. The system releases the lock when the
/// process ends, however it ends. The file holds the owner's process id, for the message that a second opener gets.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

/// Why the lock was not taken.
#[derive(Debug)]
pub(crate) enum LockFailure {
    /// Somebody has it; the process id is what that somebody wrote into the file.
    Held(Option<u32>),
    /// The file could not be opened or locked.
    Io(io::Error),
}

impl DirectoryLock {
    /// Takes the lock at `path`, or fails at once.
    pub(crate) fn acquire(path: &Path) -> Result<Self, LockFailure> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false) // the file may be another broker's
            .open(path)
            .map_err(LockFailure::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockFailure::Held(read_pid(&mut file))),
            Err(TryLockError::Error(error)) => return Err(LockFailure::Io(error)),
        }
        // The process id is a courtesy to the next opener; a full disk must not keep the owner out.
        let _ = write_pid(&mut file);
        Ok(DirectoryLock { file })
    }
}

impl Drop for DirectoryLock {
    /// Unlocks, rather than leaving that to the closing of the file: a process that another thread is just starting has a
    /// copy of the handle until it executes its program, and would keep the lock for that long.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_handle_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let lock = DirectoryLock::acquire(&path).unwrap();
        let copy = lock.file.try_clone().unwrap(); // as a child has it between fork and exec
        drop(lock);
        DirectoryLock::acquire(&path).unwrap();
        drop(copy);
    }

    /// Defends D18.
    #[test]
    fn a_second_owner_is_refused_and_told_the_pid() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let lock = DirectoryLock::acquire(&path).unwrap();
        match DirectoryLock::acquire(&path) {
            Err(LockFailure::Held(pid)) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(lock);
        DirectoryLock::acquire(&path).unwrap();
    }
}

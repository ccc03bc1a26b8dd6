//! A copy of a data directory that is in use.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::directory::{DataDirectory, sync_parents};
use crate::error::{Error, Result};
use crate::log::copy_file;
use crate::sys::{Disk, OpenMode};
use crate::topic::{CheckpointReport, META_PROPERTIES, Topics};

/// Copies what readers of `topics` see into `target`, which is a data directory then that was closed in order. It is built
/// beside and renamed at the end, so that a crash leaves no copy that only looks whole.
pub(super) fn copy_directory(directory: &DataDirectory, topics: &Topics, target: &Path) -> Result<CheckpointReport> {
    if target.as_os_str().is_empty() {
        return Err(Error::illegal_argument("the path of the checkpoint is empty"));
    }
    let target = std::path::absolute(target).map_err(|error| Error::io("find", target, error))?;
    let disk = &*directory.disk;
    check_free(directory, &target)?;
    let beside = beside(&target);
    let copied = build(directory, topics, &beside).and_then(|report| {
        disk.rename(&beside, &target).map_err(|error| Error::io("rename the checkpoint to", &target, error))?;
        sync_parents(disk, &target)?;
        Ok(report)
    });
    if copied.is_err() {
        let _ = disk.remove_dir(&beside); // a leftover that nobody takes for a checkpoint
    }
    copied
}

/// The target must be missing or empty, and not a part of what is copied.
fn check_free(directory: &DataDirectory, target: &Path) -> Result<()> {
    check_outside(directory, target)?;
    match directory.disk.list(target) {
        Ok(entries) if entries.is_empty() => Ok(()),
        Ok(_) => Err(Error::io("write the checkpoint to", target, io::ErrorKind::DirectoryNotEmpty.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("write the checkpoint to", target, error)),
    }
}

/// What lies in the data directory, by whatever path, would be a part of what is copied.
fn check_outside(directory: &DataDirectory, path: &Path) -> Result<()> {
    if real(path).starts_with(real(&directory.path)) {
        return Err(Error::illegal_argument("the checkpoint cannot lie in the data directory").at_file(path));
    }
    Ok(())
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let resolved = path.ancestors().find_map(|there| {
        let rest = path.strip_prefix(there).ok()?;
        Some(there.canonicalize().ok()?.join(rest))
    });
    resolved.unwrap_or_else(|| path.to_owned())
}

/// A name beside `target` that nobody else has: two calls at the same time do not get in each other's way.
fn beside(target: &Path) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(format!(".{}.tmp", Uuid::new_v4().simple()));
    PathBuf::from(name)
}

fn build(directory: &DataDirectory, topics: &Topics, beside: &Path) -> Result<CheckpointReport> {
    let disk = &*directory.disk;
    disk.create_dir(beside).map_err(|error| Error::io("create", beside, error))?;
    check_outside(directory, beside)?; // with its parents made, ".." may lead elsewhere
    let report = topics.copy_to(beside)?;
    let meta = beside.join(META_PROPERTIES);
    copy_file(disk, &directory.path.join(META_PROPERTIES), &meta)
        .and_then(|_| sync(disk, &meta))
        .map_err(|error| Error::io("copy", &meta, error))?;
    directory.mark_clean_at(beside)?; // syncs the directory
    Ok(report)
}

fn sync(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.open(path, OpenMode::Write)?.sync()
}

//! Reading small text files.

use std::io;
use std::path::Path;

use crate::sys::{Disk, OpenMode};

/// Longest small file that is read, in bytes: longer than any that the engine writes.
const LEN_MAX: u64 = 1 << 20;

/// A small file's content; what is not UTF-8 is replaced and does not pass the checks that follow.
pub(crate) fn read_text(disk: &dyn Disk, path: &Path) -> io::Result<String> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut content = vec![0; usize::try_from(file.len()?.min(LEN_MAX)).unwrap_or_default()];
    let read = file.read_at(&mut content, 0)?;
    content.truncate(read);
    Ok(String::from_utf8_lossy(&content).into_owned())
}

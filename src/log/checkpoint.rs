//! The checkpoint of a partition: how far everything is known to be durable.
//!
//! A text file in the manner of Kafka's checkpoints: the version, the number of lines, one `key value` a line, and a
//! last line with the CRC-32 of all before it.
//!
//! ```text
//! 0
//! 6
//! recovery-point 00000000000000004711
//! log-start-offset 00000000000000000000
//! cleaner-offset 00000000000000000000
//! log-end-offset 00000000000000004711
//! active-base 00000000000000004000
//! active-size 00000000000000081920
//! crc32 1c291ca3
//! ```
//!
//! Numbers have 20 digits, so that every checkpoint has the same length. It is written beside and renamed, after what it
//! speaks of was synced. It may lag behind the log, never run ahead. A log has one from the beginning, so where it is
//! missing or damaged it was not a crash that took it: the next open then walks the whole log and takes nothing out of it
//! on the word of an order of writes that it cannot know.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use crate::segment::End;
use crate::sys::{Disk, OpenMode, SyncPoint, write_atomically};
use crate::types::{FilePos, Offset};

/// Name of the file in a partition's directory.
pub(crate) const CHECKPOINT_FILE: &str = "thalweg-checkpoint";

/// What the checkpoint file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// All records below are durable.
    pub(crate) recovery_point: Offset,
    /// The first offset that clients may read.
    pub(crate) log_start: Offset,
    /// Below it there may be gaps, which compaction leaves. At or above it every offset has its record.
    pub(crate) cleaner_offset: Offset,
    /// The offset after the last record, when the file was written.
    pub(crate) log_end: Offset,
    /// Base of the active segment, when the file was written.
    pub(crate) active_base: Offset,
    /// Bytes in the active segment, when the file was written.
    pub(crate) active_size: FilePos,
}

impl Checkpoint {
    /// The place of the recovery point in the active segment, if it is known: where everything was durable when the
    /// file was written.
    pub(super) fn anchor(&self) -> Option<End> {
        let end = End { offset: self.log_end, file_pos: self.active_size };
        (self.recovery_point == self.log_end && self.active_base <= end.offset).then_some(end)
    }

    /// Which of the segments with these bases is the first that may have changed since the file was written: the one
    /// that was active. It can be the one before that of the recovery point, with nothing appended to it and room
    /// reserved.
    pub(crate) fn first_unfinished(&self, bases: impl Iterator<Item = Offset>) -> usize {
        let active_base = self.active_base.min(self.recovery_point);
        bases.take_while(|base| *base <= active_base).count().saturating_sub(1)
    }

    /// Writes the file; durable when it returns.
    pub(crate) fn store(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let points = [SyncPoint::Checkpoint, SyncPoint::CheckpointName];
        write_atomically(disk, &path(dir), self.to_text().as_bytes(), points)
    }

    /// As [`store`](Checkpoint::store), over the old file, which takes no new block: deleting records has to work on a disk
    /// that is full to the last byte. A power cut in the middle leaves a checkpoint that is seen to be damaged.
    pub(super) fn store_in_place(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let text = self.to_text();
        let file = disk.open(&path(dir), OpenMode::Write)?;
        if file.len()? != text.len() as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_at(text.as_bytes(), 0)?;
        file.sync(SyncPoint::CheckpointInPlace)?;
        disk.sync_dir(dir, SyncPoint::CheckpointName) // the old one may have got its name just now
    }

    /// Reads the file; `None` if it is missing or damaged.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        let file = match disk.open(&path(dir), OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut content = vec![0; 1024]; // longer than any such file
        let read = file.read_at(&mut content, 0)?;
        let text = content.get(..read).and_then(|text| std::str::from_utf8(text).ok());
        Ok(text.and_then(Checkpoint::from_text))
    }

    fn to_text(self) -> String {
        let mut text = String::from("0\n6\n");
        let lines = [
            ("recovery-point", self.recovery_point),
            ("log-start-offset", self.log_start),
            ("cleaner-offset", self.cleaner_offset),
            ("log-end-offset", self.log_end),
            ("active-base", self.active_base),
            ("active-size", Offset::from(self.active_size)),
        ];
        for (key, value) in lines {
            let _ = writeln!(text, "{key} {value:020}"); // a String takes everything
        }
        let crc = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "crc32 {crc:08x}");
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let value = |key: &str| -> Option<Offset> {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
            value.parse().ok().filter(|value| 0 <= *value)
        };
        let checkpoint = Checkpoint {
            recovery_point: value("recovery-point")?,
            log_start: value("log-start-offset")?,
            cleaner_offset: value("cleaner-offset")?,
            log_end: value("log-end-offset")?,
            active_base: value("active-base")?,
            active_size: FilePos::try_from(value("active-size")?).ok()?,
        };
        (checkpoint.to_text() == text).then_some(checkpoint) // version, count, CRC and order in one go
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(CHECKPOINT_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::RealDisk;

    const SAMPLE: Checkpoint = Checkpoint {
        recovery_point: 4711,
        log_start: 3,
        cleaner_offset: 17,
        log_end: 4712,
        active_base: 4000,
        active_size: 81920,
    };

    #[test]
    fn round_trip() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::load(&RealDisk::default(), dir.path()).unwrap(), None);
        SAMPLE.store(&RealDisk::default(), dir.path()).unwrap();
        assert_eq!(Checkpoint::load(&RealDisk::default(), dir.path()).unwrap(), Some(SAMPLE));
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let text = SAMPLE.to_text();
        for len in 0..text.len() {
            assert_eq!(Checkpoint::from_text(&text[..len]), None, "cut to {len}");
        }
        for at in 0..text.len() {
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                assert_eq!(Checkpoint::from_text(&changed), None, "byte {at}, bit {bit}");
            }
        }
    }
}

//! The leader epochs of a partition: Kafka's file `leader-epoch-checkpoint`.
//!
//! Every batch carries the epoch in which it was appended. thalweg has one writer and one epoch, until recovery cuts off
//! what may have been acknowledged: then the epoch goes up, so that a reader who saw what is gone can tell that other
//! records have the same offsets now (log.md 16).

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Disk, OpenMode, write_atomically};
use crate::types::Offset;

const FILE_NAME: &str = "leader-epoch-checkpoint";

/// Bytes that are read: more than the file of any log has that was not cut hundreds of thousands of times.
const LEN_MAX: usize = 1 << 24;

/// Epochs, each with the first offset that it has, both strictly increasing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    epochs: Vec<(i32, Offset)>,
}

impl LeaderEpochs {
    /// Reads the file. What is missing or cannot be read right is the first epoch: nothing that a log holds depends on it.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        let file = match disk.open(&path(dir), OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LeaderEpochs::default()),
            file => file?,
        };
        let mut content = vec![0; usize::try_from(file.len()?).unwrap_or(LEN_MAX).min(LEN_MAX)];
        let read = file.read_at(&mut content, 0)?;
        let text = content.get(..read).and_then(|text| std::str::from_utf8(text).ok());
        Ok(text.and_then(LeaderEpochs::from_text).unwrap_or_default())
    }

    /// Writes the file; durable when it returns.
    pub(crate) fn store(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        write_atomically(disk, &path(dir), self.to_text().as_bytes())
    }

    /// The epoch of the next batch.
    pub(crate) fn latest(&self) -> i32 {
        self.epochs.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// Begins a new epoch at `log_end`, where the log was cut, and forgets what began behind.
    pub(crate) fn raise(&mut self, log_end: Offset) {
        let next = self.latest().saturating_add(1);
        self.epochs.retain(|(_, start)| *start < log_end);
        self.epochs.push((next, log_end));
    }

    /// Rule: log.md 3, `LeaderEpochCheckpointFile`.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.epochs.len());
        for (epoch, start) in &self.epochs {
            let _ = writeln!(text, "{epoch} {start}"); // a String takes everything
        }
        text
    }

    /// The epochs that `text` says, if it is such a file.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (version, count) = (lines.next()?, lines.next()?.parse::<usize>().ok()?);
        let epochs = lines
            .map(|line| {
                let (epoch, start) = line.split_once(' ')?;
                Some((epoch.parse().ok().filter(|epoch| 0 <= *epoch)?, start.parse().ok().filter(|start| 0 <= *start)?))
            })
            .collect::<Option<Vec<(i32, Offset)>>>()?;
        let increase = epochs.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1);
        (version == "0" && count == epochs.len() && increase).then_some(LeaderEpochs { epochs })
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::RealDisk;

    #[test]
    fn each_cut_raises_the_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let mut epochs = LeaderEpochs::load(&RealDisk, dir.path()).unwrap();
        assert_eq!(epochs.latest(), 0);
        for (cut_at, text) in [(0, "0\n1\n1 0\n"), (10, "0\n2\n1 0\n2 10\n"), (20, "0\n3\n1 0\n2 10\n3 20\n")] {
            epochs.raise(cut_at);
            assert_eq!(epochs.to_text(), text);
        }
        epochs.raise(10);
        assert_eq!(epochs.to_text(), "0\n2\n1 0\n4 10\n", "epochs that began behind the cut are gone");
        epochs.store(&RealDisk, dir.path()).unwrap();
        assert_eq!(LeaderEpochs::load(&RealDisk, dir.path()).unwrap(), epochs);
    }

    #[test]
    fn what_cannot_be_right_is_not_taken() {
        for text in [
            "",
            "0\n",
            "1\n0\n",
            "0\n1\n",
            "0\n2\n0 0\n",
            "0\n1\n0 x\n",
            "0\n2\n1 0\n1 5\n",
            "0\n2\n0 5\n1 5\n",
            "0\n1\n-1 0\n",
        ] {
            assert_eq!(LeaderEpochs::from_text(text), None, "{text:?}");
        }
        assert_eq!(LeaderEpochs::from_text("0\n0\n"), Some(LeaderEpochs::default()));
    }
}

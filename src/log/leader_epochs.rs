//! The leader epochs of a partition: Kafka's file `leader-epoch-checkpoint`.
//!
//! Every batch carries the epoch in which it was appended. thalweg has one writer and one epoch, until recovery cuts off
//! what may have been acknowledged: then the epoch goes up, so that a reader who saw what is gone can tell that other
//! records have the same offsets now (log.md 16).

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Disk, OpenMode, SyncPoint, write_atomically};
use crate::types::Offset;

/// Name of the file in a partition's directory.
pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";

/// Bytes that are read: more than the file of any log has that was not cut hundreds of thousands of times.
const LEN_MAX: usize = 1 << 24;

/// Leader epochs and the first offset of each: both strictly increase (log.md 3 and 16, `LeaderEpochCheckpointFile`).
///
/// ```text
/// 0
/// 2
/// 0 0
/// 1 4711
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    entries: Vec<(i32, Offset)>,
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
        Ok(text.and_then(|text| LeaderEpochs::from_text(text).ok()).unwrap_or_default())
    }

    /// Writes the file; durable when it returns.
    pub(crate) fn store(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let points = [SyncPoint::LeaderEpochs, SyncPoint::LeaderEpochsName];
        write_atomically(disk, &path(dir), self.to_text().as_bytes(), points)
    }

    /// Reads the content of the file, or says what is wrong with it.
    pub(crate) fn from_text(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some("0") {
            return Err("the version is not 0".to_owned());
        }
        let count: usize = lines.next().and_then(|line| line.parse().ok()).ok_or("the number of epochs is missing")?;
        let mut entries: Vec<(i32, Offset)> = Vec::new();
        for line in lines {
            let entry =
                line.split_once(' ').and_then(|(epoch, offset)| Some((epoch.parse().ok()?, offset.parse().ok()?)));
            let (epoch, offset) = entry.ok_or_else(|| format!("\"{}\" is no epoch", line.escape_default()))?;
            if epoch < 0 || offset < 0 || entries.last().is_some_and(|last| epoch <= last.0 || offset <= last.1) {
                return Err(format!("epoch {epoch} at offset {offset} does not follow the one before"));
            }
            entries.push((epoch, offset));
        }
        if entries.len() != count {
            return Err(format!("it has {} epochs but says {count}", entries.len()));
        }
        Ok(LeaderEpochs { entries })
    }

    /// The content of the file.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, offset) in &self.entries {
            let _ = writeln!(text, "{epoch} {offset}"); // a String takes everything
        }
        text
    }

    /// The epoch of the next batch.
    pub(crate) fn latest(&self) -> i32 {
        self.entries.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// The epoch of the record at `offset`, if the file knows it.
    pub(crate) fn at(&self, offset: Offset) -> Option<i32> {
        self.entries.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
    }

    /// The epochs of a log that was cut at `log_end`: those behind it are forgotten, and a new one begins there, larger
    /// than each that there ever was. Rule: log.md 16.
    pub(crate) fn raised_at(&self, log_end: Offset) -> Self {
        let mut entries = self.entries.clone();
        if entries.is_empty() {
            entries.push((0, 0));
        }
        entries.retain(|(_, start)| *start < log_end);
        let next = self.latest().saturating_add(1);
        if entries.last().is_none_or(|(latest, _)| *latest < next) {
            entries.push((next, log_end)); // not above the largest that a file can name
        }
        LeaderEpochs { entries }
    }

    /// Whether the latest epoch was begun at `offset` by a cut there, and not with the log.
    pub(crate) fn has_cut_at(&self, offset: Offset) -> bool {
        self.entries.last().is_some_and(|(epoch, start)| *epoch > 0 && *start == offset)
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(LEADER_EPOCHS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_lookup() {
        let epochs = LeaderEpochs::from_text("0\n2\n0 0\n3 100\n").unwrap();
        assert_eq!(epochs.to_text(), "0\n2\n0 0\n3 100\n");
        assert_eq!([0, 99, 100, 500].map(|offset| epochs.at(offset)), [Some(0), Some(0), Some(3), Some(3)]);
        assert_eq!(LeaderEpochs::default().at(1), None);
    }

    #[test]
    fn a_cut_begins_an_epoch_that_never_was() {
        let epochs = LeaderEpochs::from_text("0\n2\n0 0\n3 100\n").unwrap();
        assert_eq!(epochs.raised_at(150).to_text(), "0\n3\n0 0\n3 100\n4 150\n");
        assert_eq!(epochs.raised_at(100).to_text(), "0\n2\n0 0\n4 100\n");
        assert_eq!(epochs.raised_at(0).to_text(), "0\n1\n4 0\n");
        assert_eq!(LeaderEpochs::default().raised_at(7).to_text(), "0\n2\n0 0\n1 7\n");
    }

    #[test]
    fn the_largest_epoch_is_not_passed() {
        let epochs = LeaderEpochs::from_text("0\n2\n0 0\n2147483647 100\n").unwrap();
        for log_end in [150, 100, 50, 0] {
            let raised = epochs.raised_at(log_end);
            assert_eq!(LeaderEpochs::from_text(&raised.to_text()).as_ref(), Ok(&raised), "{log_end}");
            assert_eq!(raised.latest(), i32::MAX);
        }
    }

    #[test]
    fn a_cut_is_told_from_a_beginning() {
        let epochs = LeaderEpochs::from_text("0\n1\n0 0\n").unwrap();
        assert!(!epochs.has_cut_at(0) && !LeaderEpochs::default().has_cut_at(0));
        for log_end in [0, 7] {
            let raised = epochs.raised_at(log_end);
            assert!(raised.has_cut_at(log_end) && !raised.has_cut_at(log_end + 1), "{log_end}");
        }
    }

    #[test]
    fn what_kafka_refuses_is_refused() {
        for text in [
            "",
            "1\n0\n",
            "0\n",
            "0\n1\n",
            "0\n0\n0 0\n",
            "0\n1\n0\n",
            "0\n2\n0 0\n0 5\n",
            "0\n2\n0 5\n1 5\n",
            "0\n1\n-1 0\n",
        ] {
            LeaderEpochs::from_text(text).unwrap_err();
        }
    }
}

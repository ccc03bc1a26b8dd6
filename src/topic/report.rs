//! What opening a data directory found, and what copying it did.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::log::PartitionRecovery;

/// What opening a data directory found and did. `Display` gives a few lines for a person.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the directory is new.
    pub created: bool,
    /// Whether the directory was closed in order the last time. If not, the end of every log was walked.
    pub clean: bool,
    /// How long opening took.
    pub elapsed: Duration,
    /// Every partition that was opened.
    pub partitions: Vec<PartitionRecovery>,
    /// Why partitions or topics were not opened. The others work; asking for these gives the same error.
    pub failed: Vec<Error>,
    /// Directories that were removed, because the creation or deletion of their topic had been cut short.
    pub removed: Vec<String>,
    /// Topics whose directories were found without settings, as they come from a Kafka broker, and got the
    /// defaults, but for `retention.ms`, which has no limit.
    pub adopted: Vec<String>,
    /// Names that were left alone.
    pub ignored: Vec<String>,
    /// Committed offsets that lay behind the end of their partition, whose tail was lost, and were set to that end.
    pub clamped_offsets: usize,
}

impl RecoveryReport {
    /// Bytes that were read and checked.
    pub fn scanned_bytes(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.scanned_bytes).sum()
    }

    /// Whether every partition was opened and nothing in them is damaged. What was cut off does not count.
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty() && self.partitions.iter().all(|partition| partition.damage.is_none())
    }

    /// Bytes that were cut off the ends of logs.
    pub fn cut_bytes(&self) -> u64 {
        self.partitions.iter().filter_map(|partition| partition.cut.as_ref()).map(|cut| cut.bytes).sum()
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match (self.created, self.clean) {
            (true, _) => "new directory",
            (false, true) => "after a clean close",
            (false, false) => "after an unclean end",
        };
        write!(
            f,
            "opened {how} in {:.1} ms: {} partitions, {} bytes scanned, {} bytes cut",
            self.elapsed.as_secs_f64() * 1e3,
            self.partitions.len(),
            self.scanned_bytes(),
            self.cut_bytes()
        )?;
        for partition in &self.partitions {
            if let Some(cut) = &partition.cut {
                write!(f, "\n  {}: {cut}", partition.partition)?;
            }
            if let Some((from, to)) = partition.moved_start {
                write!(f, "\n  {}: the segments from {from} to {to} are gone; log start {to}", partition.partition)?;
            }
            if let Some(damage) = &partition.damage {
                write!(f, "\n  read-only: {damage}")?;
            }
            if partition.leftovers > 0 {
                write!(
                    f,
                    "\n  {}: {} files of a replacement that was cut short",
                    partition.partition, partition.leftovers
                )?;
            }
        }
        for error in &self.failed {
            write!(f, "\n  not opened: {error}")?;
        }
        for (what, names) in [("removed", &self.removed), ("adopted", &self.adopted), ("left alone", &self.ignored)] {
            if !names.is_empty() {
                write!(f, "\n  {what}: {}", names.join(" "))?;
            }
        }
        if self.clamped_offsets > 0 {
            write!(f, "\n  {} committed offsets set back to the end of their partitions", self.clamped_offsets)?;
        }
        Ok(())
    }
}

/// What [`Broker::checkpoint`](crate::Broker::checkpoint) copied. `Display` gives a line for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// Topics, internal ones included.
    pub topics: usize,
    /// Partitions of all topics.
    pub partitions: usize,
    /// Segments that share their bytes with the original.
    pub linked_segments: usize,
    /// Segments that were copied.
    pub copied_segments: usize,
    /// Bytes of record batches in the segments that were linked.
    pub linked_bytes: u64,
    /// Bytes of record batches in the segments that were copied.
    pub copied_bytes: u64,
}

impl fmt::Display for CheckpointReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} topics, {} partitions; {} segments ({} bytes) linked, {} ({} bytes) copied",
            self.topics,
            self.partitions,
            self.linked_segments,
            self.linked_bytes,
            self.copied_segments,
            self.copied_bytes
        )
    }
}

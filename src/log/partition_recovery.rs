//! What opening the log of one partition found and did.

use std::fmt;
use std::path::PathBuf;

use crate::error::Error;
use crate::types::{Offset, TopicPartition};

/// What opening one partition found and did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PartitionRecovery {
    /// The partition.
    pub partition: TopicPartition,
    /// Segments of the log, before anything was cut.
    pub segments: usize,
    /// Bytes that were read and checked; after a clean close only the last batch is, which does not count.
    pub scanned_bytes: u64,
    /// What was cut off, if anything was.
    pub cut: Option<Cut>,
    /// The log start and the first offset that there is, where segments were missing between them and the start was moved.
    pub moved_start: Option<(Offset, Offset)>,
    /// What is damaged and was left as it is: the partition can be read, but for this, and not appended to.
    pub damage: Option<Error>,
    /// Files that a replacement of segments left when it was cut short, finished or taken back.
    pub leftovers: usize,
}

/// The end of a log that was cut off because it is not a row of whole batches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// The segment file in which the log ends now.
    pub file: PathBuf,
    /// Bytes of the file that stayed.
    pub file_pos: u64,
    /// Bytes cut off, those of segments behind it included.
    pub bytes: u64,
    /// The offset that the next record gets.
    pub log_end: Offset,
    /// What was found in place of the next batch.
    pub reason: String,
    /// Where the bytes were kept, if they may be more than a batch whose end is missing.
    pub kept_in: Vec<PathBuf>,
}

impl PartitionRecovery {
    pub(super) fn new(partition: &TopicPartition, segments: usize) -> Self {
        PartitionRecovery {
            partition: partition.clone(),
            segments,
            scanned_bytes: 0,
            cut: None,
            moved_start: None,
            damage: None,
            leftovers: 0,
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cut { file, file_pos, bytes, log_end, reason, kept_in } = self;
        write!(f, "cut {bytes} bytes from byte {file_pos} of {}: {reason}; log end {log_end}", file.display())?;
        kept_in.iter().try_for_each(|path| write!(f, "; kept in {}", path.display()))
    }
}

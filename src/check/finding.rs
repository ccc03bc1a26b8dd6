//! Something that a check found.

use std::fmt;
use std::path::PathBuf;

use crate::types::{Offset, TopicPartition};

/// How bad a [`Finding`] is. Ordered: a larger value is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing, and nothing to do about.
    Note,
    /// The next open cuts, rebuilds or ignores it; or another tool would object to it.
    Warning,
    /// Records are lost or cannot be read, or an answer may be wrong; opening does not heal it.
    Error,
}

/// Something that [`verify`](crate::verify) found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The partition it concerns, if it concerns one.
    pub partition: Option<TopicPartition>,
    /// The file or directory it concerns.
    pub file: PathBuf,
    /// Bytes before the place in the file, if it has one.
    pub file_pos: Option<u64>,
    /// The first offset concerned, if it is known.
    pub offset: Option<Offset>,
    /// What was found, with the numbers: one phrase.
    pub what: String,
}

impl Finding {
    pub(super) fn new(severity: Severity, file: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Finding { severity, partition: None, file: file.into(), file_pos: None, offset: None, what: what.into() }
    }

    pub(super) fn at(mut self, file_pos: Option<u64>, offset: Option<Offset>) -> Self {
        self.file_pos = file_pos;
        self.offset = offset;
        self
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.file.display())?;
        if let Some(file_pos) = self.file_pos {
            write!(f, ", byte {file_pos}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

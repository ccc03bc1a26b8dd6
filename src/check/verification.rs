//! What checking a data directory found.

use std::fmt;

use super::finding::{Finding, Severity};

/// What [`verify`](crate::verify) found. `Display` gives a few lines for a person.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// Everything that was found, by partition, file and position. What concerns the whole directory comes first.
    pub findings: Vec<Finding>,
    /// Whether the directory was closed in order. If not, the next open walks the ends of all logs.
    pub clean: bool,
    /// Topics, those included that the next open will make of directories that were put there.
    pub topics: usize,
    /// Directories of partitions.
    pub partitions: usize,
    /// Segments of all logs.
    pub segments: usize,
    /// Batches that hold.
    pub batches: u64,
    /// Records in batches that hold and could be inflated.
    pub records: u64,
    /// Bytes of all segments, damaged ones included.
    pub bytes: u64,
}

impl Verification {
    /// The worst severity found, if anything was.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Number of findings of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    pub(super) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Brings the findings into an order that does not depend on the order of the checks.
    pub(super) fn sort(&mut self) {
        self.findings.sort_by(|a, b| {
            let key = |finding: &Finding| (finding.partition.clone(), finding.file.clone(), finding.file_pos);
            key(a).cmp(&key(b))
        });
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} topics, {} partitions, {} segments, {} batches, {} records, {} bytes; {} errors, {} warnings, {} notes",
            if self.clean { "closed in order" } else { "not closed in order" },
            self.topics,
            self.partitions,
            self.segments,
            self.batches,
            self.records,
            self.bytes,
            self.count(Severity::Error),
            self.count(Severity::Warning),
            self.count(Severity::Note),
        )?;
        let (notes, others): (Vec<_>, Vec<_>) =
            self.findings.iter().partition(|finding| finding.severity == Severity::Note);
        others.iter().chain(notes.iter().take(NOTES_SHOWN)).try_for_each(|finding| write!(f, "\n  {finding}"))?;
        match notes.len().checked_sub(NOTES_SHOWN) {
            Some(more) if more > 0 => write!(f, "\n  and {more} notes more"),
            _ => Ok(()),
        }
    }
}

/// Notes that are shown to a person, so that they do not hide what is worse; all of them are in the findings.
const NOTES_SHOWN: usize = 10;

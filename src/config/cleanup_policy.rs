//! Which records of a topic may go.

use std::fmt;

/// Which records of a topic may go: old ones, superseded ones, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CleanupPolicy {
    /// Whole segments go, by age and by size.
    #[default]
    Delete,
    /// Of the records with the same key the last stays.
    Compact,
    /// Superseded records go, and segments that are too old as well.
    CompactAndDelete,
}

impl CleanupPolicy {
    /// Kafka's spelling: `delete`, `compact` or `compact,delete`.
    pub fn name(self) -> &'static str {
        match self {
            CleanupPolicy::Delete => "delete",
            CleanupPolicy::Compact => "compact",
            CleanupPolicy::CompactAndDelete => "compact,delete",
        }
    }

    /// The inverse of [`name`](CleanupPolicy::name). The two words come in any order, with blanks around the comma.
    ///
    /// ```
    /// use thalweg::CleanupPolicy;
    /// assert_eq!(CleanupPolicy::from_name("delete, compact"), Some(CleanupPolicy::CompactAndDelete));
    /// assert_eq!(CleanupPolicy::from_name("keep"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        let mut words = name.split(',').map(str::trim);
        match (words.next()?, words.next(), words.next()) {
            ("delete", None, None) => Some(CleanupPolicy::Delete),
            ("compact", None, None) => Some(CleanupPolicy::Compact),
            ("compact", Some("delete"), None) | ("delete", Some("compact"), None) => {
                Some(CleanupPolicy::CompactAndDelete)
            }
            _ => None,
        }
    }

    /// Whether old segments go.
    pub fn deletes(self) -> bool {
        matches!(self, CleanupPolicy::Delete | CleanupPolicy::CompactAndDelete)
    }

    /// Whether superseded records go.
    pub fn compacts(self) -> bool {
        matches!(self, CleanupPolicy::Compact | CleanupPolicy::CompactAndDelete)
    }
}

impl fmt::Display for CleanupPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleanup_policies_have_kafkas_names() {
        for policy in [CleanupPolicy::Delete, CleanupPolicy::Compact, CleanupPolicy::CompactAndDelete] {
            assert_eq!(CleanupPolicy::from_name(policy.name()), Some(policy));
        }
        assert_eq!(CleanupPolicy::from_name("delete , compact"), Some(CleanupPolicy::CompactAndDelete));
        for wrong in ["", ",", "Delete", "delete,delete", "compact,", "compact,delete,compact"] {
            assert_eq!(CleanupPolicy::from_name(wrong), None, "{wrong:?}");
        }
        assert!(CleanupPolicy::CompactAndDelete.deletes() && CleanupPolicy::CompactAndDelete.compacts());
        assert!(!CleanupPolicy::Delete.compacts() && !CleanupPolicy::Compact.deletes());
    }
}

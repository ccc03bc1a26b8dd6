//! What a log has, in numbers.

use super::log::Log;

/// The numbers of one log at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogCounts {
    pub(crate) segments: usize,
    /// Segments of these whose bytes are mapped, those that are appended to included.
    pub(crate) mapped: usize,
    /// Bytes of record batches.
    pub(crate) bytes: u64,
    /// Whether nothing is appended any more.
    pub(crate) is_read_only: bool,
}

impl Log {
    /// Counts. Looks at every segment, takes no lock.
    pub(crate) fn counts(&self) -> LogCounts {
        let view = self.view.load();
        let segments = view.segments();
        LogCounts {
            segments: segments.len(),
            mapped: segments.iter().filter(|segment| segment.is_mapped()).count(),
            bytes: segments.iter().map(|segment| u64::from(segment.written().file_pos)).sum(),
            is_read_only: self.failure.get().is_some(),
        }
    }
}

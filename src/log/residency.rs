//! What of a log is in memory.

use super::log::Log;
use super::read::Unreadable;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{End, Segment};
use crate::sync::Arc;
use crate::types::Offset;

impl Log {
    /// Whether a fetch of `bytes` from `offset` on is known to find everything in memory.
    pub(crate) fn is_cached(&self, offset: Offset, bytes: usize) -> Result<bool> {
        let mut left = bytes;
        for (segment, end) in self.visible_from(offset)? {
            let cached = segment.reader_if_open().and_then(|reader| reader.is_cached(offset, left, end));
            match cached {
                None => return Ok(false),
                Some(0) => return Ok(true),
                Some(behind) => left = behind,
            }
        }
        Ok(true)
    }

    /// Reads what a fetch of `bytes` from `offset` on will look at into memory.
    pub(crate) fn warm_up(&self, offset: Offset, bytes: usize) -> Result<()> {
        let mut left = bytes;
        for (segment, end) in self.visible_from(offset)? {
            let warmed = segment.reader().and_then(|reader| reader.warm_up(offset, left, end));
            left = warmed.map_err(|error| self.unreadable(&segment, offset, Unreadable::Io(error)))?;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The segments from `offset` on, each with the end of what can be seen of it.
    fn visible_from(&self, offset: Offset) -> Result<Vec<(Arc<Segment>, End)>> {
        self.refresh()?;
        let view = self.view.load();
        let log_start = self.log_start();
        let log_end = self.at_least_damaged(view.log_end()).max(log_start);
        let (end_base, end) = view.high_watermark();
        if offset < log_start || log_end < offset {
            let high_watermark = self.at_least_damaged(end.offset).max(log_start);
            let kind = ErrorKind::OffsetOutOfRange { requested: offset, log_start, high_watermark, log_end };
            return Err(Error::new(kind).in_partition(self.partition()));
        }
        if end.offset <= offset {
            return Ok(Vec::new());
        }
        let visible = view.segments_from(offset).iter().take_while(|segment| segment.base() <= end_base);
        Ok(visible.map(|segment| (Arc::clone(segment), segment.visible())).collect())
    }
}

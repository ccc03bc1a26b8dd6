//! A look at the headers of batches, one after the other.

use std::io;

use super::end::End;
use crate::record::{BatchHeader, HEADER_LEN, Malformed};
use crate::sys::FileBytes;
use crate::types::FilePos;

/// The headers of the batches before an end. Where the bytes are mapped they are looked at where they lie; else a window
/// over the file is read, so that neighbours do not take a system call each. No more is held than that window.
#[derive(Debug)]
pub(crate) struct Headers<'a> {
    source: Source<'a>,
    end: FilePos,
}

#[derive(Debug)]
enum Source<'a> {
    /// All bytes before the end.
    Mapped(&'a [u8]),
    Read(Window<'a>),
}

/// A part of a file.
#[derive(Debug)]
struct Window<'a> {
    file: &'a FileBytes,
    from: FilePos,
    bytes: Vec<u8>,
    /// Bytes that were read at a time.
    len: FilePos,
}

/// Read for the first header: what lies between two entries of an index, unless it was set otherwise.
const WINDOW_MIN: FilePos = 4096;

/// Read at a time by a walk that goes on and on.
const WINDOW_MAX: FilePos = 64 * 1024;

/// What does not hold in a `.log` file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DamageAt {
    /// Where the batch begins that is not one.
    pub(crate) file_pos: FilePos,
    /// What is wrong with it.
    pub(crate) malformed: Malformed,
}

/// Why a part of a segment cannot be read. The two are never taken for each other: what could not be read may be in order,
/// so that nothing is cut or made anew because of it.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    /// The system does not give the bytes.
    Io(io::Error),
    /// They are not what was written.
    Damage(DamageAt),
}

impl From<io::Error> for ReadFailure {
    fn from(error: io::Error) -> Self {
        ReadFailure::Io(error)
    }
}

impl From<DamageAt> for ReadFailure {
    fn from(damage: DamageAt) -> Self {
        ReadFailure::Damage(damage)
    }
}

/// What is found where damage counts as the end of what there is.
pub(super) fn before_damage<T>(found: Result<Option<T>, ReadFailure>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(found),
        Err(ReadFailure::Damage(_)) => Ok(None),
        Err(ReadFailure::Io(error)) => Err(error),
    }
}

impl<'a> Headers<'a> {
    /// The headers of the batches in `bytes` that lie before `end`, a place between two batches.
    #[inline]
    pub(super) fn new(bytes: &'a FileBytes, end: End) -> Self {
        let end = end.file_pos;
        let source = if bytes.is_mapped() {
            Source::Mapped(bytes.mapped(0..end).unwrap_or_default())
        } else {
            Source::Read(Window { file: bytes, from: 0, bytes: Vec::new(), len: 0 })
        };
        Headers { source, end }
    }

    /// The header of the batch that begins at `file_pos`; `None` at the end. The checksum is not looked at.
    #[inline]
    pub(crate) fn at(&mut self, file_pos: FilePos) -> Result<Option<&BatchHeader>, ReadFailure> {
        if file_pos >= self.end {
            return Ok(None);
        }
        let bytes = match &mut self.source {
            Source::Mapped(bytes) => bytes.get(file_pos as usize..).unwrap_or_default(),
            Source::Read(window) => window.at(file_pos, self.end)?,
        };
        match BatchHeader::first(bytes, (self.end - file_pos) as usize) {
            Ok(Some(header)) => Ok(Some(header)),
            // `end` is a place between batches, so one that reaches beyond announces a wrong size.
            Ok(None) => Err(DamageAt { file_pos, malformed: Malformed::SizeBeyondEnd }.into()),
            Err(malformed) => Err(DamageAt { file_pos, malformed }.into()),
        }
    }
}

impl Window<'_> {
    /// The bytes from `file_pos` on, a header's at least if there are as many before `end`.
    fn at(&mut self, file_pos: FilePos, end: FilePos) -> io::Result<&[u8]> {
        let wanted = end.min(file_pos.saturating_add(HEADER_LEN as FilePos));
        let window_end = self.from + self.bytes.len() as FilePos;
        if file_pos < self.from || window_end < wanted {
            // One that begins behind a header which lay in the window: they are small, and more of them follow.
            let goes_on = self.from <= file_pos && file_pos <= window_end && self.len > 0;
            self.len = if goes_on { (self.len * 2).min(WINDOW_MAX) } else { WINDOW_MIN };
            self.file.read(&mut self.bytes, file_pos..end.min(file_pos.saturating_add(self.len))).inspect_err(
                |_| {
                    self.bytes.clear(); // not what is there
                },
            )?;
            self.from = file_pos;
        }
        Ok(self.bytes.get((file_pos - self.from) as usize..).unwrap_or_default())
    }
}

//! Printing files so that a person can read them.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use super::classify::{FileKind, classify};
use super::closed_directory::read_whole;
use super::dump_log::dump_log;
use super::dump_side::{dump_offset_index, dump_snapshot, dump_text, dump_time_index, dump_txn_index};
use crate::error::{Error, ErrorKind, Result};
use crate::segment::SegmentFile;
use crate::sys::{Disk, OpenMode, RealDisk};
use crate::topic::{CLEAN_SHUTDOWN, META_PROPERTIES, PRODUCER_IDS, topic_of_file};

/// What [`dump`] prints.
#[derive(Clone, Debug, Default)]
pub struct DumpOptions {
    pub(super) records: bool,
    pub(super) hex: bool,
}

impl DumpOptions {
    /// Batches without their records.
    pub fn new() -> Self {
        DumpOptions::default()
    }

    /// Whether the records of each batch are printed behind it.
    pub fn records(mut self, records: bool) -> Self {
        self.records = records;
        self
    }

    /// Whether keys and values are printed as hexadecimal digits instead of text with escapes.
    pub fn hex(mut self, hex: bool) -> Self {
        self.hex = hex;
        self
    }
}

/// Prints a file of a data directory, or each file in the directory of a partition, in the words of Kafka's own dump tool.
///
/// It knows `.log`, `.index`, `.timeindex`, `.txnindex`, `.snapshot` and `.topic` files, the small text files, and the side
/// files that recovery leaves, whose positions are those in the segment they came from. Where a segment is damaged a line
/// says where and why, and it goes on with the next batch that can be found. Bytes that are not printable are escaped.
///
/// No lock is taken and nothing is changed. A file that is written at the same time is printed as it is found: its last
/// batch may be torn, and an index may not know the newest batches.
///
/// ```
/// # fn main() -> thalweg::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let dir = dir.path();
/// # let broker = thalweg::Broker::open(dir)?;
/// # broker.create_topic("orders", 1, thalweg::TopicConfig::new())?;
/// let mut text = Vec::new();
/// thalweg::dump(dir.join("orders-0"), &thalweg::DumpOptions::new().records(true), &mut text)?;
/// assert!(text.starts_with(b"Dumping 00000000000000000000.index\n"));
/// # broker.close()
/// # }
/// ```
///
/// # Errors
///
/// [`IllegalArgument`](crate::ErrorKind::IllegalArgument) for a file that it does not know,
/// [`Io`](crate::ErrorKind::Io) for one that cannot be opened, or if `out` takes no more. A read that fails inside a
/// segment is printed.
pub fn dump(path: impl AsRef<Path>, options: &DumpOptions, out: &mut dyn Write) -> Result<()> {
    dump_on(&RealDisk::default(), path.as_ref(), options, out)
}

fn dump_on(disk: &dyn Disk, path: &Path, options: &DumpOptions, out: &mut dyn Write) -> Result<()> {
    let entries = match disk.list(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return dump_file(disk, path, options, out),
        Err(error) => return Err(Error::io("list", path, error)),
    };
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        match dump_file(disk, &path.join(&entry.name), options, out) {
            // Others may lie beside, and a file may go while this runs.
            Err(error) if matches!(error.kind(), ErrorKind::IllegalArgument { .. }) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

fn dump_file(disk: &dyn Disk, path: &Path, options: &DumpOptions, out: &mut dyn Write) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kind = classify(&name);
    let is_text = matches!(kind, FileKind::Checkpoint | FileKind::Metadata | FileKind::LeaderEpochs)
        || topic_of_file(&name).is_some()
        || [META_PROPERTIES, PRODUCER_IDS, CLEAN_SHUTDOWN].contains(&&*name);
    if matches!(kind, FileKind::Leftover | FileKind::Unknown) && !is_text {
        return Err(Error::illegal_argument("this is no file of a log that can be printed").at_file(path));
    }
    let opened = |error| Error::io("open", path, error);
    let file = disk.open(path, OpenMode::Read).map_err(opened)?;
    let whole = || read_whole(disk, path).map_err(|error| Error::io("read", path, error));
    let mut print = || -> Result<io::Result<()>> {
        if let Err(error) = writeln!(out, "Dumping {}", name.escape_default()) {
            return Ok(Err(error));
        }
        Ok(match kind {
            _ if is_text => dump_text(&whole()?, out),
            FileKind::Segment(SegmentFile::Log, base) => dump_log(&*file, (base, 0), options, out),
            FileKind::SideFile(base, file_pos) => dump_log(&*file, (base, file_pos), options, out),
            FileKind::Segment(SegmentFile::OffsetIndex, base) => dump_offset_index(&whole()?, base, out),
            FileKind::Segment(SegmentFile::TimeIndex, base) => dump_time_index(&whole()?, base, out),
            FileKind::AbortedTransactions(base) => dump_txn_index(&whole()?, base, out),
            _ => dump_snapshot(&whole()?, out),
        })
    };
    print()?.map_err(|error| Error::io("write the dump of", path, error))
}

/// Bytes on one line: null, text in quotes with escapes, or hexadecimal digits.
pub(super) struct Shown<'a> {
    pub(super) bytes: Option<&'a [u8]>,
    pub(super) hex: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            None => f.write_str("null"),
            Some(bytes) if self.hex => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Some(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
        }
    }
}

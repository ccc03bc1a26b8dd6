//! The index files of a segment against its batches.

use std::io;
use std::path::{Path, PathBuf};

use super::closed_directory::read_whole;
use super::finding::{Finding, Severity};
use crate::record::Batch;
use crate::segment::{SegmentFile, segment_path};
use crate::sys::Disk;
use crate::types::{FilePos, NO_TIMESTAMP, Offset, Timestamp};

/// Compares the entries of both indexes with the batches of the segment, which it is shown one after the other.
///
/// Rules: log.md 4 and 5. An entry of the offset index has the last offset of the batch at its position. An entry of the
/// time index has the largest timestamp so far, and the last offset of the first batch that carried it.
#[derive(Debug)]
pub(super) struct IndexCheck {
    base: Offset,
    offsets: Entries,
    times: Entries,
    /// The largest timestamp so far.
    largest: Timestamp,
}

/// An entry: a position or a timestamp, and an offset minus the segment's base.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: i64,
    relative: i64,
}

impl IndexCheck {
    /// Reads the index files of the segment at `base`, whose `.log` file has `log_len` bytes.
    pub(super) fn load(disk: &dyn Disk, dir: &Path, base: Offset, log_len: FilePos) -> Self {
        let offsets = Entries::load(disk, segment_path(dir, base, SegmentFile::OffsetIndex), |bytes| {
            let (entries, torn) = read_offset_index(bytes);
            let fits = |last: Option<&Entry>, entry: &Entry| {
                let follows = last.is_none_or(|last| last.key < entry.key && last.relative < entry.relative);
                follows && 0 <= entry.relative && (0..i64::from(log_len)).contains(&entry.key)
            };
            (entries, torn, fits)
        });
        let times = Entries::load(disk, segment_path(dir, base, SegmentFile::TimeIndex), |bytes| {
            let (entries, torn) = read_time_index(bytes);
            let fits = |last: Option<&Entry>, entry: &Entry| {
                let follows = last.is_none_or(|last| last.key < entry.key && last.relative <= entry.relative);
                follows && 0 <= entry.relative
            };
            (entries, torn, fits)
        });
        IndexCheck { base, offsets, times, largest: NO_TIMESTAMP }
    }

    /// Takes note of the batch at `file_pos`, which follows those before.
    pub(super) fn note(&mut self, file_pos: FilePos, batch: &Batch<'_>) {
        let (file_pos, last) = (i64::from(file_pos), batch.last_offset());
        while let Some(entry) = self.offsets.peek().filter(|entry| entry.key <= file_pos) {
            let offset = self.base.saturating_add(entry.relative);
            self.offsets.judge(match (entry.key == file_pos, offset == last) {
                (true, true) => Ok(()),
                (true, false) => {
                    Err(format!("offset {offset} at byte {file_pos}, where a batch ends with offset {last}"))
                }
                (false, _) => Err(format!("offset {offset} at byte {}, where no batch begins", entry.key)),
            });
        }
        let is_larger = batch.max_timestamp() > self.largest;
        while let Some(entry) = self.times.peek().filter(|entry| self.base.saturating_add(entry.relative) <= last) {
            let offset = self.base.saturating_add(entry.relative);
            let carries = is_larger && entry.key == batch.max_timestamp() && batch.base_offset() <= offset;
            self.times.within += usize::from(carries && offset != last);
            self.times.judge(if carries {
                Ok(())
            } else {
                Err(format!(
                    "timestamp {} with offset {offset}, which is not the end of the first batch that carries it as the \
                     largest",
                    entry.key
                ))
            });
        }
        self.largest = self.largest.max(batch.max_timestamp());
    }

    /// What was found. `whole` says that every batch was shown, `complete` that the files must be there as the segment has
    /// been finished.
    pub(super) fn finish(mut self, whole: bool, complete: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        if whole && complete && self.times.is_sound() {
            let last = self.times.entries.last().map_or(NO_TIMESTAMP, |entry| entry.key);
            if last != self.largest {
                let what = format!("it ends with timestamp {last}, the segment with {}; built again", self.largest);
                findings.push(Finding::new(Severity::Warning, &self.times.path, what));
            }
        }
        for entries in [&mut self.offsets, &mut self.times] {
            entries.finish(whole, complete, &mut findings);
        }
        findings
    }
}

/// The entries of one index file, of which the first `judged` have been compared.
#[derive(Debug)]
struct Entries {
    path: PathBuf,
    entry_len: u64,
    entries: Vec<Entry>,
    judged: usize,
    wrong: usize,
    /// Position of the first wrong entry, and what is wrong with it.
    first_wrong: Option<(u64, String)>,
    /// Entries that name an offset inside the right batch.
    within: usize,
    /// Why there are no entries, or no more.
    broken: Option<(Severity, Option<u64>, String)>,
    is_missing: bool,
}

impl Entries {
    fn load<F>(disk: &dyn Disk, path: PathBuf, read: impl FnOnce(&[u8]) -> (Vec<Entry>, u64, F)) -> Self
    where
        F: Fn(Option<&Entry>, &Entry) -> bool,
    {
        let entry_len = if path.extension().is_some_and(|extension| extension == "index") { 8 } else { 12 };
        let mut loaded = Entries {
            path,
            entry_len,
            entries: Vec::new(),
            judged: 0,
            wrong: 0,
            first_wrong: None,
            within: 0,
            broken: None,
            is_missing: false,
        };
        match read_whole(disk, &loaded.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => loaded.is_missing = true,
            Err(error) => loaded.broken = Some((Severity::Error, None, format!("could not read: {error}"))),
            Ok(bytes) => {
                let (entries, torn, fits) = read(&bytes);
                loaded.take(entries, torn, fits);
            }
        }
        loaded
    }

    /// Takes the entries up to the first that cannot be one.
    fn take(&mut self, entries: Vec<Entry>, torn: u64, fits: impl Fn(Option<&Entry>, &Entry) -> bool) {
        let count = entries.len();
        for entry in entries {
            if !fits(self.entries.last(), &entry) {
                let what = "the entry does not follow the one before, or lies outside the log; built again";
                let file_pos = self.entries.len() as u64 * self.entry_len;
                self.broken = Some((Severity::Warning, Some(file_pos), what.to_owned()));
                return;
            }
            self.entries.push(entry);
        }
        if torn > 0 {
            let what = format!("{torn} bytes are left behind the last entry; built again");
            self.broken = Some((Severity::Warning, Some(count as u64 * self.entry_len), what));
        }
    }

    fn peek(&self) -> Option<Entry> {
        self.entries.get(self.judged).copied()
    }

    fn judge(&mut self, judgement: Result<(), String>) {
        if let Err(what) = judgement {
            self.wrong += 1;
            let file_pos = self.judged as u64 * self.entry_len;
            self.first_wrong.get_or_insert((file_pos, what));
        }
        self.judged += 1;
    }

    fn is_sound(&self) -> bool {
        !self.is_missing && self.broken.is_none() && self.wrong == 0
    }

    fn finish(&mut self, whole: bool, complete: bool, findings: &mut Vec<Finding>) {
        while let Some(entry) = self.peek().filter(|_| whole) {
            self.judge(Err(format!("{} stands for nothing in the log", entry.key)));
        }
        let mut push = |severity, file_pos, what: String| {
            findings.push(Finding::new(severity, &self.path, what).at(file_pos, None));
        };
        if self.is_missing && complete {
            push(Severity::Note, None, "missing; built again when it is needed".to_owned());
        }
        if let Some((severity, file_pos, what)) = self.broken.take() {
            push(severity, file_pos, what);
        }
        if let Some((file_pos, what)) = self.first_wrong.take() {
            let what = format!("{} entries disagree with the log, the first says {what}", self.wrong);
            push(Severity::Error, Some(file_pos), what);
        }
        if self.within > 0 {
            let what =
                format!("{} entries name an offset inside their batch, as older versions of Kafka do", self.within);
            push(Severity::Note, None, what);
        }
    }
}

/// Entries of an offset index, and the bytes that are left behind them.
fn read_offset_index(bytes: &[u8]) -> (Vec<Entry>, u64) {
    let (entries, torn) = bytes.as_chunks::<8>();
    let entry = |[a, b, c, d, e, f, g, h]: &[u8; 8]| Entry {
        key: i64::from(i32::from_be_bytes([*e, *f, *g, *h])),
        relative: i64::from(i32::from_be_bytes([*a, *b, *c, *d])),
    };
    (entries.iter().map(entry).collect(), torn.len() as u64)
}

/// Entries of a time index, and the bytes that are left behind them.
fn read_time_index(bytes: &[u8]) -> (Vec<Entry>, u64) {
    let (entries, torn) = bytes.as_chunks::<12>();
    let entry = |entry: &[u8; 12]| {
        let key = entry.first_chunk().map_or(0, |key| i64::from_be_bytes(*key));
        let relative = entry.last_chunk().map_or(0, |relative| i64::from(i32::from_be_bytes(*relative)));
        Entry { key, relative }
    };
    (entries.iter().map(entry).collect(), torn.len() as u64)
}

/// Position and offset of each entry of an offset index, for printing.
pub(super) fn offset_entries(bytes: &[u8], base: Offset) -> impl Iterator<Item = (i64, Offset)> {
    read_offset_index(bytes).0.into_iter().map(move |entry| (entry.key, base.saturating_add(entry.relative)))
}

/// Timestamp and offset of each entry of a time index, for printing.
pub(super) fn time_entries(bytes: &[u8], base: Offset) -> impl Iterator<Item = (Timestamp, Offset)> {
    read_time_index(bytes).0.into_iter().map(move |entry| (entry.key, base.saturating_add(entry.relative)))
}

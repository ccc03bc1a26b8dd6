//! What a crash takes from the files of a partition, and what of its log is there afterwards.

use std::path::{Path, PathBuf};

use thalweg::Offset;

use super::directory::{CHECKPOINT, Files};
use super::log::Log;
use super::op::{Behind, Sabotage};

/// What the checkpoint of a partition says.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint {
    pub recovery_point: Offset,
    pub log_start: Offset,
}

impl Checkpoint {
    pub fn of(partition: &Path, files: &Files) -> Self {
        let text = std::str::from_utf8(&files[&partition.join(CHECKPOINT)]).unwrap();
        let value = |key: &str| -> Offset {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok()).unwrap()
        };
        Checkpoint { recovery_point: value("recovery-point"), log_start: value("log-start-offset") }
    }
}

impl Log {
    /// Writes behind the last batch of a partition what makes no batch. Returns how many bytes recovery has to cut.
    pub fn tear(&self, partition: &Path, files: &mut Files, bytes: &[u8]) -> usize {
        let mut torn = bytes.to_vec();
        if let Some(magic) = torn.get_mut(16) {
            *magic = 9;
        }
        let segment = self.segments.last().unwrap();
        let content = files.get_mut(&log_path(partition, segment.base)).unwrap();
        let len = content.len().max(segment.size() + torn.len());
        content.truncate(segment.size());
        content.extend_from_slice(&torn);
        content.resize(len, 0);
        self.cut_of(content, segment.size())
    }

    /// Bytes that recovery cuts off a file whose batches end at `end`, without the zeros of the room that it had.
    fn cut_of(&self, content: &[u8], end: usize) -> usize {
        let zeros = content[end..].iter().rev().take_while(|byte| **byte == 0).count();
        match end + zeros == content.len() {
            true => 0,
            false => (content.len() - zeros).next_multiple_of(4096).min(content.len()) - end,
        }
    }

    /// Puts the last `count` segments back that were removed, without the index files of the first, which go before.
    pub fn bring_back(&mut self, partition: &Path, files: &mut Files, before: &Files, count: usize) {
        let count = count % (self.removed.len() + 1);
        let back = self.removed.split_off(self.removed.len() - count);
        for (number, segment) in back.iter().enumerate() {
            let log = log_path(partition, segment.base);
            for extension in if number == 0 { &["log"][..] } else { &EXTENSIONS } {
                let path = log.with_extension(extension);
                if let Some(content) = before.get(&path) {
                    let mut content = content.clone();
                    if extension == &"log" {
                        content.truncate(segment.size()); // it was trimmed before it was removed
                    }
                    files.insert(path, content);
                }
            }
        }
        self.segments.splice(0..0, back);
    }

    /// Takes the last bytes away, none of them of records below `promised`, and leaves the batches that are whole in front of
    /// the first byte that is missing. Returns how many bytes of the files are no part of the log any more.
    pub fn lose(
        &mut self,
        partition: &Path,
        files: &mut Files,
        promised: Offset,
        missing: usize,
        behind: Behind,
    ) -> usize {
        let promised_len: usize = self.batches().filter(|batch| batch.base < promised).map(|batch| batch.size).sum();
        let at = self.size().saturating_sub(missing).max(promised_len);
        let (number, file_pos) = self.place_of(at);
        let path = |base: Offset| log_path(partition, base);
        let next_bases: Vec<_> = self.segments[number + 1..].iter().map(|segment| segment.base).collect();
        if behind != Behind::Segments {
            next_bases.iter().for_each(|base| remove_segment(files, path(*base)));
        }

        let content = files.get_mut(&path(self.segments[number].base)).unwrap();
        let whole_len = match behind {
            Behind::Zeros => zero(content, file_pos),
            _ => {
                content.truncate(file_pos);
                file_pos
            }
        };
        let is_empty = content.is_empty();
        let mut cut_len = 0;
        if behind == Behind::Segments {
            cut_len += next_bases.iter().map(|base| self.cut_of(&files[&path(*base)], 0)).sum::<usize>();
        }
        let kept_len = self.keep(number, whole_len);
        cut_len += self.cut_of(&files[&path(self.segments[number].base)], kept_len);
        // An empty file between others is not part of the log; one at the end may as well not have arrived.
        let never_arrived = behind == Behind::Nothing && at.is_multiple_of(2);
        if is_empty && number > 0 && (never_arrived || (behind == Behind::Segments && !next_bases.is_empty())) {
            let segment = self.segments.pop().unwrap();
            if never_arrived {
                remove_segment(files, path(segment.base));
            }
        }
        cut_len
    }

    /// The segment and the position in its file of the `at`-th byte of the log.
    fn place_of(&self, at: usize) -> (usize, usize) {
        let mut file_pos = at;
        for (number, segment) in self.segments.iter().enumerate() {
            if file_pos < segment.size() || number + 1 == self.segments.len() {
                return (number, file_pos);
            }
            file_pos -= segment.size();
        }
        unreachable!("there is a segment")
    }

    /// Ends the log in a segment of which only the first bytes are whole. Returns the length of the batches in them.
    fn keep(&mut self, number: usize, whole_len: usize) -> usize {
        self.segments.truncate(number + 1);
        let segment = self.segments.last_mut().unwrap();
        let mut kept_len = 0;
        let is_whole = |batch: &&super::record::Batch| {
            let fits = kept_len + batch.size <= whole_len;
            kept_len += if fits { batch.size } else { 0 };
            fits
        };
        let count = segment.batches.iter().take_while(is_whole).count();
        segment.batches.truncate(count);
        let end = segment.end() as usize;
        if self.sabotage != Sabotage::LoseNothing {
            self.records.truncate(end);
        }
        kept_len
    }
}

/// Writes zeros over everything from `from` on. Returns how many bytes are as they were up to the first one that is not.
fn zero(content: &mut [u8], from: usize) -> usize {
    let same_len = content[from..].iter().take_while(|byte| **byte == 0).count();
    content[from..].fill(0);
    from + same_len
}

fn log_path(partition: &Path, base: Offset) -> PathBuf {
    partition.join(format!("{base:020}.log"))
}

/// Of the files of a segment.
const EXTENSIONS: [&str; 3] = ["log", "index", "timeindex"];

fn remove_segment(files: &mut Files, log: PathBuf) {
    for extension in EXTENSIONS {
        files.remove(&log.with_extension(extension));
    }
}

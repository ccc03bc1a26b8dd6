//! Removing records.

use super::directory;
use super::op::At;
use super::run::{Run, partition_dir};

impl Run {
    pub(super) fn delete(&mut self, number: usize, at: At) {
        self.keep_files();
        let log = &mut self.logs[number];
        let before = at.offset(log.start, log.end());
        let expected = log.delete(before);
        let deleted = self.partition(number).delete_records(before);
        assert_eq!(deleted.as_ref().map_err(|error| error.kind()), expected.as_ref());
    }

    pub(super) fn retain(&mut self) {
        self.keep_files();
        self.logs.iter_mut().for_each(|log| log.retain());
        let removed = self.logs.iter().flat_map(|log| &log.removed);
        let expected: usize = removed.map(|segment| segment.size()).sum();
        assert_eq!(self.broker().enforce_retention().unwrap(), expected as u64, "bytes removed");
    }

    /// Keeps the segment files for a crash that comes before they are removed.
    fn keep_files(&mut self) {
        for number in 0..self.logs.len() {
            let dir = partition_dir(number);
            let files = directory::read(&self.directory.dir().join(&dir)).into_iter();
            self.files_before.extend(files.map(|(name, content)| (dir.join(name), content)));
        }
    }
}

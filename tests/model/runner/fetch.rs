//! Reading by offset.

use thalweg::{FetchOptions, Offset};

use super::batches::compare_batches;
use super::log::Answer;
use super::op::At;
use super::run::Run;

impl Run {
    /// With the budget, and with those next to what came: one that fits to the byte, and one that does not.
    pub(super) fn fetch(&self, number: usize, at: At, bytes_max: usize) {
        let log = &self.logs[number];
        let offset = at.offset(log.start, log.end());
        let Some(answer) = self.fetch_at(number, offset, bytes_max) else { return };
        for bytes_max in [answer.len, answer.len.saturating_sub(1)] {
            self.fetch_at(number, offset, bytes_max);
        }
    }

    /// The answers, one behind the other, are the log.
    pub(super) fn fetch_all(&self, number: usize, bytes_max: usize) {
        let log = &self.logs[number];
        let mut offset = log.start;
        while offset < log.end() {
            let next = self.fetch_at(number, offset, bytes_max).map_or(offset, |answer| answer.next_offset);
            assert!(offset < next, "the first batch comes, whatever the budget");
            offset = next;
        }
        assert_eq!(offset, log.end());
    }

    /// Returns what came, unless the fetch was refused.
    fn fetch_at(&self, number: usize, offset: Offset, bytes_max: usize) -> Option<Answer> {
        let log = &self.logs[number];
        let fetched = self.partition(number).fetch(offset, &FetchOptions::new().max_bytes(bytes_max));
        let expected = match log.fetch(offset, bytes_max) {
            Ok(expected) => expected,
            Err(kind) => {
                assert_eq!(fetched.unwrap_err().kind(), &kind);
                return None;
            }
        };
        let fetched = fetched.unwrap();
        assert_eq!((fetched.len(), fetched.next_offset()), (expected.len, expected.next_offset));
        assert_eq!((fetched.log_start(), fetched.high_watermark()), (log.start, log.end()));
        assert_eq!(fetched.slices().map(|slice| slice.len()).sum::<usize>(), expected.len);
        compare_batches(&fetched);
        let records = fetched.decode(true).unwrap();
        assert_eq!(records.next_offset(), expected.next_offset);
        self.compare_records(number, offset, &records);
        Some(expected)
    }
}

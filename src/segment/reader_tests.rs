//! What is said to be in memory is what a fetch looks at.

use super::*;
use crate::record::{BatchBuilder, Compression};
use crate::sys::{Disk, OpenFiles, RealDisk};
use crate::types::ReadMode;

/// A segment of batches with two records of `len` bytes in all.
fn reader(count: Offset, len: usize) -> (tempfile::TempDir, SegmentReader) {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
    let place = SegmentPlace {
        disk: Arc::clone(&disk),
        open_files: OpenFiles::new(1, 1),
        dir: dir.path().into(),
        base: 0,
        index_interval: 4096,
        gaps_below: 0,
    };
    let mut content = Vec::new();
    for offset in 0..count {
        let mut builder = BatchBuilder::new();
        for _ in 0..2 {
            builder.push(1000, None, Some(&vec![7; len / 2]), std::iter::empty());
        }
        let batch = builder.finish(Compression::None, None).unwrap();
        batch[..8].copy_from_slice(&(2 * offset).to_be_bytes());
        content.extend_from_slice(batch);
    }
    let path = place.path(SegmentFile::Log);
    std::fs::write(&path, &content).unwrap();
    let end = End { offset: 2 * count, file_pos: content.len() as FilePos };
    let file = disk.open(&path, OpenMode::Read).unwrap();
    let bytes = Arc::new(FileBytes::of_whole(ReadMode::Mmap, file, end.file_pos).unwrap());
    (dir, SegmentReader::new(place, Arc::new(Readers), bytes, end, None))
}

#[track_caller]
fn assert_spans(len: usize, budget: impl Fn(&BatchHeader) -> usize) {
    let (_dir, reader) = reader(8, len);
    for offset in 0..16 {
        let (file_pos, batch) = reader.find(offset, reader.end).unwrap().unwrap();
        let (range, _) = reader.span(reader.indexes().unwrap(), offset, budget(&batch), reader.end);
        let fetched = file_pos..file_pos + batch.size() as FilePos;
        assert!(
            range.start <= fetched.start && fetched.end <= range.end,
            "a fetch of {} bytes at {offset} looks at {fetched:?}, and {range:?} is asked for",
            budget(&batch)
        );
    }
}

#[test]
fn the_span_of_small_batches_is_what_a_fetch_returns() {
    assert_spans(100, |batch| batch.size());
}

#[test]
fn the_span_of_large_batches_is_what_a_fetch_returns() {
    assert_spans(1 << 20, |batch| batch.size());
}

/// The first batch is returned whole, however few bytes were asked for.
#[test]
fn the_span_has_the_first_batch_whole() {
    assert_spans(6000, |_| 1);
}

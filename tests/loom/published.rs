//! A writer that appends, makes an index entry, raises the written end and then the visible one, as `Segment::append` and
//! `Segment::show` do; readers who load the visible end once and look below it.

#![expect(unsafe_code, reason = "cells that loom watches are what is read without a lock")]

use loom::cell::UnsafeCell;
use loom::thread;

use crate::end::{AtomicEnd, End};
use crate::sync::{Arc, Flaw};
use crate::{explore, explore_with};

/// Batches of two offsets and one byte each, in a segment whose first offset is this.
const BASE: i64 = 100;
const BATCHES: usize = 2;

struct Segment {
    bytes: [UnsafeCell<u8>; BATCHES],
    index: [UnsafeCell<u32>; BATCHES],
    /// The mapping's end, as bytes.
    published: AtomicEnd,
    written: AtomicEnd,
    visible: AtomicEnd,
}

// SAFETY: that no cell is read while it is written is what loom checks.
unsafe impl Sync for Segment {}
// SAFETY: as above.
unsafe impl Send for Segment {}

fn end(batches: usize) -> End {
    End { offset: BASE + 2 * batches as i64, file_pos: batches as u32 }
}

impl Segment {
    fn new() -> Arc<Self> {
        let ends = || AtomicEnd::new(BASE, end(0));
        Arc::new(Segment {
            bytes: [(); BATCHES].map(|()| UnsafeCell::new(0)),
            index: [(); BATCHES].map(|()| UnsafeCell::new(u32::MAX)),
            published: ends(),
            written: ends(),
            visible: ends(),
        })
    }

    fn append(&self, batch: usize) {
        // SAFETY: there is one writer, and nobody reads a batch that is not published.
        self.bytes[batch].with_mut(|byte| unsafe { *byte = 7 });
        self.published.raise(BASE, end(batch + 1));
        // SAFETY: as above.
        self.index[batch].with_mut(|entry| unsafe { *entry = batch as u32 });
        self.written.raise(BASE, end(batch + 1));
    }

    /// Reads everything below an end that was loaded once.
    fn read(&self, to: End) {
        let batches = to.file_pos as usize;
        assert_eq!(to, end(batches), "offset and position belong together");
        assert!(to.file_pos <= self.published.load(BASE).file_pos, "what can be seen is in the map");
        for batch in 0..batches {
            // SAFETY: the batch is published.
            self.bytes[batch].with(|byte| assert_eq!(unsafe { *byte }, 7));
            // SAFETY: as above.
            self.index[batch].with(|entry| assert_eq!(unsafe { *entry }, batch as u32));
        }
    }
}

/// The writer shows each batch itself, as without syncs.
fn one_writer() {
    let segment = Segment::new();
    let reader = Arc::clone(&segment);
    let reader = thread::spawn(move || {
        let first = reader.visible.load(BASE);
        reader.read(first);
        let second = reader.visible.load(BASE);
        assert!(first.file_pos <= second.file_pos, "ends do not go back");
        reader.read(second);
        assert!(second.file_pos <= reader.written.load(BASE).file_pos, "what can be seen is written");
    });
    for batch in 0..BATCHES {
        segment.append(batch);
        segment.visible.raise(BASE, end(batch + 1));
    }
    reader.join().unwrap();
}

/// Another thread shows what is written, as after a sync: the reader never met the writer.
fn shown_by_another() {
    let segment = Segment::new();
    let (reader, syncer) = (Arc::clone(&segment), Arc::clone(&segment));
    let reader = thread::spawn(move || reader.read(reader.visible.load(BASE)));
    let syncer = thread::spawn(move || syncer.visible.raise(BASE, syncer.written.load(BASE)));
    for batch in 0..BATCHES {
        segment.append(batch);
    }
    reader.join().unwrap();
    syncer.join().unwrap();
}

/// Two that show do not take back what the other has shown.
fn shown_by_two() {
    let segment = Segment::new();
    let syncer = Arc::clone(&segment);
    segment.append(0);
    let late = segment.written.load(BASE);
    let syncer = thread::spawn(move || syncer.visible.raise(BASE, late));
    segment.append(1);
    segment.visible.raise(BASE, end(2));
    assert_eq!(segment.visible.load(BASE), end(2));
    syncer.join().unwrap();
    assert_eq!(segment.visible.load(BASE), end(2));
    segment.read(end(2));
}

#[test]
fn what_a_reader_sees_is_there() {
    explore(one_writer);
}

#[test]
fn what_another_thread_shows_is_there() {
    explore(shown_by_another);
}

#[test]
fn an_end_does_not_go_back() {
    explore(shown_by_two);
}

#[test]
#[should_panic]
fn control_without_release_and_acquire_bytes_are_missing() {
    explore_with(Flaw::Relaxed, one_writer);
}

#[test]
#[should_panic]
fn control_the_order_holds_over_two_threads_only_with_release_and_acquire() {
    explore_with(Flaw::Relaxed, shown_by_another);
}

/// The end is raised before the index has its entry.
#[test]
#[should_panic]
fn control_an_end_that_is_raised_too_early() {
    explore(|| {
        let segment = Segment::new();
        let reader = Arc::clone(&segment);
        let reader = thread::spawn(move || reader.read(reader.visible.load(BASE)));
        segment.visible.raise(BASE, end(1));
        segment.append(0);
        reader.join().unwrap();
    });
}

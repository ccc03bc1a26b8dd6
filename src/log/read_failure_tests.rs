//! A device that does not give bytes, where nothing is mapped: an error of whoever reads, and of nobody else.

use std::fs;
use std::path::Path;

use super::{FetchBudget, LeftBy, Log, LogPlace, OffsetSpec, PartitionRecovery};
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{BatchBuilder, Compression};
use crate::sync::Arc;
use crate::sys::{Faults, FaultyDisk, OpenFiles};
use crate::types::{Durability, Offset, ReadMode, TopicPartition};

const RECORDS: i64 = 60;

fn open(
    dir: &Path,
    left_by: LeftBy,
    faults: &mut Option<Arc<Faults>>,
    reads: usize,
) -> Result<(Log, PartitionRecovery)> {
    let disk = FaultyDisk::default();
    *faults = Some(disk.faults());
    *disk.faults().reads_left.lock() = Some(reads);
    let config = TopicConfig::new().durability(Durability::Os).internal_segment_bytes(2000).index_interval_bytes(100);
    let place = LogPlace {
        partition: TopicPartition::new("t", 0),
        dir: dir.into(),
        disk: Arc::new(disk),
        open_files: OpenFiles::with_mode(ReadMode::Pread, 4, 4),
        usage: Arc::default(),
        reserve: Arc::default(),
        uses_reserve: false,
        config,
        gaps_below: Offset::MAX,
    };
    Log::open(place, left_by)
}

fn without_faults(dir: &Path, left_by: LeftBy) -> (Log, PartitionRecovery) {
    open(dir, left_by, &mut None, usize::MAX).unwrap()
}

fn append(log: &Log, timestamp: i64) -> Result<()> {
    let mut builder = BatchBuilder::new();
    builder.push(timestamp, None, Some(&timestamp.to_be_bytes()), std::iter::empty());
    log.append(builder.finish(Compression::None, None).unwrap(), timestamp).map(drop)
}

/// A log of a few segments that was closed, with its index files or without.
fn filled(dir: &Path, has_indexes: bool) {
    let (log, _) = without_faults(dir, LeftBy::Crash);
    (0..RECORDS).for_each(|timestamp| append(&log, timestamp).unwrap());
    log.close().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if !has_indexes && path.extension().is_some_and(|extension| extension == "index" || extension == "timeindex") {
            fs::remove_file(path).unwrap();
        }
    }
}

fn timestamps(log: &Log, bytes_max: usize) -> Result<Vec<i64>> {
    let (mut offset, mut found) = (log.log_start(), Vec::new());
    while offset < log.high_watermark() {
        let records = log.fetch(offset, FetchBudget::new(bytes_max))?.decode(true)?;
        found.extend(records.iter().map(|record| i64::from_be_bytes(record.value().unwrap().try_into().unwrap())));
        offset = records.next_offset();
    }
    Ok(found)
}

fn all() -> Vec<i64> {
    (0..RECORDS).collect()
}

#[track_caller]
fn assert_names_the_segment(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    assert!(error.to_string().contains(".log"), "{error}");
}

/// Has each read in turn fail while `read` runs on a log that was just opened; returns how many of them came out.
fn fail_each_read<T: PartialEq + std::fmt::Debug>(has_indexes: bool, read: impl Fn(&Log) -> Result<T>) -> usize {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), has_indexes);
    let expected = read(&without_faults(dir.path(), LeftBy::Close).0).unwrap();
    let mut errors = 0;
    for reads in 0.. {
        let mut faults = None;
        let (log, _) = open(dir.path(), LeftBy::Close, &mut faults, usize::MAX).unwrap();
        let faults = faults.unwrap();
        *faults.reads_left.lock() = Some(reads);
        match read(&log) {
            Ok(found) => assert_eq!(found, expected, "read {reads}"), // of an index file, which is made anew
            Err(error) => {
                assert_names_the_segment(&error);
                errors += 1;
            }
        }
        let is_over = faults.reads_left.lock().take().is_some();
        assert_eq!(read(&log).unwrap(), expected, "nothing stays behind of read {reads}");
        assert_eq!(timestamps(&log, 1000).unwrap(), all());
        append(&log, 0).unwrap(); // is not written down: the checkpoint does not know it
        drop(log);
        let (log, _) = without_faults(dir.path(), LeftBy::Crash);
        assert_eq!(log.log_end(), RECORDS + 1, "nothing was cut");
        drop(log);
        if is_over {
            return errors;
        }
        fs::remove_dir_all(dir.path()).unwrap();
        fs::create_dir(dir.path()).unwrap();
        filled(dir.path(), has_indexes);
    }
    errors
}

#[test]
fn a_fetch_says_which_file_could_not_be_read() {
    for has_indexes in [true, false] {
        let errors = fail_each_read(has_indexes, |log| {
            let fetched = log.fetch(RECORDS / 3, FetchBudget::new(200))?;
            Ok(fetched.decode(true)?.iter().map(|record| record.offset()).collect::<Vec<_>>())
        });
        assert!(errors >= 3, "the last batch before the place, the headers behind it, and the bytes: {errors}");
    }
}

#[test]
fn what_was_read_before_an_error_is_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), true);
    let mut faults = None;
    let (log, _) = open(dir.path(), LeftBy::Close, &mut faults, usize::MAX).unwrap();
    let faults = faults.unwrap();
    assert_eq!(log.fetch(0, FetchBudget::new(100_000)).unwrap().next_offset(), RECORDS);
    for reads in 0..4 {
        *faults.reads_left.lock() = Some(reads);
        match log.fetch(0, FetchBudget::new(100_000)) {
            Ok(fetched) => assert!(fetched.next_offset() < RECORDS && !fetched.is_empty()),
            Err(error) => assert_names_the_segment(&error),
        }
        *faults.reads_left.lock() = None;
    }
}

#[test]
fn a_look_up_by_time_says_which_file_could_not_be_read() {
    for (spec, has_indexes) in [
        (OffsetSpec::MaxTimestamp, true),
        (OffsetSpec::MaxTimestamp, false),
        (OffsetSpec::Timestamp(RECORDS / 2), true),
        (OffsetSpec::Timestamp(RECORDS / 2), false),
    ] {
        let errors = fail_each_read(has_indexes, |log| log.list_offset(spec));
        assert!(errors >= 3, "{spec:?}: {errors}");
    }
}

#[test]
fn retention_takes_nothing_because_of_a_read_that_fails() {
    fail_each_read(true, |log| {
        let removed = log.enforce_retention(RECORDS)?;
        assert_eq!(log.log_start(), 0, "{removed:?}");
        Ok(())
    });
}

/// Whatever could not be read when a log is opened, another open finds all of it.
#[test]
fn a_read_that_fails_at_the_opening_cuts_nothing() {
    for left_by in [LeftBy::Close, LeftBy::Crash] {
        let (mut opened, mut refused) = (0, 0);
        for reads in 0.. {
            let dir = tempfile::tempdir().unwrap();
            filled(dir.path(), true);
            let mut faults = None;
            let result = open(dir.path(), left_by, &mut faults, reads);
            let is_over = faults.unwrap().reads_left.lock().take().is_some();
            match result {
                Ok((log, recovery)) => {
                    opened += 1;
                    assert!(recovery.cut.is_none() && recovery.damage.is_none(), "read {reads}");
                    assert_eq!(timestamps(&log, 500).unwrap(), all());
                }
                Err(error) => {
                    refused += 1;
                    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "read {reads}: {error}");
                }
            }
            let (log, recovery) = without_faults(dir.path(), LeftBy::Crash);
            assert!(recovery.cut.is_none(), "read {reads}");
            assert_eq!(timestamps(&log, 500).unwrap(), all());
            if is_over {
                break;
            }
        }
        assert!(refused > 2, "{refused} of {opened}");
    }
}

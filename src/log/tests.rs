//! The log against a naive model, and on a disk that fails.

use std::io;
use std::path::Path;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;

use super::checkpoint::Checkpoint;
use super::{FetchBudget, Log, LogPlace};
use crate::config::TopicConfig;
use crate::error::{ErrorKind, Result};
use crate::record::{BatchBuilder, Compression};
use crate::sync::{Arc, Ordering};
use crate::sys::{Faults, FaultyDisk, RealDisk, SyncPoint};
use crate::types::{Durability, Offset, TopicPartition};

fn open(dir: &Path, config: TopicConfig) -> (Log, Arc<Faults>) {
    let disk = FaultyDisk::default();
    let faults = disk.faults();
    let place = LogPlace { disk: Arc::new(disk), ..place(dir, config) };
    (Log::open(place, super::LeftBy::Crash).unwrap().0, faults)
}

fn place(dir: &Path, config: TopicConfig) -> LogPlace {
    LogPlace {
        partition: TopicPartition::new("t", 0),
        dir: dir.into(),
        disk: Arc::new(RealDisk::default()),
        open_files: crate::sys::OpenFiles::new(4, 4),
        usage: Arc::default(),
        reserve: Arc::default(),
        uses_reserve: false,
        config,
        gaps_below: Offset::MAX,
    }
}

fn append(log: &Log, values: &[&[u8]]) -> Result<super::Appended> {
    let mut builder = BatchBuilder::new();
    values.iter().for_each(|value| {
        builder.push(1000, None, Some(value), std::iter::empty());
    });
    log.append(builder.finish(Compression::None, None).unwrap(), 1000)
}

fn values(log: &Log) -> Vec<Vec<u8>> {
    let (mut offset, end) = (log.log_start(), log.high_watermark());
    let mut values = Vec::new();
    while offset < end {
        let records = log.fetch(offset, FetchBudget::new(1 << 20)).unwrap().decode(true).unwrap();
        values.extend(records.iter().map(|record| record.value().unwrap().to_vec()));
        offset = records.next_offset();
    }
    values
}

fn fsync() -> TopicConfig {
    TopicConfig::new().durability(Durability::Fsync)
}

/// Defends D4.
#[test]
fn readers_see_a_record_only_when_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), fsync().internal_segment_bytes(300));
    for offset in 0..20 {
        append(&log, &[&[7; 50]]).unwrap();
        assert_eq!((log.high_watermark(), log.log_end()), (offset, offset + 1));
        assert!(log.fetch(offset, FetchBudget::new(1000)).unwrap().is_empty(), "between high watermark and log end");
        log.sync_to(offset + 1).unwrap();
        assert_eq!(log.high_watermark(), offset + 1);
    }
    let (log, _) = open(dir.path(), fsync());
    assert_eq!(values(&log).len(), 20);
}

#[test]
fn a_high_watermark_that_lags_over_a_roll_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), fsync().internal_segment_bytes(300));
    append(&log, &[&[7; 50]]).unwrap();
    log.sync_to(1).unwrap();
    for _ in 0..20 {
        append(&log, &[&[7; 50]]).unwrap();
        assert_eq!(log.high_watermark(), 1);
    }
    log.sync_to(21).unwrap();
    assert_eq!(values(&log).len(), 21);
}

#[test]
fn the_checkpoint_is_there_before_anything_in_a_new_segment_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync().internal_segment_bytes(300));
    for offset in 0..20 {
        append(&log, &[&[7; 50]]).unwrap();
        log.sync_to(offset + 1).unwrap();
        assert_eq!(recovery_point(dir.path()), log.view.load().active().base());
    }
    // Where the checkpoint cannot be written, what is synced is acknowledged, and the checkpoint comes later.
    while !append(&log, &[&[7; 50]]).unwrap().rolled {}
    *faults.next_rename.lock() = Some(io::ErrorKind::StorageFull);
    *faults.next_len.lock() = Some(io::ErrorKind::StorageFull); // not even over the old one
    log.sync_to(log.log_end()).unwrap();
    assert!(recovery_point(dir.path()) < log.view.load().active().base());
    log.seal_rolled().unwrap();
    assert_eq!(recovery_point(dir.path()), log.view.load().active().base());
}

fn recovery_point(dir: &Path) -> Offset {
    Checkpoint::load(&RealDisk::default(), dir).unwrap().unwrap().recovery_point
}

#[test]
fn a_fetch_behind_the_high_watermark_does_not_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), fsync().internal_segment_bytes(300));
    for end in 1..=40 {
        append(&log, &[&[7; 50]]).unwrap();
        if end == 20 {
            log.sync_to(end).unwrap();
        }
    }
    for offset in 20..=40 {
        let fetched = log.fetch(offset, FetchBudget::new(1000)).unwrap();
        assert_eq!((fetched.len(), fetched.next_offset()), (0, offset));
    }
}

/// What a power cut leaves of a log: a copy of its directory, in which `change` takes away what was not synced.
fn after_power_cut(dir: &Path, change: impl Fn(&Path)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    change(copy.path());
    copy
}

fn cut_file(path: &Path, len: u64) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

#[test]
fn a_first_segment_that_lost_all_its_bytes_ends_the_log_there() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), fsync().internal_segment_bytes(300));
    while !append(&log, &[&[7; 50]]).unwrap().rolled {}
    let crash = after_power_cut(dir.path(), |dir| cut_file(&dir.join("00000000000000000000.log"), 0));
    for _ in 0..2 {
        let (log, _) = open(crash.path(), fsync());
        assert_eq!((log.log_start(), log.log_end()), (0, 0));
    }
}

#[test]
fn no_gap_in_own_records_after_an_import() {
    let dir = tempfile::tempdir().unwrap();
    let os = || TopicConfig::new().durability(Durability::Os).internal_segment_bytes(300);
    let (log, _) = open(dir.path(), os());
    append(&log, &[&[7; 50]]).unwrap();
    log.close().unwrap();
    std::fs::remove_file(dir.path().join("thalweg-checkpoint")).unwrap(); // as it comes from elsewhere
    let (log, _) = open(dir.path(), os());
    while !append(&log, &[&[7; 50]]).unwrap().rolled {}
    append(&log, &[&[7; 50]]).unwrap();
    log.seal_rolled().unwrap();
    let active = Arc::clone(log.view.load().active());
    let half = u64::from(active.written().file_pos) / 2;
    while !append(&log, &[&[7; 50]]).unwrap().rolled {}
    let crash = after_power_cut(dir.path(), |dir| {
        cut_file(&dir.join(active.path().file_name().unwrap()), half); // whole batches, but not all
    });
    let (log, recovery) =
        Log::open(LogPlace { dir: crash.path().into(), ..log.place.clone() }, super::LeftBy::Crash).unwrap();
    assert!(recovery.cut.is_some());
    assert_eq!(values(&log).len() as Offset, log.log_end());
}

/// Defends D9.
#[test]
fn records_can_be_deleted_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync().internal_segment_bytes(300));
    for _ in 0..10 {
        append(&log, &[&[7; 200]]).unwrap();
    }
    log.sync_to(10).unwrap();
    *faults.next_create.lock() = Some(io::ErrorKind::StorageFull);
    assert_eq!(log.delete_records(5, 0).unwrap(), 5);
    assert_eq!(faults.next_create.lock().take(), None, "there was no room");
    assert_eq!(log.view.load().segments().len(), 5);
    drop(log);
    let (log, _) = open(dir.path(), fsync().internal_segment_bytes(300));
    assert_eq!((log.log_start(), values(&log).len()), (5, 5));
}

#[test]
fn where_there_is_no_room_for_a_new_segment_the_others_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync().internal_segment_bytes(300)); // with records of 1970
    for _ in 0..10 {
        append(&log, &[&[7; 200]]).unwrap();
    }
    log.sync_to(10).unwrap();
    *faults.next_create.lock() = Some(io::ErrorKind::StorageFull);
    assert_eq!(log.enforce_retention(i64::MAX).unwrap().segments, 9);
    assert_eq!(log.enforce_retention(i64::MAX).unwrap().segments, 1);
    assert_eq!((log.log_start(), log.size(), log.place.usage.bytes()), (10, 0, 0));
}

/// Defends D9.
#[test]
fn a_log_start_that_cannot_be_written_does_not_move() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync().internal_segment_bytes(300));
    for _ in 0..10 {
        append(&log, &[&[7; 200]]).unwrap();
    }
    log.sync_to(10).unwrap();
    *faults.next_rename.lock() = Some(io::ErrorKind::Other);
    log.delete_records(5, 0).unwrap_err();
    assert_eq!((log.log_start(), values(&log).len()), (0, 10));
    *faults.next_sync.lock() = Some(io::ErrorKind::Other);
    log.delete_records(5, 0).unwrap_err();
    assert_eq!((log.log_start(), values(&log).len()), (0, 10));
}

#[test]
fn what_a_crash_leaves_of_removed_segments_goes_with_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync().internal_segment_bytes(300));
    for _ in 0..10 {
        append(&log, &[&[7; 200]]).unwrap();
    }
    log.sync_to(10).unwrap();
    *faults.next_remove.lock() = Some(io::ErrorKind::Other);
    log.delete_records(5, 0).unwrap_err();
    assert_eq!(log.log_start(), 5, "the start was written before");
    drop(log);
    let (log, _) = open(dir.path(), fsync().internal_segment_bytes(300));
    assert_eq!(log.view.load().segments().len(), 10);
    assert_eq!(log.enforce_retention(0).unwrap().segments, 5);
    assert_eq!(values(&log).len(), 5);
}

/// Defends D10.
#[test]
fn a_failed_sync_is_not_tried_again_by_sealing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync().internal_segment_bytes(300));
    append(&log, &[&[7; 200]]).unwrap();
    append(&log, &[&[7; 200]]).unwrap(); // rolls
    *faults.next_sync.lock() = Some(io::ErrorKind::Other);
    log.sync_to(2).unwrap_err();
    for _ in 0..2 {
        log.seal_rolled().unwrap_err();
    }
    assert_eq!(recovery_point(dir.path()), 0);
}

#[test]
fn an_error_that_one_sync_saw_fails_the_others_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync().internal_segment_bytes(300));
    append(&log, &[&[7; 200]]).unwrap();
    let segment = Arc::clone(log.view.load().active());
    *faults.next_sync.lock() = Some(io::ErrorKind::Other);
    segment.sync(SyncPoint::Commit).unwrap_err();
    segment.sync(SyncPoint::Commit).unwrap_err();
    assert!(log.sync_to(1).is_err());
    assert_eq!(log.high_watermark(), 0);
}

#[test]
fn a_checkpoint_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), fsync().internal_segment_bytes(300));
    for _ in 0..5 {
        append(&log, &[&[7; 200]]).unwrap();
    }
    log.close().unwrap();
    log.seal_rolled().unwrap(); // asked for by the last roll, and late
    assert_eq!(recovery_point(dir.path()), 5);
    assert_eq!(Log::open(log.place.clone(), super::LeftBy::Close).unwrap().1.scanned_bytes, 0);
}

#[test]
fn a_write_that_failed_for_another_reason_than_space_is_not_tried_at_the_same_place() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync());
    append(&log, &[b"first"]).unwrap();
    *faults.next_write.lock() = Some(io::ErrorKind::Other);
    append(&log, &[b"lost"]).unwrap_err();
    let appended = append(&log, &[b"second"]).unwrap();
    assert!(appended.rolled && appended.base_offset == 1);
    *faults.next_write.lock() = Some(io::ErrorKind::StorageFull);
    append(&log, &[b"lost"]).unwrap_err();
    assert!(!append(&log, &[b"third"]).unwrap().rolled);
    log.sync_to(3).unwrap();
    assert_eq!(values(&log), [&b"first"[..], b"second", b"third"]);
}

#[test]
fn a_roll_that_fails_leaves_no_file_that_would_hide_records() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync().internal_segment_bytes(300));
    append(&log, &[&[7; 100]]).unwrap();
    *faults.next_len.lock() = Some(io::ErrorKind::OutOfMemory); // asked before the map is made
    append(&log, &[&[7; 200]]).unwrap_err();
    assert!(!dir.path().join("00000000000000000001.log").exists());
    assert!(!append(&log, &[b"fits"]).unwrap().rolled);
    assert!(append(&log, &[&[7; 200]]).unwrap().rolled);
    log.close().unwrap();
    // Even if one was left: it is not taken for the segment that holds the record.
    for left_by in [super::LeftBy::Close, super::LeftBy::Crash] {
        std::fs::write(dir.path().join("00000000000000000001.log"), b"").unwrap();
        let log = Log::open(log.place.clone(), left_by).unwrap().0;
        assert_eq!(values(&log).len(), 3);
        assert_eq!(log.fetch(1, FetchBudget::new(1)).unwrap().decode(true).unwrap().iter().next().unwrap().offset(), 1);
    }
}

/// Defends D10.
#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_what_was_visible_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync());
    append(&log, &[b"good"]).unwrap();
    log.sync_to(1).unwrap();
    append(&log, &[b"doubtful"]).unwrap();
    *faults.next_sync.lock() = Some(io::ErrorKind::Other);
    for _ in 0..2 {
        let error = log.sync_to(2).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Storage { .. }), "{error}");
        assert_eq!(error.partition(), Some(&TopicPartition::new("t", 0)));
    }
    assert!(matches!(append(&log, &[b"late"]).unwrap_err().kind(), ErrorKind::Storage { .. }));
    log.sync_to(1).unwrap(); // what was acknowledged before stays acknowledged
    assert_eq!(values(&log), [b"good"]);
    assert!(log.close().is_err());
    let (log, _) = open(dir.path(), fsync());
    assert_eq!(values(&log)[0], b"good");
    append(&log, &[b"again"]).unwrap();
}

/// Defends D11 and D12.
#[test]
fn a_failed_write_is_undone_and_the_next_one_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync());
    append(&log, &[b"first"]).unwrap();
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        *faults.next_write.lock() = Some(kind);
        assert!(append(&log, &[&[9; 5000]]).unwrap_err().is_retriable());
    }
    assert_eq!(append(&log, &[b"second"]).unwrap().base_offset, 1);
    log.close().unwrap();
    let (log, _) = open(dir.path(), fsync());
    assert_eq!(values(&log), [&b"first"[..], b"second"]);
}

#[test]
fn a_write_that_cannot_be_undone_ends_the_appends() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync());
    append(&log, &[b"first"]).unwrap();
    *faults.next_write.lock() = Some(io::ErrorKind::StorageFull);
    *faults.next_set_len.lock() = Some(io::ErrorKind::Other);
    let error = append(&log, &[&[9; 5000]]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Storage { .. }), "{error}");
    assert!(append(&log, &[b"second"]).is_err());
    drop(log);
    let (log, _) = open(dir.path(), fsync());
    assert_eq!(values(&log), [b"first"], "the torn end was cut");
}

#[test]
fn a_roll_that_fails_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync().internal_segment_bytes(300));
    append(&log, &[&[7; 200]]).unwrap();
    *faults.next_create.lock() = Some(io::ErrorKind::StorageFull);
    assert!(append(&log, &[&[7; 200]]).unwrap_err().is_retriable());
    let appended = append(&log, &[&[7; 200]]).unwrap();
    assert!(appended.rolled && appended.base_offset == 1);
    log.sync_to(2).unwrap();
    assert_eq!(values(&log).len(), 2);
}

#[test]
fn those_who_wait_share_a_sync() {
    const WAITERS: i64 = 16;
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync());
    let before = faults.syncs.load(Ordering::SeqCst);
    faults.hold_syncs();
    thread::scope(|scope| {
        append(&log, &[b"first"]).unwrap();
        scope.spawn(|| log.sync_to(1).unwrap());
        while faults.syncs.load(Ordering::SeqCst) == before {
            thread::yield_now(); // until the first sync is under way
        }
        for offset in 1..=WAITERS {
            append(&log, &[b"more"]).unwrap();
            let log = &log;
            scope.spawn(move || log.sync_to(offset + 1).unwrap());
        }
        faults.release();
    });
    assert_eq!(log.durable(), WAITERS + 1);
    assert_eq!(faults.syncs.load(Ordering::SeqCst) - before, 2, "one for the first, one for all the others");
}

/// Defends D10.
#[test]
fn a_failed_sync_fails_all_who_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), fsync());
    *faults.next_sync.lock() = Some(io::ErrorKind::Other);
    faults.hold_syncs();
    thread::scope(|scope| {
        for _ in 0..8 {
            append(&log, &[b"doubtful"]).unwrap();
        }
        let threads: Vec<_> = (1..=8)
            .map(|end| {
                scope.spawn({
                    let log = &log;
                    move || log.sync_to(end)
                })
            })
            .collect();
        faults.release();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap().is_err()));
    });
}

#[test]
fn a_segment_rolls_by_record_time() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), fsync().segment_age(std::time::Duration::from_millis(100)));
    let append_at = |timestamp| {
        let mut builder = BatchBuilder::new();
        builder.push(timestamp, None, Some(b"v"), std::iter::empty());
        log.append(builder.finish(Compression::None, None).unwrap(), 0).unwrap().rolled
    };
    let rolls: Vec<_> = [1000, 1100, 1101, 1050, 1201, 1202].map(append_at).into();
    assert_eq!(rolls, [false, false, true, false, false, true], "strictly more than segment.ms behind the first batch");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every fetch against the naive rule: batches in a row from the one that holds the offset, as long as they fit.
    #[test]
    fn a_fetch_is_what_a_walk_over_all_batches_gives(
        batches in vec((1..5usize, 1..300usize), 1..60),
        segment_bytes in 600..5000u64,
        interval in prop_oneof![Just(0), 1..2000u64],
        budgets in vec(0..6000usize, 1..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let config = TopicConfig::new().durability(Durability::Os);
        let (log, _) = open(dir.path(), config.internal_segment_bytes(segment_bytes).index_interval_bytes(interval));
        let mut model: Vec<(Offset, Offset, usize)> = Vec::new();
        for (count, len) in &batches {
            let value = vec![3; *len / count];
            let appended = append(&log, &vec![value.as_slice(); *count]);
            let size = log.size() as usize - model.iter().map(|(_, _, size)| size).sum::<usize>();
            if let Ok(appended) = appended {
                model.push((appended.base_offset, appended.end, size));
            }
        }
        let log_end = model.last().map_or(0, |(_, end, _)| *end);
        for offset in 0..log_end {
            for budget in &budgets {
                for at_least_one in [true, false] {
                    let fetched = log.fetch(offset, FetchBudget { at_least_one, ..FetchBudget::new(*budget) }).unwrap();
                    let (mut len, mut next_offset) = (0, offset);
                    for (at, (_, end, size)) in model.iter().filter(|(_, end, _)| offset < *end).enumerate() {
                        if len + size > *budget && !(at_least_one && at == 0) {
                            break;
                        }
                        (len, next_offset) = (len + size, *end);
                    }
                    prop_assert_eq!((fetched.len(), fetched.next_offset()), (len, next_offset), "{} {}", offset, budget);
                    let records = fetched.decode(true).unwrap();
                    prop_assert!(records.iter().map(|record| record.offset()).eq(offset..next_offset.max(offset)));
                }
            }
        }
    }
}

#[test]
fn a_checkpoint_keeps_short_what_is_read_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let os = || TopicConfig::new().durability(Durability::Os).segment_bytes(64 << 20);
    let (log, _) = open(dir.path(), os());
    for _ in 0..6 {
        append(&log, &[&[7; 1_000_000]]).unwrap();
    }
    log.checkpoint().unwrap();
    assert_eq!(recovery_point(dir.path()), 6);
    append(&log, &[&[8; 100]]).unwrap();
    log.checkpoint().unwrap();
    assert_eq!(recovery_point(dir.path()), 6, "not worth a sync");
    drop(log); // as a kill leaves it
    let place = place(dir.path(), os());
    let (log, recovery) = Log::open(place, super::LeftBy::Crash).unwrap();
    assert!((1..1000).contains(&recovery.scanned_bytes), "{}", recovery.scanned_bytes);
    assert_eq!((log.log_end(), values(&log).len()), (7, 7));
    assert_eq!(values(&log)[6], [8; 100]);
}

#[test]
fn the_clock_rolls_where_it_is_asked_to() {
    for (on, rolls) in [(false, false), (true, true)] {
        let dir = tempfile::tempdir().unwrap();
        let config = fsync().segment_age(std::time::Duration::from_millis(50)).segment_roll_timer(on);
        let (log, _) = open(dir.path(), config);
        assert!(!log.roll_by_clock(1_000_000).unwrap(), "an empty segment stays");
        append(&log, &[b"a"]).unwrap(); // at 1000
        assert!(!log.roll_by_clock(1050).unwrap());
        assert_eq!(log.roll_by_clock(1051).unwrap(), rolls);
        assert!(!log.roll_by_clock(9999).unwrap());
        assert_eq!(log.view.load().segments().len(), if rolls { 2 } else { 1 });
        log.sync_to(1).unwrap();
        log.seal_rolled().unwrap();
        assert_eq!(values(&log), [b"a"]);
    }
}

/// Somebody reads the log while its owner ends and the disk is full: nothing has to be written to open it again.
#[test]
fn a_log_that_is_read_opens_on_a_full_disk() {
    use crate::sys::{Disk, FileBytes, OpenMode};
    use crate::types::ReadMode;

    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), fsync());
    append(&log, &[&[7; 20_000]]).unwrap();
    log.sync_to(1).unwrap();
    drop(log);
    let file = RealDisk::default().open(&dir.path().join("00000000000000000000.log"), OpenMode::Read).unwrap();
    let reader = FileBytes::of_whole(ReadMode::Mmap, Arc::clone(&file), 20_000).unwrap();
    assert!(reader.mapped(0..20_000).unwrap().iter().map(|byte| u64::from(*byte)).sum::<u64>() > 0);
    if file.drop_cache().unwrap() {
        return println!("skipped: this file system has no device, or no cache that could be asked");
    }
    let disk = FaultyDisk::default();
    *disk.faults().next_create.lock() = Some(io::ErrorKind::StorageFull); // for the copy
    let opened = Log::open(LogPlace { disk: Arc::new(disk), ..place(dir.path(), fsync()) }, super::LeftBy::Crash);
    let is_left = dir.path().join("thalweg.tmp").exists();
    assert!(!is_left, "the beginning of a copy takes what room there is");
    assert_eq!(opened.unwrap().0.high_watermark(), 1);
}

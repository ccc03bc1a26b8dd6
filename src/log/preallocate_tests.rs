//! Room that is reserved behind the batches of the active segment: at every moment of its life, and after an end there.

use std::io;
use std::path::Path;

use super::checkpoint::Checkpoint;
use super::{FetchBudget, LeftBy, Log, LogPlace, PartitionRecovery};
use crate::config::TopicConfig;
use crate::error::{ErrorKind, Result};
use crate::record::{BatchBuilder, Compression};
use crate::segment::{SegmentFile, segment_path};
use crate::sync::{Arc, Ordering};
use crate::sys::{Disk, Faults, FaultyDisk, OpenFiles, RealDisk};
use crate::types::{Durability, Offset, TopicPartition};

const CAPACITY: u64 = 1000;

fn config() -> TopicConfig {
    TopicConfig::new().internal_segment_bytes(CAPACITY).preallocate(true)
}

fn place(dir: &Path, disk: Arc<dyn Disk>, config: TopicConfig) -> LogPlace {
    let (partition, open_files) = (TopicPartition::new("t", 0), OpenFiles::new(4, 4));
    LogPlace {
        partition,
        dir: dir.into(),
        disk,
        open_files,
        usage: Arc::default(),
        reserve: Arc::default(),
        uses_reserve: false,
        config,
        gaps_below: Offset::MAX,
    }
}

fn open(dir: &Path, config: TopicConfig) -> (Log, Arc<Faults>) {
    let disk = FaultyDisk::default();
    let faults = disk.faults();
    let (log, recovery) = Log::open(place(dir, Arc::new(disk), config), LeftBy::Crash).unwrap();
    assert!(recovery.cut.is_none() && recovery.damage.is_none(), "{recovery:?}");
    (log, faults)
}

/// Opens what was left, with the real disk.
fn open_left(dir: &Path, config: TopicConfig, left_by: LeftBy) -> (Log, PartitionRecovery) {
    Log::open(place(dir, Arc::new(RealDisk::default()), config), left_by).unwrap()
}

fn value(offset: Offset) -> Vec<u8> {
    vec![offset as u8 + 1; 200]
}

fn append(log: &Log, value: &[u8]) -> Result<super::Appended> {
    let mut builder = BatchBuilder::new();
    builder.push(1000, None, Some(value), std::iter::empty());
    log.append(builder.finish(Compression::None, None).unwrap(), 1000)
}

/// Appends the values of the next `count` offsets.
fn fill(log: &Log, count: usize) {
    for _ in 0..count {
        append(log, &value(log.log_end())).unwrap();
    }
}

fn values(log: &Log) -> Vec<Vec<u8>> {
    let (mut offset, mut values) = (log.log_start(), Vec::new());
    while offset < log.high_watermark() {
        let records = log.fetch(offset, FetchBudget::new(300)).unwrap().decode(true).unwrap();
        values.extend(records.iter().map(|record| record.value().unwrap().to_vec()));
        offset = records.next_offset();
    }
    values
}

fn check_values(log: &Log, count: Offset) {
    assert_eq!(values(log), (0..count).map(value).collect::<Vec<_>>());
}

fn lens(dir: &Path) -> Vec<u64> {
    let entries = RealDisk::default().list(dir).unwrap();
    entries.iter().filter(|entry| entry.name.ends_with(".log")).map(|entry| entry.len).collect()
}

fn sizes(log: &Log) -> Vec<u64> {
    log.view.load().segments().iter().map(|segment| u64::from(segment.written().file_pos)).collect()
}

fn copy(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in RealDisk::default().list(dir).unwrap() {
        std::fs::copy(dir.join(&entry.name), copy.path().join(&entry.name)).unwrap();
    }
    copy
}

/// Writes `bytes` into the segment at offset 0.
fn write_at(dir: &Path, bytes: &[u8], pos: u64) {
    let path = segment_path(dir, 0, SegmentFile::Log);
    RealDisk::default().open(&path, crate::sys::OpenMode::Write).unwrap().write_at(bytes, pos).unwrap();
}

#[test]
fn the_active_file_is_as_long_as_it_may_become_and_the_others_as_long_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), config());
    assert_eq!(lens(dir.path()), [0], "a partition that nobody uses takes no room");
    fill(&log, 1);
    assert_eq!((lens(dir.path()), log.size()), (vec![CAPACITY], sizes(&log)[0]));
    fill(&log, 3);
    assert_eq!(lens(dir.path()), [CAPACITY, CAPACITY], "rolled and not sealed");
    log.seal_rolled().unwrap();
    assert_eq!(lens(dir.path()), [sizes(&log)[0], CAPACITY]);
    log.close().unwrap();
    assert_eq!(lens(dir.path()), sizes(&log));
    let (log, recovery) = open_left(dir.path(), config(), LeftBy::Close);
    assert_eq!((recovery.scanned_bytes, lens(dir.path())), (0, sizes(&log)));
    fill(&log, 1);
    assert_eq!(lens(dir.path()), [sizes(&log)[0], CAPACITY], "opened again");
    log.sync_to(5).unwrap();
    check_values(&log, 5);
}

#[test]
fn a_kill_at_any_moment_loses_nothing_and_reports_nothing() {
    for durability in [Durability::Os, Durability::Fsync] {
        let dir = tempfile::tempdir().unwrap();
        let config = config().durability(durability);
        let (mut log, _) = open(dir.path(), config.clone());
        let check = |end: Offset| {
            let left = copy(dir.path());
            let (log, recovery) = open_left(left.path(), config.clone(), LeftBy::Crash);
            assert!(recovery.cut.is_none() && recovery.damage.is_none(), "{recovery:?}");
            assert_eq!((lens(left.path()), log.log_end()), (sizes(&log), end));
            check_values(&log, end);
            fill(&log, 5);
            log.close().unwrap();
            let (log, recovery) = open_left(left.path(), config.clone(), LeftBy::Close);
            assert_eq!(recovery.scanned_bytes, 0);
            check_values(&log, end + 5);
        };
        for end in 1..=30 {
            fill(&log, 1);
            check(end);
            match end % 5 {
                1 => log.seal_rolled().unwrap(),
                2 => log.sync_to(end).unwrap(),
                3 if end % 2 == 0 => {
                    log.close().unwrap();
                    check(end);
                    log = open_left(dir.path(), config.clone(), LeftBy::Close).0;
                }
                _ => {}
            }
            check(end);
        }
    }
}

/// The process ends at every single operation that changes something.
///
/// Defends D1.
#[test]
fn an_end_at_any_operation_keeps_what_was_promised() {
    let mut ends = 0;
    for stop in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let (log, faults) = open(dir.path(), config());
        faults.breaks.store(true, Ordering::SeqCst);
        *faults.changes_left.lock() = Some(stop);
        let mut promised = 0;
        for offset in 0..12 {
            if append(&log, &value(offset)).is_err() || log.sync_to(offset + 1).is_err() {
                break;
            }
            promised = offset + 1;
        }
        let closed = log.close().is_ok();
        drop(log);
        for _ in 0..2 {
            let (log, recovery) = open_left(dir.path(), config(), LeftBy::Crash);
            assert!(recovery.damage.is_none() && promised <= log.log_end(), "{stop}: {recovery:?}");
            check_values(&log, log.log_end());
            assert_eq!(lens(dir.path()), sizes(&log), "{stop}");
        }
        ends += 1;
        if closed && promised == 12 {
            break;
        }
    }
    assert!(ends > 50, "{ends}");
}

#[test]
fn a_disk_without_the_room_refuses_the_append_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), config());
    let refused = |offset| {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let before = lens(dir.path());
            *faults.next_reserve.lock() = Some(kind);
            let error = append(&log, &value(offset)).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::StorageFull), "{error}");
            assert_eq!(lens(dir.path()), before);
        }
    };
    refused(0);
    fill(&log, 3);
    log.seal_rolled().unwrap();
    refused(3); // has to roll
    fill(&log, 1);
    assert_eq!(lens(dir.path()), [sizes(&log)[0], CAPACITY].map(|len| len.max(CAPACITY)));
    log.close().unwrap();
    check_values(&log, 4);
}

#[test]
fn a_file_system_without_the_means_does_without() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), config());
    faults.reserves_nothing.store(true, Ordering::SeqCst);
    for end in 1..=8 {
        fill(&log, 1);
        assert!(lens(dir.path()).iter().all(|len| *len <= CAPACITY), "zeros that were written ahead");
        log.sync_to(end).unwrap();
    }
    check_values(&log, 8);
}

/// Defends D12 and D15.
#[test]
fn a_failed_write_gives_its_room_back_and_its_bytes_do_not_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), config());
    fill(&log, 1);
    *faults.next_write.lock() = Some(io::ErrorKind::StorageFull);
    append(&log, &[9; 600]).unwrap_err();
    assert_eq!(lens(dir.path()), sizes(&log));
    let half = copy(dir.path());
    fill(&log, 1);
    log.sync_to(2).unwrap();
    check_values(&log, 2);
    drop(log);
    let (log, recovery) = open_left(dir.path(), config(), LeftBy::Crash);
    assert!(recovery.cut.is_none());
    check_values(&log, 2);

    // The power went before the length was durable: the half batch is there again, and so is the room.
    let size = lens(half.path())[0];
    write_at(half.path(), &std::fs::read(segment_path(dir.path(), 0, SegmentFile::Log)).unwrap()[..150], size);
    write_at(half.path(), &[0], CAPACITY - 1);
    let (log, _) = open_left(half.path(), config(), LeftBy::Crash);
    assert_eq!((log.log_end(), lens(half.path())), (1, vec![size]));
    check_values(&log, 1);
}

#[test]
fn a_torn_batch_in_a_large_room_is_cut_and_no_room_is_kept() {
    let large = config().internal_segment_bytes(1 << 20);
    let whole = tempfile::tempdir().unwrap();
    let (log, _) = open(whole.path(), large.clone());
    append(&log, &[7; 10_000]).unwrap();
    let size = sizes(&log)[0] as usize;
    append(&log, &[8; 10_000]).unwrap();
    let bytes = std::fs::read(segment_path(whole.path(), 0, SegmentFile::Log)).unwrap();
    for (written, flipped) in [(size + 100, None), (15_000, None), (2 * size, Some(size + 5000))] {
        let left = copy(whole.path());
        write_at(left.path(), &vec![0; 2 * size - written], written as u64);
        if let Some(at) = flipped {
            write_at(left.path(), &[!bytes[at]], at as u64);
        }
        let (log, recovery) = open_left(left.path(), large.clone(), LeftBy::Crash);
        let cut = recovery.cut.unwrap();
        let expected = written.next_multiple_of(4096) - size;
        assert_eq!((cut.bytes, log.log_end(), lens(left.path())), (expected as u64, 1, vec![size as u64]));
        let kept: Vec<_> = cut.kept_in.iter().map(|path| std::fs::metadata(path).unwrap().len()).collect();
        assert_eq!(kept, flipped.map(|_| expected as u64).as_slice(), "{written}");
        assert_eq!(recovery.scanned_bytes, written.next_multiple_of(4096) as u64);
    }
}

#[test]
fn segments_behind_a_cut_that_have_only_room_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), config());
    fill(&log, 3);
    log.roll(&mut log.writer.lock()).unwrap(); // durable by chance
    drop(log);
    let half = sizes_of_first(dir.path()) / 2;
    write_at(dir.path(), &vec![0; (CAPACITY - half) as usize], half);
    let (log, recovery) = open_left(dir.path(), config(), LeftBy::Crash);
    assert_eq!((log.log_end(), recovery.cut.unwrap().kept_in.len()), (1, 0));
    assert_eq!(lens(dir.path()), sizes(&log));
}

/// Bytes of three batches.
fn sizes_of_first(dir: &Path) -> u64 {
    let left = copy(dir);
    sizes(&open_left(left.path(), config(), LeftBy::Crash).0)[0]
}

#[test]
fn a_file_that_cannot_be_trimmed_keeps_the_recovery_point_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open(dir.path(), config());
    fill(&log, 4);
    let recovery_point = || Checkpoint::load(&RealDisk::default(), dir.path()).unwrap().unwrap().recovery_point;
    *faults.next_set_len.lock() = Some(io::ErrorKind::StorageFull);
    log.seal_rolled().unwrap_err();
    assert_eq!((recovery_point(), lens(dir.path())), (0, vec![CAPACITY, CAPACITY]));
    *faults.next_set_len.lock() = Some(io::ErrorKind::Other);
    log.sync_to(4).unwrap(); // what is promised does not depend on it
    let copied = copy(dir.path());
    let (left, recovery) = open_left(copied.path(), config(), LeftBy::Crash);
    assert!(recovery.cut.is_none());
    check_values(&left, 4);
    log.seal_rolled().unwrap();
    assert_eq!((recovery_point(), lens(dir.path())), (3, vec![sizes(&log)[0], CAPACITY]));
    fill(&log, 1);
    log.close().unwrap();
    check_values(&log, 5);
}

#[test]
fn a_roll_before_the_first_append_after_a_close_leaves_no_room_below_the_recovery_point() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), config());
    fill(&log, 3);
    log.close().unwrap();
    let (log, _) = open_left(dir.path(), config(), LeftBy::Close);
    fill(&log, 1); // rolls: nothing more goes to the segment that was closed
    assert_eq!(lens(dir.path()), [sizes(&log)[0], CAPACITY]);
    // Even if it had got its room, by a write that failed and a power cut: recovery begins there.
    let left = copy(dir.path());
    write_at(left.path(), &[0], CAPACITY - 1);
    let (log, recovery) = open_left(left.path(), config(), LeftBy::Crash);
    assert!(recovery.cut.is_none());
    assert_eq!(lens(left.path()), sizes(&log));
    check_values(&log, 4);
}

#[test]
fn the_setting_can_change_while_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let plain = config().preallocate(false).durability(Durability::Os);
    let (log, _) = open(dir.path(), config());
    fill(&log, 1);
    log.alter(&Arc::new(plain.clone()));
    fill(&log, 3);
    assert_eq!(lens(dir.path()), [CAPACITY, sizes(&log)[1]]);
    log.alter(&Arc::new(config()));
    fill(&log, 3);
    log.seal_rolled().unwrap();
    assert_eq!(lens(dir.path()), [&sizes(&log)[..2], &[CAPACITY]].concat());
    // Zeros at the end of a log are room, whatever its topic does now.
    let (log, recovery) = open_left(dir.path(), plain, LeftBy::Crash);
    assert!(recovery.cut.is_none());
    assert_eq!(lens(dir.path()), sizes(&log));
    check_values(&log, 7);
}

/// Touching a byte that the owner has cut off would end the process.
#[test]
fn who_only_reads_never_touches_room() {
    let large = config().internal_segment_bytes(20_000).durability(Durability::Os);
    let dir = tempfile::tempdir().unwrap();
    let (owner, _) = open(dir.path(), large.clone());
    fill(&owner, 1);
    let early = Log::open_read_only(place(dir.path(), Arc::new(RealDisk::default()), large.clone())).unwrap();
    check_values(&early, 1);
    fill(&owner, 9);
    owner.roll(&mut owner.writer.lock()).unwrap();
    fill(&owner, 10);
    early.refresh().unwrap();
    let late = Log::open_read_only(place(dir.path(), Arc::new(RealDisk::default()), large.clone())).unwrap();
    assert_eq!(lens(dir.path()), [20_000, 20_000]);
    check_values(&late, 20); // maps both
    owner.seal_rolled().unwrap();
    fill(&owner, 10);
    owner.roll(&mut owner.writer.lock()).unwrap();
    owner.close().unwrap();
    assert_eq!(lens(dir.path()), sizes(&owner));
    for log in [&early, &late] {
        log.refresh().unwrap();
        check_values(log, 30);
        assert_eq!(sizes(log), sizes(&owner));
    }
}

#[test]
fn a_close_trims_what_a_checkpoint_has_spoken_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), config().internal_segment_bytes(20 << 20));
    for _ in 0..5 {
        append(&log, &[7; 1_000_000]).unwrap();
    }
    log.checkpoint().unwrap();
    for appended in [5, 5] {
        assert_eq!(lens(dir.path()).last(), Some(&(20 << 20)));
        log.close().unwrap();
        assert_eq!(lens(dir.path()), sizes(&log));
        let (again, recovery) = open_left(dir.path(), config().internal_segment_bytes(20 << 20), LeftBy::Close);
        assert_eq!((recovery.scanned_bytes, again.log_end()), (0, appended));
        // An empty active segment, of which a checkpoint speaks as well.
        again.roll(&mut again.writer.lock()).unwrap();
        again.seal_rolled().unwrap();
        log = again;
    }
}

#[test]
fn room_behind_the_place_of_a_checkpoint_is_not_a_reason_to_read_all() {
    let large = config().internal_segment_bytes(20 << 20).durability(Durability::Os);
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), large.clone());
    for _ in 0..5 {
        append(&log, &[7; 1_000_000]).unwrap();
    }
    log.checkpoint().unwrap();
    let (log, recovery) = open_left(copy(dir.path()).path(), large, LeftBy::Crash);
    assert_eq!((recovery.scanned_bytes, log.log_end(), recovery.cut.is_none()), (0, 5, true));
}

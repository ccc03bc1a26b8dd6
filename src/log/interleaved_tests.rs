//! What happens in between: a disk that does something while the log looks at it, and two logs over one directory.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{FetchBudget, Log, LogPlace, OffsetSpec};
use crate::config::TopicConfig;
use crate::record::{BatchBuilder, Compression};
use crate::sync::{Arc, Mutex, Ordering};
use crate::sys::{Disk, DiskEntry, DiskFile, Faults, FaultyDisk, OpenFiles, OpenMode, RealDisk, SyncPoint};
use crate::types::{Durability, Offset, Timestamp, TopicPartition};

type Hook = Mutex<Option<Box<dyn FnOnce() + Send>>>;

#[derive(Default)]
struct Hooks {
    in_list: Hook,
    after_modified: Hook,
    fail_open_of: Mutex<Option<&'static str>>,
}

#[derive(Default, Clone)]
struct HookDisk(Arc<Hooks>);
impl std::fmt::Debug for HookDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookDisk")
    }
}
fn call(hook: &Hook) {
    let hook = hook.lock().take();
    if let Some(hook) = hook {
        hook()
    }
}
impl Disk for HookDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk::default().create_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        let before = RealDisk::default().list(dir)?; // readdir has given these, and their lengths were asked for
        call(&self.0.in_list);
        let mut after = RealDisk::default().list(dir)?; // the rest of readdir
        for entry in &mut after {
            if let Some(old) = before.iter().find(|old| old.name == entry.name) {
                *entry = old.clone();
            }
        }
        Ok(after)
    }
    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk::default().names(dir)
    }
    fn entry(&self, path: &Path) -> io::Result<DiskEntry> {
        RealDisk::default().entry(path)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut fail = self.0.fail_open_of.lock();
        if fail.is_some_and(|name| path.ends_with(name)) {
            *fail = None;
            return Err(io::Error::from_raw_os_error(24));
        }
        drop(fail);
        Ok(Arc::new(HookFile(RealDisk::default().open(path, mode)?, self.clone())))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk::default().rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk::default().remove_file(path)
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk::default().remove_dir(dir)
    }
    fn sync_dir(&self, dir: &Path, point: SyncPoint) -> io::Result<()> {
        RealDisk::default().sync_dir(dir, point)
    }
}
#[derive(Debug)]
struct HookFile(Arc<dyn DiskFile>, HookDisk);
impl DiskFile for HookFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn modified(&self) -> io::Result<Timestamp> {
        let modified = self.0.modified();
        call(&self.1.0.after_modified);
        modified
    }
    fn read_at(&self, buffer: &mut [u8], pos: u64) -> io::Result<usize> {
        self.0.read_at(buffer, pos)
    }
    fn write_at(&self, bytes: &[u8], pos: u64) -> io::Result<()> {
        self.0.write_at(bytes, pos)
    }
    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        self.0.sync(point)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn drop_cache(&self) -> io::Result<bool> {
        self.0.drop_cache()
    }
    fn reserve(&self, len: u64) -> io::Result<bool> {
        self.0.reserve(len)
    }
    fn as_file(&self) -> &File {
        self.0.as_file()
    }
}

fn place(disk: Arc<dyn Disk>, dir: &Path, config: TopicConfig) -> LogPlace {
    LogPlace {
        partition: TopicPartition::new("t", 0),
        dir: dir.into(),
        disk,
        open_files: OpenFiles::new(4, 4),
        usage: Arc::default(),
        reserve: Arc::default(),
        uses_reserve: false,
        config,
        gaps_below: Offset::MAX,
    }
}
fn os() -> TopicConfig {
    TopicConfig::new().durability(Durability::Os)
}
fn faulty(dir: &Path, config: TopicConfig) -> (LogPlace, Arc<Faults>) {
    let disk = FaultyDisk::default();
    let faults = disk.faults();
    (place(Arc::new(disk), dir, config), faults)
}
fn append_at(log: &Log, timestamp: Timestamp, value: &[u8]) -> Offset {
    let mut builder = BatchBuilder::new();
    builder.push(timestamp, None, Some(value), std::iter::empty());
    log.append(builder.finish(Compression::None, None).unwrap(), 1000).unwrap().base_offset
}
fn open(place: &LogPlace) -> Log {
    Log::open(place.clone(), super::LeftBy::Crash).unwrap().0
}
fn read_all(log: &Log) -> Vec<Offset> {
    let (mut at, mut all) = (log.log_start(), Vec::new());
    loop {
        let fetched = log.fetch(at, FetchBudget::new(1 << 20)).unwrap();
        let records = fetched.decode(true).unwrap();
        all.extend(records.iter().map(|record| record.offset()));
        if records.next_offset() == at {
            return all;
        }
        at = records.next_offset();
    }
}

#[test]
fn retention_keeps_what_was_appended_after_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let disk = HookDisk::default();
    let config = os().retention(Some(std::time::Duration::from_millis(1000)));
    let log = Arc::new(open(&place(Arc::new(disk.clone()), dir.path(), config)));
    append_at(&log, -1, b"old");
    let owner = Arc::clone(&log);
    *disk.0.after_modified.lock() = Some(Box::new(move || {
        assert_eq!(append_at(&owner, 1 << 50, b"fresh"), 1);
    }));
    log.enforce_retention(1 << 50).unwrap(); // far in the future: `old` is old, `fresh` is from now
    assert_eq!((log.log_start(), read_all(&log)), (0, vec![0, 1]), "the segment stays that is appended to");
}

#[test]
fn a_short_time_index_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(Arc::new(RealDisk::default()), dir.path(), os().index_interval_bytes(0));
    let log = open(&place);
    for timestamp in [10, 500, 1000, 20] {
        append_at(&log, timestamp, b"x");
    }
    let asked = |log: &Log| {
        let of = |spec| log.list_offset(spec).unwrap().map(|found| found.offset);
        (of(OffsetSpec::Timestamp(700)), of(OffsetSpec::MaxTimestamp))
    };
    assert_eq!(asked(&log), (Some(2), Some(2)));
    log.close().unwrap();
    let path = dir.path().join("00000000000000000000.timeindex");
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 24);
    std::fs::write(&path, &bytes[..12]).unwrap();
    let (log, _) = Log::open(place, super::LeftBy::Close).unwrap();
    assert_eq!(asked(&log), (Some(2), Some(2)), "rebuilt when short");
}

#[test]
fn a_wrong_time_index_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(Arc::new(RealDisk::default()), dir.path(), os().index_interval_bytes(0));
    let log = open(&place);
    for timestamp in 1..=10 {
        append_at(&log, timestamp * 100, b"x");
    }
    let asked = |log: &Log| log.list_offset(OffsetSpec::Timestamp(450)).unwrap().map(|found| found.offset);
    assert_eq!(asked(&log), Some(4));
    log.close().unwrap();
    let path = dir.path().join("00000000000000000000.timeindex");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.chunks(12).position(|e| e[..8] == 600i64.to_be_bytes()).unwrap();
    bytes[at * 12 + 11] = 5;
    let at4 = bytes.chunks(12).position(|e| e[..8] == 400i64.to_be_bytes()).unwrap();
    bytes[at4 * 12 + 11] = 5;
    let at5 = bytes.chunks(12).position(|e| e[..8] == 500i64.to_be_bytes()).unwrap();
    bytes[at5 * 12 + 11] = 5;
    std::fs::write(&path, &bytes).unwrap();
    let (log, _) = Log::open(place, super::LeftBy::Close).unwrap();
    assert_eq!(asked(&log), Some(4), "rebuilt when it disagrees with the log");
}

#[test]
fn a_record_is_found_by_time_while_others_are_appended() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&place(Arc::new(RealDisk::default()), dir.path(), os().index_interval_bytes(200)));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let end = log.high_watermark();
                    if end > 0 {
                        let found = log.list_offset(OffsetSpec::Timestamp(end - 1)).unwrap();
                        if found.map(|found| found.offset) != Some(end - 1) {
                            done.store(true, Ordering::SeqCst);
                            panic!("record {} is there and was not found: {found:?}", end - 1);
                        }
                    }
                }
            });
        }
        for timestamp in 0..60_000 {
            if done.load(Ordering::SeqCst) {
                break;
            }
            append_at(&log, timestamp, b"x");
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_cut_that_was_cut_short_raises_the_epoch_all_the_same() {
    for changes in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let (place, _) = faulty(dir.path(), os());
        let log = open(&place);
        for _ in 0..10 {
            append_at(&log, 5, &[7; 50]);
        }
        drop(log);
        let path = dir.path().join("00000000000000000000.log");
        let len = std::fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(len - 5).unwrap(); // power loss, mode os
        let (place, faults) = faulty(dir.path(), os());
        *faults.changes_left.lock() = Some(changes);
        faults.breaks.store(true, Ordering::SeqCst);
        let _ = Log::open(place, super::LeftBy::Crash);
        let (place, _) = faulty(dir.path(), os());
        let log = open(&place);
        assert_eq!(log.log_end(), 9);
        assert!((1..=2).contains(&log.leader_epoch), "crash after {changes} changes");
    }
}

#[test]
fn a_follower_does_not_try_a_failed_sync_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = os().durability(Durability::Fsync);
    let log = open(&place(Arc::new(RealDisk::default()), dir.path(), config.clone()));
    let (place, faults) = faulty(dir.path(), config);
    let reader = Log::open_read_only(place).unwrap();
    append_at(&log, 5, b"x");
    *faults.next_sync.lock() = Some(io::ErrorKind::Other);
    reader.refresh().unwrap_err();
    let _ = reader.refresh();
    assert_eq!(reader.high_watermark(), 0, "what a failed sync was for stays hidden");
}

#[test]
fn damage_in_a_followed_segment_is_not_passed_over_at_the_roll() {
    let dir = tempfile::tempdir().unwrap();
    let config = os().internal_segment_bytes(2000);
    let log = open(&place(Arc::new(RealDisk::default()), dir.path(), config.clone()));
    let reader = Log::open_read_only(place(Arc::new(RealDisk::default()), dir.path(), config)).unwrap();
    append_at(&log, 5, &[7; 50]);
    let pos = log.size();
    for _ in 0..5 {
        append_at(&log, 5, &[7; 50]);
    }
    let file = File::options().write(true).open(dir.path().join("00000000000000000000.log")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[8], pos + 100).unwrap(); // rot in the second batch
    reader.refresh().unwrap();
    assert_eq!(reader.high_watermark(), 1);
    for _ in 0..20 {
        append_at(&log, 5, &[7; 50]); // rolls
    }
    reader.refresh().unwrap();
    let (mut at, mut seen) = (0, Vec::new());
    while at < reader.high_watermark() {
        let Ok(records) = reader.fetch(at, FetchBudget::new(1 << 20)).and_then(|fetched| fetched.decode(true)) else {
            break;
        };
        seen.extend(records.iter().map(|record| record.offset()));
        at = records.next_offset();
    }
    assert!(seen.iter().copied().eq(0..seen.len() as Offset), "a hole, without an error: {seen:?}");
}

#[test]
fn recovery_cuts_nothing_that_a_follower_has_mapped() {
    let dir = tempfile::tempdir().unwrap();
    let config = os().internal_segment_bytes(1 << 20);
    let log = open(&place(Arc::new(RealDisk::default()), dir.path(), config.clone()));
    append_at(&log, 5, &[7; 4026]);
    let whole = log.size();
    append_at(&log, 5, &[7; 100_000]);
    let end = log.size();
    append_at(&log, 5, &[7; 999_000]); // rolls
    drop(log);
    // Power loss in mode os: the last part of the first segment is not what was written.
    let file = File::options().write(true).open(dir.path().join("00000000000000000000.log")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[8; 50], end - 50).unwrap();
    let reader = Log::open_read_only(place(Arc::new(RealDisk::default()), dir.path(), config.clone())).unwrap();
    let held = reader.fetch(0, FetchBudget::new(1 << 20)).unwrap();
    assert!(held.len() as u64 >= whole);
    let (_log, recovery) =
        Log::open(place(Arc::new(RealDisk::default()), dir.path(), config), super::LeftBy::Crash).unwrap();
    assert!(recovery.cut.is_some());
    assert!(!held.decode(true).unwrap().is_empty());
}

#[test]
fn sealing_a_removed_segment_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (place, _) = faulty(dir.path(), os().internal_segment_bytes(500));
    let place = LogPlace { open_files: OpenFiles::new(1, 1), ..place };
    let log = open(&place);
    append_at(&log, 5, &[7; 100]);
    log.delete_records(1, 0).unwrap();
    append_at(&log, 5, &[7; 400]); // rolls at offset 1
    append_at(&log, 5, &[7; 20]);
    append_at(&log, 5, &[7; 400]); // and again: the handle of the first one goes
    let view = log.view.load_full(); // as seal_with_start loads it ...
    log.delete_records(1, 0).unwrap(); // ... meanwhile
    let segment = &view.segments()[0];
    let sealed = segment.seal();
    assert!(sealed.is_ok(), "the log fails for ever: {sealed:?}");
}

/// Defends D4.
#[test]
fn a_follower_syncs_finished_segments_before_it_shows_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = os().durability(Durability::Fsync).internal_segment_bytes(300);
    let log = open(&place(Arc::new(RealDisk::default()), dir.path(), config.clone()));
    for _ in 0..10 {
        append_at(&log, 5, &[7; 100]); // no sync was asked for
    }
    assert_eq!(log.high_watermark(), 0);
    let (place, faults) = faulty(dir.path(), config);
    let reader = Log::open_read_only(place).unwrap();
    let (syncs, segments) = (faults.syncs.load(Ordering::SeqCst), log.view.load().segments().len());
    assert!(
        reader.high_watermark() == 0 || syncs >= segments,
        "{} shown, {syncs} syncs, {segments} segments",
        reader.high_watermark()
    );
}

#[test]
fn a_passing_error_leaves_a_follower_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let config = os().internal_segment_bytes(500);
    let log = open(&place(Arc::new(RealDisk::default()), dir.path(), config.clone()));
    let disk = HookDisk::default();
    let reader = Log::open_read_only(place(Arc::new(disk.clone()), dir.path(), config)).unwrap();
    let sized = |size: usize| {
        let mut builder = BatchBuilder::new();
        let len = (0..size).find(|len| {
            builder.clear();
            builder.push(5, None, Some(&vec![7; *len]), std::iter::empty());
            builder.finish(Compression::None, None).unwrap().len() == size
        });
        append_at(&log, 5, &vec![7; len.unwrap()]);
    };
    sized(100);
    sized(300);
    reader.refresh().unwrap();
    sized(200); // rolls
    sized(200);
    sized(90);
    *disk.0.fail_open_of.lock() = Some("partition.metadata");
    reader.refresh().unwrap_err();
    reader.refresh().unwrap();
    assert_eq!(read_all(&reader), [0, 1, 2, 3, 4]);
}

#[test]
fn a_length_from_before_the_roll_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let config = os().internal_segment_bytes(500);
    let log = Arc::new(open(&place(Arc::new(RealDisk::default()), dir.path(), config.clone())));
    append_at(&log, 5, &[7; 10]);
    std::fs::write(dir.path().join("partition.metadata"), "x").unwrap();
    let disk = HookDisk::default();
    let owner = Arc::clone(&log);
    *disk.0.in_list.lock() = Some(Box::new(move || {
        append_at(&owner, 5, &[7; 10]);
        append_at(&owner, 5, &[7; 400]); // rolls
    }));
    let reader = Log::open_read_only(place(Arc::new(disk.clone()), dir.path(), config)).unwrap();
    assert_eq!(read_all(&reader), [0, 1, 2]);
}

#[test]
fn a_roll_whose_append_fails_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (place, faults) = faulty(dir.path(), os().internal_segment_bytes(300));
    let log = open(&place);
    append_at(&log, 5, &[7; 100]);
    faults.full.store(true, Ordering::SeqCst);
    let mut builder = BatchBuilder::new();
    builder.push(5, None, Some(&[7; 200]), std::iter::empty());
    log.append(builder.finish(Compression::None, None).unwrap(), 1000).unwrap_err();
    faults.full.store(false, Ordering::SeqCst);
    assert_eq!(log.view.load().segments().len(), 2, "rolled");
    assert!(log.has_unsealed(), "somebody has to seal the first segment");
}

#[test]
fn a_close_behind_a_checkpoint_writes_the_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&place(Arc::new(RealDisk::default()), dir.path(), os()));
    for _ in 0..50 {
        append_at(&log, 5, &[7; 100_000]);
    }
    log.checkpoint().unwrap();
    log.close().unwrap();
    let len = std::fs::metadata(dir.path().join("00000000000000000000.index")).map_or(0, |file| file.len());
    assert!(len > 0, "{len}");
}

/// Defends D16.
#[test]
fn refused_damage_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(Arc::new(RealDisk::default()), dir.path(), os().index_interval_bytes(0));
    let log = open(&place);
    for _ in 0..10 {
        append_at(&log, 5, &[7; 100]);
    }
    log.close().unwrap();
    let path = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() * 19 / 20;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let index = dir.path().join("00000000000000000000.index");
    let before = std::fs::read(&index).unwrap();
    let (log, recovery) = Log::open(place, super::LeftBy::Close).unwrap();
    assert!(recovery.damage.is_some());
    drop(log);
    assert_eq!(before.len(), std::fs::read(&index).unwrap().len());
}

#[test]
fn a_slice_stays_readable_over_a_recovery_that_cuts_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (first, faults) = faulty(dir.path(), os());
    let log = open(&first);
    append_at(&log, 5, &[7; 4026]);
    append_at(&log, 5, &[7; 100_000]);
    let held = log.fetch(0, FetchBudget::new(1 << 20)).unwrap().decode(true).unwrap();
    *faults.next_sync.lock() = Some(io::ErrorKind::Other);
    log.close().unwrap_err(); // which asks for another open
    drop(log);
    let file = File::options().write(true).open(dir.path().join("00000000000000000000.log")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 100_000], 4096).unwrap(); // what the device has
    let _log = open(&first);
    let bytes = held.iter().flat_map(|record| record.value().unwrap()).map(|byte| usize::from(*byte)).sum::<usize>();
    assert!(bytes >= 7 * 4026);
}

#[test]
fn retention_makes_room_on_a_disk_that_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let config = os().internal_segment_bytes(300).retention(Some(std::time::Duration::from_millis(1000)));
    let (place, faults) = faulty(dir.path(), config);
    let log = open(&place);
    for _ in 0..5 {
        append_at(&log, 5, &[7; 150]);
    }
    *faults.next_create.lock() = Some(io::ErrorKind::StorageFull); // no room for one name more
    let removed = log.enforce_retention(100_000);
    assert!(log.log_start() > 0, "{removed:?}");
}

#[test]
fn a_largest_timestamp_behind_the_high_watermark_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&place(Arc::new(RealDisk::default()), dir.path(), os().durability(Durability::Fsync)));
    append_at(&log, 10, b"x");
    log.sync_to(1).unwrap();
    append_at(&log, 20, b"y");
    assert_eq!(log.list_offset(OffsetSpec::MaxTimestamp).unwrap(), None, "fetch.md 9: not clamped");
}

#[test]
fn the_epoch_is_that_of_the_file_or_of_the_last_batch() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(Arc::new(RealDisk::default()), dir.path(), os());
    let log = open(&place);
    append_at(&log, 5, b"a");
    drop(log);
    std::fs::write(dir.path().join("leader-epoch-checkpoint"), "0\n1\n7 0\n").unwrap();
    let log = open(&place);
    append_at(&log, 5, b"b");
    assert_eq!(log.leader_epoch, 7);
    log.close().unwrap();
    std::fs::write(dir.path().join("leader-epoch-checkpoint"), "").unwrap(); // lost
    let log = open(&place);
    assert_eq!(log.leader_epoch, 7, "the batches say so");
}

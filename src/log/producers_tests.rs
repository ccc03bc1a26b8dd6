//! Idempotent producers at a log: what a retry is answered, whatever lies between it and the first try.

use std::path::Path;

use super::producer_snapshot::{ProducerEntry, snapshot_name, snapshot_offset};
use super::producer_state::ProducerState;
use super::{Appended, LeftBy, Log, LogPlace, parse_snapshot};
use crate::config::TopicConfig;
use crate::error::{ErrorKind, Result};
use crate::record::{BatchBuilder, Compression};
use crate::sync::{Arc, Ordering};
use crate::sys::{Faults, FaultyDisk, RealDisk};
use crate::types::{Offset, TimestampType, TopicPartition};

const NOW: i64 = 5000;

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

fn open(dir: &Path, left_by: LeftBy) -> Log {
    open_with(dir, TopicConfig::new(), left_by)
}

fn open_with(dir: &Path, config: TopicConfig, left_by: LeftBy) -> Log {
    Log::open(place(dir, config), left_by).unwrap().0
}

/// One batch that the disk fits three or four of into a segment.
fn small() -> TopicConfig {
    TopicConfig::new().internal_segment_bytes(500)
}

fn append_of(log: &Log, id: i64, epoch: i16, sequence: i32, count: i32) -> Result<Appended> {
    let mut builder = BatchBuilder::new();
    builder.set_producer(id, epoch, sequence);
    for record in 0..count {
        builder.push(1000 + i64::from(record), None, Some(&[7; 30]), std::iter::empty());
    }
    log.append(builder.finish(Compression::None, None).unwrap(), NOW)
}

fn append(log: &Log, sequence: i32) -> Result<Appended> {
    append_of(log, 7, 0, sequence, 2)
}

/// Appends `count` batches of two records from sequence 0 on, and returns their offsets.
fn fill(log: &Log, count: i32) -> Vec<Offset> {
    (0..count).map(|at| append(log, at * 2).unwrap().base_offset).collect()
}

/// Retries the last five of the batches at `offsets`, and goes on behind them.
fn assert_remembers(log: &Log, offsets: &[Offset]) {
    let end = log.log_end();
    let newest = offsets.iter().enumerate().rev().take(5);
    for (at, offset) in newest.rev() {
        let again = append(log, at as i32 * 2).unwrap_or_else(|error| panic!("batch {at}: {error}"));
        assert!(again.is_duplicate && !again.rolled, "batch {at}: {again:?}");
        assert_eq!((again.base_offset, again.end), (*offset, offset + 2), "batch {at}");
    }
    assert_eq!(log.log_end(), end, "nothing was written");
    if let Some(old) = offsets.len().checked_sub(6) {
        let error = append(log, old as i32 * 2).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OutOfOrderSequence { .. }), "{error}");
    }
    let next = append(log, offsets.len() as i32 * 2).unwrap();
    assert_eq!((next.base_offset, next.is_duplicate), (end, false));
}

fn snapshot_files(dir: &Path) -> Vec<Offset> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut offsets: Vec<_> = names.filter_map(|name| snapshot_offset(&name)).collect();
    offsets.sort_unstable();
    offsets
}

fn remove_snapshots(dir: &Path) {
    for offset in snapshot_files(dir) {
        std::fs::remove_file(dir.join(snapshot_name(offset))).unwrap();
    }
}

#[test]
fn every_row_of_the_table_at_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LeftBy::Crash);
    let offsets = fill(&log, 7);
    assert_remembers(&log, &offsets); // duplicate, older than five, next
    assert_eq!(append_of(&log, 7, 1, 4, 1).unwrap_err().kafka_code(), 45, "a higher epoch begins with 0");
    append_of(&log, 7, 1, 0, 1).unwrap();
    assert_eq!(append_of(&log, 7, 0, 16, 1).unwrap_err().kafka_code(), 47, "a lower epoch");
    assert_eq!(append_of(&log, 7, 1, 2, 1).unwrap_err().kafka_code(), 45, "a gap");
    append_of(&log, 8, 3, 1234, 1).unwrap();
    assert_eq!(append_of(&log, 8, 3, 1234, 1).unwrap().base_offset, 17, "an unknown one begins anywhere");
    let mut builder = BatchBuilder::new();
    builder.set_producer(9, 0, 0);
    builder.set_transactional(true);
    builder.push(1000, None, None, std::iter::empty());
    log.append(builder.finish(Compression::None, None).unwrap(), NOW).unwrap();
    assert_eq!(append_of(&log, 9, 0, 1, 1).unwrap_err().kafka_code(), 48, "outside its transaction");
    assert_eq!(append_of(&log, -1, -1, -1, 1).unwrap().base_offset, 19, "without an id");
    assert!(log.check_failure().is_ok());
}

#[test]
fn sequences_wrap_at_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LeftBy::Crash);
    let first = append_of(&log, 7, 0, i32::MAX, 3).unwrap();
    let second = append_of(&log, 7, 0, 2, 1).unwrap();
    log.close().unwrap();
    drop(log);
    let log = open(dir.path(), LeftBy::Close);
    assert_eq!(append_of(&log, 7, 0, i32::MAX, 3).unwrap().base_offset, first.base_offset);
    assert_eq!(append_of(&log, 7, 0, 2, 1).unwrap().base_offset, second.base_offset);
    assert_eq!(append_of(&log, 7, 0, 3, 1).unwrap().base_offset, 4);
}

#[test]
fn a_duplicate_has_the_time_of_the_first_append() {
    let dir = tempfile::tempdir().unwrap();
    let config = TopicConfig::new().message_timestamp_type(TimestampType::LogAppendTime);
    let log = open_with(dir.path(), config, LeftBy::Crash);
    append(&log, 0).unwrap();
    let mut builder = BatchBuilder::new();
    builder.set_producer(7, 0, 0);
    (0..2).for_each(|_| _ = builder.push(1000, None, None, std::iter::empty()));
    let again = log.append(builder.finish(Compression::None, None).unwrap(), NOW + 77).unwrap();
    assert_eq!((again.is_duplicate, again.log_append_time), (true, Some(NOW)));
}

#[test]
fn a_batch_that_was_not_written_is_not_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = open_faulty(dir.path());
    append(&log, 0).unwrap();
    faults.full.store(true, Ordering::SeqCst);
    assert_eq!(*append(&log, 2).unwrap_err().kind(), ErrorKind::StorageFull);
    faults.full.store(false, Ordering::SeqCst);
    let written = append(&log, 2).unwrap();
    assert_eq!((written.base_offset, written.is_duplicate), (2, false));
}

fn open_faulty(dir: &Path) -> (Log, Arc<Faults>) {
    let disk = FaultyDisk::default();
    let faults = disk.faults();
    (Log::open(LogPlace { disk: Arc::new(disk), ..place(dir, small()) }, LeftBy::Crash).unwrap().0, faults)
}

/// What cannot be read now is neither damaged nor gone.
#[test]
fn a_passing_error_takes_no_snapshot_away() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LeftBy::Crash);
    let first = append(&log, 0).unwrap();
    log.close().unwrap();
    drop(log);
    let disk = FaultyDisk::default();
    let faults = disk.faults();
    let (log, _) = Log::open(LogPlace { disk: Arc::new(disk), ..place(dir.path(), small()) }, LeftBy::Close).unwrap();
    *faults.next_len.lock() = Some(std::io::ErrorKind::OutOfMemory);
    let error = append(&log, 0).unwrap_err();
    assert!(error.is_retriable(), "{error}");
    let again = append(&log, 0).unwrap();
    assert_eq!((again.base_offset, again.is_duplicate), (first.base_offset, true));
}

/// A retry straddles a close in order.
#[test]
fn five_batches_survive_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LeftBy::Crash);
    let mut offsets = fill(&log, 7);
    log.close().unwrap();
    assert_eq!(snapshot_files(dir.path()), [14]);
    drop(log);
    for _ in 0..3 {
        let log = open(dir.path(), LeftBy::Close);
        assert_remembers(&log, &offsets);
        offsets.push(log.log_end() - 2);
        log.close().unwrap();
    }
    assert_eq!(snapshot_files(dir.path()), [20]);
    open(dir.path(), LeftBy::Close).close().unwrap();
    assert_eq!(snapshot_files(dir.path()), [20], "nothing was appended");
    assert!(parse_snapshot(&std::fs::read(dir.path().join(snapshot_name(20))).unwrap()).is_ok());
}

/// A retry straddles the end of the process.
#[test]
fn five_batches_survive_a_crash() {
    for (config, seals) in [(TopicConfig::new(), false), (small(), true), (small(), false)] {
        let dir = tempfile::tempdir().unwrap();
        let mut offsets = Vec::new();
        for round in 0..3 {
            let log = open_with(dir.path(), config.clone(), LeftBy::Crash);
            if round > 0 {
                assert_remembers(&log, &offsets);
                offsets.push(log.log_end() - 2);
            }
            for _ in 0..7 {
                let appended = append(&log, offsets.len() as i32 * 2).unwrap();
                offsets.push(appended.base_offset);
                if appended.rolled && seals {
                    log.seal_rolled().unwrap();
                }
            }
            let bases: Vec<_> = log.view.load().segments().iter().map(|segment| segment.base()).collect();
            let files = snapshot_files(dir.path());
            if seals {
                assert_eq!(files, bases[bases.len() - 2..], "the last two bases");
            }
        }
    }
}

#[test]
fn five_batches_survive_a_crash_without_their_snapshots() {
    let spoil: [fn(&Path); 4] = [
        remove_snapshots,
        |dir| {
            for offset in snapshot_files(dir) {
                let path = dir.join(snapshot_name(offset));
                let mut bytes = std::fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(path, bytes).unwrap();
            }
        },
        |dir| {
            let newest = snapshot_files(dir).pop().unwrap();
            std::fs::write(dir.join(snapshot_name(newest)), b"").unwrap(); // as a power cut leaves it
        },
        |dir| {
            // Above the log end: of a log that was longer once.
            let newest = snapshot_files(dir).pop().unwrap();
            std::fs::copy(dir.join(snapshot_name(newest)), dir.join(snapshot_name(1000))).unwrap();
        },
    ];
    for (at, spoil) in spoil.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let log = open_with(dir.path(), small(), LeftBy::Crash);
        let offsets = fill(&log, 20);
        log.seal_rolled().unwrap();
        drop(log);
        spoil(dir.path());
        let log = open_with(dir.path(), small(), LeftBy::Crash);
        assert!(!snapshot_files(dir.path()).contains(&1000), "{at}");
        assert_remembers(&log, &offsets);
    }
}

#[test]
fn a_crash_is_not_forgotten_by_a_close_that_looked_at_no_producer() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LeftBy::Crash);
    let offsets = fill(&log, 7);
    drop(log);
    assert!(snapshot_files(dir.path()).is_empty());
    open(dir.path(), LeftBy::Crash).close().unwrap();
    assert_eq!(snapshot_files(dir.path()), [0]);
    assert_remembers(&open(dir.path(), LeftBy::Close), &offsets);
    // The control: what Kafka takes for granted.
    remove_snapshots(dir.path());
    let log = open(dir.path(), LeftBy::Crash);
    log.close().unwrap();
    drop(log);
    remove_snapshots(dir.path());
    assert!(!append(&open(dir.path(), LeftBy::Close), 0).unwrap().is_duplicate);
}

#[test]
fn opening_reads_no_snapshot_and_a_log_without_producers_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_with(dir.path(), small(), LeftBy::Crash);
    for _ in 0..20 {
        append_of(&log, -1, -1, -1, 1).unwrap();
    }
    log.close().unwrap();
    drop(log);
    open_with(dir.path(), small(), LeftBy::Close).close().unwrap();
    assert!(snapshot_files(dir.path()).is_empty());
    let damaged = dir.path().join(snapshot_name(20));
    std::fs::write(&damaged, b"damaged").unwrap();
    let log = open_with(dir.path(), small(), LeftBy::Close);
    assert!(damaged.exists());
    append_of(&log, -1, -1, -1, 1).unwrap();
    assert!(!damaged.exists(), "the first append looks");
}

#[test]
fn producers_outlive_their_records() {
    for crashes in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = open_with(dir.path(), small(), LeftBy::Crash);
        let offsets = fill(&log, 7);
        let end = log.log_end();
        // All of it goes: the active segment as well, after a roll.
        append_of(&log, -1, -1, -1, 8).unwrap();
        let rolled_end = log.log_end();
        log.sync_to(rolled_end).unwrap();
        assert_eq!(log.delete_records(end, NOW).unwrap(), end);
        assert!(log.view.load().segments().first().unwrap().base() > offsets[5]);
        let files = snapshot_files(dir.path());
        assert!(files.iter().all(|offset| log.view.load().segments()[0].base() <= *offset), "{files:?}");
        if !crashes {
            log.close().unwrap();
        }
        drop(log);
        let log = open_with(dir.path(), small(), if crashes { LeftBy::Crash } else { LeftBy::Close });
        assert!(append(&log, 12).unwrap().is_duplicate, "crashes: {crashes}");
        let again = append(&log, 4).unwrap();
        assert_eq!((again.is_duplicate, again.base_offset), (true, offsets[2]));
    }
}

#[test]
fn what_nobody_looked_at_outlives_its_records_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_with(dir.path(), small(), LeftBy::Crash);
    let offsets = fill(&log, 7);
    log.seal_rolled().unwrap();
    drop(log);
    let log = open_with(dir.path(), small().retention_bytes(Some(0)), LeftBy::Crash);
    assert!(log.enforce_retention(NOW).unwrap().segments > 1);
    assert_eq!(log.log_start(), log.log_end());
    drop(log);
    assert_remembers(&open_with(dir.path(), small(), LeftBy::Crash), &offsets);
}

#[test]
fn a_cut_takes_the_snapshots_behind_it_along() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LeftBy::Crash);
    let offsets = fill(&log, 7);
    let five = log.size() as usize / 7 * 5;
    drop(log);
    // A snapshot of a longer log, and the log without its last two batches.
    let state = std::fs::read(dir.path().join("00000000000000000000.log")).unwrap();
    let longer = open(dir.path(), LeftBy::Crash);
    append_of(&longer, 7, 0, 14, 1).unwrap();
    longer.close().unwrap();
    drop(longer);
    assert_eq!(snapshot_files(dir.path()), [15]);
    std::fs::remove_file(dir.path().join("thalweg-checkpoint")).unwrap();
    std::fs::write(dir.path().join("00000000000000000000.log"), &state[..five]).unwrap();
    let log = open(dir.path(), LeftBy::Close);
    assert_eq!(log.log_end(), 10);
    assert_remembers(&log, &offsets[..5]);
}

#[test]
fn a_snapshot_that_cannot_be_written_fails_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_with(dir.path(), small(), LeftBy::Crash);
    let in_the_way = dir.path().join(snapshot_name(14));
    std::fs::create_dir(&in_the_way).unwrap();
    let offsets = fill(&log, 7);
    log.close().unwrap();
    drop(log);
    assert!(in_the_way.is_dir());
    std::fs::remove_dir(in_the_way).unwrap();
    assert_eq!(snapshot_files(dir.path()), [12], "the one of the last roll");
    assert_remembers(&open_with(dir.path(), small(), LeftBy::Close), &offsets);
}

#[test]
fn expiry_forgets_by_the_clock_of_appends() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LeftBy::Crash);
    append(&log, 0).unwrap(); // whose records are from 1970
    assert_eq!(log.expire_producers(NOW + 999, 1000), 0);
    log.close().unwrap();
    drop(log);
    let log = open(dir.path(), LeftBy::Close);
    assert_eq!(log.expire_producers(NOW + 1000, 1000), 0, "nobody knows them yet");
    assert!(append(&log, 0).unwrap().is_duplicate);
    assert_eq!(log.expire_producers(NOW + 1000, 1000), 1);
    assert!(!append(&log, 4711).unwrap().is_duplicate, "unknown again");
}

/// The producers without the time at which they were seen, which a replay cannot know.
fn known(log: &Log) -> Vec<ProducerEntry> {
    let mut known = log.known_producers();
    known.iter_mut().for_each(|entry| entry.state.seen = 0);
    known
}

#[test]
fn a_copy_knows_the_producers() {
    for (config, closes) in [(small(), false), (small(), true), (TopicConfig::new(), false), (TopicConfig::new(), true)]
    {
        let (dir, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut log = open_with(dir.path(), config.clone(), LeftBy::Crash);
        let offsets = fill(&log, 7);
        log.sync_to(log.log_end()).unwrap(); // a copy has what readers see
        if closes {
            log.close().unwrap();
            drop(log);
            log = open_with(dir.path(), config.clone(), LeftBy::Close);
        }
        log.copy_to(target.path()).unwrap();
        let copy = open_with(target.path(), config, LeftBy::Close);
        assert_eq!(snapshot_files(target.path()).len(), 1);
        assert_remembers(&copy, &offsets);
        assert_remembers(&log, &offsets);
    }
}

/// Kafka's own snapshots beside what is found in Kafka's own logs.
#[test]
fn kafkas_logs_and_kafkas_snapshots_say_the_same() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.2.1");
    let mut compared = 0;
    for fixture in std::fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(newest) = fixture.is_dir().then(|| snapshot_files(&fixture).pop()).flatten() else { continue };
        let (with, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for entry in std::fs::read_dir(&fixture).unwrap().map(|entry| entry.unwrap()) {
            std::fs::copy(entry.path(), with.path().join(entry.file_name())).unwrap();
            std::fs::copy(entry.path(), without.path().join(entry.file_name())).unwrap();
        }
        remove_snapshots(without.path());
        let bytes = std::fs::read(fixture.join(snapshot_name(newest))).unwrap();
        let mut kafkas = parse_snapshot(&bytes).unwrap();
        kafkas.iter_mut().for_each(|entry| entry.state.seen = 0);
        let log = open(with.path(), LeftBy::Crash);
        assert_eq!(log.log_end(), newest, "{}", fixture.display());
        assert_eq!(known(&log), kafkas, "{}", fixture.display());
        let replayed = known(&open(without.path(), LeftBy::Crash));
        assert_eq!(replayed.len(), kafkas.len(), "{}", fixture.display());
        for (replayed, kafkas) in replayed.iter().zip(&kafkas) {
            let (ours, theirs) = (&replayed.state, &kafkas.state);
            let of = |state: &ProducerState| {
                (state.epoch, state.coordinator_epoch, state.last_timestamp, state.transaction_start)
            };
            assert_eq!((replayed.producer_id, of(ours)), (kafkas.producer_id, of(theirs)), "{}", fixture.display());
            assert_eq!(ours.batches().last(), theirs.batches().last(), "{}", fixture.display());
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared}");
}

/// Kafka's dump tool over our snapshots. It reads them with the code with which a broker does.
#[test]
fn kafka_reads_our_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LeftBy::Crash);
    fill(&log, 7);
    append_of(&log, 8, 3, 1234, 1).unwrap();
    log.close().unwrap();
    let path = dir.path().join(snapshot_name(15));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/run.sh");
    let tool = ["kafka.tools.DumpLogSegments", "--files", path.to_str().unwrap()];
    let output = std::process::Command::new("bash").arg(script).args(tool).output().unwrap();
    if output.status.code() == Some(77) {
        println!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
        return;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let newest = [
        "producerId: 7 producerEpoch: 0 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 1001 \
         firstSequence: 12 lastSequence: 13 lastOffset: 13 offsetDelta: 1 timestamp: 1001",
        "producerId: 8 producerEpoch: 3 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 1000 \
         firstSequence: 1234 lastSequence: 1234 lastOffset: 14 offsetDelta: 0 timestamp: 1000",
    ];
    for line in newest {
        assert!(text.contains(line), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Cuts the power everywhere in a life with rolls, a close and another life: what is known afterwards is what the log says.
#[test]
#[cfg(feature = "simulation")]
fn after_a_power_cut_the_producers_are_those_of_the_log() {
    use crate::simulation::{Cut, SimulatedDisk, Survival};

    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let disk = SimulatedDisk::new();
    let config = small().durability(crate::types::Durability::Fsync);
    let place = |dir: &Path, disk: Arc<dyn crate::sys::Disk>| LogPlace { disk, ..place(dir, config.clone()) };
    let mut closed_at = Vec::new();
    let mut sequence = 0;
    for life in 0..2_i64 {
        let left_by = if life == 0 { LeftBy::Crash } else { LeftBy::Close };
        let (log, _) = Log::open(place(&data, Arc::new(disk.clone())), left_by).unwrap();
        for at in 0..9 {
            let appended = append(&log, sequence).unwrap();
            log.sync_to(appended.end).unwrap();
            append_of(&log, 8 + at % 3, 0, (at / 3 + life * 3) as i32, 1).unwrap();
            sequence += 2;
        }
        log.close().unwrap();
        closed_at.push(disk.operations());
    }
    let mut states = 0;
    for at in 1..=disk.operations() {
        let special = [Survival::Nothing, Survival::Entries, Survival::Content].map(|survival| (survival, 0));
        for (survival, seed) in special.into_iter().chain((1..=4).map(|seed| (Survival::Some, seed))) {
            let (after, control) = (dir.path().join("after"), dir.path().join("control"));
            let cut = Cut { at, survival, seed };
            if !disk.cut(&cut).write(&data, &after).unwrap() {
                continue;
            }
            // The mark of a close in order can be durable from the end of a close on.
            for left_by in if closed_at.contains(&at) { &[LeftBy::Crash, LeftBy::Close][..] } else { &[LeftBy::Crash] }
            {
                copy(&after, &control);
                let log = Log::open(place(&control, Arc::new(RealDisk::default())), *left_by).unwrap().0;
                let found = known(&log);
                drop(log);
                remove_snapshots(&control);
                let log = Log::open(place(&control, Arc::new(RealDisk::default())), LeftBy::Crash).unwrap().0;
                assert_eq!(found, known(&log), "{cut} {left_by:?}");
                states += 1;
                std::fs::remove_dir_all(&control).unwrap();
            }
            std::fs::remove_dir_all(&after).unwrap();
        }
    }
    assert!(states > 500, "{states}");
}

#[cfg(feature = "simulation")]
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

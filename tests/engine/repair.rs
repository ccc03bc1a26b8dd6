//! Repairs: what opening refuses opens again, with everything that was not given up.

use std::fs;
use std::path::{Path, PathBuf};

use thalweg::{Broker, ErrorKind, FetchOptions, Offset, RepairOptions, RepairReport, Severity, repair, verify};

use crate::support::{Store, consumer, fast, send_each, tp};

const COUNT: i64 = 60;

/// The value of the record at an offset.
fn value(offset: Offset) -> Vec<u8> {
    vec![offset as u8; 30]
}

/// A directory with a topic `t` of several segments, closed in order.
fn store() -> Store {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(700).index_interval_bytes(100));
    send_each(&broker, (0..COUNT).map(value));
    broker.close().unwrap();
    store
}

/// Files of partition `t-0` whose names have `part` in them, by name.
fn files(store: &Store, part: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().contains(part)).collect();
    files.sort();
    files
}

fn logs(store: &Store) -> Vec<PathBuf> {
    files(store, ".log").into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "log")).collect()
}

fn base(log: &Path) -> Offset {
    log.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

fn flip(file: &Path, byte: usize) {
    let mut content = fs::read(file).unwrap();
    content[byte] ^= 1;
    fs::write(file, content).unwrap();
}

/// Every file of the directory with its content.
fn snapshot(store: &Store) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = [store.dir.path().to_owned(), store.dir.path().join("t-0")]
        .iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.is_file() && !path.ends_with(".lock"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Repairs without and with the switch, after a dry run that must say the same and change nothing.
fn run(store: &Store, options: &RepairOptions) -> RepairReport {
    let before = snapshot(store);
    let dry = repair(store.dir.path(), &options.clone().dry_run(true)).unwrap();
    assert_eq!(snapshot(store), before, "a dry run changes nothing");
    let report = repair(store.dir.path(), options).unwrap();
    assert_eq!((&dry.steps, &dry.left), (&report.steps, &report.left));
    assert!(dry.dry_run && !report.dry_run);
    report
}

/// Opens, reads everything, and appends a record; returns where the log starts and ended.
fn check_open(store: &Store) -> (Offset, Offset) {
    assert!(verify(store.dir.path()).unwrap().count(Severity::Error) == 0, "{}", verify(store.dir.path()).unwrap());
    let broker = store.open();
    assert!(broker.recovery().failed.is_empty(), "{}", broker.recovery());
    let partition = broker.partition(&tp(0)).unwrap();
    let (start, end) = (partition.log_start().unwrap(), partition.log_end().unwrap());
    let mut offset = start;
    while offset < end {
        let records = partition.fetch(offset, &FetchOptions::new()).unwrap().decode(true).unwrap();
        for record in records.iter() {
            assert_eq!((record.offset(), record.value().unwrap()), (offset, &value(offset)[..]));
            offset += 1;
        }
    }
    assert_eq!(send_each(&broker, ["again"]), [end]);
    broker.close().unwrap();
    assert!(verify(store.dir.path()).unwrap().worst() < Some(Severity::Warning));
    (start, end)
}

fn is_refused(store: &Store) -> bool {
    !store.open().recovery().is_whole()
}

#[test]
fn nothing_is_done_to_a_good_directory() {
    let store = store();
    let options = RepairOptions::new().cut_damage(true).accept_loss(true).rebuild_topics(true);
    let report = run(&store, &options.truncate_to(tp(0), COUNT + 5));
    assert!(report.steps.is_empty() && report.left.is_empty(), "{report}");
    assert!(store.dir.path().join(".kafka_cleanshutdown").exists());
    assert_eq!(check_open(&store), (0, COUNT));
}

#[test]
fn damage_in_a_sealed_segment_ends_the_log_there_and_keeps_the_rest_beside() {
    let store = store();
    let (log, segments) = (logs(&store)[2].clone(), logs(&store).len());
    let broker = store.open();
    consumer(&broker, "g").commit_sync_offsets(&[(tp(0), COUNT.into())]).unwrap();
    broker.close().unwrap();
    let good = fs::read(&log).unwrap();
    flip(&log, 98 + 70); // in the second batch
    let damaged = fs::read(&log).unwrap();
    let backup = store.dir.path().join("other-name");
    fs::hard_link(&log, &backup).unwrap();

    let report = run(&store, &RepairOptions::new());
    assert_eq!((report.steps.len(), report.left.len()), (0, 1), "not without being asked: {report}");
    assert!(report.left[0].what.contains("the option to cut at damage"), "{report}");
    let report = run(&store, &RepairOptions::new().cut_damage(true));
    assert_eq!((report.steps.len(), report.left.len()), (1, 0), "{report}");
    assert_eq!((report.steps[0].partition.as_ref(), &report.steps[0].file), (Some(&tp(0)), &log));

    let end = base(&log) + 1;
    assert_eq!(fs::read(&log).unwrap(), good[..98]);
    assert_eq!(fs::read(&backup).unwrap(), damaged, "the file was replaced, not cut");
    let side = files(&store, ".log.98.corrupt");
    assert_eq!(fs::read(&side[0]).unwrap(), damaged[98..]);
    assert_eq!(files(&store, ".corrupt").len(), 1 + segments - 3, "those behind are kept as a whole");
    assert_eq!(fs::read_to_string(store.file("leader-epoch-checkpoint")).unwrap(), format!("0\n2\n0 0\n1 {end}\n"));
    let broker = store.open();
    assert_eq!(broker.recovery().clamped_offsets, 1, "no group passes over what comes to these offsets");
    broker.close().unwrap();
    fs::remove_file(backup).unwrap();
    assert_eq!(check_open(&store), (0, end));
}

#[test]
fn damage_anywhere_can_be_cut_and_what_is_before_it_stays() {
    let options = RepairOptions::new().cut_damage(true);
    for segment in 0..8 {
        for byte in [7, 11, 16, 30, 98 * 3 + 8, 98 * 7 - 1] {
            let store = store();
            let Some(log) = logs(&store).get(segment).cloned() else { continue };
            if byte >= fs::read(&log).unwrap().len() {
                continue;
            }
            flip(&log, byte);
            let report = run(&store, &options);
            assert!(report.left.is_empty(), "segment {segment}, byte {byte}: {report}");
            let (start, end) = check_open(&store);
            assert_eq!(start, 0);
            assert_eq!(end, base(&log) + byte as i64 / 98, "segment {segment}, byte {byte}: {report}");
        }
    }
}

#[test]
fn a_segment_that_is_gone_ends_the_log_or_moves_its_start() {
    let store = store();
    let log = logs(&store)[2].clone();
    fs::remove_file(&log).unwrap();
    let report = run(&store, &RepairOptions::new().cut_damage(true));
    assert!(report.left.is_empty(), "{report}");
    assert_eq!(check_open(&store), (0, base(&log)));

    let store = self::store();
    let first = logs(&store)[0].clone();
    let second = base(&logs(&store)[1]);
    fs::remove_file(first).unwrap();
    assert!(is_refused(&store));
    let report = run(&store, &RepairOptions::new().cut_damage(true));
    assert_eq!((report.steps.len(), report.left.len()), (0, 1), "{report}");
    let report = run(&store, &RepairOptions::new().accept_loss(true));
    assert_eq!((report.steps.len(), report.left.len()), (1, 0), "{report}");
    assert_eq!(check_open(&store), (second, COUNT));
}

#[test]
fn a_log_that_ends_below_its_recovery_point_ends_there_from_now_on() {
    let store = store();
    let last = logs(&store).pop().unwrap();
    let content = fs::read(&last).unwrap();
    fs::write(&last, &content[..98]).unwrap();
    assert!(is_refused(&store));
    let report = run(&store, &RepairOptions::new());
    assert_eq!(report.left.len(), 1, "{report}"); // the indexes name what is not there, and may go
    let report = run(&store, &RepairOptions::new().accept_loss(true));
    assert!(report.left.is_empty(), "{report}");
    let end = base(&last) + 1;
    assert_eq!(fs::read_to_string(store.file("leader-epoch-checkpoint")).unwrap(), format!("0\n2\n0 0\n1 {end}\n"));
    assert_eq!(check_open(&store), (0, end));
}

#[test]
fn a_log_that_ends_below_its_start_or_is_gone_begins_anew_there() {
    for keep in [1, 0] {
        let store = store();
        let broker = store.open();
        broker.partition(&tp(0)).unwrap().delete_records(12).unwrap();
        broker.close().unwrap();
        for log in &logs(&store)[keep..] {
            fs::remove_file(log).unwrap();
        }
        if keep == 1 {
            let first = &logs(&store)[0];
            let content = fs::read(first).unwrap();
            fs::write(first, &content[..98 * 3]).unwrap(); // offsets 7 to 9
        }
        assert!(is_refused(&store));
        assert_eq!(run(&store, &RepairOptions::new().cut_damage(keep == 0)).left.len(), 1);
        let report = run(&store, &RepairOptions::new().accept_loss(true));
        assert_eq!((report.steps.len(), report.left.len()), (1, 0), "{report}");
        assert_eq!(files(&store, ".corrupt").len(), keep);
        assert_eq!(check_open(&store), (12, 12));
    }
}

#[test]
fn a_damaged_checkpoint_is_written_from_the_log() {
    let store = store();
    let file = store.file("thalweg-checkpoint");
    let good = fs::read_to_string(&file).unwrap();
    flip(&file, 30);
    let report = run(&store, &RepairOptions::new());
    assert_eq!((report.steps.len(), report.left.len()), (1, 0), "{report}");
    // As for every log that comes from elsewhere, nobody knows where its gaps are.
    let lines = |text: &str| text.lines().take(8).map(str::to_owned).collect::<Vec<_>>();
    let mut expected = lines(&good);
    expected[4] = format!("cleaner-offset {COUNT:020}");
    assert_eq!(lines(&fs::read_to_string(&file).unwrap()), expected);
    assert_eq!(check_open(&store), (0, COUNT));
}

#[test]
fn wrong_index_files_are_removed_and_built_again() {
    let store = store();
    for ending in [".index", ".timeindex"] {
        let index = files(&store, ending).into_iter().find(|path| path.metadata().unwrap().len() > 11).unwrap();
        flip(&index, 7);
        let report = run(&store, &RepairOptions::new());
        assert_eq!((report.steps.len(), report.left.len()), (1, 0), "{report}");
        assert!(!index.exists());
    }
    assert_eq!(check_open(&store), (0, COUNT));
}

#[test]
fn a_damaged_topic_file_is_written_anew_when_asked() {
    let store = Store::new();
    let broker = store.open_with_topic(3, fast());
    send_each(&broker, (0..5).map(value));
    let id = broker.topic("t").unwrap().id();
    broker.close().unwrap();
    let file = store.dir.path().join("t.topic");
    flip(&file, 40);
    let damaged = fs::read(&file).unwrap();
    assert!(is_refused(&store));
    assert_eq!(run(&store, &RepairOptions::new()).left.len(), 1);
    let report = run(&store, &RepairOptions::new().rebuild_topics(true));
    assert_eq!((report.steps.len(), report.left.len()), (1, 0), "{report}");
    let broker = store.open();
    let topic = broker.topic("t").unwrap();
    assert_eq!((topic.id(), topic.partitions()), (id, 3));
    assert!(topic.config().to_properties().contains(&("retention.ms", "-1".to_owned())), "nothing goes");
    broker.close().unwrap();
    assert_eq!(fs::read(store.dir.path().join("t.topic.corrupt")).unwrap(), damaged);
    assert_eq!(check_open(&store), (0, 5));
}

#[test]
fn a_log_can_be_cut_at_any_offset() {
    for offset in [0, 1, 6, 7, 8, 33, COUNT - 1, COUNT, COUNT + 1] {
        let store = store();
        let report = run(&store, &RepairOptions::new().truncate_to(tp(0), offset));
        assert!(report.left.is_empty(), "{report}");
        assert_eq!(report.steps.len(), usize::from(offset < COUNT));
        let (_, end) = check_open(&store);
        assert_eq!(end, offset.min(COUNT), "each batch has one record");
    }
}

#[test]
fn a_cut_goes_to_the_beginning_of_a_batch_and_below_the_start_begins_anew() {
    use thalweg::{ProducerConfig, ProducerRecord};
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(700));
    let linger = std::time::Duration::from_secs(1000);
    let producer = broker.producer(ProducerConfig::new().linger(linger)).unwrap();
    let values: Vec<_> = (0..30).map(value).collect();
    for batch in values.chunks(10) {
        for value in batch {
            drop(producer.send(ProducerRecord::new("t", value).partition(0)).unwrap());
        }
        producer.flush().unwrap();
    }
    broker.partition(&tp(0)).unwrap().delete_records(15).unwrap();
    drop(producer);
    broker.close().unwrap();
    run(&store, &RepairOptions::new().truncate_to(tp(0), 27));
    let broker = store.open();
    let ends = |broker: &Broker| {
        let partition = broker.partition(&tp(0)).unwrap();
        (partition.log_start().unwrap(), partition.log_end().unwrap())
    };
    assert_eq!(ends(&broker), (15, 20));
    broker.close().unwrap();
    run(&store, &RepairOptions::new().truncate_to(tp(0), 4));
    let broker = store.open();
    assert_eq!(ends(&broker), (4, 4));
    assert_eq!(send_each(&broker, ["x"]), [4]);
}

#[test]
fn a_directory_in_use_and_a_partition_that_is_not_there_are_refused() {
    let store = store();
    let broker = store.open();
    let refused = repair(store.dir.path(), &RepairOptions::new()).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::DirectoryLocked { .. }), "{refused}");
    broker.close().unwrap();
    let refused = repair(store.dir.path(), &RepairOptions::new().truncate_to(tp(1), 0)).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::UnknownTopicOrPartition { .. }), "{refused}");
    let refused = repair(store.dir.path(), &RepairOptions::new().truncate_to(tp(0), -1)).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::IllegalArgument { .. }), "{refused}");
}

#[test]
fn a_log_can_be_cut_in_front_of_damage() {
    for (segment, back, end) in [(2, 5, None), (2, 0, None), (2, -1, Some(1))] {
        let store = store();
        let log = logs(&store)[segment].clone();
        flip(&log, 70);
        let options = RepairOptions::new().truncate_to(tp(0), base(&log) - back);
        let report = run(&store, &options);
        assert_eq!((report.steps.len(), report.left.len()), if end.is_none() { (1, 0) } else { (0, 1) }, "{report}");
        if end.is_none() {
            assert_eq!(check_open(&store), (0, base(&log) - back));
        }
    }
}

#[test]
fn one_segment_that_cannot_be_repaired_does_not_keep_others_from_it() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast());
    send_each(&broker, (0..5).map(value));
    broker.close().unwrap();
    let long = logs(&store)[0].clone();
    fs::File::options().write(true).open(&long).unwrap().set_len(1 << 31).unwrap();
    fs::write(store.dir.path().join("t-1/thalweg-checkpoint"), "damaged").unwrap();
    let report = repair(store.dir.path(), &RepairOptions::new()).unwrap();
    assert_eq!((report.steps.len(), report.left.len()), (1, 1), "{report}");
    assert!(report.left[0].file == long && report.left[0].what.contains("less than 2^31 bytes"), "{report}");
    assert_eq!(report.steps[0].partition, Some(tp(1)));
}

#[test]
fn the_start_stays_where_it_was_when_nothing_is_cut() {
    let store = store();
    let broker = store.open();
    broker.partition(&tp(0)).unwrap().delete_records(20).unwrap();
    broker.close().unwrap();
    for log in logs(&store) {
        fs::remove_file(log).unwrap();
    }
    let first = store.file("00000000000000000014.log");
    fs::write(first, "").unwrap(); // what is left ends below the start
    let options = RepairOptions::new().accept_loss(true).truncate_to(tp(0), 40);
    let report = run(&store, &options);
    assert!(report.left.is_empty(), "{report}");
    assert_eq!(check_open(&store), (20, 20));
}

#[test]
fn a_topic_file_of_another_version_is_left_alone() {
    let store = store();
    let file = store.dir.path().join("t.topic");
    let text = fs::read_to_string(&file).unwrap();
    let body = text.rsplit_once("crc32=").unwrap().0.replacen("version=1", "version=2", 1);
    let newer = format!("{body}crc32={:08x}\n", crc32fast::hash(body.as_bytes()));
    fs::write(&file, &newer).unwrap();
    let report = run(&store, &RepairOptions::new().rebuild_topics(true));
    assert_eq!((report.steps.len(), report.left.len()), (0, 1), "{report}");
    assert!(report.left[0].what.contains("version 2"), "{report}");
    assert_eq!(fs::read_to_string(&file).unwrap(), newer);
}

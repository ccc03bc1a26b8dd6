//! Opening directories: new ones, used ones, torn ones, and those of others.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;

use thalweg::{Broker, ErrorKind, TopicConfig, TopicPartition};

use crate::support::{Store, all_values, fast, open, producer, send_each, tp};

const LOG: &str = "00000000000000000000.log";

impl Store {
    /// Opens the store as a process would that comes after one that was killed.
    pub(crate) fn open_after_kill(&self) -> Broker {
        let _ = fs::remove_file(self.dir.path().join(".kafka_cleanshutdown"));
        self.open()
    }
}

#[test]
fn a_new_directory_is_made_with_its_parents() {
    let store = Store::new();
    let path = store.dir.path().join("a/b/c");
    let broker = open(&path).unwrap();
    assert!(broker.recovery().created && broker.recovery().clean);
    broker.close().unwrap();
    let broker = open(&path).unwrap();
    assert!(!broker.recovery().created && broker.recovery().clean);
}

#[test]
fn paths_that_cannot_be_a_data_directory() {
    let store = Store::new();
    let error = open("").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IllegalArgument { .. }), "{error}");
    let file = store.dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = open(&file).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    assert_eq!(error.file(), Some(file.as_path()));
    assert!(open(store.dir.path().join("nul\0")).is_err());
    let error = open("/proc/thalweg").unwrap_err(); // not even root may create that
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
}

#[test]
fn a_directory_that_may_not_be_written_is_refused() {
    let store = Store::new();
    let path = store.dir.path().join("read-only");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(path.join("probe"), "x").is_ok() {
        println!("skipped: this user may write everywhere");
        return;
    }
    let error = open(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
}

/// Defends D18.
#[test]
fn a_directory_is_open_once_and_the_pid_is_told() {
    let store = Store::new();
    let broker = store.open();
    let error = open(store.dir.path()).unwrap_err();
    let expected = ErrorKind::DirectoryLocked { directory: store.dir.path().into(), pid: Some(std::process::id()) };
    assert_eq!(error.kind(), &expected);
    assert!(error.to_string().contains(&std::process::id().to_string()));
    drop(broker);
    store.open();
}

#[test]
fn a_foreign_directory_is_left_as_it_is() {
    let store = Store::new();
    fs::write(store.dir.path().join("holiday.jpg"), "x").unwrap();
    let error = open(store.dir.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotADataDirectory { found, .. } if found == "holiday.jpg"), "{error}");
    assert_eq!(fs::read_dir(store.dir.path()).unwrap().count(), 1);
}

/// Defends D14.
#[test]
fn a_first_open_that_was_cut_short_does_not_count() {
    let store = Store::new();
    fs::write(store.dir.path().join(".lock"), "4711\n").unwrap();
    fs::write(store.dir.path().join("thalweg.tmp"), "versi").unwrap();
    assert!(store.open().recovery().created);
}

/// Defends D13.
#[test]
fn a_close_makes_everything_durable_and_the_next_open_scans_nothing() {
    let store = Store::new();
    for round in 0..3 {
        let broker = if round == 0 { store.open_with_topic(2, fast()) } else { store.open() };
        assert_eq!(broker.recovery().scanned_bytes(), 0, "round {round}");
        assert!(broker.recovery().clean);
        assert_eq!(send_each(&broker, ["a", "b"]), [2 * round, 2 * round + 1]);
        broker.close().unwrap();
    }
    assert_eq!(all_values(&store.open()).len(), 6);
}

#[test]
fn a_dropped_broker_is_a_closed_one() {
    let store = Store::new();
    send_each(&store.open_with_topic(1, fast()), ["a"]);
    let broker = store.open();
    assert!(broker.recovery().clean);
    assert_eq!(all_values(&broker), [b"a"]);
}

#[test]
fn after_an_unclean_end_the_log_is_walked_and_goes_on() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(500));
    let checkpoint = fs::read(store.file("thalweg-checkpoint")).unwrap();
    send_each(&broker, (0..50u8).map(|value| [value; 40]));
    broker.close().unwrap();
    fs::write(store.file("thalweg-checkpoint"), checkpoint).unwrap();
    let broker = store.open_after_kill();
    assert!(!broker.recovery().clean);
    assert!(broker.recovery().scanned_bytes() > 0);
    assert_eq!(broker.recovery().cut_bytes(), 0);
    assert_eq!(send_each(&broker, ["after"]), [50]);
    assert_eq!(all_values(&broker).len(), 51);
}

/// Defends D6 and D15.
#[test]
fn a_torn_tail_is_cut_and_reported_at_every_length() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, ["first", "second"]);
    let whole = broker.partition(&tp(0)).unwrap().size().unwrap();
    broker.close().unwrap();
    let content = fs::read(store.file(LOG)).unwrap();
    let first = content.len() / 2; // both batches have nearly the same size: that of "first" is one byte less
    let first = (first - 2..first + 2).find(|at| content[at + 16] == 2 && content[at + 7] == 1).unwrap();
    for len in first + 1..whole as usize {
        fs::write(store.file(LOG), &content[..len]).unwrap();
        fs::remove_file(store.file("thalweg-checkpoint")).unwrap(); // a kill leaves none that speaks of these bytes
        let broker = store.open_after_kill();
        match &broker.recovery().partitions[0].cut {
            Some(cut) => assert_eq!((cut.file_pos, cut.bytes, cut.log_end), (first as u64, (len - first) as u64, 1)),
            None => assert!(content[first..len].iter().all(|byte| *byte == 0), "{len}: that is no room"),
        }
        assert_eq!(all_values(&broker), [b"first"]);
        assert_eq!(fs::metadata(store.file(LOG)).unwrap().len(), first as u64);
        assert_eq!(send_each(&broker, ["again"]), [1]);
        broker.close().unwrap();
    }
}

#[test]
fn a_tail_of_zeros_is_room_and_other_garbage_is_kept_in_a_side_file() {
    for (tail, is_room) in [(vec![0; 10_000], true), (vec![0xab; 10_000], false)] {
        let store = Store::new();
        let broker = store.open_with_topic(1, fast());
        send_each(&broker, ["first"]);
        broker.close().unwrap();
        let mut content = fs::read(store.file(LOG)).unwrap();
        let len = content.len();
        content.extend(&tail);
        fs::write(store.file(LOG), &content).unwrap();
        let broker = store.open_after_kill();
        let cut = broker.recovery().partitions[0].cut.clone();
        assert_eq!(cut.is_none(), is_room);
        if let Some(cut) = cut {
            assert_eq!((cut.file_pos, cut.bytes), (len as u64, tail.len() as u64));
            assert_eq!(cut.kept_in.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>(), [tail]);
        }
        assert_eq!(fs::metadata(store.file(LOG)).unwrap().len(), len as u64);
        assert_eq!(all_values(&broker), [b"first"]);
    }
}

/// The segments of partition `t-0`, oldest first.
pub(crate) fn segments(store: &Store) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(store.dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    logs.sort();
    logs
}

/// A store with 50 records in several segments, as a power cut leaves it whose checkpoint is still the first one.
pub(crate) fn with_first_checkpoint() -> Store {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(1000));
    let checkpoint = fs::read(store.file("thalweg-checkpoint")).unwrap();
    send_each(&broker, (0..50u8).map(|value| [value; 40]));
    broker.close().unwrap();
    fs::write(store.file("thalweg-checkpoint"), checkpoint).unwrap();
    assert!(segments(&store).len() > 4);
    store
}

/// Opens the store, whose log is torn, and checks that it goes on from there, also after the next kill.
fn goes_on_after_a_cut(store: &Store, kept: usize) -> thalweg::Cut {
    let broker = store.open_after_kill();
    let cut = broker.recovery().partitions[0].cut.clone().unwrap();
    let end = cut.log_end;
    assert!(all_values(&broker).into_iter().eq((0..end as u8).map(|value| vec![value; 40])), "no gap");
    assert_eq!(cut.kept_in.len(), kept, "{cut}");
    assert!(cut.kept_in.iter().all(|path| path.exists()));
    assert_eq!(send_each(&broker, (0..40).map(|_| [99; 40]))[0], end);
    broker.close().unwrap();
    let broker = store.open_after_kill();
    assert_eq!(broker.recovery().cut_bytes(), 0);
    assert_eq!(all_values(&broker).len() as i64, end + 40);
    cut
}

#[test]
fn a_tear_before_the_last_segment_ends_the_log_there() {
    let store = with_first_checkpoint();
    let logs = segments(&store);
    let content = fs::read(&logs[1]).unwrap();
    fs::write(&logs[1], &content[..content.len() - 1]).unwrap();
    fs::write(logs.last().unwrap(), []).unwrap(); // created by the roll, and nothing more of it arrived
    let behind: u64 = logs[2..].iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    let cut = goes_on_after_a_cut(&store, logs.len() - 3);
    assert_eq!(cut.file, logs[1]);
    assert!(cut.bytes > behind);
}

/// Defends D6.
#[test]
fn a_segment_that_ends_too_early_leaves_no_gap() {
    let store = with_first_checkpoint();
    let logs = segments(&store);
    let content = fs::read(&logs[1]).unwrap();
    let batch = 12 + u32::from_be_bytes(content[8..12].try_into().unwrap()) as usize;
    fs::write(&logs[1], &content[..2 * batch]).unwrap(); // whole batches, but not all
    let cut = goes_on_after_a_cut(&store, logs.len() - 2);
    assert!(cut.reason.contains("next segment"), "{cut}");
}

#[test]
fn a_size_that_grew_is_not_taken_for_a_torn_end() {
    let store = with_first_checkpoint();
    let logs = segments(&store);
    logs[1..].iter().for_each(|path| fs::remove_file(path).unwrap());
    let mut content = fs::read(&logs[0]).unwrap();
    content[8] ^= 0x40; // the first batch seems to reach beyond the end of the file
    fs::write(&logs[0], &content).unwrap();
    let broker = store.open_after_kill();
    let cut = broker.recovery().partitions[0].cut.clone().unwrap();
    assert_eq!((cut.file_pos, cut.bytes), (0, content.len() as u64));
    assert_eq!(fs::read(&cut.kept_in[0]).unwrap(), content, "the batches behind are not thrown away");
}

#[test]
fn a_second_recovery_keeps_the_first_side_file() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, ["first"]);
    broker.close().unwrap();
    let len = fs::metadata(store.file(LOG)).unwrap().len();
    for (round, garbage) in [[0xaau8; 100], [0xbb; 100]].into_iter().enumerate() {
        let mut content = fs::read(store.file(LOG)).unwrap();
        content.extend(garbage);
        fs::write(store.file(LOG), content).unwrap();
        let broker = store.open_after_kill();
        assert_eq!(broker.recovery().partitions[0].cut.clone().unwrap().kept_in.len(), 1);
        broker.close().unwrap();
        let kept = |suffix: &str| fs::read(store.file(&format!("{LOG}.{len}.corrupt{suffix}")));
        assert_eq!(kept("").unwrap(), [0xaa; 100]);
        assert_eq!(kept(".1").ok(), (round == 1).then(|| vec![0xbb; 100]));
    }
}

/// Defends D14.
#[test]
fn a_recovery_that_was_cut_short_goes_on() {
    let store = with_first_checkpoint();
    let logs = segments(&store);
    let content = fs::read(&logs[1]).unwrap();
    fs::write(&logs[1], &content[..content.len() - 1]).unwrap();
    // The last segment was set aside, and then the power went.
    let last = logs.last().unwrap();
    fs::rename(last, last.with_extension("log.corrupt")).unwrap();
    goes_on_after_a_cut(&store, logs.len() - 3);
}

#[test]
fn a_log_without_checkpoint_may_have_gaps_and_loses_nothing() {
    for damage_checkpoint in [false, true] {
        let store = with_first_checkpoint();
        let logs = segments(&store);
        fs::remove_file(&logs[1]).unwrap(); // a gap, as compaction leaves it
        if damage_checkpoint {
            let mut checkpoint = fs::read(store.file("thalweg-checkpoint")).unwrap();
            checkpoint[20] ^= 1;
            fs::write(store.file("thalweg-checkpoint"), checkpoint).unwrap();
        } else {
            fs::remove_file(store.file("thalweg-checkpoint")).unwrap();
        }
        for open in [Store::open, Store::open_after_kill, Store::open_after_kill] {
            let broker = open(&store);
            assert_eq!((broker.recovery().failed.len(), broker.recovery().cut_bytes()), (0, 0));
            assert!(segments(&store).len() >= logs.len() - 1);
            let values = all_values(&broker);
            assert!((30..50).contains(&values.len()));
            assert_eq!(values.last().unwrap(), &[49; 40]);
            broker.close().unwrap();
        }
    }
}

#[test]
fn damage_in_a_log_without_checkpoint_changes_nothing() {
    let store = with_first_checkpoint();
    fs::remove_file(store.file("thalweg-checkpoint")).unwrap();
    let logs = segments(&store);
    let mut content = fs::read(&logs[1]).unwrap();
    content[70] ^= 1;
    fs::write(&logs[1], &content).unwrap();
    let broker = store.open_after_kill();
    assert!(broker.recovery().partitions[0].damage.is_some());
    let partition = broker.partition(&tp(0)).unwrap();
    assert!(partition.fetch(0, &Default::default()).is_ok(), "what is whole can be read");
    assert_eq!(segments(&store), logs);
    assert_eq!(fs::read(&logs[1]).unwrap(), content);
}

#[test]
fn a_sealed_segment_that_is_short_or_missing_is_an_error_when_it_is_read() {
    for missing in [false, true] {
        let store = Store::new();
        let broker = store.open_with_topic(1, fast().internal_segment_bytes(1000));
        send_each(&broker, (0..50u8).map(|value| [value; 40]));
        broker.close().unwrap();
        let logs = segments(&store);
        if missing {
            fs::remove_file(&logs[1]).unwrap();
        } else {
            let content = fs::read(&logs[1]).unwrap();
            let batch = 12 + u32::from_be_bytes(content[8..12].try_into().unwrap()) as usize;
            fs::write(&logs[1], &content[..2 * batch]).unwrap();
        }
        let broker = store.open();
        let partition = broker.partition(&tp(0)).unwrap();
        let mut offset = 0;
        let error = loop {
            match partition.fetch(offset, &Default::default()).and_then(|fetched| fetched.decode(true)) {
                Ok(records) => {
                    assert!(records.iter().map(|record| record.offset()).eq(offset..records.next_offset()));
                    offset = records.next_offset();
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), &ErrorKind::CorruptRecord { offset, reason: error_reason(&error) });
        assert!(error.to_string().contains("missing"), "{error}");
        // Behind the hole everything is there.
        let base = logs[2].file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let records = partition.fetch(base, &Default::default()).unwrap().decode(true).unwrap();
        assert_eq!(records.next_offset(), 50);
    }
}

fn error_reason(error: &thalweg::Error) -> String {
    match error.kind() {
        ErrorKind::CorruptRecord { reason, .. } => reason.clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn an_index_entry_that_disagrees_with_the_log_is_not_believed() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().index_interval_bytes(0).internal_segment_bytes(4000));
    send_each(&broker, (0..100u8).map(|value| [value; 40]));
    broker.close().unwrap();
    let path = store.file("00000000000000000000.index");
    let index = fs::read(&path).unwrap();
    for byte in (0..index.len()).step_by(7) {
        for bit in [0, 5] {
            let mut wrong = index.clone();
            wrong[byte] ^= 1 << bit;
            fs::write(&path, wrong).unwrap();
            let broker = store.open();
            let partition = broker.partition(&tp(0)).unwrap();
            for offset in (0..40).step_by(3) {
                let records = partition.fetch(offset, &thalweg::FetchOptions::new().max_bytes(1)).unwrap();
                let first = records.decode(true).unwrap().iter().next().map(|record| record.offset());
                assert_eq!(first, Some(offset), "byte {byte}, bit {bit}");
            }
            fs::write(store.dir.path().join(".kafka_cleanshutdown"), "").unwrap(); // the next open is as after a close
            drop(broker);
        }
    }
}

#[test]
fn a_log_that_lost_what_its_checkpoint_promised_does_not_take_records() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(1000));
    send_each(&broker, (0..50u8).map(|value| [value; 40]));
    broker.close().unwrap();
    let logs = segments(&store);
    for remove in [1, logs.len()] {
        logs.iter().rev().take(remove).for_each(|path| {
            let _ = fs::remove_file(path);
        });
        for open in [Store::open, Store::open_after_kill] {
            let broker = open(&store);
            assert!(!broker.recovery().is_whole(), "{}", broker.recovery());
            let partition = broker.partition(&tp(0)).unwrap();
            let lost = partition.fetch(49, &Default::default()).unwrap_err();
            assert!(matches!(lost.kind(), ErrorKind::CorruptRecord { .. }), "{lost}");
            let sent = producer(&broker).send(thalweg::ProducerRecord::new("t", "v")).unwrap().wait();
            assert!(matches!(sent.unwrap_err().kind(), ErrorKind::CorruptRecord { .. }));
            broker.close().unwrap();
        }
    }
}

#[test]
fn a_log_that_is_not_what_the_checkpoint_says_is_walked_after_a_clean_close() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, ["first", "second"]);
    broker.close().unwrap();
    let content = fs::read(store.file(LOG)).unwrap();
    fs::write(store.file(LOG), &content[..content.len() - 1]).unwrap();
    let broker = store.open();
    assert!(!broker.recovery().is_whole(), "below the recovery point it is damage, not a torn end");
    let error = broker.partition(&tp(0)).unwrap().fetch(1, &Default::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::CorruptRecord { offset: 1, .. }), "{error}");
    assert_eq!(error.file(), Some(store.file(LOG).as_path()));
    assert_eq!(fs::metadata(store.file(LOG)).unwrap().len(), content.len() as u64 - 1, "nothing was cut");
}

/// Defends D16.
#[test]
fn damage_in_one_partition_leaves_the_others_working() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast());
    send_each(&broker, ["first", "second"]);
    let producer = producer(&broker);
    let other = thalweg::ProducerRecord::new("t", "other").partition(1);
    producer.send(other.clone()).unwrap().wait().unwrap();
    drop(producer);
    broker.close().unwrap();
    let mut content = fs::read(store.file(LOG)).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(store.file(LOG), &content).unwrap();
    let broker = store.open();
    assert!(broker.recovery().partitions[0].damage.is_some());
    let sent = crate::support::producer(&broker).send(other).unwrap().wait().unwrap();
    assert_eq!((sent.partition, sent.offset), (tp(1), 1));
    broker.close().unwrap();
    fs::write(store.dir.path().join(".kafka_cleanshutdown"), "").unwrap();
    assert!(!store.open().recovery().is_whole(), "damage is not forgotten by a close");
}

#[test]
fn a_missing_partition_directory_is_an_error_of_that_partition() {
    let store = Store::new();
    store.open_with_topic(2, fast()).close().unwrap();
    fs::remove_dir_all(store.dir.path().join("t-0")).unwrap();
    let broker = store.open();
    assert!(broker.partition(&tp(0)).unwrap().log_end().is_err());
    assert_eq!(broker.partition(&tp(1)).unwrap().log_end().unwrap(), 0);
    assert!(!store.dir.path().join("t-0").exists(), "it is not made anew, which would hide the loss");
}

#[test]
fn index_files_are_a_cache() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().index_interval_bytes(0).internal_segment_bytes(2000));
    send_each(&broker, (0..100u8).map(|value| [value; 40]));
    let expected = all_values(&broker);
    broker.close().unwrap();
    let indexes = || fs::read_dir(store.dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let indexes = || indexes().filter(|path| path.extension().is_some_and(|ext| ext == "index" || ext == "timeindex"));
    assert!(indexes().count() > 6);
    for content in [None, Some(vec![]), Some(vec![0; 16]), Some(vec![0xff; 24]), Some(vec![1; 7])] {
        for path in indexes().collect::<Vec<_>>() {
            match &content {
                None => fs::remove_file(path).unwrap(),
                Some(content) => fs::write(path, content).unwrap(),
            }
        }
        for open in [Store::open, Store::open_after_kill] {
            let broker = open(&store);
            assert_eq!(all_values(&broker), expected);
            let partition = broker.partition(&tp(0)).unwrap();
            for offset in 0..100 {
                let records = partition.fetch(offset, &Default::default()).unwrap().decode(true).unwrap();
                assert_eq!(records.iter().next().unwrap().value().unwrap(), [offset as u8; 40]);
            }
            broker.close().unwrap();
        }
    }
}

#[test]
fn logs_that_come_without_settings_become_topics() {
    let store = Store::new();
    let broker = store.open_with_topic(2, TopicConfig::new());
    send_each(&broker, ["a"]);
    let id = broker.topic("t").unwrap().id();
    broker.close().unwrap();
    fs::remove_file(store.dir.path().join("t.topic")).unwrap();
    let broker = store.open();
    assert_eq!(broker.recovery().adopted, ["t"]);
    let topic = broker.topic("t").unwrap();
    assert_eq!((topic.partitions(), topic.id()), (2, id));
    assert_eq!(all_values(&broker), [b"a"]);
    broker.close().unwrap();
    assert!(store.open().recovery().adopted.is_empty());
}

#[test]
fn unknown_names_are_left_alone() {
    let store = Store::new();
    store.open_with_topic(1, TopicConfig::new()).close().unwrap();
    fs::write(store.dir.path().join("notes.txt"), "mine").unwrap();
    fs::create_dir(store.dir.path().join("photos-2")).unwrap();
    fs::write(store.dir.path().join("photos-2/one.jpg"), "mine").unwrap();
    fs::create_dir(store.dir.path().join("t-0.0123456789abcdef0123456789abcdef-delete")).unwrap();
    let broker = store.open();
    assert_eq!(broker.recovery().ignored, ["photos-2"]);
    assert!(matches!(broker.topic("photos").unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition { .. }));
    assert!(broker.partition(&TopicPartition::new("photos", 2)).is_err());
    assert_eq!(fs::read(store.dir.path().join("photos-2/one.jpg")).unwrap(), b"mine");
}

#[test]
fn a_sealed_segment_that_is_damaged_keeps_the_rest_readable() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(1000));
    send_each(&broker, (0..50u8).map(|value| [value; 40]));
    broker.close().unwrap();
    let file = OpenOptions::new().read(true).write(true).open(store.file(LOG)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff], 80).unwrap();
    let broker = store.open();
    let partition = broker.partition(&tp(0)).unwrap();
    let error = partition.fetch(0, &Default::default()).unwrap().decode(true).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::CorruptRecord { offset: 0, .. }), "{error}");
    assert_eq!((error.file(), error.file_pos()), (Some(store.file(LOG).as_path()), Some(0)));
    let records = partition.fetch(1, &Default::default()).unwrap().decode(true).unwrap();
    assert_eq!(records.iter().next().unwrap().value().unwrap(), [1; 40]);
}

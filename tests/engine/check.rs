//! Checking and printing: what is good is called good, and no damage goes unnoticed.

use std::fs;
use std::path::{Path, PathBuf};

use thalweg::{
    DumpOptions, ErrorKind, ProducerConfig, ProducerRecord, Severity, TopicConfig, Verification, dump, verify,
};

use crate::support::{Store, fast, open, producer, send_each};

const LOG: &str = "00000000000000000000.log";

/// Bytes of each batch in [`store`].
const BATCH: usize = 98;

/// A directory with a topic `t` of several segments with indexes, closed in order.
fn store(count: u8) -> Store {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(700).index_interval_bytes(100));
    let producer = producer(&broker);
    for at in 0..count {
        let value = [at; 30];
        let record = ProducerRecord::new("t", &value).partition(0).timestamp(1000 + i64::from(at) / 2);
        producer.send(record).unwrap().wait().unwrap();
    }
    broker.close().unwrap();
    store
}

/// Files of partition `t-0` with this ending, by name.
fn files(store: &Store, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    files
}

fn check(store: &Store) -> Verification {
    verify(store.dir.path()).unwrap()
}

/// The findings in a file, each with its severity.
fn found_in(verification: &Verification, file: &Path) -> Vec<(Severity, String)> {
    let findings = verification.findings.iter().filter(|finding| finding.file == file);
    findings.map(|finding| (finding.severity, finding.what.clone())).collect()
}

#[test]
fn a_good_directory_has_nothing_to_be_said_about() {
    let store = store(40);
    let found = check(&store);
    assert!(found.findings.is_empty(), "{found}");
    assert!(found.clean);
    assert_eq!((found.topics, found.partitions, found.batches, found.records), (1, 1, 40, 40));
    assert_eq!(found.segments, files(&store, ".log").len());
    assert!(found.segments > 3);
    let bytes: u64 = files(&store, ".log").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(found.bytes, bytes);
    drop(store.open());
    assert!(check(&store).findings.is_empty(), "it changes nothing");
}

#[test]
fn a_directory_in_use_and_one_of_somebody_else_are_refused() {
    let store = store(1);
    let broker = store.open();
    let refused = verify(store.dir.path()).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::DirectoryLocked { .. }), "{refused}");
    broker.close().unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let refused = verify(dir.path()).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::NotADataDirectory { .. }), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "not even a lock file is left there");
    assert!(matches!(verify(dir.path().join("none")).unwrap_err().kind(), ErrorKind::Io { .. }));
}

#[test]
fn what_kafka_wrote_holds() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.2.1");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("meta.properties"), "version=1\nnode.id=1\n").unwrap();
    for entry in fs::read_dir(fixture).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            let to = dir.path().join(entry.file_name());
            fs::create_dir(&to).unwrap();
            for file in fs::read_dir(entry.path()).unwrap().map(|file| file.unwrap()) {
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    }
    for number in 0..50 {
        fs::create_dir_all(dir.path().join(format!("__consumer_offsets-{number}"))).unwrap(); // those without records
    }
    for round in ["copied", "opened and closed"] {
        let found = verify(dir.path()).unwrap();
        assert!(found.worst() < Some(Severity::Warning), "{round}: {found}");
        assert!(found.records > 280 && found.segments >= 20, "{round}: {found}");
        drop(open(dir.path()).unwrap());
    }
}

#[test]
fn no_flipped_bit_of_a_segment_goes_unnoticed() {
    let store = store(40);
    let logs = files(&store, ".log");
    for log in [&logs[0], &logs[2], logs.last().unwrap()] {
        let good = fs::read(log).unwrap();
        for byte in (0..good.len()).filter(|byte| byte % 7 == 0 || *byte < 62) {
            let mut bad = good.clone();
            bad[byte] ^= 1 << (byte % 8);
            fs::write(log, &bad).unwrap();
            let found = check(&store);
            let expected = if (12..16).contains(&(byte % BATCH)) { Severity::Warning } else { Severity::Error };
            assert_eq!(found.worst(), Some(expected), "byte {byte} of {}: {found}", log.display());
            assert!(!found_in(&found, log).is_empty(), "byte {byte} of {}: {found}", log.display());
        }
        fs::write(log, &good).unwrap();
    }
    assert!(check(&store).findings.is_empty());
}

#[test]
fn damage_in_one_segment_hides_nothing_in_another() {
    let store = store(60);
    let logs = files(&store, ".log");
    for log in [&logs[1], &logs[3]] {
        let mut content = fs::read(log).unwrap();
        content[40] ^= 1;
        fs::write(log, content).unwrap();
    }
    let found = check(&store);
    assert_eq!(found.count(Severity::Error), 2, "{found}");
    for log in [&logs[1], &logs[3]] {
        let [(Severity::Error, what)] = &found_in(&found, log)[..] else { panic!("{found}") };
        assert!(what.contains("the checksum is") && what.contains("a whole batch follows at byte"), "{what}");
    }
    let first = found.findings.first().unwrap();
    assert_eq!((first.file_pos, first.offset.is_some()), (Some(0), true));
    assert!(found.records < 60 && found.records > 40, "those before and behind are counted");
}

#[test]
fn every_changed_index_entry_is_found() {
    let store = store(40);
    for ending in [".index", ".timeindex"] {
        let file = files(&store, ending).into_iter().find(|path| path.metadata().unwrap().len() > 20).unwrap();
        let good = fs::read(&file).unwrap();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1;
            fs::write(&file, &bad).unwrap();
            let found = check(&store);
            assert!(
                found_in(&found, &file).iter().any(|(severity, _)| *severity > Severity::Note),
                "byte {byte}: {found}"
            );
        }
        fs::write(&file, &good[..good.len() - 1]).unwrap();
        assert_eq!(found_in(&check(&store), &file)[0].0, Severity::Warning);
        fs::remove_file(&file).unwrap();
        assert_eq!(found_in(&check(&store), &file)[0].0, Severity::Note, "a cache");
        fs::write(&file, &good).unwrap();
    }
}

#[test]
fn small_files_are_compared_with_the_rest() {
    let store = store(40);
    let root = store.dir.path();
    for (file, content, severity) in [
        (store.file("thalweg-checkpoint"), Some("0\n"), Severity::Warning),
        (store.file("thalweg-checkpoint"), None, Severity::Note),
        (store.file("leader-epoch-checkpoint"), Some("0\n1\n0\n"), Severity::Warning),
        (store.file("leader-epoch-checkpoint"), None, Severity::Note),
        (store.file("partition.metadata"), Some("version: 0\ntopic_id: ABEiM0RVZneImaq7zN3u_w"), Severity::Warning),
        (store.file("partition.metadata"), Some("version: 0\n"), Severity::Warning),
        (root.join("t.topic"), Some("partitions=1\n"), Severity::Error),
        (root.join("meta.properties"), Some("cluster.id=1\n"), Severity::Warning),
        (root.join("meta.properties"), None, Severity::Warning),
    ] {
        let good = fs::read(&file).unwrap();
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let found = check(&store);
        assert_eq!(found_in(&found, &file)[0].0, severity, "{}: {found}", file.display());
        assert_eq!(found.worst(), Some(severity), "{found}");
        fs::write(&file, good).unwrap();
    }
    assert!(check(&store).findings.is_empty());
}

#[test]
fn names_that_do_not_belong_there_are_noted_and_missing_ones_missed() {
    let store = store(40);
    let root = store.dir.path();
    for (name, text) in [
        (root.join("letter.txt"), "a name that is not known here"),
        (root.join("thalweg.tmp"), "left by a write that was cut short"),
        (store.file("00000000000000000000.log.61.corrupt"), "4 bytes that were taken out of the log"),
        (store.file("letter.swap"), "left by a write or removal that was cut short"),
        (store.file("00000000000000000999.index"), "it belongs to no segment"),
        (store.file("notes"), "a file that is not known here"),
    ] {
        fs::write(&name, "text").unwrap();
        assert_eq!(found_in(&check(&store), &name), [(Severity::Note, text.to_owned())]);
        fs::remove_file(&name).unwrap();
    }
    fs::write(store.file("00000000000000000009.snapshot"), [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    fs::write(store.file("00000000000000000000.txnindex"), [1; 34]).unwrap();
    assert_eq!(check(&store).count(Severity::Warning), 2);
    fs::rename(root.join("t-0"), root.join("t-7")).unwrap();
    let found = check(&store);
    assert_eq!(found_in(&found, &root.join("t-0"))[0].0, Severity::Error, "{found}");
    assert_eq!(found_in(&found, &root.join("t-7"))[0].0, Severity::Warning, "{found}");
}

#[test]
fn a_segment_that_is_gone_is_missed() {
    let store = store(60);
    let logs = files(&store, ".log");
    for (at, log) in logs.iter().enumerate() {
        let good = fs::read(log).unwrap();
        fs::remove_file(log).unwrap();
        let found = check(&store);
        assert_eq!(found.count(Severity::Error), 1, "segment {at}: {found}");
        fs::write(log, good).unwrap();
    }
    for log in &logs {
        fs::remove_file(log).unwrap();
    }
    assert_eq!(check(&store).worst(), Some(Severity::Error));
}

#[test]
fn a_torn_end_behind_the_recovery_point_is_what_the_next_open_cuts() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let checkpoint = fs::read(store.file("thalweg-checkpoint")).unwrap();
    send_each(&broker, ["a", "b", "c"]);
    broker.close().unwrap();
    let log = store.file(LOG);
    let content = fs::read(&log).unwrap();
    fs::write(&log, &content[..content.len() - 3]).unwrap();
    let [(Severity::Error, _)] = &found_in(&check(&store), &log)[..] else { panic!("below the recovery point") };
    fs::write(store.file("thalweg-checkpoint"), checkpoint).unwrap(); // as a crash leaves it
    fs::remove_file(store.dir.path().join(".kafka_cleanshutdown")).unwrap();
    let found = check(&store);
    assert!(!found.clean);
    let [(Severity::Warning, what)] = &found_in(&found, &log)[..] else { panic!("{found}") };
    assert!(what.contains("the next open cuts"), "{what}");
    let broker = store.open();
    let cut = broker.recovery().cut_bytes();
    assert!(what.contains(&format!("cuts {cut} bytes off")), "{what}, {cut}");
    broker.close().unwrap();
    assert!(check(&store).worst() < Some(Severity::Warning));
}

fn dumped(path: &Path, options: &DumpOptions) -> String {
    let mut out = Vec::new();
    dump(path, options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A partition with three batches, of one record each but the first, whose bytes are always the same.
fn tiny() -> Store {
    let store = Store::new();
    let broker = store.open_with_topic(1, TopicConfig::new().index_interval_bytes(50));
    let producer = broker.producer(ProducerConfig::new().enable_idempotence(false)).unwrap();
    let record = |value: &'static str| ProducerRecord::new("t", value).partition(0).timestamp(1000);
    let send = |record: ProducerRecord| producer.send(record).unwrap().wait().unwrap();
    send(record("one").key("k\n\"").header("h", Some("x")).header("n", Some("y\0")));
    send(record("two"));
    send(record("three").timestamp(2000));
    drop(producer);
    broker.close().unwrap();
    store
}

#[test]
fn a_dump_is_text_that_a_person_can_read() {
    let store = tiny();
    let golden = r#"Dumping 00000000000000000000.log
baseOffset: 0 lastOffset: 0 count: 1 baseSequence: -1 lastSequence: -1 producerId: -1 producerEpoch: -1 partitionLeaderEpoch: 0 isTransactional: false isControl: false position: 0 CreateTime: 1000 size: 83 magic: 2 compresscodec: none crc: 3296312129 isvalid: true
| offset: 0 CreateTime: 1000 keySize: 3 valueSize: 3 headers: [h="x",n="y\x00"] key: "k\n\"" payload: "one"
baseOffset: 1 lastOffset: 1 count: 1 baseSequence: -1 lastSequence: -1 producerId: -1 producerEpoch: -1 partitionLeaderEpoch: 0 isTransactional: false isControl: false position: 83 CreateTime: 1000 size: 71 magic: 2 compresscodec: none crc: 2910372663 isvalid: true
| offset: 1 CreateTime: 1000 keySize: -1 valueSize: 3 key: null payload: "two"
baseOffset: 2 lastOffset: 2 count: 1 baseSequence: -1 lastSequence: -1 producerId: -1 producerEpoch: -1 partitionLeaderEpoch: 0 isTransactional: false isControl: false position: 154 CreateTime: 2000 size: 73 magic: 2 compresscodec: none crc: 1441255067 isvalid: true
| offset: 2 CreateTime: 2000 keySize: -1 valueSize: 5 key: null payload: "three"
"#;
    assert_eq!(dumped(&store.file(LOG), &DumpOptions::new().records(true)), golden);
}

#[test]
fn every_kind_of_file_can_be_dumped() {
    let store = tiny();
    let all = dumped(&store.dir.path().join("t-0"), &DumpOptions::new().records(true).hex(true));
    let lines: Vec<_> = all.lines().collect();
    for expected in [
        "offset: 1 position: 83",
        "timestamp: 2000 offset: 2",
        "| offset: 0 CreateTime: 1000 keySize: 3 valueSize: 3 headers: [h=0x78,n=0x7900] key: 0x6b0a22 payload: 0x6f6e65",
        "Dumping leader-epoch-checkpoint",
        "Dumping partition.metadata",
        "recovery-point 00000000000000000003",
    ] {
        assert!(lines.contains(&expected), "{expected}: {all}");
    }
    assert!(dumped(&store.dir.path().join("t.topic"), &DumpOptions::new()).contains("\npartitions=1\n"));
    fs::write(store.dir.path().join("letter.txt"), "dear").unwrap();
    let refused = dump(store.dir.path().join("letter.txt"), &DumpOptions::new(), &mut Vec::new()).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::IllegalArgument { .. }), "{refused}");
}

#[test]
fn kafkas_side_files_and_markers_can_be_dumped() {
    let txns = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.2.1/txns-0");
    let all = dumped(&txns, &DumpOptions::new().records(true));
    for expected in
        ["endTxnMarker: ABORT coordinatorEpoch: 0", "endTxnMarker: COMMIT", "isTransactional: true isControl: true"]
    {
        assert!(all.contains(expected), "{expected}: {all}");
    }
    let txn_index = dumped(&txns.join("00000000000000000003.txnindex"), &DumpOptions::new());
    assert!(txn_index.lines().nth(1).unwrap().starts_with("version: 0 producerId: "), "{txn_index}");
    let snapshot = dumped(&txns.join("00000000000000000012.snapshot"), &DumpOptions::new());
    assert!(snapshot.lines().nth(1).unwrap().starts_with("producerId: "), "{snapshot}");
    assert!(!all.contains("damage"), "{all}");
}

#[test]
fn a_dump_goes_on_behind_damage() {
    let store = tiny();
    let good = fs::read(store.file(LOG)).unwrap();
    let mut bad = good.clone();
    bad[83 + 16] = 7; // the version of the second batch
    bad[60 + 154] ^= 1; // the number of records of the third
    fs::write(store.file(LOG), &bad).unwrap();
    let text = dumped(&store.file(LOG), &DumpOptions::new());
    assert!(text.contains("damage at position: 83 the format version is 7 instead of 2"), "{text}");
    assert!(!text.contains("position: 154 "), "a batch with a wrong checksum is not found by looking for one: {text}");
    bad[83 + 16] = 2;
    fs::write(store.file(LOG), &bad).unwrap();
    let text = dumped(&store.file(LOG), &DumpOptions::new().records(true));
    let third = text.lines().find(|line| line.contains("position: 154 ")).unwrap();
    assert!(third.ends_with("isvalid: false"), "{text}");
    // A side file, whose positions are those in the segment.
    let side = store.file("00000000000000000000.log.80.corrupt");
    fs::write(&side, &good[80..200]).unwrap();
    let text = dumped(&side, &DumpOptions::new());
    let lines: Vec<_> = text.lines().skip(1).collect();
    assert!(lines[0].starts_with("damage at position: 80 "), "{text}");
    assert!(lines[1].starts_with("baseOffset: 1 ") && lines[1].contains(" position: 83 "), "{text}");
    assert_eq!(lines[2], "damage at position: 154 the file ends within a batch, 46 bytes behind its beginning");
}

#[test]
fn no_bytes_stop_a_dump_or_get_into_the_text() {
    let store = tiny();
    let good = fs::read(store.file(LOG)).unwrap();
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 0x9b;
        fs::write(store.file(LOG), &bad[..good.len() - byte % 3]).unwrap();
        let text = dumped(&store.file(LOG), &DumpOptions::new().records(true));
        assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text}");
        assert!(text.contains("baseOffset: "), "byte {byte}: at least one batch can be read: {text}");
    }
}

#[test]
fn offsets_at_the_end_of_all_numbers_can_be_checked_and_dumped() {
    let store = store(1);
    let first = store.file("00000000000000000000.log");
    let mut content = fs::read(&first).unwrap();
    let base = i64::MAX - 5;
    content[..8].copy_from_slice(&base.to_be_bytes());
    fs::remove_file(first).unwrap();
    fs::write(store.file(&format!("{base:020}.log")), &content).unwrap();
    fs::write(store.file(&format!("{base:020}.index")), [0, 0, 0, 100, 0, 0, 0, 0]).unwrap();
    fs::write(store.file(&format!("{base:020}.timeindex")), [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 100]).unwrap();
    fs::write(store.file(&format!("{base:020}.log.{}.corrupt", u64::MAX)), [content, vec![1; 70]].concat()).unwrap();
    assert_eq!(check(&store).worst(), Some(Severity::Error));
    let text = dumped(&store.file(""), &DumpOptions::new().records(true));
    assert!(text.contains(&format!("baseOffset: {base}")) && text.contains(&u64::MAX.to_string()), "{text}");
}

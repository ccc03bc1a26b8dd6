//! What checks and repairs say of changes that were cut short, and of what was taken away.

use std::fs;
use std::path::{Path, PathBuf};

use thalweg::{Offset, RepairOptions, Severity, TopicConfig, Verification, repair, verify};

use crate::support::{Store, fast, send_each, tp};

const COUNT: i64 = 30;

fn small() -> TopicConfig {
    fast().internal_segment_bytes(500)
}

/// A directory with a topic `t` of several segments, closed in order.
fn store(partitions: i32) -> Store {
    let store = Store::new();
    let broker = store.open_with_topic(partitions, small());
    send_each(&broker, (0..COUNT).map(|_| "v"));
    broker.close().unwrap();
    store
}

fn check(store: &Store) -> Verification {
    verify(store.dir.path()).unwrap()
}

fn log(base: Offset) -> String {
    format!("{base:020}.log")
}

/// The segments of partition `t-0`, by base.
fn bases(dir: &Path) -> Vec<Offset> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut bases: Vec<_> = names.filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    bases.sort_unstable();
    bases
}

fn copy_dir(from: PathBuf, to: PathBuf) {
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_replacement_that_was_cut_short_is_left_for_the_next_open() {
    for ending in [".swap", ".cleaned", ".deleted"] {
        let store = store(1);
        let second = log(bases(&store.file(""))[1]);
        let unfinished = store.file(&format!("{second}{ending}"));
        if ending == ".swap" {
            fs::rename(store.file(&second), &unfinished).unwrap();
        } else {
            fs::copy(store.file(&second), &unfinished).unwrap();
        }
        let found = check(&store);
        assert_eq!((found.worst(), found.count(Severity::Warning)), (Some(Severity::Warning), 1), "{found}");
        let options = RepairOptions::new().cut_damage(true).accept_loss(true).truncate_to(tp(0), 3);
        let report = repair(store.dir.path(), &options).unwrap();
        assert_eq!((report.steps.len(), report.left.len()), (0, 1), "{report}");
        assert!(report.left[0].file == unfinished && report.left[0].what.contains("open the directory first"));
        let broker = store.open();
        assert_eq!(broker.partition(&tp(0)).unwrap().log_end().unwrap(), COUNT, "{}", broker.recovery());
        broker.close().unwrap();
        assert!(check(&store).worst() < Some(Severity::Warning), "an index may be missing");
    }
}

#[test]
fn a_replacement_that_is_damaged_is_an_error() {
    let store = store(1);
    let second = log(bases(&store.file(""))[1]);
    let unfinished = store.file(&format!("{second}.swap"));
    fs::rename(store.file(&second), &unfinished).unwrap();
    let mut content = fs::read(&unfinished).unwrap();
    content[69 + 40] ^= 1;
    fs::write(&unfinished, &content).unwrap();
    let found = check(&store);
    let errors: Vec<_> = found.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert_eq!((errors.len(), &errors[0].file, errors[0].file_pos), (1, &unfinished, Some(69)), "{found}");
    let broker = store.open();
    assert_eq!(broker.recovery().failed.len(), 1, "opening says the same");
    broker.close().unwrap();
    fs::write(store.file("00000000000000000000.index.cleaned"), "").unwrap();
    let found = check(&store);
    assert_eq!(found.worst(), Some(Severity::Error), "what was replaced is not there any more: {found}");
}

#[test]
fn damage_beside_a_replacement_is_still_found() {
    let store = store(1);
    let bases = bases(&store.file(""));
    fs::rename(store.file(&log(bases[1])), store.file(&format!("{}.swap", log(bases[1])))).unwrap();
    let first = store.file(&log(bases[0]));
    let mut content = fs::read(&first).unwrap();
    content[69 + 40] ^= 1;
    fs::write(first, content).unwrap();
    assert_eq!(check(&store).worst(), Some(Severity::Error));
}

#[test]
fn topics_that_are_half_made_or_half_gone_are_notes() {
    for state in ["creating", "deleting"] {
        let store = store(2);
        store.set_state(state);
        let unique = "00112233445566778899aabbccddeeff";
        if state == "deleting" {
            fs::rename(store.dir.path().join("t-1"), store.dir.path().join(format!("t-1.{unique}-delete"))).unwrap();
            fs::remove_file(store.file(&log(0))).unwrap();
        } else {
            fs::remove_dir_all(store.dir.path().join("t-1")).unwrap();
        }
        let found = check(&store);
        assert_eq!(found.worst(), Some(Severity::Note), "{state}: {found}");
        let of_topic = found.findings.iter().filter(|finding| finding.file.ends_with("t.topic")).count();
        assert_eq!((of_topic, found.segments), (1, 0), "{state}: {found}");
    }
}

#[test]
fn partitions_that_were_being_added_are_notes_and_others_are_not() {
    let store = store(1);
    let (old, added) = (store.dir.path().join("t-0"), store.dir.path().join("t-1"));
    fs::create_dir(&added).unwrap();
    fs::copy(old.join("partition.metadata"), added.join("partition.metadata")).unwrap();
    fs::write(added.join(log(0)), "").unwrap();
    let found = check(&store);
    assert_eq!((found.worst(), found.findings.len()), (Some(Severity::Note), 1), "{found}");
    copy_dir(old, store.dir.path().join("t-2"));
    let found = check(&store);
    assert_eq!((found.worst(), found.findings.len()), (Some(Severity::Warning), 2), "{found}");
}

#[test]
fn a_partition_that_was_emptied_is_lost_and_can_begin_anew() {
    let store = store(2);
    fs::remove_dir_all(store.dir.path().join("t-0")).unwrap();
    fs::create_dir(store.dir.path().join("t-0")).unwrap();
    let found = check(&store);
    assert_eq!((found.worst(), found.count(Severity::Error)), (Some(Severity::Error), 1), "{found}");

    let broker = store.open();
    let failed = &broker.recovery().failed;
    assert_eq!((failed.len(), failed[0].partition()), (1, Some(&tp(0))));
    assert!(failed[0].to_string().contains("all segments of the partition are missing"), "{}", failed[0]);
    assert_eq!(fs::read_dir(store.file("")).unwrap().count(), 0, "nothing is made there");
    assert_eq!(broker.partition(&tp(1)).unwrap().log_end().unwrap(), 0);
    broker.close().unwrap();

    let report = repair(store.dir.path(), &RepairOptions::new()).unwrap();
    assert_eq!((report.steps.len(), report.left.len()), (0, 1), "{report}");
    let report = repair(store.dir.path(), &RepairOptions::new().accept_loss(true)).unwrap();
    assert_eq!((report.steps.len(), report.left.len()), (1, 0), "{report}");
    assert_eq!(send_each(&store.open(), ["v"]), [0]);
}

#[test]
fn a_topic_that_would_be_adopted_again_is_not_deleted() {
    let store = store(1);
    copy_dir(store.dir.path().join("t-0"), store.dir.path().join("t-3"));
    let broker = store.open();
    let refused = broker.delete_topic("t").unwrap_err();
    assert!(matches!(refused.kind(), thalweg::ErrorKind::IllegalState { .. }), "{refused}");
    assert!(refused.to_string().contains("t-3"), "{refused}");
    assert_eq!(broker.partition(&tp(0)).unwrap().log_end().unwrap(), COUNT, "it is as it was");
    fs::rename(store.dir.path().join("t-3"), store.dir.path().join("aside")).unwrap();
    fs::create_dir(store.dir.path().join("t-4")).unwrap();
    fs::write(store.dir.path().join("t-4/letter.txt"), "no log, and nothing that is adopted").unwrap();
    broker.delete_topic("t").unwrap();
    broker.close().unwrap();
    let broker = store.open();
    assert!(broker.recovery().adopted.is_empty() && broker.topic("t").is_err());
}

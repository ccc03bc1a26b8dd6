//! Room that is reserved for the active segment: what the tools and the other calls make of it.

use std::fs;
use std::path::Path;

use thalweg::{DumpOptions, RepairOptions, Severity, TopicConfig, dump, repair, verify};

use crate::support::{Store, all_values, fast, open, send_each, tp};

const CAPACITY: u64 = 4000;

fn preallocated() -> TopicConfig {
    fast().internal_segment_bytes(CAPACITY).preallocate(true)
}

fn values(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|at| vec![at + 1; 100]).collect()
}

/// What a kill leaves: a copy of a directory in use.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[test]
fn the_tools_take_room_for_what_it_is() {
    let store = Store::new();
    let broker = store.open_with_topic(1, preallocated());
    send_each(&broker, values(10));
    let left = Store::new();
    copy(store.dir.path(), left.dir.path());
    let log = left.file("00000000000000000000.log");
    assert_eq!(fs::metadata(&log).unwrap().len(), CAPACITY);

    let found = verify(left.dir.path()).unwrap();
    assert_eq!((found.worst(), found.records, found.clean), (Some(Severity::Note), 10, false), "{found}");
    let size = broker.partition(&tp(0)).unwrap().size().unwrap();
    assert!(found.to_string().contains(&format!("{} bytes are reserved", CAPACITY - size)), "{found}");

    let mut out = Vec::new();
    dump(&log, &DumpOptions::new(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let last = format!("damage at position: {size} zeros up to the end of the file, {} bytes", CAPACITY - size);
    assert_eq!(text.lines().last().unwrap(), last, "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("baseOffset")).count(), 10);

    repair(left.dir.path(), &RepairOptions::new()).unwrap();
    let opened = left.open();
    assert_eq!(opened.recovery().cut_bytes(), 0, "{}", opened.recovery());
    assert_eq!(all_values(&opened), values(10));
    assert_eq!(fs::metadata(&log).unwrap().len(), size);
}

#[test]
fn a_closed_directory_has_no_room_and_nothing_to_be_said_about() {
    let store = Store::new();
    let broker = store.open_with_topic(1, preallocated());
    send_each(&broker, values(80));
    let size = broker.partition(&tp(0)).unwrap().size().unwrap();
    broker.close().unwrap();
    let found = verify(store.dir.path()).unwrap();
    assert!(found.findings.is_empty() && found.segments > 2, "{found}");
    assert_eq!(found.bytes, size);
    assert!(store.open().topic("t").unwrap().config().to_properties().contains(&("preallocate", "true".to_owned())));
}

#[test]
fn a_copy_of_a_directory_in_use_has_no_room() {
    let store = Store::new();
    let broker = store.open_with_topic(1, preallocated());
    send_each(&broker, values(80));
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("backup");
    let report = broker.checkpoint(&target).unwrap();
    assert!(report.linked_segments > 1, "{report}");
    send_each(&broker, values(40));
    let found = verify(&target).unwrap();
    assert!(found.worst() < Some(Severity::Warning) && !found.to_string().contains("reserved"), "{found}");
    let other = open(&target).unwrap();
    assert!(other.recovery().clean && other.recovery().scanned_bytes() == 0);
    assert_eq!(all_values(&other), values(80));
    assert_eq!(all_values(&broker).len(), 120);
}

#[test]
fn room_counts_for_nothing_in_retention() {
    let store = Store::new();
    let broker = store.open_with_topic(1, preallocated().retention_bytes(Some(CAPACITY)));
    send_each(&broker, values(30)); // one segment and a little
    broker.enforce_retention().unwrap();
    let partition = broker.partition(&tp(0)).unwrap();
    assert!(CAPACITY < partition.size().unwrap() && partition.size().unwrap() < 2 * CAPACITY);
    assert_eq!(partition.log_start().unwrap(), 0);
    assert_eq!(all_values(&broker), values(30));
}

//! Replacements of segments that were cut short at each step, as Kafka takes them (log.md 12.4), and the end of the
//! process in the middle of finishing them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{FetchBudget, LeftBy, Log, LogPlace};
use crate::config::TopicConfig;
use crate::error::Result;
use crate::record::{BatchBuilder, Compression, assign};
use crate::sync::{Arc, Ordering};
use crate::sys::{FaultyDisk, OpenFiles, RealDisk};
use crate::types::{Durability, Offset, TopicPartition};

/// Names and contents of the files of a partition.
type Files = BTreeMap<String, Vec<u8>>;

/// Bases of the segments that are replaced, each with ten records.
const OLD: [Offset; 3] = [0, 10, 20];
/// Bases of what replaces them, in one case of a single segment and in one of two.
const NEW: [&[Offset]; 2] = [&[0], &[0, 20]];
/// Behind the replaced ones.
const ACTIVE: Offset = 30;

fn file_name(base: Offset, kind: &str) -> String {
    format!("{base:020}.{kind}")
}

/// A segment with one record a batch, whose value tells old from new.
fn segment(offsets: impl Iterator<Item = Offset>, value: &str) -> Vec<u8> {
    let mut content = Vec::new();
    for offset in offsets {
        let mut builder = BatchBuilder::new();
        builder.push(1000, Some(b"k"), Some(value.as_bytes()), std::iter::empty());
        let batch = builder.finish(Compression::None, None).unwrap();
        assign(batch, offset, 0);
        content.extend_from_slice(batch);
    }
    content
}

fn old() -> Files {
    let mut files = Files::new();
    for base in OLD.into_iter().chain([ACTIVE]) {
        files.insert(file_name(base, "log"), segment(base..base + 10, "old"));
        files.insert(file_name(base, "index"), Vec::new());
        files.insert(file_name(base, "timeindex"), Vec::new());
    }
    files
}

/// Every second record of the old ones, and the last one.
fn new(bases: &[Offset]) -> Files {
    let mut files = Files::new();
    for (at, base) in bases.iter().enumerate() {
        let end = bases.get(at + 1).copied().unwrap_or(ACTIVE);
        let offsets = (*base..end).filter(|offset| offset % 2 == 0 || offset + 1 == end);
        files.insert(file_name(*base, "log"), segment(offsets, "new"));
        files.insert(file_name(*base, "index"), Vec::new());
        files.insert(file_name(*base, "timeindex"), Vec::new());
    }
    files
}

/// The files after each step of a replacement, and whether it was committed by then.
fn states(bases: &[Offset]) -> Vec<(Files, bool)> {
    let mut files = old();
    let mut states = vec![(files.clone(), false)];
    let by_base: Vec<Vec<String>> =
        bases.iter().map(|base| ["log", "index", "timeindex"].map(|kind| file_name(*base, kind)).to_vec()).collect();
    for (name, content) in new(bases) {
        files.insert(format!("{name}.cleaned"), content);
        states.push((files.clone(), false));
    }
    let rename = |files: &mut Files, from: String, to: String| {
        let content = files.remove(&from).unwrap();
        files.insert(to, content);
    };
    let smallest = by_base.first().unwrap();
    for names in by_base.iter().rev() {
        for name in names {
            rename(&mut files, format!("{name}.cleaned"), format!("{name}.swap"));
            let is_last = smallest.last() == Some(name);
            states.push((files.clone(), is_last));
        }
    }
    for base in OLD {
        for kind in ["log", "index", "timeindex"] {
            let name = file_name(base, kind);
            rename(&mut files, name.clone(), format!("{name}.deleted"));
            states.push((files.clone(), true));
        }
    }
    for name in by_base.iter().flatten() {
        rename(&mut files, format!("{name}.swap"), name.clone());
        states.push((files.clone(), true));
    }
    states
}

fn lay_out(dir: &Path, files: &Files) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    files.iter().for_each(|(name, content)| fs::write(dir.join(name), content).unwrap());
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn open(dir: &Path, disk: FaultyDisk) -> Result<Log> {
    let place = LogPlace {
        partition: TopicPartition::new("t", 0),
        dir: dir.into(),
        disk: Arc::new(disk),
        usage: Arc::default(),
        reserve: Arc::default(),
        uses_reserve: false,
        open_files: OpenFiles::new(4, 4),
        config: TopicConfig::new().durability(Durability::Os),
        gaps_below: Offset::MAX,
    };
    Ok(Log::open(place, LeftBy::Crash)?.0)
}

/// Offsets and values of all records.
fn records(log: &Log) -> Vec<(Offset, Vec<u8>)> {
    let (mut offset, end) = (log.log_start(), log.high_watermark());
    let mut found = Vec::new();
    while offset < end {
        let records = log.fetch(offset, FetchBudget::new(1 << 20)).unwrap().decode(true).unwrap();
        found.extend(records.iter().map(|record| (record.offset(), record.value().unwrap().to_vec())));
        offset = records.next_offset();
    }
    found
}

/// What there is to read, if the replacement of `bases` is or is not committed.
fn expected(bases: &[Offset], committed: bool) -> Vec<(Offset, Vec<u8>)> {
    let is_kept = |offset: &Offset| {
        let is_end = bases.iter().skip(1).chain([&ACTIVE]).any(|end| offset + 1 == *end);
        !committed || ACTIVE <= *offset || offset % 2 == 0 || is_end
    };
    let value = |offset: Offset| if committed && offset < ACTIVE { b"new".to_vec() } else { b"old".to_vec() };
    (0..ACTIVE + 10).filter(is_kept).map(|offset| (offset, value(offset))).collect()
}

#[test]
fn after_every_step_it_is_the_old_or_the_new() {
    for bases in NEW {
        for (step, (files, committed)) in states(bases).into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            lay_out(dir.path(), &files);
            let log = open(dir.path(), FaultyDisk::default()).unwrap();
            assert_eq!(records(&log), expected(bases, committed), "{bases:?}, step {step}");
            let left = names(dir.path());
            let is_left = |name: &String| ["swap", "cleaned", "deleted"].iter().any(|end| name.ends_with(end));
            assert!(!left.iter().any(is_left), "{bases:?}, step {step}: {left:?}");
        }
    }
}

#[test]
fn the_end_of_the_process_in_the_middle_of_finishing_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut cut_short = 0;
    for bases in NEW {
        for (step, (files, committed)) in states(bases).into_iter().enumerate() {
            for changes in 0.. {
                lay_out(dir.path(), &files);
                let disk = FaultyDisk::default();
                let faults = disk.faults();
                faults.breaks.store(true, Ordering::SeqCst);
                faults.pretends.store(true, Ordering::SeqCst);
                *faults.changes_left.lock() = Some(changes);
                let opened = open(dir.path(), disk);
                let done = faults.are_changes_left();
                assert!(!done || opened.is_ok());
                drop(opened);
                let log = open(dir.path(), FaultyDisk::default()).unwrap();
                let found = records(&log);
                assert_eq!(found, expected(bases, committed), "{bases:?}, step {step}, {changes} changes");
                if done {
                    break;
                }
                cut_short += 1;
            }
        }
    }
    assert!(cut_short > 100, "{cut_short}");
}

#[test]
fn a_damaged_replacement_refuses_and_changes_nothing() {
    let log_name = format!("{}.swap", file_name(0, "log"));
    let all = states(NEW[0]);
    for (files, _) in all.into_iter().filter(|(files, committed)| *committed && files.contains_key(&log_name)) {
        let len = files[&log_name].len();
        for at in (0..len).step_by(13) {
            let dir = tempfile::tempdir().unwrap();
            let mut files = files.clone();
            files.get_mut(&log_name).unwrap()[at] ^= 0x10;
            if (12..16).contains(&(at % (len / 16))) {
                continue; // the leader epoch, which says nothing about the records
            }
            lay_out(dir.path(), &files);
            if let Err(error) = open(dir.path(), FaultyDisk::default()) {
                assert_eq!(error.file(), Some(dir.path().join(&log_name).as_path()), "{error}");
                assert!(error.file_pos().is_some(), "{error}");
                let left: Vec<_> = files.keys().cloned().collect();
                assert_eq!(names(dir.path()), left, "byte {at}");
                continue;
            }
            panic!("byte {at} of a replacement is damaged, and it was taken");
        }
    }
}

#[test]
fn names_that_only_look_like_it_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let strangers =
        ["notes.deleted", "0.log.swap", "00000000000000000000.txt.swap", "00000000000000000000.log.swapped"];
    let mut files = old();
    strangers.iter().for_each(|name| drop(files.insert((*name).to_owned(), b"x".to_vec())));
    // An index alone has no replacement to go with; what was deleted goes.
    files.insert(format!("{}.swap", file_name(10, "index")), Vec::new());
    files.insert(format!("{}.deleted", file_name(40, "snapshot")), b"x".to_vec());
    lay_out(dir.path(), &files);
    let log = open(dir.path(), FaultyDisk::default()).unwrap();
    assert_eq!(records(&log), expected(NEW[0], false));
    let left = names(dir.path());
    assert!(strangers.iter().all(|name| left.contains(&(*name).to_owned())), "{left:?}");
    assert!(!left.iter().any(|name| name.ends_with("index.swap") || name.ends_with("snapshot.deleted")), "{left:?}");
    assert!(super::Checkpoint::load(&RealDisk::default(), dir.path()).unwrap().is_some());
}

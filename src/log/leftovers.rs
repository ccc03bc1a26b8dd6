//! What a replacement of segments leaves when it is cut short, by us or by a Kafka broker.
//!
//! | ending of a file | what it is | done |
//! |---|---|---|
//! | `.cleaned` | a replacement that was being written | removed, and every `.swap` from its base on with it |
//! | `.swap` | a replacement that was finished | takes the place of the segments it covers |
//! | `.deleted` | a segment that was taken out of the log | removed |
//!
//! Rule: log.md 11, steps 1 and 2, `LogLoader`. Differently from Kafka, a replacement is read through before what it
//! replaces is removed: one that is damaged keeps the log from opening, and nothing is changed.

use std::collections::BTreeMap;
use std::io;

use super::log::LogPlace;
use super::recover::corrupt;
use crate::error::{Error, Result};
use crate::segment::{End, ScanOffsets, scan};
use crate::sys::{DiskEntry, OpenMode, SyncPoint};
use crate::types::{FilePos, Offset};

const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";
const DELETED: &str = ".deleted";

/// Kinds of files whose names begin with an offset.
const KINDS: [&str; 5] = ["log", "index", "timeindex", "txnindex", "snapshot"];

/// Finishes replacements that were committed, takes back the others, and removes what had been deleted. Returns the
/// number of files that were renamed or removed. `names` are those in the directory.
pub(super) fn finish_replacement(place: &LogPlace, names: &[String]) -> Result<usize> {
    let refused = |what, error| Error::io(what, &place.dir, error).in_partition(&place.partition);
    if !names.iter().any(|name| [CLEANED, SWAP, DELETED].iter().any(|suffix| name.ends_with(suffix))) {
        return Ok(0);
    }
    let entries = place.disk.list(&place.dir).map_err(|error| refused("list the directory", error))?;
    let steps = plan(place, &entries)?;
    let count = steps.iter().filter(|step| !matches!(step, Step::Sync)).count();
    carry_out(place, steps).map_err(|error| refused("finish the replacement of segments in", error))?;
    Ok(count)
}

/// What is to be done with one file. In the order in which it is done: a crash in between leaves the rest to be done.
enum Step {
    Remove(String),
    Rename(String, String),
    /// What was done before is on the disk before anything that follows. Without it a power cut could leave a file that a
    /// replacement covers beside the replacement, when nothing says any more that it was one.
    Sync,
}

fn plan(place: &LogPlace, entries: &[DiskEntry]) -> Result<Vec<Step>> {
    let ends_in = |suffix| {
        let files = entries.iter().filter(|entry| !entry.is_dir);
        files.filter_map(move |entry| Some((base_of(entry.name.strip_suffix(suffix)?)?, entry)))
    };
    let uncommitted_from = ends_in(CLEANED).map(|(base, _)| base).min().unwrap_or(Offset::MAX);
    let mut steps = Vec::new();
    let swaps: Vec<_> = ends_in(SWAP).filter(|(base, _)| *base < uncommitted_from).collect();
    let taken_back = ends_in(SWAP).filter(|(base, _)| uncommitted_from <= *base);
    steps.extend(taken_back.map(|(_, entry)| Step::Remove(entry.name.clone())));
    steps.push(Step::Sync);
    // From the last base on: the smallest one says what was not committed.
    steps.extend(
        ends_in(CLEANED).map(|(_, entry)| Step::Remove(entry.name.clone())).collect::<Vec<_>>().into_iter().rev(),
    );
    let logs = swaps.iter().filter(|(_, entry)| entry.name.ends_with(".log.swap"));
    let covered =
        logs.map(|(base, entry)| Ok((*base, end_of(place, entry, *base)?))).collect::<Result<BTreeMap<_, _>>>()?;
    let (first, end) = (covered.keys().min(), covered.values().max());
    if let (Some(first), Some(end)) = (first, end) {
        let replaced = entries.iter().filter(|entry| !entry.is_dir);
        let replaced = replaced.filter(|entry| base_of(&entry.name).is_some_and(|base| (*first..*end).contains(&base)));
        // The `.swap` of a base is renamed over its old file; removing that first is what Kafka does, too.
        steps.extend(replaced.map(|entry| Step::Remove(entry.name.clone())));
    }
    steps.push(Step::Sync);
    for (_, entry) in swaps {
        let name = entry.name.strip_suffix(SWAP).unwrap_or(&entry.name).to_owned();
        steps.push(Step::Rename(entry.name.clone(), name));
    }
    steps.extend(ends_in(DELETED).map(|(_, entry)| Step::Remove(entry.name.clone())));
    Ok(steps)
}

fn carry_out(place: &LogPlace, steps: Vec<Step>) -> io::Result<()> {
    for step in steps {
        match step {
            Step::Remove(name) => place.disk.remove_file(&place.dir.join(name))?,
            Step::Rename(from, to) => place.disk.rename(&place.dir.join(from), &place.dir.join(to))?,
            Step::Sync => place.disk.sync_dir(&place.dir, SyncPoint::ReplacementStep)?,
        }
    }
    Ok(()) // what comes back of the last steps is done again
}

/// The offset behind the last batch of a finished replacement, all of which is read.
fn end_of(place: &LogPlace, entry: &DiskEntry, base: Offset) -> Result<Offset> {
    let path = place.dir.join(&entry.name);
    let refused = |error| Error::io("read the replacement", &path, error).in_partition(&place.partition);
    let file = place.disk.open(&path, OpenMode::Read).map_err(refused)?;
    let len = FilePos::try_from(entry.len).unwrap_or(FilePos::MAX);
    let offsets = ScanOffsets { base, from: base, gaps_below: Offset::MAX };
    let found = scan(&*file, (0, len), offsets, |_, _| {}).map_err(refused)?;
    match found.damage {
        None => Ok(found.next_offset),
        Some(damage) => {
            let end = End { offset: found.next_offset, file_pos: found.valid_end };
            Err(corrupt(place, &path, end, format!("a replacement of segments is damaged: {damage}")))
        }
    }
}

/// The offset that a file is named after, if it is one of a log.
fn base_of(name: &str) -> Option<Offset> {
    let (stem, kind) = name.split_once('.')?;
    let is_offset = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
    if is_offset && KINDS.contains(&kind) { stem.parse().ok() } else { None }
}

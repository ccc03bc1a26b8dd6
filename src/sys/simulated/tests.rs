//! The model against what it promises, each with its opposite: what must not get lost, and what must for some seed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::sync::Arc;
use crate::sys::{Disk, DiskFile, OpenMode, SyncPoint};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

struct Place {
    _dir: tempfile::TempDir,
    disk: SimulatedDisk,
    path: PathBuf,
}

/// A directory whose name is durable.
fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let (disk, path) = (SimulatedDisk::new(), dir.path().join("x"));
    disk.create_dir(&path).unwrap();
    disk.sync_dir(dir.path(), SyncPoint::DataDirectory).unwrap();
    Place { _dir: dir, disk, path }
}

impl Place {
    fn create(&self, name: &str) -> Arc<dyn DiskFile> {
        self.disk.open(&self.path.join(name), OpenMode::Create).unwrap()
    }

    /// A file with this content, all of it durable.
    fn durable(&self, name: &str, content: &[u8]) -> Arc<dyn DiskFile> {
        let file = self.create(name);
        file.write_at(content, 0).unwrap();
        file.sync(SyncPoint::Commit).unwrap();
        self.sync_dir();
        file
    }

    fn sync_dir(&self) {
        self.disk.sync_dir(&self.path, SyncPoint::SegmentName).unwrap();
    }

    fn cut(&self, survival: Survival, seed: u64) -> Left {
        self.cut_at(self.disk.operations(), survival, seed)
    }

    fn cut_at(&self, at: usize, survival: Survival, seed: u64) -> Left {
        let mut survived = self.disk.cut(&Cut { at, survival, seed });
        let to = tempfile::tempdir().unwrap();
        let is_there = survived.write(&self.path, to.path().join("y")).unwrap();
        Left { dir: to, is_there }
    }

    /// What is found in file `name` after many different cuts now.
    fn outcomes(&self, name: &str) -> BTreeSet<Option<Vec<u8>>> {
        let mut outcomes: BTreeSet<_> =
            Survival::ALL.iter().map(|survival| self.cut(*survival, 0).read(name)).collect();
        outcomes.extend((0..60).map(|seed| self.cut(Survival::Some, seed).read(name)));
        outcomes
    }

    /// The sets of names that are found after many different cuts now.
    fn names(&self) -> BTreeSet<Vec<String>> {
        let mut names: BTreeSet<_> = Survival::ALL.iter().map(|survival| self.cut(*survival, 0).names()).collect();
        names.extend((0..60).map(|seed| self.cut(Survival::Some, seed).names()));
        names
    }
}

struct Left {
    dir: tempfile::TempDir,
    is_there: bool,
}

impl Left {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("y").join(name)
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(name)).ok()
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("")) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_was_synced_is_there_and_what_was_not_may_be() {
    let place = place();
    let file = place.durable("f", b"one");
    assert_eq!(place.outcomes("f"), [Some(b"one".to_vec())].into());
    file.write_at(b"two", 3).unwrap();
    let outcomes = place.outcomes("f");
    for expected in [&b"one"[..], b"onetwo", b"one\0\0\0"] {
        assert!(outcomes.contains(&Some(expected.to_vec())), "{outcomes:?}");
    }
    let synced = place.disk.operations();
    file.sync(SyncPoint::Commit).unwrap();
    assert_eq!(place.outcomes("f"), [Some(b"onetwo".to_vec())].into());
    assert_eq!(place.cut_at(synced, Survival::Nothing, 0).read("f").unwrap(), b"one", "before the sync");
    assert_eq!(place.cut_at(synced + 1, Survival::Nothing, 0).read("f").unwrap(), b"onetwo", "and after it");
}

#[test]
fn a_sync_of_content_saves_no_name_and_one_of_names_no_content() {
    let place = place();
    let file = place.create("f");
    file.write_at(b"one", 0).unwrap();
    file.sync(SyncPoint::Commit).unwrap();
    assert_eq!(place.names(), [names(&[]), names(&["f"])].into());
    assert_eq!(place.cut(Survival::Entries, 0).read("f").unwrap(), b"one");
    let other = place.create("g");
    other.write_at(b"two", 0).unwrap();
    place.sync_dir();
    assert_eq!(place.names(), [names(&["f", "g"])].into());
    let outcomes = place.outcomes("g");
    assert!(outcomes.contains(&Some(Vec::new())) && outcomes.contains(&Some(b"two".to_vec())), "{outcomes:?}");
}

#[test]
fn sectors_survive_each_for_itself() {
    let place = place();
    let file = place.durable("f", &[1; 4 * 512]);
    file.write_at(&[2; 4 * 512], 0).unwrap();
    let outcomes = place.outcomes("f");
    let sectors = |content: &Vec<u8>| -> Vec<u8> {
        content
            .chunks(512)
            .map(|sector| if sector.iter().all(|byte| *byte == sector[0]) { sector[0] } else { 9 })
            .collect()
    };
    let seen: BTreeSet<_> = outcomes.iter().flatten().map(sectors).collect();
    assert!(seen.iter().flatten().all(|sector| [1, 2].contains(sector)), "no sector is torn: {seen:?}");
    assert!(seen.contains(&vec![1; 4]) && seen.contains(&vec![2; 4]) && seen.contains(&vec![1, 2, 1, 2]), "{seen:?}");
}

#[test]
fn a_length_survives_without_its_content_and_the_other_way_round() {
    let place = place();
    let file = place.durable("f", b"old");
    file.reserve(1000).unwrap();
    file.write_at(b"new", 3).unwrap();
    let lens: BTreeSet<_> = place.outcomes("f").iter().flatten().map(Vec::len).collect();
    assert_eq!(lens, [3, 1000].into());
    file.set_len(2).unwrap();
    file.reserve(6).unwrap();
    file.sync(SyncPoint::Commit).unwrap();
    assert_eq!(place.outcomes("f"), [Some(b"ol\0\0\0\0".to_vec())].into(), "what was cut off does not come back");
}

#[test]
fn a_place_that_was_never_written_rarely_holds_garbage() {
    let place = place();
    let file = place.durable("f", b"");
    file.write_at(&[7; 512], 0).unwrap();
    let is_garbage =
        |content: &Vec<u8>| !content.iter().all(|byte| *byte == 0) && !content.iter().all(|byte| *byte == 7);
    let count =
        (0..400).filter(|seed| place.cut(Survival::Some, *seed).read("f").is_some_and(|found| is_garbage(&found)));
    let count = count.count();
    assert!((1..60).contains(&count), "{count}");
}

#[test]
fn a_rename_moves_or_does_not_and_a_removal_comes_back() {
    let place = place();
    place.durable("a", b"a");
    place.durable("b", b"b");
    place.disk.rename(&place.path.join("a"), &place.path.join("b")).unwrap();
    assert_eq!(place.names(), [names(&["a", "b"]), names(&["b"])].into());
    assert_eq!(place.outcomes("b"), [Some(b"a".to_vec()), Some(b"b".to_vec())].into());
    place.sync_dir();
    assert_eq!(place.outcomes("b"), [Some(b"a".to_vec())].into());
    place.disk.remove_file(&place.path.join("b")).unwrap();
    assert_eq!(place.names(), [names(&["b"]), names(&[])].into());
    place.sync_dir();
    assert_eq!(place.names(), [names(&[])].into());
}

#[test]
fn names_change_each_for_itself_and_a_file_is_never_in_two_places_of_one_name() {
    let place = place();
    place.durable("a", b"a");
    place.disk.rename(&place.path.join("a"), &place.path.join("b")).unwrap();
    place.disk.rename(&place.path.join("b"), &place.path.join("c")).unwrap();
    place.create("d");
    let found = place.names();
    for name in ["a", "b", "c"] {
        assert!(found.contains(&names(&[name])) || found.contains(&names(&[name, "d"])), "{name}: {found:?}");
    }
    assert!(found.iter().all(|names| names.iter().filter(|name| *name != "d").count() == 1), "{found:?}");
}

#[test]
fn a_second_name_is_of_the_same_file() {
    let place = place();
    place.durable("a", b"a");
    place.disk.hard_link(&place.path.join("a"), &place.path.join("b")).unwrap();
    assert_eq!(place.names(), [names(&["a"]), names(&["a", "b"])].into());
    place.sync_dir();
    let left = place.cut(Survival::Nothing, 0);
    fs::write(left.path("a"), "other").unwrap();
    assert_eq!(left.read("b").unwrap(), b"other");
}

#[test]
fn directories_come_and_go_with_what_is_in_them() {
    let place = place();
    place.disk.create_dir(&place.path.join("d/e")).unwrap();
    let file = place.disk.open(&place.path.join("d/e/f"), OpenMode::Create).unwrap();
    file.write_at(b"x", 0).unwrap();
    file.sync(SyncPoint::Commit).unwrap();
    place.disk.sync_dir(&place.path.join("d/e"), SyncPoint::Backup).unwrap();
    assert!(place.outcomes("d/e/f").contains(&None), "the names of its directories are not durable");
    place.sync_dir();
    assert!(place.outcomes("d/e/f").contains(&None), "one of them is not");
    place.disk.sync_dir(&place.path.join("d"), SyncPoint::Backup).unwrap();
    assert_eq!(place.outcomes("d/e/f"), [Some(b"x".to_vec())].into());
    place.disk.rename(&place.path.join("d"), &place.path.join("g")).unwrap();
    place.sync_dir();
    assert_eq!(place.outcomes("g/e/f"), [Some(b"x".to_vec())].into());
    place.disk.remove_dir(&place.path.join("g")).unwrap();
    assert_eq!(place.names(), [names(&["g"]), names(&[])].into());
    place.sync_dir();
    assert_eq!(place.names(), [names(&[])].into());
}

#[test]
fn what_was_there_is_durable_also_what_was_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/f"), "before").unwrap();
    let disk = SimulatedDisk::new();
    disk.create_dir(dir.path()).unwrap();
    let place = Place { path: dir.path().to_owned(), _dir: dir, disk };
    assert_eq!(place.outcomes("sub/f"), [Some(b"before".to_vec())].into());
}

#[test]
fn the_name_of_the_directory_itself_can_be_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, path) = (SimulatedDisk::new(), dir.path().join("x"));
    disk.create_dir(&path).unwrap();
    let place = Place { _dir: dir, disk, path };
    assert!(!place.cut(Survival::Nothing, 0).is_there);
    assert!(place.cut(Survival::Everything, 0).is_there);
}

#[test]
fn after_a_failed_sync_the_next_one_has_nothing_to_write() {
    let place = place();
    let file = place.durable("f", b"old");
    file.write_at(b"new", 0).unwrap();
    place.disk.fail(Fault::of(OperationKind::Sync));
    assert_eq!(file.sync(SyncPoint::Commit).unwrap_err().raw_os_error(), Some(EIO));
    file.sync(SyncPoint::Commit).unwrap();
    let path = place.path.join("f");
    let later = place.disk.open(&path, OpenMode::Write).unwrap();
    later.sync(SyncPoint::RecoveredSegment).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new", "the cache has it");
    assert!(place.outcomes("f").contains(&Some(b"old".to_vec())), "the device may not");
    later.drop_cache().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old", "and now everybody knows");
    assert_eq!(place.outcomes("f"), [Some(b"old".to_vec())].into());
}

#[test]
fn a_page_that_is_written_again_is_written_as_a_whole() {
    let place = place();
    let file = place.durable("f", &[1; 5000]);
    file.write_at(&[2; 5000], 0).unwrap();
    place.disk.fail(Fault::of(OperationKind::Sync));
    file.sync(SyncPoint::Commit).unwrap_err();
    file.write_at(&[3], 0).unwrap();
    file.drop_cache().unwrap();
    file.sync(SyncPoint::Commit).unwrap();
    let content = place.cut(Survival::Nothing, 0).read("f").unwrap();
    assert_eq!((content[0], content[1], content[4095], content[4096]), (3, 2, 2, 1));
    assert_eq!(fs::read(place.path.join("f")).unwrap(), content);
}

#[test]
fn dropping_the_cache_can_be_switched_off_or_kept_from_working_by_a_map() {
    for pinned in [false, true] {
        let place = place();
        let file = place.durable("f", b"old");
        file.write_at(b"new", 0).unwrap();
        place.disk.fail(Fault::of(OperationKind::Sync));
        file.sync(SyncPoint::Commit).unwrap_err();
        if pinned {
            place.disk.set_cache_is_pinned(true);
            file.as_file();
        } else {
            place.disk.switch_off_drop_cache();
        }
        file.drop_cache().unwrap();
        assert_eq!(fs::read(place.path.join("f")).unwrap(), b"new");
        if pinned {
            place.disk.restart();
            file.drop_cache().unwrap();
            assert_eq!(fs::read(place.path.join("f")).unwrap(), b"old");
        }
    }
}

#[test]
fn a_failed_write_back_is_told_to_each_who_was_there_and_to_one_who_comes_later() {
    let place = place();
    let path = place.path.join("f");
    let [one, two] = [place.durable("f", b"old"), place.disk.open(&path, OpenMode::Write).unwrap()];
    one.write_at(b"new", 0).unwrap();
    place.disk.fail_writeback(&path).unwrap();
    let unaware = place.disk.open(&path, OpenMode::Write).unwrap();
    assert!(unaware.sync(SyncPoint::Commit).is_err(), "nobody was told before");
    let late = place.disk.open(&path, OpenMode::Write).unwrap();
    assert!(late.sync(SyncPoint::Commit).is_ok(), "somebody was");
    for file in [one, two] {
        assert!(file.sync(SyncPoint::Commit).is_err());
        assert!(file.sync(SyncPoint::Commit).is_ok(), "once");
    }
    assert!(place.outcomes("f").contains(&Some(b"old".to_vec())));
}

#[test]
fn a_sync_that_is_switched_off_succeeds_and_saves_nothing() {
    let place = place();
    place.disk.switch_off(SyncPoint::Commit);
    let file = place.create("f");
    place.sync_dir();
    file.write_at(b"one", 0).unwrap();
    file.sync(SyncPoint::Commit).unwrap();
    assert!(place.outcomes("f").contains(&Some(Vec::new())));
    file.sync(SyncPoint::SealedSegment).unwrap();
    assert_eq!(place.outcomes("f"), [Some(b"one".to_vec())].into());
    assert_eq!(
        [SyncPoint::Commit, SyncPoint::SealedSegment, SyncPoint::Repair].map(|point| place.disk.count(point)),
        [1, 1, 0]
    );
}

#[test]
fn operations_fail_when_they_are_told_to() {
    let place = place();
    let file = place.create("f");
    place.disk.fail(Fault::of(OperationKind::Write).after(1).errno(ENOSPC).written(2));
    file.write_at(b"abc", 0).unwrap();
    assert_eq!(file.write_at(b"def", 3).unwrap_err().raw_os_error(), Some(ENOSPC));
    assert_eq!(fs::read(place.path.join("f")).unwrap(), b"abcde", "in part");
    file.write_at(b"def", 3).unwrap();
    place.disk.fail(Fault::any().for_ever());
    assert!(file.set_len(1).is_err() && place.disk.create_dir(&place.path.join("d")).is_err());
    assert!(place.disk.remove_file(&place.path.join("f")).is_err());
    assert!(file.len().is_ok(), "changes nothing");
    place.disk.heal();
    file.set_len(1).unwrap();
}

#[test]
fn all_files_share_the_space() {
    let place = place();
    place.disk.set_capacity(Some(100));
    let (one, two) = (place.create("one"), place.create("two"));
    one.write_at(&[1; 60], 0).unwrap();
    assert_eq!(two.reserve(50).unwrap_err().raw_os_error(), Some(ENOSPC));
    two.set_len(0).unwrap();
    assert_eq!(two.write_at(&[1; 50], 0).unwrap_err().raw_os_error(), Some(ENOSPC));
    assert_eq!(two.len().unwrap(), 40, "as much as fits");
    one.write_at(&[2; 60], 0).unwrap();
    drop(one);
    place.disk.remove_file(&place.path.join("one")).unwrap();
    two.write_at(&[1; 100], 0).unwrap();
}

#[test]
fn the_same_cut_leaves_the_same() {
    let place = place();
    for name in ["a", "b", "c"] {
        place.create(name).write_at(&[1; 3000], 0).unwrap();
    }
    let content = |left: &Left| left.names().iter().map(|name| left.read(name)).collect::<Vec<_>>();
    let cuts: Vec<_> = (0..20).map(|seed| content(&place.cut(Survival::Some, seed))).collect();
    let again: Vec<_> = (0..20).map(|seed| content(&place.cut(Survival::Some, seed))).collect();
    assert_eq!(cuts, again);
    assert!(cuts.iter().collect::<BTreeSet<_>>().len() > 10, "and another one something else");
}

#[test]
fn time_passes_when_it_is_told_to_and_with_each_look() {
    use crate::clock::Clock;
    use std::time::Duration;

    let clock = SimulatedDisk::new().clock().clone();
    let (now, instant) = (clock.now(), clock.instant());
    assert_eq!(clock.now(), now);
    clock.advance(Duration::from_secs(5));
    assert_eq!(clock.now(), now + 5000);
    let later = clock.instant();
    assert!(later > instant + Duration::from_secs(5) && later < clock.instant());
}

#[test]
fn a_path_has_its_meaning_however_it_is_written() {
    let place = place();
    place.durable("f", b"x");
    let odd = place.path.join("../x/./g");
    place.disk.open(&odd, OpenMode::Create).unwrap();
    place.sync_dir();
    assert_eq!(place.names(), [names(&["f", "g"])].into());
}

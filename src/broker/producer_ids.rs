//! The ids of idempotent producers.
//!
//! A partition tells the batches of two producers apart by their ids, so no id is ever given twice in a data directory,
//! whatever happens to the process. They are given from blocks of 1000, and the file `producer-ids` says where the next
//! block begins before the first of a block is given. In the manner of the checkpoints it is
//!
//! ```text
//! 0
//! 1
//! next-id 02305843009213694000
//! crc32 1c291ca3
//! ```
//!
//! Where the file is missing or damaged, nothing says which ids were given: by this directory, by the Kafka broker that it
//! comes from, or by the directory that it is a copy of. Then the first block begins at a random number below 2^62. A
//! million ids in each of a thousand such directories have two of the same with a probability of less than one in a
//! thousand million. So backups have no such file, and logs of two of them can even be put together.
//!
//! Opening a directory neither reads nor writes it: the first producer does.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Arc, Mutex};
use crate::sys::{Disk, Reserve, SyncPoint, write_by_way_of};
use crate::topic::{PRODUCER_IDS, PRODUCER_IDS_BESIDE, read_text};

/// Ids of a block, as in Kafka: one write for so many producers, and as many that are lost with a crash.
const BLOCK: i64 = 1000;

/// Random beginnings lie below. As many numbers are left above it.
const RANDOM_END: u128 = 1 << 62;

/// Gives every producer an id that none had before it, in this data directory.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Records have to be deleted on a full disk, and what says which may be a record.
    reserve: Arc<Reserve>,
    given: Mutex<Given>,
}

#[derive(Debug, Default)]
struct Given {
    /// What is left of the block that the file counts as given.
    block: Range<i64>,
    /// Where the next block begins, once that is known.
    next: Option<i64>,
    /// Whether the directory may be somebody else's.
    closed: bool,
}

impl ProducerIds {
    /// The ids of the data directory `dir`.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, reserve: Arc<Reserve>) -> Self {
        ProducerIds { disk, path: dir.join(PRODUCER_IDS), reserve, given: Mutex::default() }
    }

    /// An id that was never given before, and never will be again.
    ///
    /// # Errors
    ///
    /// What the disk answers when the next block has to be written down; the next call tries again. `Closed`.
    pub(crate) fn next(&self) -> Result<i64> {
        let mut given = self.given.lock();
        if given.closed {
            return Err(Error::new(ErrorKind::Closed));
        }
        if let Some(id) = given.block.next() {
            return Ok(id);
        }
        let begin = match given.next.filter(|next| is_possible(*next)) {
            Some(next) => next,
            None => self.load()?.unwrap_or_else(random_begin),
        };
        let end = begin + BLOCK;
        given.next = Some(begin); // an attempt that fails gives none, so the next one may begin there
        self.store(end)?;
        given.next = Some(end);
        given.block = begin + 1..end;
        Ok(begin)
    }

    /// Gives none from now on.
    pub(super) fn close(&self) {
        self.given.lock().closed = true;
    }

    /// Where the next block begins, if the file is there and holds.
    fn load(&self) -> Result<Option<i64>> {
        match read_text(&*self.disk, &self.path) {
            Ok(text) => Ok(from_text(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read the producer ids", &self.path, error)),
        }
    }

    fn store(&self, next: i64) -> Result<()> {
        let (text, points) = (to_text(next), [SyncPoint::ProducerIds, SyncPoint::ProducerIdsName]);
        let store = || write_by_way_of(&*self.disk, PRODUCER_IDS_BESIDE, &self.path, text.as_bytes(), points);
        self.reserve.with_io(store).map_err(|error| Error::io("write the producer ids", &self.path, error))
    }
}

fn random_begin() -> i64 {
    i64::try_from(Uuid::new_v4().as_u128() % RANDOM_END).unwrap_or(0) / BLOCK * BLOCK
}

/// Whether a block can begin there.
fn is_possible(next: i64) -> bool {
    (0..=i64::MAX - BLOCK).contains(&next)
}

fn to_text(next: i64) -> String {
    let text = format!("0\n1\nnext-id {next:020}\n");
    let crc = crc32fast::hash(text.as_bytes());
    format!("{text}crc32 {crc:08x}\n")
}

fn from_text(text: &str) -> Option<i64> {
    let next = text.lines().find_map(|line| line.strip_prefix("next-id "))?.parse().ok()?;
    (is_possible(next) && to_text(next) == text).then_some(next)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::sys::{FaultyDisk, RealDisk};

    fn ids(dir: &Path) -> ProducerIds {
        ProducerIds::new(Arc::new(RealDisk::default()), dir, Arc::default())
    }

    fn take(ids: &ProducerIds, count: usize, seen: &mut HashSet<i64>) {
        for _ in 0..count {
            let id = ids.next().unwrap();
            assert!(0 <= id && seen.insert(id), "{id} was given before");
        }
    }

    #[test]
    fn no_id_comes_twice_over_blocks_and_ends_of_the_process() {
        let (dir, mut seen) = (tempfile::tempdir().unwrap(), HashSet::new());
        for count in [1, 2500, 3, 999, 1000, 1001] {
            take(&ids(dir.path()), count, &mut seen); // never closed, as where the process is killed
        }
        let (lowest, highest) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
        assert!(highest - lowest < 12_000, "blocks follow each other");
    }

    #[test]
    fn nothing_is_written_before_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let ids = ids(dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        ids.next().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "and nothing is left beside");
        let text = std::fs::read_to_string(dir.path().join(PRODUCER_IDS)).unwrap();
        ids.next().unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join(PRODUCER_IDS)).unwrap(), text, "one write a block");
    }

    #[test]
    fn a_file_that_is_missing_or_damaged_leads_to_no_id_again() {
        let (dir, mut seen) = (tempfile::tempdir().unwrap(), HashSet::new());
        let path = dir.path().join(PRODUCER_IDS);
        let spoil: [fn(&Path); 5] = [
            |path| std::fs::remove_file(path).unwrap(),
            |path| std::fs::write(path, "").unwrap(),
            |path| std::fs::write(path, "0\n1\nnext-id 00000000000000000000\ncrc32 00000000\n").unwrap(),
            |path| std::fs::write(path, [0xff; 60]).unwrap(),
            |path| std::fs::write(path, to_text(i64::MAX - 3)).unwrap(),
        ];
        for spoil in spoil {
            take(&ids(dir.path()), 1500, &mut seen);
            spoil(&path);
        }
        take(&ids(dir.path()), 1500, &mut seen);
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let text = to_text(4_711_000);
        assert_eq!(from_text(&text), Some(4_711_000));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(from_text(&String::from_utf8(bytes).unwrap()), None, "byte {at}");
            assert_eq!(from_text(&text[..at]), None, "cut to {at}");
        }
    }

    #[test]
    fn a_write_that_fails_gives_no_id_and_the_next_call_tries_again() {
        let (dir, mut seen) = (tempfile::tempdir().unwrap(), HashSet::new());
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        let ids = ProducerIds::new(Arc::new(disk), dir.path(), Arc::default());
        for fault in [&faults.next_create, &faults.next_write, &faults.next_sync, &faults.next_rename] {
            *fault.lock() = Some(io::ErrorKind::Other);
            ids.next().unwrap_err();
            take(&ids, 1000, &mut seen); // to the end of a block
        }
        *faults.next_rename.lock() = Some(io::ErrorKind::Other);
        ids.next().unwrap_err();
        take(&self::ids(dir.path()), 1001, &mut seen);
    }

    /// Ids that are given again by who finds what a power cut leaves, with one sync left out.
    #[cfg(feature = "simulation")]
    fn given_again(off: Option<SyncPoint>) -> usize {
        use crate::simulation::{Cut, SimulatedDisk, Survival};

        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let disk = SimulatedDisk::new();
        if let Some(point) = off {
            disk.switch_off(point);
        }
        let mut given = Vec::new(); // with the number of operations by then
        for count in [1, 1500, 1001] {
            let ids = ProducerIds::new(Arc::new(disk.clone()), &data, Arc::default());
            for _ in 0..count {
                given.push((ids.next().unwrap(), disk.operations()));
            }
        }
        let mut again = 0;
        for at in 1..=disk.operations() {
            for (survival, seed) in
                [(Survival::Nothing, 0)].into_iter().chain((1..=20).map(|seed| (Survival::Some, seed)))
            {
                let after = tempfile::tempdir().unwrap();
                disk.cut(&Cut { at, survival, seed }).write(&data, after.path()).unwrap();
                let mut seen: HashSet<_> = given.iter().filter(|(_, by)| *by <= at).map(|(id, _)| *id).collect();
                let ids = ids(after.path());
                again += (0..1500).filter(|_| !seen.insert(ids.next().unwrap())).count();
            }
        }
        again
    }

    #[test]
    #[cfg(feature = "simulation")]
    fn a_power_cut_leads_to_no_id_again() {
        assert_eq!(given_again(None), 0);
        assert!(given_again(Some(SyncPoint::ProducerIdsName)) > 0, "nobody misses the sync of the name");
        // Without its content the file is damaged, and that is noticed.
        assert_eq!(given_again(Some(SyncPoint::ProducerIds)), 0);
    }

    #[test]
    fn none_is_given_after_the_close() {
        let dir = tempfile::tempdir().unwrap();
        let ids = ids(dir.path());
        ids.next().unwrap();
        ids.close();
        assert_eq!(*ids.next().unwrap_err().kind(), ErrorKind::Closed);
    }
}

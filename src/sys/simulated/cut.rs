//! Power cuts: when, and what survives.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::change::{Inode, Link};
use super::random::Random;

/// A power cut: after how many operations, and what of the rest the device got. The same cut of the same operations always
/// leaves the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How many operations were begun before it, of [`SimulatedDisk::operations`](super::SimulatedDisk::operations).
    pub at: usize,
    /// What survives of what no sync has made durable.
    pub survival: Survival,
    /// Decides what [`Survival::Some`] leaves open.
    pub seed: u64,
}

/// What survives of what no sync has made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// All of it.
    Everything,
    /// Names, and nothing of the content.
    Entries,
    /// Content, and no name.
    Content,
    /// Names and lengths: the content behind them reads as zeros.
    Lengths,
    /// Any part of it, as the seed has it.
    Some,
}

impl Survival {
    /// All of them.
    pub const ALL: &[Survival] = &[
        Survival::Nothing,
        Survival::Everything,
        Survival::Entries,
        Survival::Content,
        Survival::Lengths,
        Survival::Some,
    ];

    pub(super) fn chance(self, seed: u64) -> Chance {
        let chance = |content, len, entries| Chance { content, len, entries, in_order: false, garbage: false };
        match self {
            Survival::Nothing => chance(0, 0, 0),
            Survival::Everything => chance(8, 8, 8),
            Survival::Entries => chance(0, 0, 8),
            Survival::Content => chance(8, 8, 0),
            Survival::Lengths => chance(0, 8, 8),
            Survival::Some => {
                let mut random = Random::new(seed, 0);
                let mut likely = || [1, 4, 7][random.below(3)];
                let (content, len, entries) = (likely(), likely(), likely());
                let (in_order, garbage) = (random.chance(4), random.chance(1));
                Chance { content, len, entries, in_order, garbage }
            }
        }
    }
}

/// How likely things survive, in eighths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    pub(super) content: u64,
    pub(super) len: u64,
    pub(super) entries: u64,
    /// Whether of the names that changed one after the other only the last can be lost.
    pub(super) in_order: bool,
    /// Whether a place that was never written can hold anything.
    pub(super) garbage: bool,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cut after {} operations, {:?} survives, seed {}", self.at, self.survival, self.seed)
    }
}

/// What a power cut has left.
#[derive(Debug)]
pub struct Survived {
    pub(super) dirs: HashMap<Inode, BTreeMap<String, (Link, Inode)>>,
    pub(super) files: HashMap<Inode, Vec<u8>>,
    /// Files that were laid out, and where.
    pub(super) written: HashMap<Inode, PathBuf>,
}

impl Survived {
    /// Lays out in `to` what is left of the directory `from`, and says whether anything is: its own name may be lost, too.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn write(&mut self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<bool> {
        let Some(dir) = self.find(from.as_ref()).filter(|inode| self.dirs.contains_key(inode)) else {
            return Ok(false);
        };
        self.write_dir(dir, to.as_ref())?;
        Ok(true)
    }

    fn find(&self, path: &Path) -> Option<Inode> {
        let mut at = super::state::ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                at = self.dirs.get(&at)?.get(name.to_str()?)?.1;
            }
        }
        Some(at)
    }

    fn write_dir(&mut self, dir: Inode, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        for (name, (_, inode)) in self.dirs.get(&dir).cloned().unwrap_or_default() {
            let path = to.join(name);
            match (self.files.get(&inode), self.written.get(&inode)) {
                (None, _) => self.write_dir(inode, &path)?,
                (Some(_), Some(written)) => fs::hard_link(written, path)?,
                (Some(content), None) => {
                    fs::write(&path, content)?;
                    self.written.insert(inode, path);
                }
            }
        }
        Ok(())
    }
}

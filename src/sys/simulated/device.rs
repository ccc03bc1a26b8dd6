//! The device: all files and names, and what is on its way to them.

use std::collections::{BTreeMap, HashMap};

use super::change::{Change, EntryChange, Inode, Link, Place};
use super::content::Content;
use super::cut::{Chance, Cut, Survived};
use super::random::Random;
use super::state::ROOT;

/// What is durable, and what may be.
#[derive(Debug, Default)]
pub(super) struct Device {
    files: HashMap<Inode, Content>,
    names: Names,
    /// Changes of names that no sync has made durable, in order.
    pending: Vec<EntryChange>,
}

/// Who is where.
#[derive(Clone, Debug, Default)]
struct Names {
    dirs: HashMap<Inode, BTreeMap<String, (Link, Inode)>>,
    places: HashMap<Link, Place>,
}

impl Names {
    fn apply(&mut self, change: &EntryChange) {
        if let Some(place) = self.places.remove(&change.link)
            && let Some(dir) = self.dirs.get_mut(&place.dir)
        {
            dir.remove(&place.name);
        }
        if let Some(to) = &change.to {
            let dir = self.dirs.entry(to.dir).or_default();
            if let Some((former, _)) = dir.insert(to.name.clone(), (change.link, change.inode)) {
                self.places.remove(&former);
            }
            self.places.insert(change.link, to.clone());
        }
    }
}

impl Device {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Found { link, inode, place, content } => {
                self.add(*inode, content.as_deref());
                if place.is_some() {
                    self.names.apply(&EntryChange { link: *link, inode: *inode, from: None, to: place.clone() });
                }
            }
            Change::New { inode, is_dir } => self.add(*inode, (!is_dir).then_some(&[])),
            Change::Entry(change) => self.pending.push(change.clone()),
            Change::SyncDir { dir } => self.sync_dir(*dir),
            Change::Write { inode, pos, bytes } => self.change(*inode, |content| content.write(*pos, bytes)),
            Change::SetLen { inode, len } => self.change(*inode, |content| content.set_len(*len)),
            Change::Sync { inode } => self.change(*inode, Content::sync),
            Change::WriteBackFailed { inode } => self.change(*inode, Content::fail_write_back),
            Change::DropCache { inode } => self.change(*inode, |content| _ = content.drop_cache()),
        }
    }

    fn add(&mut self, inode: Inode, content: Option<&[u8]>) {
        match content {
            Some(content) => _ = self.files.insert(inode, Content::durable(content)),
            None => _ = self.names.dirs.entry(inode).or_default(),
        }
    }

    fn change(&mut self, inode: Inode, change: impl FnOnce(&mut Content)) {
        if let Some(content) = self.files.get_mut(&inode) {
            change(content);
        }
    }

    pub(super) fn file(&mut self, inode: Inode) -> Option<&mut Content> {
        self.files.get_mut(&inode)
    }

    /// What happened to the names in `dir` is durable. What happened elsewhere to the same files, or to the same names,
    /// before that, is past: it cannot come after it.
    fn sync_dir(&mut self, dir: Inode) {
        let mut left: Vec<EntryChange> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            if [&change.from, &change.to].into_iter().flatten().any(|place| place.dir == dir) {
                self.names.apply(&change);
                left.retain(|former| former.link != change.link && (change.to.is_none() || former.to != change.to));
            } else {
                left.push(change);
            }
        }
        self.pending = left;
    }

    /// What a power cut leaves now.
    pub(super) fn cut(&self, cut: &Cut) -> Survived {
        let chance = cut.survival.chance(cut.seed);
        let names = self.cut_names(chance, cut.seed);
        let mut survived = Survived { dirs: HashMap::new(), files: HashMap::new(), written: HashMap::new() };
        let mut dirs = vec![ROOT];
        while let Some(dir) = dirs.pop() {
            let entries = names.dirs.get(&dir).cloned().unwrap_or_default();
            for (_, inode) in entries.values() {
                match self.files.get(inode) {
                    None => dirs.push(*inode),
                    Some(content) => {
                        let content = || content.cut(chance, &mut Random::new(cut.seed, *inode as u64 + 2));
                        survived.files.entry(*inode).or_insert_with(content);
                    }
                }
            }
            survived.dirs.insert(dir, entries);
        }
        survived
    }

    fn cut_names(&self, chance: Chance, seed: u64) -> Names {
        let mut names = self.names.clone();
        let mut random = Random::new(seed, 1);
        let first = random.below(self.pending.len() + 1);
        for (at, change) in self.pending.iter().enumerate() {
            let survives = match chance.entries {
                0 | 8 => chance.entries == 8,
                _ if chance.in_order => at < first,
                likely => random.chance(likely),
            };
            if survives {
                names.apply(change);
            }
        }
        names
    }
}

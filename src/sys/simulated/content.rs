//! What the device has of one file, and what it may have beside.

use std::collections::BTreeMap;

use super::cut::Chance;
use super::random::Random;
use crate::sync::Arc;

/// What is written back, becomes clean, or is dropped as a whole.
const PAGE: u64 = 4096;

/// What a device writes as a whole.
const SECTOR: u64 = 512;

/// A file on the device.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// What a sync has made durable.
    stable: Vec<u8>,
    /// What was changed since, by page, in order.
    pages: BTreeMap<u64, Vec<Piece>>,
    /// Lengths that it had since the last sync.
    lens: Vec<u64>,
    /// Its length in the cache.
    len: u64,
}

/// A change within one page.
#[derive(Debug)]
struct Piece {
    start: u64,
    end: u64,
    /// What stands there, and from where on; `None`: it was cut off, and reads as zeros if the file grows again.
    bytes: Option<(Arc<[u8]>, usize)>,
    /// Whether the next sync writes it. After a sync that failed it does not, and nobody knows whether the device has it.
    dirty: bool,
}

impl Content {
    pub(super) fn durable(bytes: &[u8]) -> Self {
        Content { stable: bytes.to_vec(), len: bytes.len() as u64, ..Content::default() }
    }

    pub(super) fn write(&mut self, pos: u64, bytes: &Arc<[u8]>) {
        let end = pos + bytes.len() as u64;
        let mut start = pos;
        while start < end {
            let page = start / PAGE;
            let piece_end = end.min((page + 1) * PAGE);
            let from = (start - pos) as usize;
            self.add(page, Piece { start, end: piece_end, bytes: Some((Arc::clone(bytes), from)), dirty: true });
            start = piece_end;
        }
        self.grow(end);
    }

    /// The page is dirty as a whole, with what is left in it from a sync that failed.
    fn add(&mut self, page: u64, piece: Piece) {
        let pieces = self.pages.entry(page).or_default();
        pieces.iter_mut().for_each(|piece| piece.dirty = true);
        pieces.push(piece);
    }

    fn grow(&mut self, len: u64) {
        if self.len < len {
            self.len = len;
            self.lens.push(len);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if self.len <= len {
            return self.grow(len);
        }
        let stable_end = self.stable.len() as u64;
        let end = self.lens.iter().copied().chain([stable_end]).max().unwrap_or(0);
        for page in len / PAGE..end.div_ceil(PAGE) {
            let (start, end) = (len.max(page * PAGE), (page + 1) * PAGE);
            if self.pages.contains_key(&page) || start < stable_end {
                self.add(page, Piece { start, end, bytes: None, dirty: true });
            }
        }
        self.len = len;
        self.lens.push(len);
    }

    pub(super) fn sync(&mut self) {
        let longest = self.len.max(self.stable.len() as u64);
        self.stable.resize(longest as usize, 0);
        for pieces in self.pages.values_mut() {
            for piece in pieces.iter().filter(|piece| piece.dirty) {
                piece.apply(&mut self.stable, (piece.start, piece.end));
            }
            pieces.retain(|piece| !piece.dirty);
        }
        self.pages.retain(|_, pieces| !pieces.is_empty());
        self.stable.resize(self.len as usize, 0);
        self.lens.clear();
    }

    /// No page is dirty any more; what was cut off is no matter of pages.
    pub(super) fn fail_write_back(&mut self) {
        for piece in self.pages.values_mut().flatten() {
            piece.dirty &= piece.bytes.is_none();
        }
    }

    /// Forgets what only the cache has in clean pages. Returns what stands in their place, for those within the file.
    pub(super) fn drop_cache(&mut self) -> Vec<(u64, Vec<u8>)> {
        let clean = |pieces: &[Piece]| pieces.iter().all(|piece| !piece.dirty);
        let dropped: Vec<_> = self.pages.extract_if(.., |_, pieces| clean(pieces)).map(|(page, _)| page).collect();
        let on_device = |page: u64| {
            let (start, end) = (page * PAGE, ((page + 1) * PAGE).min(self.len));
            let byte = |at: u64| self.stable.get(at as usize).copied().unwrap_or(0);
            (start < end).then(|| (start, (start..end).map(byte).collect()))
        };
        dropped.into_iter().filter_map(on_device).collect()
    }

    /// What a power cut leaves.
    pub(super) fn cut(&self, chance: Chance, random: &mut Random) -> Vec<u8> {
        let stable_len = self.stable.len() as u64;
        let len = match chance.len {
            0 => stable_len,
            8 => self.len,
            _ if random.chance(chance.len) => self.len,
            _ => match random.below(self.lens.len() + 1) {
                0 => stable_len,
                at => self.lens.get(at - 1).copied().unwrap_or(stable_len),
            },
        };
        let mut content = self.stable.clone();
        content.resize(len as usize, 0);
        for (page, pieces) in &self.pages {
            for sector in 0..PAGE / SECTOR {
                let start = page * PAGE + sector * SECTOR;
                let range = (start, start + SECTOR);
                let touching = || pieces.iter().filter(|piece| piece.start < range.1 && range.0 < piece.end);
                let count = touching().count();
                if count == 0 || len <= start {
                    continue;
                }
                let survive = if random.chance(chance.content) { count } else { random.below(count) };
                let survive = if chance.content == 0 { 0 } else { survive };
                if survive == 0 && stable_len <= start && chance.garbage && random.chance(2) {
                    garble(&mut content, range, random);
                }
                touching().take(survive).for_each(|piece| piece.apply(&mut content, range));
            }
        }
        content
    }
}

impl Piece {
    /// Puts what stands in `range` into `content`, as far as that goes.
    fn apply(&self, content: &mut [u8], range: (u64, u64)) {
        let start = self.start.max(range.0);
        let end = self.end.min(range.1).min(content.len() as u64);
        if end <= start {
            return;
        }
        let Some(target) = content.get_mut(start as usize..end as usize) else { return };
        match &self.bytes {
            None => target.fill(0),
            Some((bytes, from)) => {
                let from = from + (start - self.start) as usize;
                if let Some(source) = bytes.get(from..from + target.len()) {
                    target.copy_from_slice(source);
                }
            }
        }
    }
}

fn garble(content: &mut [u8], (start, end): (u64, u64), random: &mut Random) {
    let end = end.min(content.len() as u64);
    if let Some(bytes) = content.get_mut(start as usize..end as usize) {
        bytes.fill_with(|| random.next() as u8);
    }
}

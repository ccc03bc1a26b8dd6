//! What happens to a file.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A change of one file.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    Missing,
    Empty,
    /// Bytes that stay.
    Truncated(usize),
    /// Bytes at the end that become zeros.
    ZeroTail(usize),
    /// Zeros behind the end.
    Grown(usize),
    /// Random bytes in place of those from the first position to the second, by a seed.
    Random(usize, usize, u64),
    /// Random bytes behind the end, by a seed.
    Appended(usize, u64),
    /// The number of the bit, counted from the beginning of the file.
    Flipped(usize),
    /// The bytes of another file of the kind.
    Other(Vec<u8>),
    Directory,
    NoPermission,
}

impl Mutation {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Mutation::Missing => "missing",
            Mutation::Empty => "empty",
            Mutation::Truncated(_) => "truncated",
            Mutation::ZeroTail(_) => "zero-filled tail",
            Mutation::Grown(_) => "zeros behind",
            Mutation::Random(..) => "random bytes",
            Mutation::Appended(..) => "random bytes behind",
            Mutation::Flipped(_) => "flipped bit",
            Mutation::Other(_) => "another's content",
            Mutation::Directory => "a directory",
            Mutation::NoPermission => "no permission",
        }
    }

    /// Whether it asks nothing of the file's content.
    pub(crate) fn is_of_the_whole_file(&self) -> bool {
        matches!(self, Mutation::Missing | Mutation::Empty | Mutation::Directory | Mutation::NoPermission)
    }

    /// Changes the file at `path`, which holds `good`. Whether that makes a difference.
    pub(crate) fn apply(&self, path: &Path, good: &[u8]) -> bool {
        let bad = match self {
            Mutation::Missing => {
                fs::remove_file(path).unwrap();
                return true;
            }
            Mutation::Directory => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
                return true;
            }
            Mutation::NoPermission => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
                return true;
            }
            changed => changed.bytes(good),
        };
        fs::write(path, &bad).unwrap();
        bad != good
    }

    fn bytes(&self, good: &[u8]) -> Vec<u8> {
        let mut bad = good.to_vec();
        match self {
            Mutation::Truncated(len) => bad.truncate(*len),
            Mutation::ZeroTail(len) => bad.iter_mut().rev().take(*len).for_each(|byte| *byte = 0),
            Mutation::Grown(len) => bad.resize(good.len() + len, 0),
            Mutation::Random(from, to, seed) => fill(&mut bad[*from..*to], *seed),
            Mutation::Appended(len, seed) => {
                bad.resize(good.len() + len, 0);
                fill(&mut bad[good.len()..], *seed);
            }
            Mutation::Flipped(bit) => bad[bit / 8] ^= 1 << (bit % 8),
            Mutation::Other(other) => bad.clone_from(other),
            _ => bad.clear(),
        }
        bad
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mutation::Flipped(bit) => write!(f, "bit {} of byte {} flipped", bit % 8, bit / 8),
            Mutation::Other(_) => f.write_str(self.kind()),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Xorshift.
fn fill(bytes: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for byte in bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = (state >> 24) as u8;
    }
}

/// How many of the mutations of a file are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Every bit, every length.
    Full,
    /// A bit of every byte, every length.
    Bytes,
    /// As many, of those.
    Sampled(usize),
}

/// The mutations of a file that holds `good`, beside `others` of its kind. `salt` moves the samples.
pub(crate) fn mutations(good: &[u8], others: &[Vec<u8>], extent: Extent, salt: usize) -> Vec<Mutation> {
    let len = good.len();
    let mut all = vec![Mutation::Missing, Mutation::Empty, Mutation::Directory];
    if !is_root() {
        all.push(Mutation::NoPermission);
    }
    all.extend(others.iter().filter(|other| *other != good).take(3).cloned().map(Mutation::Other));
    all.extend((1..len).rev().take(400).map(Mutation::Truncated));
    all.extend(
        [1, 4, 17, 61, 100, 200, len].into_iter().filter(|tail| (1..=len).contains(tail)).map(Mutation::ZeroTail),
    );
    all.extend([1, 61, 5000].map(Mutation::Grown));
    let seeds = if extent == Extent::Full { 40 } else { 3 };
    for seed in 0..seeds {
        let at = (seed * 7919 + salt) % len.max(1);
        all.push(Mutation::Random(0, len, seed as u64));
        all.push(Mutation::Random(at, (at + 16).min(len), seed as u64));
        all.push(Mutation::Appended(1 + seed * 37, seed as u64));
    }
    let bits = (0..len * 8).filter(|bit| match extent {
        Extent::Full => true,
        _ => bit % 8 == (bit / 8 + salt) % 8,
    });
    all.extend(bits.map(Mutation::Flipped));
    all
}

/// Whether files without permission can be read all the same.
pub(crate) fn is_root() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    fs::read(path).is_ok()
}

//! Data directories that are made, copied and written again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use thalweg::Broker;

/// The files of a directory and their content, by path below it.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A directory of this process, in memory where that is possible. It goes when it is dropped.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes an empty directory.
    pub fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = memory().join(format!("{PREFIX}{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir); // of an earlier process with this id
        fs::create_dir(&dir).unwrap();
        Directory(dir)
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Makes it hold `files` and nothing else.
    pub fn write(&self, files: &Files) {
        fs::remove_dir_all(&self.0).unwrap();
        fs::create_dir(&self.0).unwrap();
        for (path, content) in files {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what stays is removed by the next process
    }
}

/// What a broker leaves of a directory that `fill` has filled.
pub fn filled(fill: impl FnOnce(&Broker)) -> Files {
    let directory = Directory::create();
    let broker = Broker::open(directory.dir()).unwrap();
    fill(&broker);
    broker.close().unwrap();
    keep_one_offsets_partition(directory.dir());
    Broker::open(directory.dir()).unwrap().close().unwrap();
    read(directory.dir())
}

/// Leaves the one partition of `__consumer_offsets` that has records, as a Kafka broker that is set to have one would:
/// opening 50 of them takes longer than everything else. The next open adopts it.
fn keep_one_offsets_partition(dir: &Path) {
    let mut kept = 0;
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with("__consumer_offsets") {
            continue;
        } else if path.is_file() {
            fs::remove_file(path).unwrap();
        } else if fs::metadata(path.join("00000000000000000000.log")).unwrap().len() == 0 {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::rename(path, dir.join("kept")).unwrap();
            kept += 1;
        }
    }
    assert!(kept <= 1, "fill a directory with the commits of one group");
    if kept == 1 {
        fs::rename(dir.join("kept"), dir.join("__consumer_offsets-0")).unwrap();
    }
}

/// A file system in memory, or else the directory for temporary files. A fuzzer ends without cleaning up, so what others
/// that have ended left behind is removed.
fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let memory = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    for entry in fs::read_dir(&memory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path()); // another new one may have been faster
        }
    }
    memory
}

const PREFIX: &str = "thalweg-script-";

/// What `dir` holds, also while a broker has it open: files that it removes meanwhile are not there, those that it
/// replaces are.
pub fn read(dir: &Path) -> Files {
    let mut files = Files::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        let checkpoint = next.join(CHECKPOINT);
        let entries = fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path());
        let others = entries.filter(|path| *path != checkpoint);
        // First, since what it speaks of is done before; by name, since a listing may pass over a file that is being
        // replaced.
        for path in std::iter::once(checkpoint.clone()).chain(others) {
            if path.is_dir() {
                dirs.push(path);
            } else if path.ends_with("thalweg.reserve") {
                // Its content means nothing, and is more than that of all others.
            } else if let Ok(content) = fs::read(&path) {
                files.insert(path.strip_prefix(dir).unwrap().to_owned(), content);
            }
        }
    }
    files
}

/// The file in each partition's directory that says how far everything is durable.
pub const CHECKPOINT: &str = "thalweg-checkpoint";

//! Syncing many files in less than the sum of their times.

use std::fmt;
use std::fs::File;
use std::io;

use super::ring::Ring;
use super::sync_pool::SyncPool;
use crate::sync::{Mutex, OnceLock};

/// How many files are synced together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncMethod {
    /// The kernel's threads do it, ordered through an io_uring.
    IoUring,
    /// Threads of the process do it.
    Threads,
}

impl fmt::Display for SyncMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SyncMethod::IoUring => "io_uring",
            SyncMethod::Threads => "threads",
        })
    }
}

/// Makes many files durable at once: their writes reach the device together, and it flushes for several of them in one
/// go.
///
/// The ring is opened with the first sync or the first question, threads with the first sync that needs them.
#[derive(Debug)]
pub(crate) struct SyncMany {
    preferred: SyncMethod,
    /// Opened at the first use; the error is why there is none. A caller that comes while another one's round runs takes
    /// the threads: two callers with 8 files each were through after 0.8 ms so, and after 1.4 if the second waited.
    ring: OnceLock<io::Result<Mutex<Ring>>>,
    pool: SyncPool,
}

impl Default for SyncMany {
    fn default() -> Self {
        SyncMany::new(SyncMethod::IoUring)
    }
}

impl SyncMany {
    /// With [`SyncMethod::IoUring`] threads still do it where the system has no io_uring or forbids it.
    pub(crate) fn new(preferred: SyncMethod) -> Self {
        SyncMany { preferred, ring: OnceLock::new(), pool: SyncPool::default() }
    }

    /// How it is done on this system. The first call, or the first [`sync`](SyncMany::sync) of many files, finds out.
    pub(crate) fn method(&self) -> SyncMethod {
        match self.ring() {
            Some(Ok(_)) => SyncMethod::IoUring,
            Some(Err(_)) | None => SyncMethod::Threads,
        }
    }

    /// Why io_uring was preferred and not taken.
    pub(crate) fn refusal(&self) -> Option<&io::Error> {
        self.ring()?.as_ref().err()
    }

    /// Makes the content of each file durable, as [`File::sync_data`] does. One result per file, in their order. A file
    /// that fails does not keep the others from being synced, and is not tried again: after a failure a second try
    /// proves nothing.
    pub(crate) fn sync(&self, files: &[&File]) -> Vec<io::Result<()>> {
        if files.len() < 2 {
            return files.iter().map(|file| file.sync_data()).collect();
        }
        let Some(Ok(ring)) = self.ring() else { return self.pool.sync(files, File::sync_data) };
        let round = |files: &[&File]| {
            let results = ring.try_lock().map(|mut ring| ring.sync(files));
            let Some(results) = results else { return self.pool.sync(files, File::sync_data) };
            results.into_iter().zip(files).map(|(result, file)| result.unwrap_or_else(|| file.sync_data())).collect()
        };
        files.chunks(Ring::ENTRIES).flat_map::<Vec<_>, _>(round).collect()
    }

    fn ring(&self) -> Option<&io::Result<Mutex<Ring>>> {
        let is_wanted = self.preferred == SyncMethod::IoUring;
        is_wanted.then(|| self.ring.get_or_init(|| Ring::open().map(Mutex::new)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::thread;

    use super::*;

    /// The threads, and the ring where there is one.
    fn methods() -> Vec<SyncMany> {
        let ring = SyncMany::new(SyncMethod::IoUring);
        let threads = SyncMany::new(SyncMethod::Threads);
        assert!(threads.method() == SyncMethod::Threads && threads.refusal().is_none());
        match ring.refusal() {
            None => vec![threads, ring],
            Some(error) => {
                assert_eq!(ring.method(), SyncMethod::Threads);
                println!("skipped: the half with io_uring: {error}");
                vec![threads]
            }
        }
    }

    fn dirty_files(count: usize) -> Vec<File> {
        let file = |_| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&[1; 4096], 0).unwrap();
            file
        };
        (0..count).map(file).collect()
    }

    /// Files that cannot be synced: without an open description, of a pipe that nobody reads, of a device.
    fn bad_files() -> [File; 3] {
        const O_PATH: i32 = 0o10_000_000;
        let bare = OpenOptions::new().read(true).custom_flags(O_PATH).open("/").unwrap();
        let closed_pipe = io::pipe().unwrap().1;
        [bare, File::from(OwnedFd::from(closed_pipe)), OpenOptions::new().write(true).open("/dev/full").unwrap()]
    }

    fn codes(results: &[io::Result<()>]) -> Vec<Option<i32>> {
        results.iter().map(|result| result.as_ref().err().map(|error| error.raw_os_error().unwrap())).collect()
    }

    #[test]
    fn each_file_has_the_result_that_it_has_alone() {
        let (good, bad) = (dirty_files(200), bad_files());
        let read_only = File::open("/proc/self/exe").unwrap();
        for sync_many in methods() {
            for count in [0, 1, 2, 5, 64, 65, 200] {
                let mut files: Vec<_> = good.iter().take(count).collect();
                // At either end, in the middle, and at the edge of a round.
                for (at, file) in
                    [(0, &bad[0]), (count / 2, &read_only), (count, &bad[1]), (63, &bad[2]), (64, &bad[0])]
                {
                    files.insert(at.min(files.len()), file);
                }
                let alone: Vec<_> = files.iter().map(|file| file.sync_data()).collect();
                assert!(codes(&alone).iter().flatten().count() == 4);
                assert_eq!(codes(&sync_many.sync(&files)), codes(&alone), "{} with {count}", sync_many.method());
                let only_good: Vec<_> = good.iter().take(count).collect();
                assert_eq!(codes(&sync_many.sync(&only_good)), vec![None; count], "after those that failed");
            }
        }
    }

    #[test]
    fn callers_at_the_same_time_get_their_own_results() {
        for sync_many in methods() {
            thread::scope(|scope| {
                for caller in 0..4 {
                    let sync_many = &sync_many;
                    scope.spawn(move || {
                        let (good, bad) = (dirty_files(9 + 30 * caller), bad_files());
                        for at in 0..9 {
                            let mut files: Vec<_> = good.iter().collect();
                            files.insert(at, &bad[at % bad.len()]);
                            let alone: Vec<_> = files.iter().map(|file| file.sync_data()).collect();
                            assert_eq!(codes(&sync_many.sync(&files)), codes(&alone), "caller {caller}");
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn a_ring_that_is_taken_keeps_nobody_waiting() {
        let sync_many = SyncMany::new(SyncMethod::IoUring);
        let Some(Ok(ring)) = sync_many.ring() else { return println!("skipped: no io_uring here") };
        let _taken = ring.lock();
        let (good, bad) = (dirty_files(3), bad_files());
        let files: Vec<_> = good.iter().chain(&bad).collect();
        let alone: Vec<_> = files.iter().map(|file| file.sync_data()).collect();
        assert_eq!(codes(&sync_many.sync(&files)), codes(&alone));
    }

    #[test]
    fn where_io_uring_is_forbidden_threads_do_it_and_the_reason_is_told() {
        let mut sync_many = SyncMany::new(SyncMethod::IoUring);
        sync_many.ring = OnceLock::from(Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(sync_many.method(), SyncMethod::Threads);
        assert_eq!(sync_many.refusal().map(io::Error::kind), Some(io::ErrorKind::PermissionDenied));
        let files = dirty_files(3);
        assert_eq!(codes(&sync_many.sync(&files.iter().collect::<Vec<_>>())), [None; 3]);
    }

    #[test]
    fn one_file_opens_no_ring() {
        let sync_many = SyncMany::new(SyncMethod::IoUring);
        let file = tempfile::tempfile().unwrap();
        assert!(sync_many.sync(&[]).is_empty());
        assert!(matches!(sync_many.sync(&[&file]).as_slice(), [Ok(())]));
        assert!(sync_many.ring.get().is_none());
        assert_eq!(sync_many.sync(&[&file, &file]).len(), 2);
        assert!(sync_many.ring.get().is_some());
    }

    #[test]
    fn a_method_has_a_name() {
        assert_eq!(
            [SyncMethod::IoUring, SyncMethod::Threads].map(|method| method.to_string()),
            ["io_uring", "threads"]
        );
    }
}

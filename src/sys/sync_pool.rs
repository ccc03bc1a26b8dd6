//! Threads that sync files beside the caller.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::vec;

use crate::sync::{Arc, Condvar, Mutex};

/// A few threads, started when they are first needed and ended on drop. A caller works along with them, so it gets on
/// with none: where the system starts no thread, or all are busy.
#[derive(Debug, Default)]
pub(super) struct SyncPool {
    orders: Arc<Orders>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads wait for.
#[derive(Debug, Default)]
struct Orders {
    state: Mutex<OrdersState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct OrdersState {
    /// A batch stands here once for each thread that is asked to help with it, and not longer than it has files to take.
    batches: VecDeque<Arc<Batch>>,
    is_closed: bool,
}

/// What is done with a file.
type Sync = fn(&File) -> io::Result<()>;

impl SyncPool {
    /// One after the other, 8 and 64 files took 0.97 and 7.9 ms; with 7 threads and the caller 0.4 and 3.0, with 15 and
    /// the caller 0.4 and 2.4.
    const THREADS: usize = 8;

    /// Does `sync` with every file and returns when all are done. One result per file, in their order.
    pub(super) fn sync(&self, files: &[&File], sync: Sync) -> Vec<io::Result<()>> {
        if files.len() < 2 {
            return files.iter().map(|file| sync(file)).collect();
        }
        // Copies, because the threads outlive what was lent. Without handles for them the caller is on its own.
        let copies = files.iter().map(|file| file.try_clone()).collect::<io::Result<Vec<_>>>();
        let Ok(copies) = copies else { return files.iter().map(|file| sync(file)).collect() };
        let batch = Arc::new(Batch::new(copies, sync));
        self.order(&batch, files.len() - 1);
        batch.work();
        self.orders.state.lock().batches.retain(|other| !Arc::ptr_eq(other, &batch));
        batch.wait()
    }

    /// Asks up to `helpers` threads to work on `batch`.
    fn order(&self, batch: &Arc<Batch>, helpers: usize) {
        let helpers = self.start(helpers.min(Self::THREADS)).min(helpers);
        let mut state = self.orders.state.lock();
        state.batches.extend((0..helpers).map(|_| Arc::clone(batch)));
        drop(state);
        for _ in 0..helpers {
            self.orders.changed.notify_one();
        }
    }

    /// Starts threads until there are `wanted`, or the system starts no more. Returns how many there are.
    fn start(&self, wanted: usize) -> usize {
        let mut threads = self.threads.lock();
        while threads.len() < wanted {
            let orders = Arc::clone(&self.orders);
            match thread::Builder::new().name("thalweg-sync".to_owned()).spawn(move || orders.serve()) {
                Ok(thread) => threads.push(thread),
                Err(_) => break,
            }
        }
        threads.len()
    }
}

impl Drop for SyncPool {
    fn drop(&mut self) {
        self.orders.state.lock().is_closed = true;
        self.orders.changed.notify_all();
        for thread in self.threads.get_mut().drain(..) {
            let _ = thread.join(); // `Batch::work` catches panics
        }
    }
}

impl Orders {
    /// Runs on each of the threads.
    fn serve(&self) {
        let mut state = self.state.lock();
        while !state.is_closed {
            match state.batches.pop_front() {
                Some(batch) => {
                    drop(state);
                    batch.work();
                    drop(batch);
                    state = self.state.lock();
                }
                None => self.changed.wait(&mut state),
            }
        }
    }
}

/// Files that are synced together, by whoever has time.
#[derive(Debug)]
struct Batch {
    /// Those that nobody has taken yet. Who takes one also closes it.
    files: Mutex<std::iter::Enumerate<vec::IntoIter<File>>>,
    sync: Sync,
    results: Mutex<Results>,
    finished: Condvar,
}

#[derive(Debug)]
struct Results {
    by_file: Vec<io::Result<()>>,
    /// Files without a result.
    left: usize,
}

impl Batch {
    fn new(files: Vec<File>, sync: Sync) -> Self {
        let by_file = files.iter().map(|_| Ok(())).collect();
        let results = Mutex::new(Results { by_file, left: files.len() });
        Batch { files: Mutex::new(files.into_iter().enumerate()), sync, results, finished: Condvar::new() }
    }

    /// Syncs file after file until none is left to take.
    fn work(&self) {
        while let Some((index, file)) = self.take() {
            let result = catch_unwind(AssertUnwindSafe(|| (self.sync)(&file)));
            drop(file);
            let mut results = self.results.lock();
            if let Some(slot) = results.by_file.get_mut(index) {
                *slot = result.unwrap_or_else(|_| Err(io::Error::other("the sync panicked")));
            }
            results.left -= 1;
            if results.left == 0 {
                self.finished.notify_one();
            }
        }
    }

    fn take(&self) -> Option<(usize, File)> {
        self.files.lock().next()
    }

    /// The results, when all are there.
    fn wait(&self) -> Vec<io::Result<()>> {
        let mut results = self.results.lock();
        while results.left > 0 {
            self.finished.wait(&mut results);
        }
        mem::take(&mut results.by_file)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::sync::OnceLock;

    fn files(count: usize) -> Vec<File> {
        (0..count).map(|_| tempfile::tempfile().unwrap()).collect()
    }

    #[test]
    fn files_are_synced_at_the_same_time() {
        static ALL: OnceLock<Barrier> = OnceLock::new();
        ALL.set(Barrier::new(SyncPool::THREADS + 1)).unwrap();
        let pool = SyncPool::default();
        let files = files(SyncPool::THREADS + 1);
        let files: Vec<_> = files.iter().collect();
        // Hangs unless each file has a thread of its own.
        let results = pool.sync(&files, |_| {
            ALL.get().unwrap().wait();
            Ok(())
        });
        assert!(results.len() == files.len() && results.iter().all(Result::is_ok));
    }

    /// Defends D10.
    #[test]
    fn a_panic_is_the_error_of_its_file() {
        let pool = SyncPool::default();
        let mut files = files(20);
        for index in [3, 17] {
            files[index].set_len(1).unwrap();
        }
        files[0] = tempfile::tempfile().unwrap();
        let files: Vec<_> = files.iter().collect();
        for _ in 0..3 {
            let results = pool.sync(&files, |file| {
                assert_eq!(file.metadata().unwrap().len(), 0, "the panic of this test");
                file.sync_data()
            });
            for (index, result) in results.iter().enumerate() {
                assert_eq!(result.is_err(), [3, 17].contains(&index), "{index}: {result:?}");
            }
        }
    }

    #[test]
    fn threads_start_when_needed_and_end_on_drop() {
        let pool = SyncPool::default();
        let count = |pool: &SyncPool| pool.threads.lock().len();
        let files = files(40);
        let files: Vec<_> = files.iter().collect();
        for (synced, threads) in [(0, 0), (1, 0), (3, 2), (2, 2), (40, SyncPool::THREADS), (40, SyncPool::THREADS)] {
            assert_eq!(pool.sync(&files[..synced], File::sync_data).len(), synced);
            assert_eq!(count(&pool), threads, "after {synced} files");
            assert!(pool.orders.state.lock().batches.is_empty(), "nobody is asked to help with what is done");
        }
        let orders = Arc::downgrade(&pool.orders);
        drop(pool);
        assert!(orders.upgrade().is_none(), "each thread holds the orders while it runs");
    }

    #[test]
    fn no_copy_stays_open() {
        let pool = SyncPool::default();
        for _ in 0..50 {
            let (reader, writer) = io::pipe().unwrap();
            let writer = File::from(std::os::fd::OwnedFd::from(writer));
            let others = files(8);
            let files: Vec<_> = [&writer].into_iter().chain(&others).collect();
            assert!(pool.sync(&files, File::sync_data)[0].is_err());
            drop(writer);
            // Ends at once if nobody else has the writing end open, and hangs otherwise.
            assert_eq!(io::read_to_string(reader).unwrap(), "");
        }
    }
}

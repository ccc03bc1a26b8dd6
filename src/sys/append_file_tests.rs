//! A sync that begins while bytes are on their way.

use std::thread;

use super::super::bounded::Evict;
use super::super::{FaultyDisk, OpenMode};
use super::*;

/// A sync that ends between the note that something is written and the write does not cover it: the handle still has to be
/// synced before it is taken away.
#[test]
fn what_is_written_beside_a_sync_is_synced_before_the_handle_goes() {
    for mode in [ReadMode::Mmap, ReadMode::Pread] {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let path = dir.path().join("x.log");
        disk.open(&path, OpenMode::Create).unwrap();
        let open_files = OpenFiles::with_mode(mode, 1, 1);
        let file =
            AppendFile::new((&disk, path), None, (0, 1 << 20), mode == ReadMode::Mmap, &open_files, Arc::default())
                .unwrap();
        faults.hold_writes();
        thread::scope(|scope| {
            let append = scope.spawn(|| file.append(b"hello").unwrap());
            while faults.writes.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            file.sync(SyncPoint::Commit).unwrap(); // of nothing: the bytes are not in the file yet
            faults.release();
            append.join().unwrap();
        });
        assert_eq!(file.bytes().published(), 5);
        let before = faults.syncs.load(Ordering::SeqCst);
        let handle: &dyn Evict = &*file.handle;
        handle.try_evict(); // it was used a moment ago
        handle.try_evict();
        assert!(file.handle.file.lock().is_none(), "it was taken away");
        assert_eq!(faults.syncs.load(Ordering::SeqCst), before + 1, "{mode}: bytes that nobody synced");
    }
}

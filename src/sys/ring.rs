//! Many `fdatasync`s with one system call.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use io_uring::{IoUring, Probe, opcode, types};
use rustix::io::Errno;

/// An io_uring that syncs files, and nothing else.
pub(super) struct Ring {
    /// Empty while a round runs, so that a ring that a round could not finish is closed and never hands its completions
    /// to the next one. The next round then opens another.
    ring: Option<IoUring>,
}

impl Ring {
    /// Files in a round.
    pub(super) const ENTRIES: usize = 64;

    /// Kernel threads that sync for one of ours. The kernel's own limit is four a core: on two cores 64 files took
    /// 3.3 ms with those 8, 2.7 ms with 16, and no less with 32 or 64.
    const WORKERS: u32 = 16;

    /// Opens a ring and has it sync something.
    ///
    /// # Errors
    ///
    /// What forbids it: the kernel is too old or was built without it, a container's system call filter, the sysctl
    /// `kernel.io_uring_disabled`, a limit on handles or locked memory.
    pub(super) fn open() -> io::Result<Self> {
        let mut ring = Ring { ring: Some(open()?) };
        // A pipe is no file system's, so asking costs no flush of a device, and the answer can only be that of a worker
        // of the kernel which has tried: "invalid", as from a plain call.
        let pipe = File::from(OwnedFd::from(io::pipe()?.0));
        match ring.sync(&[&pipe]).pop().flatten() {
            Some(Err(error)) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(ring),
            Some(Err(error)) => Err(error),
            Some(Ok(())) | None => Err(io::Error::other("io_uring takes an fdatasync and does not do it")),
        }
    }

    /// Makes the content of up to [`ENTRIES`](Ring::ENTRIES) files durable. One result per file, in their order; `None`
    /// where the sync did not run, so that the caller may still make it. Returns when the kernel is through with each.
    pub(super) fn sync(&mut self, files: &[&File]) -> Vec<Option<io::Result<()>>> {
        let mut results: Vec<_> = files.iter().map(|_| None).collect();
        if let Some(mut ring) = self.ring.take().or_else(|| open().ok()) {
            let queued = queue(&mut ring, files);
            if reap(&mut ring, queued, &mut results) {
                self.ring = Some(ring);
            }
        }
        results
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("is_open", &self.ring.is_some()).finish()
    }
}

fn open() -> io::Result<IoUring> {
    let ring = IoUring::new(Ring::ENTRIES as u32)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if !probe.is_supported(opcode::Fsync::CODE) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "this io_uring has no fsync"));
    }
    // Limits hold for a thread of ours with all rings it uses, so ours only raises them. Kernels before 5.15 have none
    // to set, and lose nothing but speed.
    let mut limits = [0, 0]; // asks: workers for files, workers for the rest
    if ring.submitter().register_iowq_max_workers(&mut limits).is_ok() && limits[0] < Ring::WORKERS {
        let _ = ring.submitter().register_iowq_max_workers(&mut [Ring::WORKERS, 0]);
    }
    Ok(ring)
}

/// Puts an `fdatasync` of each file into the submission queue, named by the file's index. Returns how many fit.
fn queue(ring: &mut IoUring, files: &[&File]) -> usize {
    let mut submissions = ring.submission();
    for (index, file) in files.iter().enumerate() {
        let fd = types::Fd(file.as_raw_fd());
        let entry = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build().user_data(index as u64);
        // SAFETY: an entry must stay valid until it has completed. This one points to no memory: it is a file's number
        // and flags. The number is that of an open file, because `Ring::sync`, the only caller, holds `files` and
        // returns no earlier than `reap`, which waits for the completion of everything the kernel took. What the kernel
        // did not take, it never will: the ring that holds it is closed. Should there be a panic in between, the
        // kernel's own references keep the files open that it syncs, and the ring is closed with its completions.
        if unsafe { submissions.push(&entry) }.is_err() {
            return index;
        }
    }
    files.len()
}

/// Submits what is queued and waits until all of it is completed. False if the kernel did not take everything: `ring`
/// must not be used any more then. In no case is anything still running afterwards.
fn reap(ring: &mut IoUring, queued: usize, results: &mut [Option<io::Result<()>>]) -> bool {
    let (mut completed, mut is_refused) = (0, false);
    loop {
        for completion in ring.completion() {
            completed += 1;
            if let Some(result) = results.get_mut(completion.user_data() as usize) {
                *result = outcome(completion.result());
            }
        }
        let not_taken = ring.submission().len();
        if completed + not_taken == queued && (not_taken == 0 || is_refused) {
            return not_taken == 0;
        }
        if is_refused {
            thread::yield_now(); // the kernel writes completions into the ring without being asked
            continue;
        }
        match ring.submit_and_wait(queued - completed) {
            Ok(_) => {} // perhaps of a part only: the kernel then takes the rest next time round
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => is_refused = true,
        }
    }
}

/// What the code of a completion says. `None`: the sync did not run. It was interrupted, which the standard library
/// repeats too, or cancelled, as when the process may start no more threads and the kernel no worker. Any other error may
/// be the only report of pages that were lost, also one that sounds harmless: the code of a device's error is handed
/// through, "try again" and "not supported" included, and a second sync would succeed.
fn outcome(code: i32) -> Option<io::Result<()>> {
    const INTERRUPTED: i32 = -Errno::INTR.raw_os_error();
    const CANCELLED: i32 = -Errno::CANCELED.raw_os_error();
    match code {
        0.. => Some(Ok(())),
        INTERRUPTED | CANCELLED => None,
        _ => Some(Err(io::Error::from_raw_os_error(-code))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sync_that_did_not_run_may_be_repeated() {
        assert!(matches!(outcome(0), Some(Ok(()))));
        for did_not_run in [Errno::INTR, Errno::CANCELED] {
            assert!(outcome(-did_not_run.raw_os_error()).is_none());
        }
        for failed in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::INVAL, Errno::OPNOTSUPP, Errno::AGAIN, Errno::BADF]
        {
            let error = outcome(-failed.raw_os_error()).and_then(Result::err);
            assert_eq!(error.and_then(|error| error.raw_os_error()), Some(failed.raw_os_error()));
        }
    }

    #[test]
    fn a_ring_that_was_lost_is_opened_again() {
        let Ok(mut ring) = Ring::open() else { return println!("skipped: no io_uring here") };
        let file = tempfile::tempfile().unwrap();
        ring.ring = None;
        assert!(matches!(ring.sync(&[&file, &file]).as_slice(), [Some(Ok(())), Some(Ok(()))]));
        assert!(ring.ring.is_some());
    }

    #[test]
    fn more_files_than_entries_are_left_to_the_caller() {
        let Ok(mut ring) = Ring::open() else { return println!("skipped: no io_uring here") };
        let file = tempfile::tempfile().unwrap();
        let results = ring.sync(&vec![&file; Ring::ENTRIES + 3]);
        assert_eq!(results.iter().filter(|result| matches!(result, Some(Ok(())))).count(), Ring::ENTRIES);
        assert_eq!(results.iter().rev().take_while(|result| result.is_none()).count(), 3);
    }
}

//! A block device that can be made to fail, with an ext4 on it. Only root can have one.
//!
//! It is a loop device whose capacity is set to almost nothing: the system then answers every access that it cannot serve
//! from its cache with an I/O error, as it does for a disk that was pulled out.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// Bytes of the device.
const LEN: u64 = 24 << 20;

/// What is left of it when it fails. The rest is kept aside.
const LEN_FAILED: u64 = 4096;

/// The device, mounted while it is there.
pub(crate) struct Device {
    /// One device at a time: a process that another test starts has, for a moment, copies of the files that are open here.
    _turn: MutexGuard<'static, ()>,
    dir: TempDir,
    /// Whether the file system has a journal. If so, it refuses all changes once a write to that has failed; without one
    /// it goes on, as if what could not be written were on the disk.
    has_journal: bool,
}

impl Device {
    /// # Errors
    ///
    /// Why there can be none here.
    pub(crate) fn mount(has_journal: bool) -> Result<Self, String> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let device = Device { _turn: turn, dir: tempfile::tempdir().unwrap(), has_journal };
        let memory = device.dir.path().join("memory");
        [&memory, &device.root()].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(memory))?;
        File::create(device.image()).unwrap().set_len(LEN).unwrap();
        let journal = if has_journal { "has_journal" } else { "^has_journal" };
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-O", journal]).arg(device.image()))?;
        device.mount_again()?;
        Ok(device)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// From now on nothing can be read from it or written to it. What had not been written yet is lost.
    pub(crate) fn fail(&self) {
        if !self.has_journal {
            run(Command::new("sync").arg("-f").arg(self.root())).unwrap(); // it could not be repaired otherwise
        }
        fs::copy(self.image(), self.kept()).unwrap();
        self.set_capacity(LEN_FAILED);
    }

    /// It is there again, as it was when it failed.
    pub(crate) fn heal(&self) {
        let mut image = File::options().write(true).open(self.image()).unwrap();
        io::copy(&mut File::open(self.kept()).unwrap(), &mut image).unwrap();
        self.set_capacity(LEN);
    }

    /// From now on only what has been written before can be written, until [`refill`](Device::refill): a device that
    /// promised more room than there is behind it.
    pub(crate) fn run_dry(&self) {
        let mut file = File::create(self.kept()).unwrap();
        for step in [1 << 16, 4096] {
            while file.write_all(&vec![1; step]).is_ok() {}
        }
    }

    pub(crate) fn refill(&self) {
        fs::remove_file(self.kept()).unwrap();
    }

    fn set_capacity(&self, bytes: u64) {
        File::options().write(true).open(self.image()).unwrap().set_len(bytes).unwrap();
        let device = run(Command::new("losetup").args(["-n", "-O", "NAME", "-j"]).arg(self.image())).unwrap();
        run(Command::new("losetup").args(["-c", &device])).unwrap();
    }

    /// Lets the system forget what it has in its cache, as a restart does.
    pub(crate) fn remount(&self) {
        run(Command::new("umount").arg(self.root())).unwrap();
        if !self.has_journal {
            let _ = run(Command::new("e2fsck").arg("-fy").arg(self.image())); // fails if there was something to do
        }
        self.mount_again().unwrap();
    }

    fn mount_again(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.root())).map(drop)
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("memory/image")
    }

    fn kept(&self) -> PathBuf {
        self.dir.path().join("memory/kept")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let umount = |lazily: &[&str], place: &Path| run(Command::new("umount").args(lazily).arg(place));
        for place in [self.root(), self.dir.path().join("memory")] {
            let _ = umount(&[], &place).or_else(|_| umount(&["-l"], &place)); // a test that fails may have files open
        }
    }
}

/// The first line of what a command prints, or of why it failed.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

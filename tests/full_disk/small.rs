//! Small file systems that are mounted for a test, which only root can do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What a test can be run on. Each finds out in its own way that it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Tmpfs,
    Ext4,
    Xfs,
}

/// A small file system, while it is there. It goes with the value, also when a test panics.
pub(crate) struct Small {
    dir: TempDir,
    kind: FileSystem,
}

impl Small {
    /// # Errors
    ///
    /// Why it cannot be mounted here.
    pub(crate) fn mount(kind: FileSystem) -> Result<Self, String> {
        let small = Small { dir: tempfile::tempdir().unwrap(), kind };
        small.make_and_mount().map(|()| small)
    }

    /// An image lies in memory as well: what it is on makes no difference, except that syncs take longer.
    fn make_and_mount(&self) -> Result<(), String> {
        let (make, bytes) = match self.kind {
            FileSystem::Tmpfs => (&[][..], 24 << 20),
            FileSystem::Ext4 => (&["mkfs.ext4", "-q", "-F", "-m", "0"][..], 24 << 20),
            FileSystem::Xfs => (&["mkfs.xfs", "-q"][..], 300 << 20), // it takes no less
        };
        let in_memory = self.dir.path().join("memory");
        fs::create_dir(&in_memory).map_err(|error| error.to_string())?;
        let size = format!("size={}", bytes + (1 << 20));
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&in_memory))?;
        let Some((program, arguments)) = make.split_first() else { return Ok(()) };
        let (image, root) = (in_memory.join("image"), self.root());
        File::create(&image).and_then(|file| file.set_len(bytes)).map_err(|error| error.to_string())?;
        run(Command::new(program).args(arguments).arg(&image))?;
        fs::create_dir(&root).map_err(|error| error.to_string())?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&root))
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join(if self.kind == FileSystem::Tmpfs { "memory" } else { "root" })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// Takes all there is but for about so many bytes, without writing it.
    pub(crate) fn leave(&self, bytes: u64) {
        let ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for step in [16 << 20, 1 << 20, 1 << 16] {
            while self.reserve(ballast.metadata().unwrap().len(), step).is_ok() {}
        }
        ballast.set_len(ballast.metadata().unwrap().len() - bytes).unwrap();
        ballast.sync_all().unwrap();
    }

    fn reserve(&self, from: u64, bytes: u64) -> Result<(), String> {
        run(Command::new("fallocate").args(["-o", &from.to_string(), "-l", &bytes.to_string()]).arg(self.ballast()))
    }

    /// Takes what is left, to the last byte. A new file would need more than there is.
    pub(crate) fn take_the_rest(&self) {
        [4096, 512, 1].into_iter().for_each(|step| fill(&self.ballast(), step));
    }

    fn ballast(&self) -> PathBuf {
        self.root().join("ballast")
    }
}

/// Appends to a file until nothing more goes in.
fn fill(path: &Path, step: usize) {
    let mut file = File::options().append(true).create(true).open(path).unwrap();
    while file.write_all(&vec![1; step]).and_then(|()| late_refusal(&file, step)).is_ok() {}
}

/// Some file systems take small writes for which they find no room later.
fn late_refusal(file: &File, step: usize) -> io::Result<()> {
    if step > 1 { Ok(()) } else { file.sync_all() }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdout(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        for place in ["root", "memory"] {
            let umount = |lazily: &[&str]| run(Command::new("umount").args(lazily).arg(self.dir.path().join(place)));
            let _ = umount(&[]).or_else(|_| umount(&["-l"])); // a test that fails may have files open
        }
    }
}

//! The files of a directory in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Contents by path below the directory. Empty directories do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files(pub(crate) BTreeMap<PathBuf, Vec<u8>>);

impl Files {
    pub(crate) fn read(dir: &Path) -> Self {
        fn collect(root: &Path, dir: &Path, files: &mut Files) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(root, &path, files);
                } else if path.ends_with("thalweg.reserve") {
                    // Its content means nothing, and there is more of it than of all others together.
                } else if let Ok(content) = fs::read(&path) {
                    files.0.insert(path.strip_prefix(root).unwrap().to_owned(), content);
                }
            }
        }
        let mut files = Files::default();
        collect(dir, dir, &mut files);
        files
    }

    /// Makes a directory hold these files and nothing else.
    pub(crate) fn lay_out(&self, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        for (path, content) in &self.0 {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// Those below one directory.
    pub(crate) fn below(&self, dir: &Path) -> Self {
        Files(self.0.iter().filter(|(path, _)| path.starts_with(dir)).map(|(k, v)| (k.clone(), v.clone())).collect())
    }
}

//! Names of the files of a segment.

use std::path::{Path, PathBuf};

use crate::types::Offset;

/// The files of a segment, by the ending of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentFile {
    /// `.log`: the record batches.
    Log,
    /// `.index`: the offset index.
    OffsetIndex,
    /// `.timeindex`: the time index.
    TimeIndex,
}

impl SegmentFile {
    const fn extension(self) -> &'static str {
        match self {
            SegmentFile::Log => "log",
            SegmentFile::OffsetIndex => "index",
            SegmentFile::TimeIndex => "timeindex",
        }
    }

    /// The base offset, if `name` is exactly the name of such a file.
    pub(crate) fn base_of(self, name: &str) -> Option<Offset> {
        let stem = name.strip_suffix(self.extension())?.strip_suffix('.')?;
        if stem.len() != 20 || !stem.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        stem.parse().ok()
    }
}

/// The path of a segment's file in its partition's directory.
pub(crate) fn segment_path(dir: &Path, base: Offset, file: SegmentFile) -> PathBuf {
    dir.join(format!("{base:020}.{}", file.extension()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for base in [0, 1, 4711, Offset::MAX] {
            let path = segment_path(Path::new("t-0"), base, SegmentFile::TimeIndex);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(SegmentFile::TimeIndex.base_of(name), Some(base));
            assert_eq!(SegmentFile::OffsetIndex.base_of(name), None);
        }
        assert_eq!(segment_path(Path::new("d"), 42, SegmentFile::Log), Path::new("d/00000000000000000042.log"));
    }

    #[test]
    fn other_names_are_not_segments() {
        for name in [
            "0.log",
            "00000000000000000000.log.swap",
            "00000000000000000000.log.deleted",
            "0000000000000000000x.log",
            "+0000000000000000000.log",
            "99999999999999999999.log",
            "00000000000000000000log",
            ".log",
        ] {
            assert_eq!(SegmentFile::Log.base_of(name), None, "{name}");
        }
    }
}

//! Data directories that are made, damaged and read again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use thalweg::{Broker, FetchOptions, Offset, Records, TopicPartition};

/// The mark of a directory that was closed in order.
pub const CLEAN_MARK: &str = ".kafka_cleanshutdown";

/// The files of a directory and their content, by path below it.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Offset, key and value of each record.
pub type Log = Vec<(Offset, Option<Vec<u8>>, Option<Vec<u8>>)>;

/// A data directory of this process, in memory where that is possible, which every input gets as it was made.
pub struct Place {
    /// Where it is.
    pub dir: PathBuf,
    /// What it held when it was made.
    pub files: Files,
}

impl Place {
    /// Has a broker fill a directory.
    pub fn new(target: &str, fill: impl FnOnce(&Broker)) -> Self {
        let dir = memory().join(format!("{PREFIX}{}-{target}", std::process::id()));
        let _ = fs::remove_dir_all(&dir); // of an earlier process with this id
        fs::create_dir(&dir).unwrap();
        let broker = Broker::open(&dir).unwrap();
        fill(&broker);
        broker.close().unwrap();
        keep_one_offsets_partition(&dir);
        Broker::open(&dir).unwrap().close().unwrap();
        let files = read(&dir);
        Place { dir, files }
    }

    /// Makes it hold `files` and nothing else.
    pub fn write(&self, files: &Files) {
        fs::remove_dir_all(&self.dir).unwrap();
        fs::create_dir(&self.dir).unwrap();
        for (path, content) in files {
            let path = self.dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
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

const PREFIX: &str = "thalweg-fuzz-";

/// What `dir` holds. Files that a broker removes meanwhile are not in it.
pub fn read(dir: &Path) -> Files {
    let mut files = Files::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(content) = fs::read(&path) {
                files.insert(path.strip_prefix(dir).unwrap().to_owned(), content);
            }
        }
    }
    files
}

/// Everything a topic holds, partition by partition; the first error instead, if there is one.
pub fn read_topic(broker: &Broker, topic: &str) -> Result<Vec<Log>, String> {
    let count = broker.topic(topic).map_err(|error| error.to_string())?.partitions();
    (0..count)
        .map(|number| {
            let (log, error) = read_partition(broker, &TopicPartition::new(topic, number));
            error.map_or(Ok(log), Err)
        })
        .collect()
}

/// Everything that can be read of a partition, and the first error. A batch that cannot be decoded is passed over; one
/// that cannot be found ends the walk.
pub fn read_partition(broker: &Broker, name: &TopicPartition) -> (Log, Option<String>) {
    let mut reading = Reading::default();
    if let Err(error) = reading.read(broker, name) {
        reading.first_error.get_or_insert(error.to_string());
    }
    (reading.log, reading.first_error)
}

#[derive(Default)]
struct Reading {
    log: Log,
    first_error: Option<String>,
}

impl Reading {
    fn read(&mut self, broker: &Broker, name: &TopicPartition) -> thalweg::Result<()> {
        let partition = broker.partition(name)?;
        let (mut offset, end) = (partition.log_start()?, partition.high_watermark()?);
        assert!(offset <= end && end <= partition.log_end()?, "{offset} {end}");
        while offset < end {
            // One batch at a time, so that one that cannot be decoded hides no other.
            let fetched = partition.fetch(offset, &FetchOptions::new().max_bytes(1))?;
            let mut next_offset = fetched.next_offset();
            match fetched.decode(true) {
                Ok(records) => {
                    next_offset = records.next_offset();
                    self.take(offset, end, &records);
                }
                Err(error) => {
                    self.first_error.get_or_insert(error.to_string());
                }
            }
            if next_offset <= offset {
                self.first_error.get_or_insert(format!("no way to get past offset {offset}"));
                break;
            }
            offset = next_offset;
        }
        Ok(())
    }

    fn take(&mut self, offset: Offset, end: Offset, records: &Records) {
        assert!(offset <= records.next_offset() && records.next_offset() <= end, "{} {end}", records.next_offset());
        assert_eq!(records.iter().count(), records.len());
        for record in records {
            assert!((offset..end).contains(&record.offset()), "{} {offset} {end}", record.offset());
            assert!(self.log.last().is_none_or(|last| last.0 < record.offset()), "offsets increase");
            record.headers().for_each(|header| drop((header.key(), header.value())));
            self.log.push((record.offset(), record.key().map(<[u8]>::to_vec), record.value().map(<[u8]>::to_vec)));
        }
    }
}

//! Data directories that are made, damaged and read again, and what they hold.

use std::path::Path;

use thalweg::{Broker, FetchOptions, Offset, Records, TopicPartition};

use crate::runner::directory::{Directory, filled};

pub use crate::runner::directory::Files;

/// The mark of a directory that was closed in order.
pub const CLEAN_MARK: &str = ".kafka_cleanshutdown";

/// Offset, key and value of each record.
pub type Log = Vec<(Offset, Option<Vec<u8>>, Option<Vec<u8>>)>;

/// A data directory of this process, which every input gets as it was made.
pub struct Place {
    directory: Directory,
    /// What it held when it was made.
    pub files: Files,
}

impl Place {
    /// Has a broker fill a directory.
    pub fn new(fill: impl FnOnce(&Broker)) -> Self {
        let mut files = filled(fill);
        files.remove(Path::new("thalweg.reserve")); // its content means nothing, and is more than all others'
        Place { files, directory: Directory::create() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        self.directory.dir()
    }

    /// Makes it hold `files` and nothing else.
    pub fn write(&self, files: &Files) {
        self.directory.write(files);
    }
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

//! A broker in numbers.

use std::fmt;
use std::time::Duration;

use super::broker::Broker;
use crate::sys::SyncMethod;

/// What a broker holds and uses at one moment. `Display` gives a line for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Topics, internal ones included.
    pub topics: usize,
    /// Partitions of all topics, also those that did not open.
    pub partitions: usize,
    /// Partitions of these that take no records: they did not open, are damaged, or the disk failed.
    pub read_only_partitions: usize,
    /// Segments in all logs.
    pub segments: usize,
    /// Bytes of record batches in all logs: what `store.max.bytes` limits.
    pub bytes: u64,
    /// `store.max.bytes`; `None` for no limit.
    pub bytes_max: Option<u64>,
    /// Bytes of segments that are deleted and still held by those who have fetched from them, or by a
    /// [`Partition`](crate::Partition) of a deleted topic: the disk has them until the last one lets go. Not part of
    /// `bytes`.
    pub pinned_bytes: u64,
    /// Time since the first of these segments was removed, by the wall clock; `None` if there are none.
    pub oldest_pin: Option<Duration>,
    /// Segments in the logs that are mapped. Those that are appended to since the broker was opened stay mapped; the
    /// rest is bounded by `max.mapped.segments`. With [`ReadMode::Pread`](crate::ReadMode::Pread) it is those that are open
    /// for reading instead.
    pub mapped_segments: usize,
    /// Open handles of files that are written to, bounded by `max.open.files`: not those that are open for reading only.
    pub open_files: usize,
    /// Positions of consumers that were above the end of their log, and were reset: what they had read is gone, or they were
    /// told to begin where nothing is. More than none after a crash means that a power cut took the end of a log.
    pub positions_above_log_end: u64,
    /// How many files are synced together; `None` in a simulation, where that is one after the other.
    pub sync_method: Option<SyncMethod>,
    /// Panics on the background threads, each of which ended what the thread was at and not the thread. More than none is
    /// a defect of this crate: partitions that it was about take no more records and say so.
    pub background_panics: u64,
}

impl Broker {
    /// Counts what is there. Looks at every segment and takes no lock that an append takes, so the numbers of different
    /// partitions can be of slightly different moments.
    pub fn stats(&self) -> BrokerStats {
        let engine = self.engine();
        let usage = engine.topics.usage();
        let pinned = usage.pinned(engine.clock.now());
        let mut stats = BrokerStats {
            bytes_max: usage.limit(),
            pinned_bytes: pinned.bytes,
            oldest_pin: pinned.oldest,
            open_files: engine.topics.open_handles(),
            positions_above_log_end: engine.topics.positions_above_end(),
            sync_method: engine.topics.sync_method().map(|(method, _)| method),
            background_panics: engine.topics.flusher().committer.panics.count()
                + engine.timer.panics.count()
                + engine.lingering.panics.count(),
            ..BrokerStats::default()
        };
        for topic in engine.topics.all() {
            stats.topics += 1;
            stats.partitions += topic.partitions().len();
            for counts in topic.partitions().iter().map(|partition| partition.counts()) {
                stats.read_only_partitions += usize::from(counts.is_none_or(|counts| counts.is_read_only));
                let Some(counts) = counts else { continue };
                stats.segments += counts.segments;
                stats.bytes += counts.bytes;
                stats.mapped_segments += counts.mapped;
            }
        }
        stats
    }
}

impl fmt::Display for BrokerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} topics, {} partitions ({} read-only), {} segments ({} mapped), {} open files, {} bytes",
            self.topics,
            self.partitions,
            self.read_only_partitions,
            self.segments,
            self.mapped_segments,
            self.open_files,
            self.bytes
        )?;
        if self.background_panics > 0 {
            write!(f, ", {} panics in the background", self.background_panics)?;
        }
        if let Some(max) = self.bytes_max {
            write!(f, " of {max}")?;
        }
        if let Some(oldest) = self.oldest_pin {
            write!(f, ", {} bytes deleted and still held, for up to {:.1} s", self.pinned_bytes, oldest.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::client::ProducerRecord;
    use crate::clock::SystemClock;
    use crate::config::{ConsumerConfig, ProducerConfig, TopicConfig};
    use crate::sync::Arc;
    use crate::sys::{Faults, FaultyDisk};
    use crate::types::{Durability, TopicPartition};

    #[test]
    fn a_line_for_a_person() {
        let mut stats = BrokerStats { topics: 2, partitions: 51, segments: 60, bytes: 1000, ..Default::default() };
        let line = "2 topics, 51 partitions (0 read-only), 60 segments (0 mapped), 0 open files, 1000 bytes";
        assert_eq!(stats.to_string(), line);
        stats.bytes_max = Some(2000);
        (stats.pinned_bytes, stats.oldest_pin) = (7, Some(Duration::from_millis(1500)));
        assert_eq!(stats.to_string(), format!("{line} of 2000, 7 bytes deleted and still held, for up to 1.5 s"));
    }

    fn open(dir: &Path) -> (Broker, Arc<Faults>) {
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        (Broker::open_on(dir, Arc::new(disk), Arc::new(SystemClock)).unwrap(), faults)
    }

    fn config() -> TopicConfig {
        TopicConfig::new().durability(Durability::Os).internal_segment_bytes(1000).retention(None)
    }

    fn send(broker: &Broker, topic: &str, count: u8) {
        let producer = broker.producer(ProducerConfig::new().retries(0).batch_size(0)).unwrap();
        for number in 0..count {
            producer.send(ProducerRecord::new(topic, &[number; 100]).timestamp(1000)).unwrap().detach();
        }
    }

    /// Bytes of the batches in a segment file, without the room behind them.
    fn batch_bytes(content: &[u8]) -> u64 {
        let mut end = 0;
        while let Some(length) = content.get(end + 8..end + 12).filter(|length| **length != [0; 4]) {
            end += 12 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
        }
        end as u64
    }

    /// What the engine counts is what a walk over the segments finds, and what the files have. Returns it.
    fn assert_counted(broker: &Broker, dir: &Path) -> u64 {
        let mut on_disk = 0;
        for partition in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
        {
            for file in std::fs::read_dir(partition).unwrap().map(|entry| entry.unwrap()) {
                let is_log = file.path().extension().is_some_and(|extension| extension == "log");
                on_disk += if is_log { batch_bytes(&std::fs::read(file.path()).unwrap()) } else { 0 };
            }
        }
        assert_eq!((broker.engine().topics.usage().bytes(), broker.stats().bytes), (on_disk, on_disk));
        on_disk
    }

    #[test]
    fn every_byte_is_counted_whatever_happens() {
        let dir = tempfile::tempdir().unwrap();
        let (broker, faults) = open(dir.path());
        let counted = || assert_counted(&broker, dir.path());
        assert_eq!(counted(), 0);
        for topic in ["t", "u"] {
            broker.create_topic(topic, 2, config()).unwrap();
            send(&broker, topic, 100); // and rolls
        }
        assert!(counted() > 20_000);
        let before = counted();
        // The background may be writing index files, and would meet the fault.
        for topic in broker.engine().topics.all() {
            for partition in topic.partitions() {
                while partition.log().unwrap().has_unsealed() {
                    std::thread::yield_now();
                }
            }
        }
        *faults.next_write.lock() = Some(io::ErrorKind::StorageFull);
        send(&broker, "t", 1);
        assert_eq!(counted(), before, "a failed append");
        let partitions = ["t", "u"].map(|topic| broker.partition(&TopicPartition::new(topic, 0)).unwrap());
        partitions[0].delete_records(partitions[0].high_watermark().unwrap() / 2).unwrap();
        assert!(counted() < before);
        let offsets = [(TopicPartition::new("t", 0), 1.into())];
        let mut consumer = broker.consumer(ConsumerConfig::new().group_id("g")).unwrap();
        let before = counted();
        consumer.commit_sync_offsets(&offsets).unwrap();
        assert!(counted() > before, "internal topics count");
        broker.alter_topic("t", config().retention_bytes(Some(2000))).unwrap();
        let before = counted();
        let removed = broker.enforce_retention().unwrap();
        assert!(removed > 0);
        assert_eq!(counted(), before - removed);
        broker.delete_topic("u").unwrap();
        send(&broker, "t", 3);
        counted();
        broker.create_partitions("t", 4).unwrap();
        let before = counted();
        drop((partitions, consumer));
        broker.close().unwrap();
        for is_clean in [true, false] {
            if !is_clean {
                std::fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
            }
            let (broker, _) = open(dir.path());
            assert_eq!(assert_counted(&broker, dir.path()), before);
            broker.close().unwrap();
        }
    }

    #[test]
    fn what_recovery_cuts_or_imports_is_counted_as_it_is_then() {
        let dir = tempfile::tempdir().unwrap();
        let (broker, _) = open(dir.path());
        broker.create_topic("t", 1, config().internal_segment_bytes(1 << 20)).unwrap();
        let checkpoint = dir.path().join("t-0/thalweg-checkpoint");
        let first_checkpoint = std::fs::read(&checkpoint).unwrap();
        send(&broker, "t", 10);
        let whole = assert_counted(&broker, dir.path());
        broker.close().unwrap();
        // A power cut that took the end of the last record, and then somebody who took the checkpoint.
        std::fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
        std::fs::write(&checkpoint, first_checkpoint).unwrap();
        let log =
            std::fs::OpenOptions::new().write(true).open(dir.path().join("t-0/00000000000000000000.log")).unwrap();
        log.set_len(whole - 1).unwrap();
        let (broker, _) = open(dir.path());
        assert_eq!(assert_counted(&broker, dir.path()), whole / 10 * 9);
        broker.close().unwrap();
        std::fs::remove_file(&checkpoint).unwrap();
        let (broker, _) = open(dir.path());
        assert_eq!(assert_counted(&broker, dir.path()), whole / 10 * 9);
    }

    #[test]
    fn partitions_that_take_no_records() {
        let dir = tempfile::tempdir().unwrap();
        let (broker, faults) = open(dir.path());
        broker.create_topic("t", 3, config().durability(Durability::Fsync)).unwrap();
        *faults.next_sync.lock() = Some(io::ErrorKind::Other);
        let producer = broker.producer(ProducerConfig::new().enable_idempotence(false)).unwrap();
        let error = producer.send(ProducerRecord::new("t", "v").partition(0)).unwrap().wait().unwrap_err();
        assert!(error.is_storage(), "{error}");
        let stats = broker.stats();
        assert_eq!((stats.partitions, stats.segments, stats.read_only_partitions), (3, 3, 1));
        drop(broker);
        std::fs::remove_dir_all(dir.path().join("t-1")).unwrap();
        let stats = open(dir.path()).0.stats();
        assert_eq!((stats.topics, stats.partitions, stats.segments, stats.read_only_partitions), (1, 3, 2, 1));
    }
}

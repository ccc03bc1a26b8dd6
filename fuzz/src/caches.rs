//! Files that say what the log says already: any bytes in an index, or in a checkpoint.

use std::path::PathBuf;
use std::sync::LazyLock;

use thalweg::{
    Broker, Durability, Offset, OffsetSpec, Partition, ProducerConfig, ProducerRecord, Timestamp, TimestampOffset,
    TopicConfig, TopicPartition,
};

use crate::place::{self, CLEAN_MARK, Log, Place};
use crate::runner::input::Input;

const TOPIC: &str = "t";
const CHECKPOINT: &str = "t-0/thalweg-checkpoint";
const RECORDS: i32 = 60;

/// An index is a cache: whatever its file holds, every record is found by offset and by time. The first byte chooses the
/// file, the second whether the rest replaces it or goes over a part of it.
pub fn index(bytes: &[u8]) {
    let store = &*STORE;
    let mut input = Input::new(bytes);
    let path = &store.indexes[input.below(store.indexes.len())];
    let mut files = store.place.files.clone();
    let content = files.get_mut(path).unwrap();
    match input.below(3) {
        0 => *content = input.take(usize::MAX).to_vec(),
        1 => content.truncate(usize::from(input.u16())),
        _ => {
            let at = usize::from(input.u16()) % (content.len() + 1);
            let patch = input.take(usize::MAX);
            let end = content.len().min(at + patch.len());
            content.splice(at..end, patch.iter().copied());
        }
    }
    store.place.write(&files);
    let broker = Broker::open(store.place.dir()).unwrap();
    assert!(broker.recovery().clean && broker.recovery().is_whole(), "{}", broker.recovery());
    store.assert_whole(&broker);
    broker.close().unwrap();
    let _ = thalweg::verify(store.place.dir()).unwrap().to_string();
}

/// Whatever the checkpoint says, no record comes out that was not sent, and none is cut that is whole. The first byte says
/// how the broker ended; the rest is the file, once as it is and once with the checksum that would be right for it.
pub fn checkpoint(bytes: &[u8]) {
    let Some((how, content)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(content);
    let body = text.rsplit_once("crc32 ").map_or(&*text, |(body, _)| body);
    let right = format!("{body}crc32 {:08x}\n", crc32(body.as_bytes()));
    for content in [content, right.as_bytes()] {
        open_with_checkpoint(content, how % 2 == 0);
    }
}

fn open_with_checkpoint(content: &[u8], clean: bool) {
    let store = &*STORE;
    let mut files = store.place.files.clone();
    files.insert(CHECKPOINT.into(), content.to_vec());
    if !clean {
        files.remove(&PathBuf::from(CLEAN_MARK));
    }
    store.place.write(&files);
    for _ in 0..2 {
        let broker = Broker::open(store.place.dir()).unwrap();
        assert_eq!(broker.recovery().cut_bytes(), 0, "{}", broker.recovery());
        let (log, error) = place::read_partition(&broker, &TopicPartition::new(TOPIC, 0));
        assert!(log.iter().all(|record| store.log.contains(record)), "records that were never sent");
        if broker.recovery().is_whole() && error.is_none() {
            // A log start that was moved hides what lies below; nothing else may be missing.
            assert!(store.log.ends_with(&log), "{} of {} records", log.len(), store.log.len());
        }
        broker.close().unwrap();
        let _ = thalweg::verify(store.place.dir()).unwrap().to_string();
    }
}

struct Store {
    place: Place,
    /// The index files of the log.
    indexes: Vec<PathBuf>,
    log: Log,
}

impl Store {
    fn assert_whole(&self, broker: &Broker) {
        let name = TopicPartition::new(TOPIC, 0);
        let (log, error) = place::read_partition(broker, &name);
        assert_eq!((&log, error), (&self.log, None));
        let partition = broker.partition(&name).unwrap();
        let newest = time_of(RECORDS - 1);
        for number in 0..RECORDS {
            let time = time_of(number);
            let expected = TimestampOffset { timestamp: time, offset: Offset::from(number) };
            assert_eq!(at_time(&partition, time), Some(expected));
            assert_eq!(at_time(&partition, time - 1), Some(expected));
        }
        assert_eq!(at_time(&partition, newest + 1), None);
        assert_eq!(partition.list_offset(OffsetSpec::MaxTimestamp).unwrap().unwrap().timestamp, newest);
    }
}

fn at_time(partition: &Partition, timestamp: Timestamp) -> Option<TimestampOffset> {
    partition.list_offset(OffsetSpec::Timestamp(timestamp)).unwrap()
}

/// Each record is later than those before it: an entry that is there belongs to the batch that it names.
fn time_of(number: i32) -> Timestamp {
    1_700_000_000_000 + 2 * i64::from(number)
}

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let mut log = Vec::new();
    let place = Place::new(|broker| {
        let config = TopicConfig::new().durability(Durability::Os).internal_segment_bytes(2000);
        broker.create_topic(TOPIC, 1, config.index_interval_bytes(100).retention(None)).unwrap();
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        for number in 0..RECORDS {
            let value = number.to_string().repeat(10);
            producer.send(ProducerRecord::new(TOPIC, &value).timestamp(time_of(number))).unwrap().wait().unwrap();
        }
        log = place::read_topic(broker, TOPIC).unwrap().remove(0);
    });
    let is_index = |path: &&PathBuf| path.starts_with("t-0") && path.to_string_lossy().ends_with("index");
    let indexes: Vec<_> = place.files.keys().filter(is_index).cloned().collect();
    assert!(indexes.len() >= 6 && log.len() == RECORDS as usize);
    Store { place, indexes, log }
});

/// CRC-32 as in zlib.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1))))
}

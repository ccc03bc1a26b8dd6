//! Any bytes as the log of a partition whose broker did not end in order.

use std::path::Path;
use std::sync::LazyLock;

use thalweg::{Broker, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

use crate::place::{self, CLEAN_MARK, Place};

const TOPIC: &str = "t";
const LOG: &str = "t-0/00000000000000000000.log";
const CHECKPOINT: &str = "t-0/thalweg-checkpoint";

/// The bytes are the only segment of a log of which nothing is known to be durable; once as they are, and once with the
/// checksums that would be right for them, which no fuzzer guesses.
pub fn recover(bytes: &[u8]) {
    recover_log(bytes);
    let right = with_right_checksums(bytes);
    if right != bytes {
        recover_log(&right);
    }
}

/// The log opens, whatever it holds. What can be read, and a record that is sent then, are there again after a clean and
/// after an unclean end.
fn recover_log(bytes: &[u8]) {
    let dir = PLACE.dir();
    let mut files = PLACE.files.clone();
    files.insert(LOG.into(), bytes.to_vec());
    PLACE.write(&files);

    let broker = Broker::open(dir).unwrap();
    let recovery = broker.recovery();
    assert!(!recovery.clean && recovery.failed.is_empty(), "{recovery}");
    let room = bytes.get(recovery.scanned_bytes() as usize..).expect("it scans what there is");
    assert!(room.iter().all(|byte| *byte == 0), "{recovery}");
    assert!(recovery.cut_bytes() <= bytes.len() as u64);
    let partition = TopicPartition::new(TOPIC, 0);
    let (mut log, error) = place::read_partition(&broker, &partition);
    let end = broker.partition(&partition).unwrap().log_end().unwrap();
    assert!(!bytes.is_empty() || end == 0);

    let producer = broker.producer(ProducerConfig::new()).unwrap();
    let sent = producer.send(ProducerRecord::new(TOPIC, b"value").key(b"key")).unwrap().wait();
    match sent {
        Ok(sent) => {
            assert_eq!(sent.offset, end);
            log.push((end, Some(b"key".to_vec()), Some(b"value".to_vec())));
        }
        Err(error) => assert!(end > i64::MAX - 2, "{error}"), // offsets have run out
    }
    drop(producer);
    broker.close().unwrap();

    for clean in [true, false] {
        if !clean {
            std::fs::remove_file(dir.join(CLEAN_MARK)).unwrap();
            std::fs::remove_file(dir.join(CHECKPOINT)).unwrap();
        }
        let broker = Broker::open(dir).unwrap();
        let recovery = broker.recovery();
        assert!(recovery.clean == clean && recovery.failed.is_empty() && recovery.cut_bytes() == 0, "{recovery}");
        assert_eq!(place::read_partition(&broker, &partition), (log.clone(), error.clone()));
        broker.close().unwrap();
    }
}

/// The bytes as batches end to end, for as long as their lengths fit, each with its CRC-32C.
fn with_right_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut rest = bytes.as_mut_slice();
    while let Some(length) = rest.get(8..).and_then(|rest| rest.first_chunk()) {
        let size = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX).saturating_add(12);
        let Some((batch, behind)) = rest.split_at_mut_checked(size) else { break };
        if let Some((header, covered)) = batch.split_at_mut_checked(21) {
            header[17..].copy_from_slice(&crc32c(covered).to_be_bytes());
        }
        rest = behind;
    }
    bytes
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1))))
}

/// A directory with an empty topic, as a broker leaves it that did not end in order.
static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let mut place = Place::new(|broker| {
        broker.create_topic(TOPIC, 1, TopicConfig::new()).unwrap();
    });
    place.files.remove(Path::new(CLEAN_MARK)).unwrap();
    place.files.remove(Path::new(CHECKPOINT)).unwrap();
    assert!(place.files.contains_key(Path::new(LOG)));
    place
});

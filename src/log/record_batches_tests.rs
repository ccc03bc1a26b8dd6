//! Records that are not well formed, in batches whose checksum holds.

use std::os::unix::fs::FileExt;

use crate::config::TopicConfig;
use crate::log::{FetchBudget, LeftBy, Log, LogPlace};
use crate::record::{BatchBuilder, Compression, HEADER_LEN, crc32c};
use crate::sync::Arc;
use crate::sys::{OpenFiles, RealDisk};
use crate::types::{Durability, TopicPartition};

/// What both ways to read say of a batch of two records with `value` at `position` behind the header.
fn reasons(position: usize, value: u8) -> [String; 2] {
    let dir = tempfile::tempdir().unwrap();
    let place = LogPlace {
        partition: TopicPartition::new("t", 0),
        dir: dir.path().into(),
        disk: Arc::new(RealDisk::default()),
        open_files: OpenFiles::new(4, 4),
        usage: Arc::default(),
        reserve: Arc::default(),
        uses_reserve: false,
        config: TopicConfig::new().durability(Durability::Os),
        gaps_below: 0,
    };
    let (log, _) = Log::open(place, LeftBy::Crash).unwrap();
    let mut builder = BatchBuilder::new();
    builder.push(1000, None, Some(b"v"), std::iter::empty());
    builder.push(1000, None, Some(b"v"), std::iter::empty());
    log.append(builder.finish(Compression::None, None).unwrap(), 1000).unwrap();
    let path = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[HEADER_LEN + position] = value;
    let crc = crc32c(&bytes[21..HEADER_LEN + 16]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&bytes, 0).unwrap();
    let fetched = log.fetch(0, FetchBudget::new(1 << 20)).unwrap();
    let decoded = fetched.decode(true).unwrap_err();
    let mut batches = fetched.batches(true);
    batches.next_batch().unwrap().unwrap().for_each(drop);
    let lent = batches.next_batch().unwrap_err();
    [decoded.to_string(), lent.to_string()]
}

#[test]
fn an_offset_that_cannot_be_is_called_that() {
    // The second record's offset delta, 1, becomes 5.
    let [decoded, lent] = reasons(8 + 3, 10);
    assert_eq!(decoded, lent);
}

#[test]
fn a_record_that_cannot_be_is_called_by_its_number() {
    // The second record's length goes beyond the batch.
    let [decoded, lent] = reasons(8, 0x7e);
    assert_eq!(decoded, lent);
}

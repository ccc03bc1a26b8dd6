//! Reading a directory that somebody else has open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thalweg::TopicConfig;
use thalweg::{Broker, Durability, ErrorKind, FetchOptions, Offset, OffsetSpec, Partition, ProducerRecord};

use crate::support::{Store, fast, open_read_only, producer, send_each, tp};

fn value(offset: Offset) -> Vec<u8> {
    format!("{offset:08}").repeat(1 + offset as usize % 9).into_bytes()
}

/// Reads from `offset` to the end and checks every record; returns where the end is.
fn read_on(partition: &Partition, mut offset: Offset) -> Offset {
    loop {
        let records = match partition.fetch(offset, &FetchOptions::new().max_bytes(3000)) {
            Ok(fetched) => fetched.decode(true).unwrap(),
            Err(error) => match error.kind() {
                // The owner deleted what was to be read: go on where the log begins now.
                ErrorKind::OffsetOutOfRange { requested, log_start, .. } if requested < log_start => {
                    offset = *log_start;
                    continue;
                }
                _ => panic!("{error}"),
            },
        };
        if records.next_offset() == offset {
            return offset;
        }
        for record in &records {
            assert_eq!(record.offset(), offset, "no hole");
            assert_eq!(record.value(), Some(value(offset).as_slice()));
            offset += 1;
        }
    }
}

#[test]
fn what_the_owner_does_is_seen() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(600).index_interval_bytes(100));
    let reader = open_read_only(store.dir.path()).unwrap();
    let partition = reader.partition(&tp(0)).unwrap();
    assert_eq!((partition.log_start().unwrap(), partition.high_watermark().unwrap()), (0, 0));
    let mut end = 0;
    for round in 1..=20 {
        send_each(&broker, (end..end + 7).map(value)); // rolls now and then
        end += 7;
        assert_eq!(partition.log_end().unwrap(), end);
        let start = partition.log_start().unwrap();
        assert_eq!(read_on(&partition, start), end);
        if round % 5 == 0 {
            let own = broker.partition(&tp(0)).unwrap();
            own.delete_records(end - 10).unwrap();
            assert_eq!(partition.log_start().unwrap(), end - 10);
            assert_eq!(partition.size().unwrap(), own.size().unwrap());
            let error = partition.fetch(0, &FetchOptions::new()).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::OffsetOutOfRange { .. }), "{error}");
        }
        assert_eq!(
            partition.list_offset(OffsetSpec::MaxTimestamp).unwrap(),
            broker.partition(&tp(0)).unwrap().list_offset(OffsetSpec::MaxTimestamp).unwrap()
        );
    }
    broker.close().unwrap();
    assert_eq!(read_on(&partition, end - 5), end, "the owner is gone");
    let broker = store.open();
    assert!(broker.recovery().clean && broker.recovery().cut_bytes() == 0, "nothing was changed by reading");
}

#[test]
fn nothing_can_be_changed() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, ["a", "b"]);
    let reader = open_read_only(store.dir.path()).unwrap();
    let error = reader.partition(&tp(0)).unwrap().delete_records(1).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::IllegalState { .. }), "{error}");
    assert_eq!(broker.partition(&tp(0)).unwrap().log_start().unwrap(), 0);
}

#[test]
fn topics_come_and_go() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let reader = open_read_only(store.dir.path()).unwrap();
    let names = || reader.topics().unwrap().iter().map(|topic| topic.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(), ["t"]);
    broker.create_topic("u", 3, TopicConfig::new()).unwrap();
    assert_eq!(names(), ["t", "u"]);
    assert_eq!(reader.topic("u").unwrap().partitions(), 3);
    for (topic, number) in [("u", 3), ("u", -1), ("none", 0), ("../t", 0)] {
        let error = reader.partition(&thalweg::TopicPartition::new(topic, number)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. }), "{error}");
    }

    send_each(&broker, ["old"]);
    let old = reader.partition(&tp(0)).unwrap();
    let held = old.fetch(0, &FetchOptions::new()).unwrap();
    broker.delete_topic("t").unwrap();
    broker.create_topic("t", 1, fast()).unwrap();
    send_each(&broker, ["new", "newer"]);
    for outcome in [old.log_end().map(|_| ()), old.fetch(0, &FetchOptions::new()).map(|_| ())] {
        let error = outcome.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. }), "{error}");
    }
    assert_eq!(held.decode(true).unwrap().iter().next().unwrap().value(), Some(&b"old"[..]));
    let new = reader.partition(&tp(0)).unwrap();
    assert_eq!(new.log_end().unwrap(), 2);
}

#[test]
fn directories_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let error = open_read_only(dir.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotADataDirectory { .. }), "{error}");
    assert!(open_read_only(dir.path().join("none")).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is made");
}

#[test]
fn a_batch_that_is_being_written_is_not_seen_before_it_is_whole() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, (0..3).map(value));
    broker.close().unwrap();
    let path = store.file("00000000000000000000.log");
    let whole = std::fs::read(&path).unwrap();
    let batch = 12 + u32::from_be_bytes(whole[8..12].try_into().unwrap()) as usize;
    std::fs::write(&path, &whole[..batch]).unwrap();
    let partition = open_read_only(store.dir.path()).unwrap().partition(&tp(0)).unwrap();
    for len in batch..=whole.len() {
        let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut &file, &whole[len.max(batch + 1) - 1..len]).unwrap();
        let end = read_on(&partition, 0);
        assert!((1..=3).contains(&end) && (end == 3) == (len == whole.len()), "{end} at {len}");
    }
}

/// The owner appends, rolls, deletes and compacts nothing; readers follow it all the time.
#[test]
fn readers_follow_an_owner_that_never_rests() {
    for durability in [Durability::Os, Durability::Fsync] {
        let store = Store::new();
        let config = TopicConfig::new().durability(durability).internal_segment_bytes(2000).index_interval_bytes(200);
        let broker = store.open_with_topic(1, config.retention_bytes(Some(20_000)));
        let done = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (path, done) = (store.dir.path().to_owned(), Arc::clone(&done));
                std::thread::spawn(move || {
                    let partition = open_read_only(path).unwrap().partition(&tp(0)).unwrap();
                    let mut offset = 0;
                    while !done.load(Ordering::Acquire) {
                        offset = read_on(&partition, offset);
                    }
                    read_on(&partition, offset)
                })
            })
            .collect();
        let end = append_and_retain(&broker, if durability == Durability::Os { 3000 } else { 500 });
        done.store(true, Ordering::Release);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), end);
        }
    }
}

fn append_and_retain(broker: &Broker, count: Offset) -> Offset {
    let producer = producer(broker);
    for offset in 0..count {
        producer.send(ProducerRecord::new("t", &value(offset)).partition(0)).unwrap().wait().unwrap();
        if offset % 50 == 0 {
            broker.enforce_retention().unwrap();
        }
    }
    count
}

#[test]
fn segments_that_grow_beyond_the_setting_they_were_opened_with_are_followed() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast().internal_segment_bytes(5_000));
    let reader = open_read_only(store.dir.path()).unwrap();
    let partition = reader.partition(&tp(0)).unwrap();
    send_each(&broker, (0..3).map(|_| vec![7; 1000]));
    assert_eq!(partition.high_watermark().unwrap(), 3);
    broker.alter_topic("t", fast().internal_segment_bytes(50_000)).unwrap();
    let (mut at, mut seen) = (0, Vec::new());
    let producer = producer(&broker);
    for _ in 0..150 {
        producer.send(ProducerRecord::new("t", &vec![7; 1000][..]).partition(0)).unwrap().wait().unwrap();
        let end = partition.high_watermark().unwrap();
        while at < end {
            let records = partition.fetch(at, &FetchOptions::new()).unwrap().decode(true).unwrap();
            seen.extend(records.iter().map(|record| record.offset()));
            at = records.next_offset();
        }
    }
    assert_eq!(seen, (0..153).collect::<Vec<_>>());
}

#[test]
fn what_was_deleted_is_not_read() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let reader = open_read_only(store.dir.path()).unwrap();
    let partition = reader.partition(&tp(0)).unwrap();
    send_each(&broker, (0..10).map(|_| vec![7; 10]));
    assert_eq!(partition.high_watermark().unwrap(), 10);
    broker.partition(&tp(0)).unwrap().delete_records(5).unwrap();
    let outcome = partition.fetch(0, &FetchOptions::new()).map(|f| f.decode(true).unwrap().len());
    assert!(outcome.as_ref().is_err_and(|e| matches!(e.kind(), ErrorKind::OffsetOutOfRange { .. })), "{outcome:?}");
}

//! What `read.mode` changes, and what it does not.

use std::fs;

use thalweg::{Broker, BrokerConfig, FetchOptions, Fetched, OffsetSpec, ReadMode, ReadOnlyBroker, TopicConfig};

use crate::READ_MODE;
use crate::support::{Store, all_values, fast, open, open_read_only, send_each, tp};

/// Names of `.log` files of the store that this process has mapped.
#[cfg(target_os = "linux")]
fn maps(store: &Store) -> Vec<String> {
    let dir = store.dir.path().to_str().unwrap().to_owned();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(&dir) && line.contains(".log")).map(str::to_owned).collect()
}

fn small() -> TopicConfig {
    fast().internal_segment_bytes(600).index_interval_bytes(0)
}

fn fetch(broker: &Broker, offset: i64) -> Fetched {
    broker.partition(&tp(0)).unwrap().fetch(offset, &FetchOptions::new()).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn segments_are_mapped_in_one_mode_and_in_no_other() {
    let store = Store::new();
    let broker = store.open_with_topic(1, small());
    let is_right = |what: &str| {
        let maps = maps(&store);
        assert_eq!(maps.is_empty(), READ_MODE == ReadMode::Pread, "{what}: {maps:?}");
    };
    send_each(&broker, (0..50u8).map(|value| [value; 40]));
    let active = fetch(&broker, 49);
    is_right("the active segment");
    broker.close().unwrap();
    drop(active);
    assert_eq!(maps(&store), [""; 0], "nothing is left");

    let broker = store.open();
    let sealed = fetch(&broker, 0);
    is_right("sealed segments");
    assert_eq!(all_values(&broker).len(), 50);
    let partition = broker.partition(&tp(0)).unwrap();
    assert!(partition.list_offset(OffsetSpec::MaxTimestamp).unwrap().is_some());
    is_right("all of them");
    broker.close().unwrap();
    drop((sealed, partition));
    assert_eq!(maps(&store), [""; 0], "nothing is left");

    let broker = store.open();
    let reader = open_read_only(store.dir.path()).unwrap();
    let followed = reader.partition(&tp(0)).unwrap();
    let fetched = followed.fetch(0, &FetchOptions::new()).unwrap();
    assert_eq!(fetched.decode(true).unwrap().len(), 50);
    is_right("a followed log");
    fs::remove_file(store.dir.path().join(".kafka_cleanshutdown")).ok();
    drop((fetched, followed, reader, broker));
    let broker = store.open();
    assert_eq!(all_values(&broker).len(), 50);
    is_right("after recovery");
}

/// Negative control of the test above: both modes in one process, on one directory.
#[test]
fn both_modes_show_the_same() {
    let store = Store::new();
    let broker = store.open_with_topic(1, small());
    let values: Vec<_> = (0..50u8).map(|value| vec![value; 40]).collect();
    send_each(&broker, &values);
    for mode in [ReadMode::Mmap, ReadMode::Pread] {
        let reader = ReadOnlyBroker::open_with(store.dir.path(), BrokerConfig::new().read_mode(mode)).unwrap();
        let partition = reader.partition(&tp(0)).unwrap();
        let mut offset = 0;
        while offset < 50 {
            let fetched = partition.fetch(offset, &FetchOptions::new().max_bytes(700)).unwrap();
            let ours = broker.partition(&tp(0)).unwrap().fetch(offset, &FetchOptions::new().max_bytes(700)).unwrap();
            assert!(fetched.slices().eq(ours.slices()), "{mode} at {offset}");
            assert_eq!(fetched.next_offset(), ours.next_offset());
            offset = fetched.next_offset();
        }
    }
    assert_eq!(all_values(&broker), values);
}

/// What was fetched stays what it was, whatever becomes of the files; where it is a copy, the disk gets its space back.
#[test]
fn what_was_fetched_outlives_its_segments() {
    let store = Store::new();
    let broker = store.open_with_topic(1, small());
    send_each(&broker, (0..50u8).map(|value| [value; 40]));
    let held = fetch(&broker, 0);
    broker.partition(&tp(0)).unwrap().delete_records(50).unwrap();
    assert_eq!(broker.stats().pinned_bytes > 0, READ_MODE == ReadMode::Mmap);
    broker.delete_topic("t").unwrap();
    broker.close().unwrap();
    let records = held.decode(true).unwrap();
    let record = records.iter().next().unwrap();
    let value = records.share(record.value().unwrap()).unwrap();
    drop((held, records));
    assert_eq!(&value[..], [0; 40]);
}

#[test]
fn a_file_that_somebody_cuts_is_an_error_where_nothing_is_mapped() {
    if READ_MODE == ReadMode::Mmap {
        return; // the process would get a signal
    }
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    send_each(&broker, (0..50u8).map(|value| [value; 400]));
    let file = fs::OpenOptions::new().write(true).open(store.file("00000000000000000000.log")).unwrap();
    let before = fs::read(store.file("00000000000000000000.log")).unwrap();
    file.set_len(5000).unwrap();
    let partition = broker.partition(&tp(0)).unwrap();
    let error = partition.fetch(0, &FetchOptions::new()).unwrap_err();
    assert!(matches!(error.kind(), thalweg::ErrorKind::Io { .. }), "{error}");
    assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
    assert_eq!(partition.fetch(0, &FetchOptions::new().max_bytes(2000)).unwrap().decode(true).unwrap().len(), 4);
    fs::write(store.file("00000000000000000000.log"), before).unwrap();
    assert_eq!(all_values(&broker).len(), 50);
    broker.close().unwrap();
    assert!(open(store.dir.path()).unwrap().recovery().is_whole());
}

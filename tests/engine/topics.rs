//! Creating topics, and what a restart keeps of them.

use std::time::Duration;

use thalweg::{CleanupPolicy, Durability, ErrorKind, TimestampType, TopicConfig};

use crate::support::Store;

/// Every setting, none at its default.
fn unusual() -> TopicConfig {
    TopicConfig::new()
        .segment_bytes(2 << 20)
        .segment_age(Duration::from_millis(12_345))
        .index_interval_bytes(77)
        .max_message_bytes(54_321)
        .compression_type(thalweg::TopicCompression::Codec(thalweg::Compression::None))
        .compression_gzip_level(1)
        .compression_lz4_level(2)
        .compression_zstd_level(-4)
        .message_timestamp_type(TimestampType::LogAppendTime)
        .message_timestamp_before_max(Duration::from_millis(111))
        .message_timestamp_after_max(Duration::from_millis(222))
        .cleanup_policy(CleanupPolicy::CompactAndDelete)
        .retention(Some(Duration::from_millis(555)))
        .retention_bytes(Some(666))
        .durability(Durability::Interval)
        .flush_interval(Duration::from_millis(333))
        .flush_messages(444)
        .segment_jitter(Duration::from_millis(777))
        .segment_roll_timer(true)
        .preallocate(true)
        .on_corruption(thalweg::OnCorruption::Quarantine)
}

#[test]
fn topics_survive_a_restart_with_every_setting() {
    let store = Store::new();
    let defaults = TopicConfig::new().to_properties();
    assert!(unusual().to_properties().iter().zip(&defaults).all(|(a, b)| a != b), "a setting was left at its default");

    let broker = store.open();
    let created = broker.create_topic("unusual", 7, unusual()).unwrap();
    broker.create_topic("plain", 1, TopicConfig::new()).unwrap();
    broker.close().unwrap();
    for open in [Store::open, Store::open_after_kill, Store::open] {
        let broker = open(&store);
        let names: Vec<_> = broker.topics().iter().map(|topic| topic.name().to_owned()).collect();
        assert_eq!(names, ["plain", "unusual"]);
        let topic = broker.topic("unusual").unwrap();
        assert_eq!((topic.partitions(), topic.id()), (7, created.id()));
        assert_eq!(topic.config(), &unusual());
        assert_eq!(broker.topic("plain").unwrap().config(), &TopicConfig::new());
        broker.close().unwrap();
    }
}

#[test]
fn bad_names_counts_and_settings_are_refused_and_leave_nothing() {
    let store = Store::new();
    let broker = store.open();
    let names =
        || -> Vec<_> { std::fs::read_dir(store.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    let before = names();
    for name in ["", ".", "..", "a/b", "with space", "größe", &"x".repeat(250)] {
        let error = broker.create_topic(name, 1, TopicConfig::new()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidTopic { .. }), "{name}: {error}");
    }
    for partitions in [0, -1, i32::MIN, thalweg::MAX_PARTITIONS + 1, i32::MAX] {
        let error = broker.create_topic("t", partitions, TopicConfig::new()).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidPartitions { requested: partitions });
    }
    let error = broker.create_topic("t", 1, TopicConfig::new().segment_bytes(1)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidConfig { key, .. } if key == "segment.bytes"), "{error}");
    assert_eq!(names(), before);
}

#[test]
fn a_name_is_taken_once_and_dots_are_underscores() {
    let store = Store::new();
    let broker = store.open();
    broker.create_topic("a.b", 1, TopicConfig::new()).unwrap();
    let error = broker.create_topic("a.b", 1, TopicConfig::new()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TopicAlreadyExists { .. }));
    let error = broker.create_topic("a_b", 1, TopicConfig::new()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidTopic { .. }), "{error}");
    assert!(matches!(broker.topic("c").unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition { .. }));
}

#[test]
fn the_longest_name_works() {
    let store = Store::new();
    let name = "x".repeat(249);
    let broker = store.open();
    broker.create_topic(&name, 1, TopicConfig::new()).unwrap();
    broker.close().unwrap();
    assert_eq!(store.open().topic(&name).unwrap().partitions(), 1);
}

#[test]
fn threads_that_create_one_topic_make_one() {
    let store = Store::new();
    let broker = store.open();
    let created = std::thread::scope(|scope| {
        let create = || broker.create_topic("t", 3, TopicConfig::new()).is_ok();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|created| *created).count()
    });
    assert_eq!(created, 1);
}

#[test]
fn a_creation_that_was_cut_short_is_taken_back() {
    let store = Store::new();
    let broker = store.open_with_topic(3, TopicConfig::new());
    broker.close().unwrap();
    store.set_state("creating"); // the file without this line is what makes the topic exist
    let broker = store.open();
    assert_eq!(broker.recovery().removed.len(), 3);
    assert!(broker.topics().is_empty());
    broker.create_topic("t", 2, TopicConfig::new()).unwrap();
}

#[test]
fn a_directory_in_the_way_is_not_taken_over() {
    let store = Store::new();
    let broker = store.open();
    let photos = store.dir.path().join("photos-2");
    std::fs::create_dir(&photos).unwrap();
    std::fs::write(photos.join("one.jpg"), "mine").unwrap();
    let error = broker.create_topic("photos", 3, TopicConfig::new()).unwrap_err();
    assert_eq!(error.file(), Some(photos.as_path()), "{error}");
    assert_eq!(std::fs::read(photos.join("one.jpg")).unwrap(), b"mine");
    assert!(!store.dir.path().join("photos-0").exists());
    broker.create_topic("photos", 2, TopicConfig::new()).unwrap();
}

#[test]
fn a_topic_file_that_cannot_be_read_harms_its_topic_only() {
    let store = Store::new();
    let broker = store.open_with_topic(1, TopicConfig::new());
    broker.create_topic("other", 1, TopicConfig::new()).unwrap();
    broker.close().unwrap();
    let path = store.dir.path().join("t.topic");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("partitions=1", "partitions=2")).unwrap();
    let broker = store.open();
    assert_eq!(broker.recovery().failed.len(), 1);
    let error = broker.topic("t").unwrap_err();
    assert_eq!(error.file(), Some(path.as_path()));
    assert!(broker.create_topic("t", 1, TopicConfig::new()).is_err(), "its records are still there");
    broker.topic("other").unwrap();
}

#[test]
fn a_codec_that_is_not_built_in_is_refused() {
    let store = Store::new();
    let broker = store.open();
    for codec in [thalweg::Compression::Gzip, thalweg::Compression::Lz4, thalweg::Compression::Zstd] {
        let config = TopicConfig::new().compression_type(codec);
        broker.create_topic(codec.name(), 1, TopicConfig::new()).unwrap();
        let altered = broker.alter_topic(codec.name(), config.clone());
        broker.delete_topic(codec.name()).unwrap();
        for outcome in [altered, broker.create_topic(codec.name(), 1, config)] {
            match outcome {
                Ok(_) => assert!(codec.is_supported(), "{codec}"),
                Err(error) => {
                    assert!(!codec.is_supported(), "{codec}: {error}");
                    let ErrorKind::InvalidConfig { key, .. } = error.kind() else { panic!("{error}") };
                    assert_eq!(key, "compression.type");
                }
            }
        }
    }
}

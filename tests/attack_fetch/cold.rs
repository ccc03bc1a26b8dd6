//! What is said to be in memory, and what is read of directories that others have now.

use std::path::Path;

use thalweg::{
    Broker, BrokerConfig, Durability, FetchOptions, ProducerConfig, ProducerRecord, ReadMode, TopicConfig,
    TopicPartition,
};

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Bytes that this thread had the devices read.
fn read_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("read_bytes: ")).unwrap().parse().unwrap()
}

fn drop_cache(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    // Read as it comes, so that the system's guesses hide nothing.
}

const SEGMENT: &str = "t-0/00000000000000000000.log";

/// A closed log of batches of about this size, of ten records each.
fn closed(batch: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    let config = TopicConfig::new().durability(Durability::Os).segment_bytes(10 << 20);
    broker.create_topic("t", 1, config).unwrap();
    let config = ProducerConfig::new().linger(std::time::Duration::from_secs(3600)).batch_size(2 << 20);
    let producer = broker.producer(config).unwrap();
    let value: Vec<u8> = (0..batch / 10).map(|number| (number * 7 % 251) as u8).collect();
    for _ in 0..(25 << 20) / batch {
        for _ in 0..10 {
            _ = producer.send(ProducerRecord::new("t", &value).partition(0)).unwrap();
        }
        producer.flush().unwrap();
    }
    drop(producer);
    broker.close().unwrap();
    dir
}

/// Where each batch begins in a file, and its first offset.
fn batches(bytes: &[u8]) -> Vec<(i64, usize)> {
    let (mut at, mut found) = (0, Vec::new());
    while at + 61 <= bytes.len() {
        let base = i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        found.push((base, at));
        at += 12 + i32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
    }
    found
}

/// "Whether a fetch of `bytes` from `offset` on is known to find everything in memory, the way there included: then neither
/// the fetch nor a look at its records waits for a device."
fn attack(batch: usize, bytes: usize) -> Result<(), String> {
    use std::os::unix::fs::FileExt;
    let dir = closed(batch);
    let path = dir.path().join(SEGMENT);
    let places = batches(&std::fs::read(&path).unwrap());
    let (offset, at) = places[places.len() / 2];
    let before = places[places.len() / 2 - 1].1;
    for entry in std::fs::read_dir(dir.path().join("t-0")).unwrap() {
        drop_cache(&entry.unwrap().path());
    }
    let broker = Broker::open(dir.path()).unwrap();
    let partition = broker.partition(&tp()).unwrap();
    partition.warm_up(offset, 0).unwrap(); // opens the segment
    drop_cache(&path);
    // What a fetch of the batch before has left in memory, and no more.
    let file = std::fs::File::open(&path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
    let mut buffer = vec![0; bytes + 8192];
    let had = read_bytes();
    file.read_exact_at(&mut buffer, before as u64).unwrap();
    if read_bytes() == had {
        println!("skipped: the cache could not be dropped");
        return Ok(());
    }
    let is_cached = partition.is_cached(offset, bytes).unwrap();
    let had = read_bytes();
    let options = FetchOptions::new().max_bytes(bytes).max_partition_bytes(bytes);
    let fetched = partition.fetch(offset, &options).unwrap();
    let records = fetched.decode(true).unwrap();
    assert_eq!(records.iter().next().unwrap().offset(), offset);
    let read = read_bytes() - had;
    let what = format!(
        "batches of {batch} at {at}: {bytes} bytes in memory: {is_cached}, fetched {}, {read} were read",
        fetched.len()
    );
    if is_cached && read > 0 { Err(what) } else { Ok(()) }
}

#[test]
fn what_is_said_to_be_in_memory_is() {
    let mut wrong = Vec::new();
    for (batch, bytes) in [
        (1000, 100_000),
        (16_000, 16_400),
        (16_000, 100_000),
        (100_000, 100_400),
        (500_000, 1),
        (500_000, 500_200),
        (900_000, 1 << 20),
    ] {
        wrong.extend(attack(batch, bytes).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// "the broker is closed: what is there". Another broker has the directory by then, and another topic the name.
#[test]
fn a_partition_of_a_closed_broker_shows_no_other_topics_records() {
    for mode in [ReadMode::Mmap, ReadMode::Pread] {
        for segment in [2000, 1 << 20] {
            let dir = tempfile::tempdir().unwrap();
            let config = || BrokerConfig::new().read_mode(mode);
            let topic = || TopicConfig::new().durability(Durability::Os).internal_segment_bytes(segment);
            let send = |broker: &Broker, value: &str, count: usize| {
                let producer = broker.producer(ProducerConfig::new()).unwrap();
                for _ in 0..count {
                    producer.send(ProducerRecord::new("t", value).partition(0)).unwrap().wait().unwrap();
                }
            };
            let broker = Broker::open_with(dir.path(), config()).unwrap();
            broker.create_topic("t", 1, topic()).unwrap();
            send(&broker, "the old topic's", 100);
            broker.close().unwrap();
            let broker = Broker::open_with(dir.path(), config()).unwrap();
            let old = broker.partition(&tp()).unwrap();
            broker.close().unwrap();
            let broker = Broker::open_with(dir.path(), config()).unwrap();
            broker.delete_topic("t").unwrap();
            broker.create_topic("t", 1, topic()).unwrap();
            send(&broker, "the new topic's", 100);
            for offset in 0..100 {
                match old.fetch(offset, &FetchOptions::new()).and_then(|fetched| fetched.decode(true)) {
                    Ok(records) => {
                        for record in &records {
                            let value = String::from_utf8_lossy(record.value().unwrap()).into_owned();
                            assert_eq!(value, "the old topic's", "{mode} {segment} at {offset}");
                        }
                    }
                    Err(error) => println!("{mode} {segment}: {error}"),
                }
            }
        }
    }
}

//! Kafka's logs with transactions, changed at random, read at both levels.

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use thalweg::{
    Broker, BrokerConfig, FetchOptions, IsolationLevel, Offset, Partition, ReadMode, ReadOnlyBroker, TopicPartition,
};

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

const TOPICS: [&str; 4] = ["mixed-0", "trimmed-0", "compacted-0", "zstd-0"];

fn copy() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    std::fs::write(dir.path().join("meta.properties"), "version=1\nnode.id=1\n").unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.2.1-transactions");
    for topic in TOPICS {
        let to = dir.path().join(topic);
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(fixture.join(topic)).unwrap().map(|file| file.unwrap()) {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    dir
}

fn logs(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    logs.sort();
    logs
}

/// Changes one batch, and corrects its checksum mostly.
fn change(path: &Path, rng: &mut Rng) {
    let mut content = std::fs::read(path).unwrap();
    let (mut at, mut places) = (0, Vec::new());
    while at + 61 <= content.len() {
        let size = 12 + i32::from_be_bytes(content[at + 8..at + 12].try_into().unwrap()) as usize;
        if size < 61 || content.len() < at + size {
            break;
        }
        places.push((at, size));
        at += size;
    }
    if places.is_empty() {
        return;
    }
    let (at, size) = places[rng.below(places.len())];
    // What is wrong with offsets hides everything else.
    let is_last = content.len() <= at + size || std::env::var("ATTACK_NO_OFFSETS").is_ok();
    match rng.below(7) {
        3 if is_last => {}                                         // the test below
        0 => content[at + 22] ^= 0x10,                             // transactional
        1 => content[at + 22] ^= 0x20,                             // control
        2 => content[at + 43 + rng.below(8)] ^= 1 << rng.below(8), // producer id
        3 => content[at + 26] ^= 1 << rng.below(3),                // last offset delta
        4 if is_last => {}
        4 => content[at + 7] = content[at + 7].wrapping_add(1), // base offset
        5 => content[at + 61 + rng.below(size - 61)] ^= 1 << rng.below(8),
        _ => content[at + 60] ^= 1 << rng.below(3), // number of records
    }
    if rng.below(4) != 0 {
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &content[at + 21..at + size]) as u32;
        content[at + 17..at + 21].copy_from_slice(&crc.to_be_bytes());
    }
    std::fs::write(path, content).unwrap();
}

type Seen = (Vec<String>, Option<String>);

fn read(partition: &Partition, mut offset: Offset, options: &FetchOptions, lent: bool) -> Seen {
    let mut seen = Vec::new();
    loop {
        let fetched = match partition.fetch(offset, options) {
            Ok(fetched) if fetched.is_empty() && fetched.next_offset() <= offset => return (seen, None),
            Ok(fetched) => fetched,
            Err(error) => return (seen, Some(format!("{:?}", std::mem::discriminant(error.kind())))),
        };
        _ = fetched.aborted_transactions().count();
        let next = if lent {
            let mut batches = fetched.batches(true);
            loop {
                match batches.next_batch() {
                    Ok(Some(records)) => seen.extend(records.map(|record| format!("{record:?}"))),
                    Ok(None) => break,
                    Err(error) => return (seen, Some(format!("{:?}", std::mem::discriminant(error.kind())))),
                }
            }
            batches.next_offset()
        } else {
            match fetched.decode(true) {
                Ok(records) => {
                    seen.extend(records.iter().map(|record| format!("{record:?}")));
                    records.next_offset()
                }
                Err(error) => return (seen, Some(format!("{:?}", std::mem::discriminant(error.kind())))),
            }
        };
        assert!(offset < next, "no progress at {offset}");
        offset = next;
    }
}

fn look(partition: &Partition, what: &str) -> Vec<Seen> {
    let (Ok(start), Ok(end)) = (partition.log_start(), partition.log_end()) else { return Vec::new() };
    let mut all = Vec::new();
    for level in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
        for max_bytes in [0, 1 << 20] {
            let options = FetchOptions::new().isolation_level(level).max_bytes(max_bytes);
            for offset in (start..=end).step_by(1 + (end - start) as usize / 5) {
                let (decoded, lent) =
                    (read(partition, offset, &options, false), read(partition, offset, &options, true));
                assert_eq!(decoded.1, lent.1, "{what} at {offset} {options:?}");
                assert!(lent.0.starts_with(&decoded.0), "{what} at {offset} {options:?}");
                assert!(lent.1.is_some() || lent.0 == decoded.0, "{what} at {offset}");
                all.push(decoded);
            }
        }
    }
    all
}

#[test]
fn changed_logs_of_kafka_end() {
    let seed = std::env::var("ATTACK_SEED").map_or(1, |seed| seed.parse().unwrap());
    let rounds = std::env::var("ATTACK_ROUNDS").map_or(15, |rounds| rounds.parse().unwrap());
    let (done, is_done) = channel();
    std::thread::spawn(move || {
        let mut rng = Rng(seed * 7919 + 999);
        for round in 0..rounds {
            let dir = copy();
            for topic in TOPICS {
                let logs = logs(&dir.path().join(topic));
                for _ in 0..rng.below(3) {
                    change(&logs[rng.below(logs.len())], &mut rng);
                }
                if rng.below(8) == 0 {
                    let log = &logs[rng.below(logs.len())];
                    std::fs::remove_file(log).unwrap();
                }
            }
            let mut of_modes = Vec::new();
            for mode in [ReadMode::Mmap, ReadMode::Pread] {
                let what = format!("seed {seed} round {round} {mode}");
                let config = || BrokerConfig::new().read_mode(mode);
                let broker = match Broker::open_with(dir.path(), config()) {
                    Ok(broker) => broker,
                    Err(_) => continue,
                };
                let mut all = Vec::new();
                for topic in TOPICS {
                    let Ok(partition) = broker.partition(&TopicPartition::new(&topic[..topic.len() - 2], 0)) else {
                        continue;
                    };
                    let own = look(&partition, &format!("{what} {topic}"));
                    if let Ok(reader) = ReadOnlyBroker::open_with(dir.path(), config())
                        && let Ok(partition) = reader.partition(partition.name())
                    {
                        look(&partition, &format!("{what} {topic} read only"));
                    }
                    all.push(own);
                }
                of_modes.push(all);
                broker.close().unwrap();
            }
            if let [one, other] = &of_modes[..] {
                assert_eq!(one, other, "seed {seed} round {round}");
            }
        }
        done.send(()).unwrap();
    });
    match is_done.recv_timeout(Duration::from_secs(200)) {
        Ok(()) => {}
        Err(error) => panic!("{error}: endless, or it panicked"),
    }
}

/// `Fetched::decode`: "If a later one cannot, the records before it are returned and a fetch at their `next_offset` gives the
/// error." The last batch of a segment claims an offset of the next one.
#[test]
fn a_batch_that_reaches_into_the_next_segment_is_an_error_for_both_readers() {
    let dir = copy();
    let path = dir.path().join("compacted-0/00000000000000000080.log");
    let mut content = std::fs::read(&path).unwrap();
    let mut at = 0;
    let size = loop {
        let size = 12 + i32::from_be_bytes(content[at + 8..at + 12].try_into().unwrap()) as usize;
        if at + size == content.len() {
            break size;
        }
        at += size;
    };
    content[at + 26] += 1; // the last offset delta
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &content[at + 21..at + size]) as u32;
    content[at + 17..at + 21].copy_from_slice(&crc.to_be_bytes());
    std::fs::write(&path, content).unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    let partition = broker.partition(&TopicPartition::new("compacted", 0)).unwrap();
    look(&partition, "the overlap");
}

/// The same within a segment: the offset of a batch, which no checksum covers, becomes larger by one bit, so that the batches
/// behind it seem to begin below its end. Who follows `next_offset` must not be led past them without an error.
#[test]
fn a_batch_that_seems_to_lie_further_on_hides_none_without_an_error() {
    for bit in 0..6 {
        let dir = copy();
        let path = dir.path().join("mixed-0/00000000000000000035.log");
        let original = std::fs::read(&path).unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        let read_all = |broker: &Broker| {
            let partition = broker.partition(&TopicPartition::new("mixed", 0)).unwrap();
            read(&partition, 0, &FetchOptions::new(), false)
        };
        let before = read_all(&broker);
        broker.close().unwrap();
        let second = 12 + i32::from_be_bytes(original[8..12].try_into().unwrap()) as usize;
        let mut content = original.clone();
        if content[second + 7] & 1 << bit != 0 {
            continue;
        }
        content[second + 7] |= 1 << bit;
        std::fs::write(&path, content).unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        let after = read_all(&broker);
        let lost = before.0.len() as i64 - after.0.len() as i64;
        assert!(after.1.is_some() || lost == 0, "bit {bit}: {lost} records are lost, and nobody is told");
    }
}

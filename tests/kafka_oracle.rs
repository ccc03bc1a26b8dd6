//! Apache Kafka itself over directories that thalweg wrote, and the other way round: its dump tool, its broker, its
//! consumer. Skips where Kafka is not installed; see `tests/kafka/README.md`.

#![expect(clippy::print_stdout, reason = "a skip is said")]
#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

#[path = "kafka/codecs.rs"]
mod codecs;
#[path = "kafka/compare.rs"]
mod compare;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use codecs::{RECORDS, levels, read_all, written};
use compare::{compare, is_codec_left_out, listed};
use thalweg::{
    Broker, Compression, ConsumerConfig, Durability, OffsetAndMetadata, ProducerConfig, ProducerRecord, TopicConfig,
};
use thalweg::{TimestampType, TopicPartition};

/// Exit code of the scripts where Kafka or Java is missing.
const SKIPPED: i32 = 77;

/// Runs a script of `tests/kafka`; `None` where Kafka is missing, which is said.
fn script(name: &str, arguments: &[&str]) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka").join(name);
    // A broker that a killed test leaves ends by itself.
    let output = Command::new("bash").arg(script).args(arguments).env("THALWEG_KAFKA_TTL", "120").output().unwrap();
    if output.status.code() == Some(SKIPPED) {
        println!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    Some(output)
}

/// As [`script`], and it has to succeed.
fn run(name: &str, arguments: &[&str]) -> Option<()> {
    let output = script(name, arguments)?;
    assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output));
    Some(())
}

fn check(directory: &Path) -> Option<Output> {
    script("check.sh", &[directory.to_str().unwrap()])
}

/// A place for a real broker, which is stopped at the end, whatever happens.
struct Kafka {
    dir: tempfile::TempDir,
    port: u16,
}

impl Kafka {
    /// Two ports in a row that are free: the second is the controller's.
    fn new() -> Self {
        let pair = |_| {
            let first = TcpListener::bind(("127.0.0.1", 0)).ok()?;
            let port = first.local_addr().ok()?.port();
            TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok().map(|_| port)
        };
        Kafka { dir: tempfile::tempdir().unwrap(), port: (0..100).find_map(pair).unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Has Kafka's own consumer list every record, at both isolation levels, into `self.dir`.
    fn list(&self) -> Option<()> {
        let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/Reader.java");
        run("run.sh", &[reader.to_str().unwrap(), &self.server(), self.dir.path().to_str().unwrap()])
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if self.dir.path().join("data").exists() {
            let stopped = script("broker.sh", &["stop", &self.path("data")]);
            if !std::thread::panicking() {
                assert!(stopped.is_none_or(|output| output.status.success()));
            }
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn codecs() -> impl Iterator<Item = Compression> {
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    codecs.into_iter().filter(|codec| codec.is_supported())
}

/// Small segments, several records a batch, headers, nulls, times that go back, commits.
fn write(directory: &Path) {
    let broker = Broker::open(directory).unwrap();
    let rolled = TopicConfig::new().durability(Durability::Os).internal_segment_bytes(20_000);
    broker.create_topic("rolled", 2, rolled.clone().index_interval_bytes(500)).unwrap();
    broker.create_topic("dense", 1, rolled.clone().index_interval_bytes(0).preallocate(true)).unwrap();
    broker.create_topic("stamped", 1, rolled.message_timestamp_type(TimestampType::LogAppendTime)).unwrap();
    broker.create_topic("empty", 1, TopicConfig::new()).unwrap();
    let packed: Vec<_> = codecs().map(|codec| (format!("packed-{codec}"), codec)).collect();
    for (topic, _) in &packed {
        broker.create_topic(topic, 1, TopicConfig::new().internal_segment_bytes(20_000)).unwrap();
    }
    let plain =
        [("rolled", 2000), ("dense", 0), ("stamped", 300)].map(|(topic, size)| (topic, size, Compression::None));
    let packed = packed.iter().map(|(topic, codec)| (topic.as_str(), 2000, *codec));
    for (topic, batch_size, codec) in plain.into_iter().chain(packed) {
        let config = ProducerConfig::new().batch_size(batch_size).compression_type(codec);
        let producer = broker.producer(config).unwrap();
        for number in 0..1000i64 {
            let value = format!("value {number}").repeat(number as usize % 7);
            let key = number.to_string();
            let record = match number % 4 {
                0 => ProducerRecord::tombstone(topic, &key),
                1 => ProducerRecord::new(topic, &value),
                2 => ProducerRecord::new(topic, &value).key("").header("h", Some("v")).header("h", None::<&str>),
                _ => ProducerRecord::new(topic, &value).key(&key),
            };
            let time = 1_700_000_000_000 + number * 10 - (number % 13) * 1000;
            producer.send(record.timestamp(time)).unwrap().detach();
        }
        producer.close().unwrap();
    }
    for group in ["group", "my-group", "컨슈머"] {
        let mut consumer = broker.consumer(ConsumerConfig::new().group_id(group)).unwrap();
        for offset in 0..5 {
            let offset = OffsetAndMetadata::new(offset).with_metadata("größe");
            let partitions = [("rolled", 0), ("rolled", 1), ("dense", 0)];
            let offsets = partitions.map(|(topic, number)| (TopicPartition::new(topic, number), offset.clone()));
            consumer.commit_sync_offsets(&offsets).unwrap();
        }
    }
    codecs::write_levels(&broker, directory);
    broker.close().unwrap();
}

#[test]
fn kafkas_dump_tool_has_no_complaint() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let Some(output) = check(dir.path()) else { return };
    assert!(output.status.success(), "{}", text(&output));
    println!("{}", text(&output));
}

#[test]
fn kafkas_dump_tool_would_complain() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let path = dir.path().join("dense-0/00000000000000000000.index");
    let mut index = fs::read(&path).unwrap();
    index[3] += 1; // an offset that is not the last one of its batch
    fs::write(&path, index).unwrap();
    let Some(output) = check(dir.path()) else { return };
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn kafkas_consumer_reads_what_thalweg_wrote() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let kafka = Kafka::new();
    let (logs, data, port) = (dir.path().to_str().unwrap(), kafka.path("data"), kafka.port.to_string());
    let Some(()) = run("adopt.sh", &[logs, &data, &port]).and_then(|()| kafka.list()) else { return };
    let broker = Broker::open(dir.path()).unwrap();
    assert_eq!(
        compare(&broker, kafka.dir.path(), 1 << 20),
        2 * (1000 * (3 + codecs().count()) + RECORDS as usize * (1 + levels().count())),
        "both levels have every record"
    );
    // Which records those are, said once more by whoever wrote them.
    let dense = &listed(kafka.dir.path())[&TopicPartition::new("dense", 0)];
    assert!(dense.uncommitted.iter().map(|row| row.0).eq(0..1000));
    let row = "dense\t0\t10\t\tvalue 10value 10value 10\t1699999990100\th=v,h=\\N";
    assert_eq!(dense.uncommitted[10].1, row);
}

#[test]
fn thalweg_reads_what_kafka_wrote_just_now() {
    let kafka = Kafka::new();
    let (data, lists, port) = (kafka.path("data"), kafka.path("lists"), kafka.port.to_string());
    // What the fixture has, written anew: other producer ids, other times, another cleaner's pass. And all of the
    // broker's files.
    let Some(()) = run("transactions.sh", &[&data, &lists, &port]) else { return };
    let copy = tempfile::tempdir().unwrap();
    copy_all(&Path::new(&data).join("logs"), copy.path());
    for open in ["copied", "closed in order"] {
        let broker = Broker::open(copy.path()).unwrap();
        assert!(broker.recovery().failed.is_empty(), "{open}: {}", broker.recovery());
        for max_bytes in [1, 1000, 1 << 20] {
            assert!(compare(&broker, Path::new(&lists), max_bytes) > 250);
        }
        broker.close().unwrap();
    }
}

#[test]
fn codecs_and_places_of_keys_are_those_of_kafkas_producer() {
    let kafka = Kafka::new();
    let (data, lists, port) = (kafka.path("data"), kafka.path("lists"), kafka.port.to_string());
    let Some(()) = run("codecs.sh", &[&data, &lists, &port]) else { return };
    let copy = tempfile::tempdir().unwrap();
    copy_all(&Path::new(&data).join("logs"), copy.path());
    let broker = Broker::open(copy.path()).unwrap();
    assert!(broker.recovery().failed.is_empty(), "{}", broker.recovery());
    assert!(compare(&broker, Path::new(&lists), 1 << 20) > 2 * 401);
    let listed = listed(Path::new(&lists));
    let packed = listed.keys().map(TopicPartition::topic).filter(|topic| !["idempotent", "keys"].contains(topic));
    for topic in packed {
        match read_all(&broker, topic) {
            Ok(read) => assert_eq!(read, (0..RECORDS).map(written).collect::<Vec<_>>(), "{topic}"),
            Err(error) => assert!(is_codec_left_out(&error), "{topic}: {error}"),
        }
    }
    broker.create_topic("places", 12, TopicConfig::new().durability(Durability::Os)).unwrap();
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    let mut count = 0;
    for (name, listed) in listed.iter().filter(|(name, _)| name.topic() == "keys") {
        for (_, row) in &listed.uncommitted {
            let key = row.split('\t').nth(3).unwrap().replace("\\xc3\\xbc", "ü");
            let sent = producer.send(ProducerRecord::new("places", "v").key(&key)).unwrap().wait().unwrap();
            assert_eq!(sent.partition.partition(), name.partition(), "{key}");
            count += 1;
        }
    }
    assert_eq!(count, 401);
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

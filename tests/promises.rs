//! The manual's chapter on durability: every promise has tests that say so, its table of syncs is that of the engine, and
//! promises that nobody else defends are defended here.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use thalweg::simulation::{Background, Cut, Fault, OperationKind, SimulatedDisk, Survival, SyncPoint};
use thalweg::{
    Broker, BrokerConfig, Durability, ErrorKind, Offset, Producer, ProducerConfig, ProducerRecord, RecordMetadata,
    TopicConfig, TopicPartition,
};

const MANUAL: &str = include_str!("../src/manual/durability.md");

/// Tests in here cover so many promises at once that they need not name them.
const NAME_NO_NUMBER: &[&str] = &["tests/power_cut/", "tests/failing_disk/", "src/sys/simulated/"];

/// Which promises each test defends, by `path::function`.
type Defended = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_table_of_syncs_is_that_of_the_engine() {
    let rows = table(MANUAL, "Every sync");
    let found = rows.iter().map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone()));
    let engine = SyncPoint::ALL.iter().map(|point| (point.to_string(), point.reason().to_owned()));
    for (row, (found, engine)) in found.clone().zip(engine.clone()).enumerate() {
        assert_eq!(found, engine, "row {row} of the manual, and the engine");
    }
    assert_eq!(found.count(), engine.count());
}

#[test]
fn every_promise_has_tests_that_say_so() {
    let wrong = wrong_promises(MANUAL, &sources());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_promise_without_a_test_is_missed() {
    let manual = |promise: &str, row: &str| {
        format!("# The promises\n- **D1** It keeps.\n{promise}# Tests that defend them\n|p|t|\n|---|---|\n{row}")
    };
    let source = |text: &str| BTreeMap::from([("tests/a.rs".to_owned(), text.to_owned())]);
    let good = "/// It does.\n///\n/// Defends D1.\n#[test]\nfn it_keeps() {\n";
    let row = "| D1 | `tests/a.rs::it_keeps` |\n";
    assert_eq!(wrong_promises(&manual("", row), &source(good)), Vec::<String>::new());
    for (manual, text) in [
        (manual("", ""), ""),                               // no row
        (manual("- **D2** And more.\n", row), good),        // no row for one of them
        (manual("- **D3** And more.\n", row), good),        // a number is left out
        (manual("", "| D1 | |\n"), ""),                     // no test in the row
        (manual("", row), ""),                              // no such test
        (manual("", row), &good.replace("keeps", "holds")), // another one
        (manual("", row), &good.replace("#[test]\n", "")),  // none that runs
        (manual("", row), &good.replace("D1", "D11")),      // one that defends something else
        (manual("", row), &good.replace("Defends D1.", "")),
        (manual("", row), &format!("{good}}}\n\n/// Defends D1.\n#[test]\nfn unknown() {{\n")), // not in the table
        (manual("", &format!("{row}| D2 | `tests/a.rs::it_keeps` |\n")), good), // a row without a promise
    ] {
        assert!(!wrong_promises(&manual, &source(text)).is_empty(), "{manual}\n{text}");
    }
}

/// What does not fit together: the promises, the table of their tests, and what the tests say of themselves.
fn wrong_promises(manual: &str, sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let promises: Vec<_> = section(manual, "The promises").filter_map(promise).collect();
    let expected: Vec<_> = (1..=promises.len()).map(|number| format!("D{number}")).collect();
    if promises != expected || promises.is_empty() {
        wrong.push(format!("the promises are {promises:?}"));
    }
    let rows = table(manual, "Tests that defend them");
    let tested: Vec<_> = rows.iter().map(|row| row[0].clone()).collect();
    if tested != promises {
        wrong.push(format!("the table of tests has rows for {tested:?}"));
    }
    let mut table = Defended::new();
    for row in &rows {
        let tests: Vec<_> = row[1].split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            wrong.push(format!("{} has no test", row[0]));
        }
        for test in tests {
            table.entry(test.to_owned()).or_default().insert(row[0].clone());
        }
    }
    let said: Defended = sources.iter().flat_map(|(path, text)| tests_in(path, text)).collect();
    for (test, promises) in &table {
        let need_not_say = NAME_NO_NUMBER.iter().any(|folder| test.starts_with(folder));
        match said.get(test) {
            None => wrong.push(format!("there is no test {test}")),
            Some(said) if said != promises && !need_not_say => {
                wrong.push(format!("{test} says {said:?}, and the table {promises:?}"));
            }
            Some(_) => {}
        }
    }
    let is_unknown = |(test, said): &(&String, &BTreeSet<String>)| !said.is_empty() && !table.contains_key(*test);
    wrong.extend(said.iter().filter(is_unknown).map(|(test, said)| format!("the table lacks {test}, with {said:?}")));
    wrong
}

/// `D7`, of the line that makes the promise.
fn promise(line: &str) -> Option<String> {
    line.strip_prefix("- **").and_then(|line| line.split_once("**")).map(|(number, _)| number.to_owned())
}

/// The lines under a heading.
fn section<'a>(manual: &'a str, heading: &'a str) -> impl Iterator<Item = &'a str> {
    let after = manual.lines().skip_while(move |line| line.strip_prefix("# ") != Some(heading)).skip(1);
    after.take_while(|line| !line.starts_with("# "))
}

/// The cells of the one table under a heading, without its head.
fn table(manual: &str, heading: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    section(manual, heading).filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

/// The tests in a file, and which promises their comments say that they defend.
fn tests_in(path: &str, text: &str) -> Vec<(String, BTreeSet<String>)> {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let name = |line: &str| line.strip_prefix("fn ")?.split_once('(').map(|(name, _)| name.to_owned());
    let mut tests = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = name(line) else { continue };
        let belongs = |line: &&&str| line.starts_with("//") || line.starts_with("#[");
        let above: Vec<_> = lines[..at].iter().rev().take_while(belongs).copied().collect();
        if above.contains(&"#[test]") {
            let said = above.iter().filter_map(|line| line.split_once("Defends ")).flat_map(|(_, list)| numbers(list));
            tests.push((format!("{path}::{name}"), said.collect()));
        }
    }
    tests
}

/// The numbers in `D1, D5 and D10.`
fn numbers(list: &str) -> impl Iterator<Item = String> {
    let words = list.split(|c: char| !c.is_alphanumeric()).filter(|word| word.starts_with('D'));
    words.filter(|word| word[1..].parse::<u32>().is_ok()).map(str::to_owned)
}

/// What is in `src` and `tests`, by path.
fn sources() -> BTreeMap<String, String> {
    fn collect(root: &Path, dir: PathBuf, found: &mut BTreeMap<String, String>) {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                collect(root, path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    ["src", "tests"].into_iter().for_each(|folder| collect(root, root.join(folder), &mut found));
    found
}

fn send(producer: &Producer, durability: Durability) -> thalweg::Result<RecordMetadata> {
    producer.send(ProducerRecord::new("t", "v").durability(durability))?.wait()
}

fn log_end(broker: &Broker) -> Offset {
    broker.partition(&TopicPartition::new("t", 0)).unwrap().log_end().unwrap()
}

/// What is left of a directory when nothing survives that was not synced, opened.
fn after_a_power_cut(disk: &SimulatedDisk, data: &Path) -> Broker {
    let cut = Cut { at: disk.operations(), survival: Survival::Nothing, seed: 0 };
    let after = data.with_file_name(format!("after-{}", cut.at));
    assert!(disk.cut(&cut).write(data, &after).unwrap());
    Broker::open(after).unwrap()
}

/// Defends D1 and D5.
#[test]
fn a_record_that_asks_for_a_sync_survives_a_power_cut() {
    for topic in [Durability::Os, Durability::Interval, Durability::Fsync] {
        for wanted in [Durability::Os, Durability::Fsync] {
            let dir = tempfile::tempdir().unwrap();
            let (disk, data) = (SimulatedDisk::new(), dir.path().join("data"));
            let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
            broker.create_topic("t", 1, TopicConfig::new().durability(topic)).unwrap();
            let sent = send(&broker.producer(ProducerConfig::new()).unwrap(), wanted).unwrap();
            assert!(topic.max(wanted) <= sent.durability);
            let survives = topic.max(wanted) == Durability::Fsync;
            assert_eq!(sent.durable_offset, Offset::from(survives));
            assert_eq!(log_end(&after_a_power_cut(&disk, &data)), Offset::from(survives), "{topic}, {wanted}");
        }
    }
}

/// Mode `os` is the control: nobody syncs what it was sent.
///
/// Defends D2.
#[test]
fn in_mode_interval_records_are_synced_when_they_are_due() {
    let interval = || TopicConfig::new().durability(Durability::Interval);
    let never = Duration::from_secs(3600);
    for (config, is_synced) in [
        (interval().flush_interval(Duration::from_millis(5)), true),
        (interval().flush_interval(never).flush_messages(3), true),
        (interval().flush_interval(never).flush_messages(1_000_000), false),
        (TopicConfig::new().durability(Durability::Os).flush_interval(Duration::from_millis(5)), false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        broker.create_topic("t", 1, config).unwrap();
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        let looks = if is_synced { 1_000_000 } else { 5000 };
        let look = |_| {
            thread::yield_now();
            send(&producer, Durability::Os).unwrap().durable_offset > 0
        };
        assert_eq!((0..looks).any(look), is_synced);
    }
    // And once synced, it is there: if the topic says so, or the record.
    let os = TopicConfig::new().durability(Durability::Os);
    for (config, wanted) in [(interval(), Durability::Os), (os, Durability::Interval)] {
        let dir = tempfile::tempdir().unwrap();
        let (disk, data) = (SimulatedDisk::new(), dir.path().join("data"));
        let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
        broker.create_topic("t", 1, config).unwrap();
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        (0..10).for_each(|_| assert_eq!(send(&producer, wanted).unwrap().durability, Durability::Interval));
        assert_eq!(log_end(&after_a_power_cut(&disk, &data)), 0);
        Background::of(&broker).flush();
        assert_eq!(log_end(&after_a_power_cut(&disk, &data)), 10);
    }
}

/// A record whose sync has failed is not acknowledged later as one that will be synced.
///
/// Defends D10.
#[test]
fn in_mode_interval_nothing_is_acknowledged_after_a_failed_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, data) = (SimulatedDisk::new(), dir.path().join("data"));
    let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
    broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Interval)).unwrap();
    let producer = broker.producer(ProducerConfig::new().batch_size(0)).unwrap();
    let sent = producer.send(ProducerRecord::new("t", "written")).unwrap();
    disk.fail(Fault::of(OperationKind::Sync));
    Background::of(&broker).flush();
    assert!(matches!(sent.wait().unwrap_err().kind(), ErrorKind::Storage { .. }));
    assert!(matches!(send(&producer, Durability::Os).unwrap_err().kind(), ErrorKind::Storage { .. }));
}

/// The record asked for a sync itself: that its topic promised one, too, when it was sent, takes nothing from that.
///
/// Defends D5.
#[test]
fn a_record_that_asks_for_a_sync_gets_it_whatever_becomes_of_its_topic() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::new();
    let broker = disk.open_broker(dir.path(), BrokerConfig::new()).unwrap();
    broker.create_topic("t", 1, TopicConfig::new()).unwrap();
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    let record = ProducerRecord::new("t", "v").durability(Durability::Fsync);
    let mut ack = pin!(producer.send(record).unwrap());
    let mut context = Context::from_waker(Waker::noop());
    assert!(ack.as_mut().poll(&mut context).is_pending());
    broker.alter_topic("t", TopicConfig::new().durability(Durability::Os)).unwrap();
    Background::of(&broker).flush();
    producer.flush().unwrap();
    assert!(ack.as_mut().poll(&mut context).is_ready(), "nobody syncs any more");
}

/// Handles are missing when the name of a new segment is to be synced: that is no failed sync.
///
/// Defends D11.
#[test]
fn a_lack_of_file_handles_passes() {
    const EMFILE: i32 = 24;
    let dir = tempfile::tempdir().unwrap();
    let (disk, data) = (SimulatedDisk::new(), dir.path().join("data"));
    let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
    broker.create_topic("t", 1, TopicConfig::new().internal_segment_bytes(500)).unwrap();
    let producer = broker.producer(ProducerConfig::new().retries(0)).unwrap();
    disk.fail(Fault::of(OperationKind::SyncDir).errno(EMFILE).for_ever());
    let (sent, error) = (0..100).find_map(|at| Some((at, send(&producer, Durability::Fsync).err()?))).unwrap();
    assert!(sent > 1 && matches!(error.kind(), ErrorKind::Io { .. }), "after {sent}: {error}");
    assert_eq!(broker.stats().read_only_partitions, 0);
    let partition = broker.partition(&TopicPartition::new("t", 0)).unwrap();
    assert_eq!(partition.high_watermark().unwrap(), sent);
    disk.heal();
    let next = send(&producer, Durability::Fsync).unwrap();
    assert_eq!((next.offset, partition.high_watermark().unwrap()), (sent + 1, sent + 2), "what was in doubt is there");
    assert_eq!(log_end(&after_a_power_cut(&disk, &data)), sent + 2);
}

/// Defends D13.
#[test]
fn a_close_is_as_good_as_a_sync() {
    for is_closed in [false, true] {
        for fails in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (disk, data) = (SimulatedDisk::new(), dir.path().join("data"));
            let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
            broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
            let config = ProducerConfig::new().linger(Duration::from_secs(3600)).enable_idempotence(false);
            let producer = broker.producer(config).unwrap();
            producer.send(ProducerRecord::new("t", "v")).unwrap().detach(); // the producer still holds it
            if fails {
                disk.fail(Fault::of(OperationKind::Sync));
            }
            match is_closed {
                false => disk.kill_broker(broker),
                true => assert_eq!(broker.close().is_err(), fails),
            }
            let left = after_a_power_cut(&disk, &data);
            let is_safe = is_closed && !fails;
            assert_eq!((left.recovery().clean, log_end(&left)), (is_safe, Offset::from(is_safe)));
        }
    }
}

/// A sync fails and the process ends: the system has pages in its cache that the device never got. The control is a disk
/// whose cache cannot be dropped.
///
/// Defends D15.
#[test]
fn what_only_the_cache_has_is_not_taken_for_durable() {
    for is_dropped in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (disk, data) = (SimulatedDisk::new(), dir.path().join("data"));
        let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
        broker.create_topic("t", 1, TopicConfig::new()).unwrap();
        let send = |broker: &Broker, value: u8| {
            let producer = broker.producer(ProducerConfig::new())?;
            producer.send(ProducerRecord::new("t", &[value; 20_000]))?.wait() // longer than a page
        };
        send(&broker, 1).unwrap();
        disk.fail(Fault::of(OperationKind::Sync));
        send(&broker, 2).unwrap_err();
        disk.kill_broker(broker);
        if !is_dropped {
            disk.switch_off_drop_cache();
        }
        let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
        let acknowledged = send(&broker, 3).unwrap().offset;
        assert_eq!(log_end(&after_a_power_cut(&disk, &data)) > acknowledged, is_dropped);
    }
}

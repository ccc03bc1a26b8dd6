//! The example that ends in order: a process that gets a signal, and what it leaves.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

use std::io::{BufRead, BufReader, Lines, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use thalweg::{Broker, ConsumerConfig, Offset, OffsetAndMetadata, TopicPartition};

#[test]
fn a_signal_ends_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut printed = 0;
    for signal in ["TERM", "INT", "TERM"] {
        let mut example = Example::start(dir.path());
        let before = printed;
        printed = example.print_from(printed, 3);
        example.signal(signal);
        printed = example.print_from(printed, usize::MAX);
        let (status, complaint) = example.end();
        assert_eq!((status.code(), &*complaint), (Some(0), ""), "{signal}");
        assert!(before + 3 <= printed);
        let (clean, end, committed) = left(dir.path());
        assert!(clean, "{signal}");
        assert_eq!(committed, printed, "what was printed is committed");
        assert!(printed <= end, "{printed} of {end}");
    }
}

/// Without an end in order nothing is lost, either, but it shows.
#[test]
fn a_kill_is_no_end_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut example = Example::start(dir.path());
    let printed = example.print_from(0, 3);
    example.signal("KILL");
    let printed = example.print_from(printed, usize::MAX);
    assert_eq!(example.end().0.signal(), Some(9));
    let (clean, end, committed) = left(dir.path());
    assert!(!clean);
    assert!(committed <= printed && printed <= end, "{committed} {printed} {end}");
}

/// An error of a part ends the others as well, in order, and is said.
#[test]
fn an_error_ends_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut example = Example::start(dir.path());
    example.print_from(0, 1);
    example.stdout = None; // a pipe that nobody reads
    let (status, complaint) = example.end();
    assert_eq!(status.code(), Some(1), "{complaint}");
    assert!(complaint.starts_with("graceful_shutdown: consume: ") && complaint.lines().count() == 1, "{complaint}");
    assert!(left(dir.path()).0);
    let broker = Broker::open(dir.path()).unwrap();
    let (status, complaint) = Example::start(dir.path()).end();
    assert_eq!(status.code(), Some(1));
    assert!(complaint.starts_with("graceful_shutdown: start: ") && complaint.contains("open already"), "{complaint}");
    broker.close().unwrap();
}

/// The example while it runs.
struct Example {
    process: Child,
    stdout: Option<Lines<BufReader<ChildStdout>>>,
}

impl Example {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(example());
        command.arg(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        Example { process, stdout: Some(stdout) }
    }

    /// Reads up to `count` lines, the first of which is that of offset `from`, and returns the offset behind the last.
    fn print_from(&mut self, from: Offset, count: usize) -> Offset {
        let mut next = from;
        for line in self.stdout.as_mut().unwrap().take(count) {
            assert_eq!(line.unwrap(), format!("{next} tick"));
            next += 1;
        }
        next
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// How it ended, and what it complained about.
    fn end(mut self) -> (ExitStatus, String) {
        let mut complaint = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        (self.process.wait().unwrap(), complaint)
    }
}

/// Whether the directory was closed in order, the end of its log, and what the group has committed.
fn left(dir: &Path) -> (bool, Offset, Offset) {
    let broker = Broker::open(dir).unwrap();
    let name = TopicPartition::new("ticks", 0);
    let end = broker.partition(&name).unwrap().log_end().unwrap();
    let committed = broker.consumer(ConsumerConfig::new().group_id("clock")).unwrap().committed(&[name]).unwrap();
    let committed = committed[0].1.as_ref().map_or(0, OffsetAndMetadata::offset);
    let clean = broker.recovery().clean;
    broker.close().unwrap();
    (clean, end, committed)
}

/// Cargo builds examples with the tests, but tells tests where binaries are, not examples.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap(); // target/<profile>/deps/graceful_shutdown-<hash>
    let example = test.parent().and_then(Path::parent).unwrap().join("examples/graceful_shutdown");
    assert!(example.exists(), "{} is missing: cargo build --example graceful_shutdown", example.display());
    example
}

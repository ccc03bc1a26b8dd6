//! The quickstart example as a user runs it: a process of its own, good and bad input, and what it left in the log
//! compared with what went in, byte by byte.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use thalweg::{Broker, FetchOptions, TopicConfig, TopicPartition};

const TOPIC: &str = "quickstart";
const BUNDLED: &[u8] = include_bytes!("../examples/quickstart.log");

#[test]
fn the_second_run_consumes_what_the_second_run_sent() {
    let bench = Bench::new();
    let first = bench.run_ok::<&str>(&[]);
    assert!(first.contains("new directory"), "{first}");
    assert!(first.contains("topic      quickstart, 4 partitions, created"), "{first}");
    assert_eq!(Summary::of(&first), Summary::complete(BUNDLED, 200));

    let second = bench.run_ok::<&str>(&[]);
    assert!(second.contains("after a clean close"), "{second}");
    assert!(second.contains("was there\n"), "{second}");
    assert_eq!(Summary::of(&second), Summary::complete(BUNDLED, 400));
    bench.assert_log_is(&[BUNDLED, BUNDLED]);
    assert!(bench.log(TOPIC).iter().all(|partition| !partition.is_empty()), "the sample leaves a partition empty");
}

#[test]
fn every_group_gets_everything_once() {
    let bench = Bench::new();
    bench.run_ok::<&str>(&[]);
    let other = Summary::of(&bench.run_ok(&["--group", "other"]));
    assert_eq!((other.sent.0, other.consumed.0), (200, 400));
    let first = Summary::of(&bench.run_ok(&["--group=quickstart"]));
    assert_eq!((first.sent.0, first.consumed.0), (200, 400));
}

#[test]
fn lines_are_bytes() {
    let every_byte: Vec<u8> = (0..=255).cycle().take(3 * 256).collect();
    let inputs: [(&[u8], usize); 10] = [
        (b"", 0),
        (b"\n", 1),
        (b"one", 1),
        (b"one\n", 1),
        (b"a b\nc d", 2),
        (b"a b\r\nc d\r\n", 2),
        (b"a\n\n\nb\n\n", 5),
        (b" leading white space\n\tand a tab\n", 2),
        (b"\xff\xfe not UTF-8\n\xc3\x28\n\0\0\n", 3),
        (&every_byte, 4),
    ];
    for (input, count) in inputs {
        let bench = Bench::new();
        let file = bench.file(input);
        for round in 1..=2 {
            let summary = Summary::of(&bench.run_ok(&[&file]));
            assert_eq!(summary, Summary::complete(input, round * count as u64), "{}", input.escape_ascii());
        }
        bench.assert_log_is(&[input, input]);
    }
}

#[test]
fn an_empty_file_consumes_what_is_left() {
    let bench = Bench::new();
    let empty = bench.file(b"");
    assert_eq!(Summary::of(&bench.run_ok(&[&empty])), Summary::complete(b"", 0));
    bench.broker().close().unwrap(); // it is a whole data directory
    let bundled = bench.file(BUNDLED);
    bench.run_ok(&[OsStr::new("--group"), OsStr::new("other"), bundled.as_os_str()]);
    let empty = bench.file(b"");
    let summary = Summary::of(&bench.run_ok(&[&empty]));
    assert_eq!((summary.sent.0, summary.consumed.0), (0, 200));
}

#[test]
fn a_file_that_cannot_be_read_creates_nothing() {
    let bench = Bench::new();
    let missing = bench.outside("missing.log");
    assert_complains(&bench.run(&[&missing]), 1, &["cannot read", "missing.log", "No such file"]);
    let directory = bench.outside("");
    assert_complains(&bench.run(&[&directory]), 1, &["cannot read", "directory"]);
    assert!(!bench.dir().exists());
}

#[test]
fn a_record_above_the_limit_is_named_and_the_rest_is_kept() {
    let bench = Bench::new();
    bench.run_ok::<&str>(&[]);
    let mut input = b"small one\nsmall two\n".to_vec();
    input.resize(input.len() + (2 << 20), b'x');
    input.extend_from_slice(b"\nsmall three\n");
    let file = bench.file(&input);
    assert_complains(&bench.run(&[&file]), 1, &["line 3:", "limit", "3 of 4 lines are in the log"]);
    bench.assert_log_is(&[BUNDLED, b"small one\nsmall two\nsmall three\n"]);

    let empty = bench.file(b"");
    assert_eq!(Summary::of(&bench.run_ok(&[&empty])).consumed.0, 3);
}

#[test]
fn a_locked_directory_names_the_process_and_keeps_its_records() {
    let bench = Bench::new();
    bench.run_ok::<&str>(&[]);
    let broker = bench.broker();
    let pid = format!("process {}", std::process::id());
    assert_complains(&bench.run::<&str>(&[]), 1, &["open already", &pid]);
    broker.close().unwrap();
    bench.assert_log_is(&[BUNDLED]);
    bench.run_ok::<&str>(&[]);
}

#[test]
fn a_directory_of_foreign_files_stays_as_it_is() {
    let bench = Bench::new();
    fs::create_dir_all(bench.dir().join("photos")).unwrap();
    fs::write(bench.dir().join("notes.txt"), "mine").unwrap();
    let complaint = bench.run::<&str>(&[]);
    assert_complains(&complaint, 1, &["not a thalweg data directory", "notes.txt"]);
    let mut names: Vec<_> = fs::read_dir(bench.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["notes.txt", "photos"]);
    assert_eq!(fs::read(bench.dir().join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_directory_that_cannot_be_one() {
    let bench = Bench::new();
    assert_complains(&quickstart(&["--dir", ""]), 1, &["path", "empty"]);
    let file = bench.file(b"mine");
    let below = file.join("data");
    for dir in [file.as_os_str(), below.as_os_str()] {
        let output = quickstart(&[OsStr::new("--dir"), dir]);
        assert_complains(&output, 1, &[&file.display().to_string()]);
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_directory_made_by_the_library_is_used() {
    let bench = Bench::new();
    let broker = bench.broker();
    broker.create_topic("lines", 2, TopicConfig::new()).unwrap();
    broker.close().unwrap();
    let stdout = bench.run_ok(&["--topic", "lines"]);
    assert!(stdout.contains("lines, 2 partitions, was there\n"), "{stdout}");
    assert_eq!(bench.log("lines").iter().map(Vec::len).sum::<usize>(), 200);
}

#[test]
fn an_unwritable_directory() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    fs::create_dir(bench.dir()).unwrap();
    fs::set_permissions(bench.dir(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(bench.dir().join("probe"), "").is_ok() {
        eprintln!("skip: this user may write to a directory of mode 555");
        return;
    }
    assert_complains(&bench.run::<&str>(&[]), 1, &["Permission denied", &bench.dir().display().to_string()]);
    let below = bench.dir().join("data");
    let output = quickstart(&[OsStr::new("--dir"), below.as_os_str()]);
    assert_complains(&output, 1, &["Permission denied", &below.display().to_string()]);
    fs::set_permissions(bench.dir(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn topic_names_that_kafka_refuses() {
    let bench = Bench::new();
    bench.run_ok::<&str>(&[]);
    let long = "x".repeat(250);
    for name in ["", ".", "..", "two words", "sl/ash", "\u{fc}mlaut", &long] {
        assert_complains(&bench.run(&["--topic", name]), 1, &["invalid topic name"]);
    }
    assert_complains(&bench.run(&["--topic", "__consumer_offsets"]), 1, &["__consumer_offsets"]);
    bench.assert_log_is(&[BUNDLED]);
}

#[test]
fn numbers_of_partitions() {
    let bench = Bench::new();
    for refused in ["0", "-1", "10001", "2147483647"] {
        assert_complains(&bench.run(&["--partitions", refused]), 1, &[refused, "number of partitions"]);
    }
    for not_a_number in ["", "four", "4.0", "2147483648"] {
        assert_complains(&bench.run(&["--partitions", not_a_number]), 2, &["--partitions", not_a_number]);
    }
    assert!(bench.run_ok(&["--partitions", "1"]).contains(", 1 partition, created"));
    let kept = bench.run_ok(&["--partitions", "7"]);
    assert!(kept.contains(", 1 partition, was there; not changed to 7"), "{kept}");
    assert_complains(&bench.run(&["--partitions", "0"]), 1, &["0 is not a number of partitions"]);
    bench.assert_log_is(&[BUNDLED, BUNDLED]);
}

#[test]
fn a_group_needs_a_name() {
    let bench = Bench::new();
    assert_complains(&bench.run(&["--group", ""]), 1, &["group"]);
}

#[test]
fn the_command_line() {
    let bench = Bench::new();
    let help = bench.run_ok(&["--help"]);
    assert!(help.starts_with("usage: quickstart [--dir DIR] [--topic NAME] [--partitions N] [--group G] [FILE]\n"));
    assert_eq!(help, bench.run_ok(&["-h"]));
    for (arguments, complaint) in [
        (&["--frobnicate"] as &[&str], "unknown option --frobnicate"),
        (&["--frobnicate=1"], "unknown option --frobnicate=1"),
        (&["-v"], "unknown option -v"),
        (&["--topic"], "--topic needs a value"),
        (&["one", "two"], "two is a second one"),
    ] {
        assert_complains(&bench.run(arguments), 2, &[complaint]);
    }
    assert!(!bench.dir().exists());
    assert_complains(&bench.run(&["--", "--frobnicate"]), 1, &["cannot read --frobnicate"]);
}

#[test]
fn real_logs() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/loghub");
    let folder = std::env::var_os("THALWEG_LOGHUB").map_or(default, PathBuf::from);
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skip: no folder {}; THALWEG_LOGHUB names one with *.log files", folder.display());
        return;
    };
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some(OsStr::new("log")));
    for file in files {
        let input = fs::read(&file).unwrap();
        let bench = Bench::new();
        for round in 1..=2 {
            let summary = Summary::of(&bench.run_ok(&[&file]));
            let expected = Summary::complete(&input, round * lines(&input).len() as u64);
            assert_eq!(summary, expected, "{}", file.display());
        }
        bench.assert_log_is(&[&input, &input]);
    }
}

/// A place for one data directory and some files beside it.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Bench(tempfile::tempdir().unwrap())
    }

    /// The data directory; not there before the first run.
    fn dir(&self) -> PathBuf {
        self.outside("data")
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, content: &[u8]) -> PathBuf {
        let file = self.outside("input.log");
        fs::write(&file, content).unwrap();
        file
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        let dir = self.dir();
        let own = [OsStr::new("--dir"), dir.as_os_str()];
        quickstart(&own.into_iter().chain(arguments.iter().map(AsRef::as_ref)).collect::<Vec<_>>())
    }

    /// What a run that succeeds prints.
    fn run_ok<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let output = self.run(arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
        assert_eq!(stderr, "", "something is said where no terminal is");
        stdout
    }

    fn broker(&self) -> Broker {
        Broker::open(self.dir()).unwrap()
    }

    /// Keys and values of the topic's partitions, in the order of the log.
    fn log(&self, topic: &str) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
        let broker = self.broker();
        let count = broker.topic(topic).unwrap().partitions();
        let partitions = (0..count).map(|number| read(&broker, &TopicPartition::new(topic, number))).collect();
        broker.close().unwrap();
        partitions
    }

    /// Every line of the inputs is in the log, with its bytes and its key, in the order of the input within its
    /// partition, and nothing else is.
    fn assert_log_is(&self, inputs: &[&[u8]]) {
        let log = self.log(TOPIC);
        let mut partition_of = BTreeMap::new();
        for (number, partition) in log.iter().enumerate() {
            for (key, _) in partition {
                assert_eq!(*partition_of.entry(key).or_insert(number), number, "a key is in two partitions");
            }
        }
        let mut next = vec![0; log.len()];
        for line in inputs.iter().flat_map(|input| lines(input)) {
            let key = key(line);
            let number = *partition_of.get(&key).unwrap_or_else(|| panic!("{} is lost", line.escape_ascii()));
            assert_eq!(log[number].get(next[number]), Some(&(key, line.to_vec())), "{number} {}", next[number]);
            next[number] += 1;
        }
        assert_eq!(next, log.iter().map(Vec::len).collect::<Vec<_>>());
    }
}

fn read(broker: &Broker, name: &TopicPartition) -> Vec<(Vec<u8>, Vec<u8>)> {
    let partition = broker.partition(name).unwrap();
    let mut found = Vec::new();
    let mut offset = partition.log_start().unwrap();
    assert_eq!(offset, 0);
    while offset < partition.high_watermark().unwrap() {
        let records = partition.fetch(offset, &FetchOptions::new().max_bytes(16 << 10)).unwrap().decode(true).unwrap();
        for record in &records {
            assert_eq!(record.offset(), found.len() as i64, "offsets are dense");
            found.push((record.key().unwrap().to_vec(), record.value().unwrap().to_vec()));
        }
        offset = records.next_offset();
    }
    found
}

/// The lines of a file, found in another way than the example does it.
fn lines(input: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = input.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines
}

fn key(line: &[u8]) -> Vec<u8> {
    line.iter().copied().take_while(|byte| !b" \t\n\x0c\r".contains(byte)).collect()
}

/// What the example counted.
#[derive(Debug, PartialEq)]
struct Summary {
    /// Records and bytes.
    sent: (u64, u64),
    /// Records and bytes.
    consumed: (u64, u64),
    /// Sum of the partitions' ends.
    end: u64,
    /// Sum of the partitions' lags.
    lag: u64,
}

impl Summary {
    /// All of `input` sent and consumed, `end` records in the log, nothing left.
    fn complete(input: &[u8], end: u64) -> Self {
        let lines = lines(input);
        let counts = (lines.len() as u64, lines.iter().map(|line| line.len() as u64).sum());
        Summary { sent: counts, consumed: counts, end, lag: 0 }
    }

    fn of(stdout: &str) -> Self {
        let number = |field: &str| field.replace(',', "").parse::<u64>().unwrap_or_else(|_| panic!("{stdout}"));
        let row = |name: &str| {
            let line = stdout.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{stdout}"));
            let fields: Vec<_> = line.split_whitespace().collect();
            assert_eq!(fields.len(), 5, "{line}");
            (number(fields[1]), number(fields[2]))
        };
        let table = stdout.lines().skip_while(|line| !line.starts_with("partition")).skip(1);
        let (mut end, mut lag) = (0, 0);
        for (at, line) in table.enumerate() {
            let [partition, start, partition_end, _, partition_lag] =
                <[&str; 5]>::try_from(line.split_whitespace().collect::<Vec<_>>()).unwrap();
            assert_eq!((number(partition), number(start)), (at as u64, 0), "{line}");
            end += number(partition_end);
            lag += number(partition_lag);
        }
        Summary { sent: row("sent"), consumed: row("consumed"), end, lag }
    }
}

/// One line on stderr with all of `parts`, and the exit status.
#[track_caller]
fn assert_complains(output: &Output, status: i32, parts: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.starts_with("quickstart: ") && stderr.lines().count() == 1, "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "no {part:?} in: {stderr}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn quickstart<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    Command::new(example()).args(arguments).output().unwrap()
}

/// Cargo builds examples with the tests, but tells tests where binaries are, not examples.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap(); // target/<profile>/deps/quickstart-<hash>
    let example = test.parent().and_then(Path::parent).unwrap().join("examples/quickstart");
    assert!(example.exists(), "{} is missing: cargo build --example quickstart", example.display());
    example
}

//! Kills a process in the middle of its work, again and again, and looks at what it left.
//!
//! The child does everything at once: threads that send, wait for their acknowledgements or collect them later, consume
//! and commit, delete records, enforce retention, alter a topic, create and delete another. It prints every promise
//! after it got it, and what it asks for before it does. The parent reads these lines, kills the child with SIGKILL at a
//! random moment, opens the directory and compares. This defends the promises of the README for the end of a process, in
//! all three durability modes, with `preallocate` and without.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

mod child;
mod found;
mod promised;
mod values;

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use found::Found;
use promised::Promised;
use thalweg::{Broker, Durability, TopicConfig};
use values::Random;

/// Directories; their number of kills makes the test. All modes come about, each with `preallocate` and without.
const DIRECTORIES: u64 = 30;

/// How many of them lie on the disk, where kills meet threads that wait for it. The others lie in memory, if the system
/// has a file system for that: a kill takes as little from it, more is done before, and the disk may be busy.
const DIRECTORIES_ON_DISK: u64 = 6;

/// How often a child is killed at its work in one directory, so that what a kill leaves is met by the next child.
const KILLS_PER_DIRECTORY: u64 = 24;

/// Directories that are worked in at the same time: a child spends much of its time waiting for the disk.
const WORKERS: u64 = 3;

/// Microseconds of work before a kill, at most, on the disk and in memory. With more there are more records to compare,
/// and not more moments.
const LATEST_US: [u64; 2] = [20_000, 8000];

const CHILD: &str = "THALWEG_TEST_CHILD_DIRECTORY";
const RUN: &str = "THALWEG_TEST_CHILD_RUN";
const SEED: &str = "THALWEG_TEST_SEED";

/// Defends D3.
#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    if let Some(directory) = std::env::var_os(CHILD) {
        child::work(Path::new(&directory), std::env::var(RUN).unwrap().parse().unwrap());
    }
    let seed = std::env::var(SEED).map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("{SEED}={seed} repeats the moments of the kills, as far as a scheduler can");
    let work = |worker| move || (worker..DIRECTORIES).step_by(WORKERS as usize).map(|at| one_directory(seed, at)).sum();
    let counts: Counts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(work(worker))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("{counts:#?}");
    assert!(counts.kills >= 500 && counts.kills_with_work > counts.kills / 2, "the kills come too early");
    let done = [counts.commits, counts.deletions_of_records, counts.retained, counts.topic_changes];
    assert!(done.iter().all(|count| *count > 20), "some of the work was never done");
}

/// What the kills of some directories met.
#[derive(Debug, Default)]
struct Counts {
    kills: u64,
    /// Kills after at least one acknowledgement of that child.
    kills_with_work: u64,
    /// Kills of a child that had not said yet that it had opened what the child before left.
    kills_while_opening: u64,
    acknowledged: usize,
    commits: usize,
    deletions_of_records: usize,
    /// Kills that were met by a partition whose first records had gone by retention.
    retained: usize,
    /// Topics altered, created and deleted.
    topic_changes: usize,
    /// Kills in the middle of a change of a topic.
    unfinished_changes: usize,
    /// The room of a segment that was preallocated before the topic's settings forbade it counts as one.
    torn_ends_cut: usize,
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Counts::default(), |sum, more| Counts {
            kills: sum.kills + more.kills,
            kills_with_work: sum.kills_with_work + more.kills_with_work,
            kills_while_opening: sum.kills_while_opening + more.kills_while_opening,
            acknowledged: sum.acknowledged + more.acknowledged,
            commits: sum.commits + more.commits,
            deletions_of_records: sum.deletions_of_records + more.deletions_of_records,
            retained: sum.retained + more.retained,
            topic_changes: sum.topic_changes + more.topic_changes,
            unfinished_changes: sum.unfinished_changes + more.unfinished_changes,
            torn_ends_cut: sum.torn_ends_cut + more.torn_ends_cut,
        })
    }
}

fn one_directory(seed: u64, number: u64) -> Counts {
    let mut random = Random::new(seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let in_memory = || tempfile::tempdir_in("/dev/shm").ok().filter(|_| DIRECTORIES_ON_DISK <= number);
    let (dir, latest_us) =
        in_memory().map_or_else(|| (tempfile::tempdir().unwrap(), LATEST_US[0]), |dir| (dir, LATEST_US[1]));
    let durability = [Durability::Fsync, Durability::Os, Durability::Interval][number as usize % 3];
    create(dir.path(), durability, number / 3 % 2 == 1);
    let (mut counts, mut promised, mut latest) = (Counts::default(), Promised::default(), latest_us);
    for kill in 0..KILLS_PER_DIRECTORY {
        let before = promised.acknowledged;
        let run = seed ^ (number * 1000 + kill * 2);
        let after = random.below(latest) * if kill % 5 == 4 { 4 } else { 1 }; // now and then there is time for everything
        run_and_kill(dir.path(), run, Moment::AtWork(Duration::from_micros(after)), &mut promised);
        let had_work = promised.acknowledged > before;
        // A slow machine gets more time.
        latest = if had_work { latest_us.max(latest * 3 / 4) } else { (latest * 2).min(100 * latest_us) };
        counts.kills += 1;
        counts.kills_with_work += u64::from(had_work);
        if kill % 6 == 5 {
            // The next child is killed when it recovers what this one left, and this kill is not looked at by itself.
            let moment = Moment::FromTheStart(Duration::from_micros(random.below(30_000)));
            counts.kills_while_opening += u64::from(!run_and_kill(dir.path(), run + 1, moment, &mut promised));
            counts.kills += 1;
        }
        counts.unfinished_changes += usize::from(promised.is_change_under_way());
        let found = Found::in_directory(dir.path());
        let wrong = found.compare(&promised);
        assert!(wrong.is_empty(), "after kill {kill} in directory {number}, {durability}: {wrong:#?}");
        counts.torn_ends_cut += found.torn_ends_cut;
        counts.retained += usize::from(found.is_retained());
        promised.goes_on_from(&found);
    }
    counts.acknowledged = promised.acknowledged;
    counts.commits = promised.commits;
    counts.deletions_of_records = promised.deletions_of_records;
    counts.topic_changes = promised.topic_changes;
    counts
}

/// What is there before the first child: a topic whose records go by request, one whose records go by its size.
fn create(directory: &Path, durability: Durability, preallocate: bool) {
    let broker = Broker::open(directory).unwrap();
    let config = TopicConfig::new().durability(durability).internal_segment_bytes(20_000).preallocate(preallocate);
    broker.create_topic("kept", 3, config.clone()).unwrap();
    broker.create_topic("retained", 2, child::retained_config(config, 0)).unwrap();
    broker.close().unwrap();
}

/// When a child is killed.
enum Moment {
    /// So long after it has opened the directory.
    AtWork(Duration),
    /// So long after the system made its process.
    FromTheStart(Duration),
}

/// Starts a child, kills it, and collects what it was promised. Returns whether it had begun to work.
fn run_and_kill(directory: &Path, run: u64, moment: Moment, promised: &mut Promised) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_acknowledged_is_lost_by_a_kill", "--nocapture"])
        .env(CHILD, directory)
        .env(RUN, run.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell_started, started) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut lines = lines.map_while(Result::ok);
        let has_started = lines.by_ref().any(|line| line.contains("started;"));
        tell_started.send(has_started).unwrap();
        (has_started, lines.collect::<Vec<_>>())
    });
    // Nobody unparks: the moment of the kill is the point.
    match moment {
        Moment::AtWork(after) if started.recv().unwrap() => std::thread::park_timeout(after),
        Moment::AtWork(_) => {}
        Moment::FromTheStart(after) => std::thread::park_timeout(after),
    }
    kill(child);
    let (has_started, lines) = reader.join().unwrap();
    lines.iter().for_each(|line| promised.take(line));
    has_started
}

/// Kills a child, which has not ended by itself before.
fn kill(mut child: Child) {
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "the child was not killed, but ended: {complaint}");
}

/// The comparison finds what it is there for: a directory that is as promised is compared with other promises.
#[test]
fn a_broken_promise_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), Durability::Os, false);
    child::work_a_little(dir.path());
    let found = Found::in_directory(dir.path());
    let (first, second) = (values::id(1, 0, 0, 0), values::id(1, 0, 0, 1)); // what lies at kept-0
    for (promise, complaint) in [
        (format!("sent kept 0 0 {first};"), None),
        (format!("sent kept 0 1 {second};"), None),
        (format!("sent kept 0 1 {first};"), Some("another record")),
        (format!("sent kept 0 2 {second};"), Some("the log ends at 2")),
        (format!("sent deletable 0 0 {first};"), Some("deletable-0 is missing")),
        ("committed kept 0 2;".to_owned(), Some("committed")),
        ("asked kept 0 1;".to_owned(), None),
        ("deleted kept 0 1;".to_owned(), Some("it starts at 0")),
        ("deleted kept 1 2;".to_owned(), Some("it starts at 1")),
        ("altered 1;".to_owned(), Some("settings")),
        ("altering 1;".to_owned(), None),
        ("created;".to_owned(), Some("the topic was created")),
        ("creating;".to_owned(), None),
    ] {
        let mut promised = Promised::default();
        promised.take("asked kept 1 1;");
        promised.take(&promise);
        let wrong = found.compare(&promised);
        assert_eq!(wrong.len(), usize::from(complaint.is_some()), "{promise} {wrong:?}");
        assert!(complaint.is_none_or(|complaint| wrong[0].contains(complaint)), "{promise} {wrong:?}");
    }
    let wrong = found.compare(&Promised::default());
    assert!(wrong.len() == 1 && wrong[0].contains("nobody asked"), "{wrong:?}");
}

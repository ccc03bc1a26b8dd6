//! Tries mutations, on several threads, under a watch.

use std::collections::BTreeMap;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use thalweg::OnCorruption;

use crate::content::Content;
use crate::look::{Case, OUTCOMES, Outcome};
use crate::mutation::{Extent, Mutation, mutations};

/// How long one case may take before it counts as a hang: far more than any of them needs.
const HANG: Duration = Duration::from_secs(20);

/// Threads that try.
const WORKERS: usize = 2;

/// Numbers of outcomes, by kind of mutation and kind of file.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<(&'static str, String), BTreeMap<Outcome, usize>>);

impl Table {
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.0.values().filter_map(|row| row.get(&outcome)).sum()
    }

    pub(crate) fn tried(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).sum()
    }

    pub(crate) fn add(&mut self, other: Table) {
        for (key, row) in other.0 {
            for (outcome, count) in row {
                *self.0.entry(key.clone()).or_default().entry(outcome).or_default() += count;
            }
        }
    }

    pub(crate) fn print(&self, title: &str) {
        println!("\n{title}: {} tried", self.tried());
        let line = |mutation: &str, file: &str, cells: Vec<String>| {
            let cells: Vec<_> = cells.iter().map(|cell| format!("{cell:>10}")).collect();
            println!("{mutation:<20} {file:<24}{}", cells.concat());
        };
        let names = OUTCOMES.iter().map(|(_, name)| (*name).to_owned());
        line("mutation", "file", ["tried".to_owned()].into_iter().chain(names).collect());
        for ((mutation, file), row) in &self.0 {
            let counts = OUTCOMES.iter().map(|(outcome, _)| row.get(outcome).copied().unwrap_or(0));
            let cells = [row.values().sum()].into_iter().chain(counts).map(|count: usize| count.to_string());
            line(mutation, file, cells.collect());
        }
        let counts = OUTCOMES.iter().map(|(outcome, _)| self.count(*outcome));
        line("all", "all", [self.tried()].into_iter().chain(counts).map(|count| count.to_string()).collect());
    }
}

/// What kind of file it is, by its name.
fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    match name.split_once('.') {
        Some((stem, ending)) if stem.len() == 20 || ending == "topic" => format!(".{ending}"),
        _ => name.to_owned(),
    }
}

struct Job {
    content: Arc<Content>,
    path: PathBuf,
    mutation: Mutation,
}

/// The cases of one directory.
fn jobs(content: &Arc<Content>, extent: Extent, salt: usize) -> Vec<Job> {
    let files = &content.files.0;
    let others = |path: &Path| -> Vec<Vec<u8>> {
        // Segments of another partition can be told from nothing: they are taken from the same directory.
        let is_near = |other: &Path| kind(path) != ".log" || other.parent() == path.parent();
        let of_kind = files.iter().filter(|(other, _)| kind(other) == kind(path) && is_near(other));
        of_kind.map(|(_, bytes)| bytes.clone()).collect()
    };
    let mut jobs = Vec::new();
    for (number, (path, good)) in files.iter().enumerate() {
        for mutation in mutations(good, &others(path), extent, salt + number) {
            jobs.push(Job { content: Arc::clone(content), path: path.clone(), mutation });
        }
    }
    match extent {
        Extent::Sampled(count) => {
            let step = (jobs.len() / count).max(1);
            let all_of_one = content.name == "closed" && content.on_corruption == OnCorruption::Fail;
            let is_tried = |(at, job): &(usize, Job)| {
                (at + salt).is_multiple_of(step) || all_of_one && job.mutation.is_of_the_whole_file()
            };
            jobs.into_iter().enumerate().filter(is_tried).map(|(_, job)| job).collect()
        }
        _ => jobs,
    }
}

/// Tries every mutation of a directory. Also says what went wrong.
pub(crate) fn run(content: Content, extent: Extent, salt: usize) -> (Table, Vec<String>) {
    let content = Arc::new(content);
    let jobs = Arc::new(jobs(&content, extent, salt));
    let panics = watch_panics();
    let (sender, receiver) = mpsc::channel();
    let next = Arc::new(AtomicUsize::new(0));
    let current = Arc::new(Mutex::new([None; WORKERS]));
    for worker in 0..WORKERS {
        let (jobs, next, sender) = (Arc::clone(&jobs), Arc::clone(&next), sender.clone());
        let current = Arc::clone(&current);
        thread::spawn(move || {
            let dir = tempfile::tempdir().unwrap();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(at) else { break };
                current.lock().unwrap()[worker] = Some(at);
                let found = try_one(dir.path(), job);
                sender.send(found).unwrap();
            }
            current.lock().unwrap()[worker] = None;
        });
    }
    drop(sender);
    let (mut table, mut failures) = (Table::default(), Vec::new());
    let mut done = 0;
    loop {
        match receiver.recv_timeout(HANG) {
            Ok((key, outcome, failed)) => {
                done += 1;
                *table.0.entry(key).or_default().entry(outcome).or_default() += 1;
                failures.extend(failed);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let current = current.lock().unwrap();
                let names: Vec<_> = current.iter().flatten().map(|at| jobs[*at].name()).collect();
                panic!("it hangs; one of {names:#?}");
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let panics = std::mem::take(&mut *panics.lock().unwrap()); // not held: the hook takes it, too
    failures.extend(panics.into_iter().map(|panic| format!("a panic: {panic}")));
    assert!(done == jobs.len() || !failures.is_empty());
    (table, failures)
}

impl Job {
    fn name(&self) -> String {
        let Content { name, on_corruption, .. } = &*self.content;
        format!("{name}, on.corruption={on_corruption:?}, {}: {}", self.path.display(), self.mutation)
    }
}

type Tried = ((&'static str, String), Outcome, Vec<String>);

fn try_one(dir: &Path, job: &Job) -> Tried {
    let Job { content, path, mutation } = job;
    content.files.lay_out(dir);
    let key = (mutation.kind(), kind(path));
    if !mutation.apply(&dir.join(path), &content.files.0[path]) {
        return (key, Outcome::Harmless, Vec::new());
    }
    let takes_away = matches!(
        mutation,
        Mutation::Missing | Mutation::Empty | Mutation::Truncated(_) | Mutation::Directory | Mutation::Other(_)
    );
    let is_log = kind(path) == ".log";
    let unvouched = content.vouches_for_nothing && takes_away && is_log;
    let has_gaps = !content.files.0.contains_key(&path.with_file_name("thalweg-checkpoint"));
    let moved = has_gaps
        && is_log
        && matches!(mutation, Mutation::Flipped(bit) if in_base_offset(&content.files.0[path], bit / 8));
    let mut case = Case::new(dir, content, (unvouched, moved));
    let outcome = case.run();
    let failures = case.failures.iter().map(|failure| format!("{}: {failure}", job.name()));
    (key, outcome, failures.collect())
}

/// Whether a byte of a segment belongs to a batch's base offset.
fn in_base_offset(log: &[u8], byte: usize) -> bool {
    let mut at = 0;
    while at + 12 <= byte {
        let size = 12 + u32::from_be_bytes(log[at + 8..at + 12].try_into().unwrap()) as usize;
        if byte < at + size {
            return byte < at + 8;
        }
        at += size;
    }
    byte < at + 8
}

/// Takes note of every panic in the process, on whatever thread.
fn watch_panics() -> Arc<Mutex<Vec<String>>> {
    let panics = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&panics);
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(info.to_string());
        before(info);
    }));
    panics
}

//! Every operation of every workload fails in every way.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use thalweg::ErrorKind;
use thalweg::simulation::{Fault, OperationKind, SimulatedDisk, SyncPoint};

use crate::case::{Case, EIO, EMFILE, ENOSPC, ERRNOS, Outcome};
use crate::known::{self, KNOWN};
use crate::scripts::{SCRIPTS, Script};
use crate::session::Session;
use crate::watchdog::Watchdog;

const WORKERS: usize = 2;

const KINDS: [OperationKind; 14] = [
    OperationKind::Write,
    OperationKind::Sync,
    OperationKind::SyncDir,
    OperationKind::Create,
    OperationKind::Open,
    OperationKind::Rename,
    OperationKind::Remove,
    OperationKind::HardLink,
    OperationKind::SetLen,
    OperationKind::Reserve,
    OperationKind::CreateDir,
    OperationKind::List,
    OperationKind::Read,
    OperationKind::DropCache,
];

/// How many operations a workload has, of each kind and of all that change something, and how many steps.
pub(crate) struct Length {
    kinds: Vec<(OperationKind, usize)>,
    changes: usize,
    steps: usize,
}

/// More operations than any workload has.
const FAR: usize = 1 << 40;

/// Counts the operations that can fail: faults that are far away come nearer by one with each.
pub(crate) fn measure(script: &'static Script) -> Length {
    let dir = crate::directory();
    let case = Case { after: FAR, ..Case::new(script) };
    let disk = SimulatedDisk::new();
    let mut session = Session::new(disk.clone(), &dir.path().join("data"), &case);
    session.on_arm = KINDS.iter().map(|kind| Fault::of(*kind).after(FAR)).collect();
    (script.run)(&mut session);
    assert!(session.errors.is_empty() && session.wrong.is_empty(), "{:?} {:?}", session.errors, session.wrong);
    let steps = session.steps;
    // Nothing else says how far away a fault is by now.
    let text = format!("{disk:?}");
    let faults = &text[text.rfind("faults: Faults(").unwrap()..];
    let mut left = faults.split("after: ").skip(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        FAR - digits.parse::<usize>().unwrap()
    });
    let changes = left.next().unwrap();
    Length { kinds: KINDS.into_iter().zip(left).collect(), changes, steps }
}

/// The cases of a workload.
pub(crate) fn all_cases(script: &'static Script, length: &Length) -> Vec<Case> {
    let case = Case::new(script);
    let mut cases = Vec::new();
    for (kind, count) in &length.kinds {
        for after in 0..*count {
            let case = Case { kind: Some(*kind), after, ..case };
            let errnos = ERRNOS.into_iter().filter(|errno| *kind != OperationKind::Sync || *errno != EMFILE);
            cases.extend(errnos.map(|errno| Case { errno, ..case })); // a sync needs no handle but that of its file
            if *kind == OperationKind::Write {
                let short = |written| [EIO, ENOSPC].map(|errno| Case { written: Some(written), errno, ..case });
                cases.extend(WRITTEN.into_iter().flat_map(short));
            }
        }
    }
    let for_ever = |after| [EIO, ENOSPC].map(|errno| Case { after, errno, for_ever: true, ..case });
    cases.extend((0..length.changes).flat_map(for_ever));
    cases.extend((0..length.steps).map(|step| Case { full_at: Some(step), ..case }));
    cases
}

/// One case for each operation, and one more for some writes and for some from which on all fail: each time another one of the
/// errors, and another one of the ends.
pub(crate) fn some_cases(script: &'static Script, length: &Length) -> Vec<Case> {
    let all = all_cases(script, length);
    let is_its_turn = |case: &Case| (case.errno == EIO) == (case.after / 8).is_multiple_of(2);
    let is_even = |case: &Case| case.after.is_multiple_of(2);
    let is_chosen = |case: &Case| {
        let kind = KINDS.into_iter().position(|kind| case.kind == Some(kind)).unwrap_or(0);
        match case.written {
            _ if case.full_at.is_some() => true,
            Some(written) => WRITTEN[case.after / 2 % WRITTEN.len()] == written && is_even(case) && is_its_turn(case),
            None if case.for_ever => case.after.is_multiple_of(8) && case.errno == [EIO, ENOSPC][case.after / 8 % 2],
            None => match ERRNOS[(case.after + kind) % ERRNOS.len()] {
                EMFILE if case.kind == Some(OperationKind::Sync) => case.errno == EIO,
                errno => case.errno == errno,
            },
        }
    };
    let chosen = all.into_iter().filter(is_chosen).enumerate();
    chosen.map(|(number, case)| Case { end: Some(number), ..case }).collect()
}

/// How many bytes of a write are written, if not half of them.
const WRITTEN: [usize; 4] = [0, 1, 61, usize::MAX];

/// What became of cases.
pub(crate) type Outcomes = Vec<(Case, Result<Outcome, String>)>;

/// Runs cases until all were, or `wrong_max` are wrong.
pub(crate) fn run(cases: Vec<Case>, wrong_max: usize) -> Outcomes {
    let (watchdog, next, wrong) = (Watchdog::new(WORKERS), AtomicUsize::new(0), AtomicUsize::new(0));
    let outcomes = Mutex::new(Vec::with_capacity(cases.len()));
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (watchdog, next, wrong, outcomes, cases) = (&watchdog, &next, &wrong, &outcomes, &cases);
            scope.spawn(move || {
                while wrong.load(Ordering::Relaxed) < wrong_max
                    && let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let outcome = watchdog.watch(worker, case.to_string(), || case.run());
                    wrong.fetch_add(usize::from(outcome.is_err()), Ordering::Relaxed);
                    outcomes.lock().unwrap().push((*case, outcome));
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

/// The first error of a case, in a word.
fn word(case: &Case, outcome: &Result<Outcome, String>) -> &'static str {
    match outcome {
        Err(wrong) if known::find(case, wrong).is_some() => "known",
        Err(_) => "WRONG",
        Ok(outcome) => match outcome.errors.first().map(|error| error.kind()) {
            None => "no error",
            Some(ErrorKind::StorageFull) => "StorageFull",
            Some(ErrorKind::Io { .. }) => "Io",
            Some(ErrorKind::Storage { .. }) => "Storage",
            Some(_) => "other",
        },
    }
}

fn print_table(script: &Script, length: &Length, outcomes: &Outcomes) {
    let mut rows: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    for (case, outcome) in outcomes.iter().filter(|(case, _)| case.script.name == script.name) {
        let row = match case.kind {
            _ if case.full_at.is_some() => "full from a step on".to_owned(),
            None => "all from one on".to_owned(),
            Some(kind) => format!("{kind:?}"),
        };
        *rows.entry(row).or_default().entry(word(case, outcome)).or_default() += 1;
    }
    let counts = length.kinds.iter().map(|(kind, count)| (format!("{kind:?}"), *count));
    let counts = counts
        .chain([("all from one on".to_owned(), length.changes), ("full from a step on".to_owned(), length.steps)]);
    for (row, count) in counts.filter(|(_, count)| *count > 0) {
        let words = rows.remove(&row).unwrap_or_default();
        let sum: usize = words.values().sum();
        let words: Vec<_> = words.iter().map(|(word, count)| format!("{count} {word}")).collect();
        println!("{:24} {row:20} n {count:4}, {sum:5} cases: {}", script.name, words.join(", "));
    }
}

#[test]
fn every_operation_fails_in_every_way() {
    let is_all = std::env::var(crate::CAMPAIGN).is_ok_and(|campaign| campaign == "all");
    let cases = if is_all { all_cases } else { some_cases };
    let only = std::env::var(crate::ONLY).unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "how long it takes is no matter of the engine")]
    let began = Instant::now();
    let (mut sum, mut wrong, mut found) = (0, Vec::new(), vec![Vec::new(); KNOWN.len()]);
    for script in SCRIPTS {
        let length = measure(script);
        let mut cases = cases(script, &length);
        cases.retain(|case| case.to_string().contains(&only));
        let outcomes = run(cases, usize::MAX);
        print_table(script, &length, &outcomes);
        sum += outcomes.len();
        for (case, outcome) in outcomes {
            let Err(text) = outcome else { continue };
            match known::find(&case, &text) {
                Some(number) => found[number].push(text),
                None => wrong.push(text),
            }
        }
    }
    for (known, found) in KNOWN.iter().zip(&found) {
        println!("known: {}: {} cases: {}", known.what, found.len(), found.first().map_or("", |text| text));
        if is_all && only.is_empty() && found.is_empty() {
            wrong.push(format!("not so any more, its line can go: {}", known.what));
        }
    }
    println!("{sum} cases in {:.1} s", began.elapsed().as_secs_f64());
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
}

/// The checks see what is lost without a sync.
#[test]
fn a_sync_that_is_left_out_is_missed() {
    let missed = [
        (SyncPoint::Commit, "send"),
        (SyncPoint::RecoveredSegment, "open after a kill"),
        (SyncPoint::TopicFileName, "administer"),
    ];
    for (point, name) in missed {
        let script = SCRIPTS.iter().find(|script| script.name == name).unwrap();
        let length = measure(script);
        let off = |case| Case { switched_off: Some(point), ..case };
        let outcomes = run(some_cases(script, &length).into_iter().take(40).map(off).collect(), usize::MAX);
        let wrong = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
        let wrong: Option<&String> = wrong.into_iter().find(|wrong| wrong.contains("survive"));
        println!("{point}: {} cases, {}", outcomes.len(), wrong.map_or("nothing", |wrong| wrong));
        assert!(wrong.is_some(), "nobody misses {point}");
    }
}

//! Many workloads, many cuts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use thalweg::simulation::{Cut, Survival, SyncPoint};

use crate::kind::Kind;
use crate::random::Random;
use crate::state::try_cut;
use crate::workload::Workload;

/// Threads that try.
const WORKERS: usize = 2;

/// States of one workload.
const CUTS_OF_ONE: usize = 60;

/// What was tried, and what was wrong.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) states: AtomicUsize,
    pub(crate) workloads: AtomicUsize,
    pub(crate) operations: AtomicUsize,
    pub(crate) wrong: Mutex<Vec<String>>,
}

/// A sync that is switched off, and the kind of workloads that miss it.
pub(crate) type Control = Option<(SyncPoint, Kind)>;

/// Runs the workload of `seed`.
pub(crate) fn run(dir: &tempfile::TempDir, seed: u64, control: Control) -> Workload {
    let mut random = Random(seed);
    let kind = if random.percent(40) { Kind::Mixed } else { random.pick(&Kind::ALL) };
    let kind = control.map_or(kind, |(_, kind)| kind);
    let steps = if kind == Kind::Large { 6 } else { random.pick(&[10, 25, 50]) };
    Workload::run(control.map(|(point, _)| point), &dir.path().join("data"), seed, (kind, steps))
}

/// The cuts of a workload that are tried: some anywhere, some where something has just been promised.
fn cuts(workload: &Workload, seed: u64) -> Vec<Cut> {
    let mut random = Random(seed.wrapping_mul(31));
    let operations = workload.disk.operations();
    let promises = workload.world.promises();
    let place = |random: &mut Random| match random.below(10) {
        0..3 if !promises.is_empty() => random.pick(&promises),
        3 if !promises.is_empty() => random.pick(&promises).saturating_sub(random.below(4)), // or just before
        4 => operations,
        _ => random.below(operations + 1),
    };
    let mut places: Vec<_> = (0..CUTS_OF_ONE).map(|_| place(&mut random)).collect();
    places.sort_unstable();
    let survival = |random: &mut Random| if random.percent(50) { Survival::Some } else { random.pick(Survival::ALL) };
    places.into_iter().map(|at| Cut { at, survival: survival(&mut random), seed: random.next() }).collect()
}

/// Tries workloads from `seed` on until `states` were tried, or the first that is wrong.
pub(crate) fn try_many(seed: u64, states: usize, control: Control) -> Outcome {
    let (outcome, next) = (Outcome::default(), AtomicU64::new(seed));
    let is_enough = || outcome.states.load(Ordering::Relaxed) >= states || !outcome.wrong.lock().unwrap().is_empty();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while !is_enough() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let dir = crate::directory();
                    let workload = run(&dir, seed, control);
                    outcome.workloads.fetch_add(1, Ordering::Relaxed);
                    outcome.operations.fetch_add(workload.disk.operations(), Ordering::Relaxed);
                    for cut in cuts(&workload, seed) {
                        if is_enough() {
                            break;
                        }
                        outcome.states.fetch_add(1, Ordering::Relaxed);
                        if let Err(wrong) = try_cut(&workload, seed, cut) {
                            outcome.wrong.lock().unwrap().push(wrong);
                        }
                    }
                }
            });
        }
    });
    outcome
}

#[test]
fn what_was_acknowledged_survives_power_cuts() {
    let (seed, states) = (crate::variable(crate::SEED, 1), crate::variable(crate::CUTS, 1500) as usize);
    println!("{}={seed}", crate::SEED);
    #[expect(clippy::disallowed_methods, reason = "how long it takes is no matter of the engine")]
    let began = Instant::now();
    let outcome = try_many(seed, states, None);
    let (states, workloads) = (outcome.states.into_inner(), outcome.workloads.into_inner());
    let elapsed = began.elapsed().as_secs_f64();
    println!(
        "{states} states of {workloads} workloads with {} operations in {elapsed:.1} s: {:.0} states/s",
        outcome.operations.into_inner(),
        states as f64 / elapsed
    );
    let wrong = outcome.wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Backups in the making and deleted directories have random names.
fn without_ids(text: &str) -> String {
    const ID_LEN: usize = 32;
    let is_id = |part: &str| part.len() == ID_LEN && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = text.split_inclusive(['.', '-']);
    parts.map(|part| if is_id(&part[..part.len() - 1]) { "?" } else { part }).collect()
}

/// A seed stands for one list of operations: what it finds can be had again.
#[test]
fn the_same_seed_does_the_same_operations() {
    let history = |seed| {
        let dir = crate::directory();
        let operations = run(&dir, seed, None).disk.history();
        let text = |operation: &thalweg::simulation::Operation| {
            let text = operation.to_string().replace(&dir.path().display().to_string(), "");
            without_ids(&text)
        };
        operations.iter().map(text).collect::<Vec<_>>()
    };
    for seed in [0, 1, 2, 5] {
        let (one, other) = (history(seed), history(seed));
        let differs = one.iter().zip(&other).position(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}: {:?} {:?}", differs.map(|at| &one[at]), differs.map(|at| &other[at]));
        assert!(one.len() == other.len() && one.len() > 50);
    }
}

//! Eight threads send through one producer while the disk fails: what one thread sends to one partition is in the log once and
//! in its order, where the acknowledgements say, and what failed is not.
//!
//! | variable | default | |
//! |---|---|---|
//! | `THALWEG_STRESS_ROUNDS` | 60 | rounds, a few of them on the real disk |
//! | `THALWEG_STRESS_SEED` | 0 | the first of their seeds |
//!
//! A round draws its configuration from a seed: `acks`, `linger.ms`, `batch.size`, `buffer.memory`, compression, the number of
//! partitions and how durable they are. While the threads send, a thread does the broker's work on the simulated disk, and
//! has writes fail, or be done in part, or the disk be full for a while. In the end the disk is in order again and everything
//! is settled; or the process is killed in the midst of it. The logs are checked before that, and after opening again.
//! The threads themselves are the system's: a seed repeats the kind of a round, not its moments.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once and say where")]
#![expect(clippy::print_stdout, reason = "the numbers are the result")]

mod checker;
mod controls;
mod disk;
mod plan;
#[path = "../power_cut/random.rs"]
mod random;
mod round;

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use plan::Plan;
use round::Tally;

/// Number of rounds.
const ROUNDS: &str = "THALWEG_STRESS_ROUNDS";

/// The seed of the first round.
const SEED: &str = "THALWEG_STRESS_SEED";

/// A round takes some hundredths of a second.
const PATIENCE: Duration = Duration::from_secs(20);

fn run(rounds: u64, plan: impl Fn(u64) -> Plan) -> Tally {
    let first = std::env::var(SEED).map_or(0, |seed| seed.parse().unwrap());
    let mut tally = Tally::default();
    for seed in first..first + rounds {
        let plan = plan(seed);
        let done = watched(&format!("seed {seed}: {plan:?}"), || round::run(&plan, &mut tally));
        if let Err(wrong) = done {
            panic!("seed {seed}: {wrong}; {plan:?}; {tally:?}");
        }
    }
    println!("{tally:?}");
    tally
}

/// Ends the process, with a name for it, if `round` does not come to its end.
fn watched<T>(what: &str, round: impl FnOnce() -> T) -> T {
    let (ended, has_ended) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if has_ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = writeln!(std::io::stderr(), "hangs: {what}");
                std::process::abort();
            }
        });
        let done = round();
        drop(ended);
        done
    })
}

fn rounds() -> u64 {
    std::env::var(ROUNDS).map_or(60, |rounds| rounds.parse().unwrap())
}

#[test]
fn each_thread_finds_its_records_in_its_order_on_a_failing_disk() {
    let tally = run(rounds(), Plan::failing);
    // Otherwise nothing was shown.
    assert!(0 < tally.acknowledged && 0 < tally.failed && 0 < tally.retries && 0 < tally.kills, "{tally:?}");
}

#[test]
fn each_thread_finds_its_records_in_its_order_on_the_real_disk() {
    let tally = run(rounds().div_ceil(6), Plan::real);
    assert!(0 < tally.acknowledged && tally.failed == 0, "{tally:?}");
}

//! Long random scripts, for as long as one likes.

use std::time::{Duration, Instant};

use crate::runner::decode::decode;
use crate::runner::run;

/// How long it takes, in seconds.
const SECONDS: &str = "THALWEG_SOAK_SECONDS";

/// The script to run, and no other.
const SEED: &str = "THALWEG_SOAK_SEED";

const OPS_MAX: usize = 250;

#[test]
fn random_scripts_for_a_while() {
    if let Ok(seed) = std::env::var(SEED) {
        return run_seed(seed.parse().unwrap());
    }
    let seconds = std::env::var(SECONDS).map_or(2, |seconds| seconds.parse().unwrap());
    #[expect(clippy::disallowed_methods, reason = "how long to go on is no matter of the engine")]
    let (now, first_seed) = (Instant::now, std::time::SystemTime::now());
    let first_seed = first_seed.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let began = now();
    let mut count = 0;
    while now() - began < Duration::from_secs(seconds) {
        run_seed(first_seed.wrapping_add(count));
        count += 1;
    }
    eprintln!("{count} scripts in {seconds} s");
}

fn run_seed(seed: u64) {
    let shown = Shown(seed);
    let mut random = Random(seed);
    let len = random.next() % 3000;
    let bytes: Vec<_> = (0..len).map(|_| random.next() as u8).collect();
    let (setup, ops) = decode(&bytes, OPS_MAX);
    run(&setup, &ops);
    drop(shown);
}

/// Names the seed if it fails.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{SEED}={} runs it again", self.0);
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

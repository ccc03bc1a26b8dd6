//! Bad input: every file of a data directory, one at a time, changed in every way. Nothing panics or hangs, no record is
//! wrong, none is missing without a word, and what `on.corruption=fail` finds damaged it leaves as it is.
//!
//! A sample is tried here; `THALWEG_MUTATIONS=all` tries all of them, which takes long, and prints the numbers.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]
#![expect(clippy::print_stdout, reason = "the numbers are the result")]

/// Shared with the model.
#[expect(unreachable_pub, reason = "the fuzzer has it as a library")]
#[path = "../model/runner/batches.rs"]
mod batches;
mod campaign;
mod content;
mod files;
mod look;
mod mutation;
mod take_part;

use campaign::{Table, run};
use look::Outcome;
use mutation::{Extent, is_root};
use thalweg::OnCorruption;

/// Defends D6.
#[test]
fn no_change_of_a_file_gives_a_wrong_record() {
    let all = std::env::var("THALWEG_MUTATIONS").is_ok_and(|value| value == "all");
    if is_root() {
        println!("skipped: files without permission, since this user may read everything");
    }
    let (mut sum, mut failures) = (Table::default(), Vec::new());
    for (number, content) in content::own().into_iter().chain([content::kafkas()]).enumerate() {
        let title = format!("{}, on.corruption={:?}", content.name, content.on_corruption);
        let extent = match content.on_corruption {
            _ if !all => Extent::Sampled(45),
            OnCorruption::Fail => Extent::Full,
            _ => Extent::Bytes,
        };
        let (table, failed) = run(content, extent, number);
        if all {
            table.print(&title);
            println!("{} failures: {:#?}", failed.len(), failed.iter().take(10).collect::<Vec<_>>());
        }
        failures.extend(failed);
        sum.add(table);
    }
    sum.print("all directories");
    assert!(failures.is_empty(), "{} failures: {:#?}", failures.len(), failures.iter().take(20).collect::<Vec<_>>());
    for outcome in [Outcome::Cut, Outcome::Damaged, Outcome::Refused, Outcome::FoundByReading, Outcome::Harmless] {
        assert!(sum.count(outcome) > 5, "{outcome:?} hardly happens: the mutations miss");
    }
}

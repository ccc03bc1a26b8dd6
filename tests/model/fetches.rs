//! Fetches, at once and waiting: random scripts that shrink, and negative controls.

use std::panic::catch_unwind;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::runner::fetches::script::{Laid, Limits, Op, Place, Sabotage, Setup, decode};
use crate::runner::fetches::{run, run_sabotaged};
use crate::runner::op::At;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::with_cases(cases()) })]

    /// As the fuzzer does it: the script is read out of bytes, which shrink well enough.
    #[test]
    fn fetches_answer_what_the_model_answers(bytes in vec(any::<u8>(), 0..400)) {
        let (setup, ops) = decode(&bytes, 60);
        run(&setup, &ops);
    }
}

/// Number of scripts; proptest's own variable overrides it.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(300, |cases| cases.parse().unwrap())
}

const ALL: Limits = Limits { min: 1, max: 100_000, partition_max: 100_000, committed: false };

fn setup() -> Setup {
    let laid = Laid { gap: 0, new_segment: false, count: 2, value: 10, tail: 0 };
    Setup {
        segment_bytes: 300,
        index_interval: 128,
        fsync: true,
        cross_segments: true,
        broker_max: 1024,
        laid: vec![laid, Laid { gap: 3, ..laid }, Laid { tail: 2, new_segment: true, ..laid }],
    }
}

fn append(partition: usize, count: usize) -> Op {
    Op::Append { partition, count, value: 32, together: false }
}

/// Two places before the start is `At(0)`.
fn place(partition: usize, from_start: u16) -> Place {
    Place { partition, at: At(2 + from_start) }
}

/// A script that is right with a right model, and touches every rule. Its batches have 100 bytes each.
fn script() -> Vec<Op> {
    let both = vec![place(1, 0), place(2, 0)];
    let wait = |places: &Vec<Place>, limits| Op::Wait { places: places.clone(), limits, time: None };
    vec![
        Op::Fetch { place: place(0, 0), limits: ALL },
        Op::Drain { partition: 0, limits: Limits { max: 150, ..ALL } },
        wait(&both, Limits { min: 300, ..ALL }),
        wait(&both, Limits { min: 301, ..ALL }),
        wait(&both, Limits { min: 500, ..ALL }),
        wait(&both, Limits { min: 400, partition_max: 150, ..ALL }),
        wait(&vec![place(1, 0)], Limits { min: 900, max: 300, ..ALL }),
        Op::Wait { places: vec![place(2, 0)], limits: Limits { min: 1000, ..ALL }, time: Some(500_000) },
        append(1, 2),
        append(2, 1),
        Op::Sync,
        append(1, 2),
        Op::Fetch { place: place(1, 0), limits: ALL },
        Op::Sync,
        append(2, 5),
        Op::Sync,
        append(1, 12),
        Op::Sync,
        Op::Pass { ms: 600_000 },
        Op::Fetch { place: place(1, 0), limits: ALL },
        Op::Fetch { place: place(1, 0), limits: Limits { max: 250, ..ALL } },
        Op::Fetch { place: place(1, 0), limits: Limits { partition_max: 250, ..ALL } },
        Op::Fetch { place: place(1, 0), limits: Limits { max: 50, ..ALL } },
        Op::FetchMany { places: both.clone(), limits: Limits { partition_max: 50, ..ALL } },
        Op::FetchMany { places: both.clone(), limits: Limits { max: 250, ..ALL } },
        Op::Wait { places: vec![place(1, 4), place(2, 6)], limits: Limits { min: 5000, ..ALL }, time: None },
        Op::Wait { places: vec![place(2, 1)], limits: Limits { min: 800, ..ALL }, time: None },
        Op::Delete { place: place(2, 3) },
        Op::Fetch { place: place(2, 0), limits: ALL },
    ]
}

#[test]
fn the_script_passes_with_a_right_model() {
    for setup in [setup(), Setup { broker_max: 1 << 20, ..setup() }, Setup { cross_segments: false, ..setup() }] {
        run_sabotaged(&setup, &script(), Sabotage::Nothing);
    }
}

#[test]
fn every_broken_rule_is_found() {
    for sabotage in [
        Sabotage::GuaranteeForAll,
        Sabotage::GuaranteeForNone,
        Sabotage::NoMax,
        Sabotage::NoPartitionMax,
        Sabotage::NoBrokerMax,
        Sabotage::CutBatches,
        Sabotage::OtherSegments,
        Sabotage::SeeAll,
        Sabotage::OneLess,
        Sabotage::OneMore,
        Sabotage::WaitForMax,
        Sabotage::EachAlone,
        Sabotage::ErrorsWait,
        Sabotage::KeepStart,
        Sabotage::NoTime,
        Sabotage::NoTurns,
        Sabotage::NoEpoch,
        Sabotage::NoGaps,
        Sabotage::NoTail,
    ] {
        assert!(catch_unwind(|| run_sabotaged(&setup(), &script(), sabotage)).is_err(), "{sabotage:?} is not found");
    }
}

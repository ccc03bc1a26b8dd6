//! Negative controls: a model that makes a mistake is found out.

use std::panic::catch_unwind;

use thalweg::Durability;

use crate::runner::op::{At, Behind, Loss, Op, Sabotage, Sent, Setup, Time, Wait};
use crate::runner::run_sabotaged;

/// A topic with small segments, whose records are gone after a day.
fn setup() -> Setup {
    Setup {
        read_mode: thalweg::ReadMode::Mmap,
        durability: Durability::Os,
        segment_bytes: 256,
        segment_ms: 604_800_000,
        preallocate: false,
        index_interval: 128,
        retention_bytes: None,
        day_of_retention: true,
        batch_size: 120,
    }
}

fn send_ten() -> Op {
    let sent = Sent { partition: 0, key: 2, value: 30, headers: 0, time: Time::Past(0) };
    Op::Send { records: vec![sent; 10], wait: Wait::Flush }
}

/// A script that is right with a right model, and touches what each mistake is about.
fn script() -> Vec<Op> {
    vec![
        send_ten(),
        Op::CommitOffset { partition: 0, offset: At(3), metadata_len: 0 },
        Op::Crash { loss: Loss::Cut { partition: 0, missing: 77, behind: Behind::Nothing } },
        Op::Delete { partition: 0, before: At(4) },
        Op::Retain,
        send_ten(),
    ]
}

#[test]
fn the_script_passes_with_a_right_model() {
    for preallocate in [false, true] {
        run_sabotaged(&Setup { preallocate, ..setup() }, &script(), Sabotage::Nothing);
    }
}

#[test]
fn every_mistake_of_the_model_is_found() {
    for sabotage in [
        Sabotage::ForgetRecord,
        Sabotage::ChangeRecord,
        Sabotage::ShiftStart,
        Sabotage::NeverRoll,
        Sabotage::NeverExpire,
        Sabotage::LoseNothing,
        Sabotage::ForgetCommits,
    ] {
        assert!(catch_unwind(|| run_sabotaged(&setup(), &script(), sabotage)).is_err(), "{sabotage:?} is not found");
    }
}

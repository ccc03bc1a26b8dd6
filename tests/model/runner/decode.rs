//! A script out of any bytes.

use thalweg::{Durability, ReadMode};

use super::input::Input;
use super::op::{At, Behind, Loss, Op, PARTITIONS, Sent, Setup, Time, Wait};

/// Values that setups are made of.
pub mod choices {
    use super::Durability;

    pub const DURABILITY: [Durability; 3] = [Durability::Os, Durability::Interval, Durability::Fsync];
    pub const SEGMENT_BYTES: [usize; 4] = [256, 1024, 512, 4096];
    /// A week, a few seconds, and less than between any two times that differ.
    pub const SEGMENT_MS: [u64; 3] = [604_800_000, 5000, 1];
    /// Times at which ages end, and next to those.
    pub const TIME_MS: [u16; 7] = [0, 5000, 1, 2, 5001, 10_000, 10_001];
    pub const INDEX_INTERVAL: [u64; 3] = [128, 0, 4096];
    pub const RETENTION_BYTES: [Option<u64>; 4] = [None, Some(1000), Some(0), Some(3000)];
    pub const BATCH_SIZE: [usize; 3] = [400, 120, 2000];
}

/// The first bytes choose the setup, the others ops until there are none, or `ops_max`.
pub fn decode(bytes: &[u8], ops_max: usize) -> (Setup, Vec<Op>) {
    let mut input = Input::new(bytes);
    let setup = setup(&mut input);
    let mut ops = Vec::new();
    while !input.is_empty() && ops.len() < ops_max {
        ops.push(op(&mut input));
    }
    (setup, ops)
}

fn setup(input: &mut Input<'_>) -> Setup {
    fn one_of<T: Copy>(input: &mut Input<'_>, choices: &[T]) -> T {
        choices[input.below(choices.len())]
    }
    // One byte for all three, so that the scripts that are kept stay what they are.
    let first = input.below(4 * choices::DURABILITY.len());
    Setup {
        durability: choices::DURABILITY[first % choices::DURABILITY.len()],
        preallocate: first / choices::DURABILITY.len() % 2 == 1,
        read_mode: if first < 2 * choices::DURABILITY.len() { ReadMode::Mmap } else { ReadMode::Pread },
        segment_bytes: one_of(input, &choices::SEGMENT_BYTES),
        segment_ms: one_of(input, &choices::SEGMENT_MS),
        index_interval: one_of(input, &choices::INDEX_INTERVAL),
        retention_bytes: one_of(input, &choices::RETENTION_BYTES),
        day_of_retention: input.flag(),
        batch_size: one_of(input, &choices::BATCH_SIZE),
    }
}

fn op(input: &mut Input<'_>) -> Op {
    match input.below(24) {
        0..=2 => send(input, 1),
        3..=5 => send(input, 16),
        6 => Op::Flush,
        7 | 8 => Op::Fetch { partition: partition(input), offset: at(input), bytes_max: input.u16().into() },
        9 => Op::FetchAll { partition: partition(input), bytes_max: input.u16().into() },
        10 | 11 => Op::Delete { partition: partition(input), before: at(input) },
        12 | 13 => Op::Retain,
        14..=16 => Op::Poll,
        17 => Op::Commit,
        18 => Op::CommitOffset { partition: partition(input), offset: at(input), metadata_len: input.below(3) },
        19 => Op::Seek { partition: partition(input), offset: at(input) },
        20 => Op::EndConsumer { close: input.flag() },
        21 => Op::Reopen,
        _ => Op::Crash { loss: loss(input) },
    }
}

fn partition(input: &mut Input<'_>) -> usize {
    input.below(PARTITIONS)
}

/// One byte for most logs, two for the ends of all offsets.
fn at(input: &mut Input<'_>) -> At {
    match input.byte() {
        0xff => At(0xff00 | u16::from(input.byte())),
        at => At(at.into()),
    }
}

fn send(input: &mut Input<'_>, count_max: usize) -> Op {
    let wait = [Wait::Each, Wait::Flush, Wait::Nothing][input.below(3)];
    let count = 1 + input.below(count_max);
    let records = (0..count).map(|_| sent(input)).collect();
    Op::Send { records, wait }
}

fn sent(input: &mut Input<'_>) -> Sent {
    // One byte for three small numbers, so that a fuzzer has fewer to find.
    let small = input.byte();
    let value = usize::from(input.byte());
    let (from, ms) = (input.byte(), input.byte());
    let ms =
        if from % 2 == 0 { choices::TIME_MS[usize::from(ms) % choices::TIME_MS.len()] } else { u16::from(ms) << 8 };
    Sent {
        partition: usize::from(small) % PARTITIONS,
        key: usize::from(small >> 1) % 8,
        value: if value < 200 { value } else { (value - 200) * 20 },
        headers: usize::from(small >> 4).saturating_sub(10),
        time: if from < 0xc0 { Time::Past(ms) } else { Time::Future(ms) },
    }
}

fn loss(input: &mut Input<'_>) -> Loss {
    let behind = match input.below(6) {
        0 => return Loss::Nothing,
        1 => {
            let (partition, count) = (partition(input), input.byte());
            return Loss::Torn { partition, bytes: input.take(count.into()).to_vec() };
        }
        2 => return Loss::Unremoved { partition: partition(input), count: input.byte().into() },
        3 => Behind::Nothing,
        4 => Behind::Zeros,
        _ => Behind::Segments,
    };
    Loss::Cut { partition: partition(input), missing: usize::from(input.u16()) % 2000, behind }
}

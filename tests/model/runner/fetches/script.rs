//! Scripts as plain data, and out of any bytes.

use super::super::input::Input;
use super::super::op::At;

/// Number of partitions of the topic that scripts work with.
pub const PARTITIONS: usize = 3;

/// The settings of a script, and what is there before it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `internal.segment.bytes`.
    pub segment_bytes: usize,
    /// `index.interval.bytes`.
    pub index_interval: u64,
    /// Whether records are visible when they are synced, and not at once.
    pub fsync: bool,
    /// `fetch.cross.segments`.
    pub cross_segments: bool,
    /// `fetch.max.bytes` of the broker.
    pub broker_max: usize,
    /// What the first partition holds.
    pub laid: Vec<Laid>,
}

/// A batch that others have left, as compaction leaves them.
#[derive(Clone, Copy, Debug)]
pub struct Laid {
    /// Offsets that are missing before it.
    pub gap: i64,
    /// Whether a segment begins before the gap.
    pub new_segment: bool,
    pub count: usize,
    pub value: usize,
    /// Offsets that are missing at its end.
    pub tail: i64,
}

/// One call, or a few that belong together.
#[derive(Clone, Debug)]
pub enum Op {
    /// Appends records: as a batch each, or `together` as one that is synced.
    Append { partition: usize, count: usize, value: usize, together: bool },
    /// Syncs what was appended.
    Sync,
    /// Fetches from one partition, once.
    Fetch { place: Place, limits: Limits },
    /// Fetches from several partitions, three times: those that gave something go to the end of the order.
    FetchMany { places: Vec<Place>, limits: Limits },
    /// Fetches from the log start to the end.
    Drain { partition: usize, limits: Limits },
    /// Deletes the records below an offset.
    Delete { place: Place },
    /// Begins to wait, in one partition or with one fetch in several.
    Wait { places: Vec<Place>, limits: Limits, time: Option<u64> },
    /// Polls everybody who waits.
    Poll,
    /// Drops one who waits.
    Drop { index: usize },
    /// Lets time pass.
    Pass { ms: u64 },
    /// Closes the broker and opens it again.
    Reopen,
}

/// A partition, and an offset in it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub partition: usize,
    pub at: At,
}

/// What a fetch may return.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub min: usize,
    pub max: usize,
    pub partition_max: usize,
    pub committed: bool,
}

/// A rule that the model is made to break, so that the runner can be seen to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    Nothing,
    /// Every partition gets one batch, however large.
    GuaranteeForAll,
    /// No partition gets a batch that is too large.
    GuaranteeForNone,
    /// The limit of the fetch means nothing.
    NoMax,
    /// The limit of a partition means nothing.
    NoPartitionMax,
    /// The broker's limit means nothing.
    NoBrokerMax,
    /// The part of a batch that fits is returned.
    CutBatches,
    /// An answer goes on in the next segment where it should not, or ends where it should go on.
    OtherSegments,
    /// What is not synced can be seen.
    SeeAll,
    /// A byte less is enough.
    OneLess,
    /// A byte more is needed.
    OneMore,
    /// What does not fit is waited for.
    WaitForMax,
    /// Each partition has to have the minimum alone.
    EachAlone,
    /// An error does not end the wait.
    ErrorsWait,
    /// A deletion does not move the log start.
    KeepStart,
    /// The time does not end a wait.
    NoTime,
    /// Who gave something keeps its place in the order.
    NoTurns,
    /// Batches keep the epoch of no leader.
    NoEpoch,
    /// Records follow each other without a gap.
    NoGaps,
    /// The next offset is the one behind the last record, not behind its batch.
    NoTail,
}

/// Values that setups are made of.
pub mod choices {
    pub const SEGMENT_BYTES: [usize; 4] = [1000, 300, 4096, 100_000];
    pub const INDEX_INTERVAL: [u64; 3] = [128, 0, 4096];
    pub const BROKER_MAX: [usize; 2] = [57_671_680, 1024];
    /// Sizes of batches of one record without a value of more than 63 bytes, and next to those.
    pub const LIMITS: [usize; 12] = [1, 0, 70, 100, 200, 201, 300, 500, 1000, 1500, 100_000, usize::MAX];
}

/// The simulated clock moves a little with every look at it: times are multiples of more than that comes to in a script.
const TIME: u64 = 100_000;

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

fn one_of<T: Copy>(input: &mut Input<'_>, choices: &[T]) -> T {
    choices[input.below(choices.len())]
}

fn setup(input: &mut Input<'_>) -> Setup {
    let flags = input.byte();
    Setup {
        segment_bytes: one_of(input, &choices::SEGMENT_BYTES),
        index_interval: one_of(input, &choices::INDEX_INTERVAL),
        fsync: flags & 1 != 0,
        cross_segments: flags & 2 == 0,
        broker_max: choices::BROKER_MAX[usize::from(flags >> 2) & 1],
        laid: (0..input.below(8)).map(|_| laid(input)).collect(),
    }
}

fn laid(input: &mut Input<'_>) -> Laid {
    let (small, value) = (input.byte(), input.byte());
    Laid {
        gap: i64::from(small & 3) * i64::from(small >> 2 & 1) * 2,
        new_segment: small >> 3 & 3 == 3,
        count: 1 + usize::from(small >> 5 & 3),
        value: usize::from(value),
        tail: i64::from(small >> 7) * i64::from(value % 4),
    }
}

fn op(input: &mut Input<'_>) -> Op {
    match input.below(20) {
        0..=4 => append(input),
        5 => Op::Sync,
        6 | 7 => Op::Fetch { place: place(input), limits: limits(input) },
        8 | 9 => Op::FetchMany { places: places(input), limits: limits(input) },
        10 => Op::Drain { partition: input.below(PARTITIONS), limits: limits(input) },
        11 => Op::Delete { place: place(input) },
        12..=15 => {
            let (places, limits, time) = (places(input), limits(input), input.byte());
            Op::Wait { places, limits, time: (time % 3 == 2).then_some(u64::from(time) * TIME) }
        }
        16 => Op::Poll,
        17 => Op::Drop { index: input.byte().into() },
        18 => Op::Pass { ms: u64::from(input.byte()) * 2 * TIME },
        _ => Op::Reopen,
    }
}

fn append(input: &mut Input<'_>) -> Op {
    let (small, value) = (input.byte(), usize::from(input.byte()));
    Op::Append {
        partition: usize::from(small) % PARTITIONS,
        count: 1 + usize::from(small >> 2) % 6,
        value: if value < 240 { value % 120 } else { (value - 240) * 60 },
        together: small >= 0xc0,
    }
}

fn place(input: &mut Input<'_>) -> Place {
    let partition = input.below(PARTITIONS);
    let at = match input.byte() {
        0xff => 0xff00 | u16::from(input.byte()),
        at => at.into(),
    };
    Place { partition, at: At(at) }
}

/// One to all of the partitions, in any order.
fn places(input: &mut Input<'_>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for _ in 0..=input.below(PARTITIONS) {
        let place = place(input);
        if !places.iter().any(|known| known.partition == place.partition) {
            places.push(place);
        }
    }
    places
}

fn limits(input: &mut Input<'_>) -> Limits {
    let mut bytes = |small: usize| match input.byte() {
        byte if usize::from(byte) < 2 * choices::LIMITS.len() => {
            choices::LIMITS[usize::from(byte) % choices::LIMITS.len()]
        }
        byte => usize::from(byte) * small,
    };
    let (min, max, partition_max) = (bytes(3), bytes(9), bytes(5));
    Limits { min, max, partition_max, committed: min % 2 == 1 }
}

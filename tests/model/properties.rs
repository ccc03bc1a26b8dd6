//! Random scripts that shrink.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use thalweg::ReadMode;

use crate::runner::decode::choices;
use crate::runner::op::{At, Behind, Loss, Op, PARTITIONS, Sent, Setup, Time, Wait};
use crate::runner::run;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn the_engine_answers_what_the_model_answers(setup in setup(), ops in vec(op(), 0..40)) {
        run(&setup, &ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::with_cases(cases().div_ceil(3)) })]

    #[test]
    fn it_answers_the_same_when_nothing_is_mapped(setup in setup(), ops in vec(op(), 0..40)) {
        run(&Setup { read_mode: ReadMode::Pread, ..setup }, &ops);
    }
}

/// Number of scripts; proptest's own variable overrides it.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(150, |cases| cases.parse().unwrap())
}

fn setup() -> impl Strategy<Value = Setup> {
    let choices = (
        select(&choices::DURABILITY[..]),
        select(&choices::SEGMENT_BYTES[..]),
        select(&choices::SEGMENT_MS[..]),
        select(&choices::INDEX_INTERVAL[..]),
        select(&choices::RETENTION_BYTES[..]),
        any::<[bool; 2]>(),
        select(&choices::BATCH_SIZE[..]),
    );
    choices.prop_map(|(durability, segment_bytes, segment_ms, index_interval, retention_bytes, flags, batch_size)| {
        let [day_of_retention, preallocate] = flags;
        Setup {
            read_mode: ReadMode::Mmap,
            durability,
            segment_bytes,
            segment_ms,
            preallocate,
            index_interval,
            retention_bytes,
            day_of_retention,
            batch_size,
        }
    })
}

fn op() -> impl Strategy<Value = Op> {
    let bytes_max = || prop_oneof![Just(0), 1..600usize, Just(100_000)];
    let wait = select(vec![Wait::Each, Wait::Flush, Wait::Nothing]);
    prop_oneof![
        8 => (vec(sent(), 1..16), wait).prop_map(|(records, wait)| Op::Send { records, wait }),
        1 => Just(Op::Flush),
        3 => (partition(), at(), bytes_max())
            .prop_map(|(partition, offset, bytes_max)| Op::Fetch { partition, offset, bytes_max }),
        1 => (partition(), bytes_max()).prop_map(|(partition, bytes_max)| Op::FetchAll { partition, bytes_max }),
        2 => (partition(), at()).prop_map(|(partition, before)| Op::Delete { partition, before }),
        2 => Just(Op::Retain),
        4 => Just(Op::Poll),
        1 => Just(Op::Commit),
        1 => (partition(), at(), 0..3usize)
            .prop_map(|(partition, offset, metadata_len)| Op::CommitOffset { partition, offset, metadata_len }),
        1 => (partition(), at()).prop_map(|(partition, offset)| Op::Seek { partition, offset }),
        1 => any::<bool>().prop_map(|close| Op::EndConsumer { close }),
        1 => Just(Op::Reopen),
        3 => loss().prop_map(|loss| Op::Crash { loss }),
    ]
}

fn partition() -> impl Strategy<Value = usize> {
    0..PARTITIONS
}

fn at() -> impl Strategy<Value = At> {
    prop_oneof![20 => 0..300u16, 1 => 0xfffe..=u16::MAX].prop_map(At)
}

fn sent() -> impl Strategy<Value = Sent> {
    let value = prop_oneof![8 => 0..60usize, 2 => 0..300usize, 1 => 200..1200usize];
    let headers = prop_oneof![4 => Just(0), 1 => 0..5usize];
    let ms = || prop_oneof![2 => select(&choices::TIME_MS[..]), 1 => any::<u16>()];
    let time = prop_oneof![4 => ms().prop_map(Time::Past), 1 => ms().prop_map(Time::Future)];
    (partition(), 0..8usize, value, headers, time).prop_map(|(partition, key, value, headers, time)| Sent {
        partition,
        key,
        value,
        headers,
        time,
    })
}

fn loss() -> impl Strategy<Value = Loss> {
    let behind = select(vec![Behind::Nothing, Behind::Zeros, Behind::Segments]);
    prop_oneof![
        1 => Just(Loss::Nothing),
        2 => (partition(), vec(any::<u8>(), 0..200)).prop_map(|(partition, bytes)| Loss::Torn { partition, bytes }),
        1 => (partition(), 0..30usize).prop_map(|(partition, count)| Loss::Unremoved { partition, count }),
        4 => (partition(), 0..1500usize, behind)
            .prop_map(|(partition, missing, behind)| Loss::Cut { partition, missing, behind }),
    ]
}

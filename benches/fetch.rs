//! How fast records come out of the log, against walking the same bytes without an engine.
//!
//! 64 MiB of values in batches of 16 KiB, cached. `sum` touches every value byte; the baseline computes the same
//! checksum and sum over the raw bytes that a fetch returns.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so")]
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use thalweg::{AutoOffsetReset, Broker, ConsumerConfig, Durability, FetchOptions, ProducerConfig, ProducerRecord};
use thalweg::{TopicConfig, TopicPartition};

const VALUE_BYTES: usize = 64 << 20;

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

fn fetches(criterion: &mut Criterion) {
    for size in [100, 1024] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        let count = VALUE_BYTES / size;
        for number in 0..count {
            producer.send(ProducerRecord::new("t", &vec![number as u8; size])).unwrap().detach();
        }
        producer.close().unwrap();

        let name = TopicPartition::new("t", 0);
        let partition = broker.partition(&name).unwrap();
        let end = partition.high_watermark().unwrap();
        let scan = |touch: &dyn Fn(&[u8]) -> u64| {
            let (mut offset, mut total) = (0, 0);
            while offset < end {
                let fetched = partition.fetch(offset, &FetchOptions::new().max_bytes(1 << 20)).unwrap();
                let records = fetched.decode(true).unwrap();
                total += records.iter().map(|record| touch(record.value().unwrap_or_default())).sum::<u64>();
                offset = records.next_offset();
            }
            total
        };

        let mut group = criterion.benchmark_group(format!("fetch_{size}_bytes_64_MiB_cached"));
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function("thalweg_decode", |bencher| bencher.iter(|| scan(&|value| value.len() as u64)));
        group.bench_function("thalweg_decode_sum", |bencher| bencher.iter(|| scan(&sum)));
        group.bench_function("thalweg_poll", |bencher| {
            let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest);
            let mut consumer = broker.consumer(config).unwrap();
            consumer.assign(std::slice::from_ref(&name)).unwrap();
            bencher.iter(|| {
                consumer.seek(&name, 0).unwrap();
                let mut seen = 0;
                while seen < count {
                    let records = consumer.poll(Duration::ZERO).unwrap();
                    seen += records.iter().map(|record| black_box(record.value()).is_some() as usize).sum::<usize>();
                }
            });
        });
        group.bench_function("baseline_crc_sum", |bencher| {
            let slices: Vec<_> =
                partition.fetch(0, &FetchOptions::new().max_bytes(usize::MAX)).unwrap().slices().collect();
            bencher.iter(|| {
                let crc_and_sum = |piece: &[u8]| {
                    black_box(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, piece));
                    sum(piece)
                };
                slices.iter().flat_map(|slice| slice.chunks(16 * 1024)).map(crc_and_sum).sum::<u64>()
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = fetches
}
criterion_main!(benches);

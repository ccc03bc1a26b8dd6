//! How fast records get into the log, against the bare work on the same file system.
//!
//! `send` rows: one producer, mode `os`, records of one size, time of `send` for all and one `flush`; the baseline
//! `pwrite`s the same number of value bytes in pieces of 64 KiB. `durable` rows: one record at a time, each waited for;
//! the baseline is `pwrite` and `fdatasync` of as many bytes into a growing file. `preallocated` rows: the same with `preallocate=true`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so")]
#![expect(clippy::disallowed_methods, reason = "the measured engine takes its time from a clock; the benchmark cannot")]
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use thalweg::{Broker, Durability, ProducerConfig, ProducerRecord, TopicConfig};

const PIECE: usize = 64 * 1024;

fn sends(criterion: &mut Criterion) {
    for size in [100, 1024] {
        let mut group = criterion.benchmark_group(format!("send_{size}_bytes"));
        group.throughput(Throughput::Elements(1));
        let value = vec![7; size];
        for (batch_size, preallocate) in
            [16 * 1024, 256 * 1024].into_iter().flat_map(|size| [(size, false), (size, true)])
        {
            let name = format!("thalweg_batch_{batch_size}{}", if preallocate { "_preallocated" } else { "" });
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|count| {
                    let dir = tempfile::tempdir().unwrap();
                    let broker = Broker::open(dir.path()).unwrap();
                    let config = TopicConfig::new().durability(Durability::Os).preallocate(preallocate);
                    broker.create_topic("t", 1, config).unwrap();
                    let producer = broker.producer(ProducerConfig::new().batch_size(batch_size)).unwrap();
                    producer.send(ProducerRecord::new("t", &value)).unwrap().detach();
                    producer.flush().unwrap(); // opens the segment
                    let began = Instant::now();
                    for _ in 0..count {
                        producer.send(ProducerRecord::new("t", &value)).unwrap().detach();
                    }
                    producer.flush().unwrap();
                    began.elapsed()
                });
            });
        }
        group.bench_function("baseline_pwrite", |bencher| {
            let piece = vec![7; PIECE];
            bencher.iter_custom(|count| {
                let dir = tempfile::tempdir().unwrap();
                let file = File::create(dir.path().join("x")).unwrap();
                let bytes = count * size as u64;
                let began = Instant::now();
                for pos in (0..bytes).step_by(PIECE) {
                    file.write_all_at(&piece[..PIECE.min((bytes - pos) as usize)], pos).unwrap();
                }
                began.elapsed()
            });
        });
        group.finish();
    }
}

fn durable(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("durable_1024_bytes_one_at_a_time");
    let value = vec![7; 1024];
    for (name, preallocate) in [("thalweg", false), ("thalweg_preallocated", true)] {
        group.bench_function(name, |bencher| {
            let dir = tempfile::tempdir().unwrap();
            let broker = Broker::open(dir.path()).unwrap();
            broker.create_topic("t", 1, TopicConfig::new().preallocate(preallocate)).unwrap();
            let producer = broker.producer(ProducerConfig::new()).unwrap();
            bencher.iter(|| producer.send(ProducerRecord::new("t", &value)).unwrap().wait().unwrap());
        });
    }
    group.bench_function("baseline_pwrite_and_fdatasync", |bencher| {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("x")).unwrap();
        let mut pos = 0;
        bencher.iter(|| {
            file.write_all_at(&value, pos).unwrap();
            file.sync_data().unwrap();
            pos += value.len() as u64;
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = sends, durable
}
criterion_main!(benches);

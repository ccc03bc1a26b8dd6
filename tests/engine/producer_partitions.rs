//! Who chooses the partition. Rules: producer.md 3.5 and 4.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use thalweg::{Broker, ErrorKind, Partitioner, Producer, ProducerConfig, ProducerRecord, RoundRobinPartitioner};

use crate::support::{
    FOR_EVER, HOUR, Simulated, Store, Wakes, assert_memory_is_back, block_on, fast, ready, stall, tp, value_of,
};

/// Says what it is told to, and notes what it is asked.
#[derive(Clone, Debug, Default)]
struct Asked {
    says: Arc<AtomicI32>,
    asked: Arc<Mutex<Vec<(String, i32)>>>,
}

impl Asked {
    fn saying(partition: i32) -> Self {
        let asked = Asked::default();
        asked.says.store(partition, Ordering::SeqCst);
        asked
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Partitioner for Asked {
    fn partition(&self, record: &ProducerRecord<'_>, partitions: i32) -> i32 {
        let says = self.says.load(Ordering::SeqCst); // before others learn that it was asked
        self.asked.lock().unwrap().push((record.get_topic().to_owned(), partitions));
        says
    }
}

fn ends(broker: &Broker, partitions: i32) -> Vec<i64> {
    (0..partitions).map(|number| broker.partition(&tp(number)).unwrap().log_end().unwrap()).collect()
}

fn config() -> ProducerConfig {
    ProducerConfig::new().linger(HOUR).max_block(Duration::ZERO)
}

#[test]
fn a_partitioner_is_asked_once_for_a_record_that_names_no_partition() {
    let store = Store::new();
    let broker = store.open_with_topic(3, fast());
    let partitioner = Asked::saying(2);
    let producer = broker.producer(config().partitioner(partitioner.clone())).unwrap();
    producer.send(ProducerRecord::new("t", "v").key("k")).unwrap().detach();
    producer.try_send(ProducerRecord::new("t", "v")).unwrap().detach();
    block_on(producer.send_async(ProducerRecord::new("t", "v"))).unwrap().detach();
    assert_eq!(*partitioner.asked.lock().unwrap(), [(); 3].map(|()| ("t".to_owned(), 3)));
    producer.send(ProducerRecord::new("t", "v").partition(0)).unwrap().detach();
    assert_eq!(partitioner.count(), 3);
    producer.flush().unwrap();
    assert_eq!(ends(&broker, 3), [1, 0, 3]);
}

#[test]
fn a_record_that_waits_for_memory_is_not_asked_for_again() {
    let simulated = Simulated::with_topic(2, fast());
    let partitioner = Asked::saying(1);
    let config = config().buffer_memory(3000).batch_size(1000).max_block(FOR_EVER);
    let producer = simulated.broker.producer(config.partitioner(partitioner.clone())).unwrap();
    thread::scope(|scope| {
        let (held, writer) = stall(scope, &simulated.disk, &producer, value_of(3000));
        let (mut future, wakes) = (producer.send_async(ProducerRecord::new("t", "v")), Wakes::new());
        assert!(wakes.poll(&mut future).is_pending());
        assert_eq!(partitioner.count(), 1);
        partitioner.says.store(0, Ordering::SeqCst);
        let sender = scope.spawn(|| producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap().partition);
        while partitioner.count() < 2 {
            thread::yield_now();
        }
        drop(held);
        writer.join().unwrap().unwrap();
        assert_eq!(ready(wakes.poll(&mut future)).unwrap().wait().unwrap().partition, tp(1));
        assert_eq!(sender.join().unwrap(), tp(0));
    });
    assert_eq!(partitioner.count(), 2);
    assert_memory_is_back(&producer);
}

/// What it said before the topic had grown is what counts.
#[test]
fn a_record_that_waits_for_its_partition_is_not_asked_for_again() {
    let simulated = Simulated::with_topic(1, fast());
    let partitioner = Asked::saying(1);
    let producer = simulated.broker.producer(config().max_block(FOR_EVER).partitioner(partitioner.clone())).unwrap();
    let (mut future, wakes) = (producer.send_async(ProducerRecord::new("t", "v")), Wakes::new());
    assert!(wakes.poll(&mut future).is_pending());
    thread::scope(|scope| {
        let sender = scope.spawn(|| producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap().partition);
        while partitioner.count() < 2 {
            thread::yield_now();
        }
        partitioner.says.store(0, Ordering::SeqCst);
        simulated.broker.create_partitions("t", 2).unwrap();
        assert_eq!(ready(wakes.poll(&mut future)).unwrap().wait().unwrap().partition, tp(1));
        assert_eq!(sender.join().unwrap(), tp(1));
    });
    assert_eq!(partitioner.count(), 2);
    // Of a topic that is not there it has nothing to say yet.
    let mut future = producer.send_async(ProducerRecord::new("new", "v"));
    assert!(wakes.poll(&mut future).is_pending());
    assert_eq!(partitioner.count(), 2);
    simulated.broker.create_topic("new", 5, fast()).unwrap();
    ready(wakes.poll(&mut future)).unwrap().detach();
    assert_eq!(partitioner.asked.lock().unwrap()[2..], [("new".to_owned(), 5)]);
}

#[test]
fn a_negative_answer_is_an_error_of_send_and_harms_no_other() {
    let store = Store::new();
    let broker = store.open_with_topic(2, fast());
    let partitioner = Asked::saying(1);
    let producer = broker.producer(config().partitioner(partitioner.clone())).unwrap();
    let before = producer.send(ProducerRecord::new("t", "v")).unwrap();
    for answer in [-1, i32::MIN] {
        partitioner.says.store(answer, Ordering::SeqCst);
        let record = || ProducerRecord::new("t", "v");
        let errors = [
            producer.send(record()).unwrap_err(),
            producer.try_send(record()).unwrap_err().error,
            block_on(producer.send_async(record())).unwrap_err(),
            producer.send_all([record()]).unwrap().wait().unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error.kind(), ErrorKind::IllegalArgument { .. }), "{error}");
            assert!(error.to_string().contains(&answer.to_string()), "{error}");
        }
    }
    partitioner.says.store(2, Ordering::SeqCst);
    let error = producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "there may be such a partition later: {error}");
    partitioner.says.store(1, Ordering::SeqCst);
    assert_eq!(producer.send(ProducerRecord::new("t", "v")).unwrap().wait().unwrap().offset, 1);
    assert_eq!(before.wait().unwrap().offset, 0);
    assert_memory_is_back(&producer);
}

#[test]
fn round_robin_takes_turns() {
    for config in [
        config().partitioner(RoundRobinPartitioner::new()),
        ProducerConfig::from_properties([("partitioner.class", "RoundRobinPartitioner"), ("linger.ms", "1000")])
            .unwrap(),
    ] {
        let store = Store::new();
        let broker = store.open_with_topic(3, fast());
        let producer = broker.producer(config).unwrap();
        let sent = (0..9).map(|_| producer.send(ProducerRecord::new("t", "v").key("same")).unwrap().wait().unwrap());
        let partitions: Vec<_> = sent.map(|sent| sent.partition.partition()).collect();
        assert_eq!(partitions, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }
}

/// Partitions of so many records, sent one after the other.
fn partitions_of(producer: &Producer, count: usize, key: Option<&str>) -> Vec<i32> {
    let value = [7; 100];
    let send = |_| {
        let record = ProducerRecord::new("t", &value);
        let record = key.map_or(record.clone(), |key| record.key(key));
        producer.send(record).unwrap()
    };
    let acks: Vec<_> = (0..count).map(send).collect();
    producer.flush().unwrap();
    acks.into_iter().map(|ack| ack.wait().unwrap().partition.partition()).collect()
}

#[test]
fn keys_decide_unless_they_are_ignored() {
    let store = Store::new();
    let broker = store.open_with_topic(10, fast());
    let keyed = broker.producer(config().batch_size(1000)).unwrap();
    assert_eq!(partitions_of(&keyed, 200, Some("user-1")), [8; 200], "murmur2 modulo 10");
    let ignoring = broker.producer(config().batch_size(1000).partitioner_ignore_keys(true)).unwrap();
    let mut partitions = partitions_of(&ignoring, 2000, Some("user-1"));
    partitions.sort_unstable();
    partitions.dedup();
    assert_eq!(partitions.len(), 10, "each of them in 200 batches");
}

/// Also with adaptive partitioning, which makes no difference where all are as fast.
#[test]
fn records_without_a_key_stay_until_a_batch_is_full_and_use_all_partitions() {
    for adaptive in [true, false] {
        let simulated = Simulated::with_topic(5, fast());
        let producer = simulated.broker.producer(config().batch_size(1000).partitioner_adaptive(adaptive)).unwrap();
        let partitions = partitions_of(&producer, 4000, None);
        let runs: Vec<_> = partitions.chunk_by(|left, right| left == right).map(<[i32]>::len).collect();
        assert!(runs[..runs.len() - 1].iter().all(|len| *len >= 8), "{adaptive}: {runs:?}");
        for number in 0..5 {
            let count = partitions.iter().filter(|partition| **partition == number).count();
            assert!((400..1400).contains(&count), "{adaptive}: partition {number} got {count} of 4000");
        }
        let stats = producer.stats();
        assert!(stats.records_per_request_avg > 7.5, "batches are full: {stats}");
    }
}

/// A partition whose writes hang has a long line: it gets less.
#[test]
fn adaptive_partitioning_avoids_a_partition_that_is_behind() {
    let counted = |adaptive| {
        let simulated = Simulated::with_topic(2, fast());
        let config =
            config().batch_size(1000).partitioner_adaptive(adaptive).buffer_memory(10 << 20).enable_idempotence(false);
        let producer = simulated.broker.producer(config).unwrap();
        let mut behind = 0;
        thread::scope(|scope| {
            let (held, writer) = stall(scope, &simulated.disk, &producer, b"stuck".to_vec());
            for _ in 0..200 {
                producer.send(ProducerRecord::new("t", &value_of(900)).partition(0)).unwrap().detach();
            }
            // The other partition's writes hang, too: its records are sent by a thread of their own, which is the first
            // to hang there, and from then on it is behind as well, by far less.
            let other =
                scope.spawn(|| producer.send(ProducerRecord::new("t", &value_of(1000)).partition(1)).unwrap().wait());
            held.wait_for(2);
            let acks: Vec<_> = (0..1000).map(|_| producer.send(ProducerRecord::new("t", &[7; 100])).unwrap()).collect();
            drop(held);
            writer.join().unwrap().unwrap();
            other.join().unwrap().unwrap();
            producer.flush_by_hand(&simulated);
            behind = acks.into_iter().filter(|ack| ack.try_wait().unwrap().unwrap().partition == tp(0)).count();
        });
        behind
    };
    let (adaptive, even) = (counted(true), counted(false));
    assert!(adaptive < even, "{adaptive} of 1000 records with it, {even} without");
    assert!((250..750).contains(&even), "{even}");
}

trait FlushByHand {
    fn flush_by_hand(&self, simulated: &Simulated);
}

impl FlushByHand for Producer {
    /// Long lines are left to the timer, which is run by hand.
    fn flush_by_hand(&self, simulated: &Simulated) {
        thread::scope(|scope| {
            let flushed = scope.spawn(|| self.flush());
            while !flushed.is_finished() {
                simulated.pass(Duration::from_millis(1));
                thread::yield_now();
            }
            flushed.join().unwrap().unwrap();
        });
    }
}

/// Those that the record or its key names stay where they are when others come.
#[test]
fn more_partitions_are_used_at_once() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let producer = broker.producer(config().batch_size(1000)).unwrap();
    assert_eq!(partitions_of(&producer, 50, None), [0; 50]);
    broker.create_partitions("t", 4).unwrap();
    let mut partitions = partitions_of(&producer, 2000, None);
    partitions.sort_unstable();
    partitions.dedup();
    assert_eq!(partitions, [0, 1, 2, 3]);
    assert_eq!(ends(&broker, 4).iter().sum::<i64>(), 2050);
}

//! Reading costs no memory: fetching, decoding and iterating plain batches allocates nothing, and compressed batches are
//! inflated into memory that comes back.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use thalweg::serializer::{LongSerializer, StringSerializer};
use thalweg::{
    Broker, Compression, Durability, FetchOptions, Partition, ProducerConfig, ProducerRecord, TopicConfig,
    TopicPartition, typed,
};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<Allocated> = const { Cell::new(Allocated { times: 0, bytes: 0 }) };
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Allocated {
    times: usize,
    bytes: usize,
}

fn count(bytes: usize) {
    // A thread that ends has no counter any more.
    let _ = ALLOCATED.try_with(|allocated| {
        let Allocated { times, bytes: before } = allocated.get();
        allocated.set(Allocated { times: times + 1, bytes: before + bytes });
    });
}

#[expect(unsafe_code, reason = "an allocator is unsafe to write")]
// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` allocates on this thread.
fn allocated_by(work: impl FnOnce()) -> Allocated {
    let before = ALLOCATED.get();
    work();
    let after = ALLOCATED.get();
    Allocated { times: after.times - before.times, bytes: after.bytes - before.bytes }
}

const NOTHING: Allocated = Allocated { times: 0, bytes: 0 };

/// What a scan has seen.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    records: usize,
    bytes: usize,
    headers: usize,
    fetches: usize,
}

/// Reads a partition from its beginning to its end.
fn scan(partition: &Partition, max_bytes: usize) -> Seen {
    let options = FetchOptions::new().max_bytes(max_bytes);
    let (end, mut offset) = (partition.high_watermark().unwrap(), partition.log_start().unwrap());
    let mut seen = Seen::default();
    while offset < end {
        let records = partition.fetch(offset, &options).unwrap().decode(true).unwrap();
        seen.fetches += 1;
        assert_eq!(records.iter().len(), records.len());
        for record in &records {
            seen.records += 1;
            seen.bytes += record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
            for header in record.headers() {
                assert_eq!(header.key(), "name");
                seen.headers += usize::from(header.value() == Some(b"value"));
            }
        }
        offset = records.next_offset();
    }
    seen
}

/// As [`scan`], batch by batch.
fn scan_batches(partition: &Partition, max_bytes: usize) -> Seen {
    let options = FetchOptions::new().max_bytes(max_bytes);
    let (end, mut offset) = (partition.high_watermark().unwrap(), partition.log_start().unwrap());
    let mut seen = Seen::default();
    while offset < end {
        let fetched = partition.fetch(offset, &options).unwrap();
        seen.fetches += 1;
        let mut batches = fetched.batches(true);
        while let Some(records) = batches.next_batch().unwrap() {
            for record in records {
                seen.records += 1;
                seen.bytes += record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
                seen.headers += record.headers().filter(|header| header.value() == Some(b"value")).count();
            }
        }
        offset = batches.next_offset();
    }
    seen
}

struct Topic {
    _dir: tempfile::TempDir,
    _broker: Broker,
    partition: std::sync::Arc<Partition>,
}

const RECORDS: usize = 50_000;
const VALUE: [u8; 100] =
    *b"All of it is read where it lies. All of it is read where it lies. All of it is read where it lies...";

/// A topic of many segments.
fn topic(compression: Compression) -> Topic {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    let config = TopicConfig::new().durability(Durability::Os).internal_segment_bytes(1 << 20);
    broker.create_topic("t", 1, config).unwrap();
    let producer = broker.producer(ProducerConfig::new().compression_type(compression)).unwrap();
    for number in 0..RECORDS {
        let record = ProducerRecord::new("t", &VALUE);
        let record = if number % 2 == 0 { record.key(b"key").header("name", Some(b"value")) } else { record };
        producer.send(record).unwrap().detach();
    }
    producer.close().unwrap();
    let partition = broker.partition(&TopicPartition::new("t", 0)).unwrap();
    Topic { _dir: dir, _broker: broker, partition }
}

#[test]
fn an_allocation_is_counted() {
    assert_eq!(allocated_by(|| drop(black_box(vec![1_u8; 100]))), Allocated { times: 1, bytes: 100 });
    assert_eq!(allocated_by(|| drop(black_box(vec![0_u8; 100]))), Allocated { times: 1, bytes: 100 });
    let mut grown = vec![1_u8; 100];
    assert_eq!(allocated_by(|| grown.reserve_exact(black_box(200))).times, 1);
    assert_eq!(allocated_by(|| assert!(black_box(true))), NOTHING);
}

#[test]
fn plain_batches_are_read_without_an_allocation() {
    let topic = topic(Compression::None);
    let expected = scan(&topic.partition, 32 << 10); // opens the segments
    assert_eq!((expected.records, expected.headers), (RECORDS, RECORDS / 2));
    assert_eq!(expected.bytes, RECORDS * VALUE.len() + RECORDS / 2 * 3);
    let mut fetches = 0;
    for max_bytes in [0, 32 << 10, 600 << 10, 1 << 20] {
        let allocated = allocated_by(|| {
            for _ in 0..6 {
                let seen = scan(&topic.partition, max_bytes);
                fetches += seen.fetches;
                assert_eq!(Seen { fetches: expected.fetches, ..seen }, expected);
            }
        });
        assert_eq!(allocated, NOTHING, "in fetches of {max_bytes} bytes");
        let allocated = allocated_by(|| assert_eq!(scan_batches(&topic.partition, max_bytes).records, RECORDS));
        assert_eq!(allocated, NOTHING, "batch by batch, in fetches of {max_bytes} bytes");
    }
    assert!(fetches > 3000, "{fetches}");
}

#[test]
fn a_fetch_goes_over_the_end_of_a_segment() {
    let topic = topic(Compression::None);
    let options = FetchOptions::new().max_bytes(600 << 10);
    let (mut offset, mut over) = (0, 0);
    while offset < topic.partition.high_watermark().unwrap() {
        let fetched = topic.partition.fetch(offset, &options).unwrap();
        over += usize::from(fetched.slices().count() == 2);
        offset = fetched.next_offset();
    }
    assert!(over > 2, "what the test above asserts is about more than one segment");
}

#[test]
fn sharing_a_value_is_what_allocates() {
    let topic = topic(Compression::None);
    let records = topic.partition.fetch(0, &FetchOptions::new()).unwrap().decode(true).unwrap();
    let value = records.iter().next().unwrap().value().unwrap();
    assert_ne!(allocated_by(|| drop(records.share(value).unwrap())), NOTHING);
}

/// The codecs of this build.
fn codecs() -> impl Iterator<Item = Compression> {
    let codecs = [
        (Compression::Gzip, cfg!(feature = "gzip")),
        (Compression::Snappy, cfg!(feature = "snappy")),
        (Compression::Lz4, cfg!(feature = "lz4")),
        (Compression::Zstd, cfg!(feature = "zstd")),
    ];
    codecs.into_iter().filter(|(_, built_in)| *built_in).map(|(codec, _)| codec)
}

#[test]
fn compressed_batches_are_inflated_into_memory_that_comes_back() {
    for compression in codecs() {
        let topic = topic(compression);
        let mut seen = Seen::default();
        for max_bytes in [8 << 10, 1 << 20] {
            scan(&topic.partition, max_bytes);
            let allocated = allocated_by(|| seen = scan(&topic.partition, max_bytes));
            assert_eq!((seen.records, seen.headers), (RECORDS, RECORDS / 2));
            // One for each decode, which counts who shows the buffer.
            assert!(allocated.times <= 2 * seen.fetches, "{compression}: {allocated:?} in {} fetches", seen.fetches);
            assert!(allocated.times < RECORDS / 100, "{compression}: {allocated:?}");
            assert!(allocated.bytes < seen.bytes / 100, "{compression}: {allocated:?}, inflated {}", seen.bytes);
            let mut in_batches = Seen::default();
            let allocated = allocated_by(|| in_batches = scan_batches(&topic.partition, max_bytes));
            assert_eq!(Seen { fetches: seen.fetches, ..in_batches }, seen);
            assert!(
                allocated.times <= seen.fetches && allocated.bytes < seen.bytes / 100,
                "{compression}: {allocated:?}"
            );
        }
    }
}

/// Bytes that one decode inflates, unless its first batch alone takes more.
const INFLATED_PER_DECODE: usize = 4 << 20;

/// A topic of `count` batches, each of them one value of `size` zeros.
fn bombs(compression: Compression, count: usize, size: usize) -> Topic {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    let config = TopicConfig::new().durability(Durability::Os).max_message_bytes(16 << 20);
    broker.create_topic("t", 1, config).unwrap();
    let config = ProducerConfig::new().compression_type(compression).batch_size(1).max_request_size(16 << 20);
    let producer = broker.producer(config).unwrap();
    let value = vec![0; size];
    for _ in 0..count {
        producer.send(ProducerRecord::new("t", &value)).unwrap().detach();
    }
    producer.close().unwrap();
    let partition = broker.partition(&TopicPartition::new("t", 0)).unwrap();
    assert_eq!(partition.high_watermark().unwrap(), count as i64);
    Topic { _dir: dir, _broker: broker, partition }
}

#[test]
fn thousands_of_small_bombs_in_one_fetch_meet_a_limit() {
    const SIZE: usize = 32 << 10;
    for compression in codecs() {
        let topic = bombs(compression, 2000, SIZE);
        let fetched = topic.partition.fetch(0, &FetchOptions::new().max_partition_bytes(8 << 20)).unwrap();
        assert_eq!(fetched.next_offset(), 2000, "{compression}: one fetch has them all");
        let mut decoded = None;
        let allocated = allocated_by(|| decoded = Some(fetched.decode(true).unwrap()));
        let records = decoded.unwrap();
        let most = INFLATED_PER_DECODE / SIZE;
        assert!((most - 2..most).contains(&records.len()), "{compression}: {}", records.len());
        assert!(allocated.bytes < 4 * INFLATED_PER_DECODE, "{compression}: {allocated:?}"); // growing included
        assert_eq!(records.next_offset(), records.len() as i64);

        let rest = topic.partition.fetch(records.next_offset(), &FetchOptions::new()).unwrap().decode(true).unwrap();
        assert_eq!(rest.iter().next().unwrap().offset(), records.next_offset(), "{compression}: it goes on there");
        assert!(rest.iter().all(|record| record.value().is_some_and(|value| value.len() == SIZE)));
    }
}

#[test]
fn the_first_batch_is_decoded_whatever_it_takes() {
    for compression in codecs() {
        let topic = bombs(compression, 3, INFLATED_PER_DECODE + 1);
        for offset in 0..3 {
            let fetched = topic.partition.fetch(offset, &FetchOptions::new().max_bytes(1 << 20)).unwrap();
            let records = fetched.decode(true).unwrap();
            assert_eq!((records.len(), records.next_offset()), (1, offset + 1), "{compression}");
        }
    }
}

/// A producer of types costs no more than one of bytes: keys and values are written into memory that is used again.
#[test]
fn serializing_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
    let config = || ProducerConfig::new().batch_size(1 << 20).linger(Duration::from_hours(1));
    let raw = broker.producer(config()).unwrap();
    let typed = typed::Producer::<str, i64>::new(broker.producer(config()).unwrap(), StringSerializer, LongSerializer);
    let send_raw = || {
        for value in 0..1000_i64 {
            let value = value.to_be_bytes();
            raw.send(ProducerRecord::new("t", &value).key("key").timestamp(1_700_000_000_000)).unwrap().detach();
        }
    };
    let send_typed = || {
        for value in 0..1000 {
            let record = typed::Record::new("t", &value).key("key").timestamp(1_700_000_000_000);
            typed.send(record).unwrap().detach();
        }
    };
    // The first round makes the memory.
    for _ in 0..2 {
        send_raw();
        send_typed();
        raw.flush().unwrap();
        typed.flush().unwrap();
    }
    let (in_bytes, in_types) = (allocated_by(send_raw), allocated_by(send_typed));
    assert_eq!(in_types, in_bytes);
    assert!(in_types.times < 100, "{in_types:?} for a thousand records");
}

/// Records sent and waited for in the tests below.
const SENT: usize = 100_000;

/// A producer's allocations are those of its batches: so many for each, once its memory is there.
const PER_BATCH: usize = 4;

/// A broker with topic `t` in mode `os`.
fn broker() -> (tempfile::TempDir, Broker) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
    (dir, broker)
}

#[test]
fn sending_allocates_for_batches_and_not_for_records() {
    for batch_size in [16 << 10, 1 << 20] {
        let (_dir, broker) = broker();
        // No lingering: the thread of the timer would write some of the batches.
        let config = ProducerConfig::new().batch_size(batch_size).linger(Duration::from_hours(1));
        let producer = broker.producer(config).unwrap();
        let send =
            || (0..SENT).for_each(|_| producer.send(ProducerRecord::new("t", &VALUE).key("key")).unwrap().detach());
        send();
        producer.flush().unwrap();
        let before = producer.stats();
        let allocated = allocated_by(send);
        let stats = producer.stats();
        let batches = SENT * (VALUE.len() + 3) / batch_size + 2;
        assert!(stats.record_send_total - before.record_send_total > SENT as u64 * 8 / 10);
        assert!(
            allocated.times <= PER_BATCH * batches * 11 / 10,
            "{allocated:?} for about {batches} batches of {SENT} records"
        );
        assert!(allocated.bytes <= 1000 * batches * 11 / 10, "{allocated:?}: memory of batches is used again");
    }
}

/// One after the other: each record is a batch, and nothing is allocated beside that.
#[test]
fn sending_and_waiting_allocates_so_much_for_a_batch() {
    let (_dir, broker) = broker();
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    let send = |count: usize| {
        for _ in 0..count {
            producer.send(ProducerRecord::new("t", &VALUE)).unwrap().wait().unwrap();
        }
    };
    send(1000);
    let few = allocated_by(|| send(1000));
    let many = allocated_by(|| send(10_000));
    assert!(few.times <= 1000 * (PER_BATCH + 2), "{few:?} for 1000");
    assert!(many.times <= 10_000 * (PER_BATCH + 2), "{many:?} for 10000");
    assert!(many.bytes <= 10_000 * 1000, "{many:?}");

    // Of a thousand records in one batch, each is waited for.
    let patient = broker.producer(ProducerConfig::new().batch_size(1 << 20).linger(Duration::from_hours(1))).unwrap();
    let mut acks = Vec::with_capacity(1000);
    let round = |acks: &mut Vec<thalweg::Ack>| {
        acks.extend((0..1000).map(|_| patient.send(ProducerRecord::new("t", &VALUE)).unwrap()));
        acks.drain(..).for_each(|ack| drop(ack.wait().unwrap()));
    };
    round(&mut acks);
    let allocated = allocated_by(|| round(&mut acks));
    // What an acknowledgement tells names its partition, which is shared.
    assert!(allocated.times <= 20, "{allocated:?} for 1000 records of one batch");
}

/// What a large record has taken is not kept by the small batches that come after it: with many partitions that would be
/// far more than `buffer.memory`.
#[test]
fn memory_of_large_records_is_not_hoarded_by_small_batches() {
    const PARTITIONS: i32 = 64;
    const LARGE: usize = 900 << 10;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    broker.create_topic("t", PARTITIONS, TopicConfig::new().durability(Durability::Os)).unwrap();
    let limit = 4 << 20;
    let config = ProducerConfig::new().buffer_memory(limit).linger(Duration::from_hours(1));
    let producer = broker.producer(config).unwrap();
    let large = vec![7; LARGE];
    let allocated = allocated_by(|| {
        for partition in 0..PARTITIONS {
            producer.send(ProducerRecord::new("t", &large).partition(partition)).unwrap().detach();
            producer.send(ProducerRecord::new("t", "lingers").partition(partition)).unwrap().detach();
        }
    });
    assert_eq!(producer.stats().record_send_total, PARTITIONS as u64, "the small ones linger, all of them");
    assert!(allocated.bytes as u64 <= 2 * limit, "{allocated:?}, where buffer.memory is {limit}");
}

//! A fetch that finds enough makes no system call, allocates nothing and asks for no time.
//!
//! A child process opens a log, reads in it to have everything ready, and then has the kernel kill the reading thread at
//! its next system call but `write` and `exit` (seccomp's strict mode, which on x86-64 forbids the processor's clock,
//! too). What the thread still says after its fetches is the proof. Controls do what they must not and are killed.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]
#![expect(clippy::print_stdout, reason = "a test that cannot run here says so")]
#![expect(unsafe_code, reason = "system calls that no crate wraps, and an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::hint::black_box;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use thalweg::{Broker, Durability, FetchOptions, Fetched, Offset, Partition, ProducerConfig, ProducerRecord};
use thalweg::{TopicConfig, TopicPartition};

const FETCHES: usize = 100_000;
const SEGMENT_BYTES: u64 = 64 << 10;
const CASE: &str = "THALWEG_TEST_CASE";
const DIRECTORY: &str = "THALWEG_TEST_DIRECTORY";

#[test]
fn a_satisfied_fetch_makes_no_system_call() {
    assert_silent("fetch");
}

#[test]
fn a_satisfied_future_makes_no_system_call() {
    assert_silent("future");
}

#[test]
fn looking_at_records_makes_no_system_call() {
    assert_silent("decode");
}

#[test]
fn whoever_makes_a_system_call_is_found() {
    for case in ["control: gettid", "control: segment", "control: wait"] {
        let Some(said) = said(case) else { return };
        assert!(!said.contains("silent"), "{case}: {said}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn whoever_asks_for_the_time_is_found() {
    let Some(said) = said("control: clock") else { return };
    assert!(!said.contains("silent"), "{said}");
}

#[test]
fn whoever_allocates_is_found() {
    let Some(said) = said("control: allocation") else { return };
    assert!(!said.contains("silent, 0 allocations"), "{said}");
}

fn assert_silent(case: &str) {
    let Some(said) = said(case) else { return };
    assert!(said.contains("silent, 0 allocations"), "{case}: {said}");
}

/// What a child process says about `case`; `None` where the kernel does not watch.
fn said(case: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .env(DIRECTORY, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.contains("refused") {
        println!("skipped: the kernel does not watch system calls here");
        return None;
    }
    assert!(said.contains("watched"), "{case}: the child came to nothing: {output:?}");
    Some(said)
}

/// The child process. Does nothing in a run of the tests.
#[test]
fn child() {
    let (Ok(case), Some(dir)) = (std::env::var(CASE), std::env::var_os(DIRECTORY)) else { return };
    let (_broker, partition) = open(Path::new(&dir));
    let tid = &AtomicI32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            tid.store(gettid(), Ordering::Release);
            watched(&case, &partition);
        });
        while tid.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        let thread = format!("/proc/self/task/{}", tid.load(Ordering::Acquire));
        while Path::new(&thread).exists() {
            thread::yield_now();
        }
        // SAFETY: ends the process. Whoever was killed may hold locks, so nothing is closed and nobody is joined.
        unsafe { libc::_exit(0) }
    });
}

/// Six segments, opened again.
fn open(dir: &Path) -> (Broker, Arc<Partition>) {
    let name = TopicPartition::new("t", 0);
    let broker = Broker::open(dir).unwrap();
    let config = TopicConfig::new().durability(Durability::Os).internal_segment_bytes(SEGMENT_BYTES);
    broker.create_topic("t", 1, config).unwrap();
    let producer = broker.producer(ProducerConfig::new().batch_size(1000)).unwrap();
    for number in 0..3000_u32 {
        let value = [number as u8; 100];
        producer.send(ProducerRecord::new("t", &value)).unwrap().detach();
    }
    producer.close().unwrap();
    assert!(5 * SEGMENT_BYTES < broker.partition(&name).unwrap().size().unwrap());
    broker.close().unwrap();
    let broker = Broker::open(dir).unwrap();
    let partition = broker.partition(&name).unwrap();
    (broker, partition)
}

/// Runs a case on this thread, which does not come back from it.
fn watched(case: &str, partition: &Arc<Partition>) {
    // At most two segments in an answer.
    let options = FetchOptions::new().min_bytes(200).max_bytes(20_000).max_wait(Duration::from_secs(3600));
    let end = partition.high_watermark().unwrap();
    let last = end - 50;
    let offset = |number: usize| (number as Offset * 977) % last;
    let fetch = |number| partition.fetch(offset(number), &options).unwrap();
    match case {
        "fetch" => silently(|count| (0..count).for_each(|number| assert!(has_records(&fetch(number))))),
        "future" => {
            let make = |number| partition.fetch_async(offset(number), &options);
            let (mut warm, mut futures): (Vec<_>, Vec<_>) =
                ((0..3000).map(make).collect(), (0..FETCHES).map(make).collect());
            silently(|count| {
                let futures = if count == FETCHES { &mut futures } else { &mut warm };
                for future in futures {
                    let polled = Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
                    let Poll::Ready(Ok(fetched)) = polled else { panic!("there is enough") };
                    assert!(has_records(&fetched));
                }
            });
        }
        "decode" => silently(|count| {
            for number in 0..count / 10 {
                let (fetched, offset) = (fetch(number), offset(number));
                let records = fetched.decode(true).unwrap();
                let in_order = (offset..).zip(records.iter());
                in_order.for_each(|(offset, record)| assert!(is_right(offset, &record)));
                assert_eq!(records.next_offset(), fetched.next_offset());
                let mut batches = fetched.batches(true);
                let mut offset = offset;
                while let Some(records) = batches.next_batch().unwrap() {
                    for record in records {
                        assert!(is_right(offset, &record));
                        offset += 1;
                    }
                }
                assert_eq!((offset, batches.next_offset()), (records.next_offset(), fetched.next_offset()));
            }
        }),
        "control: gettid" => silently(|_| _ = black_box(gettid())),
        "control: segment" => {
            drop(partition.fetch(last, &options));
            watch();
            drop(black_box(partition.fetch(0, &options)));
            end_with("silent, 0 allocations\n");
        }
        "control: wait" => {
            let options = options.max_wait(Duration::from_micros(1));
            silently(|_| drop(black_box(partition.fetch(end, &options))));
        }
        #[expect(clippy::disallowed_methods, reason = "what is not to be done")]
        "control: clock" => silently(|_| _ = black_box(std::time::Instant::now())),
        "control: allocation" => silently(|_| drop(black_box(vec![1_u8; 10]))),
        other => panic!("no case {other}"),
    }
}

fn has_records(fetched: &Fetched) -> bool {
    200 <= fetched.len() && fetched.next_offset() > fetched.offset()
}

fn is_right(offset: Offset, record: &thalweg::Record<'_>) -> bool {
    record.offset() == offset && record.value().is_some_and(|value| value.iter().all(|byte| *byte == offset as u8))
}

/// Runs `work`, to open what it needs, and then again while the kernel watches. Says how that went and ends the thread.
fn silently(mut work: impl FnMut(usize)) {
    work(3000);
    let before = ALLOCATIONS.get();
    watch();
    work(FETCHES);
    let is_clean = ALLOCATIONS.get() == before;
    end_with(if is_clean { "silent, 0 allocations\n" } else { "silent, but it allocates\n" });
}

/// From here on a system call ends the thread.
fn watch() {
    // SAFETY: changes what this thread may ask of the kernel, and nothing else.
    let outcome = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
    if outcome != 0 {
        end_with("refused\n");
    }
    say("watched\n");
}

/// Says something with one system call.
fn say(text: &str) {
    // SAFETY: the buffer is as long as is said.
    unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
}

/// Says something and ends the thread with another system call, running nothing else on it.
fn end_with(text: &str) -> ! {
    say(text);
    // SAFETY: the thread is gone after this; what it borrows stays until the process ends.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("a thread has ended")
}

fn gettid() -> i32 {
    // SAFETY: answers a number.
    unsafe { libc::gettid() }
}

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts a thread's allocations: most of them cost no system call.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: hands everything to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

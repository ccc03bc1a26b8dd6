//! Wakers that do what they should not, and those who wait beside them.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use thalweg::{
    Broker, Durability, ErrorKind, FetchFuture, FetchOptions, Fetcher, Partition, ProducerConfig, ProducerRecord,
    TopicConfig, TopicPartition,
};

const PATIENCE: Duration = Duration::from_secs(5);

fn dir() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn open(partitions: i32) -> (tempfile::TempDir, Broker, Vec<Arc<Partition>>) {
    let dir = dir();
    let broker = Broker::open(dir.path()).unwrap();
    broker.create_topic("t", partitions, TopicConfig::new().durability(Durability::Os)).unwrap();
    let partitions = (0..partitions).map(|number| broker.partition(&TopicPartition::new("t", number)).unwrap());
    let partitions = partitions.collect();
    (dir, broker, partitions)
}

fn wait(millis: u64) -> FetchOptions {
    FetchOptions::new().max_wait(Duration::from_millis(millis))
}

/// Runs something at each wake-up.
struct Does<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Does<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn does(run: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Does(run)))
}

fn tells() -> (Waker, Receiver<()>) {
    let (sender, receiver): (Sender<()>, _) = channel();
    let sender = Mutex::new(sender);
    (does(move || _ = sender.lock().unwrap().send(())), receiver)
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn send(broker: &Broker, partition: i32) {
    let producer = broker.producer(ProducerConfig::new().max_block(Duration::ZERO)).unwrap();
    producer.send(ProducerRecord::new("t", "value").partition(partition)).unwrap().wait().unwrap();
}

/// "waits at most for max_wait", also beside a task whose waker panics.
#[test]
fn a_waker_that_panics_takes_no_deadline_from_others() {
    let (_dir, _broker, partitions) = open(1);
    let mut bad = partitions[0].fetch_async(0, &wait(50));
    assert!(poll(&mut bad, &does(|| panic!("a waker that panics"))).is_pending());
    let (waker, woken) = tells();
    let mut good = partitions[0].fetch_async(0, &wait(200));
    assert!(poll(&mut good, &waker).is_pending());
    woken.recv_timeout(PATIENCE).expect("the time of the other is up");
    assert!(matches!(poll(&mut good, &waker), Poll::Ready(Ok(fetched)) if fetched.is_empty()));
}

/// The same on the path of appends: everybody else is woken.
#[test]
fn a_waker_that_panics_takes_no_records_from_others() {
    let (_dir, broker, partitions) = open(1);
    let mut bad = partitions[0].fetch_async(0, &wait(10_000));
    assert!(poll(&mut bad, &does(|| panic!("a waker that panics"))).is_pending());
    let (waker, woken) = tells();
    let mut good = partitions[0].fetch_async(0, &wait(10_000));
    assert!(poll(&mut good, &waker).is_pending());
    send(&broker, 0);
    woken.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(poll(&mut good, &waker), Poll::Ready(Ok(_))));
    assert!(matches!(poll(&mut bad, &waker), Poll::Ready(Ok(_))));
}

/// A waker that panics when it is dropped, at a deadline.
#[test]
fn a_waker_whose_drop_panics_takes_no_deadline_from_others() {
    struct Drops;
    impl Wake for Drops {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Drops {
        fn drop(&mut self) {
            if std::thread::current().name() == Some("thalweg-timer") {
                panic!("a waker that panics when it goes");
            }
        }
    }
    let (_dir, _broker, partitions) = open(1);
    let mut bad = partitions[0].fetch_async(0, &wait(50));
    assert!(poll(&mut bad, &Waker::from(Arc::new(Drops))).is_pending());
    let (waker, woken) = tells();
    let mut good = partitions[0].fetch_async(0, &wait(200));
    assert!(poll(&mut good, &waker).is_pending());
    woken.recv_timeout(PATIENCE).expect("the time of the other is up");
}

/// Everything that an application may want to do is done inside of `wake`, in every place from which it is called.
#[test]
fn a_waker_may_do_anything_anywhere() {
    for act in
        ["append", "fetch", "drop itself", "drop another", "close", "delete", "create", "interrupt", "poll itself"]
    {
        for place in ["append", "deadline", "delete", "delete records", "close", "drop"] {
            once(act, place);
        }
    }
}

type Slot = Arc<Mutex<Option<FetchFuture>>>;

fn once(act: &'static str, place: &'static str) {
    let (done, is_done) = channel();
    let thread = std::thread::spawn(move || {
        let (_dir, broker, partitions) = open(2);
        let fetcher = Fetcher::new(wait(1000));
        let interrupts = fetcher.waker();
        let producer = broker.producer(ProducerConfig::new().max_block(Duration::ZERO)).unwrap();
        let broker = Arc::new(Mutex::new(Some(Arc::new(broker))));
        let (slot, other): (Slot, Slot) = (Arc::default(), Arc::default());
        let (told, is_told) = channel();
        let told = Mutex::new(told);
        let waker = {
            let (broker, slot, other, partition) =
                (Arc::clone(&broker), Arc::clone(&slot), Arc::clone(&other), Arc::clone(&partitions[1]));
            does(move || {
                match act {
                    "append" => {
                        if let Ok(ack) = producer.send(ProducerRecord::new("t", "again").partition(1)) {
                            let _ = ack.wait();
                        }
                    }
                    "fetch" => _ = partition.fetch(0, &wait(20)),
                    "drop itself" => drop(slot.lock().unwrap().take()),
                    "drop another" => drop(other.lock().unwrap().take()),
                    "close" => drop(broker.lock().unwrap().take()),
                    "delete" => {
                        let broker = broker.lock().unwrap().clone();
                        _ = broker.map(|broker| broker.delete_topic("t"));
                    }
                    "create" => {
                        let broker = broker.lock().unwrap().clone();
                        _ = broker.map(|broker| broker.create_topic("t", 1, TopicConfig::new()));
                    }
                    "interrupt" => interrupts.wake(),
                    _ => {
                        let mut mine = slot.lock().unwrap().take();
                        if let Some(mine) = &mut mine {
                            assert!(poll(mine, Waker::noop()).is_ready());
                        }
                    }
                }
                let _ = told.lock().unwrap().send(());
            })
        };
        let mut future = partitions[0].fetch_async(0, &wait(if place == "deadline" { 30 } else { 60_000 }));
        assert!(poll(&mut future, &waker).is_pending());
        *slot.lock().unwrap() = Some(future);
        let mut second = partitions[0].fetch_async(0, &wait(60_000));
        assert!(poll(&mut second, Waker::noop()).is_pending());
        *other.lock().unwrap() = Some(second);
        drop(waker);
        let handle = broker.lock().unwrap().clone();
        match place {
            "append" => {
                let handle = handle.unwrap();
                let another = handle.producer(ProducerConfig::new().max_block(Duration::ZERO)).unwrap();
                let ack = another.send(ProducerRecord::new("t", "value").partition(0)).unwrap();
                drop(handle); // the waker may have the last one
                _ = ack.wait(); // the topic may be gone by now
            }
            "deadline" => drop(handle),
            "delete" => handle.unwrap().delete_topic("t").unwrap(),
            "delete records" => {
                let handle = handle.unwrap();
                let another = handle.producer(ProducerConfig::new().max_block(Duration::ZERO)).unwrap();
                _ = another.send(ProducerRecord::new("t", "value").partition(0)).unwrap().wait();
                drop(handle);
                _ = partitions[0].delete_records(1);
            }
            _ => {
                drop(handle);
                let taken = broker.lock().unwrap().take();
                if let Some(broker) = taken {
                    match Arc::try_unwrap(broker) {
                        Ok(broker) if place == "close" => _ = broker.close(),
                        other => drop(other),
                    }
                }
            }
        }
        is_told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{act} in {place}: not woken"));
        done.send(()).unwrap();
        drop((slot, other, fetcher));
    });
    if is_done.recv_timeout(2 * PATIENCE).is_err() {
        assert!(thread.is_finished(), "{act} in {place} hangs");
        thread.join().unwrap();
    }
}

/// Polled after it was ready: no panic, no hang, and nothing left behind.
#[test]
fn futures_that_are_polled_too_often() {
    let (_dir, broker, partitions) = open(1);
    let mut future = partitions[0].fetch_async(0, &wait(20));
    let (waker, woken) = tells();
    assert!(poll(&mut future, &waker).is_pending());
    woken.recv_timeout(PATIENCE).unwrap();
    for _ in 0..10 {
        assert!(poll(&mut future, &waker).is_ready());
    }
    send(&broker, 0);
    assert!(matches!(poll(&mut future, &waker), Poll::Ready(Ok(fetched)) if !fetched.is_empty()));
    broker.close().unwrap();
    let mut future = partitions[0].fetch_async(1, &wait(20));
    for _ in 0..3 {
        assert!(
            matches!(poll(&mut future, &waker), Poll::Ready(Err(error)) if matches!(error.kind(), ErrorKind::Closed))
        );
    }
}

/// A fetcher whose futures are leaked goes on.
#[test]
fn leaked_futures_harm_nobody() {
    let (_dir, broker, partitions) = open(2);
    let mut fetcher = Fetcher::new(wait(60_000).min_bytes(150));
    for partition in &partitions {
        fetcher.add(Arc::clone(partition), 0).unwrap();
    }
    for _ in 0..1000 {
        let mut future = fetcher.fetch_async();
        assert!(poll(&mut future, Waker::noop()).is_pending());
        std::mem::forget(future);
    }
    let (waker, woken) = tells();
    let mut future = fetcher.fetch_async();
    assert!(poll(&mut future, &waker).is_pending());
    send(&broker, 0);
    // Half of it is there. It may be woken, and waits again.
    while woken.recv_timeout(Duration::from_millis(50)).is_ok() {
        assert!(poll(&mut future, &waker).is_pending());
    }
    send(&broker, 1);
    send(&broker, 1);
    woken.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(poll(&mut future, &waker), Poll::Ready(answers) if answers.len() == 2));
    std::mem::forget(partitions[0].fetch_async(1, &wait(50)));
}

fn rss_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Waits that end, by the hundred thousand, leave nothing behind.
#[test]
fn memory_does_not_grow_with_waits() {
    let (_dir, broker, partitions) = open(2);
    let mut fetcher = Fetcher::new(wait(3_600_000));
    for partition in &partitions {
        fetcher.add(Arc::clone(partition), 0).unwrap();
    }
    let mut before = 0;
    for round in 0..300_000 {
        let mut future = partitions[0].fetch_async(0, &wait(3_600_000));
        assert!(poll(&mut future, Waker::noop()).is_pending());
        drop(future);
        let mut future = fetcher.fetch_async();
        assert!(poll(&mut future, Waker::noop()).is_pending());
        drop(future);
        if round == 20_000 {
            before = rss_kib();
        }
    }
    let after = rss_kib();
    assert!(after < before + 2048, "{before} KiB, then {after} KiB");
    broker.close().unwrap();
}

/// Fetches of two brokers in one fetcher; the one that keeps the time goes first.
#[test]
fn two_brokers_in_one_fetcher() {
    for closes in [0, 1] {
        let ((_a, one, ones), (_b, two, twos)) = (open(1), open(1));
        let mut fetcher = Fetcher::new(wait(300));
        fetcher.add(Arc::clone(&ones[0]), 0).unwrap();
        // The same name: the other broker's is "there already".
        assert!(fetcher.add(Arc::clone(&twos[0]), 0).is_err());
        two.create_topic("u", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
        fetcher.add(two.partition(&TopicPartition::new("u", 0)).unwrap(), 0).unwrap();
        let (waker, woken) = tells();
        let mut future = fetcher.fetch_async();
        assert!(poll(&mut future, &waker).is_pending());
        let (closed, _other) = if closes == 0 { (one, two) } else { (two, one) };
        closed.close().unwrap();
        woken.recv_timeout(PATIENCE).unwrap();
        let Poll::Ready(answers) = poll(&mut future, &waker) else { panic!("a partition went") };
        assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
        drop(future);
    }
}

/// Waits that are very long, but not beyond the range of the clock, neither end nor spin.
#[test]
fn very_long_waits_wait() {
    for wait in [
        Duration::from_secs(i64::MAX as u64 / 2),
        Duration::from_secs(1 << 40),
        Duration::from_secs(u32::MAX.into()),
        Duration::from_millis(i64::MAX as u64),
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ] {
        let (_dir, broker, partitions) = open(1);
        let options = FetchOptions::new().max_wait(wait);
        let partition = Arc::clone(&partitions[0]);
        let (done, is_done) = channel();
        let thread = std::thread::spawn(move || {
            let begin = cpu_ticks();
            let len = partition.fetch(0, &options).unwrap().len();
            done.send(()).unwrap();
            (len, cpu_ticks() - begin)
        });
        assert!(is_done.recv_timeout(Duration::from_millis(300)).is_err(), "{wait:?} is over at once");
        send(&broker, 0);
        let (len, ticks) = thread.join().unwrap();
        assert!(0 < len && ticks < 10, "{wait:?} took {ticks} hundredths of a second");
        // And as a future, whose time another thread keeps.
        let (waker, woken) = tells();
        let mut future = partitions[0].fetch_async(1, &FetchOptions::new().max_wait(wait));
        assert!(poll(&mut future, &waker).is_pending());
        assert!(woken.recv_timeout(Duration::from_millis(100)).is_err(), "{wait:?} is over at once");
        let mut short = partitions[0].fetch_async(1, &self::wait(50));
        assert!(poll(&mut short, &waker).is_pending());
        woken.recv_timeout(PATIENCE).expect("a shorter one ends in its time");
        assert!(poll(&mut short, &waker).is_ready());
    }
}

fn cpu_ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<_> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// "No lock is held": the copy of a waker is the application's code as well.
#[test]
#[expect(unsafe_code, reason = "a waker whose copying does something")]
fn a_waker_that_comes_back_when_it_is_copied() {
    use std::task::{RawWaker, RawWakerVTable};
    static INTERRUPTS: Mutex<Option<thalweg::FetchWaker>> = Mutex::new(None);
    fn copy(data: *const ()) -> RawWaker {
        let interrupts = INTERRUPTS.lock().unwrap().clone();
        if let Some(interrupts) = interrupts {
            interrupts.wake();
        }
        RawWaker::new(data, &TABLE)
    }
    static TABLE: RawWakerVTable = RawWakerVTable::new(copy, |_| {}, |_| {}, |_| {});
    let (done, is_done) = channel();
    std::thread::spawn(move || {
        let (_dir, _broker, partitions) = open(1);
        let mut fetcher = Fetcher::new(wait(60_000));
        fetcher.add(Arc::clone(&partitions[0]), 0).unwrap();
        // SAFETY: the table does nothing with its data.
        let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) };
        *INTERRUPTS.lock().unwrap() = Some(fetcher.waker());
        let mut future = fetcher.fetch_async();
        _ = poll(&mut future, &waker);
        done.send(()).unwrap();
    });
    is_done.recv_timeout(PATIENCE).expect("it hangs");
}

/// What a reader holds can go to other threads, and futures can be spawned.
#[test]
fn what_can_be_sent() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    shared::<thalweg::Fetched>();
    shared::<thalweg::Records>();
    sent::<FetchFuture>();
    sent::<thalweg::FetcherFuture<'static>>();
    sent::<Fetcher>();
    shared::<thalweg::FetchWaker>();
    sent::<thalweg::RecordBatches<'static>>();
}

/// Futures that go while they are woken, on four threads.
#[test]
fn futures_that_go_while_they_are_woken() {
    let (_dir, broker, partitions) = open(2);
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (partitions, ended) = (&partitions, &ended);
            scope.spawn(move || {
                let mut fetcher = Fetcher::new(wait(1 + thread).min_bytes(200));
                partitions.iter().for_each(|partition| fetcher.add(Arc::clone(partition), 0).unwrap());
                let mut round = 0_u64;
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    round += 1;
                    for partition in partitions {
                        fetcher.seek(partition.name(), partition.high_watermark().unwrap()).unwrap();
                    }
                    let mut together = fetcher.fetch_async();
                    let at = partitions[round as usize % 2].high_watermark().unwrap();
                    let mut alone = partitions[round as usize % 2].fetch_async(at, &wait(round % 3));
                    _ = poll(&mut together, Waker::noop());
                    _ = poll(&mut alone, Waker::noop());
                    if round.is_multiple_of(3) {
                        std::thread::yield_now();
                    }
                    if round.is_multiple_of(1000) {
                        std::mem::forget(alone);
                    }
                    _ = poll(&mut together, Waker::noop());
                }
            });
        }
        for number in 0..3000 {
            send(&broker, number % 2);
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let (waker, woken) = tells();
    let at = partitions[0].high_watermark().unwrap();
    let mut future = partitions[0].fetch_async(at, &wait(60_000));
    assert!(poll(&mut future, &waker).is_pending());
    send(&broker, 0);
    woken.recv_timeout(PATIENCE).unwrap();
}

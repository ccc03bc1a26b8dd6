//! A thousand who wait, and two who append: no wake-up is lost.
//!
//! | variable | default | |
//! |---|---|---|
//! | `THALWEG_STRESS_ROUNDS` | 200000 | waits that have to end |
//!
//! Groups play a game of catch. Each has two partitions, one of each appender, and those who wait for the one, the other, or
//! both together, as tasks and as threads. A round is a few batches in both partitions; the next one begins when everybody of
//! the group has everything of it. So nothing comes that would make up for a wake-up that was lost: the group stands
//! still, and is named. Those who are first in the next round register while the appenders are at it. Segments are small:
//! most rounds go over the end of one somewhere.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once and say where")]

use std::collections::VecDeque;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use thalweg::{
    Broker, Durability, FetchOptions, Fetched, Fetcher, Offset, Partition, Producer, ProducerConfig, ProducerRecord,
    TopicConfig, TopicPartition,
};

/// Number of waits that have to end.
const ROUNDS: &str = "THALWEG_STRESS_ROUNDS";

const GROUPS: usize = 32;

/// Waits as tasks in each group: a third of them each for one partition, the other, and both.
const TASKS: usize = 31;

/// In every second group a thread waits, too.
const WAITERS: usize = GROUPS * TASKS + GROUPS / 2;

/// Threads that poll the tasks.
const EXECUTORS: usize = 2;

/// Batches of one record each that a round has in each partition, and what one takes.
const BATCHES: usize = 3;
const BATCH: usize = 100;

/// A few rounds.
const SEGMENT: u64 = 2500;

/// If nothing moves for so long, something was lost.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn no_wake_up_is_lost() {
    let waits: usize = std::env::var(ROUNDS).map_or(200_000, |waits| waits.parse().unwrap());
    let rounds = waits.div_ceil(WAITERS);
    let memory = std::path::Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    let config = TopicConfig::new().durability(Durability::Os).internal_segment_bytes(SEGMENT);
    broker.create_topic("t", 2 * GROUPS as i32, config).unwrap();
    let game = Arc::new(Game::new(&broker, rounds));

    let (ended, has_ended) = channel();
    let run = |run: Box<dyn FnOnce() + Send>| {
        let ended = ended.clone();
        thread::spawn(move || {
            run();
            ended.send(()).unwrap();
        })
    };
    let mut threads = Vec::new();
    for side in 0..2 {
        let (game, producer) =
            (Arc::clone(&game), broker.producer(ProducerConfig::new().linger(Duration::ZERO)).unwrap());
        let appender = run(Box::new(move || game.append(side, &producer)));
        threads.push(appender);
    }
    game.appenders.set(threads.iter().map(|appender| appender.thread().clone()).collect()).unwrap();
    threads.iter().for_each(|appender| appender.thread().unpark());
    for group in (0..GROUPS).step_by(2) {
        let game = Arc::clone(&game);
        threads.push(run(Box::new(move || game.block(group))));
    }
    for number in 0..EXECUTORS {
        let game = Arc::clone(&game);
        threads.push(run(Box::new(move || game.execute(number))));
    }
    for _ in 0..threads.len() {
        game.watch(|| has_ended.recv_timeout(PATIENCE));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    say(&format!("{WAITERS} wait for {} partitions in {GROUPS} groups: {}", 2 * GROUPS, game.counts()));
    assert!(waits as u64 <= game.waits.load(Ordering::Relaxed));
}

struct Game {
    rounds: usize,
    groups: Vec<Group>,
    appenders: OnceLock<Vec<Thread>>,
    /// Waits that have ended, and polls that came too early or for nothing.
    waits: AtomicU64,
    pending: AtomicU64,
    /// Of the polls, those that a wake-up led to.
    woken: AtomicU64,
}

struct Group {
    partitions: [Arc<Partition>; 2],
    /// The round that is being appended, or is to be.
    round: AtomicUsize,
    /// Who does not have everything of it yet.
    missing: AtomicUsize,
    size: usize,
}

/// One who waits, and for what.
struct Player {
    game: Arc<Game>,
    group: usize,
    /// The first partition, the second, or both.
    which: Which,
    /// How many batches it waits for at once, at most.
    batches: usize,
}

#[derive(Clone, Copy)]
enum Which {
    One(usize),
    Both,
}

impl Game {
    fn new(broker: &Broker, rounds: usize) -> Self {
        let partition = |number: usize| broker.partition(&TopicPartition::new("t", number as i32)).unwrap();
        let group = |number: usize| {
            let size = TASKS + usize::from(number.is_multiple_of(2));
            Group {
                partitions: [partition(2 * number), partition(2 * number + 1)],
                round: AtomicUsize::new(0),
                missing: AtomicUsize::new(size),
                size,
            }
        };
        Game {
            rounds,
            groups: (0..GROUPS).map(group).collect(),
            appenders: OnceLock::new(),
            waits: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            woken: AtomicU64::new(0),
        }
    }

    /// Appends round after round to one partition of each group.
    fn append(&self, side: usize, producer: &Producer) {
        while self.appenders.get().is_none() {
            thread::park();
        }
        let mut appended = [0; GROUPS];
        while appended.iter().any(|rounds| *rounds < self.rounds) {
            let mut has_appended = false;
            for (number, (group, appended)) in self.groups.iter().zip(&mut appended).enumerate() {
                if *appended < self.rounds && *appended <= group.round.load(Ordering::Acquire) {
                    for _ in 0..BATCHES {
                        let record = ProducerRecord::new("t", &[7; BATCH - 68]).partition((2 * number + side) as i32);
                        producer.send(record).unwrap().wait().unwrap();
                    }
                    *appended += 1;
                    has_appended = true;
                }
            }
            if !has_appended {
                thread::park(); // who ends a round unparks
            }
        }
    }

    /// Somebody of a group has everything of a round; the last one begins the next.
    fn has_everything(&self, number: usize) {
        let group = &self.groups[number];
        if group.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            group.missing.store(group.size, Ordering::Relaxed);
            group.round.fetch_add(1, Ordering::Release);
            self.appenders.get().into_iter().flatten().for_each(Thread::unpark);
        }
    }

    /// Waits as a thread.
    fn block(self: &Arc<Self>, group: usize) {
        let which = [Which::One(0), Which::Both, Which::One(1), Which::Both][group / 2 % 4];
        let player = Player { game: Arc::clone(self), group, which, batches: 1 + group / 2 % BATCHES };
        player.play_blocking();
    }

    /// Polls its share of the tasks until all of them have ended.
    fn execute(self: &Arc<Self>, executor: usize) {
        let queue = Arc::new(Queue::default());
        let players = (0..GROUPS * TASKS).filter(|number| number % EXECUTORS == executor).map(|number| {
            let (group, of_group) = (number / TASKS, number % TASKS);
            let which = [Which::One(0), Which::One(1), Which::Both][of_group % 3];
            Player { game: Arc::clone(self), group, which, batches: 1 + of_group / 3 % BATCHES }
        });
        type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
        let mut tasks: Vec<Option<Task>> = players.map(|player| Some(Box::pin(player.play()) as Task)).collect();
        let wakers: Vec<_> = (0..tasks.len())
            .map(|index| Arc::new(TaskWaker { queue: Arc::clone(&queue), index, queued: AtomicBool::new(false) }))
            .collect();
        wakers.iter().for_each(|waker| waker.wake_by_ref());
        let mut left = tasks.len();
        while 0 < left {
            let index = queue.pop();
            wakers[index].queued.store(false, Ordering::Release);
            self.woken.fetch_add(1, Ordering::Relaxed);
            let Some(task) = &mut tasks[index] else { continue };
            let waker = Waker::from(Arc::clone(&wakers[index]));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                tasks[index] = None;
                left -= 1;
            }
        }
    }

    fn counts(&self) -> String {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{} rounds, {} waits ended, {} of the tasks' not at once; {} wake-ups of tasks",
            self.rounds * GROUPS,
            load(&self.waits),
            load(&self.pending),
            load(&self.woken)
        )
    }

    /// Calls `wait` until it gives something. If nothing has moved meanwhile, the test has failed, and its threads will
    /// not end.
    fn watch(&self, wait: impl Fn() -> Result<(), RecvTimeoutError>) {
        loop {
            let before = self.waits.load(Ordering::Relaxed);
            if wait().is_ok() {
                return;
            }
            if self.waits.load(Ordering::Relaxed) == before {
                for (number, group) in self.groups.iter().enumerate() {
                    let (round, missing) = (group.round.load(Ordering::Relaxed), group.missing.load(Ordering::Relaxed));
                    let ends = group.partitions.each_ref().map(|partition| partition.high_watermark().unwrap());
                    if round < self.rounds {
                        say(&format!("group {number}: round {round}, {missing} of {} wait, ends {ends:?}", group.size));
                    }
                }
                say(&format!("a wake-up was lost: nothing has moved for {PATIENCE:?}; {}", self.counts()));
                std::process::abort();
            }
        }
    }
}

/// Prints a line that is seen although the process ends before the test does.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Player {
    fn partitions(&self) -> Vec<Arc<Partition>> {
        let partitions = &self.game.groups[self.group].partitions;
        match self.which {
            Which::One(side) => vec![Arc::clone(&partitions[side])],
            Which::Both => partitions.to_vec(),
        }
    }

    /// What to wait for where `missing` records of a round are still to come.
    fn min_bytes(&self, missing: i64) -> usize {
        let batches = match self.which {
            Which::One(_) => self.batches,
            Which::Both => 2 * BATCHES - self.batches + 1, // never in one partition alone
        };
        BATCH * batches.min(missing as usize)
    }

    fn options(&self, missing: i64) -> FetchOptions {
        FetchOptions::new().min_bytes(self.min_bytes(missing)).max_wait(Duration::MAX)
    }

    /// Notes a wait that has ended with enough.
    fn note(&self, fetched: &[Fetched], missing: i64) {
        let bytes: usize = fetched.iter().map(Fetched::len).sum();
        assert!(self.min_bytes(missing) <= bytes, "{bytes} bytes are not enough");
        self.game.waits.fetch_add(1, Ordering::Relaxed);
    }

    async fn play(self) {
        let partitions = self.partitions();
        let mut offsets = vec![0; partitions.len()];
        for round in 1..=self.game.rounds {
            while let missing @ 1.. = missing(&offsets, round) {
                let fetched = match &partitions[..] {
                    [partition] => {
                        let fetched = Noted {
                            game: &self.game,
                            of: partition.fetch_async(offsets[0], &self.options(missing)),
                            polled: false,
                        };
                        vec![fetched.await.unwrap()]
                    }
                    _ => {
                        let mut fetcher = self.fetcher(&partitions, &offsets, missing);
                        let fetched = Noted { game: &self.game, of: fetcher.fetch_async(), polled: false }.await;
                        fetched.into_iter().map(Result::unwrap).collect()
                    }
                };
                self.note(&fetched, missing);
                advance(&partitions, &mut offsets, &fetched);
            }
            self.game.has_everything(self.group);
        }
    }

    fn play_blocking(self) {
        let partitions = self.partitions();
        let mut offsets = vec![0; partitions.len()];
        for round in 1..=self.game.rounds {
            while let missing @ 1.. = missing(&offsets, round) {
                let fetched = match &partitions[..] {
                    [partition] => vec![partition.fetch(offsets[0], &self.options(missing)).unwrap()],
                    _ => {
                        let mut fetcher = self.fetcher(&partitions, &offsets, missing);
                        fetcher.fetch().into_iter().map(Result::unwrap).collect()
                    }
                };
                self.note(&fetched, missing);
                advance(&partitions, &mut offsets, &fetched);
            }
            self.game.has_everything(self.group);
        }
    }

    fn fetcher(&self, partitions: &[Arc<Partition>], offsets: &[Offset], missing: i64) -> Fetcher {
        let mut fetcher = Fetcher::new(self.options(missing));
        for (partition, offset) in partitions.iter().zip(offsets) {
            fetcher.add(Arc::clone(partition), *offset).unwrap();
        }
        fetcher
    }
}

/// Records of a round that somebody at these offsets does not have.
fn missing(offsets: &[Offset], round: usize) -> i64 {
    offsets.iter().map(|offset| (round * BATCHES) as i64 - offset).sum()
}

fn advance(partitions: &[Arc<Partition>], offsets: &mut [Offset], fetched: &[Fetched]) {
    for fetched in fetched {
        let index = partitions.iter().position(|partition| partition.name() == fetched.partition()).unwrap();
        assert!(offsets[index] <= fetched.next_offset());
        offsets[index] = fetched.next_offset();
    }
}

/// A future that counts whether it was ready at once.
struct Noted<'a, F> {
    game: &'a Game,
    of: F,
    polled: bool,
}

impl<F: Future + Unpin> Future for Noted<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let polled = Pin::new(&mut self.of).poll(context);
        if polled.is_pending() && !std::mem::replace(&mut self.polled, true) {
            self.game.pending.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

/// Tasks that were woken.
#[derive(Default)]
struct Queue {
    tasks: Mutex<VecDeque<usize>>,
    is_there: Condvar,
}

impl Queue {
    fn pop(&self) -> usize {
        let mut tasks = self.is_there.wait_while(self.tasks.lock().unwrap(), |tasks| tasks.is_empty()).unwrap();
        tasks.pop_front().unwrap()
    }
}

struct TaskWaker {
    queue: Arc<Queue>,
    index: usize,
    queued: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.queue.tasks.lock().unwrap().push_back(self.index);
            self.queue.is_there.notify_one();
        }
    }
}

//! One round.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use thalweg::TopicPartition;
use thalweg::simulation::SimulatedDisk;
use thalweg::{Ack, Acks, Broker, BrokerConfig, Error, ErrorKind, Producer, ProducerRecord, RecordMetadata};

use crate::checker::{Mark, Said, Sent, check, check_callbacks, read};
use crate::disk::live;
use crate::plan::{Disk, Plan};
use crate::random::Random;

const THREADS: usize = 8;

/// What came to pass in all rounds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) rounds: usize,
    pub(crate) kills: usize,
    pub(crate) acknowledged: usize,
    pub(crate) failed: usize,
    /// Of those that failed, or of which nothing was known at the end.
    pub(crate) perhaps: usize,
    pub(crate) callbacks: usize,
    pub(crate) retries: u64,
}

/// What the threads share.
struct Game<'a> {
    plan: &'a Plan,
    producer: Producer,
    /// Records sent so far.
    sent: AtomicUsize,
    is_killed: AtomicBool,
    /// Callbacks in their order, by partition.
    called: Arc<Mutex<Vec<Mark>>>,
}

/// What a thread knows of a record.
enum Known {
    Outcome(Result<i64, Error>),
    Ack(Ack),
    /// What its callback is told.
    Callback(Arc<Mutex<Option<Result<i64, Error>>>>),
}

pub(crate) fn run(plan: &Plan, tally: &mut Tally) -> Result<(), String> {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let dir = dir.path().join("data");
    let disk = SimulatedDisk::new();
    let open = || match plan.disk {
        Disk::Real => Broker::open(&dir).unwrap(),
        Disk::Simulated => disk.open_broker(&dir, BrokerConfig::new()).unwrap(),
    };
    let broker = open();
    broker.create_topic("t", plan.partitions, plan.topic()).unwrap();
    let game = Game {
        plan,
        producer: broker.producer(plan.producer()).unwrap(),
        sent: AtomicUsize::new(0),
        is_killed: AtomicBool::new(false),
        called: Arc::default(),
    };
    let (is_failing, is_over) = (AtomicBool::new(true), AtomicBool::new(false));
    let known = thread::scope(|scope| {
        if plan.disk == Disk::Simulated {
            scope.spawn(|| live((&disk, &broker), plan, &is_failing, &is_over));
        }
        let game = &game;
        let senders: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || game.send(thread))).collect();
        let moment = Random(plan.seed ^ 0xdead).below(THREADS * plan.records);
        while !senders.iter().all(|sender| sender.is_finished()) {
            if plan.is_killed && !game.is_killed.load(Ordering::Relaxed) && moment <= game.sent.load(Ordering::Relaxed)
            {
                disk.kill();
                game.is_killed.store(true, Ordering::Release);
                // Those who wait for memory would go with the process.
                let _ = game.producer.close_timeout(Duration::ZERO);
            }
            thread::yield_now();
        }
        is_failing.store(false, Ordering::Release);
        let known: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
        let known = game.settle(known);
        is_over.store(true, Ordering::Release);
        known
    });
    let sent: Vec<_> = known?;
    let stats = game.producer.stats();
    tally.retries += stats.record_retry_total;
    tally.rounds += 1;
    tally.kills += usize::from(plan.is_killed);
    for Sent { said, .. } in &sent {
        match said {
            Said::At(_) | Said::Nothing => tally.acknowledged += 1,
            Said::Absent(_) => tally.failed += 1,
            Said::Perhaps => (tally.failed, tally.perhaps) = (tally.failed + 1, tally.perhaps + 1),
        }
    }
    if !plan.is_killed {
        check(&sent, &logs(&broker, plan)?, plan.acks != Acks::All)
            .map_err(|wrong| format!("before the kill: {wrong}"))?;
        if stats.buffer_available_bytes != stats.buffer_total_bytes {
            return Err(format!("memory is missing: {stats:?}"));
        }
        let called = game.called.lock().unwrap();
        tally.callbacks += called.len();
    }
    match plan.disk {
        Disk::Real => drop((game, broker)),
        Disk::Simulated => {
            disk.kill();
            drop(game);
            disk.kill_broker(broker);
        }
    }
    disk.heal();
    disk.set_capacity(None);
    let broker = open();
    // What a process has written its end does not take away, but a sync that failed may.
    let may_be_shorter = plan.breaks && !plan.promises_syncs();
    check(&sent, &logs(&broker, plan)?, may_be_shorter).map_err(|wrong| format!("after opening again: {wrong}"))
}

fn logs(broker: &Broker, plan: &Plan) -> Result<Vec<Vec<Mark>>, String> {
    let read = |number| read(&broker.partition(&TopicPartition::new("t", number)).unwrap());
    (0..plan.partitions).map(read).collect()
}

fn offset(outcome: thalweg::Result<RecordMetadata>) -> Result<i64, Error> {
    outcome.map(|metadata| metadata.offset)
}

impl Game<'_> {
    /// One thread: sends its records, and waits for some.
    fn send(&self, thread: usize) -> Vec<(Mark, Known)> {
        let mut random = Random(self.plan.seed.wrapping_mul(31).wrapping_add(thread as u64));
        let mut numbers = vec![0; self.plan.partitions as usize];
        let mut known = Vec::new();
        // Where callbacks are, all are callbacks: the order of those that are left out cannot be checked.
        let has_callbacks = thread.is_multiple_of(2);
        for _ in 0..self.plan.records {
            if self.is_killed.load(Ordering::Acquire) {
                break;
            }
            let partition = random.below(numbers.len());
            let mark = Mark { thread, partition: partition as i32, number: numbers[partition] };
            numbers[partition] += 1;
            let padding = random.pick(&[0, 10, 100, 400]);
            let value = mark.value(padding);
            let record = ProducerRecord::new("t", &value).partition(mark.partition);
            let sent = self.producer.send(record);
            self.sent.fetch_add(1, Ordering::Relaxed);
            let ack = match sent {
                Ok(ack) => ack,
                Err(error) => {
                    known.push((mark, Known::Outcome(Err(error))));
                    continue;
                }
            };
            known.push((mark, self.follow(ack, mark, has_callbacks, &mut random)));
        }
        known
    }

    fn follow(&self, ack: Ack, mark: Mark, has_callbacks: bool, random: &mut Random) -> Known {
        if has_callbacks {
            let told = Arc::new(Mutex::new(None));
            let (telling, called) = (Arc::clone(&told), Arc::clone(&self.called));
            ack.on_complete(move |outcome| {
                called.lock().unwrap().push(mark);
                let before = telling.lock().unwrap().replace(offset(outcome));
                assert!(before.is_none());
            });
            Known::Callback(told)
        } else if !self.plan.is_killed && random.percent(10) {
            Known::Outcome(offset(ack.wait()))
        } else {
            Known::Ack(ack)
        }
    }

    /// All is said that ever will be.
    fn settle(&self, known: Vec<(Mark, Known)>) -> Result<Vec<Sent>, String> {
        if !self.plan.is_killed {
            let _ = self.producer.flush(); // the acknowledgements say it, too
        }
        let mut expected = 0;
        let mut sent = Vec::new();
        for (mark, known) in known {
            let outcome = match known {
                Known::Outcome(outcome) => Some(outcome),
                Known::Ack(ack) if self.plan.is_killed => ack.try_wait().map(offset),
                Known::Ack(ack) => Some(offset(ack.wait())),
                Known::Callback(told) => {
                    expected += 1;
                    let told = told.lock().unwrap().take();
                    if told.is_none() && !self.plan.is_killed {
                        return Err(format!("the callback of {mark} was not called, and all is flushed"));
                    }
                    told
                }
            };
            if let Some(Err(error)) = &outcome
                && matches!(error.kind(), ErrorKind::IllegalState { .. } | ErrorKind::IllegalArgument { .. })
            {
                return Err(format!("{mark}: {error}"));
            }
            let said = outcome.map_or(Said::Perhaps, |outcome| Said::of(&outcome, self.plan.acks));
            sent.push(Sent { mark, said });
        }
        let called = self.called.lock().unwrap();
        let is_all = !self.plan.is_killed;
        check_callbacks(&called, if is_all { expected } else { called.len() })?;
        if self.plan.acks == Acks::None && sent.iter().any(|sent| matches!(sent.said, Said::At(_))) {
            return Err("without acknowledgements no offset is known".to_owned());
        }
        Ok(sent)
    }
}

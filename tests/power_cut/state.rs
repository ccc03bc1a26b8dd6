//! One state: a power cut, what is found after it, and what follows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use thalweg::simulation::{Cut, Fault, OperationKind, SimulatedDisk, Survival, SyncPoint};
use thalweg::{Broker, ConsumerConfig, Finding, ProducerConfig, ProducerRecord, Severity};

use crate::random::Random;
use crate::small_files;
use crate::workload::{self, Workload, broker_config};
use crate::world::{Event, GROUP, World};

/// Tries one cut of a workload. `Err` says what is wrong and how to have it again.
pub(crate) fn try_cut(workload: &Workload, seed: u64, cut: Cut) -> Result<(), String> {
    let tried = catch_unwind(AssertUnwindSafe(|| try_in(workload, cut, &crate::directory().path().join("data"))));
    let outcome = tried.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("a panic: {}", text.unwrap_or_default()))
    });
    outcome.map_err(|wrong| format!("workload {seed}, {cut}: {wrong}"))
}

fn try_in(workload: &Workload, cut: Cut, to: &Path) -> Result<(), String> {
    let mut survived = workload.disk.cut(&cut);
    let is_there = survived.write(&workload.dir, to).unwrap();
    let mut random = Random(cut.seed ^ cut.at as u64);
    if !is_there {
        let promises_nothing = workload.world.promises_nothing(cut.at);
        return if promises_nothing { Ok(()) } else { Err("the data directory is gone".to_owned()) };
    }
    // All are laid out before anything is opened: they may share files.
    let mut backups = Vec::new();
    for (number, backup) in workload.world.backups.iter().enumerate().filter(|(_, backup)| backup.made.acked <= cut.at)
    {
        let to = to.with_file_name(format!("backup-{number}"));
        if !survived.write(&backup.path, &to).unwrap() {
            return Err("a backup is gone".to_owned());
        }
        backups.push((to, backup));
    }
    let first = Promised { world: &workload.world, at: cut.at };
    let goes_twice = random.percent(if workload.switched_off.is_some() { 100 } else { 35 });
    first.try_out(workload.switched_off, to, goes_twice.then_some(&mut random))?;
    for (to, backup) in backups {
        let promised = Promised { world: &backup.world, at: usize::MAX };
        let outcome = promised.try_out(workload.switched_off, &to, goes_twice.then_some(&mut random));
        outcome.map_err(|wrong| format!("{}: {wrong}", to.display()))?;
    }
    Ok(())
}

/// What was promised until a power cut.
#[derive(Clone, Copy)]
struct Promised<'a> {
    world: &'a World,
    at: usize,
}

impl Promised<'_> {
    /// Opens what is left and goes on; with choices, the power is cut once more meanwhile.
    fn try_out(self, off: Option<SyncPoint>, dir: &Path, again: Option<&mut Random>) -> Result<(), String> {
        let (disk, mut is_closed) = (workload::disk(off), self.world.is_closed(self.at));
        let mut again = again;
        if off.is_none()
            && let Some(random) = again.as_mut()
            && random.percent(40)
        {
            fail_to_open(&disk, dir, random);
            is_closed = false;
        }
        let (next, opened) = self.open_and_go_on(&disk, dir, is_closed)?;
        let Some(random) = again else { return Ok(()) };
        let at = match random.below(4) {
            0 => random.below(opened + 1),
            1 => opened.saturating_sub(random.below(6)),
            _ => random.below(disk.operations() + 1),
        };
        let survival = if random.percent(60) { Survival::Some } else { random.pick(Survival::ALL) };
        let cut = Cut { at, survival, seed: random.next() };
        let after = dir.with_extension("again");
        if disk.cut(&cut).write(dir, &after).unwrap() {
            let promised = if at < opened { self } else { Promised { world: &next, at } };
            let outcome = promised.open_and_go_on(&workload::disk(off), &after, false);
            outcome.map_err(|wrong| format!("then {cut} (open took {opened}): {wrong}"))?;
        } else if !self.world.promises_nothing(self.at) {
            return Err(format!("then {cut}: the data directory is gone"));
        }
        Ok(())
    }

    /// Opens what is left, which was closed in order or may not have been, compares it, appends to it, and opens it once
    /// more. Returns what was promised by then, and the number of operations that opening took.
    fn open_and_go_on(self, disk: &SimulatedDisk, dir: &Path, is_closed: bool) -> Result<(World, usize), String> {
        let open = || disk.open_broker(dir, broker_config()).map_err(|error| format!("it does not open: {error}"));
        small_files::check(dir)?;
        if self.world.is_in_use(self.at) && !small_files::are_there(dir) {
            return Err("nothing says any more whose directory it is".to_owned());
        }
        let broker = open()?;
        let opened = disk.operations();
        if self.world.is_in_use(self.at) && broker.recovery().clean {
            return Err("it was in use, and opens as if it had been closed in order".to_owned());
        }
        if is_closed && !broker.recovery().clean {
            return Err("it was closed in order, and opens as if it had not been".to_owned());
        }
        self.world.check(self.at, &broker)?;
        let mut world = self.world.found(self.at, &broker);
        append(disk, &broker, self.world, &mut world).map_err(|error| format!("it takes no append: {error}"))?;
        world.check(usize::MAX, &broker).map_err(|wrong| format!("after an append: {wrong}"))?;
        world.in_use.push((opened, disk.operations()));
        broker.close().map_err(|error| format!("it does not close: {error}"))?;
        // A share of them, and each backup: it takes as long as all the rest.
        if self.at % 4 == 3 {
            verify(dir, &world)?;
        }
        for log in world.topics.iter_mut().flat_map(|topic| &mut topic.logs) {
            log.promise(disk.operations(), log.sent.len() as i64);
        }
        let broker = open()?;
        if !broker.recovery().clean {
            return Err("it was closed in order, and opens as if it had not been".to_owned());
        }
        world.check(usize::MAX, &broker).map_err(|wrong| format!("opened once more: {wrong}"))?;
        Ok((world, opened))
    }
}

/// What the checker says about a directory that was closed in order. Nothing that a crash explains is left by then, but
/// for indexes, which nothing makes durable: those of segments that nobody walks again are as the power cut left them, and
/// are looked at before they are used.
fn verify(dir: &Path, world: &World) -> Result<(), String> {
    let found = thalweg::verify(dir).map_err(|error| format!("it cannot be checked: {error}"))?;
    let is_index =
        |finding: &Finding| finding.file.extension().is_some_and(|kind| kind == "index" || kind == "timeindex");
    let is_wrong =
        |finding: &&Finding| finding.severity > Severity::Note && !is_index(finding) && !is_below_start(world, finding);
    match found.findings.iter().find(is_wrong) {
        Some(wrong) => Err(format!("closed in order, it is found wrong: {wrong}")),
        None if !found.clean => Err("closed in order, it is found not to be".to_owned()),
        None => Ok(()),
    }
}

/// Whether nobody can read what a finding is about any more: it was not synced, and was deleted before the power went.
fn is_below_start(world: &World, finding: &Finding) -> bool {
    let log = finding.partition.as_ref().and_then(|name| world.log_of(name));
    let start = log.and_then(|log| log.starts.last()).map(|(_, start)| *start);
    finding.offset.zip(start).is_some_and(|(offset, start)| offset < start)
}

/// Something fails while it is opened; what was done by then stays.
fn fail_to_open(disk: &SimulatedDisk, dir: &Path, random: &mut Random) {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    let kinds = [OperationKind::Create, OperationKind::Write, OperationKind::SetLen, OperationKind::Rename];
    let (kind, errno) = match random.below(3) {
        0 => (OperationKind::Sync, EIO),
        1 => (OperationKind::SyncDir, EIO),
        _ => (random.pick(&kinds), ENOSPC),
    };
    let fault = Fault::of(kind).after(random.below(4)).errno(errno);
    disk.fail(if random.percent(50) { fault } else { fault.for_ever() });
    if let Ok(broker) = disk.open_broker(dir, broker_config()) {
        disk.kill_broker(broker);
    }
    disk.heal();
}

/// A record in every partition, and a commit.
fn append(disk: &SimulatedDisk, broker: &Broker, before: &World, world: &mut World) -> thalweg::Result<()> {
    let producer = broker.producer(ProducerConfig::new())?;
    let mut consumer = broker.consumer(ConsumerConfig::new().group_id(GROUP).enable_auto_commit(false))?;
    for topic in &mut world.topics {
        for number in 0..topic.logs.len() {
            let name = topic.partition(number);
            let log = &mut topic.logs[number];
            // As long as what stood there, if anything did: what comes back behind it fits.
            let offset = log.sent.len();
            let len = before.log_of(&name).and_then(|log| log.sent.get(offset)).map_or(0, |(_, value)| value.len());
            let value = format!("{name} {offset} after the cut");
            let value = if value.len() < len { value.clone() + &"z".repeat(len - value.len()) } else { value };
            log.sent.push((disk.operations(), value.as_str().into()));
            let record = ProducerRecord::new(name.topic(), &value).partition(name.partition());
            let metadata = producer.send(record)?.wait()?;
            if metadata.durability == thalweg::Durability::Fsync {
                log.promise(disk.operations(), metadata.offset + 1);
            }
        }
    }
    if let Some(topic) = world.topics.first_mut() {
        let (name, log) = (topic.partition(0), &mut topic.logs[0]);
        let (began, offset) = (disk.operations(), log.sent.len() as i64);
        consumer.commit_sync_offsets(&[(name, offset.into())])?;
        log.commits.push((Event { began, acked: disk.operations() }, offset));
    }
    Ok(())
}

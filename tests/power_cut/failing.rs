//! Syncs and writes that fail, processes that end and begin again on the same disk, and then a power cut: what was
//! acknowledged, by whichever process, is there.
//!
//! After a failed sync the cache has what the device lacks, and the next process reads the cache. It must not take that
//! for durable.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use thalweg::simulation::{Cut, Fault, OperationKind, SimulatedDisk, Survival, SyncPoint};
use thalweg::{Broker, Durability, FetchOptions, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

use crate::random::Random;
use crate::workload::broker_config;

/// How a disk drops the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DropsCache {
    Always,
    /// Not while a file is mapped by the process that has it open.
    UnlessMapped,
    /// Nor while somebody holds a map of it from before: an application its records, or another process that reads.
    UnlessHeld,
    Never,
}

/// The seeds of the stories that are tried.
fn seeds() -> Range<u64> {
    let first = crate::variable(crate::SEED, 1);
    first..first + crate::variable(crate::CUTS, 1500) / 12
}

#[test]
fn what_was_acknowledged_after_a_failed_sync_survives() {
    println!("{}={}", crate::SEED, seeds().start);
    for drops in [DropsCache::Always, DropsCache::UnlessMapped, DropsCache::UnlessHeld] {
        let wrong: Vec<_> = seeds().filter_map(|seed| story(seed, drops).err()).collect();
        assert!(wrong.is_empty(), "{drops:?}: {} wrong: {:#?}", wrong.len(), wrong.iter().take(5).collect::<Vec<_>>());
    }
}

#[test]
fn a_cache_that_is_not_dropped_is_missed() {
    let wrong = seeds().find_map(|seed| story(seed, DropsCache::Never).err());
    println!("{wrong:?}");
    assert!(wrong.is_some());
}

/// Where the cache cannot be dropped a copy is made, and made durable.
#[test]
fn a_copy_that_is_not_synced_is_missed() {
    let wrong =
        seeds().find_map(|seed| story_without(seed, DropsCache::UnlessHeld, Some(SyncPoint::RecoveredCopy)).err());
    println!("{wrong:?}");
    assert!(wrong.is_some());
}

struct Story {
    disk: SimulatedDisk,
    random: Random,
    /// Everything that was tried, in order.
    sent: Vec<String>,
    /// By offset: what was acknowledged, and how many operations there were by then.
    acked: BTreeMap<i64, (usize, String)>,
}

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn story(seed: u64, drops: DropsCache) -> Result<(), String> {
    story_without(seed, drops, None)
}

/// As [`story`], with one sync left out.
fn story_without(seed: u64, drops: DropsCache, point: Option<SyncPoint>) -> Result<(), String> {
    let dir = crate::directory();
    let data = dir.path().join("data");
    let mut story =
        Story { disk: SimulatedDisk::new(), random: Random(seed), sent: Vec::new(), acked: BTreeMap::new() };
    match drops {
        DropsCache::Always => {}
        DropsCache::UnlessMapped | DropsCache::UnlessHeld => story.disk.set_cache_is_pinned(true),
        DropsCache::Never => story.disk.switch_off_drop_cache(),
    }
    if let Some(point) = point {
        story.disk.switch_off(point);
    }
    let broker = story.disk.open_broker(&data, broker_config()).unwrap();
    let preallocate = story.random.percent(50);
    let config = TopicConfig::new().durability(Durability::Fsync).preallocate(preallocate);
    broker.create_topic("t", 1, config.internal_segment_bytes(story.random.pick(&[1000, 20_000]))).unwrap();
    let mut broker = Some(broker);
    for _ in 0..1 + story.random.below(3) {
        story.send_with_faults(broker.take().unwrap(), &data, drops == DropsCache::UnlessHeld);
        let open = || story.disk.open_broker(&data, broker_config());
        let opened = open();
        let opened = opened.map_err(|error| format!("story {seed}: it does not open again: {error}"))?;
        story.look(&opened, usize::MAX).map_err(|wrong| format!("story {seed}: opened again: {wrong}"))?;
        story.send(&opened, 4); // nothing fails
        broker = Some(opened);
    }
    let broker = broker.unwrap();
    let operations = story.disk.operations();
    let from = story.acked.values().map(|(at, _)| *at).max().unwrap_or(0);
    for number in 0..4 {
        let at = from + story.random.below(operations - from + 1);
        let survival = story.random.pick(&[Survival::Nothing, Survival::Some, Survival::Entries]);
        let cut = Cut { at, survival, seed: story.random.next() };
        let to = dir.path().join(format!("after-{number}"));
        let wrong = |wrong: String| format!("story {seed}, {cut}: {wrong}");
        assert!(story.disk.cut(&cut).write(&data, &to).unwrap());
        let after = SimulatedDisk::new().open_broker(&to, broker_config());
        story.look(&after.map_err(|error| wrong(error.to_string()))?, at).map_err(wrong)?;
    }
    drop(broker);
    Ok(())
}

impl Story {
    /// Sends while one to three things fail, until the process ends: as it likes, or as if killed.
    fn send_with_faults(&mut self, broker: Broker, data: &Path, is_held: bool) {
        self.send(&broker, 3);
        for _ in 0..1 + self.random.below(3) {
            let kind = self.random.pick(&[
                OperationKind::Sync,
                OperationKind::Sync,
                OperationKind::Write,
                OperationKind::SyncDir,
                OperationKind::Create,
            ]);
            self.disk.fail(Fault::of(kind).after(self.random.below(3)));
            if self.random.percent(25) {
                self.disk.fail_writeback(data.join("t-0/00000000000000000000.log")).ok();
            }
            self.send(&broker, 3);
        }
        self.disk.heal();
        if is_held {
            let _ = broker.close();
        } else if self.random.percent(50) {
            let _ = broker.close();
            self.disk.restart();
        } else {
            self.disk.kill_broker(broker);
        }
    }

    fn send(&mut self, broker: &Broker, count: usize) {
        let producer = broker.producer(ProducerConfig::new()).unwrap();
        for _ in 0..count {
            let value = format!("{} {}", self.sent.len(), "x".repeat(self.random.below(400)));
            self.sent.push(value.clone());
            let ack = producer.send(ProducerRecord::new("t", &value).partition(0)).unwrap();
            if let Ok(metadata) = ack.wait() {
                let was = self.acked.insert(metadata.offset, (self.disk.operations(), value));
                assert!(was.is_none(), "offset {} was acknowledged twice", metadata.offset);
            }
        }
    }

    /// What was acknowledged by `at` is there; the rest is what was sent, in order.
    fn look(&self, broker: &Broker, at: usize) -> Result<(), String> {
        if !broker.recovery().is_whole() {
            return Err(format!("it is not whole: {:?}", broker.recovery()));
        }
        let partition = broker.partition(&name()).map_err(|error| error.to_string())?;
        let (mut next, end) = (0, partition.log_end().unwrap());
        let (mut found, mut last) = (BTreeMap::new(), None);
        while next < end {
            let fetched = partition.fetch(next, &FetchOptions::new()).map_err(|error| format!("at {next}: {error}"))?;
            let records = fetched.decode(true).map_err(|error| format!("at {next}: {error}"))?;
            if records.is_empty() {
                return Err(format!("nothing can be read at {next} of {end}"));
            }
            for record in records.iter() {
                let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
                let place = self.sent.iter().position(|sent| *sent == value);
                if place.is_none() || place <= last || record.offset() != next {
                    return Err(format!("at {next} there is {value:.20}, sent as {place:?}, after {last:?}"));
                }
                last = place;
                found.insert(next, value);
                next += 1;
            }
        }
        for (offset, (_, value)) in self.acked.iter().filter(|(_, (acked, _))| *acked <= at) {
            if found.get(offset) != Some(value) {
                return Err(format!(
                    "offset {offset}, {value:.20}, was acknowledged and is not there; the end is {end}"
                ));
            }
        }
        Ok(())
    }
}

//! Short stories about one log, cut at every place: what somebody laid into the directory, what was promised since, and
//! what has to be there.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thalweg::simulation::{Cut, SimulatedDisk, Survival, SyncPoint};
use thalweg::{
    Broker, BrokerConfig, FetchOptions, Offset, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition,
};

/// The first segment of a log.
pub(crate) const FIRST: &str = "00000000000000000000.log";

/// A data directory on a disk of its own.
pub(crate) struct Story {
    off: Option<SyncPoint>,
    dir: TempDir,
    pub(crate) disk: SimulatedDisk,
    pub(crate) data: PathBuf,
}

/// A record as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: Offset,
    pub(crate) epoch: i32,
    pub(crate) value: String,
}

/// A directory after a power cut, on a disk of its own.
pub(crate) struct After {
    /// Where it was cut.
    pub(crate) at: usize,
    pub(crate) disk: SimulatedDisk,
    pub(crate) data: PathBuf,
}

impl Story {
    pub(crate) fn begin(off: Option<SyncPoint>) -> Self {
        let dir = crate::directory();
        Story { off, disk: crate::workload::disk(off), data: dir.path().join("data"), dir }
    }

    pub(crate) fn open(&self) -> Broker {
        self.disk.open_broker(&self.data, BrokerConfig::new()).unwrap()
    }

    /// Another disk with the same directory: all that is there now is durable.
    pub(crate) fn is_settled(&mut self) {
        self.disk = crate::workload::disk(self.off);
    }

    /// The directory of a log with a batch for each value, closed in order.
    pub(crate) fn log(&mut self, config: TopicConfig, values: &[&str]) -> PathBuf {
        let broker = self.open();
        broker.create_topic("t", 1, config).unwrap();
        values.iter().for_each(|value| drop(send(&broker, value)));
        broker.close().unwrap();
        self.is_settled();
        self.data.join("t-0")
    }

    pub(crate) fn now(&self) -> usize {
        self.disk.operations()
    }

    /// Cuts at every place, and has `check` look at each state.
    pub(crate) fn cut(&self, from: usize, check: impl Fn(&After) -> Result<(), String>) -> Result<(), String> {
        let choices = if self.off.is_some() { 100 } else { 3 }; // the first that is wrong is enough
        let special = [Survival::Nothing, Survival::Entries, Survival::Content].map(|survival| (survival, 0));
        for (survival, seed) in special.into_iter().chain((1..=choices).map(|seed| (Survival::Some, seed))) {
            for at in from..=self.now() {
                let (cut, after) = (Cut { at, survival, seed }, self.dir.path().join("after"));
                let is_there = self.disk.cut(&cut).write(self.dir.path(), &after).unwrap();
                let state = After { at, disk: crate::workload::disk(self.off), data: after.join("data") };
                let outcome = if is_there { check(&state) } else { Ok(()) };
                outcome.map_err(|wrong| format!("{cut}: {wrong}"))?;
                fs::remove_dir_all(&after).unwrap();
            }
        }
        Ok(())
    }
}

impl After {
    /// Opens what is left.
    pub(crate) fn open(&self) -> Result<Broker, String> {
        let broker = self.disk.open_broker(&self.data, BrokerConfig::new()).map_err(|error| error.to_string())?;
        if broker.recovery().is_whole() { Ok(broker) } else { Err(broker.recovery().to_string()) }
    }

    /// All that can be read of the one log, twice: as it is found, and with a record more after another open.
    pub(crate) fn values(&self) -> Result<Vec<String>, String> {
        let broker = self.open()?;
        let mut found = read(&broker)?;
        found.push(Seen { value: "one more".to_owned(), ..send(&broker, "one more")? });
        self.disk.kill_broker(broker);
        let again = read(&self.open()?)?;
        let of = |seen: &[Seen]| seen.iter().map(|seen| (seen.offset, seen.value.clone())).collect::<Vec<_>>();
        if of(&found) != of(&again) {
            return Err(format!("opened again there is {again:?}, not {found:?}"));
        }
        found.pop();
        Ok(found.into_iter().map(|seen| seen.value).collect())
    }
}

pub(crate) fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Sends and waits.
pub(crate) fn send(broker: &Broker, value: &str) -> Result<Seen, String> {
    let producer = broker.producer(ProducerConfig::new()).map_err(|error| error.to_string())?;
    let sent = producer.send(ProducerRecord::new("t", value).partition(0)).map_err(|error| error.to_string())?;
    let metadata = sent.wait().map_err(|error| format!("it takes no append: {error}"))?;
    Ok(Seen { offset: metadata.offset, epoch: -1, value: value.to_owned() })
}

/// All that can be read of the one log.
pub(crate) fn read(broker: &Broker) -> Result<Vec<Seen>, String> {
    let text = |error: thalweg::Error| error.to_string();
    let partition = broker.partition(&name()).map_err(text)?;
    let (mut next, end) = (partition.log_start().map_err(text)?, partition.high_watermark().map_err(text)?);
    let mut seen = Vec::new();
    while next < end {
        let fetched = partition.fetch(next, &FetchOptions::new()).map_err(text)?;
        let epochs: Vec<_> = fetched.slices().flat_map(|slice| epochs(&slice)).collect();
        let records = fetched.decode(true).map_err(text)?;
        for record in records.iter() {
            let offset = record.offset();
            let epoch = epochs.iter().rev().find(|(base, _)| *base <= offset).map_or(-1, |(_, epoch)| *epoch);
            let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
            seen.push(Seen { offset, epoch, value });
        }
        if records.next_offset() <= next {
            return Err(format!("nothing can be read at {next} of {end}"));
        }
        next = records.next_offset();
    }
    Ok(seen)
}

/// The first offset of each batch, and its leader epoch (records.md).
fn epochs(mut batches: &[u8]) -> Vec<(Offset, i32)> {
    let mut epochs = Vec::new();
    while let (Some(base), Some(len), Some(epoch)) = (batches.get(..8), batches.get(8..12), batches.get(12..16)) {
        let len = i32::from_be_bytes(len.try_into().unwrap()) as usize;
        epochs.push((i64::from_be_bytes(base.try_into().unwrap()), i32::from_be_bytes(epoch.try_into().unwrap())));
        batches = batches.get(12 + len..).unwrap_or_default();
    }
    epochs
}

/// Files of a directory by name, with what is in them.
pub(crate) fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).into_iter().flatten().map(Result::unwrap);
    let files = entries.filter(|entry| entry.path().is_file());
    let mut files: Vec<_> =
        files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

//! Groups and producers in a directory with a mutation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thalweg::{Broker, ErrorKind, Offset, ProducerConfig, ProducerRecord, RecoveryReport, TopicPartition};

use crate::content::{Row, Rows, consumer};
use crate::look::{Case, Outcome};

impl Case<'_> {
    /// What the group has committed is one of its commits, and what it polls is what was sent.
    pub(crate) fn consume(&mut self, broker: &Broker, whole: &BTreeSet<TopicPartition>, report: &RecoveryReport) {
        if self.committed.is_empty() {
            return;
        }
        let names: Vec<_> = self.committed.keys().cloned().collect();
        let mut consumer = match consumer(broker) {
            Ok(consumer) => consumer,
            Err(error) => return self.place("consumer", &error),
        };
        match consumer.committed(&names) {
            Ok(committed) => {
                for (name, committed) in committed {
                    self.check_committed(broker, &name, committed.map(|committed| committed.offset()), report);
                }
            }
            Err(error) => {
                self.place("committed", &error);
                self.note(Outcome::FoundByReading);
            }
        }
        let there: Vec<_> = names.into_iter().filter(|name| broker.partition(name).is_ok()).collect();
        if let Err(error) = consumer.assign(&there) {
            return self.place("assign", &error);
        }
        self.poll_everything(&mut consumer, whole);
    }

    fn check_committed(
        &mut self,
        broker: &Broker,
        name: &TopicPartition,
        got: Option<Offset>,
        report: &RecoveryReport,
    ) {
        let commits = self.committed[name].clone();
        let offsets = TopicPartition::new("__consumer_offsets", 0);
        let changed = |partition: &TopicPartition| {
            let mut all = report.partitions.iter().filter(|recovery| recovery.partition == *partition);
            all.any(|recovery| recovery.cut.is_some() || recovery.moved_start.is_some())
                || self.excused.contains_key(partition) && self.worst == Outcome::Cut
                || report.failed.iter().any(|error| error.partition() == Some(partition))
        };
        let end = broker.partition(name).and_then(|partition| partition.log_end());
        let was_cut = changed(name);
        let clamped = was_cut && got.is_some() && got == end.as_ref().ok().copied();
        let is_latest = got == commits.last().copied();
        let is_older = changed(&offsets) && got.is_none_or(|got| commits.contains(&got));
        let gone = !report.failed.is_empty() && got.is_none();
        self.check(self.unvouched || self.moved || is_latest || is_older || clamped || gone, || {
            format!("{name}: committed {got:?} of {commits:?}")
        });
        let behind = matches!((got, end), (Some(got), Ok(end)) if end < got);
        self.check(!behind, || format!("{name}: the committed offset {got:?} lies behind the end"));
    }

    fn poll_everything(&mut self, consumer: &mut thalweg::Consumer, whole: &BTreeSet<TopicPartition>) {
        let mut polled = BTreeMap::<TopicPartition, Rows>::new();
        let mut idle = 0;
        let mut failed = false;
        for _ in 0..100 {
            idle += 1;
            match consumer.poll(Duration::ZERO) {
                Ok(records) => {
                    for record in records.iter() {
                        idle = 0;
                        let rows = polled.entry(record.topic_partition().clone()).or_default();
                        rows.insert(record.offset(), Row::of(&record));
                    }
                }
                Err(error) => {
                    self.place("poll", &error);
                    failed = true;
                }
            }
            if idle > 4 {
                break;
            }
        }
        self.check(idle > 4, || "a consumer polls for ever".to_owned());
        for (name, rows) in polled {
            let all = &self.rows[&name];
            let wrong = rows.iter().find(|(offset, row)| all.get(offset) != Some(row)).map(|(offset, _)| *offset);
            let first = rows.keys().next().copied().unwrap_or(0);
            let complete = rows.len() == all.range(first..).count();
            self.check(wrong.is_none() || self.moved, || {
                format!("{name}: a consumer gets a wrong record at {wrong:?}")
            });
            self.check(complete || failed || self.unvouched || self.moved || !whole.contains(&name), || {
                format!("{name}: a consumer passes over records")
            });
        }
    }

    /// Appends a record.
    pub(crate) fn append(&mut self, broker: &Broker, name: &TopicPartition, report: &RecoveryReport) {
        let Ok(end) = broker.partition(name).and_then(|partition| partition.log_end()) else { return };
        let value = format!("appended at {end}");
        let record = ProducerRecord::new(name.topic(), &value).key("k").partition(name.partition());
        let sent = broker.producer(ProducerConfig::new()).and_then(|producer| {
            let outcome = producer.send(record.timestamp(5_000_000 + end))?.wait();
            producer.close()?;
            outcome
        });
        match sent {
            Ok(sent) => {
                self.check(sent.offset == end, || format!("{name}: {} instead of {end} was appended", sent.offset));
                let (key, value) = (Some(b"k".to_vec()), Some(value.into_bytes()));
                let row = Row { key, value, headers: Vec::new(), timestamp: 5_000_000 + end };
                self.rows.get_mut(name).unwrap().insert(sent.offset, row);
                self.excused.entry(name.clone()).or_default().remove(&sent.offset);
            }
            Err(error) => {
                self.place("append", &error);
                let told = report.partitions.iter().any(|found| found.partition == *name && found.damage.is_some());
                let in_the_way = matches!(error.kind(), ErrorKind::Io { .. });
                self.check(told || !report.is_whole() || in_the_way, || format!("{name}: refuses a record: {error}"));
            }
        }
    }

    pub(crate) fn commit(&mut self, broker: &Broker, report: &RecoveryReport) {
        for name in self.committed.keys().cloned().collect::<Vec<_>>() {
            let Ok(end) = broker.partition(&name).and_then(|partition| partition.log_end()) else { continue };
            let committed =
                consumer(broker).and_then(|mut consumer| consumer.commit_sync_offsets(&[(name.clone(), end.into())]));
            match committed {
                Ok(()) => self.committed.get_mut(&name).unwrap().push(end),
                Err(error) => {
                    self.place("commit", &error);
                    let refused = !report.is_whole() || self.worst != Outcome::Harmless;
                    self.check(refused, || format!("a commit is refused: {error}"));
                }
            }
        }
    }
}

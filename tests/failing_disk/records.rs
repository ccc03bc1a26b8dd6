//! Records and commits come, and records go.

use thalweg::simulation::Background;
use thalweg::{ConsumerConfig, Durability, Error, ErrorKind, Offset, ProducerRecord, TopicPartition};

use crate::model::GROUP;
use crate::session::{Session, partition};

impl Session<'_> {
    /// Sends records of about `len` bytes to a partition.
    pub(crate) fn send(&mut self, (topic, number): (&str, i32), (count, len): (usize, usize), wanted: Durability) {
        self.step(|session| {
            if session.has(topic) {
                session.send_now(&partition(topic, number), (count, len), wanted);
            }
        });
    }

    /// The same, and waits for all that was sent so far.
    pub(crate) fn send_and_wait(&mut self, to: (&str, i32), what: (usize, usize)) {
        self.send(to, what, Durability::Os);
        self.settle();
    }

    pub(crate) fn send_now(&mut self, name: &TopicPartition, (count, len): (usize, usize), wanted: Durability) {
        for _ in 0..count {
            self.count += 1;
            let Some(log) = self.model.topics.get_mut(name.topic()).unwrap().logs.get_mut(name.partition() as usize)
            else {
                return; // a partition whose creation failed
            };
            let value = format!("{name} {} {}", self.count, "x".repeat(len));
            log.sent.push(value.clone());
            let number = log.sent.len() - 1;
            let record = ProducerRecord::new(name.topic(), &value).partition(name.partition()).durability(wanted);
            let sent = self.open.as_ref().map(|(_, producer)| producer.send(record));
            match sent {
                Some(Ok(ack)) => self.pending.push((name.clone(), number, ack)),
                Some(Err(error)) => self.not_sent(name, error),
                None => {}
            }
        }
    }

    pub(crate) fn settle(&mut self) {
        self.step(Session::settle_now);
    }

    pub(crate) fn settle_now(&mut self) {
        for (name, number, ack) in std::mem::take(&mut self.pending) {
            match ack.wait() {
                Ok(metadata) => {
                    let log = self.model.log(&name);
                    let mut wrong = Vec::new();
                    if log.failed.is_some_and(|end| end <= metadata.offset) {
                        wrong.push("an acknowledgement behind a failure");
                    }
                    let former = log.acked.insert(metadata.offset, number).filter(|former| *former != number);
                    if former.is_some() && (metadata.offset < log.durable || !log.has_lost_sync) {
                        wrong.push("an offset that is another record's");
                    }
                    log.durable = log.durable.max(metadata.durable_offset);
                    if metadata.durability == Durability::Fsync {
                        log.durable = log.durable.max(metadata.offset + 1);
                    }
                    self.wrong.extend(wrong.into_iter().map(|wrong| format!("{wrong}: {metadata:?}")));
                }
                Err(error) => self.not_sent(&name, error),
            }
        }
    }

    fn not_sent(&mut self, name: &TopicPartition, error: Error) {
        if matches!(error.kind(), ErrorKind::Storage { .. }) {
            let broker = self.broker().and_then(|broker| broker.partition(name).ok());
            let end = broker.map_or(Ok(0), |partition| partition.high_watermark()).unwrap_or(0);
            let log = self.model.log(name);
            log.failed.get_or_insert(end);
            log.has_lost_sync = true;
        }
        self.failed("send", error);
    }

    pub(crate) fn commit(&mut self, (topic, number): (&str, i32), offset: Offset) {
        self.step(|session| {
            if session.has(topic) {
                session.commit_now(&partition(topic, number), offset);
            }
        });
    }

    pub(crate) fn commit_now(&mut self, name: &TopicPartition, offset: Offset) {
        let Some(broker) = self.broker() else { return };
        let commit = || {
            let mut consumer = broker.consumer(ConsumerConfig::new().group_id(GROUP).enable_auto_commit(false))?;
            consumer.commit_sync_offsets(&[(name.clone(), offset.into())])
        };
        let outcome = commit();
        let commits = &mut self.model.log(name).commits;
        match outcome {
            Ok(()) => {
                *commits = (true, vec![offset]);
                if self.offsets_failed {
                    self.wrong.push("a commit is acknowledged behind a failure".to_owned());
                }
            }
            Err(error) => {
                commits.1.push(offset);
                self.offsets_failed |= matches!(error.kind(), ErrorKind::Storage { .. });
                self.failed("commit", error);
            }
        }
    }

    pub(crate) fn delete_records(&mut self, (topic, number): (&str, i32), before: Offset) {
        self.step(|session| {
            if !session.has(topic) {
                return;
            }
            let name = partition(topic, number);
            let found = session.broker().unwrap().partition(&name).unwrap();
            let before = before.min(found.high_watermark().unwrap());
            let log = session.model.log(&name);
            log.start.1 = log.start.1.max(before);
            if session.twice("delete records", |_| found.delete_records(before)).is_some() {
                let log = session.model.log(&name);
                log.start.0 = log.start.0.max(before);
            }
        });
    }

    pub(crate) fn retain(&mut self) {
        self.step(|session| {
            let has_failed = session.twice("retention", |broker| Background::of(broker).enforce_retention()).is_none();
            let Some((broker, _)) = &session.open else { return };
            for (name, topic) in &mut session.model.topics {
                for (number, log) in topic.logs.iter_mut().enumerate() {
                    let Ok(found) = broker.partition(&partition(name, number as i32)) else { continue };
                    // What it wanted to delete may be written down, where it failed after that.
                    let start = if has_failed { found.log_end() } else { found.log_start() };
                    log.start.1 = log.start.1.max(start.unwrap_or(0));
                }
            }
        });
    }
}

//! Sending.

use std::time::Duration;

use thalweg::{Ack, Durability, ErrorKind, Offset, Producer, ProducerConfig, ProducerRecord};

use super::op::{Sent, Wait};
use super::record::{HEADER_LEN, Record};
use super::run::{Run, TOPIC, name};

impl Run {
    fn producer(&mut self) -> &Producer {
        self.producer.get_or_insert_with(|| {
            // Time closes no batch, so that scripts know which records share one.
            let config = ProducerConfig::new().batch_size(self.setup.batch_size).linger(Duration::from_secs(3600));
            self.broker.as_ref().unwrap().producer(config).unwrap()
        })
    }

    pub(super) fn send(&mut self, records: &[Sent], wait: Wait) {
        for sent in records {
            self.sent += 1;
            self.send_one(sent.partition, Record::new(sent, self.sent));
            if wait == Wait::Each {
                self.wait_for_last();
            }
        }
        if wait == Wait::Flush {
            self.flush();
        }
    }

    fn send_one(&mut self, number: usize, record: Record) {
        let (key, value) = (record.key.clone(), record.value.clone());
        let empty = Vec::new();
        let mut to_send = match &value {
            Some(value) => ProducerRecord::new(TOPIC, value),
            None => ProducerRecord::tombstone(TOPIC, key.as_ref().unwrap_or(&empty)),
        };
        to_send = to_send.partition(number as i32).timestamp(record.timestamp);
        if let Some(key) = &key {
            to_send = to_send.key(key);
        }
        for (key, value) in &record.headers {
            to_send = to_send.header(key, value.as_ref());
        }
        let ack = self.producer().send(to_send).unwrap();
        let size = HEADER_LEN + record.size(record.timestamp, 0);
        let limit = self.setup.segment_bytes;
        if size > limit {
            assert_eq!(ack.wait().unwrap_err().kind(), &ErrorKind::RecordTooLarge { size, limit });
            return;
        }
        let offset = self.logs[number].send(record);
        self.acks.push((ack, number, offset));
    }

    /// Waits for the record that was sent last, unless it was refused.
    fn wait_for_last(&mut self) {
        let Some((ack, number, offset)) = self.acks.pop() else { return };
        self.logs[number].write();
        self.compare_ack(ack, number, offset);
    }

    pub(super) fn flush(&mut self) {
        self.producer().flush().unwrap();
        self.logs.iter_mut().for_each(|log| log.write());
        for (ack, number, offset) in std::mem::take(&mut self.acks) {
            self.compare_ack(ack, number, offset);
        }
    }

    /// Waits for everything that nobody has waited for.
    pub(super) fn settle(&mut self) {
        if !self.acks.is_empty() {
            self.flush();
        }
    }

    fn compare_ack(&self, ack: Ack, number: usize, offset: Offset) {
        let sent = ack.wait().unwrap();
        assert_eq!((sent.partition, sent.offset), (name(number), offset));
        let record = self.logs[number].records.get(offset as usize);
        assert_eq!(Some(sent.timestamp), record.map(|record| record.timestamp));
        if self.setup.durability == Durability::Fsync {
            assert_eq!(sent.durability, Durability::Fsync);
        }
        assert!(offset < self.partition(number).high_watermark().unwrap(), "acknowledged records are visible");
    }
}

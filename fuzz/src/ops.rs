//! A script of calls, compared with a model made of vectors.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use thalweg::{
    AutoOffsetReset, Broker, Consumer, ConsumerConfig, Durability, ErrorKind, FetchOptions, Offset, OffsetAndMetadata,
    Producer, ProducerConfig, ProducerRecord, RecordMetadata, TopicConfig, TopicPartition,
};

use crate::input::Input;
use crate::place::{self, Files, Place};

const TOPIC: &str = "t";
const PARTITIONS: usize = 2;
const GROUP: &str = "g";
const STEPS_MAX: usize = 48;

/// The bytes choose the topic's durability and then the calls. After each call the engine has answered what the model
/// answers; at the end everything is there again after another open.
pub fn ops(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let durability = [Durability::Os, Durability::Interval, Durability::Fsync][input.below(3)];
    let mut run = Run::new(durability);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        run.step(&mut input);
    }
    run.reopen(None);
    run.check_everything();
}

/// Key and value.
type Sent = (Option<Vec<u8>>, Vec<u8>);

/// What a partition and its group should be.
#[derive(Default)]
struct Model {
    log: Vec<Sent>,
    committed: Option<Offset>,
    /// Of the consumer, once it has polled.
    position: Option<Offset>,
}

impl Model {
    fn end(&self) -> Offset {
        self.log.len() as Offset
    }

    /// Where a consumer goes on.
    fn next(&self) -> Offset {
        self.position.or(self.committed).unwrap_or(0)
    }
}

/// The engine beside the model.
struct Run {
    /// `None` only while it is being opened again.
    broker: Option<Broker>,
    producer: Option<Producer>,
    consumer: Option<Consumer>,
    model: [Model; PARTITIONS],
    count: u64,
}

impl Run {
    fn new(durability: Durability) -> Self {
        PLACE.write(&PLACE.files);
        let broker = Broker::open(&PLACE.dir).unwrap();
        let config = TopicConfig::new()
            .durability(durability)
            .internal_segment_bytes(1024)
            .index_interval_bytes(128)
            .retention(None);
        broker.create_topic(TOPIC, PARTITIONS as i32, config).unwrap();
        Run { broker: Some(broker), producer: None, consumer: None, model: Default::default(), count: 0 }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(12) {
            0 | 1 => self.send(input, 1),
            2 => self.send(input, 16),
            3 | 4 => self.fetch(input),
            5 | 6 => self.poll(),
            7 => self.commit_positions(),
            8 => self.commit_offset(input),
            9 => self.seek(input),
            10 => self.end_consumer(input),
            _ => self.reopen(Some(input)),
        }
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    fn send(&mut self, input: &mut Input<'_>, count_max: usize) {
        let producer = self.producer.get_or_insert_with(|| {
            let config = ProducerConfig::new().batch_size(400).linger(Duration::ZERO);
            self.broker.as_ref().unwrap().producer(config).unwrap()
        });
        let mut acks = Vec::new();
        for _ in 0..1 + input.below(count_max) {
            let partition = input.below(PARTITIONS);
            let (key_len, value_len) = (input.below(8), input.below(700));
            self.count += 1;
            let mut value = self.count.to_be_bytes().to_vec();
            value.resize(value_len, b'v');
            let key = (key_len > 0).then(|| vec![b'k'; key_len - 1]);
            let mut record =
                ProducerRecord::new(TOPIC, &value).partition(partition as i32).timestamp(1_700_000_000_000);
            if let Some(key) = &key {
                record = record.key(key);
            }
            if key_len == 7 {
                record = record.header("h", Some(b"1")).header("h", None::<&[u8]>);
            }
            let ack = producer.send(record).unwrap();
            acks.push((ack, name(partition), self.model[partition].end()));
            self.model[partition].log.push((key, value));
        }
        if acks.len() > 1 && input.flag() {
            producer.flush().unwrap();
        }
        for (ack, partition, offset) in acks {
            let RecordMetadata { partition: got, offset: at, .. } = ack.wait().unwrap();
            assert_eq!((got, at), (partition, offset));
        }
    }

    /// Offsets below, in and behind the log; budgets from less than a batch to several segments.
    fn fetch(&mut self, input: &mut Input<'_>) {
        let (number, bytes_max) = (input.below(PARTITIONS), usize::from(input.u16()));
        let end = self.model[number].end();
        let offset = input.below(end as usize + 4) as Offset - 1;
        let partition = self.broker().partition(&name(number)).unwrap();
        let bounds =
            (partition.log_start().unwrap(), partition.high_watermark().unwrap(), partition.log_end().unwrap());
        assert_eq!(bounds, (0, end, end));
        let fetched = partition.fetch(offset, &FetchOptions::new().max_bytes(bytes_max));
        if !(0..=end).contains(&offset) {
            let error = fetched.unwrap_err();
            let expected = ErrorKind::OffsetOutOfRange { requested: offset, log_start: 0, log_end: end };
            assert_eq!(error.kind(), &expected);
            return;
        }
        let fetched = fetched.unwrap();
        let records = fetched.decode(true).unwrap();
        assert_eq!(records.is_empty(), offset == end, "the first batch comes, whatever the budget");
        assert_eq!(records.next_offset(), fetched.next_offset());
        self.check_records(number, offset, &records);
    }

    /// The records are those of the model from `offset` on.
    fn check_records(&self, number: usize, offset: Offset, records: &thalweg::Records) {
        let mut next = offset;
        for record in records {
            let (key, value) = &self.model[number].log[next as usize];
            assert_eq!(record.offset(), next);
            assert_eq!((record.key(), record.value()), (key.as_deref(), Some(value.as_slice())));
            assert_eq!(record.timestamp(), 1_700_000_000_000);
            let headers = if key.as_ref().is_some_and(|key| key.len() == 6) { 2 } else { 0 };
            assert_eq!(record.headers().count(), headers);
            next += 1;
        }
        assert_eq!(records.next_offset(), next);
    }

    fn consumer(&mut self) -> &mut Consumer {
        self.consumer.get_or_insert_with(|| {
            let config = ConsumerConfig::new()
                .group_id(GROUP)
                .auto_offset_reset(AutoOffsetReset::Earliest)
                .enable_auto_commit(false)
                .max_poll_records(5);
            let mut consumer = self.broker.as_ref().unwrap().consumer(config).unwrap();
            consumer.subscribe(&[TOPIC]).unwrap();
            consumer
        })
    }

    fn poll(&mut self) {
        let polled = self.consumer().poll(Duration::ZERO).unwrap();
        let mut reset = false;
        for number in 0..PARTITIONS {
            let (start, end) = (self.model[number].next(), self.model[number].end());
            // A position behind the end, which only `seek` and commits can bring about, is reset to the earliest, in
            // this poll or a later one.
            let stays = start <= end || self.consumer().position(&name(number)).unwrap() == start;
            reset |= start > end;
            self.model[number].position = Some(if stays { start } else { 0 });
        }
        let is_behind = |model: &Model| model.next() < model.end();
        assert!(reset || polled.is_empty() != self.model.iter().any(is_behind), "{}", polled.len());
        assert!(polled.len() <= 5);
        for (partition, records) in polled.partitions() {
            let number = partition.partition() as usize;
            self.check_records(number, self.model[number].next(), records);
            self.model[number].position = Some(records.next_offset());
        }
        self.check_positions();
    }

    fn check_positions(&mut self) {
        for number in 0..PARTITIONS {
            if let Some(position) = self.model[number].position {
                assert_eq!(self.consumer().position(&name(number)).unwrap(), position, "{number}");
            }
        }
    }

    fn commit_positions(&mut self) {
        if self.consumer.is_none() {
            return;
        }
        self.consumer().commit_sync().unwrap();
        for model in &mut self.model {
            model.committed = model.position.or(model.committed);
        }
        self.check_committed();
    }

    fn commit_offset(&mut self, input: &mut Input<'_>) {
        let number = input.below(PARTITIONS);
        let offset = input.below(self.model[number].log.len() + 1) as Offset;
        let metadata = "m".repeat(input.below(3));
        let committed = OffsetAndMetadata::new(offset).with_metadata(metadata);
        self.consumer().commit_sync_offsets(&[(name(number), committed)]).unwrap();
        self.model[number].committed = Some(offset);
        self.check_committed();
    }

    fn check_committed(&mut self) {
        let committed = self.consumer().committed(&[name(0), name(1)]).unwrap();
        let offsets = committed.into_iter().map(|(_, committed)| committed.map(|committed| committed.offset()));
        assert!(offsets.eq(self.model.iter().map(|model| model.committed)));
    }

    fn seek(&mut self, input: &mut Input<'_>) {
        let number = input.below(PARTITIONS);
        let offset = input.below(self.model[number].log.len() + 2) as Offset;
        let sought = self.consumer().seek(&name(number), offset);
        // Before the first poll nothing is assigned.
        assert_eq!(sought.is_ok(), self.model[number].position.is_some());
        if sought.is_ok() {
            self.model[number].position = Some(offset);
        }
        self.check_positions();
    }

    fn end_consumer(&mut self, input: &mut Input<'_>) {
        let Some(consumer) = self.consumer.take() else { return };
        if input.flag() {
            consumer.close().unwrap();
        } else {
            drop(consumer);
        }
        self.model.iter_mut().for_each(|model| model.position = None);
    }

    /// Ends the broker, in order or as if the process had been killed while it wrote, and opens the directory again.
    fn reopen(&mut self, input: Option<&mut Input<'_>>) {
        let killed = input.and_then(|input| input.flag().then(|| killed(input.below(PARTITIONS), input)));
        (self.producer, self.consumer) = (None, None);
        self.broker.take().unwrap().close().unwrap();
        if let Some((files, _)) = &killed {
            PLACE.write(files);
        }
        let broker = Broker::open(&PLACE.dir).unwrap();

        let mut clamped = 0;
        for model in &mut self.model {
            model.position = None;
            let end = model.end();
            // After a crash such an offset counts records that were lost; after a close it was meant.
            let behind_the_end = model.committed.as_mut().filter(|committed| killed.is_some() && **committed > end);
            if let Some(committed) = behind_the_end {
                (*committed, clamped) = (end, clamped + 1);
            }
        }
        let recovery = broker.recovery();
        assert!(recovery.clean == killed.is_none() && recovery.failed.is_empty(), "{recovery}");
        assert!(killed.is_some() || recovery.scanned_bytes() == 0, "{recovery}");
        assert_eq!(recovery.cut_bytes(), killed.map_or(0, |(_, torn)| torn as u64), "{recovery}");
        assert_eq!(recovery.clamped_offsets, clamped, "{recovery}");
        self.broker = Some(broker);
    }

    fn check_everything(&mut self) {
        for number in 0..PARTITIONS {
            let (log, error) = place::read_partition(self.broker(), &name(number));
            assert!(error.is_none(), "{error:?}");
            let log = log.into_iter().map(|(offset, key, value)| (offset, key, value.unwrap()));
            let model = self.model[number].log.iter().zip(0..);
            assert!(log.eq(model.map(|((key, value), offset)| (offset, key.clone(), value.clone()))));
        }
        self.check_committed();
    }
}

/// What a broker leaves that is killed now, while it appends to a partition, and how many bytes of that have arrived.
/// Bytes that make a whole batch would be a batch, so they are made not to.
fn killed(number: usize, input: &mut Input<'_>) -> (Files, usize) {
    let mut files = place::read(&PLACE.dir);
    let partition = PathBuf::from(name(number).to_string());
    let (_, last) = files
        .range_mut(partition.join("0")..partition.join("a"))
        .rfind(|(path, _)| path.extension().is_some_and(|extension| extension == "log"))
        .unwrap();
    let count = input.byte();
    let mut torn = input.take(count.into()).to_vec();
    if let Some(magic) = torn.get_mut(16) {
        *magic = 9;
    }
    last.extend_from_slice(&torn);
    (files, torn.len())
}

fn name(number: usize) -> TopicPartition {
    TopicPartition::new(TOPIC, number as i32)
}

/// A directory that has the topic of committed offsets already.
static PLACE: LazyLock<Place> = LazyLock::new(|| {
    Place::new("ops", |broker| {
        broker.create_topic("other", 1, TopicConfig::new()).unwrap();
        let mut consumer = broker.consumer(ConsumerConfig::new().group_id(GROUP)).unwrap();
        consumer.commit_sync_offsets(&[(TopicPartition::new("other", 0), OffsetAndMetadata::new(0))]).unwrap();
    })
});

//! The records of `Codecs.java`, computed a second time.

use std::fs;
use std::path::Path;

use thalweg::{Acks, Broker, Compression, Durability, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

/// A record, without its place in a log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) headers: Vec<(String, Option<String>)>,
}

const T0: i64 = 1_704_067_200_000;
pub(crate) const RECORDS: i64 = 24;
pub(crate) const PER_BATCH: i64 = 8;
const LONG_VALUE: usize = 70_000;

/// Record `n`, from 0.
pub(crate) fn written(n: i64) -> Written {
    let key = match n % 5 {
        0 => None,
        1 => Some(String::new()),
        _ => Some(format!("key-{}", n % 12)),
    };
    let owned = |headers: &[(&str, Option<&str>)]| {
        let owned = |header: &(&str, Option<&str>)| (header.0.to_owned(), header.1.map(str::to_owned));
        headers.iter().map(owned).collect()
    };
    let headers = match n % 3 {
        0 => Vec::new(),
        1 => owned(&[("h", Some(&format!("v{n}")))]),
        _ => owned(&[("h", Some("ü")), ("h", None), ("", Some(""))]),
    };
    Written { timestamp: T0 + 10 * n - n % 7 * 100, key, value: value(n), headers }
}

fn value(n: i64) -> Option<String> {
    match n % 7 {
        3 if n % 5 != 0 => return None,
        5 => return Some(String::new()),
        _ => {}
    }
    let len = if n == 11 { LONG_VALUE } else { 10 * n as usize };
    let mut value = String::new();
    for word in 0.. {
        if len <= value.len() {
            break;
        }
        value += &format!("word-{} ", word * 7919 % 1009 * n % 97);
    }
    Some(value)
}

/// What is in partition 0 of `topic`, offset by offset from 0.
pub(crate) fn read_all(broker: &Broker, topic: &str) -> thalweg::Result<Vec<Written>> {
    let partition = broker.partition(&TopicPartition::new(topic, 0))?;
    let mut read = Vec::new();
    while (read.len() as i64) < partition.high_watermark()? {
        let records = partition.fetch(read.len() as i64, &Default::default())?.decode(true)?;
        for record in records.iter() {
            assert_eq!(record.offset(), read.len() as i64);
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
            let headers = record.headers().map(|header| (header.key().into_owned(), text(header.value())));
            let (timestamp, headers) = (record.timestamp(), headers.collect());
            read.push(Written { timestamp, key: text(record.key()), value: text(record.value()), headers });
        }
    }
    Ok(read)
}

/// Sends records `from..to` to partition 0 of `topic`, as one batch.
pub(crate) fn send(broker: &Broker, topic: &str, compression: Compression, (from, to): (i64, i64)) {
    let config = ProducerConfig::new().compression_type(compression).batch_size(1 << 20);
    let producer = broker.producer(config.linger(std::time::Duration::from_hours(1))).unwrap();
    for written in (from..to).map(written) {
        let mut record = match &written.value {
            Some(value) => ProducerRecord::new(topic, value),
            None => ProducerRecord::tombstone(topic, written.key.as_deref().unwrap_or_default()),
        };
        if let Some(key) = &written.key {
            record = record.key(key);
        }
        for (key, value) in &written.headers {
            record = record.header(key, value.as_deref());
        }
        producer.send(record.partition(0).timestamp(written.timestamp)).unwrap().detach();
    }
    producer.close().unwrap();
}

/// The codecs and levels that a topic is tried with, with the topic's name.
pub(crate) fn levels() -> impl Iterator<Item = (String, TopicConfig)> {
    let os = || TopicConfig::new().durability(Durability::Os);
    let gzip = [-1, 1, 9].map(|level| (Compression::Gzip, level, os().compression_gzip_level(level)));
    let snappy = [(Compression::Snappy, 0, os())];
    let lz4 = [1, 9, 17].map(|level| (Compression::Lz4, level, os().compression_lz4_level(level)));
    let zstd = [-131_072, -5, 3, 22].map(|level| (Compression::Zstd, level, os().compression_zstd_level(level)));
    let all = gzip.into_iter().chain(snappy).chain(lz4).chain(zstd);
    all.filter(|(codec, ..)| codec.is_supported())
        .map(|(codec, level, config)| (format!("{codec}.{level}"), config.compression_type(codec)))
}

/// Writes the records to a topic for each of [`levels`], in batches that were finished without compression.
pub(crate) fn write_levels(broker: &Broker, dir: &Path) {
    broker.create_topic("plain", 1, TopicConfig::new()).unwrap();
    let batches = (0..RECORDS / PER_BATCH).map(|number| (number * PER_BATCH, (number + 1) * PER_BATCH));
    batches.for_each(|batch| send(broker, "plain", Compression::None, batch));
    let bytes = fs::read(dir.join("plain-0/00000000000000000000.log")).unwrap();
    // The file of an open log can have room behind its end.
    let size = broker.partition(&TopicPartition::new("plain", 0)).unwrap().size().unwrap() as usize;
    for (topic, config) in levels() {
        broker.create_topic(&topic, 1, config).unwrap();
        let partition = broker.partition(&TopicPartition::new(topic.as_str(), 0)).unwrap();
        let mut rest = &bytes[..size];
        while !rest.is_empty() {
            let size = 12 + u32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize;
            let (batch, tail) = rest.split_at(size);
            let batch = [&[0; 8], &batch[8..]].concat(); // as its producer sent it
            partition.append_batch(&batch, Acks::All).unwrap();
            rest = tail;
        }
    }
}

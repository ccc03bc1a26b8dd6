//! What thalweg reads, compared with what Kafka's own consumer printed (`Reader.java`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use thalweg::{Broker, Compression, Error, ErrorKind, FetchOptions, IsolationLevel, Offset, Record, TopicPartition};

/// A record, with its offset beside the whole line of the list.
pub(crate) type Row = (Offset, String);

/// What the consumer printed for one partition.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    /// Kafka's readers stop there at `read_committed`.
    pub(crate) last_stable: Offset,
    pub(crate) uncommitted: Vec<Row>,
    pub(crate) committed: Vec<Row>,
}

impl Listed {
    /// What a reader of thalweg gets: behind Kafka's last stable offset goes on what is known to be committed.
    pub(crate) fn expected(&self, level: IsolationLevel) -> Vec<Row> {
        if level == IsolationLevel::ReadUncommitted {
            return self.uncommitted.clone();
        }
        let counts = |row: &str| !row.contains("outcome=aborted") && !row.contains("outcome=open");
        let behind = self.uncommitted.iter().filter(|(offset, row)| self.last_stable <= *offset && counts(row));
        self.committed.iter().chain(behind).cloned().collect()
    }
}

/// The lists in `dir`, by partition.
pub(crate) fn listed(dir: &Path) -> BTreeMap<TopicPartition, Listed> {
    let mut listed: BTreeMap<_, Listed> = BTreeMap::new();
    for row in rows(&dir.join("ends.tsv")) {
        let [isolation, topic, number, start, end] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let partition = listed.entry(TopicPartition::new(topic, number.parse().unwrap())).or_default();
        partition.log_start = start.parse().unwrap();
        match isolation {
            "read_uncommitted" => partition.high_watermark = end.parse().unwrap(),
            _ => partition.last_stable = end.parse().unwrap(),
        }
    }
    for isolation in ["read_uncommitted", "read_committed"] {
        for row in rows(&dir.join(isolation).with_extension("tsv")) {
            let [topic, number, offset] = row.split('\t').take(3).collect::<Vec<_>>()[..] else { panic!("{row}") };
            let partition = listed.get_mut(&TopicPartition::new(topic, number.parse().unwrap())).unwrap();
            let list =
                if isolation == "read_committed" { &mut partition.committed } else { &mut partition.uncommitted };
            list.push((offset.parse().unwrap(), row.clone()));
        }
    }
    listed
}

/// Every record from `offset` on, fetched `max_bytes` at a time.
pub(crate) fn read(
    broker: &Broker,
    name: &TopicPartition,
    level: IsolationLevel,
    mut offset: Offset,
    max_bytes: usize,
) -> Result<Vec<Row>, Error> {
    let partition = broker.partition(name)?;
    let options = FetchOptions::new().isolation_level(level).max_bytes(max_bytes);
    let mut read = Vec::new();
    while offset < partition.high_watermark()? {
        let records = partition.fetch(offset, &options)?.decode(true)?;
        assert_eq!(records.iter().count(), records.len());
        assert!(offset < records.next_offset(), "{name} at {offset}");
        read.extend(records.iter().map(|record| (record.offset(), row_of(name, record))));
        offset = records.next_offset();
    }
    Ok(read)
}

/// Compares every partition of the lists in `dir`. Returns how many records were compared.
pub(crate) fn compare(broker: &Broker, dir: &Path, max_bytes: usize) -> usize {
    let mut compared = 0;
    for (name, listed) in listed(dir) {
        assert_eq!(broker.partition(&name).unwrap().high_watermark().unwrap(), listed.high_watermark, "{name}");
        for level in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
            match read(broker, &name, level, listed.log_start, max_bytes) {
                Ok(rows) => assert_eq!(rows, listed.expected(level), "{name}, {level:?}, {max_bytes} bytes"),
                Err(error) => assert!(is_codec_left_out(&error), "{error}"),
            }
            compared += listed.expected(level).len();
        }
    }
    compared
}

/// Whether the crate was built without the codec of what cannot be read.
pub(crate) fn is_codec_left_out(error: &Error) -> bool {
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let is_left_out = |codec: u8| !codecs[usize::from(codec)].is_supported();
    matches!(error.kind(), ErrorKind::UnsupportedCompression { codec } if is_left_out(*codec))
}

fn rows(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// A record in the notation of `Reader.java`.
fn row_of(partition: &TopicPartition, record: Record<'_>) -> String {
    let header = |header: thalweg::Header<'_>| format!("{}={}", text(Some(header.key_bytes())), text(header.value()));
    let headers: Vec<_> = record.headers().map(header).collect();
    let headers = if headers.is_empty() { "-".to_owned() } else { headers.join(",") };
    let (topic, number, offset) = (partition.topic(), partition.partition(), record.offset());
    let (key, value, timestamp) = (text(record.key()), text(record.value()), record.timestamp());
    format!("{topic}\t{number}\t{offset}\t{key}\t{value}\t{timestamp}\t{headers}")
}

/// `\N` is null, `\xHH` a byte.
fn text(bytes: Option<&[u8]>) -> String {
    let escape = |byte: &u8| match byte {
        b'\\' => "\\\\".to_owned(),
        b' '..=b'~' if !b",=".contains(byte) => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.map_or("\\N".to_owned(), |bytes| bytes.iter().map(escape).collect())
}

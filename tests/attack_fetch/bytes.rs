//! Bytes on the disk that no producer writes, with checksums that hold.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thalweg::{
    AutoOffsetReset, Broker, BrokerConfig, Compression, ConsumerConfig, Durability, ErrorKind, FetchOptions, Offset,
    Partition, ProducerConfig, ProducerRecord, ReadMode, TopicConfig, TopicPartition,
};

fn dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// A batch as it lies in a file, to be changed.
#[derive(Clone)]
struct Raw {
    header: [u8; 61],
    records: Vec<u8>,
}

impl Raw {
    fn all(mut bytes: &[u8]) -> Vec<Raw> {
        let mut all = Vec::new();
        while bytes.len() >= 61 {
            let size = 12 + i32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
            all.push(Raw { header: bytes[..61].try_into().unwrap(), records: bytes[61..size].to_vec() });
            bytes = &bytes[size..];
        }
        all
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.header[..], &self.records].concat();
        let size = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&size.to_be_bytes());
        let crc = crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn base(&self) -> i64 {
        i64::from_be_bytes(self.header[..8].try_into().unwrap())
    }

    fn set_codec(&mut self, codec: u8) {
        self.header[22] = self.header[22] & !7 | codec;
    }

    fn set_count(&mut self, count: i32) {
        self.header[57..61].copy_from_slice(&count.to_be_bytes());
    }

    fn set_last_delta(&mut self, delta: i32) {
        self.header[23..27].copy_from_slice(&delta.to_be_bytes());
    }
}

fn varint(value: i64, out: &mut Vec<u8>) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// One record with these deltas.
fn record(time: i64, delta: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    varint(time, &mut body);
    varint(delta, &mut body);
    for bytes in [key, value] {
        match bytes {
            None => varint(-1, &mut body),
            Some(bytes) => {
                varint(bytes.len() as i64, &mut body);
                body.extend_from_slice(bytes);
            }
        }
    }
    body.extend_from_slice(headers);
    let mut record = Vec::new();
    varint(body.len() as i64, &mut record);
    record.extend(body);
    record
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// A closed log of batches of five records each.
fn make(compression: Compression, batches: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = dir();
    let broker = Broker::open(dir.path()).unwrap();
    broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
    let config = ProducerConfig::new().compression_type(compression).linger(Duration::from_secs(3600));
    let producer = broker.producer(config).unwrap();
    for batch in 0..batches {
        for number in 0..5 {
            let (key, value) = (format!("key {number}"), format!("value {number} of batch {batch}, text text text"));
            let mut record = ProducerRecord::new("t", &value).partition(0).key(key.as_bytes());
            if number % 2 == 0 {
                record = record.header("a header", Some(&b"its value"[..]));
            }
            let _ack = producer.send(record).unwrap();
        }
        producer.flush().unwrap();
    }
    drop(producer);
    broker.close().unwrap();
    let log = dir.path().join("t-0/00000000000000000000.log");
    (dir, log)
}

type Seen = (Vec<String>, Option<String>);

fn show(error: &thalweg::Error) -> String {
    format!("{:?}", std::mem::discriminant(error.kind()))
}

/// All that can be read from `offset` on, and why there is not more.
fn by_decode(partition: &Partition, mut offset: Offset, crcs: bool, options: &FetchOptions) -> Seen {
    let mut seen = Vec::new();
    loop {
        let fetched = match partition.fetch(offset, options) {
            Ok(fetched) if fetched.is_empty() => return (seen, None),
            Ok(fetched) => fetched,
            Err(error) => return (seen, Some(show(&error))),
        };
        match fetched.decode(crcs) {
            Ok(records) => {
                assert_eq!(records.iter().count(), records.len());
                let mut last = offset - 1;
                for record in &records {
                    assert!(last < record.offset() && record.offset() < records.next_offset(), "order");
                    last = record.offset();
                    seen.push(format!("{record:?}"));
                }
                assert!(offset < records.next_offset(), "no progress at {offset}");
                offset = records.next_offset();
            }
            Err(error) => return (seen, Some(show(&error))),
        }
    }
}

fn by_batches(partition: &Partition, mut offset: Offset, crcs: bool, options: &FetchOptions) -> Seen {
    let mut seen = Vec::new();
    loop {
        let fetched = match partition.fetch(offset, options) {
            Ok(fetched) if fetched.is_empty() => return (seen, None),
            Ok(fetched) => fetched,
            Err(error) => return (seen, Some(show(&error))),
        };
        let mut batches = fetched.batches(crcs);
        let mut last = offset - 1;
        loop {
            match batches.next_batch() {
                Ok(Some(records)) => {
                    for record in records {
                        assert!(last < record.offset(), "order");
                        last = record.offset();
                        seen.push(format!("{record:?}"));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(show(&batches.next_batch().unwrap_err()), show(&error), "asked again, the same");
                    assert!(offset <= batches.next_offset());
                    return (seen, Some(show(&error)));
                }
            }
        }
        assert!(offset < batches.next_offset(), "no progress at {offset}");
        offset = batches.next_offset();
    }
}

fn by_consumer(broker: &Broker, offset: Offset) -> Seen {
    let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::None).max_poll_records(3);
    let mut consumer = broker.consumer(config).unwrap();
    consumer.assign(&[name()]).unwrap();
    consumer.seek(&name(), offset).unwrap();
    let mut seen = Vec::new();
    for _ in 0..10_000 {
        let before = consumer.position(&name()).unwrap();
        match consumer.poll(Duration::ZERO) {
            // Control records and the like are passed over by a poll that returns nothing.
            Ok(records) if records.is_empty() && consumer.position(&name()).unwrap() == before => return (seen, None),
            Ok(records) => seen.extend(
                records.iter().map(|record| (record.offset(), record.value().map(<[u8]>::to_vec)).0.to_string()),
            ),
            Err(error) => return (seen, Some(show(&error))),
        }
    }
    panic!("a consumer that never ends");
}

/// Reads everything in all ways. Returns what is wrong, if anything is.
fn disagree(dir: &Path, end: Offset) -> Option<String> {
    disagree_from(dir, end, 1)
}

fn disagree_from(dir: &Path, end: Offset, step: usize) -> Option<String> {
    let mut of_modes = Vec::new();
    for mode in [ReadMode::Mmap, ReadMode::Pread] {
        let broker = Broker::open_with(dir, BrokerConfig::new().read_mode(mode)).unwrap();
        let Ok(partition) = broker.partition(&name()) else { return None };
        if partition.log_end().is_err() {
            return None;
        }
        let mut all = Vec::new();
        for options in [FetchOptions::new(), FetchOptions::new().max_bytes(0)] {
            for crcs in [true, false] {
                for offset in (0..=end).step_by(step) {
                    let decoded = by_decode(&partition, offset, crcs, &options);
                    let lent = by_batches(&partition, offset, crcs, &options);
                    if decoded.1 != lent.1 || !lent.0.starts_with(&decoded.0) {
                        return Some(format!("at {offset} {mode}: decode {decoded:#?} batches {lent:#?}"));
                    }
                    if decoded.1.is_none() && lent.0 != decoded.0 {
                        return Some(format!("at {offset} {mode}: decode {decoded:#?} batches {lent:#?}"));
                    }
                    if crcs {
                        let polled = by_consumer(&broker, offset);
                        if (polled.0.len(), &polled.1) != (decoded.0.len(), &decoded.1) {
                            return Some(format!("at {offset} {mode}: decode {decoded:#?} polled {polled:#?}"));
                        }
                    }
                    all.push((decoded, lent));
                }
            }
        }
        of_modes.push(all);
    }
    if of_modes[0] != of_modes[1] { Some("the read modes differ".to_owned()) } else { None }
}

fn write(log: &Path, batches: &[Raw]) {
    std::fs::write(log, batches.iter().flat_map(Raw::bytes).collect::<Vec<_>>()).unwrap();
}

/// The checksum holds, the records do not: offsets that go back and forth. A fetch from the middle of the batch meets the
/// same error as one from its beginning.
#[test]
fn a_malformed_batch_is_malformed_from_every_offset() {
    let (dir, log) = make(Compression::None, 3);
    let batches = Raw::all(&std::fs::read(&log).unwrap());
    let with = |deltas: [i64; 5]| {
        let mut changed = batches.clone();
        changed[1].records = deltas.iter().flat_map(|delta| record(0, *delta, None, Some(b"value"), &[0])).collect();
        changed
    };
    let mut wrong = Vec::new();
    for deltas in
        [[0, 2, 1, 3, 4], [1, 0, 2, 3, 4], [0, 0, 2, 3, 4], [-5, 0, 1, 2, 4], [0, 1, 2, 3, 5], [0, 1, 2, 3, 1 << 30]]
    {
        write(&log, &with(deltas));
        wrong.extend(disagree(dir.path(), 15).map(|what| format!("{deltas:?}: {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same with headers that are not well formed in a record below the offset that was asked for.
#[test]
fn a_record_with_bad_headers_is_not_passed_over() {
    let (dir, log) = make(Compression::None, 3);
    let batches = Raw::all(&std::fs::read(&log).unwrap());
    for headers in [&[2][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[1], &[], &[0, 0], &[2, 1, 0], &[2, 0x80]] {
        let mut changed = batches.clone();
        let of = |delta: i64| record(0, delta, None, Some(b"value"), if delta == 1 { headers } else { &[0] });
        changed[1].records = (0..5).flat_map(of).collect();
        write(&log, &changed);
        let wrong = disagree(dir.path(), 15);
        assert!(wrong.is_none(), "{headers:?}: {}", wrong.unwrap());
    }
}

/// Random changes to plain and compressed records, each with the right checksum.
#[test]
fn random_changes_behind_a_checksum_that_holds() {
    let seed = std::env::var("ATTACK_SEED").map_or(1, |seed| seed.parse().unwrap());
    let rounds = std::env::var("ATTACK_ROUNDS").map_or(15, |rounds| rounds.parse().unwrap());
    let step = std::env::var("ATTACK_STEP").map_or(5, |step| step.parse().unwrap());
    let mut rng = Rng(seed * 7919 + 12345);
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for compression in codecs.into_iter().filter(|codec| codec.is_supported()) {
        let (dir, log) = make(compression, 4);
        let original = Raw::all(&std::fs::read(&log).unwrap());
        for round in 0..rounds {
            let mut batches = original.clone();
            let at = rng.below(batches.len());
            let batch = &mut batches[at];
            for _ in 0..=rng.below(3) {
                match rng.below(8) {
                    0 => batch.set_count(rng.below(12) as i32 - 1),
                    1 => batch.set_last_delta(rng.below(12) as i32 - 1),
                    2 => batch.set_codec(rng.below(8) as u8),
                    3 => batch.header[22] ^= [0x08, 0x10, 0x20, 0x40][rng.below(4)],
                    4 => {
                        let len = rng.below(batch.records.len() + 1);
                        batch.records.truncate(len);
                    }
                    5 => batch.records.extend_from_slice(&[0; 3]),
                    _ if batch.records.is_empty() => {}
                    _ => {
                        let at = rng.below(batch.records.len().min(120));
                        batch.records[at] = match rng.below(4) {
                            0 => 0xff,
                            1 => 0x80,
                            2 => batch.records[at] ^ 1 << rng.below(8),
                            _ => rng.next() as u8,
                        };
                    }
                }
            }
            write(&log, &batches);
            // A step of 1 finds what the tests above find, again and again.
            if let Some(wrong) = disagree_from(dir.path(), 19, step) {
                panic!("{compression} round {round} seed {seed}: {wrong}");
            }
            write(&log, &original);
        }
    }
}

/// Changes without a checksum: bits, cuts, index files of noise.
#[test]
fn random_damage() {
    let seed = std::env::var("ATTACK_SEED").map_or(1, |seed| seed.parse().unwrap());
    let rounds = std::env::var("ATTACK_ROUNDS").map_or(25, |rounds| rounds.parse().unwrap());
    let mut rng = Rng(seed * 7919 + 54321);
    for round in 0..rounds {
        let (dir, log) = make([Compression::None, Compression::Lz4][round % 2], 6);
        let mut what = Vec::new();
        for _ in 0..=rng.below(3) {
            let file = match rng.below(4) {
                0 => log.with_extension("index"),
                1 => log.with_extension("timeindex"),
                _ => log.clone(),
            };
            let Ok(mut content) = std::fs::read(&file) else { continue };
            match rng.below(5) {
                0 => {
                    let len = rng.below(content.len() + 1);
                    content.truncate(len);
                }
                1 => content.extend((0..rng.below(100)).map(|_| rng.0 as u8)),
                _ if content.is_empty() => content = (0..24).map(|_| rng.next() as u8).collect(),
                _ => {
                    let at = rng.below(content.len());
                    content[at] ^= 1 << rng.below(8);
                    what.push(format!("{} at {at}", file.display()));
                }
            }
            std::fs::write(&file, content).unwrap();
        }
        let mut all = Vec::new();
        for mode in [ReadMode::Mmap, ReadMode::Pread] {
            let broker = Broker::open_with(dir.path(), BrokerConfig::new().read_mode(mode)).unwrap();
            let partition = broker.partition(&name()).unwrap();
            let Ok(end) = partition.log_end() else { continue };
            for offset in 0..=end {
                let options = FetchOptions::new();
                let (decoded, lent) =
                    (by_decode(&partition, offset, true, &options), by_batches(&partition, offset, true, &options));
                assert_eq!(decoded, lent, "seed {seed} round {round} at {offset}: {what:?}");
                _ = partition.is_cached(offset, usize::MAX);
                partition.warm_up(offset, usize::MAX).unwrap();
                all.push((mode, offset, decoded));
            }
            broker.close().unwrap();
        }
    }
}

/// Streams that lie about what they hold, and bombs.
#[test]
fn compressed_bombs_meet_the_limit() {
    use std::io::Write;
    let (dir, log) = make(Compression::None, 3);
    let batches = Raw::all(&std::fs::read(&log).unwrap());
    let size = 80_usize << 20; // 64 MiB is the limit
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0_u8; 1 << 20];
    (0..size >> 20).for_each(|_| gzip.write_all(&zeros).unwrap());
    let gzip = gzip.finish().unwrap();
    let info = lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Independent);
    let mut lz4 = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    (0..size >> 20).for_each(|_| lz4.write_all(&zeros).unwrap());
    let lz4 = lz4.finish().unwrap();
    let mut snappy = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    let block = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
    for _ in 0..size >> 20 {
        snappy.extend((block.len() as i32).to_be_bytes());
        snappy.extend(&block);
    }
    for (codec, stream) in [(1, gzip), (2, snappy), (3, lz4)] {
        let mut changed = batches.clone();
        changed[1].set_codec(codec);
        changed[1].records = stream;
        write(&log, &changed);
        let broker = Broker::open(dir.path()).unwrap();
        let partition = broker.partition(&name()).unwrap();
        let options = FetchOptions::new();
        let before = peak_kib();
        assert_eq!(by_decode(&partition, 5, true, &options).0.len(), 0);
        assert!(matches!(
            partition.fetch(5, &options).unwrap().decode(true).unwrap_err().kind(),
            ErrorKind::CorruptRecord { .. }
        ));
        assert_eq!(by_batches(&partition, 5, true, &options).0.len(), 0);
        assert!(peak_kib() - before < 160 << 10, "codec {codec}: {} KiB", peak_kib() - before);
    }
}

fn peak_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Tiny gzip members by the hundred thousand: time stays in bounds.
#[test]
fn many_empty_streams_take_no_time() {
    let (dir, log) = make(Compression::None, 3);
    let batches = Raw::all(&std::fs::read(&log).unwrap());
    let empty = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best()).finish().unwrap();
    let mut snappy = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    snappy.extend([0, 0, 0, 1, 0].repeat(200_000));
    for (codec, stream) in [(1, empty.repeat(50_000)), (2, snappy)] {
        let mut changed = batches.clone();
        changed[1].set_codec(codec);
        changed[1].records = stream;
        changed[1].set_count(0);
        write(&log, &changed);
        let broker = Broker::open(dir.path()).unwrap();
        let partition = broker.partition(&name()).unwrap();
        let begin = cpu_ticks();
        by_decode(&partition, 5, true, &FetchOptions::new());
        assert!(cpu_ticks() - begin < 1000, "codec {codec}: ten seconds");
    }
}

fn cpu_ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<_> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// The base of the batches, so that the helper is used.
#[test]
fn what_is_made_is_what_is_meant() {
    let (dir, log) = make(Compression::None, 4);
    let batches = Raw::all(&std::fs::read(&log).unwrap());
    assert_eq!(batches.iter().map(Raw::base).collect::<Vec<_>>(), [0, 5, 10, 15]);
    write(&log, &batches);
    assert!(disagree(dir.path(), 20).is_none());
}

/// `Records::next_offset` "can be less than `Fetched::next_offset`", not more: a batch that claims offsets beyond the end of
/// the log leads nobody out of it.
#[test]
fn decoding_leads_nobody_behind_what_was_fetched() {
    let (dir, log) = make(Compression::None, 4);
    let mut batches = Raw::all(&std::fs::read(&log).unwrap());
    batches[2].set_last_delta(10);
    write(&log, &batches);
    let broker = Broker::open(dir.path()).unwrap();
    let partition = broker.partition(&name()).unwrap();
    let fetched = partition.fetch(0, &FetchOptions::new()).unwrap();
    let records = fetched.decode(true).unwrap();
    assert!(
        records.next_offset() <= fetched.next_offset(),
        "{} is behind {}, the log ends at {}",
        records.next_offset(),
        fetched.next_offset(),
        partition.log_end().unwrap()
    );
}

/// The same for a consumer that begins anew where it is out of range: it must come to an error, not begin anew for ever.
#[test]
fn a_consumer_does_not_go_round_and_round() {
    let (dir, log) = make(Compression::None, 4);
    let mut batches = Raw::all(&std::fs::read(&log).unwrap());
    batches[2].set_last_delta(10);
    write(&log, &batches);
    let broker = Broker::open(dir.path()).unwrap();
    let config = ConsumerConfig::new().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = broker.consumer(config).unwrap();
    consumer.assign(&[name()]).unwrap();
    let mut seen = 0;
    for _ in 0..100 {
        match consumer.poll(Duration::ZERO) {
            Ok(records) => seen += records.iter().count(),
            Err(_) => return,
        }
        assert!(seen <= 20, "{seen} records of a log of 20, and no error");
    }
}

/// The same as what a flipped bit does where checksums are not compared.
#[test]
fn without_checksums_no_records_are_passed_over_in_silence() {
    let (dir, log) = make(Compression::None, 6);
    let original = std::fs::read(&log).unwrap();
    let at: usize = Raw::all(&original)[..1].iter().map(|batch| batch.bytes().len()).sum();
    for bit in 0..5 {
        let mut content = original.clone();
        content[at + 26] ^= 1 << bit; // the last offset delta of the second batch
        std::fs::write(&log, content).unwrap();
        let broker = Broker::open(dir.path()).unwrap();
        let partition = broker.partition(&name()).unwrap();
        let seen = by_decode(&partition, 0, false, &FetchOptions::new());
        assert!(seen.1.is_some() || seen.0.len() == 30, "bit {bit}: {} of 30 records", seen.0.len());
    }
}

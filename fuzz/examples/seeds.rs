//! Writes the seeds of all targets into `corpus/`: bytes of this engine, the worked examples of the format, and some
//! scripts. The fuzzer's own finds have other names and stay.

#[cfg(fuzzing)]
fn main() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    seeds::write(&corpus);
}

#[cfg(not(fuzzing))]
fn main() {}

#[cfg(fuzzing)]
mod seeds {
    use std::fs;
    use std::path::Path;

    use thalweg::{
        Broker, ConsumerConfig, OffsetAndMetadata, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition,
    };
    use thalweg_fuzz::place::{Place, read_topic};

    pub fn write(corpus: &Path) {
        let save = |target: &str, name: &str, bytes: &[u8]| {
            let dir = corpus.join(target);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(format!("seed-{name}")), bytes).unwrap();
        };
        let place = engine();
        let engine = place.files[Path::new("t-0").join(LOG).as_path()].clone();
        let engine_offsets = place.files[Path::new("__consumer_offsets-0").join(LOG).as_path()].clone();
        let kafka = |partition: &str| {
            let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/kafka-4.2.1");
            fs::read(fixtures.join(partition).join(LOG)).unwrap()
        };
        for target in ["batch", "recover"] {
            save(target, "engine", &engine);
            save(target, "engine-offsets", &engine_offsets);
            for partition in ["orders-gzip-0", "orders-lz4-0", "orders-snappy-0", "orders-zstd-0", "shapes-0"] {
                save(target, &format!("kafka-{partition}"), &kafka(partition));
            }
            for (name, bytes) in worked_examples() {
                save(target, name, &bytes);
            }
        }
        save("recover", "torn", &engine[..engine.len() - 7]);
        save("recover", "zeros", &[&engine[..], &[0; 70]].concat());
        save("recover", "twice", &[&engine[..], &engine].concat());
        for (name, log) in [
            ("engine", engine_offsets),
            ("kafka-1", kafka("__consumer_offsets-1")),
            ("kafka-15", kafka("__consumer_offsets-15")),
            ("kafka-5", kafka("__consumer_offsets-5")),
        ] {
            for (at, record) in keys_and_values(&place, &log).into_iter().enumerate() {
                save("offsets", &format!("{name}-{at}"), &record);
            }
        }
        let checkpoint = place.files[Path::new("t-0/thalweg-checkpoint")].clone();
        for how in [0, 1] {
            let moved = String::from_utf8(checkpoint.clone())
                .unwrap()
                .replace("log-start-offset 00000000000000000000", "log-start-offset 00000000000000000031");
            save("checkpoint", &format!("engine-{how}"), &[&[how][..], &checkpoint].concat());
            save("checkpoint", &format!("moved-start-{how}"), &[&[how][..], moved.as_bytes()].concat());
            save("checkpoint", &format!("empty-{how}"), &[how]);
        }
        for (name, bytes) in [
            ("empty", &[0u8, 0][..]),
            ("cut", &[1, 1, 9, 0]),
            ("zeros", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("over", &[1, 2, 3, 0, 0xff, 0x7f, 1]),
            ("time", &[1, 2, 0, 0, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0, 0, 0, 0, 5]),
        ] {
            save("index", name, bytes);
        }
        for (name, bytes) in OPS {
            save("ops", name, bytes);
        }
        for (name, bytes) in FETCH {
            save("fetch", name, bytes);
        }
        for (name, bytes) in FILES {
            save("files", name, bytes);
        }
    }

    const LOG: &str = "00000000000000000000.log";

    /// A directory with a topic and a group that reads it.
    fn engine() -> Place {
        Place::new(|broker: &Broker| {
            broker.create_topic("t", 1, TopicConfig::new()).unwrap();
            let producer = broker.producer(ProducerConfig::new()).unwrap();
            for at in 0..6 {
                let time = 1_700_000_000_000 + 3 * at;
                let records = [
                    ProducerRecord::new("t", b"value").key(b"key").timestamp(time),
                    ProducerRecord::tombstone("t", b"").timestamp(time).header("h", Some(b"1")),
                    ProducerRecord::new("t", b"").timestamp(time - 2).header("h", None::<&[u8]>),
                ];
                records.into_iter().for_each(|record| producer.send(record).unwrap().detach());
                producer.flush().unwrap();
            }
            let mut consumer = broker.consumer(ConsumerConfig::new().group_id("g")).unwrap();
            for offset in [3, 6] {
                let committed = OffsetAndMetadata::new(offset).with_metadata("m");
                consumer.commit_sync_offsets(&[(TopicPartition::new("t", 0), committed)]).unwrap();
            }
        })
    }

    /// The records of a log as the target `offsets` takes them: length of the key, key, value.
    fn keys_and_values(place: &Place, log: &[u8]) -> Vec<Vec<u8>> {
        let mut files = place.files.clone();
        files.insert("log-0/00000000000000000000.log".into(), log.to_vec());
        place.write(&files);
        let broker = Broker::open(place.dir()).unwrap();
        let records = read_topic(&broker, "log").unwrap().remove(0);
        let joined = records.into_iter().map(|(_, key, value)| {
            let key = key.unwrap();
            [vec![u8::try_from(key.len()).unwrap()], key, value.unwrap_or_default()].concat()
        });
        joined.collect()
    }

    /// Batches that other implementations wrote or checked: plain, a commit marker, thinned out by compaction, empty,
    /// and the plain one's records as lz4 and snappy.
    fn worked_examples() -> [(&'static str, Vec<u8>); 6] {
        let plain = hex(PLAIN);
        let records = &plain[61..];
        let compressed = |batch_length: u8, crc: &str, codec: u8, before: &str, behind: &str| {
            let mut batch = plain[..61].to_vec();
            batch[11] = batch_length;
            batch[17..21].copy_from_slice(&hex(crc));
            batch[22] = codec;
            [batch, hex(before), records.to_vec(), hex(behind)].concat()
        };
        [
            ("plain", plain.clone()),
            ("marker", hex(MARKER)),
            ("compacted", hex(COMPACTED)),
            ("empty", hex(EMPTY)),
            ("lz4", compressed(88, "3b1b3c06", 3, "04224d18604082 18000080", "00000000")),
            ("snappy", compressed(95, "3cbecb97", 2, "82534e4150505900 00000001 00000001 0000001a 185c", "")),
        ]
    }

    const PLAIN: &str = "
        000000000000002a 00000049 00000000 02 d2c4b243 0000 00000001 0000018bcfe56800 0000018bcfe56805
        ffffffffffffffff ffff ffffffff 00000002 1c000000046b3104763102026802 0110000a02046b320100";
    const MARKER: &str = "
        000000000000002c 00000042 00000000 02 91abf352 0030 00000000 0000018bcfe56809 0000018bcfe56809
        00000000000003e8 0007 ffffffff 00000001 20000000080000 00010c000000000003 00";
    const COMPACTED: &str = "
        000000000000002a 0000003d 00000000 02 5fbf0f8c 0040 00000001 0000018bd50bc400 0000018bcfe56805
        ffffffffffffffff ffff ffffffff 00000001 1600f5efb25202046b320100";
    const EMPTY: &str = "
        000000000000002a 00000031 00000000 02 45830b69 0000 00000001 ffffffffffffffff 0000018bcfe56805
        00000000000003e8 0007 0000000a 00000000";

    /// Seven bytes of settings, then calls with what they take: see `runner::decode`.
    const OPS: [(&str, &[u8]); 6] = [
        (
            "send-poll-commit",
            b"\x00\x01\x00\x00\x00\x00\x00\x03\x01\x03\x02\x10\x00\x00\x03\x10\x00\x01\x02\x20\x00\x02\x05\x10\x00\x03\
            \x0e\x11\x14\x01\x0e",
        ),
        (
            "many-segments",
            b"\x02\x00\x00\x01\x00\x00\x00\x03\x00\x03\x02\x90\x00\x00\x03\x90\x00\x01\x02\x90\x00\x02\x04\x90\xc0\x03\
            \x09\x00\x00\x00\x07\x00\x05\xff\xff\x15",
        ),
        (
            "killed",
            b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x20\x00\x00\x16\x01\x00\x08torntorn\x00\x00\x00\x02\x20\x00\x00\
            \x16\x03\x00\x00\x20\x0e",
        ),
        (
            "retention",
            b"\x00\x00\x00\x00\x01\x01\x00\x03\x00\x03\x02\x90\x00\x00\x02\x90\xc0\x01\x02\x90\x00\x02\x04\x90\xc0\x03\
            \x0c\x16\x02\x00\x01\x09\x00\x00\x00\x0a\x00\x04\x16\x05\x00\x00\x50\x0c",
        ),
        (
            "seek-behind-the-end",
            b"\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x10\x00\x00\x0e\x13\x00\x04\x11\x15\x0e\x0e",
        ),
        ("unwaited", b"\x02\x00\x00\x00\x00\x00\x01\x03\x02\x03\x02\x60\x00\x00\x02\x60\x00\x01\x02\x60\x00\x02\x02\x60\x16\x04\x00\x01\x00"),
    ];

    /// Four bytes of settings and the batches that are there, then calls with what they take: see
    /// `runner::fetches::script`.
    const FETCH: [(&str, &[u8]); 10] = [
        ("at-once", b"\x00\x01\x00\x00\x00\x10\x20\x06\x00\x03\x00\x05\x0a\x08\x02\x00\x02\x01\x02\x02\x02\x00\x04\x0a"),
        ("gaps", b"\x00\x01\x00\x05\x25\x20\xa6\x23\x3f\x10\x27\x05\x9d\x21\x0a\x00\x00\x04\x0a\x06\x00\x05\x00\x05\x0a\x00\x00\x20\x0a\x00\x02\x0a\x0a"),
        ("one-segment", b"\x02\x01\x00\x00\x00\x11\x40\x00\x11\x40\x06\x02\x02\x00\x0a\x0a\x0a\x02\x02\x05\x0a"),
        ("waits-for-one", b"\x00\x00\x00\x00\x0c\x00\x00\x02\x06\x0a\x0a\x00\x00\x00\x20\x00\x00\x20\x00\x00\x20\x00\x00\x20"),
        ("waits-for-both", b"\x00\x01\x00\x00\x0c\x01\x00\x02\x01\x02\x07\x0a\x0a\x00\x00\x04\x20\x00\x01\x20\x00\x05\x20\x00\x00\x20"),
        ("waits-for-a-sync", b"\x01\x01\x00\x00\x0c\x00\x00\x02\x05\x0a\x0a\x00\x00\x08\x20\x10\x05\x00\xc8\x20\x0c\x00\x00\x05\x01\x0a\x0a\x00\x05"),
        ("time-is-up", b"\x00\x00\x00\x00\x0c\x00\x00\x02\x09\x0a\x0a\x02\x00\x00\x20\x12\x00\x12\x01\x0c\x01\x00\x02\x01\x02\x09\x0a\x0a\x05\x12\x40"),
        ("deleted-and-dropped", b"\x00\x01\x00\x00\x00\x14\x20\x0c\x00\x00\x03\x09\x0a\x0a\x00\x0c\x00\x00\x07\x09\x0a\x0a\x00\x0b\x00\x06\x11\x00\x00\x14\x20\x10"),
        ("closed", b"\x01\x00\x00\x01\x20\x20\x00\x00\x20\x0c\x02\x00\x02\x01\x02\x02\x02\x09\x0a\x0a\x00\x0c\x00\x01\x02\x09\x0a\x0a\x00\x13\x08\x02\x00\x02\x01\x02\x02\x02\x00\x0a\x0a"),
        ("the-limit-of-the-broker", b"\x04\x03\x00\x00\x00\x10\xf8\x00\x11\xf8\x08\x02\x01\x02\x00\x02\x02\x02\x0b\x0b\x0b\x0c\x01\x00\x06\x02\x02\x0b\x0b\x0b\x00\x00\x02\xf8"),
    ];

    /// File, edit, and what the edit takes: see `files`.
    const FILES: [(&str, &[u8]); 4] = [
        ("nothing", b""),
        ("flip", b"\x06\x00\x05\x01"),
        ("truncate", b"\x06\x01\x07\x07\x01\x01"),
        ("remove", b"\x05\x05\x08\x05\x0c\x05\x10\x05"),
    ];

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits.as_chunks::<2>().0.iter();
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }
}

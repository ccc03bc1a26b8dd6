//! Tests of the settings of producers, by the rows of producer.md 2.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};

use super::keys::assert_defaults;
use super::producer_keys::{PRODUCER_KEYS, UnknownKey};
use super::{Acks, ProducerConfig};
use crate::client::{OwnedRecord, Partitioner, ProducerInterceptor, ProducerRecord, RoundRobinPartitioner};
use crate::error::{ErrorKind, Result};
use crate::types::Compression;

const MS: Duration = Duration::from_millis(1);

/// For every key with a field a value that is not the default; transactions are refused and come by themselves.
const OTHER_VALUES: &[(&str, &str)] = &[
    ("acks", "1"),
    ("enable.idempotence", "false"),
    ("retries", "7"),
    ("delivery.timeout.ms", "60000"),
    ("request.timeout.ms", "1000"),
    ("max.block.ms", "1"),
    ("batch.size", "0"),
    ("linger.ms", "20"),
    ("buffer.memory", "1000000"),
    ("max.request.size", "1000"),
    ("compression.type", "gzip"),
    ("compression.gzip.level", "9"),
    ("compression.lz4.level", "1"),
    ("compression.zstd.level", "-5"),
    ("max.in.flight.requests.per.connection", "6"),
    ("partitioner.ignore.keys", "true"),
    ("partitioner.adaptive.partitioning.enable", "false"),
    ("partitioner.availability.timeout.ms", "1"),
    ("partitioner.rack.aware", "true"),
    ("transaction.timeout.ms", "1"),
    ("metadata.max.age.ms", "0"),
    ("metadata.max.idle.ms", "5000"),
    ("retry.backoff.ms", "10"),
    ("retry.backoff.max.ms", "20"),
    ("client.id", "billing"),
    ("client.rack", "a"),
];

fn owned(properties: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    properties.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

fn read(properties: &[(&str, &str)]) -> Result<ProducerConfig> {
    ProducerConfig::from_properties(properties.iter().copied())
}

fn refusal(properties: &[(&str, &str)]) -> String {
    let error = read(properties).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidConfig { .. }), "{error}");
    error.to_string()
}

#[test]
fn the_table_holds_the_defaults() {
    let defaults = ProducerConfig::new();
    assert_defaults(PRODUCER_KEYS, &defaults);
    defaults.check().unwrap();
    assert_eq!(read(&[]).unwrap().to_properties(), defaults.to_properties());
    assert!(defaults.get_enable_idempotence(), "on, though it is not set");
    assert_eq!(defaults.get_delivery_timeout(), Duration::from_mins(2));
}

#[test]
fn every_key_makes_the_round_trip() {
    let missing = ["transactional.id", "transaction.two.phase.commit.enable"];
    let names = PRODUCER_KEYS.iter().map(|key| key.name).filter(|name| !missing.contains(name));
    assert!(OTHER_VALUES.iter().map(|(key, _)| *key).eq(names));
    let written = read(OTHER_VALUES).unwrap().to_properties();
    let but_two_phase = written.into_iter().filter(|(key, _)| !missing.contains(key));
    assert_eq!(but_two_phase.collect::<Vec<_>>(), owned(OTHER_VALUES));
    for &(key, value) in OTHER_VALUES {
        let context = [("enable.idempotence", "false"), (key, value)];
        let text = read(&context).unwrap().to_properties();
        assert!(text.contains(&(key, value.to_owned())), "{key}");
        assert!(!ProducerConfig::new().to_properties().contains(&(key, value.to_owned())), "{key} sets nothing");
        let again = ProducerConfig::from_properties(text.iter().map(|(key, value)| (*key, value.as_str()))).unwrap();
        assert_eq!(again.to_properties(), text, "{key}");
    }
}

#[test]
fn properties_and_setters_mean_the_same_fields() {
    let set = ProducerConfig::new()
        .acks(Acks::Leader)
        .enable_idempotence(false)
        .retries(7)
        .delivery_timeout(60_000 * MS)
        .request_timeout(1000 * MS)
        .max_block(MS)
        .batch_size(0)
        .linger(20 * MS)
        .buffer_memory(1_000_000)
        .max_request_size(1000)
        .compression_type(Compression::Gzip)
        .compression_gzip_level(9)
        .compression_lz4_level(1)
        .compression_zstd_level(-5)
        .max_in_flight_requests_per_connection(6)
        .partitioner_ignore_keys(true)
        .partitioner_adaptive(false)
        .partitioner_availability_timeout(MS)
        .partitioner_rack_aware(true)
        .transaction_timeout(MS)
        .metadata_max_age(Duration::ZERO)
        .metadata_max_idle(5000 * MS)
        .retry_backoff(10 * MS)
        .retry_backoff_max(20 * MS)
        .client_id("billing")
        .client_rack("a");
    assert_eq!(read(OTHER_VALUES).unwrap().to_properties(), set.to_properties());
    assert_eq!(set.get_acks(), Acks::Leader);
    assert!(!set.get_enable_idempotence());
    assert_eq!(set.get_retries(), 7);
    assert_eq!(set.get_delivery_timeout(), 60_000 * MS);
    assert_eq!((set.get_max_block(), set.get_linger()), (MS, 20 * MS));
    assert_eq!((set.get_batch_size(), set.get_max_request_size(), set.get_buffer_memory()), (0, 1000, 1_000_000));
    assert_eq!(set.get_compression_type(), Compression::Gzip);
    let levels = Compression::ALL.map(|codec| set.get_compression_level(codec));
    assert_eq!(levels, [None, Some(9), None, Some(1), Some(-5)]);
    assert!(set.get_partitioner_ignore_keys() && !set.get_partitioner_adaptive());
    assert_eq!(set.get_retry_backoff(), (10 * MS, 20 * MS));
    assert_eq!(set.retry_backoff_max(5 * MS).get_retry_backoff(), (5 * MS, 5 * MS));
}

#[test]
fn the_bounds_of_every_range_hold() {
    const LONG: (&str, &str) = ("9223372036854775807", "9223372036854775808");
    const INT: (&str, &str) = ("2147483647", "2147483648");
    // (key, lowest and the one below, highest and the one above)
    let bounds = [
        ("retries", ("0", "-1"), INT),
        ("delivery.timeout.ms", ("1", "-1"), INT),
        ("request.timeout.ms", ("0", "-1"), INT),
        ("max.block.ms", ("0", "-1"), LONG),
        ("batch.size", ("0", "-1"), INT),
        ("linger.ms", ("0", "-1"), LONG),
        ("buffer.memory", ("0", "-1"), LONG),
        ("max.request.size", ("0", "-1"), INT),
        ("compression.gzip.level", ("1", "0"), ("9", "10")),
        ("compression.gzip.level", ("-1", "-2"), ("9", "10")),
        ("compression.lz4.level", ("1", "0"), ("17", "18")),
        ("compression.zstd.level", ("-131072", "-131073"), ("22", "23")),
        ("max.in.flight.requests.per.connection", ("1", "0"), INT),
        ("partitioner.availability.timeout.ms", ("0", "-1"), LONG),
        ("transaction.timeout.ms", ("0", "-1"), INT),
        ("metadata.max.age.ms", ("0", "-1"), LONG),
        ("metadata.max.idle.ms", ("5000", "4999"), LONG),
        ("retry.backoff.ms", ("0", "-1"), LONG),
        ("retry.backoff.max.ms", ("0", "-1"), LONG),
        ("send.buffer.bytes", ("-1", "-2"), INT),
        ("receive.buffer.bytes", ("-1", "-2"), INT),
        ("metrics.num.samples", ("1", "0"), INT),
        ("reconnect.backoff.ms", ("0", "-1"), LONG),
    ];
    for (key, (lowest, below), (highest, above)) in bounds {
        // Settings that let the others be alone.
        let with = |value| {
            let mut properties = vec![("enable.idempotence", "false"), ("linger.ms", "0"), ("request.timeout.ms", "0")];
            properties.push((key, value));
            read(&properties)
        };
        for accepted in [lowest, highest] {
            let config = with(accepted).unwrap();
            assert!(config.to_properties().contains(&(key_of(&config, key), accepted.to_owned())), "{key}={accepted}");
        }
        for refused in [below, above] {
            let error = with(refused).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key} cannot be {refused}: expected ")), "{error}");
            assert!(error.contains(lowest) && error.contains(highest), "{error}");
        }
    }
}

fn key_of(config: &ProducerConfig, key: &str) -> &'static str {
    config.to_properties().iter().find(|(name, _)| *name == key).unwrap().0
}

#[test]
fn words_are_spelled_as_kafka_spells_them() {
    for (text, acks) in [("all", Acks::All), ("-1", Acks::All), ("0", Acks::None), ("1", Acks::Leader)] {
        assert_eq!(read(&[("acks", text)]).unwrap().get_acks(), acks);
    }
    for (key, wrong) in [
        ("acks", "2"),
        ("acks", "ALL"),
        ("acks", ""),
        ("enable.idempotence", "yes"),
        ("batch.size", "16k"),
        ("linger.ms", "5ms"),
        ("compression.type", "brotli"),
        ("bootstrap.servers", " , "),
        ("transactional.id", ""),
        ("enable.metrics.push", "1"),
        ("security.protocol", "TLS"),
    ] {
        assert!(refusal(&[(key, wrong)]).starts_with(&format!("{key} cannot be {wrong}: expected ")), "{key}={wrong}");
    }
    assert_eq!(read(&[("linger.ms", " 7 "), ("linger.ms", "8")]).unwrap().get_linger(), 8 * MS);
}

#[test]
fn a_codec_that_is_not_built_in_is_refused() {
    for codec in Compression::ALL {
        let config = ProducerConfig::new().compression_type(codec);
        assert_eq!(config.check().is_ok(), codec.is_supported(), "{codec}");
        assert_eq!(read(&[("compression.type", codec.name())]).is_ok(), codec.is_supported(), "{codec}");
    }
}

#[test]
fn typed_values_out_of_range_fail_in_check() {
    let bad = [
        (ProducerConfig::new().batch_size(1 << 31), "batch.size cannot be 2147483648: expected 0 to 2147483647 bytes"),
        (ProducerConfig::new().retries(u32::MAX), "retries cannot be 4294967295: expected 0 to 2147483647"),
        (
            ProducerConfig::new().compression_zstd_level(23),
            "compression.zstd.level cannot be 23: expected -131072 to 22",
        ),
        (
            ProducerConfig::new().request_timeout(Duration::MAX),
            "request.timeout.ms cannot be 9223372036854775807: expected 0 to 2147483647 milliseconds",
        ),
        (
            ProducerConfig::new().metadata_max_idle(Duration::ZERO),
            "metadata.max.idle.ms cannot be 0: expected 5000 to 9223372036854775807 milliseconds",
        ),
    ];
    for (config, expected) in bad {
        assert_eq!(config.check().unwrap_err().to_string(), expected);
    }
    let longest = ProducerConfig::new().linger(Duration::MAX).max_block(Duration::MAX);
    longest.check().unwrap();
    assert_eq!(longest.get_linger().as_millis(), i32::MAX as u128, "more is of no use, as with Kafka");
    assert_eq!(ProducerConfig::new().linger(Duration::from_micros(1)).get_linger(), MS);
}

#[test]
fn the_delivery_timeout_covers_lingering_and_one_request() {
    let expected = "at least linger.ms and request.timeout.ms together";
    let short = [("delivery.timeout.ms", "30004")];
    assert_eq!(refusal(&short), format!("delivery.timeout.ms cannot be 30004: expected {expected}"));
    read(&[("delivery.timeout.ms", "30005")]).unwrap();
    assert!(ProducerConfig::new().delivery_timeout(Duration::ZERO).check().is_err());
    // Only defaulted: raised.
    let long = read(&[("linger.ms", "100000"), ("request.timeout.ms", "50000")]).unwrap();
    assert_eq!(long.get_delivery_timeout(), 150_000 * MS);
    long.check().unwrap();
    let endless = read(&[("linger.ms", "9223372036854775807"), ("request.timeout.ms", "2147483647")]).unwrap();
    assert_eq!(endless.get_delivery_timeout().as_millis(), i32::MAX as u128);
    let set_to_it = [("linger.ms", "9223372036854775807"), ("delivery.timeout.ms", "2147483647")];
    read(&set_to_it).unwrap();
}

/// (enable.idempotence, other key, its value) -> idempotent, or refused for the key that is named.
#[test]
fn cross_checks_of_idempotence() {
    let in_flight = "max.in.flight.requests.per.connection";
    type Row = (Option<&'static str>, &'static str, &'static str, std::result::Result<bool, &'static str>);
    let table: &[Row] = &[
        (None, "acks", "all", Ok(true)),
        (None, "acks", "-1", Ok(true)),
        (None, "acks", "1", Ok(false)),
        (None, "acks", "0", Ok(false)),
        (None, "retries", "0", Ok(false)),
        (None, "retries", "1", Ok(true)),
        (None, in_flight, "5", Ok(true)),
        (None, in_flight, "6", Err(in_flight)),
        (Some("true"), "acks", "-1", Ok(true)),
        (Some("true"), "acks", "1", Err("acks")),
        (Some("true"), "acks", "0", Err("acks")),
        (Some("true"), "retries", "0", Err("retries")),
        (Some("true"), in_flight, "5", Ok(true)),
        (Some("true"), in_flight, "6", Err(in_flight)),
        (Some("false"), "acks", "0", Ok(false)),
        (Some("false"), "retries", "0", Ok(false)),
        (Some("false"), in_flight, "1000", Ok(false)),
    ];
    for &(explicit, key, value, expected) in table {
        let mut properties = vec![(key, value)];
        properties.extend(explicit.map(|text| ("enable.idempotence", text)));
        match (read(&properties), expected) {
            (Ok(config), Ok(idempotent)) => assert_eq!(config.get_enable_idempotence(), idempotent, "{properties:?}"),
            (Err(error), Err(key)) => {
                let named = matches!(error.kind(), ErrorKind::InvalidConfig { key: found, .. } if found == key);
                assert!(named, "{properties:?}: {error}");
            }
            (found, _) => panic!("{properties:?}: {found:?}"),
        }
    }
    // Kafka looks at the number of requests before it gives the default up.
    assert!(refusal(&[("acks", "1"), (in_flight, "6")]).starts_with(in_flight));
}

#[test]
fn transactions_are_not_there() {
    let error = read(&[("transactional.id", "x")]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnsupportedVersion { .. }), "{error}");
    assert!(error.to_string().contains("transactional.id"));
    assert_eq!(error.kafka_code(), 35);
    assert!(ProducerConfig::new().transactional_id("x").check().is_err());
    assert!(refusal(&[("transactional.id", "x"), ("acks", "1")]).starts_with("transactional.id cannot be x"));
    let two_phase = ("transaction.two.phase.commit.enable", "true");
    read(&[two_phase]).unwrap();
    assert!(refusal(&[two_phase, ("transaction.timeout.ms", "5")]).starts_with("transaction.timeout.ms cannot be 5"));
    assert!(refusal(&[two_phase, ("transaction.timeout.ms", "60000")]).contains("two.phase"), "set is set");
    let typed = ProducerConfig::new().transaction_two_phase_commit_enable(true).transaction_timeout(MS);
    assert!(typed.check().is_err());
}

#[test]
fn unknown_keys_are_reported_with_the_nearest_known_one() {
    let table = [
        ("batch.sise", "batch.size"),
        ("linger_ms", "linger.ms"),
        ("compresion.type", "compression.type"),
        ("Acks", "acks"),
        ("partitioner.clas", "partitioner.class"),
        ("bootstrap.server", "bootstrap.servers"),
        ("ssl.keystore.pasword", "ssl.keystore.password"),
        ("value.serialiser", "value.serializer"),
    ];
    let config = read(&table.map(|(unknown, _)| (unknown, "1"))).unwrap();
    let expected = table.map(|(key, nearest)| UnknownKey { key: key.to_owned(), nearest });
    assert_eq!(config.unknown_keys(), expected);
    assert!(config.unknown_keys()[0].to_string().contains("batch.sise is not a key of producers"));
    assert_eq!(config.to_properties(), ProducerConfig::new().to_properties());
    assert!(ProducerConfig::new().unknown_keys().is_empty());
}

/// What Kafka's producer of version 4.2.1 answers for `ProducerConfig.configNames()`, without those that have a field.
#[test]
fn keys_between_machines_are_kept_and_change_nothing() {
    let kept = [
        ("bootstrap.servers", "a:9092,b:9092"),
        ("client.dns.lookup", "use_all_dns_ips"),
        ("send.buffer.bytes", "131072"),
        ("receive.buffer.bytes", "-1"),
        ("metadata.recovery.strategy", "REBOOTSTRAP"),
        ("security.protocol", "SASL_SSL"),
        ("metrics.recording.level", "DEBUG"),
        ("sasl.jaas.config", "secret"),
        ("ssl.key.password", "secret"),
    ];
    let config = read(&kept).unwrap();
    assert!(config.unknown_keys().is_empty());
    let mut expected = ProducerConfig::new().to_properties();
    expected.extend(owned(&kept));
    assert_eq!(config.to_properties(), expected);
    let shown = format!("{config:?}");
    assert!(!shown.contains("secret") && shown.contains("ssl.key.password"), "{shown}");
    let last = read(&[("bootstrap.servers", "a"), ("bootstrap.servers", "b")]).unwrap().to_properties();
    assert_eq!(last.iter().filter(|(key, _)| *key == "bootstrap.servers").count(), 1);
    assert!(last.contains(&("bootstrap.servers", "b".to_owned())));
}

#[test]
fn partitioners_have_one_name_and_any_type() {
    let kafkas = "org.apache.kafka.clients.producer.RoundRobinPartitioner";
    for name in ["RoundRobinPartitioner", kafkas] {
        let config = read(&[("partitioner.class", name)]).unwrap();
        assert!(config.get_partitioner().is_some());
        assert!(config.to_properties().contains(&("partitioner.class", "RoundRobinPartitioner".to_owned())));
        let next = |count| config.get_partitioner().unwrap().partition(&ProducerRecord::new("t", "v"), count);
        assert_eq!([next(2), next(2), next(2)], [0, 1, 0]);
    }
    for nothing in ["", "null"] {
        let config = read(&[("partitioner.class", kafkas), ("partitioner.class", nothing)]).unwrap();
        assert!(config.get_partitioner().is_none());
        assert_eq!(config.to_properties(), ProducerConfig::new().to_properties());
    }
    for other in ["com.example.Mine", "UniformStickyPartitioner", "com.example.RoundRobinPartitioner"] {
        assert!(refusal(&[("partitioner.class", other)]).contains("ProducerConfig::partitioner"));
    }
    #[derive(Debug)]
    struct Mine;
    impl Partitioner for Mine {
        fn partition(&self, _: &ProducerRecord<'_>, partitions: i32) -> i32 {
            partitions - 1
        }
    }
    let config = read(&[("partitioner.class", kafkas)]).unwrap().partitioner(Mine);
    assert_eq!(config.get_partitioner().unwrap().partition(&ProducerRecord::new("t", "v"), 9), 8);
    assert_eq!(config.to_properties(), ProducerConfig::new().to_properties(), "a type has no spelling");
    assert!(ProducerConfig::new().partitioner(RoundRobinPartitioner::new()).get_partitioner().is_some());
}

#[test]
fn interceptors_keep_their_order() {
    #[derive(Debug)]
    struct Append(char);
    impl ProducerInterceptor for Append {
        fn on_send(&self, mut record: OwnedRecord) -> OwnedRecord {
            record.topic.push(self.0);
            record
        }
    }
    let config = ProducerConfig::new().interceptor(Append('a')).interceptor(Append('b'));
    let record = OwnedRecord::from(&ProducerRecord::new("t", "v"));
    let sent = config.get_interceptors().iter().fold(record, |record, interceptor| interceptor.on_send(record));
    assert_eq!(sent.topic, "tab");
}

#[test]
fn the_log_says_what_has_no_effect() {
    let quiet = logged(|| read(OTHER_VALUES.get(..15).unwrap()).map(drop));
    assert_eq!(quiet, Vec::<String>::new());
    let lines = logged(|| {
        read(&[
            ("send.buffer.bytes", "1"),
            ("client.rack", "a"),
            ("ssl.protocol", "x"),
            ("key.serializer", "org.apache.kafka.common.serialization.StringSerializer"),
            ("interceptor.classes", ""),
            ("interceptor.classes", "com.example.Tracing"),
            ("lingr.ms", "1"),
        ])
        .map(drop)
    });
    let expected = [
        "INFO send.buffer.bytes has no effect",
        "INFO client.rack has no effect",
        "INFO ssl.protocol has no effect",
        "WARN key.serializer names Java classes and is ignored; typed::Producer::new",
        "WARN interceptor.classes names Java classes and is ignored; ProducerConfig::interceptor",
        "WARN lingr.ms is not a key of producers; the nearest is linger.ms",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
}

#[test]
fn the_log_says_where_defaults_gave_way() {
    assert_eq!(logged(|| ProducerConfig::new().check()), Vec::<String>::new());
    let off = logged(|| ProducerConfig::new().acks(Acks::Leader).check());
    assert_eq!(off, ["INFO enable.idempotence is switched off because acks is 1"]);
    let off = logged(|| ProducerConfig::new().retries(0).check());
    assert_eq!(off, ["INFO enable.idempotence is switched off because retries is 0"]);
    assert!(logged(|| ProducerConfig::new().acks(Acks::None).enable_idempotence(false).check()).is_empty());
    let raised = logged(|| ProducerConfig::new().linger(Duration::from_mins(2)).check());
    assert!(raised[0].starts_with("INFO delivery.timeout.ms is raised to 150000"), "{raised:?}");
}

/// Levels and messages of the events that `work` leads to.
fn logged(work: impl FnOnce() -> Result<()>) -> Vec<String> {
    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    struct Message(String);

    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0 += &format!(" {value:?}");
            }
        }
    }

    struct Log(Arc<Lines>);

    impl tracing::Subscriber for Log {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut message = Message(event.metadata().level().to_string());
            event.record(&mut message);
            self.0.0.lock().unwrap().push(message.0);
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    let lines = Arc::new(Lines::default());
    tracing::subscriber::with_default(Log(Arc::clone(&lines)), work).unwrap();
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

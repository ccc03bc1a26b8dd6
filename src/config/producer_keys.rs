//! The keys of a producer: those that have a field, those that only mean something between machines, and those that name
//! Java classes.
//!
//! Applications bring the properties that they gave to Kafka's producer. So no key of Kafka's is refused, and one that is
//! unknown is reported with the nearest known one, as Kafka's producer reports it.

use std::fmt;
use std::time::Duration;

use super::keys::{self, I32_MAX, Key, Value, anything, invalid, is_count, key};
use super::producer::ProducerConfig;
use crate::client::RoundRobinPartitioner;
use crate::error::Result;
use crate::types::Compression;

/// The keys that have a field, in the order in which they are written (producer.md 2).
#[rustfmt::skip]
pub(super) const PRODUCER_KEYS: &[Key<ProducerConfig>] = &[
    key!("acks", acks, "all", "all, -1, 0 or 1", anything),
    key!("enable.idempotence", enable_idempotence, "", "true or false", anything),
    key!("retries", retries, "2147483647", "0 to 2147483647", |count| u64::from(count) <= I32_MAX),
    key!("delivery.timeout.ms", delivery_timeout, "", "0 to 2147483647 milliseconds",
        |time: Option<Duration>| time.is_none_or(is_int_millis)),
    key!("request.timeout.ms", request_timeout, "30000", "0 to 2147483647 milliseconds", is_int_millis),
    key!("max.block.ms", max_block, "60000", "0 to 9223372036854775807 milliseconds", anything),
    key!("batch.size", batch_size, "16384", "0 to 2147483647 bytes", |bytes| bytes <= I32_MAX as usize),
    key!("linger.ms", linger, "5", "0 to 9223372036854775807 milliseconds", anything),
    key!("buffer.memory", buffer_memory, "33554432", "0 to 9223372036854775807 bytes",
        |bytes| bytes <= i64::MAX as u64),
    key!("max.request.size", max_request_size, "1048576", "0 to 2147483647 bytes", |bytes| bytes <= I32_MAX as usize),
    key!("compression.type", compression_type, "none", "none, gzip, snappy, lz4 or zstd, if this build has it",
        Compression::is_supported),
    key!("compression.gzip.level", compression_gzip_level, "-1", "1 to 9, or -1 for the codec's own",
        |level| level == -1 || (1..=9).contains(&level)),
    key!("compression.lz4.level", compression_lz4_level, "9", "1 to 17", |level| (1..=17).contains(&level)),
    key!("compression.zstd.level", compression_zstd_level, "3", "-131072 to 22",
        |level| (-131_072..=22).contains(&level)),
    key!("max.in.flight.requests.per.connection", max_in_flight, "5", "1 to 2147483647", is_count),
    key!("partitioner.ignore.keys", partitioner_ignore_keys, "false", "true or false", anything),
    key!("partitioner.adaptive.partitioning.enable", partitioner_adaptive, "true", "true or false", anything),
    key!("partitioner.availability.timeout.ms", partitioner_availability_timeout, "0",
        "0 to 9223372036854775807 milliseconds", anything),
    key!("partitioner.rack.aware", partitioner_rack_aware, "false", "true or false", anything),
    key!("transactional.id", &transactional_id, "", "a name that is not empty",
        |id: &Option<String>| id.as_deref() != Some("")),
    key!("transaction.timeout.ms", transaction_timeout, "", "0 to 2147483647 milliseconds",
        |time: Option<Duration>| time.is_none_or(is_int_millis)),
    key!("transaction.two.phase.commit.enable", two_phase_commit, "false", "true or false", anything),
    key!("metadata.max.age.ms", metadata_max_age, "300000", "0 to 9223372036854775807 milliseconds", anything),
    key!("metadata.max.idle.ms", metadata_max_idle, "300000", "5000 to 9223372036854775807 milliseconds",
        |time| Duration::from_secs(5) <= time),
    key!("retry.backoff.ms", retry_backoff, "100", "0 to 9223372036854775807 milliseconds", anything),
    key!("retry.backoff.max.ms", retry_backoff_max, "1000", "0 to 9223372036854775807 milliseconds", anything),
    key!("client.id", &client_id, "", "any text", anything),
    key!("client.rack", &client_rack, "", "any text", anything),
];

/// Keys with a field that change nothing here.
const NO_EFFECT: &[&str] = &[
    "client.rack",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "partitioner.availability.timeout.ms",
    "partitioner.rack.aware",
];

fn is_int_millis(time: Duration) -> bool {
    time <= Duration::from_millis(I32_MAX)
}

/// A key of Kafka's that only means something between machines. Its value is kept as it is, for whoever asks.
struct Kept {
    name: &'static str,
    range: &'static str,
    accepts: fn(&str) -> bool,
}

const fn kept(name: &'static str, range: &'static str, accepts: fn(&str) -> bool) -> Kept {
    Kept { name, range, accepts }
}

/// Properties that only mean something between machines, passwords among them: their values are not shown.
#[derive(Clone, Default)]
pub(super) struct KeptProperties(pub(super) Vec<(&'static str, String)>);

impl fmt::Debug for KeptProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

/// Kept and compared with Kafka's range (consumer.md 2.2, ProducerConfig.configDef).
const KEPT: &[Kept] = &[
    kept("bootstrap.servers", "a list that is not empty", |text| {
        text.split(',').any(|server| !server.trim().is_empty())
    }),
    kept("bootstrap.resolve.timeout.ms", "0 to 9223372036854775807 milliseconds", |text| is_in(text, 0, i64::MAX)),
    kept("client.dns.lookup", "use_all_dns_ips or resolve_canonical_bootstrap_servers_only", |text| {
        ["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"].contains(&text)
    }),
    kept("send.buffer.bytes", "-1 to 2147483647 bytes", |text| is_in(text, -1, I32_MAX as i64)),
    kept("receive.buffer.bytes", "-1 to 2147483647 bytes", |text| is_in(text, -1, I32_MAX as i64)),
    kept("reconnect.backoff.ms", "0 to 9223372036854775807 milliseconds", |text| is_in(text, 0, i64::MAX)),
    kept("reconnect.backoff.max.ms", "0 to 9223372036854775807 milliseconds", |text| is_in(text, 0, i64::MAX)),
    kept("socket.connection.setup.timeout.ms", "a number of milliseconds", |text| is_in(text, i64::MIN, i64::MAX)),
    kept("socket.connection.setup.timeout.max.ms", "a number of milliseconds", |text| is_in(text, i64::MIN, i64::MAX)),
    kept("connections.max.idle.ms", "a number of milliseconds", |text| is_in(text, i64::MIN, i64::MAX)),
    kept("metadata.recovery.strategy", "rebootstrap or none", |text| {
        ["rebootstrap", "none"].contains(&text.to_ascii_lowercase().as_str())
    }),
    kept("metadata.recovery.rebootstrap.trigger.ms", "0 to 9223372036854775807 milliseconds", |text| {
        is_in(text, 0, i64::MAX)
    }),
    kept("metadata.cluster.check.enable", "true or false", is_bool),
    kept("enable.metrics.push", "true or false", is_bool),
    kept("metrics.num.samples", "1 to 2147483647", |text| is_in(text, 1, I32_MAX as i64)),
    kept("metrics.sample.window.ms", "0 to 9223372036854775807 milliseconds", |text| is_in(text, 0, i64::MAX)),
    kept("metrics.recording.level", "INFO, DEBUG or TRACE", |text| ["INFO", "DEBUG", "TRACE"].contains(&text)),
    kept("metric.reporters", "any text", |_| true),
    kept("config.providers", "any text", |_| true),
    kept("security.protocol", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", |text| {
        ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&text.to_ascii_uppercase().as_str())
    }),
    kept("security.providers", "any text", |_| true),
];

fn is_in(text: &str, low: i64, high: i64) -> bool {
    text.parse().is_ok_and(|number: i64| (low..=high).contains(&number))
}

fn is_bool(text: &str) -> bool {
    matches!(text, "true" | "false")
}

/// Kept as they are, whatever they say (ProducerConfig.configNames).
const SECURITY: &[&str] = &[
    "sasl.client.callback.handler.class",
    "sasl.jaas.config",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.service.name",
    "sasl.kerberos.ticket.renew.jitter",
    "sasl.kerberos.ticket.renew.window.factor",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.login.connect.timeout.ms",
    "sasl.login.read.timeout.ms",
    "sasl.login.refresh.buffer.seconds",
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.window.factor",
    "sasl.login.refresh.window.jitter",
    "sasl.login.retry.backoff.max.ms",
    "sasl.login.retry.backoff.ms",
    "sasl.mechanism",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.template.file",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.clock.skew.seconds",
    "sasl.oauthbearer.expected.audience",
    "sasl.oauthbearer.expected.issuer",
    "sasl.oauthbearer.header.urlencode",
    "sasl.oauthbearer.jwks.endpoint.refresh.ms",
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
    "sasl.oauthbearer.jwks.endpoint.url",
    "sasl.oauthbearer.jwt.retriever.class",
    "sasl.oauthbearer.jwt.validator.class",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
    "sasl.oauthbearer.token.endpoint.url",
    "ssl.cipher.suites",
    "ssl.enabled.protocols",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.factory.class",
    "ssl.key.password",
    "ssl.keymanager.algorithm",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.protocol",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Keys that name Java classes, and what stands here in their place. `partitioner.class` is one more.
const CLASSES: &[(&str, &str)] = &[
    ("key.serializer", "typed::Producer::new takes a Serializer of keys"),
    ("value.serializer", "typed::Producer::new takes a Serializer of values"),
    ("interceptor.classes", "ProducerConfig::interceptor takes a ProducerInterceptor"),
];

const PARTITIONER_CLASS: &str = "partitioner.class";

/// A key that Kafka's producer does not have either, in the properties that a [`ProducerConfig`] was read from.
///
/// ```
/// use thalweg::ProducerConfig;
///
/// let config = ProducerConfig::from_properties([("linger.msec", "5")])?;
/// assert_eq!(config.unknown_keys()[0].to_string(), "linger.msec is not a key of producers; the nearest is linger.ms");
/// # Ok::<(), thalweg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownKey {
    /// The key, which has no effect.
    pub key: String,
    /// The key of a producer that is spelled most like it.
    pub nearest: &'static str,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a key of producers; the nearest is {}", self.key, self.nearest)
    }
}

/// Takes one property. Ranges of fields are left to [`keys::check`].
pub(super) fn read_one(config: &mut ProducerConfig, name: &str, text: &str) -> Result<()> {
    if keys::read_one(PRODUCER_KEYS, config, name, text)? {
        if NO_EFFECT.contains(&name) {
            tell_no_effect(name);
        }
        return Ok(());
    }
    if let Some(key) = KEPT.iter().find(|key| key.name == name) {
        if !(key.accepts)(text.trim()) {
            return Err(invalid(name, text, key.range));
        }
        tell_no_effect(name);
        keep(config, key.name, text);
    } else if let Some(key) = SECURITY.iter().find(|key| **key == name) {
        tell_no_effect(name);
        keep(config, key, text);
    } else if let Some((_, instead)) = CLASSES.iter().find(|(key, _)| *key == name) {
        if !is_none(text) {
            tracing::warn!(key = name, class = text, "{name} names Java classes and is ignored; {instead}");
        }
    } else if name == PARTITIONER_CLASS {
        read_partitioner(config, text)?;
    } else {
        let unknown = UnknownKey { key: name.to_owned(), nearest: nearest(name) };
        tracing::warn!(key = name, nearest = unknown.nearest, "{unknown}");
        config.unknown_keys.push(unknown);
    }
    Ok(())
}

/// The keys that are kept, behind those that have a field.
pub(super) fn write(config: &ProducerConfig) -> Vec<(&'static str, String)> {
    let mut properties = keys::write(PRODUCER_KEYS, config);
    if config.round_robin_by_name {
        properties.push((PARTITIONER_CLASS, ROUND_ROBIN.to_owned()));
    }
    properties.extend(config.kept.0.iter().cloned());
    properties
}

fn tell_no_effect(name: &str) {
    tracing::info!(key = name, "{name} has no effect on a producer that is in the same process as its broker");
}

fn keep(config: &mut ProducerConfig, name: &'static str, text: &str) {
    config.kept.0.retain(|(key, _)| *key != name);
    config.kept.0.push((name, text.trim().to_owned()));
}

fn is_none(text: &str) -> bool {
    matches!(text.trim(), "" | "null")
}

/// The one class of Kafka's that is here.
fn read_partitioner(config: &mut ProducerConfig, text: &str) -> Result<()> {
    const EXPECTED: &str = "nothing or RoundRobinPartitioner; others are given to ProducerConfig::partitioner";
    let class = text.trim();
    let is_round_robin = class.strip_prefix(PACKAGE).unwrap_or(class) == ROUND_ROBIN;
    if is_round_robin {
        config.set_partitioner(RoundRobinPartitioner::new());
    } else if is_none(class) {
        config.partitioner = None;
    } else {
        return Err(invalid(PARTITIONER_CLASS, text, EXPECTED));
    }
    config.round_robin_by_name = is_round_robin;
    Ok(())
}

const ROUND_ROBIN: &str = "RoundRobinPartitioner";
const PACKAGE: &str = "org.apache.kafka.clients.producer.";

/// The key of a producer that is spelled most like `name`.
fn nearest(name: &str) -> &'static str {
    let fields = PRODUCER_KEYS.iter().map(|key| key.name);
    let kept = KEPT.iter().map(|key| key.name).chain(SECURITY.iter().copied());
    let classes = CLASSES.iter().map(|(key, _)| *key).chain([PARTITIONER_CLASS]);
    fields.chain(classes).chain(kept).min_by_key(|key| keys::edits(key, name)).unwrap_or("acks")
}

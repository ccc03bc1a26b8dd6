//! Kafka's configuration keys: one table per configuration struct, and the walks over it.
//!
//! A row knows the key's spelling, its range and how its field is read and written as text; the walks are the same for
//! every struct. A key that is in no table is one that this version does not honour. Topics and brokers refuse it: a
//! setting without effect is worse than an error. What producers do is in `producer_keys.rs`.

use std::time::Duration;

use super::acks::Acks;
use super::broker::{BrokerConfig, StoreFullPolicy};
use super::cleanup_policy::CleanupPolicy;
use super::topic::TopicConfig;
use super::topic_compression::TopicCompression;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Compression, Durability, OnCorruption, ReadMode, TimestampType};

/// One key of the configuration struct `C`.
pub(super) struct Key<C: 'static> {
    /// Kafka's spelling.
    pub(super) name: &'static str,
    /// What a new `C` has, as text; empty for a key that is not set. For readers, and for a test that compares.
    #[cfg(test)]
    pub(super) default: &'static str,
    /// The accepted values, as an error shows them after "expected".
    pub(super) range: &'static str,
    /// What an error expects instead of an unknown key that is spelled most like this one.
    pub(super) instead: &'static str,
    /// The value as text; `None` for a key that is not set.
    pub(super) get: fn(&C) -> Option<String>,
    /// Takes the value from text; false, without effect, if the text is not of the key's type.
    pub(super) set: fn(&mut C, &str) -> bool,
    /// Whether the value is in `range`.
    pub(super) accepts: fn(&C) -> bool,
}

/// A row: name, field, default, range as text, range as a condition on the field; a field that is no number behind `&`.
macro_rules! key {
    ($name:literal, & $field:ident, $default:literal, $range:literal, $accepts:expr) => {
        Key { accepts: |config| $accepts(&config.$field), ..key!($name, $field, $default, $range) }
    };
    ($name:literal, $field:ident, $default:literal, $range:literal, $accepts:expr) => {
        Key { accepts: |config| $accepts(config.$field), ..key!($name, $field, $default, $range) }
    };
    ($name:literal, $field:ident, $default:literal, $range:literal) => {
        Key {
            name: $name,
            #[cfg(test)]
            default: $default,
            range: $range,
            instead: concat!("a key that this version honours; the nearest is ", $name),
            get: |config| config.$field.to_text(),
            set: |config, text| Value::from_text(text).map(|value| config.$field = value).is_some(),
            accepts: |_| true,
        }
    };
}
pub(super) use key;

/// The keys of a topic, in the order in which they are written (log.md 18).
#[rustfmt::skip]
pub(super) const TOPIC_KEYS: &[Key<TopicConfig>] = &[
    key!("segment.bytes", segment_bytes, "134217728", "1048576 to 2147483647 bytes",
        |bytes| (1 << 20..=I32_MAX).contains(&bytes)),
    key!("internal.segment.bytes", internal_segment_bytes, "", "256 to 2147483647 bytes, in tests only",
        |bytes: Option<u64>| bytes.is_none_or(|bytes| (256..=I32_MAX).contains(&bytes))),
    key!("segment.ms", segment_age, "604800000", "1 to 9223372036854775807 milliseconds",
        |age: Duration| !age.is_zero()),
    key!("segment.jitter.ms", segment_jitter, "0", "0 to 9223372036854775807 milliseconds", anything),
    key!("segment.roll.timer", segment_roll_timer, "false", "true or false", anything),
    key!("preallocate", preallocate, "false", "true or false", anything),
    key!("index.interval.bytes", index_interval_bytes, "4096", "0 to 2147483647 bytes", |bytes| bytes <= I32_MAX),
    key!("max.message.bytes", max_message_bytes, "1048588", "0 to 2147483647 bytes", |bytes| bytes <= I32_MAX as usize),
    key!("compression.type", compression_type, "producer", "producer, uncompressed, gzip, snappy, lz4 or zstd", anything),
    key!("compression.gzip.level", compression_gzip_level, "-1", "1 to 9, or -1 for the default",
        |level: i32| level == -1 || (1..=9).contains(&level)),
    key!("compression.lz4.level", compression_lz4_level, "9", "1 to 17", |level: i32| (1..=17).contains(&level)),
    key!("compression.zstd.level", compression_zstd_level, "3", "-131072 to 22",
        |level: i32| (-131_072..=22).contains(&level)),
    key!("message.timestamp.type", message_timestamp_type, "CreateTime", "CreateTime or LogAppendTime", anything),
    key!("message.timestamp.before.max.ms", message_timestamp_before_max, "9223372036854775807",
        "0 to 9223372036854775807 milliseconds", anything),
    key!("message.timestamp.after.max.ms", message_timestamp_after_max, "3600000",
        "0 to 9223372036854775807 milliseconds", anything),
    key!("cleanup.policy", cleanup_policy, "delete", "delete, compact or compact,delete", anything),
    key!("retention.ms", retention, "604800000", "0 to 9223372036854775807 milliseconds, or -1 for no limit", anything),
    key!("retention.bytes", retention_bytes, "-1", "0 to 9223372036854775807 bytes, or -1 for no limit",
        |limit: Limit<u64>| limit.0.is_none_or(|bytes| bytes <= i64::MAX as u64)),
    key!("durability", durability, "fsync", "os, interval or fsync", anything),
    key!("flush.ms", flush_interval, "1000", "0 to 9223372036854775807 milliseconds", anything),
    key!("flush.messages", flush_messages, "9223372036854775807", "1 to 9223372036854775807 records",
        |count| (1..=i64::MAX as u64).contains(&count)),
    key!("on.corruption", on_corruption, "fail", "fail, truncate or quarantine", anything),
];

/// The keys of a broker, in the order in which they are written (log.md 18, fetch.md 13).
#[rustfmt::skip]
pub(super) const BROKER_KEYS: &[Key<BrokerConfig>] = &[
    key!("fetch.max.bytes", fetch_max_bytes, "57671680", "1024 to 2147483647 bytes",
        |bytes: usize| (1024..=I32_MAX as usize).contains(&bytes)),
    key!("fetch.cross.segments", fetch_cross_segments, "true", "true or false", anything),
    key!("read.mode", read_mode, "mmap", "mmap or pread", anything),
    key!("max.mapped.segments", max_mapped_segments, "1024", "1 to 2147483647", is_count),
    key!("max.open.files", max_open_files, "-1",
        "1 to 2147483647, or -1 for a quarter of what the process may have",
        |limit: Limit<usize>| limit.0.is_none_or(is_count)),
    key!("log.flush.offset.checkpoint.interval.ms", checkpoint_interval, "60000",
        "1 to 9223372036854775807 milliseconds", |interval: Duration| !interval.is_zero()),
    key!("log.retention.check.interval.ms", retention_check_interval, "300000",
        "1 to 9223372036854775807 milliseconds", |interval: Duration| !interval.is_zero()),
    key!("producer.id.expiration.ms", producer_id_expiration, "86400000",
        "1 to 9223372036854775807 milliseconds", |idle: Duration| !idle.is_zero()),
    key!("store.max.bytes", store_max_bytes, "-1", "1 to 9223372036854775807 bytes, or -1 for no limit",
        |limit: Limit<u64>| limit.0.is_none_or(|bytes| (1..=i64::MAX as u64).contains(&bytes))),
    key!("store.reserve.bytes", store_reserve_bytes, "1048576", "0 to 9223372036854775807 bytes",
        |bytes: u64| bytes <= i64::MAX as u64),
    key!("store.full.policy", store_full_policy, "refuse", "refuse, block or drop-oldest", anything),
];

/// Kafka's sizes are of type `i32`.
pub(super) const I32_MAX: u64 = i32::MAX as u64;

/// The range of a number of things.
pub(super) fn is_count(count: usize) -> bool {
    (1..=I32_MAX as usize).contains(&count)
}

/// The range of a type that has no values out of range.
pub(super) fn anything<T>(_: T) -> bool {
    true
}

/// Sets what `properties` name. Ranges are left to [`check`].
pub(super) fn read<'a, C>(
    table: &'static [Key<C>],
    config: &mut C,
    properties: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<()> {
    for (name, text) in properties {
        if !read_one(table, config, name, text)? {
            return Err(invalid(name, text, nearest(table, name)));
        }
    }
    Ok(())
}

/// Sets what one property names; false if the table has no such key.
pub(super) fn read_one<C>(table: &'static [Key<C>], config: &mut C, name: &str, text: &str) -> Result<bool> {
    let Some(key) = table.iter().find(|key| key.name == name) else { return Ok(false) };
    if (key.set)(config, text.trim()) { Ok(true) } else { Err(invalid(name, text, key.range)) }
}

/// All keys that are set, with their values, in table order.
pub(super) fn write<C>(table: &'static [Key<C>], config: &C) -> Vec<(&'static str, String)> {
    table.iter().filter_map(|key| Some((key.name, (key.get)(config)?))).collect()
}

/// Refuses the first value, in table order, that is out of its range.
pub(super) fn check<C>(table: &'static [Key<C>], config: &C) -> Result<()> {
    match table.iter().find(|key| !(key.accepts)(config)) {
        None => Ok(()),
        Some(key) => Err(invalid(key.name, &(key.get)(config).unwrap_or_default(), key.range)),
    }
}

/// What to expect instead of the unknown key `name`.
fn nearest<C>(table: &'static [Key<C>], name: &str) -> &'static str {
    table.iter().min_by_key(|key| edits(key.name, name)).map_or("no key", |key| key.instead)
}

#[cold]
pub(super) fn invalid(key: &str, value: &str, expected: &'static str) -> Error {
    Error::new(ErrorKind::InvalidConfig { key: key.to_owned(), value: value.to_owned(), expected })
}

/// Letters of a word that are compared. No key has as many, and a longer word is like none.
const LETTERS_MAX: usize = 200;

/// Number of letters to insert, remove or replace to get from one word to the other (Levenshtein), as far as they are
/// compared.
pub(super) fn edits(from: &str, to: &str) -> usize {
    // `row[i]` is the distance between the first i letters of `from` and the part of `to` that was seen.
    let from: Vec<char> = from.chars().take(LETTERS_MAX).collect();
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (seen, letter) in to.chars().take(LETTERS_MAX).enumerate() {
        let mut left = seen + 1;
        let mut diagonal = seen;
        for (cell, &own) in row.iter_mut().skip(1).zip(&from) {
            let distance = (diagonal + usize::from(own != letter)).min(*cell + 1).min(left + 1);
            diagonal = std::mem::replace(cell, distance);
            left = distance;
        }
        if let Some(first) = row.first_mut() {
            *first = seen + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Milliseconds of `time`, as Kafka counts it: at most `i64::MAX`.
pub(super) fn whole_millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A value in Kafka's spelling.
pub(super) trait Value: Sized {
    /// `None` for a value that is not set.
    fn to_text(&self) -> Option<String>;
    /// `None` for text that is no value of the type.
    fn from_text(text: &str) -> Option<Self>;
}

/// Types whose text is that of the standard library.
macro_rules! plain {
    ($($type:ty),+) => {$(
        impl Value for $type {
            fn to_text(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )+};
}

plain!(bool, i32, u32, u64, usize, String);

/// A value that may not be set.
impl<T: Value> Value for Option<T> {
    fn to_text(&self) -> Option<String> {
        self.as_ref().and_then(Value::to_text)
    }

    fn from_text(text: &str) -> Option<Self> {
        T::from_text(text).map(Some)
    }
}

impl Value for Duration {
    fn to_text(&self) -> Option<String> {
        Some(whole_millis(*self).to_string())
    }

    fn from_text(text: &str) -> Option<Self> {
        let millis: i64 = text.parse().ok()?;
        u64::try_from(millis).ok().map(Duration::from_millis)
    }
}

/// A limit that may not be there, which Kafka writes as -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit<T>(pub(super) Option<T>);

impl<T: Value> Value for Limit<T> {
    fn to_text(&self) -> Option<String> {
        self.0.as_ref().map_or(Some("-1".to_owned()), Value::to_text)
    }

    fn from_text(text: &str) -> Option<Self> {
        if text == "-1" { Some(Limit(None)) } else { T::from_text(text).map(|limit| Limit(Some(limit))) }
    }
}

/// Types whose values have names.
macro_rules! named {
    ($($type:ty),+) => {$(
        impl Value for $type {
            fn to_text(&self) -> Option<String> {
                Some(self.name().to_owned())
            }

            fn from_text(text: &str) -> Option<Self> {
                <$type>::from_name(text)
            }
        }
    )+};
}

named!(
    Acks,
    CleanupPolicy,
    Compression,
    Durability,
    OnCorruption,
    ReadMode,
    StoreFullPolicy,
    TimestampType,
    TopicCompression
);

/// A new `C` has what the table says.
#[cfg(test)]
pub(super) fn assert_defaults<C>(table: &'static [Key<C>], defaults: &C) {
    for key in table {
        assert_eq!((key.get)(defaults).unwrap_or_default(), key.default, "{}", key.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Compression;

    /// For every key a value that is not the default.
    const OTHER_VALUES: &[(&str, &str)] = &[
        ("segment.bytes", "1048577"),
        ("internal.segment.bytes", "4096"),
        ("segment.ms", "3600000"),
        ("segment.jitter.ms", "60000"),
        ("segment.roll.timer", "true"),
        ("preallocate", "true"),
        ("index.interval.bytes", "512"),
        ("max.message.bytes", "65536"),
        ("compression.type", "gzip"),
        ("compression.gzip.level", "9"),
        ("compression.lz4.level", "1"),
        ("compression.zstd.level", "-5"),
        ("message.timestamp.type", "LogAppendTime"),
        ("message.timestamp.before.max.ms", "86400000"),
        ("message.timestamp.after.max.ms", "0"),
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "1000000"),
        ("durability", "interval"),
        ("flush.ms", "250"),
        ("flush.messages", "100"),
        ("on.corruption", "quarantine"),
    ];

    fn owned(properties: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        properties.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
    }

    fn refusal(key: &str, value: &str) -> String {
        TopicConfig::from_properties([(key, value)]).unwrap_err().to_string()
    }

    #[test]
    fn the_table_holds_the_defaults() {
        let defaults = TopicConfig::new();
        assert_defaults(TOPIC_KEYS, &defaults);
        defaults.check().unwrap();
        assert_eq!(TopicConfig::from_properties([]).unwrap(), defaults);
    }

    #[test]
    fn every_key_makes_the_round_trip() {
        assert!(OTHER_VALUES.iter().map(|(key, _)| *key).eq(TOPIC_KEYS.iter().map(|key| key.name)));
        let config = TopicConfig::from_properties(OTHER_VALUES.iter().copied()).unwrap();
        assert_eq!(config.to_properties(), owned(OTHER_VALUES));
        for &(key, value) in OTHER_VALUES {
            let config = TopicConfig::from_properties([(key, value)]).unwrap();
            assert_ne!(config, TopicConfig::new(), "{key} sets nothing");
            assert!(config.to_properties().contains(&(key, value.to_owned())), "{key}");
            let text = config.to_properties();
            let again = TopicConfig::from_properties(text.iter().map(|(key, value)| (*key, value.as_str()))).unwrap();
            assert_eq!(again, config, "{key}");
        }
    }

    #[test]
    fn properties_and_setters_mean_the_same_fields() {
        let set = TopicConfig::new()
            .segment_bytes(1_048_577)
            .internal_segment_bytes(4096)
            .segment_age(Duration::from_hours(1))
            .segment_jitter(Duration::from_mins(1))
            .segment_roll_timer(true)
            .preallocate(true)
            .index_interval_bytes(512)
            .max_message_bytes(65_536)
            .compression_type(Compression::Gzip)
            .compression_gzip_level(9)
            .compression_lz4_level(1)
            .compression_zstd_level(-5)
            .message_timestamp_type(TimestampType::LogAppendTime)
            .message_timestamp_before_max(Duration::from_hours(24))
            .message_timestamp_after_max(Duration::ZERO)
            .cleanup_policy(CleanupPolicy::CompactAndDelete)
            .retention(None)
            .retention_bytes(Some(1_000_000))
            .durability(Durability::Interval)
            .flush_interval(Duration::from_millis(250))
            .flush_messages(100)
            .on_corruption(OnCorruption::Quarantine);
        assert_eq!(TopicConfig::from_properties(OTHER_VALUES.iter().copied()).unwrap(), set);
        assert_eq!(set.get_index_interval_bytes(), 512);
        assert_eq!(set.get_max_message_bytes(), 65_536);
        assert_eq!(set.get_message_timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(set.get_message_timestamp_before_max(), Duration::from_hours(24));
        assert_eq!(set.get_message_timestamp_after_max(), Duration::ZERO);
        assert_eq!(set.get_cleanup_policy(), CleanupPolicy::CompactAndDelete);
        assert_eq!(set.get_durability(), Durability::Interval);
        assert_eq!(set.get_flush_messages(), 100);
    }

    #[test]
    fn the_bounds_of_every_range_hold() {
        const LONG: (&str, &str) = ("9223372036854775807", "9223372036854775808");
        const INT: (&str, &str) = ("2147483647", "2147483648");
        // (key, lowest and the one below, highest and the one above)
        let bounds = [
            ("segment.bytes", ("1048576", "1048575"), INT),
            ("internal.segment.bytes", ("256", "255"), INT),
            ("segment.ms", ("1", "0"), LONG),
            ("index.interval.bytes", ("0", "-1"), INT),
            ("max.message.bytes", ("0", "-1"), INT),
            ("compression.lz4.level", ("1", "0"), ("17", "18")),
            ("compression.zstd.level", ("-131072", "-131073"), ("22", "23")),
            ("message.timestamp.before.max.ms", ("0", "-1"), LONG),
            ("message.timestamp.after.max.ms", ("0", "-1"), LONG),
            ("flush.ms", ("0", "-1"), LONG),
            ("flush.messages", ("1", "0"), LONG),
        ];
        for (key, (lowest, below), (highest, above)) in bounds {
            for accepted in [lowest, highest] {
                let config = TopicConfig::from_properties([(key, accepted)]).unwrap();
                assert!(config.to_properties().contains(&(key, accepted.to_owned())), "{key}={accepted}");
            }
            for refused in [below, above] {
                let range = TOPIC_KEYS.iter().find(|row| row.name == key).unwrap().range;
                assert_eq!(refusal(key, refused), format!("{key} cannot be {refused}: expected {range}"));
                assert!(range.contains(highest), "{key}: {range}");
                assert!(range.starts_with(lowest), "{key}: {range}");
            }
        }
    }

    #[test]
    fn typed_values_out_of_range_fail_in_check() {
        let config = TopicConfig::new().segment_bytes(1).max_message_bytes(usize::MAX);
        let error = config.check().unwrap_err();
        assert_eq!(error.to_string(), "segment.bytes cannot be 1: expected 1048576 to 2147483647 bytes");
        assert!(matches!(error.kind(), ErrorKind::InvalidConfig { key, .. } if key == "segment.bytes"));
        assert!(TopicConfig::new().segment_age(Duration::ZERO).check().is_err());
        assert!(TopicConfig::new().max_message_bytes(usize::MAX).check().is_err());
        assert!(TopicConfig::new().index_interval_bytes(1 << 31).check().is_err());
        assert!(TopicConfig::new().flush_messages(0).check().is_err());
        assert!(TopicConfig::new().internal_segment_bytes(255).check().is_err());
    }

    #[test]
    fn words_are_spelled_as_kafka_spells_them() {
        for (key, wrong) in [
            ("message.timestamp.type", "createtime"),
            ("message.timestamp.type", ""),
            ("compression.type", "none"),
            ("compression.gzip.level", "0"),
            ("compression.gzip.level", "-2"),
            ("compression.gzip.level", "10"),
            ("cleanup.policy", "remove"),
            ("durability", "Fsync"),
            ("segment.bytes", "1e9"),
            ("segment.bytes", ""),
            ("segment.ms", "7d"),
            ("internal.segment.bytes", ""),
        ] {
            assert!(refusal(key, wrong).starts_with(&format!("{key} cannot be {wrong}: expected ")), "{key}={wrong}");
        }
        let config =
            TopicConfig::from_properties([("segment.bytes", " 1048576 "), ("cleanup.policy", "delete, compact")]);
        assert_eq!(
            config.unwrap(),
            TopicConfig::new().segment_bytes(1 << 20).cleanup_policy(CleanupPolicy::CompactAndDelete)
        );
    }

    #[test]
    fn the_last_of_two_values_counts() {
        let config = TopicConfig::from_properties([("flush.ms", "1"), ("flush.ms", "2")]).unwrap();
        assert_eq!(config.get_flush_interval(), Duration::from_millis(2));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        for (unknown, near) in [
            ("segment.byte", "segment.bytes"),
            ("segment_ms", "segment.ms"),
            ("max.mesage.bytes", "max.message.bytes"),
            ("log.cleanup.policy", "cleanup.policy"),
            ("Durability", "durability"),
            ("message.timestamp.before.max", "message.timestamp.before.max.ms"),
        ] {
            let expected =
                format!("{unknown} cannot be 1: expected a key that this version honours; the nearest is {near}");
            assert_eq!(refusal(unknown, "1"), expected);
        }
        assert!(refusal("", "1").starts_with(" cannot be 1"));
    }

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in
            [("", "", 0), ("abc", "", 3), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("é", "e", 1)]
        {
            assert_eq!(edits(from, to), count, "{from} {to}");
        }
    }
}

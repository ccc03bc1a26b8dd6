//! The file that makes a topic exist: its id, its number of partitions, and every setting.
//!
//! Lines `key=value` in the manner of Java's properties, settings by Kafka's keys, and a last line with the CRC-32 of
//! all before it:
//!
//! ```text
//! version=1
//! topic.id=8XvtwWhcQ4WbGEcuGqCYmA
//! partitions=4
//! segment.bytes=134217728
//! ...
//! crc32=b1e3e9f2
//! ```
//!
//! A topic that is being created or deleted has a line `state=creating` or `state=deleting` behind the version: the next
//! open finishes what it says. Without the line the topic is there.
//!
//! All settings are written, also those that were left at their defaults: a topic keeps what it was created with when
//! a later version has other defaults.

use std::fmt::Write;

use uuid::Uuid;

use super::topics::MAX_PARTITIONS;
use crate::config::TopicConfig;

/// What the file says.
#[derive(Clone, Debug)]
pub(crate) struct TopicFile {
    pub(crate) state: TopicState,
    pub(crate) id: Uuid,
    pub(crate) partitions: i32,
    pub(crate) config: TopicConfig,
}

/// How far a topic has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicState {
    /// Its directories are being made; nobody uses them yet.
    Creating,
    /// It is there.
    Live,
    /// Nobody uses its directories any more; they are being removed.
    Deleting,
}

impl TopicFile {
    /// The content of the file.
    pub(crate) fn to_text(&self) -> String {
        let state = match self.state {
            TopicState::Creating => "state=creating\n",
            TopicState::Live => "",
            TopicState::Deleting => "state=deleting\n",
        };
        let id = id_text(self.id);
        let mut text = format!("version=1\n{state}topic.id={id}\npartitions={}\n", self.partitions);
        for (key, value) in self.config.to_properties() {
            let _ = writeln!(text, "{key}={value}"); // a String takes everything
        }
        let crc = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "crc32={crc:08x}");
        text
    }

    /// Reads the content of the file, or says what is wrong with it.
    pub(crate) fn from_text(text: &str) -> Result<Self, String> {
        let body = whole_body(text)?;
        let properties: Vec<_> = body.lines().filter_map(|line| line.split_once('=')).collect();
        let value = |key: &str| properties.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        match value("version") {
            Some("1") => {}
            version => return Err(format!("version {} is not known here", version.unwrap_or("(none)"))),
        }
        let settings = properties.iter().copied().filter(|(key, _)| !OWN_KEYS.contains(key));
        let state = match value("state") {
            None => TopicState::Live,
            Some("creating") => TopicState::Creating,
            Some("deleting") => TopicState::Deleting,
            Some(state) => return Err(format!("state {state} is not known here")),
        };
        Ok(TopicFile {
            state,
            id: value("topic.id").and_then(parse_id).ok_or("the topic id is missing")?,
            partitions: value("partitions")
                .and_then(|count| count.parse().ok())
                .filter(|count| (1..=MAX_PARTITIONS).contains(count))
                .ok_or("the number of partitions is missing or impossible")?,
            config: TopicConfig::from_properties(settings).map_err(|error| error.to_string())?,
        })
    }

    /// The version of a file that is whole, if it is not the one that is known here: nothing is wrong with such a file.
    pub(crate) fn foreign_version(text: &str) -> Option<&str> {
        let mut lines = whole_body(text).ok()?.lines();
        lines.find_map(|line| line.strip_prefix("version=")).filter(|version| *version != "1")
    }
}

/// What lies before the checksum, if that is right.
fn whole_body(text: &str) -> Result<&str, String> {
    let (body, crc) = text.rsplit_once("crc32=").ok_or("the checksum is missing")?;
    let crc = crc.strip_suffix('\n').filter(|crc| crc.len() == 8).and_then(|crc| u32::from_str_radix(crc, 16).ok());
    if crc != Some(crc32fast::hash(body.as_bytes())) {
        return Err("the checksum does not match".to_owned());
    }
    Ok(body)
}

const OWN_KEYS: [&str; 4] = ["version", "state", "topic.id", "partitions"];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A topic id as Kafka writes it: 22 characters of URL-safe base64 without padding (log.md 3, `Uuid.toString`).
pub(crate) fn id_text(id: Uuid) -> String {
    // 22 characters of 6 bits are 4 more than the id has: they follow it as zeros.
    let bits = id.as_u128();
    let sextet = |at: u32| if at == 21 { bits << 4 } else { bits >> (122 - 6 * at) } & 63;
    (0..22).filter_map(|at| ALPHABET.get(sextet(at) as usize)).map(|byte| char::from(*byte)).collect()
}

/// The inverse of [`id_text`]. The id of zeros is not one.
pub(crate) fn parse_id(text: &str) -> Option<Uuid> {
    let sextets = text.bytes().map(|byte| ALPHABET.iter().position(|letter| *letter == byte).map(|at| at as u128));
    let bits = sextets.enumerate().try_fold(0u128, |bits, (at, sextet)| match at {
        0..=20 => Some(bits << 6 | sextet?),
        21 => sextet.filter(|sextet| sextet & 15 == 0).map(|sextet| bits << 2 | sextet >> 4),
        _ => None,
    })?;
    (text.len() == 22 && bits != 0).then(|| Uuid::from_u128(bits))
}

/// Kafka's `partition.metadata` (log.md 3).
pub(crate) fn partition_metadata(id: Uuid) -> String {
    format!("version: 0\ntopic_id: {}", id_text(id))
}

/// The topic id in a `partition.metadata`.
pub(crate) fn id_in_partition_metadata(text: &str) -> Option<Uuid> {
    text.lines().find_map(|line| parse_id(line.strip_prefix("topic_id:")?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sample() -> TopicFile {
        let id = Uuid::from_u128(0x00112233_4455_6677_8899_aabbccddeeff);
        let config = TopicConfig::new().segment_bytes(1 << 20).flush_interval(Duration::from_millis(77));
        TopicFile { state: TopicState::Live, id, partitions: 4, config }
    }

    #[test]
    fn round_trip() {
        for state in [TopicState::Creating, TopicState::Live, TopicState::Deleting] {
            let text = TopicFile { state, ..sample() }.to_text();
            assert_eq!(text.contains("state="), state != TopicState::Live);
            let read = TopicFile::from_text(&text).unwrap();
            assert_eq!((read.state, read.id, read.partitions), (state, sample().id, 4));
            assert_eq!(read.config.to_properties(), sample().config.to_properties());
        }
    }

    #[test]
    fn impossible_numbers_and_other_versions_are_refused() {
        let with_sum = |body: &str| format!("{body}crc32={:08x}\n", crc32fast::hash(body.as_bytes()));
        let text = sample().to_text();
        let body = text.rsplit_once("crc32=").unwrap().0;
        assert_eq!(TopicFile::foreign_version(&text), None);
        for count in ["0", "-1", "10001", "2147483647", "x"] {
            let text = with_sum(&body.replace("partitions=4", &format!("partitions={count}")));
            assert!(TopicFile::from_text(&text).unwrap_err().contains("number of partitions"), "{count}");
        }
        TopicFile::from_text(&with_sum(&body.replace("partitions=4", "partitions=10000"))).unwrap();
        let newer = with_sum(&body.replace("version=1", "version=2"));
        assert_eq!(TopicFile::foreign_version(&newer), Some("2"));
        TopicFile::from_text(&newer).unwrap_err();
        assert_eq!(TopicFile::foreign_version(&newer[1..]), None, "damaged");
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let text = sample().to_text();
        for len in 0..text.len() {
            TopicFile::from_text(&text[..len]).unwrap_err();
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            TopicFile::from_text(std::str::from_utf8(&bytes).unwrap()).unwrap_err();
        }
    }

    #[test]
    fn ids_are_kafkas_base64() {
        // Computed with Java: new Uuid(0x0011223344556677L, 0x8899aabbccddeeffL).toString()
        assert_eq!(id_text(sample().id), "ABEiM0RVZneImaq7zN3u_w");
        assert_eq!(parse_id("ABEiM0RVZneImaq7zN3u_w"), Some(sample().id));
        for wrong in
            ["", "AAAAAAAAAAAAAAAAAAAAAA", "ABEiM0RVZneImaq7zN3u_x", "ABEiM0RVZneImaq7zN3u_", "ABEiM0RVZneImaq7zN3u/w"]
        {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
        assert_eq!(id_in_partition_metadata(&partition_metadata(sample().id)), Some(sample().id));
    }
}

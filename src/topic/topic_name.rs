//! Which names a topic may have, and which directories are partitions.

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::types::TopicPartition;

/// Longest topic name, in bytes (records.md 14, `Topic.MAX_NAME_LENGTH`).
const NAME_LEN_MAX: usize = 249;

/// Longest name of a directory, in bytes (log.md 1).
const DIR_NAME_LEN_MAX: usize = 255;

/// The topic that holds committed offsets and groups (groups.md 10).
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Whether the engine alone writes to the topic.
pub(crate) fn is_internal(topic: &str) -> bool {
    topic == OFFSETS_TOPIC
}

/// Refuses names that Kafka refuses.
///
/// Rule: records.md 14, `Topic.validate`.
pub(crate) fn check_topic_name(name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name == "." || name == ".." {
        "\".\" and \"..\" are directories"
    } else if name.len() > NAME_LEN_MAX {
        "it has more than 249 characters"
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        "only the letters a to z and A to Z, digits, \".\", \"_\" and \"-\" are allowed"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidTopic { topic: name.to_owned(), reason }))
}

/// Whether two different names would be one in Kafka's metrics, which is why Kafka refuses the second.
///
/// Rule: wire.md 5.6, `Topic.hasCollision`.
pub(super) fn collide(a: &str, b: &str) -> bool {
    let unified = |name: &str| name.replace('.', "_");
    a != b && unified(a) == unified(b)
}

/// The name that the directory of a partition gets when its topic is deleted. `unique` tells it from others, since the
/// topic's name is shortened to fit.
///
/// Rule: log.md 1, `LocalLog.logDeleteDirName`.
pub(super) fn deleted_dir_name(partition: &TopicPartition, unique: Uuid) -> String {
    let suffix = format!("-{}.{}-delete", partition.partition(), unique.simple());
    let topic: String = partition.topic().chars().take(DIR_NAME_LEN_MAX - suffix.len()).collect();
    topic + &suffix
}

/// Whether a directory of this name is one of a deleted topic, ours or Kafka's.
pub(super) fn is_deleted_dir(name: &str) -> bool {
    is_set_aside(name, "-delete")
}

/// Whether a directory of this name is what a Kafka broker makes of a partition for reasons that do not concern us.
pub(super) fn is_kafkas_own_dir(name: &str) -> bool {
    is_set_aside(name, "-future") || is_set_aside(name, "-stray")
}

/// Whether it is `<topic>-<partition>.<32 hex><suffix>`.
fn is_set_aside(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).and_then(|name| name.rsplit_once('.')).is_some_and(|(partition, unique)| {
        let is_unique = unique.len() == 32 && unique.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_unique && parse_partition_dir(partition).is_some()
    })
}

/// Topic and partition of a directory name: the digits behind the last `-` are the partition
/// (`LocalLog.parseTopicPartitionName`).
pub(crate) fn parse_partition_dir(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    check_topic_name(topic).ok()?;
    let number: i32 = partition.parse().ok().filter(|number| 0 <= *number)?;
    (partition == number.to_string()).then_some((topic, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kafka_takes() {
        for name in ["a", "orders", "A.b_c-9", "...", "__consumer_offsets", &"x".repeat(249)] {
            check_topic_name(name).unwrap();
        }
    }

    #[test]
    fn names_that_kafka_refuses() {
        for name in ["", ".", "..", "a/b", "a b", "a\0", "größe", "a:b", "../x", &"x".repeat(250)] {
            let error = check_topic_name(name).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidTopic { topic, .. } if topic == name), "{name}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(collide("a.b", "a_b"));
        assert!(!collide("a.b", "a.b"));
        assert!(!collide("a.b", "a-b"));
    }

    #[test]
    fn directories_of_deleted_topics() {
        let unique = Uuid::from_u128(0x00112233_4455_6677_8899_aabbccddeeff);
        let name = deleted_dir_name(&TopicPartition::new("orders", 3), unique);
        assert_eq!(name, "orders-3.00112233445566778899aabbccddeeff-delete");
        let long = deleted_dir_name(&TopicPartition::new("x".repeat(249), 9999), unique);
        assert_eq!(long.len(), 255);
        for name in [&name, &long] {
            assert!(is_deleted_dir(name) && !is_kafkas_own_dir(name), "{name}");
        }
        for suffix in ["-future", "-stray"] {
            assert!(is_kafkas_own_dir(&name.replace("-delete", suffix)), "{suffix}");
        }
        for name in
            ["t-0-delete", "t-0.0f-delete", "t.00112233445566778899aabbccddeeff-delete", "t-0.x-delete", "-delete"]
        {
            assert!(!is_deleted_dir(name), "{name}");
        }
    }

    #[test]
    fn partition_directories() {
        assert_eq!(parse_partition_dir("orders-3"), Some(("orders", 3)));
        assert_eq!(parse_partition_dir("a-b-0"), Some(("a-b", 0)));
        for name in [
            "orders",
            "orders-",
            "-1",
            "orders--x",
            "orders-+1",
            "orders-0.0f-delete",
            "orders-00",
            "orders-07",
            "x-99999999999",
            "a b-1",
        ] {
            assert_eq!(parse_partition_dir(name), None, "{name}");
        }
    }
}

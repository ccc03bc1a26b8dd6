//! How a topic's batches are compressed.

use std::fmt;

use super::topic::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::types::Compression;

/// How the batches of a topic are stored: as their producer compressed them, or all in the same way.
///
/// ```
/// use thalweg::{Compression, TopicCompression};
///
/// assert_eq!(TopicCompression::from_name("uncompressed"), Some(Compression::None.into()));
/// assert_eq!(TopicCompression::default().name(), "producer");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TopicCompression {
    /// As the producer compressed them.
    #[default]
    Producer,
    /// With this codec, or not at all. A batch that comes otherwise is written anew.
    Codec(Compression),
}

impl TopicCompression {
    /// Kafka's spelling: `producer`, `uncompressed`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub fn name(self) -> &'static str {
        match self {
            TopicCompression::Producer => "producer",
            TopicCompression::Codec(Compression::None) => "uncompressed",
            TopicCompression::Codec(codec) => codec.name(),
        }
    }

    /// The inverse of [`name`](TopicCompression::name).
    pub fn from_name(name: &str) -> Option<Self> {
        let codecs = Compression::ALL.into_iter().map(TopicCompression::Codec);
        codecs.chain([TopicCompression::Producer]).find(|compression| compression.name() == name)
    }

    /// The codec of a batch whose producer has chosen `source`.
    pub(crate) fn target(self, source: Compression) -> Compression {
        match self {
            TopicCompression::Producer => source,
            TopicCompression::Codec(codec) => codec,
        }
    }
}

impl From<Compression> for TopicCompression {
    fn from(codec: Compression) -> Self {
        TopicCompression::Codec(codec)
    }
}

impl fmt::Display for TopicCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TopicConfig {
    /// `compression.type`.
    pub(crate) fn get_compression_type(&self) -> TopicCompression {
        self.compression_type
    }

    /// The level that the topic has for `codec`; `None` for one without levels.
    pub(crate) fn get_compression_level(&self, codec: Compression) -> Option<i32> {
        match codec {
            Compression::None | Compression::Snappy => None,
            Compression::Gzip => Some(self.compression_gzip_level),
            Compression::Lz4 => Some(self.compression_lz4_level),
            Compression::Zstd => Some(self.compression_zstd_level),
        }
    }

    /// Refuses a `compression.type` that this build cannot write: [`ErrorKind::InvalidConfig`]. Looked at where a topic
    /// is created or changed, and not by [`check`](TopicConfig::check): a topic that another build has made can be read
    /// all the same.
    pub(crate) fn check_codec(&self) -> Result<()> {
        match self.compression_type {
            TopicCompression::Codec(codec) if !codec.is_supported() => Err(Error::new(ErrorKind::InvalidConfig {
                key: "compression.type".to_owned(),
                value: codec.name().to_owned(),
                expected: "a codec that this build has: those of the features gzip, snappy, lz4 and zstd that are on",
            })),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        for name in ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] {
            assert_eq!(TopicCompression::from_name(name).unwrap().to_string(), name);
        }
        for wrong in ["none", "", "Producer", "brotli"] {
            assert_eq!(TopicCompression::from_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_topic_wins_unless_it_leaves_it_to_the_producer() {
        for source in Compression::ALL {
            assert_eq!(TopicCompression::Producer.target(source), source);
            assert_eq!(TopicCompression::from(Compression::Lz4).target(source), Compression::Lz4);
        }
    }

    #[test]
    fn each_codec_has_its_level() {
        let config = TopicConfig::new().compression_gzip_level(1).compression_lz4_level(2).compression_zstd_level(-3);
        let levels = Compression::ALL.map(|codec| config.get_compression_level(codec));
        assert_eq!(levels, [None, Some(1), None, Some(2), Some(-3)]);
    }

    #[test]
    fn a_codec_that_is_not_built_in_is_refused_where_a_topic_is_made() {
        for codec in Compression::ALL {
            let config = TopicConfig::new().compression_type(codec);
            config.check().unwrap();
            let refused = config.check_codec().err().map(|error| error.to_string());
            assert_eq!(refused.is_none(), codec.is_supported());
            let expected = format!("compression.type cannot be {codec}: expected a codec that this build has");
            assert!(refused.is_none_or(|refused| refused.starts_with(&expected)));
        }
    }
}

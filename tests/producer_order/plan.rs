//! What a seed makes of a round.

use std::time::Duration;

use thalweg::{Acks, Compression, Durability, ProducerConfig, TopicConfig};

use crate::random::Random;

/// One round.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Records of each thread.
    pub(crate) records: usize,
    pub(crate) partitions: i32,
    pub(crate) acks: Acks,
    linger_ms: u64,
    batch_size: usize,
    buffer_memory: u64,
    compression: Compression,
    idempotence: bool,
    durability: Durability,
    pub(crate) disk: Disk,
    /// Whether the device breaks: syncs fail, too, and a partition takes nothing more then.
    pub(crate) breaks: bool,
    /// Whether the process ends in the midst of it.
    pub(crate) is_killed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Real,
    Simulated,
}

impl Plan {
    /// A round on a disk that fails.
    pub(crate) fn failing(seed: u64) -> Self {
        let mut random = Random(seed);
        Plan {
            seed,
            records: 100,
            partitions: random.pick(&[1, 1, 2, 5]),
            acks: random.pick(&[Acks::All, Acks::All, Acks::Leader, Acks::None]),
            linger_ms: random.pick(&[0, 5]),
            batch_size: random.pick(&[0, 200, 1000, 16_384]),
            buffer_memory: random.pick(&[1200, 4000, 64_000, 32 << 20]),
            compression: random.pick(&[Compression::None, Compression::None, Compression::Lz4]),
            idempotence: random.percent(80),
            durability: random.pick(&[Durability::Os, Durability::Interval, Durability::Fsync]),
            disk: Disk::Simulated,
            breaks: random.percent(20),
            is_killed: random.percent(40),
        }
    }

    /// A round with the broker's own threads and clock.
    pub(crate) fn real(seed: u64) -> Self {
        let plan = Plan::failing(!seed);
        let (disk, records) = (Disk::Real, 300);
        Plan { seed, records, disk, breaks: false, is_killed: false, ..plan }
    }

    pub(crate) fn producer(&self) -> ProducerConfig {
        let config = ProducerConfig::new()
            .acks(self.acks)
            .linger(Duration::from_millis(self.linger_ms))
            .batch_size(self.batch_size)
            .buffer_memory(self.buffer_memory)
            .compression_type(self.compression)
            .retry_backoff(Duration::from_millis(10))
            .retry_backoff_max(Duration::from_millis(100))
            .max_block(Duration::from_millis(i64::MAX as u64))
            .delivery_timeout(Duration::from_millis(i32::MAX as u64));
        // `acks` that are fewer switch it off unless it is asked for, and are refused if it is.
        if self.idempotence { config } else { config.enable_idempotence(false) }
    }

    /// Whether an acknowledgement promises more than that the process may end: that the device has it.
    pub(crate) fn promises_syncs(&self) -> bool {
        self.acks == Acks::All && self.durability == Durability::Fsync
    }

    pub(crate) fn topic(&self) -> TopicConfig {
        TopicConfig::new().durability(self.durability).internal_segment_bytes(20_000)
    }
}

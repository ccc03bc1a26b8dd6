//! What a record holds: its value tells who sent it, where to and in which order.

use thalweg::TopicPartition;

/// The partitions that are sent to: topic and number.
pub(crate) const LANES: [(&str, i32); 7] =
    [("kept", 0), ("kept", 1), ("kept", 2), ("retained", 0), ("retained", 1), ("deletable", 0), ("deletable", 1)];

/// Number of a record: the run of the child, the sender in it, the lane, and how many that sender had sent there before.
pub(crate) fn id(run: u64, sender: u64, lane: usize, sequence: u64) -> u64 {
    assert!(sender < 16 && sequence < 1 << 28);
    (run & 0xff_ffff) << 40 | sender << 36 | (lane as u64) << 32 | sequence
}

/// Who sent a record, and as which of the records it sent to this lane.
pub(crate) fn sender_and_sequence(id: u64) -> (u64, u64) {
    (id >> 32, id & 0xffff_ffff)
}

/// The lane of a record.
pub(crate) fn lane_name(id: u64) -> Option<TopicPartition> {
    LANES.get((id >> 32 & 0xf) as usize).map(|(topic, number)| TopicPartition::new(*topic, *number))
}

/// The value of the record with this number: the number, and up to 300 bytes that follow from it.
pub(crate) fn value(id: u64) -> Vec<u8> {
    let mut random = Random::new(id);
    let words = random.below(38);
    let mut value = id.to_be_bytes().to_vec();
    (0..words).for_each(|_| value.extend_from_slice(&random.next().to_be_bytes()));
    value
}

/// The number of the record with this value, if it is as it was sent.
pub(crate) fn id_of(bytes: &[u8]) -> Option<u64> {
    let id = u64::from_be_bytes(*bytes.first_chunk()?);
    (bytes == value(id)).then_some(id)
}

/// Xorshift: enough for moments and bytes.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }
}

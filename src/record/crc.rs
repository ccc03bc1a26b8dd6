//! The checksum of record batches.

use crc_fast::CrcAlgorithm;

/// CRC-32C (Castagnoli, also called CRC-32/ISCSI), which batches carry over everything from their attributes on.
#[inline]
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    // The library returns every width in 64 bits; this one fills the lower 32.
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_castagnoli() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }
}

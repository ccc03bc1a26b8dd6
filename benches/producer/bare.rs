//! The bare contestant: a loop that does what cannot be left out, and nothing else.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crc_fast::CrcAlgorithm;
use rustix::fs::{FallocateFlags, fallocate};

/// Bytes in front of the records of a batch.
const HEADER_LEN: usize = 61;

/// Records in Kafka's encoding, in a buffer that a batch fits into. One timestamp for all, no record headers.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    count: u32,
    limit: usize,
}

impl Batch {
    pub(crate) fn new(limit: usize) -> Self {
        let mut bytes = Vec::with_capacity(limit.max(2048) + 16);
        bytes.resize(HEADER_LEN, 0);
        Batch { bytes, count: 0, limit }
    }

    /// Whether `size` bytes more are too many.
    pub(crate) fn has_no_room(&self, size: usize) -> bool {
        self.count > 0 && self.limit < self.bytes.len() + size
    }

    /// Bytes of the record behind its length, and of all of it.
    #[inline]
    pub(crate) fn sizes(&self, key: Option<&[u8]>, value: &[u8]) -> (usize, usize) {
        let key = key.map_or(1, |key| varint_size(key.len() as u32 * 2) + key.len());
        let body = 3 + varint_size(self.count * 2) + key + varint_size(value.len() as u32 * 2) + value.len();
        (body, varint_size(body as u32 * 2) + body)
    }

    #[inline]
    pub(crate) fn push(&mut self, key: Option<&[u8]>, value: &[u8], body: usize) {
        // The numbers in front of the key take fewer than 16 bytes: one store, whatever their lengths are.
        let mut head = Word::default();
        head.put(body as u32 * 2);
        head.put(0); // attributes
        head.put(0); // timestamp
        head.put(self.count * 2);
        match key {
            None => head.put(1), // -1
            Some(key) => {
                head.put(key.len() as u32 * 2);
                head.append_to(&mut self.bytes);
                self.bytes.extend_from_slice(key);
                head = Word::default();
            }
        }
        head.put(value.len() as u32 * 2);
        head.append_to(&mut self.bytes);
        self.bytes.extend_from_slice(value);
        self.bytes.push(0); // no headers
        self.count += 1;
    }

    /// Fills in the header. Its checksum is that of the batch.
    pub(crate) fn finish(&mut self, base_offset: u64) -> &[u8] {
        let size = self.bytes.len() as u32 - 12;
        self.bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        self.bytes[8..12].copy_from_slice(&size.to_be_bytes());
        self.bytes[16] = 2; // magic
        self.bytes[23..27].copy_from_slice(&(self.count - 1).to_be_bytes());
        self.bytes[43..57].fill(0xff); // no producer id, epoch and sequence
        self.bytes[57..61].copy_from_slice(&self.count.to_be_bytes());
        let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &self.bytes[21..]) as u32;
        self.bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        &self.bytes
    }

    /// What compression is about.
    pub(crate) fn records(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEADER_LEN);
        self.count = 0;
    }
}

/// Up to 16 bytes that are put together in registers.
#[derive(Default)]
struct Word {
    bytes: u128,
    len: usize,
}

impl Word {
    #[inline(always)]
    fn put(&mut self, number: u32) {
        let mut number = number;
        while 0x80 <= number {
            self.put_byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.put_byte(number as u8);
    }

    #[inline(always)]
    fn put_byte(&mut self, byte: u8) {
        self.bytes |= u128::from(byte) << (8 * self.len);
        self.len += 1;
    }

    #[inline(always)]
    fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.truncate(end);
    }
}

#[inline]
fn varint_size(number: u32) -> usize {
    (38 - (number | 1).leading_zeros() as usize) / 7
}

/// Files that are written one after the other, like the segments of a log.
pub(crate) struct Files {
    dir: PathBuf,
    file: File,
    number: usize,
    pos: usize,
    segment_bytes: usize,
    preallocate: bool,
}

impl Files {
    pub(crate) fn new(dir: &Path, segment_bytes: usize, preallocate: bool) -> Self {
        fs::create_dir_all(dir).unwrap();
        let file = create(dir, 0, segment_bytes, preallocate);
        Files { dir: dir.to_owned(), file, number: 0, pos: 0, segment_bytes, preallocate }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.segment_bytes < self.pos + bytes.len() {
            if self.preallocate {
                self.file.set_len(self.pos as u64).unwrap();
            }
            self.number += 1;
            self.file = create(&self.dir, self.number, self.segment_bytes, self.preallocate);
            self.pos = 0;
        }
        self.file.write_all_at(bytes, self.pos as u64).unwrap();
        self.pos += bytes.len();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

fn create(dir: &Path, number: usize, segment_bytes: usize, preallocate: bool) -> File {
    let file = File::create(dir.join(number.to_string())).unwrap();
    if preallocate {
        fallocate(&file, FallocateFlags::empty(), 0, segment_bytes as u64).unwrap();
    }
    file
}

/// A loop that encodes records, and with `files` also computes the checksum of each batch and writes it.
pub(crate) struct Encoder {
    batch: Batch,
    files: Option<Files>,
    next_offset: u64,
}

impl Encoder {
    pub(crate) fn new(batch_size: usize, files: Option<Files>) -> Self {
        Encoder { batch: Batch::new(batch_size), files, next_offset: 0 }
    }

    #[inline]
    pub(crate) fn put(&mut self, key: Option<&[u8]>, value: &[u8]) {
        let (mut body, size) = self.batch.sizes(key, value);
        if self.batch.has_no_room(size) {
            self.flush();
            body = self.batch.sizes(key, value).0;
        }
        self.batch.push(key, value, body);
    }

    pub(crate) fn flush(&mut self) {
        match &mut self.files {
            Some(files) => files.write(self.batch.finish(self.next_offset)),
            None => _ = std::hint::black_box(self.batch.records()),
        }
        self.next_offset += u64::from(self.batch.count);
        self.batch.clear();
    }
}

//! Writing batches: records in, the bytes of a batch out.

use std::fmt;
use std::mem::MaybeUninit;

use zerocopy::{FromBytes, IntoBytes};

use super::batch::Batch;
use super::compress;
use super::crc::crc32c;
use super::draft::Draft;
use super::header::{
    ATTRIBUTES_OFFSET, Attributes, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC, NO_LEADER_EPOCH,
};
use super::malformed::Malformed;
use super::record::Record;
use super::varint::{varint_size, varlong_size, write_varint, write_varlong};
use crate::types::{NO_TIMESTAMP, Offset, Timestamp, TimestampType};

/// What a batch's header says beyond its records. The default is what a producer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchFields {
    /// The offset that delta 0 stands for.
    pub(crate) base_offset: Offset,
    /// The leader epoch, -1 for unknown.
    pub(crate) leader_epoch: i32,
    /// Which clock the timestamps come from.
    pub(crate) timestamp_type: TimestampType,
    /// Whether the records belong to a transaction.
    pub(crate) transactional: bool,
    /// Whether the records are control records.
    pub(crate) control: bool,
    /// The delete horizon, which takes the place of the base timestamp.
    pub(crate) delete_horizon: Option<Timestamp>,
    /// Last offset minus base offset; `None` for that of the last record.
    pub(crate) last_offset_delta: Option<i32>,
    /// The max timestamp; `None` for the largest of the records.
    pub(crate) max_timestamp: Option<Timestamp>,
    /// The idempotent producer, -1 for none.
    pub(crate) producer_id: i64,
    /// The producer's epoch, -1 for none.
    pub(crate) producer_epoch: i16,
    /// The sequence number of delta 0, -1 for none.
    pub(crate) base_sequence: i32,
}

impl Default for BatchFields {
    fn default() -> Self {
        BatchFields {
            base_offset: 0,
            leader_epoch: NO_LEADER_EPOCH,
            timestamp_type: TimestampType::CreateTime,
            transactional: false,
            control: false,
            delete_horizon: None,
            last_offset_delta: None,
            max_timestamp: None,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
        }
    }
}

impl BatchFields {
    /// The fields that stay as they are when some of `batch`'s records are compacted away. Rule: records.md 9.
    pub(crate) fn kept_of(batch: Batch<'_>) -> Self {
        let timestamp_type = batch.timestamp_type();
        BatchFields {
            base_offset: batch.base_offset(),
            leader_epoch: batch.leader_epoch(),
            timestamp_type,
            transactional: batch.is_transactional(),
            control: batch.is_control(),
            delete_horizon: batch.delete_horizon(),
            last_offset_delta: Some(batch.last_offset_delta()),
            max_timestamp: (timestamp_type == TimestampType::LogAppendTime).then(|| batch.max_timestamp()),
            producer_id: batch.producer_id().unwrap_or(-1),
            producer_epoch: batch.producer_epoch(),
            base_sequence: batch.base_sequence(),
        }
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
            .with_timestamp_type(self.timestamp_type)
            .with_transactional(self.transactional)
            .with_control(self.control)
    }
}

/// Collects records behind the place for their header; [`finish`](BatchBuilder::finish) fills that in.
///
/// A builder is made to be used again: [`clear`](BatchBuilder::clear) keeps its memory, and once that has grown to the
/// size of the batches, pushing allocates nothing.
pub(crate) struct BatchBuilder {
    /// The place of the header, then the records, not compressed.
    plain: Vec<u8>,
    /// The place of the header, then the records, compressed. Filled by `finish`.
    packed: Vec<u8>,
    fields: BatchFields,
    count: i32,
    /// Fixed by the first record.
    base_timestamp: Timestamp,
    /// The largest timestamp so far.
    max_timestamp: Timestamp,
    /// The offset delta of the last record, -1 before the first.
    last_offset_delta: i32,
}

impl fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchBuilder").field("count", &self.count).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl BatchBuilder {
    /// An empty builder for what a producer sends. It allocates with the first record.
    pub(crate) fn new() -> Self {
        BatchBuilder {
            plain: Vec::new(),
            packed: Vec::new(),
            fields: BatchFields::default(),
            count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            last_offset_delta: -1,
        }
    }

    /// Allocates what a batch of `capacity` bytes takes, so that filling it up to there does not.
    pub(crate) fn reserve(&mut self, capacity: usize) {
        self.plain.reserve_exact(BatchBuilder::reserved(capacity).saturating_sub(self.plain.len()));
    }

    /// Bytes that [`reserve`](BatchBuilder::reserve) leads to.
    pub(crate) fn reserved(capacity: usize) -> usize {
        capacity.saturating_add(Draft::ROOM)
    }

    /// The memory of the next `len` bytes, as far as there is any.
    #[inline]
    pub(crate) fn room(&mut self, len: usize) -> &mut [MaybeUninit<u8>] {
        let room = self.plain.spare_capacity_mut();
        let len = len.min(room.len());
        room.get_mut(..len).unwrap_or_default()
    }

    /// Bytes that it holds, used or not, without those for compressing.
    pub(crate) fn capacity(&self) -> usize {
        self.plain.capacity()
    }

    /// Exchanges the memory that compressing uses, so that many builders can share it.
    pub(crate) fn swap_packed(&mut self, packed: &mut Vec<u8>) {
        std::mem::swap(&mut self.packed, packed);
    }

    /// Makes the builder as good as new, but for its memory.
    pub(crate) fn clear(&mut self) {
        self.begin(BatchFields::default());
    }

    /// Begins a batch whose header will have `fields`. What was in the builder is gone, its memory stays.
    pub(crate) fn begin(&mut self, fields: BatchFields) {
        self.plain.clear();
        self.packed.clear();
        self.fields = fields;
        self.count = 0;
        self.base_timestamp = NO_TIMESTAMP;
        self.max_timestamp = NO_TIMESTAMP;
        self.last_offset_delta = -1;
    }

    /// Whether there is no record yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, before compression, header included.
    pub(crate) fn len(&self) -> usize {
        self.plain.len().max(HEADER_LEN)
    }

    /// Number of records.
    pub(crate) fn count(&self) -> i32 {
        self.count
    }

    /// The offset delta of the last record, -1 before the first.
    #[inline]
    pub(crate) fn last_offset_delta(&self) -> i32 {
        self.last_offset_delta
    }

    /// The largest timestamp pushed, -1 if none.
    pub(crate) fn max_timestamp(&self) -> Timestamp {
        self.max_timestamp
    }

    /// Names the idempotent producer of the batch: 0 or more each, but for control records, which have sequence -1.
    pub(crate) fn set_producer(&mut self, id: i64, epoch: i16, base_sequence: i32) {
        self.fields.producer_id = id;
        self.fields.producer_epoch = epoch;
        self.fields.base_sequence = base_sequence;
    }

    /// Says whether the records belong to a transaction.
    pub(crate) fn set_transactional(&mut self, transactional: bool) {
        self.fields.transactional = transactional;
    }

    /// Says whether the records are control records.
    pub(crate) fn set_control(&mut self, control: bool) {
        self.fields.control = control;
    }

    /// Bytes, before compression, by which [`push`](BatchBuilder::push) with the same arguments would make the batch
    /// longer.
    #[cfg(test)]
    pub(super) fn record_size<'h>(
        &self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) -> usize {
        self.measure(timestamp, key, value, measure_headers(headers)).size()
    }

    /// Bytes of a batch that holds nothing but this record.
    pub(crate) fn size_alone<'h>(
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) -> usize {
        HEADER_LEN + BatchBuilder::new().measure(timestamp, key, value, measure_headers(headers)).size()
    }

    /// Most bytes of such a batch, whatever the timestamp.
    pub(crate) fn size_alone_max<'h>(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) -> usize {
        // Length, attributes, timestamp delta, offset delta 0, lengths of key and value.
        const FIELDS_MAX: usize = 5 + 1 + 10 + 1 + 5 + 5;
        HEADER_LEN + FIELDS_MAX + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + measure_headers(headers).1
    }

    /// Appends a record behind the last one, if the batch has at most `len_max` bytes then. Returns the bytes by which the
    /// batch grew, before compression.
    #[inline]
    pub(crate) fn push_within(
        &mut self,
        len_max: usize,
        timestamp: Timestamp,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: &[(&str, Option<&[u8]>)],
    ) -> Option<usize> {
        if headers.is_empty()
            && let Some(draft) = self.draft(timestamp, key, value)
        {
            let fits = self.len() + draft.size() <= len_max;
            return fits.then(|| {
                self.push_draft(&draft, key, value);
                draft.size()
            });
        }
        self.push_measured_within(len_max, timestamp, (key, value), headers)
    }

    /// As [`push_within`](BatchBuilder::push_within), for any record.
    #[inline(never)]
    fn push_measured_within(
        &mut self,
        len_max: usize,
        timestamp: Timestamp,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: &[(&str, Option<&[u8]>)],
    ) -> Option<usize> {
        let headers = headers.iter().copied();
        let counted = measure_headers(headers.clone());
        let measured = self.measure(timestamp, key, value, counted);
        if self.len() + measured.size() > len_max {
            return None;
        }
        self.put(&measured, timestamp, (key, value), |out| write_headers(counted.0, headers, out));
        Some(measured.size())
    }

    /// A record without headers that [`push_draft`](BatchBuilder::push_draft) may append to the batch as it is now.
    /// `None` for the few that have to be measured first.
    #[inline]
    pub(super) fn draft(&self, timestamp: Timestamp, key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Draft> {
        Draft::new((timestamp, self.timestamp_delta(timestamp)), self.next_delta(), key, value)
    }

    /// Appends the record whose draft this is, and returns its offset delta.
    #[inline]
    pub(super) fn push_draft(&mut self, draft: &Draft, key: Option<&[u8]>, value: Option<&[u8]>) -> i32 {
        debug_assert_eq!(draft.offset_delta, self.next_delta(), "the batch is another one by now");
        if self.is_empty() {
            self.base_timestamp = draft.timestamp.wrapping_sub(draft.timestamp_delta);
            self.plain.resize(HEADER_LEN, 0);
        }
        draft.write(key, value, &mut self.plain);
        self.count += 1;
        self.last_offset_delta = draft.offset_delta;
        self.max_timestamp = self.max_timestamp.max(draft.timestamp);
        draft.offset_delta
    }

    /// Appends a record behind the last one and returns its offset delta.
    ///
    /// The caller bounds the batch with [`record_size`](BatchBuilder::record_size); one that exceeds what the format
    /// can hold is refused by [`finish`](BatchBuilder::finish).
    pub(crate) fn push<'h>(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)> + Clone,
    ) -> i32 {
        let offset_delta = self.next_delta();
        self.push_at(offset_delta, timestamp, key, value, headers);
        offset_delta
    }

    /// Appends a record with the offset delta `offset_delta`, which is larger than that of the last one.
    pub(crate) fn push_at<'h>(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)> + Clone,
    ) {
        let counted = measure_headers(headers.clone());
        let measured = self.measure_at(offset_delta, timestamp, key, value, counted.1);
        self.put(&measured, timestamp, (key, value), |out| write_headers(counted.0, headers, out));
    }

    /// Appends a copy of `record`, headers byte for byte, with the offset delta `offset_delta`, which is larger than
    /// that of the last one. Its timestamp stays what it is.
    pub(crate) fn push_record(&mut self, offset_delta: i32, record: &Record<'_>) {
        let headers = record.headers_bytes();
        let (timestamp, key, value) = (record.timestamp(), record.key(), record.value());
        let measured = self.measure_at(offset_delta, timestamp, key, value, headers.len());
        self.put(&measured, timestamp, (key, value), |out| out.extend_from_slice(headers));
    }

    /// Fills in the header, compressing the records first if asked, and returns the batch.
    ///
    /// `level` is the codec's own, `None` its default. Control batches and batches without records are never
    /// compressed. A builder without records gives a header only: what compaction leaves of a batch whose header is
    /// still needed, and nothing that a producer may send. More records may be pushed and the batch finished again.
    ///
    /// # Errors
    ///
    /// `TooLarge` if the batch does not fit its size field, `UnsupportedCompression` if this build has no such codec.
    pub(crate) fn finish(&mut self, compression: Compression, level: Option<i32>) -> Result<&mut [u8], Malformed> {
        if self.plain.is_empty() {
            self.plain.resize(HEADER_LEN, 0);
        }
        let compression = if self.is_empty() || self.fields.control { Compression::None } else { compression };
        // Checked before compressing, because the lengths inside may have been cut off.
        size_field(self.plain.len())?;
        let mut header = self.header(compression);
        let batch = match compression {
            Compression::None => &mut self.plain,
            compression => {
                self.packed.clear();
                self.packed.resize(HEADER_LEN, 0);
                let records = self.plain.get(HEADER_LEN..).unwrap_or_default();
                compress::deflate(compression, level, records, &mut self.packed)?;
                &mut self.packed
            }
        };
        header.size = size_field(batch.len())?.into();
        if let Some(place) = batch.first_chunk_mut::<HEADER_LEN>() {
            place.copy_from_slice(header.as_bytes());
        }
        seal(batch);
        Ok(batch)
    }

    /// The header, with size and checksum still to be filled in.
    fn header(&self, compression: Compression) -> BatchHeader {
        let fields = &self.fields;
        // An empty batch has lost its base timestamp, and with it the horizon that would be stored there.
        let has_horizon = fields.delete_horizon.is_some() && !self.is_empty();
        BatchHeader {
            base_offset: fields.base_offset.into(),
            size: 0.into(),
            leader_epoch: fields.leader_epoch.into(),
            magic: MAGIC,
            crc: 0.into(),
            attributes: fields
                .attributes()
                .with_compression(compression)
                .with_delete_horizon(has_horizon)
                .bits()
                .into(),
            last_offset_delta: fields.last_offset_delta.unwrap_or(self.last_offset_delta.max(0)).into(),
            base_timestamp: self.base_timestamp.into(),
            max_timestamp: fields.max_timestamp.unwrap_or(self.max_timestamp).into(),
            producer_id: fields.producer_id.into(),
            producer_epoch: fields.producer_epoch.into(),
            base_sequence: fields.base_sequence.into(),
            record_count: self.count.into(),
        }
    }

    #[inline]
    fn measure(
        &self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        (_, headers_len): (i32, usize),
    ) -> Measured {
        self.measure_at(self.next_delta(), timestamp, key, value, headers_len)
    }

    #[inline]
    fn measure_at(
        &self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers_len: usize,
    ) -> Measured {
        let timestamp_delta = self.timestamp_delta(timestamp);
        let body = 1
            + varlong_size(timestamp_delta)
            + varint_size(offset_delta)
            + bytes_size(key)
            + bytes_size(value)
            + headers_len;
        Measured { timestamp_delta, offset_delta, body }
    }

    #[inline]
    fn put(
        &mut self,
        measured: &Measured,
        timestamp: Timestamp,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        write_headers: impl FnOnce(&mut Vec<u8>),
    ) {
        let Measured { timestamp_delta, offset_delta, body } = *measured;
        debug_assert!(self.last_offset_delta < offset_delta, "offsets increase within a batch");
        if self.is_empty() {
            self.base_timestamp = timestamp.wrapping_sub(timestamp_delta);
            self.plain.resize(HEADER_LEN, 0);
        }
        let out = &mut self.plain;
        out.reserve(measured.size());
        write_varint(to_i32(body), out);
        out.push(0);
        write_varlong(timestamp_delta, out);
        write_varint(offset_delta, out);
        write_bytes(key, out);
        write_bytes(value, out);
        write_headers(out);
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    fn timestamp_delta(&self, timestamp: Timestamp) -> i64 {
        let first = self.fields.delete_horizon.unwrap_or(timestamp);
        timestamp.wrapping_sub(if self.is_empty() { first } else { self.base_timestamp })
    }

    fn next_delta(&self) -> i32 {
        self.last_offset_delta.saturating_add(1)
    }
}

/// Gives a finished batch its place in a log: its base offset and the leader epoch. The checksum does not cover them.
pub(crate) fn assign(batch: &mut [u8], base_offset: Offset, leader_epoch: i32) {
    if let Some(header) = header_mut(batch) {
        header.base_offset = base_offset.into();
        header.leader_epoch = leader_epoch.into();
    }
}

/// Says that all records of a finished batch have the timestamp `now`, the time of the append.
pub(crate) fn stamp_log_append_time(batch: &mut [u8], now: Timestamp) {
    set_max_timestamp(batch, TimestampType::LogAppendTime, now);
}

/// Sets the timestamp type and the max timestamp of a finished batch. The checksum is computed anew only if one of them
/// was different.
pub(crate) fn set_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: Timestamp) {
    let Some(header) = header_mut(batch) else { return };
    let attributes = Attributes::from_bits(header.attributes.get());
    if attributes.timestamp_type() != timestamp_type || header.max_timestamp.get() != max_timestamp {
        header.attributes = attributes.with_timestamp_type(timestamp_type).bits().into();
        header.max_timestamp = max_timestamp.into();
        seal(batch);
    }
}

/// Computes the checksum of a batch and stores it in the header.
pub(crate) fn seal(batch: &mut [u8]) {
    let crc = crc32c(batch.get(ATTRIBUTES_OFFSET..).unwrap_or_default());
    if let Some(header) = header_mut(batch) {
        header.crc = crc.into();
    }
}

/// The header of a finished batch. `None` for fewer bytes than a header, which no finished batch has.
fn header_mut(batch: &mut [u8]) -> Option<&mut BatchHeader> {
    debug_assert!(HEADER_LEN <= batch.len(), "a finished batch has a header");
    BatchHeader::mut_from_prefix(batch).ok().map(|(header, _)| header)
}

/// What the size field of a batch of `len` bytes says.
fn size_field(len: usize) -> Result<i32, Malformed> {
    // With the 12 bytes in front the whole batch has to stay below 2^31, as Kafka computes sizes in 32 bits.
    let limit = i32::MAX as usize;
    if len <= limit { Ok((len - LOG_OVERHEAD) as i32) } else { Err(Malformed::TooLarge { limit }) }
}

/// A record as it will be written.
struct Measured {
    timestamp_delta: i64,
    offset_delta: i32,
    /// Bytes behind its length.
    body: usize,
}

impl Measured {
    /// Bytes with its length.
    #[inline]
    fn size(&self) -> usize {
        varint_size(to_i32(self.body)) + self.body
    }
}

#[inline]
fn write_headers<'h>(count: i32, headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>, out: &mut Vec<u8>) {
    write_varint(count, out);
    for (key, value) in headers {
        write_bytes(Some(key.as_bytes()), out);
        write_bytes(value, out);
    }
}

/// The number of headers, and the bytes that it and they take.
fn measure_headers<'h>(headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>) -> (i32, usize) {
    let mut count = 0_usize;
    let mut len = 0;
    for (key, value) in headers {
        count += 1;
        len += bytes_size(Some(key.as_bytes())) + bytes_size(value);
    }
    let count = to_i32(count);
    (count, varint_size(count) + len)
}

#[inline]
fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(varint_size(-1), |bytes| varint_size(to_i32(bytes.len())) + bytes.len())
}

#[inline]
fn write_bytes(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    write_varint(bytes.map_or(-1, |bytes| to_i32(bytes.len())), out);
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// Lengths are stored in 32 bits. A longer one is cut off here; the batch it is in is too long for `finish`.
#[inline]
fn to_i32(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::RecordIter;
    use super::super::golden;
    use super::*;

    fn no_headers() -> std::iter::Empty<(&'static str, Option<&'static [u8]>)> {
        std::iter::empty()
    }

    #[test]
    fn the_first_record_fixes_the_base_timestamp() {
        let mut builder = BatchBuilder::new();
        builder.push(1000, None, None, no_headers());
        builder.push(900, None, None, no_headers());
        builder.push(NO_TIMESTAMP, None, None, no_headers());
        assert_eq!(builder.max_timestamp(), 1000);
        let batch = Batch::first(builder.finish(Compression::None, None).unwrap()).unwrap().unwrap();
        assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (1000, 1000));
        let timestamps: Vec<_> =
            RecordIter::new(batch, batch.records_bytes()).map(|record| record.timestamp()).collect();
        assert_eq!(timestamps, [1000, 900, -1]);
    }

    #[test]
    fn a_record_is_pushed_only_where_it_fits() {
        let mut builder = BatchBuilder::new();
        assert_eq!(builder.len(), HEADER_LEN);
        let value = [7; 300];
        for (count, timestamp) in (0..200).map(|count| (count, 5000 + i64::from(count) * 37)) {
            let headers = [("name", Some(&value[..usize::from(count as u8) / 3])), ("", None)];
            let headers = headers.into_iter().take(count as usize % 3);
            let before = builder.len();
            let listed: Vec<_> = headers.clone().collect();
            let mut twin = BatchBuilder::new();
            twin.push(timestamp, Some(b"key"), Some(&value), headers.clone());
            let alone = BatchBuilder::size_alone(timestamp, Some(b"key"), Some(&value), headers.clone());
            assert_eq!(alone, twin.len());
            let mut push = |len_max| builder.push_within(len_max, timestamp, (Some(b"key"), Some(&value)), &listed);
            assert_eq!(push(before + alone - HEADER_LEN - 1), None);
            let size = push(before + alone).unwrap();
            assert_eq!(builder.last_offset_delta(), count);
            assert_eq!(builder.len(), before + size);
        }
        assert_eq!(builder.count(), 200);
        let len = builder.len();
        let batch = Batch::first(builder.finish(Compression::None, None).unwrap()).unwrap().unwrap();
        assert_eq!((batch.size(), batch.record_count(), batch.last_offset_delta()), (len, 200, 199));
        assert_eq!(batch.check_records(batch.records_bytes()), Ok(()));
        let sizes: usize = RecordIter::new(batch, batch.records_bytes()).map(|record| record.size()).sum();
        assert_eq!(sizes, len - HEADER_LEN);
    }

    #[test]
    fn clearing_keeps_the_memory_and_nothing_else() {
        let mut builder = BatchBuilder::new();
        builder.set_producer(1, 2, 3);
        builder.set_transactional(true);
        builder.push(5, None, Some(&[1; 1000]), no_headers());
        let place = builder.finish(Compression::None, None).unwrap().as_ptr();
        builder.clear();
        assert!(builder.is_empty());
        assert_eq!(builder.len(), HEADER_LEN);
        assert_eq!(builder.push(9, None, Some(&[1; 900]), no_headers()), 0);
        let bytes = builder.finish(Compression::None, None).unwrap();
        assert_eq!(bytes.as_ptr(), place);
        let batch = Batch::first(bytes).unwrap().unwrap();
        assert_eq!((batch.producer_id(), batch.base_timestamp(), batch.max_timestamp()), (None, 9, 9));
        assert!(!batch.is_transactional());
    }

    #[test]
    fn a_finished_batch_can_be_continued() {
        let mut builder = BatchBuilder::new();
        builder.push(5, None, None, no_headers());
        builder.finish(Compression::None, None).unwrap();
        assert_eq!(builder.push(6, None, None, no_headers()), 1);
        let batch = Batch::first(builder.finish(Compression::None, None).unwrap()).unwrap().unwrap();
        assert_eq!(batch.record_count(), 2);
        assert_eq!((batch.verify_crc(), batch.check_records(batch.records_bytes())), (Ok(()), Ok(())));
    }

    #[test]
    fn assigning_leaves_the_checksum_alone() {
        let mut bytes = golden::a();
        assign(&mut bytes, 1 << 40, 9);
        let batch = Batch::first(&bytes).unwrap().unwrap();
        assert_eq!((batch.base_offset(), batch.leader_epoch()), (1 << 40, 9));
        assert_eq!(batch.verify_crc(), Ok(()));
        assert_eq!(bytes[16..], golden::a()[16..]);
    }

    #[test]
    fn stamped_every_record_has_the_time_of_the_append() {
        let mut bytes = golden::a();
        stamp_log_append_time(&mut bytes, 12345);
        let batch = Batch::first(&bytes).unwrap().unwrap();
        assert_eq!(batch.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(batch.verify_crc(), Ok(()));
        assert_eq!(batch.base_timestamp(), 1_700_000_000_000, "the producer's, ignored");
        assert!(RecordIter::new(batch, batch.records_bytes()).all(|record| record.timestamp() == 12345));
    }

    #[test]
    fn the_checksum_changes_only_with_the_timestamp() {
        let mut bytes = golden::a();
        bytes[20] ^= 1;
        let damaged = bytes.clone();
        set_max_timestamp(&mut bytes, TimestampType::CreateTime, 1_700_000_000_005);
        assert_eq!(bytes, damaged);
        set_max_timestamp(&mut bytes, TimestampType::CreateTime, 1_700_000_000_006);
        let batch = Batch::first(&bytes).unwrap().unwrap();
        assert_eq!((batch.verify_crc(), batch.max_timestamp()), (Ok(()), 1_700_000_000_006));
    }

    #[test]
    fn a_batch_has_to_fit_its_size_field() {
        assert_eq!(size_field(HEADER_LEN), Ok(49));
        assert_eq!(size_field(i32::MAX as usize), Ok(i32::MAX - 12));
        assert_eq!(size_field(i32::MAX as usize + 1), Err(Malformed::TooLarge { limit: i32::MAX as usize }));
    }
}

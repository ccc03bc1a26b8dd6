//! Printing the batches and records of a segment, or of a side file with a piece of one.

use std::io::{self, Write};

use super::dump::{DumpOptions, Shown};
use crate::record::{Batch, ControlType, EndTransaction, HEADER_LEN, Inflater, Record, RecordIter};
use crate::segment::{announces_batch, data_end, find_batch_behind};
use crate::sys::DiskFile;
use crate::types::{FilePos, Offset};

/// Bytes that a batch may be inflated to (records.md 8: 64 times the default of `max.message.bytes`).
const INFLATED_MAX: usize = 64 << 20;

/// Prints every batch that can be found in `file`, which belongs to the segment at `base` and begins `ahead` bytes into it.
pub(super) fn dump_log(
    file: &dyn DiskFile,
    (base, ahead): (Offset, u64),
    options: &DumpOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut dump =
        LogDump { file, base, ahead, options, out, expected: base, bytes: Vec::new(), inflater: Inflater::default() };
    let len = match file.len() {
        Ok(len) => FilePos::try_from(len).unwrap_or(FilePos::MAX).min(i32::MAX as FilePos),
        Err(error) => return dump.damage(0, &format!("could not read: {error}")),
    };
    let mut at = 0;
    while at < len {
        if !announces_batch(file, at).unwrap_or(true) && data_end(file, at, len).is_ok_and(|end| end == at) {
            return dump.damage(at, &format!("zeros up to the end of the file, {} bytes", len - at));
        }
        let next = match dump.read(at, len) {
            Ok(Ok(size)) => at.checked_add(size),
            Ok(Err(why)) => {
                dump.damage(at, &why)?;
                match find_batch_behind(file, (at, len), (base, dump.expected)) {
                    Ok(found) => found,
                    Err(error) => return dump.damage(at, &format!("could not read on: {error}")),
                }
            }
            Err(error) => return dump.damage(at, &format!("could not read: {error}")),
        };
        let Some(next) = next else { break };
        if !dump.bytes.is_empty() {
            dump.batch(at)?;
        }
        at = next;
    }
    Ok(())
}

struct LogDump<'a> {
    file: &'a dyn DiskFile,
    base: Offset,
    ahead: u64,
    options: &'a DumpOptions,
    out: &'a mut dyn Write,
    /// The offset behind the last batch.
    expected: Offset,
    /// The batch that was read, empty where there is none.
    bytes: Vec<u8>,
    /// For inflated records.
    inflater: Inflater,
}

impl LogDump<'_> {
    /// Reads the batch at `at` and returns its size, or why it is none.
    fn read(&mut self, at: FilePos, len: FilePos) -> io::Result<Result<FilePos, String>> {
        let left = (len - at) as usize;
        self.fill(at, left.min(HEADER_LEN))?;
        let announced =
            self.bytes.get(8..12).and_then(|bytes| bytes.first_chunk()).map_or(0, |size| i32::from_be_bytes(*size));
        let size = usize::try_from(announced).unwrap_or(0).saturating_add(12);
        if self.bytes.len() < size && size <= left {
            self.fill(at, size)?;
        }
        let whole = match Batch::first(&self.bytes) {
            Ok(Some(batch)) => Ok(batch.size() as FilePos),
            Ok(None) => Err(format!("the file ends within a batch, {left} bytes behind its beginning")),
            Err(malformed) => Err(malformed.to_string()),
        };
        if whole.is_err() {
            self.bytes.clear();
        }
        Ok(whole)
    }

    fn fill(&mut self, at: FilePos, len: usize) -> io::Result<()> {
        self.bytes.resize(len, 0);
        let read = self.file.read_at(&mut self.bytes, u64::from(at))?;
        self.bytes.truncate(read);
        Ok(())
    }

    fn damage(&mut self, at: FilePos, why: &str) -> io::Result<()> {
        writeln!(self.out, "damage at position: {} {why}", self.ahead.saturating_add(u64::from(at)))
    }

    fn batch(&mut self, at: FilePos) -> io::Result<()> {
        let Ok(Some(batch)) = Batch::first(&self.bytes) else { return Ok(()) };
        let is_valid = batch.verify_crc().is_ok();
        let follows = self.expected <= batch.base_offset();
        self.expected = batch.next_offset().max(self.base);
        write_batch(&batch, self.ahead.saturating_add(u64::from(at)), is_valid, self.out)?;
        if !follows {
            writeln!(self.out, "| the base offset is not behind the batch before")?;
        }
        if self.options.records { write_records(&batch, &mut self.inflater, self.options, self.out) } else { Ok(()) }
    }
}

/// One line, in the words and the order of Kafka's `DumpLogSegments`.
fn write_batch(batch: &Batch<'_>, position: u64, is_valid: bool, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {}",
        batch.base_offset(),
        batch.last_offset(),
        batch.record_count(),
        batch.base_sequence(),
        batch.last_sequence(),
        batch.producer_id().unwrap_or(-1),
        batch.producer_epoch(),
        batch.leader_epoch(),
        batch.is_transactional(),
        batch.is_control(),
    )?;
    if let Some(horizon) = batch.delete_horizon() {
        write!(out, " deleteHorizonMs: {horizon}")?;
    }
    let codec = batch.compression().map_or_else(|malformed| malformed.to_string(), |codec| codec.to_string());
    writeln!(
        out,
        " position: {position} {}: {} size: {} magic: 2 compresscodec: {codec} crc: {} isvalid: {is_valid}",
        batch.timestamp_type(),
        batch.max_timestamp(),
        batch.size(),
        batch.crc(),
    )
}

/// A line for each record, if all of them hold; else one that says why not.
fn write_records(
    batch: &Batch<'_>,
    inflater: &mut Inflater,
    options: &DumpOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let area = batch.records_area(inflater, INFLATED_MAX).and_then(|area| batch.check_records(area).map(|()| area));
    let area = match area {
        Ok(area) => area,
        Err(malformed) => return writeln!(out, "| {malformed}"),
    };
    RecordIter::new(*batch, area).try_for_each(|record| write_record(batch, &record, options, out))
}

fn write_record(batch: &Batch<'_>, record: &Record<'_>, options: &DumpOptions, out: &mut dyn Write) -> io::Result<()> {
    let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    let (key, value) = (record.key(), record.value());
    write!(
        out,
        "| offset: {} {}: {} keySize: {} valueSize: {}",
        record.offset(),
        batch.timestamp_type(),
        record.timestamp(),
        len(key),
        len(value)
    )?;
    let shown = |bytes| Shown { bytes, hex: options.hex };
    if record.headers().next().is_some() {
        out.write_all(b" headers: [")?;
        for (at, header) in record.headers().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(out, "{comma}{}={}", header.key_bytes().escape_ascii(), shown(header.value()))?;
        }
        out.write_all(b"]")?;
    }
    if batch.is_control() {
        return write_marker(key.unwrap_or_default(), value.unwrap_or_default(), out);
    }
    writeln!(out, " key: {} payload: {}", shown(key), shown(value))
}

fn write_marker(key: &[u8], value: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let name = match ControlType::from_key(key) {
        Ok(ControlType::Abort) => "ABORT".to_owned(),
        Ok(ControlType::Commit) => "COMMIT".to_owned(),
        Ok(ControlType::Other(id)) => return writeln!(out, " controlType: {id}"),
        Err(malformed) => return writeln!(out, " {malformed}"),
    };
    match EndTransaction::from_value(value) {
        Ok(end) => writeln!(out, " endTxnMarker: {name} coordinatorEpoch: {}", end.coordinator_epoch),
        Err(malformed) => writeln!(out, " endTxnMarker: {name} {malformed}"),
    }
}

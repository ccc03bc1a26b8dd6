//! What a producer counts.

use std::fmt;
use std::time::{Duration, Instant};

use super::batch::SentBatch;
use crate::sync::{AtomicU64, Ordering};

/// What a producer counts. Changed once for a batch, not for a record, by whoever writes it; nothing is published through
/// it, and a stale value is as if the reader had come earlier.
#[derive(Debug)]
pub(super) struct Counters {
    made: Instant,
    records: AtomicU64,
    errors: AtomicU64,
    batches: AtomicU64,
    retries: AtomicU64,
    splits: AtomicU64,
    plain_bytes: AtomicU64,
    batch_bytes: AtomicU64,
    queued_ns: AtomicU64,
    append_ns: AtomicU64,
    memory_wait_ns: AtomicU64,
    flush_ns: AtomicU64,
}

impl Counters {
    pub(super) fn new(made: Instant) -> Self {
        let zero = || AtomicU64::new(0);
        Counters {
            made,
            records: zero(),
            errors: zero(),
            batches: zero(),
            retries: zero(),
            splits: zero(),
            plain_bytes: zero(),
            batch_bytes: zero(),
            queued_ns: zero(),
            append_ns: zero(),
            memory_wait_ns: zero(),
            flush_ns: zero(),
        }
    }

    /// So many records of a batch were appended: when it was opened, when its append began, when that ended.
    pub(super) fn note_written(&self, (opened, began, ended): (Instant, Instant, Instant)) {
        add(&self.batches, 1);
        add(&self.queued_ns, nanos(began.saturating_duration_since(opened)));
        add(&self.append_ns, nanos(ended.saturating_duration_since(began)));
    }

    /// Bytes of a batch before and after compression.
    pub(super) fn note_size(&self, plain: usize, batch: usize) {
        add(&self.plain_bytes, plain as u64);
        add(&self.batch_bytes, batch as u64);
    }

    /// A batch of `count` records is tried again.
    pub(super) fn note_retry(&self, count: i32) {
        add(&self.retries, u64::try_from(count).unwrap_or(0));
    }

    pub(super) fn note_split(&self) {
        add(&self.splits, 1);
    }

    /// A batch of `count` records is settled. Called once for each, by whoever takes it off its queue.
    pub(super) fn note_settled(&self, name: impl FnOnce() -> String, batch: &SentBatch, count: i32) {
        let errors = batch.error_count(count);
        add(&self.records, u64::try_from(count - errors).unwrap_or(0));
        if errors > 0 {
            add(&self.errors, u64::try_from(errors).unwrap_or(0));
            if batch.acks == crate::config::Acks::None {
                // Nobody else learns of it.
                let reason = batch.error().map(|error| error.to_string()).unwrap_or_default();
                tracing::warn!("{}: {errors} records sent with acks=0 were lost: {reason}", name());
            }
        }
    }

    /// A record was refused before it was in a batch.
    pub(super) fn note_refused(&self) {
        add(&self.errors, 1);
    }

    pub(super) fn note_memory_wait(&self, time: Duration) {
        add(&self.memory_wait_ns, nanos(time));
    }

    pub(super) fn note_flush(&self, time: Duration) {
        add(&self.flush_ns, nanos(time));
    }

    pub(super) fn read(&self, now: Instant, (available, limit): (usize, usize)) -> ProducerStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (records, batches) = (get(&self.records), get(&self.batches));
        let average = |sum: f64, count: u64| if count == 0 { 0.0 } else { sum / count as f64 };
        let (plain, packed) = (get(&self.plain_bytes), get(&self.batch_bytes));
        ProducerStats {
            record_send_total: records,
            record_send_rate: records as f64 / now.saturating_duration_since(self.made).as_secs_f64().max(1e-9),
            record_error_total: get(&self.errors),
            record_retry_total: get(&self.retries),
            batch_size_avg: average(packed as f64, batches),
            records_per_request_avg: average(records as f64, batches),
            record_queue_time_avg: Duration::from_nanos(get(&self.queued_ns).checked_div(batches).unwrap_or(0)),
            request_latency_avg: Duration::from_nanos(get(&self.append_ns).checked_div(batches).unwrap_or(0)),
            compression_rate_avg: if plain == 0 { 1.0 } else { packed as f64 / plain as f64 },
            bufferpool_wait_time: Duration::from_nanos(get(&self.memory_wait_ns)),
            buffer_available_bytes: available as u64,
            buffer_total_bytes: limit as u64,
            batch_split_total: get(&self.splits),
            flush_time: Duration::from_nanos(get(&self.flush_ns)),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What a producer has done so far: [`Producer::stats`](crate::Producer::stats). The fields are Kafka's metrics; averages
/// are over the producer's whole life, by batch.
///
/// ```
/// # fn main() -> thalweg::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let broker = thalweg::Broker::open(dir.path())?;
/// # broker.create_topic("t", 1, thalweg::TopicConfig::new())?;
/// # let producer = broker.producer(thalweg::ProducerConfig::new())?;
/// # producer.send(thalweg::ProducerRecord::new("t", "v"))?.wait()?;
/// let stats = producer.stats();
/// assert_eq!((stats.record_send_total, stats.record_error_total), (1, 0));
/// for (name, value) in stats.metrics() {
///     println!("{name} {value}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProducerStats {
    /// `record-send-total`: records that were written.
    pub record_send_total: u64,
    /// `record-send-rate`: these, for each second since the producer was made.
    pub record_send_rate: f64,
    /// `record-error-total`: records that failed or were refused.
    pub record_error_total: u64,
    /// `record-retry-total`: records of batches that were put off because of a passing error, each time.
    pub record_retry_total: u64,
    /// `batch-size-avg`: bytes of a batch in the log.
    pub batch_size_avg: f64,
    /// `records-per-request-avg`: records of a batch.
    pub records_per_request_avg: f64,
    /// `record-queue-time-avg`: time from a batch's first record until its write begins.
    pub record_queue_time_avg: Duration,
    /// `request-latency-avg`: time that a write takes, with compression.
    pub request_latency_avg: Duration,
    /// `compression-rate-avg`: bytes of batches in the log, for each byte before compression.
    pub compression_rate_avg: f64,
    /// `bufferpool-wait-time-ns-total`: time that calls waited for `buffer.memory`.
    pub bufferpool_wait_time: Duration,
    /// `buffer-available-bytes`: bytes of `buffer.memory` that no batch has now.
    pub buffer_available_bytes: u64,
    /// `buffer-total-bytes`: `buffer.memory`.
    pub buffer_total_bytes: u64,
    /// `batch-split-total`: batches that were too large for their topic and were written in pieces.
    pub batch_split_total: u64,
    /// `flush-time-ns-total`: time in [`flush`](crate::Producer::flush).
    pub flush_time: Duration,
}

impl ProducerStats {
    /// All of them by Kafka's names, in Kafka's units: averages of time are milliseconds, totals nanoseconds.
    pub fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        [
            ("record-send-total", self.record_send_total as f64),
            ("record-send-rate", self.record_send_rate),
            ("record-error-total", self.record_error_total as f64),
            ("record-retry-total", self.record_retry_total as f64),
            ("batch-size-avg", self.batch_size_avg),
            ("records-per-request-avg", self.records_per_request_avg),
            ("record-queue-time-avg", millis(self.record_queue_time_avg)),
            ("request-latency-avg", millis(self.request_latency_avg)),
            ("compression-rate-avg", self.compression_rate_avg),
            ("bufferpool-wait-time-ns-total", self.bufferpool_wait_time.as_nanos() as f64),
            ("buffer-available-bytes", self.buffer_available_bytes as f64),
            ("buffer-total-bytes", self.buffer_total_bytes as f64),
            ("batch-split-total", self.batch_split_total as f64),
            ("flush-time-ns-total", self.flush_time.as_nanos() as f64),
        ]
        .into_iter()
    }
}

impl fmt::Display for ProducerStats {
    /// One metric a line, by Kafka's names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.metrics().try_for_each(|(name, value)| writeln!(f, "{name} {value}"))
    }
}

//! The application's part in every record that is sent and acknowledged.

use std::fmt;

use super::{OwnedRecord, RecordMetadata};
use crate::error::Result;

/// Sees every record before it is sent, and can change it, and sees what became of it. Given to
/// [`ProducerConfig::interceptor`](crate::ProducerConfig::interceptor), one or several, which are called in that order.
///
/// Both methods are called by the thread that sends or that completes a batch, by many threads at a time; they must be
/// quick, and must not wait for the producer. One that panics is passed over, with a warning in the log: what it was given
/// goes on unchanged. With interceptors each record is copied once more for each of them.
///
/// Rule: producer.md 10, ProducerInterceptors.
///
/// ```
/// use thalweg::{OwnedRecord, ProducerConfig, ProducerInterceptor};
///
/// #[derive(Debug)]
/// struct Origin(&'static str);
///
/// impl ProducerInterceptor for Origin {
///     fn on_send(&self, mut record: OwnedRecord) -> OwnedRecord {
///         record.headers.push(("origin".to_owned(), Some(self.0.as_bytes().to_vec())));
///         record
///     }
/// }
///
/// let config = ProducerConfig::new().interceptor(Origin("billing"));
/// ```
pub trait ProducerInterceptor: fmt::Debug + Send + Sync {
    /// The record to send in place of `record`, which may be for another topic or partition. The next interceptor gets
    /// it. It comes before the partition is chosen; by default it is left as it is.
    fn on_send(&self, record: OwnedRecord) -> OwnedRecord {
        record
    }

    /// Told what became of a record, also of one that `send` refused, before the application is. `headers` are those that
    /// it was sent with.
    fn on_acknowledgement(&self, outcome: &Result<RecordMetadata>, headers: &[(String, Option<Vec<u8>>)]) {
        let _ = (outcome, headers);
    }
}

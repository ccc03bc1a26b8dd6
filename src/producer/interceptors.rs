//! The chain of interceptors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::client::{OwnedRecord, ProducerInterceptor, ProducerRecord, RecordMetadata};
use crate::config::ProducerConfig;
use crate::error::Result;
use crate::sync::Arc;

/// The interceptors of a producer, in their order. A panic in one ends neither the thread nor the chain.
///
/// Rule: producer.md 10, ProducerInterceptors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interceptors(Vec<Arc<dyn ProducerInterceptor>>);

impl Interceptors {
    /// Those that `config` has.
    pub(crate) fn new(config: &ProducerConfig) -> Self {
        Interceptors(config.get_interceptors().to_vec())
    }

    /// Whether there are none: then records need not be copied for them.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The record that they make of `record`. What one that panics was given goes on to the next.
    pub(crate) fn on_send(&self, record: &ProducerRecord<'_>) -> OwnedRecord {
        let first = OwnedRecord::from(record);
        self.0.iter().enumerate().fold(first, |record, (number, interceptor)| {
            let given = record.clone();
            catch(number, "on_send", || interceptor.on_send(given)).unwrap_or(record)
        })
    }

    /// Tells all of them what became of a record with these headers, before its application is told.
    pub(crate) fn on_acknowledgement(&self, outcome: &Result<RecordMetadata>, headers: &[(String, Option<Vec<u8>>)]) {
        for (number, interceptor) in self.0.iter().enumerate() {
            catch(number, "on_acknowledgement", || interceptor.on_acknowledgement(outcome, headers));
        }
    }
}

/// Runs what the application gave us; `None` if it panicked.
fn catch<T>(number: usize, method: &str, work: impl FnOnce() -> T) -> Option<T> {
    // Unwind safe: what a panic leaves half done is the interceptor's own, or the copy of the record that it was given.
    let outcome = catch_unwind(AssertUnwindSafe(work)).ok();
    if outcome.is_none() {
        tracing::warn!(
            interceptor = number,
            "interceptor {number}, counted from 0, panicked in {method} and is passed over"
        );
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::sync::Mutex;

    type Seen = Arc<Mutex<Vec<String>>>;

    /// Appends its name to the topic, and notes what it sees.
    #[derive(Debug)]
    struct Named(&'static str, Seen);

    impl ProducerInterceptor for Named {
        fn on_send(&self, mut record: OwnedRecord) -> OwnedRecord {
            record.topic.push_str(self.0);
            record.partition = Some(7);
            record.headers.push((self.0.to_owned(), None));
            record
        }

        fn on_acknowledgement(&self, outcome: &Result<RecordMetadata>, headers: &[(String, Option<Vec<u8>>)]) {
            let outcome = outcome.as_ref().map_or_else(Error::to_string, |metadata| metadata.offset.to_string());
            let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
            self.1.lock().push(format!("{}: {outcome} {}", self.0, names.join(",")));
        }
    }

    #[derive(Debug)]
    struct Panicking;

    impl ProducerInterceptor for Panicking {
        fn on_send(&self, mut record: OwnedRecord) -> OwnedRecord {
            record.topic.clear();
            panic!("on purpose");
        }

        fn on_acknowledgement(&self, _: &Result<RecordMetadata>, _: &[(String, Option<Vec<u8>>)]) {
            panic!("on purpose");
        }
    }

    #[test]
    fn a_chain_runs_in_its_order_past_those_that_panic() {
        let seen = Seen::default();
        let config = ProducerConfig::new()
            .interceptor(Named("a", Arc::clone(&seen)))
            .interceptor(Panicking)
            .interceptor(Named("b", Arc::clone(&seen)));
        let interceptors = Interceptors::new(&config);
        let record = interceptors.on_send(&ProducerRecord::new("t", "v").key("k").header("h", Some("1")));
        let sent = record.as_record();
        assert_eq!((sent.get_topic(), sent.get_partition()), ("tab", Some(7)));
        assert_eq!((sent.get_key(), sent.get_value()), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert!(sent.get_headers().eq([("h", Some(&b"1"[..])), ("a", None), ("b", None)]));
        interceptors.on_acknowledgement(&Err(Error::new(ErrorKind::Closed)), &record.headers);
        assert_eq!(*seen.lock(), ["a: closed h,a,b", "b: closed h,a,b"]);
    }

    #[test]
    fn without_interceptors_the_record_stays_as_it_is() {
        let interceptors = Interceptors::new(&ProducerConfig::new());
        assert!(interceptors.is_empty());
        let record = ProducerRecord::tombstone("t", "k").timestamp(5);
        assert_eq!(interceptors.on_send(&record), OwnedRecord::from(&record));
    }

    #[test]
    fn what_a_panic_left_half_done_is_lost() {
        let interceptors = Interceptors::new(&ProducerConfig::new().interceptor(Panicking).interceptor(Panicking));
        let record = ProducerRecord::new("t", "v").key("k").partition(3).header("h", None::<&str>);
        assert_eq!(interceptors.on_send(&record), OwnedRecord::from(&record));
    }

    #[test]
    fn one_that_does_nothing_changes_nothing() {
        #[derive(Debug)]
        struct Nothing;
        impl ProducerInterceptor for Nothing {}
        let interceptors = Interceptors::new(&ProducerConfig::new().interceptor(Nothing));
        let record = ProducerRecord::new("t", "v");
        assert!(!interceptors.is_empty());
        assert_eq!(interceptors.on_send(&record), OwnedRecord::from(&record));
        interceptors.on_acknowledgement(&Err(Error::new(ErrorKind::Closed)), &[]);
    }
}

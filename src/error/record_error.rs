//! What is wrong with single records of a batch that was refused as a whole.

use std::error::Error as StdError;
use std::fmt;

use super::Error;

/// A record for which a batch was refused. Rule: `ProduceResponse.RecordError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordError {
    /// The record, counted from 0 within its batch.
    pub index: usize,
    /// Why it is refused.
    pub reason: &'static str,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {}", self.index, self.reason)
    }
}

/// The records of one batch, by their place in it.
#[derive(Debug)]
struct RecordErrors(Vec<RecordError>);

impl fmt::Display for RecordErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => Ok(()),
            [one] => one.fmt(f),
            [first, others @ ..] => write!(f, "{first}, and {} others", others.len()),
        }
    }
}

impl StdError for RecordErrors {}

impl Error {
    pub(crate) fn of_records(self, errors: impl IntoIterator<Item = (usize, &'static str)>) -> Self {
        let errors = errors.into_iter().map(|(index, reason)| RecordError { index, reason });
        self.caused_by(RecordErrors(errors.collect()))
    }

    /// The records for which [`append_batch`](crate::Partition::append_batch) has refused their batch, by their place in
    /// it: the first hundred. Empty if it was refused for something else, and for other calls.
    pub fn record_errors(&self) -> &[RecordError] {
        let source = self.0.source.as_deref().map(|source| source as &dyn StdError);
        source.and_then(|source| source.downcast_ref::<RecordErrors>()).map_or(&[], |errors| &errors.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
    use super::*;

    #[test]
    fn the_first_record_is_named_and_all_are_listed() {
        let error = |count: usize| {
            let error = Error::new(ErrorKind::InvalidRecord { reason: "why" });
            error.of_records((3..3 + count).map(|index| (index, "no key")))
        };
        assert_eq!(error(1).to_string(), "the topic refuses the record: why: record 3: no key");
        assert_eq!(error(3).to_string(), "the topic refuses the record: why: record 3: no key, and 2 others");
        assert_eq!(error(3).clone().record_errors()[2], RecordError { index: 5, reason: "no key" });
        assert_eq!(Error::new(ErrorKind::Closed).record_errors(), []);
    }
}

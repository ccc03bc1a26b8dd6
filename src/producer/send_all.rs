//! One acknowledgement for many records.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::ack::Ack;
use crate::client::RecordMetadata;
use crate::error::Result;

/// The acknowledgement of the records of one [`send_all`](crate::Producer::send_all), in their order. As a future it is ready
/// when all of them are settled.
#[derive(Debug)]
#[must_use = "records can be lost without anybody noticing: wait, await or detach"]
pub struct SentAll {
    acks: Vec<Ack>,
    /// What is known when it is polled: that of the first records.
    settled: Vec<Result<RecordMetadata>>,
}

impl SentAll {
    pub(super) fn new(acks: Vec<Ack>) -> Self {
        SentAll { acks, settled: Vec::new() }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.acks.len()
    }

    /// Whether there was no record.
    pub fn is_empty(&self) -> bool {
        self.acks.is_empty()
    }

    /// Blocks until all records are settled, and returns where each one is, in their order.
    ///
    /// # Errors
    ///
    /// Those of [`Ack::wait`], of the first record that failed; the others may be in the log.
    pub fn wait(self) -> Result<Vec<RecordMetadata>> {
        self.wait_each().into_iter().collect()
    }

    /// As [`wait`](SentAll::wait), with what became of each record.
    pub fn wait_each(self) -> Vec<Result<RecordMetadata>> {
        self.acks.into_iter().map(Ack::wait).collect()
    }

    /// Lets go of the acknowledgement. The records are written all the same, and errors are lost.
    pub fn detach(self) {}
}

impl Future for SentAll {
    type Output = Vec<Result<RecordMetadata>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let SentAll { acks, settled } = &mut *self;
        while let Some(ack) = acks.get_mut(settled.len()) {
            match Pin::new(ack).poll(context) {
                Poll::Ready(outcome) => settled.push(outcome),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(std::mem::take(settled))
    }
}

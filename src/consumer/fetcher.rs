//! Fetching into buffers, and taking records out of them.

use std::collections::VecDeque;

use super::records::ConsumerRecords;
use super::subscription::{PartitionState, Subscription};
use crate::config::{AutoOffsetReset, ConsumerConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::types::Offset;

/// Takes up to `max.poll.records` records, fetching where nothing is buffered.
///
/// An error of one partition is returned only when no partition has records; its position stays, so it comes again.
pub(super) fn take(subscription: &mut Subscription, config: &ConsumerConfig) -> Result<ConsumerRecords> {
    let failed = if subscription.partitions.iter().any(|state| state.buffer.is_some()) {
        None // what was fetched goes first, so that memory stays bounded by one fetch
    } else {
        fetch(subscription, config)
    };
    let taken = drain(subscription, config.get_max_poll_records());
    match failed {
        Some(error) if taken.is_empty() => Err(error),
        _ => Ok(taken),
    }
}

/// Fetches for every partition that has a position, in order, within `fetch.max.bytes`. Returns the first error.
///
/// Rule: fetch.md 4: the first partition with data gives a whole batch whatever the limits say.
fn fetch(subscription: &mut Subscription, config: &ConsumerConfig) -> Option<Error> {
    let mut left = config.get_fetch_max_bytes();
    let mut at_least_one = true;
    let mut failed = None;
    for state in &mut subscription.partitions {
        let bytes_max = left.min(config.get_max_partition_fetch_bytes());
        match fetch_one(state, bytes_max, at_least_one, config) {
            Ok(0) => {}
            Ok(bytes) => {
                at_least_one = false;
                left = left.saturating_sub(bytes);
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed
}

/// Fills the buffer of one partition and returns how many bytes that took.
fn fetch_one(
    state: &mut PartitionState,
    bytes_max: usize,
    at_least_one: bool,
    config: &ConsumerConfig,
) -> Result<usize> {
    let Some(position) = state.position else { return Ok(0) };
    let fetched = match state.partition.fetch_within(position, bytes_max, at_least_one) {
        Ok(fetched) => fetched,
        Err(error) => return reset(state, config.get_auto_offset_reset(), error).map(|()| 0),
    };
    if !fetched.is_empty() {
        state.buffer = Some(fetched.decode(config.get_check_crcs())?);
    }
    Ok(fetched.len())
}

/// Moves a position that is not in the log to where the policy says, with the range that the fetch saw.
fn reset(state: &mut PartitionState, policy: AutoOffsetReset, error: Error) -> Result<()> {
    let ErrorKind::OffsetOutOfRange { log_start, .. } = *error.kind() else { return Err(error) };
    match policy {
        AutoOffsetReset::Earliest => state.seek(log_start),
        AutoOffsetReset::Latest => state.seek(state.partition.high_watermark()?),
        AutoOffsetReset::None => return Err(error),
    }
    Ok(())
}

/// Takes up to `count` records out of the buffers, emptying one before going on to the next. A partition whose buffer
/// was emptied goes to the end of the fetch order.
fn drain(subscription: &mut Subscription, count: usize) -> ConsumerRecords {
    let mut taken = ConsumerRecords::default();
    let mut left = count;
    let (mut first, mut last) = (VecDeque::new(), VecDeque::new());
    for mut state in subscription.partitions.drain(..) {
        let Some(records) = state.buffer.as_mut().filter(|_| left > 0) else {
            first.push_back(state);
            continue;
        };
        let some = records.split_to(left);
        left -= some.len();
        state.position = Some(some.next_offset());
        if !some.is_empty() {
            taken.push(some);
        }
        if records.is_empty() {
            state.buffer = None;
            last.push_back(state);
        } else {
            first.push_back(state);
        }
    }
    first.append(&mut last);
    subscription.partitions = first;
    taken
}

/// Where a partition without committed offset begins.
pub(super) fn initial_position(state: &PartitionState, policy: AutoOffsetReset) -> Result<Option<Offset>> {
    Ok(match policy {
        AutoOffsetReset::Earliest => Some(state.partition.log_start()?),
        AutoOffsetReset::Latest => Some(state.partition.high_watermark()?),
        AutoOffsetReset::None => None,
    })
}

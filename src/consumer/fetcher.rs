//! Fetching into buffers, and taking records out of them.

use std::collections::VecDeque;

use super::records::ConsumerRecords;
use super::subscription::{PartitionState, Subscription};
use crate::config::{AutoOffsetReset, ConsumerConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::topic::FetchOptions;
use crate::types::Offset;

/// Takes up to `max.poll.records` records, fetching where nothing is buffered. `failed` gets the first error of a
/// partition, for the poll that finds nothing else or for the next one; the partition's position stays, so that the error
/// comes again until the application does something about it.
pub(super) fn take(
    subscription: &mut Subscription,
    config: &ConsumerConfig,
    failed: &mut Option<Error>,
) -> ConsumerRecords {
    // What was fetched goes first, so that memory stays bounded by one fetch.
    if subscription.partitions.iter().all(|state| state.buffer.is_none()) {
        fetch(subscription, config, failed);
    }
    drain(subscription, config.get_max_poll_records())
}

/// Fetches for every partition that has a position, in order, within `fetch.max.bytes`. Partitions with an error go to
/// the end of the order.
///
/// Rule: fetch.md 4: the first partition with data gives a whole batch whatever the limits say.
fn fetch(subscription: &mut Subscription, config: &ConsumerConfig, failed: &mut Option<Error>) {
    let mut left = config.get_fetch_max_bytes();
    let mut at_least_one = true;
    let (mut first, mut last) = (VecDeque::new(), VecDeque::new());
    for mut state in subscription.partitions.drain(..) {
        let bytes_max = left.min(config.get_max_partition_fetch_bytes());
        match fetch_one(&mut state, bytes_max, at_least_one, config) {
            Ok(bytes) => {
                at_least_one &= bytes == 0;
                left = left.saturating_sub(bytes);
                first.push_back(state);
            }
            Err(error) => {
                failed.get_or_insert(error);
                last.push_back(state);
            }
        }
    }
    first.append(&mut last);
    subscription.partitions = first;
}

/// Fills the buffer of one partition and returns how many bytes that took.
fn fetch_one(
    state: &mut PartitionState,
    bytes_max: usize,
    at_least_one: bool,
    config: &ConsumerConfig,
) -> Result<usize> {
    let Some(position) = state.position else { return Ok(0) };
    let options = FetchOptions::new().max_bytes(bytes_max).isolation_level(config.get_isolation_level());
    let fetched = match state.partition.fetch_within(position, &options, at_least_one) {
        Ok(fetched) => fetched,
        Err(error) => return reset(state, config.get_auto_offset_reset(), error).map(|()| 0),
    };
    if fetched.is_empty() {
        state.position = Some(fetched.next_offset()); // behind a hole that compaction left at the end
    } else {
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

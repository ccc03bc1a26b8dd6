//! Fetching into buffers, and taking records out of them.

use std::collections::VecDeque;

use super::records::ConsumerRecords;
use super::subscription::{PartitionState, Subscription};
use crate::config::{AutoOffsetReset, ConsumerConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::log::Fetched;
use crate::sync::Arc;
use crate::topic::{FetchOptions, Look, Partition};
use crate::types::Offset;

/// What a fetch found, by partition.
type Found = Vec<(Arc<Partition>, Fetched)>;

/// What came of a look for records.
pub(super) enum Taken {
    /// Records for the caller of `poll`, or an error in `failed` that it has to know.
    Records(ConsumerRecords),
    /// Too little.
    Short(Short),
}

/// What a look found that is not enough.
pub(super) struct Short {
    /// By partition, where anything can be read.
    pub(super) found: Found,
    /// Bytes that are missing.
    pub(super) missing: usize,
}

/// Takes up to `max.poll.records` records, fetching where nothing is buffered; with `is_last`, however little there is, but
/// not nothing.
/// `failed` gets the first error of a partition, for the poll that finds nothing else or for the next one; the partition's
/// position stays, so that the error comes again until the application does something about it.
pub(super) fn take(
    subscription: &mut Subscription,
    config: &ConsumerConfig,
    failed: &mut Option<Error>,
    is_last: bool,
) -> Taken {
    // What was fetched goes first, so that memory stays bounded by one fetch.
    if subscription.partitions.iter().all(|state| state.buffer.is_none())
        && let Some(short) = fetch(subscription, config, failed, is_last)
    {
        return Taken::Short(short);
    }
    Taken::Records(drain(subscription, config.get_max_poll_records()))
}

/// Fetches for every partition that has a position, in order. Partitions with an error go to the end of the order.
/// Returns what was found if that is not enough.
///
/// Rule: fetch.md 4: the first partition with data gives a whole batch whatever the limits say.
fn fetch(
    subscription: &mut Subscription,
    config: &ConsumerConfig,
    failed: &mut Option<Error>,
    is_last: bool,
) -> Option<Short> {
    let options = options(config);
    let Some(front) = subscription.partitions.front() else { return Some(Short { found: Vec::new(), missing: 1 }) };
    let mut look = Look::new(&options, front.partition.fetch_limits());
    let mut found = Vec::with_capacity(subscription.partitions.len());
    // Whether looking again finds something else, without a wait.
    let mut has_moved = false;
    let (mut first, mut last) = (VecDeque::with_capacity(subscription.partitions.len()), VecDeque::new());
    for mut state in subscription.partitions.drain(..) {
        let Some(position) = state.position else {
            first.push_back(state);
            continue;
        };
        match look.read(&state.partition, position, &options) {
            Ok(fetched) => {
                if fetched.is_empty() {
                    state.position = Some(fetched.next_offset()); // behind a hole that compaction left at the end
                }
                found.push((Arc::clone(&state.partition), fetched));
                first.push_back(state);
            }
            Err(error) => {
                has_moved = true;
                match reset(&mut state, config.get_auto_offset_reset(), error) {
                    Ok(()) => first.push_back(state),
                    Err(error) => {
                        failed.get_or_insert(error);
                        last.push_back(state);
                    }
                }
            }
        }
    }
    first.append(&mut last);
    subscription.partitions = first;
    if let Some(missing) = look.missing().filter(|_| !is_last) {
        return Some(Short { found, missing });
    }
    if !has_moved && found.iter().all(|(_, fetched)| fetched.is_empty()) {
        return Some(Short { found, missing: 1 }); // nothing is held back, and nothing is there: the first byte is waited for
    }
    fill(subscription, config, failed, found);
    None
}

/// Decodes what was fetched into the buffers of its partitions.
fn fill(subscription: &mut Subscription, config: &ConsumerConfig, failed: &mut Option<Error>, found: Found) {
    let mut found = found.into_iter().peekable();
    let (mut first, mut last) = (VecDeque::with_capacity(subscription.partitions.len()), VecDeque::new());
    for mut state in subscription.partitions.drain(..) {
        // Both are in the same order, but that some have nothing.
        match found.next_if(|(partition, _)| Arc::ptr_eq(partition, &state.partition)) {
            None => first.push_back(state),
            Some((_, fetched)) if fetched.is_empty() => first.push_back(state),
            Some((_, fetched)) => match fetched.decode(config.get_check_crcs()) {
                Ok(records) => {
                    state.read_ahead.note(&fetched);
                    state.buffer = Some(records);
                    first.push_back(state);
                }
                Err(error) => {
                    failed.get_or_insert(error);
                    last.push_back(state);
                }
            },
        }
    }
    first.append(&mut last);
    subscription.partitions = first;
}

fn options(config: &ConsumerConfig) -> FetchOptions {
    FetchOptions::new()
        .min_bytes(config.get_fetch_min_bytes())
        .max_bytes(config.get_fetch_max_bytes())
        .max_partition_bytes(config.get_max_partition_fetch_bytes())
        .isolation_level(config.get_isolation_level())
}

/// Moves a position that is not in the log to where the policy says, with the range that the fetch saw.
fn reset(state: &mut PartitionState, policy: AutoOffsetReset, error: Error) -> Result<()> {
    let ErrorKind::OffsetOutOfRange { requested, log_start, high_watermark, log_end } = *error.kind() else {
        return Err(error);
    };
    let to = match policy {
        AutoOffsetReset::Earliest => log_start,
        AutoOffsetReset::Latest => high_watermark,
        AutoOffsetReset::None => return Err(error),
    };
    if log_end < requested {
        // The application has seen records that are not there any more, or was told to begin where nothing is.
        tracing::warn!(partition = %state.partition.name(), requested, log_end, to, "a position above the log end is reset");
        state.partition.fetch_limits().note_position_above_end();
    }
    state.seek(to);
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

//! The engine's behaviour, seen through its public interface: one module for each kind.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

/// How the brokers of these tests read: the same tests run once more in another way.
const READ_MODE: thalweg::ReadMode = thalweg::ReadMode::Mmap;

mod support;

mod admin;
mod append_batch;
mod check;
mod checkpoint;
mod consume;
mod corruption;
mod damage;
mod fetch;
mod fetch_bad_input;
mod fetch_consumer;
mod fetch_held;
mod fetch_many;
mod fetch_table;
mod fetch_tokio;
mod groups;
mod hostile;
mod list_offset;
mod misuse;
mod open;
mod preallocate;
mod produce;
mod producer_acks;
mod producer_callbacks;
mod producer_ends;
mod producer_limits;
mod producer_memory;
mod producer_partitions;
mod producer_retries;
mod read_mode;
mod read_only;
mod repair;
mod retention;
mod stats;
mod store_full;
mod topics;
mod typed;
mod unfinished;
mod waiting;
mod wakers;

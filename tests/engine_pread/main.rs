//! The same behaviour with `read.mode` `pread`: the tests of `engine`, compiled once more with brokers that map nothing.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

/// How the brokers of these tests read.
const READ_MODE: thalweg::ReadMode = thalweg::ReadMode::Pread;

#[path = "../engine/support.rs"]
mod support;

#[path = "../engine/admin.rs"]
mod admin;
#[path = "../engine/check.rs"]
mod check;
#[path = "../engine/checkpoint.rs"]
mod checkpoint;
#[path = "../engine/consume.rs"]
mod consume;
#[path = "../engine/corruption.rs"]
mod corruption;
#[path = "../engine/damage.rs"]
mod damage;
#[path = "../engine/fetch.rs"]
mod fetch;
#[path = "../engine/fetch_bad_input.rs"]
mod fetch_bad_input;
#[path = "../engine/fetch_consumer.rs"]
mod fetch_consumer;
#[path = "../engine/fetch_held.rs"]
mod fetch_held;
#[path = "../engine/fetch_many.rs"]
mod fetch_many;
#[path = "../engine/fetch_table.rs"]
mod fetch_table;
#[path = "../engine/fetch_tokio.rs"]
mod fetch_tokio;
#[path = "../engine/groups.rs"]
mod groups;
#[path = "../engine/hostile.rs"]
mod hostile;
#[path = "../engine/list_offset.rs"]
mod list_offset;
#[path = "../engine/misuse.rs"]
mod misuse;
#[path = "../engine/open.rs"]
mod open;
#[path = "../engine/preallocate.rs"]
mod preallocate;
#[path = "../engine/produce.rs"]
mod produce;
#[path = "../engine/producer_acks.rs"]
mod producer_acks;
#[path = "../engine/producer_callbacks.rs"]
mod producer_callbacks;
#[path = "../engine/producer_ends.rs"]
mod producer_ends;
#[path = "../engine/producer_limits.rs"]
mod producer_limits;
#[path = "../engine/producer_memory.rs"]
mod producer_memory;
#[path = "../engine/producer_partitions.rs"]
mod producer_partitions;
#[path = "../engine/producer_retries.rs"]
mod producer_retries;
#[path = "../engine/read_mode.rs"]
mod read_mode;
#[path = "../engine/read_only.rs"]
mod read_only;
#[path = "../engine/repair.rs"]
mod repair;
#[path = "../engine/retention.rs"]
mod retention;
#[path = "../engine/stats.rs"]
mod stats;
#[path = "../engine/store_full.rs"]
mod store_full;
#[path = "../engine/topics.rs"]
mod topics;
#[path = "../engine/typed.rs"]
mod typed;
#[path = "../engine/unfinished.rs"]
mod unfinished;
#[path = "../engine/waiting.rs"]
mod waiting;
#[path = "../engine/wakers.rs"]
mod wakers;

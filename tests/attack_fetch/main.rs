//! What hostile and careless users do to fetches: bytes that no producer writes, wakers that misbehave, things that come and
//! go under those who wait, directories that others have by now.
//!
//! `ATTACK_SEED` and `ATTACK_ROUNDS` make the random ones others, and more.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once and say where")]
#![expect(clippy::print_stdout, reason = "it is how a test says that it was skipped")]

mod bytes;
mod cold;
mod kafka;
mod life;
mod wakers;

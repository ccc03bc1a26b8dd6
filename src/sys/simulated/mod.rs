//! A disk that forgets: what the device has, beside what the process sees.
//!
//! The process works on a real directory, which stands for the system's cache: maps, reads and names are real. Every
//! change goes into one list of [`Change`]s, and a [`Device`] knows which of them a sync has made durable. A power cut is
//! such a device at a place of the list, with a choice of what else it got.
//!
//! - A sync of a file makes its content and length durable and nothing else; a sync of a directory makes its names durable
//!   and nothing else. Systems do more, but promise no more.
//! - What was not synced survives by sectors of 512 bytes, in any order; a length survives by itself, and what it shows
//!   without its content reads as zeros, or rarely as garbage. Each change of names survives whole or not at all.
//! - After a failed sync the pages are clean in the cache and not on the device: a later sync has nothing to write, and
//!   succeeds. Who has the file open at that time is told once; who opens it later only if nobody was told.

mod change;
mod clock;
mod content;
mod cut;
mod device;
mod disk;
mod fault;
mod file;
mod hold;
mod random;
mod state;
#[cfg(test)]
mod tests;

pub use change::Operation;
pub use clock::SimulatedClock;
pub use cut::{Cut, Survival, Survived};
pub use disk::SimulatedDisk;
pub use fault::{Fault, OperationKind};
pub use hold::Held;

//! One model of the engine and one runner, for every driver: property tests, the fuzzer, the soak.
//!
//! A script is a [`Setup`](op::Setup) and a list of [`Op`](op::Op)s. [`run`] does each of them with the real engine and
//! with the model, which is made of plain vectors, and compares what both answer. After a crash it compares with what was
//! promised: at least that, at most what was sent, no gap, nothing garbled; which batches are whole in the files decides
//! what is between.
//!
//! | file | content |
//! |---|---|
//! | `op` | the script as plain data |
//! | `batches` | the records of a fetch, batch by batch |
//! | `decode` | a script out of any bytes |
//! | `record`, `log`, `retention`, `loss` | the model: records and batches, appends, what goes, what a crash takes |
//! | `run` | the runner: both side by side, and what is compared after every op |
//! | `produce`, `fetch`, `consume`, `remove`, `reopen` | the ops |
//! | `input`, `directory` | decisions out of bytes, data directories |
//!
//! What fetches return and how they wait has a model and scripts of its own: `fetches`.
//!
//! A new op: a variant in `op`, how it comes out of bytes in `decode`, what it does in `run::step`, and in the property
//! test how it is generated.

pub mod batches;
mod consume;
pub mod decode;
pub mod directory;
mod fetch;
pub mod fetches;
pub mod input;
mod log;
mod loss;
pub mod op;
mod produce;
mod record;
mod remove;
mod reopen;
mod retention;
mod run;

pub use run::{run, run_sabotaged};

//! Fetches, at once and waiting, beside a model that holds every batch in a vector.
//!
//! A script lays out a log, with gaps in its offsets if it likes, appends, deletes, and fetches: from one partition or
//! several, with every limit, at once or as futures that are polled by hand. The model encodes its batches itself and
//! knows one rule for what a fetch answers; nothing of it is the engine's. After every op those futures are ready for
//! which there is enough, and no others. The disk and its clock are simulated, so that nothing depends on the time.
//!
//! | file | content |
//! |---|---|
//! | `script` | the script as plain data, and out of any bytes |
//! | `batch` | batches as bytes |
//! | `model` | the partitions, and what fetches answer |
//! | `run` | the runner |
//! | `lay` | logs that are there before the broker is |
//! | `wait` | fetches that wait |

mod batch;
mod lay;
mod model;
mod run;
pub mod script;
mod wait;

pub use run::{run, run_sabotaged};

//! Produces and consumes until SIGTERM or Ctrl-C, and then closes everything in order.
//!
//! ```text
//! cargo run --release --example graceful_shutdown -- [DIR]
//! ```
//!
//! The library handles no signals, since they belong to the process: there is one handler for all of its parts, and only
//! the application knows what else has to end, in which order, and how long that may take. What it has to do for the
//! library is little: stop, then close producer, consumer and broker. An application that does not get to it loses
//! nothing that was acknowledged or committed, but the next open has to look through the ends of the logs.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use thalweg::{
    AutoOffsetReset, Broker, Consumer, ConsumerConfig, ErrorKind, Producer, ProducerConfig, ProducerRecord, TopicConfig,
};

const TOPIC: &str = "ticks";

/// Time between two records; also how long a signal can go unnoticed.
const TICK: Duration = Duration::from_millis(50);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let dir = env::args_os().nth(1).unwrap_or_else(|| "./thalweg-data".into());
    match run(Path::new(&dir)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE, // what failed has been said
        Err(error) => {
            complain("start", &*error);
            ExitCode::FAILURE
        }
    }
}

/// Works until a signal or an error, and returns whether everything went well to the end.
fn run(dir: &Path) -> Result<bool> {
    let stop = stop_on_signals()?; // before the open: recovery takes its time, too
    let broker = Broker::open(dir)?;
    match broker.create_topic(TOPIC, 1, TopicConfig::new()) {
        Err(error) if !matches!(error.kind(), ErrorKind::TopicAlreadyExists { .. }) => return Err(error.into()),
        _ => {}
    }
    let producer = broker.producer(ProducerConfig::new())?;
    let config = ConsumerConfig::new().group_id("clock").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = broker.consumer(config.enable_auto_commit(false))?;

    // Each returns when the flag is set, and sets it when it fails: nobody works on alone.
    let (produced, consumed) = thread::scope(|scope| {
        let producing = scope.spawn(|| until_stopped(&stop, || produce(&producer, &stop)));
        let consumed = until_stopped(&stop, || consume(&mut consumer, &stop));
        (producing.join().unwrap_or_else(|_| Err("it panicked".into())), consumed)
    });

    // The producer first: it hands over what it still holds. The consumer commits, if that is automatic, and leaves its
    // group. The broker last: it makes all logs durable and marks the directory as closed in order. An error of one
    // keeps none of the others from being closed.
    let outcomes = [
        ("produce", produced),
        ("consume", consumed),
        ("close the producer", producer.close().map_err(Into::into)),
        ("close the consumer", consumer.close().map_err(Into::into)),
        ("close the broker", broker.close().map_err(Into::into)),
    ];
    let failed = outcomes.into_iter().filter_map(|(what, outcome)| Some((what, outcome.err()?)));
    Ok(failed.inspect(|(what, error)| complain(what, &**error)).count() == 0)
}

/// The flag that the first signal sets. A second one ends the process at once, for those who do not want to wait.
fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn until_stopped(stop: &AtomicBool, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let outcome = work();
    stop.store(true, Ordering::Relaxed);
    outcome
}

/// Sends a record per tick. What was sent is on the disk before the next one: nothing is under way when it stops.
fn produce(producer: &Producer, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        producer.send(ProducerRecord::new(TOPIC, "tick"))?.wait()?;
        thread::sleep(TICK);
    }
    Ok(())
}

/// Prints every record once, as long as it is stopped in order: what was polled is finished and committed.
fn consume(consumer: &mut Consumer, stop: &AtomicBool) -> Result<()> {
    consumer.subscribe(&[TOPIC])?;
    while !stop.load(Ordering::Relaxed) {
        for record in consumer.poll(TICK)?.iter() {
            writeln!(io::stdout(), "{} {}", record.offset(), record.value().unwrap_or_default().escape_ascii())?;
        }
        consumer.commit_sync()?;
    }
    Ok(())
}

fn complain(what: &str, error: &(dyn Error + Send + Sync)) {
    let _ = writeln!(io::stderr(), "graceful_shutdown: {what}: {error}"); // there is nobody left to tell
}

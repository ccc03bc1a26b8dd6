//! Sends every line of a file to a topic, waits until all are acknowledged, consumes what is new and commits.
//!
//! ```text
//! cargo run --release --example quickstart -- [--dir DIR] [--topic NAME] [--partitions N] [--group G] [FILE]
//! ```
//!
//! A line is what stands before a line feed, whatever bytes these are; its key is its first field. Run again on the
//! same directory, it consumes only what the second run sent.

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use thalweg::{
    AutoOffsetReset, Broker, Consumer, ConsumerConfig, ErrorKind, Offset, ProducerConfig, ProducerRecord, TopicConfig,
    TopicDescription, TopicPartition,
};

const USAGE: &str = "\
usage: quickstart [--dir DIR] [--topic NAME] [--partitions N] [--group G] [FILE]

Sends every line of FILE to a topic, consumes what is new, commits and reports.

  --dir DIR        data directory, created if missing (default: ./thalweg-data)
  --topic NAME     topic, created if missing (default: quickstart)
  --partitions N   number of partitions of a new topic (default: 4)
  --group G        consumer group (default: quickstart)
  -h, --help       show this text
  FILE             what to send; without it a small bundled log is sent";

/// What is sent when no file is named.
const BUNDLED: &[u8] = include_bytes!("quickstart.log");

fn main() -> ExitCode {
    let outcome = match Options::parse(env::args_os().skip(1)) {
        Ok(Some(options)) => run(&options).map_err(|error| (error.to_string(), 1)),
        Ok(None) => print(USAGE).map_err(|error| (error.to_string(), 1)),
        Err(reason) => Err((format!("{reason}; --help shows the usage"), 2)),
    };
    let Err((reason, status)) = outcome else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "quickstart: {reason}"); // there is nobody left to tell
    ExitCode::from(status)
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn run(options: &Options) -> Result<()> {
    // Read first: a file that is not there must not leave a data directory behind.
    let input = options.read_input()?;
    let broker = Broker::open(&options.dir)?;
    print(format_args!("directory  {}", options.dir.display()))?;
    print(broker.recovery())?;
    let outcome = send_and_consume(&broker, options, &input);
    outcome.and(broker.close().map_err(Into::into))
}

fn send_and_consume(broker: &Broker, options: &Options, input: &[u8]) -> Result<()> {
    let config = ConsumerConfig::new()
        .group_id(options.group.as_str())
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .enable_auto_commit(false);
    let mut consumer = broker.consumer(config)?; // first, so that a bad group is refused before anything is sent
    let topic = open_topic(broker, options)?;
    let sent = send(broker, &topic, input)?;
    let rows = Row::of_topic(broker, &topic, &consumer)?;
    let expected = rows.iter().map(Row::lag).sum();
    let consumed = consume(&mut consumer, &topic, &rows, expected)?;
    consumer.commit_sync()?;
    let rows = Row::of_topic(broker, &topic, &consumer)?;
    consumer.close()?;

    print(format_args!("\n{:<9} {:>12} {:>15} {:>10} {:>12}", "", "records", "bytes", "seconds", "records/s"))?;
    print(format_args!("{:<9} {sent}", "sent"))?;
    print(format_args!("{:<9} {consumed}", "consumed"))?;
    print(format_args!("\n{:<9} {:>12} {:>15} {:>10} {:>12}", "partition", "start", "end", "committed", "lag"))?;
    rows.iter().try_for_each(print)?;
    if consumed.records != expected {
        let counts = (Grouped(expected), Grouped(consumed.records));
        return Err(format!("the group lagged by {} records but consumed {}", counts.0, counts.1).into());
    }
    Ok(())
}

/// Creates the topic, or takes it as it is.
fn open_topic(broker: &Broker, options: &Options) -> Result<TopicDescription> {
    let (topic, how) = match broker.create_topic(&options.topic, options.partitions, TopicConfig::new()) {
        Ok(topic) => (topic, "created".to_owned()),
        Err(error) if matches!(error.kind(), ErrorKind::TopicAlreadyExists { .. }) => {
            let topic = broker.topic(&options.topic)?;
            let how = match topic.partitions() {
                count if options.wants_other_than(count) => format!("was there; not changed to {}", options.partitions),
                _ => "was there".to_owned(),
            };
            (topic, how)
        }
        Err(error) => return Err(error.into()),
    };
    let plural = if topic.partitions() == 1 { "" } else { "s" };
    print(format_args!("topic      {}, {} partition{plural}, {how}", topic.name(), topic.partitions()))?;
    Ok(topic)
}

/// Sends every line and returns when all of them are acknowledged: they then survive what the topic promises.
fn send(broker: &Broker, topic: &TopicDescription, input: &[u8]) -> Result<Throughput> {
    let producer = broker.producer(ProducerConfig::new())?;
    let bar = progress_bar("sending", lines(input).count() as u64);
    let watch = Watch::start();
    let mut acks = Vec::new();
    for line in lines(input) {
        acks.push(producer.send(ProducerRecord::new(topic.name(), line).key(first_field(line)))?);
        bar.inc(1);
    }
    producer.flush()?;
    let (count, mut records, mut bytes, mut refused) = (acks.len(), 0, 0, None);
    for (at, (line, ack)) in lines(input).zip(acks).enumerate() {
        match ack.wait() {
            Ok(_) => {
                records += 1;
                bytes += line.len() as u64;
            }
            Err(error) => {
                refused.get_or_insert((at + 1, error));
            }
        }
    }
    let sent = watch.stop(records, bytes);
    bar.finish_and_clear();
    producer.close()?;
    match refused {
        None => Ok(sent),
        Some((number, error)) => {
            Err(format!("line {number}: {error}; {records} of {count} lines are in the log").into())
        }
    }
}

/// Polls until the consumer stands at the end of every partition, as `rows` have it.
fn consume(consumer: &mut Consumer, topic: &TopicDescription, rows: &[Row], expected: u64) -> Result<Throughput> {
    let bar = progress_bar("consuming", expected);
    let watch = Watch::start();
    consumer.subscribe(&[topic.name()])?;
    let (mut records, mut bytes) = (0, 0);
    let mut wait = Duration::ZERO; // the first poll joins the group; there may be nothing to wait for
    loop {
        for record in consumer.poll(wait)?.iter() {
            records += 1;
            bytes += record.value().map_or(0, <[u8]>::len) as u64;
            bar.inc(1);
        }
        if is_at_end(consumer, rows)? {
            break;
        }
        wait = Duration::from_secs(1);
    }
    bar.finish_and_clear();
    Ok(watch.stop(records, bytes))
}

fn is_at_end(consumer: &mut Consumer, rows: &[Row]) -> thalweg::Result<bool> {
    for row in rows {
        if consumer.position(&row.partition)? < row.end {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What stands before each line feed, and what stands behind the last one if that is anything.
fn lines(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// The bytes before the first white space. May be empty.
fn first_field(line: &[u8]) -> &[u8] {
    line.split(u8::is_ascii_whitespace).next().unwrap_or(line)
}

/// A partition as the group sees it.
struct Row {
    partition: TopicPartition,
    start: Offset,
    end: Offset,
    committed: Option<Offset>,
}

impl Row {
    fn of_topic(broker: &Broker, topic: &TopicDescription, consumer: &Consumer) -> thalweg::Result<Vec<Row>> {
        let partitions: Vec<_> =
            (0..topic.partitions()).map(|number| TopicPartition::new(topic.name(), number)).collect();
        let committed = consumer.committed(&partitions)?;
        committed
            .into_iter()
            .map(|(name, committed)| {
                let partition = broker.partition(&name)?;
                Ok(Row {
                    start: partition.log_start()?,
                    end: partition.high_watermark()?,
                    committed: committed.map(|committed| committed.offset()),
                    partition: name,
                })
            })
            .collect()
    }

    /// Records that the group has not consumed. Without a commit in the log it begins at the log's start.
    fn lag(&self) -> u64 {
        let next = self.committed.filter(|next| (self.start..=self.end).contains(next)).unwrap_or(self.start);
        (self.end - next).unsigned_abs()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |offset: Offset| Grouped(offset.unsigned_abs()).to_string();
        let committed = self.committed.map_or_else(|| "-".to_owned(), number);
        let (start, end, lag) = (number(self.start), number(self.end), Grouped(self.lag()).to_string());
        write!(f, "{:>9} {start:>12} {end:>15} {committed:>10} {lag:>12}", self.partition.partition())
    }
}

/// How many records, how fast.
struct Throughput {
    records: u64,
    bytes: u64,
    elapsed: Duration,
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = self.records as f64 / seconds.max(1e-9);
        let (records, bytes, rate) = (Grouped(self.records), Grouped(self.bytes), Grouped(rate as u64));
        write!(f, "{:>12} {:>15} {seconds:>10.3} {:>12}", records.to_string(), bytes.to_string(), rate.to_string())
    }
}

/// Measures how long something takes.
struct Watch(Instant);

impl Watch {
    #[expect(clippy::disallowed_methods, reason = "the ban is for the engine, whose tests control the time")]
    fn start() -> Self {
        Watch(Instant::now())
    }

    fn stop(&self, records: u64, bytes: u64) -> Throughput {
        Throughput { records, bytes, elapsed: self.0.elapsed() }
    }
}

/// A number with a comma before every three digits.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            let behind = digits.len() - at;
            if at > 0 && behind.is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// Shown on a terminal, hidden elsewhere.
fn progress_bar(what: &'static str, records: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:9} {wide_bar} {human_pos}/{human_len}");
    ProgressBar::new(records).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(what)
}

fn print(line: impl fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// The command line.
struct Options {
    dir: PathBuf,
    topic: String,
    partitions: i32,
    partitions_given: bool,
    group: String,
    file: Option<PathBuf>,
}

impl Options {
    /// `None` if help was asked for.
    fn parse(arguments: impl Iterator<Item = OsString>) -> std::result::Result<Option<Self>, String> {
        let mut options = Options {
            dir: "./thalweg-data".into(),
            topic: "quickstart".to_owned(),
            partitions: 4,
            partitions_given: false,
            group: "quickstart".to_owned(),
            file: None,
        };
        let mut arguments = arguments;
        let mut only_files = false;
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--") if !only_files => only_files = true,
                Some("-h" | "--help") if !only_files => return Ok(None),
                Some(name) if !only_files && name.starts_with('-') => options.set(name, &mut arguments)?,
                _ if options.file.is_none() => options.file = Some(argument.into()),
                _ => return Err(format!("one FILE is enough, {} is a second one", argument.display())),
            }
        }
        Ok(Some(options))
    }

    /// Takes an option with its value, which stands behind `=` or is the next argument.
    fn set(&mut self, option: &str, rest: &mut impl Iterator<Item = OsString>) -> std::result::Result<(), String> {
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        if !["--dir", "--topic", "--partitions", "--group"].contains(&name) {
            return Err(format!("unknown option {option}"));
        }
        let value = value.map(OsString::from).or_else(|| rest.next()).ok_or(format!("{name} needs a value"))?;
        match name {
            "--dir" => self.dir = value.into(),
            "--topic" => self.topic = text(name, &value)?,
            "--group" => self.group = text(name, &value)?,
            _ => {
                let number = text(name, &value)?;
                self.partitions =
                    number.parse().map_err(|_| format!("{name} cannot be {number}: expected a number"))?;
                self.partitions_given = true;
            }
        }
        Ok(())
    }

    fn wants_other_than(&self, partitions: i32) -> bool {
        self.partitions_given && self.partitions != partitions
    }

    fn read_input(&self) -> Result<Vec<u8>> {
        match &self.file {
            None => Ok(BUNDLED.to_vec()),
            Some(file) => fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()).into()),
        }
    }
}

fn text(option: &str, value: &OsStr) -> std::result::Result<String, String> {
    value.to_str().map(str::to_owned).ok_or_else(|| format!("{option} needs text, not {}", value.display()))
}

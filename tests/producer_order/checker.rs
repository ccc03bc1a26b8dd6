//! What was sent, what was said about it, and what is in the logs: whether these agree.

use std::collections::HashMap;
use std::fmt;

use thalweg::{Acks, Error, ErrorKind, FetchOptions, Partition};

/// A record: who sent it, where to, and the how-many-eth of that thread to that partition it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) thread: usize,
    pub(crate) partition: i32,
    pub(crate) number: usize,
}

/// What its acknowledgement said.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// It is at this offset.
    At(i64),
    /// Nothing was promised, which is what `acks=0` promises.
    Nothing,
    /// It failed, and is not in the log.
    Absent(String),
    /// It failed, and may be in the log; or nothing was said before the end.
    Perhaps,
}

/// A record that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) mark: Mark,
    pub(crate) said: Said,
}

impl Mark {
    /// A value that says what it is, with `padding` bytes more.
    pub(crate) fn value(&self, padding: usize) -> Vec<u8> {
        let mut value = format!("{self} ").into_bytes();
        value.resize(value.len() + padding, b'.');
        value
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut numbers = text.split(' ').next()?.split('/').map(|number| number.parse::<usize>().ok());
        let (thread, partition, number) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(Mark { thread, partition: i32::try_from(partition).ok()?, number })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.thread, self.partition, self.number)
    }
}

impl Said {
    pub(crate) fn of(outcome: &Result<i64, Error>, acks: Acks) -> Self {
        match outcome {
            Ok(-1) if acks == Acks::None => Said::Nothing,
            Ok(offset) => Said::At(*offset),
            Err(error) if may_be_there(error) => Said::Perhaps,
            Err(error) => Said::Absent(error.to_string()),
        }
    }
}

/// Whether an error leaves open what became of its record: see [`thalweg::Ack::wait`].
fn may_be_there(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Storage { .. } | ErrorKind::Io { .. } => true,
        ErrorKind::Timeout { what } => what.contains("may be in the log"),
        _ => false,
    }
}

/// The records of a partition that can be seen, by offset.
pub(crate) fn read(partition: &Partition) -> Result<Vec<Mark>, String> {
    let mut marks = Vec::new();
    let end = partition.high_watermark().map_err(|error| error.to_string())?;
    while (marks.len() as i64) < end {
        let next = marks.len() as i64;
        let fetched = partition.fetch(next, &FetchOptions::new()).map_err(|error| format!("at {next}: {error}"))?;
        let records = fetched.decode(true).map_err(|error| format!("at {next}: {error}"))?;
        if records.is_empty() {
            return Err(format!("nothing can be read at {next}, and the end is {end}"));
        }
        for record in records.iter() {
            if record.offset() != marks.len() as i64 {
                return Err(format!("record {} is where {} should be", record.offset(), marks.len()));
            }
            let value = record.value().unwrap_or_default();
            let mark = Mark::parse(value).ok_or_else(|| format!("{:?} was never sent", value.escape_ascii()))?;
            marks.push(mark);
        }
    }
    Ok(marks)
}

/// Whether `logs`, by partition, are what was sent and said: every thread's records of a partition in its order, none
/// twice, those that were acknowledged where that was said, and none that failed. What was acknowledged has to be there,
/// but for what comes behind the end of a log that may be shorter.
pub(crate) fn check(sent: &[Sent], logs: &[Vec<Mark>], may_be_shorter: bool) -> Result<(), String> {
    let mut offsets = HashMap::new();
    let mut last = HashMap::new();
    for (partition, log) in (0..).zip(logs) {
        for (offset, mark) in (0_i64..).zip(log) {
            if mark.partition != partition {
                return Err(format!("{mark} is in partition {partition}"));
            }
            if let Some(first) = offsets.insert(*mark, offset) {
                return Err(format!("{mark} is there twice, at {first} and {offset}"));
            }
            if let Some(before) = last.insert((mark.thread, partition), *mark).filter(|last| mark.number <= last.number)
            {
                return Err(format!("{mark} at {offset} comes behind {before}"));
            }
        }
    }
    for Sent { mark, said } in sent {
        let found = offsets.remove(mark);
        match (said, found) {
            (Said::At(offset), Some(found)) if *offset == found => {}
            (Said::At(offset), None) if may_be_shorter && logs[mark.partition as usize].len() as i64 <= *offset => {}
            (Said::At(offset), found) => {
                return Err(format!("{mark} was acknowledged at {offset} and is at {found:?}"));
            }
            (Said::Absent(error), Some(found)) => return Err(format!("{mark} is at {found}, and failed: {error}")),
            (Said::Absent(_), None) | (Said::Nothing | Said::Perhaps, _) => {}
        }
    }
    offsets.keys().next().map_or(Ok(()), |mark| Err(format!("{mark} was never sent")))
}

/// Whether the callbacks of every thread and partition came in the order of sending, each once.
pub(crate) fn check_callbacks(called: &[Mark], expected: usize) -> Result<(), String> {
    let mut next = HashMap::new();
    for mark in called {
        let next = next.entry((mark.thread, mark.partition)).or_insert(0);
        if mark.number != *next {
            return Err(format!("the callback of {mark} came where that of {next} was due"));
        }
        *next += 1;
    }
    if called.len() == expected { Ok(()) } else { Err(format!("{} callbacks were called of {expected}", called.len())) }
}

//! The small files that a Kafka broker reads, too: each is whole or not there, whenever the power went. A broker refuses a
//! directory in which one of them is cut short.

use std::fs;
use std::io;
use std::path::Path;

const META_PROPERTIES: &str = "meta.properties";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// What is wrong with the small files of a data directory that nobody has opened since the power went.
pub(crate) fn check(dir: &Path) -> Result<(), String> {
    let lacks =
        |text: &str, key: &str| !text.lines().any(|line| line.strip_prefix(key).is_some_and(|id| id.len() == 22));
    if let Some(text) = read(&dir.join(META_PROPERTIES))?
        && (!text.starts_with("version=1\nnode.id=0\n") || lacks(&text, "cluster.id=") || lacks(&text, "directory.id="))
    {
        return Err(format!("{META_PROPERTIES} is cut short: {text:?}"));
    }
    if let Some(text) = read(&dir.join(CLEAN_SHUTDOWN))?
        && text != "{\"version\":0,\"brokerEpoch\":-1}"
    {
        return Err(format!("{CLEAN_SHUTDOWN} is cut short: {text:?}"));
    }
    for entry in fs::read_dir(dir).map_err(|error| error.to_string())? {
        let name = entry.map_err(|error| error.to_string())?.file_name().into_string().unwrap_or_default();
        if let Some(topic) = name.strip_suffix(".topic") {
            let text = read(&dir.join(&name))?.unwrap_or_default();
            check_topic(dir, topic, &text).map_err(|wrong| format!("{name}: {wrong}"))?;
        }
    }
    Ok(())
}

/// Whether the directory has what says whose it is.
pub(crate) fn are_there(dir: &Path) -> bool {
    dir.join(META_PROPERTIES).exists()
}

/// The directories of a topic that is being created or deleted are not a broker's business.
fn check_topic(dir: &Path, topic: &str, text: &str) -> Result<(), String> {
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).ok_or_else(|| format!("it has no {key}"));
    if value("crc32=")?.len() != 8 || !text.ends_with('\n') {
        return Err(format!("it is cut short: {text:?}"));
    }
    if value("state=").is_ok() {
        return Ok(());
    }
    let (id, count) = (value("topic.id=")?, value("partitions=")?.parse::<i32>().map_err(|error| error.to_string())?);
    for number in 0..count {
        let dir = dir.join(format!("{topic}-{number}"));
        for (name, is_whole) in [
            (
                "partition.metadata",
                (|text, id| text == format!("version: 0\ntopic_id: {id}")) as fn(&str, &str) -> bool,
            ),
            ("leader-epoch-checkpoint", |text, _| are_epochs(text).is_some()),
        ] {
            let text = read(&dir.join(name))?.ok_or_else(|| format!("{name} of partition {number} is not there"))?;
            if !is_whole(&text, id) {
                return Err(format!("{name} of partition {number} is cut short: {text:?}"));
            }
        }
    }
    Ok(())
}

/// A version, a number of entries, and as many entries.
fn are_epochs(text: &str) -> Option<()> {
    let entries = text.strip_prefix("0\n")?.strip_suffix('\n')?;
    let mut lines = entries.lines();
    let count: usize = lines.next()?.parse().ok()?;
    let entries: Option<Vec<_>> = lines
        .map(|line| Some((line.split_once(' ')?.0.parse::<i32>().ok()?, line.split_once(' ')?.1.parse::<i64>().ok()?)))
        .collect();
    (entries?.len() == count).then_some(())
}

fn read(path: &Path) -> Result<Option<String>, String> {
    match fs::read(path) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

//! Stories in which a sync matters that chance hardly ever meets. Each is told once with it and once without.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thalweg::simulation::{Background, Fault, OperationKind, SyncPoint};
use thalweg::{Durability, OnCorruption, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

use crate::small_files;
use crate::story::{After, FIRST, Seen, Story, contents, read, send};

/// What happens, with a sync left out or with none: an error says what is lost.
pub(crate) type Tell = fn(Option<SyncPoint>) -> Result<(), String>;

/// Stories, and the syncs that each shows to be needed.
pub(crate) const STORIES: &[(Tell, &[SyncPoint])] = &[
    (
        a_directory_is_opened_and_closed,
        &[
            SyncPoint::MetaProperties,
            SyncPoint::MetaPropertiesName,
            SyncPoint::PartitionFile,
            SyncPoint::CleanMark,
            SyncPoint::CleanMarkName,
            SyncPoint::CleanMarkRemoved,
        ],
    ),
    (a_torn_log_is_cut, &[SyncPoint::LeaderEpochs, SyncPoint::LeaderEpochsName]),
    (directories_are_adopted, &[]),
    (a_process_is_killed, &[SyncPoint::RecoveredSegment]),
    (a_topic_is_created, &[SyncPoint::PartitionName]),
    (a_topic_is_deleted, &[SyncPoint::PartitionRenamed]),
    (a_creation_fails, &[SyncPoint::CreationTakenBack]),
    (a_replacement_is_taken_back, &[SyncPoint::ReplacementStep]), // the first of them
    (a_replacement_is_finished, &[SyncPoint::ReplacementStep]),   // the second
    (a_shared_segment_is_appended_to, &[SyncPoint::UnsharedSegment, SyncPoint::UnsharedSegmentName]),
    (damage_is_kept, &[SyncPoint::SideFile, SyncPoint::SideFileName]),
    (there_is_no_room_for_a_copy, &[SyncPoint::CutSegment]),
];

#[test]
fn stories_end_well() {
    let mut wrong = Vec::new();
    for (number, (tell, points)) in STORIES.iter().enumerate() {
        wrong.extend(tell(None).err().map(|wrong| format!("story {number}, of {points:?}: {wrong}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const CHECKPOINT: &str = "thalweg-checkpoint";

/// Bytes of a batch of one record beside its value, of 64 to 8191 bytes.
const OVERHEAD: usize = 70;

fn config() -> TopicConfig {
    TopicConfig::new().durability(Durability::Fsync)
}

fn is_one_of(found: &[String], allowed: &[&[&str]]) -> Result<(), String> {
    if allowed.iter().any(|allowed| found == *allowed) { Ok(()) } else { Err(format!("there is {found:?}")) }
}

fn a_directory_is_opened_and_closed(off: Option<SyncPoint>) -> Result<(), String> {
    let story = Story::begin(off);
    let broker = story.open();
    let opened = story.now();
    broker.create_topic("t", 2, config()).unwrap();
    broker.close().unwrap();
    let closed = story.now();
    let broker = story.open();
    let opened_again = story.now();
    story.disk.kill_broker(broker);
    story.cut(0, |after| {
        if after.data.exists() {
            small_files::check(&after.data)?;
        }
        if opened <= after.at && !small_files::are_there(&after.data) {
            return Err("nothing says any more whose directory it is".to_owned());
        }
        let broker = after.open()?;
        match broker.recovery().clean {
            true if opened_again <= after.at => Err("it was in use, and is taken for closed".to_owned()),
            false if after.at == closed => Err("it was closed, and is not taken for it".to_owned()),
            _ => Ok(()),
        }
    })
}

/// A topic that is there has its partitions.
fn a_topic_is_created(off: Option<SyncPoint>) -> Result<(), String> {
    let story = Story::begin(off);
    let broker = story.open();
    let opened = story.now();
    broker.create_topic("t", 6, config()).unwrap();
    story.disk.kill_broker(broker);
    story.cut(opened, |after| after.open().map(drop))
}

/// Whoever has seen a record at an offset can tell by the epoch that another one has come in its place.
fn a_torn_log_is_cut(off: Option<SyncPoint>) -> Result<(), String> {
    let mut story = Story::begin(off);
    let broker = story.open();
    broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Interval)).unwrap();
    ["a", "b", "c"].iter().for_each(|value| drop(send(&broker, value)));
    let mut seen = read(&broker)?;
    story.disk.kill_broker(broker);
    story.is_settled();
    // The end of the last batch is lost. A side file for what is behind would have its name synced, and the list's with it.
    let path = story.data.join("t-0").join(FIRST);
    let mut content = fs::read(&path).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap();
    content.truncate(end - 5);
    fs::write(&path, content).unwrap();
    let broker = story.open();
    send(&broker, "d")?;
    Background::of(&broker).flush();
    let sent = story.now();
    let found = read(&broker)?;
    if found.iter().map(|seen| seen.value.as_str()).ne(["a", "b", "d"]) {
        return Err(format!("{found:?}"));
    }
    differ(&mut seen, &found)?;
    story.disk.kill_broker(broker);
    story.cut(0, |after| {
        let mut seen = seen.clone();
        let broker = after.open()?;
        if sent <= after.at && !read(&broker)?.iter().any(|seen| seen.value == "d") {
            return Err("what was acknowledged is gone".to_owned());
        }
        if after.at < sent {
            seen.retain(|seen| seen.value != "d");
        }
        send(&broker, "e")?;
        differ(&mut seen, &read(&broker)?)
    })
}

/// No offset and epoch together are those of two records.
fn differ(seen: &mut Vec<Seen>, more: &[Seen]) -> Result<(), String> {
    for new in more {
        let same = seen.iter().find(|seen| (seen.offset, seen.epoch) == (new.offset, new.epoch));
        match same {
            Some(same) if same.value != new.value => return Err(format!("{new:?} and {same:?}")),
            Some(_) => {}
            None => seen.push(new.clone()),
        }
    }
    Ok(())
}

/// Those of another broker's topic, one of them empty.
fn directories_are_adopted(off: Option<SyncPoint>) -> Result<(), String> {
    let mut story = Story::begin(off);
    let dir = story.log(config(), &["a", "b"]);
    fs::remove_file(story.data.join("t.topic")).unwrap();
    fs::remove_file(dir.join(CHECKPOINT)).unwrap();
    fs::create_dir(story.data.join("t-1")).unwrap();
    let broker = story.open();
    assert_eq!(broker.recovery().adopted, ["t"]);
    send(&broker, "c")?;
    let sent = story.now();
    story.disk.kill_broker(broker);
    story.cut(0, |after| {
        let found = after.values()?;
        is_one_of(&found, if sent <= after.at { &[&["a", "b", "c"]] } else { &[&["a", "b"], &["a", "b", "c"]] })?;
        let broker = after.open()?;
        let other = broker.partition(&TopicPartition::new("t", 1)).and_then(|partition| partition.log_end());
        if other.is_ok_and(|end| end == 0) { Ok(()) } else { Err("the other partition is not there".to_owned()) }
    })
}

/// What it has written and not synced is shown by the next one.
fn a_process_is_killed(off: Option<SyncPoint>) -> Result<(), String> {
    const SEGMENT: usize = 1000;
    let story = Story::begin(off);
    let broker = story.open();
    // There is no room behind: giving it back would sync the file.
    broker.create_topic("t", 1, config().internal_segment_bytes(SEGMENT as u64)).unwrap();
    let producer = broker.producer(ProducerConfig::new().linger(Duration::from_millis(5))).unwrap();
    let value = "a".repeat(SEGMENT - OVERHEAD);
    producer.send(ProducerRecord::new("t", &value)).unwrap().detach();
    story.disk.clock().advance(Duration::from_millis(20));
    Background::of(&broker).run_timers();
    story.disk.kill();
    drop((producer, broker));
    story.disk.restart();
    let broker = story.open();
    let found = read(&broker)?;
    assert_eq!(found.len(), 1, "it was written, and is shown");
    let seen = story.now();
    story.disk.kill_broker(broker);
    story.cut(seen, |after| is_one_of(&after.values()?, &[&[&value]]))
}

fn a_topic_is_deleted(off: Option<SyncPoint>) -> Result<(), String> {
    let story = Story::begin(off);
    let broker = story.open();
    broker.create_topic("t", 1, config()).unwrap();
    let began = story.now();
    broker.delete_topic("t").unwrap();
    let deleted = story.now();
    story.disk.kill_broker(broker);
    story.cut(began, |after| {
        let broker = after.open()?;
        match (broker.topics().len(), &broker.recovery().adopted) {
            (_, adopted) if !adopted.is_empty() => Err("what is left of it is taken for a topic".to_owned()),
            (1, _) if deleted <= after.at => Err("it is there again".to_owned()),
            _ => Ok(()),
        }
    })
}

fn a_creation_fails(off: Option<SyncPoint>) -> Result<(), String> {
    let mut failed = 0;
    for skipped in 3..9 {
        let story = Story::begin(off);
        let broker = story.open();
        let began = story.now();
        story.disk.fail(Fault::of(OperationKind::Create).after(skipped));
        let is_created = broker.create_topic("t", 1, config()).is_ok();
        story.disk.heal();
        story.disk.kill_broker(broker);
        if is_created {
            continue; // it was an index
        }
        failed += 1;
        story.cut(began, |after| {
            let broker = after.open()?;
            if broker.topics().is_empty() { Ok(()) } else { Err("what is left of it is taken for a topic".to_owned()) }
        })?;
    }
    assert!(failed > 2);
    Ok(())
}

/// A log with segments at 0, 10, 20 and 30, all of old records, and what makes a batch of new ones.
fn old_log(story: &mut Story) -> (PathBuf, impl Fn(&mut dyn Iterator<Item = i64>, bool) -> Vec<u8> + use<>) {
    let dir = story.log(config(), &["old", "new"]);
    let batches = fs::read(dir.join(FIRST)).unwrap();
    let batches = batches.split_at(batches.len() / 2);
    let [old, new] = [batches.0.to_vec(), batches.1.to_vec()];
    let segment = move |offsets: &mut dyn Iterator<Item = i64>, is_new: bool| -> Vec<u8> {
        let batch = if is_new { &new } else { &old };
        offsets.flat_map(|offset| [&offset.to_be_bytes(), &batch[8..]].concat()).collect() // outside the checksum
    };
    for (file, _) in contents(&dir).iter().filter(|(file, _)| file.contains("index") || file == CHECKPOINT) {
        fs::remove_file(dir.join(file)).unwrap();
    }
    for base in [0, 10, 20, 30] {
        fs::write(dir.join(format!("{base:020}.log")), segment(&mut (base..base + 10), false)).unwrap();
    }
    (dir, segment)
}

fn are_all(after: &After, value: &str) -> Result<(), String> {
    let values = after.values()?;
    let (replaced, others) = values.split_at(values.len().saturating_sub(10));
    if replaced.len() > 10 && replaced.iter().all(|found| found == value) && others.iter().all(|found| found == "old") {
        return Ok(());
    }
    Err(format!("there is {values:?}"))
}

/// Of two segments only the second one was finished.
fn a_replacement_is_taken_back(off: Option<SyncPoint>) -> Result<(), String> {
    let mut story = Story::begin(off);
    let (dir, segment) = old_log(&mut story);
    let new = |bases: std::ops::Range<i64>| segment(&mut bases.filter(|offset| offset % 2 == 1), true);
    fs::write(dir.join(format!("{:020}.log.cleaned", 0)), new(0..20)).unwrap();
    fs::write(dir.join(format!("{:020}.log.swap", 20)), new(20..30)).unwrap();
    story.disk.kill_broker(story.open());
    story.cut(0, |after| are_all(after, "old"))
}

fn a_replacement_is_finished(off: Option<SyncPoint>) -> Result<(), String> {
    let mut story = Story::begin(off);
    let (dir, segment) = old_log(&mut story);
    let new = |bases: std::ops::Range<i64>| segment(&mut bases.filter(|offset| offset % 2 == 1), true);
    fs::write(dir.join(format!("{:020}.log.swap", 0)), new(0..30)).unwrap();
    fs::write(dir.join(format!("{:020}.log.deleted", 5)), new(5..10)).unwrap();
    story.disk.kill_broker(story.open());
    story.cut(0, |after| are_all(after, "new"))
}

/// The last segment is lost, and the log goes on in one that a backup has, too.
fn a_shared_segment_is_appended_to(off: Option<SyncPoint>) -> Result<(), String> {
    let mut story = Story::begin(off);
    let (long, backup) = ("a".repeat(1500), story.data.with_file_name("backup"));
    let broker = story.open();
    let config = config().internal_segment_bytes(2000).on_corruption(OnCorruption::Truncate);
    broker.create_topic("t", 1, config).unwrap();
    [long.as_str(), "b".repeat(1500).as_str()].iter().for_each(|value| drop(send(&broker, value)));
    Background::of(&broker).flush();
    assert_eq!(broker.checkpoint(&backup).unwrap().linked_segments, 1);
    broker.close().unwrap();
    story.is_settled();
    let dir = story.data.join("t-0");
    fs::remove_file(dir.join(format!("{:020}.log", 1))).unwrap();
    let before = contents(&backup.join("t-0"));
    let broker = story.open();
    send(&broker, "c")?;
    let sent = story.now();
    story.disk.kill_broker(broker);
    if contents(&backup.join("t-0")) != before {
        return Err("the backup is not what it was".to_owned());
    }
    let both = [long.as_str(), "c"];
    story.cut(0, |after| {
        let found = after.values()?;
        if sent <= after.at { is_one_of(&found, &[&both]) } else { is_one_of(&found, &[&both[..1], &both]) }
    })
}

/// The bytes that are cut off are in their place or in a side file, never nowhere.
fn damage_is_kept(off: Option<SyncPoint>) -> Result<(), String> {
    let mut story = Story::begin(off);
    let config = config().internal_segment_bytes(1000).on_corruption(OnCorruption::Quarantine);
    let (second, third) = ("b".repeat(300), "c".repeat(900));
    let dir = story.log(config, &["a", &second, &third]);
    fs::remove_file(story.data.join(CLEAN_SHUTDOWN)).unwrap();
    fs::remove_file(dir.join(CHECKPOINT)).unwrap();
    let mut damaged = fs::read(dir.join(FIRST)).unwrap();
    let behind = fs::read(dir.join(format!("{:020}.log", 2))).unwrap();
    let at = damaged.len() - 200;
    damaged[at] ^= 1;
    fs::write(dir.join(FIRST), &damaged).unwrap();
    let first_end = 12 + i32::from_be_bytes(damaged[8..12].try_into().unwrap()) as usize;
    let is_kept = |data: &Path| {
        let files = contents(&data.join("t-0"));
        let has = |bytes: &[u8]| files.iter().any(|(name, content)| is_log(name) && content == bytes);
        let is_cut = files.iter().any(|(name, content)| name == FIRST && content.starts_with(&damaged[..first_end]));
        match has(&behind) && (has(&damaged) || (is_cut && has(&damaged[first_end..]))) {
            true => Ok(()),
            false => Err(format!("bytes are nowhere: {:?}", files.iter().map(|(name, _)| name).collect::<Vec<_>>())),
        }
    };
    let broker = story.open();
    send(&broker, "d")?;
    story.disk.kill_broker(broker);
    is_kept(&story.data)?;
    story.cut(0, |after| {
        is_kept(&after.data)?;
        let found = after.values()?;
        is_one_of(&found, &[&["a"], &["a", "d"]])?;
        is_kept(&after.data)
    })
}

/// A segment, or a side file.
fn is_log(name: &str) -> bool {
    name.ends_with(".log") || name.contains(".corrupt")
}

/// A file is cut in place, and what stood there does not come back behind what is appended.
fn there_is_no_room_for_a_copy(off: Option<SyncPoint>) -> Result<(), String> {
    const ENOSPC: i32 = 28;
    const SECTOR: usize = 512;
    let mut story = Story::begin(off);
    let broker = story.open();
    broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Os)).unwrap();
    let file = story.data.join("t-0").join(FIRST);
    // Each batch is a sector, so that one can be lost without the next.
    let value = |name: &str| format!("{name}{}", "x".repeat(SECTOR - OVERHEAD - name.len()));
    ["a", "b", "c"].iter().for_each(|name| drop(send(&broker, &value(name))));
    story.disk.kill_broker(broker);
    story.is_settled();
    let mut content = fs::read(&file).unwrap();
    assert_eq!(content.len(), 3 * SECTOR);
    content[2 * SECTOR - 9] ^= 1;
    fs::write(&file, &content).unwrap();
    // The list of epochs and the side file are written, the copy is not.
    story.disk.fail(Fault::of(OperationKind::Create).errno(ENOSPC).after(2));
    let broker = story.open();
    assert!(story.disk.count(SyncPoint::CutSegment) > 0, "it was cut in place");
    send(&broker, &value("d"))?;
    story.disk.kill_broker(broker);
    let [a, d] = [value("a"), value("d")];
    story.cut(0, |after| is_one_of(&after.values()?, &[&[&a], &[&a, &d]]))
}

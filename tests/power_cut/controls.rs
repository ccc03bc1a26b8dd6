//! Can the cuts find anything? Each sync of the engine is left out once, and something has to be lost.

use thalweg::simulation::SyncPoint;

use crate::campaign::try_many;
use crate::kind::Kind;
use crate::scripts::{SCRIPTS, try_all};

/// Syncs whose loss the workloads cannot show, and why.
const NOT_SHOWN: &[(SyncPoint, &str)] = &[
    (SyncPoint::EvictedSegment, "a test of its own has what it takes: see the module `evicted`"),
    (SyncPoint::RecoveredCopy, "it takes syncs that fail: see the module `failing`"),
    (
        SyncPoint::LeaderEpochs,
        "that offsets are given out twice in one epoch takes three cuts and a look at the batches",
    ),
    (SyncPoint::LeaderEpochsName, "as the content; and the names of the directory are synced when recovery ends"),
    (SyncPoint::UnsharedSegment, "no power cut leaves a log whose last segment a backup shares, only damage does"),
    (SyncPoint::UnsharedSegmentName, "as the content"),
    (SyncPoint::PartitionFile, "the files are read where a topic's own file is missing, and may be empty"),
    (SyncPoint::FirstSegmentName, "it takes the directory of an empty partition that somebody put there"),
    (SyncPoint::CutSegment, "in place only what holds no whole batch is cut, and what comes back of it is cut again"),
    (SyncPoint::CutNames, "as above; what is cut off in another order is cut off again"),
    (SyncPoint::SideFile, "nothing in a side file was promised"),
    (SyncPoint::SideFileName, "nothing in a side file was promised"),
    (SyncPoint::ReplacementStep, "segments are replaced by Kafka's compaction only, which may have been cut short"),
    (SyncPoint::Replacement, "as above"),
    (SyncPoint::MetaProperties, "the content names the directory, and nothing depends on the name"),
    (
        SyncPoint::MetaPropertiesName,
        "the first topic's file, which marks the directory as ours, too, syncs the same names",
    ),
    (SyncPoint::CleanMark, "that the file is there says it all"),
    (SyncPoint::FollowedSegment, "a broker that only reads works on the real disk"),
    (SyncPoint::FollowedSegmentName, "a broker that only reads works on the real disk"),
    (SyncPoint::Repair, "a repair works on the real disk"),
    (SyncPoint::RepairName, "a repair works on the real disk"),
];

fn kind(point: SyncPoint) -> Kind {
    match point {
        SyncPoint::SegmentName | SyncPoint::CheckpointInPlace => Kind::Starved,
        SyncPoint::CheckpointedSegment => Kind::Large,
        SyncPoint::UnsharedSegment | SyncPoint::UnsharedSegmentName | SyncPoint::Backup => Kind::Backups,
        SyncPoint::RecoveredSegment | SyncPoint::RecoveredNames | SyncPoint::CutSegment => Kind::Kills,
        SyncPoint::CleanMark | SyncPoint::CleanMarkName | SyncPoint::CleanMarkRemoved => Kind::Reopens,
        SyncPoint::TopicFile
        | SyncPoint::TopicFileName
        | SyncPoint::PartitionFile
        | SyncPoint::FirstSegmentName
        | SyncPoint::PartitionName
        | SyncPoint::PartitionRenamed
        | SyncPoint::CreationTakenBack => Kind::Topics,
        _ => Kind::Mixed,
    }
}

#[test]
fn a_sync_that_is_left_out_is_missed() {
    let states = crate::variable(crate::CONTROLS, 400) as usize;
    let only = std::env::var(crate::ONLY).ok();
    let mut unnoticed = Vec::new();
    for point in SyncPoint::ALL {
        if NOT_SHOWN.iter().any(|(known, _)| known == point) && only.is_none() {
            continue;
        }
        if only.as_ref().is_some_and(|only| !only.split(',').any(|name| name == point.to_string())) {
            continue;
        }
        let script = SCRIPTS.iter().find(|(_, points)| points.contains(point));
        let (tried, wrong) = match script {
            Some((script, _)) => try_all(*script, Some(*point), 50),
            None => {
                let outcome = try_many(1, states, Some((*point, kind(*point))));
                (outcome.states.into_inner(), outcome.wrong.into_inner().unwrap())
            }
        };
        println!("{point}: {tried} states, {}", wrong.first().map_or("nothing", |wrong| wrong));
        if wrong.is_empty() {
            unnoticed.push(point);
        }
    }
    assert!(unnoticed.is_empty(), "nobody misses {unnoticed:?}");
}

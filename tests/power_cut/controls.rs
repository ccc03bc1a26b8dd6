//! Can the cuts find anything? Each sync of the engine is left out once, and something has to be lost.

use thalweg::simulation::SyncPoint;

use crate::campaign::try_many;
use crate::workload::Kind;

/// Syncs whose loss the workloads cannot show, and why.
const NOT_SHOWN: &[(SyncPoint, &str)] = &[];

fn kind(point: SyncPoint) -> Kind {
    match point {
        SyncPoint::SegmentName | SyncPoint::CheckpointInPlace => Kind::Starved,
        SyncPoint::CheckpointedSegment => Kind::Large,
        SyncPoint::UnsharedSegment | SyncPoint::UnsharedSegmentName | SyncPoint::Backup | SyncPoint::BackupName => {
            Kind::Backups
        }
        SyncPoint::RecoveredSegment | SyncPoint::RecoveredNames => Kind::Kills,
        SyncPoint::CleanMark | SyncPoint::CleanMarkName | SyncPoint::CleanMarkRemoved => Kind::Reopens,
        SyncPoint::TopicFile
        | SyncPoint::TopicFileName
        | SyncPoint::TopicFileRemoved
        | SyncPoint::PartitionFile
        | SyncPoint::PartitionFileName
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
        let outcome = try_many(1, states, Some((*point, kind(*point))));
        let (tried, wrong) = (outcome.states.into_inner(), outcome.wrong.into_inner().unwrap());
        println!("{point}: {tried} states, {}", wrong.first().map_or("nothing", |wrong| wrong));
        if wrong.is_empty() {
            unnoticed.push(point);
        }
    }
    assert!(unnoticed.is_empty(), "nobody misses {unnoticed:?}");
}

#[test]
fn debug_history() {
    let dir = crate::directory();
    let workload = crate::campaign::run(&dir, 2, Some((SyncPoint::RecoveredSegment, Kind::Kills)));
    for (at, operation) in workload.disk.history().iter().enumerate() {
        println!("{at} {}", operation.to_string().replace(&dir.path().display().to_string(), ""));
    }
    for topic in &workload.world.topics {
        println!("{} {:?}", topic.name, topic.configs);
        for log in &topic.logs {
            println!("{:?} {:?}", log.durable, log.sent.iter().map(|(at, v)| (*at, v.len())).collect::<Vec<_>>());
        }
    }
}

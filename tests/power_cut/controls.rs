//! Can the cuts find anything? Each sync of the engine is left out once, and something has to be lost.

use thalweg::simulation::SyncPoint;

use crate::campaign::try_many;
use crate::kind::Kind;
use crate::scripts::{SCRIPTS, try_all};
use crate::stories::STORIES;

/// Syncs whose loss the workloads cannot show, and why.
const NOT_SHOWN: &[(SyncPoint, &str)] = &[
    (SyncPoint::EvictedSegment, "a test of its own has what it takes: see the module `evicted`"),
    (SyncPoint::RecoveredCopy, "it takes syncs that fail: see the module `failing`"),
    (SyncPoint::RemovedSegment, "a test of its own asks those who check and repair: see the module `removed`"),
    (SyncPoint::TopicFileRemoved, "what comes back goes again, unless somebody puts a topic of the name there first"),
    (SyncPoint::FollowedSegment, "a broker that only reads works on the real disk"),
    (SyncPoint::FollowedSegmentName, "a broker that only reads works on the real disk"),
    (SyncPoint::ProducerIds, "without its content the file is damaged, and then ids begin at a random number"),
    (SyncPoint::ProducerIdsName, "a test of its own has what it takes: see the module `producer_ids`"),
    (SyncPoint::Repair, "a repair works on the real disk"),
    (SyncPoint::RepairName, "a repair works on the real disk"),
];

fn kind(point: SyncPoint) -> Kind {
    match point {
        SyncPoint::SegmentName | SyncPoint::CheckpointInPlace => Kind::Starved,
        SyncPoint::CheckpointedSegment => Kind::Large,
        SyncPoint::Backup => Kind::Backups,
        SyncPoint::RecoveredNames => Kind::Kills,
        SyncPoint::TopicFile | SyncPoint::TopicFileName | SyncPoint::PartitionName => Kind::Topics,
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
        let mut stories = STORIES.iter().filter(|(_, points)| points.contains(point)).peekable();
        if stories.peek().is_some() {
            for (number, (tell, _)) in stories.enumerate() {
                match tell(Some(*point)) {
                    Err(wrong) => println!("{point}, story {number} of it: {wrong:.300}"),
                    Ok(()) => unnoticed.push(format!("{point}, story {number} of it")),
                }
            }
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
            unnoticed.push(point.to_string());
        }
    }
    assert!(unnoticed.is_empty(), "nobody misses {unnoticed:?}");
}

//! Short scripts in which a sync matters that is hardly ever missed otherwise, cut at every place.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use thalweg::simulation::{Cut, Survival, SyncPoint};
use thalweg::{Durability, TopicConfig, TopicPartition};

use crate::kind::Kind;
use crate::state::try_cut;
use crate::workload::Workload;

/// What happens.
pub(crate) type Script = fn(&mut Workload);

/// Scripts, and the syncs that each shows to be needed.
pub(crate) const SCRIPTS: &[(Script, &[SyncPoint])] =
    &[(killed_with_room_behind, &[]), (backup_that_ends_with_a_segment, &[])];

fn killed_with_room_behind(workload: &mut Workload) {
    workload.create_topic_as("a", 1, TopicConfig::new().preallocate(true).internal_segment_bytes(2000));
    let name = TopicPartition::new("a", 0);
    for _ in 0..4 {
        workload.send_to(&name, 800);
    }
    workload.run_timers();
    workload.kill();
    workload.reopen();
    workload.flush();
    workload.send_to(&name, 10);
    workload.settle();
    workload.flush();
}

fn backup_that_ends_with_a_segment(workload: &mut Workload) {
    workload.create_topic_as("a", 1, TopicConfig::new().internal_segment_bytes(2000).durability(Durability::Fsync));
    let name = TopicPartition::new("a", 0);
    workload.send_to(&name, 1200);
    workload.settle();
    workload.send_to(&name, 1200); // in the next segment, and not synced
    workload.run_timers();
    workload.back_up();
    workload.settle();
}

/// Cuts a script at every place, with a few choices each. Returns the number of states and what is wrong.
pub(crate) fn try_all(script: Script, off: Option<SyncPoint>, choices: u64) -> (usize, Vec<String>) {
    let dir = crate::directory();
    let mut workload = Workload::begin(off, &dir.path().join("data"), 0, Kind::Mixed);
    let began = workload.disk.operations();
    script(&mut workload);
    let places: Vec<_> = (began..=workload.disk.operations()).collect();
    let (states, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for places in places.chunks(places.len().div_ceil(2)) {
            let (workload, states, wrong) = (&workload, &states, &wrong);
            scope.spawn(move || {
                for at in places {
                    let special =
                        [Survival::Nothing, Survival::Entries, Survival::Content].map(|survival| (survival, 0));
                    for (survival, seed) in special.into_iter().chain((1..=choices).map(|seed| (Survival::Some, seed)))
                    {
                        if !wrong.lock().unwrap().is_empty() {
                            return;
                        }
                        states.fetch_add(1, Ordering::Relaxed);
                        if let Err(found) = try_cut(workload, 0, Cut { at: *at, survival, seed }) {
                            wrong.lock().unwrap().push(found);
                        }
                    }
                }
            });
        }
    });
    (states.into_inner(), wrong.into_inner().unwrap())
}

#[test]
fn scripts_hold_wherever_they_are_cut() {
    for (number, (script, _)) in SCRIPTS.iter().enumerate() {
        let (states, wrong) = try_all(*script, None, 1);
        println!("script {number}: {states} states");
        assert!(wrong.is_empty(), "script {number}: {wrong:#?}");
    }
}

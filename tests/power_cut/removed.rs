//! Segments that were removed and come back with a power cut.

use thalweg::simulation::{Cut, SimulatedDisk, Survival, SyncPoint};
use thalweg::{
    Broker, BrokerConfig, Finding, ProducerConfig, ProducerRecord, RepairOptions, Severity, TopicConfig,
    TopicPartition, repair, verify,
};

/// A log whose records were deleted in order, and the power goes: nothing is damaged, and a repair that is asked to cut at
/// damage takes nothing away.
#[test]
fn what_comes_back_of_removed_segments_is_no_damage() {
    assert_eq!(first_wrong(None), None);
    assert!(first_wrong(Some(SyncPoint::RemovedSegment)).is_some(), "nobody misses the sync of the names");
}

/// What is wrong after the first power cut after which something is, with one sync left out.
fn first_wrong(off: Option<SyncPoint>) -> Option<String> {
    const COUNT: i64 = 40;
    const START: i64 = 30;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let disk = SimulatedDisk::new();
    if let Some(point) = off {
        disk.switch_off(point);
    }
    let broker = disk.open_broker(&data, BrokerConfig::new()).unwrap();
    broker.create_topic("t", 1, TopicConfig::new().internal_segment_bytes(300)).unwrap();
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    for _ in 0..COUNT {
        producer.send(ProducerRecord::new("t", &[7; 30])).unwrap().wait().unwrap();
    }
    let name = TopicPartition::new("t", 0);
    assert_eq!(broker.partition(&name).unwrap().delete_records(START).unwrap(), START);
    for seed in 0..20 {
        let after = dir.path().join(seed.to_string());
        disk.cut(&Cut { at: disk.operations(), survival: Survival::Some, seed }).write(&data, &after).unwrap();
        let found = verify(&after).unwrap();
        // Index files are never synced, and opening looks at them; what is asked is whether the log has holes.
        let is_hole =
            |found: &&Finding| found.severity == Severity::Error && found.what.contains("the next one begins");
        let errors: Vec<_> = found.findings.iter().filter(is_hole).collect();
        let repaired = repair(&after, &RepairOptions::new().cut_damage(true)).unwrap();
        let partition = Broker::open(&after).unwrap().partition(&name).unwrap();
        let ends = (partition.log_start().unwrap(), partition.log_end().unwrap());
        if ends != (START, COUNT) || !errors.is_empty() {
            return Some(format!("seed {seed}: {ends:?}, {errors:?}\n{repaired}"));
        }
    }
    None
}

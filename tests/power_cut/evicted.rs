//! A file handle that is needed elsewhere is closed with bytes that no sync has covered. They fail to be written back,
//! another process is told, and whoever opens the file next hears nothing of it.

use std::time::Duration;

use thalweg::simulation::{Background, Cut, SimulatedDisk, Survival, SyncPoint};
use thalweg::{BrokerConfig, ProducerConfig, ProducerRecord, TopicConfig, TopicPartition};

/// Whether a record that was acknowledged is there after a power cut.
fn survives(switched_off: Option<SyncPoint>) -> bool {
    let dir = crate::directory();
    let (data, after) = (dir.path().join("data"), dir.path().join("after"));
    let disk = SimulatedDisk::new();
    switched_off.into_iter().for_each(|point| disk.switch_off(point));
    let broker = disk.open_broker(&data, BrokerConfig::new().max_open_files(Some(1))).unwrap();
    broker.create_topic("t", 4, TopicConfig::new()).unwrap();
    let producer = broker.producer(ProducerConfig::new()).unwrap();
    let send = |partition| producer.send(ProducerRecord::new("t", "v").partition(partition)).unwrap();
    let evicted = disk.count(SyncPoint::EvictedSegment);
    let ack = send(0);
    disk.clock().advance(Duration::from_secs(1));
    Background::of(&broker).run_timers(); // it is written
    for partition in [1, 2, 3, 1, 2, 3] {
        send(partition).wait().unwrap();
    }
    assert!(disk.count(SyncPoint::EvictedSegment) > evicted, "its handle is still open");
    let file = data.join("t-0/00000000000000000000.log");
    disk.fail_writeback(&file).unwrap();
    disk.sync_elsewhere(&file).unwrap_err();
    ack.wait().unwrap();
    let cut = Cut { at: disk.operations(), survival: Survival::Nothing, seed: 0 };
    disk.cut(&cut).write(&data, &after).unwrap();
    let broker = SimulatedDisk::new().open_broker(&after, BrokerConfig::new()).unwrap();
    broker.partition(&TopicPartition::new("t", 0)).unwrap().log_end().unwrap() == 1
}

#[test]
fn bytes_are_synced_before_their_handle_is_closed() {
    assert!(survives(None));
    assert!(!survives(Some(SyncPoint::EvictedSegment)), "and that is what saves them");
}

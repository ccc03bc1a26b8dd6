//! Wakers of an application run inside the calls that wake them: a sync of several partitions must not hold the turn of one
//! while it wakes those who wait for another.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use thalweg::simulation::{Background, SimulatedDisk};
use thalweg::{BrokerConfig, Producer, ProducerConfig, ProducerRecord, TopicConfig};

/// An executor that runs its task where it is woken: the task sends to another topic and waits for that.
struct Inline {
    producer: Mutex<Option<Arc<Producer>>>,
    to: &'static str,
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let producer = self.producer.lock().unwrap().take();
        if let Some(producer) = producer {
            producer.send(ProducerRecord::new(self.to, "from the waker")).unwrap().wait().unwrap();
        }
    }
}

#[test]
fn who_is_woken_by_one_partition_may_wait_for_the_next() {
    let (ended, has_ended) = channel();
    // Its own thread, so that a deadlock is a failure.
    thread::spawn(move || {
        let dir = tempfile::tempdir().unwrap();
        let disk = SimulatedDisk::new();
        let broker = disk.open_broker(dir.path(), BrokerConfig::new()).unwrap();
        let producer = Arc::new(broker.producer(ProducerConfig::new()).unwrap());
        let mut acks = Vec::new();
        for (topic, other) in [("a", "b"), ("b", "a")] {
            broker.create_topic(topic, 1, TopicConfig::new()).unwrap();
            let waker = Inline { producer: Mutex::new(Some(Arc::clone(&producer))), to: other };
            acks.push((producer.send(ProducerRecord::new(topic, "v")).unwrap(), Waker::from(Arc::new(waker))));
        }
        for (ack, waker) in &mut acks {
            assert!(matches!(pin!(ack).poll(&mut Context::from_waker(waker)), Poll::Pending));
        }
        Background::of(&broker).flush();
        ended.send(()).unwrap();
    });
    has_ended.recv_timeout(Duration::from_secs(20)).expect("the sync of both partitions ends");
}

//! Fetches that wait: futures that are polled by hand, and those that count how often they are woken.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use thalweg::{FetchOptions, Fetched, Fetcher, Offset, Partition};

use super::script::Limits;

type Answers = Vec<thalweg::Result<Fetched>>;

/// One who waits.
pub struct Waiting {
    pub places: Vec<(usize, Offset)>,
    pub limits: Limits,
    /// When the time is up, in milliseconds of the script.
    pub until: Option<u64>,
    future: Pin<Box<dyn Future<Output = Answers>>>,
    wakes: Arc<Wakes>,
    /// Wake-ups before the last poll.
    seen: usize,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

pub fn options(limits: &Limits) -> FetchOptions {
    use thalweg::IsolationLevel::{ReadCommitted, ReadUncommitted};
    FetchOptions::new()
        .min_bytes(limits.min)
        .max_bytes(limits.max)
        .max_partition_bytes(limits.partition_max)
        .isolation_level(if limits.committed { ReadCommitted } else { ReadUncommitted })
}

impl Waiting {
    /// `time` in milliseconds, and `until` the same in the script's time.
    pub fn new(
        places: Vec<(usize, Offset)>,
        partitions: Vec<Arc<Partition>>,
        limits: &Limits,
        (time, until): (Option<u64>, Option<u64>),
    ) -> Self {
        let options = options(limits).max_wait(time.map_or(Duration::MAX, Duration::from_millis));
        let offsets: Vec<_> = places.iter().map(|(_, offset)| *offset).collect();
        let future: Pin<Box<dyn Future<Output = Answers>>> = match &partitions[..] {
            [partition] => {
                let fetch = partition.fetch_async(offsets[0], &options);
                Box::pin(async move { vec![fetch.await] })
            }
            _ => {
                let mut fetcher = Fetcher::new(options);
                for (partition, offset) in partitions.into_iter().zip(offsets) {
                    fetcher.add(partition, offset).unwrap();
                }
                Box::pin(async move { fetcher.fetch_async().await })
            }
        };
        Waiting { places, limits: *limits, until, future, wakes: Arc::default(), seen: 0 }
    }

    pub fn is_woken(&self) -> bool {
        self.seen < self.wakes.0.load(Ordering::Acquire)
    }

    pub fn poll(&mut self) -> Poll<Answers> {
        self.seen = self.wakes.0.load(Ordering::Acquire);
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.wakes))))
    }
}

//! A thread that waits, and one that wakes it, again and again.

use std::future::Future;
use std::hint::{black_box, spin_loop};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::table::percentiles;

/// From the moment when a thread says that it is going to wait until it can be taken for parked.
const PARKS_WITHIN: Duration = Duration::from_micros(40);

/// What the thread that appends does before and after it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appender {
    /// It has just been busy, and sleeps until the other thread has its answer.
    Sleeps,
    /// It computes all the time.
    Works,
    /// Both threads have slept for [`LONG`].
    Idles,
}

/// Time after which a core has gone to sleep.
const LONG: Duration = Duration::from_millis(1);

/// `count` times, has another thread wait for an append with `wait`, and then appends. p50 and p99, in µs, of the time
/// from before the append until `wait` returned, and p50 of what the append took, with the wake-up in it.
pub(crate) fn wake_ups(
    count: usize,
    appender: Appender,
    append: &mut dyn FnMut(),
    wait: &(dyn Fn(usize) + Sync),
) -> [f64; 3] {
    let (appends, waiting, answered) = (thread::current(), &AtomicUsize::new(0), &AtomicUsize::new(0));
    thread::scope(|scope| {
        let waits = scope.spawn(move || {
            let answer = |round| {
                waiting.store(round + 1, Ordering::Release);
                wait(round);
                let answer = Instant::now();
                answered.store(round + 1, Ordering::Release);
                if appender != Appender::Works {
                    appends.unpark();
                }
                answer
            };
            (0..count).map(answer).collect::<Vec<_>>()
        });
        let memory = vec![1_u64; 1 << 10];
        let (mut began, mut took) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for round in 0..count {
            while waiting.load(Ordering::Acquire) <= round {
                spin_loop();
            }
            let waits_since = Instant::now();
            while waits_since.elapsed() < PARKS_WITHIN {
                spin_loop();
            }
            if appender == Appender::Idles {
                thread::sleep(LONG);
            }
            let before = Instant::now();
            append();
            took.push(before.elapsed());
            began.push(before);
            while answered.load(Ordering::Acquire) <= round {
                if appender == Appender::Works {
                    black_box(memory.iter().sum::<u64>());
                } else {
                    thread::park();
                }
            }
        }
        let answers = waits.join().unwrap();
        let [p50, p99] = percentiles(began.into_iter().zip(answers).map(|(began, answer)| answer - began).collect());
        [p50, p99, percentiles(took)[0]]
    })
}

/// Runs a future on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (mut future, waker) = (pin!(future), Waker::from(Arc::new(Unpark(thread::current()))));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

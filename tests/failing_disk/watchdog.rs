//! A case that does not come to its end is a failure with a name, not a test that never returns.

use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the watchdog looks.
const TICK: Duration = Duration::from_secs(1);

/// How often it may see the same case: thousands of times what one takes. Looks are counted, not seconds, so that a machine
/// that stood still for a while has not made anything hang.
const TICKS_MAX: usize = 20;

/// Looks at the workers from time to time, and ends the process when one of them hangs.
pub(crate) struct Watchdog {
    tell: Mutex<Sender<(usize, Option<String>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn new(workers: usize) -> Self {
        let (tell, told) = mpsc::channel::<(usize, Option<String>)>();
        let thread = thread::spawn(move || {
            let mut running: Vec<Option<(usize, String)>> = vec![None; workers];
            let mut ticked = now();
            loop {
                match told.recv_timeout(TICK) {
                    Ok((worker, case)) => running[worker] = case.map(|case| (0, case)),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                if ticked.elapsed() < TICK {
                    continue;
                }
                ticked = now();
                told.try_iter().for_each(|(worker, case)| running[worker] = case.map(|case| (0, case)));
                for (ticks, case) in running.iter_mut().flatten() {
                    *ticks += 1;
                    if *ticks > TICKS_MAX {
                        println!("hangs: {case}");
                        std::process::abort();
                    }
                }
            }
        });
        Watchdog { tell: Mutex::new(tell), thread: Some(thread) }
    }

    /// Runs a case of a worker under its eyes.
    pub(crate) fn watch<T>(&self, worker: usize, case: String, run: impl FnOnce() -> T) -> T {
        self.tell.lock().unwrap().send((worker, Some(case))).unwrap();
        let outcome = run();
        self.tell.lock().unwrap().send((worker, None)).unwrap();
        outcome
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.tell.lock().unwrap() = mpsc::channel().0; // the thread's end
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a hang is no matter of the engine's clock")]
fn now() -> Instant {
    Instant::now()
}

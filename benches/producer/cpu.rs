//! What a turn took: time on the wall, and time of the processor, which others who use the machine do not lengthen.

use std::fs;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// A turn under way.
pub(crate) struct Meter {
    clock: ClockId,
    began: Instant,
    cpu: f64,
    user: Option<[f64; 2]>,
}

/// Whose processor time counts.
#[derive(Clone, Copy)]
pub(crate) enum Whose {
    Thread,
    Process,
}

impl Meter {
    pub(crate) fn start(whose: Whose) -> Self {
        let clock = match whose {
            Whose::Thread => ClockId::ThreadCPUTime,
            Whose::Process => ClockId::ProcessCPUTime,
        };
        let user = ticks(clock);
        Meter { clock, user, cpu: seconds(clock), began: Instant::now() }
    }

    /// Millions a second; and nanoseconds of the processor for each, those in the kernel included and not. The latter
    /// are as exact as the ticks by which the kernel counts them, and missing where it has no `/proc`.
    pub(crate) fn stop(self, count: usize) -> [f64; 3] {
        let wall = self.began.elapsed().as_secs_f64();
        let cpu = (seconds(self.clock) - self.cpu) * 1e9 / count as f64;
        let share = self.user.zip(ticks(self.clock)).map_or(f64::NAN, |(before, after)| {
            let [user, system] = [0, 1].map(|which| after[which] - before[which]);
            if user + system == 0.0 { f64::NAN } else { user / (user + system) }
        });
        [count as f64 / 1e6 / wall, cpu, cpu * share]
    }
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Ticks in user mode and in the kernel.
fn ticks(clock: ClockId) -> Option<[f64; 2]> {
    let path = if clock == ClockId::ThreadCPUTime { "/proc/thread-self/stat" } else { "/proc/self/stat" };
    let stat = fs::read_to_string(path).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11); // the 14th and the 15th: proc(5)
    Some([fields.next()?.parse().ok()?, fields.next()?.parse().ok()?])
}

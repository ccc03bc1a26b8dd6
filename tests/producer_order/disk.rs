//! What the broker's threads do on the simulated disk, and what befalls it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use thalweg::Broker;
use thalweg::simulation::{Background, Fault, OperationKind, SimulatedDisk};

use crate::plan::Plan;
use crate::random::Random;

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

/// Errors that pass.
const ERRNOS: [i32; 8] = [ENOSPC, ENOSPC, ENOSPC, EINTR, EAGAIN, ENOMEM, EMFILE, EDQUOT];

/// A moment of the broker's life, again and again until `is_over`. While `is_failing`, the disk fails.
pub(crate) fn live(
    (disk, broker): (&SimulatedDisk, &Broker),
    plan: &Plan,
    is_failing: &AtomicBool,
    is_over: &AtomicBool,
) {
    let mut random = Random(plan.seed ^ 0xd15c);
    let mut full_for = 0;
    while !is_over.load(Ordering::Acquire) {
        if !is_failing.load(Ordering::Acquire) {
            disk.heal();
            disk.set_capacity(None);
        } else if full_for > 0 {
            full_for -= 1;
            if full_for == 0 {
                disk.set_capacity(None);
            }
        } else if random.percent(3) {
            disk.set_capacity(Some(0));
            full_for = 1 + random.below(20);
        } else if random.percent(15) {
            disk.heal(); // or what nobody has met yet would fail every attempt from here on
        } else if random.percent(20) {
            disk.fail(fault(&mut random, plan));
        }
        disk.clock().advance(Duration::from_millis(random.pick(&[1, 5, 30])));
        let _ = Background::of(broker).run();
        thread::yield_now();
    }
}

fn fault(random: &mut Random, plan: &Plan) -> Fault {
    let kind = match random.below(20) {
        0 => OperationKind::Create,
        1 if plan.breaks => OperationKind::SetLen,
        2 if plan.breaks => OperationKind::Sync,
        _ => OperationKind::Write,
    };
    let errno = if plan.breaks && random.percent(10) { EIO } else { random.pick(&ERRNOS) };
    let fault = Fault::of(kind).after(random.below(6)).errno(errno);
    if random.percent(50) { fault.written(random.below(300)) } else { fault }
}

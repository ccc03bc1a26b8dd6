//! The processor's own clock.

use crate::sync::OnceLock;

/// A number that grows evenly with time, on all processors alike, and that takes a few nanoseconds to read. `None` where there
/// is no such thing, or the system does not trust it.
#[inline]
pub(crate) fn ticks() -> Option<u64> {
    static ARE_EVEN: OnceLock<bool> = OnceLock::new();
    if *ARE_EVEN.get_or_init(are_even) { read() } else { None }
}

/// Whether the system takes its own time from it, which it does after having compared the processors.
#[cold]
fn are_even() -> bool {
    let source = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    source.is_ok_and(|source| source.trim() == "tsc")
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn read() -> Option<u64> {
    // SAFETY: every x86-64 processor has the instruction. It touches no memory. A system can forbid it to programs, and does
    // not while its own clock in the vDSO uses it, which `are_even` has made sure of.
    Some(unsafe { core::arch::x86_64::_rdtsc() })
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn read() -> Option<u64> {
    None
}

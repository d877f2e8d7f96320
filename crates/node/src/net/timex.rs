//! What the kernel says of its civil clock (`adjtimex(2)`). Nothing is set.
#![expect(unsafe_code, reason = "adjtimex has no safe interface")]

use std::mem;

/// The state of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReport {
    /// Whether something outside the machine keeps the clock in step.
    pub synchronised: bool,
    /// The estimated offset in nanoseconds.
    pub offset_ns: i64,
    /// The greatest error that the kernel allows for, in nanoseconds.
    pub max_error_ns: u64,
}

/// Asks the kernel. Nothing where it declines.
pub fn clock_report() -> Option<ClockReport> {
    // SAFETY: a `timex` is plain integers, for all of which zero is a value.
    let mut report: libc::timex = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes a `timex` to a place of that size; with `modes` 0 it only reads the clock.
    let state = unsafe { libc::adjtimex(&raw mut report) };
    if state < 0 {
        return None;
    }
    let unit = if report.status & libc::STA_NANO == 0 { 1_000 } else { 1 };
    Some(ClockReport {
        synchronised: state != libc::TIME_ERROR && report.status & libc::STA_UNSYNC == 0,
        offset_ns: report.offset.saturating_mul(unit),
        max_error_ns: u64::try_from(report.maxerror).unwrap_or(0).saturating_mul(1_000),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_everybody() {
        assert!(clock_report().is_some());
    }
}

//! What others may know of the world that runs here: its truth, and how late this process is.

use mmn_lab::{
    host::Lent,
    namespaces::{driver::Status, lateness::Lateness},
    world::World,
};

use super::Universe;
use crate::clock;

/// What has passed between a world and its vantage points.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) packets_in: u64,
    pub(super) packets_out: u64,
    /// What there was no room for.
    pub(super) missed: u64,
    /// How late what came out was taken from the world. Its stamps don't show it.
    pub(super) late: Lateness,
}

impl Lent for Universe {
    fn look(&self, looker: &mut dyn FnMut(&World)) {
        looker(&self.inner.lock().world);
    }

    fn status(&self) -> Status {
        let state = self.inner.lock();
        let (world, passed) = (&state.world, &state.passed);
        let late = passed.late.sum();
        Status {
            // However late a packet is noticed, it is stamped with its own instant.
            exact: passed.missed == 0,
            start_ns: world.start().0,
            now_ns: clock::monotonic().0,
            busy: false,
            packets_in: passed.packets_in,
            packets_out: passed.packets_out,
            ignored: 0,
            dropped_in: 0,
            dropped_out: passed.missed,
            under_way: u64::try_from(world.under_way()).unwrap_or(u64::MAX),
            events: world.events(),
            forgotten: world.truth().forgotten(),
            late,
            late_recently: late,
        }
    }
}

//! From the carriers to the machines: packets, errors and transmit stamps that have come, and what was missed.

use mmn_probe::machine::Input;

use super::Core;
use crate::clock;

impl Core {
    /// Reads what may have come for what is under way.
    pub(super) fn catch_up(&mut self) {
        for carrier in &mut self.carriers {
            carrier.catch_up(&mut self.jobs);
        }
    }

    /// Tells the machines that have probes under way with a carrier that dropped packets. With `look` the system's
    /// counters are read, which is done before a timer is believed.
    pub(super) fn tell_overruns(&mut self, look: bool) {
        for (index, carrier) in self.carriers.iter_mut().enumerate() {
            let missed = carrier.missed(look);
            if missed == 0 {
                continue;
            }
            self.jobs.counters.overrun += missed;
            let now = clock::monotonic();
            let concerned = |(of, _): (u8, u64)| usize::from(of) == index;
            for key in self.jobs.all(|job| job.keys.iter().any(concerned)) {
                self.jobs.tell(key, now, Input::Overrun);
            }
        }
    }
}

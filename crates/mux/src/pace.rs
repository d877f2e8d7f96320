//! How much of a client's work a vantage point is given at once: what its site's limits let leave within some seconds.
//!
//! What is more waits at the client's desk, where its time does not run out and where it holds up nobody else's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use mmn_scamper::Command;
use mmn_schema::vp::PolicySummary;
use mmn_translate::request::Cost;

/// For how long what is under way may keep a site's limits busy.
const AHEAD: Duration = Duration::from_secs(5);

/// What a site lets leave, per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    packets: u64,
    bits: u64,
    /// Packets to one address.
    to_one: u64,
}

impl Limits {
    pub(crate) const fn of(policy: &PolicySummary) -> Self {
        Self { packets: policy.max_pps, bits: policy.max_bps, to_one: policy.max_pps_per_target }
    }
}

/// What a command sends within [`AHEAD`], and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    packets: u64,
    bits: u64,
    /// Absent: to resolvers of the vantage point's own.
    to: Option<IpAddr>,
}

impl Load {
    /// The load of a command that may cost so much. What it sends is taken to be spread over its time.
    pub(crate) fn of(command: &Command, cost: &Cost) -> Self {
        let ahead = u64::try_from(AHEAD.as_nanos()).unwrap_or(u64::MAX);
        let part = |all: u64| {
            let within = u128::from(all) * u128::from(ahead) / u128::from(cost.duration_ns.max(1));
            u64::try_from(within).unwrap_or(u64::MAX).min(all).max(1)
        };
        let to = match command {
            Command::Ping(one) => Some(one.target),
            Command::Trace(one) => Some(one.target),
            Command::Tracelb(one) => Some(one.target),
            Command::Http(one) => Some(one.target),
            Command::UdpProbe(one) => Some(one.target),
            Command::Host(one) => one.server,
            _ => None,
        };
        Self { packets: part(cost.packets), bits: part(cost.bytes.saturating_mul(8)), to }
    }
}

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    packets: u64,
    bits: u64,
    to: HashMap<Option<IpAddr>, u64>,
}

impl Pace {
    /// Whether so much more may be under way. One command always may: how much is too much for it is for its site to say.
    pub(crate) fn has_room(&self, limits: Option<&Limits>, load: &Load) -> bool {
        let Some(limits) = limits else { return true };
        let fits = |used: u64, more: u64, per_second: u64| {
            used == 0 || used.saturating_add(more) <= per_second.saturating_mul(AHEAD.as_secs())
        };
        fits(self.packets, load.packets, limits.packets)
            && fits(self.bits, load.bits, limits.bits)
            && fits(self.to.get(&load.to).copied().unwrap_or(0), load.packets, limits.to_one)
    }

    pub(crate) fn begin(&mut self, load: &Load) {
        self.packets = self.packets.saturating_add(load.packets);
        self.bits = self.bits.saturating_add(load.bits);
        *self.to.entry(load.to).or_default() += load.packets;
    }

    /// What was begun has ended.
    pub(crate) fn end(&mut self, load: &Load) {
        self.packets = self.packets.saturating_sub(load.packets);
        self.bits = self.bits.saturating_sub(load.bits);
        if let Some(left) = self.to.get_mut(&load.to) {
            *left = left.saturating_sub(load.packets);
            if *left == 0 {
                self.to.remove(&load.to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { packets: 1_000, bits: 10_000_000, to_one: 100 };

    fn load(text: &str, packets: u64, bytes: u64, duration_ns: u64) -> Load {
        Load::of(&Command::parse(text).unwrap(), &Cost { packets, bytes, duration_ns })
    }

    #[test]
    fn a_site_is_given_what_it_lets_leave_in_some_seconds() {
        let ping = load("ping -c 1 192.0.2.1", 1, 84, 1_000_000_000);
        assert_eq!(ping, Load { packets: 1, bits: 672, to: Some("192.0.2.1".parse().unwrap()) });
        let mut pace = Pace::default();
        for _ in 0..500 {
            assert!(pace.has_room(Some(&LIMITS), &ping));
            pace.begin(&ping);
        }
        assert!(!pace.has_room(Some(&LIMITS), &ping), "to one target");
        assert!(pace.has_room(None, &ping), "where no policy is known");
        let other = load("ping -c 1 192.0.2.2", 1, 84, 1_000_000_000);
        assert!(pace.has_room(Some(&LIMITS), &other));
        let large = load("ping -c 5 192.0.2.2", 5, 10_000_000, 5_000_000_000);
        assert!(!pace.has_room(Some(&LIMITS), &large), "too many bits");
        pace.end(&ping);
        assert!(pace.has_room(Some(&LIMITS), &ping));
    }

    #[test]
    fn what_lasts_counts_for_what_it_sends_in_that_time() {
        assert_eq!(load("trace 192.0.2.1", 510, 510 * 60, 2_550_000_000_000).packets, 1);
        assert_eq!(load("ping -c 100 192.0.2.1", 100, 8_400, 100_000_000_000).packets, 5);
        assert_eq!(load("host example.net", 2, 120, 10_000_000_000).to, None);
    }

    #[test]
    fn one_command_is_never_too_much() {
        let huge = load("ping -c 1000 -i 0.001 192.0.2.1", 1_000_000, 84_000_000, 1_000_000_000);
        let mut pace = Pace::default();
        assert!(pace.has_room(Some(&LIMITS), &huge));
        pace.begin(&huge);
        assert!(!pace.has_room(Some(&LIMITS), &huge));
        pace.end(&huge);
        assert!(pace.has_room(Some(&LIMITS), &huge));
    }
}

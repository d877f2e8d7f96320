//! The stopping rule of the multipath detection algorithm: how many probes show all next hops of a node.
//!
//! Augustin, Friedman and Teixeira (E2EMON 2007) send probes of different flows through a node until the next hops
//! seen, and no further one, explain them. After `k` next hops have been seen, as many probes are sent as would show all
//! of `k + 1` equally likely ones with the confidence asked for. Veitch, Augustin, Friedman and Teixeira (INFOCOM 2009)
//! spread the risk over the branch points of a path. Nothing here is a table: every number is computed.
//!
//! [`StoppingRule`] is the rule, [`simulate`] runs the real machine ([`crate::multipath`]) over virtual networks, so that
//! what it misses can be compared with what the rule allows ([`StoppingRule::failure_rate`]).

use std::net::{IpAddr, Ipv4Addr};

use crate::cookie::Key;
use crate::machine::{Input, Machine, Output};
use crate::multipath::{Multipath, Spec};
use crate::packet::{Body, Departure, Identity, Message, Packet, Probe, Quote, Report, Ttl};
use crate::time::{Instant, Stamp, StampSource, Utc};
use crate::wire::icmp::IcmpErrorKind;

/// Above so many next hops the closed bound is taken, which asks for slightly more than the exact number.
const EXACT_UP_TO: u32 = 256;

/// When to stop sending probes through a node.
#[derive(Clone, Debug)]
pub struct StoppingRule {
    epsilon: f64,
    /// The number of probes after which so many next hops and no more are believed, from 1 on; as far as computed.
    table: Vec<u32>,
}

/// A probability that is none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is no probability of failure: it lies between 0 and 1, both excluded")]
pub struct NotAProbability(pub f64);

impl StoppingRule {
    /// The rule that misses a next hop of a node with probability `epsilon` at most, or hardly more.
    pub fn new(epsilon: f64) -> Result<Self, NotAProbability> {
        if epsilon > 0.0 && epsilon < 1.0 {
            Ok(Self { epsilon, table: Vec::new() })
        } else {
            Err(NotAProbability(epsilon))
        }
    }

    /// The rule that misses nothing of a path of at most so many branch points, but with probability `epsilon`.
    pub fn for_path(epsilon: f64, branch_points: u16) -> Result<Self, NotAProbability> {
        let rule = Self::new(epsilon)?;
        if branch_points < 2 {
            return Ok(rule);
        }
        // 1 - (1 - epsilon)^(1/B), without the loss of digits.
        Self::new(-f64::exp_m1(f64::ln_1p(-epsilon) / f64::from(branch_points)))
    }

    /// The probability of missing a next hop of one node that it is made for.
    pub const fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// The number of probes through a node after which `seen` next hops are all; for 0 seen, as for 1.
    pub fn probes(&mut self, seen: u32) -> u32 {
        let seen = seen.max(1);
        if seen > EXACT_UP_TO {
            return self.bound(seen + 1);
        }
        while self.table.len() < usize::try_from(seen).unwrap_or(usize::MAX) {
            let hypothesis = u32::try_from(self.table.len()).unwrap_or(EXACT_UP_TO) + 2;
            let next = self.exact(hypothesis);
            self.table.push(next);
        }
        usize::try_from(seen - 1).ok().and_then(|at| self.table.get(at)).copied().unwrap_or(u32::MAX)
    }

    /// The repetitions of one flow after which a node that has shown `seen` next hops does not choose among them for
    /// each packet anew.
    pub fn repetitions(&self, seen: u32) -> u32 {
        let repetitions = (self.epsilon.ln() / -f64::from(seen.max(2)).ln()).ceil();
        whole(repetitions).max(1)
    }

    /// The probability that the rule stops before it has seen all of `next_hops` equally likely ones: exactly, by the
    /// Markov chain of how many have been seen.
    pub fn failure_rate(&mut self, next_hops: u32) -> f64 {
        let mut seen = Seen::none_of(next_hops);
        let mut failed = 0.0;
        for sent in 1.. {
            seen.another();
            let mut still = 0.0;
            for number in 1..=next_hops {
                let share = seen.share(number);
                if share > 0.0 && sent >= self.probes(number) {
                    if number < next_hops {
                        failed += share;
                    }
                    seen.stop_at(number);
                } else {
                    still += share;
                }
            }
            if still <= 0.0 {
                break;
            }
        }
        failed
    }

    /// The least number of probes that misses one of `hypothesis` equally likely next hops with probability epsilon at
    /// most.
    fn exact(&self, hypothesis: u32) -> u32 {
        let mut seen = Seen::none_of(hypothesis);
        let mut sent = 0;
        while 1.0 - seen.share(hypothesis) > self.epsilon {
            seen.another();
            sent += 1;
        }
        sent
    }

    /// The union bound on the same.
    fn bound(&self, hypothesis: u32) -> u32 {
        let hypothesis = f64::from(hypothesis);
        whole(((self.epsilon / hypothesis).ln() / ((hypothesis - 1.0) / hypothesis).ln()).ceil())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of probes, which a cast saturates"
)]
const fn whole(number: f64) -> u32 {
    number as u32
}

/// The distribution of how many of several equally likely next hops have been seen.
struct Seen {
    of: u32,
    /// The share of each number, from 0 on.
    shares: Vec<f64>,
}

impl Seen {
    fn none_of(of: u32) -> Self {
        let numbers = usize::try_from(of).unwrap_or(0) + 1;
        let mut shares = vec![0.0; numbers];
        if let Some(none) = shares.first_mut() {
            *none = 1.0;
        }
        Self { of, shares }
    }

    /// One more probe.
    fn another(&mut self) {
        let mut arriving = 0.0;
        for (number, share) in (0_u32..).zip(&mut self.shares) {
            let known = f64::from(number) / f64::from(self.of);
            let leaving = *share * (1.0 - known);
            *share = *share * known + arriving;
            arriving = leaving;
        }
    }

    fn share(&self, number: u32) -> f64 {
        usize::try_from(number).ok().and_then(|at| self.shares.get(at)).copied().unwrap_or(0.0)
    }

    fn stop_at(&mut self, number: u32) {
        if let Some(share) = usize::try_from(number).ok().and_then(|at| self.shares.get_mut(at)) {
            *share = 0.0;
        }
    }
}

/// What the machine found in virtual networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simulated {
    /// Networks.
    pub runs: u32,
    /// Those in which a next hop was missed.
    pub failed: u32,
    /// Probes in all of them.
    pub probes: u64,
}

/// Runs the multipath machine over `runs` networks: one router, behind it `next_hops` (at most 250) equally likely ones,
/// to which flows are spread by chance. The same seed gives the same networks.
pub fn simulate(confidence: f64, next_hops: u8, runs: u32, seed: u64) -> Result<Simulated, NotAProbability> {
    StoppingRule::new(1.0 - confidence)?;
    let mut simulated = Simulated { runs, failed: 0, probes: 0 };
    let key = Key::new([1; 16]);
    for run in 0..runs {
        let mut spec = Spec::new(SIMULATED_TARGET);
        (spec.confidence, spec.max_ttl, spec.max_probes) = (confidence, Ttl(2), u32::MAX);
        let Ok(mut machine) = Multipath::new(spec, key) else {
            return Err(NotAProbability(1.0 - confidence));
        };
        let number = u64::from(run);
        simulated.probes += drive(&mut machine, |probe| match probe.ttl {
            Some(Ttl(1)) => router(1, 1),
            _ => router(2, chosen(seed ^ number.rotate_left(32), flow_of(probe), next_hops)),
        });
        let found = machine.nodes().filter(|node| node.ttl == Ttl(2) && node.address.is_some()).count();
        simulated.failed += u32::from(found < usize::from(next_hops));
    }
    Ok(simulated)
}

const SIMULATED_TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

const fn router(ttl: u8, number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, ttl, number))
}

fn flow_of(probe: &Probe) -> u64 {
    match &probe.body {
        Body::Udp { port, .. } => u64::from(*port),
        _ => u64::from(probe.flow.number),
    }
}

/// One of `of`, from 1 on, by a hash of seed and flow (`SplitMix64`, Steele, Lea and Flood, 2014).
fn chosen(seed: u64, flow: u64, of: u8) -> u8 {
    let mix = |number: u64| {
        let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    // The product's upper half spreads evenly but for one part in 2^56.
    let spread = (u128::from(mix(mix(seed) ^ flow)) * u128::from(of)) >> 64;
    u8::try_from(spread).unwrap_or(0) + 1
}

/// Answers every probe at once with an expired TTL; returns how many there were.
fn drive(machine: &mut Multipath, network: impl Fn(&Probe) -> IpAddr) -> u64 {
    let mut now = Instant(0);
    let mut probes = 0;
    loop {
        match machine.poll(now) {
            Output::Send(probe) => {
                probes += 1;
                now.0 += 1_000;
                let stamp = Stamp { at: now, utc: Utc(0), source: StampSource::User };
                let identity = Identity { selector: 1, tag: 1 };
                let departure = Departure { source: None, identity, ip_id: None, bytes: 60 };
                machine.handle(now, Input::Sent { probe: probe.id, stamp, departure });
                let payload = match &probe.body {
                    Body::Udp { payload, .. } => payload.as_slice(),
                    _ => &[],
                };
                let report = Report {
                    kind: IcmpErrorKind::TtlExceeded,
                    icmp_type: 11,
                    code: 0,
                    quote: Quote { payload, ..Quote::default() },
                    extensions: &[],
                };
                machine.handle(
                    now,
                    Input::Packet(Packet {
                        probe: probe.id,
                        from: network(&probe),
                        stamp,
                        ttl: None,
                        tos: None,
                        ip_id: None,
                        fragment_id: None,
                        ip_options: &[],
                        bytes: 36,
                        message: Message::Error(report),
                    }),
                );
            }
            Output::WaitUntil(at) => now = at,
            Output::Wait | Output::Done => return probes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(epsilon: f64, upper: u32) -> Vec<u32> {
        let mut rule = StoppingRule::new(epsilon).unwrap();
        (1..upper).map(|seen| rule.probes(seen)).collect()
    }

    /// The tables of Augustin et al., as far as they go, and their continuation (two implementations agree).
    #[test]
    fn agrees_with_the_published_tables() {
        let at_95 = [
            6, 11, 16, 21, 27, 33, 38, 44, 51, 57, 63, 70, 76, 83, 90, 96, 103, 110, 117, 124, 131, 138, 145,
            152,
        ];
        let at_99 = [
            8, 15, 21, 28, 36, 43, 51, 58, 66, 74, 82, 90, 98, 106, 115, 123, 132, 140, 149, 157, 166, 175,
            183, 192,
        ];
        assert_eq!(table(0.05, 25), at_95);
        assert_eq!(table(0.01, 25), at_99);
    }

    #[test]
    fn the_bound_is_never_below_and_close() {
        let mut rule = StoppingRule::new(0.05).unwrap();
        for seen in 1..60 {
            let (exact, bound) = (rule.probes(seen), rule.bound(seen + 1));
            assert!(bound >= exact && bound <= exact + 1 + exact / 100, "{seen}: {exact} {bound}");
        }
        assert!(rule.probes(257) >= rule.probes(256));
    }

    #[test]
    fn the_risk_is_spread_over_the_branch_points() {
        let rule = StoppingRule::for_path(0.05, 10).unwrap();
        assert!((1.0 - (1.0 - rule.epsilon()).powi(10) - 0.05).abs() < 1e-12);
        assert!((StoppingRule::for_path(0.05, 1).unwrap().epsilon() - 0.05).abs() < 1e-15);
        assert!(StoppingRule::new(0.0).is_err() && StoppingRule::new(1.0).is_err());
        assert!(StoppingRule::new(f64::NAN).is_err());
    }

    #[test]
    fn repeating_a_flow_shows_a_choice_for_each_packet() {
        let rule = StoppingRule::new(0.05).unwrap();
        assert_eq!([2, 3, 4, 16].map(|seen| rule.repetitions(seen)), [5, 3, 3, 2]);
    }

    #[test]
    fn the_rule_fails_as_rarely_as_it_says() {
        let mut rule = StoppingRule::new(0.05).unwrap();
        let percent = |rate: f64| (rate * 1e5).round() / 1e3;
        assert!((percent(rule.failure_rate(2)) - 3.125).abs() < 1e-9);
        assert!((percent(rule.failure_rate(8)) - 5.011).abs() < 1e-9);
        assert!((percent(rule.failure_rate(16)) - 4.754).abs() < 1e-9);
        for next_hops in [2, 4, 8, 16] {
            assert!(rule.failure_rate(next_hops) <= 0.051);
        }
        assert!(rule.failure_rate(1) < 1e-15);
    }

    /// Four standard deviations of a binomial distribution around what the rule says.
    #[test]
    fn the_machine_misses_as_much_as_the_rule_allows() {
        const RUNS: u32 = 1_000;
        for next_hops in [2_u8, 4, 8, 16] {
            let exact = StoppingRule::new(0.05).unwrap().failure_rate(next_hops.into());
            let simulated = simulate(0.95, next_hops, RUNS, 2_026).unwrap();
            let observed = f64::from(simulated.failed) / f64::from(RUNS);
            let sigma = (exact * (1.0 - exact) / f64::from(RUNS)).sqrt();
            assert!((observed - exact).abs() <= 4.0 * sigma, "{next_hops}: {observed} for {exact}");
        }
    }
}

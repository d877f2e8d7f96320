//! Wrong tries to sign in, counted by address: after a few of them one has to wait. What was right costs nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many wrong tries are free.
const FREE: u32 = 5;
/// After so long one of them is forgiven.
const FORGIVEN: Duration = Duration::from_secs(12);
/// The most addresses that are remembered; beyond it all others are one.
const MAX_ADDRESSES: usize = 10_000;

/// Of each address, when all of its wrong tries are forgiven.
#[derive(Debug, Default)]
pub(crate) struct Guesses(Mutex<HashMap<IpAddr, Instant>>);

impl Guesses {
    /// How long somebody at this address has to wait before the next try; nothing: not at all.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let forgiven = known.get(&place(&known, address))?.saturating_duration_since(now);
        let wait = forgiven.saturating_sub(FORGIVEN * (FREE - 1));
        (wait > Duration::ZERO).then_some(wait)
    }

    /// Somebody has tried what is wrong.
    pub(crate) fn wrong(&self, address: IpAddr, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_ADDRESSES {
            known.retain(|_, forgiven| *forgiven > now);
        }
        let place = place(&known, address);
        let forgiven = known.entry(place).or_insert(now);
        *forgiven = (*forgiven).max(now) + FORGIVEN;
    }
}

/// Under what an address is counted: who has one of IPv6 has 2^64 of them.
fn place(known: &HashMap<IpAddr, Instant>, address: IpAddr) -> IpAddr {
    let address = match address {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    };
    let is_new = known.len() >= MAX_ADDRESSES && !known.contains_key(&address);
    if is_new { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_few_wrong_tries_one_waits() {
        let (guesses, start) = (Guesses::default(), crate::clock::now());
        let [own, same, other]: [IpAddr; 3] =
            ["2001:db8::1", "2001:db8::2", "192.0.2.1"].map(|text| text.parse().unwrap());
        for _ in 0..FREE - 1 {
            guesses.wrong(own, start);
            assert_eq!(guesses.wait(own, start), None);
        }
        guesses.wrong(same, start);
        assert_eq!(guesses.wait(own, start), Some(FORGIVEN));
        assert_eq!(guesses.wait(other, start), None);
        assert_eq!(guesses.wait(own, start + FORGIVEN), None);
        guesses.wrong(own, start + FORGIVEN);
        assert_eq!(guesses.wait(same, start + FORGIVEN), Some(FORGIVEN));
    }

    #[test]
    fn addresses_are_remembered_up_to_a_bound() {
        let (guesses, start) = (Guesses::default(), crate::clock::now());
        for number in 0..2 * u32::try_from(MAX_ADDRESSES).unwrap() {
            guesses.wrong(std::net::Ipv4Addr::from_bits(number).into(), start);
        }
        assert!(guesses.0.lock().unwrap().len() <= MAX_ADDRESSES + 1);
        let fresh = "198.51.100.7".parse().unwrap();
        assert!(guesses.wait(fresh, start).is_some());
        let later = start + FORGIVEN * 30_000;
        guesses.wrong(fresh, later);
        assert_eq!(guesses.wait(fresh, later), None);
    }
}

//! How many requests each caller may make: a bucket per token, or per address where there is no token.
//!
//! The fields are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` says the quota, `RateLimit`
//! what is left of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most callers that are remembered. Beyond it those whose bucket is full are forgotten, which changes nothing
/// for them; when none is, new callers share one bucket.
const MAX_CALLERS: usize = 10_000;

/// Who asks, as far as limits are concerned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Payer {
    /// The holder of a token, by the token's own name.
    Token(Box<str>),
    /// Somebody at an address.
    Address(IpAddr),
    /// All those for whom there is no bucket of their own.
    Rest,
}

/// What is left after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Requests that may follow at once.
    pub(crate) remaining: u64,
    /// After how many seconds the bucket is full again.
    pub(crate) reset_s: u64,
    /// Absent: the request may pass. Else after how long the next one may.
    pub(crate) retry_after: Option<Duration>,
}

/// The buckets, each filled at `per_s` requests a second up to `per_s` requests.
#[derive(Debug)]
pub(crate) struct Buckets {
    per_s: u32,
    /// Of each caller, when its bucket is full again.
    full_at: Mutex<HashMap<Payer, Instant>>,
}

impl Buckets {
    pub(crate) fn new(per_s: u32) -> Self {
        Self { per_s: per_s.max(1), full_at: Mutex::default() }
    }

    pub(crate) fn per_s(&self) -> u32 {
        self.per_s
    }

    /// Takes one request out of the caller's bucket.
    pub(crate) fn take(&self, payer: Payer, now: Instant) -> Quota {
        const BURST: Duration = Duration::from_secs(1);
        let cost = Duration::from_secs(1) / self.per_s;
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let payer = if buckets.len() < MAX_CALLERS || buckets.contains_key(&payer) {
            payer
        } else {
            buckets.retain(|_, full_at| *full_at > now);
            if buckets.len() < MAX_CALLERS { payer } else { Payer::Rest }
        };
        let full_at = buckets.entry(payer).or_insert(now);
        let debt = full_at.saturating_duration_since(now);
        let owed = debt + cost;
        // A burst of one second's requests, with room for the rounding of `cost`.
        if owed > BURST + cost / 2 {
            return self.quota(debt, Some(owed.saturating_sub(BURST)));
        }
        *full_at = now + owed;
        self.quota(owed, None)
    }

    fn quota(&self, debt: Duration, retry_after: Option<Duration>) -> Quota {
        let free = Duration::from_secs(1).saturating_sub(debt).as_nanos() * u128::from(self.per_s);
        let remaining = u64::try_from(free / 1_000_000_000).unwrap_or(0);
        Quota { remaining, reset_s: debt.as_millis().div_ceil(1000).try_into().unwrap_or(1), retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start() -> Instant {
        crate::clock::now()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (buckets, now) = (Buckets::new(4), start());
        let token = || Payer::Token("t".into());
        for remaining in [3, 2, 1, 0] {
            let quota = buckets.take(token(), now);
            assert_eq!((quota.remaining, quota.retry_after), (remaining, None));
        }
        let refused = buckets.take(token(), now);
        assert_eq!(refused.retry_after, Some(Duration::from_millis(250)));
        assert_eq!(refused.reset_s, 1);
        assert_eq!(buckets.take(Payer::Rest, now).retry_after, None, "others have buckets of their own");
        let later = now + Duration::from_millis(250);
        assert_eq!(buckets.take(token(), later).retry_after, None);
        assert!(buckets.take(token(), later).retry_after.is_some());
    }

    #[test]
    fn callers_are_remembered_up_to_a_bound() {
        let (buckets, now) = (Buckets::new(1), start());
        for number in 0..MAX_CALLERS * 2 {
            buckets.take(Payer::Token(number.to_string().into()), now);
        }
        assert!(buckets.full_at.lock().unwrap().len() <= MAX_CALLERS + 1);
        let fresh = || Payer::Token("fresh".into());
        assert!(buckets.take(fresh(), now).retry_after.is_some(), "the shared bucket is empty");
        assert!(buckets.take(fresh(), now + Duration::from_secs(2)).retry_after.is_none());
    }

    proptest! {
        #[test]
        fn no_second_and_a_half_sees_more_than_two_and_a_half_quotas(
            per_s in 1u32..1000, gaps in prop::collection::vec(0u64..2_000_000, 1..2000),
        ) {
            let (buckets, begin) = (Buckets::new(per_s), start());
            let (mut at, mut passed) = (Duration::ZERO, 0u32);
            for gap in gaps {
                at += Duration::from_nanos(gap);
                if buckets.take(Payer::Rest, begin + at).retry_after.is_none() {
                    passed += 1;
                }
            }
            let most = f64::from(per_s) * (1.0 + at.as_secs_f64()) + 2.0;
            prop_assert!(f64::from(passed) <= most, "{passed} in {at:?} at {per_s}/s");
        }
    }
}

//! Gets the credentials of an instance: the node keeps the seed, and an anchor signs its public key.

use std::path::Path;
use std::time::Duration;

use mmn_bus::connect::Bus;
use mmn_bus::identity::{Creds, Jwt, Seed};
use mmn_schema::encoding::Encoding;
use mmn_schema::enrol::{EnrolAnswer, EnrolRequest};
use mmn_schema::id::{InstanceId, VpId};
use mmn_schema::subject::{Prefix, Subject};

use super::claims::{self, Claims};
use crate::herald::{encoding_of, headers};

/// How long an anchor has for its answer.
const ANSWER: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why an anchor gave no credentials.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnrolError {
    /// None is there, or none answered.
    #[error("no anchor answers")]
    NoAnswer,
    /// The answer is none.
    #[error("the anchor's answer can't be read")]
    Unreadable,
    /// The anchor declines.
    #[error("the anchor declines: {0}")]
    Refused(String),
}

/// Asks until an anchor answers; `told` hears of each failure.
pub(super) async fn enrol(
    bus: &Bus,
    prefix: &Prefix,
    vp: &VpId,
    instance: &InstanceId,
    seed: &Seed,
    mut told: impl FnMut(&EnrolError),
) -> Creds {
    let mut pause = FIRST_PAUSE;
    loop {
        match ask(bus, prefix, vp, instance, seed).await {
            Ok(jwt) => return Creds { jwt, seed: seed.clone() },
            Err(error) => {
                told(&error);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn ask(
    bus: &Bus,
    prefix: &Prefix,
    vp: &VpId,
    instance: &InstanceId,
    seed: &Seed,
) -> Result<Jwt, EnrolError> {
    let request = EnrolRequest { instance: instance.clone(), public_key: seed.public_key().to_string() };
    let payload = Encoding::Cbor.encode(&request).map_err(|_| EnrolError::Unreadable)?;
    let subject = Subject::Enrol(vp.clone()).on(prefix);
    let asked = bus.client().request_with_headers(subject, headers(Encoding::Cbor), payload.into());
    let Ok(Ok(answer)) = tokio::time::timeout(ANSWER, asked).await else {
        return Err(EnrolError::NoAnswer);
    };
    let encoding = encoding_of(&answer).ok_or(EnrolError::Unreadable)?;
    match encoding.decode(&answer.payload) {
        Ok(EnrolAnswer::Enrolled { jwt }) => jwt.parse().map_err(|_| EnrolError::Unreadable),
        Ok(EnrolAnswer::Refused { detail }) => Err(EnrolError::Refused(detail)),
        Err(_) => Err(EnrolError::Unreadable),
    }
}

/// When credentials that were found are to be renewed, in seconds from `now_s`: after two thirds of what is left of their
/// life. Never, for those without an end; at once, for those that this clock can say nothing of.
pub(super) fn renewal_s(creds: &Creds, now_s: u64) -> Option<u64> {
    found_s(&claims::of(creds.jwt.as_str())?, now_s)
}

fn found_s(claims: &Claims, now_s: u64) -> Option<u64> {
    let left = claims.exp?.saturating_sub(now_s);
    let sound = claims.iat.is_none_or(|made| made <= now_s + SKEW_S);
    Some(if sound { (left * 2 / 3).max(1) } else { 1 })
}

/// When credentials that have just come are to be renewed, in seconds: after two thirds of their life. Only the issuer's
/// clock counts, so that a wrong one here makes no difference.
pub(super) fn renewal_of_new_s(creds: &Creds) -> Option<u64> {
    new_s(&claims::of(creds.jwt.as_str())?)
}

fn new_s(claims: &Claims) -> Option<u64> {
    Some((claims.exp?.saturating_sub(claims.iat?) * 2 / 3).max(1))
}

/// By so much two clocks that are right may differ.
const SKEW_S: u64 = 60;

/// Writes credentials for a module of this user.
pub(super) fn write(creds: &Creds, path: &Path) -> std::io::Result<()> {
    creds.write(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_neither_hurries_nor_delays_a_renewal() {
        let claims = Claims { name: "m".to_owned(), iat: Some(100_000), exp: Some(103_600) };
        assert_eq!(new_s(&claims), Some(2400));
        assert_eq!(found_s(&claims, 100_600), Some(2000));
        for wrong in [10_000, 31_636_000] {
            assert_eq!(found_s(&claims, wrong), Some(1), "they are asked for again");
        }
    }
}

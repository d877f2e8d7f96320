//! A seeded sample, spread over strata.
//!
//! There is no generator whose state could depend on an order. Each vantage point has a rank: the first eight bytes,
//! most significant first, of SHA-256 over the seed (eight bytes, most significant first) and the id's text. Within
//! each stratum the vantage points are numbered in the order of their ranks; the sample is the first of all when they
//! are ordered by that number, then by rank. So each stratum gives one before any gives two, the candidates' order
//! has no influence, and a vantage point that comes displaces at most one other.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::vp::VantagePoint;

use super::ast::{Sample, Stratum};
use super::countries::fold;
use super::eval::continent_of;

/// Draws from `members`.
pub(super) fn draw<'a>(members: &[&'a VantagePoint], sample: &Sample, seed: u64) -> Vec<&'a VantagePoint> {
    let mut strata: BTreeMap<Vec<Option<String>>, Vec<(u64, &'a VantagePoint)>> = BTreeMap::new();
    for &vp in members {
        let key = sample.by.iter().map(|&stratum| value(vp, stratum)).collect();
        strata.entry(key).or_default().push((rank(seed, vp), vp));
    }
    let most = sample.max.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
    let mut order = Vec::with_capacity(members.len());
    for stratum in strata.values_mut() {
        stratum.sort_by_key(|&(rank, vp)| (rank, &vp.id));
        order.extend(stratum.iter().take(most).enumerate().map(|(number, &(rank, vp))| (number, rank, vp)));
    }
    order.sort_by_key(|&(number, rank, vp)| (number, rank, &vp.id));
    order.truncate(usize::try_from(sample.count).unwrap_or(usize::MAX));
    order.into_iter().map(|(_, _, vp)| vp).collect()
}

fn rank(seed: u64, vp: &VantagePoint) -> u64 {
    let digest = Sha256::new().chain_update(seed.to_be_bytes()).chain_update(vp.id.as_str()).finalize();
    digest.iter().take(8).fold(0, |rank, &byte| rank << 8 | u64::from(byte))
}

/// What the vantage points of a stratum share. Those of which it is not known share a stratum.
fn value(vp: &VantagePoint, stratum: Stratum) -> Option<String> {
    match stratum {
        Stratum::As => vp.asn.map(|number| number.to_string()),
        Stratum::Country => vp.location.country.as_deref().map(str::to_ascii_uppercase),
        Stratum::Continent => continent_of(vp).map(|continent| continent.code().to_owned()),
        Stratum::City => vp.location.city.as_deref().map(fold),
    }
}

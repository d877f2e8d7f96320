//! Names of the addresses that a path shows: asked for when the path is known, and of the vantage point's own resolver.
//!
//! No name keeps a result waiting longer than [`WITHIN`], and a name that does not come in time is absent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures::future::{Either, select};
use futures::stream::{self, StreamExt};
use mmn_kit::Context;
use mmn_probe::time::Nanos;

use crate::shared::NAMES_WITHIN_NS;

/// How many are asked for at a time.
const AT_A_TIME: usize = 16;
/// How long all of them together may take.
const WITHIN: Nanos = Nanos(NAMES_WITHIN_NS);
/// What is left of the task's time, for its result to be told.
const SPARED: Nanos = Nanos::from_millis(200);

/// The names of those addresses that have one; each address is asked for once.
pub(crate) async fn names_of(
    context: &dyn Context,
    addresses: impl Iterator<Item = IpAddr>,
) -> BTreeMap<IpAddr, String> {
    let addresses: BTreeSet<IpAddr> = addresses.collect();
    let mut names = BTreeMap::new();
    let now = context.now();
    let left = context.deadline().saturating_since(now).0.saturating_sub(SPARED.0).min(WITHIN.0);
    if left == 0 || addresses.is_empty() {
        return names;
    }
    let until = now + Nanos(left);
    let ask = |address| async move { (address, context.name_of(address, until).await) };
    let mut asked = stream::iter(addresses).map(ask).buffer_unordered(AT_A_TIME);
    let mut over = context.sleep_until(until);
    while let Either::Left((Some((address, name)), _)) = select(asked.next(), &mut over).await {
        names.extend(name.map(|name| (address, name)));
    }
    names
}

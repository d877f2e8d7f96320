//! What kinds say of themselves, and what stands for it: made once in a process, however many vantage points it has.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use mmn_kit::Registered;
use mmn_schema::announce::{KindInfo, KindsDigest};
use mmn_schema::id::KindName;

/// By the kind's name, of which a program has one.
static INFOS: Mutex<BTreeMap<&'static str, KindInfo>> = Mutex::new(BTreeMap::new());

/// By the names of the kinds, in their order.
static DIGESTS: Mutex<BTreeMap<Vec<KindName>, KindsDigest>> = Mutex::new(BTreeMap::new());

/// What a kind says of itself. Its schemas are shared by all who ask.
pub(super) fn info(kind: &dyn Registered) -> KindInfo {
    let mut infos = INFOS.lock().unwrap_or_else(PoisonError::into_inner);
    infos.entry(kind.name()).or_insert_with(|| kind.info()).clone()
}

/// What stands for these kinds.
pub(super) fn digest(infos: &[KindInfo]) -> KindsDigest {
    let names = infos.iter().map(|info| info.name.clone()).collect();
    let mut digests = DIGESTS.lock().unwrap_or_else(PoisonError::into_inner);
    digests.entry(names).or_insert_with(|| KindsDigest::of(infos)).clone()
}

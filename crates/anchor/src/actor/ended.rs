//! The latest measurements that ended, and idempotency keys: both in bounded memory.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mmn_schema::id::{MeasurementId, Tenant};
use mmn_schema::time::Timestamp;
use rustc_hash::FxHashMap;

use crate::store::record::Done;

/// Measurements that ended, the latest ones.
#[derive(Debug)]
pub(super) struct Ended {
    by_id: BTreeMap<MeasurementId, Arc<Done>>,
    /// In the order in which their ends were kept, with their sequences in LEDGER.
    order: VecDeque<(u64, MeasurementId)>,
    most: usize,
    bytes: usize,
    /// Up to this sequence they are no longer in memory.
    evicted: u64,
    /// The latest histories that are too large to be told with the end, as they are written down.
    histories: VecDeque<(MeasurementId, Bytes)>,
}

/// The most bytes of histories that are remembered.
const MAX_HISTORIES_BYTES: usize = 32 * 1024 * 1024;
/// The most bytes that measurements which ended take in memory.
const MAX_ENDED_BYTES: usize = 16 * 1024 * 1024;

impl Ended {
    pub(super) fn new(most: usize) -> Self {
        Self {
            by_id: BTreeMap::new(),
            order: VecDeque::new(),
            most,
            bytes: 0,
            evicted: 0,
            histories: VecDeque::new(),
        }
    }

    /// Enters one whose end is not kept yet: it stays until it is.
    pub(super) fn insert(&mut self, done: Arc<Done>) {
        self.bytes += done.weight();
        self.by_id.insert(done.meta.id, done);
    }

    /// The ends of some are kept, in one message.
    pub(super) fn kept(&mut self, seq: u64, ids: &[MeasurementId]) {
        self.order.extend(ids.iter().map(|&id| (seq, id)));
        while (self.order.len() > self.most || self.bytes > MAX_ENDED_BYTES)
            && let Some(&(first, _)) = self.order.front()
        {
            // Those of one message go together, since they are listed by their messages.
            while let Some(&(seq, old)) = self.order.front()
                && seq == first
            {
                self.order.pop_front();
                self.bytes -= self.by_id.remove(&old).map_or(0, |done| done.weight());
            }
            self.evicted = self.evicted.max(first);
        }
    }

    pub(super) fn get(&self, id: MeasurementId) -> Option<&Arc<Done>> {
        self.by_id.get(&id)
    }

    /// Remembers a history as it is written down. It is being written: who asks at once is answered, too.
    pub(super) fn remember(&mut self, id: MeasurementId, history: Bytes) {
        self.histories.push_back((id, history));
        let mut bytes: usize = self.histories.iter().map(|(_, history)| history.len()).sum();
        while bytes > MAX_HISTORIES_BYTES && self.histories.len() > 1 {
            bytes -= self.histories.pop_front().map_or(0, |(_, history)| history.len());
        }
    }

    /// The history of one as it is written down, where it is in memory.
    pub(super) fn history(&self, id: MeasurementId) -> Option<Bytes> {
        let own = self.get(id).and_then(|done| done.own_history());
        let large = || self.histories.iter().find(|(of, _)| *of == id).map(|(_, history)| history);
        own.or_else(large).cloned()
    }

    /// The newest first, older than `before`.
    pub(super) fn before(&self, before: Option<MeasurementId>) -> impl Iterator<Item = &Arc<Done>> {
        let range = match before {
            Some(before) => self.by_id.range(..before),
            None => self.by_id.range(..),
        };
        range.rev().map(|(_, done)| done)
    }

    /// Up to this sequence in LEDGER they are no longer in memory.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Says that older ones are in LEDGER only.
    pub(super) fn set_evicted(&mut self, seq: u64) {
        self.evicted = self.evicted.max(seq);
    }
}

/// Measurements that were accepted in RES, while their ends are not in LEDGER.
#[derive(Debug, Default)]
pub(super) struct Brief {
    /// How many there are in each message.
    by_seq: BTreeMap<u64, u32>,
    by_id: FxHashMap<MeasurementId, u64>,
}

impl Brief {
    pub(super) fn insert(&mut self, seq: u64, id: MeasurementId) {
        if self.by_id.insert(id, seq).is_none() {
            *self.by_seq.entry(seq).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, id: MeasurementId) {
        if let Some(seq) = self.by_id.remove(&id)
            && let Entry::Occupied(mut count) = self.by_seq.entry(seq)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// The first message that holds one.
    pub(super) fn first(&self) -> Option<u64> {
        self.by_seq.first_key_value().map(|(&seq, _)| seq)
    }
}

/// Idempotency keys and where they lead.
#[derive(Debug)]
pub(super) struct Keys {
    by_key: HashMap<(Tenant, String), (MeasurementId, u64)>,
    order: VecDeque<(Timestamp, (Tenant, String))>,
    age: Duration,
}

/// How many keys are remembered at most.
const MAX_KEYS: usize = 200_000;

impl Keys {
    pub(super) fn new(age: Duration) -> Self {
        Self { by_key: HashMap::new(), order: VecDeque::new(), age }
    }

    /// The measurement that a key led to, and the hash of the request that came with it.
    pub(super) fn get(&self, tenant: &Tenant, key: &str) -> Option<(MeasurementId, u64)> {
        self.by_key.get(&(tenant.clone(), key.to_owned())).copied()
    }

    pub(super) fn insert(&mut self, tenant: &Tenant, key: &str, id: MeasurementId, hash: u64, at: Timestamp) {
        let name = (tenant.clone(), key.to_owned());
        self.by_key.insert(name.clone(), (id, hash));
        self.order.push_back((at, name));
        while self.order.len() > MAX_KEYS {
            self.pop();
        }
    }

    /// Forgets a key whose measurement was not accepted after all.
    pub(super) fn remove(&mut self, tenant: &Tenant, key: &str) {
        self.by_key.remove(&(tenant.clone(), key.to_owned()));
    }

    /// Forgets keys that are too old.
    pub(super) fn prune(&mut self, now: Timestamp) {
        let age = u64::try_from(self.age.as_nanos()).unwrap_or(u64::MAX);
        while self.order.front().is_some_and(|(at, _)| now.since_ns(*at).is_some_and(|ns| ns > age)) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, name)) = self.order.pop_front() {
            self.by_key.remove(&name);
        }
    }
}

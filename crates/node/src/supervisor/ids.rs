//! Which ICMP identifiers and source ports belong to whom: disjoint ranges, so that no process wades through another's
//! replies; and sockets for whole packets that were opened while there was the privilege to give them large buffers.
//!
//! Several nodes may share a host. Who has a range holds its first port, which is used for nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::net::Family;
use crate::net::carrier::raw::{PortFlag, RawSockets};
use crate::net::icmp::{IdRange, OpenError};
use crate::net::network::Network;

/// Identifiers in one range; with their sequence numbers enough for 67 million probes under way.
const RANGE: u16 = 1024;
const RANGES: u16 = 64;

/// Source ports lie above those that Linux gives to whoever asks for none (`net.ipv4.ip_local_port_range`). Few
/// instances send many flows at a time: the first ranges are large.
const FIRST_PORT: u16 = 61_000;
const PORTS: [(u16, u16); 3] = [(2, 1024), (4, 500), (58, 8)];

/// How many ranges have sockets that are opened in advance, and used again by whoever has the range next: the large ones.
const STOCKED: u16 = 6;

/// The ranges of one network's node.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    network: Network,
    taken: u64,
    stock: BTreeMap<(u16, bool), Arc<RawSockets>>,
}

/// A range that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    ids: Ids,
    index: u16,
    /// Tells other nodes that the range is taken; nothing where all are.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is held"))]
    flag: Option<PortFlag>,
}

impl Ids {
    /// Those of a network, without a stock.
    pub(super) fn of(network: Network) -> Self {
        Self(Arc::new(Mutex::new(State { network, ..State::default() })))
    }

    /// Opens sockets for the first ranges, where the system lets it. Whoever gives up privileges does so afterwards.
    pub(super) fn stocked() -> Self {
        let ids = Self::default();
        let mut stock = BTreeMap::new();
        for index in 0..STOCKED {
            for family in [Family::V4, Family::V6] {
                match open(&Network::Own, index, family) {
                    Ok(sockets) => {
                        stock.insert((index, family == Family::V6), Arc::new(sockets));
                    }
                    Err(error) => tracing::debug!(?family, %error, "no raw sockets in stock"),
                }
            }
        }
        ids.state(|state| state.stock = stock);
        ids
    }

    /// A range that nobody else of this node has; none when all are taken. Sockets in stock are for modules of this
    /// program: nobody knows what one of others leaves behind.
    pub(super) fn lease(&self, foreign: bool) -> Option<Lease> {
        let first = if foreign { STOCKED } else { 0 };
        self.state(|state| {
            let network = state.network.clone();
            let free = || (first..RANGES).filter(|index| state.taken & (1 << index) == 0);
            let flagged =
                free().find_map(|index| Some((index, Some(PortFlag::set(&network, first_port(index)?)?))));
            // Better one that another node has, too, than none.
            let (index, flag) = flagged.or_else(|| free().next().map(|index| (index, None)))?;
            state.taken |= 1 << index;
            Some(Lease { ids: self.clone(), index, flag })
        })
    }

    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Lease {
    /// The identifiers.
    pub(super) fn range(&self) -> Option<IdRange> {
        ids(self.index)
    }

    /// The source ports.
    pub(super) fn ports(&self) -> Option<IdRange> {
        ports(self.index)
    }

    /// Where its sockets are.
    pub(super) fn network(&self) -> Network {
        self.ids.state(|state| state.network.clone())
    }

    /// Sockets for whole packets with filters for the range: from the stock, or new ones.
    pub(super) fn sockets(&self, family: Family) -> Result<Arc<RawSockets>, OpenError> {
        let key = (self.index, family == Family::V6);
        let stocked = self.ids.state(|state| state.stock.get(&key).cloned());
        if let Some(sockets) = stocked.filter(|sockets| sockets.renew().is_ok()) {
            return Ok(sockets);
        }
        open(&self.network(), self.index, family).map(Arc::new)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ids.state(|state| {
            state.taken &= !(1 << self.index);
            let own = [false, true].map(|v6| state.stock.get(&(self.index, v6)));
            own.into_iter().flatten().for_each(|sockets| sockets.close());
        });
    }
}

fn open(network: &Network, index: u16, family: Family) -> Result<RawSockets, OpenError> {
    let (Some(ids), Some(ports)) = (ids(index), ports(index)) else {
        let source = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        return Err(OpenError::System { step: "find identifiers and ports", source });
    };
    RawSockets::open_in(network, family, ids, ports)
}

fn ids(index: u16) -> Option<IdRange> {
    IdRange::new(index.wrapping_mul(RANGE), RANGE).ok()
}

/// The first port is the flag.
fn ports(index: u16) -> Option<IdRange> {
    let (first, size) = all_ports(index)?;
    IdRange::new(first + 1, size - 1).ok()
}

fn first_port(index: u16) -> Option<u16> {
    all_ports(index).map(|(first, _)| first)
}

fn all_ports(index: u16) -> Option<(u16, u16)> {
    let mut before = 0;
    let mut first = FIRST_PORT;
    for (ranges, size) in PORTS {
        if index < before + ranges {
            return Some((first + (index - before) * size, size));
        }
        before += ranges;
        first += ranges * size;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_disjoint_and_come_back() {
        let ids = Ids::default();
        let leases: Vec<Lease> = std::iter::from_fn(|| ids.lease(false)).collect();
        assert_eq!(leases.len(), usize::from(RANGES));
        for range in [ids_of, ports_of] {
            let mut ranges: Vec<IdRange> = leases.iter().map(range).collect();
            ranges.sort_by_key(|range| range.first());
            assert!(ranges.windows(2).all(|pair| pair[0].last() < pair[1].first()));
        }
        assert!(leases.iter().all(|lease| ports_of(lease).first() > FIRST_PORT));
        drop(leases);
        assert!(ids.lease(false).is_some());
        assert!(ids.lease(true).unwrap().index >= STOCKED);
    }

    #[test]
    fn two_nodes_of_a_host_share_no_range() {
        let [one, other] = [Ids::default(), Ids::default()];
        let leases: Vec<Lease> =
            [&one, &other, &one, &other].iter().filter_map(|ids| ids.lease(false)).collect();
        // Tests that run meanwhile may have them all: then ranges are shared, as is said.
        let flagged: Vec<u16> =
            leases.iter().filter(|lease| lease.flag.is_some()).map(|lease| lease.index).collect();
        let distinct: std::collections::BTreeSet<u16> = flagged.iter().copied().collect();
        assert_eq!(distinct.len(), flagged.len());
    }

    fn ids_of(lease: &Lease) -> IdRange {
        lease.range().unwrap()
    }

    fn ports_of(lease: &Lease) -> IdRange {
        ports(lease.index).unwrap()
    }
}

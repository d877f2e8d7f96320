//! Whose an address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustc_hash::FxHashMap;

use crate::ids::{AnycastId, NodeId, WayId};

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Of a node: of the interface at which this way ends, or its own.
    Node(NodeId, Option<WayId>),
    /// Of several hosts; the nearest is meant.
    Anycast(AnycastId),
}

/// A prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Its first address.
    pub network: IpAddr,
    /// Its length in bits.
    pub bits: u8,
}

impl Prefix {
    /// Reads `198.18.16.0/24`; bits behind the length must be 0.
    pub fn parse(text: &str) -> Option<Self> {
        let (network, bits) = text.split_once('/')?;
        let prefix = Self { network: network.parse().ok()?, bits: bits.parse().ok()? };
        let most = if prefix.network.is_ipv4() { 32 } else { 128 };
        (prefix.bits <= most && cut(prefix.network, prefix.bits) == prefix.network).then_some(prefix)
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4() && cut(address, self.bits) == self.network
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

/// The owners of all addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    addresses: FxHashMap<IpAddr, Owner>,
    prefixes: FxHashMap<Prefix, NodeId>,
    /// The lengths of the prefixes, the longest first: of IPv4, of IPv6.
    lengths: [Vec<u8>; 2],
}

impl Owners {
    pub(super) fn of(&self, address: IpAddr) -> Option<Owner> {
        if let Some(owner) = self.addresses.get(&address) {
            return Some(*owner);
        }
        let [v4, v6] = &self.lengths;
        let lengths = if address.is_ipv4() { v4 } else { v6 };
        lengths.iter().find_map(|&bits| {
            let prefix = Prefix { network: cut(address, bits), bits };
            self.prefixes.get(&prefix).map(|node| Owner::Node(*node, None))
        })
    }

    /// Gives an address to an owner; answers with the one who has it.
    pub(super) fn add(&mut self, address: IpAddr, owner: Owner) -> Result<(), Owner> {
        if let Some(other) = self.addresses.get(&address) {
            return Err(*other);
        }
        self.addresses.insert(address, owner);
        Ok(())
    }

    /// Gives a prefix to a host; answers with the one who has it.
    pub(super) fn add_prefix(&mut self, prefix: Prefix, node: NodeId) -> Result<(), NodeId> {
        if let Some(other) = self.prefixes.get(&prefix) {
            return Err(*other);
        }
        self.prefixes.insert(prefix, node);
        let [v4, v6] = &mut self.lengths;
        let lengths = if prefix.network.is_ipv4() { v4 } else { v6 };
        if let Err(at) = lengths.binary_search_by(|bits| prefix.bits.cmp(bits)) {
            lengths.insert(at, prefix.bits);
        }
        Ok(())
    }
}

/// The first `bits` of an address, zeros behind them.
fn cut(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    #[test]
    fn the_longest_prefix_owns() {
        let mut owners = Owners::default();
        let node = NodeId::new;
        for (number, prefix) in
            ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "2001:db8::/32"].iter().enumerate()
        {
            owners.add_prefix(Prefix::parse(prefix).unwrap(), node(number)).unwrap();
        }
        let of = |address: &str| match owners.of(address.parse().unwrap()) {
            Some(Owner::Node(node, None)) => Some(node.index()),
            _ => None,
        };
        assert_eq!(of("10.9.9.9"), Some(0));
        assert_eq!(of("10.1.9.9"), Some(1));
        assert_eq!(of("10.1.2.9"), Some(2));
        assert_eq!(of("2001:db8::9"), Some(3));
        assert_eq!(of("11.0.0.1"), None);
        assert_eq!(Prefix::parse("10.0.0.1/8"), None);
        assert_eq!(Prefix::parse("0.0.0.0/0").map(|all| all.contains([9, 9, 9, 9].into())), Some(true));
    }
}

//! Selectors that machines ask for by number, beside the ranges that are this process's own.

use std::collections::BTreeMap;

use mmn_probe::{packet::SendFailure, wire::heard::Protocol};

use crate::net::{
    filter::{MOST_SINGLE, Selectors},
    icmp::IdRange,
};

#[derive(Debug)]
pub(super) struct Wide {
    ids: IdRange,
    ports: IdRange,
    icmp: Single,
    udp: Single,
    tcp: Single,
}

/// Selectors outside a range, and how many probes hold each.
type Single = BTreeMap<u16, u32>;

impl Wide {
    pub(super) const fn new(ids: IdRange, ports: IdRange) -> Self {
        Self { ids, ports, icmp: Single::new(), udp: Single::new(), tcp: Single::new() }
    }

    /// Whether answers to a selector pass.
    pub(super) fn has(&self, protocol: Protocol, selector: u16) -> bool {
        self.range(protocol).contains(selector) || self.single(protocol).contains_key(&selector)
    }

    /// Lets answers to a selector pass; nobody holds it yet.
    pub(super) fn add(&mut self, protocol: Protocol, selector: u16) -> Result<(), SendFailure> {
        if self.icmp.len().max(self.udp.len() + self.tcp.len()) >= MOST_SINGLE {
            return Err(SendFailure::InUse);
        }
        self.single_mut(protocol).insert(selector, 0);
        Ok(())
    }

    /// One more probe holds a selector; it counts outside the range alone.
    pub(super) fn hold(&mut self, protocol: Protocol, selector: u16) {
        if let Some(count) = self.single_mut(protocol).get_mut(&selector) {
            *count += 1;
        }
    }

    /// A probe gives a selector back. Returns whether it was the last that held it.
    pub(super) fn remove(&mut self, protocol: Protocol, selector: u16) -> bool {
        let single = self.single_mut(protocol);
        let Some(count) = single.get_mut(&selector) else { return false };
        *count = count.saturating_sub(1);
        *count == 0 && single.remove(&selector).is_some()
    }

    /// Identifiers that pass.
    pub(super) fn ids(&self) -> Selectors {
        Selectors { range: Some(self.ids), single: self.icmp.keys().copied().collect() }
    }

    /// Ports that pass: of the protocol, or of both in errors.
    pub(super) fn ports(&self, protocol: Protocol) -> Selectors {
        let udp = self.udp.keys().filter(|_| protocol != Protocol::Tcp);
        let tcp = self.tcp.keys().filter(|_| protocol != Protocol::Udp);
        Selectors { range: Some(self.ports), single: udp.chain(tcp).copied().collect() }
    }

    const fn range(&self, protocol: Protocol) -> IdRange {
        match protocol {
            Protocol::Icmp => self.ids,
            Protocol::Udp | Protocol::Tcp => self.ports,
        }
    }

    const fn single(&self, protocol: Protocol) -> &Single {
        match protocol {
            Protocol::Icmp => &self.icmp,
            Protocol::Udp => &self.udp,
            Protocol::Tcp => &self.tcp,
        }
    }

    const fn single_mut(&mut self, protocol: Protocol) -> &mut Single {
        match protocol {
            Protocol::Icmp => &mut self.icmp,
            Protocol::Udp => &mut self.udp,
            Protocol::Tcp => &mut self.tcp,
        }
    }
}

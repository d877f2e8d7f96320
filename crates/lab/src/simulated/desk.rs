//! What tells the probes of a vantage point apart, and finds those that answers belong to: the contract of
//! [`mmn_probe::packet::Flow`] and of [`mmn_probe::wire::heard::Clues`].

use std::net::IpAddr;

use mmn_probe::cookie::Key;
use mmn_probe::packet::{Body, Identity, Probe, ProbeId, SendFailure, UdpTag};
use mmn_probe::wire::heard::{Clues, Protocol};
use mmn_probe::wire::probe;
use rustc_hash::FxHashMap;

/// Whose a probe is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) job: usize,
    pub(super) probe: ProbeId,
    destination: IpAddr,
    /// Whether its ports alone tell it from others of its flow.
    by_ports: bool,
}

/// The probes of a vantage point.
#[derive(Debug, Default)]
pub(super) struct Desk {
    tags: FxHashMap<(Protocol, u16, u16), Owner>,
    ports: FxHashMap<(Protocol, u16, u16, IpAddr), Owner>,
    next: FxHashMap<(Protocol, u16), u16>,
}

/// Identifiers and ports that nobody asked for lie between these.
const FIRST: usize = 33_000;
const COUNT: usize = 28_000;
/// From one machine to the next: the flows of two that ask the same target are far apart.
const STRIDE: usize = 10_007;

impl Desk {
    /// Takes a probe of a machine: says what tells it from others, and numbers it.
    pub(super) fn admit(
        &mut self,
        job: usize,
        mut probe: Probe,
        key: &Key,
    ) -> Result<(Probe, Identity), SendFailure> {
        let by_itself = FIRST + (job * STRIDE + usize::from(probe.flow.number)) % COUNT;
        let selector = probe.flow.selector.unwrap_or(u16::try_from(by_itself).unwrap_or(u16::MAX));
        let (protocol, port, by_ports) = match &probe.body {
            Body::Udp { port, tag, .. } => (Protocol::Udp, Some(*port), *tag == UdpTag::Ports),
            Body::Tcp { port, .. } => (Protocol::Tcp, Some(*port), false),
            _ => (Protocol::Icmp, None, false),
        };
        let owner = Owner { job, probe: probe.id, destination: probe.destination, by_ports };
        if let Some(port) = port {
            let place = (protocol, selector, port, probe.destination);
            if self.ports.get(&place).is_some_and(|other| other.job != job) {
                return Err(SendFailure::InUse);
            }
            self.ports.insert(place, owner);
        }
        let next = self.next.entry((protocol, selector)).or_default();
        *next = next.wrapping_add(1).max(1);
        let identity = Identity { selector, tag: *next };
        self.tags.insert((protocol, selector, identity.tag), owner);
        probe::number(&mut probe, identity, key);
        Ok((probe, identity))
    }

    /// Whose an answer from `from` with these clues is.
    pub(super) fn owner(&self, clues: &Clues, from: IpAddr, key: &Key) -> Option<Owner> {
        let Clues { protocol, selector, tag, ip_id, far_port, destination, number } = *clues;
        let is_quote = destination.is_some();
        let seen = destination.or((protocol != Protocol::Icmp).then_some(from));
        let tagged = |tag: Option<u16>| {
            let owner = self.tags.get(&(protocol, selector, tag?))?;
            seen.is_none_or(|seen| seen == owner.destination).then_some(*owner)
        };
        let by_ports = far_port
            .zip(seen)
            .and_then(|(port, seen)| self.ports.get(&(protocol, selector, port, seen)).copied());
        if let Some(owner) = by_ports.filter(|owner| owner.by_ports) {
            let told = tagged(ip_id.filter(|_| is_quote)).filter(|told| told.job == owner.job);
            return Some(told.unwrap_or(owner));
        }
        // A number of ours that is not to be found in the answer to a segment makes it somebody else's.
        let proven = |tag: u16| {
            let ours = number.zip(seen).map(|(number, seen)| {
                let identity = Identity { selector, tag };
                number.wrapping_sub(probe::tcp_number(identity, seen, key)) < 0x8000
            });
            ours.unwrap_or(true)
        };
        let told = tagged(tag).filter(|_| tag.is_some_and(proven) || by_ports.is_some());
        told.or_else(|| tagged(ip_id.filter(|_| is_quote))).or_else(|| by_ports.filter(|_| !is_quote))
    }
}

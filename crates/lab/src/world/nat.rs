//! Routers that translate addresses and ports (RFC 3022), of TCP, UDP and ICMP queries, and of what errors quote.
//!
//! A mapping belongs to an address and port inside, whoever is spoken to (RFC 4787, section 4.1). It keeps its port where
//! that is free, and is kept for ever: a lab's time is short, and there are no more than 65,535 ports.

use std::net::{IpAddr, Ipv4Addr};

use mmn_probe::wire::{PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, checksum};
use rustc_hash::FxHashMap;

use super::flow;
use super::head::{Head, replaced};
use super::pool::Slot;
use super::state::State;
use crate::plan::{Nat, Plan};
use crate::truth::{Fate, Why};

/// What a translator remembers.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    outward: FxHashMap<(u8, Ipv4Addr, u16), u16>,
    inward: FxHashMap<(u8, u16), (Ipv4Addr, u16)>,
    next: u16,
}

impl Mappings {
    /// The port outside of one inside; nothing when all are taken.
    fn out(&mut self, protocol: u8, address: Ipv4Addr, port: u16) -> Option<u16> {
        if let Some(outside) = self.outward.get(&(protocol, address, port)) {
            return Some(*outside);
        }
        let mut outside = port;
        let mut tries = 0;
        while self.inward.contains_key(&(protocol, outside)) {
            self.next = self.next.wrapping_add(1);
            outside = self.next.max(FIRST_PORT);
            tries += 1;
            if tries > u32::from(u16::MAX) {
                return None;
            }
        }
        self.outward.insert((protocol, address, port), outside);
        self.inward.insert((protocol, outside), (address, port));
        Some(outside)
    }
}

/// Ports that are not kept begin here.
const FIRST_PORT: u16 = 1_024;

impl State {
    /// Translates a packet that leaves through a translator, if it comes from inside and goes outside. Answers whether it
    /// goes on; if not, it has met its fate.
    pub(super) fn translate_out(&mut self, plan: &Plan, slot: Slot) -> bool {
        let node = self.pool.of(slot).node;
        let Some(id) = plan.nodes[node].nat else { return true };
        let nat = &plan.nats[id];
        let mappings = &mut self.nats[id];
        let bytes = &mut self.pool.of_mut(slot).bytes;
        let Some(head) = Head::read(bytes) else { return true };
        let (IpAddr::V4(source), true) = (head.source, leaves(nat, &head)) else { return true };
        let done = if head.is_icmp_error(bytes) {
            // Of what it quotes, the inside is the destination.
            translate_quote(bytes, &head, Side::Destination, |protocol, address, port| {
                let port =
                    if is_inside(nat, address) { mappings.out(protocol, address, port)? } else { port };
                Some((if is_inside(nat, address) { nat.outside } else { address }, port))
            });
            replace_address(bytes, Side::Source, nat.outside);
            Some(())
        } else {
            port_of(bytes, &head, Side::Source).and_then(|port| {
                let port = mappings.out(head.protocol, source, port)?;
                replace(bytes, &head, Side::Source, nat.outside, port)
            })
        };
        if done.is_none() {
            self.end(slot, Fate::Kept(node, Why::NotTranslated));
            return false;
        }
        self.look_again(slot);
        true
    }

    /// Translates a packet to a translator's outside address, if there is a mapping, and sends it on. Answers whether it
    /// did, or the packet has met its fate; if not it is for the translator itself.
    pub(super) fn translate_in(&mut self, plan: &Plan, slot: Slot) -> bool {
        let node = self.pool.of(slot).node;
        let Some(id) = plan.nodes[node].nat else { return false };
        let nat = &plan.nats[id];
        let mappings = &self.nats[id];
        let (ttl, now) = (self.pool.of(slot).ttl, self.pool.of(slot).due);
        let bytes = &mut self.pool.of_mut(slot).bytes;
        let Some(head) = Head::read(bytes) else { return false };
        if head.destination != IpAddr::V4(nat.outside) {
            return false;
        }
        let inward = |protocol: u8, port: u16| mappings.inward.get(&(protocol, port)).copied();
        let inside = if head.is_icmp_error(bytes) {
            let mut inside = None;
            translate_quote(bytes, &head, Side::Source, |protocol, _, port| {
                let (address, port) = inward(protocol, port)?;
                inside = Some(address);
                Some((address, port))
            });
            if let Some(address) = inside {
                replace_address(bytes, Side::Destination, address);
            }
            inside
        } else {
            port_of(bytes, &head, Side::Destination).and_then(|port| {
                let (address, port) = inward(head.protocol, port)?;
                replace(bytes, &head, Side::Destination, address, port)?;
                Some(address)
            })
        };
        let Some(inside) = inside else { return false };
        self.look_again(slot);
        let target = self.whose(plan, inside.into(), node, now);
        self.pool.of_mut(slot).target = target;
        if ttl <= 1 {
            self.expire(plan, slot);
            return true;
        }
        self.pool.of_mut(slot).ttl = ttl - 1;
        self.depart(plan, slot);
        true
    }

    /// The flow of a packet whose header was changed.
    fn look_again(&mut self, slot: Slot) {
        let packet = self.pool.of_mut(slot);
        if let Some(head) = Head::read(&packet.bytes) {
            packet.flow = flow::number(&head, &packet.bytes);
        }
    }
}

fn is_inside(nat: &Nat, address: Ipv4Addr) -> bool {
    nat.inside.iter().any(|prefix| prefix.contains(address.into()))
}

/// Whether a packet comes from inside and goes outside.
fn leaves(nat: &Nat, head: &Head) -> bool {
    let inside = |address: IpAddr| nat.inside.iter().any(|prefix| prefix.contains(address));
    inside(head.source) && !inside(head.destination) && head.destination != IpAddr::V4(nat.outside)
}

/// Which end of a packet is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// Where the port of a side stands above IP, or an ICMP query's identifier. Fragments behind the first have none.
fn port_place(bytes: &[u8], head: &Head, side: Side) -> Option<usize> {
    if head.offset != 0 {
        return None;
    }
    Some(
        head.above
            + match (head.protocol, side) {
                (PROTOCOL_UDP | PROTOCOL_TCP, Side::Source) => 0,
                (PROTOCOL_UDP | PROTOCOL_TCP, Side::Destination) => 2,
                (PROTOCOL_ICMP, _) if matches!(bytes.get(head.above)?, 0 | 8 | 13 | 14) => 4,
                _ => return None,
            },
    )
}

fn port_of(bytes: &[u8], head: &Head, side: Side) -> Option<u16> {
    word(bytes, port_place(bytes, head, side)?)
}

/// Gives one side of a packet another address and port, and mends its checksums.
fn replace(bytes: &mut [u8], head: &Head, side: Side, address: Ipv4Addr, port: u16) -> Option<()> {
    let place = port_place(bytes, head, side)?;
    let was = word(bytes, place)?;
    let sum_place = head.above
        + match head.protocol {
            PROTOCOL_UDP => 6,
            PROTOCOL_TCP => 16,
            _ => 2,
        };
    let old = replace_address(bytes, side, address)?;
    put(bytes, place, port)?;
    // What an error quotes may end before the checksum.
    let Some(mut sum) = word(bytes, sum_place) else { return Some(()) };
    if head.protocol == PROTOCOL_UDP && sum == 0 {
        return Some(());
    }
    sum = replaced(sum, was, port);
    if head.protocol != PROTOCOL_ICMP {
        for (was, is) in halves(old).into_iter().zip(halves(address)) {
            sum = replaced(sum, was, is);
        }
        if head.protocol == PROTOCOL_UDP && sum == 0 {
            sum = 0xffff;
        }
    }
    put(bytes, sum_place, sum)
}

/// Gives one side of a header another address, and mends its checksum. Answers with the old one.
fn replace_address(bytes: &mut [u8], side: Side, address: Ipv4Addr) -> Option<Ipv4Addr> {
    let place = if side == Side::Source { 12 } else { 16 };
    let field = bytes.get_mut(place..place + 4)?;
    let old = Ipv4Addr::from(<[u8; 4]>::try_from(&*field).ok()?);
    field.copy_from_slice(&address.octets());
    let mut sum = word(bytes, 10)?;
    for (was, is) in halves(old).into_iter().zip(halves(address)) {
        sum = replaced(sum, was, is);
    }
    put(bytes, 10, sum)?;
    Some(old)
}

/// Translates the packet that an error quotes, and mends the error's checksum.
fn translate_quote(
    bytes: &mut [u8],
    head: &Head,
    side: Side,
    mut map: impl FnMut(u8, Ipv4Addr, u16) -> Option<(Ipv4Addr, u16)>,
) {
    let start = head.above + 8;
    let Some(quoted) = bytes.get_mut(start..head.total) else { return };
    let Some(inner) = quoted_head(quoted) else { return };
    let address = if side == Side::Source { inner.source } else { inner.destination };
    let (IpAddr::V4(address), Some(port)) = (address, port_of(quoted, &inner, side)) else { return };
    let Some((address, port)) = map(inner.protocol, address, port) else { return };
    let _ = replace(quoted, &inner, side, address, port);
    let _ = put(bytes, head.above + 2, 0);
    let sum = checksum::of(bytes.get(head.above..head.total).unwrap_or_default());
    let _ = put(bytes, head.above + 2, sum);
}

/// The header of a packet of which only the beginning is there.
fn quoted_head(quoted: &[u8]) -> Option<Head> {
    let mut header = [0; 60];
    let length = usize::from(quoted.first()? & 0x0f) * 4;
    let own = header.get_mut(..length)?;
    own.copy_from_slice(quoted.get(..length)?);
    // Only what is there counts.
    own.get_mut(2..4)?.copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
    own.get_mut(10..12)?.fill(0);
    let sum = checksum::of(own).to_be_bytes();
    own.get_mut(10..12)?.copy_from_slice(&sum);
    Head::read(own)
}

fn halves(address: Ipv4Addr) -> [u16; 2] {
    let [a, b, c, d] = address.octets();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).and_then(|word| word.try_into().ok()).map(u16::from_be_bytes)
}

fn put(bytes: &mut [u8], at: usize, word: u16) -> Option<()> {
    bytes.get_mut(at..at + 2)?.copy_from_slice(&word.to_be_bytes());
    Some(())
}

//! What routers add to ICMP errors: the extension structure (RFC 4884), MPLS label stacks (RFC 4950) and interface
//! information (RFC 5837).
//!
//! [`split`] takes a message's body apart into the quote and the objects; [`objects`] reads these, and [`Known`] what
//! is in those whose class is known here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{array, checksum, long, octet, word};

/// An object of an extension structure (RFC 4884, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<'a> {
    /// Its class (IANA, *ICMP Extension Object Classes and Class Sub-types*).
    pub class: u8,
    /// Its sub-type within the class.
    pub c_type: u8,
    /// What it holds.
    pub data: &'a [u8],
}

/// What an object says, where its class is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Known<'a> {
    /// The label stack with which the probe came to the router, top first.
    Mpls(Labels<'a>),
    /// An interface.
    Interface(Interface<'a>),
}

impl<'a> Object<'a> {
    /// What it says; nothing when its class is unknown, or it is malformed.
    pub fn known(&self) -> Option<Known<'a>> {
        match (self.class, self.c_type) {
            (MPLS, 1) if self.data.len().is_multiple_of(4) => Some(Known::Mpls(Labels { rest: self.data })),
            (INTERFACE, _) => interface(self.c_type, self.data).map(Known::Interface),
            _ => None,
        }
    }
}

/// A label stack entry (RFC 3032, section 2.1; RFC 5462 names the traffic class).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The label, 20 bits.
    pub label: u32,
    /// Traffic class, 3 bits; once *experimental*.
    pub traffic_class: u8,
    /// Whether it is the last of the stack.
    pub bottom: bool,
    /// Its time to live.
    pub ttl: u8,
}

/// The entries of a label stack (RFC 4950, section 5), top first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl Iterator for Labels<'_> {
    type Item = Label;

    fn next(&mut self) -> Option<Label> {
        let (entry, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        let [_, _, third, ttl] = *entry;
        Some(Label {
            label: u32::from_be_bytes(*entry) >> 12,
            traffic_class: third >> 1 & 7,
            bottom: third & 1 == 1,
            ttl,
        })
    }
}

/// What a router says of one of its interfaces (RFC 5837, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface<'a> {
    /// What the interface was to the probe.
    pub role: Role,
    /// Its `ifIndex` (RFC 2863).
    pub index: Option<u32>,
    /// Its address; of [`Role::NextHop`] that of the next hop.
    pub address: Option<IpAddr>,
    /// Its name or the start of it, as the router wrote it, without padding.
    pub name: Option<&'a [u8]>,
    /// Its MTU, in octets.
    pub mtu: Option<u32>,
}

/// What an interface was to a probe (RFC 5837, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The IP interface on which it came.
    Incoming,
    /// The part below IP (a link of a bundle) on which it came.
    IncomingSubIp,
    /// The IP interface by which it would have left.
    Outgoing,
    /// The next hop to which it would have gone.
    NextHop,
}

/// Takes apart what follows the 8 octets of an error's header: what it quotes, and the objects beside it.
///
/// `length` is what the header says of the quote's length, in octets; 0 where it says nothing. Then routers from before
/// RFC 4884 may still have put a structure after 128 octets (its section 5): it is believed when its checksum is there
/// and right. The objects are empty where there are none, or their checksum is wrong.
pub fn split(body: &[u8], length: usize) -> (&[u8], &[u8]) {
    if length == 0 {
        return match body.split_at_checked(UNSAID_BYTES) {
            Some((quote, structure)) if word(structure, 2).is_ok_and(|sum| sum != 0) => {
                structure_objects(structure).map_or((body, &[]), |objects| (quote, objects))
            }
            _ => (body, &[]),
        };
    }
    match body.split_at_checked(length) {
        Some((quote, structure)) => (quote, structure_objects(structure).unwrap_or_default()),
        None => (body, &[]),
    }
}

/// Reads objects as they stand one after the other, up to their end or to one that goes beyond it.
pub const fn objects(bytes: &[u8]) -> Objects<'_> {
    Objects { rest: bytes }
}

/// The objects of a structure; see [`objects`].
#[derive(Clone, Debug)]
pub struct Objects<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Objects<'a> {
    type Item = Object<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.rest);
        let length = usize::from(word(bytes, 0).ok()?);
        let data = bytes.get(OBJECT_HEADER_BYTES..length)?;
        self.rest = bytes.get(length..)?;
        Some(Object { class: octet(bytes, 2).ok()?, c_type: octet(bytes, 3).ok()?, data })
    }
}

/// The objects of a structure of version 2 whose checksum is right, or absent (0).
fn structure_objects(structure: &[u8]) -> Option<&[u8]> {
    let version = octet(structure, 0).ok()? >> 4;
    let sum = word(structure, 2).ok()?;
    let right = sum == 0 || checksum::of(structure) == 0;
    (version == VERSION && right).then(|| structure.get(STRUCTURE_HEADER_BYTES..))?
}

/// RFC 5837, section 4.1: the parts stand in this order, each where its bit of the sub-type is set. Its reserved bits,
/// and what follows the parts, are ignored.
fn interface(c_type: u8, data: &[u8]) -> Option<Interface<'_>> {
    let role = match c_type >> 6 {
        0 => Role::Incoming,
        1 => Role::IncomingSubIp,
        2 => Role::Outgoing,
        _ => Role::NextHop,
    };
    let mut interface = Interface { role, index: None, address: None, name: None, mtu: None };
    let mut rest = data;
    if c_type & 0x08 != 0 {
        interface.index = Some(long(rest, 0).ok()?);
        rest = rest.get(4..)?;
    }
    if c_type & 0x04 != 0 {
        // Section 4.2: address family (IANA: 1 IPv4, 2 IPv6), two reserved octets, the address.
        let (address, length): (IpAddr, _) = match word(rest, 0).ok()? {
            1 => (Ipv4Addr::from(array::<4>(rest, 4).ok()?).into(), 8),
            2 => (Ipv6Addr::from(array::<16>(rest, 4).ok()?).into(), 20),
            _ => return None,
        };
        interface.address = Some(address);
        rest = rest.get(length..)?;
    }
    if c_type & 0x02 != 0 {
        // A length that counts itself, at most 64, and the name, padded with zeros to a multiple of four octets. Who pads
        // nothing is understood, too.
        let length = usize::from(octet(rest, 0).ok()?);
        if length > NAME_BYTES {
            return None;
        }
        let name = rest.get(1..length)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        interface.name = name.get(..end);
        rest = rest.get(length..)?;
    }
    if c_type & 0x01 != 0 {
        interface.mtu = Some(long(rest, 0).ok()?);
    }
    Some(interface)
}

/// The most octets of a name's part, with its length (RFC 5837, section 4.3).
const NAME_BYTES: usize = 64;
/// The version of the structure (RFC 4884, section 7).
const VERSION: u8 = 2;
const STRUCTURE_HEADER_BYTES: usize = 4;
const OBJECT_HEADER_BYTES: usize = 4;
/// How much is quoted before a structure by those who don't say (RFC 4884, section 5).
const UNSAID_BYTES: usize = 128;
// IANA, *ICMP Extension Object Classes and Class Sub-types*.
const MPLS: u8 = 1;
const INTERFACE: u8 = 2;

#[cfg(test)]
mod tests;

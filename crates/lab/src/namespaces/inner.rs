//! The inner addresses of services: by which the kernel that plays the servers of all hosts tells them apart.
//!
//! A host answers for many addresses (prefixes), and an address may be that of many hosts (anycast). So each address of
//! each host gets an inner one in the servers' network when it is first asked. What comes out of the world for a host has
//! its destination replaced by that; what the servers send has its source replaced by the address that was asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use mmn_probe::wire::PROTOCOL_TCP;
use mmn_probe::wire::checksum::Sum;
use rustc_hash::FxHashMap;

use crate::ids::HostId;

/// The prefixes that hold all inner addresses, with their lengths.
pub(crate) const PREFIXES: [(IpAddr, u8); 2] = [
    // Carriers' own (RFC 6598).
    (IpAddr::V4(FIRST_V4), 10),
    // Unique local (RFC 4193).
    (IpAddr::V6(FIRST_V6), 64),
];
const FIRST_V4: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
const FIRST_V6: Ipv6Addr = Ipv6Addr::new(0xfd6c, 0x6162, 0, 0, 0, 0, 0, 0);

/// The most inner addresses; of what is asked beyond, nothing reaches the servers.
const MOST: usize = 1 << 17;

/// All inner addresses.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    numbers: FxHashMap<(HostId, IpAddr), u32>,
    all: Vec<(HostId, IpAddr)>,
}

impl Inner {
    /// The host with an inner address.
    pub(crate) fn host_of(&self, inner: IpAddr) -> Option<HostId> {
        self.of(inner).map(|(host, _)| host)
    }

    /// Makes of a packet for a host what the servers are given. Nothing, and nothing is done, where it is no TCP.
    pub(super) fn inward(&self, host: HostId, packet: &mut [u8]) -> Option<()> {
        let place = Place::of(packet)?;
        let inner = self.inner(host, place.address(packet, Side::Destination)?)?;
        place.replace(packet, Side::Destination, inner)
    }

    /// A packet of the servers, as it enters the world, and the host that sends it.
    pub(super) fn outward(&self, packet: &[u8]) -> Option<(HostId, Vec<u8>)> {
        let place = Place::of(packet)?;
        let (host, asked) = self.of(place.address(packet, Side::Source)?)?;
        let mut bytes = packet.to_vec();
        place.replace(&mut bytes, Side::Source, asked)?;
        Some((host, bytes))
    }

    /// The inner address of an address of a host.
    fn inner(&self, host: HostId, asked: IpAddr) -> Option<IpAddr> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let number = match known.numbers.get(&(host, asked)) {
            Some(number) => *number,
            None if known.all.len() >= MOST => return None,
            None => {
                let number = u32::try_from(known.all.len()).ok()?;
                known.all.push((host, asked));
                known.numbers.insert((host, asked), number);
                number
            }
        };
        Some(match asked {
            IpAddr::V4(_) => Ipv4Addr::from(u32::from(FIRST_V4) + number).into(),
            IpAddr::V6(_) => Ipv6Addr::from(u128::from(FIRST_V6) + u128::from(number)).into(),
        })
    }

    fn of(&self, inner: IpAddr) -> Option<(HostId, IpAddr)> {
        let number = match inner {
            IpAddr::V4(inner) => usize::try_from(u32::from(inner).checked_sub(u32::from(FIRST_V4))?).ok()?,
            IpAddr::V6(inner) => {
                usize::try_from(u128::from(inner).checked_sub(u128::from(FIRST_V6))?).ok()?
            }
        };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.all.get(number).copied().filter(|(_, asked)| asked.is_ipv4() == inner.is_ipv4())
    }
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// Where things lie in a TCP packet (RFC 791, section 3.1; RFC 8200, section 3; RFC 9293, section 3.1).
#[derive(Clone, Copy)]
struct Place {
    v6: bool,
    /// Where TCP begins.
    above: usize,
}

impl Place {
    fn of(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let place = match first >> 4 {
            4 if bytes.get(9) == Some(&PROTOCOL_TCP) => {
                Self { v6: false, above: usize::from(first & 15) * 4 }
            }
            6 if bytes.get(6) == Some(&PROTOCOL_TCP) => Self { v6: true, above: 40 },
            _ => return None,
        };
        (bytes.len() >= place.above + 20).then_some(place)
    }

    const fn at(self, side: Side) -> (usize, usize) {
        match (self.v6, side) {
            (false, Side::Source) => (12, 4),
            (false, Side::Destination) => (16, 4),
            (true, Side::Source) => (8, 16),
            (true, Side::Destination) => (24, 16),
        }
    }

    fn address(self, bytes: &[u8], side: Side) -> Option<IpAddr> {
        let rest = bytes.get(self.at(side).0..)?;
        if self.v6 {
            rest.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into())
        } else {
            rest.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into())
        }
    }

    /// Puts another address there, and mends the checksums by the difference (RFC 1624).
    fn replace(self, bytes: &mut [u8], side: Side, address: IpAddr) -> Option<()> {
        let (at, length) = self.at(side);
        let new: Vec<u8> = match address {
            IpAddr::V4(address) => address.octets().into(),
            IpAddr::V6(address) => address.octets().into(),
        };
        let old: Vec<u8> = bytes.get(at..at + length)?.iter().map(|octet| !octet).collect();
        if new.len() != length {
            return None;
        }
        let sums = if self.v6 { [None, Some(self.above + 16)] } else { [Some(10), Some(self.above + 16)] };
        for sum in sums.into_iter().flatten() {
            let place = bytes.get_mut(sum..)?.first_chunk_mut::<2>()?;
            let before = !u16::from_be_bytes(*place);
            *place = Sum::default().plus_word(before).plus(&old).plus(&new).finish().to_be_bytes();
        }
        bytes.get_mut(at..at + length)?.copy_from_slice(&new);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use mmn_probe::wire::{checksum, ipv4, tcp};
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Id as _;

    fn segment(source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut above = vec![0; 20];
        above[0..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        above[12] = 5 << 4;
        above.extend_from_slice(payload);
        let (from, to) = (IpAddr::from(source), IpAddr::from(destination));
        let sum = Sum::default().plus_pseudo_header(from, to, above.len(), PROTOCOL_TCP).unwrap();
        let sum = sum.plus(&above).finish().to_be_bytes();
        above[16..18].copy_from_slice(&sum);
        let header = ipv4::Header {
            tos: 0,
            total_bytes: u16::try_from(20 + above.len()).unwrap(),
            id: 7,
            dont_fragment: true,
            fragment_offset: 0,
            ttl: 60,
            protocol: PROTOCOL_TCP,
            source: source.into(),
            destination: destination.into(),
        };
        [ipv4::encode(&header).to_vec(), above].concat()
    }

    fn is_sound(packet: &[u8]) -> bool {
        let read = ipv4::decode(packet).unwrap();
        let (source, destination) = (read.header.source.into(), read.header.destination.into());
        checksum::of(&packet[..20]) == 0 && tcp::checksum_ok(source, destination, read.payload)
    }

    #[test]
    fn a_conversation_goes_there_and_back() {
        let inner = Inner::default();
        let (host, other) = (HostId::new(300), HostId::new(301));
        let packet = segment([198, 18, 0, 1], [198, 18, 16, 9], b"hello");
        assert!(is_sound(&packet));
        // The same address of another host is another inner one, and each is the same again.
        let [first, second, again] = [host, other, host].map(|host| {
            let mut packet = packet.clone();
            inner.inward(host, &mut packet).unwrap();
            packet
        });
        assert_eq!(first, again);
        assert_eq!((&first[16..20], &second[16..20]), (&[100, 64, 0, 0][..], &[100, 64, 0, 1][..]));
        assert!(is_sound(&first) && is_sound(&second));
        assert_eq!(inner.host_of("100.64.0.1".parse().unwrap()), Some(other));
        let answer = segment([100, 64, 0, 0], [198, 18, 0, 1], b"world");
        let (from, outward) = inner.outward(&answer).unwrap();
        assert_eq!((from, &outward[12..16]), (host, &[198, 18, 16, 9][..]));
        assert!(is_sound(&outward));
        for stranger in ["100.64.0.2", "198.18.0.1", "fd6c:6162::", "::"] {
            assert_eq!(inner.host_of(stranger.parse().unwrap()), None);
        }
    }

    proptest! {
        #[test]
        fn garbage_is_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let inner = Inner::default();
            let _ = inner.outward(&bytes);
            let _ = inner.inward(HostId::new(1), &mut bytes);
        }
    }
}

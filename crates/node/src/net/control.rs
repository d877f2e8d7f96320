//! Control messages (`cmsg(3)`) as bytes: what the kernel says beside a packet, and what we say beside one.
//!
//! Reading is plain slicing over what `recvmsg` wrote, without pointers, and survives any bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mmn_probe::time::Utc;

/// What the kernel told beside a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// The software stamp, in civil time.
    pub(super) stamp: Option<Utc>,
    /// TTL or hop limit.
    pub(super) ttl: Option<u8>,
    /// Type of service or traffic class.
    pub(super) tos: Option<u8>,
    /// How many packets the socket has dropped because its buffer was full, since it was opened.
    pub(super) dropped: Option<u32>,
    /// The entry of an error queue.
    pub(super) error: Option<Extended>,
}

/// A `sock_extended_err` (`linux/errqueue.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extended {
    /// The error that it stands for.
    pub(super) errno: i32,
    /// Where it comes from: `SO_EE_ORIGIN_*`.
    pub(super) origin: u8,
    /// The ICMP type.
    pub(super) icmp_type: u8,
    /// The ICMP code.
    pub(super) code: u8,
    /// The MTU, where the error tells one.
    pub(super) info: u32,
    /// The number of the packet that a transmit stamp belongs to.
    pub(super) data: u32,
    /// Who reported it.
    pub(super) offender: Option<IpAddr>,
}

// `SO_EE_ORIGIN_*` (`linux/errqueue.h`).
pub(super) const ORIGIN_ICMP: u8 = 2;
pub(super) const ORIGIN_ICMP6: u8 = 3;
pub(super) const ORIGIN_TIMESTAMPING: u8 = 4;

/// Reads control messages.
pub(super) fn decode(mut bytes: &[u8]) -> Beside {
    let mut beside = Beside::default();
    while let Some((level, kind, data, rest)) = next(bytes) {
        bytes = rest;
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => beside.stamp = stamp(data),
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => beside.dropped = array(data, 0).map(u32::from_ne_bytes),
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                beside.ttl = array(data, 0).map(i32::from_ne_bytes).and_then(|ttl| u8::try_from(ttl).ok());
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => beside.tos = data.first().copied(),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                beside.tos = array(data, 0).map(i32::from_ne_bytes).and_then(|tos| u8::try_from(tos).ok());
            }
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                beside.error = extended(data);
            }
            _ => {}
        }
    }
    beside
}

/// Control messages for one packet that leaves; the system's own choice for what is absent.
pub(super) fn encode(v6: bool, header: &Header<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let level = if v6 { libc::IPPROTO_IPV6 } else { libc::IPPROTO_IP };
    let [ttl, tos] = if v6 { [libc::IPV6_HOPLIMIT, libc::IPV6_TCLASS] } else { [libc::IP_TTL, libc::IP_TOS] };
    if let Some(value) = header.ttl {
        append(&mut bytes, level, ttl, &i32::from(value).to_ne_bytes());
    }
    if let Some(value) = header.tos {
        append(&mut bytes, level, tos, &i32::from(value).to_ne_bytes());
    }
    match header.source {
        // `struct in_pktinfo`: interface, the address to send from, and one that only counts on reception.
        Some(IpAddr::V4(address)) => {
            let fields = [[0; 4], address.octets(), [0; 4]];
            append(&mut bytes, level, libc::IP_PKTINFO, fields.as_flattened());
        }
        // `struct in6_pktinfo`: address and interface.
        Some(IpAddr::V6(address)) => {
            let fields: Vec<u8> = address.octets().into_iter().chain([0; 4]).collect();
            append(&mut bytes, level, libc::IPV6_PKTINFO, &fields);
        }
        None => {}
    }
    if !header.options.is_empty() {
        append(&mut bytes, level, libc::IP_RETOPTS, header.options);
    }
    bytes
}

/// What can be said of the IP header of a packet that leaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Header<'a> {
    /// TTL or hop limit.
    pub(super) ttl: Option<u8>,
    /// Type of service or traffic class.
    pub(super) tos: Option<u8>,
    /// An address of this host.
    pub(super) source: Option<IpAddr>,
    /// IPv4 options; this takes a privilege, or sockets that were opened with it.
    pub(super) options: &'a [u8],
}

fn append(bytes: &mut Vec<u8>, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
    bytes.extend((HEADER_BYTES + data.len()).to_ne_bytes());
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
}

/// `struct cmsghdr`: a length of the machine's word, level and type.
const HEADER_BYTES: usize = size_of::<usize>() + 8;

fn next(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let length = array(bytes, 0).map(usize::from_ne_bytes)?;
    let level = array(bytes, size_of::<usize>()).map(i32::from_ne_bytes)?;
    let kind = array(bytes, size_of::<usize>() + 4).map(i32::from_ne_bytes)?;
    let data = bytes.get(HEADER_BYTES..length)?;
    let rest = length.checked_next_multiple_of(size_of::<usize>()).and_then(|end| bytes.get(end..));
    Some((level, kind, data, rest.unwrap_or_default()))
}

/// The first of three `timespec`s is the software stamp; zero where there is none.
fn stamp(data: &[u8]) -> Option<Utc> {
    let seconds = array(data, 0).map(i64::from_ne_bytes)?;
    let nanos = array(data, 8).map(i64::from_ne_bytes)?;
    let stamp = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    (stamp != 0).then_some(Utc(stamp))
}

fn extended(data: &[u8]) -> Option<Extended> {
    Some(Extended {
        errno: array(data, 0).map(i32::from_ne_bytes)?,
        origin: *data.get(4)?,
        icmp_type: *data.get(5)?,
        code: *data.get(6)?,
        info: array(data, 8).map(u32::from_ne_bytes)?,
        data: array(data, 12).map(u32::from_ne_bytes)?,
        offender: data.get(16..).and_then(address),
    })
}

/// A `sockaddr_in` or `sockaddr_in6`; any other family is no address.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let family = array(bytes, 0).map(u16::from_ne_bytes)?;
    match libc::c_int::from(family) {
        libc::AF_INET => array::<4>(bytes, 4).map(|octets| Ipv4Addr::from(octets).into()),
        libc::AF_INET6 => array::<16>(bytes, 8).map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let header = |ttl| Header { ttl: Some(ttl), tos: Some(0x2e), ..Header::default() };
        for v6 in [false, true] {
            let read = decode(&encode(v6, &header(255)));
            assert_eq!(read.ttl, Some(255));
            // An IPv4 type of service is written as an int and read as an octet: the same where the low octet is first.
            assert_eq!(read.tos, Some(0x2e));
        }
        let both = [encode(false, &header(7)), encode(true, &header(8))].concat();
        assert_eq!(decode(&both).ttl, Some(8));
        let address =
            |text: &str| Header { source: text.parse().ok(), options: &[1; 4], ..Header::default() };
        assert_eq!(encode(false, &address("10.0.0.1")).len(), 32 + 24);
        assert_eq!(decode(&encode(false, &address("10.0.0.1"))), Beside::default());
    }

    proptest! {
        #[test]
        fn survives_anything(mut bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0_usize..100, at in 0_usize..5) {
            if let Some(start) = bytes.first_chunk_mut() {
                *start = length.to_ne_bytes();
            }
            let wanted = [(libc::SOL_SOCKET, libc::SCM_TIMESTAMPING), (libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
                (libc::IPPROTO_IP, libc::IP_TTL), (libc::IPPROTO_IP, libc::IP_RECVERR),
                (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)][at];
            if bytes.len() >= 16 {
                bytes[8..12].copy_from_slice(&wanted.0.to_ne_bytes());
                bytes[12..16].copy_from_slice(&wanted.1.to_ne_bytes());
            }
            let _ = decode(&bytes);
        }
    }
}

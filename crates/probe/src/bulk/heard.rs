//! What the receive ring gives, read: echo replies and errors about echo requests, from the IP header on.
//!
//! The ring cuts packets short, so that their checksums can't be told; a cookie is the better proof. What is neither a
//! reply nor such an error is nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::{
    PROTOCOL_ICMP, PROTOCOL_ICMPV6,
    icmp::{self, Family, IcmpErrorKind},
    ipv4,
};

/// A packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard<'a> {
    /// Who sent it.
    pub from: IpAddr,
    /// The TTL or hop limit with which it arrived.
    pub ttl: u8,
    /// Its octet of DSCP and ECN.
    pub tos: u8,
    /// The identification of its IPv4 header.
    pub ip_id: Option<u16>,
    /// The length of the ICMP message as its IP header has it, in octets.
    pub bytes: u32,
    /// The identifier of the request.
    pub id: u16,
    /// Its sequence number.
    pub seq: u16,
    /// What follows the request's ICMP header, as far as it is there.
    pub payload: &'a [u8],
    /// What it says, where it is an error.
    pub error: Option<Said>,
}

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// In words.
    pub kind: IcmpErrorKind,
    /// Its ICMP type.
    pub icmp_type: u8,
    /// Its ICMP code.
    pub code: u8,
    /// Where the request was going.
    pub destination: IpAddr,
}

/// Reads a packet from its IP header on; `bytes` may be cut short.
pub fn hear(family: Family, bytes: &[u8]) -> Option<Heard<'_>> {
    let (frame, message, protocol) = match family {
        Family::V4 => frame_v4(bytes)?,
        Family::V6 => frame_v6(bytes)?,
    };
    let reply = match family {
        Family::V4 => 0,
        Family::V6 => 129,
    };
    let header: &[u8; icmp::HEADER_BYTES] = message.first_chunk()?;
    let &[icmp_type, code, _, _, a, b, c, d] = header;
    if (family, protocol) != (Family::V4, PROTOCOL_ICMP)
        && (family, protocol) != (Family::V6, PROTOCOL_ICMPV6)
    {
        return None;
    }
    let payload = message.get(icmp::HEADER_BYTES..)?;
    if icmp_type == reply && code == 0 {
        let (id, seq) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        return Some(Heard { id, seq, payload, ..frame });
    }
    let kind = IcmpErrorKind::from_wire(family, icmp_type, code, u32::from_be_bytes([a, b, c, d]))?;
    let quote = icmp::quote(family, payload).ok()?;
    let echo = quote.echo_request()?;
    let error = Some(Said { kind, icmp_type, code, destination: quote.destination });
    Some(Heard { id: echo.id, seq: echo.seq, payload: echo.payload, error, ..frame })
}

type Framed<'a> = (Heard<'a>, &'a [u8], u8);

fn frame_v4(bytes: &[u8]) -> Option<Framed<'_>> {
    let header: &[u8; ipv4::HEADER_BYTES] = bytes.first_chunk()?;
    let &[
        first,
        tos,
        total_high,
        total_low,
        id_high,
        id_low,
        flags,
        offset,
        ttl,
        protocol,
        _,
        _,
        a,
        b,
        c,
        d,
        ..,
    ] = header;
    // A fragment that is not the first has no ICMP header.
    if first >> 4 != 4 || flags & 0x1f != 0 || offset != 0 {
        return None;
    }
    let header_bytes = usize::from(first & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([total_high, total_low]));
    if header_bytes < ipv4::HEADER_BYTES || total < header_bytes {
        return None;
    }
    let message = bytes.get(header_bytes..bytes.len().min(total))?;
    let heard = Heard {
        from: Ipv4Addr::new(a, b, c, d).into(),
        ttl,
        tos,
        ip_id: Some(u16::from_be_bytes([id_high, id_low])),
        bytes: u32::try_from(total - header_bytes).ok()?,
        ..NOTHING
    };
    Some((heard, message, protocol))
}

/// Extension headers are not walked: neither hosts nor routers put any before such messages.
fn frame_v6(bytes: &[u8]) -> Option<Framed<'_>> {
    let (header, rest) = bytes.split_at_checked(crate::wire::ipv6::HEADER_BYTES)?;
    let &[first, second, _, _, length_high, length_low, protocol, ttl] = header.first_chunk()?;
    if first >> 4 != 6 {
        return None;
    }
    let source: [u8; 16] = *header.get(8..24)?.first_chunk()?;
    let length = u16::from_be_bytes([length_high, length_low]);
    let message = rest.get(..rest.len().min(usize::from(length)))?;
    let heard = Heard {
        from: Ipv6Addr::from(source).into(),
        ttl,
        tos: first << 4 | second >> 4,
        bytes: u32::from(length),
        ..NOTHING
    };
    Some((heard, message, protocol))
}

const NOTHING: Heard<'static> = Heard {
    from: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    ttl: 0,
    tos: 0,
    ip_id: None,
    bytes: 0,
    id: 0,
    seq: 0,
    payload: &[],
    error: None,
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::golden;

    #[test]
    fn reads_what_linux_wrote() {
        let bytes = golden::hex(golden::ECHO_REPLY_V4);
        let heard = hear(Family::V4, &bytes).unwrap();
        assert_eq!((heard.id, heard.seq, heard.payload.len(), heard.bytes), (0x1cbc, 1, 24, 32));
        assert_eq!((heard.ttl, heard.ip_id, heard.error), (64, Some(0x8283), None));
        let bytes = golden::hex(golden::ECHO_REPLY_V6);
        let heard = hear(Family::V6, &bytes).unwrap();
        assert_eq!((heard.id, heard.seq, heard.bytes, heard.ttl), (0x1cbd, 1, 32, 64));
        assert_eq!(heard.from, IpAddr::from(Ipv6Addr::LOCALHOST));
    }

    #[test]
    fn reads_errors_of_linux() {
        for (family, line, id, from, to, icmp_type) in [
            (Family::V4, golden::TTL_EXCEEDED_V4, 0x1cbe, "10.77.0.2", "198.51.100.9", 11),
            (Family::V4, golden::UNREACHABLE_V4, 0x1cbf, "10.77.0.2", "192.0.2.7", 3),
            (Family::V6, golden::TTL_EXCEEDED_V6, 0x1cc0, "2001:db8:77::2", "2001:db8:5::9", 3),
            (Family::V6, golden::UNREACHABLE_V6, 0x1cc1, "2001:db8:77::2", "2001:db8:2::7", 1),
        ] {
            let bytes = golden::hex(line);
            let heard = hear(family, &bytes).unwrap();
            let said = heard.error.unwrap();
            assert_eq!((heard.id, heard.seq, heard.payload.len()), (id, 1, 24));
            assert_eq!(heard.from, from.parse::<IpAddr>().unwrap());
            assert_eq!((said.destination, said.icmp_type), (to.parse().unwrap(), icmp_type));
        }
    }

    #[test]
    fn what_is_no_answer_is_nothing() {
        for (family, line) in [(Family::V4, golden::ECHO_REQUEST_V4), (Family::V6, golden::ECHO_REQUEST_V6)] {
            assert_eq!(hear(family, &golden::hex(line)), None);
        }
        let mut bytes = golden::hex(golden::ECHO_REPLY_V4);
        bytes[7] = 1;
        assert_eq!(hear(Family::V4, &bytes), None, "a later fragment");
    }

    proptest! {
        #[test]
        fn survives_anything(v6: bool, mut bytes in prop::collection::vec(any::<u8>(), 0..200), likely: bool) {
            if let Some(first) = bytes.first_mut().filter(|_| likely) {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            let family = if v6 { Family::V6 } else { Family::V4 };
            let _ = hear(family, &bytes);
        }

        #[test]
        fn survives_damage(which in 0_usize..6, at in 0_usize..200, value: u8, cut in 0_usize..200) {
            let (family, line) = [
                (Family::V4, golden::ECHO_REPLY_V4), (Family::V6, golden::ECHO_REPLY_V6),
                (Family::V4, golden::TTL_EXCEEDED_V4), (Family::V4, golden::UNREACHABLE_V4),
                (Family::V6, golden::TTL_EXCEEDED_V6), (Family::V6, golden::UNREACHABLE_V6),
            ][which];
            let mut bytes = golden::hex(line);
            let length = bytes.len();
            bytes[at % length] = value;
            bytes.truncate(cut);
            let _ = hear(family, &bytes);
        }
    }
}

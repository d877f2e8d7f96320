//! From a [`Probe`] to the bytes of its packet.
//!
//! [`encode`] writes the whole IP packet, for sockets that leave the header to us; [`encode_transport`] what follows the
//! IP header. Both append to a buffer and allocate nothing else, and sum up the payload once.
//!
//! What tells a probe from others ([`Identity`]) stands where routers quote it and the path does not depend on it: ICMP
//! identifier and sequence number; the UDP checksum; the upper halves of TCP's sequence and acknowledgement number; and
//! in IPv4 the identification. To give a checksum a value that was asked for, the last whole 16-bit word of the
//! payload is changed.

use std::net::IpAddr;

use super::{
    PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, checksum::Sum, icmp, ipv4, ipv6, tcp, udp,
};
use crate::cookie::Key;
use crate::packet::{Body, Departure, Flow, Identity, Probe, SendFailure, Ttl, UdpTag, tcp_flags};
use crate::time::Utc;

/// Appends the whole IP packet of a probe that leaves from `source` at the moment `utc`, which a timestamp request
/// tells. After a failure nothing is appended.
pub fn encode(
    probe: &Probe,
    identity: Identity,
    source: IpAddr,
    utc: Utc,
    out: &mut Vec<u8>,
) -> Result<Departure, SendFailure> {
    let transport_bytes = check(probe, source)?;
    let protocol = protocol(probe);
    let start = out.len();
    match (source, probe.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = ipv4::HEADER_BYTES + probe.ip_options.len() + transport_bytes;
            out.reserve(total);
            let header = ipv4::Header {
                tos: probe.tos,
                total_bytes: total.try_into().map_err(|_| SendFailure::Senseless)?,
                id: identity.tag,
                dont_fragment: probe.dont_fragment,
                fragment_offset: probe.fragment_offset,
                ttl: probe.ttl.unwrap_or(DEFAULT_TTL).0,
                protocol,
                source,
                destination,
            };
            if !ipv4::append(&header, &probe.ip_options, out) {
                return Err(SendFailure::Senseless);
            }
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            out.reserve(ipv6::HEADER_BYTES + transport_bytes);
            out.extend_from_slice(&ipv6::encode(&ipv6::Header {
                traffic_class: probe.tos,
                flow_label: flow_label(probe.flow, identity.selector),
                payload_bytes: transport_bytes.try_into().map_err(|_| SendFailure::Senseless)?,
                next_header: protocol,
                hop_limit: probe.ttl.unwrap_or(DEFAULT_TTL).0,
                source,
                destination,
            }));
        }
        _ => return Err(SendFailure::Senseless),
    }
    transport(probe, identity, source, transport_bytes, utc, out);
    Ok(departure(identity, source, source.is_ipv4().then_some(identity.tag), out.len() - start))
}

/// Appends what follows the IP header of a probe, for sockets that write that header themselves. The probe's header
/// fields (TTL, type of service, options, fragmentation) are the caller's to set on the socket. After a failure nothing
/// is appended.
pub fn encode_transport(
    probe: &Probe,
    identity: Identity,
    source: IpAddr,
    utc: Utc,
    out: &mut Vec<u8>,
) -> Result<Departure, SendFailure> {
    let transport_bytes = check(probe, source)?;
    out.reserve(transport_bytes);
    transport(probe, identity, source, transport_bytes, utc, out);
    let header = if source.is_ipv4() { ipv4::HEADER_BYTES } else { ipv6::HEADER_BYTES };
    Ok(departure(identity, source, None, header + probe.ip_options.len() + transport_bytes))
}

/// The octets of a probe's packet, IP header included.
pub fn packet_bytes(probe: &Probe) -> usize {
    let header = if probe.destination.is_ipv4() { ipv4::HEADER_BYTES } else { ipv6::HEADER_BYTES };
    header + probe.ip_options.len() + transport_bytes(probe)
}

/// Gives a TCP probe those numbers that its machine left open: the tag, and below it 15 bits that only the holder of the
/// key can make. Without this [`encode`] makes the lower half 1. Other probes stay as they are.
pub fn number(probe: &mut Probe, identity: Identity, key: &Key) {
    let number = tcp_number(identity, probe.destination, key);
    if let Body::Tcp { flags, seq, ack, .. } = &mut probe.body {
        seq.get_or_insert(number);
        if acknowledges(*flags) {
            ack.get_or_insert(number);
        }
    }
}

/// The number of a TCP probe to `destination` whose machine left it open. Its lower half is between 1 and 7fff, so that
/// adding the octets of a segment or taking one away leaves the tag as it is.
pub fn tcp_number(identity: Identity, destination: IpAddr, key: &Key) -> u32 {
    let mut name = [0; 20];
    let octets = match destination {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let fields = octets.into_iter().chain(identity.selector.to_be_bytes()).chain(identity.tag.to_be_bytes());
    for (byte, field) in name.iter_mut().zip(fields) {
        *byte = field;
    }
    let cookie = u32::try_from(key.hash(&name) % 0x7fff).unwrap_or_default() + 1;
    u32::from(identity.tag) << 16 | cookie
}

/// The IPv6 flow label of a flow: the same for all its probes, and different for flows whose numbers or whose selectors
/// differ. Never 0, which means none.
pub fn flow_label(flow: Flow, selector: u16) -> u32 {
    // Both factors' sum is odd, too: numbers and selectors that grow together never meet.
    let mixed = u32::from(selector)
        .wrapping_mul(0x5_8e30)
        .wrapping_add(u32::from(flow.number).wrapping_mul(0x9_e375));
    match mixed & 0x000f_ffff {
        0 => 0x000f_ffff,
        label => label,
    }
}

const DEFAULT_TTL: Ttl = Ttl(64);
/// What a SYN offers as a window: all that needs no scale.
const WINDOW: u16 = u16::MAX;
const MAX_TRANSPORT_BYTES: usize = 65_535;
/// Of 13 bits (RFC 791, section 3.1).
const MAX_FRAGMENT_OFFSET: u16 = 0x1fff;

/// The length of what follows the IP header, of a probe that can be.
fn check(probe: &Probe, source: IpAddr) -> Result<usize, SendFailure> {
    let v4 = probe.destination.is_ipv4();
    let sensible = source.is_ipv4() == v4
        && (probe.fragment_offset == 0 || v4 && probe.fragment_offset <= MAX_FRAGMENT_OFFSET)
        && match &probe.body {
            Body::Echo { payload, checksum } => checksum.is_none() || payload.len() >= 2,
            Body::Timestamp => v4,
            Body::Udp { payload, tag, .. } => *tag == UdpTag::Ports || payload.len() >= 2,
            Body::Tcp { .. } | Body::TooBig { .. } => true,
        };
    let options = probe.ip_options.len();
    let options_fit = options == 0 || v4 && options.is_multiple_of(4) && options <= ipv4::MAX_OPTION_BYTES;
    let bytes = transport_bytes(probe);
    let header = if v4 { ipv4::HEADER_BYTES + options } else { 0 };
    let fits = header + bytes <= MAX_TRANSPORT_BYTES;
    if sensible && options_fit && fits { Ok(bytes) } else { Err(SendFailure::Senseless) }
}

fn transport_bytes(probe: &Probe) -> usize {
    match &probe.body {
        Body::Echo { payload, .. } => icmp::HEADER_BYTES + payload.len(),
        Body::Timestamp => icmp::TIMESTAMP_BYTES,
        Body::TooBig { quote, .. } => icmp::HEADER_BYTES + quote.len(),
        Body::Udp { payload, .. } => udp::HEADER_BYTES + payload.len(),
        Body::Tcp { mss, payload, .. } => {
            let options = match (probe.tcp_offer, mss) {
                (true, _) => tcp::OFFER_BYTES,
                (false, Some(_)) => MSS_OPTION_BYTES,
                (false, None) => 0,
            };
            tcp::HEADER_BYTES + options + payload.len()
        }
    }
}

const MSS_OPTION_BYTES: usize = 4;

fn protocol(probe: &Probe) -> u8 {
    match (&probe.body, probe.destination) {
        (Body::Echo { .. } | Body::TooBig { .. }, IpAddr::V6(_)) => PROTOCOL_ICMPV6,
        (Body::Echo { .. } | Body::TooBig { .. } | Body::Timestamp, _) => PROTOCOL_ICMP,
        (Body::Udp { .. }, _) => PROTOCOL_UDP,
        (Body::Tcp { .. }, _) => PROTOCOL_TCP,
    }
}

fn departure(identity: Identity, source: IpAddr, ip_id: Option<u16>, bytes: usize) -> Departure {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    Departure { source: Some(source), identity, ip_id, bytes }
}

/// Writes a probe that [`check`] has found possible.
fn transport(probe: &Probe, identity: Identity, source: IpAddr, bytes: usize, utc: Utc, out: &mut Vec<u8>) {
    let start = out.len();
    let Identity { selector, tag } = identity;
    let pseudo = || Sum::default().plus_pseudo_header(source, probe.destination, bytes, protocol(probe));
    let pseudo = || pseudo().unwrap_or_default();
    match &probe.body {
        Body::Echo { payload, checksum } => {
            let v4 = source.is_ipv4();
            let [request, _] = icmp::echo_types(icmp::Family::of(source));
            let ([i0, i1], [s0, s1]) = (selector.to_be_bytes(), tag.to_be_bytes());
            let head = [request, 0, 0, 0, i0, i1, s0, s1];
            let sum = if v4 { Sum::default() } else { pseudo() };
            out.extend_from_slice(&head);
            let sum = append(sum.plus(&head), payload, out);
            let sum = match *checksum {
                Some(wanted) => compensate(out, start + icmp::HEADER_BYTES, sum, wanted),
                None => sum.finish(),
            };
            patch(out, start + 2, sum);
        }
        Body::Timestamp => {
            let ([i0, i1], [s0, s1]) = (selector.to_be_bytes(), tag.to_be_bytes());
            let [o0, o1, o2, o3] = since_midnight_ms(utc).to_be_bytes();
            let mut message = [0; icmp::TIMESTAMP_BYTES];
            let fields = [icmp::TIMESTAMP_REQUEST, 0, 0, 0, i0, i1, s0, s1, o0, o1, o2, o3];
            for (byte, field) in message.iter_mut().zip(fields) {
                *byte = field;
            }
            out.extend_from_slice(&message);
            patch(out, start + 2, Sum::default().plus(&message).finish());
        }
        Body::TooBig { mtu, quote } => {
            // RFC 1191, section 4; RFC 4443, section 3.2. Both have the MTU in the last two octets of the header.
            let [m0, m1] = mtu.to_be_bytes();
            let (icmp_type, code) = if source.is_ipv4() { (3, 4) } else { (2, 0) };
            let head = [icmp_type, code, 0, 0, 0, 0, m0, m1];
            let sum = if source.is_ipv4() { Sum::default() } else { pseudo() };
            out.extend_from_slice(&head);
            let sum = append(sum.plus(&head), quote, out);
            patch(out, start + 2, sum.finish());
        }
        Body::Udp { port, payload, tag: told_by } => {
            let length = u16::try_from(bytes).unwrap_or(u16::MAX);
            let head = udp::encode(selector, *port, length, 0);
            out.extend_from_slice(&head);
            let sum = append(pseudo().plus(&head), payload, out);
            let sum = match told_by {
                UdpTag::Checksum => compensate(out, start + udp::HEADER_BYTES, sum, tag),
                UdpTag::Ports => sum.finish(),
            };
            // 0 would say that there is none (RFC 768).
            patch(out, start + 6, if sum == 0 { 0xffff } else { sum });
        }
        Body::Tcp { port, flags, seq, ack, mss, payload } => {
            let number = u32::from(tag) << 16 | 1;
            let header = tcp::Header {
                source_port: selector,
                destination_port: *port,
                seq: seq.unwrap_or(number),
                ack: ack.unwrap_or(if acknowledges(*flags) { number } else { 0 }),
                flags: *flags,
                window: WINDOW,
                urgent: 0,
            };
            let offer = tcp::offer(mss.unwrap_or(usual_mss(source)), number);
            let option = mss.map(tcp::mss_option);
            let options = match (probe.tcp_offer, &option) {
                (true, _) => &offer[..],
                (false, Some(option)) => &option[..],
                (false, None) => &[],
            };
            let head = tcp::encode(&header, options.len());
            out.extend_from_slice(&head);
            out.extend_from_slice(options);
            let sum = append(pseudo().plus(&head).plus(options), payload, out);
            patch(out, start + 16, sum.finish());
        }
    }
}

/// The maximum segment size of a link that carries 1500 octets.
const fn usual_mss(source: IpAddr) -> u16 {
    if source.is_ipv4() { 1460 } else { 1440 }
}

/// Whether a segment with these flags carries a number to acknowledge: all do but a SYN alone.
const fn acknowledges(flags: u8) -> bool {
    flags & tcp_flags::SYN == 0 || flags & tcp_flags::ACK != 0
}

/// Appends a payload, and adds it to a sum.
fn append(sum: Sum, payload: &[u8], out: &mut Vec<u8>) -> Sum {
    out.extend_from_slice(payload);
    sum.plus(payload)
}

/// Changes the last whole word of the payload, which begins at `payload`, so that the checksum is `wanted`.
fn compensate(out: &mut [u8], payload: usize, sum: Sum, wanted: u16) -> u16 {
    let words = out.len().saturating_sub(payload) / 2;
    let at = payload + words.saturating_sub(1) * 2;
    let Ok(word) = super::word(out, at) else { return sum.finish() };
    patch(out, at, sum.compensation(word, wanted));
    wanted
}

fn patch(out: &mut [u8], at: usize, word: u16) {
    if let Some(field) = out.get_mut(at..at + 2) {
        field.copy_from_slice(&word.to_be_bytes());
    }
}

/// Milliseconds since midnight UT (RFC 792).
fn since_midnight_ms(utc: Utc) -> u32 {
    const DAY_MS: i64 = 86_400_000;
    u32::try_from((utc.0.div_euclid(1_000_000)).rem_euclid(DAY_MS)).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests;

//! What load balancers see of a packet: addresses, protocol, the first four octets above IP (ports; of ICMP type, code
//! and checksum), and the flow label of IPv6. Of fragments they see no ports.

use std::net::IpAddr;

use super::chance::mix;
use super::head::Head;

/// A number that is the same for all packets of a flow.
pub(super) fn number(head: &Head, bytes: &[u8]) -> u64 {
    let ports = match bytes.get(head.above..head.above + 4) {
        Some(&[a, b, c, d]) if !head.is_fragment() => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    };
    let addresses = mix(fold(head.source)).wrapping_mul(3).wrapping_add(fold(head.destination));
    let rest = u64::from(ports) << 32 | u64::from(head.label) << 8 | u64::from(head.protocol);
    mix(mix(addresses) ^ rest)
}

/// A number that is the same for all packets to a destination.
pub(super) fn destination(address: IpAddr) -> u64 {
    mix(fold(address).wrapping_add(1))
}

fn fold(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
            mix(half(bits >> 64)) ^ half(bits)
        }
    }
}

//! The packets of the network.

use mmn_probe::wire::{icmp, ipv4, ipv6};

pub(crate) fn icmp(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let family = if choice % 2 == 0 { icmp::Family::V4 } else { icmp::Family::V6 };
    let _ = icmp::decode(family, bytes);
    let _ = icmp::quote(family, bytes);
    let _ = icmp::quoted_echo_request(family, bytes);
}

pub(crate) fn ip(bytes: &[u8]) {
    let _ = ipv4::decode(bytes);
    let _ = ipv6::decode(bytes);
}

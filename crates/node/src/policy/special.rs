//! Addresses that are not of the public Internet: the IANA registries of special-purpose addresses (RFC 6890), for
//! IPv4 and IPv6, with multicast (RFC 5771, RFC 4291), and what embeds an IPv4 address in an IPv6 one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::prefix::Prefix;

/// Why an address is special; absent for one of the public Internet.
pub(super) fn special(address: IpAddr) -> Option<&'static str> {
    let named =
        TABLE.iter().filter(|(prefix, _)| prefix.contains(address)).max_by_key(|(prefix, _)| prefix.bits());
    if let Some((_, what)) = named {
        return *what;
    }
    let IpAddr::V6(address) = address else { return None };
    if embedded(address).into_iter().flatten().any(|inner| special(inner.into()).is_some()) {
        return Some("an IPv6 address that embeds an IPv4 address which is not public");
    }
    // Only 2000::/3 has been given out (RFC 4291, section 2.4; IANA's IPv6 address space registry).
    (!GLOBAL_UNICAST.contains(address.into()) && !NAT64.contains(address.into()))
        .then_some("not of the IPv6 addresses that are given out")
}

/// The IPv4 addresses that an IPv6 address carries: NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo's server and client
/// (RFC 4380, section 4; the client's is inverted).
pub(super) fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let bits = address.to_bits();
    let low = |shift: u32| Ipv4Addr::from_bits(u32::try_from((bits >> shift) & 0xffff_ffff).unwrap_or(0));
    if NAT64.contains(address.into()) {
        [Some(low(0)), None]
    } else if SIX_TO_FOUR.contains(address.into()) {
        [Some(low(80)), None]
    } else if TEREDO.contains(address.into()) {
        [Some(low(64)), Some(Ipv4Addr::from_bits(!low(0).to_bits()))]
    } else {
        [None, None]
    }
}

const NAT64: Prefix = Prefix::v6(0x0064_ff9b_0000_0000, 0, 96);
const SIX_TO_FOUR: Prefix = Prefix::v6(0x2002_0000_0000_0000, 0, 16);
const TEREDO: Prefix = Prefix::v6(0x2001_0000_0000_0000, 0, 32);
const GLOBAL_UNICAST: Prefix = Prefix::v6(0x2000_0000_0000_0000, 0, 3);

/// The longest prefix that holds an address decides. Without a text the addresses are globally reachable although
/// they lie in a special block.
const TABLE: &[(Prefix, Option<&str>)] = &[
    (Prefix::v4([0, 0, 0, 0], 8), Some("of \"this network\" (RFC 791)")),
    (Prefix::v4([0, 0, 0, 0], 32), Some("the unspecified address (RFC 1122)")),
    (Prefix::v4([10, 0, 0, 0], 8), Some("private (RFC 1918)")),
    (Prefix::v4([100, 64, 0, 0], 10), Some("shared address space behind a carrier's NAT (RFC 6598)")),
    (Prefix::v4([127, 0, 0, 0], 8), Some("loopback (RFC 1122)")),
    (Prefix::v4([169, 254, 0, 0], 16), Some("link-local (RFC 3927)")),
    (Prefix::v4([169, 254, 169, 254], 32), Some("the metadata service of clouds")),
    (Prefix::v4([169, 254, 170, 2], 32), Some("the metadata service of clouds")),
    (Prefix::v4([100, 100, 100, 200], 32), Some("the metadata service of clouds")),
    (Prefix::v4([172, 16, 0, 0], 12), Some("private (RFC 1918)")),
    (Prefix::v4([192, 0, 0, 0], 24), Some("reserved for protocols (RFC 6890)")),
    (Prefix::v4([192, 0, 0, 9], 32), None),
    (Prefix::v4([192, 0, 0, 10], 32), None),
    (Prefix::v4([192, 0, 2, 0], 24), Some("for documentation (RFC 5737)")),
    (Prefix::v4([192, 88, 99, 0], 24), Some("the former 6to4 relays (RFC 7526)")),
    (Prefix::v4([192, 168, 0, 0], 16), Some("private (RFC 1918)")),
    (Prefix::v4([198, 18, 0, 0], 15), Some("for benchmarks (RFC 2544)")),
    (Prefix::v4([198, 51, 100, 0], 24), Some("for documentation (RFC 5737)")),
    (Prefix::v4([203, 0, 113, 0], 24), Some("for documentation (RFC 5737)")),
    (Prefix::v4([224, 0, 0, 0], 4), Some("multicast (RFC 5771)")),
    (Prefix::v4([240, 0, 0, 0], 4), Some("reserved (RFC 1112)")),
    (Prefix::v4([255, 255, 255, 255], 32), Some("the broadcast address (RFC 919)")),
    (Prefix::v6(0, 0, 128), Some("the unspecified address (RFC 4291)")),
    (Prefix::v6(0, 1, 128), Some("loopback (RFC 4291)")),
    (Prefix::v6(0, 0, 96), Some("an IPv4-compatible address (RFC 4291, deprecated)")),
    (Prefix::v6(0x0064_ff9b_0001_0000, 0, 48), Some("for translation within a site (RFC 8215)")),
    (Prefix::v6(0x0100_0000_0000_0000, 0, 64), Some("discard-only (RFC 6666)")),
    (Prefix::v6(0x0100_0000_0000_0001, 0, 64), Some("a dummy prefix (RFC 9780)")),
    (Prefix::v6(0x2001_0002_0000_0000, 0, 48), Some("for benchmarks (RFC 5180)")),
    (Prefix::v6(0x2001_0010_0000_0000, 0, 28), Some("ORCHID (RFC 4843, deprecated)")),
    (Prefix::v6(0x2001_0020_0000_0000, 0, 28), Some("ORCHIDv2 (RFC 7343)")),
    (Prefix::v6(0x2001_0db8_0000_0000, 0, 32), Some("for documentation (RFC 3849)")),
    (Prefix::v6(0x3fff_0000_0000_0000, 0, 20), Some("for documentation (RFC 9637)")),
    (Prefix::v6(0x5f00_0000_0000_0000, 0, 16), Some("identifiers of segment routing (RFC 9602)")),
    (Prefix::v6(0xfc00_0000_0000_0000, 0, 7), Some("unique local (RFC 4193)")),
    (Prefix::v6(0xfd00_0ec2_0000_0000, 0x0000_0000_0000_0254, 128), Some("the metadata service of clouds")),
    (Prefix::v6(0xfd20_00ce_0000_0000, 0x0000_0000_0000_0254, 128), Some("the metadata service of clouds")),
    (Prefix::v6(0xfe80_0000_0000_0000, 0, 10), Some("link-local (RFC 4291)")),
    (Prefix::v6(0xfec0_0000_0000_0000, 0, 10), Some("site-local (RFC 3879, deprecated)")),
    (Prefix::v6(0xff00_0000_0000_0000, 0, 8), Some("multicast (RFC 4291)")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn special_addresses_are_known() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2001:0:4136:e378:8000:63bf:f5ff:fffe",
            "2002:a00:1::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(special(text.parse().unwrap()).is_some(), "{text}");
        }
    }

    #[test]
    fn metadata_services_and_broadcast_are_named() {
        for text in ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200"] {
            assert_eq!(special(text.parse().unwrap()), Some("the metadata service of clouds"), "{text}");
        }
        assert_eq!(special("255.255.255.255".parse().unwrap()), Some("the broadcast address (RFC 919)"));
    }

    #[test]
    fn public_addresses_are_not_special() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.0.9",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "64:ff9b::101:101",
            "2002:101:101::1",
            "2a00::1",
        ] {
            assert_eq!(special(text.parse().unwrap()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_wrapping_hides_an_address(v4: Ipv4Addr, low: u64) {
            let hidden = special(v4.into()).is_some();
            let bits = u128::from(v4.to_bits());
            let nat64 = Ipv6Addr::from_bits((0x64_ff9b_u128 << 96) | bits);
            let six_to_four = Ipv6Addr::from_bits((0x2002_u128 << 112) | (bits << 80) | u128::from(low));
            prop_assert_eq!(special(nat64.into()).is_some(), hidden);
            prop_assert_eq!(special(six_to_four.into()).is_some(), hidden);
        }

        #[test]
        fn it_agrees_with_the_standard_library(v4: Ipv4Addr, v6: Ipv6Addr) {
            let private = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_unspecified() || v4.is_documentation();
            prop_assert!(!private || special(v4.into()).is_some());
            let local = v6.is_loopback() || v6.is_multicast() || v6.is_unique_local() || v6.is_unicast_link_local();
            prop_assert!(!local || special(v6.into()).is_some());
        }
    }
}

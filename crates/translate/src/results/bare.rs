//! The units of other forms.

use mmn_modules::trace::{Extension, Interface};
use mmn_schema::time::Timestamp;

const NS_PER_S: i64 = 1_000_000_000;

/// Nanoseconds as microseconds, to the nearest; a half goes up.
pub(super) const fn micros(ns: u64) -> u64 {
    ns / 1_000 + (ns % 1_000) / 500
}

/// Nanoseconds as milliseconds with a fraction.
#[expect(clippy::cast_precision_loss, reason = "53 bits hold 104 days of nanoseconds")]
pub(super) fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Whole seconds since 1970.
pub(super) const fn seconds(instant: Timestamp) -> i64 {
    instant.unix_ns().div_euclid(NS_PER_S)
}

/// Nanoseconds beyond the whole second.
pub(super) const fn fraction_ns(instant: Timestamp) -> i64 {
    instant.unix_ns().rem_euclid(NS_PER_S)
}

/// The instant so much later.
pub(super) fn later(instant: Timestamp, ns: u64) -> Timestamp {
    Timestamp::from_unix_ns(instant.unix_ns().saturating_add(i64::try_from(ns).unwrap_or(i64::MAX)))
}

/// The flags of a TCP segment, of a letter each.
pub(super) fn tcp_flags(letters: &str) -> u8 {
    letters.chars().filter_map(|letter| "FSRPAUEC".find(letter)).fold(0, |flags, bit| flags | 1 << bit)
}

/// The octets that hexadecimal digits mean; none where they are none.
pub(super) fn hex(digits: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()
}

/// What an object of an ICMP extension structure holds, as on the wire (RFC 4950, RFC 5837).
pub(super) fn extension(extension: &Extension) -> Vec<u8> {
    if let Some(interface) = &extension.interface {
        return interface_object(extension.c_type, interface);
    }
    if let Some(data) = &extension.data {
        return hex(data).unwrap_or_default();
    }
    let word = |label: &mmn_modules::trace::Label| {
        (label.label & 0xf_ffff) << 12
            | u32::from(label.traffic_class & 7) << 9
            | u32::from(label.bottom) << 8
            | u32::from(label.ttl)
    };
    extension.mpls.iter().flat_map(|label| word(label).to_be_bytes()).collect()
}

/// RFC 5837, section 4: the sub-type's lower bits say what is there.
fn interface_object(c_type: u8, interface: &Interface) -> Vec<u8> {
    let mut octets = Vec::new();
    let is_there = |bit: u8| c_type & bit != 0;
    if let Some(index) = interface.index.filter(|_| is_there(8)) {
        octets.extend(index.to_be_bytes());
    }
    match interface.address.filter(|_| is_there(4)).map(|address| address.0) {
        Some(std::net::IpAddr::V4(address)) => {
            octets.extend([0, 1, 0, 0]);
            octets.extend(address.octets());
        }
        Some(std::net::IpAddr::V6(address)) => {
            octets.extend([0, 2, 0, 0]);
            octets.extend(address.octets());
        }
        None => {}
    }
    if let Some(name) = interface.name.as_ref().filter(|_| is_there(2)) {
        // Its length counts itself and the zeros that fill it up to a multiple of four.
        let name = name.as_bytes().get(..63).unwrap_or(name.as_bytes());
        let len = (name.len() + 1).next_multiple_of(4);
        octets.push(u8::try_from(len).unwrap_or(64));
        octets.extend(name);
        octets.resize(octets.len() + len - 1 - name.len(), 0);
    }
    if let Some(mtu) = interface.mtu.filter(|_| is_there(1)) {
        octets.extend(mtu.to_be_bytes());
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_the_nearest() {
        let given = [0, 499, 500, 1_499, 1_500, u64::MAX];
        assert_eq!(given.map(micros), [0, 0, 1, 1, 2, u64::MAX / 1_000 + 1]);
    }

    #[test]
    fn instants_before_1970_have_a_fraction_too() {
        let instant = Timestamp::from_unix_ns(-1);
        assert_eq!((seconds(instant), fraction_ns(instant)), (-1, 999_999_999));
    }

    #[test]
    fn letters_are_flags() {
        assert_eq!(["", "SA", "RA", "FPUEC"].map(tcp_flags), [0, 0x12, 0x14, 0xe9]);
    }

    #[test]
    fn a_label_stack_is_as_on_the_wire() {
        let label = |label, bottom| mmn_modules::trace::Label { label, traffic_class: 5, ttl: 1, bottom };
        let stack = Extension {
            class: 1,
            c_type: 1,
            mpls: vec![label(16, false), label(0xf_ffff, true)],
            interface: None,
            data: None,
        };
        assert_eq!(extension(&stack), [0, 1, 10, 1, 255, 255, 251, 1]);
    }

    #[test]
    fn an_interface_is_as_on_the_wire() {
        let interface = Interface {
            role: "incoming".to_owned(),
            index: Some(7),
            address: Some(mmn_modules::Address("192.0.2.1".parse().unwrap())),
            name: Some("eth0".to_owned()),
            mtu: Some(1500),
        };
        let octets = interface_object(0x0f, &interface);
        assert_eq!(octets, b"\0\0\0\x07\0\x01\0\0\xc0\0\x02\x01\x08eth0\0\0\0\0\0\x05\xdc");
    }
}

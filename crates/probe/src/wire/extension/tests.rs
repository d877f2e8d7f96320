use proptest::prelude::*;

use super::*;

/// An extension structure with these objects and its checksum.
fn structure(objects: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0x20, 0, 0, 0], objects].concat();
    let sum = checksum::of(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// RFC 4950, Figure 2 (section 5): class 1, sub-type 1, length 4 and 4 for each of these two entries. The first is the
/// first of its Figure 1: label 100048, Exp 0, S 1, TTL 1, but that here another follows.
const MPLS_OBJECT: [u8; 12] = [0, 12, 1, 1, 0x18, 0x6d, 0x00, 1, 0x18, 0x6b, 0x0b, 254];

#[test]
fn a_label_stack_is_read() {
    let [object] = objects(&MPLS_OBJECT).collect::<Vec<_>>()[..] else { panic!("not one object") };
    let Some(Known::Mpls(labels)) = object.known() else { panic!("{object:?}") };
    let top = Label { label: 100_048, traffic_class: 0, bottom: false, ttl: 1 };
    let bottom = Label { label: 100_016, traffic_class: 5, bottom: true, ttl: 254 };
    assert_eq!(labels.collect::<Vec<_>>(), [top, bottom]);
    // All bits of each field, alone (RFC 3032, section 2.1).
    let read = |entry: [u8; 4]| Labels { rest: &entry }.next().unwrap();
    let none = Label { label: 0, traffic_class: 0, bottom: false, ttl: 0 };
    assert_eq!(read([0xff, 0xff, 0xf0, 0]), Label { label: 0xf_ffff, ..none });
    assert_eq!(read([0, 0, 0x0e, 0]), Label { traffic_class: 7, ..none });
    assert_eq!(read([0, 0, 0x01, 0]), Label { bottom: true, ..none });
    assert_eq!(read([0, 0, 0, 0xff]), Label { ttl: 255, ..none });
}

/// An object of interface information with these parts one after the other.
fn interface_object(length: u16, c_type: u8, parts: &[&[u8]]) -> Vec<u8> {
    let parts = parts.concat();
    assert_eq!(usize::from(length), 4 + parts.len());
    [&length.to_be_bytes()[..], &[2, c_type], &parts].concat()
}

/// A name sub-object of 64 octets, as in the examples of RFC 5837.
fn longest_name(name: &[u8]) -> Vec<u8> {
    let mut bytes = [&[64], name].concat();
    bytes.resize(64, 0);
    bytes
}

/// RFC 5837, Figures 5 to 8 (section 4.4), with their sub-types and lengths.
#[test]
fn the_figures_of_the_rfc() {
    const INDEX: [u8; 4] = [0, 0, 1, 7];
    const V4: [u8; 8] = [0, 1, 0, 0, 192, 0, 2, 9];
    let name = longest_name(b"ge-0/0/1.0");
    let v6 = [&[0, 2, 0, 0, 0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[5]].concat();
    let all = [
        interface_object(72, 0b0000_1010, &[&INDEX, &name]),
        interface_object(80, 0b0000_1110, &[&INDEX, &V4, &name]),
        interface_object(28, 0b0000_1100, &[&INDEX, &v6]),
        interface_object(72, 0b1000_1010, &[&INDEX, &name]),
    ]
    .concat();
    let read: Vec<_> = objects(&all).map(|object| object.known()).collect();
    let by_name = Interface {
        role: Role::Incoming,
        index: Some(263),
        address: None,
        name: Some(b"ge-0/0/1.0"),
        mtu: None,
    };
    let address = Some(IpAddr::from([192, 0, 2, 9]));
    let by_v6 = Interface { name: None, address: "2001:db8::5".parse().ok(), ..by_name };
    let expected =
        [by_name, Interface { address, ..by_name }, by_v6, Interface { role: Role::Outgoing, ..by_name }];
    assert_eq!(read, expected.map(|interface| Some(Known::Interface(interface))));
}

/// RFC 5837, section 4.1: roles, reserved bits, an object without any part, and what follows the parts.
#[test]
fn roles_and_what_is_to_be_ignored() {
    let nothing = Interface { role: Role::Incoming, index: None, address: None, name: None, mtu: None };
    let known = |c_type, data: &[u8]| match (Object { class: INTERFACE, c_type, data }).known() {
        Some(Known::Interface(Interface { role, index, mtu, .. })) => Some((role, index, mtu)),
        _ => None,
    };
    let roles = [Role::Incoming, Role::IncomingSubIp, Role::Outgoing, Role::NextHop];
    for (value, role) in (0..).zip(roles) {
        assert_eq!(known(value << 6, &[]), Some((role, None, None)));
        assert_eq!(
            known(value << 6 | 0b0011_1001, &[0, 0, 0, 3, 0, 0, 5, 220, 9, 9]),
            Some((role, Some(3), Some(1500)))
        );
    }
    assert_eq!(
        Object { class: INTERFACE, c_type: 0, data: &[1, 2, 3] }.known(),
        Some(Known::Interface(nothing))
    );
    // A part that is missing, an address of no known family, a name that is too long, empty or goes beyond its object.
    assert_eq!(known(0b0000_1000, &[0, 0, 0]), None);
    assert_eq!(known(0b0000_0100, &[0, 3, 0, 0, 1, 2, 3, 4]), None);
    for name in [&[68; 68][..], &[0, 0, 0, 0], &[8, b'e', b't', b'h']] {
        assert_eq!(known(0b0000_0010, name), None);
    }
}

#[test]
fn a_structure_follows_the_quote_that_the_header_measures() {
    let body = [vec![0x45; 128], structure(&MPLS_OBJECT)].concat();
    assert_eq!(split(&body, 128), (&body[..128], &MPLS_OBJECT[..]));
    let mut wrong = body.clone();
    wrong[140] ^= 1;
    assert_eq!(split(&wrong, 128), (&body[..128], &[][..]));
    let mut unsummed = body.clone();
    unsummed[130..132].fill(0);
    assert_eq!(split(&unsummed, 128), (&body[..128], &MPLS_OBJECT[..]));
    let mut version = body.clone();
    version[128] = 0x10;
    assert_eq!(split(&version, 128), (&body[..128], &[][..]));
    assert_eq!(split(&body, 400), (&body[..], &[][..]));
}

#[test]
fn a_structure_that_nobody_announced_is_believed_by_its_checksum() {
    let body = [vec![0x45; 128], structure(&MPLS_OBJECT)].concat();
    assert_eq!(split(&body, 0), (&body[..128], &MPLS_OBJECT[..]));
    let mut unsummed = body.clone();
    unsummed[130..132].fill(0);
    assert_eq!(split(&unsummed, 0), (&unsummed[..], &[][..]));
    assert_eq!(split(&body[..128], 0), (&body[..128], &[][..]));
}

#[test]
fn objects_end_at_one_that_goes_beyond() {
    let bytes = [&MPLS_OBJECT[..], &[0, 40, 1, 1, 0]].concat();
    assert_eq!(objects(&bytes).count(), 1);
    assert_eq!(objects(&[0, 3, 1, 1]).count(), 0);
    assert_eq!(objects(&[0, 4, 9, 9]).map(|object| object.known()).collect::<Vec<_>>(), [None]);
}

proptest! {
    #[test]
    fn survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0_usize..200) {
        let (quote, found) = split(&bytes, length);
        prop_assert!(bytes.starts_with(quote));
        for object in objects(found).chain(objects(&bytes)) {
            if let Some(Known::Mpls(labels)) = object.known() {
                prop_assert_eq!(labels.count() * 4, object.data.len());
            }
        }
    }

    #[test]
    fn survives_any_interface(c_type: u8, data in prop::collection::vec(any::<u8>(), 0..100), family in 0_u8..4) {
        let mut data = data;
        if let Some([high, low]) = data.get_mut(..2) {
            (*high, *low) = (0, family);
        }
        let _ = Object { class: INTERFACE, c_type, data: &data }.known();
    }
}

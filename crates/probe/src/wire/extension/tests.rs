use proptest::prelude::*;

use super::*;

/// An extension structure with these objects and its checksum.
fn structure(objects: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0x20, 0, 0, 0], objects].concat();
    let sum = checksum::of(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// Laid out as RFC 4950, section 3, and RFC 3032, section 2.1, say: labels 16013 (traffic class 5, TTL 1) and 3 (the
/// bottom, TTL 254).
const MPLS_OBJECT: [u8; 12] = [0, 12, 1, 1, 0x03, 0xe8, 0xda, 1, 0x00, 0x00, 0x31, 254];

#[test]
fn a_label_stack_is_read() {
    let [object] = objects(&MPLS_OBJECT).collect::<Vec<_>>()[..] else { panic!("not one object") };
    let Some(Known::Mpls(labels)) = object.known() else { panic!("{object:?}") };
    let top = Label { label: 16_013, traffic_class: 5, bottom: false, ttl: 1 };
    let bottom = Label { label: 3, traffic_class: 0, bottom: true, ttl: 254 };
    assert_eq!(labels.collect::<Vec<_>>(), [top, bottom]);
}

#[test]
fn an_interface_is_read() {
    // Laid out as RFC 5837, sections 4.1 to 4.4, say.
    let mut bytes = vec![0, 28, 2, 0b0000_1111, 0, 0, 0, 7, 0, 1, 0, 0, 192, 0, 2, 9];
    bytes.extend([8, b'e', b't', b'h', b'0', 0, 0, 0, 0, 0, 5, 220]);
    bytes.extend([0, 24, 2, 0b1000_0100, 0, 2, 0, 0, 0x20, 1, 0x0d, 0xb8]);
    bytes.extend([0; 11]);
    bytes.push(5);
    bytes.extend([0, 8, 2, 0b1100_1000, 0, 0, 1, 0]);
    let read: Vec<_> = objects(&bytes).map(|object| object.known()).collect();
    let incoming = Interface {
        role: Role::Incoming,
        index: Some(7),
        address: Some(IpAddr::from([192, 0, 2, 9])),
        name: Some(b"eth0"),
        mtu: Some(1500),
    };
    let outgoing = Interface {
        role: Role::Outgoing,
        index: None,
        address: Some("2001:db8::5".parse().unwrap()),
        name: None,
        mtu: None,
    };
    let next = Interface { role: Role::NextHop, index: Some(256), address: None, ..outgoing };
    let expected = [incoming, outgoing, next].map(|interface| Some(Known::Interface(interface)));
    assert_eq!(read, expected);
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

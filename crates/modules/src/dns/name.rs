//! Domain names: presentation format (RFC 1035, section 5.1; RFC 4343) to wire format.

use std::fmt::Write;
use std::net::IpAddr;

use super::wire::MAX_NAME_BYTES;

/// The longest label.
const MAX_LABEL_BYTES: usize = 63;

/// The wire format of a name; the final dot may be left out.
pub(super) fn to_wire(text: &str) -> Result<Vec<u8>, String> {
    let wrong =
        |why: &str| format!("{:?} is no domain name: {why}", text.chars().take(80).collect::<String>());
    let mut wire = Vec::with_capacity(text.len() + 2);
    if text.is_empty() {
        return Err(wrong("it is empty"));
    }
    if text == "." {
        return Ok(vec![0]);
    }
    let mut rest = text.bytes();
    let mut label = Vec::new();
    let mut ended = false;
    while let Some(byte) = rest.next() {
        ended = false;
        match byte {
            b'.' => {
                push_label(&mut wire, &mut label).map_err(wrong)?;
                ended = true;
            }
            b'\\' => label.push(escaped(&mut rest).ok_or_else(|| wrong("its escape is broken"))?),
            byte if byte.is_ascii() => label.push(byte),
            _ => return Err(wrong("write it in ASCII (punycode)")),
        }
    }
    if !ended {
        push_label(&mut wire, &mut label).map_err(wrong)?;
    }
    wire.push(0);
    if wire.len() > MAX_NAME_BYTES { Err(wrong("it is longer than 255 bytes")) } else { Ok(wire) }
}

/// The name under which the PTR record of an address stands (RFC 1035, section 3.5; RFC 3596, section 2.5).
pub(super) fn reverse(address: IpAddr) -> String {
    let mut name = String::new();
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets().iter().rev() {
                let _ = write!(name, "{octet}.");
            }
            name.push_str("in-addr.arpa.");
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
            name.push_str("ip6.arpa.");
        }
    }
    name
}

fn push_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), &'static str> {
    let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
    match label.len() {
        0 => return Err("a label is empty"),
        1..=MAX_LABEL_BYTES => {}
        _ => return Err("a label is longer than 63 bytes"),
    }
    wire.push(length);
    wire.append(label);
    Ok(())
}

/// What follows a backslash: three digits, or the byte itself.
fn escaped(rest: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = rest.next()?;
    if !first.is_ascii_digit() {
        return first.is_ascii().then_some(first);
    }
    let digits = [first, rest.next()?, rest.next()?];
    let number = digits.iter().try_fold(0_u16, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
    })?;
    u8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dns::wire::Reader;

    #[test]
    fn names_become_labels() {
        assert_eq!(to_wire("www.Example.").unwrap(), b"\x03www\x07Example\0");
        assert_eq!(to_wire("www.Example").unwrap(), b"\x03www\x07Example\0");
        assert_eq!(to_wire(".").unwrap(), [0]);
        assert_eq!(to_wire(r"a\.b\032c.d").unwrap(), b"\x05a.b c\x01d\0");
        for wrong in ["", "..", ".a", "a..b", "a\\", r"\25", r"\256", "müller.de", &"a".repeat(64)] {
            assert!(to_wire(wrong).is_err(), "{wrong}");
        }
        assert!(to_wire(&"abcdefghi.".repeat(25)).is_ok());
        assert!(to_wire(&"abcdefghi.".repeat(26)).is_err());
    }

    #[test]
    fn addresses_are_reversed() {
        assert_eq!(reverse("192.0.2.17".parse().unwrap()), "17.2.0.192.in-addr.arpa.");
        assert!(reverse("2001:db8::1".parse().unwrap()).starts_with("1.0.0.0."));
        assert!(reverse("2001:db8::1".parse().unwrap()).ends_with("8.b.d.0.1.0.0.2.ip6.arpa."));
    }

    proptest! {
        #[test]
        fn any_labels_survive_the_round_trip(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..10)
        ) {
            let mut wire = Vec::new();
            for label in &labels {
                wire.push(u8::try_from(label.len()).unwrap());
                wire.extend(label);
            }
            wire.push(0);
            let text = Reader::new(&wire).name().unwrap();
            prop_assert_eq!(to_wire(&text).unwrap(), wire);
        }

        #[test]
        fn any_text_is_a_name_or_an_error(text: String) {
            let _ = to_wire(&text);
        }
    }
}

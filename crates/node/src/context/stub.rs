//! As much of DNS (RFC 1035) as it takes to ask for the addresses of a name, and for the name of an address. Pure.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    A,
    Aaaa,
    Ptr,
}

impl Ask {
    const fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Ptr => 12,
        }
    }
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// Addresses, in its order; none when the name has none of this family.
    Addresses(Vec<IpAddr>),
    /// The first name that an address has, in presentation format (RFC 1035, section 5.1; RFC 4343) without its final dot;
    /// none when it has none.
    Name(Option<String>),
    /// There is no such name.
    NoName,
    /// It can't or won't say: the response code (RFC 1035, section 4.1.1).
    Code(u8),
    /// The answer did not fit: ask over TCP.
    Truncated,
}

/// A query (RFC 1035, section 4.1), with recursion desired; none when `name` is no name of DNS.
pub(super) fn query(id: u16, name: &str, ask: Ask) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(18 + name.len());
    bytes.extend(id.to_be_bytes());
    bytes.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    if bytes.len() - HEADER_BYTES > 255 {
        return None;
    }
    bytes.extend(ask.code().to_be_bytes());
    bytes.extend([0, 1]);
    Some(bytes)
}

/// The name under which the PTR record of an address stands (RFC 1035, section 3.5; RFC 3596, section 2.5).
pub(super) fn reverse(address: IpAddr) -> String {
    let mut name = String::new();
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets().iter().rev() {
                let _ = write!(name, "{octet}.");
            }
            name.push_str("in-addr.arpa");
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
            name.push_str("ip6.arpa");
        }
    }
    name
}

/// Reads the reply to `query`; none when it is the reply to something else, or no reply at all.
pub(super) fn reply(query: &[u8], bytes: &[u8]) -> Option<Reply> {
    let question = query.get(HEADER_BYTES..)?;
    let ask = query.get(query.len().checked_sub(4)?..query.len().checked_sub(2)?)?;
    let same_id = bytes.get(..2)? == query.get(..2)?;
    let flags = u16_at(bytes, 2)?;
    let asked = bytes.get(HEADER_BYTES..HEADER_BYTES + question.len())?;
    if !same_id || flags & 0x8000 == 0 || u16_at(bytes, 4)? != 1 || !asked.eq_ignore_ascii_case(question) {
        return None;
    }
    match flags & 0x000f {
        0 => {}
        3 => return Some(Reply::NoName),
        code => return Some(Reply::Code(u8::try_from(code).ok()?)),
    }
    if flags & 0x0200 != 0 {
        return Some(Reply::Truncated);
    }
    let mut at = HEADER_BYTES + question.len();
    let asks_name = ask == Ask::Ptr.code().to_be_bytes();
    let mut addresses = Vec::new();
    let mut found = None;
    // A recursive server gives the whole chain of aliases, and the addresses at its end.
    for _ in 0..u16_at(bytes, 6)? {
        at = skip_name(bytes, at)?;
        let kind = bytes.get(at..at + 2)?;
        let class = u16_at(bytes, at + 2)?;
        let length = usize::from(u16_at(bytes, at + 8)?);
        let data = bytes.get(at + 10..at + 10 + length)?;
        if kind == ask && class == 1 {
            if asks_name {
                found = found.or_else(|| name(bytes, at + 10, length));
            } else {
                addresses.extend(address(ask, data));
            }
        }
        at += 10 + length;
    }
    Some(if asks_name { Reply::Name(found) } else { Reply::Addresses(addresses) })
}

const HEADER_BYTES: usize = 12;

/// The address in a record of the type `ask`; none where its length is that of another.
fn address(ask: &[u8], data: &[u8]) -> Option<IpAddr> {
    if ask == Ask::A.code().to_be_bytes() {
        return <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into())
}

/// The name that the data of a record is, `length` octets from `at` on; none where it is the root or is longer than
/// [`MOST_NAME_BYTES`].
fn name(bytes: &[u8], mut at: usize, length: usize) -> Option<String> {
    if skip_name(bytes, at)? != at + length {
        return None;
    }
    let mut text = String::new();
    let mut floor = at;
    while text.len() <= MOST_NAME_BYTES {
        let first = *bytes.get(at)?;
        match first {
            0 => return text.pop().map(|_| text),
            1..=63 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(first))?;
                for octet in label {
                    present(*octet, &mut text);
                }
                text.push('.');
                at += 1 + label.len();
            }
            192.. => {
                at = usize::from(u16_at(bytes, at)? & 0x3fff);
                // Each points before the last one, so that none leads in circles.
                if at >= floor {
                    return None;
                }
                floor = at;
            }
            _ => return None,
        }
    }
    None
}

/// An octet of a label in presentation format.
fn present(octet: u8, text: &mut String) {
    match octet {
        b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => text.extend(['\\', char::from(octet)]),
        0x21..=0x7e => text.push(char::from(octet)),
        _ => {
            let _ = write!(text, "\\{octet:03}");
        }
    }
}

/// The longest name (RFC 1035, section 2.3.4) as text, its final dot included: only escapes would make it longer.
const MOST_NAME_BYTES: usize = 254;

/// Where a name ends that begins at `at`: a pointer ends it (RFC 1035, section 4.1.4).
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length < 64 => at += 1 + usize::from(length),
            length if length >= 192 => return Some(at + 2),
            _ => return None,
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(query: &[u8], flags: u16, records: &[&[u8]]) -> Vec<u8> {
        let mut bytes = query.to_vec();
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        bytes[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        bytes.extend(records.concat());
        bytes
    }

    #[test]
    fn aliases_are_followed_to_their_addresses() {
        let asked = query(7, "www.Example.org", Ask::A).unwrap();
        let alias = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01a\xc0\x10";
        let record = b"\x01a\xc0\x10\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x09";
        let bytes = answer(&asked, 0x8180, &[alias, record]);
        assert_eq!(reply(&asked, &bytes), Some(Reply::Addresses(vec!["192.0.2.9".parse().unwrap()])));
        assert_eq!(reply(&asked, &answer(&asked, 0x8183, &[])), Some(Reply::NoName));
        assert_eq!(reply(&asked, &answer(&asked, 0x8182, &[])), Some(Reply::Code(2)));
        assert_eq!(reply(&asked, &answer(&asked, 0x8380, &[])), Some(Reply::Truncated));
        assert_eq!(reply(&asked, &answer(&asked, 0x8180, &[])), Some(Reply::Addresses(vec![])));
        let other = query(8, "www.example.org", Ask::A).unwrap();
        assert_eq!(reply(&other, &bytes), None);
        assert_eq!(reply(&asked, &asked), None);
    }

    #[test]
    fn an_address_of_the_other_family_is_none() {
        for (ask, length) in [(Ask::A, 16_u8), (Ask::Aaaa, 4)] {
            let asked = query(7, "a.example", ask).unwrap();
            let [_, code] = ask.code().to_be_bytes();
            let head = [0xc0, 0x0c, 0, code, 0, 1, 0, 0, 0, 60, 0, length];
            let record = [&head[..], &vec![1; length.into()]].concat();
            assert_eq!(reply(&asked, &answer(&asked, 0x8180, &[&record])), Some(Reply::Addresses(vec![])));
        }
    }

    fn pointer(asked: &[u8], data: &[u8]) -> Option<Reply> {
        let length = u8::try_from(data.len()).unwrap();
        let record = [&[0xc0, 0x0c, 0, 12, 0, 1, 0, 0, 0, 60, 0, length], data].concat();
        reply(asked, &answer(asked, 0x8180, &[&record]))
    }

    #[test]
    fn the_name_of_an_address_is_told() {
        let v6 = "2001:db8::1".parse().unwrap();
        assert!(reverse(v6).starts_with("1.0.0.0.") && reverse(v6).ends_with("8.b.d.0.1.0.0.2.ip6.arpa"));
        assert!(query(7, &reverse(v6), Ask::Ptr).is_some());
        let asked = query(7, &reverse("192.0.2.17".parse().unwrap()), Ask::Ptr).unwrap();
        assert!(asked[HEADER_BYTES..].starts_with(b"\x0217\x012\x010\x03192\x07in-addr\x04arpa\0"));
        let name = |text: &str| Some(Reply::Name(Some(text.to_owned())));
        assert_eq!(pointer(&asked, b"\x02r1\x07Example\0"), name("r1.Example"));
        // Behind an alias (RFC 2317), and the first of two.
        let alias = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01a\xc0\x0f";
        let record = |name: u8| {
            [&b"\x01a\xc0\x0f\x00\x0c\x00\x01\x00\x00\x00\x3c\x00\x04\x01"[..], &[name], b"\xc0\x1f"].concat()
        };
        let bytes = answer(&asked, 0x8180, &[alias, &record(b'x'), &record(b'y')]);
        assert_eq!(reply(&asked, &bytes), name("x.arpa"));
        // What would play with a terminal, or with who reads labels.
        assert_eq!(pointer(&asked, b"\x04\x1b[2J\x03a.b\0"), name("\\027[2J.a\\.b"));
        let none = Some(Reply::Name(None));
        // The root, a circle, a pointer that does not lead back, a label of unknown kind, something behind it.
        for data in [&b"\0"[..], b"\x01a\xc0\x35", b"\xc0\xff", b"\x40", b"\x01a\0\0"] {
            assert_eq!(pointer(&asked, data), none, "{data:?}");
        }
        // Escapes make it too long.
        let long = [&[50][..], &[1; 50]].concat();
        assert_eq!(pointer(&asked, &[&long.repeat(2)[..], &[0]].concat()), none);
        assert_eq!(reply(&asked, &answer(&asked, 0x8180, &[])), none);
        assert_eq!(reply(&asked, &answer(&asked, 0x8183, &[])), Some(Reply::NoName));
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        for name in ["", ".", "a..b", &"x".repeat(64), &["abcdefgh"; 30].join(".")] {
            assert_eq!(query(1, name, Ask::Aaaa), None, "{name}");
        }
        assert!(query(1, "example.org.", Ask::Aaaa).is_some());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(tail: Vec<u8>, records: u16, cut in 0usize..80) {
            for ask in [Ask::Aaaa, Ask::Ptr] {
                let asked = query(7, "a.example", ask).unwrap();
                let mut bytes = answer(&asked, 0x8180, &[&tail]);
                bytes[6..8].copy_from_slice(&records.to_be_bytes());
                let _ = reply(&asked, &bytes);
                let _ = reply(&asked, bytes.get(..cut).unwrap_or_default());
                let _ = reply(&tail, &bytes);
                let _ = pointer(&asked, &tail[..tail.len().min(255)]);
            }
        }
    }
}

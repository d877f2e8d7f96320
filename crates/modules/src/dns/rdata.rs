//! Record data in presentation format, as the RFC of each type has it; all else by RFC 3597.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE32_DNSSEC, BASE64, HEXLOWER, HEXUPPER};

use super::registry::type_name;
use super::result::{Data, Text};
use super::wire::{Malformed, Reader};

/// The classes whose record data is what the types' RFCs say. (CHAOS has another A.)
const IN: u16 = 1;

/// The data of a record in presentation format, and in parts where [`Data`] has them. Data that breaks its type's
/// format stands as that of an unknown type.
pub(super) fn present(number: u16, class: u16, reader: &Reader<'_>) -> (String, Option<Data>) {
    let mut known = reader.clone();
    match known_type(number, class, &mut known) {
        Ok(Some(shown)) if known.left() == 0 => shown,
        _ => (generic(reader.clone().rest()), None),
    }
}

/// RFC 3597, section 5.
fn generic(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "\\# 0".to_owned();
    }
    format!("\\# {} {}", bytes.len(), HEXLOWER.encode(bytes))
}

type Shown = (String, Option<Data>);

fn known_type(number: u16, class: u16, data: &mut Reader<'_>) -> Result<Option<Shown>, Malformed> {
    let plain = |text: String| Ok(Some((text, None)));
    match number {
        1 if class == IN => {
            let address = IpAddr::V4(Ipv4Addr::from(data.array::<4>()?));
            Ok(Some((address.to_string(), Some(Data::Address(address.into())))))
        }
        28 if class == IN => {
            let address = IpAddr::V6(Ipv6Addr::from(data.array::<16>()?));
            Ok(Some((address.to_string(), Some(Data::Address(address.into())))))
        }
        2 | 5 | 12 | 39 => {
            let name = data.name()?;
            Ok(Some((name.clone(), Some(Data::Name(name)))))
        }
        3 | 4 | 7 | 8 | 9 => plain(data.name()?),
        6 => soa(data).map(Some),
        13 | 16 | 19 | 20 | 99 => strings(number, data).map(Some),
        14 | 17 => plain(format!("{} {}", data.name()?, data.name()?)),
        15 => {
            let (preference, exchange) = (data.u16()?, data.name()?);
            Ok(Some((format!("{preference} {exchange}"), Some(Data::Mx { preference, exchange }))))
        }
        18 | 21 | 36 => plain(format!("{} {}", data.u16()?, data.name()?)),
        33 => {
            let (priority, weight, port, target) = (data.u16()?, data.u16()?, data.u16()?, data.name()?);
            let text = format!("{priority} {weight} {port} {target}");
            Ok(Some((text, Some(Data::Srv { priority, weight, port, target }))))
        }
        35 => {
            let (order, preference) = (data.u16()?, data.u16()?);
            let (flags, services, pattern) = (data.string()?, data.string()?, data.string()?);
            let [flags, services, pattern] = [flags, services, pattern].map(quoted);
            plain(format!("{order} {preference} {flags} {services} {pattern} {}", data.name()?))
        }
        61 | 49 => plain(BASE64.encode(data.rest())),
        64 | 65 => service(data).map(|text| Some((text, None))),
        108 | 109 => plain(eui(number, data)?),
        256 => {
            let (priority, weight) = (data.u16()?, data.u16()?);
            plain(format!("{priority} {weight} {}", quoted(data.rest())))
        }
        257 => {
            let (flags, tag) = (data.u8()?, data.string()?);
            let tag = String::from_utf8_lossy(tag).into_owned();
            plain(format!("{flags} {tag} {}", quoted(data.rest())))
        }
        _ => secured(number, data).map(|text| text.map(|text| (text, None))),
    }
}

/// The types of DNSSEC and DANE, and others that carry keys and digests.
fn secured(number: u16, data: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    Ok(Some(match number {
        24 | 46 => signature(data)?,
        25 | 48 | 60 => {
            let (flags, protocol, algorithm) = (data.u16()?, data.u8()?, data.u8()?);
            format!("{flags} {protocol} {algorithm} {}", BASE64.encode(data.rest()))
        }
        37 => {
            let (kind, tag, algorithm) = (data.u16()?, data.u16()?, data.u8()?);
            format!("{kind} {tag} {algorithm} {}", BASE64.encode(data.rest()))
        }
        43 | 59 | 32769 => {
            let (tag, algorithm, digest) = (data.u16()?, data.u8()?, data.u8()?);
            format!("{tag} {algorithm} {digest} {}", HEXUPPER.encode(data.rest()))
        }
        44 => {
            let (algorithm, kind) = (data.u8()?, data.u8()?);
            format!("{algorithm} {kind} {}", HEXUPPER.encode(data.rest()))
        }
        47 => {
            let next = data.name()?;
            format!("{next}{}", bitmap(data)?)
        }
        50 => {
            let head = hashed(data)?;
            let next = BASE32_DNSSEC.encode(data.string()?);
            format!("{head} {}{}", next.to_uppercase(), bitmap(data)?)
        }
        51 => hashed(data)?,
        52 | 53 => {
            let (usage, selector, matching) = (data.u8()?, data.u8()?, data.u8()?);
            format!("{usage} {selector} {matching} {}", HEXUPPER.encode(data.rest()))
        }
        62 => {
            let (serial, flags) = (data.u32()?, data.u16()?);
            format!("{serial} {flags}{}", bitmap(data)?)
        }
        63 => {
            let (serial, scheme, algorithm) = (data.u32()?, data.u8()?, data.u8()?);
            format!("{serial} {scheme} {algorithm} {}", HEXUPPER.encode(data.rest()))
        }
        _ => return Ok(None),
    }))
}

fn soa(data: &mut Reader<'_>) -> Result<Shown, Malformed> {
    let (mname, rname) = (data.name()?, data.name()?);
    let [serial, refresh, retry, expire, minimum] =
        [data.u32()?, data.u32()?, data.u32()?, data.u32()?, data.u32()?];
    let text = format!("{mname} {rname} {serial} {refresh} {retry} {expire} {minimum}");
    Ok((text, Some(Data::Soa { mname, rname, serial, refresh, retry, expire, minimum })))
}

fn strings(number: u16, data: &mut Reader<'_>) -> Result<Shown, Malformed> {
    let mut all = Vec::new();
    while data.left() > 0 {
        all.push(data.string()?);
    }
    if all.is_empty() {
        return Err(data.wrong("no string"));
    }
    let text = all.iter().map(|string| quoted(string)).collect::<Vec<_>>().join(" ");
    let parts = (number == 16).then(|| Data::Txt(all.into_iter().map(Text::from).collect()));
    Ok((text, parts))
}

/// RFC 1035, section 5.1: in quotation marks, what is not printable as three digits.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\{byte:03}");
            }
        }
    }
    text.push('"');
    text
}

/// RFC 4034, section 3.
fn signature(data: &mut Reader<'_>) -> Result<String, Malformed> {
    let (covered, algorithm, labels, ttl) = (data.u16()?, data.u8()?, data.u8()?, data.u32()?);
    let (expires, begins, tag, signer) = (data.u32()?, data.u32()?, data.u16()?, data.name()?);
    Ok(format!(
        "{} {algorithm} {labels} {ttl} {} {} {tag} {signer} {}",
        type_name(covered),
        moment(expires),
        moment(begins),
        BASE64.encode(data.rest())
    ))
}

/// `YYYYMMDDHHmmSS` in UTC (RFC 4034, section 3.2), of seconds since 1970.
fn moment(seconds: u32) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar counted from 0000-03-01, so that leap days end their years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

/// RFC 5155, sections 3.3 and 4.3: algorithm, flags, iterations, salt.
fn hashed(data: &mut Reader<'_>) -> Result<String, Malformed> {
    let (algorithm, flags, iterations, salt) = (data.u8()?, data.u8()?, data.u16()?, data.string()?);
    let salt = if salt.is_empty() { "-".to_owned() } else { HEXUPPER.encode(salt) };
    Ok(format!("{algorithm} {flags} {iterations} {salt}"))
}

/// A bitmap of types (RFC 4034, section 4.1.2), each with a space before it.
fn bitmap(data: &mut Reader<'_>) -> Result<String, Malformed> {
    let mut text = String::new();
    while data.left() > 0 {
        let (window, bytes) = (data.u8()?, data.string()?);
        if bytes.is_empty() || bytes.len() > 32 {
            return Err(data.wrong("a type bitmap of a wrong length"));
        }
        for (at, byte) in (0_u16..).zip(bytes) {
            for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
                let _ = write!(text, " {}", type_name((u16::from(window) << 8) | (at * 8 + bit)));
            }
        }
    }
    Ok(text)
}

/// RFC 7043.
fn eui(number: u16, data: &mut Reader<'_>) -> Result<String, Malformed> {
    let bytes = data.take(if number == 108 { 6 } else { 8 })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join("-"))
}

/// RFC 9460, section 2.1 and appendix A.
fn service(data: &mut Reader<'_>) -> Result<String, Malformed> {
    let (priority, target) = (data.u16()?, data.name()?);
    let mut text = format!("{priority} {target}");
    while data.left() > 0 {
        let (key, length) = (data.u16()?, data.u16()?);
        let mut value = data.part(length.into())?;
        let _ = write!(text, " {}", parameter(key, &mut value)?);
        if value.left() > 0 {
            return Err(value.wrong("a service parameter of a wrong length"));
        }
    }
    Ok(text)
}

fn parameter(key: u16, value: &mut Reader<'_>) -> Result<String, Malformed> {
    let list = |items: Vec<String>| items.join(",");
    let mut items = Vec::new();
    Ok(match key {
        0 => {
            while value.left() > 0 {
                items.push(parameter_name(value.u16()?));
            }
            format!("mandatory={}", list(items))
        }
        1 => {
            let mut ids = Vec::new();
            while value.left() > 0 {
                // A comma or a backslash within an item is escaped before the whole is (RFC 9460, appendix A.1).
                for byte in value.string()? {
                    if matches!(byte, b',' | b'\\') {
                        ids.push(b'\\');
                    }
                    ids.push(*byte);
                }
                if value.left() > 0 {
                    ids.push(b',');
                }
            }
            format!("alpn={}", quoted(&ids))
        }
        2 => "no-default-alpn".to_owned(),
        3 => format!("port={}", value.u16()?),
        4 => {
            while value.left() > 0 {
                items.push(Ipv4Addr::from(value.array::<4>()?).to_string());
            }
            format!("ipv4hint={}", list(items))
        }
        5 => format!("ech={}", BASE64.encode(value.rest())),
        6 => {
            while value.left() > 0 {
                items.push(Ipv6Addr::from(value.array::<16>()?).to_string());
            }
            format!("ipv6hint={}", list(items))
        }
        _ if value.left() == 0 => parameter_name(key),
        _ => format!("{}={}", parameter_name(key), quoted(value.rest())),
    })
}

fn parameter_name(key: u16) -> String {
    match key {
        0 => "mandatory".to_owned(),
        1 => "alpn".to_owned(),
        2 => "no-default-alpn".to_owned(),
        3 => "port".to_owned(),
        4 => "ipv4hint".to_owned(),
        5 => "ech".to_owned(),
        6 => "ipv6hint".to_owned(),
        7 => "dohpath".to_owned(),
        8 => "ohttp".to_owned(),
        _ => format!("key{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(number: u16, bytes: &[u8]) -> String {
        present(number, IN, &Reader::new(bytes)).0
    }

    #[test]
    fn presentation_formats() {
        assert_eq!(shown(1, &[192, 0, 2, 1]), "192.0.2.1");
        assert_eq!(shown(1, &[192, 0, 2]), "\\# 3 c00002");
        assert_eq!(shown(16, b"\x03a\"b\x02\xff\n"), r#""a\"b" "\255\010""#);
        assert_eq!(shown(16, b""), "\\# 0");
        assert_eq!(shown(65280, &[1, 2]), "\\# 2 0102");
        assert_eq!(shown(257, b"\x00\x05issueca.example"), r#"0 issue "ca.example""#);
        // RFC 4034, section 5.4.
        assert!(shown(43, &[0xec, 0x45, 5, 1, 0x2b, 0xb1]).starts_with("60485 5 1 2BB1"));
        // RFC 4034, section 4.3: host.example.com. A MX RRSIG NSEC TYPE1234
        let nsec = b"\x04host\x07example\x03com\0\x00\x06\x40\x01\x00\x00\x00\x03\
            \x04\x1b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x20";
        assert_eq!(shown(47, nsec), "host.example.com. A MX RRSIG NSEC TYPE1234");
        // RFC 9460, appendix D.2.
        assert_eq!(
            shown(64, b"\0\x10\x03foo\x07example\x03com\0\0\x03\0\x02\0\x35"),
            "16 foo.example.com. port=53"
        );
        assert_eq!(shown(65, b"\0\x01\0\0\x01\0\x06\x02h2\x02h3"), "1 . alpn=\"h2,h3\"");
        let escaped = b"\0\x10\0\0\x01\0\x0c\x08f\\oo,bar\x02h2";
        assert_eq!(shown(64, escaped), r#"16 . alpn="f\\\\oo\\,bar,h2""#);
        assert_eq!(shown(64, b"\0\x01\0\0\x01\0\x04\x03\xff\"\""), r#"1 . alpn="\255\"\"""#);
    }

    #[test]
    fn moments_of_signatures() {
        assert_eq!(moment(0), "19700101000000");
        // RFC 4034, section 3.3.
        assert_eq!(moment(1_048_354_263), "20030322173103");
        assert_eq!(moment(1_709_164_800), "20240229000000");
        assert_eq!(moment(u32::MAX), "21060207062815");
    }
}

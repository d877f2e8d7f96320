//! Decoding a message (RFC 1035, section 4.1), its OPT record (RFC 6891) apart. What is broken ends the reading and is
//! said; what was read before stands.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mmn_kit::Octets;

use super::rdata::present;
use super::registry::{class_name, extended_error_name, opcode_name, option_name, rcode_name, type_name};
use super::result::{
    Cookie, Edns, EdnsOption, ExtendedError, Flags, Message, Nsid, Question, Record, Subnet, Text,
};
use super::wire::{Malformed, Reader};

/// The length of a header.
#[cfg(feature = "run")]
pub(super) const HEADER_BYTES: usize = 12;
/// The type of the OPT record.
const OPT: u16 = 41;
/// The most text that a message is decoded to, in bytes. Compression lets 64 KiB of wire name megabytes.
const MAX_TEXT_BYTES: usize = 256 << 10;

/// Decodes a message. Absent when the bytes are too few for a header.
pub fn decode(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader::new(bytes);
    let header = Header::read(&mut reader).ok()?;
    let mut message = Message {
        id: header.id,
        opcode: opcode_name(header.opcode()),
        rcode: String::new(),
        rcode_number: header.bits & 15,
        flags: header.flags(),
        question: Vec::new(),
        answer: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
        edns: None,
        trailing_bytes: 0,
        malformed: None,
    };
    match sections(&header, &mut reader, &mut message) {
        Ok(()) => message.trailing_bytes = u32::try_from(reader.left()).unwrap_or(u32::MAX),
        Err(error) => message.malformed = Some(error.to_string()),
    }
    message.rcode = rcode_name(message.rcode_number);
    Some(message)
}

/// The first twelve bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// The identifier.
    pub(super) id: u16,
    bits: u16,
    counts: [u16; 4],
}

impl Header {
    /// Reads it.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (id, bits) = (reader.u16()?, reader.u16()?);
        Ok(Self { id, bits, counts: [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?] })
    }

    fn opcode(&self) -> u16 {
        self.bits >> 11 & 15
    }

    fn flags(&self) -> Flags {
        let set = |bit: u16| self.bits & bit != 0;
        Flags {
            qr: set(0x8000),
            aa: set(0x0400),
            tc: set(0x0200),
            rd: set(0x0100),
            ra: set(0x0080),
            ad: set(0x0020),
            cd: set(0x0010),
        }
    }
}

/// What tells an answer from everything else that comes.
#[cfg(feature = "run")]
impl Header {
    /// Whether it is a response to a standard query.
    pub(super) fn is_answer(&self) -> bool {
        self.bits & 0x8000 != 0 && self.opcode() == 0
    }

    /// Whether it is truncated.
    pub(super) fn is_truncated(&self) -> bool {
        self.bits & 0x0200 != 0
    }

    /// How many questions it repeats.
    pub(super) fn questions(&self) -> u16 {
        let [questions, ..] = self.counts;
        questions
    }

    /// Whether it says anything but NOERROR.
    pub(super) fn is_error(&self) -> bool {
        self.bits & 15 != 0
    }
}

fn sections(header: &Header, reader: &mut Reader<'_>, message: &mut Message) -> Result<(), Malformed> {
    let [questions, answers, authorities, additionals] = header.counts;
    let mut text_bytes = 0;
    for _ in 0..questions {
        let name = reader.name()?;
        let (number, class) = (reader.u16()?, reader.u16()?);
        add(&mut text_bytes, name.len(), reader)?;
        message.question.push(Question { name, r#type: type_name(number), class: class_name(class) });
    }
    for (section, count) in
        [(Section::Answer, answers), (Section::Authority, authorities), (Section::Additional, additionals)]
    {
        for _ in 0..count {
            let name = reader.name()?;
            let (number, class, ttl, length) = (reader.u16()?, reader.u16()?, reader.u32()?, reader.u16()?);
            let data = reader.part(length.into())?;
            if number == OPT && section == Section::Additional && message.edns.is_none() {
                message.rcode_number |= u16::try_from(ttl >> 24).unwrap_or(0) << 4;
                let edns = message.edns.insert(Edns {
                    version: u8::try_from(ttl >> 16 & 0xff).unwrap_or(0),
                    bufsize: class,
                    r#do: ttl & 0x8000 != 0,
                    nsid: None,
                    subnet: None,
                    cookie: None,
                    errors: Vec::new(),
                    options: Vec::new(),
                });
                options(data, edns)?;
                continue;
            }
            let (rdata, data) = present(number, class, &data);
            add(&mut text_bytes, name.len() + 2 * rdata.len() + 16, reader)?;
            let record =
                Record { name, r#type: type_name(number), class: class_name(class), ttl, rdata, data };
            match section {
                Section::Answer => message.answer.push(record),
                Section::Authority => message.authority.push(record),
                Section::Additional => message.additional.push(record),
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Answer,
    Authority,
    Additional,
}

fn add(sum: &mut usize, bytes: usize, reader: &Reader<'_>) -> Result<(), Malformed> {
    *sum += bytes;
    if *sum > MAX_TEXT_BYTES {
        Err(reader.wrong("more text than is kept, the rest left out"))
    } else {
        Ok(())
    }
}

fn options(mut data: Reader<'_>, edns: &mut Edns) -> Result<(), Malformed> {
    while data.left() > 0 {
        let (code, length) = (data.u16()?, data.u16()?);
        let bytes = data.take(length.into())?;
        let understood = match code {
            3 if edns.nsid.is_none() => {
                edns.nsid = Some(nsid(bytes));
                true
            }
            8 if edns.subnet.is_none() => {
                edns.subnet = subnet(bytes);
                edns.subnet.is_some()
            }
            10 if edns.cookie.is_none() => {
                edns.cookie = cookie(bytes);
                edns.cookie.is_some()
            }
            15 => extended_error(bytes).map(|error| edns.errors.push(error)).is_some(),
            _ => false,
        };
        if !understood {
            edns.options.push(EdnsOption { code, name: option_name(code), data: Octets(bytes.to_vec()) });
        }
    }
    Ok(())
}

fn nsid(bytes: &[u8]) -> Nsid {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control));
    Nsid { raw: Octets(bytes.to_vec()), text: text.map(str::to_owned) }
}

/// RFC 7871, section 6: the address is cut to the bytes that its length needs.
fn subnet(bytes: &[u8]) -> Option<Subnet> {
    let mut data = Reader::new(bytes);
    let (family, source, scope) = (data.u16().ok()?, data.u8().ok()?, data.u8().ok()?);
    let given = data.rest();
    let address = match family {
        1 if given.len() <= 4 => IpAddr::V4(Ipv4Addr::from(padded::<4>(given))),
        2 if given.len() <= 16 => IpAddr::V6(Ipv6Addr::from(padded::<16>(given))),
        _ => return None,
    };
    Some(Subnet { address: address.into(), source, scope })
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(bytes) {
        *to = *from;
    }
    array
}

fn cookie(bytes: &[u8]) -> Option<Cookie> {
    let (client, server) = bytes.split_at_checked(8)?;
    let server = match server.len() {
        0 => None,
        8..=32 => Some(Octets(server.to_vec())),
        _ => return None,
    };
    Some(Cookie { client: Octets(client.to_vec()), server })
}

fn extended_error(bytes: &[u8]) -> Option<ExtendedError> {
    let mut data = Reader::new(bytes);
    let code = data.u16().ok()?;
    let text = Some(data.rest()).filter(|text| !text.is_empty()).map(Text::from);
    Some(ExtendedError { code, name: extended_error_name(code), text })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_broken_record_leaves_the_others() {
        let mut bytes = b"\x12\x34\x81\x80\0\x01\0\x02\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
        bytes.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
        bytes.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x09\xc0");
        let message = decode(&bytes).unwrap();
        assert_eq!(message.answer.len(), 1);
        assert_eq!(message.answer[0].rdata, "192.0.2.1");
        assert_eq!(message.malformed.unwrap(), "the message ends too early at byte 47");
        assert_eq!(decode(&bytes[..11]), None);
    }

    #[test]
    fn compressed_names_do_not_grow_without_bound() {
        let mut bytes = b"\0\0\x81\x80\0\x01\xff\xff\0\0\0\0".to_vec();
        for _ in 0..3 {
            bytes.push(63);
            bytes.extend([0xff; 63]);
        }
        bytes.extend(b"\0\0\x01\0\x01");
        while bytes.len() < 65_000 {
            bytes.extend(b"\xc0\x0c\xff\x01\0\x01\0\0\0\0\0\0");
        }
        let message = decode(&bytes).unwrap();
        assert!(message.malformed.unwrap().contains("more text"));
        assert!(message.answer.len() < 1_000);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn garbage_after_a_header_never_panics(
            counts in prop::array::uniform8(any::<u8>()),
            rest in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0xc0), Just(12), Just(1)], 0..300),
        ) {
            let mut bytes = vec![0, 1, 0x81, 0x80];
            bytes.extend(counts);
            bytes.extend(rest);
            let _ = decode(&bytes);
        }
    }
}

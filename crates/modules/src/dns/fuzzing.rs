//! The decoders of `dns` for fuzzing: each takes what a stranger wrote, and panics where a promise is broken.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a finding is told")]

use super::name::to_wire;
use super::query::Query;
use super::rdata::present;
use super::registry::{class_name, class_number, type_name, type_number};
use super::result::Subnet;
use super::wire::Reader;
use super::{Params, decode, server};

/// A name on the wire and as text: either form leads to the other and back. A query for it reads as what was asked.
pub fn name(bytes: &[u8]) {
    if let Ok(text) = Reader::new(bytes).name() {
        let wire = to_wire(&text).unwrap_or_else(|error| panic!("{text:?} was read, but {error}"));
        assert_eq!(Reader::new(&wire).name(), Ok(text));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(wire) = to_wire(text) else { return };
    let mut reader = Reader::new(&wire);
    let shown = reader.name().unwrap_or_else(|error| panic!("{text:?} was written, but {error}"));
    assert_eq!(reader.left(), 0, "{text:?} was written with something behind it");
    assert_eq!(to_wire(&shown).as_ref(), Ok(&wire));
    let params = Params { nsid: true, subnet: Some("2001:db8::/56".to_owned()), ..Params::default() };
    let query = Query::new(&params, wire, (28, 1), None, Some([7; 8]));
    let read =
        decode(&query.message(0x1234)).unwrap_or_else(|| panic!("the query for {text:?} has no header"));
    assert_eq!((read.malformed, read.trailing_bytes, read.id), (None, 0, 0x1234));
    assert!(read.question.iter().map(|question| &question.name).eq([&shown]));
}

/// The data of a record of class IN: two octets of its type, then the data.
pub fn record_data(bytes: &[u8]) {
    let Some((number, data)) = bytes.split_first_chunk() else { return };
    let (text, _) = present(u16::from_be_bytes(*number), 1, &Reader::new(data));
    assert!(!text.is_empty() || data.is_empty(), "data is left out");
}

/// Words of the parameters: types, classes, subnets, servers.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(number) = type_number(text) {
        assert_eq!(type_number(&type_name(number)), Some(number));
    }
    if let Some(number) = class_number(text) {
        assert_eq!(class_number(&class_name(number)), Some(number));
    }
    if let Ok(subnet) = Subnet::parse(text) {
        let again = Subnet::parse(&format!("{}/{}", subnet.address, subnet.source));
        assert_eq!(again, Ok(subnet));
    }
    if let Ok((host, port)) = server::split(text, 53) {
        assert!(!host.is_empty() && port != 0, "{host:?} {port}");
    }
}

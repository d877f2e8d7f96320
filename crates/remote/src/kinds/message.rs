//! A message of DNS (RFC 1035, section 4) as it may have stood on the wire, of what a record says of it: from there the kind's
//! own decoder reads it.

use mmn_warts::records::host::{Query, Rr, RrData};
use mmn_warts::values::Text;

/// The flags of a header by those of a record.
const FLAGS: [(u8, u16); 6] =
    [(0x01, 0x0010), (0x02, 0x0020), (0x08, 0x0080), (0x10, 0x0100), (0x20, 0x0200), (0x40, 0x0400)];

/// A question: a name, a type and a class.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) name: String,
    pub(super) qtype: u16,
    pub(super) class: u16,
}

/// The query.
pub(super) fn query(id: u16, recurse: bool, question: &Question) -> Vec<u8> {
    message(id, if recurse { 0x0100 } else { 0 }, question, [&[], &[], &[]])
}

/// The answer.
pub(super) fn answer(query: &Query, question: &Question) -> Vec<u8> {
    let told = query.flags.unwrap_or(0);
    let flags = FLAGS.iter().filter(|(flag, _)| told & flag != 0).fold(0x8000, |flags, (_, bit)| flags | bit);
    let rcode = u16::from(query.rcode.unwrap_or(0)) & 0x0f;
    message(query.id.unwrap_or(0), flags | rcode, question, [&query.an, &query.ns, &query.ar])
}

fn message(id: u16, flags: u16, question: &Question, sections: [&[Rr]; 3]) -> Vec<u8> {
    let mut out = Vec::new();
    let counts = sections.map(|section| u16::try_from(section.len()).unwrap_or(u16::MAX));
    for word in [id, flags, 1].into_iter().chain(counts) {
        out.extend(word.to_be_bytes());
    }
    name(&question.name, &mut out);
    out.extend(question.qtype.to_be_bytes());
    out.extend(question.class.to_be_bytes());
    for record in sections.into_iter().flatten() {
        resource(record, &mut out);
    }
    out
}

fn resource(record: &Rr, out: &mut Vec<u8>) {
    text(record.name.as_ref(), out);
    out.extend(record.rtype.unwrap_or(0).to_be_bytes());
    out.extend(record.class.unwrap_or(0).to_be_bytes());
    out.extend(record.ttl.unwrap_or(0).to_be_bytes());
    let mut data = Vec::new();
    // What a record does not tell is empty.
    record.data.iter().for_each(|told| rdata(told, &mut data));
    data.truncate(usize::from(u16::MAX));
    out.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(data);
}

fn rdata(told: &RrData, out: &mut Vec<u8>) {
    match told {
        RrData::Address(address) => out.extend(address.octets().iter()),
        RrData::Name(found) => text(Some(found), out),
        RrData::Soa(soa) => {
            text(soa.mname.as_ref(), out);
            text(soa.rname.as_ref(), out);
            for number in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
                out.extend(number.unwrap_or(0).to_be_bytes());
            }
        }
        RrData::Mx(mx) => {
            out.extend(mx.preference.unwrap_or(0).to_be_bytes());
            text(mx.exchange.as_ref(), out);
        }
        RrData::Txt(txt) => {
            for string in txt.strs.iter().flatten() {
                out.push(u8::try_from(string.0.len()).unwrap_or(u8::MAX));
                out.extend(string.0.iter().take(usize::from(u8::MAX)));
            }
        }
        RrData::Opt(opt) => elements(opt.elems.as_deref(), out),
        RrData::Svcb(svcb) => {
            out.extend(svcb.priority.unwrap_or(0).to_be_bytes());
            text(svcb.target.as_ref(), out);
            elements(svcb.params.as_deref(), out);
        }
        RrData::Other { .. } => {}
    }
}

fn elements(list: Option<&[mmn_warts::records::host::Element]>, out: &mut Vec<u8>) {
    for element in list.unwrap_or_default() {
        out.extend(element.code.to_be_bytes());
        out.extend(u16::try_from(element.data.0.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(&element.data.0);
    }
}

fn text(told: Option<&Text>, out: &mut Vec<u8>) {
    name(&told.map(ToString::to_string).unwrap_or_default(), out);
}

/// A name in labels; what is too long for one is cut.
fn name(presented: &str, out: &mut Vec<u8>) {
    let mut left = 254;
    for label in presented.split('.').filter(|label| !label.is_empty()) {
        let octets = label.as_bytes().get(..label.len().min(63)).unwrap_or_default();
        if octets.len() + 1 > left {
            break;
        }
        left -= octets.len() + 1;
        out.push(u8::try_from(octets.len()).unwrap_or(0));
        out.extend(octets);
    }
    out.push(0);
}

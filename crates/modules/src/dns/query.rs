//! Writing a query: header, one question, and the OPT record with what was asked for.

use std::net::IpAddr;

use super::Params;
use super::result::Subnet;

/// What is asked, on the wire and ready to be repeated with other identifiers.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// The question as it stands on the wire: name, type, class.
    question: Vec<u8>,
    name_bytes: usize,
    flags: u16,
    opt: Vec<u8>,
}

impl Query {
    /// For a name in wire format. `mixing` are random bits that decide about the case of the letters, one each; absent:
    /// the case stays.
    pub(super) fn new(
        params: &Params,
        mut name: Vec<u8>,
        (number, class): (u16, u16),
        mixing: Option<&[u8]>,
        cookie: Option<[u8; 8]>,
    ) -> Self {
        if let Some(mixing) = mixing {
            // Label lengths are below 64, and no letter is.
            for (at, byte) in name.iter_mut().enumerate() {
                let bit = mixing.get(at / 8).is_some_and(|bits| bits >> (at % 8) & 1 == 1);
                *byte = if bit { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
            }
        }
        let name_bytes = name.len();
        let mut question = name;
        question.extend(number.to_be_bytes());
        question.extend(class.to_be_bytes());
        let bit = |set: bool, bit: u16| if set { bit } else { 0 };
        let flags = bit(params.rd, 0x0100) | bit(params.ad, 0x0020) | bit(params.cd, 0x0010);
        let opt = if params.edns { opt(params, cookie) } else { Vec::new() };
        Self { question, name_bytes, flags, opt }
    }

    /// The message with an identifier.
    pub(super) fn message(&self, id: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(12 + self.question.len() + self.opt.len());
        message.extend(id.to_be_bytes());
        message.extend(self.flags.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(!self.opt.is_empty())]);
        message.extend(&self.question);
        message.extend(&self.opt);
        message
    }

    /// Whether the bytes after a header repeat the question; the case of letters counts where `exactly`.
    pub(super) fn is_repeated(&self, after_header: &[u8], exactly: bool) -> bool {
        let Some(repeated) = after_header.get(..self.question.len()) else { return false };
        let (name, rest) = repeated.split_at(self.name_bytes.min(repeated.len()));
        let (own_name, own_rest) = self.question.split_at(self.name_bytes);
        let same = if exactly { name == own_name } else { name.eq_ignore_ascii_case(own_name) };
        same && rest == own_rest
    }
}

/// RFC 6891, section 6.1.2.
fn opt(params: &Params, cookie: Option<[u8; 8]>) -> Vec<u8> {
    let mut data = Vec::new();
    if params.nsid {
        option(&mut data, 3, &[]);
    }
    if let Some(subnet) = params.subnet.as_deref().and_then(|text| Subnet::parse(text).ok()) {
        option(&mut data, 8, &subnet_bytes(&subnet));
    }
    if let Some(cookie) = cookie {
        option(&mut data, 10, &cookie);
    }
    let mut record = vec![0];
    record.extend(41_u16.to_be_bytes());
    record.extend(params.bufsize.to_be_bytes());
    record.extend([0, 0, if params.r#do { 0x80 } else { 0 }, 0]);
    record.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    record.append(&mut data);
    record
}

fn option(data: &mut Vec<u8>, code: u16, value: &[u8]) {
    data.extend(code.to_be_bytes());
    data.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
    data.extend(value);
}

/// RFC 7871, section 6.
fn subnet_bytes(subnet: &Subnet) -> Vec<u8> {
    let (family, octets) = match subnet.address.0 {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let needed = usize::from(subnet.source).div_ceil(8);
    let mut bytes = vec![0, family, subnet.source, 0];
    bytes.extend(octets.into_iter().take(needed));
    bytes
}

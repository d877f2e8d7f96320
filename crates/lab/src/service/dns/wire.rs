//! Messages of the DNS (RFC 1035, section 4): reading a query, writing its response.

use crate::plan::{RecordData, RecordType};

/// TXT.
pub(super) const TYPE_TXT: RecordType = RecordType(16);
/// Any type (a question alone).
pub(super) const TYPE_ANY: RecordType = RecordType(255);
/// The pseudo-record of EDNS (RFC 6891).
const TYPE_OPT: u16 = 41;
/// The option *name server identifier* (RFC 5001).
const OPTION_NSID: u16 = 3;
/// The most octets of a response over UDP, whatever the query allows.
const MOST_UDP: usize = 4_096;

/// The classes that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Internet,
    Chaos,
    Other,
}

/// What a query asks.
#[derive(Clone, Debug)]
pub(super) struct Question {
    id: u16,
    pub(super) opcode: u8,
    pub(super) recursion_desired: bool,
    checking_disabled: bool,
    /// The name in lower case, without a dot at its end.
    pub(super) name: Box<str>,
    pub(super) record_type: RecordType,
    pub(super) class: Class,
    /// The question as it came, for its echo: letters keep their case.
    raw: Vec<u8>,
    edns: Option<Edns>,
}

#[derive(Clone, Copy, Debug)]
struct Edns {
    bytes: usize,
    wants_nsid: bool,
}

impl Question {
    /// Reads a query with one question; anything else is none.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let flags = word(message, 2)?;
        let is_query = flags & 0x8000 == 0;
        if !is_query || word(message, 4)? != 1 {
            return None;
        }
        let (name, at) = read_name(message, HEADER)?;
        let record_type = RecordType(word(message, at)?);
        let class = match word(message, at + 2)? {
            1 => Class::Internet,
            3 => Class::Chaos,
            _ => Class::Other,
        };
        let end = at + 4;
        let others = usize::from(word(message, 6)?) + usize::from(word(message, 8)?);
        let edns = if others == 0 && word(message, 10)? > 0 { read_edns(message, end) } else { None };
        Some(Self {
            id: word(message, 0)?,
            opcode: u8::try_from(flags >> 11 & 0xf).unwrap_or(0),
            recursion_desired: flags & 0x0100 != 0,
            checking_disabled: flags & 0x0010 != 0,
            name: name.into(),
            record_type,
            class,
            raw: message.get(HEADER..end)?.to_vec(),
            edns,
        })
    }
}

/// The first additional record, where it is that of EDNS.
fn read_edns(message: &[u8], at: usize) -> Option<Edns> {
    if *message.get(at)? != 0 || word(message, at + 1)? != TYPE_OPT {
        return None;
    }
    let length = usize::from(word(message, at + 9)?);
    let mut options = message.get(at + 11..at + 11 + length)?;
    let mut wants_nsid = false;
    while let (Some(code), Some(length)) = (word(options, 0), word(options, 2)) {
        wants_nsid |= code == OPTION_NSID;
        options = options.get(4 + usize::from(length)..).unwrap_or_default();
    }
    Some(Edns { bytes: usize::from(word(message, at + 3)?), wants_nsid })
}

/// A name without compression, as queries have it, and where it ends.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        let label = message.get(at..at + length).filter(|_| length < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        // What is no letter stands for itself; names of the lab have none of those.
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        at += length;
        if name.len() > 255 {
            return None;
        }
    }
}

/// Response codes (IANA, *DNS RCODEs*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rcode {
    NoError = 0,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// A response but for what it repeats of the query.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) rcode: Rcode,
    pub(super) authoritative: bool,
    pub(super) recursion_available: bool,
    pub(super) answers: Vec<OutRecord>,
    pub(super) authority: Vec<OutRecord>,
    pub(super) additional: Vec<OutRecord>,
    /// What the server calls itself, for who asks (RFC 5001).
    pub(super) identity: Box<str>,
}

impl Answer {
    pub(super) fn error(rcode: Rcode) -> Self {
        Self {
            rcode,
            authoritative: false,
            recursion_available: false,
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            identity: Box::default(),
        }
    }
}

/// A record of a response.
#[derive(Clone, Debug)]
pub(super) struct OutRecord {
    pub(super) name: Box<str>,
    pub(super) record_type: RecordType,
    pub(super) ttl_s: u32,
    pub(super) data: OutData,
}

/// What it says.
#[derive(Clone, Debug)]
pub(super) enum OutData {
    Plain(RecordData),
    /// The start of authority of a zone.
    Soa {
        primary: Box<str>,
        zone: Box<str>,
        serial: u32,
        minimum_s: u32,
    },
}

/// A response under way.
#[derive(Debug)]
pub(super) struct Write {
    bytes: Vec<u8>,
    asked: Box<str>,
}

impl Write {
    /// The response, cut to its header and question and marked so where it would be too long.
    pub(super) fn response(question: &Question, answer: &Answer, most: usize) -> Vec<u8> {
        let offered = question.edns.map_or(0, |edns| edns.bytes.min(MOST_UDP));
        let most = most.max(offered);
        let whole = Self::with(question, answer, false);
        if whole.len() <= most { whole } else { Self::with(question, answer, true) }
    }

    fn with(question: &Question, answer: &Answer, cut: bool) -> Vec<u8> {
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        let flags = 0x8000
            | u16::from(question.opcode) << 11
            | flag(answer.authoritative, 0x0400)
            | flag(cut, 0x0200)
            | flag(question.recursion_desired, 0x0100)
            | flag(answer.recursion_available, 0x0080)
            | flag(question.checking_disabled, 0x0010)
            | answer.rcode as u16;
        let sections = [&answer.answers, &answer.authority, &answer.additional];
        let count =
            |records: &Vec<OutRecord>| if cut { 0 } else { u16::try_from(records.len()).unwrap_or(0) };
        let [answers, authority, additional] = sections.map(count);
        let additional = additional + u16::from(question.edns.is_some());
        let mut write = Self { bytes: Vec::new(), asked: question.name.clone() };
        for word in [question.id, flags, 1, answers, authority, additional] {
            write.word(word);
        }
        write.bytes.extend_from_slice(&question.raw);
        if !cut {
            sections.into_iter().flatten().for_each(|record| write.record(record));
        }
        if let Some(edns) = question.edns {
            write.edns(edns, &answer.identity);
        }
        write.bytes
    }

    fn record(&mut self, record: &OutRecord) {
        self.name(&record.name);
        self.word(record.record_type.0);
        self.word(1 + 2 * u16::from(record.name.ends_with(".bind") || &*record.name == "id.server"));
        self.bytes.extend_from_slice(&record.ttl_s.to_be_bytes());
        let at = self.bytes.len();
        self.word(0);
        match &record.data {
            OutData::Plain(data) => self.data(data),
            OutData::Soa { primary, zone, serial, minimum_s } => {
                self.name(primary);
                let separator = if zone.is_empty() { "" } else { "." };
                self.name(&format!("hostmaster{separator}{zone}"));
                for number in [*serial, 3_600, 600, 604_800, *minimum_s] {
                    self.bytes.extend_from_slice(&number.to_be_bytes());
                }
            }
        }
        let length = u16::try_from(self.bytes.len() - at - 2).unwrap_or(0);
        if let Some(field) = self.bytes.get_mut(at..at + 2) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }

    fn data(&mut self, data: &RecordData) {
        match data {
            RecordData::A(address) => self.bytes.extend_from_slice(&address.octets()),
            RecordData::Aaaa(address) => self.bytes.extend_from_slice(&address.octets()),
            RecordData::Ns(name) | RecordData::Cname(name) | RecordData::Ptr(name) => self.name(name),
            RecordData::Mx(preference, name) => {
                self.word(*preference);
                self.name(name);
            }
            RecordData::Txt(text) => {
                self.bytes.push(u8::try_from(text.len()).unwrap_or(0));
                self.bytes.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// RFC 6891, section 6.1.2, with the identity where it was asked for.
    fn edns(&mut self, edns: Edns, identity: &str) {
        let nsid = if edns.wants_nsid { identity } else { "" };
        self.bytes.push(0);
        self.word(TYPE_OPT);
        self.word(u16::try_from(MOST_UDP).unwrap_or(u16::MAX));
        self.bytes.extend_from_slice(&[0; 4]);
        let length = u16::try_from(nsid.len()).unwrap_or(0);
        self.word(if nsid.is_empty() { 0 } else { length + 4 });
        if !nsid.is_empty() {
            self.word(OPTION_NSID);
            self.word(length);
            self.bytes.extend_from_slice(nsid.as_bytes());
        }
    }

    /// A name; that which was asked stands behind the header, and is pointed at (RFC 1035, section 4.1.4).
    fn name(&mut self, name: &str) {
        const TO_QUESTION: u16 = 0xc00c;
        if *name == *self.asked && !name.is_empty() {
            return self.word(TO_QUESTION);
        }
        for label in name.split('.').filter(|label| !label.is_empty()) {
            self.bytes.push(u8::try_from(label.len()).unwrap_or(0));
            self.bytes.extend_from_slice(label.as_bytes());
        }
        self.bytes.push(0);
    }

    fn word(&mut self, word: u16) {
        self.bytes.extend_from_slice(&word.to_be_bytes());
    }
}

/// The octets of a header.
const HEADER: usize = 12;

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).and_then(|word| word.try_into().ok()).map(u16::from_be_bytes)
}

//! What hosts serve: zones and their name servers, and web pages. `build` reads them; `crate::service` plays them.

use std::net::{Ipv4Addr, Ipv6Addr};

use mmn_probe::time::Nanos;

use crate::ids::{HostId, ZoneId};

/// A zone of the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name in lower case, without a dot at the end; empty for the root.
    pub name: Box<str>,
    /// Its serials, the first from the beginning on.
    pub serials: Vec<Serial>,
    /// The TTL of its SOA and of negative answers, in seconds.
    pub ttl_s: u32,
    /// Its records but for the SOA.
    pub records: Vec<Record>,
}

/// A serial and since when it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial {
    /// Since when, from the beginning of the world.
    pub since: Nanos,
    /// The number.
    pub serial: u32,
}

impl Zone {
    /// The serial at a time since the world began.
    pub fn serial_at(&self, since_start: Nanos) -> u32 {
        let past = self.serials.iter().rev().find(|serial| serial.since <= since_start);
        past.or(self.serials.first()).map_or(1, |serial| serial.serial)
    }

    /// Whether a name, in lower case, lies in the zone.
    pub fn covers(&self, name: &str) -> bool {
        self.name.is_empty()
            || name.strip_suffix(&*self.name).is_some_and(|head| head.is_empty() || head.ends_with('.'))
    }
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its owner: the whole name in lower case, without a dot at the end.
    pub name: Box<str>,
    /// How long it may be kept, in seconds.
    pub ttl_s: u32,
    /// What it says.
    pub data: RecordData,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordData {
    /// A.
    A(Ipv4Addr),
    /// AAAA.
    Aaaa(Ipv6Addr),
    /// NS.
    Ns(Box<str>),
    /// CNAME.
    Cname(Box<str>),
    /// PTR.
    Ptr(Box<str>),
    /// MX: preference and exchange.
    Mx(u16, Box<str>),
    /// TXT: one string of at most 255 octets.
    Txt(Box<str>),
}

/// The types of records (IANA, *Resource Record (RR) TYPEs*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordType(pub u16);

impl RecordData {
    /// Its type.
    pub const fn record_type(&self) -> RecordType {
        RecordType(match self {
            Self::A(_) => 1,
            Self::Ns(_) => 2,
            Self::Cname(_) => 5,
            Self::Ptr(_) => 12,
            Self::Mx(..) => 15,
            Self::Txt(_) => 16,
            Self::Aaaa(_) => 28,
        })
    }
}

/// Something that answers DNS queries at a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsServer {
    /// Where it runs.
    pub host: HostId,
    /// What it answers to `hostname.bind` and `id.server` (RFC 4892).
    pub identity: Box<str>,
    /// The zones for which it is authoritative.
    pub zones: Vec<ZoneId>,
    /// By how much its copies of them are behind.
    pub lag: Nanos,
    /// Whether it resolves what is not its own, and keeps what it learns.
    pub recursive: bool,
    /// How much longer it takes when it has to ask others.
    pub miss: Nanos,
}

/// A web server at a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where it runs.
    pub host: HostId,
    /// The names in its certificate, and for which it has pages; any where empty.
    pub names: Vec<Box<str>>,
    /// Whether it serves port 80.
    pub http: bool,
    /// With which certificate it serves port 443, if it does.
    pub certificate: Option<Certificate>,
    /// Its pages.
    pub pages: Vec<Page>,
}

/// What a server shows as its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Certificate {
    /// One of the lab's own authority.
    Valid,
    /// The same, but its time is over.
    Expired,
    /// The same, but for other names.
    WrongName,
    /// One that it signed itself.
    SelfSigned,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The path that it answers for.
    pub path: Box<str>,
    /// Its status code.
    pub status: u16,
    /// Its media type.
    pub content_type: Box<str>,
    /// Its content.
    pub body: Content,
    /// Where it sends the reader.
    pub location: Option<Box<str>>,
    /// How long it takes before the first octet.
    pub wait: Nanos,
    /// How fast its octets come; as fast as they can where absent.
    pub bits_per_s: Option<u64>,
    /// How it fails.
    pub broken: Option<Broken>,
}

/// What stands on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// This.
    Text(Box<str>),
    /// So many octets.
    Filler(u32),
}

impl Content {
    /// Its octets.
    pub fn bytes(&self) -> Vec<u8> {
        const LINE: &[u8; 16] = b"0123456789abcde\n";
        match self {
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Filler(octets) => {
                let octets = usize::try_from(*octets).unwrap_or(0);
                let mut bytes = LINE.repeat(octets.div_ceil(LINE.len()));
                bytes.truncate(octets);
                bytes
            }
        }
    }
}

/// How a page fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// The connection is reset in place of an answer.
    Reset,
    /// The connection ends in the midst of the content.
    Cut,
    /// What comes is no HTTP.
    Garbage,
    /// Nothing comes, ever.
    Hang,
}

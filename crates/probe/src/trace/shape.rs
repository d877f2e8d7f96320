//! How the probes of a path measurement look, and how answers to them are told from forged ones.
//!
//! A probe carries a keyed cookie at the start of its payload as far as that goes, unless the payload is asked for. What comes back is judged by
//! whatever it shows of the probe: the cookie, the checksum, the identification of the IP header, the ports. A middlebox
//! may have rewritten some of it, which is worth telling ([`Altered`]); a packet that contradicts the cookie is foreign.

use std::net::IpAddr;

use crate::cookie::Key;
use crate::packet::{
    Body, Flow, Identity, Message, Packet, Probe, ProbeId, Quote, Ttl, UdpTag, shown, tcp_flags,
};

/// The octets of a payload that carry the cookie; a shorter payload carries as much as it can.
pub const COOKIE_BYTES: usize = 8;

/// What the probes of a path measurement are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// ICMP echo requests.
    Icmp,
    /// UDP datagrams.
    Udp,
    /// TCP segments with SYN.
    Tcp,
    /// TCP segments with ACK.
    TcpAck,
}

/// The fields that all probes of a measurement share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What they are.
    pub method: Method,
    /// Their source; the system's choice where absent.
    pub source: Option<IpAddr>,
    /// Their octet of DSCP and ECN.
    pub tos: u8,
    /// Whether they may not be fragmented.
    pub dont_fragment: bool,
    /// Where in a larger packet they say that they belong, in units of 8 octets (IPv4 alone).
    pub fragment_offset: u16,
    /// The router by which they leave; the system's choice where absent.
    pub router: Option<IpAddr>,
}

/// What differs from probe to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look<'a> {
    pub(crate) id: ProbeId,
    pub(crate) ttl: Ttl,
    pub(crate) flow: Flow,
    /// The destination port, of UDP and TCP.
    pub(crate) port: u16,
    pub(crate) payload_bytes: u16,
    /// The payload, cut off or filled up with zeros; made of the cookie where absent.
    pub(crate) payload: Option<&'a [u8]>,
    /// Of which number the cookie is: of its own, unless all payloads are the same.
    pub(crate) cookie_of: u32,
    /// Where the probe's own number goes: a checksum that the flow fixes (ICMP), the checksum itself (UDP), or neither.
    pub(crate) checksum: Checksum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// It comes out as it does.
    Free,
    /// ICMP: it is this for every probe of the flow.
    Fixed(u16),
    /// UDP: it is the tag.
    Tag,
}

impl Shape {
    /// The probe that looks like this.
    pub(crate) fn probe(&self, key: &Key, destination: IpAddr, look: &Look<'_>) -> Probe {
        let payload = payload(key, look);
        let body = match self.method {
            Method::Icmp => {
                let checksum = match look.checksum {
                    Checksum::Fixed(checksum) => Some(checksum),
                    _ => None,
                };
                Body::Echo { payload, checksum }
            }
            Method::Udp => {
                let tag = if look.checksum == Checksum::Tag { UdpTag::Checksum } else { UdpTag::Ports };
                Body::Udp { port: look.port, payload, tag }
            }
            Method::Tcp | Method::TcpAck => {
                let flags = if self.method == Method::Tcp { tcp_flags::SYN } else { tcp_flags::ACK };
                Body::Tcp { port: look.port, flags, seq: None, ack: None, mss: None, payload }
            }
        };
        Probe {
            source: self.source,
            ttl: Some(look.ttl),
            tos: self.tos,
            dont_fragment: self.dont_fragment,
            fragment_offset: self.fragment_offset,
            router: self.router,
            flow: look.flow,
            ..Probe::new(look.id, destination, body)
        }
    }

    /// Whether a packet is an answer to the probe that looked and left like this.
    pub(crate) fn judge(&self, key: &Key, to: IpAddr, sent: &SentAs<'_>, packet: &Packet<'_>) -> Verdict {
        let ours = |verified| Verdict::Ours { verified, altered: Altered::default() };
        match (self.method, packet.message) {
            (Method::Icmp, Message::EchoReply { payload }) => {
                let (known, secret) = known(key, &sent.look);
                let length = usize::from(sent.look.payload_bytes);
                if payload.len() != length || !payload.starts_with(&known) {
                    return Verdict::Foreign;
                }
                ours(secret && !known.is_empty())
            }
            (Method::Udp, Message::Udp { source_port, .. }) => {
                if source_port == sent.look.port {
                    ours(false)
                } else {
                    Verdict::Foreign
                }
            }
            (Method::Tcp | Method::TcpAck, Message::Tcp(segment)) => {
                if segment.source_port != sent.look.port {
                    return Verdict::Foreign;
                }
                // Whoever answers a SYN acknowledges its number; whoever resets for an ACK takes its number on.
                let echoed = if self.method == Method::Tcp { segment.ack } else { segment.seq };
                let Some(echoed) = echoed else { return ours(false) };
                if echoed >> 16 == u32::from(sent.identity.tag) { ours(true) } else { Verdict::Foreign }
            }
            (_, Message::Error(report)) => self.judge_quote(key, to, sent, &report.quote),
            _ => Verdict::Foreign,
        }
    }

    fn judge_quote(&self, key: &Key, to: IpAddr, sent: &SentAs<'_>, quote: &Quote<'_>) -> Verdict {
        let (known, secret) = known(key, &sent.look);
        let Some(shown) = shown(&known, quote.payload) else { return Verdict::Foreign };
        let proven = secret && !known.is_empty() && shown == known.len();
        let differs =
            |quoted: Option<u16>, sent: Option<u16>| matches!((quoted, sent), (Some(q), Some(s)) if q != s);
        let checksum = match (self.method, sent.look.checksum) {
            (Method::Icmp, Checksum::Fixed(checksum)) => Some(checksum),
            (Method::Udp, Checksum::Tag) => Some(sent.identity.tag),
            _ => None,
        };
        let has_ports = self.method != Method::Icmp;
        let altered = Altered::default()
            .with(Altered::SOURCE, matches!((quote.source, sent.source), (Some(q), Some(s)) if q != s))
            .with(Altered::DESTINATION, quote.destination.is_some_and(|quoted| quoted != to))
            .with(Altered::SOURCE_PORT, has_ports && differs(quote.source_port, Some(sent.identity.selector)))
            .with(
                Altered::DESTINATION_PORT,
                has_ports && differs(quote.destination_port, Some(sent.look.port)),
            )
            .with(Altered::CHECKSUM, differs(quote.checksum, checksum))
            .with(Altered::IP_ID, differs(quote.ip_id, sent.ip_id))
            .with(Altered::TOS, quote.tos.is_some_and(|tos| tos != self.tos))
            .with(Altered::LENGTH, quote.ip_bytes.is_some_and(|bytes| bytes != sent.bytes));
        // Both fields that carry the probe's number say another one: it is about another packet.
        let other = |field| altered.has(field);
        if !proven && other(Altered::CHECKSUM) && other(Altered::IP_ID) {
            return Verdict::Foreign;
        }
        Verdict::Ours { verified: proven, altered }
    }
}

/// How a probe looked and left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentAs<'a> {
    pub(crate) look: Look<'a>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) identity: Identity,
    pub(crate) ip_id: Option<u16>,
    pub(crate) bytes: u32,
}

/// Whether a packet is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is none.
    Foreign,
    /// It is one.
    Ours {
        /// It shows what nobody else can know.
        verified: bool,
        /// What of the probe it quotes otherwise than it was sent.
        altered: Altered,
    },
}

/// The fields of a probe that an error quotes otherwise than they were sent: something on the way rewrote them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Altered(u8);

impl Altered {
    const SOURCE: u8 = 1;
    const DESTINATION: u8 = 2;
    const SOURCE_PORT: u8 = 4;
    const DESTINATION_PORT: u8 = 8;
    const CHECKSUM: u8 = 16;
    const IP_ID: u8 = 32;
    const TOS: u8 = 64;
    const LENGTH: u8 = 128;

    const NAMES: [(u8, &'static str); 8] = [
        (Self::SOURCE, "source"),
        (Self::DESTINATION, "destination"),
        (Self::SOURCE_PORT, "source_port"),
        (Self::DESTINATION_PORT, "destination_port"),
        (Self::CHECKSUM, "checksum"),
        (Self::IP_ID, "ip_id"),
        (Self::TOS, "tos"),
        (Self::LENGTH, "length"),
    ];

    const fn with(self, field: u8, altered: bool) -> Self {
        if altered { Self(self.0 | field) } else { self }
    }

    const fn has(self, field: u8) -> bool {
        self.0 & field != 0
    }

    /// Whether nothing was rewritten, as far as the quote shows.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the fields: `source`, `destination`, `source_port`, `destination_port`, `checksum`, `ip_id`, `tos`,
    /// `length`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(field, _)| self.has(*field)).map(|(_, name)| name)
    }
}

impl std::fmt::Debug for Altered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What is known of a probe's payload, and whether only who saw the probe can know it: its cookie, or the payload that was
/// asked for, as far as there is room. The last whole 16-bit word belongs to the checksum.
fn known(key: &Key, look: &Look<'_>) -> (Vec<u8>, bool) {
    let length = usize::from(look.payload_bytes);
    let room = match look.checksum {
        Checksum::Free => length,
        _ => (length & !1).saturating_sub(2),
    };
    let (mut known, secret) = match look.payload {
        Some(payload) => (payload.to_vec(), false),
        None => (key.cookie(u64::from(look.cookie_of)).to_vec(), true),
    };
    known.truncate(if secret { room.min(COOKIE_BYTES) } else { room });
    (known, secret)
}

fn payload(key: &Key, look: &Look<'_>) -> Vec<u8> {
    let mut payload = look.payload.map_or_else(|| known(key, look).0, <[u8]>::to_vec);
    payload.resize(usize::from(look.payload_bytes), 0);
    payload
}

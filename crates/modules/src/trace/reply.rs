//! What came back for a probe of a path measurement, as results say it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{Address, is_false};

/// A reply to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// Who sent it.
    pub from: Address,
    /// The sender's name, where it was asked for and the address has one: that of its PTR record in presentation format, without the final
    /// dot. Whoever has the address's zone writes there what they like. In a
    /// multipath result the nodes have the names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// The time from the probe's leaving to its coming, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// The TTL with which it arrived, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Its octet of DSCP and ECN, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// The identification of its IPv4 header, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_id: Option<u16>,
    /// The length of what follows its IP header, in bytes.
    pub bytes: u32,
    /// What it is: `echo_reply`, `udp`, `tcp`, or a word for an ICMP error: `ttl_exceeded`, `port_unreachable`, …
    pub name: String,
    /// The type of its ICMP message, of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// The code of its ICMP message, of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// The MTU of the next link in bytes, where the probe was too big and the router tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The flags of a TCP segment, as in octet 13 of its header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<u8>,
    /// It shows what only who saw the probe can know. Many routers quote too little to tell.
    #[serde(default, skip_serializing_if = "is_false")]
    pub verified: bool,
    /// What an error quotes of the probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<Quote>,
    /// What the router added to an error (RFC 4884).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

/// What an error quotes of its probe: how the probe looked when it got there. What is not quoted is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quote {
    /// Its TTL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Its octet of DSCP and ECN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// Its length in bytes, IP header included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_bytes: Option<u32>,
    /// The identification of its IPv4 header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_id: Option<u16>,
    /// The fields that are otherwise than they were sent, such as behind a NAT: `source`, `destination`, `source_port`,
    /// `destination_port`, `checksum`, `ip_id`, `tos`, `length`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub altered: Vec<String>,
}

/// An object of an error's extension structure (RFC 4884).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Extension {
    /// Its class (IANA, *ICMP Extension Object Classes*): 1 MPLS, 2 interface information.
    pub class: u8,
    /// Its sub-type.
    pub c_type: u8,
    /// The MPLS label stack with which the probe came, top first (RFC 4950).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mpls: Vec<Label>,
    /// What the router says of an interface (RFC 5837).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
    /// What it holds, in hexadecimal, where its class is none of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// An entry of an MPLS label stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// The label.
    pub label: u32,
    /// Its traffic class.
    pub traffic_class: u8,
    /// Its time to live.
    pub ttl: u8,
    /// Whether it is the last of the stack.
    pub bottom: bool,
}

/// An interface of a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interface {
    /// What it was to the probe: `incoming`, `incoming_sub_ip`, `outgoing` or `next_hop`.
    pub role: String,
    /// Its `ifIndex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Its address, or that of the next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Something came in time.
    Replied,
    /// Something came after the timeout.
    Late,
    /// Nothing came.
    TimedOut,
    /// Nothing came, but the receiver was overrun meanwhile: it may have come and been missed.
    Overrun,
    /// It never left.
    NotSent,
    /// The measurement was over before its end was known.
    Cancelled,
}

#[cfg(feature = "run")]
mod made {
    use mmn_kit::{Failure, code};
    use mmn_probe::packet::SendFailure;
    use mmn_probe::time::Nanos;
    use mmn_probe::trace::{self, Fate, Said};
    use mmn_probe::wire::extension::{self, Known, Role};
    use mmn_probe::wire::icmp::IcmpErrorKind;

    use super::{Extension, Interface, Label, Quote, Reply, Status};

    impl Reply {
        pub(crate) fn of(reply: &trace::Reply, rtt: Option<Nanos>) -> Self {
            let mut this = Self {
                from: reply.from.into(),
                from_name: None,
                rtt_ns: rtt.map(|rtt| rtt.0),
                ttl: reply.ttl.map(|ttl| ttl.0),
                tos: reply.tos,
                ip_id: reply.ip_id,
                bytes: reply.bytes,
                name: String::new(),
                icmp_type: None,
                icmp_code: None,
                mtu: None,
                tcp_flags: None,
                verified: reply.verified,
                quote: None,
                extensions: Extension::all(&reply.extensions),
            };
            let name = match reply.said {
                Said::Echo => "echo_reply",
                Said::Udp => "udp",
                Said::Tcp { flags } => {
                    this.tcp_flags = Some(flags);
                    "tcp"
                }
                Said::Error { kind, icmp_type, code, quote } => {
                    (this.icmp_type, this.icmp_code) = (Some(icmp_type), Some(code));
                    if let IcmpErrorKind::TooBig { mtu } = kind {
                        this.mtu = mtu;
                    }
                    let quote = Quote {
                        ttl: quote.ttl.map(|ttl| ttl.0),
                        tos: quote.tos,
                        ip_bytes: quote.ip_bytes,
                        ip_id: quote.ip_id,
                        altered: quote.altered.names().map(str::to_owned).collect(),
                    };
                    this.quote = Some(quote).filter(|quote| *quote != NOTHING);
                    kind.name()
                }
            };
            name.clone_into(&mut this.name);
            this
        }
    }

    const NOTHING: Quote = Quote { ttl: None, tos: None, ip_bytes: None, ip_id: None, altered: Vec::new() };

    impl Extension {
        /// Of the objects of a structure as they stand on the wire.
        pub fn all(objects: &[u8]) -> Vec<Self> {
            extension::objects(objects).map(|object| Self::of(&object)).collect()
        }

        fn of(object: &extension::Object<'_>) -> Self {
            let mut this = Self {
                class: object.class,
                c_type: object.c_type,
                mpls: Vec::new(),
                interface: None,
                data: None,
            };
            match object.known() {
                Some(Known::Mpls(labels)) => {
                    this.mpls = labels
                        .map(|label| Label {
                            label: label.label,
                            traffic_class: label.traffic_class,
                            ttl: label.ttl,
                            bottom: label.bottom,
                        })
                        .collect();
                }
                Some(Known::Interface(interface)) => {
                    this.interface = Some(Interface {
                        role: match interface.role {
                            Role::Incoming => "incoming",
                            Role::IncomingSubIp => "incoming_sub_ip",
                            Role::Outgoing => "outgoing",
                            Role::NextHop => "next_hop",
                        }
                        .to_owned(),
                        index: interface.index,
                        address: interface.address.map(Into::into),
                        name: interface.name.map(|name| String::from_utf8_lossy(name).into_owned()),
                        mtu: interface.mtu,
                    });
                }
                _ => this.data = Some(data_encoding::HEXLOWER.encode(object.data)),
            }
            this
        }
    }

    impl From<Fate> for Status {
        fn from(fate: Fate) -> Self {
            match fate {
                Fate::Answered => Self::Replied,
                Fate::Late => Self::Late,
                Fate::TimedOut => Self::TimedOut,
                Fate::Overrun => Self::Overrun,
                Fate::NotSent(_) => Self::NotSent,
                _ => Self::Cancelled,
            }
        }
    }

    /// Why a measurement whose probes can't leave is none.
    pub(crate) fn nothing_left(reason: Option<SendFailure>) -> Failure {
        match reason {
            None => Failure::refused(code::LIMITS, "no probe could leave before the deadline"),
            Some(reason @ (SendFailure::NoRoute | SendFailure::RouterSilent)) => {
                Failure::failed(code::NO_ROUTE, reason)
            }
            Some(reason @ SendFailure::NoRouter) => Failure::refused(code::POLICY, reason),
            Some(
                reason @ (SendFailure::NotPermitted | SendFailure::Unprivileged | SendFailure::NoPingSocket),
            ) => Failure::failed(code::UNPRIVILEGED, reason),
            Some(reason @ SendFailure::NoSocket) => Failure::failed(code::ADDRESS_FAMILY, reason),
            Some(reason @ SendFailure::Forbidden) => Failure::refused(code::LIMITS, reason),
            Some(reason @ (SendFailure::Source | SendFailure::InUse | SendFailure::Senseless)) => {
                Failure::refused(code::PARAMETERS, reason)
            }
            Some(reason) => Failure::failed(code::SYSTEM, reason),
        }
    }
}

#[cfg(feature = "run")]
pub(crate) use made::nothing_left;

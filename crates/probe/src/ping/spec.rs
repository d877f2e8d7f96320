//! What a ping is asked to do.

use std::net::IpAddr;

use super::options::IpOption;
use crate::{
    packet::{Ttl, tcp_flags},
    schedule::Schedule,
    time::Nanos,
};

/// The most probes that one measurement may send.
pub const MAX_COUNT: u32 = 65_535;

/// The longest payload: what an IPv4 packet of 65,535 octets leaves after its header and ICMP's.
pub const MAX_PAYLOAD_BYTES: u16 = 65_507;

/// The least MTU of a link (RFC 791; RFC 8200, section 5).
const LEAST_MTU_V4: u16 = 68;
const LEAST_MTU_V6: u16 = 1_280;

/// What probes are, and with it what answers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// ICMP echo requests; echo replies answer them.
    #[default]
    Icmp,
    /// ICMP timestamp requests (IPv4 alone); timestamp replies answer them.
    IcmpTimestamp,
    /// UDP datagrams between the same two ports; datagrams and ICMP port unreachable answer them.
    Udp,
    /// The same, to a destination port that grows by one from probe to probe.
    UdpDport,
    /// The same, from a source port that grows by one from probe to probe.
    UdpSport,
    /// TCP SYN segments between the same two ports; SYN and ACK, or a reset, answer them.
    TcpSyn,
    /// The same, from a source port that grows by one from probe to probe.
    TcpSynSport,
    /// TCP ACK segments between the same two ports; a reset answers them.
    TcpAck,
    /// The same, from a source port that grows by one from probe to probe.
    TcpAckSport,
    /// TCP segments with SYN and ACK; a reset answers them.
    TcpSynAck,
    /// TCP resets; hosts are silent to them, what stands before hosts may not be.
    TcpRst,
}

impl Method {
    /// The TCP flags of its probes; absent where it is no TCP.
    pub const fn tcp_flags(self) -> Option<u8> {
        match self {
            Self::TcpSyn | Self::TcpSynSport => Some(tcp_flags::SYN),
            Self::TcpAck | Self::TcpAckSport => Some(tcp_flags::ACK),
            Self::TcpSynAck => Some(tcp_flags::SYN | tcp_flags::ACK),
            Self::TcpRst => Some(tcp_flags::RST),
            _ => None,
        }
    }

    /// Whether it is UDP.
    pub const fn is_udp(self) -> bool {
        matches!(self, Self::Udp | Self::UdpDport | Self::UdpSport)
    }

    /// Whether each probe has a source port of its own.
    pub const fn varies_source_port(self) -> bool {
        matches!(self, Self::UdpSport | Self::TcpSynSport | Self::TcpAckSport)
    }
}

/// What to send, how often, and how long to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where to, unless it is for many.
    pub target: IpAddr,
    /// What is sent.
    pub method: Method,
    /// How many probes: 1 to [`MAX_COUNT`].
    pub count: u32,
    /// The time from one probe to the next, or its mean.
    pub interval: Nanos,
    /// How slots follow one another.
    pub schedule: Schedule,
    /// How long after its probe a reply counts as received.
    pub timeout: Nanos,
    /// Octets after the header of an echo request or UDP datagram: at most [`MAX_PAYLOAD_BYTES`]. Not used where
    /// [`Self::payload`] says them, nor by TCP and timestamp requests.
    pub payload_bytes: u16,
    /// What the payload repeats after the cookie; zeros where empty.
    pub fill: Box<[u8]>,
    /// The whole payload, without a cookie; replies are then told from forged ones by less. None in timestamp requests.
    pub payload: Option<Box<[u8]>>,
    /// The TTL of the probes; the system's own where absent. At least 1.
    pub ttl: Option<Ttl>,
    /// Their octet of DSCP and ECN.
    pub tos: u8,
    /// Whether they may not be fragmented.
    pub dont_fragment: bool,
    /// Their source; the system's choice where absent.
    pub source: Option<IpAddr>,
    /// The router that they leave by, instead of the one that the system would take.
    pub router: Option<IpAddr>,
    /// What a link takes that there is not: who sends an echo reply of more octets, IP header included, is told that it
    /// was too big.
    pub pseudo_mtu: Option<u16>,
    /// The ICMP identifier or (first) source port; the driver's choice where absent.
    pub selector: Option<u16>,
    /// The (first) destination port of UDP and TCP; at least 1.
    pub port: u16,
    /// The checksum that every echo request has.
    pub icmp_checksum: Option<u16>,
    /// Fields of the TCP header that are not the driver's choice.
    pub tcp: Option<Box<TcpFields>>,
    /// An IPv4 option that asks routers to leave a trace.
    pub ip_option: Option<Box<IpOption>>,
    /// Be done as soon as so many probes have been answered in time. At least 1.
    pub stop_after: Option<u32>,
    /// Wait for duplicates until the last probe's timeout, though every probe is answered.
    pub wait_duplicates: bool,
}

/// Fields of a TCP header that every probe has alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFields {
    /// The sequence number; absent: the driver's choice.
    pub seq: Option<u32>,
    /// The acknowledgement number; absent: the driver's choice. Not for a bare SYN.
    pub ack: Option<u32>,
    /// The maximum segment size that a SYN announces; no option where absent.
    pub mss: Option<u16>,
}

impl Spec {
    /// Three echo requests of 56 octets, a second apart, with a second to answer each.
    pub fn new(target: IpAddr) -> Self {
        Self {
            target,
            method: Method::Icmp,
            count: 3,
            interval: Nanos::from_secs(1),
            schedule: Schedule::Periodic,
            timeout: Nanos::from_secs(1),
            payload_bytes: 56,
            fill: Box::default(),
            payload: None,
            ttl: None,
            tos: 0,
            dont_fragment: false,
            source: None,
            router: None,
            pseudo_mtu: None,
            selector: None,
            port: 33_435,
            icmp_checksum: None,
            tcp: None,
            ip_option: None,
            stop_after: None,
            wait_duplicates: false,
        }
    }

    pub(super) fn tcp(&self) -> TcpFields {
        self.tcp.as_deref().copied().unwrap_or_default()
    }

    /// The octets of a probe's payload.
    pub fn payload_length(&self) -> usize {
        match (&self.payload, self.method) {
            (_, Method::IcmpTimestamp) => 0,
            (Some(payload), _) => payload.len(),
            (None, method) if method.tcp_flags().is_some() => 0,
            (None, _) => usize::from(self.payload_bytes),
        }
    }

    /// Whether a word of the payload is changed on the way out.
    pub(super) fn changes_payload(&self) -> bool {
        match self.method {
            Method::Icmp => self.icmp_checksum.is_some(),
            method => method == Method::Udp,
        }
    }

    /// Whether probes go one by one: by their schedule, or because nothing in an answer can tell two of them apart.
    pub(super) fn goes_one_by_one(&self) -> bool {
        let TcpFields { seq, ack, .. } = self.tcp();
        match self.method {
            _ if self.schedule == Schedule::SendOnReceive => true,
            Method::TcpSyn => seq.is_some(),
            Method::TcpAck | Method::TcpSynAck => ack.is_some(),
            Method::TcpRst => seq.is_some() || ack.is_some(),
            _ => false,
        }
    }

    pub(super) fn check(&self, target: IpAddr) -> Result<(), SpecError> {
        if self.count == 0 || self.count > MAX_COUNT {
            return Err(SpecError::Count(self.count));
        }
        let length = self.payload_length();
        if length > usize::from(MAX_PAYLOAD_BYTES) {
            return Err(SpecError::Payload(length));
        }
        if self.changes_payload() && length < 2 {
            return Err(SpecError::PayloadWord);
        }
        if self.ttl.is_some_and(|ttl| ttl.0 == 0) {
            return Err(SpecError::Ttl);
        }
        if self.stop_after == Some(0) {
            return Err(SpecError::StopAfter);
        }
        let last = |first: u16| u32::from(first) + self.count - 1;
        let ports = self.method.is_udp() || self.method.tcp_flags().is_some();
        if ports && (self.port == 0 || self.selector == Some(0)) {
            return Err(SpecError::Port);
        }
        let too_far = |first: u16| last(first) > u32::from(u16::MAX);
        if self.method == Method::UdpDport && too_far(self.port)
            || self.method.varies_source_port() && self.selector.is_some_and(too_far)
        {
            return Err(SpecError::Ports);
        }
        if target.is_ipv6() && (self.method == Method::IcmpTimestamp || self.ip_option.is_some()) {
            return Err(SpecError::Ipv6);
        }
        if self.source.is_some_and(|source| source.is_ipv4() != target.is_ipv4()) {
            return Err(SpecError::Source);
        }
        let smallest = if target.is_ipv4() { LEAST_MTU_V4 } else { LEAST_MTU_V6 };
        if self.pseudo_mtu.is_some_and(|mtu| mtu < smallest || self.method != Method::Icmp) {
            return Err(SpecError::PseudoMtu(smallest));
        }
        Ok(())
    }
}

/// Why a [`Spec`] cannot be performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The count is out of range.
    #[error("count is {0}, not between 1 and {MAX_COUNT}")]
    Count(u32),
    /// The payload is too long.
    #[error("payload of {0} octets, more than {MAX_PAYLOAD_BYTES}")]
    Payload(usize),
    /// The payload has no room for the word that makes up for the checksum.
    #[error("a payload of at least 2 octets is needed to choose a checksum")]
    PayloadWord,
    /// A TTL of 0 goes nowhere.
    #[error("TTL is 0, not between 1 and 255")]
    Ttl,
    /// Stopping after no replies means not to begin.
    #[error("stop_after is 0; leave it out to wait for every reply")]
    StopAfter,
    /// Port 0 is nobody's.
    #[error("port is 0, not between 1 and 65535")]
    Port,
    /// The ports of later probes would lie beyond the last.
    #[error("the port of the last probe would be above 65535")]
    Ports,
    /// IPv6 has neither timestamp requests nor these options.
    #[error("IPv6 has neither ICMP timestamps nor the record route and timestamp options")]
    Ipv6,
    /// The source is of another family than the target.
    #[error("source and target are of different address families")]
    Source,
    /// No link is that small, or replies are no echo replies.
    #[error("pseudo_mtu is below {0}, or of another method than icmp")]
    PseudoMtu(u16),
}

//! `ping`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::rules::{Address, Hex, OneOf, hex, integer, number, seconds, user_id, value, words};
use super::table::{Flag, Rule, command};

command! {
    /// `ping`: requests to an address, and what comes back.
    Ping = "ping", IpAddr;
    /// The acknowledgement of TCP probes, or of a SYN its sequence number.
    'A' tcp_ack: Option<u32> = number("tcp-seq/ack", 0, 4_294_967_295),
    /// Octets of payload.
    'b' payload_size: Option<u16> = number("payload-size", 0, 65_535),
    /// The payload.
    'B' payload: Option<Vec<u8>> = hex(1_000),
    /// How many probes (4).
    'c' count: Option<u16> = number("attempts", 1, 65_535),
    /// The checksum that ICMP probes have.
    'C' icmp_sum: Option<u16> = value("icmp-sum", 0, 65_535),
    /// The destination port; of ICMP the first sequence number.
    'd' dport: Option<u16> = number("dport", 0, 65_535),
    /// The source port; of ICMP the identifier.
    'F' sport: Option<u16> = number("sport", 0, 65_535),
    /// Between two probes (1 s).
    'i' wait_probe: Option<Duration> = seconds("inter-probe delay", 1, 20_000),
    /// The TTL (64).
    'm' ttl: Option<u8> = number("ttl", 1, 255),
    /// The MTU that larger replies are answered with, as if a router had said so.
    'M' reply_pmtu: Option<u16> = number("path-mtu", 0, 65_535),
    /// After so many replies the rest is not sent.
    'o' stop_count: Option<u16> = number("stop-count", 0, 65_535),
    /// Options.
    'O' options: Vec<PingOption> = PingOptions,
    /// What the payload repeats.
    'p' pattern: Option<Vec<u8>> = PATTERN,
    /// The kind of probe (ICMP echo).
    'P' method: Option<PingMethod> = OneOf,
    /// The router that probes go to first.
    'r' router: Option<IpAddr> = Address,
    /// The IP option that records the route.
    'R' record_route: bool = Flag,
    /// Octets of a probe, headers included (84).
    's' size: Option<u16> = number("probe-size", 0, 65_535),
    /// The source address.
    'S' source: Option<IpAddr> = Address,
    /// The IP option that asks for timestamps.
    'T' timestamp: Option<IpTimestamp> = Timestamp,
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
    /// How long the last probe is waited for (1 s).
    'W' wait_timeout: Option<Duration> = seconds("timeout", 1, 255_000),
    /// A record for every so many packets.
    'y' stream: Option<u8> = number("stream", 0, 20),
    /// The type of service.
    'z' tos: Option<u8> = value("tos", 0, 255),
}

const PATTERN: Hex = hex(16).odd();

words! {
    /// A kind of probe.
    PingMethod, "ping method";
    /// ICMP echo.
    IcmpEcho = "icmp-echo",
    /// ICMP timestamp.
    IcmpTime = "icmp-time",
    /// TCP SYN.
    TcpSyn = "tcp-syn",
    /// TCP ACK.
    TcpAck = "tcp-ack",
    /// TCP ACK, the source port differing from probe to probe.
    TcpAckSport = "tcp-ack-sport",
    /// TCP SYN and ACK.
    TcpSynAck = "tcp-synack",
    /// TCP RST.
    TcpRst = "tcp-rst",
    /// TCP SYN, the source port differing from probe to probe.
    TcpSynSport = "tcp-syn-sport",
    /// UDP.
    Udp = "udp",
    /// UDP, the destination port differing from probe to probe.
    UdpDport = "udp-dport",
    /// UDP, the source port differing from probe to probe.
    UdpSport = "udp-sport",
}

/// An option of `ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingOption {
    /// `dl`: replies are read from the link.
    Link,
    /// `dltx`: probes are written to the link.
    LinkSend,
    /// `mss=`: the maximum segment size of a SYN.
    Mss(u16),
    /// `nosrc`: the source address isn't recorded.
    NoSource,
    /// `raw`: probes leave by a raw socket.
    Raw,
    /// `sockrx`: replies are read from a socket.
    SocketReceive,
    /// `spoof`: the source address is not the vantage point's.
    Spoof,
    /// `tbt`: packets too big are answered as for the too-big trick.
    TooBigTrick,
}

const OPTIONS: [(&str, PingOption); 7] = [
    ("dl", PingOption::Link),
    ("dltx", PingOption::LinkSend),
    ("nosrc", PingOption::NoSource),
    ("raw", PingOption::Raw),
    ("sockrx", PingOption::SocketReceive),
    ("spoof", PingOption::Spoof),
    ("tbt", PingOption::TooBigTrick),
];

struct PingOptions;

impl Rule<PingOption> for PingOptions {
    fn read(&self, text: &str) -> Result<PingOption, String> {
        let lower = text.to_ascii_lowercase();
        if let Some(mss) = lower.strip_prefix("mss=") {
            let mss = integer(mss).and_then(|mss| u16::try_from(mss).ok()).filter(|mss| *mss > 0);
            return mss.map(PingOption::Mss).ok_or_else(|| format!("mss must be within 1 - 65535: {text}"));
        }
        let found = OPTIONS.iter().find(|(word, _)| *word == lower).map(|(_, option)| *option);
        found.ok_or_else(|| format!("unknown option '{text}'"))
    }

    fn write(&self, value: &PingOption) -> String {
        match value {
            PingOption::Mss(mss) => format!("mss={mss}"),
            other => OPTIONS.iter().find(|(_, one)| one == other).map_or("", |(word, _)| word).to_owned(),
        }
    }
}

/// What an IP timestamp option asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IpTimestamp {
    /// `tsonly`: stamps.
    Only,
    /// `tsandaddr`: stamps with addresses.
    WithAddresses,
    /// `tsprespec=`: stamps of up to four routers.
    Of(Vec<Ipv4Addr>),
}

struct Timestamp;

impl Rule<IpTimestamp> for Timestamp {
    fn read(&self, text: &str) -> Result<IpTimestamp, String> {
        let lower = text.to_ascii_lowercase();
        let wrong = || format!("invalid timestamp option '{text}'");
        match lower.split_once('=') {
            None if lower == "tsonly" => Ok(IpTimestamp::Only),
            None if lower == "tsandaddr" => Ok(IpTimestamp::WithAddresses),
            Some(("tsprespec", routers)) => {
                let routers: Result<Vec<Ipv4Addr>, _> = routers.split(',').map(str::parse).collect();
                routers.ok().filter(|routers| routers.len() <= 4).map(IpTimestamp::Of).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    fn write(&self, value: &IpTimestamp) -> String {
        match value {
            IpTimestamp::Only => "tsonly".into(),
            IpTimestamp::WithAddresses => "tsandaddr".into(),
            IpTimestamp::Of(routers) => {
                let routers: Vec<_> = routers.iter().map(ToString::to_string).collect();
                format!("tsprespec={}", routers.join(","))
            }
        }
    }
}

impl Ping {
    fn check(&self) -> Result<(), String> {
        if self.pattern.is_some() && self.payload.is_some() {
            return Err("a pattern and a payload exclude each other".into());
        }
        if self.timestamp.is_some() && self.target.is_ipv6() {
            return Err("IP timestamps are for IPv4 alone".into());
        }
        if self.timestamp.is_some() && self.record_route {
            return Err("timestamps and a recorded route exclude each other".into());
        }
        let syn = matches!(self.method, Some(PingMethod::TcpSyn | PingMethod::TcpSynSport));
        if !syn && self.options.iter().any(|option| matches!(option, PingOption::Mss(_))) {
            return Err("mss is for tcp-syn alone".into());
        }
        if self.icmp_sum.is_some()
            && !matches!(self.method, None | Some(PingMethod::IcmpEcho | PingMethod::IcmpTime))
        {
            return Err("icmp-sum is for ICMP alone".into());
        }
        for (name, address) in [("source", self.source), ("router", self.router)] {
            if address.is_some_and(|address| address.is_ipv6() != self.target.is_ipv6()) {
                return Err(format!("the {name} address is of another family than the destination"));
            }
        }
        Ok(())
    }
}

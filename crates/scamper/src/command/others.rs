//! Commands for which there are few uses: `neighbourdisc`, `owamp`, `sniff`, `sting` and `tbit`.

use std::net::IpAddr;
use std::time::Duration;

use super::rules::{
    Address, Any, At, OneOf, Target, hex, integer, milliseconds, number, seconds, user_id, words,
};
use super::table::{Flag, command};

command! {
    /// `neighbourdisc`: the link's address of a neighbour.
    NeighbourDisc = "neighbourdisc", IpAddr;
    /// Whether the first answer ends it.
    'F' first_response: bool = Flag,
    /// The interface, which must be given.
    'i' interface: Option<String> = Any,
    /// After so many replies it ends.
    'o' replies: Option<u16> = number("replyc", 0, 65_535),
    /// How often it is asked.
    'q' attempts: Option<u16> = number("attempts", 1, 65_535),
    /// Whether it is asked so often whatever answers.
    'Q' all_attempts: bool = Flag,
    /// The source address.
    'S' source: Option<IpAddr> = Address,
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
    /// How long an answer is waited for (1 s).
    'w' wait: Option<Duration> = milliseconds("wait-time", 100, 65_535),
}

impl NeighbourDisc {
    fn check(&self) -> Result<(), String> {
        if self.interface.is_none() { Err("the interface is missing: -i".into()) } else { Ok(()) }
    }
}

command! {
    /// `owamp`: delays one way, between two clocks (RFC 4656).
    Owamp = "owamp", IpAddr;
    /// When it begins.
    '@' start_at: Option<Duration> = At,
    /// How many packets (10).
    'c' count: Option<u16> = number("attempts", 1, 65_535),
    /// Which way.
    'd' direction: Option<Direction> = OneOf,
    /// The DSCP.
    'D' dscp: Option<u8> = number("dscp", 0, 63),
    /// Between packets, as text.
    'i' schedule: Vec<String> = Any,
    /// The TTL (255).
    'm' ttl: Option<u8> = number("ttl", 1, 255),
    /// Options.
    'O' options: Vec<OwampOption> = OneOf,
    /// Octets of a packet.
    's' size: Option<u16> = number("size", 0, 65_535),
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
    /// How long a packet is waited for (2 s).
    'w' wait_timeout: Option<Duration> = seconds("wait-timeout", 1_000, 20_000).steps(1_000),
}

words! {
    /// Which way packets go.
    Direction, "direction";
    /// To the address.
    Send = "tx",
    /// From the address.
    Receive = "rx",
}

words! {
    /// An option of `owamp`.
    OwampOption, "option";
    /// Packets are padded with zeros.
    Zero = "zero",
}

impl Owamp {
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "any two options go together")]
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

command! {
    /// `sniff`: ICMP messages that have an identifier.
    Sniff = "sniff", IcmpId;
    /// It ends after so many packets (100).
    'c' packets: Option<u16> = number("limit-pktc", 1, 5_000),
    /// It ends after so long (60 s).
    'G' time: Option<Duration> = seconds("limit-time", 1_000, 1_200_000).steps(1_000),
    /// The address that they come to, which must be given.
    'S' source: Option<IpAddr> = Address,
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
}

/// The identifier of ICMP messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpId(pub u16);

impl Target for IcmpId {
    fn none() -> Self {
        Self(0)
    }

    fn read(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let id = lower.strip_prefix("icmp[icmpid] == ").and_then(|id| integer(id.trim()));
        id.and_then(|id| u16::try_from(id).ok())
            .map(Self)
            .ok_or_else(|| format!("expected 'icmp[icmpid] == ' and a number, not '{text}'"))
    }

    fn write(&self) -> String {
        format!("icmp[icmpid] == {}", self.0)
    }
}

impl Sniff {
    fn check(&self) -> Result<(), String> {
        if self.source.is_none() { Err("the source address is missing: -S".into()) } else { Ok(()) }
    }
}

command! {
    /// `sting`: loss each way, by TCP.
    Sting = "sting", IpAddr;
    /// How many packets (48).
    'c' count: Option<u16> = number("count", 2, 65_535),
    /// The destination port (80).
    'd' dport: Option<u16> = number("dport", 1, 65_535),
    /// How the delays between packets are spread.
    'f' distribution: Option<u8> = number("dist", 1, 3),
    /// The request.
    'h' request: Option<String> = Any,
    /// Holes in the sequence (3).
    'H' hole: Option<u8> = number("hole", 1, 255),
    /// Between the phases (2 s).
    'i' inter_phase: Option<Duration> = milliseconds("inter-phase delay", 1, 10_000),
    /// Between two packets, on average (100 ms).
    'm' mean: Option<Duration> = milliseconds("mean delay", 1, 1_000),
    /// The source port.
    's' sport: Option<u16> = number("sport", 1, 65_535),
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
}

impl Sting {
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "any two options go together")]
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

command! {
    /// `tbit`: what a TCP does.
    Tbit = "tbit", IpAddr;
    /// The AS that a BGP session is opened as.
    'b' asn: Option<u16> = number("asn", 0, 65_535),
    /// The destination port.
    'd' dport: Option<u16> = number("dport", 1, 65_535),
    /// The cookie of TCP Fast Open.
    'f' cookie: Option<Vec<u8>> = hex(16),
    /// The maximum segment size.
    'm' mss: Option<u16> = number("mss", 0, 65_535),
    /// The MTU that is said to be that of the path.
    'M' mtu: Option<u16> = number("mtu", 0, 65_535),
    /// How far a sequence number lies off.
    'o' offset: Option<i32> = number("offset", -2_147_483_647, 2_147_483_647),
    /// Options.
    'O' options: Vec<TbitOption> = OneOf,
    /// What is spoken.
    'p' app: Option<TbitApp> = OneOf,
    /// Who says that packets are too big.
    'P' ptb_source: Option<IpAddr> = Address,
    /// How often it is tried.
    'q' attempts: Option<u8> = number("attempts", 1, 4),
    /// The source port.
    's' sport: Option<u16> = number("sport", 1, 65_535),
    /// The source address.
    'S' source: Option<IpAddr> = Address,
    /// What is tried.
    't' test: Option<TbitType> = OneOf,
    /// The TTL.
    'T' ttl: Option<u8> = number("ttl", 1, 255),
    /// The URL.
    'u' url: Option<String> = Any,
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
    /// The window scale.
    'w' window_scale: Option<u8> = number("wscale", 0, 14),
}

words! {
    /// What `tbit` tries.
    TbitType, "tbit type";
    /// Path MTU discovery.
    Pmtud = "pmtud",
    /// Explicit congestion notification.
    Ecn = "ecn",
    /// A plain exchange.
    Null = "null",
    /// Selective acknowledgements.
    SackReceiver = "sack-rcvr",
    /// The initial window.
    Icw = "icw",
    /// Data from a blind attacker.
    BlindData = "blind-data",
    /// A RST from a blind attacker.
    BlindRst = "blind-rst",
    /// A SYN from a blind attacker.
    BlindSyn = "blind-syn",
    /// A FIN from a blind attacker.
    BlindFin = "blind-fin",
}

words! {
    /// What `tbit` speaks.
    TbitApp, "tbit application";
    /// HTTP.
    Http = "http",
    /// BGP.
    Bgp = "bgp",
}

words! {
    /// An option of `tbit`.
    TbitOption, "option";
    /// Messages that packets are too big get lost.
    Blackhole = "blackhole",
    /// TCP timestamps.
    TcpTimestamps = "tcpts",
    /// IP timestamps on the SYN.
    IpTimestampSyn = "ipts-syn",
    /// A recorded route on the SYN.
    IpRecordRouteSyn = "iprr-syn",
    /// IP quick start on the SYN.
    IpQuickStartSyn = "ipqs-syn",
    /// Selective acknowledgements.
    Sack = "sack",
    /// TCP Fast Open.
    FastOpen = "fo",
    /// TCP Fast Open by the experimental option.
    FastOpenExperimental = "fo-exp",
}

impl Tbit {
    fn check(&self) -> Result<(), String> {
        if self.cookie.as_ref().is_some_and(|cookie| !cookie.len().is_multiple_of(4)) {
            return Err("the cookie of TCP Fast Open has a multiple of four octets".into());
        }
        Ok(())
    }
}

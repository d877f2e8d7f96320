//! `trace`.

use std::net::IpAddr;
use std::time::Duration;

use super::rules::{
    Address, Any, Confidence, OneOf, hex, hundredths, number, seconds, user_id, value, words,
};
use super::table::{Flag, command};

command! {
    /// `trace`: the routers on the way to an address.
    Trace = "trace", IpAddr;
    /// How sure it shall be that all interfaces of a hop have answered, in percent.
    'c' confidence: Option<u8> = Confidence,
    /// The destination port (33435); of ICMP Paris the checksum.
    'd' dport: Option<u16> = value("dport", 1, 65_535),
    /// The TTL that it begins with (1).
    'f' first_hop: Option<u8> = number("firsthop", 1, 255),
    /// It ends after so many silent hops (5).
    'g' gap_limit: Option<u8> = number("gaplimit", 1, 255),
    /// What it does then: 1 stops, 2 sends last probes with high TTLs (1).
    'G' gap_action: Option<u8> = number("gapaction", 1, 2),
    /// Between probes to a hop.
    'H' wait_probe_hop: Option<Duration> = seconds("wait-probe-hop delay", 0, 2_000),
    /// It ends after so many loops (1); 0 is never.
    'l' loops: Option<u8> = number("loops", 0, 255),
    /// The last TTL.
    'm' hop_limit: Option<u8> = number("hoplimit", 0, 255),
    /// Whether the MTU of the path is looked for.
    'M' pmtud: bool = Flag,
    /// How many hops are probed at a time (1).
    'N' parallel: Option<u8> = number("squeries", 1, 255),
    /// The offset that probes have as fragments, in eight octets.
    'o' offset: Option<u16> = number("offset", 0, 8_190),
    /// Options.
    'O' options: Vec<TraceOption> = OneOf,
    /// The payload.
    'p' payload: Option<Vec<u8>> = hex(1_400),
    /// The kind of probe (UDP Paris).
    'P' method: Option<TraceMethod> = OneOf,
    /// Probes to a hop that stays silent (2).
    'q' attempts: Option<u8> = number("attempts", 1, 20),
    /// Whether all of them are sent, whatever answers.
    'Q' all_attempts: bool = Flag,
    /// The router that probes go to first.
    'r' router: Option<IpAddr> = Address,
    /// The source port; of ICMP the identifier.
    's' sport: Option<u16> = number("sport", 0, 65_535),
    /// The source address.
    'S' source: Option<IpAddr> = Address,
    /// The type of service.
    't' tos: Option<u8> = value("tos", 0, 255),
    /// Whether a message of the destination that the TTL ran out does not end it.
    'T' ttl_from_destination: bool = Flag,
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
    /// How long a probe is waited for (5 s).
    'w' wait_timeout: Option<Duration> = seconds("timeout", 1_000, 10_000).steps(1_000),
    /// Between two probes, at least.
    'W' wait_probe: Option<Duration> = hundredths("inter-probe delay", 0, 2_000),
    /// A record for every so many packets.
    'y' stream: Option<u8> = number("stream", 0, 20),
    /// The addresses at which a Doubletree ends, going forward.
    'z' global_stop_set: Vec<IpAddr> = Address,
    /// The name of the set of addresses at which a Doubletree ends, going back.
    'Z' local_stop_set: Option<String> = Any,
}

words! {
    /// A kind of probe.
    TraceMethod, "trace method";
    /// UDP, the destination port differing from probe to probe.
    Udp = "udp",
    /// TCP SYN.
    Tcp = "tcp",
    /// ICMP echo.
    Icmp = "icmp",
    /// ICMP echo, the checksum the same in all probes.
    IcmpParis = "icmp-paris",
    /// UDP, the ports the same in all probes.
    UdpParis = "udp-paris",
    /// TCP ACK.
    TcpAck = "tcp-ack",
}

words! {
    /// An option of `trace`.
    TraceOption, "option";
    /// The way back is asked for too.
    Back = "back",
    /// All probes have the same payload.
    ConstantPayload = "const-payload",
    /// Replies are read from the link.
    Link = "dl",
    /// A Doubletree goes forward alone.
    NoBackward = "dtree-noback",
    /// Names of the addresses are asked for.
    Names = "ptr",
    /// Probes leave by a raw socket.
    Raw = "raw",
}

impl Trace {
    fn check(&self) -> Result<(), String> {
        for (name, address) in [("source", self.source), ("router", self.router)] {
            if address.is_some_and(|address| address.is_ipv6() != self.target.is_ipv6()) {
                return Err(format!("the {name} address is of another family than the destination"));
            }
        }
        if let (Some(first), Some(limit)) = (self.first_hop, self.hop_limit)
            && limit > 0
            && first > limit
        {
            return Err(format!("the first hop, {first}, is after the last, {limit}"));
        }
        if self.offset.is_some_and(|offset| offset > 0) && self.target.is_ipv6() {
            return Err("a fragment offset is for IPv4 alone".into());
        }
        Ok(())
    }
}

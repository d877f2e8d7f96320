//! `tracelb`.

use std::net::IpAddr;
use std::time::Duration;

use super::rules::{Address, Confidence, OneOf, hundredths, number, seconds, user_id, words};
use super::table::command;

command! {
    /// `tracelb`: all the ways that load balancers give packets to an address.
    Tracelb = "tracelb", IpAddr;
    /// How sure it shall be that there are no more ways, in percent (95).
    'c' confidence: Option<u8> = Confidence,
    /// The destination port (33435).
    'd' dport: Option<u16> = number("dport", 1, 65_535),
    /// The TTL that it begins with (1).
    'f' first_hop: Option<u8> = number("firsthop", 1, 254),
    /// It ends after so many silent hops (3).
    'g' gap_limit: Option<u8> = number("gaplimit", 1, 5),
    /// Options.
    'O' options: Vec<TracelbOption> = OneOf,
    /// The kind of probe (UDP, the destination port differing).
    'P' method: Option<TracelbMethod> = OneOf,
    /// Probes to a hop that stays silent (2).
    'q' attempts: Option<u8> = number("attempts", 1, 5),
    /// How many probes it may send (3000).
    'Q' max_probes: Option<u16> = number("max-probec", 50, 65_535),
    /// The router that probes go to first.
    'r' router: Option<IpAddr> = Address,
    /// The source port; of ICMP the identifier.
    's' sport: Option<u16> = number("sport", 1, 65_535),
    /// The type of service.
    't' tos: Option<u8> = number("tos", 0, 255),
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
    /// How long a probe is waited for (5 s).
    'w' wait_timeout: Option<Duration> = seconds("timeout", 1_000, 10_000).steps(1_000),
    /// Between two probes, at least (250 ms).
    'W' wait_probe: Option<Duration> = hundredths("inter-probe delay", 150, 2_000),
}

words! {
    /// A kind of probe: what differs from flow to flow.
    TracelbMethod, "tracelb method";
    /// UDP, the destination port.
    UdpDport = "udp-dport",
    /// ICMP echo, the checksum.
    IcmpEcho = "icmp-echo",
    /// UDP, the source port.
    UdpSport = "udp-sport",
    /// TCP SYN, the source port.
    TcpSport = "tcp-sport",
    /// TCP ACK, the source port.
    TcpAckSport = "tcp-ack-sport",
}

words! {
    /// An option of `tracelb`.
    TracelbOption, "option";
    /// Names of the addresses are asked for.
    Names = "ptr",
}

impl Tracelb {
    fn check(&self) -> Result<(), String> {
        let tcp = matches!(self.method, Some(TracelbMethod::TcpSport | TracelbMethod::TcpAckSport));
        if tcp && self.target.is_ipv6() {
            return Err("TCP is for IPv4 alone".into());
        }
        if self.router.is_some_and(|router| router.is_ipv6() != self.target.is_ipv6()) {
            return Err("the router address is of another family than the destination".into());
        }
        Ok(())
    }
}

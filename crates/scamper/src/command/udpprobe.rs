//! `udpprobe`.

use std::net::IpAddr;
use std::time::Duration;

use super::rules::{Address, OneOf, hex, number, seconds, user_id, words};
use super::table::command;

command! {
    /// `udpprobe`: payloads over UDP, and what they are answered with.
    UdpProbe = "udpprobe", IpAddr;
    /// How many probes (1).
    'c' count: Option<u8> = number("probe-count", 1, 20),
    /// The destination port, which must be given.
    'd' dport: Option<u16> = number("dport", 1, 65_535),
    /// After so many replies it ends (1).
    'o' stop_count: Option<u8> = number("stop-count", 1, 20),
    /// Options.
    'O' options: Vec<UdpProbeOption> = OneOf,
    /// The payload, which must be given.
    'p' payload: Option<Vec<u8>> = hex(1_400),
    /// The source address.
    'S' source: Option<IpAddr> = Address,
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
    /// How long the last probe is waited for (2 s).
    'w' wait_timeout: Option<Duration> = seconds("wait-timeout", 500, 5_000),
    /// Between two probes (1 s).
    'W' wait_probe: Option<Duration> = seconds("wait-probe", 500, 5_000),
}

words! {
    /// An option of `udpprobe`.
    UdpProbeOption, "option";
    /// It ends with the first reply.
    ExitFirst = "exitfirst",
}

impl UdpProbe {
    fn check(&self) -> Result<(), String> {
        if self.payload.is_none() {
            return Err("the payload is missing: -p".into());
        }
        if self.dport.is_none() {
            return Err("the destination port is missing: -d".into());
        }
        if self.stop_count.is_some_and(|stop| stop > self.count.unwrap_or(1)) {
            return Err("more replies are waited for than probes are sent".into());
        }
        if self.source.is_some_and(|source| source.is_ipv6() != self.target.is_ipv6()) {
            return Err("the source address is of another family than the destination".into());
        }
        Ok(())
    }
}

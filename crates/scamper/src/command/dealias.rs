//! `dealias`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::host::prefix;
use super::rules::{
    Address, At, OneOf, Target, microseconds, milliseconds, number, seconds, user_id, value, words, written,
};
use super::table::{self, Rule, command, options};

command! {
    /// `dealias`: whether addresses belong to one router, by how it counts its packets or whom it answers as.
    Dealias = "dealias", Targets;
    /// When it begins.
    '@' start_at: Option<Duration> = At,
    /// How far two counts may lie apart (200).
    'f' fudge: Option<u16> = number("fudge", 1, 65_535),
    /// How (Mercator).
    'm' method: Option<DealiasMethod> = OneOf,
    /// How many replies decide.
    'o' replies: Option<u8> = number("replyc", 3, 255),
    /// Options.
    'O' options: Vec<DealiasOption> = OneOf,
    /// What probes are like.
    'p' probes: Vec<ProbeDef> = ProbeDefs,
    /// How many rounds, or probes.
    'q' attempts: Option<u16> = number("attempts", 1, 500),
    /// Between two rounds.
    'r' wait_round: Option<Duration> = milliseconds("round time", 1, 180_000),
    /// When which probes of MIDAR's discovery are sent.
    'S' schedule: Vec<Round> = Rounds,
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
    /// How long a probe is waited for.
    'w' wait_timeout: Option<Duration> = seconds("timeout", 1_000, 255_000).steps(1_000),
    /// Between two probes.
    'W' wait_probe: Option<Duration> = milliseconds("inter-probe delay", 1, 65_535),
    /// Addresses that a prefix scan leaves out.
    'x' exclude: Vec<IpAddr> = Address,
}

words! {
    /// A way to find out.
    DealiasMethod, "method";
    /// One address, which may answer from another.
    Mercator = "mercator",
    /// Two addresses in turn.
    Ally = "ally",
    /// Many addresses in rounds.
    Radargun = "radargun",
    /// The other end of a link.
    Prefixscan = "prefixscan",
    /// Two addresses, one made to count further.
    Bump = "bump",
    /// The estimation stage of MIDAR.
    Midarest = "midarest",
    /// The discovery stage of MIDAR.
    Midardisc = "midardisc",
}

words! {
    /// An option of `dealias`.
    DealiasOption, "option";
    /// Replies must be in sequence.
    InSequence = "inseq",
    /// Probes are sent in a random order.
    Shuffle = "shuffle",
    /// Counts in the other byte order don't count.
    NoByteSwap = "nobs",
}

options! {
    /// What a probe is like.
    #[derive(Default)]
    ProbeDef () {
        /// The checksum of an ICMP probe.
        'c' icmp_sum: Option<u16> = value("csum", 0, 65_535),
        /// The destination port.
        'd' dport: Option<u16> = number("dport", 1, 65_535),
        /// The source port.
        'F' sport: Option<u16> = number("sport", 1, 65_535),
        /// The address.
        'i' address: Option<IpAddr> = Address,
        /// The MTU that larger replies are answered with.
        'M' mtu: Option<u16> = number("mtu", 100, 65_535),
        /// Its kind.
        'P' method: Option<DealiasProbe> = OneOf,
        /// Its octets, headers included.
        's' size: Option<u16> = number("probe size", 28, 65_535),
        /// Its TTL.
        't' ttl: Option<u8> = number("ttl", 1, 255),
    }
}

words! {
    /// A kind of probe.
    DealiasProbe, "probe method";
    /// UDP.
    Udp = "udp",
    /// UDP, the destination port differing from probe to probe.
    UdpDport = "udp-dport",
    /// TCP ACK.
    TcpAck = "tcp-ack",
    /// TCP ACK, the source port differing from probe to probe.
    TcpAckSport = "tcp-ack-sport",
    /// TCP SYN, the source port differing from probe to probe.
    TcpSynSport = "tcp-syn-sport",
    /// ICMP echo.
    IcmpEcho = "icmp-echo",
}

struct ProbeDefs;

impl Rule<ProbeDef> for ProbeDefs {
    fn read(&self, text: &str) -> Result<ProbeDef, String> {
        let mut def = ProbeDef::default();
        let rest = table::read("probe", text, ProbeDef::takes, |letter, value| def.set(letter, value));
        match rest.map_err(|error| format!("{error} in '{text}'"))? {
            "" => Ok(def),
            rest => Err(format!("'{rest}' is no option of a probe")),
        }
    }

    fn write(&self, value: &ProbeDef) -> String {
        value.to_string()
    }
}

impl fmt::Display for ProbeDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.options().trim_start())
    }
}

/// When some of the probes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// After the beginning.
    pub start: Duration,
    /// The first probe, by its place.
    pub begin: u32,
    /// The probe after the last.
    pub end: u32,
}

struct Rounds;

impl Rule<Round> for Rounds {
    fn read(&self, text: &str) -> Result<Round, String> {
        let mut parts = text.split(':');
        let round = (|| {
            let start = Duration::from_micros(microseconds(parts.next()?, 1_000_000)?);
            let (begin, end) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            (parts.next().is_none() && begin <= end).then_some(Round { start, begin, end })
        })();
        round.ok_or_else(|| format!("malformed round '{text}'"))
    }

    fn write(&self, value: &Round) -> String {
        let start = written(u64::try_from(value.start.as_micros()).unwrap_or(u64::MAX));
        format!("{start}:{}:{}", value.begin, value.end)
    }
}

/// The addresses in question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    /// The addresses, in their order. Where probes have addresses of their own there are none.
    pub addresses: Vec<IpAddr>,
    /// The length of the last one's prefix, of a prefix scan.
    pub prefix: Option<u8>,
}

impl Target for Targets {
    fn none() -> Self {
        Self::default()
    }

    fn read(text: &str) -> Result<Self, String> {
        let mut targets = Self::default();
        for word in text.split_whitespace() {
            let (address, length) = prefix(word).ok_or_else(|| format!("invalid address '{word}'"))?;
            if targets.prefix.is_some() {
                return Err(format!("'{word}' after a prefix"));
            }
            targets.addresses.push(address);
            targets.prefix = word.contains('/').then_some(length);
        }
        Ok(targets)
    }

    fn write(&self) -> String {
        let words: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let words = words.join(" ");
        self.prefix.map_or_else(|| words.clone(), |length| format!("{words}/{length}"))
    }
}

impl Dealias {
    fn check(&self) -> Result<(), String> {
        let method = self.method.unwrap_or(DealiasMethod::Mercator);
        let addresses = self.target.addresses.len();
        let own = self.probes.iter().filter(|probe| probe.address.is_some()).count();
        if self.target.prefix.is_some() != (method == DealiasMethod::Prefixscan) {
            return Err("a prefix scan, and nothing else, takes an address and a prefix".into());
        }
        let fits = match method {
            DealiasMethod::Mercator => addresses == 1 && own == 0,
            DealiasMethod::Prefixscan => addresses == 2 && own == 0,
            DealiasMethod::Ally => addresses + own == 2,
            DealiasMethod::Bump => addresses == 0 && own == 2,
            DealiasMethod::Radargun | DealiasMethod::Midarest => addresses + own >= 2,
            DealiasMethod::Midardisc => addresses == 0 && own >= 2 && !self.schedule.is_empty(),
        };
        if fits { Ok(()) } else { Err(format!("{} wants other addresses", OneOf.write(&method))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_options_within_an_option() {
        let text =
            "dealias -m radargun -p '-i 192.0.2.1 -P icmp-echo' -p '-d 9 -i 192.0.2.2 -P udp' -q 3 -W 20";
        let dealias = Dealias::parse(text.strip_prefix("dealias ").unwrap()).unwrap();
        assert_eq!(dealias.probes.len(), 2);
        assert_eq!(dealias.to_string(), text);
    }
}

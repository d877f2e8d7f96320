//! `host`.

use std::net::IpAddr;
use std::time::Duration;

use super::rules::{Address, OneOf, Word, number, seconds, user_id, words};
use super::table::{Flag, Rule, command};

command! {
    /// `host`: a question to a name server. What is measured is a name, or for PTR an address.
    Host = "host", String;
    /// Whether the server is asked not to ask others.
    'r' no_recurse: bool = Flag,
    /// Whether it is asked over TCP.
    'T' tcp: bool = Flag,
    /// The class (IN).
    'c' class: Option<HostClass> = OneOf,
    /// Options.
    'O' options: Vec<HostOption> = HostOptions,
    /// How often it is asked again (0).
    'R' retries: Option<u8> = number("retries", 0, 3),
    /// The server; absent: that of the vantage point.
    's' server: Option<IpAddr> = Address,
    /// What is asked for (A; of an address PTR).
    't' qtype: Option<HostType> = OneOf,
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
    /// How long an answer is waited for (5 s). scamper itself takes a second at least.
    'W' wait: Option<Duration> = seconds("timeout", 1, 5_000).steps(1),
}

words! {
    /// A class of records.
    HostClass, "class";
    /// The Internet.
    In = "IN",
    /// Chaos.
    Ch = "CH" | "CHAOS",
}

words! {
    /// A type of records.
    HostType, "query type";
    /// IPv4 addresses.
    A = "A",
    /// IPv6 addresses.
    Aaaa = "AAAA",
    /// The name of an address.
    Ptr = "PTR",
    /// Mail exchangers.
    Mx = "MX",
    /// Name servers.
    Ns = "NS",
    /// The start of authority.
    Soa = "SOA",
    /// Texts.
    Txt = "TXT",
    /// Services.
    Svcb = "SVCB",
    /// The service of HTTPS.
    Https = "HTTPS",
}

impl HostType {
    /// Its name.
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, one)| *one == self).map_or("", |(word, _)| word)
    }
}

/// An option of `host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostOption {
    /// `nsid`: the server shall name itself (RFC 5001).
    Nsid,
    /// `subnet=`: the prefix that is said to ask (RFC 7871).
    Subnet(IpAddr, u8),
    /// `mqtypes=`: what follows an answer, types of records with commas between.
    MoreTypes(String),
}

struct HostOptions;

impl Rule<HostOption> for HostOptions {
    fn read(&self, text: &str) -> Result<HostOption, String> {
        let (word, value) = text.split_once('=').unwrap_or((text, ""));
        match word.to_ascii_lowercase().as_str() {
            "nsid" if value.is_empty() => Ok(HostOption::Nsid),
            "subnet" | "ecs" => {
                let (address, length) = prefix(value).ok_or_else(|| format!("'{value}' is no prefix"))?;
                Ok(HostOption::Subnet(address, length))
            }
            "mqtypes" if !value.is_empty() => Ok(HostOption::MoreTypes(value.to_owned())),
            _ => Err(format!("unknown option '{text}'")),
        }
    }

    fn write(&self, value: &HostOption) -> String {
        match value {
            HostOption::Nsid => "nsid".into(),
            HostOption::Subnet(address, length) => format!("subnet={address}/{length}"),
            HostOption::MoreTypes(types) => format!("mqtypes={types}"),
        }
    }
}

/// An address and the length of a prefix; without one it is the whole address.
pub(super) fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv6() { 128 } else { 32 };
    let length = length.map_or(Some(most), |length| length.parse().ok())?;
    (length <= most).then_some((address, length))
}

impl Host {
    fn check(&self) -> Result<(), String> {
        if self.qtype == Some(HostType::Ptr) && self.target.parse::<IpAddr>().is_err() {
            return Err(format!("PTR is asked for an address, not for '{}'", self.target));
        }
        Ok(())
    }
}

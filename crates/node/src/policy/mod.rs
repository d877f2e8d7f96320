//! What a site allows: the judgement of an address, and the file that says so (`policy.toml`).
//!
//! The vantage point decides for itself. [`Policy::judge`] is asked about every address before the first packet, after
//! resolution, and nothing that an anchor says widens it. Pure: no I/O, no clock.
//!
//! The longest prefix of `allow` and `deny` that holds an address decides, and `deny` where they are equally long.
//! Where neither holds it, what is not of the public Internet is refused ([`special`]).

mod prefix;
mod rate;
mod special;

use std::fmt;
use std::net::IpAddr;

use mmn_schema::id::KindName;
use mmn_schema::outcome::{Reason, code};
use mmn_schema::vp::PolicySummary;
use serde::{Deserialize, Serialize};

pub use prefix::{Prefix, PrefixError};
pub use rate::{BitRate, BitRateError};

/// A sample of `policy.toml`, with every default written out.
pub const SAMPLE: &str = include_str!("sample.toml");

/// What a site allows. Fields that are absent from the file have these defaults; unknown ones are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Packets per second, over all modules of the vantage point.
    pub max_pps: u64,
    /// Bits per second, IP headers included, over all modules of the vantage point.
    pub max_bps: BitRate,
    /// Packets per second to one target address.
    pub max_pps_per_target: u64,
    /// Prefixes that are allowed although they are not of the public Internet.
    pub allow: Vec<Prefix>,
    /// Prefixes that are refused although they are.
    pub deny: Vec<Prefix>,
    /// Kinds that are not offered.
    pub deny_kinds: Vec<KindName>,
    /// Whether this host's own addresses (127.0.0.0/8, `::1`) may be measured.
    pub allow_loopback: bool,
    /// Whether echo requests to very many targets may leave through packet sockets, which pass by this host's outgoing
    /// firewall and its routing policy.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_packet_sockets: bool,
    /// Modules of others that get sockets, by name.
    pub sockets_for: Vec<String>,
}

/// What is not allowed is not written: a module of an earlier version does not know the word.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_pps: 1_000,
            max_bps: BitRate(10_000_000),
            max_pps_per_target: 100,
            allow: Vec::new(),
            deny: Vec::new(),
            deny_kinds: Vec::new(),
            allow_loopback: false,
            allow_packet_sockets: false,
            sockets_for: Vec::new(),
        }
    }
}

/// Why an address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The site's file names it.
    #[error("the site's policy refuses {0} ({1})")]
    Denied(IpAddr, Prefix),
    /// It is not of the public Internet, and the site's file does not name it.
    #[error("{0} is {1}, and the site's policy does not allow it")]
    Special(IpAddr, &'static str),
}

impl Refusal {
    /// The reason as it travels.
    pub fn reason(&self) -> Reason {
        Reason::with(code::POLICY, self)
    }
}

impl Policy {
    /// Reads the text of `policy.toml`.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        toml::from_str(text).map_err(|error| PolicyError(error.to_string()))
    }

    /// What allows this host's own addresses and nothing else.
    pub(crate) fn loopback_alone() -> Self {
        Self {
            allow: vec![Prefix::v4([127, 0, 0, 0], 8), Prefix::v6(0, 1, 128)],
            deny: vec![Prefix::v4([0; 4], 0), Prefix::v6(0, 0, 0)],
            ..Self::default()
        }
    }

    /// Whether packets may go to `address`.
    pub fn judge(&self, address: IpAddr) -> Result<(), Refusal> {
        // The kernel sends IPv4 to an IPv4-mapped address.
        let address = address.to_canonical();
        let longest = |prefixes: &[Prefix]| {
            prefixes.iter().copied().filter(|p| p.contains(address)).max_by_key(|p| p.bits())
        };
        match (longest(&self.allow), longest(&self.deny)) {
            (Some(allow), deny) if deny.is_none_or(|deny| deny.bits() < allow.bits()) => return Ok(()),
            (_, Some(deny)) => return Err(Refusal::Denied(address, deny)),
            _ => {}
        }
        if let IpAddr::V6(v6) = address {
            // What a prefix of IPv4 denies is not reached through a translator either.
            for inner in special::embedded(v6).into_iter().flatten() {
                if let Err(Refusal::Denied(_, deny)) = self.judge(inner.into()) {
                    return Err(Refusal::Denied(address, deny));
                }
            }
        }
        if self.allow_loopback && address.is_loopback() {
            return Ok(());
        }
        special::special(address).map_or(Ok(()), |what| Err(Refusal::Special(address, what)))
    }

    /// Whether a kind is offered.
    pub fn allows_kind(&self, kind: &KindName) -> bool {
        !self.deny_kinds.contains(kind)
    }

    /// The policy as the node publishes it.
    pub fn summary(&self) -> PolicySummary {
        let mut allow: Vec<String> = self.allow.iter().map(Prefix::to_string).collect();
        if self.allow_loopback {
            allow.extend(["127.0.0.0/8".to_owned(), "::1/128".to_owned()]);
        }
        PolicySummary {
            max_pps: self.max_pps,
            max_bps: self.max_bps.0,
            max_pps_per_target: self.max_pps_per_target,
            allow,
            deny: self.deny.iter().map(Prefix::to_string).collect(),
            deny_kinds: self.deny_kinds.iter().map(ToString::to_string).collect(),
            allow_packet_sockets: self.allow_packet_sockets,
        }
    }
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a policy: {}", self.0.trim_end())
    }
}

impl std::error::Error for PolicyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bulk_lane_is_part_of_what_is_published() {
        assert!(!Policy::default().summary().allow_packet_sockets);
        let policy = Policy::from_toml("allow_packet_sockets = true").unwrap();
        assert!(policy.summary().allow_packet_sockets);
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_sample_is_the_default() {
        assert_eq!(Policy::from_toml(SAMPLE).unwrap(), Policy::default());
    }

    #[test]
    fn a_line_changes_each_limit() {
        let policy = Policy::from_toml("max_pps = 5\nmax_bps = \"1Gbit/s\"\nmax_pps_per_target = 2").unwrap();
        assert_eq!((policy.max_pps, policy.max_bps.0, policy.max_pps_per_target), (5, 1_000_000_000, 2));
        assert!(Policy::from_toml("max_ppps = 5").unwrap_err().to_string().contains("max_ppps"));
    }

    #[test]
    fn the_longest_prefix_decides_and_deny_breaks_the_tie() {
        let policy = Policy::from_toml(
            r#"
            allow = ["10.0.0.0/8", "192.168.1.0/24"]
            deny = ["10.1.0.0/16", "192.168.1.0/24", "8.0.0.0/8"]
            "#,
        )
        .unwrap();
        policy.judge(address("10.2.0.1")).unwrap();
        assert!(matches!(policy.judge(address("10.1.0.1")), Err(Refusal::Denied(..))));
        assert!(matches!(policy.judge(address("192.168.1.1")), Err(Refusal::Denied(..))));
        assert!(matches!(policy.judge(address("192.168.2.1")), Err(Refusal::Special(..))));
        assert!(matches!(policy.judge(address("64:ff9b::808:808")), Err(Refusal::Denied(..))));
        policy.judge(address("1.1.1.1")).unwrap();
    }

    #[test]
    fn loopback_is_allowed_by_a_line() {
        let mut policy = Policy::default();
        let refusal = policy.judge(address("127.0.0.1")).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "127.0.0.1 is loopback (RFC 1122), and the site's policy does not allow it"
        );
        policy.allow_loopback = true;
        for text in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            policy.judge(address(text)).unwrap();
        }
        assert!(policy.judge(address("64:ff9b::7f00:1")).is_err());
    }

    proptest! {
        #[test]
        fn mapped_addresses_are_judged_alike(v4: std::net::Ipv4Addr) {
            let policy = Policy::default();
            let mapped = IpAddr::V6(v4.to_ipv6_mapped());
            prop_assert_eq!(policy.judge(mapped).is_ok(), policy.judge(v4.into()).is_ok());
        }

        #[test]
        fn denying_everything_leaves_what_is_allowed(target: IpAddr, other: IpAddr) {
            let policy = Policy {
                allow: vec![target.to_canonical().to_string().parse().unwrap()],
                deny: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
                ..Policy::default()
            };
            prop_assert!(policy.judge(target).is_ok());
            prop_assert!(other.to_canonical() == target.to_canonical() || policy.judge(other).is_err());
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,80}") {
            let _ = Policy::from_toml(&text);
        }
    }
}

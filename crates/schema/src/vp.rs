//! A vantage point as the network knows it: what a node says of it, and what selections are made of.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::VpId;

/// A place to measure from: one network namespace on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VantagePoint {
    /// Its identity, which no change of name or address touches.
    pub id: VpId,
    /// Its label, unique in its network, changeable.
    pub name: String,
    /// Where it is, as far as its host says.
    #[serde(default)]
    pub location: Location,
    /// The number of the AS that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// The name of that AS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_name: Option<String>,
    /// Its addresses, the one that the default route uses first.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// What its host calls it besides.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether it is part of a simulated Internet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// Where a vantage point is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// ISO 3166-1 alpha-2, upper case: `DE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// `AF`, `AN`, `AS`, `EU`, `NA`, `OC` or `SA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continent: Option<String>,
    /// The city by its English name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Degrees north, WGS 84.
    #[serde(
        default,
        deserialize_with = "crate::encoding::finite_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub latitude: Option<f64>,
    /// Degrees east, WGS 84.
    #[serde(
        default,
        deserialize_with = "crate::encoding::finite_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub longitude: Option<f64>,
}

/// What a site allows, as its node publishes it. The vantage point enforces it, whatever an anchor says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicySummary {
    /// Packets per second, over all modules of the vantage point.
    pub max_pps: u64,
    /// Bits per second, over all modules of the vantage point.
    pub max_bps: u64,
    /// Packets per second to one target address.
    pub max_pps_per_target: u64,
    /// Prefixes that are allowed although they are private, loopback, link-local, multicast or reserved.
    pub allow: Vec<String>,
    /// Prefixes that are refused although they are public.
    pub deny: Vec<String>,
    /// Kinds that are not offered.
    pub deny_kinds: Vec<String>,
    /// Whether measurements may take the bulk lane, whose packet sockets pass by the host's outgoing firewall and its
    /// routing policy.
    #[serde(default)]
    pub allow_packet_sockets: bool,
}

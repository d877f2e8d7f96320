//! The format of a scenario.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use mmn_probe::time::Nanos;
use mmn_probe::trace::shape::Method;
use mmn_probe::{multipath, packet::Ttl, ping, trace, udp};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) about: String,
    pub(crate) run: Vec<Run>,
    /// The world, or the file of `examples/lab` that has it.
    pub(crate) world: Option<toml::Table>,
    pub(crate) example: Option<String>,
}

/// One of `trace`, `multipath`, `ping` and `dns`, from a vantage point.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    pub(crate) from: String,
    at_ms: Option<u64>,
    pub(crate) trace: Option<TraceTo>,
    pub(crate) multipath: Option<MultipathTo>,
    pub(crate) ping: Option<PingTo>,
    pub(crate) dns: Option<DnsTo>,
    #[serde(default)]
    pub(crate) expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TraceTo {
    to: IpAddr,
    method: Option<String>,
    max_ttl: Option<u8>,
    flow: Option<u16>,
    pmtud: Option<u16>,
    classic: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MultipathTo {
    to: IpAddr,
    method: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PingTo {
    pub(crate) to: Vec<IpAddr>,
    method: Option<String>,
    count: Option<u32>,
    interval_ms: Option<f64>,
    bytes: Option<u16>,
    port: Option<u16>,
    ttl: Option<u8>,
    dont_fragment: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DnsTo {
    server: IpAddr,
    name: String,
    #[serde(rename = "type")]
    of: Option<String>,
    chaos: Option<bool>,
}

/// All that is said must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// Of a trace: who answered for each TTL from 1, `*` for nobody.
    pub(crate) hops: Option<Vec<String>>,
    /// The round trips of the hops, in milliseconds.
    pub(crate) rtt_ms: Option<Vec<f64>>,
    /// Why it stopped, as `Debug` has it.
    pub(crate) stop: Option<String>,
    /// Label stacks by TTL.
    #[serde(default)]
    pub(crate) mpls: BTreeMap<String, Vec<u32>>,
    /// The path's MTU.
    pub(crate) mtu: Option<u16>,
    /// Of a multipath trace: who answered for each TTL, sorted.
    pub(crate) nodes: Option<Vec<Vec<String>>>,
    /// How the first node with several next hops chooses.
    pub(crate) balancer: Option<String>,
    /// Of a ping: how many probes were answered, or from how many to how many.
    pub(crate) answered: Option<Range>,
    pub(crate) errors: Option<u32>,
    pub(crate) duplicates: Option<Range>,
    pub(crate) reordered: Option<Range>,
    /// What the answers are.
    pub(crate) answer: Option<String>,
    /// How the identifications of all answers go on, in the order of coming: shared, zero, constant, random, apart.
    pub(crate) ip_ids: Option<String>,
    /// The round trip of the first probe in milliseconds, and the most of any.
    pub(crate) first_rtt_ms: Option<f64>,
    pub(crate) most_rtt_ms: Option<f64>,
    /// Of DNS: the data of the answers.
    pub(crate) data: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Range {
    Just(u32),
    From([u32; 2]),
}

impl Range {
    pub(crate) fn has(self, number: usize) -> bool {
        let number = u32::try_from(number).unwrap();
        match self {
            Self::Just(just) => number == just,
            Self::From([least, most]) => (least..=most).contains(&number),
        }
    }
}

impl Run {
    pub(crate) fn at(&self) -> Nanos {
        Nanos::from_millis(self.at_ms.unwrap_or(0))
    }

    pub(crate) fn interval(&self) -> Nanos {
        self.ping.as_ref().map_or(Nanos::ZERO, |ping| nanos(ping.interval_ms.unwrap_or(1000.0)))
    }
}

fn nanos(ms: f64) -> Nanos {
    std::time::Duration::from_secs_f64(ms / 1e3).into()
}

fn method(name: Option<&str>) -> Method {
    match name.unwrap_or("icmp") {
        "icmp" => Method::Icmp,
        "udp" => Method::Udp,
        "tcp" => Method::Tcp,
        "tcp-ack" => Method::TcpAck,
        other => panic!("method {other}"),
    }
}

impl TraceTo {
    pub(crate) fn spec(&self) -> trace::Spec {
        let mut spec = trace::Spec::new(self.to);
        spec.shape.method = method(self.method.as_deref());
        spec.paris = !self.classic.unwrap_or(false);
        spec.flow = self.flow.unwrap_or(0);
        spec.max_ttl = Ttl(self.max_ttl.unwrap_or(30));
        if spec.shape.method == Method::Tcp || spec.shape.method == Method::TcpAck {
            spec.port = 80;
        }
        spec.pmtud = self.pmtud.map(|size| trace::Pmtud { size });
        spec
    }
}

impl MultipathTo {
    pub(crate) fn spec(&self) -> multipath::Spec {
        let mut spec = multipath::Spec::new(self.to);
        spec.shape.method = method(self.method.as_deref().or(Some("udp")));
        spec.varies = match spec.shape.method {
            Method::Icmp => multipath::Varies::Checksum,
            Method::Udp => multipath::Varies::DestinationPort,
            _ => multipath::Varies::SourcePort,
        };
        if spec.shape.method == Method::Tcp {
            spec.port = 80;
        }
        spec.confidence = 0.99;
        spec
    }
}

impl PingTo {
    pub(crate) fn spec(&self, to: IpAddr) -> ping::Spec {
        let mut spec = ping::Spec::new(to);
        spec.method = match self.method.as_deref().unwrap_or("icmp") {
            "icmp" => ping::Method::Icmp,
            "timestamp" => ping::Method::IcmpTimestamp,
            "udp" => ping::Method::Udp,
            "tcp-syn" => ping::Method::TcpSyn,
            "tcp-ack" => ping::Method::TcpAck,
            "tcp-syn-ack" => ping::Method::TcpSynAck,
            "tcp-rst" => ping::Method::TcpRst,
            other => panic!("method {other}"),
        };
        spec.count = self.count.unwrap_or(10);
        spec.interval = nanos(self.interval_ms.unwrap_or(1000.0));
        spec.payload_bytes = self.bytes.unwrap_or(56);
        spec.port = self.port.unwrap_or(33_435);
        spec.ttl = self.ttl.map(Ttl);
        spec.dont_fragment = self.dont_fragment.unwrap_or(false);
        spec.wait_duplicates = true;
        spec
    }
}

impl DnsTo {
    pub(crate) fn spec(&self) -> udp::Spec {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        let of: RecordType = self.of.as_deref().unwrap_or("A").parse().unwrap();
        let mut query = Query::query(Name::from_ascii(&self.name).unwrap(), of);
        if self.chaos.unwrap_or(false) {
            query.set_query_class(DNSClass::CH);
        }
        message.add_query(query);
        udp::Spec { count: 1, payload: message.to_vec().unwrap().into(), ..udp::Spec::new(self.server, 53) }
    }
}

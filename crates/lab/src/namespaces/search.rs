//! A look into the truth while the world runs: some hundred records at a time, so that no packet waits for it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;

use mmn_probe::time::Instant;
use mmn_probe::wire::heard::Protocol;
use serde::{Deserialize, Serialize};

use crate::ids::{VpId, WayId};
use crate::plan::Plan;
use crate::truth::{Fate, Origin, PacketId, Record, Told, Truth, Why};
use crate::world::Port;

/// Which packets are asked for: those that vantage points sent and that fit in all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthQuery {
    /// The vantage point that sent them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vp: Option<String>,
    /// Where they went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<IpAddr>,
    /// ICMP identifier or source port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<u16>,
    /// ICMP sequence number or destination port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub far: Option<u16>,
    /// Not sent before this, in nanoseconds of `CLOCK_MONOTONIC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ns: Option<u64>,
    /// Sent before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<u64>,
    /// Only with a smaller number than this: what stood before the oldest of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// How many, the newest; at most [`MOST`].
    pub last: u32,
}

/// The most packets of one answer.
pub const MOST: u32 = 100;

/// A packet that fits, with what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The packet.
    pub packet: RecordRow,
    /// What was made of it, and of that, in the order of making; at most [`MOST_CAME`].
    pub came: Vec<RecordRow>,
}

/// How much of what came of a packet is told.
pub const MOST_CAME: usize = 8;

/// A record of the truth, with names in place of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRow {
    /// Its number.
    pub id: u64,
    /// The number of the packet that it was made of or about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<u64>,
    /// Who made it: a node, or of a copy the two ends of a link.
    pub by: String,
    /// When it was sent or made, in nanoseconds of `CLOCK_MONOTONIC`.
    pub born_ns: u64,
    /// When it met its fate.
    pub ended_ns: u64,
    /// By when it had really been brought to a vantage point: at the end of the system call that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_ns: Option<u64>,
    /// What became of it.
    pub fate: FateRow,
    /// Its source.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// `icmp`, `udp` or `tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// ICMP identifier or source port.
    pub selector: u16,
    /// ICMP sequence number or destination port.
    pub far: u16,
    /// The identification of its IPv4 header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_id: Option<u16>,
    /// Its TTL or hop limit when it was made.
    pub ttl: u8,
    /// Its length in octets.
    pub bytes: u32,
}

/// What became of a packet, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FateRow {
    /// What.
    pub what: What,
    /// The node, or the two ends of the link with `>` between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Why nobody was told, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
}

/// The fates ([`Fate`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is a fate, where it is described")]
pub enum What {
    UnderWay,
    Delivered,
    Answered,
    Kept,
    Expired,
    TooBig,
    NoRoute,
    Fragmented,
    Reassembled,
    Lost,
    QueueFull,
    LinkDown,
    Malformed,
    WorldFull,
}

/// A look under way.
#[derive(Debug)]
pub(crate) struct Search {
    asked: TruthQuery,
    vp: Option<VpId>,
    wanted: usize,
    /// The newest first.
    found: Vec<Found>,
    /// The records to look at, from the newest back.
    left: Range<u64>,
    /// How many of those found have been told to the end.
    told: usize,
}

/// How many records one step looks at.
const SLICE: u64 = 400;

impl Search {
    /// Begins one. The error names what there is not.
    pub(crate) fn new(plan: &Plan, truth: &Truth, asked: &TruthQuery) -> Result<Self, String> {
        let vp = asked.vp.as_ref().map(|name| plan.vp(name).ok_or_else(|| name.clone())).transpose()?;
        let wanted = usize::try_from(asked.last.min(MOST)).unwrap_or(0);
        let mut left = truth.span(asked.from_ns.map(Instant), asked.until_ns.map(Instant));
        left.end = asked.before.map_or(left.end, |before| left.end.min(before));
        Ok(Self { asked: asked.clone(), vp, wanted, found: Vec::new(), left, told: 0 })
    }

    /// Looks on. Answers what was found, the oldest first, once it is all.
    pub(crate) fn step(&mut self, plan: &Plan, truth: &Truth) -> Option<Vec<Found>> {
        for _ in 0..SLICE {
            let next = if self.found.len() < self.wanted { self.left.next_back() } else { None };
            let Some(next) = next.filter(|next| *next > truth.forgotten()) else {
                return self.tell(plan, truth);
            };
            if let Some(record) = truth.of(PacketId(next)).filter(|record| self.fits(record)) {
                self.found.push(Found { packet: row(plan, record), came: Vec::new() });
            }
        }
        None
    }

    /// Tells what came of one of those found.
    fn tell(&mut self, plan: &Plan, truth: &Truth) -> Option<Vec<Found>> {
        let Some(found) = self.found.get_mut(self.told) else {
            let mut found = std::mem::take(&mut self.found);
            found.reverse();
            return Some(found);
        };
        self.told += 1;
        let mut causes = VecDeque::from([PacketId(found.packet.id)]);
        while let Some(cause) = causes.pop_front() {
            for record in truth.consequences(cause) {
                if found.came.len() >= MOST_CAME {
                    return None;
                }
                found.came.push(row(plan, record));
                causes.push_back(record.id);
            }
        }
        None
    }

    fn fits(&self, record: &Record) -> bool {
        fn is<T: PartialEq + Copy>(wanted: Option<T>, there: T) -> bool {
            wanted.is_none_or(|wanted| wanted == there)
        }
        let Origin::Injected(Port::Vp(vp)) = record.origin else { return false };
        let (asked, look) = (&self.asked, &record.look);
        is(self.vp, vp)
            && is(asked.to, look.destination)
            && is(asked.selector, look.selector)
            && is(asked.far, look.far)
            && asked.from_ns.is_none_or(|from| record.born.0 >= from)
            && asked.until_ns.is_none_or(|until| record.born.0 < until)
    }
}

fn row(plan: &Plan, record: &Record) -> RecordRow {
    let by = match record.origin {
        Origin::Injected(port) => port_name(plan, port),
        Origin::Answer(node) | Origin::Error(node) | Origin::Fragment(node) => plan.name(node).to_owned(),
        Origin::Copy(way) => way_name(plan, way),
    };
    let look = &record.look;
    RecordRow {
        id: record.id.0,
        cause: record.cause.map(|cause| cause.0),
        by,
        born_ns: record.born.0,
        ended_ns: record.ended.0,
        written_ns: record.written.map(|at| at.0),
        fate: fate(plan, record.fate),
        source: look.source,
        destination: look.destination,
        protocol: look.protocol.map(|protocol| {
            match protocol {
                Protocol::Icmp => "icmp",
                Protocol::Udp => "udp",
                Protocol::Tcp => "tcp",
            }
            .to_owned()
        }),
        selector: look.selector,
        far: look.far,
        ip_id: look.ip_id,
        ttl: look.ttl,
        bytes: look.bytes,
    }
}

fn fate(plan: &Plan, fate: Fate) -> FateRow {
    let at = |what, node| FateRow { what, at: Some(plan.name(node).to_owned()), silent: None };
    let on = |what, way| FateRow { what, at: Some(way_name(plan, way)), silent: None };
    let nowhere = |what| FateRow { what, at: None, silent: None };
    let told = |row: FateRow, told| match told {
        Told::Yes => row,
        Told::No(why) => FateRow { silent: Some(why_word(why).to_owned()), ..row },
    };
    match fate {
        Fate::UnderWay => nowhere(What::UnderWay),
        Fate::Delivered(port) => {
            FateRow { what: What::Delivered, at: Some(port_name(plan, port)), silent: None }
        }
        Fate::Answered(node) => at(What::Answered, node),
        Fate::Kept(node, why) => told(at(What::Kept, node), Told::No(why)),
        Fate::Expired(node, was) => told(at(What::Expired, node), was),
        Fate::TooBig(way, was) => told(on(What::TooBig, way), was),
        Fate::NoRoute(node, was) => told(at(What::NoRoute, node), was),
        Fate::Fragmented(node) => at(What::Fragmented, node),
        Fate::Reassembled(node) => at(What::Reassembled, node),
        Fate::Lost(way) => on(What::Lost, way),
        Fate::QueueFull(way) => on(What::QueueFull, way),
        Fate::LinkDown(link) => {
            let link = &plan.links[link];
            let ends = format!("{}>{}", plan.name(link.a), plan.name(link.b));
            FateRow { what: What::LinkDown, at: Some(ends), silent: None }
        }
        Fate::Malformed => nowhere(What::Malformed),
        Fate::WorldFull => nowhere(What::WorldFull),
    }
}

const fn why_word(why: Why) -> &'static str {
    match why {
        Why::Silent => "silent",
        Why::RateLimited => "rate_limited",
        Why::Filtered => "filtered",
        Why::NoAnswerDue => "no_answer_due",
        Why::Incomplete => "incomplete",
        Why::Damaged => "damaged",
        Why::NotTranslated => "not_translated",
    }
}

fn port_name(plan: &Plan, port: Port) -> String {
    let node = match port {
        Port::Vp(vp) => plan.vps[vp].node,
        Port::Service(host) => plan.hosts[host].node,
    };
    plan.name(node).to_owned()
}

fn way_name(plan: &Plan, way: WayId) -> String {
    let way = &plan.ways[way];
    format!("{}>{}", plan.name(way.from), plan.name(way.to))
}

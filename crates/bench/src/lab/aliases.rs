//! Aliases: which addresses of interfaces are of one router, by the numbers that it gives its packets.
//!
//! The test is the monotonic bounds test of MIDAR (Keys, Hyun, Luckie, claffy: "Internet-Scale IPv4 Alias Resolution with
//! MIDAR", IEEE/ACM Transactions on Networking, 2013): the numbers of two addresses, in the order of answering, grow as one counter would.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mmn_lab::ids::Id as _;
use mmn_lab::plan::{IpIds, NodeKind, Owner, Plan};
use serde_json::json;

use crate::http::Connection;
use crate::lines::Bench;
use crate::measurement;
use crate::report::Report;
use crate::up::Up;

/// Numbers of an address, with when each was given, in nanoseconds.
type Series = Vec<(i64, u16)>;

/// How often each address is asked.
const COUNT: u32 = 12;
/// The fastest counter of which a series tells anything, in numbers a second.
const FASTEST: f64 = 2_000.0;
/// What may be added between two answers by packets of others.
const SLACK: f64 = 64.0;

pub(super) fn run(bench: &Bench, up: &Up, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let pairs = pairs(plan);
    let pairs = if bench.quick { pairs.get(..150).unwrap_or(&pairs) } else { &pairs };
    let series = series(up, pairs)?;
    let (mut tested, mut found, mut wrong, mut untold) = (0, 0, 0, 0);
    for pair in pairs {
        let [Some(one), Some(other)] = pair.addresses.map(|address| series.get(&address)) else {
            untold += 1;
            continue;
        };
        tested += 1;
        let verdict = one_counter(one, other);
        found += u32::from(verdict);
        if verdict != pair.shared {
            wrong += 1;
            if wrong <= 10 {
                let [a, b] = pair.addresses;
                report.note(&format!("{a} and {b}: measured {verdict}, programmed {}", pair.shared));
            }
        }
    }
    report.note(&format!(
        "{} addresses of interfaces asked {COUNT} times: {tested} pairs, {found} with one counter, {untold} with too few answers",
        series.len()
    ));
    anyhow::ensure!(tested > 20 && found > 5, "too few routers tell their numbers");
    report.exactly("pairs of addresses whose counters are not as programmed", "", f64::from(wrong), 0.0);
    Ok(())
}

/// Two addresses, and whether one counter numbers what both send.
#[derive(Debug)]
struct Pair {
    /// The turns of neighbours alternate.
    addresses: [IpAddr; 2],
    /// In which of the two turns the first is asked.
    turn: usize,
    shared: bool,
}

/// Of each router the neighbours among its interfaces, and of each two routers in a row one interface.
fn pairs(plan: &Plan) -> Vec<Pair> {
    let mut of: BTreeMap<usize, Vec<IpAddr>> = BTreeMap::new();
    let entrances = plan.ways.iter().filter_map(|way| way.entrance.v4);
    for address in entrances.map(IpAddr::V4) {
        if let Some(Owner::Node(node, _)) = plan.owner(address) {
            of.entry(node.index()).or_default().push(address);
        }
    }
    let mut pairs = Vec::new();
    let mut before: Option<IpAddr> = None;
    for addresses in of.into_values() {
        let Some(first) = addresses.first().copied() else { continue };
        let Some(Owner::Node(node, _)) = plan.owner(first) else { continue };
        let node = &plan.nodes[node];
        if node.kind != NodeKind::Router || node.manners.silent || !node.manners.echo {
            continue;
        }
        let shared = node.manners.ip_id == IpIds::Shared;
        let neighbours = (0..).zip(addresses.iter().zip(addresses.iter().skip(1)));
        pairs.extend(neighbours.map(|(turn, (a, b))| Pair { addresses: [*a, *b], turn: turn % 2, shared }));
        pairs.extend(before.map(|before| Pair { addresses: [before, first], turn: 1, shared: false }));
        before = Some(first);
    }
    pairs
}

/// Asks all of them from one vantage point, and gives the series of those that answered often enough. Those of the second turn
/// are asked between the questions to those of the first: which of two numbers is the older is then beyond doubt, however
/// different the ways there and back are.
fn series(up: &Up, pairs: &[Pair]) -> anyhow::Result<BTreeMap<IpAddr, Series>> {
    let mut turns = BTreeMap::new();
    for Pair { addresses: [one, other], turn, .. } in pairs {
        turns.entry(*one).or_insert(*turn);
        turns.entry(*other).or_insert(1 - turn);
    }
    let mut api = Connection::open(&up.api, &up.token)?;
    let params = json!({"count": COUNT, "interval": "250ms"});
    let mut ids = Vec::new();
    for now in 0..2 {
        let inputs: Vec<_> =
            turns.iter().filter(|(_, turn)| **turn == now).map(|(address, _)| address).collect();
        let body =
            json!({"kind": "ping", "params": params, "inputs": inputs, "from": "fra1", "deadline": "1m"});
        ids.push(measurement::submit(&mut api, &body.to_string())?);
        std::thread::sleep(Duration::from_millis(125));
    }
    let mut records = Vec::new();
    for id in &ids {
        measurement::closed(&mut api, id, Duration::from_secs(60))?;
        records.extend(measurement::results(up, id)?);
    }
    let mut all = BTreeMap::new();
    for record in records {
        let body = record.body.to_json()?;
        let Some(address) = body["address"].as_str().and_then(|text| text.parse().ok()) else { continue };
        let replies = body["replies"].as_array().map_or(&[][..], Vec::as_slice);
        let numbers = replies.iter().filter_map(|reply| {
            let sent: mmn_schema::time::Timestamp = reply["sent_at"].as_str()?.parse().ok()?;
            // The answer was numbered half a round trip later, near enough.
            let at = sent.unix_ns() + reply["rtt_ns"].as_i64()? / 2;
            Some((at, u16::try_from(reply["ip_id"].as_u64()?).ok()?))
        });
        let series: Series = numbers.collect();
        if series.len() >= 4 {
            all.insert(address, series);
        }
    }
    Ok(all)
}

/// Whether the numbers of both are those of one counter.
fn one_counter(one: &Series, other: &Series) -> bool {
    // A counter that stands still, or is none, tells nothing.
    if [one, other].into_iter().any(|series| steps(series).all(|((_, a), (_, b))| a == b)) {
        return false;
    }
    let mut merged: Vec<_> = one.iter().chain(other).copied().collect();
    merged.sort_unstable();
    steps(&merged).all(|((before, a), (after, b))| {
        let seconds = Duration::from_nanos(after.abs_diff(before)).as_secs_f64();
        let step = f64::from(b.wrapping_sub(a));
        step > 0.0 && step <= FASTEST * seconds + SLACK
    })
}

/// Each number with the next.
fn steps(series: &[(i64, u16)]) -> impl Iterator<Item = ((i64, u16), (i64, u16))> {
    series.iter().copied().zip(series.iter().copied().skip(1))
}

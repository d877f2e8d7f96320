//! What came of a run against what was expected, and against the truth.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;

use hickory_proto::op::Message;
use mmn_lab::truth::{Fate, Origin, Query, Record};
use mmn_lab::world::{Port, World};
use mmn_probe::multipath::Multipath;
use mmn_probe::packet::Departure;
use mmn_probe::ping::{self, Answer, Ping};
use mmn_probe::time::Instant;
use mmn_probe::trace::mtu::Search;
use mmn_probe::trace::{self, Sample, Trace};
use mmn_probe::udp::Udp;
use mmn_probe::wire::extension::{Known, objects};

use super::Any;
use super::file::{Expect, Range, Run};

type Outcome = Result<(), String>;

pub(crate) fn check(run: &Run, found: &[&Any], world: &World) -> Outcome {
    let expect = &run.expect;
    match found {
        [Any::Trace(trace)] => {
            trace_is_true(trace, world)?;
            of_trace(expect, trace)
        }
        [Any::Multipath(multipath)] => of_multipath(expect, multipath),
        [Any::Udp(udp)] => of_dns(expect, udp),
        pings => {
            let pings: Vec<&Ping> = pings
                .iter()
                .map(|any| match any {
                    Any::Ping(ping) => ping.as_ref(),
                    _ => panic!("one trace at a time"),
                })
                .collect();
            pings.iter().try_for_each(|ping| ping_is_true(ping, world))?;
            of_pings(expect, &pings)
        }
    }
}

/// Every packet has one fate, and everything that says it was answered was.
pub(crate) fn fates(world: &World) -> Outcome {
    for record in world.truth().records() {
        let consequences = world.truth().consequences(record.id).count();
        let fits = match record.fate {
            Fate::UnderWay => false,
            Fate::Answered(_) | Fate::Fragmented(_) => consequences > 0,
            _ => true,
        };
        if !fits {
            return Err(format!("{record:?} has {consequences} consequences"));
        }
    }
    Ok(())
}

fn same<T: PartialEq + Debug>(what: &str, wanted: Option<&T>, found: &T) -> Outcome {
    match wanted {
        Some(wanted) if wanted != found => Err(format!("{what}: expected {wanted:?}, found {found:?}")),
        _ => Ok(()),
    }
}

fn within(what: &str, wanted: Option<Range>, found: usize) -> Outcome {
    match wanted {
        Some(wanted) if !wanted.has(found) => Err(format!("{what}: expected {wanted:?}, found {found}")),
        _ => Ok(()),
    }
}

fn of_trace(expect: &Expect, trace: &Trace) -> Outcome {
    let mut hops: BTreeMap<u8, (String, f64)> = BTreeMap::new();
    let mut mpls = BTreeMap::new();
    for sample in trace.samples().filter(|sample| !sample.of_mtu_search && sample.sent.is_some()) {
        let hop = hops.entry(sample.ttl.0).or_insert_with(|| ("*".to_owned(), 0.0));
        let Some(reply) = sample.reply else { continue };
        *hop = (reply.from.to_string(), sample.rtt.unwrap().0 as f64 / 1e6);
        for object in objects(&reply.extensions) {
            if let Some(Known::Mpls(labels)) = object.known() {
                mpls.insert(sample.ttl.0.to_string(), labels.map(|label| label.label).collect::<Vec<_>>());
            }
        }
    }
    let last = trace.stop_ttl().map_or(u8::MAX, |ttl| ttl.0);
    hops.retain(|ttl, _| *ttl <= last);
    let (names, times): (Vec<_>, Vec<_>) = hops.into_values().unzip();
    same("hops", expect.hops.as_ref(), &names)?;
    same("rtt_ms", expect.rtt_ms.as_ref(), &times)?;
    if expect.hops.is_some() || !expect.mpls.is_empty() {
        same("mpls", Some(&expect.mpls), &mpls)?;
    }
    same("stop", expect.stop.as_ref(), &format!("{:?}", trace.stop().unwrap()))?;
    if let Some(mtu) = expect.mtu {
        let found = trace.mtu().and_then(Search::mtu);
        same("mtu", Some(&Some(mtu)), &found)?;
    }
    Ok(())
}

fn of_multipath(expect: &Expect, multipath: &Multipath) -> Outcome {
    let mut nodes: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for node in multipath.nodes().skip(1) {
        let name = node.address.map_or_else(|| "*".to_owned(), |address| address.to_string());
        let row = nodes.entry(node.ttl.0).or_default();
        if !row.contains(&name) {
            row.push(name);
        }
    }
    let mut nodes: Vec<_> = nodes.into_values().collect();
    for row in &mut nodes {
        row.sort();
    }
    same("nodes", expect.nodes.as_ref(), &nodes)?;
    same("stop", expect.stop.as_ref(), &format!("{:?}", multipath.stop().unwrap()))?;
    let balancer = multipath.nodes().find_map(|node| node.balancer);
    match &expect.balancer {
        Some(wanted) => same("balancer", Some(wanted), &format!("{:?}", balancer.unwrap())),
        None => Ok(()),
    }
}

fn of_pings(expect: &Expect, pings: &[&Ping]) -> Outcome {
    let samples: Vec<ping::Sample> = pings.iter().flat_map(|ping| ping.samples()).collect();
    let replies: Vec<&ping::Reply> = samples
        .iter()
        .filter_map(|sample| match &sample.fate {
            ping::Fate::Replied(reply) | ping::Fate::Late(reply) => Some(reply),
            _ => None,
        })
        .collect();
    within("answered", expect.answered, replies.len())?;
    let errors = samples.iter().filter(|sample| matches!(sample.fate, ping::Fate::Error(_))).count();
    within("errors", expect.errors.map(Range::Just), errors)?;
    let duplicates: u32 = samples.iter().map(|sample| sample.duplicates).sum();
    within("duplicates", expect.duplicates, usize::try_from(duplicates).unwrap())?;
    let mut order: Vec<(Instant, u32)> =
        samples.iter().filter_map(|sample| Some((sample.fate.received()?.at, sample.seq))).collect();
    order.sort_unstable();
    let late = order.iter().scan(0, |next, (_, seq)| {
        let is_late = seq < next;
        *next = (*next).max(*seq);
        Some(usize::from(is_late))
    });
    within("reordered", expect.reordered, late.sum())?;
    let answers: Vec<&str> = samples.iter().map(|sample| answer(&sample.fate)).collect();
    if let Some(wanted) = &expect.answer {
        let wanted = vec![wanted.as_str(); answers.len()];
        same("answers", Some(&wanted), &answers)?;
    }
    let rtts: Vec<f64> = samples.iter().filter_map(|sample| Some(sample.rtt?.0 as f64 / 1e6)).collect();
    if let Some(wanted) = expect.first_rtt_ms {
        same("first_rtt_ms", Some(&Some(wanted)), &rtts.first().copied())?;
    }
    let most = rtts.iter().copied().fold(0.0, f64::max);
    if expect.most_rtt_ms.is_some_and(|bound| most > bound) {
        return Err(format!("most_rtt_ms: {most}"));
    }
    let mut ids: Vec<(Instant, u16)> =
        replies.iter().map(|reply| (reply.arrival.received.at, reply.arrival.ip_id.unwrap_or(0))).collect();
    ids.sort_unstable();
    let ids: Vec<u16> = ids.into_iter().map(|(_, id)| id).collect();
    match &expect.ip_ids {
        Some(wanted) => same("ip_ids", Some(wanted), &series(&ids).to_owned()),
        None => Ok(()),
    }
}

/// How identifications go on.
fn series(ids: &[u16]) -> &'static str {
    let steps: Vec<u16> = ids.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let of_each_second: Vec<u16> = ids.iter().step_by(2).copied().collect();
    let small = |steps: &[u16]| steps.iter().all(|step| (1..100).contains(step));
    match () {
        () if ids.iter().all(|id| *id == 0) => "zero",
        () if steps.iter().all(|step| *step == 0) => "constant",
        () if small(&steps) => "shared",
        () if of_each_second.windows(2).all(|pair| (1..100).contains(&pair[1].wrapping_sub(pair[0]))) => {
            "apart"
        }
        () => "random",
    }
}

fn answer(fate: &ping::Fate) -> &'static str {
    match fate {
        ping::Fate::Replied(reply) | ping::Fate::Late(reply) => match reply.answer {
            Answer::Echo => "echo",
            Answer::Timestamp { .. } => "timestamp",
            Answer::Udp => "udp",
            Answer::Tcp { flags: 18, .. } => "syn-ack",
            Answer::Tcp { .. } => "reset",
            Answer::PortUnreachable { .. } => "port-unreachable",
            _ => "other",
        },
        ping::Fate::Error(report) => report.kind.name(),
        ping::Fate::TimedOut => "none",
        ping::Fate::NotSent(_) => "not-sent",
        _ => "other",
    }
}

fn of_dns(expect: &Expect, udp: &Udp) -> Outcome {
    let data = udp.replies().first().map_or_else(Vec::new, |reply| {
        let message = Message::from_vec(&reply.payload).unwrap();
        message.answers.iter().map(|record| format!("{} {}", record.ttl, record.data)).collect()
    });
    same("data", expect.data.as_ref(), &data)
}

/// A probe, as a machine knows it.
struct Sent {
    source: Option<IpAddr>,
    target: IpAddr,
    ip_id: Option<u16>,
    selector: u16,
    at: Instant,
}

/// What came back for a probe, and from whom.
fn truth(world: &World, sent: &Sent) -> Result<Vec<(Instant, IpAddr)>, String> {
    let query = Query {
        source: sent.source,
        destination: Some(sent.target),
        ip_id: sent.ip_id,
        selector: Some(sent.selector),
        from: Some(sent.at),
        until: Some(Instant(sent.at.0 + 1)),
        ..Query::default()
    };
    let injected = |record: &&Record| matches!(record.origin, Origin::Injected(Port::Vp(_)));
    let record = world.truth().find(&query).find(injected);
    let record = record.ok_or_else(|| format!("the truth does not know {query:?}"))?;
    let returns = world.truth().returns(record.id);
    Ok(returns.iter().map(|record| (record.ended, record.look.source)).collect())
}

/// What a ping measured is what happened.
fn ping_is_true(ping: &Ping, world: &World) -> Outcome {
    for sample in ping.samples() {
        let (Some(sent), Some(departure)) = (sample.sent, sample.departure) else { continue };
        let at = sent.at;
        let Departure { source, ip_id, identity, .. } = departure;
        let sent = Sent { source, target: ping.target(), ip_id, selector: identity.selector, at };
        let came = truth(world, &sent)?;
        let true_rtt = came.first().map(|(due, _)| due.saturating_since(at));
        let repeats = u32::try_from(came.len().saturating_sub(1)).unwrap();
        if true_rtt != sample.rtt || repeats != sample.duplicates {
            return Err(format!("{sample:?}: the truth has {came:?}"));
        }
    }
    Ok(())
}

/// What a trace saw is what happened: who answered, and when.
fn trace_is_true(trace: &Trace, world: &World) -> Outcome {
    for sample in trace.samples() {
        let (Some(sent), Some(identity)) = (sample.sent, sample.identity) else { continue };
        let Sample { ip_id, .. } = sample;
        let selector = identity.selector;
        let sent = Sent { source: trace.source(), target: trace.target(), ip_id, selector, at: sent.at };
        let came = truth(world, &sent)?;
        let seen = sample.reply.map(|reply| (reply.received.at, reply.from));
        // A trace may end before all that it asked has come.
        if seen != came.first().copied() && !(seen.is_none() && sample.fate == trace::Fate::Cancelled) {
            return Err(format!("{sample:?}: the truth has {came:?}"));
        }
    }
    Ok(())
}

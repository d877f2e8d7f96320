//! Matched echoes a second on one core: the bulk lane against a bare loop over the same kind of socket.
//!
//! Both are loops of this program, pinned to one processor, with the same requests to the same host, whose kernel answers on
//! that processor, too: what differs is what the lane does for each probe (routes, limits, cookie, stamps, matching,
//! timeout). What they do in a second of their processor time counts, so that what else the machine does takes nothing from
//! them; beside it stands what they did in a second on the wall, where one that waits can be seen. They take turns, and the
//! best turn of each counts.
//!
//! Beside them stands the whole module: what it does with a task of one echo, from the message that asks for it to the
//! message with its result.

use std::ffi::OsString;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mmn_node::clock;
use mmn_node::net::bulk::{Lane, PacketSockets, bare};
use mmn_node::net::icmp::IdRange;
use mmn_node::net::page::{Limits, Page};
use mmn_probe::bulk::{Fate, Shape, Spec};
use mmn_probe::time::{Instant, Nanos};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cpu::FIRST;
use super::measured::{Measured, address};
use super::place;
use crate::lines::Bench;
use crate::processes;
use crate::report::Report;

/// The first argument of the program that is the bare loop, and of the one that is the lane.
pub(crate) const BARE: &str = "--bare-loop";
pub(crate) const LANE: &str = "--lane-loop";

/// Turns of each loop.
const TURNS: u32 = 3;
/// The payload of all requests.
const PAYLOAD_BYTES: u16 = 56;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let _host = place::target(&bench.mmn)?;
    let probes: u32 = if bench.quick { 200_000 } else { 1_000_000 };
    let mut measured = Measured::start(bench, 10_000_000)?;
    let params = json!({"count": 1, "timeout": "1s", "size": PAYLOAD_BYTES, "lane": "bulk"});
    let patience = Duration::from_secs(120);
    measured.measure("ping", &params, FIRST, 50_000, patience)?;
    processes::pin(measured.packet, 0)?;
    let (sums, _) = measured.measure("ping", &params, FIRST, probes, patience)?;
    measured.up.stop()?;
    // The module's process does its work on one processor: what it does in a second of that.
    #[expect(clippy::cast_precision_loss, reason = "a count of answers")]
    let module = sums.answered as f64 / sums.cpu_s;
    report.note(&format!(
        "the whole module: {} of {} answered in {:.2} s, {:.2} s of processor time",
        sums.answered, sums.accepted, sums.wall_s, sums.cpu_s
    ));
    let (mut bare, mut lane) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        bare.push(alone(BARE, probes)?);
        lane.push(alone(LANE, probes)?);
    }
    report.note("  in a second of processor time, and on the wall:");
    report.note(&format!("bare loop, {TURNS} turns of {probes} probes: {}", list(&bare)));
    report.note(&format!("bulk lane, turn about: {}", list(&lane)));
    let best = |turns: &[Turn]| turns.iter().map(|turn| turn.of_cpu).fold(0.0, f64::max);
    let (bare, lane) = (best(&bare), best(&lane));
    report.yardstick("bare loop of sending and receiving, one core", "/s", bare);
    report.yardstick("whole module, tasks of one echo per second of one core", "/s", module);
    report.yardstick("bulk lane, matched probes per second of one core", "/s", lane);
    report.at_least("  against the bare loop", "x", lane / bare, 0.9);
    Ok(())
}

/// Echoes a second.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Turn {
    of_cpu: f64,
    of_wall: f64,
}

fn list(turns: &[Turn]) -> String {
    let each = |turn: &Turn| format!("{:.0} and {:.0} /s", turn.of_cpu, turn.of_wall);
    turns.iter().map(each).collect::<Vec<_>>().join(", ")
}

fn alone(which: &str, probes: u32) -> anyhow::Result<Turn> {
    let output = Command::new("taskset")
        .args(["-c", "0"])
        .arg(std::env::current_exe()?)
        .args([which, &address(FIRST), &probes.to_string()])
        .output()
        .context("taskset (util-linux)")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The bare loop, as a program: prints the echoes a second.
pub(crate) fn bare_loop(arguments: &[OsString]) -> anyhow::Result<()> {
    let (target, count) = words(arguments)?;
    // Once to warm up.
    bare(sockets()?, target, u64::from(count / 10))?;
    let before = cpu();
    let done = bare(sockets()?, target, count.into())?;
    tell(done.received, done.took, before)
}

/// The bulk lane, as a program: one echo to each of so many targets from an address on. Prints the matched ones a second,
/// if all of them are.
pub(crate) fn lane_loop(arguments: &[OsString]) -> anyhow::Result<()> {
    let (first, count) = words(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (took, before) = runtime.block_on(async {
        let limits = Limits {
            packets_per_s: 10_000_000,
            bits_per_s: 100_000_000_000,
            target_packets_per_s: 1_000_000,
        };
        let page = Arc::new(Page::create(limits, [7; 16])?);
        let mut lane = Lane::new(sockets()?, page, [9; 16])?;
        // Once to warm up.
        all_of(&mut lane, first, count / 10).await?;
        let before = cpu();
        anyhow::Ok((all_of(&mut lane, first, count).await?, before))
    })?;
    tell(count.into(), took, before)
}

/// How long it takes until all have answered.
async fn all_of(lane: &mut Lane, first: IpAddr, count: u32) -> anyhow::Result<Nanos> {
    let IpAddr::V4(first) = first else { anyhow::bail!("an IPv4 address is wanted") };
    let target = |number: u32| IpAddr::V4((u32::from(first) + number).into());
    let shape =
        Shape { payload_bytes: PAYLOAD_BYTES, fill: Vec::new(), ttl: 64, tos: 0, dont_fragment: true };
    let began = clock::monotonic();
    let (mut last, mut next, mut matched) = (began, 0, 0);
    let mut again = Vec::new();
    while matched < count {
        // As the module begins them.
        if !again.is_empty() || (next < count && lane.running() < OUTSTANDING) {
            let spec =
                Spec { shape: shape.clone(), timeout: Nanos::from_secs(1), deadline: Instant(u64::MAX) };
            let spec = lane.measure(spec).context("too many measurements")?;
            let more = next..count.min(next + FLOCK);
            next = more.end;
            for number in again.drain(..).chain(more) {
                anyhow::ensure!(lane.submit(spec, target(number), number), "there is no room");
            }
            lane.complete(spec);
        }
        let mut other = None;
        lane.turn(&mut |end| match end.sample.fate {
            Fate::Replied(answer) => {
                matched += 1;
                last = last.max(answer.received.at);
            }
            // Its neighbour was to be resolved first.
            Fate::Declined => again.push(end.owner),
            fate => other = Some(fate),
        });
        anyhow::ensure!(other.is_none() && again.len() < 1_024, "not answered: {other:?}");
        if matched < count {
            lane.ready().await;
        }
    }
    Ok(last.saturating_since(began))
}

/// Probes that are under way at a time, and that are begun at a time.
const OUTSTANDING: u32 = 65_536;
const FLOCK: u32 = 1_024;

fn words(arguments: &[OsString]) -> anyhow::Result<(IpAddr, u32)> {
    let word = |at: usize| arguments.get(at).and_then(|word| word.to_str()).context("ADDRESS COUNT");
    Ok((word(0)?.parse()?, word(1)?.parse()?))
}

fn sockets() -> anyhow::Result<PacketSockets> {
    Ok(PacketSockets::open(IdRange::new(1, 1_024)?)?)
}

/// Processor time of this process, user and system.
fn cpu() -> Nanos {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    Nanos(part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec))
}

#[expect(clippy::print_stdout, reason = "its line is what such a program is for")]
#[expect(clippy::cast_precision_loss, reason = "counts of packets")]
fn tell(count: u64, took: Nanos, before: Nanos) -> anyhow::Result<()> {
    let a_second = |time: Nanos| count as f64 / (time.0 as f64 / 1e9);
    let turn = Turn { of_cpu: a_second(Nanos(cpu().0 - before.0)), of_wall: a_second(took) };
    println!("{}", serde_json::to_string(&turn)?);
    Ok(())
}

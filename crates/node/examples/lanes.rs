//! Pings very many addresses, one probe each, and says what came back, how fast, what it cost, and how far the round
//! trips are from a truth: `lanes LANE FIRST COUNT PPS [TRUE_RTT_NS]`. LANE is `precise`, `raw` or `any`. Wants root, and
//! a host that answers for the addresses, such as a network namespace with `ip route add local 10.16.0.0/12 dev lo`.
#![expect(clippy::cast_precision_loss, reason = "numbers for people")]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use mmn_node::clock::monotonic;
use mmn_node::net::Family;
use mmn_node::net::carrier::raw::{RawCarrier, RawSockets};
use mmn_node::net::driver::{Config, Driver};
use mmn_node::net::icmp::IdRange;
use mmn_node::net::page::{Limits, Page};
use mmn_probe::conditions::{Lane, Wish};
use mmn_probe::cookie::Key;
use mmn_probe::ping::{Fate, Ping, Spec};
use mmn_probe::time::Nanos;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [lane, first, count, pps, rest @ ..] = &words[..] else {
        return Err("lanes LANE FIRST COUNT PPS [TRUE_RTT_NS]".into());
    };
    let wish = match lane.as_str() {
        "precise" => Wish::Only(Lane::Precise),
        "raw" => Wish::Only(Lane::Raw),
        _ => Wish::Any,
    };
    let (first, count, pps): (Ipv4Addr, u32, u64) = (first.parse()?, count.parse()?, pps.parse()?);
    let truth: u64 = rest.first().map_or(Ok(0), |truth| truth.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(wish, first, count, pps, truth))
}

async fn measure(wish: Wish, first: Ipv4Addr, count: u32, pps: u64, truth: u64) -> Result<(), Failure> {
    let limits = Limits { packets_per_s: pps, bits_per_s: 1 << 40, target_packets_per_s: 1 << 30 };
    let driver = Driver::new(Arc::new(Page::create(limits, [1; 16])?), Config::default())?;
    let sockets = RawSockets::open(Family::V4, IdRange::new(0, 1024)?, IdRange::new(61_000, 1024)?)?;
    driver.add_carrier(Box::new(RawCarrier::new(sockets, [7; 16])?))?;
    // The first socket that asks for stamps makes the kernel turn them on a moment later.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (began, cpu) = (monotonic(), cpu_ns()?);
    let mut runs = Vec::new();
    for number in 0..count {
        let mut spec = Spec::new(IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() + number)));
        (spec.count, spec.timeout, spec.payload_bytes) = (1, Nanos::from_secs(2), 8);
        runs.push(driver.start(Ping::new(spec, Key::new([9; 16]))?, wish)?);
        if number % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let resident = resident()?;
    let (mut matched, mut overrun, mut lost, mut unsent, mut precise) = (0, 0, 0, 0, 0);
    let mut rtts = Vec::new();
    for run in runs {
        let (ping, conditions) = run.await?;
        precise += u32::from(conditions.lane == Lane::Precise);
        for sample in ping.samples() {
            match sample.fate {
                Fate::Replied(_) => matched += 1,
                Fate::Overrun => overrun += 1,
                Fate::NotSent(_) => unsent += 1,
                _ => lost += 1,
            }
            rtts.extend(sample.rtt.map(|rtt| rtt.0.abs_diff(truth)));
        }
    }
    let (took, used) = (monotonic().saturating_since(began).0, cpu_ns()? - cpu);
    rtts.sort_unstable();
    let quantile = |share: usize| rtts.get((rtts.len() * share / 100).min(rtts.len().saturating_sub(1)));
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} octets a machine; {matched} of {count} replied, {lost} lost, {overrun} overrun, {unsent} not sent in {:.3} s; \
         {:.1} us of CPU a probe; {} MB at most; {precise} by the precise lane",
        size_of::<Ping>(),
        took as f64 / 1e9,
        used as f64 / 1e3 / f64::from(count),
        resident >> 20,
    )?;
    writeln!(
        out,
        "error of the round trip: p50 {:?}, p90 {:?}, p99 {:?} ns",
        quantile(50),
        quantile(90),
        quantile(99)
    )?;
    writeln!(out, "{:?}", driver.counters())?;
    Ok(())
}

/// User and system time of this process.
fn cpu_ns() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("no times")?.parse()?)
}

fn resident() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    Ok(text.split_whitespace().nth(1).ok_or("no sizes")?.parse::<u64>()? * 4096)
}

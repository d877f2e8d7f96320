//! The bulk lane measured: what a probe costs, how fast they go, and whether any is missed.
//!
//! `bulk [COUNT [PPS [RUNS]]]` makes two network namespaces with a link between them, of which the far one answers for
//! 10.0.0.0/12, and prints a line for each of: the bare loop, the lane, fping (where it is installed). It needs root.

#![expect(clippy::print_stdout, reason = "its lines are what it is for")]

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use mmn_node::clock;
use mmn_node::net::bulk::{Lane, PacketSockets, bare};
use mmn_node::net::icmp::IdRange;
use mmn_node::net::page::{Limits, Page};
use mmn_probe::bulk::{Answer, Fate, Sample, Shape, Spec};
use mmn_probe::conditions::{self, Conditions};
use mmn_probe::packet::{Departure, Identity};
use mmn_probe::time::{Instant, Nanos, Stamp, StampSource, Utc};
use mmn_schema::body::Body;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().map(String::as_str) != Some("inside") {
        let status = Command::new("unshare")
            .arg("-n")
            .arg(std::env::current_exe()?)
            .arg("inside")
            .args(&args)
            .status()?;
        return if status.success() { Ok(()) } else { Err("it failed".into()) };
    }
    let number = |at: usize, default: u64| args.get(at).map_or(Ok(default), |text| text.parse());
    let (count, pps, runs) = (number(1, 1_000_000)?, number(2, 0)?, number(3, 1)?);
    let _far_end = FarEnd::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if pps == 0 {
        // Once to warm up.
        bare(sockets(0)?, target(1), count / 10)?;
        let before = cpu_us()?;
        let outcome = bare(sockets(0)?, target(1), count)?;
        report("bare", outcome.sent, outcome.received, 0, outcome.took, cpu_us()? - before);
    }
    for run in 0..runs {
        let before = cpu_us()?;
        let outcome = runtime.block_on(lane(u32::try_from(count)?, pps))?;
        report("lane", count, outcome.replied, outcome.overrun, outcome.took, cpu_us()? - before);
        if runs == 1 || outcome.replied < count {
            println!("     run {run}: {outcome:?}");
        }
    }
    if pps == 0 {
        bodies(u32::try_from(count)?)?;
        fping()?;
    }
    Ok(())
}

fn report(what: &str, sent: u64, replied: u64, overrun: u64, took: Nanos, cpu_us: u64) {
    let per = |amount: u64| real(amount) / real(replied.max(1));
    let pps = real(replied) * 1e9 / real(took.0.max(1));
    println!(
        "{what:5} {sent} sent, {replied} matched, {overrun} overrun, {:.2} s, {pps:.0} pps, {:.2} µs of CPU for each match",
        real(took.0) / 1e9,
        per(cpu_us),
    );
}

#[expect(clippy::cast_precision_loss, reason = "for print")]
fn real(number: u64) -> f64 {
    number as f64
}

fn target(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + (number & 0x000f_ffff)).into()
}

fn sockets(first: u16) -> Result<PacketSockets> {
    Ok(PacketSockets::open(IdRange::new(first, 1024)?)?)
}

#[derive(Debug, Default)]
struct Outcome {
    replied: u64,
    overrun: u64,
    timed_out: u64,
    other: u64,
    declined: u64,
    took: Nanos,
    counters: mmn_node::net::bulk::Counters,
}

async fn lane(count: u32, pps: u64) -> Result<Outcome> {
    let rate = if pps == 0 { 100_000_000 } else { pps };
    let limits = Limits { packets_per_s: rate, bits_per_s: rate * 10_000, target_packets_per_s: 1_000_000 };
    let page = Arc::new(Page::create(limits, [7; 16])?);
    let mut lane = Lane::new(sockets(1024)?, page, [9; 16])?;
    let mut outcome = Outcome::default();
    let (mut next, mut ended) = (0, 0);
    let shape = Shape { payload_bytes: 56, fill: Vec::new(), ttl: 64, tos: 0, dont_fragment: true };
    let began = clock::monotonic();
    let mut last = began;
    while ended < count {
        if next < count && lane.running() < 65_536 {
            let spec =
                Spec { shape: shape.clone(), timeout: Nanos::from_secs(2), deadline: Instant(u64::MAX) };
            let spec = lane.measure(spec).ok_or("too many measurements")?;
            for _ in 0..1_024.min(count - next) {
                if !lane.submit(spec, target(next), next) {
                    break;
                }
                next += 1;
            }
            lane.complete(spec);
        }
        let mut again = Vec::new();
        lane.turn(&mut |end| {
            ended += 1;
            match end.sample.fate {
                Fate::Replied(answer) => {
                    outcome.replied += 1;
                    last = last.max(answer.received.at);
                }
                Fate::Overrun => outcome.overrun += 1,
                Fate::TimedOut => outcome.timed_out += 1,
                Fate::Declined => again.push(end.owner),
                _ => outcome.other += 1,
            }
        });
        if !again.is_empty() {
            // The neighbour is known here; one of the first is declined all the same.
            outcome.declined += u64::try_from(again.len())?;
            let spec =
                Spec { shape: shape.clone(), timeout: Nanos::from_secs(2), deadline: Instant(u64::MAX) };
            let spec = lane.measure(spec).ok_or("too many measurements")?;
            for owner in again {
                ended -= 1;
                lane.submit(spec, target(owner), owner);
            }
            lane.complete(spec);
        }
        if ended < count {
            lane.ready().await;
        }
    }
    outcome.took = last.saturating_since(began);
    outcome.counters = lane.counters();
    Ok(outcome)
}

/// What it costs to make a result of a probe.
fn bodies(count: u32) -> Result<()> {
    let kind = mmn_modules::KINDS.iter().find(|kind| kind.name() == "ping").ok_or("no ping")?;
    let params = Body::from_json(serde_json::json!({ "count": 1 }))?;
    let measure = kind.prepare(&params)?;
    let stamp =
        |at: u64| Stamp { at: Instant(at), utc: Utc(1_700_000_000_000_000_000), source: StampSource::Kernel };
    let conditions = Conditions {
        lane: conditions::Lane::Bulk,
        sent_by: StampSource::User,
        received_by: StampSource::Kernel,
        rtt_error_ns: Some(100_000),
        clock: None,
        interface: None,
    };
    let (before, mut bytes) = (cpu_us()?, 0);
    for number in 0..count {
        let answer = Answer {
            from: target(number),
            received: stamp(2_000_000),
            rtt: Some(Nanos(1_000_000)),
            ttl: 64,
            tos: 0,
            ip_id: Some(7),
            bytes: 64,
            verified: true,
        };
        let identity = Identity { selector: 1, tag: 1 };
        let sample = Sample {
            target: target(number),
            sent: Some(stamp(1_000_000)),
            departure: Some(Departure { source: Some(target(0)), identity, ip_id: Some(1), bytes: 84 }),
            fate: Fate::Replied(answer),
            clock_stepped: false,
        };
        bytes += measure.of_bulk(&sample, &conditions)?.body.cbor().len();
    }
    let each = real(cpu_us()? - before) / f64::from(count);
    println!("body  {} bytes, {each:.2} µs of CPU for each", bytes / usize::try_from(count.max(1))?);
    Ok(())
}

fn fping() -> Result<()> {
    let before = (clock::monotonic(), children_us()?);
    let command = ["-r", "0", "-c", "1", "-q", "-i", "0", "-p", "10", "-t", "1000", "-g", "10.9.0.0/16"];
    let Ok(output) = Command::new("fping").args(command).stdout(Stdio::null()).output() else {
        println!("fping is not installed");
        return Ok(());
    };
    let text = String::from_utf8_lossy(&output.stderr);
    let replied = u64::try_from(text.lines().filter(|line| line.contains("1/1/0%")).count())?;
    let sent = u64::try_from(text.lines().count())?;
    let took = clock::monotonic().saturating_since(before.0);
    report("fping", sent, replied, 0, took, children_us()? - before.1);
    Ok(())
}

/// Processor time of this process, in microseconds.
fn cpu_us() -> Result<u64> {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(u64::try_from(cpu.tv_sec)? * 1_000_000 + u64::try_from(cpu.tv_nsec)? / 1_000)
}

/// Processor time of the children that have ended, in microseconds.
fn children_us() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Ok((ticks(13) + ticks(14)) * 10_000)
}

/// The other namespace; it lives as long as its child does.
struct FarEnd(Child);

impl FarEnd {
    fn new() -> Result<Self> {
        run("ip link set lo up")?;
        let child =
            Command::new("unshare").args(["-n", "sh", "-c", "ip link set lo up; exec sleep 3600"]).spawn()?;
        let far = Self(child);
        let inside = format!("nsenter -n -t {}", far.0.id());
        // It is in its namespace as soon as the link can be given to it and is not here any more.
        while run(&format!("{inside} ip -br link show lo up")).is_err() || same_namespace(far.0.id())? {
            std::thread::yield_now();
        }
        run("ip link add va type veth peer name vb")?;
        run(&format!("ip link set vb netns {}", far.0.id()))?;
        run("ip addr add 10.77.0.1/24 dev va")?;
        run("ip link set va up")?;
        run(&format!("{inside} ip addr add 10.77.0.2/24 dev vb"))?;
        run(&format!("{inside} ip link set vb up"))?;
        run(&format!("{inside} ip route add local 10.0.0.0/12 dev lo"))?;
        run("ip route add default via 10.77.0.2")?;
        for setting in ["icmp_ratelimit=0", "icmp_msgs_per_sec=10000000", "icmp_msgs_burst=1000000"] {
            run(&format!("{inside} sysctl -qw net.ipv4.{setting}"))?;
        }
        let mac = Command::new("nsenter")
            .args(["-n", "-t", &far.0.id().to_string(), "ip", "-o", "link", "show", "vb"])
            .output()?;
        let text = String::from_utf8(mac.stdout)?;
        let mac =
            text.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).ok_or("no address")?;
        run(&format!("ip neigh replace 10.77.0.2 lladdr {mac} dev va nud permanent"))?;
        Ok(far)
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn same_namespace(pid: u32) -> Result<bool> {
    let own = std::fs::read_link("/proc/self/ns/net")?;
    Ok(std::fs::read_link(format!("/proc/{pid}/ns/net"))? == own)
}

fn run(command: &str) -> Result<()> {
    let mut words = command.split(' ');
    let program = words.next().ok_or("no program")?;
    let output = Command::new(program).args(words).output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

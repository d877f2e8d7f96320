//! The error of round trips: the precise lane against a reflector that knows the truth, with iputils' ping beside it.

use std::ffi::OsString;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use mmn_node::net::reflector::reflect;
use mmn_probe::time::Nanos;
use serde_json::{Value, json};

use super::measured::Measured;
use super::{peers, place};
use crate::lines::Bench;
use crate::measurement;
use crate::report::Report;

/// The first argument of the program that is the reflector.
pub(crate) const REFLECTOR: &str = "--reflector";
/// Another program's name for it.
const HOST: &str = "10.200.0.2";
const PROBES: u32 = 4_000;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let host = place::target(&bench.mmn)?;
    host.set("net.ipv4.icmp_echo_ignore_all", "1")?;
    let measured = Measured::start(bench, 100_000)?;

    let reflector = Reflector::start(&host, 10_000)?;
    // One ping may not be more often than every 10 ms: ten of them are 1,000 a second.
    let params = json!({"count": PROBES / 10, "interval": "10ms", "timeout": "1s", "lane": "precise"});
    let mut ids = Vec::new();
    let mut api = crate::http::Connection::open(&measured.up.api, &measured.up.token)?;
    for _ in 0..10 {
        let body = json!({"kind": "ping", "params": params, "inputs": [HOST]}).to_string();
        ids.push(measurement::submit(&mut api, &body)?);
    }
    let mut found = Vec::new();
    for id in &ids {
        measurement::closed(&mut api, id, Duration::from_secs(60))?;
        for result in measurement::results(&measured.up, id)? {
            let body = result.body.to_json()?;
            found.push(rtts(&body));
        }
    }
    let truth = reflector.stays()?;
    let errors = errors(&found, &truth)?;
    measured.up.stop()?;

    // Below 10 ms ping prints hundredths.
    let reflector = Reflector::start(&host, 9_500)?;
    let ping = peers::ping(HOST, PROBES)?;
    let truth = reflector.stays()?;
    let yard = median(ping) - median(truth.iter().map(|stay| stay.2).collect());

    let mut all = errors;
    all.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| all.get(index(all.len(), share)).copied().unwrap_or(f64::NAN);
    report.note(&format!(
        "{} round trips of 10 ms, 1,000 a second; the reflector's own stamps are the truth",
        all.len()
    ));
    report.yardstick("iputils ping, p50 of what it says less p50 of the truth (9.5 ms)", "us", yard);
    report.at_most("RTT error at 10 ms, precise lane, p50", "us", at(0.5).abs(), 10.0);
    report.at_most("  p99", "us", at(0.99).abs(), 250.0);
    report.at_least("  iputils ping is farther from the truth", "x", yard.abs() / at(0.5).abs(), 4.0);
    Ok(())
}

/// Of each reply of a ping: ICMP identifier, sequence number (the identification of the IP header is the same), and round
/// trip in microseconds.
fn rtts(body: &Value) -> Vec<(u16, u16, f64)> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let replies = body["replies"].as_array().map_or(&[][..], Vec::as_slice);
    replies
        .iter()
        .filter_map(|reply| {
            let rtt = reply["rtt_ns"].as_f64()? / 1e3;
            Some((number(&body["icmp_id"])?, number(&reply["request_ip_id"])?, rtt))
        })
        .collect()
}

/// What was measured less what was true, each, in microseconds.
fn errors(found: &[Vec<(u16, u16, f64)>], truth: &[(u16, u16, f64)]) -> anyhow::Result<Vec<f64>> {
    let known: std::collections::BTreeMap<_, _> =
        truth.iter().map(|(id, seq, stayed)| ((*id, *seq), *stayed)).collect();
    let errors: Vec<_> =
        found.iter().flatten().filter_map(|(id, seq, rtt)| Some(rtt - known.get(&(*id, *seq))?)).collect();
    anyhow::ensure!(
        errors.len() * 10 >= PROBES as usize * 9,
        "only {} round trips have their truth",
        errors.len()
    );
    Ok(errors)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(index(samples.len(), 0.5)).copied().unwrap_or(f64::NAN)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rank within the samples"
)]
fn index(length: usize, share: f64) -> usize {
    ((length as f64 * share).ceil() as usize).saturating_sub(1)
}

/// The reflector, in the far namespace.
struct Reflector(std::process::Child);

impl Reflector {
    fn start(host: &place::Namespace, delay_us: u64) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = host.command("taskset");
        command.args(["-c", "1"]).arg(program).args([REFLECTOR, &delay_us.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("the reflector")?;
        // Its socket is there within this time, or the first requests are not answered, which shows.
        std::thread::sleep(Duration::from_millis(200));
        Ok(Self(child))
    }

    /// Identifier, sequence number and how long it stayed in microseconds, of each request, once it has ended.
    fn stays(mut self) -> anyhow::Result<Vec<(u16, u16, f64)>> {
        let mut text = String::new();
        self.0.stdout.take().context("no output")?.read_to_string(&mut text)?;
        anyhow::ensure!(self.0.wait()?.success(), "the reflector failed");
        text.lines()
            .map(|line| {
                let mut words = line.split(' ');
                let mut next = || words.next().context("a short line");
                Ok((next()?.parse()?, next()?.parse()?, next()?.parse::<f64>()? / 1e3))
            })
            .collect()
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The reflector, as a program: prints identifier, sequence number and nanoseconds of each request.
#[expect(clippy::print_stdout, reason = "its lines are what it is for")]
pub(crate) fn reflector(arguments: &[OsString]) -> anyhow::Result<()> {
    let delay: u64 = arguments.first().and_then(|word| word.to_str()).context("DELAY in us")?.parse()?;
    for stay in reflect(Nanos(delay * 1_000), Nanos::from_secs(2))? {
        println!("{} {} {}", stay.id, stay.seq, stay.stayed.0);
    }
    Ok(())
}

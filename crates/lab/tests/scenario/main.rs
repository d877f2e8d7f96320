//! The scenarios of `tests/scenarios`: each a world, what is run in it, and what must come of it. Besides, of every ping
//! the truth must say the same as the measurement, to the nanosecond.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what fails here fails the test, with its reason"
)]
#![expect(clippy::cast_precision_loss, reason = "milliseconds for people")]

mod expect;
mod file;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use mmn_lab::plan::Plan;
use mmn_lab::simulated::{JobId, Simulation};
use mmn_probe::cookie::Key;
use mmn_probe::machine::{Input, Machine, Output};
use mmn_probe::multipath::Multipath;
use mmn_probe::ping::Ping;
use mmn_probe::time::{Instant, Nanos};
use mmn_probe::trace::Trace;
use mmn_probe::udp::Udp;

use self::file::{Run, Scenario};

/// A machine of any kind.
enum Any {
    Trace(Box<Trace>),
    Multipath(Box<Multipath>),
    Ping(Box<Ping>),
    Udp(Box<Udp>),
}

impl Any {
    fn machine(&mut self) -> &mut dyn Machine {
        match self {
            Self::Trace(machine) => machine.as_mut(),
            Self::Multipath(machine) => machine.as_mut(),
            Self::Ping(machine) => machine.as_mut(),
            Self::Udp(machine) => machine.as_mut(),
        }
    }
}

impl Machine for Any {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.machine().handle(now, input);
    }

    fn poll(&mut self, now: Instant) -> Output {
        self.machine().poll(now)
    }
}

const KEY: Key = Key::new(*b"a key of a test.");
const LIMIT: Instant = Instant(100_000_000_000_000);

#[test]
fn every_scenario_comes_out_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 20);
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match play(&text) {
            Ok(digest) => assert_eq!(play(&text), Ok(digest), "{name}: twice the same"),
            Err(what) => wrong.push(format!("{name}: {what}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Plays a scenario; says what is wrong, or the number of the run.
fn play(text: &str) -> Result<u64, String> {
    let scenario: Scenario = toml::from_str(text).map_err(|error| error.to_string())?;
    assert!(!scenario.about.is_empty());
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/lab");
    let world = match (&scenario.world, &scenario.example) {
        (Some(world), None) => toml::to_string(world).unwrap(),
        (None, Some(example)) => fs::read_to_string(examples.join(example)).unwrap(),
        _ => panic!("a scenario has a world, or an example"),
    };
    let plan = Arc::new(Plan::parse("world", &world).map_err(|error| error.to_string())?);
    let mut simulation = Simulation::new(plan.clone());
    let mut started: Vec<(usize, Vec<JobId>)> = Vec::new();
    for (index, run) in scenario.run.iter().enumerate() {
        let vp = plan.vp(&run.from).ok_or_else(|| format!("no vp {}", run.from))?;
        let at = Instant(0) + run.at();
        let mut jobs = Vec::new();
        for (number, machine) in machines(run).into_iter().enumerate() {
            // What is asked of several goes by turns.
            let turn = Nanos(run.interval().0 * u64::try_from(number).unwrap() / 8);
            jobs.push(simulation.start(vp, at + turn, machine));
        }
        started.push((index, jobs));
    }
    if !simulation.run(LIMIT) {
        return Err("it never ended".to_owned());
    }
    simulation.settle();
    let digest = simulation.digest();
    for (index, jobs) in started {
        let run = &scenario.run[index];
        let found: Vec<&Any> = jobs.iter().map(|job| simulation.machine(*job).unwrap()).collect();
        expect::check(run, &found, simulation.world())
            .map_err(|what| format!("run {}: {what}", index + 1))?;
    }
    expect::fates(simulation.world())?;
    Ok(digest)
}

fn machines(run: &Run) -> Vec<Any> {
    if let Some(trace) = &run.trace {
        return vec![Any::Trace(Box::new(Trace::new(trace.spec(), KEY).unwrap()))];
    }
    if let Some(multipath) = &run.multipath {
        return vec![Any::Multipath(Box::new(Multipath::new(multipath.spec(), KEY).unwrap()))];
    }
    if let Some(ping) = &run.ping {
        let spec = |to| ping.spec(to);
        return ping.to.iter().map(|to| Any::Ping(Box::new(Ping::new(spec(*to), KEY).unwrap()))).collect();
    }
    let dns = run.dns.as_ref().expect("a run has trace, multipath, ping or dns");
    vec![Any::Udp(Box::new(Udp::new(dns.spec(), KEY).unwrap()))]
}

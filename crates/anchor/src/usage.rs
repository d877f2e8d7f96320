//! How fast counters grow, and what processes use by that. It is given the time.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use mmn_schema::announce::Load;
use mmn_schema::status::Usage;

use crate::process;

/// The latest values of some counters.
#[derive(Debug, Clone)]
pub(crate) struct Rates<const N: usize> {
    samples: VecDeque<(Instant, [Option<u64>; N])>,
}

/// How far apart samples are at least, and how many are kept: rates are means over five seconds or so.
const APART: Duration = Duration::from_millis(900);
const SAMPLES: usize = 6;
/// Values that are older say nothing of now.
const OLD: Duration = Duration::from_secs(30);

impl<const N: usize> Default for Rates<N> {
    fn default() -> Self {
        Self { samples: VecDeque::new() }
    }
}

impl<const N: usize> Rates<N> {
    /// Takes down what the counters say.
    pub(crate) fn sample(&mut self, now: Instant, values: [Option<u64>; N]) {
        let since = |at: Instant| now.saturating_duration_since(at);
        if self.samples.back().is_some_and(|(at, _)| since(*at) < APART) {
            return;
        }
        while self.samples.len() >= SAMPLES || self.samples.front().is_some_and(|(at, _)| since(*at) > OLD) {
            self.samples.pop_front();
        }
        self.samples.push_back((now, values));
    }

    /// By how much a counter grows in a second; absent while that is not known, and when it has begun anew.
    pub(crate) fn per_s(&self, counter: usize) -> Option<f64> {
        let ((from, before), (to, after)) = (self.samples.front()?, self.samples.back()?);
        let value = |values: &[Option<u64>; N]| values.get(counter).copied().flatten();
        let grown = value(after)?.checked_sub(value(before)?)?;
        let time = to.saturating_duration_since(*from).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "rates are reals")]
        let rate = grown as f64 / time;
        (time > 0.0).then_some(rate)
    }
}

/// What a process uses, by what it says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    rss_bytes: Option<u64>,
    /// Its own number, where it has told one.
    process: Option<u64>,
    rates: Rates<6>,
}

impl Meter {
    /// It has said what it uses.
    pub(crate) fn beat(&mut self, load: &Load, now: Instant) {
        if self.process != load.process {
            *self = Self { process: load.process, ..Self::default() };
        }
        self.rss_bytes = load.rss_bytes;
        let counters = [
            load.cpu_ns,
            load.nats_received_bytes,
            load.nats_sent_bytes,
            load.interface_received_bytes,
            load.interface_sent_bytes,
            load.probe_sent_bytes,
        ];
        self.rates.sample(now, counters);
    }

    /// Which process it is.
    pub(crate) const fn process(&self) -> Option<u64> {
        self.process
    }

    /// What it uses; absent while it has said nothing.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let usage = Usage {
            cpu_percent: self.rates.per_s(0).map(|ns| ns / 1e7),
            rss_bytes: self.rss_bytes,
            nats_received_bytes_per_s: self.rates.per_s(1),
            nats_sent_bytes_per_s: self.rates.per_s(2),
            interface_received_bytes_per_s: self.rates.per_s(3),
            interface_sent_bytes_per_s: self.rates.per_s(4),
            probe_sent_bytes_per_s: self.rates.per_s(5),
        };
        (usage != Usage::default()).then_some(usage)
    }
}

/// What this process uses, apart from NATS.
pub(crate) fn own() -> Load {
    load_of("self")
}

/// What the server uses whose process id stands in a file; nothing where it is not there, or another program is.
pub(crate) fn server(pid_file: &Path) -> Load {
    let pid = std::fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let Some(pid) = pid else { return Load::default() };
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim() == "nats-server" {
        // Started again it has another number.
        Load { process: Some(pid.into()), ..load_of(&pid.to_string()) }
    } else {
        Load::default()
    }
}

fn load_of(pid: &str) -> Load {
    let process = process::brief(pid);
    Load { rss_bytes: process.rss_bytes, cpu_ns: process.cpu_ns(), ..Load::default() }
}

/// The sum of what several say; absent where nobody says anything.
pub(crate) fn sum(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.map_or(other, |one| Some(one + other.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_means_of_the_last_seconds() {
        let start = crate::clock::now();
        let mut rates = Rates::<2>::default();
        let at = |ms| start + Duration::from_millis(ms);
        rates.sample(at(0), [Some(1000), None]);
        assert_eq!((rates.per_s(0), rates.per_s(1)), (None, None));
        rates.sample(at(100), [Some(9999), None]);
        rates.sample(at(1000), [Some(1500), Some(3)]);
        assert_eq!((rates.per_s(0), rates.per_s(1)), (Some(500.0), None));
        for second in 2..20 {
            rates.sample(at(second * 1000), [Some(1500 + second * 10), Some(3)]);
        }
        assert_eq!((rates.per_s(0), rates.per_s(1)), (Some(10.0), Some(0.0)));
        // It began anew.
        rates.sample(at(20_000), [Some(0), Some(3)]);
        assert_eq!(rates.per_s(0), None);
        // Nobody asked for long.
        rates.sample(at(90_000), [Some(70), Some(3)]);
        assert_eq!(rates.per_s(0), None);
        rates.sample(at(91_000), [Some(72), Some(3)]);
        assert_eq!(rates.per_s(0), Some(2.0));
    }

    #[test]
    fn another_process_begins_anew() {
        let start = crate::clock::now();
        let mut meter = Meter::default();
        assert_eq!(meter.usage(), None);
        let load = |process, cpu_ns| Load { process: Some(process), cpu_ns: Some(cpu_ns), ..Load::default() };
        meter.beat(&load(1, 0), start);
        meter.beat(&load(1, 500_000_000), start + Duration::from_secs(1));
        assert_eq!(meter.usage().unwrap().cpu_percent, Some(50.0));
        meter.beat(&load(2, 900_000_000), start + Duration::from_secs(2));
        assert_eq!((meter.usage(), meter.process()), (None, Some(2)));
    }

    #[test]
    fn this_process_uses_something_and_no_other_program_is_taken_for_the_server() {
        let own = own();
        assert!(own.rss_bytes.is_some_and(|bytes| bytes > 100_000) && own.cpu_ns.is_some(), "{own:?}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nats-server.pid");
        assert_eq!(server(&file), Load::default());
        for text in [std::process::id().to_string(), "garbage".to_owned()] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(server(&file), Load::default());
        }
    }
}

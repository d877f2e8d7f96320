//! `mmn modules`: the instances of modules, as the anchor sees them and as their nodes do.

mod watch;

use std::collections::BTreeMap;

use clap::Args as ClapArgs;
use mmn_client::Client;
use mmn_schema::announce::{ModuleState, ModuleStatus};
use mmn_schema::api::{CircuitState, Health, ModuleView, VpView};
use mmn_schema::id::InstanceId;
use mmn_schema::time::Timestamp;

use crate::args::ApiArgs;
use crate::failure::{Exit, Failure};
use crate::session::{self, Session};
use crate::style::{Style, Tone};
use crate::table::{self, Cell, Column, Row};
use crate::{clock, units};

/// `mmn modules`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only those at this vantage point: its name or its id
    #[arg(value_name = "VP")]
    vp: Option<String>,
    /// Go on, and show each change as it happens
    #[arg(long, short)]
    watch: bool,
    /// Print each as the API gives it, one JSON object a line; with `--watch` each that has changed
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    if args.watch {
        return watch::run(&mut session.printer, &client, args.vp.as_deref(), args.json).await;
    }
    let seen = Seen::ask(&client, args.vp.as_deref()).await?;
    let printer = &mut session.printer;
    if args.json {
        seen.modules.iter().try_for_each(|module| printer.json(module))?;
        return Ok(Exit::Good);
    }
    let lines = seen.lines(printer.width(), printer.style());
    printer.lines(&lines)?;
    Ok(Exit::Good)
}

/// The health of something, in its colour.
pub(crate) fn health(health: Health) -> Cell {
    let tone = match health {
        Health::Starting | Health::Degraded | Health::Suspect | Health::Draining => Tone::Warn,
        Health::Healthy => Tone::Good,
        Health::Lost => Tone::Bad,
        Health::Stopped => Tone::Faint,
    };
    Cell::new(word(health)).tone(tone)
}

/// What a node does with a module, in its colour.
pub(crate) fn state(state: ModuleState) -> Cell {
    let (word, tone) = match state {
        ModuleState::Starting => ("starting", Tone::Warn),
        ModuleState::Running => ("running", Tone::Good),
        ModuleState::Draining => ("draining", Tone::Warn),
        ModuleState::Backoff => ("backoff", Tone::Bad),
        ModuleState::Stopped => ("stopped", Tone::Faint),
        ModuleState::Invalid => ("invalid", Tone::Bad),
    };
    Cell::new(word).tone(tone)
}

/// What a circuit lets through, in a word.
pub(crate) const fn circuit(state: CircuitState) -> &'static str {
    match state {
        CircuitState::Closed => "closed",
        CircuitState::Open => "open",
        CircuitState::HalfOpen => "half open",
    }
}

const fn word(health: Health) -> &'static str {
    match health {
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Suspect => "suspect",
        Health::Lost => "lost",
        Health::Draining => "draining",
        Health::Stopped => "stopped",
    }
}

/// What the API tells of modules.
#[derive(Debug)]
struct Seen {
    modules: Vec<ModuleView>,
    vps: Vec<VpView>,
}

/// An instance, or a module that has none.
struct Line {
    cells: Vec<Cell>,
    /// What is to be said of it, and how bad that is.
    why: Vec<String>,
    tone: Tone,
}

impl Seen {
    async fn ask(client: &Client, only: Option<&str>) -> Result<Self, Failure> {
        let modules = session::all(|after| async move { client.modules(after.as_deref()).await }).await?;
        let vps = match only {
            Some(vp) => vec![client.vp(vp).await?],
            None => session::all(|after| async move { client.vps(after.as_deref()).await }).await?,
        };
        let mut seen = Self { modules, vps };
        if let (Some(_), [vp]) = (only, &*seen.vps) {
            seen.modules.retain(|module| module.vp == vp.vantage_point.id);
        }
        Ok(seen)
    }

    fn lines(&self, width: Option<usize>, style: Style) -> Vec<String> {
        let mut lines = self.instances();
        lines.extend(self.vps.iter().flat_map(|vp| self.without(vp)));
        let mut columns = vec![
            Column::left("INSTANCE").shrinks_to(20),
            Column::left("VP").shrinks_to(8),
            Column::left("STATE"),
            Column::right("FOR"),
            Column::left("KINDS").shrinks_to(8),
            Column::right("RUN"),
            Column::right("QUEUED"),
            Column::right("OUT"),
            Column::right("DONE"),
            Column::right("RESTARTS").optional(),
            Column::right("HEARD").optional(),
            Column::right("REFUSED").optional(),
            Column::right("RSS").optional(),
            Column::left("VERSION").optional(),
        ];
        let count = columns.len();
        let mut rows = Vec::new();
        for Line { mut cells, why, tone } in lines {
            cells.resize_with(count, Cell::default);
            if width.is_none() {
                // A line for each, for whatever reads it.
                cells.push(Cell::new(why.join("; ")));
                rows.push(cells.into());
                continue;
            }
            // What is to be said needs room of its own, and stands below what it is about.
            let below = |text: String| Row {
                cells: vec![Cell::default(), Cell::default()],
                tail: Some(Cell::new(text).tone(tone)),
            };
            rows.push(cells.into());
            rows.extend(why.into_iter().map(below));
        }
        if width.is_none() {
            columns.push(Column::left("WHY"));
        }
        table::lines(columns, &rows, width, style)
    }

    fn instances(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for module in &self.modules {
            let status = self.status(module);
            // One that is gone, of which its node does not know any more or which it stopped, is told of below if at all.
            let over = status.is_none_or(|status| status.state == ModuleState::Stopped);
            if module.health == Health::Stopped && over && self.speaks(module) {
                continue;
            }
            lines.push(line(module, status));
        }
        lines
    }

    /// What its node says of the module of an instance.
    fn status(&self, module: &ModuleView) -> Option<&ModuleStatus> {
        let vp = self.vps.iter().find(|vp| vp.vantage_point.id == module.vp)?;
        vp.modules.iter().find(|status| status.instances.contains(&module.instance))
    }

    /// Whether there is a node that speaks for the vantage point of an instance.
    fn speaks(&self, module: &ModuleView) -> bool {
        self.vps.iter().any(|vp| vp.vantage_point.id == module.vp && vp.policy.is_some())
    }

    /// Instances that the anchor has not heard of, and modules that have none.
    fn without(&self, vp: &VpView) -> Vec<Line> {
        let mut lines = Vec::new();
        for status in &vp.modules {
            let heard = |id: &InstanceId| self.modules.iter().any(|module| module.instance == *id);
            let unheard = status.instances.iter().filter(|id| !heard(id)).map(ToString::to_string);
            let names: Vec<_> =
                if status.instances.is_empty() { vec![status.module.clone()] } else { unheard.collect() };
            for name in names {
                let mut cells = vec![name.into(), vp.vantage_point.name.clone().into(), state(status.state)];
                cells.resize_with(RESTARTS, Cell::default);
                cells.push(status.restarts.to_string().into());
                let tone = if status.state == ModuleState::Stopped { Tone::Faint } else { Tone::Warn };
                lines.push(Line { cells, why: status.detail.iter().cloned().collect(), tone });
            }
        }
        lines
    }

    /// How many there are, by health.
    fn summary(&self) -> String {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for module in &self.modules {
            *counts.entry(word(module.health)).or_default() += 1;
        }
        let counts: Vec<_> = counts.into_iter().map(|(word, count)| format!("{count} {word}")).collect();
        format!("{}: {}", units::count(self.modules.len() as u64, "instance"), counts.join(", "))
    }
}

/// The position of the column of restarts.
const RESTARTS: usize = 9;

fn line(module: &ModuleView, status: Option<&ModuleStatus>) -> Line {
    let load = module.heartbeat.as_ref().map(|heartbeat| heartbeat.load).unwrap_or_default();
    let vp = module.vp_name.clone().unwrap_or_else(|| module.vp.to_string());
    let vp = crate::view::named(&vp, module.simulated);
    let kinds: Vec<_> = module.kinds.iter().map(ToString::to_string).collect();
    let out = match module.credits {
        Some(credits) => format!("{}/{credits}", module.out),
        None => module.out.to_string(),
    };
    let restarts = status.map(|status| Cell::new(status.restarts.to_string()).tone(busy(status.restarts)));
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let rss = load.rss_bytes.map(|bytes| units::bytes(bytes as f64)).unwrap_or_default();
    let cells = vec![
        Cell::new(module.instance.to_string()),
        vp.into(),
        health(module.health),
        module.since.map(ago).unwrap_or_default().into(),
        kinds.join(" ").into(),
        load.running.to_string().into(),
        load.queued.to_string().into(),
        out.into(),
        load.done.to_string().into(),
        restarts.unwrap_or_default(),
        ago(module.last_seen_at).into(),
        load.refused.to_string().into(),
        rss.into(),
        Cell::new(module.version.clone()).tone(Tone::Faint),
    ];
    let mut why = Vec::new();
    if module.health != Health::Healthy && !module.evidence.is_empty() {
        why.push(module.evidence.clone());
    }
    let of_kinds = module.circuits.iter().filter_map(|circuit| Some((circuit.kind.as_ref()?, circuit.state)));
    why.extend(of_kinds.map(|(kind, state)| format!("the circuit of {kind} is {}", circuit(state))));
    if let Some(status) =
        status.filter(|status| status.state != ModuleState::Running || status.detail.is_some())
    {
        let detail = status.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        why.push(format!("its node says {}{detail}", state(status.state).text));
    }
    let tone = if module.health == Health::Lost { Tone::Bad } else { Tone::Warn };
    Line { cells, why, tone }
}

/// How long ago something was; by another machine's clock it may not have been yet.
fn ago(at: Timestamp) -> String {
    units::ago(clock::wall().since_ns(at).unwrap_or_default() / 1_000_000_000)
}

const fn busy(restarts: u32) -> Tone {
    if restarts == 0 { Tone::Plain } else { Tone::Warn }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) fn seen() -> Seen {
        let now = clock::wall();
        // In the middle of a minute: a slow test shows the same.
        let ago = |seconds: i64| Timestamp::from_unix_ns(now.unix_ns() - seconds * 1_000_000_000);
        let vp = mmn_schema::id::VpId::derive("U", "berlin");
        let module = |instance: &str, kind: &str, health: &str, evidence: &str, load: [u64; 3]| {
            serde_json::json!({
                "instance": instance, "boot": 1, "module": kind, "version": "0.1.0", "vp": vp, "vp_name": "berlin",
                "kinds": [kind], "health": health, "evidence": evidence, "credits": 80, "out": load[0] + load[1],
                "since": ago(3630), "last_seen_at": ago(150),
                "heartbeat": {
                    "boot": 1, "seq": 7, "sent_at": now, "interval_ms": 500, "state": "ready",
                    "load": {
                        "running": load[0], "queued": load[1], "free": 8, "done": load[2], "refused": 0, "garbage": 0,
                        "rss_bytes": 33_067_008,
                    },
                },
            })
        };
        let mut modules = serde_json::json!([
            module("dns-7y37mq", "dns", "lost", "nobody listens on its subject", [0, 0, 12]),
            module(
                "http-kswymq",
                "http",
                "suspect",
                "not heard of for 2294 ms, 1500 ms are borne",
                [16, 4, 7300]
            ),
            module("ping-tglnwh", "ping", "healthy", "heard 447 ms ago", [3, 0, 100_234]),
        ]);
        modules[2]["circuits"] = serde_json::json!([{ "kind": "ping", "state": "half-open" }]);
        let status = |module: &str, instances: &[&str], state: &str, restarts: u32, detail: Option<&str>| {
            serde_json::json!({
                "module": module, "instances": instances, "state": state, "restarts": restarts, "detail": detail,
            })
        };
        let vps = serde_json::json!([{
            "vantage_point": { "id": vp, "name": "berlin", "location": {}, "addresses": [], "tags": [] },
            "health": "healthy", "kinds": ["http", "ping"], "unavailable": [], "last_seen_at": now,
            "modules": [
                status("dns", &["dns-7y37mq"], "backoff", 4, Some("signal: 11 (SIGSEGV), 4 times in a row; again in 4.0 s")),
                status("echo", &["echo-aaaaaa"], "starting", 0, Some("not announced for 5 s, and it says nothing")),
                status("http", &["http-kswymq"], "running", 0, None),
                status("ping", &["ping-tglnwh"], "running", 1, None),
                status("tls", &[], "stopped", 0, Some("turned off by its manifest")),
            ],
        }]);
        Seen { modules: serde_json::from_value(modules).unwrap(), vps: serde_json::from_value(vps).unwrap() }
    }

    #[test]
    fn who_is_how_and_why() {
        let seen = seen();
        insta::assert_snapshot!("piped", seen.lines(None, Style::plain()).join("\n"));
        insta::assert_snapshot!("in_80_columns", seen.lines(Some(80), Style::plain()).join("\n"));
        insta::assert_snapshot!("in_120_columns", seen.lines(Some(120), Style::plain()).join("\n"));
        assert_eq!(seen.summary(), "3 instances: 1 healthy, 1 lost, 1 suspect");
    }

    #[test]
    fn one_that_its_node_has_given_up_is_not_shown() {
        let mut seen = seen();
        seen.vps[0].policy = serde_json::from_value(serde_json::json!({
            "max_pps": 1, "max_bps": 1, "max_pps_per_target": 1, "allow": [], "deny": [], "deny_kinds": [],
        }))
        .unwrap();
        seen.modules[0].health = Health::Stopped;
        seen.modules[0].instance = "dns-former".parse().unwrap();
        assert!(seen.lines(None, Style::plain()).iter().all(|line| !line.contains("dns-former")));
    }
}

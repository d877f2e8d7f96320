//! The network at a glance: who is there, what is done, what happens.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mmn_client::Metrics;
use mmn_schema::event::Event;
use mmn_schema::outcome::Outcome;
use mmn_schema::time::Timestamp;

use super::super::bars::{Account, Point, spark};
use super::super::keys::Key;
use super::super::listing::Listing;
use super::super::marks::{self, ABSENT, grouped};
use super::super::news::Link;
use super::super::pane::Pane;
use super::super::sheet::flow;
use super::{Does, Page};
use crate::style::Tone;
use crate::table::{Cell, Column, Row, SIMULATED, cut};

/// The newest so many events are kept.
const MAX_EVENTS: usize = 500;
/// The newest so many rates are kept.
const MAX_RATES: usize = 240;
/// What is kept of an event's text, in characters.
const MAX_TEXT: usize = 400;
/// From this width on events stand beside the figures.
const WIDE: usize = 110;
/// Room for the names of the figures.
const NAMES: usize = 10;
/// The least lines that are left to events, their titles among them.
const LEAST_EVENTS: usize = 3;

#[derive(Debug)]
pub(crate) struct Overview {
    figures: Option<Figures>,
    /// Tasks that ended per millisecond × 1000, the newest last.
    rates: VecDeque<f64>,
    /// The newest first.
    events: VecDeque<Line>,
    /// Events that came too fast.
    dropped: u64,
    list: Listing,
}

/// What the anchor counted.
#[derive(Debug)]
struct Figures {
    /// Since the beginning.
    at: Duration,
    vps: BTreeMap<String, u64>,
    simulated: bool,
    instances: BTreeMap<String, u64>,
    breakers: BTreeMap<String, u64>,
    account: Account,
    measurements_open: Option<u64>,
    /// Pending tasks and ended ones, by kind.
    kinds: BTreeMap<String, (u64, u64)>,
    /// Tasks of each kind that ended per second.
    kind_rates: BTreeMap<String, f64>,
    storage_full: bool,
}

#[derive(Debug)]
enum Line {
    Event(Event),
    /// Said by this page, not by the anchor.
    Own(Timestamp, &'static str),
}

impl Overview {
    pub(crate) fn new() -> Self {
        let columns = vec![
            Column::left("TIME"),
            Column::left("EVENT").shrinks_to(8),
            Column::left("WHAT HAPPENED").shrinks_to(10),
        ];
        Self {
            figures: None,
            rates: VecDeque::new(),
            events: VecDeque::new(),
            dropped: 0,
            list: Listing::new(columns),
        }
    }

    pub(crate) fn figures(&mut self, metrics: &Metrics, at: Duration) {
        let mut figures = Figures::of(metrics, at);
        if let Some(before) = &self.figures {
            let seconds = at.saturating_sub(before.at).as_secs_f64();
            // After an anchor's restart it counts from zero.
            if seconds > 0.0 && figures.account.ended() >= before.account.ended() {
                self.rates.push_back(rate(before.account.ended(), figures.account.ended(), seconds));
                figures.kind_rates = figures
                    .kinds
                    .iter()
                    .filter_map(|(kind, (_, ended))| {
                        let (_, former) = before.kinds.get(kind)?;
                        Some((kind.clone(), rate(*former, *ended, seconds)))
                    })
                    .collect();
            }
            if self.rates.len() > MAX_RATES {
                self.rates.pop_front();
            }
        }
        self.figures = Some(figures);
    }

    pub(crate) fn event(&mut self, mut event: Event, dropped: u64) {
        event.text = event.text.chars().take(MAX_TEXT).collect();
        self.dropped = self.dropped.saturating_add(dropped);
        self.push(Line::Event(event));
    }

    /// The stream is not as it was.
    pub(crate) fn link(&mut self, before: &Link, after: &Link, now: Timestamp) {
        match (before, after) {
            (Link::CutOff(_), Link::Live) => {
                self.push(Line::Own(now, "connected again; what happened meanwhile was not told"));
            }
            (Link::Live, Link::CutOff(_)) => self.push(Line::Own(now, "cut off from the API")),
            _ => {}
        }
    }

    fn push(&mut self, line: Line) {
        self.events.push_front(line);
        self.events.truncate(MAX_EVENTS);
        if self.list.cursor() > 0 {
            self.list.shift(1);
        }
    }

    /// The figures in lines of at most this width, what matters most first.
    fn lines(&self, width: usize) -> Vec<Vec<Cell>> {
        let absent = || vec![Cell::new(ABSENT).tone(Tone::Faint)];
        let name = |text: &str| Cell::new(format!("{text:<NAMES$}")).tone(Tone::Head);
        let Some(figures) = &self.figures else {
            return ["VPs", "Modules", "Tasks/s", "Account"]
                .map(|text| [vec![name(text)], absent()].concat())
                .into();
        };
        let mut lines = Vec::new();
        for (text, counts) in [("VPs", &figures.vps), ("Modules", &figures.instances)] {
            let total = counts.values().sum();
            let mut groups = vec![vec![Cell::new(format!("{:<6} ", grouped(total)))]];
            groups.extend(marks::healths(counts));
            if text == "VPs" && figures.simulated {
                groups.push(vec![Cell::new(SIMULATED.trim()).tone(Tone::Warn)]);
            }
            lines.extend(flow(vec![name(text)], groups, width));
        }
        let rate = marks::per_second(self.rates.back().copied());
        let room = width.saturating_sub(NAMES + 10);
        let points = self.rates.iter().map(|rate| Point::Value(whole(rate * 1000.0)));
        lines.push(vec![
            name("Tasks/s"),
            Cell::new(format!("{rate:<9} ")),
            Cell::new(spark(points, room, true)),
        ]);
        let mut bar = vec![name("Account")];
        bar.extend(figures.account.bar(width.saturating_sub(NAMES)));
        lines.push(bar);
        lines.extend(flow(vec![Cell::new(" ".repeat(NAMES))], figures.account.words(), width));
        if figures.storage_full {
            lines.push(vec![Cell::new("The storage is full: new work is refused.").tone(Tone::Bad)]);
        }
        let breakers: Vec<_> = figures.breakers.iter().filter(|(_, count)| **count > 0).collect();
        let mut line = vec![name("Breakers")];
        for (state, count) in &breakers {
            line.push(Cell::new(format!("▲ {} {state}  ", grouped(**count))).tone(Tone::Warn));
        }
        if breakers.is_empty() {
            line.push(Cell::new("all closed").tone(Tone::Faint));
        }
        lines.push(line);
        let open = figures.measurements_open.map_or_else(|| ABSENT.into(), grouped);
        lines.push(vec![name("Under way"), Cell::new(format!("{open} measurements"))]);
        if !figures.kinds.is_empty() {
            lines.push(Vec::new());
            let titles = format!("{:<14}{:>10}{:>14}{:>12}", "KIND", "TASKS/S", "ENDED", "PENDING");
            lines.push(vec![Cell::new(titles).tone(Tone::Head)]);
        }
        for (kind, (pending, ended)) in &figures.kinds {
            let rate = marks::per_second(figures.kind_rates.get(kind).copied());
            let (ended, pending) = (grouped(*ended), grouped(*pending));
            lines.push(vec![Cell::new(format!("{:<14}{rate:>10}{ended:>14}{pending:>12}", cut(kind, 13)))]);
        }
        lines
    }

    fn draw_events(&mut self, pane: &mut Pane<'_>) {
        let events = &self.events;
        self.list.draw(pane, events.len(), |at| events.get(at).map(row).unwrap_or_default());
        if events.is_empty() {
            pane.line(1, &[Cell::new("  nothing has happened since this began").tone(Tone::Faint)]);
        }
        if self.dropped > 0 {
            let text = format!("{} came too fast and were not told", grouped(self.dropped));
            let x = pane.width().saturating_sub(text.len());
            if x > 40 {
                pane.part(x, 0, text.len(), 1).line(0, &[Cell::new(text).tone(Tone::Warn)]);
            }
        }
    }
}

impl Page for Overview {
    fn key(&mut self, key: &Key) -> Does {
        if *key == Key::Enter {
            return match self.events.get(self.list.cursor()) {
                Some(Line::Event(Event { measurement: Some(id), .. })) => Does::OpenMeasurement(*id),
                Some(Line::Event(Event { vp: Some(vp), .. })) => Does::OpenVp(vp.clone()),
                _ => Does::Taken,
            };
        }
        Does::of(self.list.key(key, self.events.len()))
    }

    fn draw(&mut self, pane: &mut Pane<'_>, _: Timestamp) -> Option<(usize, usize)> {
        let (width, height) = (pane.width(), pane.height());
        if width >= WIDE {
            let left = width * 9 / 20;
            pane.part(0, 0, left, height).lines(0, &self.lines(left));
            self.draw_events(&mut pane.part(left + 2, 0, width, height));
            return None;
        }
        let lines = self.lines(width);
        let spare = LEAST_EVENTS.min(height / 3);
        let used = lines.len().min(height.saturating_sub(spare));
        pane.part(0, 0, width, used).lines(0, &lines);
        let gap = usize::from(height.saturating_sub(used) > LEAST_EVENTS + 1);
        self.draw_events(&mut pane.part(0, used + gap, width, height));
        None
    }

    fn keys(&self) -> &'static str {
        "↑↓ events  Enter open"
    }
}

impl Figures {
    fn of(metrics: &Metrics, at: Duration) -> Self {
        let counts = |name: &str, label: &str| -> BTreeMap<String, u64> {
            metrics.by(name, label).into_iter().map(|(label, count)| (label, whole(count))).collect()
        };
        let ended = counts("mmn_tasks_ended_total", "outcome");
        let of = |outcome: Outcome| ended.get(outcome.as_str()).copied().unwrap_or_default();
        let pending = metrics.sum("mmn_tasks_pending").map_or(0, whole);
        let pendings = counts("mmn_kind_tasks_pending", "kind");
        let kinds = counts("mmn_kind_tasks_ended_total", "kind");
        let pending_of = |kind: &str| pendings.get(kind).copied().unwrap_or_default();
        Self {
            at,
            vps: counts("mmn_vantage_points", "health"),
            simulated: counts("mmn_vantage_point_up", "simulated").contains_key("true"),
            instances: counts("mmn_instances", "health"),
            breakers: counts("mmn_breakers", "state"),
            account: Account::of(of, pending, None),
            measurements_open: metrics.sum("mmn_measurements_open").map(whole),
            kinds: kinds
                .into_iter()
                .map(|(kind, ended)| (kind.clone(), (pending_of(&kind), ended)))
                .collect(),
            kind_rates: BTreeMap::new(),
            storage_full: metrics.sum("mmn_storage_full").is_some_and(|full| full > 0.0),
        }
    }
}

fn row(line: &Line) -> Row {
    let cells = match line {
        Line::Own(at, text) => vec![
            Cell::new(marks::time_of_day(*at)).tone(Tone::Faint),
            Cell::new("(here)").tone(Tone::Warn),
            Cell::new(*text),
        ],
        Line::Event(event) => {
            let is = |end: &str| event.kind.ends_with(end);
            let tone = if is("-lost") || is("-full") || is("-open") || is("-suspect") || is("-degraded") {
                Tone::Bad
            } else if is("-joined") || is("-healthy") {
                Tone::Good
            } else {
                Tone::Plain
            };
            vec![
                Cell::new(marks::time_of_day(event.at)).tone(Tone::Faint),
                Cell::new(event.kind.clone()).tone(tone),
                Cell::new(event.text.clone()),
            ]
        }
    };
    cells.into()
}

#[expect(clippy::cast_precision_loss, reason = "a rate has two digits that matter")]
fn rate(before: u64, after: u64, seconds: f64) -> f64 {
    after.saturating_sub(before) as f64 / seconds
}

/// A count that came as a number of Prometheus.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is cut to the range of counts, and what is beyond 2^53 is none that anybody counted"
)]
fn whole(number: f64) -> u64 {
    number.round().clamp(0.0, 9e15) as u64
}

//! The instances of modules.

use std::collections::BTreeMap;

use mmn_schema::api::ModuleView;
use mmn_schema::time::Timestamp;

use super::super::filter::{Filter, Typed};
use super::super::keys::Key;
use super::super::listing::Listing;
use super::super::marks::{self, grouped};
use super::super::pane::Pane;
use super::{Does, Page};
use crate::cmd::modules::{circuit, health};
use crate::style::Tone;
use crate::table::{Cell, Column, Row};
use crate::{units, view};

#[derive(Debug)]
pub(crate) struct Modules {
    /// By vantage point and module. Absent until they were read.
    all: Option<Vec<ModuleView>>,
    counts: BTreeMap<String, u64>,
    /// Which of them show, in their order.
    shown: Vec<usize>,
    filter: Filter,
    worst_first: bool,
    list: Listing,
}

impl Modules {
    pub(crate) fn new() -> Self {
        let columns = vec![
            Column::left("MODULE").shrinks_to(10),
            Column::left("VP").shrinks_to(8),
            Column::left("STATE"),
            Column::right("OUT"),
            Column::left("BREAKER").shrinks_to(8).optional(),
            Column::left("EVIDENCE").shrinks_to(24).optional(),
            Column::right("FOR").optional(),
            Column::right("QUEUED").optional(),
            Column::right("DONE").optional(),
            Column::right("RSS").optional(),
            Column::left("KINDS").shrinks_to(8).optional(),
        ];
        Self {
            all: None,
            counts: BTreeMap::new(),
            shown: Vec::new(),
            filter: Filter::default(),
            worst_first: false,
            list: Listing::new(columns),
        }
    }

    pub(crate) fn read(&mut self, mut modules: Vec<ModuleView>) {
        let chosen = self.chosen().map(|module| (module.vp.clone(), module.instance.clone()));
        modules.sort_by(|a, b| {
            let key = |module: &ModuleView| (module.vp_name.clone(), module.module.clone());
            key(a).cmp(&key(b)).then_with(|| a.instance.cmp(&b.instance))
        });
        self.counts.clear();
        for module in &modules {
            *self.counts.entry(health(module.health).text).or_default() += 1;
        }
        self.all = Some(modules);
        self.select();
        let all = self.all.as_deref().unwrap_or_default();
        let is = |at: &usize| {
            all.get(*at).map(|module| (&module.vp, &module.instance))
                == chosen.as_ref().map(|(vp, instance)| (vp, instance))
        };
        if let Some(at) = self.shown.iter().position(is) {
            self.list.go_to(at);
        }
    }

    fn chosen(&self) -> Option<&ModuleView> {
        self.all.as_ref()?.get(*self.shown.get(self.list.cursor())?)
    }

    fn select(&mut self) {
        let all = self.all.as_deref().unwrap_or_default();
        let finds = |module: &ModuleView| {
            let kinds: Vec<_> = module.kinds.iter().map(ToString::to_string).collect();
            let vp = module.vp_name.as_deref().unwrap_or_default();
            let [state, kinds] = [health(module.health).text, kinds.join(" ")];
            self.filter.finds(&format!("{} {} {vp} {state} {kinds}", module.module, module.instance))
        };
        let everything = self.filter.text().is_empty();
        self.shown = (0..all.len()).filter(|at| everything || all.get(*at).is_some_and(finds)).collect();
        if self.worst_first {
            let badness = |at: &usize| all.get(*at).map(|module| marks::badness(module.health));
            self.shown.sort_by_key(|at| std::cmp::Reverse(badness(at)));
        }
    }

    fn title(&self) -> Vec<Cell> {
        let Some(all) = &self.all else { return vec![Cell::new("reading …").tone(Tone::Faint)] };
        if !self.filter.shows() {
            let mut line = vec![Cell::new(format!("{}  ", grouped(all.len() as u64))).tone(Tone::Head)];
            line.extend(marks::healths(&self.counts).concat());
            return line;
        }
        let mut line = self.filter.pieces();
        let of = format!("   {} of {}", grouped(self.shown.len() as u64), grouped(all.len() as u64));
        line.push(Cell::new(of).tone(Tone::Faint));
        line
    }
}

impl Page for Modules {
    fn key(&mut self, key: &Key) -> Does {
        match self.filter.key(key) {
            Typed::Taken => return Does::Taken,
            Typed::Changed => {
                self.list.begin_anew();
                self.select();
                return Does::Taken;
            }
            Typed::Nothing => {}
        }
        match key {
            Key::Enter => {
                self.chosen().map_or(Does::Taken, |module| Does::OpenModule(Box::new(module.clone())))
            }
            Key::Char('s') => {
                self.worst_first = !self.worst_first;
                self.select();
                self.list.go_to(0);
                Does::Taken
            }
            key => Does::of(self.list.key(key, self.shown.len())),
        }
    }

    fn draw(&mut self, pane: &mut Pane<'_>, now: Timestamp) -> Option<(usize, usize)> {
        pane.line(0, &self.title());
        let (width, height) = (pane.width(), pane.height());
        let all = self.all.as_deref().unwrap_or_default();
        let row = |at: usize| self.shown.get(at).and_then(|at| all.get(*at)).map(|module| row(module, now));
        let mut rows = pane.part(0, 1, width, height);
        self.list.draw(&mut rows, self.shown.len(), |at| row(at).unwrap_or_default());
        if self.all.as_ref().is_some_and(Vec::is_empty) {
            rows.line(1, &[Cell::new("  there is none: `mmn doctor` looks for the cause").tone(Tone::Faint)]);
        }
        self.filter.cursor(width)
    }

    fn keys(&self) -> &'static str {
        if self.filter.is_typed() {
            "Enter keep  Esc no filter  ↑↓ move"
        } else if self.worst_first {
            "↑↓ move  Enter open  / filter  s by name"
        } else {
            "↑↓ move  Enter open  / filter  s worst first"
        }
    }
}

/// The circuits of a module that are not closed.
pub(super) fn breakers(module: &ModuleView) -> Cell {
    let circuits = module.circuits.iter().map(|one| {
        let of = one.kind.as_ref().map_or_else(|| module.module.clone(), ToString::to_string);
        format!("▲ {of} {}", circuit(one.state))
    });
    let circuits: Vec<_> = circuits.collect();
    if circuits.is_empty() {
        return Cell::new("closed").tone(Tone::Faint);
    }
    Cell::new(circuits.join(", ")).tone(Tone::Bad)
}

/// What it has out, of what it can hold.
pub(super) fn credits(module: &ModuleView) -> String {
    match module.credits {
        Some(credits) => format!("{}/{credits}", module.out),
        None => module.out.to_string(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn memory(rss_bytes: Option<u64>) -> String {
    rss_bytes.map_or_else(|| marks::ABSENT.into(), |bytes| units::bytes(bytes as f64))
}

fn row(module: &ModuleView, now: Timestamp) -> Row {
    let vp = module.vp_name.clone().unwrap_or_else(|| module.vp.to_string());
    let load = module.heartbeat.as_ref().map(|heartbeat| heartbeat.load);
    let of_load = |count: Option<u64>| count.map_or_else(|| marks::ABSENT.into(), |count| count.to_string());
    let kinds: Vec<_> = module.kinds.iter().map(ToString::to_string).collect();
    vec![
        Cell::new(module.module.clone()),
        Cell::new(view::named(&vp, module.simulated)),
        marks::health(module.health),
        Cell::new(credits(module)),
        breakers(module),
        Cell::new(module.evidence.clone()).tone(Tone::Faint),
        Cell::new(module.since.map_or_else(|| marks::ABSENT.into(), |since| marks::ago(since, now))),
        Cell::new(of_load(load.map(|load| load.queued.into()))),
        Cell::new(of_load(load.map(|load| load.done))),
        Cell::new(memory(load.and_then(|load| load.rss_bytes))),
        Cell::new(kinds.join(" ")),
    ]
    .into()
}

//! The vantage points, filtered by a selection while it is typed.

use std::collections::{BTreeMap, HashSet};

use mmn_schema::api::{Health, VpView};
use mmn_schema::id::{KindName, VpId};
use mmn_schema::select::{Assignment, Candidate, Selection};
use mmn_schema::time::Timestamp;
use mmn_schema::vp::VantagePoint;

use super::super::filter::{Filter, Typed};
use super::super::keys::Key;
use super::super::listing::Listing;
use super::super::marks::{self, grouped};
use super::super::pane::Pane;
use super::{Does, Page};
use crate::cmd::modules;
use crate::style::Tone;
use crate::table::{Cell, Column, Row};
use crate::view;

#[derive(Debug)]
pub(crate) struct Vps {
    /// By name. Absent until they were read.
    all: Option<Vec<Vp>>,
    counts: BTreeMap<String, u64>,
    /// Which of them show, in their order.
    shown: Vec<usize>,
    filter: Filter,
    note: Option<Cell>,
    worst_first: bool,
    list: Listing,
}

/// What a row needs of a vantage point, and a selection.
#[derive(Debug)]
struct Vp {
    point: VantagePoint,
    health: Health,
    kinds: Vec<KindName>,
    unavailable: Vec<KindName>,
    last_seen_at: Timestamp,
}

impl Vps {
    pub(crate) fn new() -> Self {
        let columns = vec![
            Column::left("VP").shrinks_to(12),
            Column::left("STATE"),
            Column::left("WHERE").shrinks_to(6).optional(),
            Column::left("AS").shrinks_to(6).optional(),
            Column::left("KINDS").shrinks_to(8).optional(),
            Column::right("HEARD").optional(),
            Column::left("TAGS").shrinks_to(6).optional(),
        ];
        Self {
            all: None,
            counts: BTreeMap::new(),
            shown: Vec::new(),
            filter: Filter::default(),
            note: None,
            worst_first: false,
            list: Listing::new(columns),
        }
    }

    pub(crate) fn read(&mut self, vps: Vec<VpView>) {
        let chosen = self.chosen();
        let mut all: Vec<Vp> = vps
            .into_iter()
            .map(|vp| Vp {
                point: vp.vantage_point,
                health: vp.health,
                kinds: vp.kinds,
                unavailable: vp.unavailable.into_iter().map(|kind| kind.kind).collect(),
                last_seen_at: vp.last_seen_at,
            })
            .collect();
        all.sort_by(|a, b| a.point.name.cmp(&b.point.name));
        self.counts.clear();
        for vp in &all {
            *self.counts.entry(modules::health(vp.health).text).or_default() += 1;
        }
        self.all = Some(all);
        self.select();
        self.go_to(chosen);
    }

    /// The vantage point that keys act on.
    fn chosen(&self) -> Option<VpId> {
        let at = *self.shown.get(self.list.cursor())?;
        Some(self.all.as_ref()?.get(at)?.point.id.clone())
    }

    fn go_to(&mut self, chosen: Option<VpId>) {
        let all = self.all.as_deref().unwrap_or_default();
        let is = |at: &usize| all.get(*at).is_some_and(|vp| Some(&vp.point.id) == chosen.as_ref());
        if let Some(at) = self.shown.iter().position(is) {
            self.list.go_to(at);
        }
    }

    /// Finds what shows.
    fn select(&mut self) {
        let all = self.all.as_deref().unwrap_or_default();
        let text = self.filter.text().trim();
        self.note = None;
        self.shown = (0..all.len()).collect();
        if !text.is_empty() {
            match text.parse::<Selection>() {
                Ok(selection) => {
                    let chosen = chosen(&selection, all);
                    self.shown.retain(|at| all.get(*at).is_some_and(|vp| chosen.contains(&vp.point.id)));
                    if self.shown.is_empty() && is_word(text) {
                        let word = text.to_lowercase();
                        let has = |vp: &Vp| vp.point.name.to_lowercase().contains(&word);
                        self.shown = (0..all.len()).filter(|at| all.get(*at).is_some_and(has)).collect();
                        let note =
                            if self.shown.is_empty() { "nothing matches" } else { "by a part of the name" };
                        self.note = Some(Cell::new(note).tone(Tone::Warn));
                    } else if self.shown.is_empty() {
                        self.note = Some(Cell::new("nothing matches").tone(Tone::Warn));
                    }
                }
                Err(error) => self.note = Some(Cell::new(format!("✕ {error}")).tone(Tone::Bad)),
            }
        }
        if self.worst_first {
            let badness = |at: &usize| all.get(*at).map(|vp| marks::badness(vp.health));
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
        let of = format!("   {} of {}  ", grouped(self.shown.len() as u64), grouped(all.len() as u64));
        line.push(Cell::new(of).tone(Tone::Faint));
        line.extend(self.note.clone());
        line
    }
}

impl Page for Vps {
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
            Key::Enter => self.chosen().map_or(Does::Taken, Does::OpenVp),
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
        let row = |at: usize| self.shown.get(at).and_then(|at| all.get(*at)).map(|vp| row(vp, now));
        let mut rows = pane.part(0, 1, width, height);
        self.list.draw(&mut rows, self.shown.len(), |at| row(at).unwrap_or_default());
        if self.all.as_ref().is_some_and(Vec::is_empty) {
            let hint = "  there is none yet: `mmn node` at a place makes one";
            rows.line(1, &[Cell::new(hint).tone(Tone::Faint)]);
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

/// Those that a selection chooses, and may choose. What is drawn at random stays as it was drawn.
fn chosen(selection: &Selection, all: &[Vp]) -> HashSet<VpId> {
    let candidates: Vec<_> = all.iter().map(|vp| Candidate { vp: &vp.point, kinds: &vp.kinds }).collect();
    let assignments = selection.choose(&candidates, 0).assignments;
    let members = assignments.into_iter().flat_map(|assignment| match assignment {
        Assignment::Vp(id) => vec![id],
        Assignment::Pool(ids) => ids,
    });
    members.collect()
}

fn is_word(text: &str) -> bool {
    text.chars().all(|char| char.is_alphanumeric() || matches!(char, '-' | '_' | '.'))
}

fn row(vp: &Vp, now: Timestamp) -> Row {
    let point = &vp.point;
    let place: Vec<_> =
        [&point.location.city, &point.location.country].into_iter().flatten().map(String::as_str).collect();
    let kinds = vp.kinds.iter().map(ToString::to_string);
    let kinds: Vec<_> = kinds.chain(vp.unavailable.iter().map(|kind| format!("({kind})"))).collect();
    vec![
        Cell::new(view::named(&point.name, point.simulated)),
        marks::health(vp.health),
        Cell::new(if place.is_empty() { marks::ABSENT.into() } else { place.join(", ") }),
        Cell::new(point.asn.map_or_else(|| marks::ABSENT.into(), |asn| format!("AS{asn}"))),
        Cell::new(kinds.join(" ")),
        Cell::new(marks::ago(vp.last_seen_at, now)),
        Cell::new(point.tags.join(" ")).tone(Tone::Faint),
    ]
    .into()
}

//! The newest measurements.

use mmn_schema::api::{Ledger, Measurement, MeasurementState};
use mmn_schema::id::MeasurementId;
use mmn_schema::time::Timestamp;

use super::super::bars::Account;
use super::super::filter::{Filter, Typed};
use super::super::keys::Key;
use super::super::listing::Listing;
use super::super::marks::{self, grouped};
use super::super::pane::Pane;
use super::{Does, Page};
use crate::style::Tone;
use crate::table::{Cell, Column, Row};
use crate::{measure, view};

#[derive(Debug)]
pub(crate) struct Measurements {
    /// The newest first. Absent until they were read.
    all: Option<Vec<Msm>>,
    shown: Vec<usize>,
    filter: Filter,
    list: Listing,
}

/// What is told of a measurement: not its vantage points, which may be many, nor its parameters.
#[derive(Debug, Clone)]
pub(super) struct Msm {
    pub(super) id: MeasurementId,
    pub(super) number: u64,
    pub(super) kind: String,
    pub(super) state: MeasurementState,
    pub(super) label: String,
    pub(super) from: String,
    pub(super) vps: u64,
    pub(super) is_public: bool,
    pub(super) accepted_at: Timestamp,
    pub(super) done_at: Option<Timestamp>,
    pub(super) ledger: Ledger,
}

impl From<&Measurement> for Msm {
    fn from(measurement: &Measurement) -> Self {
        Self {
            id: measurement.id,
            number: measurement.number,
            kind: measurement.kind.to_string(),
            state: measurement.state,
            label: measurement.label.clone().unwrap_or_default(),
            from: measurement.from.to_string().chars().take(400).collect(),
            vps: measurement.vps.len() as u64,
            is_public: measurement.visibility == mmn_schema::api::Visibility::Public,
            accepted_at: measurement.accepted_at,
            done_at: measurement.done_at,
            ledger: measurement.ledger.clone(),
        }
    }
}

impl Measurements {
    pub(crate) fn new() -> Self {
        let columns = vec![
            Column::left("MEASUREMENT").shrinks_to(10),
            Column::left("STATE"),
            Column::right("AGO"),
            Column::left("ACCOUNT"),
            Column::left("").shrinks_to(12).optional(),
            Column::left("FROM").shrinks_to(8).optional(),
            Column::left("LABEL").shrinks_to(6).optional(),
        ];
        Self { all: None, shown: Vec::new(), filter: Filter::default(), list: Listing::new(columns) }
    }

    pub(crate) fn read(&mut self, measurements: &[Measurement]) {
        let chosen = self.chosen();
        self.all = Some(measurements.iter().map(Msm::from).collect());
        self.select();
        let all = self.all.as_deref().unwrap_or_default();
        let is = |at: &usize| all.get(*at).is_some_and(|one| Some(one.id) == chosen);
        // Who stands at the newest goes on looking at the newest.
        if self.list.cursor() > 0
            && let Some(at) = self.shown.iter().position(is)
        {
            self.list.go_to(at);
        }
    }

    fn chosen(&self) -> Option<MeasurementId> {
        Some(self.all.as_ref()?.get(*self.shown.get(self.list.cursor())?)?.id)
    }

    fn select(&mut self) {
        let all = self.all.as_deref().unwrap_or_default();
        let finds = |one: &Msm| {
            let state = marks::state(one.state).text;
            self.filter
                .finds(&format!("{} #{} {} {state} {} {}", one.id, one.number, one.kind, one.label, one.from))
        };
        self.shown = (0..all.len()).filter(|at| all.get(*at).is_some_and(finds)).collect();
    }

    fn title(&self) -> Vec<Cell> {
        let Some(all) = &self.all else { return vec![Cell::new("reading …").tone(Tone::Faint)] };
        if self.filter.shows() {
            let mut line = self.filter.pieces();
            let of = format!("   {} of the newest {}", self.shown.len(), all.len());
            line.push(Cell::new(of).tone(Tone::Faint));
            return line;
        }
        let under_way = |one: &&Msm| matches!(one.state, MeasurementState::Open | MeasurementState::Running);
        let under_way = all.iter().filter(under_way).count();
        vec![
            Cell::new(format!("the newest {}", all.len())).tone(Tone::Head),
            Cell::new(format!(", {under_way} of them under way")),
        ]
    }
}

impl Page for Measurements {
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
            Key::Enter => self.chosen().map_or(Does::Taken, Does::OpenMeasurement),
            key => Does::of(self.list.key(key, self.shown.len())),
        }
    }

    fn draw(&mut self, pane: &mut Pane<'_>, now: Timestamp) -> Option<(usize, usize)> {
        pane.line(0, &self.title());
        let (width, height) = (pane.width(), pane.height());
        let all = self.all.as_deref().unwrap_or_default();
        let row = |at: usize| self.shown.get(at).and_then(|at| all.get(*at)).map(|one| row(one, now));
        let mut rows = pane.part(0, 1, width, height);
        self.list.draw(&mut rows, self.shown.len(), |at| row(at).unwrap_or_default());
        if self.all.as_ref().is_some_and(Vec::is_empty) {
            let hint = "  nothing was measured yet: `mmn ping 127.0.0.1` in another terminal";
            rows.line(1, &[Cell::new(hint).tone(Tone::Faint)]);
        }
        self.filter.cursor(width)
    }

    fn keys(&self) -> &'static str {
        if self.filter.is_typed() {
            "Enter keep  Esc no filter  ↑↓ move"
        } else {
            "↑↓ move  Enter open  / filter"
        }
    }
}

fn row(one: &Msm, now: Timestamp) -> Row {
    let account = Account::from(&one.ledger);
    let share = format!("{}/{}", grouped(account.ended()), grouped(account.accepted));
    let tone = [mmn_schema::outcome::Outcome::Failed, mmn_schema::outcome::Outcome::Lost];
    let bad = tone.iter().find(|outcome| one.ledger.count(**outcome) > 0);
    let bar: String = account.bar(12).into_iter().map(|piece| piece.text).collect();
    vec![
        Cell::new(format!("{} #{}", one.kind, one.number)),
        marks::state(one.state),
        Cell::new(marks::ago(one.accepted_at, now)),
        Cell::new(format!("{bar} {share}")).tone(bad.map_or(Tone::Plain, |outcome| view::tone(*outcome))),
        Cell::new(measure::sum(&one.ledger)).tone(Tone::Faint),
        Cell::new(one.from.clone()),
        Cell::new(one.label.clone()),
    ]
    .into()
}

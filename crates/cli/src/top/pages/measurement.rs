//! One measurement: its account, its round trips, its results as they come.

use mmn_schema::announce::SummaryField;
use mmn_schema::api::{Ledger, Measurement, MeasurementState, ResultRecord};
use mmn_schema::id::MeasurementId;
use mmn_schema::time::Timestamp;

use super::super::bars::{Account, Point, spark, spread};
use super::super::keys::Key;
use super::super::listing::Listing;
use super::super::marks::{self, grouped};
use super::super::news::Followed;
use super::super::pane::Pane;
use super::super::sheet::{Sheet, flow, wrap};
use super::measurements::Msm;
use super::results::{Results, series};
use super::{Does, Page};
use crate::style::{Style, Tone};
use crate::table::{self, Cell, Row};
use crate::view::{self, View};
use crate::{table::SIMULATED, units};

/// The least lines that are left to results, their titles among them.
const LEAST_RESULTS: usize = 4;
/// The most reasons that are named.
const MAX_REASONS: usize = 6;

#[derive(Debug)]
pub(crate) struct MeasurementPage {
    followed: Followed,
    about: Option<Msm>,
    /// How its results look, once it is known what it measures.
    shows: Option<Shows>,
    results: Results,
    behind: bool,
    complete: bool,
    /// Why its results can not be followed.
    unfollowed: Option<String>,
    /// A result in full.
    opened: Option<Opened>,
}

#[derive(Debug)]
struct Shows {
    view: Box<dyn View>,
    list: Listing,
    series: Option<&'static str>,
}

#[derive(Debug)]
struct Opened {
    record: ResultRecord,
    /// Its lines, for the width that they were made for.
    lines: Option<(usize, Vec<Vec<Cell>>)>,
    sheet: Sheet,
}

impl MeasurementPage {
    pub(crate) fn new(followed: Followed) -> Self {
        Self {
            followed,
            about: None,
            shows: None,
            results: Results::default(),
            behind: false,
            complete: false,
            unfollowed: None,
            opened: None,
        }
    }

    pub(crate) fn id(&self) -> MeasurementId {
        self.followed.measurement
    }

    pub(crate) fn followed(&self) -> Followed {
        self.followed
    }

    /// Whether no reading will tell more of it.
    pub(crate) fn is_over(&self) -> bool {
        let ended = |about: &Msm| matches!(about.state, MeasurementState::Done | MeasurementState::Cancelled);
        self.about.as_ref().is_some_and(|about| ended(about) && about.ledger.pending == 0)
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.behind
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(crate) fn read(&mut self, measurement: &Measurement, fields: &[SummaryField]) {
        self.about = Some(measurement.into());
        if self.shows.is_none() {
            let view = view::of_kind(measurement.kind.as_str(), fields);
            let list = Listing::new(view::columns(view.as_ref(), true));
            self.shows = Some(Shows { view, list, series: series(fields).map(|(_, name)| name) });
        }
    }

    /// Results came; parts of results are for those who read them all.
    pub(crate) fn records(&mut self, records: Vec<ResultRecord>) {
        self.behind = false;
        let before = self.results.seen();
        records.into_iter().filter(|record| record.last).for_each(|record| self.results.push(record));
        let more = usize::try_from(self.results.seen() - before).unwrap_or(usize::MAX);
        // Who stands at the newest goes on looking at the newest, who looks at another one at that.
        if let Some(shows) = &mut self.shows
            && shows.list.cursor() > 0
        {
            shows.list.shift(more);
        }
    }

    pub(crate) fn behind(&mut self) {
        self.behind = true;
    }

    pub(crate) fn complete(&mut self, ledger: Ledger) {
        (self.behind, self.complete) = (false, true);
        if let Some(about) = &mut self.about {
            about.ledger = ledger;
        }
    }

    pub(crate) fn unfollowed(&mut self, why: String) {
        self.unfollowed = Some(why);
    }

    /// What stands above the results, what matters most first.
    fn head(&mut self, width: usize, now: Timestamp) -> Vec<Vec<Cell>> {
        let mut lines = Vec::new();
        let Some(about) = &self.about else {
            return vec![vec![Cell::new(format!("{}: reading …", self.id())).tone(Tone::Faint)]];
        };
        let mut title = vec![Cell::new(format!("{} #{}  ", about.kind, about.number)).tone(Tone::Head)];
        title.push(marks::state(about.state));
        if self.results.is_simulated() {
            title.push(Cell::new(SIMULATED).tone(Tone::Warn));
        }
        let ended = about.done_at.map(|done| done.since_ns(about.accepted_at).unwrap_or_default());
        let took = ended.map_or_else(String::new, |ns| format!(", took {}", units::nanos_u64(ns)));
        title.push(Cell::new(format!("  {} ago{took}", marks::ago(about.accepted_at, now))));
        title.push(Cell::new(if about.is_public { "  public" } else { "" }));
        if !about.label.is_empty() {
            title.push(Cell::new(format!("  “{}”", about.label)));
        }
        lines.push(title);
        let account = Account::from(&about.ledger);
        lines.push(account.bar(width));
        lines.extend(flow(Vec::new(), account.words(), width));
        if let Some(why) = &self.unfollowed {
            lines.extend(wrap(&[Cell::new(format!("✕ {why}")).tone(Tone::Bad)], width));
        }
        let reasons = about.ledger.reasons.iter().flat_map(|(outcome, codes)| {
            codes.iter().map(move |(code, count)| {
                vec![Cell::new(format!("{outcome}: {code} {}  ", grouped(*count))).tone(view::tone(*outcome))]
            })
        });
        let reasons: Vec<_> = reasons.take(MAX_REASONS).collect();
        if !reasons.is_empty() {
            lines.extend(flow(Vec::new(), reasons, width));
        }
        let from = format!("from {} ({}), {}", about.from, units::count(about.vps, "VP"), about.id);
        let from = vec![Cell::new(from).tone(Tone::Faint)];
        let name = self.shows.as_ref().and_then(|shows| shows.series);
        if let Some(name) = name.filter(|_| self.results.seen() > 0) {
            lines.extend(line_of(name, self.results.points(), width));
        }
        let at = self.shows.as_ref().map_or(0, |shows| shows.list.cursor());
        let of = self.results.record(at).and_then(|record| record.vp_name.clone());
        let replies = self.results.replies(at);
        if replies.len() > 1 {
            let name = format!("replies{}", of.map_or_else(String::new, |vp| format!(" to {vp}")));
            lines.extend(line_of(&table::cut(&name, 17), replies.iter().copied(), width));
        }
        lines.push(from);
        lines
    }

    fn draw_results(&mut self, pane: &mut Pane<'_>) {
        let Some(Shows { view, list, .. }) = &mut self.shows else { return };
        let results = &mut self.results;
        let len = results.len();
        list.draw(pane, len, |at| results.row(at, view.as_ref()));
        if len == 0 {
            let text = if self.complete { "  it has no results" } else { "  waiting for results" };
            pane.line(1, &[Cell::new(text).tone(Tone::Faint)]);
        }
    }

    fn results_title(&self) -> Vec<Cell> {
        let (seen, kept) = (self.results.seen(), self.results.len() as u64);
        let ended = self.about.as_ref().map_or(0, |about| Account::from(&about.ledger).ended());
        let of = if ended > seen { format!(" of {}", grouped(ended)) } else { String::new() };
        let newest =
            if seen > kept { format!(", the newest {} shown", grouped(kept)) } else { String::new() };
        let expired = self.about.as_ref().map_or(0, |about| about.ledger.expired);
        let expired =
            if expired > 0 { format!(", {} no longer kept", grouped(expired)) } else { String::new() };
        vec![
            Cell::new(format!("{}{of} results", grouped(seen))).tone(Tone::Head),
            Cell::new(format!("{newest}{expired}")).tone(Tone::Faint),
        ]
    }
}

impl Page for MeasurementPage {
    fn key(&mut self, key: &Key) -> Does {
        if let Some(opened) = &mut self.opened {
            return match key {
                Key::Esc | Key::Backspace | Key::Left | Key::Char('h') => {
                    self.opened = None;
                    Does::Taken
                }
                Key::Char('v') => opened.record.vp.clone().map_or(Does::Taken, Does::OpenVp),
                key => Does::of(opened.sheet.key(key)),
            };
        }
        let Some(shows) = &mut self.shows else { return Does::Nothing };
        if *key == Key::Enter {
            let record = self.results.record(shows.list.cursor()).cloned();
            self.opened = record.map(|record| Opened { record, lines: None, sheet: Sheet::default() });
            return Does::Taken;
        }
        Does::of(shows.list.key(key, self.results.len()))
    }

    fn draw(&mut self, pane: &mut Pane<'_>, now: Timestamp) -> Option<(usize, usize)> {
        let (width, height) = (pane.width(), pane.height());
        if let (Some(opened), Some(shows)) = (&mut self.opened, &self.shows) {
            let made = opened.lines.take().filter(|(made_for, _)| *made_for == width);
            let lines =
                made.map_or_else(|| full(shows.view.as_ref(), &opened.record, width), |(_, lines)| lines);
            opened.sheet.draw(pane, &lines);
            opened.lines = Some((width, lines));
            return None;
        }
        let head = self.head(width, now);
        let spare = LEAST_RESULTS.min(height / 2);
        let used = head.len().min(height.saturating_sub(spare));
        pane.part(0, 0, width, used).lines(0, &head);
        pane.part(0, used, width, 1).line(0, &self.results_title());
        self.draw_results(&mut pane.part(0, used + 1, width, height));
        None
    }

    fn keys(&self) -> &'static str {
        if self.opened.is_some() { "↑↓ scroll  v its VP" } else { "↑↓ move  g newest  Enter open" }
    }
}

/// A name, what values lie between, and a line of them; where there is room, all in one.
fn line_of(name: &str, points: impl DoubleEndedIterator<Item = Point>, width: usize) -> Vec<Vec<Cell>> {
    let is_wide = width >= 80;
    let room = if is_wide { width - 18 - 36 } else { width };
    let shown: Vec<_> = points.rev().take(room).collect();
    let words = spread(shown.iter().copied()).map_or_else(
        || "none answered".to_owned(),
        |[least, median, most]| {
            let time = units::nanos_u64;
            format!("{} … {} … {}", time(least), time(median), time(most))
        },
    );
    let line = Cell::new(spark(shown.into_iter().rev(), room, false));
    let name = Cell::new(format!("{name:<17} ")).tone(Tone::Faint);
    if is_wide {
        return vec![vec![name, line, Cell::new(format!("  {words}"))]];
    }
    vec![vec![name, Cell::new(words)], vec![line]]
}

/// A result in full: what its kind shows of it, and what all results have.
fn full(view: &dyn View, record: &ResultRecord, width: usize) -> Vec<Vec<Cell>> {
    let plain = |text: String| vec![Cell::new(text)];
    let mut lines = Vec::new();
    if record.outcome == mmn_schema::outcome::Outcome::Ok
        && let Some(page) = view.page(record)
    {
        lines.extend(page.lines(record, Some(width), Style::plain()).into_iter().map(plain));
    } else {
        let columns = view::columns(view, true);
        let row: Row = view::row(view, record);
        lines.extend(table::lines(columns, &[row], Some(width), Style::plain()).into_iter().map(plain));
    }
    if let Some(first) = lines.first_mut() {
        first.iter_mut().for_each(|cell| cell.tone = Tone::Head);
    }
    lines.push(Vec::new());
    let mut field = |name: &str, value: Cell| {
        lines.push(vec![Cell::new(format!("  {name:<16} ")).tone(Tone::Faint), value]);
    };
    let outcome = Cell::new(record.outcome.to_string()).tone(view::tone(record.outcome));
    field("outcome", outcome);
    if let Some(reason) = &record.reason {
        field("reason", Cell::new(reason.to_string()));
    }
    let absent = || marks::ABSENT.to_owned();
    field(
        "answered",
        Cell::new(record.answered.map_or_else(absent, |yes| if yes { "yes" } else { "no" }.into())),
    );
    field("started", Cell::new(record.started_at.map_or_else(absent, |at| at.to_string())));
    field("took", Cell::new(record.duration_ns.map_or_else(absent, units::nanos_u64)));
    field("attempt", Cell::new(record.attempt.to_string()));
    field("task", Cell::new(record.task.to_string()));
    for (name, number) in record.summary.iter() {
        field(name.as_ref(), Cell::new(units::show(*number, units::unit_of(name.as_ref()))));
    }
    lines.push(Vec::new());
    let body = record.body.to_json().ok().and_then(|body| serde_json::to_string_pretty(&body).ok());
    let body = body.unwrap_or_else(|| "the body can not be read".to_owned());
    // A screen is no pager: `mmn results --json` has all of it.
    lines.extend(body.lines().take(MAX_BODY_LINES).map(|line| vec![Cell::new(format!("  {line}"))]));
    lines
}

/// The most lines of a body that are shown.
const MAX_BODY_LINES: usize = 2000;

//! The machine: what is shown, what keys do, what is wanted.

use mmn_schema::event::Event;
use mmn_schema::id::MeasurementId;
use mmn_schema::time::Timestamp;
use ratatui::buffer::Buffer;

use super::keys::Key;
use super::marks;
use super::news::{Followed, Link, Look, News, Wants};
use super::pages::help::HELP;
use super::pages::measurement::MeasurementPage;
use super::pages::measurements::Measurements;
use super::pages::module::ModulePage;
use super::pages::modules::Modules;
use super::pages::overview::Overview;
use super::pages::vp::VpPage;
use super::pages::vps::Vps;
use super::pages::{Does, Page};
use super::pane::Pane;
use super::sheet::Sheet;
use crate::style::{Style, Tone};
use crate::table::Cell;

/// Below this width the tabs have short names.
const NARROW: usize = 76;

/// The whole of it.
#[derive(Debug)]
pub(crate) struct App {
    now: Timestamp,
    link: Link,
    tab: Tab,
    overview: Overview,
    vps: Vps,
    modules: Modules,
    measurements: Measurements,
    /// What was opened from a tab, the one that shows last.
    opened: Vec<Opened>,
    help: Option<Sheet>,
    /// Why the last reading came to nothing.
    failed: Option<String>,
    /// How often something happened after which what is shown may be out of date.
    fresh: u64,
    /// How many measurements were opened.
    openings: u64,
    over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    Overview,
    Vps,
    Modules,
    Measurements,
}

const TABS: [(Tab, &str, &str); 4] = [
    (Tab::Overview, "Overview", "Net"),
    (Tab::Vps, "VPs", "VPs"),
    (Tab::Modules, "Modules", "Mods"),
    (Tab::Measurements, "Measurements", "Msms"),
];

/// The most pages that lie on each other.
const MAX_OPENED: usize = 8;

#[derive(Debug)]
enum Opened {
    Vp(VpPage),
    Module(ModulePage),
    Measurement(Box<MeasurementPage>),
}

impl App {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            link: Link::Connecting,
            tab: Tab::Overview,
            overview: Overview::new(),
            vps: Vps::new(),
            modules: Modules::new(),
            measurements: Measurements::new(),
            opened: Vec::new(),
            help: None,
            failed: None,
            fresh: 0,
            openings: 0,
            over: false,
        }
    }

    /// Whether whoever looked has seen enough.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// It is this late.
    pub(crate) fn at(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// What is to be read for what is looked at.
    pub(crate) fn wants(&self) -> Wants {
        let look = match self.opened.last() {
            Some(Opened::Vp(page)) => Look::Vp(page.id.clone()),
            Some(Opened::Module(_)) => Look::Modules,
            Some(Opened::Measurement(page)) => Look::Measurement(page.id(), page.is_over()),
            None => match self.tab {
                Tab::Overview => Look::Figures,
                Tab::Vps => Look::Vps,
                Tab::Modules => Look::Modules,
                Tab::Measurements => Look::Measurements,
            },
        };
        // What lies below another page goes on.
        let follow = self.opened.iter().rev().find_map(|page| match page {
            Opened::Measurement(page) => Some(page.followed()),
            _ => None,
        });
        Wants { look, follow, fresh: self.fresh }
    }

    /// A key was pressed.
    pub(crate) fn key(&mut self, key: &Key) {
        if *key == Key::Break {
            self.over = true;
            return;
        }
        if let Some(help) = &mut self.help {
            match key {
                Key::Esc | Key::Enter | Key::Char('?' | 'q') => self.help = None,
                key => drop(help.key(key)),
            }
            return;
        }
        let does = self.page().key(key);
        match does {
            Does::Nothing => self.common(key),
            Does::Taken => {}
            Does::OpenVp(id) => self.open(Opened::Vp(VpPage::new(id))),
            Does::OpenModule(module) => self.open(Opened::Module(ModulePage::new(*module))),
            Does::OpenMeasurement(id) => self.open_measurement(id),
        }
    }

    /// What keys do on every page.
    fn common(&mut self, key: &Key) {
        match key {
            Key::Char('q') => self.over = true,
            Key::Char('?') => self.help = Some(Sheet::default()),
            Key::Char('r') => self.fresh += 1,
            Key::Esc | Key::Backspace => drop(self.opened.pop()),
            Key::Left | Key::Char('h') if !self.opened.is_empty() => drop(self.opened.pop()),
            Key::Right | Key::Char('l') | Key::Tab => self.turn(1),
            Key::Left | Key::Char('h') | Key::BackTab => self.turn(TABS.len() - 1),
            Key::Char(digit) => {
                let at = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok());
                if let Some((tab, ..)) = at.and_then(|at| TABS.get(at.checked_sub(1)?)) {
                    self.show(*tab);
                }
            }
            _ => {}
        }
    }

    fn turn(&mut self, by: usize) {
        let at = TABS.iter().position(|(tab, ..)| *tab == self.tab).unwrap_or(0);
        if let Some((tab, ..)) = TABS.get((at + by) % TABS.len()) {
            self.show(*tab);
        }
    }

    fn show(&mut self, tab: Tab) {
        self.tab = tab;
        self.opened.clear();
    }

    fn open(&mut self, page: Opened) {
        if self.opened.len() >= MAX_OPENED {
            self.opened.remove(0);
        }
        self.opened.push(page);
    }

    /// Shows a measurement, from its first result on.
    pub(crate) fn open_measurement(&mut self, id: MeasurementId) {
        self.openings += 1;
        let followed = Followed { measurement: id, opening: self.openings };
        self.open(Opened::Measurement(Box::new(MeasurementPage::new(followed))));
    }

    /// Something was told.
    pub(crate) fn news(&mut self, news: News) {
        if let News::Failed(why) = news {
            self.failed = Some(why);
            return;
        }
        match news {
            News::Link(link) => {
                // What happened while it was cut off was not told.
                self.fresh += u64::from(link == Link::Live);
                self.overview.link(&self.link, &link, self.now);
                self.link = link;
            }
            News::Event(event, dropped) => {
                self.fresh += u64::from(self.touches(&event));
                self.overview.event(event, dropped);
            }
            News::Records(of, records) => self.followed(of, |page| page.records(records)),
            News::Behind(of) => self.followed(of, MeasurementPage::behind),
            News::Complete(of, ledger) => {
                self.fresh += 1;
                self.followed(of, |page| page.complete(ledger));
            }
            News::Unfollowed(of, why) => self.followed(of, |page| page.unfollowed(why)),
            read => {
                self.failed = None;
                self.was_read(read);
            }
        }
    }

    fn was_read(&mut self, read: News) {
        match read {
            News::Figures(metrics, at) => self.overview.figures(&metrics, at),
            News::Vps(vps) => self.vps.read(vps),
            News::Modules(modules) => {
                for page in &mut self.opened {
                    if let Opened::Module(page) = page {
                        page.read(&modules);
                    }
                }
                self.modules.read(modules);
            }
            News::Measurements(measurements) => self.measurements.read(measurements),
            News::Vp(vp) => {
                if let Some(Opened::Vp(page)) = self.opened.last_mut() {
                    page.read(*vp);
                }
            }
            News::Measurement(measurement, fields) => {
                for page in &mut self.opened {
                    if let Opened::Measurement(page) = page
                        && page.id() == measurement.id
                    {
                        page.read(&measurement, &fields);
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether what is looked at may be out of date after an event.
    fn touches(&self, event: &Event) -> bool {
        let is = |what: &str| event.kind.starts_with(what);
        match self.wants().look {
            Look::Figures => true,
            Look::Vps | Look::Vp(_) => is("vp-") || is("module-"),
            Look::Modules => is("vp-") || is("module-") || is("breaker-"),
            Look::Measurements => is("measurement-"),
            Look::Measurement(id, _) => event.measurement == Some(id),
        }
    }

    fn followed(&mut self, of: Followed, tell: impl FnOnce(&mut MeasurementPage)) {
        let page = self.opened.iter_mut().find_map(|page| match page {
            Opened::Measurement(page) if page.followed() == of => Some(page),
            _ => None,
        });
        if let Some(page) = page {
            tell(page);
        }
    }

    fn page(&mut self) -> &mut dyn Page {
        match self.opened.last_mut() {
            Some(Opened::Vp(page)) => page,
            Some(Opened::Module(page)) => page,
            Some(Opened::Measurement(page)) => page.as_mut(),
            None => match self.tab {
                Tab::Overview => &mut self.overview,
                Tab::Vps => &mut self.vps,
                Tab::Modules => &mut self.modules,
                Tab::Measurements => &mut self.measurements,
            },
        }
    }

    /// Draws all of it; says where the cursor stands, when somebody types.
    pub(crate) fn draw(&mut self, buffer: &mut Buffer, style: Style) -> Option<(u16, u16)> {
        let mut pane = Pane::new(buffer, style);
        let (width, height) = (pane.width(), pane.height());
        self.head(&mut pane);
        // The last line is for the keys, where there is one to spare.
        let foot = usize::from(height > 2);
        let now = self.now;
        let mut body = pane.part(0, 1, width, height.saturating_sub(1 + foot));
        let cursor = if let Some(help) = &mut self.help {
            help.draw(&mut body, &HELP.iter().map(|line| vec![Cell::new(*line)]).collect::<Vec<_>>());
            None
        } else {
            let cursor = self.page().draw(&mut body, now);
            cursor.and_then(|(x, y)| body.position(x, y))
        };
        if foot > 0 {
            let line = self.foot();
            pane.line(height - 1, &line);
        }
        cursor
    }

    fn head(&mut self, screen: &mut Pane<'_>) {
        let narrow = screen.width() < NARROW;
        let (behind, complete) = match self.opened.last() {
            Some(Opened::Measurement(page)) => (page.is_behind(), page.is_complete()),
            _ => (false, false),
        };
        // How long it has been cut off is said where there is room for it.
        let now = (!narrow).then_some(self.now);
        let link = marks::link(&self.link, behind, complete, now);
        let clock = if narrow { String::new() } else { format!("  {} UTC", marks::time_of_day(self.now)) };
        let right = link.text.chars().count() + clock.len();
        let mut tabs = Vec::new();
        if !narrow {
            tabs.push(Cell::new("mmn  ").tone(Tone::Head));
        }
        for (at, (tab, long, short)) in TABS.iter().enumerate() {
            let name = if narrow { short } else { long };
            let tone = if *tab == self.tab { Tone::Head } else { Tone::Faint };
            let (before, after) = if *tab == self.tab { ("[", "]") } else { (" ", " ") };
            let gap = if narrow { "" } else { " " };
            tabs.push(Cell::new(format!("{before}{}{gap}{name}{after}", at + 1)).tone(tone));
        }
        let width = screen.width();
        screen.part(0, 0, width.saturating_sub(right + 1), 1).line(0, &tabs);
        screen
            .part(width.saturating_sub(right), 0, right, 1)
            .line(0, &[link, Cell::new(clock).tone(Tone::Faint)]);
    }

    fn foot(&mut self) -> Vec<Cell> {
        if let Some(why) = self.failed.clone() {
            return vec![Cell::new(format!("✕ {why}; it is tried again")).tone(Tone::Bad)];
        }
        let opened = !self.opened.is_empty();
        let keys = if self.help.is_some() { "↑↓ scroll  Esc back" } else { self.page().keys() };
        let mut line = vec![Cell::new(keys).tone(Tone::Faint)];
        if self.help.is_none() {
            let rest = if opened { "  Esc back  ? help  q quit" } else { "  1-4 pages  ? help  q quit" };
            line.push(Cell::new(rest).tone(Tone::Faint));
        }
        line
    }
}

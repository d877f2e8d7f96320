//! One instance of a module: how it is, and why it is thought to be so.

use mmn_schema::api::{Cause, ModuleView};
use mmn_schema::time::Timestamp;

use super::super::keys::Key;
use super::super::marks;
use super::super::pane::Pane;
use super::super::sheet::Sheet;
use super::modules::{breakers, credits, memory};
use super::{Does, Page};
use crate::style::Tone;
use crate::table::Cell;
use crate::{units, view};

#[derive(Debug)]
pub(crate) struct ModulePage {
    module: ModuleView,
    /// The anchor tells of it no more.
    is_gone: bool,
    sheet: Sheet,
}

impl ModulePage {
    pub(crate) fn new(module: ModuleView) -> Self {
        Self { module, is_gone: false, sheet: Sheet::default() }
    }

    pub(crate) fn read(&mut self, modules: &[ModuleView]) {
        let (vp, instance) = (&self.module.vp, &self.module.instance);
        let found = modules.iter().find(|module| module.vp == *vp && module.instance == *instance);
        self.is_gone = found.is_none();
        if let Some(module) = found {
            self.module = module.clone();
        }
    }

    fn lines(&self, now: Timestamp) -> Vec<Vec<Cell>> {
        let module = &self.module;
        let mut lines = vec![
            vec![Cell::new(module.module.clone()).tone(Tone::Head)],
            vec![Cell::new("  "), marks::health(module.health)],
        ];
        if self.is_gone {
            lines.push(vec![Cell::new("  the anchor knows of it no more").tone(Tone::Warn)]);
        }
        let mut field = |name: &str, value: Cell| {
            lines.push(vec![Cell::new(format!("  {name:<12} ")).tone(Tone::Faint), value]);
        };
        let absent = || marks::ABSENT.to_owned();
        let vp = module.vp_name.clone().unwrap_or_else(|| module.vp.to_string());
        let since = module.since.map_or_else(absent, |since| marks::ago(since, now));
        field("for", Cell::new(since));
        field("evidence", Cell::new(module.evidence.clone()));
        if let Some(cause) = module.cause {
            let word = match cause {
                Cause::Crash => "its process ended",
                Cause::Hang => "it is connected and does nothing",
                Cause::Cut => "nothing of its vantage point is heard",
            };
            field("cause", Cell::new(word).tone(Tone::Bad));
        }
        field("VP", Cell::new(view::named(&vp, module.simulated)));
        field("instance", Cell::new(module.instance.to_string()));
        let kinds: Vec<_> = module.kinds.iter().map(ToString::to_string).collect();
        field("kinds", Cell::new(kinds.join(" ")));
        field("out, credits", Cell::new(credits(module)));
        field("breakers", breakers(module));
        field("heard", Cell::new(format!("{} ago", marks::ago(module.last_seen_at, now))));
        field("version", Cell::new(module.version.clone()));
        if let Some(load) = module.heartbeat.as_ref().map(|heartbeat| heartbeat.load) {
            let tasks = format!("{} running, {} queued, room for {}", load.running, load.queued, load.free);
            field("tasks", Cell::new(tasks));
            let count = |count| marks::grouped(count);
            field("done", Cell::new(format!("{} in this life", count(load.done))));
            field("refused", Cell::new(count(load.refused)));
            field("unreadable", Cell::new(count(load.garbage)));
            field("memory", Cell::new(memory(load.rss_bytes)));
            field("processor", Cell::new(load.cpu_ns.map_or_else(absent, units::nanos_u64)));
        }
        lines
    }
}

impl Page for ModulePage {
    fn key(&mut self, key: &Key) -> Does {
        if *key == Key::Char('v') {
            return Does::OpenVp(self.module.vp.clone());
        }
        Does::of(self.sheet.key(key))
    }

    fn draw(&mut self, pane: &mut Pane<'_>, now: Timestamp) -> Option<(usize, usize)> {
        let lines = self.lines(now);
        self.sheet.draw(pane, &lines);
        None
    }

    fn keys(&self) -> &'static str {
        "↑↓ scroll  v its VP"
    }
}

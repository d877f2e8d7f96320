//! One vantage point.

use mmn_schema::api::VpView;
use mmn_schema::id::VpId;
use mmn_schema::time::Timestamp;

use super::super::keys::Key;
use super::super::marks;
use super::super::pane::Pane;
use super::super::sheet::Sheet;
use super::{Does, Page};
use crate::cmd::vps;
use crate::style::Tone;
use crate::table::Cell;

#[derive(Debug)]
pub(crate) struct VpPage {
    pub(crate) id: VpId,
    vp: Option<VpView>,
    sheet: Sheet,
}

impl VpPage {
    pub(crate) fn new(id: VpId) -> Self {
        Self { id, vp: None, sheet: Sheet::default() }
    }

    pub(crate) fn read(&mut self, vp: VpView) {
        if vp.vantage_point.id == self.id {
            self.vp = Some(vp);
        }
    }
}

impl Page for VpPage {
    fn key(&mut self, key: &Key) -> Does {
        Does::of(self.sheet.key(key))
    }

    fn draw(&mut self, pane: &mut Pane<'_>, now: Timestamp) -> Option<(usize, usize)> {
        let Some(vp) = &self.vp else {
            pane.line(0, &[Cell::new(format!("{}: reading …", self.id)).tone(Tone::Faint)]);
            return None;
        };
        let mut lines: Vec<Vec<Cell>> = vps::detail(vp).into_iter().map(|line| vec![line.into()]).collect();
        if let Some(first) = lines.first_mut() {
            for cell in first {
                cell.tone = Tone::Head;
            }
        }
        // The state comes with its sign.
        if let Some(state) = lines.get_mut(1) {
            let heard = format!(", heard {} ago", marks::ago(vp.last_seen_at, now));
            *state = vec![Cell::new("  "), marks::health(vp.health), Cell::new(heard)];
        }
        self.sheet.draw(pane, &lines);
        None
    }

    fn keys(&self) -> &'static str {
        "↑↓ scroll"
    }
}

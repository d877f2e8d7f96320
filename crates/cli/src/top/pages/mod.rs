//! The pages, a file for each.

pub(super) mod help;
pub(super) mod measurement;
pub(super) mod measurements;
pub(super) mod module;
pub(super) mod modules;
pub(super) mod overview;
mod results;
pub(super) mod vp;
pub(super) mod vps;

use mmn_schema::api::ModuleView;
use mmn_schema::id::{MeasurementId, VpId};
use mmn_schema::time::Timestamp;

use super::keys::Key;
use super::pane::Pane;

/// What a key did on a page.
#[derive(Debug)]
pub(super) enum Does {
    /// The page has no use for it.
    Nothing,
    Taken,
    OpenVp(VpId),
    OpenModule(Box<ModuleView>),
    OpenMeasurement(MeasurementId),
}

impl Does {
    const fn of(taken: bool) -> Self {
        if taken { Self::Taken } else { Self::Nothing }
    }
}

pub(super) trait Page {
    fn key(&mut self, key: &Key) -> Does;

    /// Draws it; says at which column and line of the pane the cursor stands, when somebody types.
    fn draw(&mut self, pane: &mut Pane<'_>, now: Timestamp) -> Option<(usize, usize)>;

    /// The keys that matter here, in a line.
    fn keys(&self) -> &'static str;
}

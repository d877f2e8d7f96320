//! What the machine is told, and what it wants to be told.

use std::time::Duration;

use mmn_client::Metrics;
use mmn_schema::announce::SummaryField;
use mmn_schema::api::{Ledger, Measurement, ModuleView, ResultRecord, VpView};
use mmn_schema::event::Event;
use mmn_schema::id::{MeasurementId, VpId};
use mmn_schema::time::Timestamp;

/// Something that the API told.
#[derive(Debug)]
pub(crate) enum News {
    /// How the stream is.
    Link(Link),
    /// Something happened; before it so many events were dropped, because they came too fast.
    Event(Event, u64),
    /// What the anchor counts, read so long after the beginning.
    Figures(Metrics, Duration),
    Vps(Vec<VpView>),
    Modules(Vec<ModuleView>),
    /// The newest measurements.
    Measurements(Vec<Measurement>),
    Vp(Box<VpView>),
    /// A measurement, and what its kind says of its numbers.
    Measurement(Box<Measurement>, Vec<SummaryField>),
    /// Results of the measurement that is followed, in their order.
    Records(Followed, Vec<ResultRecord>),
    /// More of its results wait than it may have at a time.
    Behind(Followed),
    /// All of its results were told.
    Complete(Followed, Ledger),
    /// It can not be followed.
    Unfollowed(Followed, String),
    /// Something could not be read; it is tried again.
    Failed(String),
}

/// How the stream of events and results is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    Connecting,
    Live,
    /// Broken since then; it is tried again, and goes on where it was.
    CutOff(Timestamp),
}

/// What is to be read, as long as it is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) look: Look,
    /// The measurement whose results are wanted.
    pub(crate) follow: Option<Followed>,
    /// Grows when what was read may be out of date.
    pub(crate) fresh: u64,
}

/// A measurement that is followed from its first result on; when it is opened once more, from there once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Followed {
    pub(crate) measurement: MeasurementId,
    /// The how manieth that was opened.
    pub(crate) opening: u64,
}

/// What is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Look {
    #[default]
    Figures,
    Vps,
    Modules,
    Measurements,
    Vp(VpId),
    /// A measurement; one that is over needs no second look.
    Measurement(MeasurementId, bool),
}

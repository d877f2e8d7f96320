//! What the handle asks of the actor.

use std::sync::Arc;

use bytes::Bytes;
use mmn_schema::api::{
    Coverage, KindView, Ledger, Limits, Measurement, MeasurementRequest, ModuleView, PlannedVp, ResultRecord,
    VpView,
};
use mmn_schema::body::Body;
use mmn_schema::dispatch::Input;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{InstanceId, KindName, MeasurementId, TaskId, Tenant, VpId};
use mmn_schema::problem::Problem;
use mmn_schema::rest::InputsPage;
use mmn_schema::status::NetworkStatus;
use tokio::sync::{broadcast, oneshot};

use crate::availability::Book;
use crate::handle::{Accepted, Anchor, Appended, InputCredits, Viewer};
use crate::history::History;
use crate::list::Filter;
use crate::metrics::Metrics;
use crate::registry::views::Choosable;
use crate::store::record::Fresh;
use crate::trace::TaskState;

/// Where the answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Problem>>;

/// One question to the actor.
#[derive(Debug)]
pub(crate) enum Command {
    Prepare {
        request: Box<MeasurementRequest>,
        reply: Reply<Prepared>,
    },
    Accept {
        tenant: Tenant,
        request: Box<MeasurementRequest>,
        key: Option<String>,
        wait: Wait,
        reply: Reply<Entered>,
    },
    Append {
        tenant: Tenant,
        measurement: MeasurementId,
        inputs: Vec<Input>,
        reply: Reply<Appended>,
    },
    Close {
        tenant: Tenant,
        measurement: MeasurementId,
        reply: Reply<Measurement>,
    },
    Cancel {
        tenant: Tenant,
        measurement: MeasurementId,
        reply: Reply<Measurement>,
    },
    InputCredits {
        tenant: Tenant,
        measurement: MeasurementId,
        reply: Reply<InputCredits>,
    },
    /// `None`: not in memory.
    Measurement {
        viewer: Viewer,
        id: MeasurementId,
        reply: Reply<Option<Measurement>>,
    },
    /// Those of a measurement that runs; `None`: it does not.
    Inputs {
        viewer: Viewer,
        id: MeasurementId,
        from: u64,
        limit: usize,
        reply: Reply<Option<InputsPage>>,
    },
    Measurements {
        viewer: Viewer,
        filter: Filter,
        before: Option<MeasurementId>,
        limit: usize,
        reply: Reply<Listed>,
    },
    /// `None`: not in memory.
    Watch {
        viewer: Viewer,
        id: MeasurementId,
        reply: Reply<Option<Watch>>,
    },
    /// `None`: not in memory.
    Task {
        viewer: Viewer,
        task: TaskId,
        reply: Reply<Option<TaskState>>,
    },
    /// `None`: it is to be read from the store.
    History {
        measurement: MeasurementId,
        reply: Reply<Option<Historical>>,
    },
    Choosable {
        reply: Reply<Vec<Choosable>>,
    },
    Vps {
        ids: Vec<VpId>,
        reply: Reply<Vec<VpView>>,
    },
    Modules {
        of: Option<VpId>,
        reply: Reply<Vec<ModuleView>>,
    },
    Kinds {
        reply: Reply<Vec<KindView>>,
    },
    Limits {
        reply: Reply<Limits>,
    },
    /// Of one vantage point, or of all.
    Availability {
        vp: Option<VpId>,
        reply: Reply<Book>,
    },
    Status {
        reply: Reply<Box<NetworkStatus>>,
    },
    Metrics {
        reply: Reply<Box<Metrics>>,
    },
}

/// A request that could be accepted, with whom to ask for quotes.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) kind: KindName,
    pub(crate) params: Body,
    pub(crate) inputs: Vec<Input>,
    /// Each vantage point, with the instance to ask and the encoding that it speaks.
    pub(crate) vps: Vec<(PlannedVp, Option<(InstanceId, Encoding)>)>,
    pub(crate) tasks: u64,
    pub(crate) refused: u64,
    pub(crate) coverage: Coverage,
}

/// What whoever asks for a measurement waits for, besides its acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Nothing.
    Acceptance,
    /// Its results, as they are kept.
    Results,
    /// Its end, with all results.
    End,
}

/// A measurement whose acceptance is kept; what follows comes through the channels.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) id: MeasurementId,
    pub(crate) existing: bool,
    /// As it stands, with what it will do unless it was there before; absent when it ended long ago.
    pub(crate) accepted: Option<Measurement>,
    /// Comes when all tasks have ended; absent when nobody waits for that.
    pub(crate) done: Option<oneshot::Receiver<Measurement>>,
    /// What is kept, from the first on; absent when it was there before, or nobody waits for that.
    pub(crate) follow: Option<Follow>,
}

impl Entered {
    pub(crate) async fn accepted(self, anchor: &Anchor, tenant: &Tenant) -> Result<Accepted, Problem> {
        let measurement = match self.accepted {
            Some(accepted) => accepted,
            None => Box::pin(anchor.measurement(&Viewer::Tenant(tenant.clone()), self.id)).await?,
        };
        Ok(Accepted { measurement, existing: self.existing })
    }

    pub(crate) async fn done_by(
        mut self,
        until: std::time::Instant,
        anchor: &Anchor,
        tenant: &Tenant,
    ) -> Result<Accepted, Problem> {
        if let Some(done) = self.done.take()
            && let Ok(Ok(measurement)) = tokio::time::timeout_at(until.into(), done).await
        {
            return Ok(Accepted { measurement, existing: self.existing });
        }
        self.accepted(anchor, tenant).await
    }
}

/// How a measurement is followed from its acceptance on.
#[derive(Debug)]
pub(crate) enum Follow {
    /// It is told what is kept.
    Live(broadcast::Receiver<Live>),
    /// It has one task, and comes whole.
    Once(oneshot::Receiver<Once>),
}

/// What a measurement of one task comes to.
#[derive(Debug)]
pub(crate) enum Once {
    /// Its records and its account: it is done.
    Whole(Vec<ResultRecord>, Ledger),
    /// It has parts, which nobody waits with: what is told from now on, and nothing was kept before.
    Live(broadcast::Receiver<Live>),
}

/// The sums of a measurement over its time.
#[derive(Debug)]
pub(crate) enum Historical {
    /// It runs.
    Running(History),
    /// It ended: as they are written down.
    Ended(Bytes),
}

/// A part of the list of measurements that are in memory.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) items: Vec<Measurement>,
    /// Whether older ones are in memory.
    pub(crate) more: bool,
    /// The sequence in LEDGER up to which ended measurements are no longer in memory.
    pub(crate) evicted: u64,
}

/// What a reader of results follows.
#[derive(Debug)]
pub(crate) struct Watch {
    /// What is kept from now on; absent when the measurement is done.
    pub(crate) live: Option<broadcast::Receiver<Live>>,
    /// The account, when the measurement is done.
    pub(crate) done: Option<Ledger>,
}

/// What happens to the results of one measurement.
#[derive(Debug, Clone)]
pub(crate) enum Live {
    /// A message was kept.
    Kept(Arc<Fresh>),
    /// Parts, which are not kept.
    Parts(Arc<Vec<ResultRecord>>),
    /// All tasks have ended, and their records were told before.
    Done(Arc<Ledger>),
}

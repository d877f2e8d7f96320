//! The way into the anchor: a handle that can be cloned, and what its methods take and give.
//!
//! Each method sends one command to the actor that owns the registry, the ledger and the dispatch, and waits for
//! its answer; what needs no state of the actor (results, old measurements, orders to nodes) is done in the caller's
//! task. The handle holds no lock and no state of its own. Errors are [`Problem`]s, ready to be shown to a client.
//!
//! Begin at [`Anchor::accept`].

use std::sync::Arc;
use std::time::Duration;

use mmn_schema::api::{
    KindView, Limits, Measurement, MeasurementRequest, ModuleView, Page, Plan, Rollup, TaskTrace, VpView,
};
use mmn_schema::control::{NodeAnswer, NodeOrder};
use mmn_schema::dispatch::Input;
use mmn_schema::event::Event;
use mmn_schema::id::{KindName, MeasurementId, TaskId, Tenant, VpId};
use mmn_schema::problem::Problem;
use mmn_schema::rest::InputsPage;
use mmn_schema::status::{Availability, AvailabilityTable, NetworkStatus};
use tokio::sync::{broadcast, oneshot, watch};

use crate::command::{self, Command, Follow, Historical, Once, Wait};
use crate::events::{Heard, Wanted};
use crate::history::History;
use crate::history::answer::RollupAsk;
use crate::list::Filter;
use crate::metrics::Metrics;
use crate::problems;
use crate::reader::ResultReader;
use crate::registry::views::Choosable;
use crate::shared::Shared;

/// The handle on an anchor. Clones are cheap and equal.
#[derive(Debug, Clone)]
pub struct Anchor {
    shared: Arc<Shared>,
}

/// On whose behalf something is read. It decides what is visible: what is not is answered as if it were not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// A tenant: what is its own, and what is public.
    Tenant(Tenant),
    /// Nobody in particular: what is public.
    Public,
}

/// The answer to an acceptance.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The measurement, with its plan; with its results too when they were waited for and came in time.
    pub measurement: Measurement,
    /// Whether it was there before, under the same idempotency key.
    pub existing: bool,
}

/// The answer to an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The index of the first task that the inputs became.
    pub first: u64,
    /// How many tasks they became.
    pub tasks: u64,
}

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// The `next` of the page before; absent: the first page.
    pub after: Option<String>,
    /// The most items; at most 1,000, 0 counts as 50.
    pub limit: usize,
    /// Which ones.
    pub filter: Filter,
}

/// Whether an anchor can take work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it can.
    pub ready: bool,
    /// What it does or lacks otherwise, in words: `no connection to NATS at …`, `JetStream is not enabled …`,
    /// `storage: …`, `standing by: anchor … holds the lease`, `recovering`, `storage is full`, `stopping`.
    pub detail: String,
}

/// The right to append so many inputs to an open measurement, as it grows.
#[derive(Debug)]
pub struct InputCredits {
    pub(crate) granted: watch::Receiver<u64>,
    pub(crate) told: u64,
}

/// The results of a measurement, followed from its acceptance on.
#[derive(Debug)]
pub(crate) enum Following {
    /// One by one.
    Reader(Box<ResultReader>),
    /// All at once: it has one task.
    Once(oneshot::Receiver<Once>),
}

impl Following {
    /// Gives the parts of kinds that stream, too.
    pub(crate) fn with_parts(self) -> Self {
        match self {
            Self::Reader(reader) => Self::Reader(Box::new(reader.with_parts(true))),
            once @ Self::Once(_) => once,
        }
    }
}

impl InputCredits {
    /// How many more inputs may be appended than was told so far. Waits until there are some; `None` when the
    /// measurement takes no more. The first call tells all that is free now.
    pub async fn next(&mut self) -> Option<u32> {
        loop {
            let granted = *self.granted.borrow_and_update();
            if granted > self.told {
                let more = u32::try_from(granted - self.told).unwrap_or(u32::MAX);
                self.told += u64::from(more);
                return Some(more);
            }
            self.granted.changed().await.ok()?;
        }
    }
}

impl Anchor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What a request would do: the vantage points, the tasks, what would be refused and why, and the packets, by
    /// quotes that are asked for in parallel and waited for at most 1 s. Nothing is accepted.
    pub async fn plan(&self, _tenant: &Tenant, request: MeasurementRequest) -> Result<Plan, Problem> {
        let prepared = self.ask(|reply| Command::Prepare { request: Box::new(request), reply }).await?;
        Ok(crate::quote::with_quotes(&self.shared, prepared).await)
    }

    /// Accepts a measurement. Returns once JetStream has acknowledged the acceptance; tasks go out after that.
    ///
    /// The same tenant and idempotency key lead to the same measurement, also after a restart of the anchor; with
    /// another request they are refused (422 `idempotency-key`).
    pub async fn accept(
        &self,
        tenant: &Tenant,
        request: MeasurementRequest,
        idempotency_key: Option<String>,
    ) -> Result<Accepted, Problem> {
        self.enter(tenant, request, idempotency_key, Wait::Acceptance).await?.accepted(self, tenant).await
    }

    /// Accepts a measurement and waits at most `wait` for its end. Tasks go out at once. When it is brief, so that all
    /// its results come within 50 to 100 ms, they are its acceptance: one message is written instead of two.
    /// Returns after the acceptance, and all final records when they came in time, were acknowledged by JetStream:
    /// then `measurement.state` is done, and `measurement.results` holds the records of up to 10,000 tasks (absent
    /// beyond: read them with [`Anchor::reader`]). Otherwise the measurement goes on, and is given as it stands.
    pub async fn accept_and_wait(
        &self,
        tenant: &Tenant,
        request: MeasurementRequest,
        idempotency_key: Option<String>,
        wait: Duration,
    ) -> Result<Accepted, Problem> {
        let until = crate::clock::of_timers() + wait;
        let entered = self.enter(tenant, request, idempotency_key, Wait::End).await?;
        entered.done_by(until, self, tenant).await
    }

    /// Accepts a measurement, and follows its results from the first on. One of a single task goes out at once, as in
    /// [`Anchor::accept_and_wait`].
    pub(crate) async fn accept_and_follow(
        &self,
        tenant: &Tenant,
        request: MeasurementRequest,
        idempotency_key: Option<String>,
    ) -> Result<(Accepted, Following), Problem> {
        let mut entered = self.enter(tenant, request, idempotency_key, Wait::Results).await?;
        let (id, follow) = (entered.id, entered.follow.take());
        let accepted = entered.accepted(self, tenant).await?;
        let viewer = Viewer::Tenant(tenant.clone());
        let reader = match follow {
            Some(Follow::Once(once)) => return Ok((accepted, Following::Once(once))),
            Some(Follow::Live(live)) => ResultReader::from_the_first(self.clone(), viewer, id, live),
            None => Box::pin(ResultReader::open(self.clone(), viewer, id, None)).await?,
        };
        Ok((accepted, Following::Reader(Box::new(reader))))
    }

    async fn enter(
        &self,
        tenant: &Tenant,
        request: MeasurementRequest,
        key: Option<String>,
        wait: Wait,
    ) -> Result<command::Entered, Problem> {
        if request.budget.is_some_and(|budget| budget.max_packets.is_some()) {
            let plan = Box::pin(self.plan(tenant, request.clone())).await?;
            problems::check_packets(&request, &plan)?;
        }
        let tenant = tenant.clone();
        let asked =
            self.ask(|reply| Command::Accept { tenant, request: Box::new(request), key, wait, reply });
        asked.await.inspect_err(|problem| self.shared.tallies.refuse(problem))
    }

    /// Appends inputs to an open measurement, within the credits granted. Returns once JetStream has acknowledged
    /// them.
    pub async fn append(
        &self,
        tenant: &Tenant,
        measurement: MeasurementId,
        inputs: Vec<Input>,
    ) -> Result<Appended, Problem> {
        let tenant = tenant.clone();
        let asked = self.ask(|reply| Command::Append { tenant, measurement, inputs, reply });
        asked.await.inspect_err(|problem| self.shared.tallies.refuse(problem))
    }

    /// Says that no more inputs will come. Closing a closed measurement does nothing. Returns once JetStream has
    /// acknowledged it.
    pub async fn close(&self, tenant: &Tenant, measurement: MeasurementId) -> Result<Measurement, Problem> {
        let owner = tenant.clone();
        let asked = self.ask(|reply| Command::Close { tenant: owner, measurement, reply }).await;
        self.or_ended(tenant, measurement, asked).await
    }

    /// Calls a measurement off: what waits ends as cancelled, what is out is called back. Returns once JetStream has
    /// acknowledged the order; the tasks end soon after. Cancelling one that is done does nothing.
    pub async fn cancel(&self, tenant: &Tenant, measurement: MeasurementId) -> Result<Measurement, Problem> {
        let owner = tenant.clone();
        let asked = self.ask(|reply| Command::Cancel { tenant: owner, measurement, reply }).await;
        self.or_ended(tenant, measurement, asked).await
    }

    /// How many inputs may be appended to an open measurement, now and as it works them off.
    pub async fn input_credits(
        &self,
        tenant: &Tenant,
        measurement: MeasurementId,
    ) -> Result<InputCredits, Problem> {
        let tenant = tenant.clone();
        self.ask(|reply| Command::InputCredits { tenant, measurement, reply }).await
    }

    /// One measurement. Without plan and results.
    pub async fn measurement(&self, viewer: &Viewer, id: MeasurementId) -> Result<Measurement, Problem> {
        Ok(viewer.shown_one(self.whole(viewer, id).await?))
    }

    /// The same, whosever it is.
    async fn whole(&self, viewer: &Viewer, id: MeasurementId) -> Result<Measurement, Problem> {
        let command = |reply| Command::Measurement { viewer: viewer.clone(), id, reply };
        match self.ask(command).await? {
            Some(measurement) => self.shared.store()?.with_expiry(measurement).await,
            None => self.shared.store()?.closed_measurement(viewer, id).await,
        }
    }

    /// The inputs of a measurement from position `from` on, at most `limit`. Those of one that ended are read from where its
    /// acceptance is kept; 410 where that has expired.
    pub async fn inputs(
        &self,
        viewer: &Viewer,
        id: MeasurementId,
        from: u64,
        limit: usize,
    ) -> Result<InputsPage, Problem> {
        let command = |reply| Command::Inputs { viewer: viewer.clone(), id, from, limit, reply };
        if let Some(page) = self.ask(command).await? {
            return Ok(page);
        }
        let ended = self.whole(viewer, id).await?;
        self.shared.store()?.inputs(&ended, from, limit).await
    }

    /// The measurements that the viewer may see, the newest first. Those that ended long ago come last, in the order
    /// in which they ended.
    pub async fn measurements(
        &self,
        viewer: &Viewer,
        page: PageRequest,
    ) -> Result<Page<Measurement>, Problem> {
        crate::list::measurements(self, &self.shared, viewer, page).await
    }

    /// A reader of a measurement's results, from the first or after a cursor. It goes on until the measurement is
    /// done, however slowly it is read.
    pub async fn reader(
        &self,
        viewer: &Viewer,
        measurement: MeasurementId,
        after: Option<mmn_schema::api::Cursor>,
    ) -> Result<ResultReader, Problem> {
        ResultReader::open(self.clone(), viewer.clone(), measurement, after).await
    }

    /// A reader of a measurement's newest results: at least `last` of them, as far as there are so many.
    pub async fn reader_of_the_newest(
        &self,
        viewer: &Viewer,
        measurement: MeasurementId,
        last: u64,
    ) -> Result<ResultReader, Problem> {
        ResultReader::of_the_newest(self.clone(), viewer.clone(), measurement, last).await
    }

    /// What happened to one task, hop by hop.
    pub async fn trace(&self, viewer: &Viewer, task: TaskId) -> Result<TaskTrace, Problem> {
        crate::trace::trace(self, &self.shared, viewer, task).await
    }

    /// The sums of a measurement's results, by time and vantage point. However many results there are, it takes about as
    /// long: nothing of them is read.
    pub async fn rollups(
        &self,
        viewer: &Viewer,
        measurement: MeasurementId,
        ask: RollupAsk,
    ) -> Result<Vec<Rollup>, Problem> {
        self.measurement(viewer, measurement).await?;
        let history = match self.ask(|reply| Command::History { measurement, reply }).await? {
            Some(history) => history,
            None => match self.shared.store()?.history(measurement).await? {
                Some(bytes) => Historical::Ended(bytes),
                None => return Ok(Vec::new()),
            },
        };
        // What is asked may take a while to make, of many vantage points.
        let made = tokio::task::spawn_blocking(move || {
            let history = match history {
                Historical::Running(history) => history,
                Historical::Ended(bytes) => History::read(&bytes).map_err(problems::storage_away)?,
            };
            Ok(history.answer(measurement, &ask))
        });
        made.await.map_err(problems::storage_away)?
    }

    /// All vantage points, by id.
    pub async fn vps(&self) -> Result<Vec<VpView>, Problem> {
        let ids = self.choosable().await?.into_iter().map(|one| one.vp.id.clone()).collect();
        self.vps_of(ids).await
    }

    /// Of all vantage points what a selection looks at, by id.
    pub(crate) async fn choosable(&self) -> Result<Vec<Choosable>, Problem> {
        self.ask(|reply| Command::Choosable { reply }).await
    }

    /// These vantage points, in this order; those that are not known are left out.
    pub(crate) async fn vps_of(&self, ids: Vec<VpId>) -> Result<Vec<VpView>, Problem> {
        self.ask(|reply| Command::Vps { ids, reply }).await
    }

    /// One vantage point, by its id or its name.
    pub async fn vp(&self, id_or_name: &str) -> Result<VpView, Problem> {
        let all = self.choosable().await?;
        let by_id = all.iter().find(|one| one.vp.id.as_str() == id_or_name);
        let found = by_id.or_else(|| all.iter().find(|one| one.vp.name == id_or_name));
        let ids = found.map(|one| one.vp.id.clone()).into_iter().collect();
        let vp = self.vps_of(ids).await?.pop();
        vp.ok_or_else(|| problems::not_found("vantage point", id_or_name))
    }

    /// All instances of modules, by vantage point and instance.
    pub async fn modules(&self) -> Result<Vec<ModuleView>, Problem> {
        self.modules_of(None).await
    }

    /// The instances of modules at a vantage point; absent: at all of them.
    pub(crate) async fn modules_of(&self, of: Option<VpId>) -> Result<Vec<ModuleView>, Problem> {
        self.ask(|reply| Command::Modules { of, reply }).await
    }

    /// All kinds that some instance offers or knows, by name.
    pub async fn kinds(&self) -> Result<Vec<KindView>, Problem> {
        self.ask(|reply| Command::Kinds { reply }).await
    }

    /// One kind.
    pub async fn kind(&self, name: &KindName) -> Result<KindView, Problem> {
        let all = self.kinds().await?;
        all.into_iter()
            .find(|kind| kind.info.name == *name)
            .ok_or_else(|| problems::not_found("kind", name.as_str()))
    }

    /// The limits, and how far they are used.
    pub async fn limits(&self) -> Result<Limits, Problem> {
        self.ask(|reply| Command::Limits { reply }).await
    }

    /// What happens in the network, from now on. A receiver that is more than 1,024 events behind misses some, and
    /// is told how many (`RecvError::Lagged`).
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.shared.events.watch(Wanted::default()).live
    }

    /// The same but for what happens to measurements: nobody is woken by those.
    pub fn events_but_measurements(&self) -> broadcast::Receiver<Arc<Event>> {
        self.shared.events.watch(Wanted { but_measurements: true, ..Wanted::default() }).live
    }

    /// The same, after what was before.
    pub(crate) fn events_from(&self, wanted: Wanted) -> Heard {
        self.shared.events.watch(wanted)
    }

    /// Gives an order to the node of a vantage point, and waits at most 30 s for its answer.
    pub async fn node_order(&self, vp: &VpId, order: NodeOrder) -> Result<NodeAnswer, Problem> {
        self.vp(vp.as_str()).await?;
        crate::quote::node_order(&self.shared, vp, &order).await
    }

    /// When a vantage point was there: the last `all` slices, of which `group` each are told as one.
    pub(crate) async fn availability(
        &self,
        vp: VpId,
        all: usize,
        group: usize,
    ) -> Result<Availability, Problem> {
        let book = self.ask(|reply| Command::Availability { vp: Some(vp.clone()), reply }).await?;
        Ok(book.of(vp, all, group))
    }

    /// The same of all, in a word each.
    pub(crate) async fn availability_table(
        &self,
        all: usize,
        group: usize,
    ) -> Result<AvailabilityTable, Problem> {
        let book = self.ask(|reply| Command::Availability { vp: None, reply }).await?;
        tokio::task::spawn_blocking(move || book.table(all, group)).await.map_err(problems::storage_away)
    }

    /// How the network is doing, with all names.
    pub async fn status(&self) -> Result<NetworkStatus, Problem> {
        Ok(*self.ask(|reply| Command::Status { reply }).await?)
    }

    /// Whether the anchor can take work. Never fails and never waits.
    pub fn readiness(&self) -> Readiness {
        self.shared.readiness.borrow().clone()
    }

    /// The same, as a value to watch.
    pub fn watch_readiness(&self) -> watch::Receiver<Readiness> {
        self.shared.readiness.subscribe()
    }

    /// The anchor's counters and gauges at this moment. While it stands by, all but [`Metrics::standing`] are those of a
    /// fresh start.
    pub async fn metrics(&self) -> Metrics {
        let asked = self.ask(|reply| Command::Metrics { reply }).await;
        Metrics { standing: self.shared.standing(), ..asked.map(|metrics| *metrics).unwrap_or_default() }
    }

    /// What was asked of a measurement that does not run any more: it stands as it ended, if it is the tenant's.
    async fn or_ended(
        &self,
        tenant: &Tenant,
        id: MeasurementId,
        asked: Result<Measurement, Problem>,
    ) -> Result<Measurement, Problem> {
        match asked {
            Err(problem) if problem.status == 404 => {
                let ended = self.whole(&Viewer::Tenant(tenant.clone()), id).await?;
                if ended.tenant == *tenant { Ok(ended) } else { Err(problem) }
            }
            other => other,
        }
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Problem>>) -> Command,
    ) -> Result<T, Problem> {
        self.check_active()?;
        if !self.shared.holds() {
            return Err(problems::not_ready("its lease was not renewed in time"));
        }
        let (reply, answer) = oneshot::channel();
        let gone = || problems::not_ready("stopping");
        self.shared.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// 503 while it stands by.
    pub(crate) fn check_active(&self) -> Result<(), Problem> {
        if self.shared.is_active() { Ok(()) } else { Err(problems::not_ready(&self.readiness().detail)) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

//! Measurements: accept, list, read, append, close, cancel; their ledger, rollups and tasks.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use mmn_schema::api::{
    Ledger, Measurement, MeasurementRequest, MeasurementState, Page, Plan, Rollup, TaskTrace,
};
use mmn_schema::id::{KindName, MeasurementId, TaskId, VpId};
use mmn_schema::problem::Problem;
use mmn_schema::rest::{InputsPage, InputsTaken, MoreInputs};
use mmn_schema::time::{Span, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::call::{Call, Caller, Holder, Switch};
use super::reply::{self, Answer, bad_request};
use super::route::{Access, Route};
use crate::handle::{Anchor, PageRequest};
use crate::history::answer::{Interval, RollupAsk};
use crate::list::Filter;
use crate::problems::not_found;

/// So many results are written beside the runtime.
const MANY: usize = 256;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub(crate) fn routes() -> Vec<Route> {
    let id = |route: Route| route.variable::<MeasurementId>("id", "The id of a measurement.");
    vec![
        Route::post("/api/v1/measurements", "createMeasurement", create)
            .summary("Accepts a measurement.")
            .query::<CreateQuery>()
            .field("Idempotency-Key", "The same key and the same request lead to the same measurement.")
            .body::<MeasurementRequest>(|| json!({ "kind": "ping", "inputs": ["127.0.0.1"] }))
            .answer(
                200,
                "With `wait`: the measurement that has ended, with its results. With `dry_run`: the plan.",
                vec![("application/json", Some(measurement_or_plan)), ("application/cbor", None)],
            )
            .told("Location", "Where the measurement is; absent for a plan.")
            .value::<Measurement>(202, "Accepted, durably; it goes on.")
            .told("Location", "Where the measurement is.")
            .problems(&[404, 409]),
        Route::get("/api/v1/measurements", "listMeasurements", list)
            .summary("The measurements that may be seen, the newest first.")
            .access(Access::Partly)
            .query::<ListQuery>()
            .value::<Page<Measurement>>(200, "Measurements. A page may be short, and have a next one.")
            .problems(&[404, 422]),
        id(Route::get("/api/v1/measurements/{id}", "readMeasurement", read))
            .summary("One measurement.")
            .access(Access::Partly)
            .value::<Measurement>(200, "The measurement."),
        id(Route::delete("/api/v1/measurements/{id}", "cancelMeasurement", cancel))
            .summary("Calls a measurement off. What has ended stays as it is.")
            .value::<Measurement>(200, "The measurement as it is now; its tasks end soon.")
            .problems(&[409]),
        id(Route::get("/api/v1/measurements/{id}/inputs", "readInputs", inputs))
            .summary("The inputs of a measurement, in the order in which they were given.")
            .access(Access::Partly)
            .query::<InputsQuery>()
            .value::<InputsPage>(200, "Inputs.")
            .problems(&[410]),
        id(Route::post("/api/v1/measurements/{id}/inputs", "appendInputs", append))
            .summary("Appends inputs to an open measurement, as many as it can take now.")
            .body::<MoreInputs>(|| json!({ "inputs": ["127.0.0.1"] }))
            .value::<InputsTaken>(202, "Accepted, durably.")
            .problems(&[409]),
        id(Route::post("/api/v1/measurements/{id}/close", "closeMeasurement", close))
            .summary("Says that no more inputs will come. Closing twice does nothing more.")
            .value::<Measurement>(200, "The measurement as it is now.")
            .problems(&[409]),
        id(Route::get("/api/v1/measurements/{id}/ledger", "readLedger", ledger))
            .summary("The account of a measurement's tasks.")
            .access(Access::Partly)
            .value::<Ledger>(200, "The account; its sum closes."),
        id(Route::get("/api/v1/measurements/{id}/rollups", "readRollups", rollups))
            .summary("Sums of the results' numbers, by interval and vantage point, from the first result to the last.")
            .access(Access::Partly)
            .query::<RollupQuery>()
            .value::<Page<Rollup>>(200, "All rollups that were asked for."),
        Route::get("/api/v1/tasks/{task}", "readTask", task)
            .summary("One task, hop by hop.")
            .access(Access::Partly)
            .variable::<TaskId>("task", "The id of a task.")
            .value::<TaskTrace>(200, "The task."),
    ]
}

/// How a measurement is accepted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateQuery {
    /// Wait so long for the end, and answer with the results: `30s`. The anchor may wait for less.
    wait: Option<Span>,
    /// Accept nothing, and say what would be done.
    #[serde(default)]
    dry_run: Switch,
}

/// Which measurements.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Those that take this vantage point: its name, while it is in the network, or its id.
    vp: Option<String>,
    /// Those of this kind.
    kind: Option<KindName>,
    /// Those in this state, or in one of several with commas between them.
    #[schemars(regex(pattern = "^(open|running|done|cancelled)(,(open|running|done|cancelled))*$"))]
    state: Option<String>,
    /// The `next` of the page before; absent: the first page.
    after: Option<String>,
    /// The most items.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    limit: usize,
}

const fn fifty() -> usize {
    50
}

impl ListQuery {
    async fn filter(&mut self, anchor: &Anchor, caller: &Caller) -> Result<Filter, Problem> {
        let vp = match self.vp.take() {
            None => None,
            Some(which) => Some(vp(anchor, caller, &which).await?),
        };
        let states = self.state.iter().flat_map(|states| states.split(','));
        let states = states.map(state).collect::<Result<_, _>>()?;
        Ok(Filter { vp, kind: self.kind.take(), states })
    }
}

/// A vantage point by its id, also one that has left; or by its name, which is told to holders of a token alone.
async fn vp(anchor: &Anchor, caller: &Caller, which: &str) -> Result<VpId, Problem> {
    let known = match caller {
        Caller::Holder(_) => anchor.vp(which).await.map(|vp| vp.vantage_point.id),
        Caller::Anybody => Err(not_found("vantage point", which)),
    };
    known.or_else(
        |problem| if problem.status == 404 { which.parse().map_err(|_| problem) } else { Err(problem) },
    )
}

fn state(text: &str) -> Result<MeasurementState, Problem> {
    match text {
        "open" => Ok(MeasurementState::Open),
        "running" => Ok(MeasurementState::Running),
        "done" => Ok(MeasurementState::Done),
        "cancelled" => Ok(MeasurementState::Cancelled),
        _ => Err(bad_request(format!(
            "query parameter `state`: {text:.80?} is none of open, running, done, cancelled"
        ))),
    }
}

/// Which inputs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputsQuery {
    /// The `next` of the page before; absent: the first page.
    after: Option<u64>,
    /// The most items.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: usize,
}

const fn thousand() -> usize {
    1000
}

/// Which rollups.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollupQuery {
    /// Of this vantage point; absent: of all.
    vp: Option<VpId>,
    /// Of intervals that begin then or later.
    from: Option<Timestamp>,
    /// Of intervals that begin before.
    to: Option<Timestamp>,
    /// How long intervals are at least: `1m`. They are one of 100 ms, 500 ms, 1, 5, 10, 30 s, 1, 5, 10, 30 min, 1, 3, 6, 12 h,
    /// 1, 7, 28 d. `all`: there is one, over everything. Absent: as short as they are kept.
    interval: Option<String>,
    /// Sum over the vantage points.
    #[serde(default)]
    merge: Switch,
    /// These numbers alone, with commas between them; absent: all.
    numbers: Option<String>,
    /// For each number its quantiles at so many equal steps: 20 gives 21 of them, from 0 % to 100 %.
    #[serde(default)]
    #[schemars(range(max = 100))]
    quantiles: u16,
}

impl RollupQuery {
    fn ask(self) -> Result<RollupAsk, Problem> {
        if self.quantiles > 100 {
            return Err(bad_request("query parameter `quantiles`: it is at most 100"));
        }
        let interval = match self.interval.as_deref() {
            None => Interval::Finest,
            Some("all") => Interval::All,
            Some(text) => Interval::Ns(
                text.parse::<Span>()
                    .map_err(|error| bad_request(format!("query parameter `interval`: {error}")))?
                    .as_ns(),
            ),
        };
        let numbers = self.numbers.as_deref().map(|names| names.split(',').map(str::to_owned).collect());
        let Self { vp, from, to, merge, quantiles, .. } = self;
        Ok(RollupAsk { vp, from, to, interval, merge: merge.is_on(), numbers, quantiles })
    }
}

fn measurement_or_plan(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let (measurement, plan) = (generator.subschema_for::<Measurement>(), generator.subschema_for::<Plan>());
    schemars::json_schema!({ "anyOf": [measurement, plan] })
}

async fn create(Holder(claims): Holder, mut call: Call) -> Answer {
    let query: CreateQuery = call.query()?;
    let key = idempotency_key(&call)?;
    let request: MeasurementRequest = call.body().await?;
    let (tenant, anchor) = (&claims.tenant, &call.api.anchor);
    if query.dry_run.is_on() {
        let plan = anchor.plan(tenant, request).await?;
        return Ok(reply::ok(call.headers(), &plan));
    }
    let accepted = match query.wait {
        Some(wait) => {
            let most = Duration::from_millis(call.api.config.max_wait_ms);
            anchor.accept_and_wait(tenant, request, key, wait.duration().min(most)).await?
        }
        None => anchor.accept(tenant, request, key).await?,
    };
    let measurement = accepted.measurement;
    let over = matches!(measurement.state, MeasurementState::Done | MeasurementState::Cancelled);
    let status = if query.wait.is_some() && over { StatusCode::OK } else { StatusCode::ACCEPTED };
    let (id, many) =
        (measurement.id, measurement.results.as_ref().is_some_and(|results| results.len() > MANY));
    let mut response = if many {
        reply::large_value(status, reply::encoding(call.headers()), measurement).await
    } else {
        reply::value(status, call.headers(), &measurement)
    };
    locate(&mut response, id);
    Ok(response)
}

async fn list(caller: Caller, call: Call) -> Answer {
    let mut query: ListQuery = call.query()?;
    if !(1..=1000).contains(&query.limit) {
        return Err(bad_request("query parameter `limit`: it is between 1 and 1000").into());
    }
    let anchor = &call.api.anchor;
    let filter = query.filter(anchor, &caller).await?;
    let ListQuery { after, limit, .. } = query;
    let page = anchor.measurements(&caller.viewer(), PageRequest { after, limit, filter }).await?;
    Ok(reply::ok(call.headers(), &page))
}

async fn inputs(caller: Caller, mut call: Call) -> Answer {
    let id = call.path().await?;
    let InputsQuery { after, limit } = call.query()?;
    if !(1..=10_000).contains(&limit) {
        return Err(bad_request("query parameter `limit`: it is between 1 and 10000").into());
    }
    let page = call.api.anchor.inputs(&caller.viewer(), id, after.unwrap_or_default(), limit).await?;
    if page.items.len() > MANY {
        return Ok(reply::large_value(StatusCode::OK, reply::encoding(call.headers()), page).await);
    }
    Ok(reply::ok(call.headers(), &page))
}

async fn read(caller: Caller, mut call: Call) -> Answer {
    let id = call.path().await?;
    let measurement = call.api.anchor.measurement(&caller.viewer(), id).await?;
    Ok(reply::ok(call.headers(), &measurement))
}

async fn cancel(Holder(claims): Holder, mut call: Call) -> Answer {
    let id = call.path().await?;
    let measurement = call.api.anchor.cancel(&claims.tenant, id).await?;
    Ok(reply::ok(call.headers(), &measurement))
}

async fn append(Holder(claims): Holder, mut call: Call) -> Answer {
    let id = call.path().await?;
    let MoreInputs { inputs } = call.body().await?;
    let appended = call.api.anchor.append(&claims.tenant, id, inputs).await?;
    let taken = InputsTaken { first: appended.first, tasks: appended.tasks };
    Ok(reply::value(StatusCode::ACCEPTED, call.headers(), &taken))
}

async fn close(Holder(claims): Holder, mut call: Call) -> Answer {
    let id = call.path().await?;
    let measurement = call.api.anchor.close(&claims.tenant, id).await?;
    Ok(reply::ok(call.headers(), &measurement))
}

async fn ledger(caller: Caller, mut call: Call) -> Answer {
    let id = call.path().await?;
    let measurement = call.api.anchor.measurement(&caller.viewer(), id).await?;
    Ok(reply::ok(call.headers(), &measurement.ledger))
}

async fn rollups(caller: Caller, mut call: Call) -> Answer {
    let id = call.path().await?;
    let ask = call.query::<RollupQuery>()?.ask()?;
    let items = call.api.anchor.rollups(&caller.viewer(), id, ask).await?;
    let many = items.len() > MANY;
    let page = Page { items, next: None };
    if many {
        return Ok(reply::large_value(StatusCode::OK, reply::encoding(call.headers()), page).await);
    }
    Ok(reply::ok(call.headers(), &page))
}

async fn task(caller: Caller, mut call: Call) -> Answer {
    let task: TaskId = call.path().await?;
    let trace = call.api.anchor.trace(&caller.viewer(), task).await?;
    Ok(reply::ok(call.headers(), &trace))
}

fn locate(response: &mut Response, id: MeasurementId) {
    if let Ok(value) = HeaderValue::try_from(format!("/api/v1/measurements/{id}")) {
        response.headers_mut().insert(header::LOCATION, value);
    }
}

fn idempotency_key(call: &Call) -> Result<Option<String>, Problem> {
    let Some(value) = call.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if check_key(text) => Ok(Some(text.to_owned())),
        _ => Err(bad_request("an Idempotency-Key has 1 to 255 visible ASCII characters")),
    }
}

/// Whether a text can be an idempotency key.
pub(crate) fn check_key(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

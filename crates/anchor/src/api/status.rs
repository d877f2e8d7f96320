//! How the network is doing, and when its vantage points were there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, header};
use mmn_schema::problem::Problem;
use mmn_schema::status::{Availability, AvailabilityTable, NetworkStatus};
use mmn_schema::time::Span;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::call::{Call, Caller, Holder};
use super::reply::{self, Answer, bad_request};
use super::route::{Access, Route};
use crate::availability::{MOST, SLICE};
use crate::handle::Anchor;
use crate::status::without_names;

pub(crate) const STATUS: &str = "/api/v1/status";
/// How many times in a second somebody who is not signed in may ask.
pub(crate) const ANYBODY_PER_S: u32 = 10;
/// For how long what was put together is given to whoever asks.
const FRESH: Duration = Duration::from_secs(1);

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get(STATUS, "readStatus", status)
            .summary("How the network is doing. Without a token where the public page is on, and then without names.")
            .access(Access::Partly)
            .value::<NetworkStatus>(200, "Processes, counts, public measurements.")
            .problems(&[404]),
        Route::get("/api/v1/availability", "listAvailability", table)
            .summary("When the vantage points were there, in a word each.")
            .query::<AvailabilityQuery>()
            .value::<AvailabilityTable>(200, "A strip of letters for each."),
        Route::get("/api/v1/vps/{id}/availability", "readAvailability", one)
            .summary("When a vantage point was there.")
            .variable::<String>("id", "The id or the name of a vantage point.")
            .query::<AvailabilityQuery>()
            .value::<Availability>(200, "Slices of time."),
    ]
}

/// Which time, in how many slices.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AvailabilityQuery {
    /// How far back: `24h`, which is the default, and at most `168h`.
    #[serde(rename = "for")]
    back: Option<Span>,
    /// The most slices; each is a multiple of 10 minutes. Absent: as many as there are.
    #[schemars(range(min = 1, max = 1008))]
    slices: Option<usize>,
}

impl AvailabilityQuery {
    /// How many slices as they are kept, and how many of them make one that is told.
    fn sizes(&self) -> Result<(usize, usize), Problem> {
        let back = self.back.map_or(Duration::from_secs(24 * 3600), Span::duration);
        let all = usize::try_from(back.as_secs().div_ceil(SLICE.as_secs())).unwrap_or(usize::MAX);
        if !(1..=MOST).contains(&all) {
            return Err(bad_request("query parameter `for`: it is between 1m and 168h"));
        }
        let slices = self.slices.unwrap_or(MOST);
        if !(1..=MOST).contains(&slices) {
            return Err(bad_request("query parameter `slices`: it is between 1 and 1008"));
        }
        Ok((all, all.div_ceil(slices)))
    }
}

/// The status as it was put together last.
#[derive(Debug, Default)]
pub(crate) struct Latest(Mutex<Option<(Instant, Arc<NetworkStatus>)>>);

impl Latest {
    /// One that is fresh. Whoever asks meanwhile waits for the same.
    async fn get(&self, anchor: &Anchor) -> Result<Arc<NetworkStatus>, Problem> {
        let mut latest = self.0.lock().await;
        let now = crate::clock::now();
        if let Some((at, status)) = &*latest
            && now.saturating_duration_since(*at) < FRESH
        {
            return Ok(Arc::clone(status));
        }
        let status = Arc::new(anchor.status().await?);
        *latest = Some((now, Arc::clone(&status)));
        Ok(status)
    }
}

async fn status(caller: Caller, call: Call) -> Answer {
    let is_signed_in = caller.tenant().is_ok();
    if !is_signed_in && !call.api.config.public_page {
        return Err(Problem::new(404, "no-public-page", "The network has no public page")
            .detail("how it is doing is shown to holders of a token alone")
            .hint("sign in, or let an operator set public_page")
            .into());
    }
    let status = call.api.latest.get(&call.api.anchor).await?;
    let mut response = if is_signed_in {
        reply::ok(call.headers(), &*status)
    } else {
        reply::ok(call.headers(), &without_names(NetworkStatus::clone(&status)))
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn table(_: Holder, call: Call) -> Answer {
    let (all, group) = call.query::<AvailabilityQuery>()?.sizes()?;
    let table = call.api.anchor.availability_table(all, group).await?;
    Ok(reply::large_value(axum::http::StatusCode::OK, reply::encoding(call.headers()), table).await)
}

async fn one(_: Holder, mut call: Call) -> Answer {
    let id: String = call.path().await?;
    let (all, group) = call.query::<AvailabilityQuery>()?.sizes()?;
    let vp = call.api.anchor.vp(&id).await?.vantage_point.id;
    let availability = call.api.anchor.availability(vp, all, group).await?;
    Ok(reply::ok(call.headers(), &availability))
}

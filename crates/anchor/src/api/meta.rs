//! What the API says of itself: health, readiness, metrics, its description, its problems, who asks, the limits.

use axum::http::{HeaderValue, StatusCode, header};
use mmn_schema::api::Limits;
use mmn_schema::problem::Problem;
use mmn_schema::rest::{Status, WhoAmI};
use serde_json::json;

use super::call::{Call, Caller, Holder};
use super::reply::{self, Answer};
use super::route::{Access, Route};
use super::{explain, prometheus};

const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const LINKSET: &str = "application/linkset+json; profile=\"https://www.rfc-editor.org/info/rfc9727\"";

pub(crate) fn routes() -> Vec<Route> {
    let open = |route: Route| route.access(Access::Open);
    vec![
        Route::get("/api/v1/limits", "readLimits", limits)
            .summary("The anchor's limits, and how far they are used.")
            .value::<Limits>(200, "The limits."),
        Route::get("/api/v1/whoami", "whoAmI", whoami)
            .summary("Whom the token speaks for.")
            .value::<WhoAmI>(200, "The holder of the token."),
        open(Route::get("/healthz", "readHealth", health))
            .summary("Whether the anchor is alive.")
            .value::<Status>(200, "It is."),
        open(Route::get("/readyz", "readReadiness", ready))
            .summary("Whether the anchor can take work.")
            .value::<Status>(200, "It can."),
        Route::get("/metrics", "readMetrics", metrics)
            .summary("Counters and gauges for Prometheus. On loopback no token is needed.")
            .access(Access::Partly)
            .answer(200, "Metrics in Prometheus' text format.", vec![("text/plain", None)]),
        open(Route::get("/openapi.json", "readDescription", description)).summary("This document.").answer(
            200,
            "The description of the API (OpenAPI 3.1).",
            vec![("application/json", None)],
        ),
        open(Route::get("/.well-known/api-catalog", "readCatalog", catalog))
            .summary("Where the API and its description are (RFC 9727).")
            .answer(200, "A set of links (RFC 9264).", vec![("application/linkset+json", None)]),
        open(Route::get("/problems/{reason}", "explainProblem", problem))
            .summary("What a reason of a problem means, and what to do about it.")
            .variable::<String>("reason", "The reason of a problem.")
            .answer(200, "An explanation.", vec![("text/plain", None)]),
    ]
}

async fn limits(_: Holder, call: Call) -> Answer {
    let mut limits = call.api.anchor.limits().await?;
    limits.max_requests_per_s = call.api.config.max_requests_per_s;
    Ok(reply::ok(call.headers(), &limits))
}

async fn whoami(Holder(claims): Holder, call: Call) -> Answer {
    let who = WhoAmI {
        subject: claims.sub.clone(),
        tenant: claims.tenant.clone(),
        expires_at: claims.expires_at(),
    };
    Ok(reply::ok(call.headers(), &who))
}

async fn health(call: Call) -> Answer {
    Ok(reply::ok(call.headers(), &Status { ok: true, detail: None }))
}

async fn ready(call: Call) -> Answer {
    let readiness = call.api.anchor.readiness();
    if !readiness.ready {
        return Err(crate::problems::not_ready(&readiness.detail).into());
    }
    Ok(reply::ok(call.headers(), &Status { ok: true, detail: None }))
}

async fn metrics(caller: Caller, call: Call) -> Answer {
    if !call.api.loopback {
        caller.tenant()?;
    }
    let text = prometheus::text(&call.api.anchor.metrics().await, &call.api.traffic, &crate::process::read());
    Ok(reply::with_type(StatusCode::OK, METRICS, text))
}

async fn description(call: Call) -> Answer {
    Ok(reply::with_type(StatusCode::OK, "application/json", call.api.description.clone()))
}

async fn catalog() -> Answer {
    let links = json!({ "linkset": [{
        "anchor": "/api/v1",
        "service-desc": [{ "href": "/openapi.json", "type": "application/json" }],
        "status": [{ "href": "/healthz", "type": "application/json" }],
        "item": [{ "href": "/api/v1" }],
    }] });
    let mut response = reply::with_type(StatusCode::OK, LINKSET, links.to_string());
    let link = HeaderValue::from_static("</.well-known/api-catalog>; rel=\"api-catalog\"");
    response.headers_mut().insert(header::LINK, link);
    Ok(response)
}

async fn problem(mut call: Call) -> Answer {
    let reason: String = call.path().await?;
    match explain::page(&reason) {
        Some(text) => Ok(reply::with_type(StatusCode::OK, "text/plain; charset=utf-8", text)),
        None => Err(Problem::new(404, "not-found", "There is no such thing")
            .detail("no problem has this reason")
            .into()),
    }
}

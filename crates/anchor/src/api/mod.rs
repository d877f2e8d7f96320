//! The HTTP side of the anchor: REST, streams of results and the WebSocket, as clients know them.
//!
//! It holds no state of measurements: all of that is behind [`Anchor`], its only way in. It never speaks NATS, never
//! shows or logs a token, and listens beyond loopback with TLS only.
//!
//! Begin at [`Server`] (how it listens), then `routes` below (what there is; the router and the OpenAPI document are
//! both made from that list), `service` (what each request passes through), and the handlers: `measurements`,
//! `results`, `events`, `vps`, `status`, `meta`, `session`, `socket`. What is at no such path may be a file of the dashboard (`site`).

use std::sync::Arc;

use bytes::Bytes;
use mmn_schema::problem::Problem;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ApiConfig;
use crate::handle::Anchor;

pub mod limits;
pub mod token;

mod body;
mod call;
mod compression;
mod ended;
mod events;
mod explain;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod guesses;
mod host;
mod listener;
mod measurements;
mod meta;
mod openapi;
mod prometheus;
mod rate;
mod reply;
mod results;
mod route;
mod serve;
mod service;
mod session;
mod site;
mod socket;
mod sse;
mod status;
mod vps;

pub use serve::{ServeError, Server};

/// What all requests have in common.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) anchor: Anchor,
    pub(crate) config: ApiConfig,
    pub(crate) key: token::TokenKey,
    pub(crate) hosts: host::Hosts,
    /// Whether it listens on loopback.
    pub(crate) loopback: bool,
    pub(crate) buckets: rate::Buckets,
    pub(crate) traffic: prometheus::Traffic,
    pub(crate) sessions: session::Sessions,
    /// Which of them were ended.
    pub(crate) ended: ended::Ended,
    pub(crate) guesses: guesses::Guesses,
    pub(crate) latest: status::Latest,
    /// Of those who look at the public page.
    pub(crate) public_buckets: rate::Buckets,
    /// The OpenAPI document.
    pub(crate) description: Bytes,
    /// When the anchor stops, what streams ends.
    pub(crate) stop: CancellationToken,
    /// What runs: each connection, and each WebSocket.
    pub(crate) tasks: TaskTracker,
}

/// The description of the API (OpenAPI 3.1), as `/openapi.json` gives it.
pub fn openapi() -> serde_json::Value {
    openapi::document(&routes())
}

/// All there is.
fn routes() -> Vec<route::Route> {
    let mut routes = measurements::routes();
    routes.extend(results::routes());
    routes.extend(events::routes());
    routes.extend(vps::routes());
    routes.extend(status::routes());
    routes.extend(socket::routes());
    routes.extend(session::routes());
    routes.extend(meta::routes());
    routes
}

fn router(api: Arc<Api>) -> axum::Router {
    let mut router = axum::Router::new();
    for route in routes() {
        router = router.route(route.path, route.handler);
    }
    router.fallback(nowhere).with_state(api).layer(compression::layer())
}

async fn nowhere(call: call::Call) -> reply::Answer {
    if let Some(file) = site::answer(&call.head) {
        return Ok(file);
    }
    Err(Problem::new(404, "not-found", "There is no such thing")
        .detail("nothing answers at this path")
        .hint("see /openapi.json for what there is")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_says_what_the_router_does() {
        let (routes, document) = (routes(), openapi());
        let told: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let there: BTreeSet<(String, String)> =
            routes.iter().map(|route| (route.path.to_owned(), route.method.to_string())).collect();
        assert_eq!(told, there);
        assert_eq!(there.len(), routes.len());
        let ids: BTreeSet<&str> = routes.iter().map(|route| route.id).collect();
        assert_eq!(ids.len(), routes.len(), "operationIds are unique");
        for route in &routes {
            assert_eq!(route.variable.is_some(), route.path.contains('{'), "{}", route.path);
            assert!(!route.summary.is_empty() && !route.answers.is_empty(), "{}", route.path);
        }
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        fn walk(value: &serde_json::Value, document: &serde_json::Value) {
            if let Some(target) = value.get("$ref").and_then(|target| target.as_str()) {
                let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leads outside"));
                assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
            }
            match value {
                serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
                serde_json::Value::Object(fields) => fields.values().for_each(|field| walk(field, document)),
                _ => {}
            }
        }
        let document = openapi();
        walk(&document, &document);
        assert!(document["components"]["schemas"].as_object().unwrap().len() > 20);
    }
}

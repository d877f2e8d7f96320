//! What each request passes through on its way to a handler, and each answer on its way back: the host, the token,
//! the limit of requests, the time, and problems for what axum refuses by itself.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use mmn_schema::problem::{self, Problem};
use tower_service::Service as _;

use super::Api;
use super::call::{Caller, Peer};
use super::limits::ANSWER_TIMEOUT;
use super::rate::{Payer, Quota};
use super::reply::{Failure, set_number};
use super::status::STATUS;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Answers the requests of all connections.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    api: Arc<Api>,
    router: axum::Router,
    policy: HeaderValue,
}

impl Service {
    pub(crate) fn new(api: Arc<Api>) -> Self {
        let policy = format!("\"requests\";q={};w=1", api.buckets.per_s());
        let policy = HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { router: super::router(Arc::clone(&api)), api, policy }
    }

    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response {
        let mut request = request.map(Body::new);
        let mut quota = None;
        let response = match self.admit(&mut request, peer, &mut quota).await {
            Ok(()) => self.route(request).await,
            Err(problem) => {
                let mut response = Failure::from(problem).into_response();
                if let Some(Quota { retry_after: Some(wait), .. }) = quota {
                    set_number(response.headers_mut(), header::RETRY_AFTER, whole_seconds(wait));
                }
                response
            }
        };
        self.finish(response, quota)
    }

    /// Checks where the request goes and whom it comes from, and counts it.
    async fn admit(
        &self,
        request: &mut Request<Body>,
        peer: SocketAddr,
        quota: &mut Option<Quota>,
    ) -> Result<(), Problem> {
        self.api.hosts.check(request.uri(), request.headers())?;
        let caller = Caller::of(request.headers(), &self.api.key, crate::clock::wall());
        let caller = match caller {
            Ok(Caller::Anybody) => self.api.sessions.caller(&self.api.key, request),
            known => known,
        };
        let caller = match caller {
            Ok(Caller::Holder(claims)) => match self.api.ended.holds(&self.api.anchor, &claims).await {
                Ok(false) => Ok(Caller::Holder(claims)),
                // Its browser is to sign in again.
                Ok(true) => Ok(Caller::Anybody),
                Err(problem) => Err(problem),
            },
            other => other,
        };
        // Guesses at tokens are counted by address.
        let payer = match &caller {
            Ok(Caller::Holder(claims)) => Payer::Token(claims.jti.as_str().into()),
            _ => Payer::Address(peer.ip()),
        };
        let is_public = request.uri().path() == STATUS && matches!(payer, Payer::Address(_));
        let buckets = if is_public { &self.api.public_buckets } else { &self.api.buckets };
        let taken = buckets.take(payer, crate::clock::now());
        *quota = Some(taken);
        if taken.retry_after.is_some() {
            return Err(Problem::new(429, "rate-limited", "Too many requests")
                .detail(format!("at most {} requests a second may be made", buckets.per_s())));
        }
        request.extensions_mut().insert(caller?);
        request.extensions_mut().insert(Peer(peer.ip()));
        Ok(())
    }

    async fn route(&self, request: Request<Body>) -> Response {
        let is_options = request.method() == Method::OPTIONS;
        // Only the creation of a measurement may be asked to wait.
        let limit = if request.method() == Method::POST && request.uri().query().is_some() {
            Duration::from_millis(self.api.config.max_wait_ms) + ANSWER_TIMEOUT
        } else {
            ANSWER_TIMEOUT
        };
        let answer = self.router.clone().call(request);
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(response)) => mended(response, is_options),
            Ok(Err(never)) => match never {},
            Err(_) => Failure::from(
                Problem::new(504, "timeout", "The request took too long")
                    .detail(format!("there was no answer within {} s", limit.as_secs())),
            )
            .into_response(),
        }
    }

    fn finish(&self, mut response: Response, quota: Option<Quota>) -> Response {
        self.api.traffic.answered(response.status().as_u16());
        if let Some(quota) = quota {
            if quota.retry_after.is_some() {
                self.api.traffic.rate_limited.fetch_add(1, Ordering::Relaxed);
            }
            let mut text = String::with_capacity(32);
            // Writing to a String does not fail.
            let _ = write!(text, "\"requests\";r={};t={}", quota.remaining, quota.reset_s);
            if let Ok(value) = HeaderValue::try_from(text) {
                response.headers_mut().insert(RATE_LIMIT, value);
            }
            response.headers_mut().insert(RATE_LIMIT_POLICY, self.policy.clone());
        }
        let nosniff = HeaderValue::from_static("nosniff");
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        response
    }
}

/// Gives what axum refuses by itself the form of a problem, and answers OPTIONS.
fn mended(response: Response, is_options: bool) -> Response {
    let status = response.status();
    let is_problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == problem::CONTENT_TYPE);
    if is_options && status == StatusCode::METHOD_NOT_ALLOWED {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        if let Some(allow) = response.headers().get(header::ALLOW) {
            answer.headers_mut().insert(header::ALLOW, allow.clone());
        }
        return answer;
    }
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (reason, title) = match status {
        StatusCode::NOT_FOUND => ("not-found", "There is no such thing"),
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "This path does not take this method"),
        StatusCode::UPGRADE_REQUIRED => ("upgrade-required", "This path speaks WebSocket"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "The request is too large"),
        _ if status.is_client_error() => ("bad-request", "The request can't be read"),
        _ => ("internal", "The anchor made a mistake"),
    };
    let mut answer = Failure::from(Problem::new(status.as_u16(), reason, title)).into_response();
    for name in [header::ALLOW, header::UPGRADE, header::CONNECTION] {
        if let Some(value) = response.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

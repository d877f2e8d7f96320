//! A client of the API of mmn: REST, and the WebSocket that results and events come over.
//!
//! It speaks to an anchor and to nothing else; it has no NATS, holds no state that a restart would miss, prints
//! nothing, and never loses a record silently: what a broken connection interrupts is resumed after the last record
//! that was handed out ([`Follow`]), and a request that may be sent again carries an idempotency key.
//!
//! Begin with [`Client`]: [`Client::discover`] finds the API of this machine's `mmn up`. The typed calls are in
//! `calls.rs`, one for each endpoint.

mod brief;
mod calls;
mod conversation;
mod discover;
mod error;
mod events;
mod feed;
mod follow;
mod http;
mod metrics;
mod socket;
mod transport;

use std::sync::Arc;

pub use brief::Brief;
pub use calls::{Key, Measure, MeasurementsQuery, ResultsQuery};
pub use conversation::Conversation;
pub use discover::{API_FILE, ApiFile, TOKEN_FILE};
pub use error::ClientError;
pub use events::{Events, Happened};
pub use feed::Feed;
pub use follow::{Follow, Followed, Passed};
pub use metrics::{Metrics, Sample};
pub use transport::Trust;

use http::Http;
use transport::Endpoint;

/// A cloneable handle on the API of an anchor. Connections are opened when they are needed and kept for the next
/// request.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    token: Option<Token>,
    http: Http,
}

/// A bearer token that no log shows.
struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Client {
    /// A client of the API at `url` (`http://127.0.0.1:8677`, `https://mmn.example.net`), which shows `token` when
    /// there is one. For `https`, `trust` says whose certificates hold. Nothing is sent yet.
    pub fn new(url: &str, token: Option<&str>, trust: &Trust) -> Result<Self, ClientError> {
        let endpoint = Endpoint::new(url, trust)?;
        let token = token.map(|token| Token(token.trim().to_owned()));
        Ok(Self { inner: Arc::new(Inner { endpoint, token, http: Http::default() }) })
    }

    /// The URL of the API, without a path.
    pub fn url(&self) -> &str {
        &self.inner.endpoint.url
    }

    fn authorization(&self) -> Option<String> {
        self.inner.token.as_ref().map(|token| format!("Bearer {}", token.0))
    }
}

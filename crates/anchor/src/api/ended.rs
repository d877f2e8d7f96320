//! Sessions that were ended: a token that stood in a cookie holds no longer once its browser has signed out, whoever has a
//! copy of it.
//!
//! They are kept in a bucket that all anchors of the network read, for as long as a session may last. What was looked up is
//! believed for [`FRESH`]. While NATS is away, sessions that are known go on, and unknown ones wait.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::kv;
use mmn_bus::jetstream::Bucket;
use mmn_schema::problem::Problem;
use tokio::sync::{OnceCell, watch};

use super::session::LIFETIME_S;
use super::token::Claims;
use crate::clock;
use crate::handle::Anchor;
use crate::meter::Tokens;
use crate::problems;

/// For how long a session that was not ended is taken for one that is not.
const FRESH: Duration = Duration::from_secs(10);
/// How long the bucket may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most sessions that are known; beyond it the one that was looked up longest ago is looked up again.
const MAX_KNOWN: usize = 10_000;
/// How many sessions may be ended in a second, and at once: each takes room for a month.
const ENDS_PER_S: f64 = 0.2;
const ENDS_BURST: f64 = 200.0;
/// What the names of sessions' tokens begin with.
pub(super) const SESSION: &str = "session-";

/// Which sessions were ended.
#[derive(Debug)]
pub(crate) struct Ended {
    bucket: OnceCell<kv::Store>,
    known: Mutex<HashMap<String, Known>>,
    ends: Mutex<Tokens>,
    /// Counts what was ended here.
    told: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    is_ended: bool,
    at: Instant,
}

impl Ended {
    pub(crate) fn new() -> Self {
        Self {
            bucket: OnceCell::new(),
            known: Mutex::default(),
            ends: Mutex::new(Tokens::full(clock::now(), ENDS_BURST)),
            told: watch::Sender::new(0),
        }
    }

    /// Whether a token is that of a session that was ended.
    pub(crate) async fn holds(&self, anchor: &Anchor, claims: &Claims) -> Result<bool, Problem> {
        if !claims.jti.starts_with(SESSION) {
            return Ok(false);
        }
        let now = clock::now();
        let known = self.lock().get(&claims.jti).copied();
        if let Some(Known { is_ended, at }) = known
            && (is_ended || now.saturating_duration_since(at) < FRESH)
        {
            return Ok(is_ended);
        }
        let looked_up = async {
            let found = self.bucket(anchor).await?.get(claims.jti.as_str()).await;
            found.map(|value| value.is_some()).map_err(problems::storage_away)
        };
        match patiently(anchor, looked_up).await {
            Ok(is_ended) => {
                self.remember(&claims.jti, is_ended, now);
                Ok(is_ended)
            }
            Err(_) if known.is_some() => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    /// Ends a session. When it returns, that is kept.
    pub(crate) async fn end(&self, anchor: &Anchor, claims: &Claims) -> Result<(), Problem> {
        let may = self.ends.lock().unwrap_or_else(PoisonError::into_inner).take(
            clock::now(),
            ENDS_PER_S,
            ENDS_BURST,
        );
        if !may {
            return Err(Problem::new(429, "rate-limited", "Too many requests")
                .detail("too many sessions were ended in a short time")
                .retry_after(5));
        }
        let kept = async {
            let until = claims.exp.unwrap_or_default().to_string();
            let put = self.bucket(anchor).await?.put(claims.jti.as_str(), until.into()).await;
            put.map(drop).map_err(problems::storage_away)
        };
        patiently(anchor, kept).await?;
        self.remember(&claims.jti, true, clock::now());
        self.told.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Is told when a session is ended here.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    async fn bucket(&self, anchor: &Anchor) -> Result<&kv::Store, Problem> {
        let shared = anchor.shared();
        let open = async || {
            let bucket = Bucket {
                max_age: Some(Duration::from_secs(u64::try_from(LIFETIME_S).unwrap_or_default() + 24 * 3600)),
                ..Bucket::new(format!("{}_sessions", shared.prefix))
            };
            shared.bus.ensure_bucket(&bucket).await.map_err(problems::storage_away)
        };
        self.bucket.get_or_try_init(open).await
    }

    fn remember(&self, jti: &str, is_ended: bool, at: Instant) {
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN
            && !known.contains_key(jti)
            && let Some(oldest) = known.iter().min_by_key(|(_, known)| known.at).map(|(jti, _)| jti.clone())
        {
            known.remove(&oldest);
        }
        known.insert(jti.to_owned(), Known { is_ended, at });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the bucket no longer than a browser would.
async fn patiently<T>(
    anchor: &Anchor,
    answer: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    if !anchor.shared().is_connected() {
        return Err(problems::not_ready(&anchor.readiness().detail));
    }
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(problems::storage_away("which sessions have ended is not known")),
    }
}

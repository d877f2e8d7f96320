//! Who listens to a stream, and for how long: until the token expires or the session is ended. A stream asks now and then, so that
//! it ends soon after whoever opened it may no longer hear it.

use std::sync::Arc;
use std::time::Instant;

use mmn_schema::time::Timestamp;
use tokio::sync::watch;

use super::Api;
use super::call::Caller;
use super::limits::KEEP_ALIVE;
use super::token::Claims;
use crate::clock;

/// The listener of one stream.
#[derive(Debug)]
pub(crate) struct Listener {
    api: Arc<Api>,
    /// Absent: it hears what everybody may.
    claims: Option<Arc<Claims>>,
    /// Counts the sessions that were ended at this anchor.
    ends: watch::Receiver<u64>,
    /// When to look again: another anchor may have been told.
    due: Instant,
}

impl Listener {
    pub(crate) fn new(api: &Arc<Api>, caller: &Caller) -> Self {
        let due = clock::of_timers() + KEEP_ALIVE;
        Self { api: Arc::clone(api), claims: caller.claims(), ends: api.ended.watch(), due }
    }

    /// Waits until it is time to look again. It may be dropped and called again.
    pub(crate) async fn due(&mut self) {
        if self.claims.is_none() {
            return std::future::pending().await;
        }
        tokio::select! {
            // The sender lives as long as the API.
            Ok(()) = self.ends.changed() => self.due = clock::of_timers(),
            () = tokio::time::sleep_until(self.due.into()) => {}
        }
    }

    /// Whether it may hear more; a word why not. It looks only when that is due. While an end can't be looked up the stream goes on.
    pub(crate) async fn may_hear(&mut self) -> Result<(), &'static str> {
        let Some(claims) = &self.claims else { return Ok(()) };
        let now = clock::of_timers();
        if now < self.due && !self.ends.has_changed().unwrap_or(false) {
            return Ok(());
        }
        self.ends.mark_unchanged();
        self.due = now + KEEP_ALIVE;
        let is_over = |until: Timestamp| clock::wall() >= until;
        if claims.expires_at().is_some_and(is_over) {
            return Err("the token has expired");
        }
        match self.api.ended.holds(&self.api.anchor, claims).await {
            Ok(true) => Err("the session has ended"),
            Ok(false) | Err(_) => Ok(()),
        }
    }
}

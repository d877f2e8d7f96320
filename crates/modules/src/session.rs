//! What session kinds share: waiting with a bound, and reasons for errors of streams.

use std::future::Future;
use std::io;
use std::pin::pin;

use futures::future::{Either, select};
use mmn_kit::{Context, Reason, code};
use mmn_probe::time::{Instant, Nanos};

/// So long before the task's deadline a session ends by itself, so that what it found still counts.
const RESERVE: Nanos = Nanos::from_millis(25);

/// The instant `after` from now, or the task's deadline less a reserve when that is sooner.
pub(crate) fn bound(context: &dyn Context, after: Nanos) -> Instant {
    (context.now() + after).min(Instant(context.deadline().0.saturating_sub(RESERVE.0)))
}

/// The beginning of a phase. What the site's limits hold back is no part of how long it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lap {
    began: Instant,
    held: Nanos,
}

impl Lap {
    /// A phase that begins now.
    pub(crate) fn begin(context: &dyn Context) -> Self {
        Self { began: context.now(), held: context.held() }
    }

    /// How long it has taken until now, in nanoseconds.
    pub(crate) fn took_ns(self, context: &dyn Context) -> u64 {
        context.now().saturating_since(self.began).0.saturating_sub(self.held_ns(context))
    }

    /// How much of the time until now the site's limits took, in nanoseconds.
    pub(crate) fn held_ns(self, context: &dyn Context) -> u64 {
        context.held().0.saturating_sub(self.held.0)
    }
}

/// What the future gives, unless it takes until `until`.
pub(crate) async fn within<T>(
    context: &dyn Context,
    until: Instant,
    future: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(future), context.sleep_until(until)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// The code of a stream's error.
pub(crate) fn code_of(error: &io::Error) -> &'static str {
    use io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused => code::CONNECTION_REFUSED,
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => code::CONNECTION_RESET,
        K::HostUnreachable | K::NetworkUnreachable => code::UNREACHABLE,
        K::TimedOut => code::TIMEOUT,
        K::UnexpectedEof | K::InvalidData | K::InvalidInput => code::PROTOCOL,
        _ => code::SYSTEM,
    }
}

/// The reason of a stream's error.
pub(crate) fn reason_of(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Reason::with(code::PROTOCOL, "the peer closed the connection too early")
        }
        _ => Reason::with(code_of(error), error),
    }
}

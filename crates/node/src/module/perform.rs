//! Performs one attempt: within its time, and so that a kind that panics takes nothing else down.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::task::Poll;

use futures::FutureExt;
use mmn_kit::{Body, BulkTask, Failure, Measured, Measurement};
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::{Outcome, Reason, code};

use super::desk::{Ended, Origin, Ticket};
use crate::clock;
use crate::context::Site;

/// What tasks of one batch share.
pub(super) struct Measure {
    /// The kind's reading of the parameters.
    pub(super) kind: Box<dyn Measurement>,
    /// What a probe looks like, where the batch goes in bulk.
    pub(super) bulk: Option<BulkTask>,
}

/// Performs an attempt to its end, or to the deadline. An attempt of a batch that goes in bulk is one that the lane has
/// declined.
pub(super) async fn perform(
    site: Rc<Site>,
    ticket: Ticket,
    origin: Rc<Origin<Measure>>,
    input: Input,
) -> (Ticket, Ended) {
    let context = match origin.measure.bulk {
        Some(_) => site.context_of_declined(origin.deadline),
        None => site.context(origin.deadline),
    };
    let attempt = AssertUnwindSafe(origin.measure.kind.run(&context, &input)).catch_unwind();
    let mut attempt = std::pin::pin!(attempt);
    // Made once there is something to wait for: what ends at once needs no timer.
    let mut out_of_time = None;
    let finished = poll_fn(|poll| {
        if let Poll::Ready(finished) = attempt.as_mut().poll(poll) {
            return Poll::Ready(Some(finished));
        }
        let timer = out_of_time.get_or_insert_with(|| {
            let remaining = origin.deadline.saturating_since(clock::monotonic());
            Box::pin(tokio::time::sleep(remaining.into()))
        });
        timer.as_mut().poll(poll).map(|()| None)
    });
    let ended = match finished.await {
        Some(Ok(result)) => ended(result),
        Some(Err(panic)) => broken(&origin, panic.as_ref()),
        None => too_late(),
    };
    (ticket, ended)
}

/// The end of an attempt whose kind panicked.
pub(super) fn broken(origin: &Origin<Measure>, panic: &(dyn std::any::Any + Send)) -> Ended {
    let words = words(panic);
    tracing::error!(kind = %origin.kind, measurement = %origin.measurement, panic = words, "a kind broke");
    Ended::without(Outcome::Failed, Reason::with(code::INTERNAL, format_args!("the kind broke: {words}")))
}

/// The end of an attempt whose deadline has passed.
pub(super) fn too_late() -> Ended {
    let reason = Reason::with(code::DEADLINE, "the deadline passed while it was being performed");
    Ended::without(Outcome::Lost, reason)
}

/// The same, where it waited for the limits of its site.
pub(super) fn held_too_long() -> Ended {
    let reason = Reason::with(
        code::DEADLINE,
        "the deadline passed while the limits of the site held its packets back",
    );
    Ended::without(Outcome::Lost, reason)
}

/// The end that comes of a result.
pub(super) fn ended(result: Result<Measured<Body>, Failure>) -> Ended {
    match result {
        Ok(measured) => Ended {
            outcome: Outcome::Ok,
            reason: None,
            answered: measured.answered,
            summary: measured.summary,
            body: measured.body,
        },
        Err(failure) => Ended::of_failure(failure),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

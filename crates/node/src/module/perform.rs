//! Performs one attempt: within its time, and so that a kind that panics takes nothing else down.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::task::Poll;

use futures::FutureExt;
use mmn_kit::{Body, Failure, Measured, Measurement};
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::{Outcome, Reason, code};

use super::desk::{Ended, Origin, Ticket};
use crate::clock;
use crate::context::Site;

/// What tasks of one batch share: the kind's reading of the parameters.
pub(super) type Measure = Box<dyn Measurement>;

/// Performs an attempt to its end, or to the deadline.
pub(super) async fn perform(
    site: Rc<Site>,
    ticket: Ticket,
    origin: Rc<Origin<Measure>>,
    input: Input,
) -> (Ticket, Ended) {
    let context = site.context(origin.deadline);
    let attempt = AssertUnwindSafe(origin.measure.run(&context, &input)).catch_unwind();
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
        Some(Err(panic)) => {
            let words = words(panic.as_ref());
            tracing::error!(kind = %origin.kind, measurement = %origin.measurement, panic = words, "a kind broke");
            Ended::without(
                Outcome::Failed,
                Reason::with(code::INTERNAL, format_args!("the kind broke: {words}")),
            )
        }
        None => Ended::without(
            Outcome::Lost,
            Reason::with(code::DEADLINE, "the deadline passed while it was being performed"),
        ),
    };
    (ticket, ended)
}

fn ended(result: Result<Measured<Body>, Failure>) -> Ended {
    match result {
        Ok(measured) => Ended {
            outcome: Outcome::Ok,
            reason: None,
            answered: measured.answered,
            summary: measured.summary,
            body: measured.body,
        },
        Err(failure) => Ended::without(failure.outcome, failure.reason),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

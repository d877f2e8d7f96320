//! The problems that the anchor answers with, each made in one place so that its reason stays the same.

use std::time::Duration;

use mmn_schema::api::{MeasurementRequest, Plan};
use mmn_schema::id::KindName;
use mmn_schema::problem::Problem;

/// 404: it is not there, or not visible.
pub(crate) fn not_found(what: &str, which: &str) -> Problem {
    let which: String = which.chars().take(80).collect();
    Problem::new(404, "not-found", "There is no such thing").detail(format!("no {what} {which:?}"))
}

/// 410: it was there, and is kept no longer.
pub(crate) fn expired(what: &str) -> Problem {
    Problem::new(410, "expired", "It is not kept any more").detail(format!("{what} have expired"))
}

/// 503: the anchor can't take work at present.
pub(crate) fn not_ready(why: &str) -> Problem {
    Problem::new(503, "not-ready", "The anchor can't take work at present").detail(why)
}

/// 503: what is kept takes all the room there is.
pub(crate) fn storage_full(table: &str) -> Problem {
    let title = if table == "results" { "The storage for results is full" } else { "The ledger is full" };
    Problem::new(503, "storage-full", title)
        .detail("nothing accepted is forgotten, and nothing new is accepted until what is kept expires")
        .hint(format!("try again later, or let an operator raise {table}.max_bytes"))
}

/// 429: as many tasks are pending as may be. The wait is a guess that the API gives as `Retry-After`.
pub(crate) fn saturated(pending: u64, most: u64, wanted: u64) -> Problem {
    Problem::new(429, "saturated", "Too many tasks are pending")
        .detail(format!("{pending} of at most {most} tasks are pending, and this makes {wanted}"))
        .hint(format!("retry after {} s", RETRY_AFTER.as_secs()))
        .retry_after(RETRY_AFTER.as_secs())
}

/// 429: so many tasks of the kind wait at the vantage points that they would wait until their deadline.
pub(crate) fn overloaded(kind: &KindName, waiting: u64, rate: Option<f64>, after: Duration) -> Problem {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    let seconds = seconds.clamp(1, MOST_AFTER.as_secs());
    let rate = rate.map(|rate| format!(", of which {rate:.1} are done in a second")).unwrap_or_default();
    Problem::new(429, "saturated", "The kind has more work than it can do")
        .detail(format!("{waiting} tasks of {kind} wait at the vantage points that were chosen{rate}"))
        .hint(format!("retry after {seconds} s, choose others, or give it a longer deadline"))
        .retry_after(seconds)
}

/// 429: the kind has taken up its share of what may wait over all kinds.
pub(crate) fn share(kind: &KindName, waiting: u64, wanted: u64) -> Problem {
    Problem::new(429, "saturated", "The kind takes up all the room that one kind may")
        .detail(format!(
            "{waiting} tasks of {kind} wait, this adds {wanted}, and the rest is for other kinds"
        ))
        .hint(format!("retry after {} s", RETRY_AFTER.as_secs()))
        .retry_after(RETRY_AFTER.as_secs())
}

/// No client is told to stay away for longer.
const MOST_AFTER: Duration = Duration::from_secs(60);

/// After how long a saturated anchor may be asked again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// 422: the request is understood and can't be taken as it is.
pub(crate) fn invalid() -> Problem {
    Problem::new(422, "invalid-request", "The request can't be accepted as it is")
}

/// 409: the measurement is not in a state for it.
pub(crate) fn conflict(detail: &str) -> Problem {
    Problem::new(409, "wrong-state", "The measurement does not allow this any more").detail(detail)
}

/// 503: the storage did not answer.
pub(crate) fn storage_away(error: impl std::fmt::Display) -> Problem {
    Problem::new(503, "storage-unavailable", "The storage did not answer").detail(error)
}

/// 422 when the quotes of a plan exceed the budget.
pub(crate) fn check_packets(request: &MeasurementRequest, plan: &Plan) -> Result<(), Problem> {
    let Some(most) = request.budget.and_then(|budget| budget.max_packets) else {
        return Ok(());
    };
    match plan.packets {
        Some(packets) if packets <= most => Ok(()),
        Some(packets) => Err(over_budget("/budget/max_packets", &format!("it may send {packets} packets"))),
        None => {
            Err(over_budget("/budget/max_packets", "a vantage point gave no quote, so the cost is unknown"))
        }
    }
}

/// 422: it would cost more than its budget.
pub(crate) fn over_budget(pointer: &str, detail: &str) -> Problem {
    Problem::new(422, "over-budget", "The measurement would exceed its budget").at(pointer, detail)
}

//! How a URL is requested: hop by hop, each redirect's target checked like the first.

use std::cell::Cell;

use mmn_kit::{Context, Failure, Measured, Number, SessionKind, Timestamp, code, summary};
use mmn_probe::time::Nanos;
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::Outcome;

use super::ech::Offer;
use super::hop::{Came, Fetch};
use super::request::Message;
use super::result::{Body, EchRejection, Hop, Phases, Stopped};
use super::target::Target;
use super::tls::Trust;
use super::{Http, Params};
use crate::session::{Lap, bound};

/// The longest text of a failure's detail, in characters.
const MAX_DETAIL: usize = 2_000;

impl SessionKind for Http {
    async fn run(context: &dyn Context, params: &Params, input: &Input) -> Result<Measured<Body>, Failure> {
        let refuse = |error: String| Failure::refused(code::PARAMETERS, error);
        let Input::Target(text) = input else {
            return Err(refuse("the input must be one URL".to_owned()));
        };
        let mut target = Target::parse(text.trim()).map_err(refuse)?;
        let mut message = Message::new(params).map_err(refuse)?;
        let trust = Trust::new(params, context.authority())?;
        let offer = offer(params, &target)?;
        let lap = Lap::begin(context);
        let until = bound(context, Nanos(params.timeout.as_ns()));
        let first = target.clone();
        let fetch =
            Fetch { context, params, trust: &trust, offer, first, until, transfers_held_ns: Cell::new(0) };
        let url = target.as_str().to_owned();
        let mut hops: Vec<Hop> = Vec::new();
        let mut ech_rejected = None;
        let stopped = loop {
            let came = fetch.hop(&target, &message).await.map_err(|failure| told(failure, &target, &hops))?;
            let hop = match came {
                Came::Answer(hop) => *hop,
                Came::Rejection(rejection) => {
                    ech_rejected = Some(*rejection);
                    break None;
                }
            };
            let next = follow(params, &target, &hop, hops.len());
            let status = hop.status;
            hops.push(hop);
            match next {
                Ok(next) => {
                    message = message.redirected(status, target.same_origin(&next));
                    target = next;
                    strip(hops.last_mut());
                }
                Err(stopped) => break stopped,
            }
        };
        let total_ns = lap.took_ns(context).saturating_add(fetch.transfers_held_ns.get());
        let requests = hops.len() + usize::from(ech_rejected.is_some());
        let redirects = u32::try_from(requests.saturating_sub(1)).unwrap_or(u32::MAX);
        let body = Body { url, total_ns, redirects, stopped, hops, ech_rejected };
        let answered = Some(body.ech_rejected.is_none());
        Ok(Measured { answered, summary: numbers(&body, context.utc()), body })
    }
}

/// The ECH that the parameters want, which only TLS has.
fn offer(params: &Params, target: &Target) -> Result<Option<Offer>, Failure> {
    let wanted = [("ech_config_list", params.ech_config_list.is_some()), ("ech_grease", params.ech_grease)];
    if let Some((name, _)) = wanted.iter().find(|(_, wanted)| *wanted)
        && !target.is_secure()
    {
        let detail = format_args!("{name} needs a URL of https, and {} is none", target.as_str());
        return Err(Failure::refused(code::PARAMETERS, detail));
    }
    Offer::new(params)
}

/// Where to go next, or why nowhere.
fn follow(params: &Params, target: &Target, hop: &Hop, followed: usize) -> Result<Target, Option<Stopped>> {
    let location = hop.headers.iter().find(|header| header.name.eq_ignore_ascii_case("location"));
    let location = match (hop.status, location) {
        (301 | 302 | 303 | 307 | 308, Some(location)) => location.value.as_deref(),
        _ => return Err(None),
    };
    if !params.follow_redirects {
        return Err(Some(Stopped::NotAsked));
    }
    if u32::try_from(followed).unwrap_or(u32::MAX) >= params.max_redirects {
        return Err(Some(Stopped::MaxRedirects));
    }
    location.and_then(|location| target.follow(location)).ok_or(Some(Stopped::BadLocation))
}

/// What is kept of the last answer only is taken from one that turned out not to be it.
fn strip(hop: Option<&mut Hop>) {
    let Some(hop) = hop else { return };
    hop.body.content = None;
    for certificate in hop.tls.iter_mut().flat_map(|tls| &mut tls.certificates) {
        certificate.der = None;
    }
}

/// The failure with where it happened, and how it came to that.
fn told(mut failure: Failure, target: &Target, hops: &[Hop]) -> Failure {
    let mut detail = failure.reason.detail.take().unwrap_or_default();
    if !hops.is_empty() || failure.outcome == Outcome::Failed {
        detail = format!("{detail} ({})", target.as_str());
    }
    for hop in hops.iter().rev() {
        detail = format!("{detail}, after {} from {}", hop.status, hop.url);
    }
    failure.reason.detail = Some(detail.trim_start().chars().take(MAX_DETAIL).collect());
    failure
}

fn numbers(body: &Body, now: Timestamp) -> mmn_kit::Summary {
    let rejected = body.ech_rejected.as_ref();
    // What a hop without a request went through counts like that of the others.
    let sum = |phase: fn(&Phases) -> Option<u64>, of_rejected: Option<u64>| {
        let phases = body.hops.iter().filter_map(|hop| phase(&hop.phases)).chain(of_rejected);
        phases.reduce(u64::saturating_add).map(Number::from)
    };
    // An answer before a redirect is not the answer.
    let last = body.hops.last().filter(|_| rejected.is_none());
    summary([
        ("status", last.map(|hop| u32::from(hop.status).into())),
        ("total_ns", Some(body.total_ns.into())),
        ("resolve_ns", sum(|phases| phases.resolve_ns, rejected.and_then(|rejected| rejected.resolve_ns))),
        ("connect_ns", sum(|phases| Some(phases.connect_ns), rejected.map(|rejected| rejected.connect_ns))),
        ("tls_ns", sum(|phases| phases.tls_ns, rejected.map(|rejected| rejected.tls_ns))),
        ("first_byte_ns", sum(|phases| Some(phases.first_byte_ns), None)),
        ("transfer_ns", sum(|phases| Some(phases.transfer_ns), None)),
        ("body_bytes", last.map(|hop| hop.body.bytes.into())),
        ("redirects", Some(body.redirects.into())),
        ("tls_days_left", days_left(last, rejected, now).map(Number::Integer)),
    ])
}

/// Whole days until the last server's own certificate expires.
fn days_left(last: Option<&Hop>, rejected: Option<&EchRejection>, now: Timestamp) -> Option<i64> {
    let agreed = last.and_then(|hop| hop.tls.as_ref()).map(|tls| &tls.certificates);
    let certificates = agreed.or(rejected.map(|rejected| &rejected.certificates))?;
    let until = certificates.first()?.not_after?;
    Some((until.unix_ns() - now.unix_ns()).div_euclid(86_400_000_000_000))
}

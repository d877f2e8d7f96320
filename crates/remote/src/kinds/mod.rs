//! The kinds as scamper does them: parameters become a command, and the record that comes back a result of the kind.
//!
//! What a request leaves out is what scamper takes then, where it has no such choice; what a request names and scamper can't
//! do is refused, and never passed over.
//!
//! Begin with [`Form`]; `ping.rs` is the plainest.

mod dns;
mod http;
mod message;
mod multipath;
mod ping;
mod trace;
mod udp;
mod values;

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::time::Duration;

use futures::FutureExt;
use mmn_kit::{
    Body, Context, Cost, Failure, Family, LocalBoxFuture, Measured, Measurement, Registered, Span, code,
};
use mmn_node::module::Kind;
use mmn_scamper::Command;
use mmn_schema::announce::KindInfo;
use mmn_schema::dispatch::Input;
use mmn_warts::Record;
use serde_json::{Map, Value};

use crate::ask::{Asks, Key};

/// The module that a daemon's vantage point has.
pub(crate) const MODULE: &str = "scamper";

/// All that daemons do for mmn.
pub(crate) fn all(asks: &Asks) -> Vec<Kind> {
    vec![
        kind::<mmn_modules::ping::Ping>(asks),
        kind::<mmn_modules::trace::Trace>(asks),
        kind::<mmn_modules::multipath::Multipath>(asks),
        kind::<mmn_modules::udp::Udp>(asks),
        kind::<mmn_modules::dns::Dns>(asks),
        kind::<mmn_modules::http::Http>(asks),
    ]
}

/// A record for a question of any kind that its type answers, with default parameters.
#[cfg(feature = "fuzzing")]
pub(crate) fn any(record: &Record) {
    let target = IpAddr::from([192, 0, 2, 1]);
    let input = "192.0.2.1";
    let is_some = match record {
        Record::Ping(found) => ping::measured(&Default::default(), input, target, found).is_ok(),
        Record::Trace(found) => trace::measured(&Default::default(), input, target, found).is_ok(),
        Record::Tracelb(found) => multipath::measured(&Default::default(), input, target, found).is_ok(),
        Record::Udpprobe(found) => udp::measured(&Default::default(), input, target, found).is_ok(),
        Record::Host(found) => dns::measured(&Default::default(), input, found).is_ok(),
        Record::Http(found) => {
            let url = url::Url::parse("http://192.0.2.1/").ok();
            url.is_some_and(|url| http::measured(&Default::default(), &url, target, found).is_ok())
        }
        _ => false,
    };
    tracing::trace!(is_some);
}

/// A kind that scamper does.
pub(crate) trait Form: mmn_kit::Kind {
    /// Performs it on one input.
    fn run<'a>(
        scamper: Scamper<'a>,
        params: &'a Self::Params,
        given: &'a Given,
        input: &'a str,
    ) -> LocalBoxFuture<'a, Result<Measured<Self::Body>, Failure>>;
}

/// The names of the parameters that a request gives.
#[derive(Debug, Default)]
pub(crate) struct Given(BTreeSet<String>);

/// A daemon, as a task sees it.
#[derive(Clone, Copy)]
pub(crate) struct Scamper<'a> {
    asks: &'a Asks,
    context: &'a dyn Context,
}

impl Given {
    /// Whether the request says something of a parameter.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// Refuses what scamper can't do.
pub(crate) fn cannot(parameter: &str, why: &str) -> Failure {
    Failure::refused(code::PARAMETERS, format_args!("{parameter}: scamper {why}"))
}

/// Refuses those parameters of a list that say something, with their reasons.
pub(crate) fn none_of(list: &[(bool, &str, &str)]) -> Result<(), Failure> {
    list.iter().find(|(said, ..)| *said).map_or(Ok(()), |(_, parameter, why)| Err(cannot(parameter, why)))
}

/// A record of another type than was asked for.
pub(crate) fn other_record() -> Failure {
    Failure::failed(code::PROTOCOL, "the daemon answered with a record of another type")
}

/// A span as the daemon takes it: within bounds, in steps.
pub(crate) fn span(
    parameter: &str,
    span: Span,
    (low_ms, high_ms): (u64, u64),
    step_ms: u64,
) -> Result<Duration, Failure> {
    let duration = Duration::from_nanos(span.as_ns());
    let whole = span.as_ns().is_multiple_of(step_ms * 1_000_000) || step_ms == 0;
    if duration < Duration::from_millis(low_ms) || duration > Duration::from_millis(high_ms) || !whole {
        let steps = if step_ms > 1 { format!(", in steps of {step_ms} ms") } else { String::new() };
        return Err(cannot(parameter, &format!("takes {low_ms} to {high_ms} ms{steps}")));
    }
    Ok(duration)
}

impl Scamper<'_> {
    /// Has a command performed.
    pub(crate) async fn ask(&self, command: impl FnOnce(Key) -> Command) -> Result<Record, Failure> {
        self.asks.ask(|key| command(key).to_string()).await
    }

    /// The address of a target, that the site's policy allows: names are asked for by the daemon's own resolver.
    pub(crate) async fn target(&self, input: &str, family: Family) -> Result<IpAddr, Failure> {
        let literal = input.strip_prefix('[').and_then(|input| input.strip_suffix(']')).unwrap_or(input);
        let address = match literal.parse::<IpAddr>() {
            Ok(address) if family.holds(address) => address,
            Ok(address) => {
                let detail = format!("{address} is not of the family that is asked for");
                return Err(Failure::failed(code::ADDRESS_FAMILY, detail));
            }
            Err(_) => dns::address_of(self, literal, family).await?,
        };
        self.context.check(address)?;
        Ok(address)
    }
}

fn kind<K: Form>(asks: &Asks) -> Kind {
    Kind::new(OfScamper::<K> { asks: asks.clone(), kind: PhantomData })
}

struct OfScamper<K> {
    asks: Asks,
    kind: PhantomData<fn() -> K>,
}

impl<K: Form> Registered for OfScamper<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn module(&self) -> &'static str {
        MODULE
    }
    fn info(&self) -> KindInfo {
        mmn_kit::info::<K>()
    }
    fn prepare(&self, params: &Body) -> Result<Box<dyn Measurement>, Failure> {
        let refuse = |error: &dyn std::fmt::Display| Failure::refused(code::PARAMETERS, error);
        let given: Map<String, Value> = if *params == Body::null() {
            Map::new()
        } else {
            params.decode().map_err(|error| refuse(&error))?
        };
        let names =
            given.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect();
        let params: K::Params =
            serde_json::from_value(Value::Object(given)).map_err(|error| refuse(&error))?;
        K::check(&params).map_err(|error| refuse(&error))?;
        Ok(Box::new(Prepared::<K> { asks: self.asks.clone(), params, given: Given(names) }))
    }
}

struct Prepared<K: Form> {
    asks: Asks,
    params: K::Params,
    given: Given,
}

impl<K: Form> Measurement for Prepared<K> {
    fn cost(&self) -> Option<Cost> {
        Some(K::cost(&self.params))
    }

    fn run<'a>(
        &'a self,
        context: &'a dyn Context,
        input: &'a Input,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>> {
        async move {
            let Input::Target(text) = input else {
                return Err(Failure::refused(code::PARAMETERS, "the input must be one target"));
            };
            let scamper = Scamper { asks: &self.asks, context };
            let Measured { answered, summary, body } =
                K::run(scamper, &self.params, &self.given, text).await?;
            let body = Body::of(&body).map_err(|error| Failure::failed(code::INTERNAL, error))?;
            Ok(Measured { answered, summary, body })
        }
        .boxed_local()
    }
}

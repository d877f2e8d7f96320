//! Questions to modules and nodes that are asked in the caller's own task: quotes of a plan, orders to a node.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Request, RequestErrorKind};
use futures::stream::{FuturesOrdered, StreamExt};
use mmn_schema::api::{Plan, PlannedVp, Refusal};
use mmn_schema::control::{Control, Controlled, MAX_QUOTE_INPUTS, NodeAnswer, NodeOrder, Quote};
use mmn_schema::encoding::{self, CONTENT_TYPE, Encoding};
use mmn_schema::id::{InstanceId, VpId};
use mmn_schema::problem::Problem;
use mmn_schema::subject::Subject;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::command::Prepared;
use crate::problems;
use crate::shared::Shared;

/// How long quotes are waited for, all together.
const QUOTE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a node may take: a drain waits for what the module holds.
const ORDER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many refusals of one vantage point are listed.
const MAX_REFUSALS: usize = 100;

/// The plan of a request, with the costs that the vantage points quote. One that gives no quote within 1 s leaves
/// the sums open.
pub(crate) async fn with_quotes(shared: &Arc<Shared>, prepared: Prepared) -> Plan {
    let Prepared { kind, params, inputs, vps, tasks, refused, coverage } = prepared;
    let (asked, all) = if inputs.is_empty() {
        (vec![mmn_schema::dispatch::Input::Nothing], 1)
    } else {
        (inputs.iter().take(MAX_QUOTE_INPUTS).cloned().collect(), inputs.len())
    };
    let quote = Control::Quote { kind, params, inputs: asked.clone() };
    let deadline = tokio::time::sleep(QUOTE_TIMEOUT);
    tokio::pin!(deadline);
    let mut answers: FuturesOrdered<_> =
        vps.iter().map(|(vp, instance)| quoted(shared, vp, instance.as_ref(), &quote)).collect();
    let mut quotes: Vec<Option<Quote>> = Vec::with_capacity(vps.len());
    loop {
        tokio::select! {
            answer = answers.next() => match answer {
                Some(quote) => quotes.push(quote),
                None => break,
            },
            () = &mut deadline => break,
        }
    }
    drop(answers);
    quotes.resize(vps.len(), None);
    let sample = Sample { asked: asked.len() as u64, all: all as u64 };
    let mut plan = Plan { vps: Vec::new(), tasks, refused, packets: Some(0), bytes: Some(0), coverage };
    // Of a pool one member does the work: the dearest one is counted.
    let mut pool: (Option<u64>, Option<u64>) = (Some(0), Some(0));
    for ((mut vp, instance), quote) in vps.into_iter().zip(quotes) {
        let costs_nothing = instance.is_none() && !vp.refusals.is_empty();
        if let Some(quote) = &quote {
            sample.enter(&mut vp, quote, &asked);
            plan.refused += if vp.pooled { 0 } else { sample.whole(quote.refused.len() as u64) };
        }
        let cost = if costs_nothing { (Some(0), Some(0)) } else { (vp.packets, vp.bytes) };
        if vp.pooled {
            pool = (most(pool.0, cost.0), most(pool.1, cost.1));
        } else {
            plan.packets = sum(plan.packets, cost.0);
            plan.bytes = sum(plan.bytes, cost.1);
        }
        plan.vps.push(vp);
    }
    plan.packets = sum(plan.packets, pool.0);
    plan.bytes = sum(plan.bytes, pool.1);
    plan
}

/// Of a long list of inputs the first ones are quoted, and the costs of the whole follow from theirs.
#[derive(Clone, Copy)]
struct Sample {
    asked: u64,
    all: u64,
}

impl Sample {
    fn whole(self, part: u64) -> u64 {
        if self.asked == self.all { part } else { part.saturating_mul(self.all).div_ceil(self.asked.max(1)) }
    }

    fn enter(self, vp: &mut PlannedVp, quote: &Quote, asked: &[mmn_schema::dispatch::Input]) {
        vp.packets = Some(self.whole(quote.packets));
        vp.bytes = Some(self.whole(quote.bytes));
        for refusal in quote.refused.iter().take(MAX_REFUSALS) {
            let input = usize::try_from(refusal.input).ok().and_then(|at| asked.get(at)).cloned();
            vp.refusals.push(Refusal { input, reason: refusal.reason.clone() });
        }
    }
}

fn sum(left: Option<u64>, right: Option<u64>) -> Option<u64> {
    Some(left?.saturating_add(right?))
}

fn most(left: Option<u64>, right: Option<u64>) -> Option<u64> {
    Some(left?.max(right?))
}

async fn quoted(
    shared: &Shared,
    vp: &PlannedVp,
    instance: Option<&(InstanceId, Encoding)>,
    quote: &Control,
) -> Option<Quote> {
    let (instance, encoding) = instance?;
    let subject = Subject::Ctl(vp.vp.clone(), instance.clone());
    match request(shared, &subject, quote, *encoding, QUOTE_TIMEOUT).await {
        Ok(Controlled::Quoted(quote)) => Some(quote),
        Ok(other) => {
            tracing::debug!(?other, vp = %vp.vp, "no quote");
            None
        }
        Err(error) => {
            tracing::debug!(%error, vp = %vp.vp, "no quote");
            None
        }
    }
}

/// Gives an order to a node and waits for its answer.
pub(crate) async fn node_order(shared: &Shared, vp: &VpId, order: &NodeOrder) -> Result<NodeAnswer, Problem> {
    request(shared, &Subject::Node(vp.clone()), order, Encoding::Cbor, ORDER_TIMEOUT).await
}

async fn request<Q: Serialize + Sync, A: DeserializeOwned>(
    shared: &Shared,
    subject: &Subject,
    question: &Q,
    encoding: Encoding,
    timeout: Duration,
) -> Result<A, Problem> {
    let payload = encoding.encode(question).map_err(problems::storage_away)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, encoding.content_type());
    let request = Request::new().headers(headers).payload(payload.into()).timeout(Some(timeout));
    let unreachable = |reason: &str, detail: &str| {
        Problem::new(503, reason, "The vantage point did not answer").detail(detail)
    };
    let answer = shared.bus.client().send_request(subject.on(&shared.prefix), request).await;
    let answer = answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => unreachable("unreachable", "nobody listens there"),
        RequestErrorKind::TimedOut => unreachable("timeout", "it did not answer in time"),
        _ => unreachable("unreachable", &error.to_string()),
    })?;
    let kind = answer
        .headers
        .as_ref()
        .and_then(|headers| headers.get(CONTENT_TYPE))
        .map(async_nats::HeaderValue::as_str);
    encoding::decode(kind, &answer.payload).map_err(|error| {
        Problem::new(502, "bad-answer", "The vantage point's answer can't be read").detail(error)
    })
}

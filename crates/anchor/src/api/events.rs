//! What happens in the network, over plain HTTP: a page of what is kept, lines of JSON, and server-sent events. Each event has an
//! id that grows, so that a stream goes on exactly where a page, or another stream, ended.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use bytes::Bytes;
use futures::stream;
use mmn_schema::api::Page;
use mmn_schema::encoding::Encoding;
use mmn_schema::event::{Event, EventId};
use mmn_schema::problem::Problem;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::call::{Call, Caller, Holder, unauthorized};
use super::limits::KEEP_ALIVE;
use super::listener::Listener;
use super::reply::{self, Answer, bad_request};
use super::results::{EVENTS, NDJSON, last_event_id, not_acceptable, streamed, write_line};
use super::route::Route;
use super::sse;
use crate::events::{Heard, KEPT, Wanted};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/events", "watchEvents", events)
            .summary(
                "What happens in the network, as server-sent events or lines of JSON, and what happened lately: the anchor has the \
                 newest few hundred events of its term in memory.",
            )
            .query::<EventsQuery>()
            .field("Last-Event-ID", "As `after`, sent by browsers that come back to server-sent events.")
            .answer(
                200,
                "A page of what is kept, whose `next` is where a stream goes on; or events without end. Server-sent events are `event` \
                 with the id of each, and `dropped` with the count of those that are missing there.",
                vec![
                    (EVENTS, None),
                    (NDJSON, None),
                    ("application/json", Some(schemars::SchemaGenerator::subschema_for::<Page<Event>>)),
                    ("application/cbor", None),
                ],
            )
            .problems(&[406]),
    ]
}

/// Which events, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// First the newest so many of those that are kept. Absent: a stream begins now, and a page has all.
    #[schemars(range(min = 1, max = 500))]
    last: Option<usize>,
    /// First those after this one that are kept.
    after: Option<EventId>,
    /// The form, when `Accept` can't be set.
    format: Option<StreamFormat>,
}

/// A form of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum StreamFormat {
    /// A page.
    Json,
    /// A page.
    Cbor,
    /// An event a line.
    Ndjson,
    /// Server-sent events.
    Sse,
}

async fn events(Holder(claims): Holder, call: Call) -> Answer {
    let query: EventsQuery = call.query()?;
    if query.last.is_some_and(|last| !(1..=KEPT).contains(&last)) {
        return Err(bad_request(format!("query parameter `last`: it is between 1 and {KEPT}")).into());
    }
    let offered = [EVENTS, NDJSON, "application/json", "application/cbor"];
    let format = match (query.format, reply::preferred(call.headers(), &offered)) {
        (Some(format), _) => format,
        (None, Some(EVENTS)) => StreamFormat::Sse,
        (None, Some(NDJSON)) => StreamFormat::Ndjson,
        (None, Some("application/cbor")) => StreamFormat::Cbor,
        (None, Some(_)) => StreamFormat::Json,
        (None, None) => return Err(not_acceptable().into()),
    };
    let after = last_event_id(&call)?.or(query.after);
    let is_page = matches!(format, StreamFormat::Json | StreamFormat::Cbor);
    let last = query.last.or(is_page.then_some(KEPT));
    let anchor = &call.api.anchor;
    let heard = anchor.events_from(Wanted { last, after, but_measurements: false });
    if is_page {
        // One that stands by hears nothing.
        anchor.check_active()?;
        return Ok(page(format, &heard));
    }
    let listener = Listener::new(&call.api, &Caller::Holder(claims));
    let Heard { before, missing, live, .. } = heard;
    let lines = format == StreamFormat::Ndjson;
    let feed = Feed {
        before: before.into(),
        missing,
        live,
        lines,
        stop: call.api.stop.clone(),
        listener,
        over: false,
    };
    Ok(streamed(if lines { NDJSON } else { EVENTS }, feed.into_body()))
}

fn page(format: StreamFormat, heard: &Heard) -> axum::response::Response {
    let items: Vec<Event> = heard.before.iter().map(|event| Event::clone(event)).collect();
    let page = Page { items, next: Some(heard.newest.to_string()) };
    let encoding = if format == StreamFormat::Cbor { Encoding::Cbor } else { Encoding::Json };
    let mut response = reply::in_encoding(StatusCode::OK, encoding, &page);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Events on their way into a body.
struct Feed {
    before: VecDeque<Arc<Event>>,
    /// How many there were that are not among those.
    missing: u64,
    live: Receiver<Arc<Event>>,
    lines: bool,
    stop: CancellationToken,
    listener: Listener,
    over: bool,
}

impl Feed {
    fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut feed| async move {
            let chunk = feed.chunk().await?;
            Some((chunk, feed))
        }))
    }

    /// The next piece of the body; `None` at its end.
    async fn chunk(&mut self) -> Option<Result<Bytes, Problem>> {
        loop {
            if self.over {
                return None;
            }
            if let Err(why) = self.listener.may_hear().await {
                self.over = true;
                let problem = unauthorized(why);
                return Some(if self.lines {
                    Err(problem)
                } else {
                    Ok(sse::event("problem", None, &problem))
                });
            }
            // Lines have no word for it; the ids of their events say the same.
            let missing = std::mem::take(&mut self.missing);
            if missing > 0 && !self.lines {
                return Some(Ok(dropped(missing)));
            }
            if let Some(event) = self.before.pop_front() {
                return Some(Ok(self.written(&event)));
            }
            tokio::select! {
                event = self.live.recv() => match event {
                    Ok(event) => return Some(Ok(self.written(&event))),
                    Err(RecvError::Lagged(count)) => self.missing += count,
                    Err(RecvError::Closed) => return None,
                },
                () = self.stop.cancelled() => return None,
                () = self.listener.due() => {}
                () = tokio::time::sleep(KEEP_ALIVE), if !self.lines => return Some(Ok(Bytes::from_static(sse::COMMENT))),
            }
        }
    }

    fn written(&self, event: &Event) -> Bytes {
        if self.lines {
            let mut bytes = Vec::new();
            write_line(&mut bytes, event);
            return bytes.into();
        }
        sse::event("event", event.id.as_ref().map(|id| id as &dyn std::fmt::Display), event)
    }
}

fn dropped(count: u64) -> Bytes {
    sse::event("dropped", None, &serde_json::json!({ "count": count }))
}

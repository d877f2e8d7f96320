//! Results over plain HTTP: pages, lines of JSON, and server-sent events. All read by the same cursors, at the
//! client's own pace; nothing is held for a client that is slow.

use std::collections::VecDeque;
use std::fmt::Display;
use std::str::FromStr;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use mmn_schema::api::{Cursor, Page, ResultRecord};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::MeasurementId;
use mmn_schema::problem::Problem;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::call::{self, Call, Caller, Switch};
use super::limits::{KEEP_ALIVE, MAX_RECORDS};
use super::listener::Listener;
use super::reply::{self, Answer, bad_request};
use super::route::{Access, Route};
use super::sse;
use crate::reader::{Next, ResultReader};

pub(super) const NDJSON: &str = "application/x-ndjson";
pub(super) const EVENTS: &str = "text/event-stream";
/// The most records of a page.
const MAX_PAGE: u64 = 10_000;
const LAST_ALONE: &str =
    "query parameter `last`: it is within 1 to 10000, of a page, and stands without `after` and `limit`";

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/measurements/{id}/results", "readResults", results)
            .summary("The results of a measurement: a page, lines of JSON, or server-sent events.")
            .access(Access::Partly)
            .variable::<MeasurementId>("id", "The id of a measurement.")
            .query::<ResultsQuery>()
            .field("Last-Event-ID", "As `after`, sent by browsers that come back to server-sent events.")
            .answer(
                200,
                "Results in the order of their cursors. Server-sent events are `result` with the cursor as id, and \
                 `done` with the ledger.",
                vec![
                    ("application/json", Some(schemars::SchemaGenerator::subschema_for::<Page<ResultRecord>>)),
                    ("application/cbor", None),
                    (NDJSON, None),
                    (EVENTS, None),
                ],
            )
            .answer(204, "There are no more: a browser need not come back for server-sent events.", vec![])
            .problems(&[406]),
    ]
}

/// Which results, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultsQuery {
    /// Only those after this cursor.
    after: Option<Cursor>,
    /// Only the newest so many: a page of those that are kept now, in their order.
    #[schemars(range(min = 1, max = 10_000))]
    last: Option<u64>,
    /// The most records. A page holds 1,000 unless told, and at most 10,000.
    #[schemars(range(min = 1))]
    limit: Option<u64>,
    /// Go on until the measurement is done, parts included. Server-sent events do so unless told; a page never does.
    follow: Option<Switch>,
    /// The form, when `Accept` can't be set.
    format: Option<Format>,
}

/// A form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// A page.
    Json,
    /// A page.
    Cbor,
    /// A record a line.
    Ndjson,
    /// Server-sent events.
    Sse,
}

async fn results(caller: Caller, mut call: Call) -> Answer {
    let id: MeasurementId = call.path().await?;
    let query: ResultsQuery = call.query()?;
    if query.limit == Some(0) {
        return Err(bad_request("query parameter `limit`: it is at least 1").into());
    }
    let format = match query.format {
        Some(format) => format,
        None => {
            match reply::preferred(call.headers(), &["application/json", "application/cbor", NDJSON, EVENTS])
            {
                Some(NDJSON) => Format::Ndjson,
                Some(EVENTS) => Format::Sse,
                Some("application/cbor") => Format::Cbor,
                Some(_) => Format::Json,
                None => return Err(not_acceptable().into()),
            }
        }
    };
    let last = last_event_id::<Cursor>(&call)?;
    if let Some(newest) = query.last {
        let is_page = matches!(format, Format::Json | Format::Cbor);
        if !is_page || query.after.is_some() || query.limit.is_some() || !(1..=MAX_PAGE).contains(&newest) {
            return Err(bad_request(LAST_ALONE).into());
        }
        let reader = call.api.anchor.reader_of_the_newest(&caller.viewer(), id, newest).await?;
        return newest_page(reader, newest, format).await;
    }
    let after = last.or(query.after);
    let follow = query.follow.map_or(format == Format::Sse, Switch::is_on);
    let reader = call.api.anchor.reader(&caller.viewer(), id, after).await?;
    let mut feed = Feed {
        reader: reader.with_parts(follow),
        follow,
        left: query.limit.unwrap_or(u64::MAX),
        sse: format == Format::Sse,
        stop: call.api.stop.clone(),
        listener: Listener::new(&call.api, &caller),
        first: None,
        over: false,
    };
    match format {
        Format::Json | Format::Cbor => feed.page(after, query.limit, format).await,
        Format::Ndjson => Ok(streamed(NDJSON, feed.into_body())),
        Format::Sse => {
            // A browser comes back whenever the stream ends, unless it is told that there is nothing more.
            if last.is_some()
                && let Some(first) = feed.reader.next_kept(MAX_RECORDS).await?
            {
                if matches!(first, Next::Done(_)) {
                    return Ok(no_content());
                }
                feed.first = Some(first);
            }
            Ok(streamed(EVENTS, feed.into_body()))
        }
    }
}

/// The newest records of those that are kept now; the reader begins with them, or a little before.
async fn newest_page(mut reader: ResultReader, newest: u64, format: Format) -> Answer {
    let newest = usize::try_from(newest).unwrap_or(usize::MAX);
    let mut items: VecDeque<ResultRecord> = VecDeque::new();
    let mut done = false;
    while !done {
        match reader.next_kept(MAX_RECORDS).await? {
            Some(Next::Records(records)) => items.extend(records),
            Some(Next::Expired(_)) => {}
            Some(Next::Done(_)) => done = true,
            None => break,
        }
        items.drain(..items.len().saturating_sub(newest));
    }
    let position = reader.position().unwrap_or(Cursor { seq: 0, pos: 0 });
    let page = Page { items: Vec::from(items), next: (!done).then(|| position.to_string()) };
    Ok(reply::large_value(StatusCode::OK, encoding_of(format), page).await)
}

fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn last_event_id<T: FromStr<Err: Display>>(call: &Call) -> Result<Option<T>, Problem> {
    let Some(value) = call.headers().get("last-event-id") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| bad_request(format!("Last-Event-ID: {error}")))
}

const fn encoding_of(format: Format) -> Encoding {
    match format {
        Format::Cbor => Encoding::Cbor,
        _ => Encoding::Json,
    }
}

/// Results on their way into a body.
struct Feed {
    reader: ResultReader,
    follow: bool,
    /// How many more records are wanted.
    left: u64,
    sse: bool,
    stop: CancellationToken,
    listener: Listener,
    /// What was read before the answer was begun.
    first: Option<Next>,
    over: bool,
}

impl Feed {
    /// As many records as a page holds, of those that are kept now.
    async fn page(mut self, after: Option<Cursor>, limit: Option<u64>, format: Format) -> Answer {
        let limit = usize::try_from(limit.unwrap_or(1000).min(MAX_PAGE)).unwrap_or(1000);
        let mut items: Vec<ResultRecord> = Vec::new();
        let mut done = false;
        while items.len() < limit && !done {
            let room = limit - items.len();
            let next = self.reader.next_kept(room).await?;
            match next {
                Some(Next::Records(records)) => items.extend(records),
                Some(Next::Expired(_)) => {}
                Some(Next::Done(_)) => done = true,
                None => break,
            }
        }
        let position = self.reader.position().or(after).unwrap_or(Cursor { seq: 0, pos: 0 });
        let page = Page { items, next: (!done).then(|| position.to_string()) };
        Ok(reply::large_value(StatusCode::OK, encoding_of(format), page).await)
    }

    fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut feed| async move {
            let chunk = feed.chunk().await?;
            Some((chunk, feed))
        }))
    }

    /// The next piece of the body; `None` at its end. A body that breaks off ends with an error, so that nobody takes
    /// it for whole.
    async fn chunk(&mut self) -> Option<Result<Bytes, Problem>> {
        loop {
            if self.over || self.left == 0 {
                return None;
            }
            if let Err(why) = self.listener.may_hear().await {
                return Some(self.broken_off(call::unauthorized(why)));
            }
            let max = usize::try_from(self.left).unwrap_or(MAX_RECORDS).min(MAX_RECORDS);
            let next = match self.first.take() {
                Some(first) => Ok(Some(first)),
                None if self.follow => tokio::select! {
                    biased;
                    next = self.reader.next(max) => next.map(Some),
                    () = self.stop.cancelled() => Err(stopping()),
                    () = self.listener.due() => continue,
                    () = tokio::time::sleep(KEEP_ALIVE), if self.sse => {
                        return Some(Ok(Bytes::from_static(sse::COMMENT)));
                    }
                },
                None => self.reader.next_kept(max).await,
            };
            match next {
                Ok(Some(Next::Records(records))) => {
                    self.left = self.left.saturating_sub(records.len() as u64);
                    // A reader that has much to catch up with takes turns with everybody else.
                    tokio::task::yield_now().await;
                    return Some(Ok(self.lines(&records)));
                }
                Ok(Some(Next::Expired(count))) if self.sse => {
                    return Some(Ok(sse::event("expired", None, &serde_json::json!({ "count": count }))));
                }
                Ok(Some(Next::Expired(_))) => {}
                Ok(Some(Next::Done(ledger))) => {
                    self.over = true;
                    return self.sse.then(|| Ok(sse::event("done", None, &ledger)));
                }
                Ok(None) => return None,
                Err(problem) => return Some(self.broken_off(problem)),
            }
        }
    }

    /// The end of a body that is not whole.
    fn broken_off(&mut self, problem: Problem) -> Result<Bytes, Problem> {
        self.over = true;
        if self.sse { Ok(sse::event("problem", None, &problem)) } else { Err(problem) }
    }

    fn lines(&self, records: &[ResultRecord]) -> Bytes {
        let mut bytes = Vec::with_capacity(records.len() * 512);
        for record in records {
            if self.sse {
                sse::write(&mut bytes, "result", record.cursor.as_ref(), record);
            } else {
                write_line(&mut bytes, record);
            }
        }
        bytes.into()
    }
}

pub(super) fn write_line<T: serde::Serialize>(bytes: &mut Vec<u8>, value: &T) {
    let start = bytes.len();
    if serde_json::to_writer(&mut *bytes, value).is_err() {
        bytes.truncate(start);
        return;
    }
    bytes.push(b'\n');
}

pub(super) fn streamed(media_type: &'static str, body: Body) -> Response {
    let mut response = reply::with_type(StatusCode::OK, media_type, body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    // A proxy that collects a stream before it passes it on makes it useless.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

pub(super) fn not_acceptable() -> Problem {
    Problem::new(406, "not-acceptable", "None of the accepted media types can be given here")
        .hint("accept application/json, application/x-ndjson or text/event-stream")
}

fn stopping() -> Problem {
    crate::problems::not_ready("stopping")
}

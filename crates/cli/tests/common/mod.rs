//! An API that answers as it is told, and the program that talks to it.

use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, Query, State, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{MeasurementId, TaskId};
use mmn_schema::stream::{FromAnchor, FromClient};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// What the API does.
#[derive(Default)]
pub(crate) struct Script {
    /// The results of every measurement.
    pub(crate) records: Vec<Value>,
    /// The account at the end.
    pub(crate) ledger: Value,
    /// The answer to a request for a measurement, instead of accepting it.
    pub(crate) problem: Option<Value>,
    /// After the records, wait until the measurement is called off.
    pub(crate) hangs: bool,
    /// What is measured; absent: `echo`.
    pub(crate) kind: Option<&'static str>,
}

/// A running fake, and what was asked of it.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) url: String,
    script: Arc<Script>,
    pub(crate) asked: Arc<Mutex<Vec<Value>>>,
    cancelled: Arc<Notify>,
}

pub(crate) fn msm() -> MeasurementId {
    MeasurementId::new(1_800_000_000_000, &[7; 10])
}

/// A result of the echo kind, on `input`, with more fields.
pub(crate) fn record(index: u64, input: &str, more: &Value) -> Value {
    let mut record = json!({
        "cursor": format!("{}.0", index + 1), "task": TaskId { measurement: msm(), index }, "kind": "echo",
        "vp": "abcdefghij234567", "vp_name": "laptop", "input": input, "attempt": 0, "final": true,
        "outcome": "ok", "answered": true, "summary": { "size_bytes": 5 }, "body": "hello",
    });
    for (name, value) in more.as_object().unwrap() {
        record[name] = value.clone();
    }
    record
}

pub(crate) fn ledger(accepted: u64, more: &Value) -> Value {
    let mut ledger = json!({
        "accepted": accepted, "ok": 0, "failed": 0, "refused": 0, "lost": 0, "cancelled": 0, "pending": 0,
    });
    for (name, value) in more.as_object().unwrap() {
        ledger[name] = value.clone();
    }
    ledger
}

impl Fake {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            script: Arc::new(script),
            asked: Arc::default(),
            cancelled: Arc::default(),
        };
        let router = Router::new()
            .route("/api/v1/measurements", post(accept))
            .route("/api/v1/measurements/{id}", get(one).delete(cancel))
            .route("/api/v1/measurements/{id}/results", get(results))
            .route("/api/v1/kinds/{kind}", get(kind))
            .route("/api/v1/vps", get(vps))
            .route("/api/v1/stream", any(stream))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        fake
    }

    /// The program, to be started with these arguments.
    pub(crate) fn command(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mmn"));
        command.args(args).env("MMN_API", &self.url).env("HOME", "/nonexistent").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().await.unwrap()
    }

    fn measurement(&self, dry: bool) -> Value {
        let plan = json!({
            "vps": [{
                "vp": "abcdefghij234567", "name": "laptop", "packets": 4, "bytes": 336,
                "refusals": [{ "input": "10.0.0.1", "reason": { "code": "policy", "detail": "private" } }],
            }],
            "tasks": 2, "refused": 1, "packets": 4, "bytes": 336,
            "coverage": {
                "matched": 1, "chosen": 1, "ases": { "matched": 0, "chosen": 0 },
                "countries": { "matched": 1, "chosen": 1 }, "seed": 42, "unmatched": ["narnia"],
            },
        });
        if dry {
            return plan;
        }
        json!({
            "id": msm(), "number": 1, "kind": self.script.kind.unwrap_or("echo"), "params": {}, "from": "all", "vps": [],
            "tenant": "default", "visibility": "private", "state": "running",
            "accepted_at": "2026-11-22T00:00:00Z", "plan": plan,
            "ledger": ledger(self.script.ledger["accepted"].as_u64().unwrap_or(0), &json!({})),
        })
    }
}

async fn accept(
    State(fake): State<Fake>,
    Query(query): Query<std::collections::BTreeMap<String, String>>,
    Json(request): Json<Value>,
) -> Response {
    fake.asked.lock().unwrap().push(request);
    if let Some(problem) = &fake.script.problem {
        let status = problem["status"].as_u64().unwrap();
        let status = StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap();
        return (status, Json(problem.clone())).into_response();
    }
    Json(fake.measurement(query.contains_key("dry_run"))).into_response()
}

async fn one(State(fake): State<Fake>) -> Json<Value> {
    Json(fake.measurement(false))
}

/// Two records a page.
async fn results(
    State(fake): State<Fake>,
    Query(query): Query<std::collections::BTreeMap<String, String>>,
) -> Json<Value> {
    let records = &fake.script.records;
    let after =
        query.get("after").and_then(|after| records.iter().position(|record| record["cursor"] == **after));
    let items: Vec<_> = records.iter().skip(after.map_or(0, |at| at + 1)).take(2).cloned().collect();
    let is_last = items.last() == records.last();
    let next =
        if is_last { Value::Null } else { items.last().map_or(Value::Null, |last| last["cursor"].clone()) };
    Json(json!({ "items": items, "next": next }))
}

async fn vps() -> Json<Value> {
    Json(json!({ "items": [{
        "vantage_point": {
            "id": "abcdefghij234567", "name": "laptop", "location": { "country": "DE" }, "asn": 64496,
            "addresses": ["203.0.113.7"],
        },
        "health": "healthy", "kinds": ["ping"], "unavailable": [], "modules": [],
        "last_seen_at": "2026-11-22T00:00:00Z",
    }] }))
}

async fn cancel(State(fake): State<Fake>) -> Json<Value> {
    fake.asked.lock().unwrap().push(json!("cancel"));
    fake.cancelled.notify_one();
    Json(fake.measurement(false))
}

async fn kind(Path(name): Path<String>) -> Response {
    if name != "echo" {
        let problem = json!({
            "type": "/problems/not-found", "title": "there is no such kind", "status": 404, "reason": "not-found",
            "hint": "mmn kinds lists them",
        });
        return (StatusCode::NOT_FOUND, Json(problem)).into_response();
    }
    Json(json!({
        "info": {
            "name": "echo", "version": "1.0", "description": "Says what it was told.", "input": "target",
            "params": {
                "type": "object", "required": ["text"],
                "properties": {
                    "text": { "type": "string", "description": "What to say." },
                    "times": { "type": "integer", "minimum": 1 },
                },
            },
            "result": {}, "summary": [{ "name": "size_bytes", "unit": "bytes", "description": "Its length." }],
        },
        "vps": 1,
    }))
    .into_response()
}

async fn stream(ws: WebSocketUpgrade, State(fake): State<Fake>) -> Response {
    ws.on_upgrade(move |socket| talk(socket, fake))
}

async fn talk(mut socket: WebSocket, fake: Fake) {
    let binary = |message: &FromAnchor| Message::Binary(Encoding::Cbor.encode(message).unwrap().into());
    while let Some(Ok(Message::Binary(bytes))) = socket.recv().await {
        let answers = match Encoding::Cbor.decode::<FromClient>(&bytes).unwrap() {
            FromClient::Subscribe { id, .. } => {
                let records: Vec<_> = fake
                    .script
                    .records
                    .iter()
                    .map(|record| serde_json::from_value(record.clone()).unwrap())
                    .collect();
                socket.send(binary(&FromAnchor::Results { id, records })).await.unwrap();
                if fake.script.hangs {
                    fake.cancelled.notified().await;
                }
                let ledger = serde_json::from_value(fake.script.ledger.clone()).unwrap();
                vec![FromAnchor::Done { id, ledger }]
            }
            FromClient::Measure { id, request, .. } => {
                fake.asked.lock().unwrap().push(serde_json::to_value(&request).unwrap());
                let measurement = serde_json::from_value(fake.measurement(false)).unwrap();
                vec![FromAnchor::Accepted { id, measurement: Box::new(measurement), inputs: Some(700) }]
            }
            FromClient::Append { id, measurement, inputs } => {
                fake.asked.lock().unwrap().push(json!(inputs.len()));
                let count = u64::try_from(inputs.len()).unwrap();
                let more = u32::try_from(inputs.len()).unwrap();
                vec![
                    FromAnchor::Appended { id, first: 0, tasks: count },
                    FromAnchor::Inputs { measurement, inputs: more },
                ]
            }
            FromClient::Close { id, .. } => {
                fake.asked.lock().unwrap().push(json!("close"));
                vec![FromAnchor::Closed { id }]
            }
            _ => Vec::new(),
        };
        for answer in &answers {
            if socket.send(binary(answer)).await.is_err() {
                return;
            }
        }
    }
}

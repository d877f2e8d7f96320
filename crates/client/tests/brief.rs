//! Measurements over one WebSocket, against an API that answers out of order, breaks off and is full.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{State, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::routing::{any, post};
use futures::future::join_all;
use mmn_client::{Brief, Client, ClientError, Measure, Trust};
use mmn_schema::api::{Ledger, Measurement, MeasurementRequest, MeasurementState, ResultRecord};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{MeasurementId, TaskId};
use mmn_schema::problem::Problem;
use mmn_schema::stream::{FromAnchor, FromClient};
use serde_json::json;

/// What the API was asked, and how it is to behave.
#[derive(Debug, Default)]
struct Api {
    sockets: usize,
    /// Keys of questions over the socket, and by REST.
    asked: Vec<String>,
    rest: Vec<String>,
    most_under_way: usize,
    /// So many questions are gathered and answered from the last to the first.
    gather: usize,
    /// What questions are answered with instead of results.
    problem: Option<Problem>,
    /// Whether it hangs up once it has gathered.
    hangs_up: bool,
}

type Shared = Arc<Mutex<Api>>;

fn id(number: usize) -> MeasurementId {
    MeasurementId::new(1_800_000_000_000 + number as u64, &[7; 10])
}

fn measurement(number: usize, request: &MeasurementRequest) -> Measurement {
    serde_json::from_value(json!({
        "id": id(number), "number": 1, "kind": "ping", "params": {}, "from": "all", "vps": [], "label": request.label,
        "tenant": "default", "visibility": "private", "state": "running", "accepted_at": "2026-11-22T00:00:00Z",
        "ledger": { "accepted": 1, "ok": 0, "failed": 0, "refused": 0, "lost": 0, "cancelled": 0, "pending": 1 },
    }))
    .unwrap()
}

fn record(number: usize, last: bool) -> ResultRecord {
    serde_json::from_value(json!({
        "cursor": format!("{number}.0"), "task": TaskId { measurement: id(number), index: 0 }, "kind": "ping",
        "input": "192.0.2.1", "attempt": 0, "final": last, "outcome": "ok",
    }))
    .unwrap()
}

async fn talk(mut socket: WebSocket, api: Shared) {
    api.lock().unwrap().sockets += 1;
    let mut gathered = Vec::new();
    let mut numbered = 0;
    while let Some(Ok(Message::Binary(bytes))) = socket.recv().await {
        let question = Encoding::Cbor.decode(&bytes).unwrap();
        let FromClient::Measure { id, request, idempotency_key, .. } = question else {
            panic!("{question:?}")
        };
        gathered.push((id, request));
        let (problem, hangs_up) = {
            let mut api = api.lock().unwrap();
            api.asked.push(idempotency_key.unwrap());
            api.most_under_way = api.most_under_way.max(gathered.len());
            if gathered.len() < api.gather {
                continue;
            }
            (api.problem.clone(), api.hangs_up)
        };
        if hangs_up {
            return;
        }
        for (id, request) in gathered.drain(..).rev() {
            numbered += 1;
            let answers = match problem.clone() {
                Some(problem) => vec![FromAnchor::Problem { id: Some(id), problem }],
                None => vec![
                    FromAnchor::Accepted {
                        id,
                        measurement: Box::new(measurement(numbered, &request)),
                        inputs: None,
                    },
                    FromAnchor::Results {
                        id,
                        records: vec![record(numbered, false), record(numbered, true)],
                    },
                    FromAnchor::Done { id, ledger: Ledger { accepted: 1, ok: 1, ..Ledger::default() } },
                ],
            };
            for answer in answers {
                let message = Message::Binary(Encoding::Cbor.encode(&answer).unwrap().into());
                socket.send(message).await.unwrap();
            }
        }
    }
}

/// An API that behaves so, and a connection to it.
async fn serve(api: Api) -> (Shared, Brief) {
    let shared: Shared = Arc::new(Mutex::new(api));
    let upgrade = |ws: WebSocketUpgrade, State(api): State<Shared>| async move {
        ws.on_upgrade(move |socket| talk(socket, api))
    };
    let rest = |State(api): State<Shared>,
                headers: HeaderMap,
                axum::Json(request): axum::Json<MeasurementRequest>| async move {
        let mut api = api.lock().unwrap();
        api.rest.push(headers.get("idempotency-key").unwrap().to_str().unwrap().to_owned());
        let mut answer = measurement(0, &request);
        answer.state = MeasurementState::Done;
        answer.results = Some(vec![record(0, true)]);
        axum::Json(answer)
    };
    let router = Router::new()
        .route("/api/v1/stream", any(upgrade))
        .route("/api/v1/measurements", post(rest))
        .with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let (brief, running) = Client::new(&url, Some("the-token"), &Trust::System).unwrap().brief();
    tokio::spawn(running);
    (shared, brief)
}

fn request(label: &str) -> MeasurementRequest {
    serde_json::from_value(json!({ "kind": "ping", "inputs": ["192.0.2.1"], "label": label })).unwrap()
}

/// Asks so many at once; the label that each answer came with must be its own.
async fn ask(brief: &Brief, count: usize) -> Vec<Result<Vec<ResultRecord>, ClientError>> {
    join_all((0..count).map(async |number| {
        let request = request(&number.to_string());
        let (measurement, records) = brief.measure(&Measure::new(&request)).await?;
        assert_eq!(measurement.label.as_deref(), Some(&*number.to_string()));
        assert_eq!(measurement.state, MeasurementState::Done);
        Ok(records)
    }))
    .await
}

#[tokio::test]
async fn each_is_answered_with_its_own_over_one_connection() {
    let (api, brief) = serve(Api { gather: 50, ..Api::default() }).await;
    for answer in ask(&brief, 50).await {
        let records = answer.unwrap();
        assert!(matches!(&records[..], [only] if only.last));
    }
    api.lock().unwrap().gather = 1;
    assert_eq!(ask(&brief, 1).await.len(), 1);
    let api = api.lock().unwrap();
    assert_eq!((api.sockets, api.asked.len(), api.rest.len()), (1, 51, 0));
}

#[tokio::test]
async fn what_a_broken_connection_carried_is_asked_again_under_its_key() {
    let (api, brief) = serve(Api { gather: 5, hangs_up: true, ..Api::default() }).await;
    for answer in ask(&brief, 5).await {
        assert_eq!(answer.unwrap().len(), 1);
    }
    {
        let mut api = api.lock().unwrap();
        let keys = |keys: &[String]| keys.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&api.asked), keys(&api.rest));
        assert_eq!((api.rest.len(), keys(&api.rest).len()), (5, 5));
        (api.hangs_up, api.gather) = (false, 1);
    }
    ask(&brief, 1).await.remove(0).unwrap();
    let api = api.lock().unwrap();
    assert_eq!((api.sockets, api.rest.len()), (2, 5));
}

#[tokio::test]
async fn a_problem_is_told_and_one_that_passes_is_waited_for() {
    let wrong = Problem::new(404, "unknown-kind", "no such kind");
    let (api, brief) = serve(Api { gather: 1, problem: Some(wrong), ..Api::default() }).await;
    let error = ask(&brief, 1).await.remove(0).unwrap_err();
    assert_eq!(error.problem().unwrap().reason, "unknown-kind");
    assert!(api.lock().unwrap().rest.is_empty());
    api.lock().unwrap().problem = Some(Problem::new(503, "not-ready", "it begins"));
    ask(&brief, 1).await.remove(0).unwrap();
    assert_eq!(api.lock().unwrap().rest.len(), 1);
}

#[tokio::test]
async fn what_is_more_than_a_connection_carries_waits_its_turn() {
    let (api, brief) = serve(Api { gather: 1000, ..Api::default() }).await;
    for answer in ask(&brief, 3000).await {
        answer.unwrap();
    }
    let api = api.lock().unwrap();
    assert_eq!((api.sockets, api.most_under_way, api.asked.len(), api.rest.len()), (1, 1000, 3000, 0));
}

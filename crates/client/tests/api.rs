//! The client against an API that misbehaves.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use mmn_client::{Client, ClientError, Followed, Happened, Measure, Trust};
use mmn_schema::api::{Cursor, Ledger, Limits, MeasurementRequest, ResultRecord};
use mmn_schema::encoding::Encoding;
use mmn_schema::event::Event;
use mmn_schema::id::{MeasurementId, TaskId};
use mmn_schema::problem::Problem;
use mmn_schema::stream::{FromAnchor, FromClient};
use mmn_schema::time::Timestamp;
use serde_json::json;

const RECORDS: u64 = 5000;

async fn serve(router: Router) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Client::new(&url, Some("the-token"), &Trust::System).unwrap()
}

fn msm() -> MeasurementId {
    MeasurementId::new(1_800_000_000_000, &[7; 10])
}

fn record(seq: u64) -> ResultRecord {
    serde_json::from_value(json!({
        "cursor": format!("{seq}.0"), "task": TaskId { measurement: msm(), index: seq }, "kind": "ping",
        "input": "192.0.2.1", "attempt": 0, "final": true, "outcome": "ok",
    }))
    .unwrap()
}

/// Sends within the credits, doubles what it sends, and hangs up after every 700 records.
async fn flaky(mut socket: WebSocket, connections: Arc<AtomicU64>) {
    connections.fetch_add(1, Ordering::Relaxed);
    let Some(Ok(Message::Binary(bytes))) = socket.recv().await else { return };
    let subscribe: FromClient = Encoding::Cbor.decode(&bytes).unwrap();
    let FromClient::Subscribe { id, after, mut credits, .. } = subscribe else { panic!("{subscribe:?}") };
    let send = |message: FromAnchor| Message::Binary(Encoding::Cbor.encode(&message).unwrap().into());
    let first = after.map_or(0, |cursor: Cursor| cursor.seq + 1);
    for seq in first..RECORDS.min(first + 700) {
        // A record that the client has already: it must not come out twice.
        let records = vec![record(seq), record(seq.saturating_sub(1))];
        while credits < 2 {
            socket.send(send(FromAnchor::Behind { id, after: None })).await.unwrap();
            let Some(Ok(Message::Binary(bytes))) = socket.recv().await else { return };
            if let FromClient::Credit { credits: more, .. } = Encoding::Cbor.decode(&bytes).unwrap() {
                credits += more;
            }
        }
        credits -= 2;
        if socket.send(send(FromAnchor::Results { id, records })).await.is_err() {
            return;
        }
    }
    if first + 700 >= RECORDS {
        let ledger = Ledger { accepted: RECORDS, ok: RECORDS, ..Ledger::default() };
        let _ = socket.send(send(FromAnchor::Done { id, ledger })).await;
        let _ = socket.recv().await;
    }
}

#[tokio::test]
async fn results_have_neither_gap_nor_duplicate_over_broken_connections() {
    let connections = Arc::new(AtomicU64::new(0));
    let upgrade = |ws: WebSocketUpgrade, State(connections): State<Arc<AtomicU64>>| async move {
        ws.on_upgrade(move |socket| flaky(socket, connections))
    };
    let router = Router::new().route("/api/v1/stream", any(upgrade)).with_state(Arc::clone(&connections));
    let mut follow = serve(router).await.follow(msm(), None);
    let mut next = 0;
    let ledger = loop {
        match follow.next().await.unwrap() {
            Followed::Records(records) => {
                for record in records {
                    assert_eq!(record.cursor.unwrap().seq, next);
                    next += 1;
                }
            }
            Followed::Done(ledger) => break ledger,
        }
    };
    assert_eq!((next, ledger.ok), (RECORDS, RECORDS));
    assert!(connections.load(Ordering::Relaxed) > 3);
}

#[tokio::test]
async fn a_refused_subscription_is_told_and_not_repeated() {
    let upgrade = || async {
        (StatusCode::UNAUTHORIZED, axum::Json(Problem::new(401, "unauthorised", "the token does not hold")))
    };
    let client = serve(Router::new().route("/api/v1/stream", any(upgrade))).await;
    let error = client.follow(msm(), None).next().await.unwrap_err();
    assert_eq!(error.problem().unwrap().reason, "unauthorised");
}

#[tokio::test]
async fn a_measurement_is_repeated_under_its_key() {
    let tries: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let accept = |State(tries): State<Arc<std::sync::Mutex<Vec<String>>>>, headers: HeaderMap| async move {
        let key = headers.get("idempotency-key").unwrap().to_str().unwrap().to_owned();
        assert_eq!(headers.get("authorization").unwrap(), "Bearer the-token");
        let first = {
            let mut tries = tries.lock().unwrap();
            tries.push(key);
            tries.len() == 1
        };
        if first {
            // The connection breaks in the middle of the answer.
            let broken = futures::stream::iter([
                Ok("{\"id\"".to_owned()),
                Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
            ]);
            return Response::new(axum::body::Body::from_stream(broken));
        }
        axum::Json(json!({
            "id": msm(), "number": 1, "kind": "ping", "params": {}, "from": "all", "vps": [],
            "tenant": "default", "visibility": "private", "state": "running",
            "accepted_at": "2026-11-22T00:00:00Z",
            "ledger": { "accepted": 1, "ok": 0, "failed": 0, "refused": 0, "lost": 0, "cancelled": 0, "pending": 1 },
        }))
        .into_response()
    };
    let router = Router::new().route("/api/v1/measurements", post(accept)).with_state(Arc::clone(&tries));
    let client = serve(router).await;
    let request: MeasurementRequest = serde_json::from_value(json!({ "kind": "ping" })).unwrap();
    let measurement = client.measure(&Measure::new(&request)).await.unwrap();
    assert_eq!(measurement.id, msm());
    let tries = tries.lock().unwrap();
    assert_eq!(tries.len(), 2);
    assert_eq!(tries[0], tries[1]);
}

#[tokio::test]
async fn problems_are_typed_and_other_failures_are_shown() {
    let problem = || async {
        let problem = Problem::new(404, "unknown-kind", "no such kind").hint("mmn kinds lists them");
        (StatusCode::NOT_FOUND, axum::Json(problem))
    };
    let router = Router::new()
        .route("/api/v1/kinds/nope", get(problem))
        .route("/api/v1/limits", get(|| async { "not JSON" }))
        .route("/readyz", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "storage is full") }));
    let client = serve(router).await;
    let error = client.kind(&"nope".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.problem().unwrap().reason, "unknown-kind");
    assert!(matches!(client.limits().await.unwrap_err(), ClientError::Answer(_)));
    match client.ready().await.unwrap_err() {
        ClientError::Status { status, text } => assert_eq!((status, text.as_str()), (503, "storage is full")),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn an_api_on_its_way_up_is_waited_for() {
    let asked = Arc::new(AtomicU64::new(0));
    let limits = |State(asked): State<Arc<AtomicU64>>| async move {
        if asked.fetch_add(1, Ordering::Relaxed) < 2 {
            let problem = Problem::new(503, "not-ready", "the anchor can't take work at present");
            return (StatusCode::SERVICE_UNAVAILABLE, axum::Json(problem)).into_response();
        }
        axum::Json(json!({
            "max_pending_tasks": 7, "pending_tasks": 0, "max_inputs": 1, "max_requests_per_s": 1,
            "results_max_bytes": 1, "results_bytes": 0,
        }))
        .into_response()
    };
    let client = serve(Router::new().route("/api/v1/limits", get(limits)).with_state(asked)).await;
    assert_eq!(client.limits().await.unwrap().max_pending_tasks, 7);
}

#[tokio::test]
async fn connections_are_kept() {
    let peers: Arc<std::sync::Mutex<Vec<std::net::SocketAddr>>> = Arc::default();
    let limits = |axum::extract::ConnectInfo(peer): axum::extract::ConnectInfo<std::net::SocketAddr>,
                  State(peers): State<Arc<std::sync::Mutex<Vec<std::net::SocketAddr>>>>| async move {
        peers.lock().unwrap().push(peer);
        axum::Json(json!({
            "max_pending_tasks": 1, "pending_tasks": 0, "max_inputs": 1, "max_requests_per_s": 1,
            "results_max_bytes": 1, "results_bytes": 0,
        }))
    };
    let router = Router::new().route("/api/v1/limits", get(limits)).with_state(Arc::clone(&peers));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    let client = Client::new(&url, None, &Trust::System).unwrap();
    for _ in 0..3 {
        let _: Limits = client.limits().await.unwrap();
    }
    let peers = peers.lock().unwrap();
    assert!(peers.iter().all(|peer| *peer == peers[0]), "{peers:?}");
}

#[tokio::test]
async fn a_gap_in_the_events_is_told() {
    let upgrade = |ws: WebSocketUpgrade| async move {
        ws.on_upgrade(|mut socket| async move {
            let Some(Ok(Message::Binary(bytes))) = socket.recv().await else { return };
            let FromClient::Events { id, .. } = Encoding::Cbor.decode(&bytes).unwrap() else { panic!() };
            let event = Event {
                id: None,
                at: Timestamp::from_unix_ns(0),
                kind: "vp-joined".into(),
                vp: None,
                instance: None,
                measurement: None,
                text: "hello".into(),
            };
            let message = FromAnchor::Event { id, event, dropped: 3 };
            let text = String::from_utf8(Encoding::Json.encode(&message).unwrap()).unwrap();
            let _ = socket.send(Message::Text(text.into())).await;
        })
    };
    let client = serve(Router::new().route("/api/v1/stream", any(upgrade))).await;
    let mut events = client.events();
    assert!(matches!(events.next().await.unwrap(), Happened::Event(event, 3) if event.text == "hello"));
    assert_eq!(events.next().await.unwrap(), Happened::Resumed);
    assert!(matches!(events.next().await.unwrap(), Happened::Event(..)));
}

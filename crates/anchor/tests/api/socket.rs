//! The WebSocket.

use futures::{SinkExt, StreamExt};
use mmn_schema::api::{Cursor, MeasurementRequest, ResultRecord};
use mmn_schema::dispatch::Input;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::MeasurementId;
use mmn_schema::stream::{FromAnchor, FromClient};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::network::Network;

pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn open(network: &Network) -> Self {
        let authorization = format!("Bearer {}", network.token);
        Self::open_with(network, &[("authorization", &authorization)]).await.unwrap()
    }

    pub(crate) async fn open_with(network: &Network, fields: &[(&'static str, &str)]) -> Result<Self, Error> {
        Self::open_on(TcpStream::connect(network.address).await.unwrap(), network, fields).await
    }

    async fn open_on(
        stream: TcpStream,
        network: &Network,
        fields: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let url = format!("ws://{}/api/v1/stream", network.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        tokio_tungstenite::client_async(request, stream).await.map(|(socket, _)| Self(socket))
    }

    /// What the anchor says when it closes.
    pub(crate) async fn farewell(&mut self) -> String {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Close(Some(frame)) => return frame.reason.to_string(),
                Message::Close(None) => return String::new(),
                _ => {}
            }
        }
    }

    pub(crate) async fn say(&mut self, message: &FromClient) {
        let bytes = Encoding::Cbor.encode(message).unwrap();
        self.0.send(Message::Binary(bytes.into())).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> FromAnchor {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => return Encoding::Cbor.decode(&bytes).unwrap(),
                Message::Text(text) => return Encoding::Json.decode(text.as_bytes()).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Hears records of a subscription until it has so many, or it is done.
    async fn records(&mut self, of: u64, count: usize) -> Vec<ResultRecord> {
        let mut records = Vec::new();
        while records.len() < count {
            match self.hear().await {
                FromAnchor::Results { id, records: more } if id == of => records.extend(more),
                FromAnchor::Done { id, .. } if id == of => break,
                _ => {}
            }
        }
        records
    }

    /// Asks something that is refused, and hears the events that come before the answer: how many each says were left out
    /// before it. What happened before the question is among them, since the anchor takes what there is before it writes.
    async fn events_until_answered(&mut self) -> Vec<u64> {
        let mut told = Vec::new();
        self.say(&FromClient::Unsubscribe { id: 99 }).await;
        loop {
            match self.hear().await {
                FromAnchor::Event { dropped, .. } => told.push(dropped),
                FromAnchor::Problem { id: Some(99), .. } => return told,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Runs a measurement until this connection is told that it is done; it must watch events.
    async fn measure_to_its_end(&mut self, id: u64) {
        let inputs = vec![Input::Target("1".to_owned())];
        let request = Box::new(MeasurementRequest { inputs, ..request() });
        self.say(&FromClient::Measure { id, request, idempotency_key: None, credits: None }).await;
        loop {
            if let FromAnchor::Event { event, .. } = self.hear().await
                && event.kind == "measurement-done"
            {
                return;
            }
        }
    }

    /// Accepts a measurement of so many inputs.
    async fn measure(&mut self, id: u64, count: usize, credits: Option<u32>) -> MeasurementId {
        let inputs = (0..count).map(|number| Input::Target(number.to_string())).collect();
        let request = Box::new(MeasurementRequest { inputs, ..request() });
        self.say(&FromClient::Measure { id, request, idempotency_key: None, credits }).await;
        match self.hear().await {
            FromAnchor::Accepted { id: of, measurement, .. } if of == id => measurement.id,
            other => panic!("{other:?}"),
        }
    }
}

fn request() -> MeasurementRequest {
    serde_json::from_value(serde_json::json!({ "kind": "echo", "from": "all" })).unwrap()
}

#[tokio::test]
async fn results_follow_their_measurement() {
    let network = Network::start().await;
    let mut socket = Socket::open(&network).await;
    socket.measure(7, 10, Some(100)).await;
    let mut count = 0;
    let ledger = loop {
        match socket.hear().await {
            FromAnchor::Results { id: 7, records } => count += records.len(),
            FromAnchor::Done { id: 7, ledger } => break ledger,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((count, ledger.ok), (10, 10));
}

#[tokio::test]
async fn one_task_comes_whole_and_never_without_a_credit() {
    let network = Network::start().await;
    let mut socket = Socket::open(&network).await;
    socket.measure(1, 1, Some(3)).await;
    let records = socket.records(1, usize::MAX).await;
    assert_eq!(records.len(), 1);
    assert!(records[0].cursor.is_some());
    // Its number is free again.
    socket.measure(1, 1, Some(0)).await;
    assert!(matches!(socket.hear().await, FromAnchor::Behind { id: 1, after: None }));
    socket.say(&FromClient::Credit { id: 1, credits: 1 }).await;
    assert_eq!(socket.records(1, usize::MAX).await.len(), 1);
}

#[tokio::test]
async fn an_acceptance_does_not_wait_for_a_result_that_is_long_in_coming() {
    let network = Network::start().await;
    let mut socket = Socket::open(&network).await;
    network.open_gate(false);
    let id = socket.measure(1, 1, Some(3)).await;
    network.open_gate(true);
    let records = socket.records(1, usize::MAX).await;
    assert_eq!((records.len(), records[0].task.measurement), (1, id));
    // One that is brief comes at once, and what it was asked with is in the answer all the same.
    let request = Box::new(MeasurementRequest { inputs: vec![Input::Target("1".to_owned())], ..request() });
    socket.say(&FromClient::Measure { id: 2, request, idempotency_key: None, credits: Some(3) }).await;
    match socket.hear().await {
        FromAnchor::Accepted { id: 2, measurement, .. } => {
            let plan = measurement.plan.unwrap();
            assert_eq!((plan.tasks, measurement.ledger.accepted), (1, 1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(socket.records(2, usize::MAX).await.len(), 1);
}

#[tokio::test]
async fn credits_are_never_exceeded_and_nothing_is_lost() {
    let network = Network::start().await;
    let mut socket = Socket::open(&network).await;
    let measurement = socket.measure(1, 20, None).await;
    socket.say(&FromClient::Subscribe { id: 2, measurement, after: None, credits: 3 }).await;
    let (mut cursors, mut granted): (Vec<Cursor>, usize) = (Vec::new(), 3);
    loop {
        match socket.hear().await {
            FromAnchor::Results { id: 2, records } => {
                cursors.extend(records.iter().filter_map(|record| record.cursor));
                assert!(cursors.len() <= granted, "{} of {granted}", cursors.len());
            }
            FromAnchor::Behind { id: 2, after } => {
                assert_eq!(cursors.len(), granted, "it is behind once its credits are used up");
                assert_eq!(after, cursors.last().copied());
                granted += 4;
                socket.say(&FromClient::Credit { id: 2, credits: 4 }).await;
            }
            FromAnchor::Done { id: 2, ledger } => {
                assert_eq!(ledger.ok, 20);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cursors.len(), 20);
    assert!(cursors.windows(2).all(|pair| pair[0] < pair[1]), "in order, each once");
}

#[tokio::test]
async fn a_subscription_resumes_by_its_cursor() {
    let network = Network::start().await;
    let mut socket = Socket::open(&network).await;
    let measurement = socket.measure(1, 12, None).await;
    socket.say(&FromClient::Subscribe { id: 2, measurement, after: None, credits: 5 }).await;
    let first = socket.records(2, 5).await;
    drop(socket);

    let mut socket = Socket::open(&network).await;
    let after = first[4].cursor;
    socket.say(&FromClient::Subscribe { id: 9, measurement, after, credits: 100 }).await;
    let rest = socket.records(9, usize::MAX).await;
    let tasks: std::collections::BTreeSet<_> = first.iter().chain(&rest).map(|record| record.task).collect();
    assert_eq!((first.len() + rest.len(), tasks.len()), (12, 12));
}

#[tokio::test]
async fn subscriptions_do_not_hold_each_other_up() {
    let network = Network::start().await;
    let mut socket = Socket::open(&network).await;
    let slow = socket.measure(1, 8, None).await;
    let fast = socket.measure(2, 8, None).await;
    socket.say(&FromClient::Subscribe { id: 3, measurement: slow, after: None, credits: 0 }).await;
    socket.say(&FromClient::Subscribe { id: 4, measurement: fast, after: None, credits: 100 }).await;
    assert_eq!(socket.records(4, usize::MAX).await.len(), 8);
    socket.say(&FromClient::Credit { id: 3, credits: 100 }).await;
    assert_eq!(socket.records(3, usize::MAX).await.len(), 8);
    // The numbers are free again, and each stands for one subscription at a time.
    for _ in 0..2 {
        socket.say(&FromClient::Subscribe { id: 3, measurement: slow, after: None, credits: 0 }).await;
    }
    loop {
        match socket.hear().await {
            FromAnchor::Behind { id: 3, after: None } => {}
            FromAnchor::Problem { id: Some(3), problem } => {
                assert_eq!(problem.reason, "bad-request");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    socket.say(&FromClient::Unsubscribe { id: 77 }).await;
    loop {
        if let FromAnchor::Problem { id: Some(77), problem } = socket.hear().await {
            assert_eq!(problem.status, 404);
            break;
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_itself_alone() {
    const COUNT: usize = 1500;
    let network = Network::start().await;
    let mut worker = Socket::open(&network).await;
    let inputs = (0..COUNT).map(|number| Input::Target(format!("{number:02000}"))).collect();
    let big = Box::new(MeasurementRequest { inputs, ..request() });
    worker.say(&FromClient::Measure { id: 1, request: big, idempotency_key: None, credits: None }).await;
    let measurement = match worker.hear().await {
        FromAnchor::Accepted { measurement, .. } => measurement.id,
        other => panic!("{other:?}"),
    };
    // With a receive buffer this small, some 6 MB of results can't hide in the sockets.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(network.address).await.unwrap();
    let authorization = format!("Bearer {}", network.token);
    let mut slow = Socket::open_on(stream, &network, &[("authorization", &authorization)]).await.unwrap();
    slow.say(&FromClient::Subscribe { id: 2, measurement, after: None, credits: u32::MAX }).await;

    worker.say(&FromClient::Subscribe { id: 3, measurement, after: None, credits: u32::MAX }).await;
    assert_eq!(worker.records(3, usize::MAX).await.len(), COUNT);
    assert_eq!(slow.records(2, usize::MAX).await.len(), COUNT);
}

#[tokio::test]
async fn an_open_measurement_grows_within_its_grants() {
    const INPUTS: usize = 2000;
    let network = Network::start_with(|config| config.limits.open_inputs = 64).await;
    let mut socket = Socket::open(&network).await;
    let open = Box::new(MeasurementRequest { open: true, ..request() });
    socket
        .say(&FromClient::Measure { id: 1, request: open, idempotency_key: None, credits: Some(10_000) })
        .await;
    let (measurement, mut granted) = match socket.hear().await {
        FromAnchor::Accepted { measurement, inputs, .. } => (measurement.id, inputs.unwrap() as usize),
        other => panic!("{other:?}"),
    };
    assert!(granted <= 64, "{granted}");
    let path = format!("/api/v1/measurements/{measurement}");
    let (mut sent, mut finals, mut closed) = (0, 0, false);
    loop {
        if granted > 0 && sent < INPUTS {
            let inputs = (sent..INPUTS).take(granted).map(|number| Input::Target(number.to_string()));
            let inputs: Vec<_> = inputs.collect();
            granted -= inputs.len();
            sent += inputs.len();
            socket.say(&FromClient::Append { id: 2, measurement, inputs }).await;
        } else if sent == INPUTS && !closed {
            closed = true;
            socket.say(&FromClient::Close { id: 3, measurement }).await;
        }
        match socket.hear().await {
            FromAnchor::Inputs { inputs, .. } => {
                granted += inputs as usize;
                // By now at least as many have ended as when this was granted.
                let ledger = super::client::get(&network, &path).await.json()["ledger"].clone();
                let count = |name: &str| usize::try_from(ledger[name].as_u64().unwrap()).unwrap();
                let ended = count("accepted") - count("pending");
                assert!(sent + granted <= ended + 64, "{sent} sent, {granted} granted, {ended} ended");
            }
            FromAnchor::Results { records, .. } => {
                finals += records.iter().filter(|record| record.last).count();
            }
            FromAnchor::Appended { .. } | FromAnchor::Closed { .. } | FromAnchor::Behind { .. } => {}
            FromAnchor::Done { ledger, .. } => {
                assert_eq!(ledger.ok, INPUTS as u64);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(finals, INPUTS);
}

#[tokio::test]
async fn garbage_is_answered_and_the_connection_goes_on() {
    let network = Network::start().await;
    let mut socket = Socket::open(&network).await;
    for garbage in [
        Message::Text("nonsense".into()),
        Message::Text("{\"measure\": 1}".into()),
        Message::Binary(vec![0xff, 0x00].into()),
        Message::Binary(Vec::new().into()),
    ] {
        socket.0.send(garbage).await.unwrap();
        assert!(matches!(socket.hear().await, FromAnchor::Problem { id: None, .. }));
    }
    // An answer takes the form of its question.
    let text = r#"{"close": {"id": 5, "measurement": "00000000000000000000000000"}}"#;
    socket.0.send(Message::Text(text.into())).await.unwrap();
    let answer = loop {
        if let Message::Text(answer) = socket.0.next().await.unwrap().unwrap() {
            break answer;
        }
    };
    let answer: FromAnchor = serde_json::from_str(&answer).unwrap();
    assert!(matches!(answer, FromAnchor::Problem { id: Some(5), .. }), "{answer:?}");
    socket.measure(6, 1, None).await;
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_connection() {
    let network = Network::start().await;
    let mut socket = Socket::open(&network).await;
    // The other side may hang up while this is written.
    let _ = socket.0.send(Message::Binary(vec![0; 5 << 20].into())).await;
    let end = loop {
        match socket.0.next().await {
            Some(Ok(Message::Ping(_))) => {}
            end => break end,
        }
    };
    match end {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Size),
        None | Some(Err(_)) => {}
        other => panic!("{other:?}"),
    }
    Socket::open(&network).await.measure(1, 1, None).await;
}

#[tokio::test]
async fn events_are_told_within_their_credits() {
    let network = Network::start().await;
    let (mut poor, mut rich) = (Socket::open(&network).await, Socket::open(&network).await);
    poor.say(&FromClient::Events { id: 1, credits: 1, but_measurements: false, last: None, after: None })
        .await;
    rich.say(&FromClient::Events { id: 1, credits: 1000, but_measurements: false, last: None, after: None })
        .await;
    let mut quiet = Socket::open(&network).await;
    quiet
        .say(&FromClient::Events { id: 1, credits: 1000, but_measurements: true, last: None, after: None })
        .await;
    // All listen, before anything happens.
    quiet.events_until_answered().await;
    let mut told = poor.events_until_answered().await;
    rich.events_until_answered().await;
    rich.measure_to_its_end(2).await;
    told.extend(poor.events_until_answered().await);
    assert!(matches!(told[..], [0]), "one event, and none was left out before it: {told:?}");
    poor.say(&FromClient::Credit { id: 1, credits: 100 }).await;
    let mut told = poor.events_until_answered().await;
    rich.measure_to_its_end(3).await;
    told.extend(poor.events_until_answered().await);
    assert!(quiet.events_until_answered().await.is_empty(), "it asked for none of measurements");
    assert!(told[0] > 0, "the end of the first one was left out: {told:?}");
    assert!(told[1..].iter().all(|&dropped| dropped == 0), "{told:?}");
}

#[tokio::test]
async fn it_opens_to_its_own_pages_and_to_those_who_may() {
    let network = Network::start().await;
    let status = |error: Error| match error {
        Error::Http(response) => response.status().as_u16(),
        other => panic!("{other:?}"),
    };
    let evil = Socket::open_with(&network, &[("origin", "http://evil.example")]).await;
    assert_eq!(evil.map(drop).map_err(status), Err(403));
    let wrong = Socket::open_with(&network, &[("authorization", "Bearer x")]).await;
    assert_eq!(wrong.map(drop).map_err(status), Err(401));

    let own = format!("http://{}", network.address);
    let mut anybody = Socket::open_with(&network, &[("origin", &own)]).await.unwrap();
    anybody
        .say(&FromClient::Events { id: 1, credits: 1, but_measurements: false, last: None, after: None })
        .await;
    match anybody.hear().await {
        FromAnchor::Problem { id: Some(1), problem } => assert_eq!(problem.status, 401),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_close_is_answered() {
    let network = Network::start_bare(|_| {}).await;
    let mut socket = Socket::open(&network).await;
    socket.0.close(None).await.unwrap();
    while let Some(message) = socket.0.next().await {
        assert!(matches!(message, Ok(Message::Close(_) | Message::Ping(_))), "{message:?}");
    }
}

#[tokio::test]
async fn a_stop_says_goodbye() {
    let network = Network::start().await;
    let mut socket = Socket::open(&network).await;
    socket.measure(1, 1, None).await;
    network.stop().await;
    loop {
        match socket.0.next().await {
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(frame.code, CloseCode::Away);
                return;
            }
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

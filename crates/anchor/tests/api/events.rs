//! What happened before somebody watched, and what happens from then on.

use hyper::{Method, StatusCode};
use mmn_schema::event::Event;
use mmn_schema::stream::{FromAnchor, FromClient};
use serde_json::{Value, json};

use super::client::{ask, get, post};
use super::network::Network;
use super::socket::Socket;

const EVENTS: &str = "/api/v1/events";

async fn measured(network: &Network) {
    let asked = json!({ "kind": "echo", "inputs": ["a"], "from": "all" });
    assert_eq!(post(network, "/api/v1/measurements?wait=30s", &asked).await.status, StatusCode::OK);
}

async fn page(network: &Network, query: &str) -> Value {
    let answer = get(network, format!("{EVENTS}?format=json{query}")).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"), "{answer:?}");
    answer.json()
}

/// The numbers of the events of a page in their term.
fn numbers(page: &Value) -> Vec<u64> {
    let id = |event: &Value| event["id"].as_str().unwrap().split_once('.').unwrap().1.parse().unwrap();
    page["items"].as_array().unwrap().iter().map(id).collect()
}

/// Hears events until one of this kind.
async fn until(socket: &mut Socket, kind: &str) -> Vec<(Event, u64)> {
    let mut told = Vec::new();
    loop {
        match socket.hear().await {
            FromAnchor::Event { event, dropped, .. } => told.push((event, dropped)),
            other => panic!("{other:?}"),
        }
        if told.last().is_some_and(|(event, _)| event.kind == kind) {
            return told;
        }
    }
}

#[tokio::test]
async fn a_page_of_the_past_meets_the_stream() {
    let network = Network::start().await;
    measured(&network).await;
    let all = page(&network, "").await;
    let past = numbers(&all);
    assert_eq!(past, (1..=past.len() as u64).collect::<Vec<_>>(), "none is left out");
    let kind = |at: usize| all["items"][at]["type"].as_str().unwrap().to_owned();
    assert_eq!((kind(0), kind(past.len() - 1)), ("anchor-active".to_owned(), "measurement-done".to_owned()));
    assert_eq!(all["next"], all["items"][past.len() - 1]["id"]);
    assert_eq!(numbers(&page(&network, "&last=2").await), past[past.len() - 2..]);

    measured(&network).await;
    let newest = *past.last().unwrap();
    let after = all["next"].as_str().unwrap().parse().unwrap();
    let mut socket = Socket::open(&network).await;
    let events =
        |last, after| FromClient::Events { id: 1, credits: 100, but_measurements: false, last, after };
    socket.say(&events(None, Some(after))).await;
    measured(&network).await;
    let mut told = until(&mut socket, "measurement-done").await;
    told.extend(until(&mut socket, "measurement-done").await);
    let ids: Vec<_> = told.iter().map(|(event, _)| event.id.unwrap().number).collect();
    assert_eq!(ids, [newest + 1, newest + 2, newest + 3, newest + 4], "no gap and no duplicate");
    assert!(told.iter().all(|(_, dropped)| *dropped == 0));

    let mut again = Socket::open(&network).await;
    again.say(&events(Some(3), None)).await;
    let told = until(&mut again, "measurement-done").await;
    assert_eq!(told[0].0.id.unwrap().number, newest + 2, "the newest three begin with an end");
    let mixed =
        FromClient::Events { id: 2, credits: 1, but_measurements: true, last: None, after: Some(after) };
    let mut wrong = Socket::open(&network).await;
    wrong.say(&mixed).await;
    assert!(matches!(wrong.hear().await, FromAnchor::Problem { problem, .. } if problem.status == 400));
}

#[tokio::test]
async fn server_sent_events_go_on_where_they_were() {
    let network = Network::start().await;
    measured(&network).await;
    let all = page(&network, "").await;
    let third = all["items"][2]["id"].as_str().unwrap();
    let mut stream = ask(&network, Method::GET, EVENTS).field("last-event-id", third).open().await;
    let fourth = all["items"][3]["id"].as_str().unwrap();
    use http_body_util::BodyExt;
    let frame = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(frame.starts_with(format!("id: {fourth}\nevent: event\ndata: ").as_bytes()), "{frame:?}");
    for wrong in ["?last=0", "?last=501", "?after=x", "?after=1", "?since=1"] {
        assert_eq!(get(&network, format!("{EVENTS}{wrong}")).await.reason(), "bad-request", "{wrong}");
    }
    let wrong = ask(&network, Method::GET, EVENTS).field("last-event-id", "x").send().await;
    assert_eq!(wrong.reason(), "bad-request");
}

#[tokio::test]
async fn the_next_anchor_says_that_it_begins() {
    let mut network = Network::start().await;
    measured(&network).await;
    let before = page(&network, "").await;
    network.restart().await;
    let after = format!("&after={}", before["next"].as_str().unwrap());
    let first = loop {
        let answer = get(&network, format!("{EVENTS}?format=json{after}")).await;
        match answer.status {
            StatusCode::OK => break answer.json(),
            StatusCode::SERVICE_UNAVAILABLE => tokio::task::yield_now().await,
            _ => panic!("{answer:?}"),
        }
    };
    assert_eq!(first["items"][0]["type"], "anchor-active", "{first}");
    assert_eq!(numbers(&first)[0], 1);
    assert!(first["items"][0]["id"].as_str() != before["items"][0]["id"].as_str(), "a term of its own");
}

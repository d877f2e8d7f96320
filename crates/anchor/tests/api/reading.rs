//! Results: pages, lines, server-sent events.

use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use mmn_schema::api::ResultRecord;
use serde_json::{Value, json};

use super::client::{ask, get, post};
use super::network::Network;

async fn measure(network: &Network, count: usize, wait: &str) -> String {
    let inputs: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let request = json!({ "kind": "echo", "inputs": inputs, "from": "all" });
    let answer = post(network, format!("/api/v1/measurements{wait}"), &request).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn pages_hold_each_record_once() {
    let network = Network::start().await;
    let id = measure(&network, 25, "?wait=30s").await;
    let mut cursors: Vec<String> = Vec::new();
    let mut after = String::new();
    loop {
        let page = get(&network, format!("/api/v1/measurements/{id}/results?limit=4{after}")).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 4);
        cursors.extend(items.iter().map(|item| item["cursor"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(cursors.len(), 25);
    assert_eq!(cursors.iter().collect::<std::collections::BTreeSet<_>>().len(), 25);
}

#[tokio::test]
async fn a_page_of_the_newest_ends_with_the_last() {
    let network = Network::start().await;
    let id = measure(&network, 3000, "?wait=30s").await;
    let cursors = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["cursor"].as_str().unwrap().to_owned())
            .collect()
    };
    let of = |query: &str| format!("/api/v1/measurements/{id}/results{query}");
    let all = cursors(&get(&network, of("?limit=10000")).await.json());
    for last in [1, 7, 2999, 3000, 10_000] {
        let page = get(&network, of(&format!("?last={last}"))).await.json();
        assert_eq!(cursors(&page), all[all.len().saturating_sub(last)..]);
        assert_eq!(page["next"], Value::Null);
    }
    for wrong in ["?last=0", "?last=10001", "?last=3&limit=2", "?last=3&format=ndjson"] {
        let answer = get(&network, of(wrong)).await;
        assert_eq!((answer.status.as_u16(), answer.json()["reason"].as_str()), (400, Some("bad-request")));
    }
}

#[tokio::test]
async fn a_page_never_waits() {
    let network = Network::start().await;
    network.open_gate(false);
    let id = measure(&network, 3, "").await;
    let page = get(&network, format!("/api/v1/measurements/{id}/results")).await.json();
    assert_eq!(page["items"], json!([]));
    let next = page["next"].as_str().expect("there is more to come");
    network.open_gate(true);
    let rest = format!("/api/v1/measurements/{id}/results?format=ndjson&follow=1&after={next}");
    let lines = get(&network, rest).await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let records: Vec<ResultRecord> = lines
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(records.len(), 3);
    assert!(records.windows(2).all(|pair| pair[0].cursor < pair[1].cursor));
}

#[tokio::test]
async fn server_sent_events_resume_where_they_were() {
    let network = Network::start().await;
    let id = measure(&network, 6, "?wait=30s").await;
    let path = format!("/api/v1/measurements/{id}/results");
    let stream = ask(&network, Method::GET, &*path).field("accept", "text/event-stream").send().await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let whole = events(&stream.body);
    assert_eq!(whole.len(), 7);
    assert_eq!((&*whole[6].0, &whole[6].2["ok"]), ("done", &json!(6)));

    let third = whole[2].1.clone().unwrap();
    let resumed =
        ask(&network, Method::GET, &*path).field("accept", "text/event-stream").field("last-event-id", third);
    let rest = events(&resumed.send().await.body);
    assert_eq!(rest, whole[3..]);

    let last = whole[5].1.clone().unwrap();
    let over =
        ask(&network, Method::GET, format!("{path}?format=sse")).field("last-event-id", last).send().await;
    assert_eq!((over.status, over.body.len()), (StatusCode::NO_CONTENT, 0));
    let wrong =
        ask(&network, Method::GET, format!("{path}?format=sse")).field("last-event-id", "x").send().await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let none = ask(&network, Method::GET, path).field("accept", "image/png").send().await;
    assert_eq!(none.reason(), "not-acceptable");
}

#[tokio::test]
async fn results_are_streamed_as_they_come() {
    let network = Network::start().await;
    network.open_gate(false);
    let id = measure(&network, 2, "").await;
    let mut stream =
        ask(&network, Method::GET, format!("/api/v1/measurements/{id}/results?format=sse")).open().await;
    network.open_gate(true);
    let mut bytes = Vec::new();
    while let Some(frame) = stream.frame().await {
        bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    let events = events(&bytes);
    assert_eq!(events.iter().filter(|(name, ..)| name == "result").count(), 2);
    assert_eq!(events.last().unwrap().0, "done");
}

/// Name, id and data of each event.
fn events(bytes: &[u8]) -> Vec<(String, Option<String>, Value)> {
    let text = std::str::from_utf8(bytes).unwrap();
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start().to_owned())
    };
    text.split("\n\n")
        .filter(|block| !block.is_empty() && !block.starts_with(':'))
        .map(|block| {
            let data = serde_json::from_str(&field(block, "data:").unwrap()).unwrap();
            (field(block, "event:").unwrap(), field(block, "id:"), data)
        })
        .collect()
}

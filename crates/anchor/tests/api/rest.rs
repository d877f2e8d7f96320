//! Measurements over REST.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{ask, get, post};
use super::network::{Network, VP};

fn echo(inputs: &[&str]) -> Value {
    json!({ "kind": "echo", "inputs": inputs, "from": "all" })
}

/// Asks for a measurement and waits for its end; its id.
async fn measured(network: &Network, inputs: &[&str]) -> String {
    let answer = post(network, "/api/v1/measurements?wait=30s", &echo(inputs)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_measurement_is_waited_for() {
    let network = Network::start().await;
    let answer = post(&network, "/api/v1/measurements?wait=30s", &echo(&["a", "b"])).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let measurement = answer.json();
    assert_eq!(
        answer.header("location"),
        format!("/api/v1/measurements/{}", measurement["id"].as_str().unwrap())
    );
    assert_eq!(measurement["state"], "done");
    assert_eq!(measurement["ledger"]["ok"], 2);
    let mut echoes: Vec<_> = measurement["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["body"]["echo"].clone())
        .collect();
    echoes.sort_by_key(Value::to_string);
    assert_eq!(echoes, ["a", "b"]);

    let id = measurement["id"].as_str().unwrap();
    assert_eq!(get(&network, format!("/api/v1/measurements/{id}")).await.json()["state"], "done");
    assert_eq!(get(&network, format!("/api/v1/measurements/{id}/ledger")).await.json()["accepted"], 2);
    assert!(get(&network, format!("/api/v1/measurements/{id}/rollups")).await.json()["items"].is_array());
    let task = get(&network, format!("/api/v1/tasks/{id}-0")).await.json();
    assert_eq!(task["outcome"], "ok");
    assert_eq!(task["hops"][0]["hop"], "accepted");
    let list = get(&network, "/api/v1/measurements?limit=1").await.json();
    assert_eq!(list["items"][0]["id"], id);
}

#[tokio::test]
async fn one_that_does_not_end_in_time_goes_on() {
    let network = Network::start().await;
    network.open_gate(false);
    let answer = post(&network, "/api/v1/measurements?wait=1ms", &echo(&["a"])).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.json()["ledger"]["pending"], 1);
    let cancelled = ask(&network, Method::DELETE, format!("/api/v1/measurements/{id}")).send().await;
    assert_eq!(cancelled.status, StatusCode::OK, "{cancelled:?}");
}

#[tokio::test]
async fn a_dry_run_accepts_nothing() {
    let network = Network::start().await;
    let answer = post(&network, "/api/v1/measurements?dry_run=1", &echo(&["a", "b", "c"])).await;
    assert_eq!((answer.status, &answer.json()["tasks"]), (StatusCode::OK, &json!(3)));
    assert_eq!(answer.json()["vps"][0]["vp"], VP);
    assert_eq!(get(&network, "/api/v1/measurements").await.json()["items"], json!([]));
}

#[tokio::test]
async fn an_idempotency_key_leads_to_one_measurement() {
    let network = Network::start().await;
    let with_key = async |body: &Value| {
        ask(&network, Method::POST, "/api/v1/measurements")
            .field("idempotency-key", "k1")
            .json(body)
            .send()
            .await
    };
    let first = with_key(&echo(&["a"])).await;
    let again = with_key(&echo(&["a"])).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{first:?}");
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(first.json()["plan"]["tasks"], 1);
    let other = with_key(&echo(&["b"])).await;
    assert_eq!((other.status, &*other.reason()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key"));
}

#[tokio::test]
async fn an_open_measurement_takes_inputs_until_it_is_closed() {
    let network = Network::start().await;
    let request = json!({ "kind": "echo", "open": true, "from": "all" });
    let id = post(&network, "/api/v1/measurements", &request).await.json()["id"].as_str().unwrap().to_owned();
    let inputs = format!("/api/v1/measurements/{id}/inputs");
    let taken = post(&network, inputs.clone(), &json!({ "inputs": ["a", "b"] })).await;
    assert_eq!((taken.status, taken.json()), (StatusCode::ACCEPTED, json!({ "first": 0, "tasks": 2 })));
    let closed = post(&network, format!("/api/v1/measurements/{id}/close"), &Value::Null).await;
    assert_eq!(closed.status, StatusCode::OK, "{closed:?}");
    let late = post(&network, inputs, &json!({ "inputs": ["c"] })).await;
    assert_eq!((late.status, &*late.reason()), (StatusCode::CONFLICT, "wrong-state"));
    let lines = get(&network, format!("/api/v1/measurements/{id}/results?format=ndjson&follow=1")).await;
    assert_eq!(lines.body.split_inclusive(|byte| *byte == b'\n').count(), 2);
}

#[tokio::test]
async fn what_is_wrong_is_pointed_at() {
    let network = Network::start().await;
    let refused = async |body: Value| {
        let answer = post(&network, "/api/v1/measurements", &body).await;
        (answer.reason(), answer.json()["errors"][0].clone())
    };
    let (reason, error) = refused(json!({ "kind": "echo", "inputs": ["a"], "from": "germany+, x" })).await;
    assert_eq!(
        (&*reason, &error["pointer"], &error["position"]),
        ("invalid-request", &json!("/from"), &json!(8))
    );
    let (_, error) = refused(json!({ "kind": "echo", "inputs": [[1]] })).await;
    assert_eq!(error["pointer"], "/inputs/0/0");
    let (_, error) = refused(json!({ "kind": "nothing-like-it", "inputs": ["a"] })).await;
    assert_eq!(error["pointer"], "/kind");
    let unread = ask(&network, Method::POST, "/api/v1/measurements").body("{").send().await;
    assert_eq!((unread.status, &*unread.reason()), (StatusCode::BAD_REQUEST, "malformed-body"));
}

#[tokio::test]
async fn what_is_private_is_its_tenants_alone() {
    let network = Network::start().await;
    let id = measured(&network, &["a"]).await;
    let mut public = echo(&["a"]);
    public["visibility"] = "public".into();
    let answer = post(&network, "/api/v1/measurements?wait=30s", &public).await;
    let public = answer.json()["id"].as_str().unwrap().to_owned();

    let other = format!("Bearer {}", network.token_of("other", None));
    for part in ["", "/ledger", "/results", "/rollups"] {
        let private = format!("/api/v1/measurements/{id}{part}");
        let answer = ask(&network, Method::GET, private.clone()).field("authorization", &*other).send().await;
        assert_eq!((answer.status, &*answer.reason()), (StatusCode::NOT_FOUND, "not-found"), "{private}");
        let answer = ask(&network, Method::GET, private.clone()).anonymous().send().await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{private}");
        let public = format!("/api/v1/measurements/{public}{part}");
        let answer = ask(&network, Method::GET, public.clone()).anonymous().send().await;
        assert_eq!(answer.status, StatusCode::OK, "{public}");
    }
    // Whose it is is told to its tenant alone.
    let one = format!("/api/v1/measurements/{public}");
    for path in [&*one, "/api/v1/measurements"] {
        let tenant = |answer: Value| {
            let listed = answer["items"].as_array().map(|items| items[0]["tenant"].clone());
            listed.unwrap_or_else(|| answer["tenant"].clone())
        };
        assert_eq!(tenant(get(&network, path).await.json()), "default", "{path}");
        assert_eq!(tenant(ask(&network, Method::GET, path).anonymous().send().await.json()), "public");
        let others = ask(&network, Method::GET, path).field("authorization", &*other).send().await.json();
        assert_eq!(tenant(others), "public", "{path}");
    }
    let cancel = ask(&network, Method::DELETE, format!("/api/v1/measurements/{public}"));
    assert_eq!(cancel.field("authorization", &*other).send().await.status, StatusCode::NOT_FOUND);
    let listed = ask(&network, Method::GET, "/api/v1/measurements").anonymous().send().await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn measurements_are_found_by_what_they_are() {
    // Those that ended longer ago are read from where they are kept.
    let network = Network::start_with(|config| config.ledger.closed_in_memory = 2).await;
    let mut done = Vec::new();
    for input in ["a", "b", "c", "d"] {
        done.push(measured(&network, &[input]).await);
    }
    network.open_gate(false);
    let running = post(&network, "/api/v1/measurements", &echo(&["e"])).await.json()["id"].clone();
    let request = json!({ "kind": "echo", "open": true, "from": "all" });
    let open = post(&network, "/api/v1/measurements", &request).await.json()["id"].clone();
    let found = async |query: &str| {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = get(&network, format!("/api/v1/measurements?{query}{after}")).await;
            assert_eq!(page.status, StatusCode::OK, "{query}: {page:?}");
            let page = page.json();
            all.extend(page["items"].as_array().unwrap().iter().map(|one| one["id"].clone()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    };
    let ended: Vec<Value> = done.iter().rev().map(|id| json!(id)).collect();
    let both = [open.clone(), running.clone()];
    assert_eq!(found("state=open").await, both[..1]);
    assert_eq!(found("state=open,running").await, both);
    assert_eq!(found("state=done&limit=1").await, ended);
    assert_eq!(found("state=cancelled").await, [Value::Null; 0]);
    assert_eq!(found("kind=echo&limit=3").await, [&both[..], &ended].concat());
    assert_eq!(found("kind=ping").await, [Value::Null; 0]);
    assert_eq!(found(&format!("vp={VP}&state=done")).await, ended);
    assert_eq!(found("vp=bbbbbbbbbbbbbbbb").await, [Value::Null; 0], "one that has left may have measured");
    let reason = async |query: &str| get(&network, format!("/api/v1/measurements?{query}")).await.reason();
    assert_eq!(reason("vp=nobody").await, "not-found");
    assert_eq!(reason("state=over").await, "bad-request");
    assert_eq!(reason("state=").await, "bad-request");
    assert_eq!(reason("kind=a%20b").await, "bad-request");
    network.open_gate(true);
}

#[tokio::test]
async fn inputs_are_read_again() {
    let network = Network::start().await;
    let read = async |id: &str, query: &str| {
        let answer = get(&network, format!("/api/v1/measurements/{id}/inputs{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()
    };
    // Brief ones are accepted by their results.
    let brief = measured(&network, &["a", "b"]).await;
    assert_eq!(read(&brief, "").await, json!({ "items": ["a", "b"], "total": 2 }));
    let one = get(&network, format!("/api/v1/measurements/{brief}")).await.json();
    assert_eq!((&one["inputs"], &one["first_input"]), (&json!(2), &json!("a")));

    network.open_gate(false);
    let all: Vec<String> = (0..20_000).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    let id =
        post(&network, "/api/v1/measurements", &echo(&names)).await.json()["id"].as_str().unwrap().to_owned();
    let small = post(&network, "/api/v1/measurements", &echo(&["x", "y"])).await.json();
    let small = small["id"].as_str().unwrap();
    let open =
        post(&network, "/api/v1/measurements", &json!({ "kind": "echo", "open": true, "from": "all" })).await;
    let open = open.json()["id"].as_str().unwrap().to_owned();
    for more in [&["o1", "o2"][..], &["o3"]] {
        let path = format!("/api/v1/measurements/{open}/inputs");
        assert_eq!(post(&network, path, &json!({ "inputs": more })).await.status, StatusCode::ACCEPTED);
    }
    // While they run, and once they are over.
    for over in [false, true] {
        let mut seen = Vec::new();
        let mut query = "?limit=7000".to_owned();
        loop {
            let page = read(&id, &query).await;
            assert_eq!(page["total"], 20_000);
            seen.extend(
                page["items"].as_array().unwrap().iter().map(|input| input.as_str().unwrap().to_owned()),
            );
            let Some(next) = page["next"].as_str() else { break };
            query = format!("?limit=7000&after={next}");
        }
        assert!(seen == all, "{over}");
        assert_eq!(read(small, "").await, json!({ "items": ["x", "y"], "total": 2 }));
        assert_eq!(read(small, "?after=1").await, json!({ "items": ["y"], "total": 2 }));
        assert_eq!(read(small, "?after=9").await, json!({ "items": [], "total": 2 }));
        assert_eq!(
            read(&open, "?limit=2").await,
            json!({ "items": ["o1", "o2"], "next": "2", "total": 3 }),
            "over: {over}"
        );
        if over {
            break;
        }
        for id in [&*id, small, &*open] {
            let path = format!("/api/v1/measurements/{id}");
            ask(&network, Method::DELETE, path.clone()).send().await;
            network.open_gate(true);
            let asked = async {
                // The small one may be done before it is called off.
                while get(&network, path.clone()).await.json()["done_at"].is_null() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(std::time::Duration::from_secs(30), asked).await.unwrap();
        }
    }
    let path = format!("/api/v1/measurements/{id}/inputs");
    assert_eq!(get(&network, format!("{path}?limit=0")).await.reason(), "bad-request");
    assert_eq!(get(&network, format!("{path}?limit=10001")).await.reason(), "bad-request");
    assert_eq!(get(&network, format!("{path}?after=x")).await.reason(), "bad-request");
    let other = format!("Bearer {}", network.token_of("other", None));
    let hidden = ask(&network, Method::GET, path).field("authorization", other).send().await;
    assert_eq!(hidden.reason(), "not-found");
}

#[tokio::test]
async fn cbor_is_spoken_both_ways() {
    use mmn_schema::api::Measurement;
    use mmn_schema::encoding::Encoding;

    let network = Network::start().await;
    let body = Encoding::Cbor.encode(&echo(&["a"])).unwrap();
    let answer = ask(&network, Method::POST, "/api/v1/measurements?wait=30s")
        .field("content-type", "application/cbor")
        .field("accept", "application/cbor")
        .body(body)
        .send()
        .await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/cbor"));
    let measurement: Measurement = Encoding::Cbor.decode(&answer.body).unwrap();
    assert_eq!(measurement.ledger.ok, 1);
}

#[tokio::test]
async fn the_network_is_shown() {
    let network = Network::start().await;
    let vps = get(&network, "/api/v1/vps").await.json();
    assert_eq!(vps["items"][0]["vantage_point"]["id"], VP);
    assert_eq!(get(&network, format!("/api/v1/vps/{VP}")).await.status, StatusCode::OK);
    assert_eq!(get(&network, "/api/v1/vps/nowhere").await.reason(), "not-found");
    assert_eq!(get(&network, "/api/v1/vps?select=tag:none").await.json()["items"], json!([]));
    assert_eq!(get(&network, "/api/v1/vps?select=a%2B").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(get(&network, "/api/v1/modules").await.json()["items"][0]["module"], "echo");
    let here = get(&network, format!("/api/v1/modules?vp={VP}")).await.json();
    assert_eq!(here["items"].as_array().map(Vec::len), Some(1), "{here}");
    let elsewhere = get(&network, "/api/v1/modules?vp=abcdefghijklmnop").await.json();
    assert_eq!(elsewhere["items"], json!([]));
    assert_eq!(get(&network, "/api/v1/kinds/echo").await.json()["info"]["name"], "echo");
    assert_eq!(get(&network, "/api/v1/kinds/echo/schema").await.json()["type"], "object");
    let selected = post(&network, "/api/v1/select", &json!({ "select": "kind:echo" })).await.json();
    let brief = json!({ "select": "any(kind:echo)", "ids_only": true });
    let brief = post(&network, "/api/v1/select", &brief).await.json();
    assert_eq!((&brief["vps"], &brief["ids"]), (&json!([]), &json!([VP])), "{brief}");
    assert_eq!(brief["coverage"], selected["coverage"]);
    assert_eq!((&selected["vps"][0]["vp"], &selected["coverage"]["chosen"]), (&json!(VP), &json!(1)));
    let limits = get(&network, "/api/v1/limits").await.json();
    assert!(limits["max_requests_per_s"].as_u64().unwrap() > 0);
    let who = get(&network, "/api/v1/whoami").await.json();
    assert_eq!((&who["subject"], &who["tenant"]), (&json!("test"), &json!("default")));
}

//! How the network is doing, and when its vantage points were there.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Answer, ask, get, post};
use super::network::{Network, VP};

const STATUS: &str = "/api/v1/status";

async fn anonymous(network: &Network) -> Answer {
    ask(network, Method::GET, STATUS).anonymous().send().await
}

/// Asks until the answer is as `is` wants it.
async fn once(network: &Network, path: &str, is: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            ticks.tick().await;
            let answer = get(network, path).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            if is(&answer.json()) {
                return answer.json();
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), asking).await.unwrap()
}

fn process<'a>(status: &'a Value, role: &str) -> Option<&'a Value> {
    status["processes"].as_array().unwrap().iter().find(|process| process["role"] == role)
}

#[tokio::test]
async fn whoever_is_signed_in_sees_processes_and_counts() {
    let network = Network::start().await;
    let asked = json!({ "kind": "echo", "inputs": ["a", "b"], "from": "all" });
    assert_eq!(post(&network, "/api/v1/measurements?wait=30s", &asked).await.status, StatusCode::OK);
    let all = |status: &Value| {
        process(status, "anchor").is_some()
            && process(status, "module").is_some()
            && status["ledger"]["ok"] == 2
    };
    let status = once(&network, STATUS, all).await;
    let module = process(&status, "module").unwrap();
    assert_eq!((&module["vp"], &module["usage"]["rss_bytes"]), (&json!(VP), &json!(7_000_000)));
    assert_eq!(module["instances"], json!(["echo-1"]));
    assert!(process(&status, "anchor").unwrap()["usage"]["rss_bytes"].as_u64().unwrap() > 1_000_000);
    assert!(process(&status, "nats-server").is_none(), "nobody said where it is");
    assert_eq!(status["kinds"][0]["kind"], "echo");
    assert_eq!((&status["ledger"]["accepted"], &status["measurements_total"]), (&json!(2), &json!(1)));
    assert_eq!((&status["public_page"], &status["public"]), (&json!(false), &json!([])));
    let modules = get(&network, "/api/v1/modules").await.json();
    assert_eq!(modules["items"][0]["usage"]["rss_bytes"], 7_000_000);
    let nobody = anonymous(&network).await;
    assert_eq!((nobody.status, &*nobody.reason()), (StatusCode::NOT_FOUND, "no-public-page"));
    assert!(status["operator"].is_null());
}

#[tokio::test]
async fn anybody_sees_what_is_public_and_no_names() {
    let network = Network::start_with(|config| {
        config.api.public_page = true;
        config.api.public_title = Some("<b>Ours</b>".into());
        config.api.public_contact = Some("noc@example.net".into());
    })
    .await;
    for (visibility, label) in [("private", "none-of-yours"), ("public", "for-everybody")] {
        let asked = json!({
            "kind": "echo", "inputs": ["192.0.2.77"], "from": "all", "visibility": visibility, "label": label,
        });
        assert_eq!(post(&network, "/api/v1/measurements?wait=30s", &asked).await.status, StatusCode::OK);
    }
    once(&network, STATUS, |status| {
        process(status, "module").is_some() && status["public"][0]["state"] == "done"
    })
    .await;
    let answer = anonymous(&network).await;
    let status = answer.json();
    assert_eq!((answer.status, &status["public"].as_array().unwrap().len()), (StatusCode::OK, &1));
    assert_eq!(
        (&status["public"][0]["label"], &status["public"][0]["vps"]),
        (&json!("for-everybody"), &json!(1))
    );
    assert!(process(&status, "module").unwrap()["usage"]["rss_bytes"].is_u64());
    assert_eq!(status["operator"], json!({ "title": "<b>Ours</b>", "contact": "noc@example.net" }));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for secret in [VP, "echo-1", "none-of-yours", "default", "192.0.2", "127.0.0.1", "vp_name", "tenant"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    // Nothing else has opened.
    for path in ["/api/v1/vps", "/api/v1/modules", "/api/v1/availability", "/api/v1/limits"] {
        let answer = ask(&network, Method::GET, path).anonymous().send().await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn a_vantage_point_that_is_there_is_seen_to_be() {
    let mut network = Network::start().await;
    let path = format!("/api/v1/vps/{VP}/availability?for=1h&slices=1");
    let there = |answer: &Value| {
        let slice = &answer["slices"][0];
        slice["up_s"].as_u64().unwrap() + slice["degraded_s"].as_u64().unwrap() > 0
    };
    let one = once(&network, &path, there).await;
    assert_eq!((&one["vp"], &one["slice_ns"]), (&json!(VP), &json!(3_600_000_000_000_u64)));
    let table = get(&network, "/api/v1/availability?for=30m").await.json();
    assert_eq!(table["vps"][0]["vp"], VP);
    let strip = table["vps"][0]["strip"].as_str().unwrap();
    assert!(strip.len() == 3 && strip.ends_with(['u', 'd']), "{strip}");
    for wrong in ["for=200h", "for=0s", "slices=0", "slices=2000", "hours=3"] {
        assert_eq!(
            get(&network, format!("/api/v1/availability?{wrong}")).await.reason(),
            "bad-request",
            "{wrong}"
        );
    }
    assert_eq!(get(&network, "/api/v1/vps/nobody/availability").await.status, StatusCode::NOT_FOUND);

    // The next anchor goes on with it.
    let seen = |answer: &Value| {
        let slices = answer["slices"].as_array().unwrap().iter();
        slices
            .map(|slice| slice["up_s"].as_u64().unwrap() + slice["degraded_s"].as_u64().unwrap())
            .sum::<u64>()
    };
    let before = seen(&once(&network, &path, |answer| seen(answer) >= 3).await);
    network.restart().await;
    let ready = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let table = get(&network, "/api/v1/availability?for=1h&slices=1").await;
            if table.status == StatusCode::OK {
                return table.json();
            }
        }
    };
    let table = tokio::time::timeout(std::time::Duration::from_secs(30), ready).await.unwrap();
    assert_eq!(table["vps"][0]["vp"], VP, "{table}");
    let answer = once(&network, &path, |_| true).await;
    assert!(seen(&answer) >= before, "{before} {answer}");
}

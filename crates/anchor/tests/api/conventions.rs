//! What holds for every request.

use std::io::Read as _;

use flate2::read::GzDecoder;
use hyper::{Method, StatusCode};
use serde_json::json;

use super::client::{ask, get, post};
use super::network::Network;

#[tokio::test]
async fn every_error_is_a_problem() {
    let network = Network::start_with(|config| config.api.max_body_bytes = 1000).await;
    let create = || ask(&network, Method::POST, "/api/v1/measurements");
    let long = json!({ "kind": "echo", "inputs": ["x".repeat(2000)] }).to_string();
    let cases = [
        (get(&network, "/nowhere").await, 404, "not-found"),
        (get(&network, "/api/v1/measurements/none").await, 404, "not-found"),
        (get(&network, "/api/v1/measurements?limit=0").await, 400, "bad-request"),
        (get(&network, "/api/v1/measurements?limti=1").await, 400, "bad-request"),
        (get(&network, "/api/v1/vps/%FF").await, 400, "bad-request"),
        (ask(&network, Method::PUT, "/api/v1/vps").send().await, 405, "method-not-allowed"),
        (create().field("content-type", "text/plain").body("x").send().await, 415, "unsupported-media-type"),
        (create().field("content-encoding", "gzip").body("x").send().await, 415, "unsupported-media-type"),
        (create().body(long).send().await, 413, "too-large"),
        (create().body("").send().await, 400, "malformed-body"),
        (create().anonymous().body("{}").send().await, 401, "unauthorized"),
        (get(&network, "/api/v1/stream").await, 426, "upgrade-required"),
        (
            ask(&network, Method::GET, "/healthz").field("host", "evil.example").send().await,
            421,
            "wrong-host",
        ),
    ];
    for (answer, status, reason) in cases {
        assert_eq!((answer.status.as_u16(), &*answer.reason()), (status, reason), "{answer:?}");
        assert!(!answer.body.is_empty());
        let page = get(&network, format!("/problems/{reason}")).await;
        assert!(page.status == StatusCode::OK && !page.body.is_empty(), "{reason}");
    }
    let refused = ask(&network, Method::PUT, "/api/v1/vps").send().await;
    assert!(refused.header("allow").contains("GET"), "{refused:?}");
}

#[tokio::test]
async fn tokens_are_asked_for_and_checked() {
    let network = Network::start().await;
    let path = "/api/v1/whoami";
    let mut wrong = vec![String::new(), "Bearer nonsense".into(), format!("Basic {}", network.token)];
    wrong.push(format!("Bearer {}", network.token_of("default", Some(1))));
    for value in wrong {
        let answer = ask(&network, Method::GET, path).field("authorization", value.clone()).send().await;
        assert_eq!((answer.status, &*answer.reason()), (StatusCode::UNAUTHORIZED, "unauthorized"), "{value}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        let token = value.split(' ').next_back().unwrap();
        assert!(token.is_empty() || !String::from_utf8_lossy(&answer.body).contains(token));
    }
    // What needs a token says so, whatever the rest of the request is.
    for (path, methods) in mmn_anchor::api::openapi()["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["security"] == json!([{ "bearer": [] }]) {
                let method = method.to_uppercase().parse().unwrap();
                let path = path.replace("{id}", "x").replace("{kind}", "x").replace("{task}", "x");
                let answer = ask(&network, method, path.clone()).anonymous().send().await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            }
        }
    }
    for open in ["/healthz", "/readyz", "/openapi.json", "/.well-known/api-catalog", "/metrics"] {
        assert_eq!(
            ask(&network, Method::GET, open).anonymous().send().await.status,
            StatusCode::OK,
            "{open}"
        );
    }
}

#[tokio::test]
async fn head_and_options_are_answered() {
    let network = Network::start().await;
    let head = ask(&network, Method::HEAD, "/healthz").send().await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_ne!(head.header("content-length"), "0");
    let options = ask(&network, Method::OPTIONS, "/api/v1/measurements").send().await;
    assert_eq!((options.status, options.body.len()), (StatusCode::NO_CONTENT, 0));
    let allow = options.header("allow");
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    let catalog = ask(&network, Method::HEAD, "/.well-known/api-catalog").send().await;
    assert!(catalog.header("link").contains("api-catalog"));
}

#[tokio::test]
async fn requests_beyond_the_rate_wait() {
    let network = Network::start_with(|config| config.api.max_requests_per_s = 5).await;
    let mut refused = None;
    for _ in 0..100 {
        let answer = get(&network, "/healthz").await;
        assert!(answer.header("ratelimit-policy").contains("q=5"), "{answer:?}");
        assert!(answer.header("ratelimit").starts_with("\"requests\";r="), "{answer:?}");
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the bucket is empty at some time");
    assert_eq!(refused.reason(), "rate-limited");
    assert_eq!(refused.header("retry-after"), "1");
}

#[tokio::test]
async fn the_api_describes_itself() {
    let network = Network::start().await;
    let described = get(&network, "/openapi.json").await.json();
    assert_eq!(described, mmn_anchor::api::openapi());
    let catalog = get(&network, "/.well-known/api-catalog").await;
    assert!(catalog.header("content-type").starts_with("application/linkset+json"));
    assert_eq!(catalog.json()["linkset"][0]["service-desc"][0]["href"], "/openapi.json");
    let metrics = get(&network, "/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(text.contains("mmn_anchor_active 1\n"), "{text}");
    assert!(text.contains("mmn_http_connections "), "{text}");
}

#[tokio::test]
async fn whole_answers_are_compressed_for_those_who_take_it() {
    let network = Network::start().await;
    let gzip =
        |path: &'static str| ask(&network, Method::GET, path).field("accept-encoding", "br, gzip").send();
    let (plain, packed) = (get(&network, "/openapi.json").await, gzip("/openapi.json").await);
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    let vary: Vec<_> = packed.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(vary.join(",").to_ascii_lowercase().contains("accept-encoding"), "{vary:?}");
    let mut unpacked = Vec::new();
    GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert!(plain.body == unpacked && packed.body.len() < plain.body.len() / 4, "{}", packed.body.len());
    // What is short, or a stream, is as it is.
    assert_eq!(gzip("/healthz").await.header("content-encoding"), "");
    let lines =
        ask(&network, Method::GET, "/api/v1/events?format=ndjson&last=1").field("accept-encoding", "gzip");
    let lines = lines.open().await;
    assert!(lines.headers().get("content-encoding").is_none(), "{lines:?}");
}

#[tokio::test]
async fn a_stop_ends_what_streams() {
    use http_body_util::BodyExt;

    let network = Network::start().await;
    let mut events = ask(&network, Method::GET, "/api/v1/events").open().await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    post(&network, "/api/v1/measurements", &json!({ "kind": "echo", "inputs": ["a"], "from": "all" })).await;
    let first = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(
        first.starts_with(b"id: 1.") && first.windows(20).any(|part| part == b"\nevent: event\ndata: "),
        "{first:?}"
    );
    network.stop().await;
    // It ends, one way or the other; what it had to say was said.
    while let Some(Ok(_)) = events.frame().await {}
}

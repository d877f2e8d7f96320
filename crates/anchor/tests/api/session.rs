//! Sessions of browsers: a cookie in place of the token.

use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use serde_json::json;

use super::client::{Answer, ask, post};
use super::network::Network;
use super::socket::Socket;

const SESSION: &str = "/api/v1/session";

/// What a browser sends back of an answer that signs it in.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie");
    for part in ["; Path=/; ", "; HttpOnly", "; SameSite=Strict"] {
        assert!(set.contains(part), "{set}");
    }
    set.split(';').next().unwrap().to_owned()
}

async fn sign_in(network: &Network, by: &serde_json::Value) -> Answer {
    ask(network, Method::POST, SESSION).anonymous().json(by).send().await
}

#[tokio::test]
async fn a_code_signs_in_once_on_behalf_of_who_made_it() {
    let network = Network::start().await;
    let made = post(&network, "/api/v1/session/codes", &json!({})).await;
    assert_eq!((made.status, made.header("cache-control")), (StatusCode::CREATED, "no-store"));
    let by = json!({ "code": made.json()["code"] });
    let signed_in = sign_in(&network, &by).await;
    assert_eq!((signed_in.status, &signed_in.json()["tenant"]), (StatusCode::OK, &json!("default")));
    assert!(signed_in.json()["expires_at"].is_string());
    assert_eq!(sign_in(&network, &by).await.reason(), "unauthorized");

    let cookie = cookie(&signed_in);
    let who = ask(&network, Method::GET, "/api/v1/whoami").anonymous().field("cookie", &*cookie).send().await;
    assert_eq!(who.json()["subject"], signed_in.json()["subject"]);
    let out = ask(&network, Method::DELETE, SESSION).anonymous().send().await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.header("set-cookie").contains("=; Path=/; Max-Age=0"));
}

#[tokio::test]
async fn a_session_changes_nothing_for_other_origins() {
    let network = Network::start().await;
    assert_eq!(sign_in(&network, &json!({ "token": "x.y.z" })).await.reason(), "unauthorized");
    let signed_in = sign_in(&network, &json!({ "token": network.token })).await;
    let cookie = cookie(&signed_in);
    let own = format!("http://{}", network.address);
    let body = json!({ "select": "all" });
    for (origin, good) in
        [(Some(&*own), true), (Some("http://127.0.0.1:1"), false), (Some("null"), false), (None, false)]
    {
        let asked =
            ask(&network, Method::POST, "/api/v1/select").anonymous().field("cookie", &*cookie).json(&body);
        let asked = if let Some(origin) = origin { asked.field("origin", origin) } else { asked };
        let answer = asked.send().await;
        assert_eq!(answer.status == StatusCode::OK, good, "{origin:?}");
        assert!(good || answer.reason() == "wrong-origin");
    }
    // Nor is anybody signed in by another page.
    let forced = ask(&network, Method::POST, SESSION).anonymous().field("origin", "http://evil.example");
    assert_eq!(forced.json(&json!({ "token": network.token })).send().await.reason(), "wrong-origin");
    // The WebSocket, too, wants the origin of a session.
    let stream = ask(&network, Method::GET, "/api/v1/stream").anonymous().field("cookie", &*cookie);
    assert_eq!(stream.field("upgrade", "websocket").send().await.reason(), "wrong-origin");
}

#[tokio::test]
async fn a_session_that_was_ended_holds_nowhere() {
    let network = Network::start().await;
    let (second, _alive) = network.second().await;
    let signed_in = sign_in(&network, &json!({ "token": network.token })).await;
    let cookie = cookie(&signed_in);
    let other = self::cookie(&sign_in(&network, &json!({ "token": network.token })).await);
    let own = format!("http://{}", network.address);
    let whoami = async |cookie: &str, address| {
        let asked = ask(&network, Method::GET, "/api/v1/whoami").anonymous().at(address);
        asked.field("cookie", cookie).send().await.status
    };
    assert_eq!(whoami(&cookie, network.address).await, StatusCode::OK);
    let copy = cookie.replace(&format!("_{}=", network.address.port()), &format!("_{}=", second.port()));
    let mut socket =
        Socket::open_with(&network, &[("cookie", &cookie), ("origin", &own)]).await.expect("it is signed in");

    // Streams of plain HTTP, too: what happens, and the results of what runs.
    network.open_gate(false);
    let asked = json!({ "kind": "echo", "inputs": ["a"], "from": "all" });
    let id = super::client::post(&network, "/api/v1/measurements", &asked).await.json()["id"].clone();
    let results = format!("/api/v1/measurements/{}/results", id.as_str().unwrap());
    let mut streams = Vec::new();
    for (path, cookie) in [
        ("/api/v1/events?format=sse".to_owned(), &cookie),
        ("/api/v1/events?format=ndjson".to_owned(), &cookie),
        (format!("{results}?format=sse"), &cookie),
        (format!("{results}?format=ndjson&follow=1"), &cookie),
        (format!("{results}?format=ndjson&follow=1"), &other),
    ] {
        let asked = ask(&network, Method::GET, path).anonymous().field("cookie", &**cookie);
        let stream = asked.open().await;
        assert_eq!(stream.status(), StatusCode::OK);
        streams.push(stream.into_body());
    }

    // Nobody else's page signs anybody out.
    let forced = ask(&network, Method::DELETE, SESSION).anonymous().field("cookie", &*cookie);
    assert_eq!(forced.field("origin", "http://evil.example").send().await.reason(), "wrong-origin");
    assert_eq!(whoami(&cookie, network.address).await, StatusCode::OK);

    let out = ask(&network, Method::DELETE, SESSION).anonymous().field("cookie", &*cookie);
    let out = out.field("origin", &*own).send().await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{out:?}");
    assert_eq!(whoami(&cookie, network.address).await, StatusCode::UNAUTHORIZED);
    assert_eq!(socket.farewell().await, "the session has ended");
    let others = streams.pop().unwrap();
    for (at, stream) in streams.into_iter().enumerate() {
        let lines = at % 2 == 1;
        match stream.collect().await {
            Ok(_) if lines => panic!("a stream of lines that is not whole breaks off"),
            Ok(body) => {
                let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                assert!(text.contains("event: problem") && text.contains("the session has ended"), "{text}");
            }
            Err(_) => assert!(lines),
        }
    }
    network.open_gate(true);
    assert!(!others.collect().await.unwrap().to_bytes().is_empty(), "others go on");
    // Nor does it as a bearer token, or as a way to another session.
    let token = cookie.split_once('=').unwrap().1;
    let bearer =
        ask(&network, Method::GET, "/api/v1/whoami").field("authorization", format!("Bearer {token}"));
    assert_eq!(bearer.send().await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(sign_in(&network, &json!({ "token": token })).await.reason(), "unauthorized");
    // An anchor that has never heard of it looks it up.
    assert_eq!(whoami(&copy, second).await, StatusCode::UNAUTHORIZED);
    let copy = other.replace(&format!("_{}=", network.address.port()), &format!("_{}=", second.port()));
    assert_eq!(whoami(&copy, second).await, StatusCode::OK, "others go on");
    assert_eq!(whoami(&other, network.address).await, StatusCode::OK);
    // Whoever has no session is signed out already.
    let out = ask(&network, Method::DELETE, SESSION).anonymous().send().await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn whoever_guesses_has_to_wait() {
    let network = Network::start_bare(|_| {}).await;
    for number in 0..5 {
        let guess = sign_in(&network, &json!({ "code": format!("guess-{number}") })).await;
        assert_eq!(guess.reason(), "unauthorized");
    }
    let right = sign_in(&network, &json!({ "token": network.token })).await;
    assert_eq!((right.status, &*right.reason()), (StatusCode::TOO_MANY_REQUESTS, "rate-limited"));
    assert!(
        right.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=13).contains(&seconds)),
        "{right:?}"
    );
}

#[tokio::test]
async fn browsers_are_shown_a_page_and_programs_a_problem() {
    let network = Network::start_bare(|_| {}).await;
    let page = "text/html,application/xhtml+xml,*/*;q=0.8";
    for path in ["/", "/vps", "/measurements/x"] {
        let answer = ask(&network, Method::GET, path).anonymous().field("accept", page).send().await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (StatusCode::OK, "text/html; charset=utf-8")
        );
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let answer = ask(&network, Method::GET, "/vps").anonymous().send().await;
    assert_eq!(answer.reason(), "not-found");
}

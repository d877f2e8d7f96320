//! Sessions of browsers: a cookie in place of the token.

use hyper::{Method, StatusCode};
use serde_json::json;

use super::client::{Answer, ask, post};
use super::network::Network;

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

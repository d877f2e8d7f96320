//! `http` without TLS, against scripted servers.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mmn_kit::{Failure, Measured, Number, Octets};
use mmn_modules::http::{Body, Stopped};
use mmn_schema::outcome::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::world::{End, World, run};

const AT: &str = "192.0.2.80:80";
/// More than any window of HTTP/2.
const BIG: usize = 8 << 20;
const OTHER: &str = "192.0.2.81:8080";

fn world() -> World {
    World::new().name("www.example", &["192.0.2.80"]).name("other.example", &["192.0.2.81"])
}

fn get(world: World, params: Value, url: &str) -> Result<Measured<Body>, Failure> {
    let url = url.to_owned();
    run(async move { world.perform("http", params, &url).await })
}

/// A server that answers each connection's request with the same bytes and ends the connection.
fn saying(answer: impl Into<Vec<u8>>) -> World {
    let answer = answer.into();
    world().tcp(AT, move |mut end| {
        let answer = answer.clone();
        async move {
            end.request().await;
            end.send(&answer).await;
        }
    })
}

fn code(failure: Failure) -> (Outcome, String) {
    (failure.outcome, failure.reason.code.into_owned())
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[test]
fn an_answer_with_its_phases() {
    let world = world().tcp(AT, |mut end| async move {
        let request = end.request().await;
        assert!(request.starts_with("GET /a?b HTTP/1.1\r\nhost: www.example\r\n"), "{request}");
        assert!(request.contains("user-agent: mmn/"), "{request}");
        assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
        pause(30).await;
        end.send(b"HTTP/1.1 500 Out of order\r\nX-Two: 1\r\nServer: \xe4\r\nx-two: 2\r\nContent-Length: 5\r\n\r\nhe").await;
        pause(40).await;
        end.send(b"llo").await;
        end.hold().await;
    });
    let measured = get(world, json!({ "keep_body": true }), "www.example/a?b#c").unwrap();
    let body = measured.body;
    assert_eq!((body.url.as_str(), body.redirects, body.stopped), ("http://www.example/a?b", 0, None));
    let hop = &body.hops[0];
    let phases = hop.phases;
    assert_eq!((phases.resolve_ns, phases.connect_ns, phases.tls_ns), (Some(7_000_000), 10_000_000, None));
    assert_eq!((phases.first_byte_ns, phases.transfer_ns), (30_000_000, 40_000_000));
    assert_eq!((phases.total_ns, body.total_ns), (87_000_000, 87_000_000));
    assert_eq!((hop.status, hop.reason.as_deref(), hop.version.as_str()), (500, Some("Out of order"), "1.1"));
    let names: Vec<&str> = hop.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(names, ["X-Two", "Server", "x-two", "Content-Length"]);
    assert_eq!((&hop.headers[1].value, &hop.headers[1].bytes), (&None, &Some(Octets(vec![0xe4]))));
    assert_eq!((hop.body.bytes, hop.body.truncated), (5, false));
    assert_eq!(hop.body.sha256.0, Sha256::digest(b"hello").to_vec());
    assert_eq!(hop.body.content, Some(Octets(b"hello".to_vec())));
    assert_eq!(hop.tls, None);
    assert_eq!(measured.answered, Some(true));
    for (number, value) in
        [("status", 500), ("body_bytes", 5), ("redirects", 0), ("first_byte_ns", 30_000_000)]
    {
        assert_eq!(measured.summary[number], Number::Integer(value), "{number}");
    }
    assert!(!measured.summary.contains_key("tls_days_left") && !measured.summary.contains_key("tls_ns"));
}

#[test]
fn what_the_limits_hold_back_is_no_phase() {
    let paced = saying(&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..]).pace(Duration::from_millis(5));
    let measured = get(paced, json!({}), "www.example").unwrap();
    let phases = measured.body.hops[0].phases;
    assert_eq!((phases.connect_ns, phases.held_ns, phases.total_ns), (10_000_000, 5_000_000, 17_000_000));
}

#[test]
fn bodies_end_as_their_framing_says() {
    for (answer, length, trailers) in [
        (&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: u\r\n\r\n"[..], 5, 1),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 13, 0),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 13, 0),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 0, 0),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 1, 0),
    ] {
        let text = String::from_utf8_lossy(answer).into_owned();
        let hop = get(saying(answer), json!({}), "www.example").unwrap().body.hops.remove(0);
        assert_eq!((hop.body.bytes, hop.trailers.len()), (length, trailers), "{text}");
        assert_eq!(hop.received_bytes, u64::try_from(answer.len()).unwrap(), "{text}");
        if text.contains("103") {
            assert_eq!((hop.interim, hop.reason, hop.headers.len()), (vec![100, 103], None, 1));
        }
    }
    let head = saying(&b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"[..]);
    let hop = get(head, json!({ "method": "HEAD" }), "www.example").unwrap().body.hops.remove(0);
    assert_eq!((hop.method.as_str(), hop.body.bytes), ("HEAD", 0));
}

#[test]
fn requests_are_as_asked() {
    let world = world().tcp(AT, |mut end| async move {
        let head = end.request().await;
        assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
        for part in [
            "host: else.example\r\n",
            "x-a: 1\r\n",
            "x-a: 2\r\n",
            "user-agent: me\r\n",
            "content-length: 3\r\n",
        ] {
            assert!(head.contains(part), "{part} in {head}");
        }
        assert_eq!(head.matches("host:").count(), 1, "{head}");
        end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    });
    let headers = ["Host: else.example", "X-A: 1", "x-a: 2", "User-Agent: me"];
    let params = json!({ "method": "POST", "headers": headers, "body": "abc" });
    assert_eq!(get(world, params, "www.example").unwrap().summary["status"], Number::Integer(200));
}

#[test]
fn failures_are_told_apart() {
    let failed = |code: &str| (Outcome::Failed, code.to_owned());
    let http = |world: World| code(get(world, json!({ "phase_timeout": "2s" }), "www.example").unwrap_err());
    let serving = |answer: &'static [u8]| http(saying(answer));
    assert_eq!(http(World::new()), failed("unresolvable"));
    assert_eq!(http(world().refuse(AT)), failed("connection-refused"));
    assert_eq!(http(world().silence(AT)), failed("timeout"));
    assert_eq!(http(world().tcp(AT, End::hold)), failed("timeout"));
    assert_eq!(http(world().forbid("192.0.2.80")), (Outcome::Refused, "policy".to_owned()));
    let reset = world().tcp(AT, |mut end| async move {
        end.request().await;
        end.reset();
    });
    assert_eq!(http(reset), failed("connection-reset"));
    assert_eq!(serving(b""), failed("protocol"));
    assert_eq!(serving(b"HTTP/1.1 200 OK\r\nA: b\r\n"), failed("protocol"));
    assert_eq!(serving(b"220 smtp.example ESMTP\r\n"), failed("protocol"));
    assert_eq!(serving(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"), failed("protocol"));
    assert_eq!(serving(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), failed("protocol"));
    assert_eq!(serving(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), failed("protocol"));
    for url in ["", "ftp://www.example/", "http://u:p@www.example/", "http://"] {
        assert_eq!(
            code(get(world(), json!({}), url).unwrap_err()),
            (Outcome::Refused, "parameters".to_owned())
        );
    }
}

#[test]
fn a_timeout_names_its_phase() {
    let detail = |world: World| {
        let params = json!({ "phase_timeout": "1s", "timeout": "5s" });
        get(world, params, "www.example").unwrap_err().reason.detail.unwrap()
    };
    assert!(detail(world().silence(AT)).starts_with("connecting to 192.0.2.80:80"));
    assert!(detail(world().tcp(AT, End::hold)).starts_with("the first byte took too long"));
    let stalled = world().tcp(AT, |mut end| async move {
        end.request().await;
        end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await;
        end.hold().await;
    });
    assert!(detail(stalled).starts_with("in the body, after status 200 and 3 bytes"));
}

#[test]
fn a_body_that_drips_ends_with_the_whole_time() {
    let dripping = world().tcp(AT, |mut end| async move {
        end.request().await;
        end.send(b"HTTP/1.1 200 OK\r\n\r\n").await;
        for _ in 0..1000 {
            pause(500).await;
            end.send(b".").await;
        }
    });
    let failure =
        get(dripping, json!({ "phase_timeout": "1s", "timeout": "5s" }), "www.example").unwrap_err();
    assert_eq!(failure.reason.code, "timeout");
    assert!(failure.reason.detail.unwrap().contains("and 9 bytes"));
}

#[test]
fn a_reset_within_the_body_says_how_far_it_came() {
    let world = world().tcp(AT, |mut end| async move {
        end.request().await;
        end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await;
        pause(5).await;
        end.reset();
    });
    let failure = get(world, json!({}), "www.example").unwrap_err();
    assert_eq!(failure.reason.code, "connection-reset");
    assert!(failure.reason.detail.unwrap().contains("after status 200 and 3 bytes"));
}

#[test]
fn what_is_too_much_is_cut_or_refused() {
    let hop = get(
        saying([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 5000]].concat()),
        json!({ "max_body": 1000 }),
        "www.example",
    );
    let payload = hop.unwrap().body.hops.remove(0).body;
    assert_eq!((payload.bytes, payload.truncated), (1000, true));
    assert_eq!(payload.sha256.0, Sha256::digest([b'x'; 1000]).to_vec());

    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    assert_eq!(get(saying(huge), json!({}), "www.example").unwrap_err().reason.code, "protocol");
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(300));
    assert_eq!(get(saying(many), json!({}), "www.example").unwrap_err().reason.code, "protocol");

    let storm =
        [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &b"1\r\nz\r\n".repeat(20_000)]
            .concat();
    let payload =
        get(saying(storm), json!({ "max_body": 15_000 }), "www.example").unwrap().body.hops.remove(0).body;
    assert_eq!((payload.bytes, payload.truncated), (15_000, true));

    let endless = world().tcp(AT, |mut end| async move {
        end.request().await;
        loop {
            end.send(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            pause(1).await;
        }
    });
    let failure = get(endless, json!({ "phase_timeout": "1s" }), "www.example").unwrap_err();
    assert_eq!(failure.reason.code, "timeout");
}

#[test]
fn kept_bodies_are_bounded() {
    let answer = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; 300 << 10]].concat();
    let payload =
        get(saying(answer), json!({ "keep_body": true }), "www.example").unwrap().body.hops.remove(0).body;
    assert_eq!((payload.bytes, payload.content.unwrap().0.len()), (300 << 10, 192 << 10));
}

fn redirecting(status: u16, location: &str) -> World {
    saying(format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 2\r\n\r\nxx"))
}

#[test]
fn redirects_are_followed_and_each_hop_is_kept() {
    let world = redirecting(302, "http://other.example:8080/b").tcp(OTHER, |mut end| async move {
        let request = end.request().await;
        assert!(request.starts_with("GET /b HTTP/1.1\r\nhost: other.example:8080\r\n"), "{request}");
        assert!(!request.contains("authorization") && !request.contains("cookie"), "{request}");
        assert!(request.contains("x-mine: 1"), "{request}");
        end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").await;
    });
    let headers = ["Authorization: secret", "Cookie: a=b", "X-Mine: 1"];
    let params = json!({ "method": "POST", "body": "z", "headers": headers, "keep_body": true });
    let measured = get(world, params, "www.example").unwrap();
    let body = measured.body;
    let [first, last] = &body.hops[..] else { panic!("{:?}", body.hops) };
    assert_eq!((first.status, first.method.as_str(), first.body.bytes), (302, "POST", 2));
    assert_eq!((last.status, last.method.as_str(), last.body.bytes), (200, "GET", 3));
    assert_eq!((&first.body.content, body.redirects, body.stopped), (&None, 1, None));
    assert_eq!(measured.summary["redirects"], Number::Integer(1));
    assert_eq!(measured.summary["resolve_ns"], Number::Integer(14_000_000));
    assert_eq!(measured.summary["connect_ns"], Number::Integer(20_000_000));
}

#[test]
fn a_307_keeps_method_and_body() {
    let world = redirecting(307, "http://other.example:8080/").tcp(OTHER, |mut end| async move {
        let request = end.request().await;
        assert!(request.starts_with("PUT / ") && request.contains("content-length: 1\r\n"), "{request}");
        end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    });
    assert!(get(world, json!({ "method": "PUT", "body": "z" }), "www.example").is_ok());
}

#[test]
fn redirects_end() {
    let stop = |params: Value, world: World| {
        let body = get(world, params, "www.example").unwrap().body;
        (body.redirects, body.stopped)
    };
    assert_eq!(stop(json!({}), redirecting(301, "/again")), (10, Some(Stopped::MaxRedirects)));
    assert_eq!(
        stop(json!({ "max_redirects": 2 }), redirecting(301, "/again")),
        (2, Some(Stopped::MaxRedirects))
    );
    assert_eq!(
        stop(json!({ "follow_redirects": false }), redirecting(301, "/a")),
        (0, Some(Stopped::NotAsked))
    );
    assert_eq!(stop(json!({}), redirecting(301, "ftp://a/")), (0, Some(Stopped::BadLocation)));
    assert_eq!(stop(json!({}), redirecting(301, "http://[")), (0, Some(Stopped::BadLocation)));
    assert_eq!(stop(json!({}), redirecting(300, "/a")), (0, None));
}

#[test]
fn redirects_to_forbidden_addresses_are_refused_before_a_packet() {
    for location in [
        "http://169.254.169.254/latest",
        "http://inner.example/",
        "http://0xa9fea9fe/",
        "http://[2001:db8::bad]/",
    ] {
        let world = redirecting(302, location)
            .name("inner.example", &["169.254.169.254"])
            .forbid("169.254.169.254")
            .forbid("2001:db8::bad");
        let (failure, connects) = run(async move {
            let failure = world.perform::<Body>("http", json!({}), "www.example").await.unwrap_err();
            (failure, world.connects())
        });
        assert_eq!(connects, [AT.parse().unwrap()], "{location}");
        let detail = failure.reason.detail.clone().unwrap();
        assert!(detail.contains("after 302 from http://www.example/"), "{detail}");
        assert_eq!(code(failure), (Outcome::Refused, "policy".to_owned()));
    }
}

#[test]
fn addresses_can_be_given_and_are_checked_like_others() {
    let ok = saying(&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..]);
    let params = json!({ "resolve": ["nowhere.example:80:192.0.2.80", "nowhere.example:443:192.0.2.99"] });
    let hop = get(ok, params.clone(), "nowhere.example").unwrap().body.hops.remove(0);
    assert_eq!((hop.address.to_string().as_str(), hop.phases.resolve_ns), ("192.0.2.80", None));
    let failure = get(world().forbid("192.0.2.80"), params, "nowhere.example").unwrap_err();
    assert_eq!(code(failure), (Outcome::Refused, "policy".to_owned()));
}

#[test]
fn all_addresses_that_failed_are_told() {
    let world = World::new().name("both.example", &["2001:db8::80", "192.0.2.80"]);
    let failure = get(world, json!({}), "both.example").unwrap_err();
    assert_eq!(failure.reason.code, "connection-refused");
    let detail = failure.reason.detail.unwrap();
    assert!(
        detail.contains("192.0.2.80:80 refused") && detail.contains("before that 2001:db8::80"),
        "{detail}"
    );
}

#[test]
fn the_next_address_is_tried_and_the_first_is_told() {
    let world = saying(&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..])
        .name("both.example", &["2001:db8::80", "192.0.2.80"])
        .refuse("[2001:db8::80]:80");
    let hop = get(world, json!({}), "both.example").unwrap().body.hops.remove(0);
    assert_eq!(hop.address.to_string(), "192.0.2.80");
    assert_eq!(hop.failed_connects[0].address.to_string(), "2001:db8::80");
    assert_eq!(hop.failed_connects[0].error.code, "connection-refused");
    assert_eq!(hop.failed_connects[0].took_ns, 10_000_000);
}

/// A server of HTTP/2 that says what it was asked.
pub(crate) async fn serve_http2<S>(stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
        pause(25).await;
        let path = request.uri().to_string();
        let sent = request.into_body().collect().await.unwrap().to_bytes();
        let text = if path.ends_with("/big") {
            "x".repeat(BIG)
        } else {
            format!("{path} {}", String::from_utf8_lossy(&sent))
        };
        Ok::<_, Infallible>(
            Response::builder().status(418).header("x-a", "1").body(Full::new(Bytes::from(text))).unwrap(),
        )
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

fn world_of_http2() -> World {
    world().tcp(AT, |end| serve_http2(end.stream))
}

#[test]
fn http_2_by_prior_knowledge() {
    let world = world_of_http2();
    let params = json!({ "version": "2", "method": "POST", "body": "hello", "keep_body": true });
    let hop = get(world, params, "http://www.example/p?q").unwrap().body.hops.remove(0);
    assert_eq!((hop.status, hop.version.as_str(), hop.reason.as_deref()), (418, "2", None));
    assert_eq!(hop.body.content, Some(Octets(b"http://www.example/p?q hello".to_vec())));
    assert_eq!((hop.phases.first_byte_ns, hop.phases.transfer_ns), (25_000_000, 0));
    assert!(hop.headers.iter().any(|header| header.name == "x-a" && header.value.as_deref() == Some("1")));
    assert!(hop.sent_bytes > 24 && hop.received_bytes > 28);
    let renamed = world_of_http2();
    let params = json!({ "version": "2", "headers": ["Host: else.example"], "keep_body": true });
    let hop = get(renamed, params, "www.example/").unwrap().body.hops.remove(0);
    assert_eq!(hop.body.content, Some(Octets(b"http://else.example/ ".to_vec())));
}

#[test]
fn large_bodies_come_whole_in_both_versions() {
    let digest = Sha256::digest("x".repeat(BIG)).to_vec();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
    for (world, version) in [(world_of_http2(), "2"), (saying(format!("{head}{}", "x".repeat(BIG))), "1.1")] {
        let hop = get(world, json!({ "version": version }), "www.example/big").unwrap().body.hops.remove(0);
        assert_eq!((hop.body.bytes, hop.body.truncated), (u64::try_from(BIG).unwrap(), false), "{version}");
        assert_eq!(hop.body.sha256.0, digest);
    }
    let cut =
        get(world_of_http2(), json!({ "version": "2", "max_body": 100_000 }), "www.example/big").unwrap();
    assert!(cut.body.hops[0].body.truncated && cut.body.hops[0].received_bytes < 8_000_000);
}

#[test]
fn http_2_failures_are_failures() {
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\0\0\0\x07\0\0\0\0\0"] {
        let world = world().tcp(AT, move |mut end| async move {
            end.send(answer).await;
            end.hold().await;
        });
        let failure = get(world, json!({ "version": "2" }), "www.example").unwrap_err();
        assert_eq!(code(failure), (Outcome::Failed, "protocol".to_owned()));
    }
    let gone = world().tcp(AT, |end| async move { drop(end) });
    let failure = get(gone, json!({ "version": "2" }), "www.example").unwrap_err();
    assert_eq!(failure.reason.code, "connection-reset");
    let silent = world().tcp(AT, End::hold);
    let failure = get(silent, json!({ "version": "2" }), "www.example").unwrap_err();
    assert_eq!(failure.reason.code, "timeout");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_answer_is_a_result_or_a_failure(bytes: Vec<u8>, headed: bool, http2: bool) {
        let answer = if headed { [&b"HTTP/1.1 200 OK\r\n"[..], &bytes].concat() } else { bytes };
        let params = json!({ "version": if http2 { "2" } else { "auto" } });
        match get(saying(answer), params, "www.example") {
            Ok(measured) => prop_assert_eq!(measured.body.hops.len(), 1),
            Err(failure) => prop_assert_eq!(failure.outcome, Outcome::Failed),
        }
    }
}

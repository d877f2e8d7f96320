//! `http` with Encrypted Client Hello: against servers that know nothing of it, and against one that decrypts.

mod hello;
mod server;

use std::rc::Rc;
use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use mmn_kit::{Measured, Number, Octets};
use mmn_modules::http::{Body, EchStatus};
use mmn_schema::outcome::Outcome;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use self::hello::{ECH, Hello};
use self::server::{Keys, Seen, accept, config};
use crate::https::{Pki, acceptor, get, pki};
use crate::world::World;

const AT: &str = "192.0.2.43:443";
const OUTER: &str = "public.example";

fn world() -> World {
    World::new().name("www.example", &["192.0.2.43"])
}

/// A server without ECH. It keeps the hellos that it saw, and answers requests.
fn without_ech(world: World, at: &str, pki: &Pki, seen: &Seen, answer: &'static str) -> World {
    let (acceptor, seen) = (acceptor(pki, &[]), Rc::clone(seen));
    world.tcp(at, move |mut end| {
        let (acceptor, seen) = (acceptor.clone(), Rc::clone(&seen));
        async move {
            tokio::time::sleep(Duration::from_millis(15)).await;
            let (record, body) = server::hello(&mut end.stream).await;
            seen.borrow_mut().push(Hello::read(&body));
            let (read, write) = tokio::io::split(end.stream);
            let stream = tokio::io::join(std::io::Cursor::new(record).chain(read), write);
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, answer).await;
            }
        }
    })
}

/// A server with ECH.
fn with_ech(world: World, keys: Keys, pki: Pki, seen: &Seen, answer: &'static str) -> World {
    let (shared, seen) = (Rc::new((keys, pki)), Rc::clone(seen));
    world.tcp(AT, move |end| {
        let (shared, seen) = (Rc::clone(&shared), Rc::clone(&seen));
        async move {
            let stream = accept(&shared.0, &shared.1, &seen, end.stream).await.unwrap();
            serve(stream, answer).await;
        }
    })
}

/// Reads a request, if one comes, and answers it.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &'static str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn an_encrypted_name_is_accepted() {
    // 1 AES-128-GCM, 2 AES-256-GCM, 3 ChaCha20-Poly1305.
    for aead in [1, 2, 3] {
        let (keys, pki, seen) = (Keys::new(OUTER, aead), pki("www.example", 2030), Seen::default());
        // As DNS writes it.
        let params = json!({ "ca": pki.ca_pem, "ech_config_list": BASE64.encode(&keys.list()) });
        let measured = get(with_ech(world(), keys, pki, &seen, OK), params, "https://www.example/").unwrap();
        let [outer, inner] = &seen.borrow()[..] else { panic!("one connection") };
        assert_eq!((outer.name().as_deref(), inner.name().as_deref()), (Some(OUTER), Some("www.example")));
        assert!(!inner.extension(ECH).unwrap().is_empty());
        let hop = &measured.body.hops[0];
        let tls = hop.tls.as_ref().unwrap();
        assert_eq!((hop.status, tls.version.as_str(), tls.verified), (200, "TLSv1.3", true));
        assert_eq!((tls.sni.as_deref(), tls.ech_outer_name.as_deref()), (Some("www.example"), Some(OUTER)));
        assert_eq!(tls.ech_status, Some(EchStatus::Accepted));
        assert_eq!((measured.answered, measured.body.ech_rejected), (Some(true), None));
    }
}

fn rejected(pki: &Pki, verify: bool, seen: &Seen) -> Result<Measured<Body>, mmn_kit::Failure> {
    let list = Octets(Keys::new(OUTER, 1).list());
    let params =
        json!({ "ca": pki.ca_pem, "verify": verify, "ech_config_list": list, "keep_certificates": true });
    get(without_ech(world(), AT, pki, seen, OK), params, "https://www.example/")
}

#[test]
fn a_server_without_ech_rejects_and_gets_no_request() {
    let (pki, seen) = (pki(OUTER, 2026), Seen::default());
    let measured = rejected(&pki, true, &seen).unwrap();
    let hellos = seen.borrow();
    let [hello] = &hellos[..] else { panic!("it is not tried again") };
    assert_eq!(hello.name().as_deref(), Some(OUTER));
    let shown = hello.message();
    assert!(!shown.windows(11).any(|window| window == b"www.example"), "the name is nowhere in clear");
    assert_eq!((measured.answered, measured.body.hops.len()), (Some(false), 0));
    let rejected = measured.body.ech_rejected.unwrap();
    assert_eq!((rejected.ech_status, rejected.ech_outer_name.as_str()), (EchStatus::Rejected, OUTER));
    assert_eq!((rejected.url.as_str(), rejected.port), ("https://www.example/", 443));
    assert_eq!(rejected.source_port, Some(40_001));
    assert_eq!((rejected.verified, rejected.error, rejected.ech_retry_configs), (true, None, None));
    assert_eq!(
        (rejected.resolve_ns, rejected.connect_ns, rejected.tls_ns),
        (Some(7_000_000), 10_000_000, 15_000_000)
    );
    assert_eq!(rejected.certificates[0].sans, [OUTER]);
    assert!(rejected.certificates[0].der.is_some());
    assert_eq!(measured.summary["tls_ns"], Number::Integer(15_000_000));
    assert_eq!(measured.summary["total_ns"], Number::Integer(32_000_000));
    assert_eq!(measured.summary["tls_days_left"], Number::Integer(2));
    assert!(
        !["status", "body_bytes", "first_byte_ns"].iter().any(|name| measured.summary.contains_key(name))
    );
}

#[test]
fn who_does_not_prove_the_outer_name_may_not_reject() {
    let (pki, seen) = (pki("www.example", 2030), Seen::default());
    let failure = rejected(&pki, true, &seen).unwrap_err();
    assert_eq!((failure.outcome, failure.reason.code.as_ref()), (Outcome::Failed, "tls"));
    let detail = failure.reason.detail.unwrap();
    assert!(
        detail.starts_with("the server rejected ECH and does not prove to be public.example: "),
        "{detail}"
    );
    let measured = rejected(&pki, false, &seen).unwrap();
    let rejected = measured.body.ech_rejected.unwrap();
    assert!(!rejected.verified && rejected.error.unwrap().contains(OUTER));
    assert_eq!(measured.answered, Some(false));
}

#[test]
fn grease_looks_like_it_and_changes_nothing() {
    let (pki, seen) = (pki("www.example", 2030), Seen::default());
    let params = json!({ "ca": pki.ca_pem, "ech_grease": true });
    let measured = get(without_ech(world(), AT, &pki, &seen, OK), params, "https://www.example/").unwrap();
    let hellos = seen.borrow();
    assert_eq!(hellos[0].name().as_deref(), Some("www.example"));
    // An outer hello's, of HKDF-SHA256 and AES-128-GCM, with 32 bytes of a key.
    let extension = hellos[0].extension(ECH).unwrap();
    assert_eq!((&extension[..5], &extension[6..8]), (&[0, 0, 1, 0, 1][..], &[0, 32][..]));
    let hop = &measured.body.hops[0];
    let tls = hop.tls.as_ref().unwrap();
    assert_eq!((hop.status, tls.ech_status, &tls.ech_outer_name), (200, Some(EchStatus::Grease), &None));
    assert_eq!(measured.answered, Some(true));
}

#[test]
fn nothing_is_offered_that_is_not_asked_for() {
    let (pki, seen) = (pki("www.example", 2030), Seen::default());
    let params = json!({ "ca": pki.ca_pem });
    let measured = get(without_ech(world(), AT, &pki, &seen, OK), params, "https://www.example/").unwrap();
    assert_eq!(seen.borrow()[0].extension(ECH), None);
    let written = serde_json::to_value(&measured.body).unwrap();
    assert!(!written.to_string().contains("ech_"), "{written}");
}

#[test]
fn a_configuration_is_for_the_host_that_was_asked_for() {
    let (keys, own, other, seen) =
        (Keys::new(OUTER, 1), pki("www.example", 2030), pki("other.example", 2030), Seen::default());
    let ca = format!("{}{}", own.ca_pem, other.ca_pem);
    let params = json!({ "ca": ca, "ech_config_list": Octets(keys.list()) });
    let away = "HTTP/1.1 302 Found\r\nLocation: https://other.example/\r\nContent-Length: 0\r\n\r\n";
    let world = with_ech(world().name("other.example", &["192.0.2.44"]), keys, own, &seen, away);
    let elsewhere = Seen::default();
    let world = without_ech(world, "192.0.2.44:443", &other, &elsewhere, OK);
    let body = get(world, params, "https://www.example/").unwrap().body;
    let status = |hop: usize| body.hops[hop].tls.as_ref().unwrap().ech_status;
    assert_eq!((status(0), status(1)), (Some(EchStatus::Accepted), None));
    assert_eq!(elsewhere.borrow()[0].name().as_deref(), Some("other.example"));
    assert_eq!(elsewhere.borrow()[0].extension(ECH), None);
}

#[test]
fn a_redirect_to_a_server_that_rejects_keeps_what_came_before() {
    let (keys, pki, seen) = (Keys::new(OUTER, 1), pki(OUTER, 2030), Seen::default());
    let params = json!({ "verify": false, "ech_config_list": Octets(keys.list()) });
    let again = "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
    // The first connection is decrypted, the second is not.
    let (accepting, rejecting) = (Rc::new((keys, pki)), Rc::clone(&seen));
    let world = world().tcp(AT, move |end| {
        let (shared, seen) = (Rc::clone(&accepting), Rc::clone(&rejecting));
        async move {
            if seen.borrow().is_empty() {
                serve(accept(&shared.0, &shared.1, &seen, end.stream).await.unwrap(), again).await;
            } else if let Ok(stream) = acceptor(&shared.1, &[]).accept(end.stream).await {
                serve(stream, OK).await;
            }
        }
    });
    let measured = get(world, params, "https://www.example/").unwrap();
    let body = measured.body;
    assert_eq!((body.hops.len(), body.redirects, body.stopped), (1, 1, None));
    assert_eq!(body.ech_rejected.unwrap().url, "https://www.example/again");
    assert!(!measured.summary.contains_key("status"));
}

#[test]
fn what_can_not_be_offered_is_refused_by_name() {
    let refused = |params: serde_json::Value, url: &str| {
        let failure = get(World::new(), params, url).unwrap_err();
        assert_eq!((failure.outcome, failure.reason.code.as_ref()), (Outcome::Refused, "parameters"));
        failure.reason.detail.unwrap()
    };
    let good = BASE64URL_NOPAD.encode(&Keys::new(OUTER, 1).list());
    let other = BASE64URL_NOPAD.encode(&[&[0, 4][..], &[0xfe, 0x0a, 0, 0]].concat());
    let nothing = config(&[0; 32], 1, OUTER);
    let nothing = [&u16::try_from(nothing.len()).unwrap().to_be_bytes(), &nothing[..]].concat();
    for (list, why) in [
        ("%", "invalid length"),
        ("AAA*", "invalid symbol"),
        ("", "it is no list of configurations"),
        (&good[..40], "its length is cut off"),
        (&other, "(1: version 0xfe0a is unknown)"),
        (&BASE64URL_NOPAD.encode(&nothing), "HPKE"),
    ] {
        let told = refused(json!({ "ech_config_list": list }), "https://www.example/");
        assert!(told.contains("ech_config_list") && told.contains(why), "{told}");
    }
    let both = refused(json!({ "ech_config_list": good, "ech_grease": true }), "https://www.example/");
    assert_eq!(both, "ech_grease must not be set together with ech_config_list");
    for (params, name) in [
        (json!({ "ech_config_list": good }), "ech_config_list"),
        (json!({ "ech_grease": true }), "ech_grease"),
    ] {
        let told = refused(params, "www.example");
        assert_eq!(told, format!("{name} needs a URL of https, and http://www.example/ is none"));
    }
}

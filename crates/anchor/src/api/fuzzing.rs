//! The decoders of the API for fuzzing: each takes what a stranger wrote, and panics where a promise is broken.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a finding is told")]

use axum::extract::Query;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use data_encoding::BASE64URL_NOPAD;
use mmn_schema::api::MeasurementRequest;
use mmn_schema::encoding::Encoding;
use mmn_schema::problem::Problem;
use mmn_schema::rest::{MoreInputs, SelectRequest, SignIn};
use mmn_schema::stream::FromAnchor;
use mmn_schema::time::Timestamp;
use serde::de::DeserializeOwned;

use super::call::Caller;
use super::host::{Hosts, same_origin};
use super::token::{self, Claims, TokenError, TokenKey};
use super::{body, events, measurements, reply, results, session, site, socket, status, vps};

const NOW: Timestamp = Timestamp::from_unix_ns(1_800_000_000_000_000_000);

/// A bearer token; then the same bytes as the claims of one that is rightly signed, and as a header before such.
pub fn token(bytes: &[u8]) {
    let key = TokenKey::new(&[7; 32]);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(claims) = token::verify(&key, text, NOW)
    {
        read_again(&key, &claims);
    }
    let header = BASE64URL_NOPAD.encode(br#"{"alg":"HS256"}"#);
    let claims = BASE64URL_NOPAD.encode(br#"{"sub":"a","tenant":"default","iat":1,"jti":"x"}"#);
    let part = BASE64URL_NOPAD.encode(bytes);
    for text in [format!("{header}.{part}"), format!("{part}.{claims}"), format!("{header}.{claims}.{part}")]
    {
        match token::verify(&key, &token::signed(&key, text), NOW) {
            Ok(claims) => read_again(&key, &claims),
            Err(error) => assert_ne!(error, TokenError::Signature),
        }
    }
}

fn read_again(key: &TokenKey, claims: &Claims) {
    let Ok(minted) = token::mint(key, claims) else { panic!("{claims:?} can't be written") };
    // It may have grown over the longest that is looked at.
    if minted.len() <= token::MAX_LEN {
        assert_eq!(token::verify(key, &minted, NOW).as_ref(), Ok(claims));
    }
}

/// Messages of the WebSocket, in either form.
pub fn question(bytes: &[u8]) {
    for (form, read) in [socket::codec::read_text(bytes), socket::codec::read_binary(bytes)] {
        match read {
            Ok(question) => {
                let Ok(written) = form.encode(&question) else { continue };
                let (_, again) = match form {
                    Encoding::Json => socket::codec::read_text(&written),
                    Encoding::Cbor => socket::codec::read_binary(&written),
                };
                assert!(again.is_ok_and(|again| again == question), "{question:?} reads as another");
            }
            Err(unread) => {
                told(&unread.problem);
                let answer = FromAnchor::Problem { id: unread.id, problem: unread.problem };
                assert!(!socket::codec::write(form, &answer).into_data().is_empty());
            }
        }
    }
}

/// Bodies of requests; the first octet picks the encoding.
pub fn request_body(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let encoding = if choice % 2 == 0 { Encoding::Json } else { Encoding::Cbor };
    read::<MeasurementRequest>(encoding, bytes);
    read::<MoreInputs>(encoding, bytes);
    read::<SelectRequest>(encoding, bytes);
    read::<SignIn>(encoding, bytes);
}

fn read<T: DeserializeOwned>(encoding: Encoding, bytes: &[u8]) {
    if let Err(problem) = body::decode::<T>(encoding, bytes) {
        told(&problem);
        for error in &problem.errors {
            assert!(error.pointer.is_empty() || error.pointer.starts_with('/'), "{problem:?}");
        }
    }
}

/// What is wrong can be told: a problem is the caller's fault, and has a JSON form.
fn told(problem: &Problem) {
    assert!((400..500).contains(&problem.status), "{problem:?}");
    assert!(serde_json::to_vec(problem).is_ok(), "{problem:?}");
}

/// The query of each route.
pub fn query(bytes: &[u8]) {
    let uri = [b"/?", bytes].concat();
    let Ok(uri) = Uri::try_from(uri) else { return };
    let _ = Query::<measurements::CreateQuery>::try_from_uri(&uri);
    let _ = Query::<measurements::ListQuery>::try_from_uri(&uri);
    let _ = Query::<measurements::RollupQuery>::try_from_uri(&uri);
    let _ = Query::<results::ResultsQuery>::try_from_uri(&uri);
    let _ = Query::<measurements::InputsQuery>::try_from_uri(&uri);
    let _ = Query::<events::EventsQuery>::try_from_uri(&uri);
    let _ = Query::<vps::ListQuery>::try_from_uri(&uri);
    let _ = Query::<vps::ModulesQuery>::try_from_uri(&uri);
    let _ = Query::<vps::VpsQuery>::try_from_uri(&uri);
    let _ = Query::<vps::SchemaQuery>::try_from_uri(&uri);
    let _ = Query::<status::AvailabilityQuery>::try_from_uri(&uri);
}

/// The fields of a request, one a line as in HTTP/1.1: which form it accepts, its type, its host and origin, who asks,
/// its cookies, which codings it takes.
pub fn fields(bytes: &[u8]) {
    const OFFERED: [&str; 3] = ["application/json", "application/cbor", "application/x-ndjson"];
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii()))
        {
            headers.append(name, value);
        }
    }
    assert!(reply::preferred(&headers, &OFFERED).is_none_or(|preferred| OFFERED.contains(&preferred)));
    let uri = Uri::from_static("/api/v1/stream");
    let refusals = [
        Hosts::Loopback(vec!["mmn.example".to_owned()]).check(&uri, &headers).err(),
        same_origin(&uri, &headers).err(),
        body::content_type(&headers).err(),
        Caller::of(&headers, &TokenKey::new(&[7; 32]), NOW).err(),
    ];
    let _ = (session::cookie(&headers, "mmn_session_8677"), site::coding(&headers));
    for problem in refusals.iter().flatten() {
        told(problem);
    }
}

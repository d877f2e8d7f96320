//! Answers: a value in the encoding that was asked for, or a problem (RFC 9457).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mmn_schema::encoding::Encoding;
use mmn_schema::problem::{self, Problem};
use serde::Serialize;

use crate::problems::RETRY_AFTER;

/// What a handler gives.
pub(crate) type Answer = Result<Response, Failure>;

/// A problem on its way to the client. It is small, so that results are.
#[derive(Debug)]
pub(crate) struct Failure(Box<Problem>);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = with_type(status, problem::CONTENT_TYPE, body);
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let after = self.0.retry_after_s.unwrap_or(RETRY_AFTER.as_secs());
            set_number(response.headers_mut(), header::RETRY_AFTER, after);
        }
        if status == StatusCode::UNAUTHORIZED {
            let how = HeaderValue::from_static("Bearer realm=\"mmn\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}

/// An answer of the given media type.
pub(crate) fn with_type(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A value in the encoding that `Accept` asks for.
pub(crate) fn value<T: Serialize>(status: StatusCode, request: &HeaderMap, value: &T) -> Response {
    in_encoding(status, encoding(request), value)
}

/// As [`value`], in a given encoding.
pub(crate) fn in_encoding<T: Serialize>(status: StatusCode, encoding: Encoding, value: &T) -> Response {
    encoded(status, encoding, encoding.encode(value).map_err(|error| error.to_string()))
}

/// As [`value`], in a given encoding, beside the runtime: for what takes long enough to hold up others.
pub(crate) async fn large_value<T: Serialize + Send + 'static>(
    status: StatusCode,
    encoding: Encoding,
    value: T,
) -> Response {
    let bytes = tokio::task::spawn_blocking(move || encoding.encode(&value)).await;
    let bytes = match bytes {
        Ok(bytes) => bytes.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    encoded(status, encoding, bytes)
}

fn encoded(status: StatusCode, encoding: Encoding, bytes: Result<Vec<u8>, String>) -> Response {
    match bytes {
        Ok(bytes) => {
            let mut response = with_type(status, encoding.content_type(), bytes);
            response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
            response
        }
        Err(error) => {
            Failure::from(internal(format!("the answer can't be written: {error}"))).into_response()
        }
    }
}

/// As [`value`], with 200.
pub(crate) fn ok<T: Serialize>(request: &HeaderMap, value: &T) -> Response {
    self::value(StatusCode::OK, request, value)
}

/// JSON, unless CBOR is preferred.
pub(crate) fn encoding(request: &HeaderMap) -> Encoding {
    match preferred(request, &["application/json", "application/cbor"]) {
        Some("application/cbor") => Encoding::Cbor,
        _ => Encoding::Json,
    }
}

/// Which of `offered` the `Accept` field prefers (RFC 9110, section 12.5.1), the first among equals; the first, too,
/// where there is no such field. `None` where it accepts none of them.
pub(crate) fn preferred<'a>(request: &HeaderMap, offered: &[&'a str]) -> Option<&'a str> {
    let mut fields = request.get_all(header::ACCEPT).iter().peekable();
    if fields.peek().is_none() {
        return offered.first().copied();
    }
    let ranges: Vec<(&str, f32)> = fields
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let quality = parts
                .find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")))
                .map_or(1.0, |text| text.parse().unwrap_or(0.0));
            (media, quality)
        })
        .collect();
    let quality_of = |media: &str| {
        let main = media.split('/').next().unwrap_or_default();
        // The most specific range that matches decides.
        let (_, quality) = ranges
            .iter()
            .filter_map(|(range, quality)| {
                let specific = if range.eq_ignore_ascii_case(media) {
                    2
                } else if range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(main)) {
                    1
                } else if *range == "*/*" {
                    0
                } else {
                    return None;
                };
                Some((specific, *quality))
            })
            .max_by_key(|(specific, _)| *specific)?;
        (quality > 0.0).then_some(quality)
    };
    let mut best: Option<(&str, f32)> = None;
    for media in offered {
        if let Some(quality) = quality_of(media)
            && best.is_none_or(|(_, most)| quality > most)
        {
            best = Some((media, quality));
        }
    }
    best.map(|(media, _)| media)
}

/// Sets a field to a number.
pub(crate) fn set_number(headers: &mut HeaderMap, name: HeaderName, number: u64) {
    headers.insert(name, HeaderValue::from(number));
}

/// 500: our own fault.
pub(crate) fn internal(detail: impl std::fmt::Display) -> Problem {
    Problem::new(500, "internal", "The anchor made a mistake").detail(detail)
}

/// 400: the request itself is wrong.
pub(crate) fn bad_request(detail: impl std::fmt::Display) -> Problem {
    Problem::new(400, "bad-request", "The request can't be read").detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: &[&str] = &["application/json", "application/cbor", "text/event-stream"];

    fn accept(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(text))])
    }

    #[test]
    fn the_preferred_type_is_found() {
        assert_eq!(preferred(&HeaderMap::new(), OFFERED), Some("application/json"));
        for (text, media) in [
            ("*/*", Some("application/json")),
            ("application/cbor", Some("application/cbor")),
            ("APPLICATION/CBOR; q=0.5, application/json; q=0.4", Some("application/cbor")),
            ("text/*", Some("text/event-stream")),
            ("text/html, */*; q=0.1", Some("application/json")),
            ("*/*, application/json; q=0", Some("application/cbor")),
            ("text/html", None),
            (";;,,q=,", None),
        ] {
            assert_eq!(preferred(&accept(text), OFFERED), media, "{text}");
        }
    }

    #[test]
    fn waiting_problems_say_how_long() {
        for (status, told) in [(429, true), (503, true), (404, false)] {
            let response = Failure::from(Problem::new(status, "x", "X")).into_response();
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), told);
            assert_eq!(response.headers()[header::CONTENT_TYPE], problem::CONTENT_TYPE);
        }
        let response = Failure::from(Problem::new(429, "x", "X").retry_after(17)).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "17");
    }
}

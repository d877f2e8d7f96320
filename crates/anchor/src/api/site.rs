//! The dashboard: files that were put into this library when it was built (`build.rs`), and nothing read from a disk.
//!
//! A path of the dashboard's own (`/vps`, `/measurements/…`) is answered with its one page where a browser asks for a
//! page; programs get a problem, as for any path that is not there. The page may load what this origin serves, and
//! nothing else.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use super::reply;

/// What the page may do: load its own files, speak to its own origin, be shown in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const INDEX: &str = "/index.html";
/// What stands at `/` in a build without the dashboard.
const ABSENT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>mmn</title>\
    <h1>mmn</h1><p>This is the API of a measurement network. The program was built without its dashboard: \
    <code>make build</code> in the source builds both.</p>\
    <p>What there is: <a href=\"/openapi.json\">/openapi.json</a></p></html>\n";

/// A file and its compressed forms.
#[allow(dead_code, reason = "a build without the dashboard has none")]
struct File {
    path: &'static str,
    hash: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// All files, by path.
const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/site.rs"));

/// A coding of a body (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Gzip,
    Plain,
}

/// The file that a request is for; `None` where there is none.
pub(super) fn answer(head: &Parts) -> Option<Response> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return None;
    }
    let path = head.uri.path();
    let path = if path == "/" { INDEX } else { path };
    if let Some(file) = find(path) {
        return Some(serve(file, &head.headers));
    }
    if !path.starts_with("/api/") && (path == INDEX || asks_for_a_page(&head.headers)) {
        return Some(find(INDEX).map_or_else(absent, |file| serve(file, &head.headers)));
    }
    None
}

fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// Browsers name HTML when somebody goes to an address; programs do not.
fn asks_for_a_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|range| range.trim().starts_with("text/html"))
}

fn serve(file: &'static File, request: &HeaderMap) -> Response {
    let (coding, bytes) = match (coding(request), file.brotli, file.gzip) {
        (Coding::Brotli, Some(bytes), _) => (Some("br"), bytes),
        (Coding::Brotli | Coding::Gzip, _, Some(bytes)) => (Some("gzip"), bytes),
        _ => (None, file.plain),
    };
    let tag = format!("\"{}{}\"", file.hash, coding.unwrap_or_default());
    let known = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known =
        known.flat_map(|value| value.split(',')).any(|one| one.trim().trim_start_matches("W/") == tag);
    let mut response = if known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = reply::with_type(StatusCode::OK, media_type(file.path), bytes);
        if let Some(coding) = coding {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        response
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    // A hash is part of the name of what lies there.
    let keep =
        if file.path.starts_with("/assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    guard(headers);
    response
}

fn absent() -> Response {
    let mut response = reply::with_type(StatusCode::OK, "text/html; charset=utf-8", ABSENT);
    guard(response.headers_mut());
    response
}

fn guard(headers: &mut HeaderMap) {
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    headers.insert(opener, HeaderValue::from_static("same-origin"));
}

/// The best coding that a client takes (RFC 9110, section 12.5.3).
pub(super) fn coding(request: &HeaderMap) -> Coding {
    let takes = |name: &str| {
        let fields = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        fields.flat_map(|value| value.split(',')).any(|one| {
            let mut parts = one.split(';').map(str::trim);
            let named = parts.next().is_some_and(|known| known.eq_ignore_ascii_case(name));
            let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            named && !refused
        })
    };
    match () {
        () if takes("br") => Coding::Brotli,
        () if takes("gzip") => Coding::Gzip,
        () => Coding::Plain,
    }
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: File =
        File { path: "/assets/a-1.js", hash: "00ff", plain: b"plain", brotli: Some(b"br"), gzip: None };

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn head(method: Method, path: &str, accept: &str) -> Parts {
        let request = axum::http::Request::builder().method(method).uri(path).header("accept", accept);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_best_coding_is_taken() {
        for (text, best) in [
            ("gzip, deflate, br, zstd", Coding::Brotli),
            ("gzip;q=0.5, br;q=0", Coding::Gzip),
            ("GZIP", Coding::Gzip),
            ("identity", Coding::Plain),
            ("", Coding::Plain),
        ] {
            assert_eq!(coding(&headers(&[(header::ACCEPT_ENCODING, text)])), best, "{text}");
        }
    }

    #[test]
    fn a_file_is_sent_once() {
        let first = serve(&FILE, &headers(&[(header::ACCEPT_ENCODING, "br")]));
        assert_eq!(first.headers()[header::CONTENT_ENCODING], "br");
        assert!(first.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        assert!(
            first.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("default-src 'none'")
        );
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        let again = [(header::ACCEPT_ENCODING, "br"), (header::IF_NONE_MATCH, tag)];
        assert_eq!(serve(&FILE, &headers(&again)).status(), StatusCode::NOT_MODIFIED);
        // Another coding is another representation.
        let other = serve(&FILE, &headers(&[(header::IF_NONE_MATCH, tag)]));
        assert_eq!((other.status(), other.headers().get(header::CONTENT_ENCODING)), (StatusCode::OK, None));
    }

    #[test]
    fn pages_are_for_browsers() {
        let page = "text/html,application/xhtml+xml,*/*;q=0.8";
        for (method, path, accept, there) in [
            (Method::GET, "/", "*/*", true),
            (Method::GET, "/vps", page, true),
            (Method::HEAD, "/vps", page, true),
            (Method::GET, "/vps", "*/*", false),
            (Method::GET, "/api/v1/nowhere", page, false),
            (Method::POST, "/", page, false),
        ] {
            assert_eq!(answer(&head(method.clone(), path, accept)).is_some(), there, "{method} {path}");
        }
    }
}

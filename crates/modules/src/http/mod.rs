//! `http`: one request to a URL, its phases and its answer, redirects included.
//!
//! *ok* means that an answer came and was read, whatever its status: a 500 is ok. A name that does not resolve, a
//! refused or reset connection, a phase that took too long, TLS that could not be agreed on, and an answer that breaks
//! its protocol are failures with reasons of their own. A target that the site does not allow, also one that a redirect
//! leads to, is refused before the first packet.
//!
//! With `verify` (the default) a certificate that does not hold is a failure and no request is sent. Without it, the
//! verdict is recorded and the request sent. Certificates are judged by Mozilla's roots, which are compiled in: the same
//! at every vantage point, so that verdicts compare.
//!
//! With `ech_config_list` the name of the host travels encrypted (ECH), and another one in clear. A server that does not
//! take that proves the other name, and gets no request: the result is *ok*, not answered, and says what the server gave
//! to try again with (`ech_rejected`). It is not tried again, and never without ECH, which would tell the name after all.
//! Where `verify` is asked for and the other name is not proved, that is a failure like that of any certificate.
//!
//! Bodies are neither decoded nor kept, unless asked for. This kind holds no cookies and reuses no connection.
//!
//! Begin with [`Params`] and [`Body`]; `run` follows redirects, `hop` performs one request.

use std::net::SocketAddr;

use mmn_kit::{Cost, Family, FarEnd, Kind, Octets, SelfTest, Span};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::field;

mod ech;
mod result;

#[cfg(feature = "run")]
mod certificate;
#[cfg(feature = "run")]
mod exchange;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(feature = "run")]
mod hop;
#[cfg(feature = "run")]
mod meter;
#[cfg(feature = "run")]
mod request;
#[cfg(feature = "run")]
mod run;
#[cfg(feature = "run")]
mod target;
#[cfg(feature = "run")]
mod tls;

pub use result::{
    Body, Certificate, EchRejection, EchStatus, FailedConnect, Header, Hop, Payload, Phases, Stopped, Tls,
};

/// The most redirects.
pub const MAX_REDIRECTS: u32 = 10;
/// The largest body that may be asked for, in bytes.
pub const MAX_BODY: u64 = 1 << 30;
/// How much of a body a result keeps, in bytes: it must fit one message.
pub const KEPT_BODY: usize = 192 << 10;
/// The largest head of an answer, in bytes.
pub const MAX_HEAD: usize = 32 << 10;
/// The most header fields of an answer.
pub const MAX_HEADERS: usize = 256;
/// The most of a request that parameters may give, in bytes.
const MAX_GIVEN: usize = 64 << 10;

/// The kind `http`.
#[derive(Debug)]
pub struct Http;

/// Requests a URL and times each phase.
#[expect(clippy::struct_excessive_bools, reason = "switches of the request, each asked for by its own name")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Request method: GET, HEAD, OPTIONS, POST, …
    pub method: String,
    /// HTTP version: auto takes 2 where TLS agrees on it (ALPN), else 1.1.
    pub version: Version,
    /// Header fields to send, each as "Name: value".
    pub headers: Vec<String>,
    /// Text to send as the request's body, at most 64 KiB; absent: none.
    pub body: Option<String>,
    /// Follow redirects.
    pub follow_redirects: bool,
    /// Redirects to follow, at most 10.
    pub max_redirects: u32,
    /// Address family of the server.
    pub family: Family,
    /// Time for everything, redirects included.
    pub timeout: Span,
    /// Time for each of resolving, connecting, TLS and the first byte, and between pieces of the body.
    pub phase_timeout: Span,
    /// Bytes of the body to read before the connection is closed, at most 1073741824.
    pub max_body: u64,
    /// Keep the first 192 KiB of the last answer's body in the result.
    pub keep_body: bool,
    /// Send no request over TLS unless the certificate holds.
    pub verify: bool,
    /// Certificates to trust besides Mozilla's, in PEM; absent: none.
    pub ca: Option<String>,
    /// Name to ask for and to verify in TLS; absent: the URL's host.
    pub server_name: Option<String>,
    /// Addresses to use instead of resolving, each as "host:port:address".
    pub resolve: Vec<String>,
    /// User-Agent field; empty: none.
    pub user_agent: String,
    /// Keep the last answer's certificates in the result (DER).
    pub keep_certificates: bool,
    /// Encrypt the name of the URL's host by the first of these ECH configurations that can be used (`ECHConfigList`, as
    /// the host's HTTPS record has it, in base64), over TLS 1.3; absent: don't.
    #[serde(deserialize_with = "ech::config_list")]
    pub ech_config_list: Option<Octets>,
    /// Send what looks like an encrypted name (GREASE), over TLS 1.3.
    pub ech_grease: bool,
}

/// A version of HTTP to ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Version {
    /// HTTP/2 where TLS agrees on it, else HTTP/1.1.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1 (RFC 9112).
    #[serde(rename = "1.1")]
    Http11,
    /// HTTP/2 (RFC 9113); without TLS with prior knowledge.
    #[serde(rename = "2")]
    Http2,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            version: Version::Auto,
            headers: Vec::new(),
            body: None,
            follow_redirects: true,
            max_redirects: MAX_REDIRECTS,
            family: Family::Any,
            timeout: Span::from_millis(30_000),
            phase_timeout: Span::from_millis(10_000),
            max_body: 10 << 20,
            keep_body: false,
            verify: true,
            ca: None,
            server_name: None,
            resolve: Vec::new(),
            user_agent: concat!("mmn/", env!("CARGO_PKG_VERSION"), " (+measurement)").to_owned(),
            keep_certificates: false,
            ech_config_list: None,
            ech_grease: false,
        }
    }
}

impl Kind for Http {
    const NAME: &'static str = "http";
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
    const DESCRIPTION: &'static str =
        "HTTP: the answer to a request for a URL, and how long each phase of it took, redirects included.";
    const MODULE: &'static str = "http";

    type Params = Params;
    type Body = Body;

    fn summary_fields() -> Vec<SummaryField> {
        vec![
            field("status", "1", "status code of the last answer"),
            field("total_ns", "ns", "from the beginning to the end of the last body"),
            field("resolve_ns", "ns", "resolving, of all hops"),
            field("connect_ns", "ns", "connecting, of all hops"),
            field("tls_ns", "ns", "TLS handshakes, of all hops"),
            field("first_byte_ns", "ns", "from the request to the first byte of its answer, of all hops"),
            field("transfer_ns", "ns", "from the first byte to the last, of all hops"),
            field("body_bytes", "bytes", "length of the last body, as far as it was read"),
            field("redirects", "1", "redirects followed"),
            field(
                "tls_days_left",
                "d",
                "days until the last server's certificate expires, below 0 when it has",
            ),
        ]
    }

    fn check(params: &Params) -> Result<(), String> {
        let within = |holds: bool, text: &str| if holds { Ok(()) } else { Err(text.to_owned()) };
        within(params.max_redirects <= MAX_REDIRECTS, "max_redirects must be at most 10")?;
        within(params.max_body <= MAX_BODY, "max_body must be at most 1073741824")?;
        for (span, name) in [(params.timeout, "timeout"), (params.phase_timeout, "phase_timeout")] {
            within(span.as_ns() > 0, &format!("{name} must be above 0"))?;
            within(span.as_ns() <= 600_000_000_000, &format!("{name} must be at most 10m"))?;
        }
        let token = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        };
        within(token(&params.method), "method must be a word such as GET")?;
        within(!params.method.eq_ignore_ascii_case("CONNECT"), "method must not be CONNECT")?;
        let mut given = params.body.as_ref().map_or(0, String::len) + params.user_agent.len();
        let printable = |text: &str| !text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t');
        within(printable(&params.user_agent), "user_agent must not contain control characters")?;
        for header in &params.headers {
            given += header.len();
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| format!("headers: {header:?} is not \"Name: value\""))?;
            within(token(name) && printable(value), &format!("headers: {header:?} is not \"Name: value\""))?;
            let own = ["connection", "content-length", "transfer-encoding", "upgrade", "te"];
            within(
                !own.iter().any(|own| name.eq_ignore_ascii_case(own)),
                &format!("headers: {name} is not yours to set"),
            )?;
        }
        within(given <= MAX_GIVEN, "headers and body must be at most 64 KiB together")?;
        for entry in &params.resolve {
            result::parse_resolve(entry)?;
        }
        if let Some(list) = &params.ech_config_list {
            within(!params.ech_grease, "ech_grease must not be set together with ech_config_list")?;
            ech::list::Chosen::of(&list.0).map_err(|error| format!("ech_config_list: {error}"))?;
        }
        Ok(())
    }

    fn cost(params: &Params) -> Cost {
        let hops = 1 + if params.follow_redirects { u64::from(params.max_redirects) } else { 0 };
        let given = params.headers.iter().map(String::len).sum::<usize>()
            + params.body.as_ref().map_or(0, String::len)
            + params.user_agent.len();
        let given = u64::try_from(given).unwrap_or(u64::MAX);
        // A connection with TLS sends about a dozen packets; every second segment of what comes is acknowledged.
        let sent = 12 + given / 1_200;
        let acknowledged = params.max_body / (2 * 1_400);
        Cost {
            packets: hops * sent + acknowledged,
            bytes: hops * (sent * 60 + given + 2_500) + acknowledged * 60,
            duration_ns: params.timeout.as_ns(),
        }
    }

    fn self_test() -> Option<SelfTest<Params>> {
        let task = |server: SocketAddr| {
            let params = Params { timeout: Span::from_millis(1_000), verify: false, ..Params::default() };
            (params, Input::Target(format!("http://{server}/")))
        };
        let answer = |request: &[u8]| {
            request
                .ends_with(b"\r\n\r\n")
                .then(|| b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec())
        };
        Some(SelfTest { far_end: FarEnd::Stream(answer), task })
    }
}

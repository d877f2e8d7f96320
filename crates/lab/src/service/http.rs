//! Web pages (RFC 9110, RFC 9112): one response to one request, and how the connection goes on.

use mmn_probe::time::Nanos;

use crate::ids::HostId;
use crate::plan::{Broken, Page, Plan, Web};

/// What a web server does upon a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    /// How long it takes before the first octet.
    pub wait: Nanos,
    /// What it sends.
    pub bytes: Vec<u8>,
    /// How fast; as fast as it goes where absent.
    pub bits_per_s: Option<u64>,
    /// What becomes of the connection then.
    pub ending: Ending,
}

/// What becomes of a connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The next request is awaited.
    Open,
    /// It is closed.
    Closed,
    /// It is reset.
    Reset,
    /// Nothing happens any more.
    Stuck,
}

/// See [`super::Services::http`].
pub(super) fn reply(plan: &Plan, host: HostId, encrypted: bool, request: &[u8]) -> Option<HttpReply> {
    let web = plan
        .webs
        .iter()
        .find(|web| web.host == host && if encrypted { web.certificate.is_some() } else { web.http })?;
    let Some(request) = Request::read(request) else {
        return Some(plain(400, "bad request\n", Ending::Closed));
    };
    if !matches!(request.method, "GET" | "HEAD") {
        return Some(plain(405, "GET and HEAD are served\n", Ending::Closed));
    }
    let ending = if request.keeps_open { Ending::Open } else { Ending::Closed };
    let Some(page) = find(web, &request) else { return Some(plain(404, "no such page\n", ending)) };
    Some(of_page(page, request.method == "HEAD", ending))
}

/// A request, as far as it matters here.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    host: &'a str,
    keeps_open: bool,
}

impl<'a> Request<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, _) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !version.starts_with("HTTP/1.") {
            return None;
        }
        let fields = lines.filter_map(|line| line.split_once(':'));
        let field = |wanted: &str| {
            let mut all = fields.clone();
            all.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map_or("", |(_, value)| value.trim())
        };
        let host = field("host");
        let connection = field("connection");
        let keeps_open = match version {
            "HTTP/1.0" => connection.eq_ignore_ascii_case("keep-alive"),
            _ => !connection.eq_ignore_ascii_case("close"),
        };
        // A proxy's form names the host, too (RFC 9112, section 3.2.2).
        let path = match target.strip_prefix("http://") {
            Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
            None => target,
        };
        Some(Self { method, path: path.split('?').next().unwrap_or(path), host, keeps_open })
    }

    /// The name that was asked for, without its port.
    fn name(&self) -> &'a str {
        let host = self.host;
        host.rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host, |(name, _)| name)
    }
}

fn find<'p>(web: &'p Web, request: &Request<'_>) -> Option<&'p Page> {
    let name = request.name();
    let is_literal = name.parse::<std::net::IpAddr>().is_ok() || name.starts_with('[');
    let known =
        web.names.is_empty() || is_literal || web.names.iter().any(|own| own.eq_ignore_ascii_case(name));
    web.pages.iter().filter(|_| known).find(|page| *page.path == *request.path)
}

fn of_page(page: &Page, head_only: bool, ending: Ending) -> HttpReply {
    let body = page.body.bytes();
    let mut head = head_of(page.status, &page.content_type, body.len(), ending);
    if let Some(location) = &page.location {
        head.extend([format!("Location: {location}")]);
    }
    let mut bytes = (head.join("\r\n") + "\r\n\r\n").into_bytes();
    if !head_only {
        bytes.extend_from_slice(&body);
    }
    let (bytes, ending) = match page.broken {
        None => (bytes, ending),
        Some(Broken::Reset) => (Vec::new(), Ending::Reset),
        Some(Broken::Hang) => (Vec::new(), Ending::Stuck),
        Some(Broken::Garbage) => (b"\x00\x01\x02 this is no HTTP\r\n\r\n".to_vec(), Ending::Closed),
        Some(Broken::Cut) => {
            let kept = bytes.len().saturating_sub(body.len().div_ceil(2));
            (bytes.get(..kept).unwrap_or_default().to_vec(), Ending::Closed)
        }
    };
    HttpReply { wait: page.wait, bytes, bits_per_s: page.bits_per_s, ending }
}

fn plain(status: u16, text: &str, ending: Ending) -> HttpReply {
    let head = head_of(status, "text/plain", text.len(), ending).join("\r\n");
    let bytes = format!("{head}\r\n\r\n{text}").into_bytes();
    HttpReply { wait: Nanos::ZERO, bytes, bits_per_s: None, ending }
}

fn head_of(status: u16, content_type: &str, length: usize, ending: Ending) -> Vec<String> {
    let reason = match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    };
    let mut head = vec![
        format!("HTTP/1.1 {status} {reason}"),
        "Server: lab".to_owned(),
        format!("Content-Type: {content_type}"),
        format!("Content-Length: {length}"),
    ];
    if ending == Ending::Closed {
        head.push("Connection: close".to_owned());
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    const WORLD: &str = r#"
[[router]]
name = "r"
addr = "198.19.0.1"
[[host]]
name = "www"
addr = "198.18.16.1"
at = "r"
[[web]]
host = "www"
names = ["www.example.test"]
tls = "expired"
[[web.page]]
body = "hello\n"
[[web.page]]
path = "/old"
location = "/"
[[web.page]]
path = "/cut"
bytes = 1000
broken = "cut"
[[web.page]]
path = "/slow"
wait_ms = 500.0
mbps = 1.0
bytes = 16
[[web.page]]
path = "/reset"
broken = "reset"
"#;

    fn get(path: &str, host: &str) -> HttpReply {
        let plan = Plan::parse("test", WORLD).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        reply(&plan, HostId::new(0), true, request.as_bytes()).unwrap()
    }

    fn text(reply: &HttpReply) -> String {
        String::from_utf8_lossy(&reply.bytes).into_owned()
    }

    #[test]
    fn pages_are_served() {
        let found = get("/", "www.example.test");
        assert!(text(&found).starts_with("HTTP/1.1 200 OK\r\n") && text(&found).ends_with("\r\n\r\nhello\n"));
        assert_eq!(found.ending, Ending::Open);
        assert!(text(&get("/", "198.18.16.1:443")).starts_with("HTTP/1.1 200"));
        assert!(text(&get("/?query", "WWW.example.test:443")).starts_with("HTTP/1.1 200"));
        assert!(text(&get("/", "other.test")).starts_with("HTTP/1.1 404"));
        assert!(text(&get("/old", "www.example.test")).contains("\r\nLocation: /\r\n"));
    }

    #[test]
    fn pages_fail_as_they_should() {
        let cut = get("/cut", "www.example.test");
        assert!(text(&cut).contains("Content-Length: 1000\r\n") && cut.ending == Ending::Closed);
        assert!(text(&cut).len() < 700);
        let slow = get("/slow", "www.example.test");
        assert_eq!((slow.wait, slow.bits_per_s), (Nanos::from_millis(500), Some(1_000_000)));
        assert_eq!(get("/reset", "www.example.test").ending, Ending::Reset);
        let plan = Plan::parse("test", WORLD).unwrap();
        for garbage in [&b"GET"[..], b"\xff\r\n\r\n", b"GET / HTTP/1.1 x\r\n\r\n"] {
            assert!(
                reply(&plan, HostId::new(0), false, garbage)
                    .is_some_and(|reply| reply.ending == Ending::Closed)
            );
        }
    }
}

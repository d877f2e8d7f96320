//! One request and its answer on a connection that stands, within bounds of time and size.
//!
//! The protocol is hyper's. What hyper does not tell (the first byte, the header fields in their order and case) is
//! taken from the bytes as they pass.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::{Buf, Bytes};
use futures::future::LocalBoxFuture;
use futures::io::{AsyncRead, AsyncWrite};
use futures::stream::{FuturesUnordered, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper::{Request, Response};
use mmn_kit::{Context, Failure, Octets, Reason, code};
use mmn_probe::time::{Instant, Nanos};
use sha2::{Digest, Sha256};

use super::meter::{Meter, Record};
use super::result::{Header, Payload};
use super::{KEPT_BODY, MAX_HEAD, MAX_HEADERS};
use crate::session::{Lap, code_of, within};

/// How much of what comes is kept to read the header from: interim answers, the header, and a little body.
const HEAD_ROOM: usize = 4 * MAX_HEAD;

/// Bytes both ways, within TLS or without.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// When everything must be over.
    pub(super) until: Instant,
    /// How long to wait for the first byte, and for each piece of the body.
    pub(super) phase: Nanos,
    /// How many bytes of the body to read.
    pub(super) max_body: u64,
    /// Whether to keep the body's beginning.
    pub(super) keep_body: bool,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) version: &'static str,
    pub(super) status: u16,
    pub(super) reason: Option<String>,
    pub(super) interim: Vec<u16>,
    pub(super) headers: Vec<Header>,
    pub(super) trailers: Vec<Header>,
    pub(super) body: Payload,
    pub(super) first_byte_ns: u64,
    pub(super) transfer_ns: u64,
    /// How much of that the site's limits took.
    pub(super) transfer_held_ns: u64,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
}

/// Sends the request and reads the answer.
pub(super) async fn exchange(
    context: &dyn Context,
    stream: Box<dyn Duplex>,
    request: Request<Full<Bytes>>,
    http2: bool,
    limits: Limits,
) -> Result<Answer, Failure> {
    let record = Record::new(if http2 { 0 } else { HEAD_ROOM });
    let meter = Meter::new(stream, Rc::clone(&record));
    let began = Lap::begin(context);
    let until = limits.next(context.now());
    let late = || Failure::failed(code::TIMEOUT, "the first byte took too long");
    let connecting = connect(meter, http2);
    let (mut sender, connection) =
        within(context, until, connecting).await.ok_or_else(late)?.map_err(|error| failed(&error))?;
    let mut driven = Driven {
        context,
        record: &record,
        connection: Some(connection),
        error: None,
        began,
        first_byte: None,
    };
    let sending = driven.alongside(sender.send(request));
    let response = match within(context, until, sending).await.ok_or_else(late)? {
        Ok(response) => response,
        // The connection knows better why a request was given up.
        Err(error) if error.is_canceled() || error.is_closed() => {
            return Err(failed(driven.error.as_ref().unwrap_or(&error)));
        }
        Err(error) => return Err(failed(&error)),
    };
    // In HTTP/2 the first bytes are the connection's own: there the header counts.
    let first_byte = driven.first_byte.filter(|_| !http2).unwrap_or_else(|| FirstByte::now(context, began));

    let (parts, incoming) = response.into_parts();
    let head = Head::parse(&record.take_head()).unwrap_or_else(|| Head {
        interim: Vec::new(),
        reason: None,
        headers: parts.headers.iter().map(field).collect(),
    });
    let head_bytes: usize = head.headers.iter().map(Header::wire_bytes).sum();
    if head_bytes > MAX_HEAD {
        return Err(Failure::failed(
            code::PROTOCOL,
            format_args!("a header of {head_bytes} bytes is too large"),
        ));
    }
    let (body, trailers) = read(&mut driven, incoming, limits, parts.status.as_u16()).await?;
    let transfer_ns = context.now().saturating_since(first_byte.at).0;
    Ok(Answer {
        version: match parts.version {
            hyper::Version::HTTP_2 => "2",
            hyper::Version::HTTP_10 => "1.0",
            _ => "1.1",
        },
        status: parts.status.as_u16(),
        reason: head.reason,
        interim: head.interim,
        headers: head.headers,
        trailers,
        body,
        first_byte_ns: first_byte.took_ns,
        transfer_ns,
        transfer_held_ns: first_byte.transfer.held_ns(context),
        sent_bytes: record.written(),
        received_bytes: record.read(),
    })
}

impl Limits {
    fn next(&self, now: Instant) -> Instant {
        (now + self.phase).min(self.until)
    }
}

async fn read(
    driven: &mut Driven<'_>,
    mut incoming: Incoming,
    limits: Limits,
    status: u16,
) -> Result<(Payload, Vec<Header>), Failure> {
    let context = driven.context;
    let mut digest = Sha256::new();
    let mut kept = limits.keep_body.then(Vec::new);
    let mut bytes = 0_u64;
    let mut trailers = Vec::new();
    let mut truncated = false;
    let so_far = |error: Reason, bytes: u64| Failure {
        outcome: mmn_schema::outcome::Outcome::Failed,
        reason: Reason {
            detail: Some(format!(
                "in the body, after status {status} and {bytes} bytes: {}",
                error.detail.unwrap_or_default()
            )),
            code: error.code,
        },
    };
    let too_long = || Reason::with(code::TIMEOUT, "it took too long");
    loop {
        let now = context.now();
        if now >= limits.until {
            return Err(so_far(too_long(), bytes));
        }
        let frame = match within(context, limits.next(now), driven.alongside(incoming.frame())).await {
            None => return Err(so_far(too_long(), bytes)),
            Some(None) => break,
            Some(Some(Err(error))) => return Err(so_far(failed(&error).reason, bytes)),
            Some(Some(Ok(frame))) => frame,
        };
        match frame.into_data() {
            Ok(mut data) => {
                let room = limits.max_body - bytes;
                if u64::try_from(data.remaining()).unwrap_or(u64::MAX) > room {
                    truncated = true;
                    data.truncate(usize::try_from(room).unwrap_or(usize::MAX));
                }
                bytes += u64::try_from(data.len()).unwrap_or(0);
                digest.update(&data);
                if let Some(kept) = &mut kept {
                    kept.extend(data.iter().take(KEPT_BODY - kept.len()));
                }
                if truncated {
                    break;
                }
            }
            Err(frame) => {
                if let Ok(fields) = frame.into_trailers() {
                    trailers.extend(fields.iter().map(field));
                }
            }
        }
    }
    let sha256 = Octets(digest.finalize().to_vec());
    Ok((Payload { bytes, sha256, truncated, content: kept.map(Octets) }, trailers))
}

/// A header as it stood on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    interim: Vec<u16>,
    reason: Option<String>,
    headers: Vec<Header>,
}

impl Head {
    /// Reads it from the first bytes of a connection of HTTP/1 (RFC 9112); absent when it is not there whole.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut interim = Vec::new();
        loop {
            let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut fields);
            let httparse::Status::Complete(length) = response.parse(bytes).ok()? else { return None };
            let status = response.code?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                bytes = bytes.get(length..)?;
                continue;
            }
            let reason = response.reason.filter(|reason| !reason.is_empty()).map(str::to_owned);
            let headers = response.headers.iter().map(|field| Header::new(field.name, field.value)).collect();
            return Some(Self { interim, reason, headers });
        }
    }
}

fn field((name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)) -> Header {
    Header::new(name.as_str(), value.as_bytes())
}

type Connection = LocalBoxFuture<'static, hyper::Result<()>>;

/// A connection at work, and when the first byte came.
struct Driven<'a> {
    context: &'a dyn Context,
    record: &'a Record,
    connection: Option<Connection>,
    error: Option<hyper::Error>,
    began: Lap,
    first_byte: Option<FirstByte>,
}

/// When the answer began to come, and how long that took.
#[derive(Clone, Copy)]
struct FirstByte {
    at: Instant,
    took_ns: u64,
    transfer: Lap,
}

impl FirstByte {
    fn now(context: &dyn Context, began: Lap) -> Self {
        Self { at: context.now(), took_ns: began.took_ns(context), transfer: Lap::begin(context) }
    }
}

impl Driven<'_> {
    /// What the future gives, the connection being driven meanwhile.
    async fn alongside<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Some(Poll::Ready(ended)) = self.connection.as_mut().map(|it| it.as_mut().poll(cx)) {
                self.connection = None;
                self.error = ended.err();
            }
            if self.first_byte.is_none() && self.record.read() > 0 {
                self.first_byte = Some(FirstByte::now(self.context, self.began));
            }
            future.as_mut().poll(cx)
        })
        .await
    }
}

/// Either version's way of sending.
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

async fn connect(meter: Meter<Box<dyn Duplex>>, http2: bool) -> hyper::Result<(Sender, Connection)> {
    if http2 {
        let tasks = Tasks::default();
        let mut builder = http2::Builder::new(tasks.clone());
        builder.max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
        let (sender, connection) = builder.handshake(meter).await?;
        return Ok((Sender::Http2(sender), Box::pin(tasks.beside(Box::pin(connection)))));
    }
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let (sender, connection) = builder.handshake(meter).await?;
    Ok((Sender::Http1(sender), Box::pin(connection)))
}

/// What hyper wants to run beside a connection of HTTP/2: it runs within the task's own future, and ends with it.
#[derive(Clone, Default)]
struct Tasks(Rc<RefCell<Vec<LocalBoxFuture<'static, ()>>>>);

impl Tasks {
    async fn beside(self, mut connection: Connection) -> hyper::Result<()> {
        let mut running = FuturesUnordered::new();
        let mut ended = None;
        poll_fn(|cx| {
            loop {
                if ended.is_none()
                    && let Poll::Ready(result) = connection.as_mut().poll(cx)
                {
                    ended = Some(result);
                }
                let polled = running.poll_next_unpin(cx);
                let new = self.0.take();
                if !new.is_empty() {
                    running.extend(new);
                    continue;
                }
                match (polled, ended.take()) {
                    (Poll::Ready(Some(())), still) => ended = still,
                    // What runs beside ends with the connection, or soon after.
                    (Poll::Ready(None), Some(result)) => return Poll::Ready(result),
                    (_, still) => {
                        ended = still;
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        self.0.borrow_mut().push(Box::pin(future) as Pin<Box<_>>);
    }
}

/// Why there is no answer: what the stream said where it said something, else what hyper made of the bytes.
fn failed(error: &hyper::Error) -> Failure {
    let mut source = std::error::Error::source(error);
    let mut text = error.to_string();
    while let Some(cause) = source {
        if let Some(stream) = cause.downcast_ref::<io::Error>() {
            return Failure::failed(code_of(stream), stream);
        }
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if error.is_incomplete_message() {
        return Failure::failed(
            code::PROTOCOL,
            "the server closed the connection before its answer was whole",
        );
    }
    Failure::failed(code::PROTOCOL, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_keep_order_case_and_bytes() {
        let head = Head::parse(
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not here\r\nB: 1\r\na: \xff\r\nB: 2\r\n\r\nbody",
        )
        .unwrap();
        assert_eq!(head.interim, [103]);
        assert_eq!(head.reason.as_deref(), Some("Not here"));
        let names: Vec<&str> = head.headers.iter().map(|header| header.name.as_str()).collect();
        assert_eq!(names, ["B", "a", "B"]);
        assert_eq!(head.headers[1].bytes, Some(Octets(vec![0xff])));
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\nA: b\r\n"), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = Head::parse(&bytes);
            let _ = Head::parse(&[b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 ", &bytes[..]].concat());
        }
    }
}

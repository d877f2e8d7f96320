//! A plain HTTP client: one connection a request, nothing hidden.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::network::Network;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The reason of a problem; fails where the answer is none.
    pub(crate) fn reason(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        let reason = problem["reason"].as_str().unwrap().to_owned();
        assert_eq!(problem["type"], format!("/problems/{reason}"));
        reason
    }
}

/// A request before it is sent. It has the network's token unless another `authorization` is set.
pub(crate) struct Ask<'a> {
    network: &'a Network,
    address: SocketAddr,
    method: Method,
    path: String,
    fields: Vec<(&'static str, String)>,
    body: Bytes,
    anonymous: bool,
}

pub(crate) fn ask(network: &Network, method: Method, path: impl Into<String>) -> Ask<'_> {
    let (fields, body) = (Vec::new(), Bytes::new());
    Ask { network, address: network.address, method, path: path.into(), fields, body, anonymous: false }
}

pub(crate) async fn get(network: &Network, path: impl Into<String>) -> Answer {
    ask(network, Method::GET, path).send().await
}

pub(crate) async fn post(network: &Network, path: impl Into<String>, body: &Value) -> Answer {
    ask(network, Method::POST, path).json(body).send().await
}

impl Ask<'_> {
    pub(crate) fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Of another anchor.
    pub(crate) fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    pub(crate) fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.field("content-type", "application/json").body(body.to_string())
    }

    pub(crate) async fn send(self) -> Answer {
        let (head, body) = self.open().await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Sends it, and leaves the answer's body to be read.
    pub(crate) async fn open(self) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(self.method).uri(self.path);
        let has = |name: &str| self.fields.iter().any(|(field, _)| *field == name);
        if !has("host") {
            request = request.header("host", self.address.to_string());
        }
        if !self.anonymous && !has("authorization") {
            request = request.header("authorization", format!("Bearer {}", self.network.token));
        }
        for (name, value) in self.fields {
            request = request.header(name, value);
        }
        let answer = sender.send_request(request.body(Full::new(self.body)).unwrap()).await.unwrap();
        // The connection ends with its sender, and a body may still be on its way.
        tokio::spawn(async move { sender.ready().await });
        answer
    }
}

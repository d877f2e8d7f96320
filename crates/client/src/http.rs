//! One HTTP exchange over a connection that is kept for the next one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use crate::{Client, ClientError};

/// The most idle connections that are kept.
const MAX_IDLE: usize = 4;
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 256 << 20;
/// How long an answer may take beyond what the request asks the API to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The pauses before a call that may be repeated is repeated.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];

/// The idle connections.
#[derive(Debug, Default)]
pub(crate) struct Http {
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// A request before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// The body, in JSON.
    pub(crate) body: Option<Bytes>,
    pub(crate) key: Option<String>,
    /// How long the API is asked to wait before it answers.
    pub(crate) wait: Duration,
    /// Whether a second copy of it does no harm.
    pub(crate) repeatable: bool,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
            key: None,
            wait: Duration::ZERO,
            repeatable: true,
        }
    }
}

impl Client {
    /// Sends a call, again where that is safe and the way to the API failed, and reads the answer.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let body = self.exchange(call).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Answer(error.to_string()))
    }

    /// As [`call`](Self::call), for the bytes of the answer.
    pub(crate) async fn exchange(&self, call: Call) -> Result<Bytes, ClientError> {
        let mut pauses = PAUSES.iter();
        loop {
            let error = match self.once(&call).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            // Nobody listens: waiting would only keep the person waiting.
            let hopeless = matches!(error, ClientError::Connect { .. });
            match pauses.next() {
                Some(pause) if call.repeatable && error.is_passing() && !hopeless => {
                    tokio::time::sleep(*pause).await;
                }
                _ => return Err(error),
            }
        }
    }

    async fn once(&self, call: &Call) -> Result<Bytes, ClientError> {
        let exchange = async {
            let (status, body) = self.send(call).await?;
            if (200..300).contains(&status) { Ok(body) } else { Err(ClientError::of_answer(status, &body)) }
        };
        match tokio::time::timeout(call.wait + ANSWER_TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Broken("no answer in time".into(), None)),
        }
    }

    async fn send(&self, call: &Call) -> Result<(u16, Bytes), ClientError> {
        let mut request = self.request(call)?;
        // An idle connection may have been closed meanwhile: then the request comes back unsent.
        while let Some(mut connection) = self.inner.http.take() {
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(response) => return self.read(connection, response).await,
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(ClientError::broken(error.into_error())),
                },
            }
        }
        let stream = self.inner.endpoint.connect().await?;
        let (mut connection, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::broken)?;
        // Its error reaches the request that waits for the answer.
        tokio::spawn(driver);
        let response = connection.send_request(request).await.map_err(|error| {
            if error.is_parse() { self.inner.endpoint.other_scheme() } else { ClientError::broken(error) }
        })?;
        self.read(connection, response).await
    }

    async fn read(
        &self,
        connection: SendRequest<Full<Bytes>>,
        response: hyper::Response<hyper::body::Incoming>,
    ) -> Result<(u16, Bytes), ClientError> {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(ClientError::broken)?.to_bytes();
        self.inner.http.give_back(connection);
        Ok((status, body))
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::HOST, &self.inner.endpoint.authority)
            .header(header::USER_AGENT, concat!("mmn/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json, application/problem+json");
        if let Some(value) = self.authorization() {
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(key) = &call.key {
            request = request.header("Idempotency-Key", key);
        }
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::new(call.body.clone().unwrap_or_default()))
            .map_err(|error| ClientError::Answer(format!("the request can not be written: {error}")))
    }
}

impl Http {
    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| !kept.is_closed());
        if idle.len() < MAX_IDLE && !connection.is_closed() {
            idle.push(connection);
        }
    }
}

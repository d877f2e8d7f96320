//! One WebSocket connection: messages of [`mmn_schema::stream`] in CBOR.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use mmn_schema::encoding::Encoding;
use mmn_schema::stream::{FromAnchor, FromClient};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::transport::Io;
use crate::{Client, ClientError};

/// A connection on which nothing came for so long is asked whether it lives, and given up after as long again.
pub(crate) const QUIET: Duration = Duration::from_secs(15);
/// The longest message, in bytes.
const MAX_MESSAGE: usize = 64 << 20;

/// An open connection.
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<Box<dyn Io>>,
    /// A ping is out, and nothing came since.
    asked: bool,
}

impl Client {
    /// Opens a WebSocket.
    pub(crate) async fn socket(&self) -> Result<Socket, ClientError> {
        let endpoint = &self.inner.endpoint;
        let scheme = if endpoint.secure() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}/api/v1/stream", endpoint.authority);
        let mut request = url.as_str().into_client_request().map_err(ClientError::broken)?;
        if let Some(value) = self.authorization() {
            let value = HeaderValue::from_str(&value).map_err(|_| {
                ClientError::Answer("the token holds characters that no header may hold".into())
            })?;
            request.headers_mut().insert("authorization", value);
        }
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let stream = endpoint.connect().await?;
        let opening = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        match tokio::time::timeout(QUIET, opening).await {
            Ok(Ok((stream, _))) => Ok(Socket { stream, asked: false }),
            Ok(Err(tungstenite::Error::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err(ClientError::of_answer(response.status().as_u16(), body))
            }
            Ok(Err(error)) => Err(ClientError::broken(error)),
            Err(_) => Err(ClientError::Broken("no answer in time".into(), None)),
        }
    }
}

impl Socket {
    pub(crate) async fn send(&mut self, message: &FromClient) -> Result<(), ClientError> {
        let bytes = Encoding::Cbor.encode(message).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.stream.send(Message::Binary(bytes.into())).await.map_err(ClientError::broken)
    }

    /// The next message. A call that is dropped before its end loses none.
    pub(crate) async fn receive(&mut self) -> Result<FromAnchor, ClientError> {
        let (encoding, frame) = self.receive_frame().await?;
        decoded(encoding, &frame)
    }

    /// The next message as it is written. A call that is dropped before its end loses none.
    pub(crate) async fn receive_frame(&mut self) -> Result<(Encoding, Bytes), ClientError> {
        loop {
            let Ok(next) = tokio::time::timeout(QUIET, self.stream.next()).await else {
                if self.asked {
                    return Err(ClientError::Broken("nothing came for too long".into(), None));
                }
                self.asked = true;
                self.stream.send(Message::Ping(Vec::new().into())).await.map_err(ClientError::broken)?;
                continue;
            };
            self.asked = false;
            let message = match next {
                None => return Err(ClientError::Broken("the API closed it".into(), None)),
                Some(message) => message.map_err(ClientError::broken)?,
            };
            match message {
                Message::Binary(bytes) => return Ok((Encoding::Cbor, bytes)),
                Message::Text(text) => return Ok((Encoding::Json, text.into())),
                Message::Close(_) => {
                    return Err(ClientError::Broken("the API closed it".into(), None));
                }
                // The library answers pings itself.
                _ => {}
            }
        }
    }
}

/// A message.
pub(crate) fn decoded(encoding: Encoding, frame: &[u8]) -> Result<FromAnchor, ClientError> {
    encoding.decode(frame).map_err(|error| ClientError::Answer(error.to_string()))
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("asked", &self.asked).finish_non_exhaustive()
    }
}

/// The pauses between attempts to connect again: doubling, and at an end after half a minute.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience {
    attempts: u32,
}

impl Patience {
    const MAX_ATTEMPTS: u32 = 20;

    /// Waits before the next attempt; gives `error` back when there have been enough.
    pub(crate) async fn wait(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_passing() || self.attempts >= Self::MAX_ATTEMPTS {
            return Err(error);
        }
        let pause = Duration::from_millis(50 << self.attempts.min(6)).min(Duration::from_secs(2));
        self.attempts += 1;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    pub(crate) fn renew(&mut self) {
        self.attempts = 0;
    }
}

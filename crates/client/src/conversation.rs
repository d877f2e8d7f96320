//! The WebSocket as it is, for programs that carry many measurements over one connection.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use futures::{Sink, Stream};
use mmn_schema::encoding::Encoding;
use mmn_schema::stream::{FromAnchor, FromClient};
use tokio_tungstenite::tungstenite::Message;

use crate::socket::{QUIET, Socket};
use crate::{Client, ClientError};

/// A connection on which questions are put and answers heard, in whatever order they come.
///
/// Nothing is repeated and nothing resumed: when it breaks, what was under way is for the caller to find out. What is said
/// waits until [`hear`](Self::hear) is awaited, which writes and reads at the same time, so that neither side waits for
/// the other.
#[derive(Debug)]
pub struct Conversation {
    socket: Socket,
    waiting: VecDeque<Message>,
    flushed: bool,
    asked: bool,
}

impl Client {
    /// Opens a connection for questions of one's own.
    pub async fn converse(&self) -> Result<Conversation, ClientError> {
        let socket = self.socket().await?;
        Ok(Conversation { socket, waiting: VecDeque::new(), flushed: true, asked: false })
    }
}

impl Conversation {
    /// Says something: it leaves as [`hear`](Self::hear) or [`flush`](Self::flush) is awaited.
    pub fn say(&mut self, question: &FromClient) -> Result<(), ClientError> {
        let bytes =
            Encoding::Cbor.encode(question).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.waiting.push_back(Message::Binary(bytes.into()));
        Ok(())
    }

    /// How much was said and has not left.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next answer. A call that is dropped before its end loses nothing.
    pub async fn hear(&mut self) -> Result<FromAnchor, ClientError> {
        loop {
            let next = std::future::poll_fn(|context| self.poll(context));
            let Ok(next) = tokio::time::timeout(QUIET, next).await else {
                if self.asked {
                    return Err(ClientError::Broken("nothing came for too long".into(), None));
                }
                self.asked = true;
                self.waiting.push_back(Message::Ping(Vec::new().into()));
                continue;
            };
            self.asked = false;
            let decoded = match next? {
                Message::Binary(bytes) => Encoding::Cbor.decode(&bytes),
                Message::Text(text) => Encoding::Json.decode(text.as_bytes()),
                Message::Close(_) => return Err(ClientError::Broken("the API closed it".into(), None)),
                _ => continue,
            };
            return decoded.map_err(|error| ClientError::Answer(error.to_string()));
        }
    }

    /// Waits until all that was said has left.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        std::future::poll_fn(|context| self.write(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, ClientError>> {
        if let Poll::Ready(Err(error)) = self.write(context) {
            return Poll::Ready(Err(error));
        }
        std::pin::Pin::new(&mut self.socket.stream).poll_next(context).map(|next| match next {
            Some(message) => message.map_err(ClientError::broken),
            None => Err(ClientError::Broken("the API closed it".into(), None)),
        })
    }

    fn write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        let mut stream = std::pin::Pin::new(&mut self.socket.stream);
        while !self.waiting.is_empty() {
            match stream.as_mut().poll_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ClientError::broken(error))),
                Poll::Pending => return Poll::Pending,
            }
            if let Some(message) = self.waiting.pop_front() {
                self.flushed = false;
                if let Err(error) = stream.as_mut().start_send(message) {
                    return Poll::Ready(Err(ClientError::broken(error)));
                }
            }
        }
        if self.flushed {
            return Poll::Ready(Ok(()));
        }
        stream.poll_flush(context).map(|flushed| {
            self.flushed = flushed.is_ok();
            flushed.map_err(ClientError::broken)
        })
    }
}

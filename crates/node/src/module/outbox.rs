//! What leaves, in order. A message that the connection does not take at once waits here, and nothing else is begun
//! until it is gone.

use std::collections::VecDeque;

use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::LocalBoxFuture;

type Sending = LocalBoxFuture<'static, Result<(), async_nats::PublishError>>;

/// Messages on their way to the connection.
pub(super) struct Outbox {
    client: Client,
    sending: Option<Sending>,
    waiting: VecDeque<(Subject, Option<HeaderMap>, Bytes)>,
}

impl Outbox {
    pub(super) const fn new(client: Client) -> Self {
        Self { client, sending: None, waiting: VecDeque::new() }
    }

    /// Whether everything was taken.
    pub(super) fn is_clear(&self) -> bool {
        self.sending.is_none() && self.waiting.is_empty()
    }

    /// Sends, at once where the connection takes it.
    pub(super) fn push(&mut self, to: Subject, headers: Option<HeaderMap>, payload: Bytes) {
        self.waiting.push_back((to, headers, payload));
        while self.sending.is_none() {
            let Some((to, headers, payload)) = self.waiting.pop_front() else { return };
            let client = self.client.clone();
            let mut sending: Sending = async move {
                match headers {
                    Some(headers) => client.publish_with_headers(to, headers, payload).await,
                    None => client.publish(to, payload).await,
                }
            }
            .boxed_local();
            match (&mut sending).now_or_never() {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::error!(%error, "a message was not sent"),
                None => self.sending = Some(sending),
            }
        }
    }

    /// Waits until everything was taken.
    pub(super) async fn settle(&mut self) {
        while let Some(sending) = &mut self.sending {
            if let Err(error) = sending.await {
                tracing::error!(%error, "a message was not sent");
            }
            self.sending = None;
            if let Some((to, headers, payload)) = self.waiting.pop_front() {
                self.push_front(to, headers, payload);
            }
        }
    }

    /// The connection is gone: answers that wait for it are of no use on the next one. Results are not lost by it:
    /// they stay at the desk until they are acknowledged.
    pub(super) fn give_up_waiting(&mut self) {
        self.waiting.clear();
    }

    fn push_front(&mut self, to: Subject, headers: Option<HeaderMap>, payload: Bytes) {
        let rest = std::mem::take(&mut self.waiting);
        self.push(to, headers, payload);
        for (to, headers, payload) in rest {
            self.push(to, headers, payload);
        }
    }
}

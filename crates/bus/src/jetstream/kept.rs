//! Publishes that must be kept: sent again, with the same id, until JetStream has acknowledged.

use std::str::FromStr;
use std::time::Duration;

use async_nats::{HeaderMap, HeaderValue, Request, RequestErrorKind, jetstream};
use bytes::Bytes;
use serde::Deserialize;

use crate::connect::{Bus, Link};

const ACK_TIMEOUT: Duration = Duration::from_secs(1);
/// Between attempts, when the server or the stream is away.
const PAUSE: Duration = Duration::from_millis(50);
/// JetStream's codes for want of resources, memory and disk, and for a stream's own bounds.
const FULL: [u64; 4] = [10_023, 10_028, 10_047, 10_077];

/// JetStream's acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The message's number in its stream.
    pub sequence: u64,
    /// An earlier attempt had arrived.
    pub duplicate: bool,
}

impl Bus {
    /// Publishes until JetStream has acknowledged: one attempt a second, and one whenever the connection is
    /// made anew, each with the same `Nats-Msg-Id`, so that it is kept once (within the stream's duplicate window).
    ///
    /// It goes on for ever while nobody answers; drop the future to stop. At most 64 are under way
    /// per connection, further callers wait their turn.
    pub async fn publish_kept(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        msg_id: &str,
    ) -> Result<Kept, KeptError> {
        let _slot = self.kept.acquire().await.map_err(|_| KeptError::Closed)?;
        let id = HeaderValue::from_str(msg_id).map_err(|_| KeptError::MessageId)?;
        loop {
            let mut headers = headers.clone().unwrap_or_default();
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id.clone());
            let request = Request::new().headers(headers).payload(payload.clone()).timeout(Some(ACK_TIMEOUT));
            let answer = tokio::select! {
                answer = self.client().send_request(subject.to_owned(), request) => answer,
                () = self.made_anew() => continue,
            };
            match answer {
                Ok(answer) => match serde_json::from_slice(&answer.payload) {
                    Ok(Answer { error: None, seq: Some(sequence), duplicate }) => {
                        return Ok(Kept { sequence, duplicate });
                    }
                    Ok(Answer { error: Some(error), .. }) if is_passing(&error) => {}
                    Ok(Answer { error: Some(error), .. }) if FULL.contains(&error.error_code().0) => {
                        return Err(KeptError::Full(error));
                    }
                    Ok(Answer { error: Some(error), .. }) => return Err(KeptError::Refused(error)),
                    _ => return Err(KeptError::NotJetStream),
                },
                Err(error) => match error.kind() {
                    // The attempt itself has taken its second.
                    RequestErrorKind::TimedOut => continue,
                    RequestErrorKind::NoResponders | RequestErrorKind::Other => {
                        if *self.link().borrow() == Link::Closed {
                            return Err(KeptError::Closed);
                        }
                    }
                    RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                        return Err(KeptError::Unsendable(error));
                    }
                },
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Comes when there is another connection than now: an answer on the former one will not come any more.
    async fn made_anew(&self) {
        let mut link = self.link();
        let now = *link.borrow();
        let anew = |link: &Link| matches!(link, Link::Up { .. }) && *link != now;
        if link.wait_for(anew).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// One of `error` and `seq` is there.
#[derive(Deserialize)]
struct Answer {
    error: Option<jetstream::Error>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
}

/// A server that is starting, or a cluster without a leader, answers like this for a while.
fn is_passing(error: &jetstream::Error) -> bool {
    error.code() == 503 && !FULL.contains(&error.error_code().0)
}

/// Why a message is not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// The stream or the disk is full.
    #[error("the store is full")]
    Full(#[source] jetstream::Error),
    /// JetStream refused for another reason that will not pass.
    #[error("JetStream refused")]
    Refused(#[source] jetstream::Error),
    /// The message can not be sent: its subject is invalid, or it is too large.
    #[error("the message can not be sent")]
    Unsendable(#[source] async_nats::RequestError),
    /// The id has a line break in it.
    #[error("the message id can not stand in a header")]
    MessageId,
    /// Somebody else than JetStream answered on that subject.
    #[error("the answer is not JetStream's")]
    NotJetStream,
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}

//! The WebSocket at `/api/v1/stream` (messages: [`mmn_schema::stream`]).
//!
//! One task per connection does it all: it reads questions, waits for the anchor's answers, reads the results of all
//! subscriptions and writes. What waits to be written is bounded; when it is full, neither results nor questions are
//! read, so that a client that is slow holds up itself alone. Nothing is dropped but events, and those are counted.
//!
//! Begin at [`converse`]; `session` decides what an answer is, `subscription` how far results may go.

pub(super) mod codec;
mod session;
mod subscription;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Poll;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use futures::{FutureExt, Sink, SinkExt, StreamExt};
use mmn_schema::problem::Problem;
use tokio::time::MissedTickBehavior;

use super::Api;
use super::call::{Call, Caller};
use super::host::same_origin;
use super::limits::{KEEP_ALIVE, MAX_FRAME_BYTES, STOP_TIMEOUT};
use super::listener::Listener;
use super::reply::{Answer, Failure, bad_request};
use super::route::{Access, Route};
use session::Session;

/// How many bytes may wait to be written before no more results are read.
const MAX_RESULTS_WAITING: usize = 1 << 20;
/// How many bytes may wait to be written before no more questions are read.
const MAX_ANSWERS_WAITING: usize = 4 << 20;
/// How much is taken before answers are written.
const MAX_AT_ONCE: usize = 256;
/// About how many bytes of answers: others want to be served too.
const MAX_BYTES_AT_ONCE: usize = 64 * 1024;
/// After how many intervals without a sign of life a connection is given up.
const MAX_QUIET: u32 = 3;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/stream", "openStream", open)
            .summary(
                "Opens a WebSocket that carries any number of measurements and subscriptions: `FromClient` one way, \
                 `FromAnchor` the other; JSON in text frames, CBOR in binary ones.",
            )
            .access(Access::Partly)
            .answer(101, "The connection is a WebSocket now.", vec![])
            .problems(&[403, 426]),
    ]
}

async fn open(caller: Caller, mut call: Call) -> Answer {
    same_origin(&call.head.uri, &call.head.headers)?;
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut call.head, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Err(not_a_websocket(&rejection.body_text())),
    };
    let api = call.api;
    Ok(upgrade.max_message_size(MAX_FRAME_BYTES).max_frame_size(MAX_FRAME_BYTES).on_upgrade(
        move |socket| async move {
            let running = api.tasks.token();
            let counted = api.traffic.sockets.count();
            converse(socket, &api, caller).await;
            drop((counted, running));
        },
    ))
}

fn not_a_websocket(detail: &str) -> Failure {
    if detail.contains("version") {
        return bad_request(detail).into();
    }
    Problem::new(426, "upgrade-required", "This path speaks WebSocket")
        .detail(detail)
        .hint("open it with a WebSocket client")
        .into()
}

/// Serves one connection to its end.
async fn converse(socket: WebSocket, api: &Arc<Api>, caller: Caller) {
    let (mut sink, mut stream) = socket.split();
    let mut listener = Listener::new(api, &caller);
    let mut session = Session::new(api.anchor.clone(), caller);
    let mut out = Outbox::default();
    let mut ticks = tokio::time::interval(KEEP_ALIVE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quiet = 0;
    let farewell = loop {
        let mut farewell = None;
        tokio::select! {
            written = out.write(&mut sink), if !out.is_empty() => match written {
                Ok(()) => quiet = 0,
                Err(_) => return,
            },
            message = stream.next(), if out.bytes < MAX_ANSWERS_WAITING && session.has_room() => {
                quiet = 0;
                match hear(message, &mut session) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(End::Farewell(farewell)) => break farewell,
                    ControlFlow::Break(End::Gone) => return,
                }
            },
            () = session.turn(), if out.bytes < MAX_RESULTS_WAITING => {}
            _ = ticks.tick() => {
                quiet += 1;
                if quiet > MAX_QUIET {
                    return;
                }
                out.push(Message::Ping(bytes::Bytes::new()));
            }
            () = listener.due() => {
                if let Err(why) = listener.may_hear().await {
                    break Some((close_code::POLICY, why));
                }
            }
            () = api.stop.cancelled() => break Some((close_code::AWAY, "the anchor stops")),
        }
        out.take(&mut session);
        // What else is there is taken before anything is written: under load a write carries many answers.
        let mut left = MAX_AT_ONCE;
        while left > 0 {
            left -= 1;
            let mut idle = true;
            if out.bytes < MAX_ANSWERS_WAITING
                && session.has_room()
                && let Some(message) = stream.next().now_or_never()
            {
                idle = false;
                match hear(message, &mut session) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(End::Farewell(said)) => {
                        farewell = Some(said);
                        left = 0;
                    }
                    ControlFlow::Break(End::Gone) => return,
                }
            }
            if out.bytes < MAX_RESULTS_WAITING && session.turn().now_or_never().is_some() {
                idle = false;
            }
            out.take(&mut session);
            if idle || out.bytes > MAX_BYTES_AT_ONCE {
                break;
            }
        }
        if let Some(farewell) = farewell {
            break farewell;
        }
    };
    // What waits is not written any more: the client resumes from its cursor.
    let goodbye = async {
        if let Some((code, reason)) = farewell {
            sink.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await?;
            // Until the client has answered: a connection that is dropped on unread bytes takes the message back.
            while let Some(Ok(_)) = stream.next().await {}
        }
        sink.close().await
    };
    let _ = tokio::time::timeout(STOP_TIMEOUT / 2, goodbye).await;
}

/// How a conversation ends.
enum End {
    /// With this word, if any.
    Farewell(Option<(u16, &'static str)>),
    /// Nobody is there to hear one.
    Gone,
}

/// Takes a message.
fn hear(message: Option<Result<Message, axum::Error>>, session: &mut Session) -> ControlFlow<End> {
    match message {
        Some(Ok(Message::Text(text))) => session.take(codec::read_text(text.as_bytes())),
        Some(Ok(Message::Binary(bytes))) => session.take(codec::read_binary(&bytes)),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
        // What answers it lies ready, and leaves with the rest.
        Some(Ok(Message::Close(_))) => return ControlFlow::Break(End::Farewell(None)),
        None => return ControlFlow::Break(End::Gone),
        Some(Err(error)) => return ControlFlow::Break(End::Farewell(broken(&error))),
    }
    ControlFlow::Continue(())
}

/// What to say to a client whose message could not be read at all.
fn broken(error: &axum::Error) -> Option<(u16, &'static str)> {
    // The type of the error behind it is not ours to name; its words are all there is.
    let text = error.to_string();
    if text.contains("too long") || text.contains("too large") {
        return Some((close_code::SIZE, "a message is too long"));
    }
    (text.contains("UTF-8") || text.contains("rotocol")).then_some((close_code::PROTOCOL, "no WebSocket"))
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Outbox {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Whether something was handed to the socket and not flushed.
    unflushed: bool,
}

impl Outbox {
    fn push(&mut self, message: Message) {
        self.bytes += size(&message);
        self.messages.push_back(message);
    }

    /// Takes what the session has to say.
    fn take(&mut self, session: &mut Session) {
        for (form, answer) in session.answers() {
            self.push(codec::write(form, &answer));
        }
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.unflushed
    }

    /// Writes all that waits. It may be dropped at any time: what was written stays written, the rest waits.
    async fn write<S: Sink<Message, Error = axum::Error> + Unpin>(
        &mut self,
        sink: &mut S,
    ) -> Result<(), axum::Error> {
        std::future::poll_fn(|context| {
            while !self.messages.is_empty() {
                match sink.poll_ready_unpin(context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
                if let Some(message) = self.messages.pop_front() {
                    self.bytes = self.bytes.saturating_sub(size(&message));
                    self.unflushed = true;
                    sink.start_send_unpin(message)?;
                }
            }
            let flushed = sink.poll_flush_unpin(context);
            if flushed.is_ready() {
                self.unflushed = false;
            }
            flushed
        })
        .await
    }
}

fn size(message: &Message) -> usize {
    let length = match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    };
    // What a message costs besides its bytes.
    length + 64
}

//! One vantage point: a node and a module, and the daemon that measures for them, over any number of connections.
//!
//! While a connection is broken, questions wait: those that the daemon has got it goes on with, and it comes back for them. A
//! daemon that does not come back in time is gone: its questions are answered with that, and its node ends without a goodbye.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mmn_kit::{Failure, Reason};
use mmn_node::{Config, NodeError};
use mmn_scamper::remote::{Magic, Resume, accept};
use mmn_schema::outcome::{Outcome, code};
use mmn_warts::Record;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ask::{Ask, Asked, Key};
use crate::clock;
use crate::desk::{Desk, Told};

/// What is read of a connection at a time.
const READ: usize = 64 << 10;

/// A connection, with TLS or without.
pub(crate) type Stream = Box<dyn Duplex>;

/// Octets both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// A daemon that has said who it is.
pub(crate) struct Arrival {
    pub(crate) stream: Stream,
    pub(crate) peer: SocketAddr,
    pub(crate) as_what: As,
    /// What came behind that.
    pub(crate) rest: Vec<u8>,
    /// Gives the connection back where it is not taken.
    pub(crate) back: oneshot::Sender<Back>,
}

/// As what a daemon comes.
pub(crate) enum As {
    New(Magic),
    Resume(Resume),
}

/// A connection that is not taken.
pub(crate) enum Back {
    /// Another daemon of that name is connected: this one has to go.
    Taken,
    /// Its session is not known any more: it may begin anew on the same connection.
    Unknown(Stream, Vec<u8>),
}

/// What others know of a vantage point.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    /// The session that it has.
    pub(crate) magic: watch::Receiver<Option<Magic>>,
}

/// What a vantage point begins with.
pub(crate) struct Beginning {
    pub(crate) name: String,
    pub(crate) node: Config,
    pub(crate) asked: Asked,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    pub(crate) magic: watch::Sender<Option<Magic>>,
    /// How long a daemon may be away.
    pub(crate) patience: Duration,
    /// Cancelled when the daemon is gone.
    pub(crate) lost: CancellationToken,
    pub(crate) shutdown: CancellationToken,
}

type Waiting = BTreeMap<Key, oneshot::Sender<Result<Record, Failure>>>;

struct Keeper {
    name: String,
    patience: Duration,
    desk: Option<Desk>,
    link: Option<Link>,
    /// Since when there is no connection.
    broken_at: Duration,
    waiting: Waiting,
    magic: watch::Sender<Option<Magic>>,
}

/// A connection that is in use.
struct Link {
    stream: Stream,
    peer: SocketAddr,
    out: Vec<u8>,
    unflushed: bool,
}

impl Link {
    fn new(stream: Stream, peer: SocketAddr, out: Vec<u8>) -> Self {
        Self { stream, peer, out, unflushed: false }
    }
}

/// Runs a vantage point until its daemon is gone, its node fails, or all is told to end. Its first daemon comes as the first
/// arrival.
pub(crate) async fn run(beginning: Beginning) {
    let Beginning { name, node, mut asked, mut arrivals, magic, patience, lost, shutdown } = beginning;
    let mut keeper = Keeper {
        name,
        patience,
        desk: None,
        link: None,
        broken_at: clock::now(),
        waiting: Waiting::new(),
        magic,
    };
    let (ready, _) = oneshot::channel();
    let mut node = Node(tokio::task::spawn_local(mmn_node::run(node, ready, shutdown)));
    let mut buffer = vec![0; READ];
    loop {
        let deadline = keeper.deadline();
        tokio::select! {
            biased;
            ended = &mut node.0 => {
                match ended {
                    Ok(Ok(())) => tracing::debug!(name = keeper.name, "its node has ended"),
                    Ok(Err(error)) => tracing::error!(name = keeper.name, error = &error as &dyn std::error::Error, "its node"),
                    Err(error) => tracing::error!(name = keeper.name, %error, "its node broke"),
                }
                return;
            }
            Some(key) = asked.off.recv() => keeper.call_off(key),
            Some(arrival) = arrivals.recv() => keeper.arrived(arrival).await,
            event = traffic(&mut keeper.link, &mut buffer) => keeper.moved(event, &buffer),
            Some(ask) = asked.asks.recv() => keeper.ask(ask),
            () = until(deadline) => {
                if keeper.is_gone() {
                    break;
                }
                keeper.tick();
            }
        }
        keeper.pass_on();
    }
    // What comes meanwhile finds nobody, and tries again later.
    arrivals.close();
    tracing::warn!(
        name = keeper.name,
        patience_s = patience.as_secs(),
        "the daemon has not come back: it is lost"
    );
    let why =
        format!("scamper {} is gone: it has not come back within {} s", keeper.name, patience.as_secs());
    keeper.end_all(&why);
    lost.cancel();
    loop {
        tokio::select! {
            _ = &mut node.0 => return,
            Some(ask) = asked.asks.recv() => tell(ask.answer, Err(gone(&why))),
        }
    }
}

/// A node that ends with whoever holds it.
struct Node(JoinHandle<Result<(), NodeError>>);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn until(deadline: Duration) {
    tokio::time::sleep(deadline.saturating_sub(clock::now())).await;
}

enum Event {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Flushed(io::Result<()>),
}

/// What moves next on a connection; nothing ever where there is none.
async fn traffic(link: &mut Option<Link>, buffer: &mut [u8]) -> Event {
    let Some(link) = link else { return std::future::pending().await };
    let (mut reader, mut writer) = tokio::io::split(&mut link.stream);
    tokio::select! {
        read = reader.read(buffer) => Event::Read(read),
        event = async {
            // What TLS holds back goes once there is nothing more to write.
            if link.out.is_empty() {
                Event::Flushed(writer.flush().await)
            } else {
                Event::Written(writer.write(&link.out).await)
            }
        }, if link.unflushed || !link.out.is_empty() => event,
    }
}

impl Keeper {
    /// When there is something to do unasked.
    fn deadline(&self) -> Duration {
        match &self.desk {
            Some(desk) if self.link.is_some() => desk.deadline().unwrap_or(Duration::MAX),
            _ => self.broken_at.saturating_add(self.patience),
        }
    }

    fn is_gone(&self) -> bool {
        self.link.is_none() && clock::now() >= self.broken_at.saturating_add(self.patience)
    }

    async fn arrived(&mut self, arrival: Arrival) {
        let Arrival { stream, peer, as_what, rest, back } = arrival;
        match as_what {
            As::New(_) if self.link.is_some() => {
                tracing::warn!(name = self.name, %peer, "turned away: a daemon of that name is connected");
                let _ = back.send(Back::Taken);
                return;
            }
            As::New(magic) => {
                if self.desk.is_some() {
                    let why = format!("scamper {} was started anew", self.name);
                    tracing::warn!(name = self.name, %peer, "{why}");
                    self.end_all(&why);
                }
                tracing::info!(name = self.name, %peer, "connected");
                self.magic.send_replace(Some(magic.clone()));
                self.desk = Some(Desk::new(magic, clock::now()));
                self.link = Some(Link::new(stream, peer, accept(&peer.to_string())));
            }
            As::Resume(resume) => {
                let resumed = self.desk.as_mut().map(|desk| {
                    desk.broken();
                    desk.resumed(clock::now(), &resume)
                });
                self.link = None;
                if let Some(Ok(())) = resumed {
                    tracing::info!(name = self.name, %peer, waiting = self.waiting.len(), "came back");
                    self.link = Some(Link::new(stream, peer, Vec::new()));
                } else {
                    self.broken_at = clock::now();
                    self.forget("its session could not be resumed");
                    let _ = back.send(Back::Unknown(stream, rest));
                    return;
                }
            }
        }
        drop(back);
        if !rest.is_empty() {
            self.heard(&rest);
        }
    }

    fn moved(&mut self, event: Event, buffer: &[u8]) {
        match event {
            Event::Read(Ok(0)) => self.broken(&"it was closed"),
            Event::Read(Ok(count)) => self.heard(buffer.get(..count).unwrap_or_default()),
            Event::Written(Ok(count)) => {
                if let Some(link) = &mut self.link {
                    link.out.drain(..count.min(link.out.len()));
                    link.unflushed = true;
                }
            }
            Event::Flushed(Ok(())) => {
                if let Some(link) = &mut self.link {
                    link.unflushed = false;
                }
            }
            Event::Read(Err(error)) | Event::Written(Err(error)) | Event::Flushed(Err(error)) => {
                self.broken(&error)
            }
        }
    }

    fn heard(&mut self, octets: &[u8]) {
        let Some(desk) = &mut self.desk else { return };
        let received = desk.receive(clock::now(), octets);
        self.answer();
        match received {
            Ok(()) => {}
            // What it said on the way to the fault is acknowledged, and it may go on from there.
            Err(crate::desk::DeskError::Remote(error)) => self.broken(&error),
            Err(error) => {
                self.broken(&error);
                self.forget(&error.to_string());
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        if ask.answer.is_closed() {
            return;
        }
        let refused = |detail: &str| Failure::refused(code::SATURATED, detail);
        let Some(desk) = &mut self.desk else {
            let why = format!(
                "scamper {} is not connected: its session is over, and it has not begun another",
                self.name
            );
            return tell(ask.answer, Err(gone(&why)));
        };
        if desk.ask(clock::now(), ask.key, &ask.line) {
            tracing::debug!(name = self.name, command = ask.line, "asked");
            self.waiting.insert(ask.key, ask.answer);
        } else {
            tell(ask.answer, Err(refused("the daemon takes nothing, and too much waits for it")));
        }
    }

    fn call_off(&mut self, key: Key) {
        self.waiting.remove(&key);
        if let Some(desk) = &mut self.desk {
            desk.call_off(clock::now(), key);
        }
    }

    fn tick(&mut self) {
        if let Some(Err(error)) = self.desk.as_mut().map(|desk| desk.tick(clock::now())) {
            self.broken(&error);
        }
    }

    /// Hands over what the daemon told.
    fn answer(&mut self) {
        while let Some((key, told)) = self.desk.as_mut().and_then(Desk::poll) {
            let Some(answer) = self.waiting.remove(&key) else { continue };
            tell(
                answer,
                match told {
                    Told::Record(record) => Ok(*record),
                    Told::Refused(why) => {
                        let why = why
                            .strip_prefix("command not accepted")
                            .unwrap_or(&why)
                            .trim_start_matches([':', ' ']);
                        let why = if why.is_empty() { "the daemon does not take the command" } else { why };
                        Err(Failure::refused(code::PARAMETERS, format_args!("scamper: {why}")))
                    }
                    Told::Ended => Err(gone(&format!("scamper {} ended the channel", self.name))),
                },
            );
        }
    }

    /// What the desk has to say goes to the connection.
    fn pass_on(&mut self) {
        if let (Some(desk), Some(link)) = (&mut self.desk, &mut self.link) {
            link.out.extend(desk.take());
        }
    }

    fn broken(&mut self, why: &dyn std::fmt::Display) {
        if let Some(link) = self.link.take() {
            tracing::warn!(name = self.name, peer = %link.peer, %why, waiting = self.waiting.len(), "the connection broke");
            self.broken_at = clock::now();
        }
        if let Some(desk) = &mut self.desk {
            desk.broken();
        }
    }

    /// The session can't go on: whoever comes back has to begin anew.
    fn forget(&mut self, why: &str) {
        self.end_all(&format!("scamper {}: {why}", self.name));
        self.desk = None;
        self.magic.send_replace(None);
    }

    fn end_all(&mut self, why: &str) {
        for answer in std::mem::take(&mut self.waiting).into_values() {
            tell(answer, Err(gone(why)));
        }
    }
}

/// Whoever waited may be gone.
fn tell(answer: oneshot::Sender<Result<Record, Failure>>, result: Result<Record, Failure>) {
    let _ = answer.send(result);
}

/// The end of a task whose daemon is gone.
fn gone(why: &str) -> Failure {
    Failure { outcome: Outcome::Lost, reason: Reason::with(code::INSTANCE_LOST, why) }
}

/// A place that others know by its name.
pub(crate) type Known = Rc<Place>;

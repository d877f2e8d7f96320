//! Who connects: the listener, what a connection begins with, and whose it then is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use mmn_node::module::HEARTBEAT;
use mmn_node::{Builtin, Config, Elsewhere, Place as At, Remote, Whereabouts};
use mmn_scamper::remote::{GREETING, Greeted, Greeting, Magic, MonitorName, RemoteError, reject};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::place::{Arrival, As, Back, Beginning, Known, Place, Stream};
use crate::tls::{TlsError, TlsFiles, names};
use crate::{ask, kinds, place};

/// Connections that have not said who they are, at a time.
const MOST_GREETING: usize = 256;
/// Tasks of each kind that a daemon is given at a time: it queues them, and sends as fast as its `-p` says.
const CONCURRENCY: u32 = 512;
/// A name and the name of a session, of 255 octets each, and what goes with them.
const LONGEST_GREETING: usize = 600;
/// After a failure to accept.
const PAUSE: Duration = Duration::from_millis(100);
/// A connection is looked after by the system, too: a path that has gone is noticed where nothing is said.
const SILENT: Duration = Duration::from_secs(45);

/// Sees to it that there are credentials for the vantage point of a name in a directory; an error says why there are none.
pub type Credentials = Box<dyn Fn(&str, &Path) -> Result<(), String>>;

/// How daemons are listened for.
pub struct Options {
    /// Where.
    pub listen: SocketAddr,
    /// TLS; absent: none.
    pub tls: Option<TlsFiles>,
    /// How long a daemon may be away before its vantage point is lost.
    pub patience: Duration,
    /// The most vantage points at a time.
    pub most: usize,
    /// What their nodes have in common. Each has a directory of its name in `dir` and in `creds`.
    pub node: Config,
    /// By what credentials are made.
    pub credentials: Credentials,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Why nobody is listened for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address can't be used.
    #[error("can't listen on {address}")]
    Listen {
        /// It.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Listens for daemons until `shutdown`. `listening` hears where. It has to run on a runtime for local tasks.
pub async fn serve(
    options: Options,
    shutdown: CancellationToken,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let acceptor = options.tls.as_ref().map(TlsFiles::acceptor).transpose()?;
    let address = options.listen;
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    listening(listener.local_addr().map_err(failed)?);
    let hall = Rc::new(Hall {
        options,
        shutdown: shutdown.clone(),
        places: RefCell::default(),
        greeting: RefCell::new(0),
        keepers: tokio_util::task::TaskTracker::new(),
    });
    loop {
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let (hall, acceptor) = (Rc::clone(&hall), acceptor.clone());
        tokio::task::spawn_local(async move { hall.greet(stream, peer, acceptor).await });
    }
    // Their nodes drain, within a bound of their own.
    hall.keepers.close();
    hall.keepers.wait().await;
    Ok(())
}

/// All vantage points, by name.
struct Hall {
    options: Options,
    shutdown: CancellationToken,
    places: RefCell<BTreeMap<String, Known>>,
    greeting: RefCell<usize>,
    keepers: tokio_util::task::TaskTracker,
}

/// Why a connection was closed.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("there are {MOST_GREETING} that have not said who they are")]
    Crowd,
    #[error("it did not say who it is in time")]
    Slow,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it does not begin as a daemon does: {0}")]
    Greeting(#[from] RemoteError),
    #[error("it does not begin as a daemon does")]
    Word,
    #[error("its certificate is not for {0:?}")]
    Name(String),
    #[error("a daemon of that name is connected")]
    Taken,
    #[error("there are {0} vantage points")]
    Full(usize),
    #[error("no credentials for {name:?}: {why}")]
    Credentials { name: String, why: String },
    #[error("its vantage point is ending: it may come again")]
    Ending,
}

impl Hall {
    async fn greet(&self, stream: TcpStream, peer: SocketAddr, acceptor: Option<TlsAcceptor>) {
        if *self.greeting.borrow() >= MOST_GREETING {
            tracing::warn!(%peer, error = %Closed::Crowd, "closed");
            return;
        }
        *self.greeting.borrow_mut() += 1;
        let closed = tokio::select! {
            () = self.shutdown.cancelled() => Ok(()),
            closed = self.enter(stream, peer, acceptor) => closed,
        };
        *self.greeting.borrow_mut() -= 1;
        if let Err(error) = closed {
            tracing::warn!(%peer, %error, "closed");
        }
    }

    /// From the first octet to the vantage point whose connection it is.
    async fn enter(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        acceptor: Option<TlsAcceptor>,
    ) -> Result<(), Closed> {
        let began = tokio::time::timeout(GREETING, begin(stream, acceptor)).await;
        let (mut stream, certified) = began.map_err(|_| Closed::Slow)??;
        let mut left = Vec::new();
        loop {
            let greeted = tokio::time::timeout(GREETING, greeting(&mut stream, left)).await;
            let (greeted, rest) = greeted.map_err(|_| Closed::Slow)??;
            let (name, as_what) = match greeted {
                Greeted::New { magic, name } => (called(&magic, name.as_ref()), As::New(magic)),
                Greeted::Resume(resume) => {
                    let Some(name) = self.whose(&resume.magic) else {
                        left = anew(&mut stream, rest).await?;
                        continue;
                    };
                    (name, As::Resume(resume))
                }
                Greeted::Id(_) | Greeted::Ok(_) | Greeted::Rejected => return Err(Closed::Word),
            };
            if certified
                .as_ref()
                .is_some_and(|names| !names.iter().any(|one| one.eq_ignore_ascii_case(&name)))
            {
                return Err(Closed::Name(name));
            }
            let (back, answer) = oneshot::channel();
            let arrival = Arrival { stream, peer, as_what, rest, back };
            self.place(&name, peer)?.arrivals.send(arrival).await.map_err(|_| Closed::Ending)?;
            match answer.await {
                // It is taken.
                Err(_) => return Ok(()),
                Ok(Back::Taken) => return Err(Closed::Taken),
                Ok(Back::Unknown(again, rest)) => {
                    stream = again;
                    left = anew(&mut stream, rest).await?;
                }
            }
        }
    }

    /// The vantage point that has a session.
    fn whose(&self, magic: &Magic) -> Option<String> {
        let places = self.places.borrow();
        let mut places = places.iter();
        places.find(|(_, place)| place.magic.borrow().as_ref() == Some(magic)).map(|(name, _)| name.clone())
    }

    /// The vantage point of a name, which begins where there is none.
    fn place(&self, name: &str, peer: SocketAddr) -> Result<Known, Closed> {
        let mut places = self.places.borrow_mut();
        places.retain(|_, place| place.magic.has_changed().is_ok());
        if let Some(place) = places.get(name) {
            return Ok(Rc::clone(place));
        }
        if places.len() >= self.options.most {
            return Err(Closed::Full(self.options.most));
        }
        let base = &self.options.node;
        let creds = base.creds.join(name);
        (self.options.credentials)(name, &creds)
            .map_err(|why| Closed::Credentials { name: name.to_owned(), why })?;
        let (asks, asked) = ask::channel();
        let lost = CancellationToken::new();
        let addresses = Some(peer.ip().to_canonical()).filter(|address| !address.is_loopback());
        let remote = Remote {
            addresses: addresses.into_iter().collect(),
            concurrency: CONCURRENCY,
            lost: lost.clone(),
        };
        let node = Config {
            dir: base.dir.join(name),
            creds,
            builtins: vec![Builtin { module: kinds::MODULE.to_owned(), kinds: Vec::new() }],
            place: At { name: name.to_owned(), tags: vec![kinds::MODULE.to_owned()], ..base.place.clone() },
            watch: false,
            elsewhere: Some(Elsewhere {
                what: Whereabouts::Remote(remote),
                kinds: kinds::all(&asks),
                heartbeat: HEARTBEAT,
            }),
            ..base.clone()
        };
        let (arrivals, arrived) = mpsc::channel(4);
        let (magic, magics) = watch::channel(None);
        let place = Rc::new(Place { arrivals, magic: magics });
        places.insert(name.to_owned(), Rc::clone(&place));
        self.keepers.spawn_local(place::run(Beginning {
            name: name.to_owned(),
            node,
            asked,
            arrivals: arrived,
            magic,
            patience: self.options.patience,
            lost,
            shutdown: self.shutdown.clone(),
        }));
        Ok(place)
    }
}

/// TCP and TLS, and the names of the certificate where one was asked for.
async fn begin(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<(Stream, Option<Vec<String>>)> {
    stream.set_nodelay(true)?;
    let alive = socket2::TcpKeepalive::new().with_time(SILENT);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&alive)?;
    let Some(acceptor) = acceptor else { return Ok((Box::new(stream), None)) };
    let stream = acceptor.accept(stream).await?;
    let certificates = stream.get_ref().1.peer_certificates();
    let names = certificates.and_then(<[_]>::first).map(|certificate| names(certificate));
    Ok((Box::new(stream), names))
}

/// What a connection begins with, and what came behind it.
async fn greeting(stream: &mut Stream, mut came: Vec<u8>) -> Result<(Greeted, Vec<u8>), Closed> {
    let mut greeting = Greeting::default();
    let mut seen = came.clone();
    loop {
        let mut octets = came.as_slice();
        if let Some(greeted) = greeting.receive(&mut octets)? {
            return Ok((greeted, octets.to_vec()));
        }
        came.resize(4096, 0);
        let count = stream.read(&mut came).await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        came.truncate(count);
        seen.extend_from_slice(&came);
        if !may_begin(&seen) {
            return Err(Closed::Word);
        }
    }
}

/// Whether what came can begin a connection: number and channel are 0, and no greeting is long. Others need not be waited for.
fn may_begin(came: &[u8]) -> bool {
    let length = came
        .get(8..10)
        .map_or(0, |octets| octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)));
    came.iter().take(8).all(|octet| *octet == 0) && length <= LONGEST_GREETING
}

/// Tells a daemon to begin anew.
async fn anew(stream: &mut Stream, rest: Vec<u8>) -> Result<Vec<u8>, Closed> {
    stream.write_all(&reject()).await?;
    stream.flush().await?;
    Ok(rest)
}

/// What a daemon's vantage point is called: as the daemon calls itself (`-M`), and else by what nobody else has, which is no
/// longer its own when it is started again.
fn called(magic: &Magic, name: Option<&MonitorName>) -> String {
    let usable = |name: &&MonitorName| name.as_str().len() <= 64 && !name.as_str().starts_with(['.', '-']);
    name.filter(usable).map_or_else(
        || {
            // Who knows the magic itself can take the session over.
            let digest = Sha256::digest(magic.octets());
            format!("scamper-{}", data_encoding::HEXLOWER.encode(digest.get(..4).unwrap_or_default()))
        },
        |name| name.as_str().to_owned(),
    )
}

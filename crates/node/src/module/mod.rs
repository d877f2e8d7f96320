//! A module's process: `mmn module KIND…`.
//!
//! It has its own connection to NATS and the settings, sockets and limits that its node handed over, and no
//! privilege. [`run`] is its whole life. It never decides what to measure, keeps nothing on disk, and ends when its
//! node is gone.
//!
//! Begin with [`run`]; the rules of taking work and owing results are in `desk`, the loop is in `work`.

mod desk;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod infos;
mod orders;
mod outbox;
mod perform;
mod self_test;
mod service;
pub(crate) mod settings;
mod work;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mmn_bus::connect::{Connect, ConnectError, Tls};
use mmn_kit::Registered;
use mmn_schema::id::{IdError, InstanceId, KindName, VpId};
use mmn_schema::subject::{Prefix, SubjectError};
use tokio::net::UnixStream as AsyncUnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::context::{Site, SiteError};
use crate::herald::Herald;
use crate::net::network::Network;
use crate::net::pass::{self, PassError};
use desk::Room;
use settings::{Change, Endowment, FromNodeError, Gift};
pub(crate) use work::PACKET;

/// The environment that a node gives to each of its modules. No value is a secret.
pub mod env {
    /// Where NATS is: URLs, with commas between.
    pub const NATS_URL: &str = "MMN_NATS_URL";
    /// The path of the module's `.creds` file.
    pub const CREDS: &str = "MMN_CREDS";
    /// The path of certificates to trust, when NATS speaks TLS with a private authority.
    pub const NATS_CA: &str = "MMN_NATS_CA";
    /// The path of the client's certificate, where NATS wants one.
    pub const NATS_CERT: &str = "MMN_NATS_CERT";
    /// The path of its key.
    pub const NATS_KEY: &str = "MMN_NATS_KEY";
    /// The first token of the network's subjects.
    pub const PREFIX: &str = "MMN_PREFIX";
    /// The vantage point's id.
    pub const VP: &str = "MMN_VP";
    /// The instance's id.
    pub const INSTANCE: &str = "MMN_INSTANCE";
    /// The module's name.
    pub const MODULE: &str = "MMN_MODULE";
}

/// Tasks of one kind at a time, unless the manifest says otherwise.
const CONCURRENCY_PACKETS: u32 = 1024;
const CONCURRENCY_SESSIONS: u32 = 64;
/// How often a node of this host, and each module, says that it is there.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long what is held may take once the node is gone.
const LAST_GRACE: Duration = Duration::from_secs(3);

/// What a module's process needs to begin.
#[derive(Debug)]
pub struct ModuleArgs {
    /// Its name.
    pub module: String,
    /// Where NATS is.
    pub urls: Vec<String>,
    /// Its credentials file.
    pub creds: PathBuf,
    /// Certificates for NATS.
    pub tls: Tls,
    /// The first token of the network's subjects.
    pub prefix: Prefix,
    /// Its vantage point.
    pub vp: VpId,
    /// Its instance.
    pub instance: InstanceId,
    /// The kinds that the program has for it.
    pub kinds: Vec<Kind>,
    /// Whether its vantage point is part of a simulated Internet.
    pub simulated: bool,
    /// How often it says that it is there: [`HEARTBEAT`], or less often where there are many.
    pub heartbeat: Duration,
    /// The end of the socket pair to the node. Without it the module has no sockets, the default policy, and limits
    /// of its own.
    pub node: Option<UnixStream>,
}

/// A kind that a program has, or that this process commands elsewhere.
#[derive(Clone)]
pub struct Kind(Arc<dyn Registered + Send>);

impl Kind {
    /// One that may be shared, and dropped.
    pub fn new(kind: impl Registered + Send + 'static) -> Self {
        Self(Arc::new(kind))
    }
}

impl std::ops::Deref for Kind {
    type Target = dyn Registered;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl From<&'static dyn Registered> for Kind {
    fn from(kind: &'static dyn Registered) -> Self {
        Self::new(kind)
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a module did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// A node starts modules with an environment; this process has not got it.
    #[error("{0} is not set: modules are started by a node")]
    Environment(&'static str),
    /// A value of the environment is no id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The prefix can't stand in a subject.
    #[error(transparent)]
    Prefix(#[from] SubjectError),
    /// The program has no kind for it.
    #[error("no kind of this program belongs to the module {0:?}")]
    NoKinds(String),
    /// No connection to NATS.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A subscription failed.
    #[error("a subscription failed")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// What the node sent is not what it should be.
    #[error("what the node handed over")]
    Endowment(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ModuleArgs {
    /// The arguments as the environment and the standard input of a module's process have them. `kinds` are those of
    /// the program; the module's own are chosen among them.
    pub fn from_env(kinds: &[&'static dyn Registered]) -> Result<Self, ModuleError> {
        let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let need = |name| var(name).ok_or(ModuleError::Environment(name));
        let module = need(env::MODULE)?;
        let node = std::io::stdin().as_fd().try_clone_to_owned().ok().map(UnixStream::from);
        // Anything but a socket (a terminal, /dev/null) is no node.
        let node = node.filter(|socket| socket.peer_addr().is_ok());
        Ok(Self {
            kinds: kinds.iter().copied().filter(|kind| kind.module() == module).map(Kind::from).collect(),
            module,
            simulated: false,
            heartbeat: HEARTBEAT,
            urls: need(env::NATS_URL)?.split(',').map(str::to_owned).collect(),
            creds: need(env::CREDS)?.into(),
            tls: Tls {
                ca: var(env::NATS_CA).map(PathBuf::from),
                identity: var(env::NATS_CERT).zip(var(env::NATS_KEY)).map(|(c, k)| (c.into(), k.into())),
                ..Tls::default()
            },
            prefix: var(env::PREFIX).map_or_else(|| Ok(Prefix::default()), |text| text.parse())?,
            vp: need(env::VP)?.parse()?,
            instance: need(env::INSTANCE)?.parse()?,
            node,
        })
    }
}

/// Runs a module to its end: until `shutdown`, an order to drain, or the end of its node.
///
/// It must be called on a current-thread runtime, within a [`tokio::task::LocalSet`] or not: it spawns nothing that
/// needs one.
pub async fn run(mut args: ModuleArgs, shutdown: CancellationToken) -> Result<(), ModuleError> {
    let (endowment, early, node) = match args.node.take() {
        Some(socket) => receive(socket).await?,
        None => (Endowment::default(), Vec::new(), None),
    };
    let (changes, from_node) = mpsc::channel(16 + early.len());
    for change in early {
        // There is room for all of them.
        let _ = changes.try_send(change);
    }
    let reader = node.map(|socket| tokio::spawn(read_changes(socket, changes.clone())));
    // Without a node nobody says anything, and nobody is ever gone.
    let _kept_open = reader.is_none().then_some(changes);
    let ended = run_here(args, endowment, from_node, shutdown).await;
    if let Some(reader) = reader {
        reader.abort();
    }
    ended
}

/// The same with what a node in this process gives. It ends when the sender of `from_node` is gone.
pub(crate) async fn run_here(
    args: ModuleArgs,
    mut endowment: Endowment,
    from_node: mpsc::Receiver<Change>,
    shutdown: CancellationToken,
) -> Result<(), ModuleError> {
    let offered = &endowment.settings.kinds;
    let kinds: Vec<Kind> = args
        .kinds
        .into_iter()
        .filter(|kind| offered.is_empty() || offered.iter().any(|name| name.as_str() == kind.name()))
        .collect();
    if kinds.is_empty() {
        return Err(ModuleError::NoKinds(args.module));
    }
    let room = Room::new(concurrency(&kinds, &endowment.settings.concurrency));
    // They are used once they have passed their self-test.
    let mut sockets = endowment.take_gifts();
    sockets.extend(endowment.ordinary(&sockets));
    if let Network::Universe(universe, vp) = &endowment.network {
        sockets.push(Gift::Simulated(universe.clone(), *vp));
    }
    let site = Site::new(endowment).map_err(|error: SiteError| ModuleError::Endowment(error.into()))?;
    let bus = Connect {
        urls: args.urls,
        creds: args.creds.clone(),
        tls: args.tls,
        name: args.instance.to_string(),
        prefix: args.prefix.clone(),
        wait_for_server: true,
    }
    .open()
    .await?;
    let outfit = work::Outfit {
        module: args.module,
        vp: args.vp,
        instance: args.instance,
        kinds,
        simulated: args.simulated,
        heartbeat: args.heartbeat,
        room,
        prefix: args.prefix,
        bus,
        herald: Herald::new(args.creds),
        site: Rc::new(site),
        sockets,
        node: from_node,
        last_grace: LAST_GRACE,
    };
    // It lives as long as the process, and is larger than what else waits here.
    Box::pin(work::Work::new(outfit).await?.run(shutdown)).await;
    Ok(())
}

fn concurrency(kinds: &[Kind], given: &BTreeMap<KindName, u32>) -> BTreeMap<KindName, u32> {
    kinds
        .iter()
        .map(|kind| {
            let name = infos::info(&**kind).name;
            let of_style = if kind.module() == PACKET { CONCURRENCY_PACKETS } else { CONCURRENCY_SESSIONS };
            let default = || kind.concurrency().unwrap_or(of_style);
            let concurrency = given.get(&name).copied().unwrap_or_else(default).max(1);
            (name, concurrency)
        })
        .collect()
}

/// What the node gives at the start, and what it has said besides.
async fn receive(
    socket: UnixStream,
) -> Result<(Endowment, Vec<Change>, Option<AsyncUnixStream>), ModuleError> {
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| ModuleError::Endowment(error);
    socket.set_nonblocking(true).map_err(|error| wrong(error.into()))?;
    let socket = AsyncUnixStream::from_std(socket).map_err(|error| wrong(error.into()))?;
    let parcel = pass::receive_async(&socket).await.map_err(|error: PassError| wrong(error.into()))?;
    let parcel = parcel.ok_or_else(|| wrong("the node closed the connection".into()))?;
    let mut endowment = settings::endowment(parcel).map_err(|error: FromNodeError| wrong(error.into()))?;
    let mut early = Vec::new();
    while let Some(parcel) = pass::receive_if_there(&socket).map_err(|error| wrong(error.into()))? {
        match settings::taken(parcel) {
            Ok(change) => early.extend(endowment.add(change)),
            Err(error) => tracing::warn!(%error, "a message of the node can't be read"),
        }
    }
    Ok((endowment, early, Some(socket)))
}

/// Ends, and with it the channel, when the node is gone.
async fn read_changes(socket: AsyncUnixStream, changes: mpsc::Sender<Change>) {
    loop {
        match pass::receive_async(&socket).await {
            Ok(Some(parcel)) => match settings::taken(parcel) {
                Ok(change) => {
                    if changes.send(change).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "a message of the node can't be read"),
            },
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the node can't be heard any more");
                return;
            }
        }
    }
}

//! A module's process: started without privileges, in a process group of its own, with what it was given; ended in
//! order, and when that does not help, by force.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mmn_bus::launch::{Confinement, DeathSignal, Watched};
use mmn_probe::time::Instant;
use mmn_schema::control::Control;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::InstanceId;
use mmn_schema::subject::Subject;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::task::JoinHandle;

use super::Shared;
use super::ids::Lease;
use super::log::{self, LastWords};
use super::manifest::Manifest;
use crate::clock;
use crate::herald::headers;
use crate::module::settings::{FromNode, NoSockets, Settings};
use crate::module::{PACKET, env};
use crate::net::Family;
use crate::net::availability::{Availability, availability};
use crate::net::bulk::PacketSockets;
use crate::net::carrier::raw::RawSockets;
use crate::net::icmp::{Description, EchoSocket, Mode};
use crate::net::pass;
use crate::policy::Policy;

/// How long a module has to finish what it holds while the node itself goes away.
pub(super) const DRAIN_IN_HASTE: Duration = Duration::from_secs(3);
/// How long its last words may be on their way.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long it has to end when it is told to.
const TERM: Duration = Duration::from_secs(1);

/// What a process says, in its directory.
pub(super) const LOG: &str = "module.log";

/// Those that echo is measured over.
pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Variables of the node's own environment that children get. The rest may hold what is none of their business.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "USER",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PYTHONUNBUFFERED",
];

/// A module's process.
#[derive(Debug)]
pub(super) struct Child {
    watched: Watched,
    /// The node's end; closing it tells the module that the node is gone.
    socket: Option<UnixStream>,
    words: LastWords,
    output: JoinHandle<io::Result<()>>,
    born: Instant,
    patience: Duration,
    ids: Option<Lease>,
    /// The identifiers of its packet sockets, once it has any, and whether it may get them at all.
    bulk: Option<Lease>,
    may_bulk: bool,
    /// The families for which it wants a socket and could not get one so far.
    lacking: Vec<Family>,
}

/// What to start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) module: &'a str,
    pub(super) manifest: &'a Manifest,
    pub(super) instance: &'a InstanceId,
    pub(super) dir: &'a PathBuf,
    pub(super) creds: &'a PathBuf,
}

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("{step}: {source}")]
    System { step: &'static str, source: io::Error },
    #[error("what it is given can't be passed: {0}")]
    Pass(#[from] pass::PassError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

pub(super) fn step(step: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { step, source }
}

impl Child {
    /// Starts a module's process.
    pub(super) fn start(shared: &Shared, plan: Plan<'_>) -> Result<Self, StartError> {
        let (reader, writer) = io::pipe().map_err(step("a pipe for its output"))?;
        let both = writer.try_clone().map_err(step("a pipe for its output"))?;
        let mut command = command(shared, plan);
        command.stdout(Stdio::from(writer)).stderr(Stdio::from(both));
        let gifts = shared.gives(plan).then(|| Gifts::collect(shared, plan));
        let (socket, ids, lacking, bulk, may_bulk) = if let Some(gifts) = gifts {
            let (ours, theirs) = UnixStream::pair().map_err(step("a socket pair"))?;
            command.stdin(Stdio::from(OwnedFd::from(theirs)));
            gifts.send(shared, &ours)?;
            let lacking = gifts.lacking();
            let may = gifts.ids.is_some() && !plan.manifest.is_foreign();
            let bulk = may.then(|| hand_over_bulk(shared, &ours)).flatten();
            (Some(ours), gifts.ids, lacking, bulk, may)
        } else {
            command.stdin(Stdio::null());
            (None, None, Vec::new(), None, false)
        };
        let watched = Watched::spawn(command).map_err(step("its command"))?;
        let words = LastWords::default();
        let output = tokio::spawn(log::copy(reader, plan.dir.join(LOG), words.clone()));
        Ok(Self {
            watched,
            socket,
            words,
            output,
            born: clock::monotonic(),
            patience: Duration::from_secs(plan.manifest.drain_seconds),
            ids,
            bulk,
            may_bulk,
            lacking,
        })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.watched.pid()
    }

    /// Waits until it has ended.
    pub(super) fn ended(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        self.watched.ended()
    }

    /// What it said last.
    pub(super) fn last_words(&self) -> Option<String> {
        self.words.line()
    }

    /// Waits until it says more than is let through; once in its life.
    pub(super) async fn flooded(&self) {
        self.words.flooded().await;
    }

    /// How long it has lived.
    pub(super) fn lived(&self) -> Duration {
        clock::monotonic().saturating_since(self.born).into()
    }

    /// How it ended, with its last words.
    pub(super) async fn epitaph(&mut self, status: &str) -> String {
        // All that it said comes through the pipe, unless something that it left behind keeps that open.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.output).await;
        match self.words.lines() {
            Some(lines) => format!("{status}: {lines}"),
            None => status.to_owned(),
        }
    }

    /// The site's policy has changed. A module of others hears of it by the limits alone.
    pub(super) fn tell_policy(&mut self, shared: &Shared, policy: &Policy) {
        self.tell(&FromNode::Policy(Box::new(policy.clone())));
        if let (true, None, Some(socket)) = (self.may_bulk, &self.bulk, &self.socket) {
            self.bulk = hand_over_bulk(shared, socket);
        }
    }

    /// Whether it wants sockets that the system did not let the node open.
    pub(super) const fn lacks_sockets(&self) -> bool {
        !self.lacking.is_empty()
    }

    /// Tries again to open what it lacks, and hands it over: the system may have changed its mind.
    pub(super) fn hand_over_sockets(&mut self) {
        let (Some(socket), Some(lease)) = (&self.socket, &self.ids) else {
            self.lacking.clear();
            return;
        };
        let opened = Sockets::open(lease, &self.lacking);
        let lacking = opened.lacking(&self.lacking);
        if lacking.len() == self.lacking.len() {
            return;
        }
        let echo = || -> Result<(), StartError> {
            if opened.echo.is_empty() {
                return Ok(());
            }
            let message = FromNode::Sockets(opened.echo.iter().map(EchoSocket::describe).collect());
            let descriptors: Vec<BorrowedFd<'_>> = opened.echo.iter().map(AsFd::as_fd).collect();
            pass(socket, &message, &descriptors)
        };
        match echo().and_then(|()| opened.pass_raw(socket)) {
            Ok(()) => {
                tracing::info!(pid = self.pid(), "sockets can be opened now");
                self.lacking = lacking;
            }
            Err(error) => tracing::debug!(%error, pid = self.pid(), "sockets were not handed over"),
        }
    }

    /// Asks it to finish and end, waits, then uses force. It is gone afterwards, with all its children.
    pub(super) async fn drain(&self, shared: &Shared, instance: &InstanceId) {
        if self.socket.is_some() {
            self.tell(&FromNode::Drain);
        }
        self.order_drain(shared, instance).await;
        let patience = async {
            tokio::select! {
                () = tokio::time::sleep(self.patience) => {}
                () = async { shared.haste.cancelled().await; tokio::time::sleep(DRAIN_IN_HASTE).await } => {}
            }
        };
        tokio::select! {
            biased;
            _ = self.ended() => {}
            () = patience => {
                tracing::warn!(%instance, pid = self.pid(), "did not drain in time: told to end");
                self.signal_group(Signal::TERM);
                if tokio::time::timeout(TERM, self.ended()).await.is_err() {
                    tracing::warn!(%instance, pid = self.pid(), "did not end: killed");
                    self.signal_group(Signal::KILL);
                    self.ended().await;
                }
            }
        }
        self.bury();
    }

    /// Ends what the process may have left behind in its group.
    pub(super) fn bury(&self) {
        self.signal_group(Signal::KILL);
    }

    fn tell(&self, message: &FromNode) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = pass(socket, message, &[]) {
            tracing::debug!(%error, pid = self.pid(), "a module was not told");
        }
    }

    /// Modules of others have no socket; they hear it as from an anchor.
    async fn order_drain(&self, shared: &Shared, instance: &InstanceId) {
        let subject = Subject::Ctl(shared.vp.clone(), instance.clone()).on(&shared.config.prefix);
        let Ok(payload) = Encoding::Json.encode(&Control::Drain) else { return };
        let client = shared.bus.client();
        let sent = client.publish_with_headers(subject, headers(Encoding::Json), payload.into());
        // Without a connection nobody hears it; patience ends all the same.
        if tokio::time::timeout(TERM, sent).await.is_err() {
            tracing::debug!(%instance, "the order to drain was not sent");
        }
    }

    fn signal_group(&self, signal: Signal) {
        let group = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // Nobody of it may be left.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.watched.status().is_none() {
            self.bury();
        }
    }
}

impl Shared {
    /// Whether a module gets settings: those of this program, those of others that take them, and those that get sockets.
    fn gives(&self, plan: Plan<'_>) -> bool {
        !plan.manifest.is_foreign() || plan.manifest.settings || self.gives_sockets(plan)
    }

    /// Whether a module gets sockets: that of this program whose kinds need them, and those of others that the policy names.
    fn gives_sockets(&self, plan: Plan<'_>) -> bool {
        match &plan.manifest.builtin {
            Some(builtin) => builtin == PACKET,
            None => self.policy.borrow().sockets_for.iter().any(|name| name == plan.module),
        }
    }
}

/// What a module is given.
struct Gifts {
    settings: Settings,
    sockets: Sockets,
    ids: Option<Lease>,
}

/// Sockets, of each family those that the system lets the node open: for whole packets, or else for echo.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) raw: Vec<Arc<RawSockets>>,
    pub(super) echo: Vec<EchoSocket>,
}

impl Sockets {
    pub(super) fn open(lease: &Lease, families: &[Family]) -> Self {
        let mut sockets = Self::default();
        let Some(range) = lease.range() else { return sockets };
        for family in families {
            match lease.sockets(*family) {
                Ok(raw) => sockets.raw.push(raw),
                Err(raw_error) => match EchoSocket::open_in(&lease.network(), *family, Mode::Datagram, range)
                {
                    Ok(echo) => sockets.echo.push(echo),
                    Err(error) => tracing::debug!(?family, %raw_error, %error, "no socket for echo"),
                },
            }
        }
        sockets
    }

    /// Those of the families for which there is none.
    fn lacking(&self, families: &[Family]) -> Vec<Family> {
        let raw = |family| self.raw.iter().any(|sockets| sockets.family() == family);
        let echo = |family| self.echo.iter().any(|socket| socket.family() == family);
        families.iter().copied().filter(|family| !raw(*family) && !echo(*family)).collect()
    }

    /// For the first message, whose form never changes: a socket for echo of each family, raw ones included.
    fn of_first_message(&self) -> (Vec<Description>, Vec<BorrowedFd<'_>>) {
        let echo = self.echo.iter().map(|socket| (socket.describe(), socket.as_fd()));
        let raw = self.raw.iter().map(|sockets| {
            let own = sockets.describe();
            (Description { v6: own.v6, mode: Mode::Raw, ids: own.ids }, sockets.opened_icmp())
        });
        echo.chain(raw).unzip()
    }

    /// Hands over those for whole packets.
    fn pass_raw(&self, to: &UnixStream) -> Result<(), StartError> {
        if self.raw.is_empty() {
            return Ok(());
        }
        // A module of an earlier version passes it over.
        if let Some(fragments) = self.raw.iter().find_map(|sockets| sockets.fragments()) {
            pass(to, &FromNode::Fragments, &[fragments])?;
        }
        let message = FromNode::Raw(self.raw.iter().map(|sockets| sockets.describe()).collect());
        let descriptors: Vec<BorrowedFd<'_>> =
            self.raw.iter().flat_map(|sockets| sockets.descriptors()).collect();
        pass(to, &message, &descriptors)
    }
}

impl Gifts {
    fn collect(shared: &Shared, plan: Plan<'_>) -> Self {
        let Manifest { kinds, concurrency, .. } = plan.manifest;
        let wants_sockets = shared.gives_sockets(plan);
        let ids = wants_sockets.then(|| shared.ids.lease(plan.manifest.is_foreign())).flatten();
        let sockets = ids.as_ref().map(|lease| Sockets::open(lease, &FAMILIES)).unwrap_or_default();
        let (descriptions, _) = sockets.of_first_message();
        let no_sockets = (wants_sockets && descriptions.is_empty()).then(missing);
        let settings = Settings {
            kinds: kinds.clone(),
            concurrency: concurrency.clone(),
            policy: Policy::clone(&shared.policy.borrow()),
            sockets: descriptions,
            no_sockets,
        };
        Self { settings, sockets, ids }
    }

    /// The families that it has identifiers for and no socket.
    fn lacking(&self) -> Vec<Family> {
        if self.ids.is_some() { self.sockets.lacking(&FAMILIES) } else { Vec::new() }
    }

    /// All that belongs to the start is there before the process is.
    fn send(&self, shared: &Shared, to: &UnixStream) -> Result<(), StartError> {
        let page = std::iter::once(shared.page.as_fd());
        let (_, sockets) = self.sockets.of_first_message();
        let descriptors: Vec<BorrowedFd<'_>> = page.chain(sockets).collect();
        pass(to, &FromNode::Settings(Box::new(self.settings.clone())), &descriptors)?;
        self.sockets.pass_raw(to)?;
        // Where a family has no sockets for whole packets, a module opens those that everybody may open itself.
        let ports =
            self.ids.as_ref().filter(|_| self.sockets.raw.len() < FAMILIES.len()).and_then(Lease::ports);
        ports.map_or(Ok(()), |ports| pass(to, &FromNode::Ports(ports), &[]))
    }
}

fn pass(to: &UnixStream, message: &FromNode, descriptors: &[BorrowedFd<'_>]) -> Result<(), StartError> {
    Ok(pass::send(to, &serde_json::to_vec(message)?, descriptors)?)
}

/// Opens packet sockets, where the site's policy allows them, and hands them over. Gives what is leased for them.
fn hand_over_bulk(shared: &Shared, to: &UnixStream) -> Option<Lease> {
    if !shared.policy.borrow().allow_packet_sockets {
        return None;
    }
    // Any but those with sockets in stock.
    let lease = shared.ids.lease(true)?;
    let sockets = match PacketSockets::open(lease.range()?) {
        Ok(sockets) => sockets,
        Err(error) => {
            tracing::warn!(%error, "the policy allows packet sockets, and the system does not");
            return None;
        }
    };
    match pass(to, &FromNode::Bulk(sockets.describe()), &sockets.descriptors()) {
        Ok(()) => Some(lease),
        Err(error) => {
            tracing::debug!(%error, "packet sockets were not handed over");
            None
        }
    }
}

fn missing() -> NoSockets {
    let none = || NoSockets { what: "all ranges of ICMP identifiers are taken".to_owned(), command: None };
    match availability(Family::V4) {
        Availability::Missing(missing) => NoSockets { what: missing.what, command: missing.command },
        Availability::Available(_) => none(),
    }
}

fn command(shared: &Shared, plan: Plan<'_>) -> Command {
    let Plan { module, manifest, instance, dir, creds } = plan;
    let mut words: Vec<OsString> = match &manifest.builtin {
        Some(builtin) => {
            shared.config.module_command.iter().cloned().chain([OsString::from(builtin)]).collect()
        }
        None => manifest.command.iter().map(OsString::from).collect(),
    };
    words.extend(manifest.args.iter().map(OsString::from));
    let confinement = Confinement {
        // Ours end in order within seconds; of others nobody knows.
        death_signal: Some(if manifest.is_foreign() { DeathSignal::Kill } else { DeathSignal::Term }),
        rlimits: manifest.limits.rlimits(),
        no_new_privs: true,
        drop_capabilities: true,
    };
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let mut command = shared.config.launcher.command(&program, &confinement);
    // A manifest names files beside itself.
    let beside = shared.config.dir.join("modules.d");
    let cwd = if manifest.is_foreign() { &beside } else { dir };
    command.args(words).current_dir(cwd).process_group(0).env_clear();
    command.envs(INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
    if !manifest.is_foreign() {
        command.envs(shared.config.module_env.iter().map(|(name, value)| (name, value)));
    }
    command
        .envs(&manifest.env)
        .env(env::NATS_URL, shared.config.urls.join(","))
        .env(env::CREDS, creds)
        .env(env::PREFIX, shared.config.prefix.as_str())
        .env(env::VP, shared.vp.as_str())
        .env(env::INSTANCE, instance.as_str())
        .env(env::MODULE, manifest.builtin.as_deref().unwrap_or(module));
    if let Some(ca) = &shared.config.tls.ca {
        command.env(env::NATS_CA, ca);
    }
    if let Some((certificate, key)) = &shared.config.tls.identity {
        command.env(env::NATS_CERT, certificate).env(env::NATS_KEY, key);
    }
    command
}

//! The running server.

use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{ServerOptions, StoreError, config, store};
use crate::clock;
use crate::files;
use crate::launch::{Confinement, DeathSignal, Watched};

/// A start takes about 10 ms; reading a large store takes longer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the server may take to end before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A server that has run so long starts again with the shortest pause.
const STEADY: Duration = Duration::from_secs(30);
/// The most of the server's own words in an error, in bytes.
const WORDS: usize = 2000;

/// A server that accepts connections (or is being restarted by [`run`](Self::run)).
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    port: u16,
    monitoring: Option<String>,
    child: Watched,
    reload: Arc<Notify>,
}

/// Makes a server that runs read its configuration again.
#[derive(Debug, Clone)]
pub struct Reloader(Arc<Notify>);

impl Reloader {
    /// Asks for it; several at once are one.
    pub fn reload(&self) {
        self.0.notify_one();
    }
}

impl Server {
    /// Starts a server, and returns when it accepts connections.
    pub async fn start(options: ServerOptions) -> Result<Self, StartError> {
        let directory = &options.data_dir;
        files::private_dir(directory).map_err(|source| data_dir(directory, source))?;
        store::check(directory, options.binary.version)?;
        let port = options.port;
        let (child, ports) = spawn(&options, port).await?;
        Ok(Self {
            port: ports.port()?,
            monitoring: ports.monitoring.into_iter().next(),
            options,
            child,
            reload: Arc::default(),
        })
    }

    /// Where clients connect: `nats://127.0.0.1:4222`, or `tls://…`.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "tls" } else { "nats" };
        let host = match self.options.host.as_str() {
            "0.0.0.0" | "::" => "127.0.0.1",
            host => host,
        };
        format!("{scheme}://{host}:{}", self.port)
    }

    /// The port it listens on, the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of its monitoring page, when asked for.
    pub fn monitoring_url(&self) -> Option<&str> {
        self.monitoring.as_deref()
    }

    /// Where it writes its process id.
    pub fn pid_file(&self) -> PathBuf {
        self.options.pid_file()
    }

    /// Its process id; another after a restart.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Has it ended?
    pub fn has_ended(&self) -> bool {
        self.child.status().is_some()
    }

    /// Restarts the server whenever it dies, on the same port and store, with a pause that doubles
    /// from 50 ms to 5 s, until `shutdown` completes; then stops it.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut pause = FIRST_PAUSE;
        let mut started = clock::now();
        loop {
            tokio::select! {
                () = &mut shutdown => return self.stop().await,
                () = self.reload.notified() => {
                    if let Err(error) = self.reload() {
                        tracing::error!(%error, "nats-server can not be told to read its configuration");
                    }
                    continue;
                }
                status = self.child.ended() => tracing::error!(%status, "nats-server ended"),
            }
            if clock::now().duration_since(started) >= STEADY {
                pause = FIRST_PAUSE;
            }
            loop {
                tokio::select! {
                    () = &mut shutdown => return Ok(()),
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                let restarted = tokio::select! {
                    () = &mut shutdown => return Ok(()),
                    restarted = self.restart() => restarted,
                };
                match restarted {
                    Ok(()) => break,
                    Err(error) => {
                        let error: &dyn std::error::Error = &error;
                        tracing::error!(error, "nats-server did not start again");
                    }
                }
            }
            started = clock::now();
            tracing::info!(pid = self.pid(), "nats-server started again");
        }
    }

    /// Starts it once more, on the same port and store; a running one is killed first.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.kill().await?;
        let (child, ports) = spawn(&self.options, Some(self.port)).await?;
        self.child = child;
        self.monitoring = ports.monitoring.into_iter().next();
        Ok(())
    }

    /// Kills it and waits until it is gone: what a crash looks like to clients.
    pub async fn kill(&self) -> Result<(), StartError> {
        self.child
            .signal(Signal::KILL)
            .map_err(|source| StartError::Spawn { path: self.options.binary.path.clone(), source })?;
        self.child.ended().await;
        Ok(())
    }

    /// Sends it the signal that makes it read its configuration again (certificates, say).
    pub fn reload(&self) -> io::Result<()> {
        self.child.signal(Signal::HUP)
    }

    /// A handle that reloads the server while [`run`](Self::run) has it.
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.reload))
    }

    /// Ends it in order: SIGTERM, and SIGKILL when it has not ended after 5 s.
    pub async fn stop(self) -> Result<(), RunError> {
        let status = self.child.stop(STOP_GRACE).await;
        // It ends with status 1 or 0, by version, when it is asked to.
        if std::os::unix::process::ExitStatusExt::signal(&status).is_some() {
            return Err(RunError::Killed(status));
        }
        Ok(())
    }
}

/// What the server writes into its ports file.
#[derive(Debug, Default, Deserialize)]
struct Ports {
    #[serde(default)]
    nats: Vec<String>,
    #[serde(default)]
    monitoring: Vec<String>,
}

impl Ports {
    fn port(&self) -> Result<u16, StartError> {
        self.nats
            .first()
            .and_then(|url| url.rsplit_once(':'))
            .and_then(|(_, port)| port.parse().ok())
            .ok_or(StartError::NoPort)
    }
}

async fn spawn(options: &ServerOptions, port: Option<u16>) -> Result<(Watched, Ports), StartError> {
    let ports_dir = options.data_dir.join("ports");
    // What servers that were killed left behind.
    let _ = std::fs::remove_dir_all(&ports_dir);
    let on_disk = |source| data_dir(&options.data_dir, source);
    files::private_dir(&ports_dir).map_err(on_disk)?;
    let path = options.data_dir.join(config::CONFIG);
    let text = config::generate(options, port, &ports_dir);
    files::write_private(&path, text.as_bytes()).map_err(on_disk)?;
    validate(options, &path).await?;
    store::stamp(&options.data_dir, options.binary.version)?;

    let words = options.data_dir.join(config::STDERR);
    let output = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&words)
        .map_err(on_disk)?;
    let confinement = Confinement {
        death_signal: Some(DeathSignal::Kill),
        no_new_privs: true,
        drop_capabilities: true,
        ..Confinement::default()
    };
    let mut command = options.launcher.command(options.binary.program(), &confinement);
    command
        .arg("-c")
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        // A Ctrl-C in the terminal is for mmn, which then ends the server in its turn.
        .process_group(0);
    let spawned = tokio::task::spawn_blocking(move || Watched::spawn(command)).await;
    let child = spawned
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(|source| StartError::Spawn { path: options.binary.path.clone(), source })?;
    tokio::select! {
        status = child.ended() => Err(StartError::Ended { status, words: last_words(options) }),
        ports = timeout(START_TIMEOUT, ready(&ports_dir, child.pid())) => {
            let ports = ports.map_err(|_| StartError::Timeout { words: last_words(options) })?;
            Ok((child, ports))
        }
    }
}

/// Lets the server itself read the configuration: its own words are the best error.
async fn validate(options: &ServerOptions, config: &Path) -> Result<(), StartError> {
    let mut command = Command::new(&options.binary.path);
    command.arg("-t").arg("-c").arg(config).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(|source| StartError::Spawn { path: options.binary.path.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let words = [output.stdout, output.stderr].concat();
    Err(StartError::Config(end_of(&String::from_utf8_lossy(&words))))
}

/// Waits for the ports file of `pid`, then until the port answers with the server's greeting.
async fn ready(directory: &Path, pid: u32) -> Ports {
    let ports = loop {
        match read_ports(directory, pid) {
            Some(ports) => break ports,
            None => sleep(Duration::from_millis(2)).await,
        }
    };
    let address = ports
        .nats
        .first()
        .and_then(|url| url.rsplit_once("//"))
        .and_then(|(_, address)| address.parse::<SocketAddr>().ok());
    if let Some(address) = address {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(2)).await;
        }
    }
    ports
}

fn read_ports(directory: &Path, pid: u32) -> Option<Ports> {
    let end = format!("_{pid}.ports");
    let file = std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .find(|file| file.file_name().to_string_lossy().ends_with(&end))?;
    // A file that is half written does not parse, and is read again.
    let ports: Ports = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
    (!ports.nats.is_empty()).then_some(ports)
}

fn last_words(options: &ServerOptions) -> String {
    [config::LOG, config::STDERR]
        .iter()
        .filter_map(|name| std::fs::read(options.data_dir.join(name)).ok())
        .map(|bytes| end_of(&String::from_utf8_lossy(&bytes)))
        .filter(|words| !words.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn end_of(text: &str) -> String {
    let text = text.trim();
    let cut = text.len().saturating_sub(WORDS);
    let start = (cut..text.len()).find(|at| text.is_char_boundary(*at));
    start.map_or("", |start| text.get(start..).unwrap_or("")).to_owned()
}

fn data_dir(path: &Path, source: io::Error) -> StartError {
    StartError::DataDir { path: path.to_owned(), source }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its directory can not be used.
    #[error("{} can not be used", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its store is not for this version.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It does not accept its configuration; with its own words.
    #[error("nats-server refuses its configuration: {0}")]
    Config(String),
    /// It can not be executed, or not be signalled.
    #[error("{} can not be run", path.display())]
    Spawn {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended before it accepted connections; with its last words.
    #[error("nats-server ended at its start ({status}): {words}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        words: String,
    },
    /// It did not accept connections in time; with its last words.
    #[error("nats-server did not accept connections within a minute: {words}")]
    Timeout {
        /// The end of its log.
        words: String,
    },
    /// It did not say where it listens.
    #[error("nats-server did not say on which port it listens")]
    NoPort,
}

/// Why a server did not end in order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It had to be killed.
    #[error("nats-server did not end when asked ({0})")]
    Killed(ExitStatus),
}

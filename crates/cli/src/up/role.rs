//! A role as a child process: started through the launcher, ready when it says so, restarted when it dies.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use mmn_bus::launch::{Confinement, DeathSignal, Launcher, Watched};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock;

/// This very program, also after another was installed in its place.
pub(crate) const SELF: &str = "/proc/self/exe";
/// How long a role may take until it is ready.
const START: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// What ran so long starts again with the shortest pause.
const STEADY: Duration = Duration::from_secs(30);

/// How a role is started.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    /// Its subcommand: `anchor`, `node`.
    pub(crate) name: &'static str,
    /// What follows the subcommand.
    pub(crate) args: Vec<OsString>,
    /// It never needs a capability.
    pub(crate) unprivileged: bool,
    /// Where its log and its last words go.
    pub(crate) log: PathBuf,
}

/// The one line that a supervised role prints once it is ready.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ReadyLine {
    /// An anchor: where its API listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// A node: its vantage point's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vp: Option<String>,
}

/// A role that runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Watched,
    /// The role ends in order when this closes: so it does even where the kernel forgets the death signal, as it does
    /// for programs with file capabilities.
    _lifeline: PipeWriter,
}

/// The launcher of every child.
pub(crate) fn launcher() -> Launcher {
    Launcher::new([SELF, crate::LAUNCH])
}

impl Role {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(&self) -> Result<(Running, ReadyLine), StartError> {
        let (lifeline_end, lifeline) = io::pipe()?;
        let (ready, ready_end) = io::pipe()?;
        let errors = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(self.log.with_extension("err"))?;
        let confinement = Confinement {
            death_signal: Some(DeathSignal::Term),
            no_new_privs: self.unprivileged,
            drop_capabilities: self.unprivileged,
            ..Confinement::default()
        };
        let mut command = launcher().command(OsStr::new(SELF), &confinement);
        command
            .arg(self.name)
            .args(&self.args)
            .args(["--supervised".as_ref(), "--log".as_ref(), self.log.as_os_str()])
            .stdin(Stdio::from(lifeline_end))
            .stdout(Stdio::from(ready_end))
            .stderr(Stdio::from(errors))
            // A Ctrl-C in the terminal is for the supervisor, which ends its children in their order.
            .process_group(0);
        let child = tokio::task::spawn_blocking(move || Watched::spawn(command))
            .await
            .map_err(io::Error::other)??;
        let running = Running { child, _lifeline: lifeline };
        let ready = pipe::Receiver::from_owned_fd(OwnedFd::from(ready))?;
        let mut line = String::new();
        let mut reader = BufReader::new(ready);
        tokio::select! {
            status = running.child.ended() => return Err(self.ended(status)),
            read = timeout(START, reader.read_line(&mut line)) => {
                read.map_err(|_| StartError::Timeout { role: self.name, log: self.log.clone() })??;
            }
        }
        match serde_json::from_str(&line) {
            Ok(ready) => Ok((running, ready)),
            // It closed its stdout: it is on its way out.
            Err(_) => Err(self.ended(running.child.ended().await)),
        }
    }

    /// Restarts the role whenever it dies, with a pause that doubles, until `stop`; then ends it in order, and kills it
    /// after `grace`.
    pub(crate) async fn keep(self, running: Running, stop: CancellationToken, grace: Duration) {
        let mut running = running;
        let mut pause = FIRST_PAUSE;
        let mut since = clock::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    running.child.stop(grace).await;
                    return;
                }
                status = running.child.ended() => {
                    tracing::error!(role = self.name, %status, log = %self.log.display(), "ended; it is started again");
                }
            }
            if clock::now().duration_since(since) >= STEADY {
                pause = FIRST_PAUSE;
            }
            running = loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                tokio::select! {
                    () = stop.cancelled() => return,
                    started = self.start() => match started {
                        Ok((running, _)) => break running,
                        Err(error) => tracing::error!(role = self.name, %error, "did not start again"),
                    }
                }
            };
            since = clock::now();
            tracing::info!(role = self.name, pid = running.child.pid(), "started again");
        }
    }

    fn ended(&self, status: ExitStatus) -> StartError {
        let read = |path: PathBuf| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.lines().rev().take(3).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut words = read(self.log.with_extension("err"));
        if words.is_empty() {
            words = read(self.log.clone());
        }
        words.reverse();
        StartError::Ended { role: self.name, status, words: words.join(" / "), log: self.log.clone() }
    }
}

impl Running {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }
}

/// Why a role is not ready.
#[derive(Debug)]
pub(crate) enum StartError {
    Io(io::Error),
    Ended { role: &'static str, status: ExitStatus, words: String, log: PathBuf },
    Timeout { role: &'static str, log: PathBuf },
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "a child can't be started: {error}"),
            Self::Ended { role, status, words, log } => {
                write!(f, "the {role} ended at its start ({status}): {words} (log: {})", log.display())
            }
            Self::Timeout { role, log } => {
                write!(f, "the {role} was not ready in time (log: {})", log.display())
            }
        }
    }
}

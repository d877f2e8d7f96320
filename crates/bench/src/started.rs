//! What this program starts and makes, and how it is gone afterwards, also when somebody interrupts it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use mmn_bus::launch::{Confinement, DeathSignal, Launcher, Watched};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::clock;

/// How long a process may take to end in order.
const PATIENCE: Duration = Duration::from_secs(8);

/// Processes that run, and directories that are there.
static THERE: Mutex<(BTreeSet<u32>, BTreeSet<PathBuf>)> = Mutex::new((BTreeSet::new(), BTreeSet::new()));

/// A process that ends with this one, however that ends.
#[derive(Debug)]
pub(crate) struct Started(Watched);

/// A directory that goes when it is let go.
#[derive(Debug)]
pub(crate) struct Dir(tempfile::TempDir);

impl Started {
    /// Starts a role of mmn.
    pub(crate) fn mmn(mmn: &Path, arguments: &[&OsStr]) -> anyhow::Result<Self> {
        let mut command = Self::command(mmn, mmn.as_os_str());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::spawn(command)
    }

    /// A command for [`Self::spawn`]; arguments are the caller's.
    pub(crate) fn command(mmn: &Path, program: &OsStr) -> Command {
        let ends = Confinement { death_signal: Some(DeathSignal::Term), ..Confinement::default() };
        let mut command = Launcher::new([mmn.as_os_str(), "launch".as_ref()]).command(program, &ends);
        // Where somebody has an mmn of their own, it is not asked.
        for variable in ["MMN_API", "MMN_DATA", "MMN_TOKEN_FILE", "MMN_NATS_URL", "RUST_LOG"] {
            command.env_remove(variable);
        }
        command
    }

    /// Starts it.
    pub(crate) fn spawn(command: Command) -> anyhow::Result<Self> {
        let watched = Watched::spawn(command)?;
        THERE.lock().unwrap_or_else(PoisonError::into_inner).0.insert(watched.pid());
        Ok(Self(watched))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.status().is_some()
    }

    /// Ends it as Ctrl-C does, and waits.
    pub(crate) fn interrupt(&self) -> anyhow::Result<()> {
        self.0.signal(Signal::INT)?;
        let begin = clock::now();
        while !self.has_ended() {
            anyhow::ensure!(clock::now() - begin < PATIENCE, "process {} did not end", self.pid());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        THERE.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&self.pid());
        // A supervisor that is killed leaves it to the kernel to end its children; in order it sees to it itself.
        let _ = self.interrupt();
    }
}

impl Dir {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("mmn-bench-").tempdir()?;
        THERE.lock().unwrap_or_else(PoisonError::into_inner).1.insert(dir.path().to_owned());
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        THERE.lock().unwrap_or_else(PoisonError::into_inner).1.remove(self.path());
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn signal_to(pid: u32, what: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    Ok(kill_process(pid, what)?)
}

/// From now on an interrupt ends what was started, removes what was made, and then this program.
pub(crate) fn clean_up_when_interrupted() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        runtime.block_on(async {
            let signals = signal(SignalKind::interrupt())
                .and_then(|int| Ok((int, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)));
            let _ = ready.send(signals.as_ref().map(drop).map_err(std::io::Error::kind));
            let Ok((mut int, mut term, mut hup)) = signals else { return };
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                _ = hup.recv() => {}
            }
            end_everything();
        });
    });
    is_ready.recv()?.map_err(|kind| anyhow::anyhow!("signals: {kind}"))
}

fn end_everything() -> ! {
    // Held to the end: nothing is started any more.
    let there = THERE.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = clock::now();
    for pid in &there.0 {
        let _ = signal_to(*pid, Signal::TERM);
    }
    while there.0.iter().any(|pid| alive(*pid)) && clock::now() - begin < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    for path in &there.1 {
        let _ = std::fs::remove_dir_all(path);
    }
    std::process::exit(130)
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

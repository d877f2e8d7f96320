//! A process of the network that is started, hurt and started again. It dies with the test.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mmn_bus::launch::{Confinement, DeathSignal, Launcher, Watched};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Mutex;

use crate::MMN;

/// How long one that is told to end may take.
const END: Duration = Duration::from_secs(15);

/// How it is started.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, OsString)>,
    pub(crate) log: PathBuf,
}

/// It, and whoever hurts it now.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) recipe: Arc<Recipe>,
    /// Held by the fault that it suffers.
    pub(crate) busy: Arc<Mutex<()>>,
    child: Arc<std::sync::Mutex<Option<Arc<Watched>>>>,
}

impl Process {
    pub(crate) fn new(recipe: Recipe) -> Self {
        Self { recipe: Arc::new(recipe), busy: Arc::default(), child: Arc::default() }
    }

    pub(crate) fn start(&self) {
        let log = OpenOptions::new().create(true).append(true).open(&self.recipe.log).unwrap();
        let confinement = Confinement { death_signal: Some(DeathSignal::Kill), ..Confinement::default() };
        let mut command = Launcher::new([MMN, "launch"]).command(&self.recipe.program, &confinement);
        command.args(&self.recipe.args).envs(self.recipe.env.iter().map(|(name, value)| (*name, value)));
        command.env_remove("MMN_DATA").env_remove("MMN_API").env_remove("MMN_NATS_URL");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let child = Watched::spawn(command).unwrap();
        *self.child.lock().unwrap() = Some(Arc::new(child));
    }

    fn child(&self) -> Option<Arc<Watched>> {
        self.child.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = self.child() {
            child.signal(signal).unwrap();
        }
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) -> ExitStatus {
        match self.child() {
            Some(child) => child.ended().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child().map_or(0, |child| child.pid())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child().is_some_and(|child| child.status().is_none())
    }

    pub(crate) async fn kill(&self) {
        self.signal(Signal::KILL);
        if let Some(child) = self.child() {
            child.ended().await;
        }
    }

    /// Tells it to end. What is said is a complaint: it did not end in order.
    pub(crate) async fn end(&self) -> Result<(), String> {
        self.signal(Signal::TERM);
        let Some(child) = self.child() else { return Ok(()) };
        match tokio::time::timeout(END, child.ended()).await {
            // By the signal itself, where it came before the process could listen for it.
            Ok(status) if matches!(status.signal(), None | Some(15)) => Ok(()),
            Ok(status) => Err(format!("{} ended with {status} when it was told to end", self.recipe.name)),
            Err(_) => {
                self.kill().await;
                Err(format!("{} did not end within {END:?} of SIGTERM", self.recipe.name))
            }
        }
    }

    /// Its children, the oldest first.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let Some(child) = self.child().filter(|child| child.status().is_none()) else { return Vec::new() };
        let tasks = format!("/proc/{}/task", child.pid());
        let mut found = Vec::new();
        for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
            let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(list.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        found.sort_unstable();
        found.into_iter().filter_map(Pid::from_raw).collect()
    }
}

/// Signals a process that may be gone.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

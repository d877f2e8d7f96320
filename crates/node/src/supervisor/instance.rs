//! One instance of a module, from its enrolment to its end: started, watched, started again when it dies.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use mmn_bus::identity::{Creds, Seed};
use mmn_schema::announce::ModuleState;
use mmn_schema::id::{BootId, InstanceId};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::Shared;
use super::breaker::{Breaker, STEADY};
use super::child::{LOG, Plan};
use super::enrol;
use super::life::Life;
use super::manifest::Manifest;
use crate::clock;

/// An order to an instance. When the sender of its orders is dropped, it drains and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Finish and stay stopped.
    Drain,
    /// Finish and start again; also after a drain.
    Restart,
}

/// What an instance is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) state: ModuleState,
    pub(super) restarts: u32,
    pub(super) detail: Option<String>,
}

/// A change of it.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) instance: InstanceId,
    pub(super) status: Status,
}

/// An instance as the node holds it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) instance: InstanceId,
    pub(super) status: Status,
    pub(super) orders: mpsc::Sender<Order>,
    /// Told at each of its heartbeats.
    pub(super) heard: Arc<Notify>,
    /// The life that was heard last.
    pub(super) boot: Option<BootId>,
    pub(super) task: JoinHandle<()>,
}

impl Slot {
    /// Starts to tend a new instance.
    pub(super) fn new(
        shared: Arc<Shared>,
        module: String,
        manifest: Arc<Manifest>,
        instance: InstanceId,
    ) -> Self {
        let (orders, inbox) = mpsc::channel(4);
        let heard = Arc::new(Notify::new());
        let dir = shared.config.dir.join("run").join(instance.as_str());
        let tending = Tending {
            creds: dir.join("module.creds"),
            dir,
            shared,
            module,
            manifest,
            instance: instance.clone(),
            orders: inbox,
            heard: Arc::clone(&heard),
            seed: Seed::new_user(),
            breaker: Breaker::default(),
            last_end: None,
            restarts: 0,
        };
        let status = Status { state: ModuleState::Starting, restarts: 0, detail: None };
        Self { instance, status, orders, heard, boot: None, task: tokio::spawn(tending.run()) }
    }
}

struct Tending {
    shared: Arc<Shared>,
    module: String,
    manifest: Arc<Manifest>,
    instance: InstanceId,
    dir: PathBuf,
    creds: PathBuf,
    orders: mpsc::Receiver<Order>,
    heard: Arc<Notify>,
    seed: Seed,
    breaker: Breaker,
    /// How it ended last, while it keeps dying.
    last_end: Option<String>,
    restarts: u32,
}

/// What comes next.
enum Next {
    /// Start it, again.
    Start,
    /// Wait for an order.
    Park(ModuleState, Option<String>),
    /// It is not wanted any more.
    End,
}

impl Tending {
    async fn run(mut self) {
        let mut next = Next::Start;
        loop {
            next = match next {
                Next::Start => self.live().await,
                Next::Park(state, detail) => {
                    self.report(state, detail).await;
                    self.park().await
                }
                Next::End => break,
            };
        }
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::debug!(%error, dir = %self.dir.display(), "left behind");
        }
        self.report(ModuleState::Stopped, None).await;
    }

    async fn park(&mut self) -> Next {
        loop {
            match self.orders.recv().await {
                Some(Order::Restart) => return self.mended(),
                Some(Order::Drain) => {}
                None => return Next::End,
            }
        }
    }

    /// Somebody wants it started, and knows why.
    fn mended(&mut self) -> Next {
        self.breaker.close();
        self.last_end = None;
        Next::Start
    }

    /// One life: from enrolment to the process's end.
    async fn live(&mut self) -> Next {
        self.report(ModuleState::Starting, None).await;
        let renewal = match self.enrolled().await {
            Ok(renewal) => renewal,
            Err(next) => return next,
        };
        let mut renewing = std::pin::pin!(self.renewed(renewal));
        let plan = Plan {
            module: &self.module,
            manifest: &self.manifest,
            instance: &self.instance,
            dir: &self.dir,
            creds: &self.creds,
        };
        let mut child = match Life::start(&self.shared, plan) {
            Ok(child) => child,
            Err(error) => return self.died(Duration::ZERO, error.to_string()).await,
        };
        tracing::info!(instance = %self.instance, pid = child.pid(), "started");
        // What a former life said does not count.
        let _ = self.heard.notified().now_or_never();
        let mut hearing = Hearing::Awaited;
        let mut listen = tokio::time::interval(self.shared.config.silence);
        listen.reset();
        let mut look = tokio::time::interval(SOCKETS_AGAIN);
        let mut trial = self.breaker.started();
        let mut steady = std::pin::pin!(tokio::time::sleep(STEADY));
        self.report(ModuleState::Running, self.on_trial(trial)).await;
        let mut policy = self.shared.policy.clone();
        policy.mark_unchanged();
        loop {
            tokio::select! {
                biased;
                end = child.ended() => {
                    child.bury();
                    let epitaph = child.epitaph(&end).await;
                    if end.well {
                        tracing::info!(instance = %self.instance, "left of its own will");
                        return Next::Park(ModuleState::Stopped, Some(format!("it left of its own will ({epitaph})")));
                    }
                    tracing::warn!(instance = %self.instance, epitaph, "died");
                    return self.died(child.lived(), epitaph).await;
                }
                order = self.orders.recv() => {
                    self.report(ModuleState::Draining, None).await;
                    child.drain(&self.shared, &self.instance).await;
                    return match order {
                        Some(Order::Restart) => {
                            self.restarts += 1;
                            self.mended()
                        }
                        Some(Order::Drain) => Next::Park(ModuleState::Stopped, Some("drained by order".to_owned())),
                        None => Next::End,
                    };
                }
                () = self.heard.notified(), if hearing != Hearing::Heard => {
                    if hearing == Hearing::Missed {
                        tracing::info!(instance = %self.instance, "heard at last");
                        self.report(ModuleState::Running, self.on_trial(trial)).await;
                    }
                    hearing = Hearing::Heard;
                }
                _ = listen.tick(), if hearing != Hearing::Heard => {
                    let detail = silence(child.lived(), child.last_words().as_deref());
                    if hearing == Hearing::Awaited {
                        tracing::warn!(instance = %self.instance, log = %self.dir.join(LOG).display(), "{detail}");
                    }
                    hearing = Hearing::Missed;
                    self.report(ModuleState::Starting, Some(detail)).await;
                }
                () = &mut steady, if trial => {
                    tracing::info!(instance = %self.instance, "steady again");
                    trial = false;
                    self.breaker.close();
                    self.last_end = None;
                    self.report(ModuleState::Running, None).await;
                }
                () = child.flooded() => {
                    tracing::warn!(instance = %self.instance, "floods its output: it is held to {FLOOD}");
                    self.report(ModuleState::Running, Some(format!("floods its output: it is held to {FLOOD}"))).await;
                }
                _ = look.tick(), if child.lacks_sockets() => child.hand_over_sockets(),
                Ok(()) = policy.changed() => {
                    let now = Arc::clone(&policy.borrow_and_update());
                    child.tell_policy(&self.shared, &now);
                }
                creds = &mut renewing => {
                    let renewal = self.keep(&creds).unwrap_or(Some(RENEWAL_AGAIN));
                    renewing.set(self.renewed(renewal));
                }
            }
        }
    }

    /// It died: waits for its turn, or for an order.
    async fn died(&mut self, lived: Duration, how: String) -> Next {
        let pause = self.breaker.died(clock::monotonic(), lived).mul_f64(rand::random_range(0.9..1.1));
        self.restarts += 1;
        let times = match self.breaker.deaths() {
            1 => String::new(),
            times => format!(", {times} times within a minute"),
        };
        let next = match (self.breaker.is_open(), pause) {
            (true, _) => format!("it keeps dying: one trial in {:.1} s", pause.as_secs_f64()),
            (false, Duration::ZERO) => "again at once".to_owned(),
            (false, _) => format!("again in {:.1} s", pause.as_secs_f64()),
        };
        self.report(ModuleState::Backoff, Some(format!("{how}{times}; {next}"))).await;
        self.last_end = Some(how);
        tokio::select! {
            () = tokio::time::sleep(pause) => Next::Start,
            order = self.orders.recv() => match order {
                Some(Order::Restart) => self.mended(),
                Some(Order::Drain) => Next::Park(ModuleState::Stopped, Some("drained by order".to_owned())),
                None => Next::End,
            },
        }
    }

    /// What is said of a life that is a trial.
    fn on_trial(&self, trial: bool) -> Option<String> {
        let how = self.last_end.as_deref().filter(|_| trial)?;
        Some(format!("on trial, since it kept dying ({how})"))
    }

    /// Credentials in the instance's file, and when they are to be renewed. They outlive the process that used them.
    async fn enrolled(&mut self) -> Result<Option<Duration>, Next> {
        if let Ok(creds) = Creds::read(&self.creds)
            && let renewal = enrol::renewal_s(&creds, now_s())
            && renewal.is_none_or(|seconds| seconds > 1)
        {
            return Ok(renewal.map(Duration::from_secs));
        }
        let creds = {
            let asked = enrol_with(Arc::clone(&self.shared), self.instance.clone(), self.seed.clone());
            tokio::pin!(asked);
            loop {
                tokio::select! {
                    creds = &mut asked => break creds,
                    order = self.orders.recv() => match order {
                        Some(Order::Restart) => {}
                        Some(Order::Drain) => {
                            return Err(Next::Park(ModuleState::Stopped, Some("drained by order".to_owned())));
                        }
                        None => return Err(Next::End),
                    }
                }
            }
        };
        match self.keep(&creds) {
            Ok(renewal) => Ok(renewal),
            Err(error) => {
                Err(self.died(Duration::ZERO, format!("its credentials can't be written: {error}")).await)
            }
        }
    }

    /// New credentials, once it is time for them.
    fn renewed(&self, due_in: Option<Duration>) -> impl Future<Output = Creds> + Send + use<> {
        let (shared, instance, seed) = (Arc::clone(&self.shared), self.instance.clone(), self.seed.clone());
        async move {
            due(due_in).await;
            enrol_with(shared, instance, seed).await
        }
    }

    fn keep(&self, creds: &Creds) -> std::io::Result<Option<Duration>> {
        super::files::private_dir(&self.dir)?;
        enrol::write(creds, &self.creds)?;
        Ok(enrol::renewal_of_new_s(creds).map(Duration::from_secs))
    }

    async fn report(&self, state: ModuleState, detail: Option<String>) {
        let status = Status { state, restarts: self.restarts, detail };
        // The node reads as long as it lives.
        let _ = self.shared.reports.send(Report { instance: self.instance.clone(), status }).await;
    }
}

/// What is let through of a child's output.
const FLOOD: &str = "a mebibyte a second";

/// Asks an anchor until it answers.
async fn enrol_with(shared: Arc<Shared>, instance: InstanceId, seed: Seed) -> Creds {
    let Shared { bus, config, vp, .. } = &*shared;
    let mut told = false;
    enrol::enrol(bus, &config.prefix, vp, &instance, &seed, |error| {
        if !told {
            told = true;
            tracing::info!(%instance, %error, "waiting for credentials");
        }
    })
    .await
}

/// Whether the present life has been heard on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Awaited,
    /// It is silent for longer than it should be, and that was told.
    Missed,
    Heard,
}

/// What is told of a process that runs and says nothing on the bus.
fn silence(lived: Duration, words: Option<&str>) -> String {
    let seconds = lived.as_secs();
    match words {
        Some(words) => format!("not announced for {seconds} s: {words}"),
        None => format!("not announced for {seconds} s, and it says nothing"),
    }
}

/// How often sockets that could not be opened are tried again.
const SOCKETS_AGAIN: Duration = Duration::from_secs(1);
/// When writing renewed credentials failed.
const RENEWAL_AGAIN: Duration = Duration::from_secs(5);

async fn due(renewal: Option<Duration>) {
    match renewal {
        Some(renewal) => tokio::time::sleep(renewal).await,
        None => std::future::pending().await,
    }
}

fn now_s() -> u64 {
    u64::try_from(clock::wall().0 / 1_000_000_000).unwrap_or(0)
}

//! The supervisor of `mmn up`: nats-server, an anchor and a node as children, under one data directory; with a simulated world
//! in network namespaces the process of those, too.
//!
//! It holds the directory, makes what is missing, starts the three in their order, says what can be measured, restarts
//! what dies, and ends them in reverse order. It never measures and never speaks to NATS.
//!
//! Begin at [`run`].

pub(crate) mod data_dir;
pub(crate) mod keys;
pub(crate) mod report;
pub(crate) mod role;
pub(crate) mod start;

use std::ffi::OsString;
use std::time::Duration;

use mmn_bus::server::Server;
use mmn_client::ApiFile;
use mmn_lab::plan::Plan;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cmd::up::Args;
use crate::failure::{Exit, Failure};
use crate::lab::driver::{Chosen, Driver};
use crate::session::{Interrupts, Session};
use data_dir::DataDir;
use role::{Role, Running};

/// A simulated world that is to run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chosen: Chosen,
}

impl World {
    /// Whether it has network namespaces.
    pub(crate) fn has_namespaces(&self) -> bool {
        self.chosen.driver == Driver::Namespaces
    }
}

/// How long the children may take to end in order, all together.
const DRAIN: Duration = Duration::from_secs(5);
/// The least that each of them gets of it.
const LEAST_GRACE: Duration = Duration::from_millis(300);

/// Runs a network until a signal ends it.
pub(crate) async fn run(
    session: &mut Session,
    args: &Args,
    dir: DataDir,
    lab: Option<World>,
) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let begun = crate::clock::now();
    let started = tokio::select! {
        started = start::all(args, &dir, lab) => started?,
        // What was started so far is killed as it is dropped.
        () = interrupts.next() => return Err(Failure::interrupted()),
    };
    tracing::info!(url = %started.api.url, nats = %started.nats_url, "up");
    let roles = [Some(started.node), started.namespaces, Some(started.anchor)];
    let mux = mux_role(&dir, &started.api);
    let network = Network::watch(started.nats, roles, mux);
    let of = match &started.lab {
        Some(world) => report::Of::World(world),
        None => report::Of::Node(&started.vp),
    };
    tokio::select! {
        told = report::tell(session, &dir, &started.api, of, begun) => told?,
        () = interrupts.next() => {
            network.end(&mut interrupts).await;
            dir.unpublish();
            return Ok(Exit::Good);
        }
    }
    interrupts.next().await;
    session.printer.faint("draining; Ctrl-C once more ends at once");
    network.end(&mut interrupts).await;
    dir.unpublish();
    tracing::info!("down");
    Ok(Exit::Good)
}

/// The role that opens the socket of scamper's clients.
fn mux_role(dir: &DataDir, api: &ApiFile) -> Role {
    let mut args: Vec<OsString> = vec!["--socket".into(), dir.mux().into()];
    args.extend(["--api".into(), (&api.url).into(), "--token-file".into(), dir.token().into()]);
    if let Some(ca) = &api.tls_ca {
        args.extend(["--api-ca".into(), ca.into()]);
    }
    Role { name: "mux", args, unprivileged: true, log: dir.log("mux") }
}

/// Starts the mux and keeps it alive. A network is one without it, too: what is wrong with it stands in the log.
async fn start_mux(role: Role, stop: CancellationToken) {
    let started = tokio::select! {
        started = role.start() => started,
        () = stop.cancelled() => return,
    };
    match started {
        Ok((running, _)) => role.keep(running, stop, DRAIN).await,
        Err(error) => tracing::warn!(%error, "mux"),
    }
}

/// The children, each kept alive by a task.
#[derive(Debug)]
struct Network {
    /// In the order in which they end.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Network {
    /// Roles in the order in which they end; the server is last. Before them all ends the mux, which nobody waits for when it
    /// starts.
    fn watch(nats: Option<Server>, roles: [Option<(Role, Running)>; 3], mux: Role) -> Self {
        let stop = CancellationToken::new();
        let mut parts = vec![Part { task: tokio::spawn(start_mux(mux, stop.clone())), stop }];
        let roles = roles.into_iter().flatten().map(|(role, running)| {
            let stop = CancellationToken::new();
            // The grace of the drain is measured by whoever ends the network.
            let task = tokio::spawn(role.keep(running, stop.clone(), DRAIN));
            Part { stop, task }
        });
        parts.extend(roles);
        if let Some(server) = nats {
            let stop = CancellationToken::new();
            let stopped = stop.clone().cancelled_owned();
            let task = tokio::spawn(async move {
                if let Err(error) = server.run(stopped).await {
                    tracing::warn!(%error, "nats-server");
                }
            });
            parts.push(Part { stop, task });
        }
        Self { parts }
    }

    /// Ends them in order within [`DRAIN`]; what has not ended then, or at the next signal, is killed.
    async fn end(self, interrupts: &mut Interrupts) {
        let deadline = crate::clock::now() + DRAIN;
        for part in self.parts {
            part.stop.cancel();
            let left = deadline.saturating_duration_since(crate::clock::now()).max(LEAST_GRACE);
            let mut task = part.task;
            let ended = tokio::select! {
                ended = tokio::time::timeout(left, &mut task) => ended.is_ok(),
                () = interrupts.next() => false,
            };
            if !ended {
                // Its child is killed as the task lets go of it.
                task.abort();
                let _ = task.await;
            }
        }
    }
}

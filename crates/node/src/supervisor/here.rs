//! A module without a process of its own: a task of the node's, for vantage points that are not this host.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use mmn_probe::time::Instant;
use mmn_schema::id::KindName;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::child::{FAMILIES, Plan, Sockets, StartError, step};
use super::ids::Lease;
use super::life::End;
use super::manifest::Manifest;
use crate::clock;
use crate::config::Elsewhere;
use crate::module::settings::{Change, Endowment, Settings};
use crate::module::{self, ModuleArgs, PACKET};
use crate::net::network::Network;
use crate::policy::Policy;

/// How long it has to end once it is told to, beyond what it has to drain.
const LAST: Duration = Duration::from_secs(1);

/// A module that runs in this process.
#[derive(Debug)]
pub(super) struct Here {
    changes: mpsc::Sender<Change>,
    ended: watch::Receiver<Option<End>>,
    stop: CancellationToken,
    /// Ends it when nothing else has.
    abort: tokio::task::AbortHandle,
    born: Instant,
    patience: Duration,
    /// Its own as long as it lives.
    _ids: Option<Lease>,
}

impl Here {
    /// Starts a module. Must be called on a runtime for local tasks.
    pub(super) fn start(shared: &Shared, at: &Elsewhere, plan: Plan<'_>) -> Result<Self, StartError> {
        let name = plan.manifest.builtin.as_deref().unwrap_or(plan.module).to_owned();
        let config = &shared.config;
        let page = shared.page.as_fd().try_clone_to_owned().map_err(step("the page of the limits"))?;
        let network = at.network();
        let wants_sockets =
            at.kinds.iter().any(|kind| kind.module() == PACKET) && matches!(network, Network::Lab(_));
        let ids = wants_sockets.then(|| shared.ids.lease(false)).flatten();
        let mut endowment = Endowment {
            settings: Settings {
                kinds: plan.manifest.kinds.clone(),
                concurrency: concurrency(at, plan.manifest),
                policy: Policy::clone(&shared.policy.borrow()),
                ..Settings::default()
            },
            page: Some(page),
            network,
            ..Endowment::default()
        };
        if let Some(lease) = &ids {
            give(&mut endowment, lease).map_err(step("its sockets"))?;
        }
        let args = ModuleArgs {
            kinds: at.kinds.clone(),
            module: name,
            simulated: at.is_simulated(),
            heartbeat: at.heartbeat,
            urls: config.urls.clone(),
            creds: plan.creds.clone(),
            tls: config.tls.clone(),
            prefix: config.prefix.clone(),
            vp: shared.vp.clone(),
            instance: plan.instance.clone(),
            node: None,
        };
        let (changes, from_node) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let task = tokio::task::spawn_local(module::run_here(args, endowment, from_node, stop.clone()));
        let abort = task.abort_handle();
        let (tell, ended) = watch::channel(None);
        tokio::spawn(async move {
            let end = match task.await {
                Ok(Ok(())) => End { well: true, how: "ended".to_owned() },
                Ok(Err(error)) => End { well: false, how: error.to_string() },
                Err(error) => End { well: false, how: error.to_string() },
            };
            tell.send_replace(Some(end));
        });
        let patience = Duration::from_secs(plan.manifest.drain_seconds);
        Ok(Self { changes, ended, stop, abort, born: clock::monotonic(), patience, _ids: ids })
    }

    /// Waits until it has ended.
    pub(super) fn ended(&self) -> impl Future<Output = End> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            let gone = || End { well: false, how: "nobody knows how it ended".to_owned() };
            let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
            end.unwrap_or_else(gone)
        }
    }

    /// How long it has lived.
    pub(super) fn lived(&self) -> Duration {
        clock::monotonic().saturating_since(self.born).into()
    }

    /// The site's policy has changed.
    pub(super) fn tell_policy(&self, policy: &Policy) {
        // One that is so far behind hears the next change.
        let _ = self.changes.try_send(Change::Policy(Box::new(policy.clone())));
    }

    /// Asks it to finish and end, waits, then stops it. It is gone afterwards.
    pub(super) async fn drain(&self, shared: &Shared) {
        let _ = self.changes.try_send(Change::Drain);
        let in_haste = async {
            shared.haste.cancelled().await;
            tokio::time::sleep(super::child::DRAIN_IN_HASTE).await;
        };
        tokio::select! {
            biased;
            _ = self.ended() => return,
            () = tokio::time::sleep(self.patience) => {}
            () = in_haste => {}
        }
        self.stop.cancel();
        if tokio::time::timeout(LAST, self.ended()).await.is_err() {
            self.abort.abort();
            self.ended().await;
        }
    }
}

/// Tasks at a time, by what a manifest says, and else by what the vantage point can hold.
fn concurrency(at: &Elsewhere, manifest: &Manifest) -> BTreeMap<KindName, u32> {
    let of_all = at.remote().map(|remote| remote.concurrency);
    let names = at.kinds.iter().filter_map(|kind| kind.name().parse().ok());
    let mut given: BTreeMap<KindName, u32> =
        names.zip(std::iter::repeat(of_all)).filter_map(|(name, of_all)| Some((name, of_all?))).collect();
    given.extend(manifest.concurrency.clone());
    given
}

/// Opens sockets in the network of a lease: of each family those for whole packets, or else what ordinary users may open.
fn give(endowment: &mut Endowment, lease: &Lease) -> io::Result<()> {
    let Sockets { raw, echo } = Sockets::open(lease, &FAMILIES);
    let whole = raw.len() == FAMILIES.len();
    endowment.raw = raw.iter().map(|sockets| sockets.try_clone()).collect::<io::Result<_>>()?;
    if !whole {
        endowment.ports = lease.ports();
    }
    for socket in echo {
        endowment.settings.sockets.push(socket.describe());
        endowment.sockets.push(socket.into());
    }
    Ok(())
}

impl Drop for Here {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

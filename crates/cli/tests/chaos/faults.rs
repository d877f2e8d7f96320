//! What goes wrong, done.

use std::sync::Arc;
use std::time::Duration;

use mmn_schema::control::NodeOrder;
use rustix::process::Signal;

use crate::kind;
use crate::plan::{Fault, Plan, What, Whom};
use crate::process::{self, Process};
use crate::proxy::{Mode, Proxy};
use crate::world::{PLACES, World};

/// Does all of it, each at its time, and returns when nothing is broken any more.
pub(crate) async fn perform(world: &Arc<World>, plan: &Plan) {
    let tasks: Vec<_> = plan
        .faults
        .iter()
        .map(|&fault| {
            let world = Arc::clone(world);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_millis(fault.at_ms)).await;
                one(&world, fault).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn one(world: &World, fault: Fault) {
    let pause = Duration::from_millis(fault.for_ms);
    match fault.whom {
        Whom::Server => hurt(world, &world.server, None, fault.what, pause).await,
        Whom::Node(at) => hurt(world, &world.nodes[at], Some(&world.node_ways[at]), fault.what, pause).await,
        Whom::Active | Whom::Standby => {
            let active = world.net.active().await.unwrap_or_else(|| world.net.preferred());
            let at = if fault.whom == Whom::Active { active } else { 1 - active };
            hurt(world, &world.anchors[at], Some(&world.anchor_ways[at]), fault.what, pause).await;
        }
        Whom::Module(at, nth) => module(world, at, nth, fault.what, pause).await,
    }
}

async fn hurt(world: &World, process: &Process, way: Option<&Proxy>, what: What, pause: Duration) {
    let _busy = process.busy.lock().await;
    match (what, way) {
        (What::Kill, _) => {
            process.kill().await;
            tokio::time::sleep(pause).await;
            process.start();
        }
        (What::Term, _) => {
            if let Err(complaint) = process.end().await {
                world.complain(complaint);
            }
            tokio::time::sleep(pause).await;
            process.start();
        }
        (What::Stop, _) => {
            process.signal(Signal::STOP);
            tokio::time::sleep(pause).await;
            process.signal(Signal::CONT);
        }
        (What::Drop | What::Hold, Some(way)) => {
            way.set(if what == What::Drop { Mode::Drop } else { Mode::Hold });
            tokio::time::sleep(pause).await;
            way.set(Mode::Pass);
        }
        (What::Drop | What::Hold | What::Restart, _) => {}
    }
}

async fn module(world: &World, at: usize, nth: usize, what: What, pause: Duration) {
    if what == What::Restart {
        let order = NodeOrder::Restart { name: kind::NAME.to_owned(), instance: None };
        // The API may be away just then; that it is not heard is no fault of anybody.
        let asked = world.net.once(world.net.preferred(), Duration::ZERO, async |client| {
            client.order(PLACES[at].0, &order).await
        });
        let _ = asked.await;
        return;
    }
    let children = world.nodes[at].children();
    let Some(&pid) = children.get(nth % children.len().max(1)) else { return };
    if what == What::Kill {
        return process::signal(pid, Signal::KILL);
    }
    process::signal(pid, Signal::STOP);
    tokio::time::sleep(pause).await;
    // It may have been killed meanwhile.
    if world.nodes[at].children().contains(&pid) {
        process::signal(pid, Signal::CONT);
    }
}

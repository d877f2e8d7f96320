//! `mmn anchor`: the management plane, apart from the rest.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use mmn_anchor::Config;
use tokio::sync::oneshot;

use super::roles::{ApiTlsArgs, NatsArgs, RoleArgs, failed};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::up::role::ReadyLine;

/// `mmn anchor`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Where the API listens; an address that is not loopback wants --tls-cert
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// A TOML file; flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show anybody how the network is doing, without names, and which measurements are public
    #[arg(long)]
    public: bool,
    /// A file with the process id of the server, on this machine
    #[arg(long, value_name = "FILE", hide = true)]
    nats_pid_file: Option<PathBuf>,
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    tls: ApiTlsArgs,
}

pub(crate) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    args.role.begin()?;
    let mut config = match &args.config {
        Some(path) => read(path)?,
        None => Config::default(),
    };
    configure(&mut config, args);
    super::in_runtime(async {
        let shutdown = args.role.shutdown()?;
        let (ready, is_ready) = oneshot::channel();
        let mut running = Box::pin(super::as_task(mmn_anchor::run(config, ready, shutdown)));
        let ended = tokio::select! {
            ended = &mut running => ended,
            told = is_ready => {
                if let Ok(ready) = told {
                    let words = format!("the API listens at {}", ready.url);
                    let line = ReadyLine { url: Some(ready.url), ..ReadyLine::default() };
                    args.role.ready(&mut session.printer, &line, &words)?;
                }
                running.await
            }
        };
        ended.map(|()| Exit::Good).map_err(|error| failed(&error))
    })
}

fn read(path: &Path) -> Result<Config, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::misused(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    toml::from_str(&text).map_err(|error| wrong(&error))
}

fn configure(config: &mut Config, args: &Args) {
    if !args.nats.nats.is_empty() {
        config.bus.urls.clone_from(&args.nats.nats);
    }
    if let Some(creds) = &args.nats.creds {
        config.bus.creds.clone_from(creds);
    }
    for (setting, flag) in [
        (&mut config.bus.ca, &args.nats.nats_ca),
        (&mut config.bus.cert, &args.nats.nats_cert),
        (&mut config.bus.key, &args.nats.nats_key),
        (&mut config.api.tls_cert, &args.tls.tls_cert),
        (&mut config.api.tls_key, &args.tls.tls_key),
    ] {
        if flag.is_some() {
            setting.clone_from(flag);
        }
    }
    config.api.public_page |= args.public;
    if args.nats_pid_file.is_some() {
        config.bus.pid_file.clone_from(&args.nats_pid_file);
    }
    if let Some(listen) = args.listen {
        config.api.listen = listen;
    }
}

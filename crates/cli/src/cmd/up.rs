//! `mmn up`: a network on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::roles::{ApiTlsArgs, NatsArgs};
use crate::args::absolute;
use crate::failure::{Exit, Failure};
use crate::logs;
use crate::session::Session;
use crate::up::{self, data_dir::DataDir};

/// `mmn up`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Where the API listens; an address that is not loopback wants --tls-cert
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8677",
        env = "MMN_LISTEN",
        hide_env = true
    )]
    pub(crate) listen: SocketAddr,
    /// The name of this vantage point [default: the host's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A TOML file for the anchor
    #[arg(long, value_name = "FILE", value_parser = absolute())]
    pub(crate) anchor_config: Option<PathBuf>,
    /// Where the supervisor's log goes [default: log/up.log in the data directory]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    #[command(flatten)]
    pub(crate) tls: ApiTlsArgs,
}

pub(crate) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let dir = DataDir::hold(&session.data_dir()?)?;
    let log = args.log.clone().unwrap_or_else(|| dir.log("up"));
    logs::begin(Some(&log))?;
    super::in_runtime(up::run(session, args, dir))
}

//! `mmn up`: a network on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::roles::{ApiTlsArgs, NatsArgs};
use crate::args::absolute;
use crate::failure::{Exit, Failure};
use crate::lab::{self, driver};
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
    /// Run a simulated world instead of a node of this machine: a TOML file, with a vantage point for each of its own
    #[arg(long, value_name = "FILE", value_parser = absolute(), conflicts_with_all = ["name", "nats"])]
    pub(crate) lab: Option<PathBuf>,
    /// What the simulated world runs on: network namespaces, with real sockets and for programs too, or this program alone;
    /// auto takes namespaces where they are to be had
    #[arg(long, value_name = "DRIVER", value_enum, default_value_t, requires = "lab")]
    pub(crate) lab_driver: driver::Wish,
    /// A TOML file for the anchor
    #[arg(long, value_name = "FILE", value_parser = absolute())]
    pub(crate) anchor_config: Option<PathBuf>,
    /// Show anybody how the network is doing, without names, and which measurements are public
    #[arg(long)]
    pub(crate) public: bool,
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
    // What is tried is tried before there is a thread.
    let lab = match &args.lab {
        Some(file) => {
            let plan = lab::plan(file)?;
            let chosen = driver::choose(args.lab_driver, plan.vps.len())
                .map_err(|obstacle| super::lab::refused(session, &obstacle))?;
            tracing::info!(driver = chosen.driver.name(), why = chosen.why, "the lab's driver");
            Some(up::World { plan, chosen })
        }
        None => None,
    };
    super::in_runtime(up::run(session, args, dir, lab))
}

//! `mmn mux`: the sockets of scamper's clients.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use mmn_mux::Options;
use tokio::sync::oneshot;

use super::roles::{RoleArgs, failed};
use crate::args::{ApiArgs, absolute};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::up::role::ReadyLine;

/// `mmn mux`
#[derive(Debug, ClapArgs)]
#[group(id = "sockets", required = true, multiple = true, args = ["socket", "control", "unix"])]
pub(crate) struct Args {
    /// The mux socket: all vantage points, as `ScamperCtrl(mux=…)` expects them
    #[arg(long, value_name = "PATH", value_parser = absolute())]
    socket: Option<PathBuf>,
    /// A folder with a socket for each vantage point, as `ScamperCtrl(remote=…)` and `remote_dir=` expect them
    #[arg(long, value_name = "DIR", value_parser = absolute())]
    control: Option<PathBuf>,
    /// A folder with a socket for each vantage point, as `ScamperCtrl(unix=…)` and `sc_attach` expect that of a daemon
    #[arg(long, value_name = "DIR", value_parser = absolute())]
    unix: Option<PathBuf>,
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    args.role.begin()?;
    let client = session.client(&args.api)?;
    let options =
        Options { socket: args.socket.clone(), control: args.control.clone(), unix: args.unix.clone() };
    super::in_runtime(async {
        let shutdown = args.role.shutdown()?;
        let (ready, is_ready) = oneshot::channel();
        let serving = mmn_mux::serve(client, options, shutdown, || drop(ready.send(())));
        let mut running = Box::pin(super::as_task(serving));
        let ended = tokio::select! {
            ended = &mut running => ended,
            told = is_ready => {
                if told.is_ok() {
                    let words = "the sockets are there";
                    args.role.ready(&mut session.printer, &ReadyLine::default(), words)?;
                }
                running.await
            }
        };
        ended.map(|()| Exit::Good).map_err(|error| failed(&error))
    })
}

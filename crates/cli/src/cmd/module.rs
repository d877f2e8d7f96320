//! `mmn module KIND…` runs modules; its subcommands manage those of a vantage point.

mod check;
mod manifest;
mod orders;
mod python;
mod serve;

use clap::{Args as ClapArgs, Subcommand};

use crate::failure::{Exit, Failure};
use crate::session::Session;

/// `mmn module`
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    manage: Option<Manage>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Manage {
    /// List the modules of a vantage point
    List(orders::ListArgs),
    /// Start a module, by its manifest or its command
    Add(orders::AddArgs),
    /// Drain a module, stop it, and remove its manifest
    Remove(orders::NameArgs),
    /// Let a module finish what it holds, and leave it stopped
    Drain(orders::InstanceArgs),
    /// Start a module again, also after a drain
    Restart(orders::InstanceArgs),
    /// Run any executable through the module protocol and say what it gets wrong
    Check(check::CheckArgs),
}

pub(crate) fn run(session: &mut Session, args: Args) -> Result<Exit, Failure> {
    let Some(manage) = args.manage else { return serve::run(session, &args.serve) };
    super::in_runtime(async {
        match manage {
            Manage::List(args) => orders::list(session, &args).await,
            Manage::Add(args) => orders::add(session, &args).await,
            Manage::Remove(args) => orders::remove(session, &args).await,
            Manage::Drain(args) => orders::drain(session, &args).await,
            Manage::Restart(args) => orders::restart(session, &args).await,
            Manage::Check(args) => check::run(session, &args).await,
        }
    })
}

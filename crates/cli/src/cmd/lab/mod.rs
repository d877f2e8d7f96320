//! `mmn lab`: a simulated Internet on this machine.

mod beside;
mod check;
mod draw;
mod exec;
mod measured;
mod run;
pub(crate) mod started;
mod status;
mod truth;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use mmn_lab::able::Obstacle;
use mmn_lab::host::{Client, ClientError};
use mmn_lab::plan::Plan;

use crate::args::absolute;
use crate::failure::{Exit, Failure, chain};
use crate::session::Session;

/// `mmn lab`
#[derive(Debug, ClapArgs)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say what a lab's file describes, and what is wrong or odd about it
    Check(check::Args),
    /// Draw a lab's file as SVG
    Draw(draw::Args),
    /// Run a lab in network namespaces until Ctrl-C
    Run(run::Args),
    /// Run a program at a vantage point of a lab
    Exec(exec::Args),
    /// Run a program as the first of its process namespace
    #[command(hide = true)]
    First(exec::FirstArgs),
    /// Show what really happened to packets
    Truth(truth::Args),
    /// Show how a running lab is doing, and whether it is exact
    Status(status::Args),
}

/// Where a running lab is found.
#[derive(Debug, Clone, ClapArgs)]
struct DirArgs {
    /// The directory of the lab [default: lab in the data directory]
    #[arg(long, value_name = "DIR", value_parser = absolute())]
    dir: Option<PathBuf>,
}

impl DirArgs {
    fn path(&self, session: &Session) -> Result<PathBuf, Failure> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(session.data_dir()?.join("lab")),
        }
    }

    fn client(&self, session: &Session) -> Result<Client, Failure> {
        Ok(Client::connect(&self.path(session)?)?)
    }
}

pub(crate) fn run(session: &mut Session, args: Args) -> Result<Exit, Failure> {
    match args.what {
        What::Check(args) => check::run(session, &args),
        What::Draw(args) => draw::run(session, &args),
        What::Run(args) => run::run(session, &args),
        What::Exec(args) => exec::run(session, &args),
        What::First(args) => exec::run_first(&args),
        What::Truth(args) => truth::run(session, &args),
        What::Status(args) => status::run(session, &args),
    }
}

/// Reads a lab's file. What is wrong with it is told line by line.
fn read(session: &mut Session, file: &Path) -> Result<Plan, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::misused(format!("{}: {error}", file.display())))?;
    Plan::parse(&file.display().to_string(), &text).map_err(|wrong| {
        for problem in &wrong.problems {
            session.printer.note(&problem.to_string());
        }
        let count = wrong.problems.len();
        let things = if count == 1 { "1 thing is".to_owned() } else { format!("{count} things are") };
        Failure::misused(format!("{things} wrong in {}", file.display()))
            .hint("docs/guides/lab.md describes the format")
    })
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(chain(&error));
        match error {
            ClientError::NotRunning { .. } => failure.hint(
                "`mmn lab run FILE` or `mmn up --lab FILE` starts one; --dir DIR names another directory",
            ),
            _ => failure,
        }
    }
}

/// There is no lab, and why.
pub(crate) fn refused(session: &mut Session, obstacle: &Obstacle) -> Failure {
    explain(session, obstacle);
    Failure::new(format!("a lab of network namespaces is not to be had here: {obstacle}"))
}

/// What of the system's settings is in the way, and what would mend it.
fn explain(session: &mut Session, obstacle: &Obstacle) {
    for finding in &obstacle.findings {
        session.printer.note(&format!("  {finding}"));
    }
    for (number, cure) in (1..).zip(&obstacle.cures) {
        let way = if number == 1 { "mend it with" } else { "          or" };
        session.printer.note(&format!("  {way}  {cure}"));
    }
}

/// `1 router`, `3 routers`.
fn count(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}
